"""Where the cases play: one machine and one undisturbed run for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.faults import runs


class Scene(NamedTuple):
    """A stage that is to run, on a machine that may be struck."""

    machine: runs.Machine
    data: Path
    undisturbed: Path
    store: Path  # as if the stage had never run
    stage: str


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[runs.Machine]:
    """A scheduler and two workers, with a gate."""
    with runs.machine(tmp_path_factory.mktemp("machine")) as there:
        yield there


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, machine: runs.Machine) -> tuple[Path, Path]:
    """The data, and the store of a run that nothing disturbed."""
    return runs.undisturbed(tmp_path_factory.mktemp("undisturbed"), machine)


@pytest.fixture(params=runs.STAGES)
def scene(
    request: pytest.FixtureRequest, tmp_path: Path, machine: runs.Machine, undisturbed: tuple[Path, Path]
) -> Iterator[Scene]:
    """Of each stage; a test may name those it wants. Whatever becomes of it, the next one finds the machine free."""
    data, whole = undisturbed
    machine.ensure()
    yield Scene(machine, data, whole, runs.without(whole, tmp_path / "store", request.param), request.param)
    machine.gate.open()
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):  # it has ended: of a zombie nothing can be asked
            if "g2v_dask.cli" in child.cmdline():
                child.kill()
