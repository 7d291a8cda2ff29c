"""kill -9 of a worker in a pass of GloVe, and of the client between passes: the bytes of an undisturbed run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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
PASSES = 6


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = stores.empty(tmp_path / "s", tile=20)
    add_samples(opened)
    return opened


@pytest.fixture
def undisturbed(store: Store, tmp_path: Path) -> dict[str, bytes]:
    """Of another store of the same data, in one part."""
    other = stores.empty(tmp_path / "other", tile=20)
    add_samples(other)
    driver.here(train, train.plan(other, spec_of(iterations=PASSES)), other)
    return made.data_files(other.get("embeddings", "e").path)


class Killer(Display):
    """Kills one of the workers when a part of a half pass has ended and others of it wait."""

    def __init__(self, pids: list[int], after: int) -> None:
        super().__init__(quiet=True)
        self.pids, self.left = pids, after

    def advance(self, label: str) -> None:
        super().advance(label)
        self.left -= label == "e, rows 0"
        if self.left == 0:
            os.kill(self.pids.pop(), signal.SIGKILL)
            self.left = -1


def test_worker_killed__the_pass_goes_on(
    store: Store, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(glove, "SMALL", 0)
    plan = train.plan(store, spec_of(iterations=PASSES))
    with connect(ClusterSpec(workers=2, memory_bytes=1 << 30)) as cluster:
        pids = list(cluster.client.run(os.getpid).values())
        display = Killer([*pids], after=3)
        assert driver.drive(train, plan, store, cluster, display).made == ["e"]
        assert len(display.pids) == 1
        assert pids[1] not in cluster.client.run(os.getpid).values()
    assert made.data_files(store.get("embeddings", "e").path) == undisturbed


CLIENT = """
import os, signal, sys
from g2v_dask import driver
from g2v_dask.models import glove
from g2v_dask.models.checkpoints import Checkpoints
from g2v_dask.stages import train
from g2v_dask.store import Store
from tests.stages.test_train_glove import spec_of

root, passes, way, left = sys.argv[1], int(sys.argv[2]), sys.argv[3], [int(sys.argv[4])]

def killed_after(plain):
    def done(*given, **more):
        result = plain(*given, **more)
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return done

if way == "rounds":
    glove.SMALL = 0
    train.run_part = killed_after(train.run_part)  # its files are there, its receipt is not
else:
    Checkpoints.save = killed_after(Checkpoints.save)
store = Store.open(root)
driver.here(train, train.plan(store, spec_of(iterations=passes)), store)
"""


def killed(store: Store, way: str, after: int) -> None:
    """The same command in a process of its own, which kills itself."""
    command = [sys.executable, "-c", CLIENT, str(store.root.desk), str(PASSES), way, str(after)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert store.names("embeddings") == []


def test_client_killed__rounds_go_on(
    store: Store, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twice: while the start is made, and then in a pass."""
    killed(store, "rounds", 7)
    killed(store, "rounds", 20)
    monkeypatch.setattr(glove, "SMALL", 0)
    summary = driver.here(train, train.plan(store, spec_of(iterations=PASSES)), store)
    assert summary.parts_resumed == 6 + 19
    assert made.data_files(store.get("embeddings", "e").path) == undisturbed


def test_client_killed__one_part_goes_on_from_its_checkpoint(store: Store, undisturbed: dict[str, bytes]) -> None:
    plan = train.plan(store, spec_of(iterations=PASSES))
    killed(store, "one part", 1)
    killed(store, "one part", 1)
    scratch = store.work(plan.targets[0].digest).desk / "scratch"
    assert sorted(p.name for p in scratch.iterdir()) == ["iteration-00002.npz", "iteration-00004.npz"]
    driver.here(train, plan, store)
    assert made.data_files(store.get("embeddings", "e").path) == undisturbed
