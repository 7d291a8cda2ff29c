"""What runs in a process of its own: the stages of a run spec, or an empty plan, with a clock beside the driver.

Workers import no more than this file needs, so that what they hold is the package's. A plan that is ``empty`` has
parts that do nothing: what is left is the driver, the scheduler, and the receipts.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import psutil
import pyarrow.parquet as pq
from dask.utils import key_split

from g2v_dask import driver, stages
from g2v_dask.cluster import connect
from g2v_dask.flows import pipeline
from g2v_dask.parts import Output, Part, Plan, Receipt, Target, Work, one_round, share_nothing
from g2v_dask.progress import Display
from g2v_dask.spec import ClusterSpec, RunSpec
from g2v_dask.store import Store

ROOT = Path(__file__).parents[2]
SAMPLED_SECONDS = 0.5  # between two looks at the memory
CLIENT = ("sort_out", "check", "drive", "take_over", "_submit", "landed", "_finish")  # what of the driver is timed
CHILD = (
    "import json, sys; from tests.benchmarks.scale_run import {0}; print(json.dumps({0}(**json.loads(sys.argv[1]))))"
)
Record = dict[str, Any]
clock = time.perf_counter

# -- a clock ------------------------------------------------------------------------------------------------


@contextmanager
def timed() -> Iterator[dict[str, Record]]:
    """Of each stage: seconds and calls of the client's own work, and every part that landed.

    ``drive`` holds ``take_over``, ``_submit`` and ``landed``, and ``landed`` holds ``_finish``. ``check`` starts a
    cluster where there is none.
    """
    log: dict[str, Record] = {}

    def record(stage: str) -> Record:
        return log.setdefault(stage, {"client": {}, "parts": []})

    def add(stage: str, name: str, seconds: float) -> None:
        found = record(stage)["client"].setdefault(name, {"seconds": 0.0, "calls": 0})
        found["seconds"] += seconds
        found["calls"] += 1

    def around(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def wrapped(self: Any, *arguments: Any) -> Any:
            start = clock()
            try:
                return method(self, *arguments)
            finally:
                add(self.plan.stage, name, clock() - start)
                if name == "landed" and arguments[2]["state"] == "done":
                    record(self.plan.stage)["parts"].append(_landed(*arguments))

        return wrapped

    load = stages.load

    def loaded(name: str) -> Any:
        stage = load(name)

        def plan(*arguments: Any) -> Plan:
            start = clock()
            made = stage.plan(*arguments)
            add(name, "plan", clock() - start)
            return made

        return SimpleNamespace(**{**vars(stage), "plan": plan})

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(stages, "load", loaded))
        for name in CLIENT:
            stack.enter_context(mock.patch.object(driver._Run, name, around(name, getattr(driver._Run, name))))
        yield log


def _landed(job: Any, part: Part, answer: Mapping[str, Any]) -> Record:
    receipt = answer["receipt"]
    return {
        "target": job.target.name,
        "seconds": receipt["seconds"],
        "written_bytes": sum(f["bytes"] for f in receipt["files"]),
    }


# -- children -----------------------------------------------------------------------------------------------


def run(spec: Record) -> Record:
    """Carries out a run spec; of each stage its summary in short, its clock, and what its parts read."""
    start = clock()
    with timed() as log:
        summaries = pipeline.run_all(RunSpec.build(spec, base=Path("/")), display=Display(quiet=True))
    seconds = clock() - start
    store = Store.open(spec["store"])
    for summary in summaries:
        found = log[summary.stage]
        found["seconds"] = found.get("seconds", 0.0) + summary.seconds
        found.setdefault("made", []).extend(summary.made)
        found.setdefault("quarantined", []).extend(summary.quarantined)
        found.setdefault("facts", {}).update(summary.artifacts)
    for part in log.get("pairs", {}).get("parts", ()):
        expression = store.get("expression", part["target"])
        part["read_bytes"] = sum(f["bytes"] for f in expression.manifest["files"])
    for part in log.get("merge", {}).get("parts", ()):
        part["read_bytes"] = gene_bytes(store)
    return {"seconds": seconds, "stages": log}


@functools.cache
def gene_bytes(store: Store) -> int:
    """What a band of merge reads of all pairs: the two columns of genes."""
    files = [artifact.path / name for artifact in store.artifacts("pairs") for name in artifact.names]
    groups = (meta.row_group(g) for meta in map(pq.read_metadata, files) for g in range(meta.num_row_groups))
    return sum(group.column(c).total_compressed_size for group in groups for c in (0, 1))


def run_part(work: Work) -> Output:
    """Nothing."""
    return Output(files=(), result={"number": work.part.number})


def facts(store: Store, target: Target, receipts: Mapping[int, Receipt]) -> Record:
    return {"parts": len(receipts)}


EMPTY: Any = SimpleNamespace(
    run_part=run_part, begin=share_nothing, next_round=one_round, facts=facts, plan=lambda *_: None
)


class Marks(Display):
    """Looks at the memory of some processes when so many parts have landed."""

    def watch(self, processes: Mapping[str, psutil.Process], marks: list[int]) -> None:
        self.processes, self.marks = processes, marks
        self.start, self.seen = clock(), list[Record]()

    def advance(self, label: str) -> None:
        super().advance(label)
        if self._done in self.marks:
            found = {name: process.memory_full_info().uss for name, process in self.processes.items()}
            seconds = round(clock() - self.start, 3)
            self.seen.append({"parts": self._done, "seconds": seconds, "uss_bytes": found})


def fill_names() -> None:
    """Fills Dask's cache of key names, which each of its processes has, to the brim."""
    for number in range(key_split.cache_info().maxsize):
        key_split(f"filler-{number:012d}-0-{number}-00000000")


def empty(store: str, parts: int, address: str, scheduler_pid: int, *, filled: bool = False) -> Record:
    """Drives one target of so many parts that do nothing; ``filled``: once Dask's cache of key names is full."""
    start = clock()
    plan = Plan(
        stage="empty",
        targets=(
            Target(
                kind="pairs",
                name=f"empty-{parts}",
                title="empty",
                version=1,
                identity={"parts": parts},
                inputs={},
                parts=tuple(Part(number=n, bytes=0, label=f"part {n}") for n in range(parts)),
            ),
        ),
    )
    planned = clock() - start
    processes = {"scheduler": psutil.Process(scheduler_pid), "client": psutil.Process()}
    display = Marks(quiet=True)
    opened = Store.open(store, create=True)
    with connect(ClusterSpec(address=address)) as cluster, timed() as log, opened.lock():
        pids = cluster.client.run(os.getpid)
        if filled:
            fill_names()
            cluster.client.run(fill_names)
            cluster.client.run_on_scheduler(fill_names)
        processes |= {f"worker {n}": psutil.Process(pid) for n, pid in enumerate(pids.values())}
        display.watch(processes, sorted({max(1, parts // share) for share in (100, 10, 2, 1)}))
        before = {name: cpu(process) for name, process in processes.items()}
        summary = driver.drive(EMPTY, plan, opened, cluster, display)
        used = {name: cpu(process) - before[name] for name, process in processes.items()}
    client = log["empty"]["client"]
    assert summary.parts_run == parts
    return {
        "parts": parts,
        "workers": len(pids),
        "plan_seconds": planned,
        "seconds": summary.seconds,
        "tasks_per_second": round(parts / client["drive"]["seconds"], 1),
        "part_seconds": summary.part_seconds,
        "worker_seconds_beside_parts": (client["drive"]["seconds"] * len(pids) - summary.part_seconds) / parts,
        "cpu_seconds": {name: round(seconds, 2) for name, seconds in used.items()},
        "client": client,
        "marks": display.seen,
    }


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


# -- a process and its memory -------------------------------------------------------------------------------


def memory(process: psutil.Process) -> dict[str, int]:
    """PSS shares what processes share; the high-water mark is the kernel's own, of RSS."""
    found = process.memory_full_info()
    lines = (line.split() for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    high = next((int(words[1]) * 1024 for words in lines if words[0] == "VmHWM:"), found.rss)
    return {"pss_bytes": found.pss, "rss_bytes": found.rss, "rss_high_water_bytes": high}


def child(name: str, **asked: Any) -> Record:
    """What a function of this file returns in a process of its own, and the most memory of client and of a worker."""
    command = [sys.executable, "-c", CHILD.format(name), json.dumps(asked)]
    most: dict[str, dict[str, int]] = {}
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        watcher = threading.Thread(target=_watch, args=(process, most))
        watcher.start()
        printed, _ = process.communicate()
        watcher.join()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command[:2] + [name])
    return {**json.loads(printed), "peak": most}


def _watch(process: subprocess.Popen[str], most: dict[str, dict[str, int]]) -> None:
    """Keeps the largest of each kind, over workers too, until the process ends."""
    while process.poll() is None:
        try:
            top = psutil.Process(process.pid)
            family = [("client and scheduler", top), *(("worker", one) for one in top.children(recursive=True))]
        except psutil.NoSuchProcess:
            return
        for role, one in family:
            try:
                if role == "worker" and not any("spawn_main" in word for word in one.cmdline()):
                    continue  # Python's own, which tracks resources
                found = memory(one)
            except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError, ProcessLookupError):
                continue
            held = most.setdefault(role, found)
            for kind, size in found.items():
                held[kind] = max(held[kind], size)
        time.sleep(SAMPLED_SECONDS)
