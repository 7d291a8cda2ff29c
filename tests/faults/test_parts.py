"""A part's file that is missing, cut or has one bit changed when all is to be committed: commit refuses it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import runs
from tests.faults.conftest import Scene


def flip(file: Path) -> None:
    """Changes one bit, at a place drawn from the seed."""
    chance = runs.chance("flip", file.name)
    data = bytearray(file.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


def cut(file: Path) -> None:
    """Takes the last byte away."""
    file.write_bytes(file.read_bytes()[:-1])


HARMS: dict[str, Callable[[Path], None]] = {"missing": Path.unlink, "truncated": cut, "bit flipped": flip}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("scene", ["merge"], indirect=True)
def test_commit__refuses_a_damaged_part_and_the_same_command_mends_it(scene: Scene, harm: str) -> None:
    doors = scene.machine.gate
    doors.close("start", passes=3)
    program = runs.run(scene.stage, scene.data, scene.store, scene.machine.ensure())
    doors.arrived(program)
    entry = one_file(scene)
    file = next((scene.store / "cooccurrence" / "all").glob(f"*/{entry['path']}"))
    HARMS[harm](file)
    doors.open()
    message = program.fails(1)
    assert f"part {entry['part']}" in message
    assert str(file) in message
    assert "missing" in message if harm == "missing" else "damaged" in message
    assert not (scene.store / "cooccurrence" / "all" / "HEAD").exists()
    runs.run(scene.stage, scene.data, scene.store, scene.machine.ensure()).finish()
    keys = runs.STAGES[scene.stage].makes
    assert runs.contents(scene.store, *keys) == runs.contents(scene.undisturbed, *keys)


def one_file(scene: Scene) -> dict[str, object]:
    """A file that a receipt names, once three parts have theirs."""
    deadline = time.monotonic() + runs.LIMIT_SECONDS
    while len(found := sorted((scene.store / ".work").glob("*/round-0/part-*.json"))) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    named = [entry for receipt in found for entry in json.loads(receipt.read_text())["files"]]
    return dict(runs.chance("part").choice(named))
