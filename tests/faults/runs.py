"""What the fault tests share: small real data, the stages, a scheduler of its own, and a gate to strike at."""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anndata
import distributed
import psutil

from g2v_dask.store import Store
from tests import made, stores

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "jobs" / "demo"
GENES = 400
TILE = 128
LIMIT_SECONDS = 300  # nothing here takes a tenth of it on an idle machine: what does hangs
G2V = [sys.executable, "-m", "g2v_dask.cli"]
DASK = [sys.executable, "-m", "dask"]


@dataclass(frozen=True)
class Stage:
    """A stage as a user runs it, and what it makes."""

    makes: tuple[str, ...]
    words: str
    parts: int  # that the gate may let pass, and still meet one


STAGES = {
    "ingest": Stage(
        ("expression/bladder", "expression/cells", "expression/leukemia"),
        "ingest {data}/bladder_series_matrix.txt.gz {data}/cells.h5ad {data}/leukemia.tsv.gz",
        3,
    ),
    "pairs": Stage(
        ("pairs/bladder", "pairs/cells", "pairs/leukemia"), "pairs --top-k 10 --datasets bladder,cells,leukemia", 3
    ),
    "merge": Stage(("cooccurrence/all",), "merge", 4),
    "cooccur": Stage(("cooccurrence/counts",), "cooccur --name counts --datasets counts-cells", 1),
    "skipgram": Stage(
        ("embeddings/skipgram",), "train --from all --name skipgram --components 16 --iterations 4 --min-count 1", 1
    ),
    "svd": Stage(("embeddings/svd",), "train --from all --name svd --method svd --components 16", 1),
    "glove": Stage(
        ("embeddings/glove",),
        "train --from counts --name glove --method glove --components 8 --iterations 4 --checkpoint 2",
        1,
    ),
    "norms": Stage(("index/svd",), "index --name svd --norms", 2),
    "best": Stage(("answers/svd-best",), "analogy best --name svd -k 50", 3),
}


def chance(*what: object) -> random.Random:
    """The random choices of a case; ``$G2V_FAULT_SEED`` gives others."""
    return random.Random("/".join(map(str, (*what, os.environ.get("G2V_FAULT_SEED", "0")))))


def words(stage: str, data: Path) -> list[str]:
    """The command of a stage, without store and cluster."""
    return STAGES[stage].words.format(data=data).split()


# -- data ---------------------------------------------------------------------------------------------------


def write_data(folder: Path) -> Path:
    """The demo's three files with the first genes that all of them have."""
    folder.mkdir(parents=True)
    cells = anndata.read_h5ad(DEMO / "immune_cells.h5ad")
    tables = {name: _rows(DEMO / name) for name in ("bladder_series_matrix.txt.gz", "leukemia.tsv.gz")}
    shared = set(cells.var_names).intersection(*tables.values())
    genes = sorted(shared)[:GENES]
    for name, table in tables.items():
        kept = [line for key, lines in table.items() if key not in shared or key in genes for line in lines]
        kept = [line for line in kept if _is_head(line) or line.split("\t")[0].strip('"') in genes]
        (folder / name).write_bytes(gzip.compress("".join(kept).encode(), mtime=0))
    cells[:, genes].copy().write_h5ad(folder / "cells.h5ad")
    return folder


def _rows(file: Path) -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {}
    for line in gzip.decompress(file.read_bytes()).decode().splitlines(keepends=True):
        rows.setdefault(line.split("\t")[0].strip('"\n'), []).append(line)
    return rows


def _is_head(line: str) -> bool:
    return line.startswith(("!", '"ID_REF"', "gene\t"))


# -- stores -------------------------------------------------------------------------------------------------


def contents(root: Path, *keys: str) -> dict[str, dict[str, bytes]]:
    """Every byte of the data of these artifacts; of all where none are named."""
    store = Store.open(root)
    chosen = keys or [key for stage in STAGES.values() for key in stage.makes]
    return {key: made.data_files(store.get(*key.split("/")).path) for key in chosen}


def without(source: Path, target: Path, stage: str) -> Path:
    """A copy of a store, as if this stage had never run."""
    shutil.copytree(source, target, dirs_exist_ok=True)
    for key in STAGES[stage].makes:
        shutil.rmtree(target / key)
    return target


def files(root: Path) -> dict[str, bytes]:
    """All that lies in a folder, but locks."""
    found = (p for p in sorted(root.rglob("*")) if p.is_file() and p.name != ".lock")
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in found}


def half_written(root: Path) -> list[str]:
    """Temporary names that are still there."""
    return [str(p) for p in root.rglob("*") if ".partial" in p.name or p.name.startswith(".gone-")]


# -- processes ----------------------------------------------------------------------------------------------


@dataclass
class Program:
    """A ``g2v`` that runs in a process of its own."""

    process: subprocess.Popen[str]

    @classmethod
    def start(cls, *given: object, env: dict[str, str] | None = None, file_bytes: int | None = None) -> Program:
        """Starts it; ``file_bytes``: as if the disk had no room for a larger file."""
        command = [*G2V, *map(str, given)]

        def before() -> None:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is heard even where the shell of the tests hears none
            if file_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

        pipe, around = subprocess.PIPE, {**os.environ, **(env or {})}
        start = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=around, cwd=ROOT, preexec_fn=before)
        return cls(start)

    def end(self) -> tuple[int, str, str]:
        """Exit code, output, messages; fails if it hangs."""
        try:
            out, err = self.process.communicate(timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode, out, err

    def finish(self) -> str:
        """Its output, if all went well."""
        code, out, err = self.end()
        assert code == 0, err
        return out

    def fails(self, code: int = 1) -> str:
        """Its one message, if it ended with this code and said no more."""
        got, _, err = self.end()
        assert got == code, err
        assert "Traceback" not in err, err
        messages = [line for line in err.splitlines() if line.strip()]
        assert len(messages) == 1, err
        return messages[0]


class Gate:
    """The gate of ``gate.py``, from the outside."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.tokens: list[str] = []  # of all times that it was closed
        self.env = {
            "G2V_FAULT_GATE": str(folder),
            "DASK_DISTRIBUTED__WORKER__PRELOAD": json.dumps(["tests.faults.gate"]),
            "PYTHONPATH": str(ROOT),
        }
        self.token = ""

    def close(self, place: str, passes: int = 0, *, holds: int = 99) -> None:
        """Parts wait at this place: so many, once others have passed."""
        self.token = uuid.uuid4().hex[:8]
        self.tokens.append(self.token)
        draft = self.folder / "draft"
        draft.write_text(json.dumps({"place": place, "passes": passes, "holds": holds, "token": self.token}))
        draft.rename(self.folder / "closed.json")

    def open(self) -> None:
        """Those who wait go on, whenever they came."""
        (self.folder / "closed.json").unlink(missing_ok=True)
        for token in self.tokens:
            (self.folder / f"opened-{token}").touch()

    def arrived(self, program: Program) -> list[int]:
        """The processes that wait at it, once there is one."""
        deadline = time.monotonic() + LIMIT_SECONDS
        while time.monotonic() < deadline:
            found = [int(p.name.rpartition("-")[2]) for p in self.folder.glob(f"arrived-{self.token}-*")]
            if found:
                return sorted(found)
            if program.process.poll() is not None:
                break
            time.sleep(0.01)
        msg = f"no part came to the gate: {program.end()}"
        raise AssertionError(msg)


@dataclass
class Machine:
    """A scheduler and two workers, each a process of its own; started again when its scheduler was killed."""

    folder: Path
    gate: Gate
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    address: str = ""

    def ensure(self) -> str:
        """Its scheduler's address."""
        if not self.processes or self.processes[0].poll() is not None:
            self.stop()
            self._start()
        return self.address

    def _start(self) -> None:
        file = self.folder / f"{uuid.uuid4().hex}.json"
        common = ["--scheduler-file", str(file), "--no-dashboard"]
        worker = [*DASK, "worker", *common, "--nworkers", "2", "--nthreads", "1", "--memory-limit", "4GB"]
        self._run([*DASK, "scheduler", "--host", "127.0.0.1", "--port", "0", *common])
        self._run([*worker, "--local-directory", str(self.folder / "scratch")])
        deadline = time.monotonic() + LIMIT_SECONDS
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.address = json.loads(file.read_text())["address"]

    def _run(self, command: list[str]) -> None:
        with (self.folder / "dask.log").open("ab") as log:
            around = {**os.environ, **self.gate.env}
            self.processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=around))

    def kill_scheduler(self) -> None:
        """SIGKILL."""
        self.processes[0].kill()
        self.processes[0].wait()

    def idle(self) -> None:
        """Waits until no worker runs anything, not even for clients that are gone."""
        with distributed.Client(self.address, set_as_default=False) as client:
            deadline = time.monotonic() + LIMIT_SECONDS
            while any(client.run(_running).values()):
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def stop(self) -> None:
        """Ends all of it, and sees that nothing is left."""
        self.gate.open()
        below = [c for p in self.processes if p.poll() is None for c in psutil.Process(p.pid).children(recursive=True)]
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            process.wait(timeout=LIMIT_SECONDS)
        _, alive = psutil.wait_procs(below, timeout=60)
        assert not alive
        self.processes = []


def _running(dask_worker: Any) -> int:
    return len(dask_worker.active_threads)


@contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """A machine that is stopped at the end."""
    there = Machine(folder, Gate(folder / "gate"))
    try:
        yield there
    finally:
        there.stop()


def undisturbed(folder: Path, there: Machine) -> tuple[Path, Path]:
    """All stages in order, with nothing in their way: the data, and the store.

    In small tiles, so that small data are many parts.
    """
    data = write_data(folder / "data")
    store = folder / "undisturbed"
    stores.empty(store, tile=TILE)
    counts = ("ingest", data / "cells.h5ad", "--counts", "--name-prefix", "counts-")
    Program.start(*counts, "--store", store, "--cluster", there.ensure(), "-q").finish()
    for stage in STAGES:
        run(stage, data, store, there.ensure()).finish()
    return data, store


def run(stage: str, data: Path, store: Path, address: str, **more: Any) -> Program:
    """The command of a stage."""
    return Program.start(*words(stage, data), "--store", store, "--cluster", address, "-q", **more)
