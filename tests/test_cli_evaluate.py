"""The command evaluate: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pytest

from g2v_dask.commands.evaluate import evaluate
from g2v_dask.errors import G2VError
from g2v_dask.evaluate_spec import EvaluateSpec
from g2v_dask.options import key_of
from g2v_dask.store import Store
from tests import stores
from tests.evaluation.subjects import symbols, write_gmt


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two embeddings of 80 genes, of which each ten lie together."""
    there = stores.empty(tmp_path / "s")
    genes = symbols(80).tolist()
    random = np.random.default_rng(0)
    vectors = np.repeat(2 * random.normal(size=(8, 4)), 10, axis=0) + random.normal(size=(80, 4))
    stores.embedding(there, "genes", genes, vectors)
    stores.embedding(there, "other", genes, vectors + random.normal(size=(80, 4)))
    for half in range(2):
        sets = {f"S{i}": genes[10 * i : 10 * i + 10] for i in range(4 * half, 4 * half + 4)}
        write_gmt(tmp_path / f"half{half}.gmt", sets)
    return there


def called(store: Store, *words: object) -> None:
    """The command, its errors raised."""
    evaluate.main(["--store", store.root.url, *map(str, words)], standalone_mode=False)


def test_evaluate__prints_baselines_beside(
    store: Store, tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = ("--genesets", tmp_path / "half0.gmt", "--genesets", tmp_path / "half1.gmt")
    few = ("--bootstrap", 30, "--seeds", 2, "--baselines", "--cluster", address, "--quiet")
    words = ("--name", "genes", "--tasks", "clusteredness,neighbours", "--beside", "other", *sets, *few)
    called(store, *words)
    out = capsys.readouterr().out
    assert "Pathway clusteredness: genes\n" in out
    assert "random vectors (baseline)" in out
    assert "half0" in out
    assert "half1" in out
    assert "Neighbours in genes and other: differs most" in out
    assert out.rstrip().endswith("all of it: evaluations/genes (Parquet; 'g2v show evaluations/genes' says where)")
    called(store, *words, "--json")
    found = json.loads(capsys.readouterr().out)
    assert (found["artifact"], found["tasks"]) == ("evaluations/genes", ["clusteredness", "neighbours"])
    assert {f["baseline"] for f in found["figures"]} == {"", "baseline"}
    called(store, *words, "--html", tmp_path / "e.html", "--markdown", tmp_path / "e.md")
    assert capsys.readouterr().out == ""
    assert "Pathway clusteredness: genes" in (tmp_path / "e.html").read_text("utf-8")
    assert "# Pathway clusteredness: genes" in (tmp_path / "e.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--tasks", "clusteredness"), "clusteredness needs --genesets"),
        (("--tasks", "clusterednes"), "did you mean 'clusteredness'"),
        ((), "name the embeddings to use; .* there are 2: genes, other"),
        (("--name", "genes"), "nothing to ask"),
        (("--name", "genes", "--genesets", "{tmp}/none.gmt"), "none.gmt"),
        (("--name", "genes", "--tasks", "neighbours", "--beside", "other", "--figure", "f.png"), "which is not asked"),
        (("--name", "genes", "--beside", "genes", "--tasks", "neighbours"), "names it once more"),
    ],
)
def test_evaluate__what_cannot_be_done_is_said(
    store: Store, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(G2VError, match=message):
        called(store, *(word.format(tmp=tmp_path) for word in words))
    assert store.names("evaluations") == []


def test_evaluate__offers_every_option() -> None:
    offered = {option for parameter in evaluate.params for option in parameter.opts}
    for key in (key_of(f).replace("_", "-") for f in EvaluateSpec.fields_by_key().values()):
        assert f"--{key}" in offered
    assert {"--figure", "--html", "--markdown", "--json", "--cluster"} <= offered
    assert isinstance(evaluate, click.Command)
    assert all(p.help for p in evaluate.params if isinstance(p, click.Option))
