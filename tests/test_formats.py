"""Stores of every format version that was ever written still open (``tests/data/store-<version>``)."""

import shutil
from pathlib import Path

import pytest

from g2v_dask import api, schema
from g2v_dask.errors import StoreError
from g2v_dask.files import file_sha256

STORES = sorted((Path(__file__).parent / "data").glob("store-*"))


def test_stores__one_is_kept_for_each_format():
    assert [p.name for p in STORES] == [f"store-{v}" for v in range(1, schema.FORMAT_VERSION + 1)]


@pytest.mark.parametrize("kept", STORES, ids=lambda p: p.name)
def test_store__opens_and_is_whole(kept, tmp_path):
    shutil.copytree(kept, tmp_path / "s")
    store = api.open_store(tmp_path / "s")
    assert store.expression("a")["expression"].shape == (12, 8)
    assert set(store.pairs().compute()["dataset"]) == {"a", "b"}
    assert int(store.cooccurrence("all")["value"].max().compute()) == 2
    assert len(store.embedding("v").similar("CD3E", k=3)) == 3
    for kind in schema.KINDS:
        for artifact in store._store.artifacts(kind):
            for entry in artifact.manifest["files"]:
                assert file_sha256(artifact.path / entry["path"]) == entry["sha256"]


def test_store__newer_than_we_are_is_refused_with_both_numbers(tmp_path):
    newer = schema.FORMAT_VERSION + 1
    kept = shutil.copytree(STORES[-1], tmp_path / "s") / "g2v.json"
    kept.write_text(kept.read_text().replace(f'"format": {schema.FORMAT_VERSION}', f'"format": {newer}'))
    with pytest.raises(StoreError, match=f"has format {newer}; this g2v_dask reads format {schema.FORMAT_VERSION}"):
        api.open_store(tmp_path / "s")
