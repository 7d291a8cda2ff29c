"""The stage: what it stores, refuses and repeats."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from g2v_dask import driver, schema
from g2v_dask.cluster import Cluster
from g2v_dask.errors import InputError, SpecError
from g2v_dask.progress import Display
from g2v_dask.spec import MapSpec
from g2v_dask.stages import map as stage
from g2v_dask.store import Store
from tests import made, stores

GENES = [f"g{(7 * i) % 40:02d}" for i in range(40)]  # in no order of ids
VECTORS = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    there = stores.empty(tmp_path / "s")
    stores.embedding(there, "e", GENES, VECTORS)
    return there


def spec(**more: Any) -> MapSpec:
    return MapSpec(**{"perplexity": 5.0, "iterations": 50, "neighbours": 5, **more})


def make(store: Store, **more: Any) -> driver.Summary:
    return driver.here(stage, stage.plan(store, spec(**more)), store)


def test_map__stores_places_in_the_order_of_the_embedding(store: Store) -> None:
    facts = make(store, method="pca").artifacts["e"]
    artifact = store.get("maps", "e")
    assert artifact.names == ["data.parquet/part-0.parquet"]
    table = pq.read_table(artifact.path / "data.parquet")
    assert table.schema.equals(schema.MAP_PLACES, check_metadata=False)
    assert table["gene_id"].to_pylist() == GENES
    x = VECTORS.astype(np.float64) - VECTORS.mean(axis=0, dtype=np.float64)
    _, _, v = np.linalg.svd(x, full_matrices=False)
    for column, axis in zip("xy", v, strict=False):
        assert np.allclose(np.abs(table[column].to_numpy()), np.abs(x @ axis), atol=1e-6)
    assert (facts["embedding"], facts["genes"], facts["method"]) == ("e", 40, "pca")
    assert artifact.facts == facts
    assert artifact.manifest["inputs"] == {"embeddings/e": store.get("embeddings", "e").digest}


@pytest.mark.parametrize(("method", "more"), [("pca", []), ("tsne", ["openTSNE"]), ("umap", ["umap-learn"])])
def test_map__facts_name_the_versions_of_its_libraries(
    store: Store, monkeypatch: pytest.MonkeyPatch, method: str, more: list[str]
) -> None:
    if method == "umap":  # it compiles for seconds
        monkeypatch.setattr(stage.maps, "_umap", lambda x, _: x[:, :2])
    versions = make(store, method=method).artifacts["e"]["versions"]
    assert versions == {name: metadata.version(name) for name in ("numpy", "scikit-learn", *more)}


def test_map__fresh_until_what_matters_changes(store: Store) -> None:
    assert make(store).made == ["e"]
    assert make(store, name="e").fresh == ["e"]
    assert make(store, min_dist=0.5, neighbours=9).fresh == ["e"]  # of UMAP alone
    for changed in ({"perplexity": 6.0}, {"seed": 2}, {"method": "pca"}, {"pca": 3}):
        assert make(store, **changed).made == ["e"]
    assert make(store).restored == ["e"]
    assert make(store, method="pca", to="flat").made == ["flat"]
    assert store.get("maps", "flat").facts["method"] == "pca"
    stores.embedding(store, "e", GENES, VECTORS[::-1])
    assert make(store).made == ["e"]


@pytest.mark.parametrize("method", ["tsne", "pca"])  # umap compiles for seconds; test_maps has it in two processes
def test_map__the_same_bytes_on_a_cluster(store: Store, cluster: Cluster, method: str) -> None:
    make(store, method=method, to="one")
    plan = stage.plan(store, spec(method=method, to="two"))
    assert plan.targets[0].same_blas
    driver.drive(stage, plan, store, cluster, Display(quiet=True))
    one, two = (made.data_files(store.get("maps", name).path) for name in ("one", "two"))
    assert one
    assert one == two
    assert store.get("maps", "one").facts == store.get("maps", "two").facts


def test_plan__refuses_before_any_work(store: Store) -> None:
    with pytest.raises(InputError, match="has 40 genes; take one of at most 13"):
        stage.plan(store, MapSpec())
    with pytest.raises(SpecError, match="a name is made of"):
        stage.plan(store, spec(to="../e"))
    with pytest.raises(SpecError, match="no embeddings named 'f'"):
        stage.plan(store, spec(name="f"))
    assert store.names("maps") == []


def test_map__vectors_that_are_no_numbers_are_quarantined(store: Store) -> None:
    bad = VECTORS.copy()
    bad[3, 1] = np.nan
    stores.embedding(store, "e", GENES, bad)
    summary = make(store)
    assert summary.exit_code == 3
    assert "1 of 40 vectors hold NaN" in summary.quarantined[0]["reason"]
    assert store.names("maps") == []


def test_map__a_run_that_lost_the_work_stops_inside(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    told = []
    real = stage.maps.places

    def taken_over(vectors: Any, spec: MapSpec, progress: Any) -> Any:
        def report(done: int, total: int, note: str) -> None:
            told.append(done)
            if done == 50:
                (work,) = (store.root.desk / ".work").glob("*/owner.json")
                work.write_text('{"token": "of another run"}')
            progress(done, total, note)

        return real(vectors, spec, report)

    monkeypatch.setattr(stage.maps, "places", taken_over)
    with pytest.raises(Exception, match="another run took over maps/e"):
        make(store)
    assert told == [25, 50]
