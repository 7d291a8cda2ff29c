"""What a schedule submits: keeps an embedding current. The same as ``g2v reprocess``.

python jobs/reprocess.py SPEC.toml [--wait] [--cluster tcp://host:port] [--json] [--report-to FOLDER]
"""

import sys

from g2v_dask.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["reprocess"]
    main()
