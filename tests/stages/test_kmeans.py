"""The stage: what it stores, refuses and repeats; and the command over it."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from g2v_dask import arrays, driver, schema
from g2v_dask.analysis import groups
from g2v_dask.cluster import Cluster
from g2v_dask.commands.groups import kmeans as command
from g2v_dask.errors import G2VError, InputError, SpecError
from g2v_dask.progress import Display
from g2v_dask.spec import KmeansSpec
from g2v_dask.stages import kmeans
from g2v_dask.store import Store
from tests import made, stores

REAL = ["CDK1", "CCNB1", "BUB1", "PLK1", "AURKA", "CD3E", "CD2", "CD247", "XIST"]
WORDS = [*REAL, *(f"<b>w|{i}*" for i in range(11))]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An embedding of three plain groups: 11 words that are no genes, 5 genes of the cell cycle, 4 others."""
    opened = stores.empty(tmp_path / "s")
    group = np.repeat([0, 1, 2], [5, 4, 11])
    vectors = 9 * np.eye(3)[group] + np.random.default_rng(0).normal(size=(20, 3))
    stores.embedding(opened, "e", WORDS, vectors)
    return opened


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    file = tmp_path / "sets.gmt"
    lines = {"CELL_CYCLE": REAL[:5], "T_CELLS": REAL[5:8], "ALL": WORDS, "ELSEWHERE": ["TP53"]}
    file.write_text("".join(f"{name}\t-\t{chr(9).join(genes)}\n" for name, genes in lines.items()))
    return file


def make(store: Store, **spec: object) -> driver.Summary:
    return driver.here(kmeans, kmeans.plan(store, KmeansSpec(**spec)), store)


# -- the stage ----------------------------------------------------------------------------------------------


def test_kmeans__stores_members_and_facts(store: Store) -> None:
    summary = make(store, k=3)
    facts = summary.artifacts["e"]
    assert {key: facts[key] for key in ("embedding", "genes", "groups", "sizes", "method")} == {
        "embedding": "e",
        "genes": 20,
        "groups": 3,
        "sizes": [11, 5, 4],
        "method": "scikit-learn",
    }
    artifact = store.get("groups", "e")
    frame = pd.read_parquet(artifact.path / "data.parquet")
    assert list(frame) == schema.GROUP_MEMBERS.names
    assert frame["group"].tolist() == [1] * 11 + [2] * 5 + [3] * 4
    assert set(frame["gene_id"][frame["group"] == 2]) == set(REAL[:5])
    assert frame["cosine"].between(0.5, 1).all()
    assert facts["inertia"] == artifact.facts["inertia"] > 0
    assert facts["versions"] == {name: metadata.version(name) for name in ("numpy", "scikit-learn")}


def test_kmeans__fresh_until_what_matters_changes(store: Store) -> None:
    assert make(store, k=3).made == ["e"]
    assert make(store, name="e", k=3).fresh == ["e"]
    for changed in ({"seed": 2}, {"unit": True}, {"k": 4}):
        assert make(store, **{"k": 3, **changed}).made == ["e"]
    assert make(store, k=3).restored == ["e"]
    assert make(store, k=3, to="other").made == ["other"]
    stores.embedding(store, "e", WORDS, np.random.default_rng(1).normal(size=(20, 3)))
    assert make(store, k=3).made == ["e"]


def test_kmeans__the_same_bytes_again_and_on_a_cluster(store: Store, cluster: Cluster) -> None:
    for unit in (False, True):
        make(store, k=5, unit=unit, to=f"one-{unit}")
        plan = kmeans.plan(store, KmeansSpec(k=5, unit=unit, to=f"two-{unit}"))
        driver.drive(kmeans, plan, store, cluster, Display(quiet=True))
        one, two = (made.data_files(store.get("groups", f"{name}-{unit}").path) for name in ("one", "two"))
        assert one
        assert one == two


def test_plan__refuses_what_cannot_be(store: Store) -> None:
    with pytest.raises(SpecError, match=r"k must be at most 20, the genes of embeddings/e; got 21"):
        make(store, k=21)
    with pytest.raises(SpecError, match="a name is made of"):
        make(store, k=3, to="../x")
    stores.embedding(store, "f", WORDS, np.ones((20, 2)))
    with pytest.raises(SpecError, match=r"name the embeddings to use; .* 2: e, f"):
        make(store, k=3)
    assert make(store, name="f", k=2).quarantined == [
        {
            "name": "f",
            "reason": "expected 2 groups, but k-means on 20 genes makes 1 that hold a gene: "
            "too few of their vectors differ; ask for at most 1 (-k)",
        }
    ]


def test_plan__counts_the_bytes_of_its_method(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (target,) = kmeans.plan(store, KmeansSpec(k=3)).targets
    assert target.same_blas
    assert [p.bytes for p in target.parts] == [groups.memory_bytes(20, 3, 3)]
    monkeypatch.setattr(groups, "IN_MEMORY_BYTES", 0)
    facts = make(store, k=3).artifacts["e"]
    assert facts["method"] == "dask-ml"
    assert facts["versions"] == {name: metadata.version(name) for name in ("numpy", "dask-ml")}


# -- the command --------------------------------------------------------------------------------------------


def g2v(store: Store, *words: object) -> str:
    """What the command prints; an error of ours is raised."""
    result = CliRunner().invoke(command, ["--store", store.root.url, "-q", *map(str, words)], standalone_mode=False)
    if isinstance(result.exception, G2VError | click.ClickException):
        raise result.exception
    assert result.exception is None, result.exception
    return result.stdout


def test_command__groups_and_their_sets(store: Store, sets: Path) -> None:
    said = g2v(store, "-k", 3, "--genesets", sets)
    lines = [line.split() for line in said.splitlines()]
    assert lines[0] == "3 groups of 20 genes".split()
    assert ["2", "5", "protein-coding", "100.0", "%"] in [line[:5] for line in lines]
    assert ["3", "4", "protein-coding", "75.0", "%,", "ncRNA", "25.0", "%"] in [line[:8] for line in lines]
    assert ["1", "11", "unknown", "100.0", "%"] in [line[:5] for line in lines]
    assert "<b>w|" in said
    # all of the set of 5 is in a group of 5: p = 1 / C(20, 5); 3 groups x 3 sets were tested
    assert ["2", "CELL_CYCLE", "5", "of", "5", "1.2", "∞", f"{9 / 15504:.1e}"] in lines
    assert "universe 20 genes, those in at least one of 3 sets" in said
    assert "No set has q ≤ 0.05 in group 1." in said
    assert said.splitlines()[-1] == "all of it: groups/e (Parquet; 'g2v show groups/e' says where)"


def test_command__show_one_group(store: Store, sets: Path) -> None:
    lines = [line.split() for line in g2v(store, "-k", 3, "--show", 2, "--genesets", sets).splitlines()]
    assert lines[0] == ["Group", "2"]
    assert {line[0] for line in lines if "protein-coding" in line[2:3]} == set(REAL[:5])
    assert any(line[0] == "CDK1" and line[3:] == ["cyclin", "dependent", "kinase", "1"] for line in lines if line)
    assert any(line[:1] == ["CELL_CYCLE"] for line in lines)
    assert not any(line[:1] == ["CD3E"] for line in lines)


@pytest.mark.parametrize("number", [0, 4, -1])
def test_command__show_no_such_group(store: Store, number: int) -> None:
    with pytest.raises(SpecError, match=rf"there is no group {number}; the groups are 1 to 3"):
        g2v(store, "-k", 3, "--show", number)
    assert store.names("groups") == []


def test_command__markdown_holds_everything_and_nothing_takes_effect(store: Store, sets: Path, tmp_path: Path) -> None:
    file = tmp_path / "groups.md"
    assert g2v(store, "-k", 3, "--genesets", sets, "--markdown", file) == ""
    text = file.read_text()
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# 3 groups of 20 genes",
        *(
            line
            for n in (1, 2, 3)
            for line in (f"## Group {n}", f"### Gene sets in group {n}", f"### Genes of group {n}")
        ),
    ]
    assert text.count("CELL\\_CYCLE") == 1
    members = text.split("### Genes of group ")[1:]
    for words, part in zip((WORDS[9:], REAL[:5], REAL[5:]), members, strict=True):
        for word in words:
            shown = word.replace("<b>", "&lt;b&gt;").replace("|", "\\|").replace("*", "\\*")
            assert f"| {shown} |" in part or f"| [{shown}](https://www.proteinatlas.org/" in part
    assert "<b>" not in text
    assert "|w" not in text.replace("\\|", "")


def test_command__json(store: Store, sets: Path) -> None:
    found = json.loads(g2v(store, "-k", 3, "--json", "--genesets", sets))
    assert (found["artifact"], found["embedding"], found["method"]) == ("groups/e", "e", "scikit-learn")
    assert [(g["group"], g["genes"], len(g["typical"])) for g in found["groups"]] == [(1, 11, 10), (2, 5, 5), (3, 4, 4)]
    (best,) = found["groups"][1]["sets"]
    assert (best["name"], best["overlap"], best["odds_ratio"]) == ("CELL_CYCLE", 5, None)
    assert best["p"] == pytest.approx(1 / 15504)
    plain = json.loads(g2v(store, "-k", 3, "--json", "--show", 3))["groups"]
    assert [g["group"] for g in plain] == [3]
    assert {m["gene"] for m in plain[0]["members"]} == set(REAL[5:])
    assert "sets" not in plain[0]


def test_command__words_that_are_ensembl_ids(store: Store, sets: Path) -> None:
    ids = ["ENSG00000170312", "ENSG00000134057", "ENSG00000198851", "ENSG00000116824"]  # CDK1 CCNB1 CD3E CD2
    stores.embedding(store, "ids", ids, np.array([[1, 0], [1, 0.1], [0, 1], [0.1, 1]]))
    said = g2v(store, "--name", "ids", "-k", 2, "--genesets", sets)
    assert any(names in said for names in ("CDK1, CCNB1", "CCNB1, CDK1"))
    assert "universe 4 genes, those in at least one of 3 sets" in said


def test_command__descriptions_of_the_embedding(store: Store) -> None:
    folder = store.folder("embeddings", "told", "d" * 64)
    coordinates = {"gene_id": ["CDK1", "one"], "description": ["", "first of all"]}
    arrays.write(
        folder,
        "embeddings",
        data={"vector": np.eye(2, dtype=np.float32)},
        chunks=(2, 2),
        attributes={"card": {}},
        coordinates=coordinates,
    )
    stores.commit(store, "embeddings", "told", "d" * 64, {"genes": 2, "components": 2})
    said = [g2v(store, "--name", "told", "-k", 2, "--show", n) for n in (1, 2)]
    assert ["cyclin dependent kinase 1" in said[0], "first of all" in said[1]] == [True, True]


def test_command__errors_before_any_work(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        g2v(store, "-k", 3, "--genesets", tmp_path / "none.gmt")
    stores.embedding(store, "ones", WORDS, np.ones((20, 2)))
    assert store.names("groups") == []
    with pytest.raises(InputError, match=r"expected 2 groups, .* ask for at most 1 \(-k\)"):
        g2v(store, "--name", "ones", "-k", 2)


def test_command__sets_of_another_species(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "yeast.gmt"
    file.write_text("Y\t-\tYAL001C\tYAL002W\n")
    with pytest.raises(InputError, match=r"none of the 20 genes is in a gene set: the sets hold YAL001C, YAL002W"):
        g2v(store, "-k", 3, "--genesets", file)
