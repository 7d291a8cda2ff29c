"""kill -9 of a worker, the scheduler and the client inside each stage: the same command finishes, with the same bytes.

Where in which part the kill lands is drawn from a fixed seed, which ``$G2V_FAULT_SEED`` shifts.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from tests.faults import gate, runs
from tests.faults.conftest import Scene


def caught(scene: Scene, victim: str) -> tuple[runs.Program, int]:
    """The stage under way, and a worker that is somewhere in a part."""
    chance = runs.chance(victim, scene.stage)
    gate_ = scene.machine.gate
    gate_.close(chance.choice(gate.PLACES), chance.randrange(runs.STAGES[scene.stage].parts))
    program = runs.run(scene.stage, scene.data, scene.store, scene.machine.ensure())
    return program, chance.choice(gate_.arrived(program))


def finish(scene: Scene) -> None:
    """The same command ends well."""
    runs.run(scene.stage, scene.data, scene.store, scene.machine.ensure()).finish()


def same_bytes(scene: Scene) -> None:
    """What was disturbed is what was not."""
    keys = runs.STAGES[scene.stage].makes
    assert runs.contents(scene.store, *keys) == runs.contents(scene.undisturbed, *keys)


def test_worker_killed__the_command_goes_on(scene: Scene) -> None:
    program, worker = caught(scene, "worker")
    os.kill(worker, signal.SIGKILL)
    scene.machine.gate.open()
    program.finish()
    same_bytes(scene)


def test_client_killed__the_same_command_finishes(scene: Scene) -> None:
    """While parts of the killed one still run."""
    program, _ = caught(scene, "client")
    program.process.kill()
    assert program.end()[0] == -signal.SIGKILL
    scene.machine.gate.open()
    finish(scene)
    same_bytes(scene)


@pytest.mark.parametrize("scene", ["pairs"], indirect=True)
def test_client_killed__its_own_workers_go_and_the_next_clears_their_scratch(scene: Scene, tmp_path: Path) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    doors = scene.machine.gate
    doors.close("middle")
    words = (*runs.words(scene.stage, scene.data), "--store", scene.store, "-q", "--cluster-workers", 2)
    around = {**doors.env, "TMPDIR": str(scratch)}
    program = runs.Program.start(*words, env=around)
    doors.arrived(program)
    workers = psutil.Process(program.process.pid).children(recursive=True)
    program.process.kill()
    program.end()
    doors.open()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    runs.Program.start(*words, env=around).finish()
    assert not list(scratch.glob("g2v*"))
    same_bytes(scene)


def test_scheduler_killed__one_error_and_the_same_command_finishes(scene: Scene) -> None:
    program, _ = caught(scene, "scheduler")
    scene.machine.kill_scheduler()
    scene.machine.gate.open()
    message = program.fails(1)
    assert message.startswith("g2v: ")
    assert "scheduler" in message
    finish(scene)
    same_bytes(scene)
