"""Two clients, clocks that are off, a lock that a dead process left: nothing is committed twice."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from g2v_dask import parts
from g2v_dask.store import Store
from tests.faults import runs
from tests.faults.conftest import Scene
from tests.shell import g2v

YEAR_SECONDS = 365 * 24 * 3600


def same_bytes(scene: Scene) -> None:
    keys = runs.STAGES[scene.stage].makes
    assert runs.contents(scene.store, *keys) == runs.contents(scene.undisturbed, *keys)


def versions(scene: Scene) -> list[str]:
    """The manifests of what the stage makes: one for each commit that lasts."""
    return sorted(str(p) for key in runs.STAGES[scene.stage].makes for p in (scene.store / key).glob("*/manifest.json"))


def shift(folder: Path, seconds: float) -> None:
    """All that lies there was written by a machine whose clock is so much off."""
    for path in [folder, *folder.rglob("*")]:
        with suppress(FileNotFoundError):  # a temporary name that a running part has changed meanwhile
            os.utime(path, (time.time() + seconds,) * 2)


def dead_client(scene: Scene) -> tuple[runs.Gate, dict[str, bytes]]:
    """Kills a client whose part waits at the gate; returns the gate, and who owned the work."""
    doors = scene.machine.gate
    doors.close(runs.chance("zombie", scene.stage).choice(["start", "end"]), holds=1)
    first = runs.run(scene.stage, scene.data, scene.store, scene.machine.ensure())
    doors.arrived(first)
    first.process.kill()
    first.end()
    return doors, owners(scene.store)


def owners(store: Path) -> dict[str, bytes]:
    """Who owns the work on which target."""
    found = {}
    for folder, _, names in os.walk(store):  # unlike rglob, it minds no folder that is committed meanwhile
        if parts.OWNER in names:
            path = Path(folder, parts.OWNER)
            with suppress(FileNotFoundError):
                found[str(path)] = path.read_bytes()
    return found


def owned_by_another(store: Path, before: dict[str, bytes]) -> None:
    """Waits until another run owns all that one did, or has committed it."""
    deadline = time.monotonic() + runs.LIMIT_SECONDS
    while before.items() & owners(store).items():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("scene", ["pairs", "svd"], indirect=True)
def test_two_clients__the_second_is_refused(scene: Scene) -> None:
    doors = scene.machine.gate
    doors.close("end")
    first = runs.run(scene.stage, scene.data, scene.store, scene.machine.ensure())
    doors.arrived(first)
    second = runs.run(scene.stage, scene.data, scene.store, scene.machine.ensure()).fails(1)
    assert f"in use by process {first.process.pid}" in second
    doors.open()
    first.finish()
    same_bytes(scene)
    assert len(versions(scene)) == len(runs.STAGES[scene.stage].makes)


@pytest.mark.parametrize("scene", ["svd", "glove"], indirect=True)
def test_part_of_a_dead_client__writes_nothing_after_the_next_has_committed(scene: Scene) -> None:
    doors, _ = dead_client(scene)
    runs.run(scene.stage, scene.data, scene.store, scene.machine.ensure()).finish()
    committed = runs.files(scene.store)
    doors.open()
    scene.machine.idle()
    assert runs.files(scene.store) == committed
    same_bytes(scene)


@pytest.mark.parametrize("scene", ["pairs", "cooccur"], indirect=True)
def test_part_of_a_dead_client__beside_the_same_part_of_the_next(scene: Scene) -> None:
    """Dask may put parts behind one that a dead client has left, so that one must go on before the next run ends."""
    doors, first = dead_client(scene)
    second = runs.run(scene.stage, scene.data, scene.store, scene.machine.ensure())
    owned_by_another(scene.store, first)
    doors.open()
    second.finish()
    scene.machine.idle()
    same_bytes(scene)
    assert len(versions(scene)) == len(runs.STAGES[scene.stage].makes)


@pytest.mark.parametrize("years", [-1, 1])
@pytest.mark.parametrize("scene", ["merge"], indirect=True)
def test_clock_skew__work_of_another_time_goes_on(scene: Scene, years: int) -> None:
    """Parts done, lock and receipts seem a year old, or to come; neither a second client nor gc is misled."""
    doors = scene.machine.gate
    doors.close("start", passes=2)
    first = runs.run(scene.stage, scene.data, scene.store, scene.machine.ensure())
    doors.arrived(first)
    shift(scene.store, years * YEAR_SECONDS)
    assert "in use by" in runs.run(scene.stage, scene.data, scene.store, scene.machine.ensure()).fails(1)
    refused = g2v("gc", "--store", scene.store, "--young-hours", 0)
    assert (refused.code, "in use by" in refused.err) == (1, True)
    first.process.send_signal(signal.SIGKILL)
    first.end()
    doors.open()
    scene.machine.idle()
    shift(scene.store, years * YEAR_SECONDS)
    runs.run(scene.stage, scene.data, scene.store, scene.machine.ensure()).finish()
    same_bytes(scene)
    assert len(versions(scene)) == 1


@pytest.mark.parametrize("years", [-1, 1])
def test_stale_lock__does_not_hold_anybody(undisturbed: tuple[Path, Path], tmp_path: Path, years: int) -> None:
    """A POSIX lock dies with its process; what the file says and when it was written do not matter."""
    store = runs.without(undisturbed[1], tmp_path / "store", "best")
    (store / ".lock").write_text("process 999999 on elsewhere, since 2020-01-01 00:00:00\n")
    os.utime(store / ".lock", (time.time() + years * YEAR_SECONDS,) * 2)
    with Store.open(store).lock():
        pass
    assert g2v("gc", "--store", store).code == 0
