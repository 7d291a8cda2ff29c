"""A file that lies among an artifact's Parquet, and that its manifest does not name, takes no part in anything."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from g2v_dask import driver, schema
from g2v_dask.flows import embedding_report, evaluate, groups, pictures, questions, tables
from g2v_dask.progress import Display
from g2v_dask.questions import NearSpec
from g2v_dask.spec import KmeansSpec, MapSpec
from g2v_dask.stages import kmeans
from g2v_dask.stages import map as map_stage
from g2v_dask.store import Artifact, Store
from tests import stores
from tests.judged import evaluation, figure

GENES = ["TP53", "BRCA1", "KRAS", "ERBB2", "CD3E", "CD4", "ALB", "INS"]
DIGEST = "0" * 64
QUIET = Display(quiet=True)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedding, and all whose Parquet is read again."""
    root = tmp_path_factory.mktemp("filled") / "s"
    there = stores.empty(root)
    embedding = stores.embedding(there, "e", GENES, np.random.default_rng(0).normal(size=(8, 3)))
    steps = ((kmeans, KmeansSpec(k=2)), (map_stage, MapSpec(method="pca")))
    for stage, spec in steps:
        driver.here(stage, stage.plan(there, spec), there)
    evaluation(there, "e", embedding, [figure("stability", "procrustes", 0.25)])
    file = there.folder("answers", "e-near", DIGEST).desk / "data.parquet" / "part-00000.parquet"
    file.parent.mkdir(parents=True)
    near = {"rank": [1], "gene_a": ["ALB"], "gene_b": ["INS"], "score": [0.5]}
    pq.write_table(pa.table(near, schema=schema.NEAR_PAIRS), file)
    stores.commit(there, "answers", "e-near", DIGEST, {"embedding": "e", "filters": {}, "notes": []})
    return root


def with_stray(artifact: Artifact) -> None:
    """Copies a part under a name that no manifest has, after and before the one that counts."""
    (part,) = (artifact.path / name for name in artifact.names if name.startswith(tables.FOLDER))
    for name in ("part-9.parquet", "a.parquet"):
        shutil.copy(part, part.with_name(name))


def of_answers(store: Store) -> Any:
    return questions.read(store.get("answers", "e-near"), NearSpec(name="e"))


def of_groups(store: Store) -> Any:
    return groups.run(store.root.url, KmeansSpec(k=2), cluster=None, display=QUIET).as_json()


def of_colours(store: Store) -> Any:
    return pictures.look(store, store.get("embeddings", "e"), pictures.Picture()).colour.values


def of_reports(store: Store) -> Any:
    known = embedding_report.run(store.root.url, "e", embedding_report.Examples())
    return [vars(group) for _, found in known.groups for group in found]


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        ("answers", of_answers),
        ("groups", of_groups),
        ("groups", of_colours),
        ("groups", of_reports),
        ("maps", lambda store: pictures.places(store.get("maps", "e")).tolist()),
        ("evaluations", lambda store: len(evaluate.read(store.get("evaluations", "e")).figures)),
    ],
)
def test_read__a_stray_part_changes_nothing(
    filled: Path, tmp_path: Path, kind: str, read: Callable[[Store], Any]
) -> None:
    store = Store.open(shutil.copytree(filled, tmp_path / "s"))
    before = read(store)
    with_stray(store.get(kind, store.names(kind)[0]))
    assert read(store) == before


def test_read__several_parts_in_their_order(tmp_path: Path) -> None:
    """All that the manifest names, however a folder's name looks like a partition."""
    store = stores.empty(tmp_path / "year=2026")
    one = stores.pairs(store, "a", [("A", "B", 0.5)])
    other = stores.pairs(store, "b", [("C", "D", 0.75)])
    shutil.copy(other.path / "data.parquet" / "part-0.parquet", one.path / "data.parquet" / "part-1.parquet")
    both = stores.commit(store, "pairs", "a", one.digest, {})
    found = tables.read(both)
    assert found.column_names == ["gene_a", "gene_b", "r"]
    assert found["gene_a"].to_pylist() == ["A", "C"]
