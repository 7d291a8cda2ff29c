"""kill -9 of a worker while the best analogies are searched: the same bytes as of an undisturbed search."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from g2v_dask import driver
from g2v_dask.cluster import connect
from g2v_dask.progress import Display
from g2v_dask.questions import BestSpec
from g2v_dask.spec import ClusterSpec
from g2v_dask.stages import search
from tests import made, stores
from tests.search import words


class Killer(Display):
    """Kills one of the workers when some parts have ended and others run."""

    def __init__(self, pids: list[int], after: int) -> None:
        super().__init__(quiet=True)
        self.pids, self.left = pids, after

    def advance(self, label: str) -> None:
        super().advance(label)
        self.left -= 1
        if self.left == 0:
            os.kill(self.pids[0], signal.SIGKILL)


def test_worker_killed__best_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "BLOCK", 12)
    x = words.vectors("normal", 240, 10, 3)
    found = []
    for number, disturbed in enumerate((False, True)):
        store = stores.empty(tmp_path / f"s{number}")
        stores.embedding(store, "e", words.ids(240, 0).tolist(), x)
        plan = search.plan(store, BestSpec(k=100, max_per_gene=8))
        if not disturbed:
            driver.here(search, plan, store)
        else:
            with connect(ClusterSpec(workers=2, memory_bytes=1 << 30)) as cluster:
                pids = list(cluster.client.run(os.getpid).values())
                display = Killer(pids, after=8)
                summary = driver.drive(search, plan, store, cluster, display)
                assert display.left < 0
                assert summary.made == ["e-best"]
                after = list(cluster.client.run(os.getpid).values())
                assert pids[0] not in after
        found.append(made.data_files(store.get("answers", "e-best").path))
    assert found[0] == found[1]
