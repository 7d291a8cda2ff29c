"""The command compare: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
import pytest

from g2v_dask.commands.compare import compare
from g2v_dask.errors import G2VError
from g2v_dask.store import Store
from tests import stores
from tests.evaluation.subjects import symbols, write_gmt


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """``near``: genes of a set lie together; ``far`` and ``noise``: they do not."""
    there = stores.empty(tmp_path / "s")
    genes = symbols(80).tolist()
    random = np.random.default_rng(0)
    stores.embedding(
        there, "near", genes, np.repeat(2 * random.normal(size=(8, 4)), 10, axis=0) + random.normal(size=(80, 4))
    )
    stores.embedding(there, "far", genes[5:], random.normal(size=(75, 6)))
    stores.embedding(there, "noise", genes[:70], random.normal(size=(70, 3)))
    write_gmt(tmp_path / "sets.gmt", {f"S{i}": genes[10 * i : 10 * i + 10] for i in range(8)})
    return there


def called(store: Store, *words: object) -> None:
    """The command, its errors raised."""
    compare.main(["--store", store.root.url, *map(str, words)], standalone_mode=False)


def test_compare__prints_embeddings_side_by_side(
    store: Store, tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ("--bootstrap", 30, "--seeds", 2, "--cluster", address, "--quiet")
    tasks = ("--tasks", "clusteredness,stability,neighbours", "--genesets", tmp_path / "sets.gmt")
    words = ("near", "far", "noise", *tasks, *few)
    called(store, *words)
    out = capsys.readouterr().out
    assert (
        "Pathway clusteredness: near, far, noise\n65 genes that all have; near has 80; far has 75; noise has 70" in out
    )
    assert "far − near" in out
    assert "noise − near" in out
    z = next(line for line in out.splitlines() if "mean z" in line)
    assert z.count("*") == 2  # both are worse, beyond chance
    assert z.count("−") >= 2
    assert "paired bootstrap over sets" in out
    assert "Stability: near" in out
    assert "Neighbours in near and far: differs most" in out
    assert "Neighbours in near and noise: differs most" in out
    called(store, *words, "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["embeddings"] == {"near": 80, "far": 75, "noise": 70}
    assert found["genes"] == 65
    assert {(d["embedding"], d["less"]) for d in found["differences"]} == {("far", "near"), ("noise", "near")}
    called(store, *words, "--html", tmp_path / "c.html", "--markdown", tmp_path / "c.md")
    assert capsys.readouterr().out == ""
    for name in ("c.html", "c.md"):
        assert "far − near" in (tmp_path / name).read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("near",), "at least two embeddings, got near"),
        (("near", "near"), "'near' is named twice"),
        (("near", "nearr"), "did you mean 'near'"),
        (("near", "far", "--tasks", "interaction"), "interaction needs --pairs"),
        (("near", "far", "--tasks", "clusteredness", "--genesets", "/none.gmt"), "none.gmt"),
    ],
)
def test_compare__what_cannot_be_done_is_said(store: Store, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(G2VError, match=message):
        called(store, *words)
    assert store.names("evaluations") == []


def test_compare__offers_what_can_be_asked_of_several() -> None:
    offered = {option for parameter in compare.params for option in parameter.opts}
    assert {"--tasks", "--pairs", "--genesets", "--go", "--models", "--matched", "--bootstrap", "--seed"} <= offered
    assert not {"--name", "--to", "--beside", "--common"} & offered
    assert isinstance(compare, click.Command)
    assert all(p.help for p in compare.params if isinstance(p, click.Option))
