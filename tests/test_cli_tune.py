"""The command: a grid on real data from a spec file, its files, its errors before any work."""

from __future__ import annotations

import gzip
import json
import shutil
from itertools import islice
from pathlib import Path

import click
import pytest

from g2v_dask import driver
from g2v_dask.commands.tune import tune as command
from g2v_dask.errors import G2VError
from g2v_dask.spec import IngestSpec, MergeSpec, PairsSpec
from g2v_dask.stages import ingest, merge, pairs
from g2v_dask.store import Store
from tests.data_paths import data

SPEC = """
store = "store"
[tune]
name = "grid"
from = "chol"
method = "svd"
choose = "clusteredness mean z"
[tune.grid]
components = [4, 16]
power = [1]
[evaluate]
tasks = ["clusteredness"]
genesets = ["{genesets}"]
bootstrap = 50
least_coverage = 0.01
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spec, and a store of real expression."""
    folder = tmp_path_factory.mktemp("tune")
    with gzip.open(data("rnaseq", "chol-rsem-count-tcga-t.txt.gz"), "rt") as stream:
        (folder / "chol.txt").write_text("".join(islice(stream, 1501)))
    store = Store.open(folder / "store", create=True)
    for stage, spec in (
        (ingest, IngestSpec(files=(str(folder / "chol.txt"),))),
        (pairs, PairsSpec(top_k=20)),
        (merge, MergeSpec(name="chol")),
    ):
        driver.here(stage, stage.plan(store, spec), store)
    (folder / "grid.toml").write_text(SPEC.format(genesets=data("genesets", "h.all.v6.2.symbols.gmt.gz")))
    return folder


@pytest.fixture
def folder(base: Path, tmp_path: Path) -> Path:
    shutil.copytree(base, tmp_path / "f")
    return tmp_path / "f"


def called(*words: object) -> int:
    """The command's exit code; its errors are raised."""
    with pytest.raises(SystemExit) as end:
        command.main([str(word) for word in words], standalone_mode=False)
    return int(end.value.code or 0)


def test_tune__tables_files_and_json(folder: Path, address: str, capsys: pytest.CaptureFixture[str]) -> None:
    spec, figure = folder / "grid.toml", folder / "grid.svg"
    words = (spec, "--cluster", address, "--quiet", "--figure", figure)
    assert called(*words) == 0
    out = capsys.readouterr().out
    assert "grid: clusteredness mean z\n2 cells; one run each\n" in out
    assert "components ↓ power →" in out
    assert "Chosen: grid-c" in out
    assert figure.read_text("utf-8").startswith("<?xml")

    nowhere = (spec, "--cluster", "tcp://127.0.0.1:9", "--quiet")  # all is made: no cluster is asked for
    assert called(*nowhere, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    values = {tuple(cell["at"].values()): cell["value"] for cell in told["cells"]}
    assert list(values) == [(4, 1), (16, 1)]
    assert told["chosen"]["value"] == max(values.values())
    assert all(cell["low"] < cell["value"] < cell["high"] for cell in told["cells"])
    assert max(values.values()) > 1  # real sets lie closer than chance
    assert [stage["parts_run"] for stage in told["stages"]] == [0, 0]

    assert called(*nowhere, "--markdown", folder / "t.md", "--html", folder / "t.html") == 0
    assert capsys.readouterr().out == ""
    markdown = (folder / "t.md").read_text("utf-8")
    assert markdown.startswith("# grid: clusteredness mean z")
    assert "](t.png)" in markdown
    assert (folder / "t.png").read_bytes().startswith(b"\x89PNG")
    assert "data:image/png;base64," in (folder / "t.html").read_text("utf-8")


def test_tune__cell_without_a_figure_is_exit_3(folder: Path, address: str) -> None:
    spec = folder / "grid.toml"
    spec.write_text(spec.read_text().replace("power = [1]", "min_datasets = [1, 2]").replace("[4, 16]", "[4]"))
    assert called(spec, "--cluster", address, "--quiet") == 3


@pytest.mark.parametrize(
    ("words", "change", "message"),
    [
        (("--figure", "a.gif"), ("", ""), r"a picture is a \.png, \.svg or \.pdf file; got 'a.gif'"),
        ((), ("mean z", "mean z on test"), "never on what is tested at the end"),
        ((), ("[4, 16]", "4"), "tune.grid: components must be a list"),
        ((), ('"store"', '"none"'), "no store at .*none: there is nothing"),
    ],
)
def test_tune__wrong_use_is_found_before_any_work(
    folder: Path, words: tuple[str, ...], change: tuple[str, str], message: str
) -> None:
    spec = folder / "grid.toml"
    spec.write_text(spec.read_text().replace(*change, 1))
    with pytest.raises(G2VError, match=message):
        command.main([str(spec), *words, "--quiet"], standalone_mode=False)
    assert Store.open(folder / "store").names("embeddings") == []


def test_tune__has_help() -> None:
    assert command.help
    assert all(p.help for p in command.params if isinstance(p, click.Option))
