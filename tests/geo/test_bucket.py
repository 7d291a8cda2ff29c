"""GEO's files and ledger in a bucket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from g2v_dask.folders import desks, open_folder
from g2v_dask.folders.inputs import holding
from g2v_dask.geo.fetch import Fetched, fetch, inputs
from g2v_dask.geo.ledger import Ledger, State
from g2v_dask.geo_spec import GeoSpec
from tests.geo import parts
from tests.geo.server import Fault, Geo
from tests.shell import g2v

NAME = "series/GSE55nnn/GSE55235/matrix/GSE55235_series_matrix.txt.gz"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """The URL of a store in an empty bucket, and a cache of its own."""
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(key, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("G2V_CACHE", str(tmp_path / "cache"))
    desks.desk.cache_clear()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="genes")
        yield f"s3://genes/{tmp_path.name}?endpoint_url={endpoint}"  # servers of a process share what they hold
    finally:
        server.stop()


def test_fetch__into_a_bucket(geo: Geo, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    geo.series("GSE55235", parts.matrix(rows=2000))
    geo.annotation("GPL96", parts.annotation())
    geo.misbehave("matrix.txt.gz", Fault(end_at=50_000))
    root = open_folder(store) / "geo"
    spec = GeoSpec(accessions=("GSE55235",), timeout_seconds=5.0, tries=3, **geo.settings)
    assert fetch(root, spec, (), say=lambda _: None) == Fetched(new=("GSE55235",))
    assert list((root / "files").sizes()) == ["platforms/GPL96.annot.gz", NAME]
    assert Ledger(root).entries()["GSE55235"].state is State.FETCHED
    given = inputs(root)
    assert given.files == (store.replace("?", f"/geo/files/{NAME}?"),)
    assert holding(given.platforms, "GPL96").fetch("GPL96.annot.gz").read_bytes() == parts.annotation()
    # another machine, which has no copies
    monkeypatch.setenv("G2V_CACHE", str(tmp_path / "elsewhere"))
    desks.desk.cache_clear()
    assert fetch(root, spec, (), say=lambda _: None) == Fetched(same=("GSE55235",))
    assert (root / "files").fetch(NAME).read_bytes() == parts.matrix(rows=2000)
    assert holding(inputs(root).platforms, "GPL96").fetch("GPL96.annot.gz").read_bytes() == parts.annotation()


def test_cli_fetch__into_a_bucket(geo: Geo, store: str) -> None:
    geo.series("GSE55235", parts.matrix())
    geo.annotation("GPL96", parts.annotation())
    assert g2v("geo", "fetch", "GSE55235", "--store", store, *geo.flags).code == 0
    (row,) = json.loads(g2v("geo", "status", "--store", store, "--json").out)
    assert row["state"] == "fetched"
