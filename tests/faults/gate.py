"""Preloaded into workers: a gate in every part, at which it waits, so that what strikes then strikes inside the stage.

The folder ``$G2V_FAULT_GATE`` holds ``closed.json`` while the gate is closed: its place in a part, how many parts pass
before it shuts, and how many it holds. Places: ``start``; ``middle``, where the part first tells how far it is;
``writing``, where a file has a temporary name; ``end``, where the files are there and the receipt is not. A part that
has no such place waits at its end.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from g2v_dask import parts

PLACES = ("start", "middle", "writing", "end")
_passed: ContextVar[set[str] | None] = ContextVar("passed", default=None)  # gates that the running part has seen


def come_to(place: str) -> None:
    """Waits while the gate is closed here; a part comes to it once."""
    passed = _passed.get()
    if passed is None:
        return
    folder = Path(os.environ["G2V_FAULT_GATE"])
    closed = folder / "closed.json"
    try:
        order = json.loads(closed.read_bytes())
    except FileNotFoundError:
        return
    token = order["token"]
    if place not in (order["place"], "end") or token in passed:
        return
    passed.add(token)
    if any(_claimed(folder / f"pass-{token}-{n}") for n in range(order["passes"])):
        return
    if any(_claimed(folder / f"hold-{token}-{n}") for n in range(order["holds"])):
        (folder / f"arrived-{token}-{os.getpid()}").touch()
        while not (folder / f"opened-{token}").exists():
            time.sleep(0.01)


def _claimed(file: Path) -> bool:
    try:
        file.open("x").close()
    except FileExistsError:
        return False
    return True


def gated(run_part: Callable[[parts.Work], parts.Output]) -> Callable[[parts.Work], parts.Output]:
    """The same, with the gate in it."""

    def run(work: parts.Work) -> parts.Output:
        def progress(done: int, total: int, note: str) -> None:
            work.progress(done, total, note)
            come_to("middle")

        _passed.set(set())
        try:
            come_to("start")
            output = run_part(dataclasses.replace(work, progress=progress))
            come_to("end")
        finally:
            _passed.set(None)
        return output

    return run


_execute, _fsync = parts.execute, os.fsync


def execute(run_part: Any, *rest: Any, **more: Any) -> Any:
    """``parts.execute`` of a part with the gate in it."""
    return _execute(gated(run_part), *rest, **more)


def fsync(file: int) -> None:
    """``os.fsync``, which the package calls before it gives a file its name."""
    come_to("writing")
    _fsync(file)


def dask_setup(_worker: Any) -> None:
    """Puts the gate in, in the worker that preloads this; whoever else imports it has none."""
    parts.execute = execute  # tasks name it; they find this one
    os.fsync = fsync
