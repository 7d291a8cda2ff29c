"""Trainers: skip-gram beside bare gensim, its memory as pairs grow tenfold, and the SVD. Prints JSON.

    PYTHONPATH=. python tests/benchmarks/train.py --genes 20000 --pairs 1000000 --repeats 7

``pairs_per_second`` counts pairs times iterations. Both contenders have one worker thread, the same pairs,
vocabulary and settings; gensim finds them shuffled, in memory, as a list of lists. Ours is the whole
``train``: reading tiles, scatter, shuffle, loss, checkpoints. They take turns in one process, for the median.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from gensim.models import Word2Vec

from g2v_dask.folders import LocalFolder  # noqa: E402
from g2v_dask.models import load
from g2v_dask.spec import TrainSpec
from tests.oracles_models import MemoryMatrix, modules


def ours(matrix: MemoryMatrix, spec: TrainSpec) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        return load(spec.method).train(
            matrix, spec, folder=LocalFolder(Path(folder)), progress=lambda *_: None, alive=lambda: None
        )


def bare(pairs: list[list[str]], counts: dict[str, int], spec: TrainSpec) -> None:
    model = Word2Vec(
        vector_size=spec.components,
        window=1,
        sg=1,
        min_count=spec.min_count,
        sample=spec.sample,
        negative=spec.negative,
        workers=1,
        seed=spec.seed,
    )
    model.build_vocab_from_freq(counts)
    model.train(pairs, total_examples=len(pairs), epochs=spec.iterations)


def seconds(function: Any, *arguments: Any) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def speed(genes: int, pairs: int, components: int, iterations: int, repeats: int) -> dict[str, Any]:
    matrix = modules(genes, int(pairs / 1.67))
    held = matrix.pairs()
    sides = np.concatenate([matrix.rows, matrix.cols])
    sums = np.bincount(sides, np.tile(matrix.values, 2), len(matrix.genes)).astype(int)
    counts = dict(zip(matrix.genes.tolist(), sums.tolist(), strict=True))
    random.Random(1).shuffle(held)
    spec = TrainSpec(components=components, iterations=iterations, min_count=1)
    times: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(repeats):
        times["ours"].append(seconds(ours, matrix, spec))
        times["bare"].append(seconds(bare, held, counts, spec))
    work = len(held) * iterations
    ratios = [b / o for o, b in zip(times["ours"], times["bare"], strict=True)]
    return {
        "pairs": len(held),
        "iterations": iterations,
        "ours_pairs_per_second": round(work / statistics.median(times["ours"])),
        "bare_pairs_per_second": round(work / statistics.median(times["bare"])),
        "ours_over_bare": round(statistics.median(ratios), 3),
        "goal": ">= 0.9",
    }


def high_water(matrix: MemoryMatrix, spec: TrainSpec) -> tuple[int, int]:
    """Bytes that are resident before training, and at most while it runs."""
    page = 4096

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * page

    load(spec.method)
    before, most, stop = resident(), [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.005):
            most[0] = max(most[0], resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    ours(matrix, spec)
    stop.set()
    watcher.join()
    return before, max(most[0], resident())


def memory_child(method: str, genes: int, cells: int, components: int, times: int) -> None:
    """Prints the memory of one training; ``times`` multiplies the pairs, not the cells."""
    matrix = modules(genes, cells)
    matrix.values = (matrix.values * times).astype(np.uint32)
    spec = TrainSpec(method=method, components=components, iterations=1, min_count=1)
    before, most = high_water(matrix, spec)
    need = load(method).memory_bytes(genes, 2 * len(matrix.rows), components)
    pairs = int(matrix.values.sum())
    print(json.dumps({"pairs": pairs, "grown_mb": (most - before) // 10**6, "formula_mb": need // 10**6}))


def memory(method: str, genes: int, cells: int, components: int, times: int = 1) -> dict[str, Any]:
    arguments = [method, *map(str, (genes, cells, components, times))]
    command = [sys.executable, __file__, "--memory-child", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def svd(genes: int, cells: int, components: int, repeats: int) -> dict[str, Any]:
    matrix = modules(genes, cells // 2)
    spec = TrainSpec(method="svd", components=components)
    times, cpu, residual = [], [], 0.0
    for _ in range(repeats):
        start, begun = time.perf_counter(), time.process_time()
        residual = ours(matrix, spec).facts["residual"]
        times.append(time.perf_counter() - start)
        cpu.append(time.process_time() - begun)
    return {
        "genes": genes,
        "cells": 2 * len(matrix.rows),
        "components": components,
        "seconds": round(statistics.median(times), 2),
        "cpu_seconds": round(statistics.median(cpu), 2),
        "residual": residual,
        "goal": "<= 25 s at 20,000 genes, 14 million cells, 200 components",
    }


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--components", type=int, default=200)
    parser.add_argument("--svd-cells", type=int, default=14_000_000)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--svd-repeats", type=int, default=3)
    parser.add_argument("--only", choices=("speed", "memory", "svd"))
    parser.add_argument("--memory-child", nargs=5, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.memory_child:
        method, *numbers = given.memory_child
        memory_child(method, *map(int, numbers))
        return {}
    size = (given.genes, given.components)
    out: dict[str, Any] = {}
    if given.only in (None, "speed"):
        out["speed"] = speed(given.genes, given.pairs, given.components, given.iterations, given.repeats)
    if given.only in (None, "memory"):
        cells = int(given.pairs / 1.67)
        few = memory("skipgram", size[0], cells, size[1])
        many = memory("skipgram", size[0], cells, size[1], 10)
        pair = {"few": few, "ten_times": many, "ratio": round(many["grown_mb"] / max(few["grown_mb"], 1), 3)}
        out["memory"] = {**pair, "svd": memory("svd", size[0], given.svd_cells // 2, size[1])}
    if given.only in (None, "svd"):
        out["svd"] = svd(size[0], given.svd_cells, size[1], given.svd_repeats)
    print(json.dumps(out, indent=2))
    return out


if __name__ == "__main__":
    main()
