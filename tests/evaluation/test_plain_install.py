"""PyTorch is an extra: without it every module loads, and what needs it says which command installs it."""

from __future__ import annotations

import subprocess
import sys

BLOCKED = """
import importlib, pkgutil, sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Without())
import g2v_dask
names = [found.name for found in pkgutil.walk_packages(g2v_dask.__path__, "g2v_dask.")]
for name in names:
    importlib.import_module(name)
assert {"g2v_dask.cli", "g2v_dask.evaluation.ggipnn", "g2v_dask.stages.evaluate"} <= set(names)
from g2v_dask.errors import SpecError
from g2v_dask.evaluation import ggipnn
try:
    ggipnn.load()
except SpecError as error:
    print(error)
"""


def test_plain_install__every_module_loads_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pip install 'g2v_dask[torch]'" in done.stdout
