"""What people submit: runs a spec file. The same as ``g2v run``.

python jobs/run.py SPEC.toml [--cluster tcp://host:port] [--json] [--report FILE]
"""

import sys

from g2v_dask.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["run"]
    main()
