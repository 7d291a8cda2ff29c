"""A file of vectors becomes an embedding like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from g2v_dask import arrays, driver, exchange, query
from g2v_dask.driver import Summary
from g2v_dask.errors import InputError, SpecError
from g2v_dask.files import file_sha256
from g2v_dask.spec import ImportSpec
from g2v_dask.stages import imported
from g2v_dask.store import Store
from tests import made, stores

GENES = [f"G{i}" for i in range(11)]
VECTORS = np.random.default_rng(1).normal(size=(11, 5)).astype(np.float32)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return stores.empty(tmp_path / "s", tile=4)


def bring(store: Store, file: Path, name: str, truncate: int | None = None) -> Summary:
    spec = ImportSpec(file=str(file), name=name, truncate=truncate)
    return driver.here(imported, imported.plan(store, spec), store)


def chunks(store: Store, name: str) -> dict[str, bytes]:
    """The data's bytes, less the metadata, which holds the card."""
    found = made.data_files(store.get("embeddings", name).path)
    return {path: data for path, data in found.items() if not path.endswith("zarr.json")}


@pytest.mark.parametrize("suffix", sorted(exchange.FORMATS))
def test_import__of_an_export_has_the_same_bytes(store: Store, tmp_path: Path, suffix: str) -> None:
    stores.embedding(store, "first", GENES, VECTORS, card={"method": "svd"})
    file = tmp_path / f"out{suffix}"
    exchange.write(file, query.open_embedding(store, "first"))
    assert bring(store, file, "second").made == ["second"]
    assert chunks(store, "first") == chunks(store, "second")
    assert len(chunks(store, "second")) == 4
    artifact = store.get("embeddings", "second")
    assert artifact.manifest["inputs"] == {f"file:out{suffix}": file_sha256(file)}
    again = query.open_embedding(store, "second")
    assert dict(artifact.facts) == again.card
    assert {k: again.card[k] for k in ("genes", "components", "imported_from")} == {
        "genes": 11,
        "components": 5,
        "imported_from": f"out{suffix}",
    }
    if suffix in (".parquet", ".npz", ".h5ad"):
        assert again.card["card"]["method"] == "svd"
    assert str(tmp_path) not in str(again.card)
    assert [n.gene for n in again.similar("G3", 3)] == [
        n.gene for n in query.open_embedding(store, "first").similar("G3", 3)
    ]


def test_import__again_is_fresh_and_other_bytes_replace(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "v.txt"
    file.write_text("2 1\na 1\nb 2\n")
    assert bring(store, file, "e").made == ["e"]
    assert bring(store, file, "e").fresh == ["e"]
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    assert bring(store, file.rename(moved / "v.txt"), "e").fresh == ["e"]
    file.write_text("2 1\na 1\nb 3\n")
    assert bring(store, file, "e").replaced == ["e"]


def test_import__truncate_takes_the_first(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "v.npz"
    np.savez(file, genes=np.array(GENES), vectors=VECTORS)
    bring(store, file, "all")
    assert bring(store, file, "some", truncate=6).artifacts["some"]["genes"] == 6
    found = query.open_embedding(store, "some")
    assert found.genes.tolist() == GENES[:6]
    np.testing.assert_array_equal(found.vectors, VECTORS[:6])
    root = arrays.open_group(store.get("embeddings", "some").path, "embeddings")
    assert root["vector"].chunks == (4, 5)


def test_import__can_be_indexed(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "v.npz"
    np.savez(file, genes=np.array(GENES), vectors=VECTORS)
    bring(store, file, "e")
    plain = query.open_embedding(store).similar("G0")
    stores.indexed(store, "e", shard_rows=3)
    indexed = query.open_embedding(store)
    assert len(indexed.shards) == 4
    assert indexed.similar("G0") == plain


def test_plan__refuses_before_any_work(store: Store, tmp_path: Path) -> None:
    page = tmp_path / "p.txt"
    page.write_text("<html>")
    good = tmp_path / "v.txt"
    good.write_text("1 1\na 1\n")
    for file, message in (
        (page, "web page"),
        (tmp_path / "none.txt", "No such file"),
        (tmp_path / "v.doc", "unknown extension"),
    ):
        with pytest.raises(InputError, match=message):
            imported.plan(store, ImportSpec(file=str(file), name="e"))
    with pytest.raises(SpecError, match="name is made of"):
        imported.plan(store, ImportSpec(file=str(good), name="../e"))
    with pytest.raises(SpecError, match="truncate must be at least 1"):
        ImportSpec(file=str(good), name="e", truncate=0)
    imported.plan(store, ImportSpec(file=str(good), name="e"))
    assert not (store.root / "embeddings").exists()


def test_import__bad_content_leaves_nothing(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "v.txt"
    file.write_text("2 1\na 1\nb nan\n")
    summary = bring(store, file, "e")
    assert "'b' (row 2)" in summary.quarantined[0]["reason"]
    assert store.names("embeddings") == []
    assert not list(store.root.glob("embeddings/*/*"))
    file.write_text("2 1\na 1\nb 2\n")
    assert bring(store, file, "e").made == ["e"]
    assert store.quarantined() == []
