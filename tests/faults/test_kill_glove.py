"""kill -9 of a worker in a pass of GloVe, and of the client between passes: the bytes of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from g2v_dask import driver
from g2v_dask.cluster import connect
from g2v_dask.models import glove
from g2v_dask.progress import Display
from g2v_dask.spec import ClusterSpec
from g2v_dask.stages import train
from g2v_dask.store import Store
from tests import made, stores
from tests.stages.test_train_glove import add_samples, spec_of

ROOT = Path(__file__).parents[2]
PASSES = 12


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = stores.empty(tmp_path / "s", tile=16)
    add_samples(opened)
    return opened


@pytest.fixture
def undisturbed(store: Store, tmp_path: Path) -> dict[str, bytes]:
    """Of another store of the same data, in one part."""
    other = stores.empty(tmp_path / "other", tile=16)
    add_samples(other)
    driver.here(train, train.plan(other, spec_of(iterations=PASSES)), other)
    return made.data_files(other.get("embeddings", "e").path)


class Killer(Display):
    """Kills one of the workers when some parts have ended and others run."""

    def __init__(self, pids: list[int], after: int) -> None:
        super().__init__(quiet=True)
        self.pids, self.left = pids, after

    def advance(self, label: str) -> None:
        super().advance(label)
        self.left -= 1
        if self.left == 0:
            assert ", rows" in label or ", columns" in label
            os.kill(self.pids[0], signal.SIGKILL)


def test_worker_killed__the_pass_goes_on(
    store: Store, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glove, "SMALL", 0)
    plan = train.plan(store, spec_of(iterations=PASSES))
    with connect(ClusterSpec(workers=2, memory_bytes=1 << 30)) as cluster:
        pids = list(cluster.client.run(os.getpid).values())
        display = Killer(pids, after=52)
        assert driver.drive(train, plan, store, cluster, display).made == ["e"]
        assert display.left < 0
        assert pids[0] not in cluster.client.run(os.getpid).values()
    assert made.data_files(store.get("embeddings", "e").path) == undisturbed


CLIENT = """
import sys
from g2v_dask import driver
from g2v_dask.models import glove
from g2v_dask.stages import train
from g2v_dask.store import Store
from tests.stages.test_train_glove import spec_of
glove.SMALL = int(sys.argv[2])
store = Store.open(sys.argv[1])
driver.here(train, train.plan(store, spec_of(iterations=int(sys.argv[3]))), store)
"""


def client(store: Store, small: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", CLIENT, str(store.root), str(small), str(PASSES)]
    return subprocess.Popen(command, cwd=ROOT)


def test_client_killed__rounds_go_on(
    store: Store, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice: while log x is read and the start is made, and amid the passes."""
    monkeypatch.setattr(glove, "SMALL", 0)
    plan = train.plan(store, spec_of(iterations=PASSES))
    work = store.work(plan.targets[0].digest)
    for round_ in (4, 20):
        with client(store, 0) as process:
            while not (work / f"round-{round_}").exists():
                assert process.poll() is None, "it ended before it was killed"
                time.sleep(0.002)
            process.kill()
    assert store.names("embeddings") == []
    summary = driver.here(train, plan, store)
    assert summary.parts_resumed >= 40
    assert made.data_files(store.get("embeddings", "e").path) == undisturbed


def test_client_killed__one_part_goes_on_from_its_checkpoint(store: Store, undisturbed: dict[str, bytes]) -> None:
    plan = train.plan(store, spec_of(iterations=PASSES))
    scratch = store.work(plan.targets[0].digest) / "scratch"
    with client(store, 9999) as process:
        while not list(scratch.glob("iteration-*")):
            if process.poll() is not None:
                break  # it was faster: there is nothing to resume, and nothing to prove wrong
            time.sleep(0.0005)
        process.kill()
    driver.here(train, plan, store)
    assert made.data_files(store.get("embeddings", "e").path) == undisturbed
