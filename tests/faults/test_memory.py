"""A part that needs more memory than its worker has: tried once more with nothing beside it, then named."""

from __future__ import annotations

from pathlib import Path

import pytest

from g2v_dask import driver
from g2v_dask.cluster import connect
from g2v_dask.errors import BudgetError
from g2v_dask.progress import Display
from g2v_dask.spec import ClusterSpec
from g2v_dask.store import Store
from tests import toy
from tests.toy import Toy

LIMIT_BYTES = 600 << 20


def run(store: Store, spec: Toy, *, workers: int = 2) -> driver.Summary:
    with connect(ClusterSpec(workers=workers, memory_bytes=LIMIT_BYTES)) as there:
        return driver.drive(toy, toy.plan(store, spec), store, there, Display(quiet=True))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "s", create=True)


@pytest.mark.parametrize(("workers", "resumed"), [(1, 1), (2, 3)])
def test_drive__a_part_over_its_workers_memory_is_tried_alone_and_then_named(
    store: Store, tmp_path: Path, workers: int, resumed: int
) -> None:
    mark = tmp_path / "tries"
    spec = Toy(fault="hungry", mark=str(mark), parts=6, bytes=40 << 20)
    said = r"toy of part 1: each worker that ran it died, the last .* reckoned to need 0\.04 GB; .* 0\.31 GB beside"
    with pytest.raises(BudgetError, match=said):
        run(store, spec, workers=workers)
    assert mark.read_text() == "xx"
    assert store.names("pairs") == []
    summary = run(store, Toy(parts=6, bytes=40 << 20), workers=workers)  # the same work, its fault mended
    assert summary.made == ["toy"]
    assert summary.parts_resumed >= resumed  # what waited on the same worker may have been put off too


def test_drive__a_part_whose_worker_died_once_is_done(store: Store, tmp_path: Path) -> None:
    summary = run(store, Toy(fault="die", mark=str(tmp_path / "died"), parts=6))
    assert (summary.made, summary.parts_run) == (["toy"], 7)
