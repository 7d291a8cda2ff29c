"""A stage for tests of the run loop: adds up numbers in parts, over two rounds; its parts can fail."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g2v_dask.errors import InputError
from g2v_dask.files import write_file
from g2v_dask.parts import Output, Part, Plan, Receipt, Target, Work, share_nothing
from g2v_dask.store import Store

begin = share_nothing


@dataclass(frozen=True, kw_only=True)
class Toy:
    """What to do: how many parts, how long each takes, and which fault to have."""

    name: str = "toy"
    parts: int = 4
    bytes: int = 1000
    seconds: float = 0.0
    fault: str = ""
    mark: str = ""  # a file that says that the fault has happened


def plan(store: Store, spec: Toy) -> Plan:
    """One target."""
    return Plan(stage="toy", targets=(target(spec),))


def target(spec: Toy) -> Target:
    """The target; the fault is not identity."""
    return Target(
        kind="pairs",
        name=spec.name,
        title=spec.name,
        version=1,
        identity={"parts": spec.parts},
        inputs={},
        detail=spec,
        parts=tuple(Part(number=i, bytes=spec.bytes, label=f"part {i}") for i in range(spec.parts)),
    )


def run_part(work: Work) -> Output:
    """Round 0 writes numbers, round 1 (one part) adds them up from the files."""
    spec: Toy = work.target.detail
    if work.round == 0 and work.part.number == 1:
        _fault(spec)
    time.sleep(spec.seconds)
    if work.round == 0:
        file = work.desk / "numbers" / f"{work.part.number}.txt"
        write_file(file, str(work.part.number**2).encode())
        return Output(files=(file,), result=work.part.number**2)
    numbers = [int(p.read_text()) for p in sorted((work.desk / "numbers").iterdir())]
    file = work.desk / "data.txt"
    write_file(file, str(sum(numbers)).encode())
    return Output(files=(file,), result=sum(numbers))


def _fault(spec: Toy) -> None:
    if spec.fault == "refuse":
        msg = "expected four legs, got three; count again"
        raise InputError(msg)
    if spec.fault == "crash":
        raise RuntimeError(spec.fault)
    if spec.fault == "hungry":
        with Path(spec.mark).open("a") as tries:
            tries.write("x")
        held = []
        while True:  # until the nanny ends this process
            held.append(bytearray(os.urandom(1 << 20)) * 16)
            time.sleep(0.02)
    if spec.fault == "die" and not Path(spec.mark).exists():
        Path(spec.mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)


def next_round(target: Target, done: int, receipts: Mapping[int, Receipt]) -> tuple[Part, ...]:
    """Two rounds."""
    return (Part(number=0, bytes=1, label="sum"),) if done == 0 else ()


def facts(store: Store, target: Target, receipts: Mapping[int, Receipt]) -> dict[str, Any]:
    """The sum."""
    return {"sum": receipts[0]["result"]}
