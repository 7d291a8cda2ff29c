"""The README's Python runs as it stands there, on the store that the demo makes."""

import doctest
import shutil
from pathlib import Path

import pytest

from g2v_dask import cli
from tests.shell import g2v

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def demo(tmp_path_factory, address):
    """The demo, made by its own spec in a folder of its own."""
    folder = tmp_path_factory.mktemp("demo")
    shutil.copytree(ROOT / "jobs" / "demo", folder / "jobs" / "demo")
    shutil.copy(ROOT / "jobs" / "demo.toml", folder / "jobs")
    answer = g2v("run", folder / "jobs" / "demo.toml", "--cluster", address, "-q")
    assert answer.code == 0, answer.err
    return folder


def test_readme__python_runs_as_printed(demo, monkeypatch):
    monkeypatch.chdir(demo)
    failed, tried = doctest.testfile(str(ROOT / "README.md"), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert tried >= 8
    assert failed == 0


@pytest.mark.parametrize(
    ("gene", "family"),
    [("RPL3", "RP"), ("HLA-DRA", "HLA-D"), ("CD3E", "CD"), ("CCNB2", "KIF")],
)
def test_demo__neighbours_make_sense(demo, gene, family):
    """Ribosomal, MHC class II, T-cell and cell-cycle genes find their like."""
    out = g2v("similar", gene, "--store", demo / "demo", "-k", 15).out
    assert sum(line.strip().startswith(family) for line in out.splitlines()[2:]) >= 2


def test_demo__a_second_run_does_nothing_and_starts_no_cluster(demo):
    answer = g2v("run", demo / "jobs" / "demo.toml")
    assert answer.code == 0
    assert "workers" not in answer.err
    assert "train: 0 made, 1 fresh" in answer.err


def test_readme__lists_every_command():
    text = (ROOT / "README.md").read_text("utf-8")
    assert all(f"| `g2v {name}` |" in text for name in cli.cli.commands)
