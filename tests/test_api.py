"""What Python users touch: quick to import, lazy, and only what is current."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import dask.array
import dask.dataframe
import numpy as np
import pytest
from numpy.typing import NDArray

import g2v_dask
from g2v_dask import api
from g2v_dask.errors import SpecError, StoreError
from g2v_dask.spec import STAGES, ClusterSpec, TrainSpec
from tests import made, stores

GENES = [f"G{i:02d}" for i in range(11)]


def matrix() -> NDArray[np.uint32]:
    """A symmetric matrix; of its tiles of 4 genes, no two are alike."""
    upper = np.triu(np.random.default_rng(7).integers(0, 5, size=(11, 11)), 1)
    return (upper + upper.T).astype(np.uint32)


@pytest.fixture
def opened(tmp_path: Path) -> api.OpenStore:
    store = stores.empty(tmp_path / "s", tile=4)
    random = np.random.default_rng(0)
    counts = random.integers(0, 9, size=(5, 11))
    made.expression(store, "A", random.normal(size=(5, 11)), GENES, counts=counts)
    stores.cooccurrence(store, "all", GENES, matrix())
    stores.embedding(store, "genes", GENES, random.normal(size=(11, 3)))
    return g2v_dask.open_store(store.root.desk)


def test_package__loads_names_when_used() -> None:
    for name in g2v_dask.__all__:
        assert getattr(g2v_dask, name) is not None
    assert {*g2v_dask.__all__} <= {*dir(g2v_dask)}
    assert g2v_dask.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        g2v_dask.nothing  # noqa: B018


def test_package__no_public_name_is_a_module_too() -> None:
    """Importing a submodule would put it in the function's place."""
    folder = Path(inspect.getfile(g2v_dask)).parent
    modules = {p.stem for p in folder.iterdir()}
    assert not {*g2v_dask.__all__} & modules


def test_package__import_loads_no_library() -> None:
    code = "import sys; before = set(sys.modules); import g2v_dask; print(*sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"numpy", "click", "zarr", "dask", "pyarrow", "email"} & set(loaded.split())


def test_open_store__where_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store at"):
        g2v_dask.open_store(tmp_path / "new")
    assert g2v_dask.open_store(tmp_path / "new", create=True).list() == []
    assert "0 expression" in repr(g2v_dask.open_store(tmp_path / "new"))


def test_list(opened: api.OpenStore) -> None:
    assert [(r["kind"], r["name"]) for r in opened.list()] == [
        ("expression", "A"),
        ("cooccurrence", "all"),
        ("embeddings", "genes"),
    ]
    assert [r["name"] for r in opened.list("embeddings")] == ["genes"]
    with pytest.raises(SpecError, match="did you mean 'pairs'"):
        opened.list("pair")


def test_expression(opened: api.OpenStore) -> None:
    found = opened.expression("A")
    assert dict(found.sizes) == {"sample": 5, "gene": 11}
    assert isinstance(found["expression"].data, dask.array.Array)
    assert set(found.coords) == {"sample_id", "gene_id", "constant", "expressed"}
    assert found["gene_id"].values.tolist() == GENES
    assert found["counts"].dtype == np.int32
    mean = found["expression"].mean("sample").compute()
    assert mean.dims == ("gene",)
    with pytest.raises(SpecError, match="no expression named 'B'"):
        opened.expression("B")


# -- pairs --------------------------------------------------------------------------------------------------


@pytest.fixture
def with_pairs(opened: api.OpenStore) -> api.OpenStore:
    store = opened._store
    stores.pairs(store, "A", [("X", "Y", 1.0)])  # an old version
    stores.pairs(store, "A", [("G00", "G01", 0.9), ("G00", "G02", 0.91), ("G01", "G02", 0.99)], group=2)
    stores.pairs(store, "B", [("G00", "G02", 0.95)])
    stores.pairs(store, "C", [])
    return opened


@pytest.mark.parametrize(("rows", "partitions"), [(1, 3), (2, 2), (3, 2), (100, 1)])
def test_pairs__current_versions_with_their_dataset(
    with_pairs: api.OpenStore, monkeypatch: pytest.MonkeyPatch, rows: int, partitions: int
) -> None:
    """However row groups are put together."""
    monkeypatch.setattr(api, "PARTITION_ROWS", rows)
    frame = with_pairs.pairs()
    assert isinstance(frame, dask.dataframe.DataFrame)
    assert frame.npartitions == partitions
    found = frame.compute()
    assert list(map(tuple, found.itertuples(index=False))) == [
        ("G00", "G01", 0.9, "A"),
        ("G00", "G02", 0.91, "A"),
        ("G01", "G02", 0.99, "A"),
        ("G00", "G02", 0.95, "B"),
    ]
    assert found.dtypes.tolist() == frame.dtypes.tolist()
    assert with_pairs.pairs("B").compute()["dataset"].tolist() == ["B"]
    assert len(with_pairs.pairs("C")) == 0
    with pytest.raises(SpecError, match="no pairs named 'Z'"):
        with_pairs.pairs("Z")


def test_pairs__counts_and_recurrence_in_four_lines(with_pairs: api.OpenStore) -> None:
    pairs = with_pairs.pairs()
    counts = pairs["dataset"].value_counts().compute()
    seen = pairs.groupby(["gene_a", "gene_b"]).size().compute()
    recurring = seen[seen > 1]
    assert counts.to_dict() == {"A": 3, "B": 1}
    assert recurring.to_dict() == {("G00", "G02"): 2}


def test_pairs__reads_only_the_columns_asked_for(with_pairs: api.OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[str]] = []
    real = api.pq.ParquetFile.read_row_group

    def spy(self: Any, group: int, columns: list[str], **rest: Any) -> Any:
        read.append(columns)
        return real(self, group, columns=columns, **rest)

    monkeypatch.setattr(api.pq.ParquetFile, "read_row_group", spy)
    assert with_pairs.pairs()["r"].max().compute(scheduler="synchronous") == 0.99
    assert {tuple(c) for c in read} == {("r",)}
    read.clear()
    assert with_pairs.pairs()["dataset"].count().compute(scheduler="synchronous") == 4
    assert {tuple(c) for c in read} == {()}


def test_pairs__nothing_in_any_file(opened: api.OpenStore) -> None:
    stores.pairs(opened._store, "C", [])
    assert opened.pairs().compute().columns.tolist() == ["gene_a", "gene_b", "r", "dataset"]
    assert len(opened.pairs()["r"].compute()) == 0


def test_pairs__none(opened: api.OpenStore) -> None:
    with pytest.raises(SpecError, match=r"run 'g2v pairs' first"):
        opened.pairs()


# -- co-occurrence ------------------------------------------------------------------------------------------


def test_cooccurrence__whole_and_symmetric(opened: api.OpenStore) -> None:
    found = opened.cooccurrence("all")
    value = found["value"]
    assert isinstance(value.data, dask.array.Array)
    assert value.data.chunks == ((4, 4, 3), (4, 4, 3))
    whole = value.compute()
    assert whole.dtype == np.uint32
    np.testing.assert_array_equal(whole, matrix())
    assert set(found.coords) == {"gene_id_row", "gene_id_col"}
    assert "triangle" not in found.attrs
    row = value.isel(gene_row=9).compute()
    np.testing.assert_array_equal(row, matrix()[9])


def test_cooccurrence__one_row_reads_one_band_of_tiles(opened: api.OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[int, int]] = []
    real = api._tile

    def spy(*, value: Any, block_id: tuple[int, int]) -> Any:
        read.append(block_id)
        return real(value=value, block_id=block_id)

    monkeypatch.setattr(api, "_tile", spy)
    found = opened.cooccurrence()
    assert read == []
    found["value"].isel(gene_row=9).compute(scheduler="synchronous")
    assert sorted(read) == [(2, 0), (2, 1), (2, 2)]


def test_embedding(opened: api.OpenStore) -> None:
    found = opened.embedding()
    assert (found.genes.tolist(), found.vectors.shape) == (GENES, (11, 3))
    assert len(found.similar("G03", k=4)) == 4
    assert found.to_keyedvectors().index_to_key == GENES
    assert found.to_anndata().shape == (11, 3)


# -- stages -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", STAGES)
def test_run__methods_document_their_options(opened: api.OpenStore, stage: str) -> None:
    method = getattr(opened.run, stage)
    parameters = inspect.signature(method).parameters
    fields = {f.name: f for f in STAGES[stage].__dataclass_fields__.values()}
    assert [*parameters] == [*fields, "cluster"]
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters.values())
    for name, field in fields.items():
        assert f"{name}: {field.metadata['doc']}" in method.__doc__


class _Done:
    def as_json(self) -> dict[str, Any]:
        return {"stage": "done"}


def test_run__stage_builds_the_spec(opened: api.OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def run_stage(url: str, spec: Any, *, cluster: ClusterSpec, display: Any) -> _Done:
        calls.append((url, spec, cluster, display.quiet))
        return _Done()

    monkeypatch.setattr(api.pipeline, "run_stage", run_stage)
    assert opened.run.train(source="all", name="e", components=7, cluster="tcp://here:1") == {"stage": "done"}
    spec = TrainSpec(source="all", name="e", components=7)
    assert calls == [(opened.url, spec, ClusterSpec(address="tcp://here:1"), True)]
    opened.run.pairs(top_k=50, cluster=ClusterSpec(workers=1))
    assert (calls[1][1].top_k, calls[1][2].workers) == (50, 1)
    with pytest.raises(SpecError, match=r"unknown option 'topk'; did you mean 'top_k'\?.*cluster"):
        opened.run.pairs(topk=50)
    with pytest.raises(SpecError, match="files must be given"):
        opened.run.ingest()
    with pytest.raises(SpecError, match="components must be a whole number"):
        opened.run.train(components="many")


def test_run__whole_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, Any]] = []

    def run_all(spec: Any, *, cluster: Any, display: Any) -> list[_Done]:
        calls.append((spec, cluster))
        return [_Done()]

    monkeypatch.setattr(api.pipeline, "run_all", run_all)
    file = tmp_path / "s.toml"
    file.write_text('store = "s"\n[merge]\n')
    assert api.run(file) == [{"stage": "done"}]
    assert api.run(calls[0][0], cluster="local") == [{"stage": "done"}]
    assert calls == [(calls[0][0], None), (calls[0][0], ClusterSpec())]
    assert calls[0][0].store == str(tmp_path / "s")
