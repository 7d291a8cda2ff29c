"""Stored inverse lengths of differences: a pair analogy has the same answer with them and without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from g2v_dask import driver, query
from g2v_dask.cluster import Cluster
from g2v_dask.errors import StoreError
from g2v_dask.progress import Display
from g2v_dask.questions import METRICS, Filters
from g2v_dask.search import scan
from g2v_dask.spec import IndexSpec
from g2v_dask.stages import index
from g2v_dask.store import Store
from tests import made, stores
from tests.search import words


@pytest.fixture
def store(tmp_path: Path) -> Store:
    there = stores.empty(tmp_path / "s")
    stores.embedding(there, "e", words.ids(70, 3).tolist(), words.vectors("whole", 70, 4, 3, duplicates=9, zeros=2))
    return there


def build(store: Store) -> driver.Summary:
    return driver.here(index, index.plan(store, IndexSpec(norms=True)), store)


@pytest.mark.parametrize("band", [16, 1024])
def test_norms__change_no_answer(store: Store, monkeypatch: pytest.MonkeyPatch, band: int) -> None:
    monkeypatch.setattr(index, "BAND", band)
    monkeypatch.setattr(scan, "FIRST_ENDS", 2)
    plain = query.open_embedding(store)
    build(store)
    there = query.open_embedding(store)
    assert [len(rows) for rows in there.norms] == ([16, 16, 16, 16, 6] if band == 16 else [70])
    scans = []
    real = scan._Search.stored
    monkeypatch.setattr(scan._Search, "stored", lambda self, bands: (scans.append(1), real(self, bands)))
    questions = [("w000", "w001"), ("w010", "w069"), ("w033", "w002")]
    some = [None, Filters(ceiling=0.8), Filters(max_per_gene=1), Filters(min_difference=0.3), Filters(unit=True)]
    for filters in some:
        for k in (1, 10):
            assert there.pairs(questions, k, filters=filters) == plain.pairs(questions, k, filters=filters)
    assert len(scans) >= 6  # they are read; but not for unit vectors, whose lengths are others
    for metric in METRICS:
        for sums in (False, True):
            ours = there.pairs(questions, 10, metric=metric, sums=sums)
            assert ours == plain.pairs(questions, 10, metric=metric, sums=sums)


def test_norms__facts_count_duplicates(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "BAND", 32)
    summary = build(store)
    x = query.open_embedding(store).vectors.astype(np.float64)
    same = np.triu((x[:, None] == x).all(axis=2), 1).sum()
    assert same > 5
    assert summary.artifacts["e"]["norms"] == {"bands": 3, "rows": 32, "duplicates": same}


def test_norms__the_same_bytes_on_a_cluster(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Cluster
) -> None:
    other = stores.empty(tmp_path / "other")
    x = query.open_embedding(store)
    stores.embedding(other, "e", x.genes.tolist(), x.vectors)
    build(store)
    driver.drive(index, index.plan(other, IndexSpec(norms=True)), other, cluster, Display(quiet=True))
    assert made.data_files(store.get("index", "e").path) == made.data_files(other.get("index", "e").path)


@pytest.mark.parametrize("harm", ["cut", "gone", "other"])
def test_norms__damaged(store: Store, harm: str) -> None:
    build(store)
    file = store.get("index", "e").path / index.FOLDER / "norms-00000.npy"
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:5000])
    elif harm == "gone":
        file.unlink()
    else:
        file.write_bytes(b"<html>" * 3000)
    with pytest.raises(StoreError, match=r"norms-00000\.npy.*(damaged|missing).*g2v index --norms"):
        query.open_embedding(store)
