"""SIGINT and SIGTERM in the middle of a part: a clean stop, exit 130 and 143, and the same command goes on."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import psutil
import pytest

from tests.faults import gate, runs
from tests.faults.conftest import Scene

SIGNALS = {"SIGINT": (signal.SIGINT, 130), "SIGTERM": (signal.SIGTERM, 143)}


@pytest.fixture(params=SIGNALS)
def stop(request: pytest.FixtureRequest) -> tuple[int, int]:
    """A signal and the exit code that belongs to it."""
    return SIGNALS[request.param]


@pytest.mark.parametrize("scene", ["pairs", "skipgram"], indirect=True)
def test_signal__with_workers_of_its_own(scene: Scene, stop: tuple[int, int], tmp_path: Path) -> None:
    """Its workers and their scratch go too."""
    number, code = stop
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    doors = scene.machine.gate
    doors.close(runs.chance("signal", scene.stage, number).choice(gate.PLACES))
    words = (*runs.words(scene.stage, scene.data), "--store", scene.store, "-q")
    program = runs.Program.start(*words, "--cluster-workers", 2, env={**doors.env, "TMPDIR": str(scratch)})
    doors.arrived(program)
    workers = psutil.Process(program.process.pid).children(recursive=True)
    os.kill(program.process.pid, number)
    said = stopped(program, code, scene)
    assert number == signal.SIGTERM or "the same command goes on" in said
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    assert not [p.name for p in scratch.iterdir() if p.name.startswith("g2v")]
    assert runs.half_written(scene.store) == []
    runs.Program.start(*words, "--cluster", scene.machine.ensure()).finish()
    keys = runs.STAGES[scene.stage].makes
    assert runs.contents(scene.store, *keys) == runs.contents(scene.undisturbed, *keys)


@pytest.mark.parametrize("scene", ["ingest", "merge"], indirect=True)
def test_signal__on_a_cluster_that_goes_on(scene: Scene, stop: tuple[int, int]) -> None:
    """Parts that run already may end; they clear up behind them."""
    number, code = stop
    doors = scene.machine.gate
    doors.close(runs.chance("signal", scene.stage, number).choice(gate.PLACES))
    program = runs.run(scene.stage, scene.data, scene.store, scene.machine.ensure())
    doors.arrived(program)
    os.kill(program.process.pid, number)
    stopped(program, code, scene)
    scene.machine.idle()
    assert runs.half_written(scene.store) == []
    runs.run(scene.stage, scene.data, scene.store, scene.machine.ensure()).finish()
    keys = runs.STAGES[scene.stage].makes
    assert runs.contents(scene.store, *keys) == runs.contents(scene.undisturbed, *keys)


def stopped(program: runs.Program, code: int, scene: Scene) -> str:
    """What it said, once it has ended with this code; the gate opens a moment later, so that parts may go on."""
    opener = threading.Timer(1.0, scene.machine.gate.open)
    opener.start()
    got, _, said = program.end()
    opener.join()
    assert got == code, said
    assert "Traceback" not in said
    return said
