"""Two clients, clocks that are off, a lock that a dead process left: nothing is committed twice."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

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


@pytest.mark.parametrize("scene", ["svd"], indirect=True)
def test_part_of_a_dead_client__writes_nothing_after_the_next_has_committed(scene: Scene) -> None:
    doors = scene.machine.gate
    doors.close(runs.chance("zombie", scene.stage).choice(["start", "end"]), holds=1)
    first = runs.run(scene.stage, scene.data, scene.store, scene.machine.ensure())
    doors.arrived(first)
    first.process.kill()
    first.end()
    runs.run(scene.stage, scene.data, scene.store, scene.machine.ensure()).finish()
    committed = runs.files(scene.store)
    doors.open()
    scene.machine.idle()
    assert runs.files(scene.store) == committed
    same_bytes(scene)


@pytest.mark.parametrize("years", [-1, 1])
def test_stale_lock__does_not_hold_anybody(undisturbed: tuple[Path, Path], tmp_path: Path, years: int) -> None:
    """A POSIX lock dies with its process; what the file says and when it was written do not matter."""
    store = runs.without(undisturbed[1], tmp_path / "store", "best")
    (store / ".lock").write_text("process 999999 on elsewhere, since 2020-01-01 00:00:00\n")
    os.utime(store / ".lock", (time.time() + years * YEAR_SECONDS,) * 2)
    with Store.open(store).lock():
        pass
    assert g2v("gc", "--store", store).code == 0
