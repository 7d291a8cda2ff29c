"""A server for each test, and back-off too short to wait for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from g2v_dask.folders import Folder, open_folder
from g2v_dask.geo import web
from tests.geo.server import Geo, serving


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "BACKOFF_SECONDS", 0.01)
    for name in ("NCBI_API_KEY", "NCBI_EMAIL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def geo() -> Iterator[Geo]:
    """GEO, on this machine."""
    with serving() as there:
        yield there


@pytest.fixture
def root(tmp_path: Path) -> Folder:
    """Where a store keeps what is GEO's."""
    return open_folder(tmp_path / "store") / "geo"
