"""A stage on any number of workers, computed from the seconds of its parts: discrete events on a heap.

Modelled: the client is one server, which submits and lands parts one after the other within the driver's window;
a worker takes the next part that has arrived, and spends on each also what it measured beside the part (receipt,
message, transfer); where a shared disk is asked for, it is one server, through which what a part reads and writes
passes after the rest of it. Not modelled: parts that slow each other by sharing a machine, workers that come late or
go, the network, and work stealing (the queue is one, for all workers).
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

from g2v_dask.driver import WINDOW_PER_THREAD

WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
Record = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One part: seconds on a worker, and bytes that it reads and writes."""

    seconds: float
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Seconds beside the parts; those of the client are serial."""

    begin: float  # until the first submission: plan, what is fresh, taking over
    submit: float  # a part
    land: float  # a part, with its share of commits, and of the scheduler's CPU
    beside: float  # a part, on its worker
    disk: float = 0.0  # a byte; 0: a disk that stops nobody


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What is known of a stage."""

    name: str
    tasks: tuple[Task, ...]
    costs: Costs


def wall(stage: Stage, workers: int) -> float:
    """Seconds from the plan to the last commit."""
    costs = stage.costs
    ready, arrived = deque(stage.tasks), deque[Task]()
    events: list[tuple[float, int, str, Task]] = []
    order = itertools.count()
    idle, flying, disk, client = workers, 0, 0.0, costs.begin

    def later(time: float, kind: str, task: Task) -> None:
        heapq.heappush(events, (time, next(order), kind, task))

    while ready or events:
        while ready and flying < WINDOW_PER_THREAD * workers:
            client += costs.submit
            later(client, "arrives", ready.popleft())
            flying += 1
        now, _, kind, task = heapq.heappop(events)
        if kind == "arrives":
            arrived.append(task)
        elif kind == "computed" and costs.disk:
            disk = max(disk, now) + task.bytes * costs.disk
            later(disk, "ends", task)
        else:
            idle, flying = idle + 1, flying - 1
            client = max(client, now) + costs.land
        while idle and arrived:
            idle -= 1
            task = arrived.popleft()
            later(now + costs.beside + max(0.0, task.seconds - task.bytes * costs.disk), "computed", task)
    return client


def bounds(stage: Stage, workers: int) -> dict[str, float]:
    """What no schedule can be faster than, each alone; the largest stops the scaling."""
    tasks, costs = stage.tasks, stage.costs
    return {
        "work / workers": sum(t.seconds + costs.beside for t in tasks) / workers,
        "client, one part after the other": costs.begin + len(tasks) * (costs.submit + costs.land),
        "longest part": costs.begin + max(t.seconds for t in tasks) + costs.beside,
        "shared disk": sum(t.bytes for t in tasks) * costs.disk,
    }


def table(stages: Sequence[Stage], workers: Sequence[int] = WORKERS) -> list[Record]:
    """Of each number of workers: seconds of each stage and of all, efficiency, and what stops each stage."""
    work = sum(t.seconds for s in stages for t in s.tasks)
    rows = []
    for number in workers:
        seconds = {s.name: round(wall(s, number), 2) for s in stages}
        total = sum(seconds.values())
        stops = {s.name: max(bounds(s, number).items(), key=lambda item: item[1])[0] for s in stages}
        rows.append(
            {
                "workers": number,
                "seconds": seconds,
                "total_seconds": round(total, 2),
                "efficiency": round(work / number / total, 4),
                "stopped_by": stops,
                "bounds": {s.name: {k: round(v, 2) for k, v in bounds(s, number).items()} for s in stages},
            }
        )
    return rows


def stage_of(name: str, record: Record, *, beside: float, scheduler: float) -> Stage:
    """A stage as a run measured it. ``scheduler`` is CPU seconds a part, of a process that lands parts too."""
    client, parts = record["client"], record["parts"]
    begin = sum(client[key]["seconds"] for key in ("plan", "sort_out", "take_over"))
    return Stage(
        name=name,
        tasks=tuple(Task(seconds=p["seconds"], bytes=p["read_bytes"] + p["written_bytes"]) for p in parts),
        costs=Costs(
            begin=begin,
            submit=client["_submit"]["seconds"] / len(parts),
            land=client["landed"]["seconds"] / len(parts) + scheduler,
            beside=beside,
        ),
    )


def measured(record: Record) -> float:
    """What ``wall`` predicts, as it was: without the start of a cluster."""
    return float(sum(record["client"][key]["seconds"] for key in ("plan", "sort_out", "drive")))


def on_shared_disk(stage: Stage, bytes_per_second: float) -> Stage:
    return replace(stage, costs=replace(stage.costs, disk=1 / bytes_per_second))


def predicted(stages: Sequence[Stage], workers: int, real: dict[str, Record]) -> Record:
    """Wall of each stage beside the real one."""
    found = {}
    for stage in stages:
        computed, was = wall(stage, workers), measured(real[stage.name])
        slower = sum(p["seconds"] for p in real[stage.name]["parts"]) / sum(t.seconds for t in stage.tasks)
        found[stage.name] = {
            "computed_seconds": round(computed, 2),
            "measured_seconds": round(was, 2),
            "error": round(computed / was - 1, 4),
            "part_seconds_of_the_real_run_over_those_used": round(slower, 4),
        }
    return found


def plot(file: Path, curves: dict[str, list[Record]], points: dict[int, float]) -> None:
    """Wall time and efficiency by workers; points are real runs."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    lines: list[tuple[Any, Callable[[Record], float]]] = [
        (left, lambda row: row["total_seconds"]),
        (right, lambda row: row["efficiency"]),
    ]
    for axes, value in lines:
        for (name, rows), style in zip(curves.items(), ("-o", "--s", ":^"), strict=False):
            axes.plot([r["workers"] for r in rows], [value(r) for r in rows], style, markersize=4, label=name)
        axes.set_xscale("log", base=2)
        axes.set_xticks(WORKERS, [str(w) for w in WORKERS])
        axes.set_xlabel("workers")
        axes.grid(alpha=0.3)
    first = next(iter(curves.values()))
    ideal = [first[0]["total_seconds"] * first[0]["workers"] / row["workers"] for row in first]
    left.plot([row["workers"] for row in first], ideal, color="grey", linewidth=0.8, label="computed, in proportion")
    left.plot(list(points), list(points.values()), "k*", markersize=11, label="measured")
    left.set_yscale("log")
    left.set_ylabel("seconds, pairs and merge")
    right.set_ylabel("efficiency: part seconds / (workers × wall)")
    right.set_ylim(0, 1.05)
    left.legend(fontsize=8)
    figure.savefig(file, dpi=150)
    plt.close(figure)
