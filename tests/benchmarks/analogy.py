"""Questions of differences: seconds and memory, beside bare SGEMM, FAISS and gene_analogies' way. Prints JSON.

    PYTHONPATH=. python tests/benchmarks/analogy.py --vectors trained=FILE.npy [--only pair_cold,gene] [--repeats 5]

Vectors are the first ``--genes`` rows of .npy files (most frequent gene first), or made: ``noise`` is Gaussian;
``planted`` has the falling spectrum of a trained embedding, and a few quadruples with a - b = c - d, nearly.
Rows are independent: one that fails says why, and the rest goes on. What is cold, or has its peak memory taken,
runs in a process of its own; Numba's code is on disk by then. A peak is VmHWM and not ru_maxrss, which a
process has from the one that started it. Progress is on stderr; ``--to FILE`` also keeps what is done so far.

FAISS's answers, flat or IVF, are asked for until k of them have four different genes, in both directions.
``seeds_way`` is train_pq.py and query_similar_pairs.py of gene_analogies: unit differences i < j only, 8√N lists
trained on all (FAISS takes at most 256 vectors a list), nprobe 512, the searches for q and -q merged rank by
rank, where at each rank but the first the better of the two stays; beside it FAISS's nprobe of 1, and the merge
by score.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import threadpoolctl
from numpy.typing import NDArray

# no more of the package up here: what a process imports later is part of what is measured
from g2v_dask import query, tiles

ROOT = Path(__file__).parents[2]
SEED = 4
K = 10
BATCH = 16
BEST_K = 1000
TILE = 512
RECALL_K = 20
RECALL_QUERIES = 50
NPROBES = (1, 64, 512)  # FAISS's default; between; gene_analogies'
MADE = ("noise", "planted")
GOALS = {
    "pair_cold": "<= 1.5 s, <= 1 GB",
    "pair_warm_norms": "<= 0.1 s",
    "batch16": "<= 0.05 s a query",
    "inner_warm": "<= 0.005 s",
    "gene": "<= 15 s with <= 2.3 GB, <= 60 s within 1 GB",
    "best": "<= 180 s at n = 5,000 on a trained embedding, 2 workers",
    "near": "<= 3 x bare SGEMM",
    "memory_growth": "flat in genes squared",
}
Question = tuple[str, str]


# -- vectors ------------------------------------------------------------------------------------------------


def noise(genes: int, components: int) -> NDArray[np.float32]:
    return np.random.default_rng(SEED).standard_normal((genes, components), dtype=np.float32)


def planted(genes: int, components: int) -> NDArray[np.float32]:
    """Rows 4i to 4i + 3 of the first tenth hold a, b, c, d with a - b = c - d but for 2 % of its length."""
    rng = np.random.default_rng(SEED)
    spectrum = (1 + np.arange(components)) ** -0.5
    x = rng.standard_normal((genes, components)) * spectrum
    for a in range(0, 4 * max(1, genes // 40), 4):
        gap = x[a + 2] - x[a + 3]
        off = rng.standard_normal(components)
        x[a] = x[a + 1] + gap + 0.02 * np.linalg.norm(gap) * off / np.linalg.norm(off)
    return x.astype(np.float32)


def opened(file: Path | str, genes: int | None = None) -> query.Embedding:
    """The first rows of a file, named so that the order of ids is that of rows."""
    vectors = np.ascontiguousarray(np.load(file, allow_pickle=False)[:genes], dtype=np.float32)
    return query.Embedding(
        name=Path(file).stem,
        digest="",
        genes=np.array([f"G{row:06d}" for row in range(len(vectors))]),
        vectors=vectors,
        card={},
    )


def questions(field: query.Embedding, number: int, seed: int = SEED) -> list[Question]:
    """Seeded pairs of different genes."""
    rng = np.random.default_rng(seed)
    n = len(field)
    first = rng.integers(0, n, number)
    second = (first + rng.integers(1, n, number)) % n
    return [(str(field.genes[a]), str(field.genes[b])) for a, b in zip(first, second, strict=True)]


def row_of(name: str) -> int:
    return int(name[1:])


# -- measuring ----------------------------------------------------------------------------------------------


def seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def summary(times: Sequence[float], per: int = 1) -> dict[str, float]:
    values = [t / per for t in times]
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {key: round(value, 6) for key, value in found.items()}


def peak_bytes() -> int:
    """The most that was resident in this process."""
    status = Path("/proc/self/status")
    if status.is_file():
        lines = (line.split() for line in status.read_text().splitlines())
        return next(int(words[1]) * 1024 for words in lines if words[0] == "VmHWM:")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def module(name: str) -> Any:
    return importlib.import_module(f"g2v_dask.{name}")


class Bench:
    """Options, and what rows share."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.files: dict[str, Path] = {}
        self.fields: dict[str, query.Embedding] = {}
        self.normed: dict[str, tuple[query.Embedding, float]] = {}

    def keep(self, name: str, vectors: NDArray[np.float32]) -> None:
        self.files[name] = self.folder / f"{name}.npy"
        np.save(self.files[name], np.ascontiguousarray(vectors, dtype=np.float32), allow_pickle=False)

    def noise_file(self, genes: int) -> Path:
        file = self.folder / f"noise-{genes}.npy"
        if not file.exists():
            np.save(file, noise(genes, self.options.components), allow_pickle=False)
        return file

    def field(self, name: str) -> query.Embedding:
        if name not in self.fields:
            self.fields[name] = opened(self.files[name])
        return self.fields[name]

    def with_norms(self, name: str) -> tuple[query.Embedding, float]:
        """The same with stored inverse lengths, as ``g2v index --norms`` leaves them, and the seconds they took."""
        if name not in self.normed:
            plain, band = self.field(name), module("stages.index").BAND
            start = time.perf_counter()
            space = module("search.space").make(plain.genes, plain.vectors, np.arange(len(plain)))
            bands = []
            for number in range(tiles.count(len(plain), band)):
                rows = tiles.span(len(plain), band, number)
                file = self.folder / f"{name}-norms-{number:05d}.npy"
                np.save(file, space.inverses(rows.start, rows.stop)[0], allow_pickle=False)
                bands.append(np.load(file, mmap_mode="c", allow_pickle=False))
            self.normed[name] = dataclasses.replace(plain, norms=tuple(bands)), time.perf_counter() - start
        return self.normed[name]

    def child(self, row: str, **asked: Any) -> dict[str, Any]:
        """This script again, in a fresh process."""
        asked = {key: str(value) if isinstance(value, Path) else value for key, value in asked.items()}
        done = subprocess.run(
            [sys.executable, str(Path(__file__)), "--child", json.dumps({"row": row, **asked})],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            timeout=60 * self.options.limit_minutes,
        )
        if done.returncode:
            msg = f"{row} ended with {done.returncode}: {done.stderr.strip()[-500:]}"
            raise RuntimeError(msg)
        return dict(json.loads(done.stdout.splitlines()[-1]))


def repeated(function: Callable[[int], Any], repeats: int, per: int = 1) -> dict[str, float]:
    """Warm: call 0 is not counted."""
    function(0)
    return summary([seconds(lambda n=n: function(n)) for n in range(1, repeats + 1)], per)


# -- rows: pairs --------------------------------------------------------------------------------------------


def pair_cold(bench: Bench, name: str) -> dict[str, Any]:
    runs = [bench.child("pair", file=bench.files[name], seed=SEED + n) for n in range(bench.options.repeats)]
    return {
        "seconds": summary([run["seconds"] for run in runs]),
        "import_seconds": summary([run["import_seconds"] for run in runs]),
        "peak_bytes": max(run["peak_bytes"] for run in runs),
        "peak_bytes_before_query": max(run["peak_bytes_before_query"] for run in runs),
    }


def pair_child(file: str, seed: int) -> dict[str, Any]:
    field = opened(file)
    a, b = questions(field, 1, seed)[0]
    imported = seconds(lambda: module("analogy"))
    before = peak_bytes()
    taken = seconds(lambda: field.pair(a, b, K))
    return {
        "seconds": taken,
        "import_seconds": imported,
        "peak_bytes": peak_bytes(),
        "peak_bytes_before_query": before,
        "vector_bytes": field.vectors.nbytes,
    }


def pair_warm_norms(bench: Bench, name: str) -> dict[str, Any]:
    field, index_seconds = bench.with_norms(name)
    plain = bench.field(name)
    asked = questions(field, bench.options.repeats + 1)
    return {
        "seconds": repeated(lambda n: field.pair(*asked[n], K), bench.options.repeats),
        "seconds_without_norms": repeated(lambda n: plain.pair(*asked[n], K), bench.options.repeats),
        "norms_seconds": round(index_seconds, 3),
        "norms_bytes": sum(band.nbytes for band in field.norms),
        "same_answers": field.pair(*asked[0], K).found == plain.pair(*asked[0], K).found,
    }


def batch16(bench: Bench, name: str) -> dict[str, Any]:
    field, plain, repeats = bench.with_norms(name)[0], bench.field(name), bench.options.repeats
    asked = [questions(field, BATCH, SEED + n) for n in range(repeats + 1)]
    out: dict[str, Any] = {
        "seconds_a_query_with_norms": repeated(lambda n: field.pairs(asked[n], K), repeats, BATCH),
        "seconds_a_query_without_norms": repeated(lambda n: plain.pairs(asked[n], K), repeats, BATCH),
    }
    if name == "planted":
        known = plain.genes[: 4 * min(BATCH, max(1, len(plain) // 40))].reshape(-1, 4).tolist()
        found = plain.pairs([(a, b) for a, b, _, _ in known], 1)
        hits = [(x.found[0].c, x.found[0].d) == (c, d) for x, (_, _, c, d) in zip(found, known, strict=True)]
        out["planted_found"] = statistics.mean(hits)
    return out


def inner_warm(bench: Bench, name: str) -> dict[str, Any]:
    field = bench.field(name)
    asked = questions(field, bench.options.repeats + 1)
    return {"seconds": repeated(lambda n: field.pair(*asked[n], K, metric="inner"), bench.options.repeats)}


def memory_growth(bench: Bench) -> dict[str, Any]:
    """Of a pair without norms, on noise; if it grew as the square, a step would be fourfold."""
    out = {}
    for genes in (bench.options.genes // 4, bench.options.genes // 2, bench.options.genes):
        run = bench.child("pair", file=bench.noise_file(genes), seed=SEED)
        out[str(genes)] = {
            "peak_bytes": run["peak_bytes"],
            "vector_bytes": run["vector_bytes"],
            "peak_less_vectors": run["peak_bytes"] - run["vector_bytes"],
            "query_over_before": run["peak_bytes"] - run["peak_bytes_before_query"],
        }
    return out


# -- rows: one gene, and all --------------------------------------------------------------------------------


def gene(bench: Bench, name: str) -> dict[str, Any]:
    return genes_of(bench, bench.files[name])


def genes_of(bench: Bench, file: Path) -> dict[str, Any]:
    runs = [bench.child("gene", file=file, seed=SEED + n) for n in range(bench.options.gene_repeats)]
    return {
        "seconds": summary([run["seconds"] for run in runs]),
        "peak_bytes": max(run["peak_bytes"] for run in runs),
        "asked": K,
        "found": min(run["found"] for run in runs),
        "scores_are_right": all(run["scores_are_right"] for run in runs),
        "runs": [run["noted"] | {"seconds": round(run["seconds"], 3)} for run in runs],
    }


def gene_child(file: str, seed: int) -> dict[str, Any]:
    field = opened(file)
    asked = questions(field, 1, seed)[0][0]
    lanes = module("search.analogies").Lanes
    slow, found = lanes.slow, lanes.found
    noted: dict[str, Any] = {"gene": asked, "way": "lanes"}

    def noting_slow(self: Any, a: int) -> bool:
        start = time.perf_counter()
        verdict: bool = slow(self, a)
        noted["judging_seconds"] = round(time.perf_counter() - start, 3)
        noted["bar_of_sample"] = float(self.bars[0])
        noted["way"] = "blocks" if verdict else "lanes"
        return verdict

    def noting_found(self: Any) -> Any:
        noted["counts"] = self.work().tolist()
        return found(self)

    lanes.slow, lanes.found = noting_slow, noting_found
    module("analogy")
    start = time.perf_counter()
    answers = field.gene(asked, K)
    taken, most = time.perf_counter() - start, peak_bytes()
    in_lanes = ("lanes", "within_reach", "axis_tests", "length_tests", "scored")
    in_blocks = ("lanes", "block_pairs_looked_into", "block_pairs", "pairs_tested", "scored")
    keys = in_blocks if noted["way"] == "blocks" else in_lanes
    noted["counts"] = dict(zip(keys, noted["counts"], strict=True))
    noted["best"], noted["last"] = (answers.found[at].score if answers.found else None for at in (0, -1))
    return {
        "seconds": taken,
        "peak_bytes": most,
        "found": len(answers.found),
        "scores_are_right": right(field, answers.found),
        "noted": noted,
    }


def right(field: query.Embedding, answers: Sequence[Any]) -> bool:
    """Whether four genes differ in each, and its score is the cosine in float64, in falling order."""
    scores = []
    for x in answers:
        rows = [row_of(word) for word in (x.a, x.b, x.c, x.d)]
        a, b, c, d = field.vectors[rows].astype(np.float64)
        cosine = (a - b) @ (c - d) / np.linalg.norm(a - b) / np.linalg.norm(c - d)
        if len(set(rows)) < 4 or abs(cosine - x.score) > 1e-9:
            return False
        scores.append(x.score)
    return scores == sorted(scores, reverse=True)


def best(bench: Bench, name: str) -> dict[str, Any]:
    """The stage itself, on a cluster of two workers that is there already."""
    stores, driver, stage = importlib.import_module("tests.stores"), module("driver"), module("stages.search")
    cluster_module, spec = module("cluster"), module("spec")
    plain = opened(bench.files[name], bench.options.best_genes)
    store = stores.empty(bench.folder / f"store-{name}")
    stores.embedding(store, "vectors", plain.genes.tolist(), plain.vectors)
    asked = module("questions").BestSpec(name="vectors", k=BEST_K)
    with cluster_module.connect(spec.ClusterSpec(workers=2)) as cluster, store.lock():
        started = seconds(lambda: cluster.client)
        plan = stage.plan(store, asked)
        done = driver.drive(stage, plan, store, cluster, module("progress").Display(quiet=True))
    return {
        "genes": len(plain),
        "seconds": round(done.seconds, 3),
        "cluster_start_seconds": round(started, 3),
        "part_seconds": round(done.part_seconds, 3),
        "parts": done.parts_run,
        "asked": BEST_K,
        "found": next(iter(done.artifacts.values()))["answers"],
    }


def best_parts(bench: Bench, name: str) -> dict[str, Any]:
    """At full size for some minutes, and what that says of all of it."""
    return search_parts(bench, bench.field(name), bench.options.best_minutes)[0]


def search_parts(bench: Bench, field: query.Embedding, minutes: float) -> tuple[dict[str, Any], Any]:
    """Parts of the stage in random order, in this process, until the time is over; and what they found."""
    analogies, stage = module("search.analogies"), module("stages.search")
    n, threads = len(field), bench.options.threads
    space = module("search.space").make(field.genes, field.vectors, np.arange(n), threads=threads)
    prepared = seconds(lambda: space.for_lanes)
    search = analogies.Lanes(space, BEST_K, shorter=True, shortest=0.0, ceiling=None)
    rng = np.random.default_rng(SEED)
    some = np.sort(rng.permutation(n)[: stage.SAMPLED_GENES])
    sampled = seconds(lambda: search.sample(some, np.arange(n)))
    first_bar = float(search.bars[0])
    stride, taken, parts = tiles.count(n, stage.BLOCK), 0.0, 0
    for number in rng.permutation(stride).tolist():
        genes_a = np.arange(number, n, stride)
        taken += seconds(lambda genes_a=genes_a: search.search(genes_a, first=int(genes_a[0])))
        parts += 1
        if taken > 60 * minutes:
            break
    found = search.found()
    lanes, reached, tested, measured, scored = search.work().tolist()
    every = n * (n - 1) // 2
    return {
        "genes": n,
        "threads": threads,
        "prepare_seconds": round(prepared, 3),
        "sample_seconds": round(sampled, 3),
        "seconds": round(taken, 3),
        "parts": parts,
        "parts_of_all": stride,
        "lanes": lanes,
        "lanes_of_all": every,
        "hours_for_all": round((prepared + sampled + taken * every / max(lanes, 1)) / 3600, 4),
        "bar_of_sample": first_bar if np.isfinite(first_bar) else None,
        "bar_at_end": float(search.bars[0]) if np.isfinite(search.bars[0]) else None,
        "microseconds_a_lane": round(1e6 * taken / max(lanes, 1), 3),
        "share_ended_by_reach": round(1 - reached / max(lanes, 1), 6),
        "axis_tests_a_lane": round(tested / max(lanes, 1), 3),
        "length_tests_a_lane": round(measured / max(lanes, 1), 3),
        "scores_a_lane": round(scored / max(lanes, 1), 6),
        # of the n^2 (n - 1)^2 / 8 pairs of differences, n (n - 1) / 4 a lane
        "share_never_looked_at": 1 - tested / max(lanes, 1) / (every / 2),
        "asked": BEST_K,
        "found": len(found),
    }, found


def near(bench: Bench, name: str) -> dict[str, Any]:
    """``similar --best`` whole, and its search alone, beside bare SGEMM of the same tiles; they take turns."""
    analogy, filters = module("analogy"), module("questions").Filters()
    field, threads = bench.field(name), bench.options.threads
    held = analogy.near_space(field, filters, threads=threads)
    bare = bare_tiles(held.unit, threads)
    ways: dict[str, Callable[[], Any]] = {
        "whole": lambda: analogy.near_top(analogy.near_space(field, filters, threads=threads), BEST_K, filters),
        "search": lambda: analogy.near_top(held, BEST_K, filters),
        "bare": bare,
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(bench.options.repeats + 1):
        for way, function in ways.items():
            taken = seconds(function)
            if turn:
                times[way].append(taken)
    medians = {way: statistics.median(values) for way, values in times.items()}
    return {
        "seconds": {way: summary(values) for way, values in times.items()},
        "ratio": round(medians["whole"] / medians["bare"], 3),
        "ratio_of_search": round(medians["search"] / medians["bare"], 3),
        "threads": threads,
    }


def bare_tiles(x: NDArray[np.float32], threads: int) -> Callable[[], None]:
    """SGEMM of the upper-triangle tiles, and nothing else."""
    spans = [(tiles.span(len(x), TILE, i), tiles.span(len(x), TILE, j)) for i, j in tiles.blocks(len(x), TILE)]
    scratch = np.empty((threads, TILE * TILE), np.float32)

    def share(thread: int) -> None:
        for row, col in spans[thread::threads]:
            left, right_ = x[row], x[col]
            out = scratch[thread, : len(left) * len(right_)].reshape(len(left), len(right_))
            np.dot(left, right_.T, out=out)

    def run() -> None:
        with threadpoolctl.threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
            list(pool.map(share, range(threads)))

    return run


# -- rows: FAISS --------------------------------------------------------------------------------------------


def faiss_flat(bench: Bench, name: str) -> dict[str, Any]:
    return bench.child("flat", file=bench.files[name], genes=bench.options.flat_genes, repeats=bench.options.repeats)


def seeds_way(bench: Bench, name: str) -> dict[str, Any]:
    sizes = [int(text) for text in bench.options.seeds_genes.split(",")]
    repeats = bench.options.repeats
    return {str(n): bench.child("seeds", file=bench.files[name], genes=n, repeats=repeats) for n in sizes}


def differences(x: NDArray[np.float32], rows: int = 100) -> Iterator[NDArray[np.float32]]:
    """Unit differences of all i < j, row by row of the triangle, in pieces."""
    for start in range(0, len(x), rows):
        pieces = [x[i] - x[i + 1 :] for i in range(start, min(start + rows, len(x)))]
        piece = np.ascontiguousarray(np.concatenate(pieces), dtype=np.float32)
        faiss.normalize_L2(piece)
        if len(piece):
            yield piece


class Faiss:
    """An index of all differences, asked for pairs."""

    def __init__(self, index: Any, x: NDArray[np.float32]) -> None:
        self.index, self.x = index, x
        self.first, self.second = np.triu_indices(len(x), 1)

    def ask(self, a: int, b: int, k: int, by: str) -> list[tuple[int, int]]:
        """The k best (c, d) but for the index's own misses: q and -q merged by ``score`` or by ``rank``."""
        unit = np.ascontiguousarray((self.x[a] - self.x[b])[None, :], dtype=np.float32)
        faiss.normalize_L2(unit)
        merge = self.by_score if by == "score" else self.by_rank
        depth = 4 * k
        while True:
            depth = min(depth, self.index.ntotal)
            found = [self.index.search(sign * unit, depth) for sign in (np.float32(1), np.float32(-1))]
            answers, enough = merge([s[0] for s, _ in found], [i[0] for _, i in found], {a, b}, k)
            if enough or depth == self.index.ntotal or all(i[0, -1] < 0 for _, i in found):
                return answers[:k]
            depth *= 4

    def pair(self, number: int, turned: bool, asked: set[int]) -> tuple[int, int] | None:
        """What a place of the index stands for; None if it is no answer."""
        if number < 0:
            return None
        c, d = int(self.first[number]), int(self.second[number])
        return None if c in asked or d in asked else (d, c) if turned else (c, d)

    def by_score(self, scores: Any, numbers: Any, asked: set[int], k: int) -> tuple[list[tuple[int, int]], bool]:
        lists = []
        for turned in (False, True):
            named = ((-s, self.pair(i, turned, asked)) for s, i in zip(scores[turned], numbers[turned], strict=True))
            lists.append([(score, pair) for score, pair in named if pair is not None])
        both = sorted(lists[0][:k] + lists[1][:k])
        return [pair for _, pair in both], all(len(one) >= k for one in lists)

    def by_rank(self, scores: Any, numbers: Any, asked: set[int], k: int) -> tuple[list[tuple[int, int]], bool]:
        turned = scores[1] > scores[0]
        turned[0] = False
        kept = np.where(turned, numbers[1], numbers[0])
        named = (self.pair(i, t, asked) for i, t in zip(kept.tolist(), turned.tolist(), strict=True))
        answers = [pair for pair in named if pair is not None]
        return answers, len(answers) >= k


def compare(field: query.Embedding, asked: Sequence[Question], index: Faiss, by: str) -> dict[str, Any]:
    """Recall of an index against ours, and its seconds a query."""
    times, hits, wanted = [], 0, 0
    for (a, b), ours in zip(asked, field.pairs(asked, RECALL_K), strict=True):
        start = time.perf_counter()
        theirs = index.ask(row_of(a), row_of(b), RECALL_K, by)
        times.append(time.perf_counter() - start)
        truth = {(row_of(x.c), row_of(x.d)) for x in ours.found}
        hits, wanted = hits + len(truth & set(theirs)), wanted + len(truth)
    return {"recall_at_20": round(hits / wanted, 4), "seconds": summary(times)}


def ours_seconds(field: query.Embedding, repeats: int) -> dict[str, float]:
    asked = questions(field, repeats + 1)
    return repeated(lambda n: field.pair(*asked[n], RECALL_K), repeats)


def flat_child(file: str, genes: int, repeats: int) -> dict[str, Any]:
    field = opened(file, genes)
    before = peak_bytes()
    start = time.perf_counter()
    index = faiss.IndexFlatIP(field.vectors.shape[1])
    for piece in differences(field.vectors):
        index.add(piece)
    built, most = time.perf_counter() - start, peak_bytes()
    asked = questions(field, RECALL_QUERIES)
    return {
        "genes": len(field),
        "differences": index.ntotal,
        "build_seconds": round(built, 3),
        "index_bytes": index.ntotal * index.d * 4,
        "peak_bytes_over_before": most - before,
        **compare(field, asked, Faiss(index, field.vectors), "score"),
        "ours_seconds": ours_seconds(field, repeats),
    }


def seeds_child(file: str, genes: int, repeats: int) -> dict[str, Any]:
    field = opened(file, genes)
    before = peak_bytes()
    start = time.perf_counter()
    made = np.concatenate(list(differences(field.vectors)))
    lists = 8 * int(np.sqrt(len(made)))
    index = faiss.index_factory(made.shape[1], f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
    index.train(made)
    trained = time.perf_counter() - start
    index.add(made)
    built, most = time.perf_counter() - start, peak_bytes()
    asked = questions(field, RECALL_QUERIES)
    held = Faiss(index, field.vectors)
    out: dict[str, Any] = {
        "genes": len(field),
        "differences": index.ntotal,
        "lists": lists,
        "train_seconds": round(trained, 3),
        "build_seconds": round(built, 3),
        "index_bytes": index.ntotal * (4 * index.d + 8) + 4 * lists * index.d,
        "peak_bytes_over_before": most - before,
        "ours_seconds": ours_seconds(field, repeats),
    }
    for nprobe in NPROBES:
        index.nprobe = min(nprobe, lists)
        out[f"nprobe_{nprobe}"] = {f"by_{by}": compare(field, asked, held, by) for by in ("rank", "score")}
    return out


# -- rows: noise --------------------------------------------------------------------------------------------


def on_noise(bench: Bench) -> dict[str, Any]:
    file = bench.noise_file(bench.options.genes)
    field, repeats = opened(file), bench.options.repeats
    asked = questions(field, repeats + 1)
    answers = field.pairs(asked, K)
    pair = {
        "genes": len(field),
        "seconds": repeated(lambda n: field.pair(*asked[n], K), repeats),
        "asked": K,
        "found": min(len(a.found) for a in answers),
        "scores_are_right": all(right(field, a.found) for a in answers),
    }
    out: dict[str, Any] = {"pair": pair}
    for key, function in (("gene", lambda: genes_of(bench, file)), ("best", lambda: best_on_noise(bench))):
        out[key] = tried(function)
    return out


def best_on_noise(bench: Bench) -> dict[str, Any]:
    field = opened(bench.noise_file(bench.options.noise_genes))
    done, found = search_parts(bench, field, bench.options.noise_minutes)
    filters = module("questions").Filters()
    space = module("search.space").make(field.genes, field.vectors, np.arange(len(field)))
    named = module("analogy").named(field.name, space, found, filters, BEST_K, [])
    return {"whole": done["parts"] == done["parts_of_all"], "scores_are_right": right(field, named.found), **done}


# -- the run ------------------------------------------------------------------------------------------------


def compile_child() -> dict[str, Any]:
    """Leaves Numba's code of all that is measured cold on disk."""
    vectors = noise(600, 16)
    field = query.Embedding(
        name="tiny", digest="", genes=np.array([f"G{i:06d}" for i in range(600)]), vectors=vectors, card={}
    )
    field.pair("G000001", "G000002")
    space = module("search.space").make(field.genes, vectors, np.arange(600))
    lanes = module("search.analogies").Lanes
    for shorter in (False, True):
        search = lanes(space, K, shorter=shorter, shortest=0.0, ceiling=None)
        search.sample(np.array([1]), np.arange(600))
        search.search(np.array([1]))
    search = lanes(space, K, shorter=False, shortest=0.0, ceiling=None)
    search.sample(np.array([1]), np.arange(600))
    search.slow(1)
    search.search_blocks(1)
    return {}


EACH: dict[str, Callable[[Bench, str], dict[str, Any]]] = {
    "pair_cold": pair_cold,
    "pair_warm_norms": pair_warm_norms,
    "batch16": batch16,
    "inner_warm": inner_warm,
    "gene": gene,
    "best": best,
    "best_parts": best_parts,
    "near": near,
}
OF_THE_FIRST = {"faiss_flat": faiss_flat, "seeds_way": seeds_way}  # vectors only: the size is what matters
OF_NOISE = {"memory_growth": memory_growth, "noise": on_noise}
ROWS = (*EACH, *OF_THE_FIRST, *OF_NOISE)
CHILDREN: dict[str, Callable[..., dict[str, Any]]] = {
    "compile": compile_child,
    "pair": pair_child,
    "gene": gene_child,
    "flat": flat_child,
    "seeds": seeds_child,
}


def tried(function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A row, or why there is none."""
    try:
        return function()
    except Exception as error:  # the other rows go on
        return {"error": f"{type(error).__name__}: {error}"}


def sets(bench: Bench) -> dict[str, Any]:
    """The vectors that rows are asked of, given or made."""
    options, out = bench.options, {}
    for text in options.vectors:
        name, _, file = text.rpartition("=")
        vectors = np.load(file, mmap_mode="r", allow_pickle=False)[: options.genes]
        bench.keep(name or Path(file).stem, np.array(vectors, dtype=np.float32))
    made = options.make if options.make is not None else [] if options.vectors else ["planted"]
    for name in made:
        bench.keep(name, (noise if name == "noise" else planted)(options.genes, options.components))
    for name in bench.files:
        genes, components = bench.field(name).vectors.shape
        out[name] = {"genes": genes, "components": components}
    return out


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--vectors", nargs="*", default=[], metavar="[NAME=]FILE", help=".npy files of vectors")
    parser.add_argument("--make", nargs="*", choices=MADE, help="vectors to make [planted, if no file is given]")
    parser.add_argument("--genes", type=int, default=20_000, help="at most so many rows of a file")
    parser.add_argument("--components", type=int, default=256, help="of vectors that are made")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--gene-repeats", type=int, help="genes asked, each in its own process [repeats]")
    parser.add_argument("--threads", type=int, default=2, help="of best_parts and near; others take all cores")
    parser.add_argument("--only", help=f"rows, by commas, of {', '.join(ROWS)}")
    parser.add_argument("--best-genes", type=int, default=5000)
    parser.add_argument("--best-minutes", type=float, default=5.0, help="of best_parts; its last part is finished")
    parser.add_argument("--flat-genes", type=int, default=2000)
    parser.add_argument("--seeds-genes", default="600,1000")
    parser.add_argument("--noise-genes", type=int, default=2000, help="of the best analogies on noise")
    parser.add_argument("--noise-minutes", type=float, default=10.0, help="after which those are extrapolated")
    parser.add_argument("--limit-minutes", type=float, default=60.0, help="of one process of a row")
    parser.add_argument("--to", type=Path, help="also write what is done so far to this file, after each row")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.rows = ROWS if options.only is None else tuple(options.only.split(","))
    unknown = sorted(set(options.rows) - set(ROWS))
    if unknown:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    options.gene_repeats = options.gene_repeats or options.repeats
    return options


def main(arguments: list[str] | None = None) -> None:
    """Measures every row and prints one JSON document."""
    options = parse(arguments)
    if options.child is not None:
        asked = json.loads(options.child)
        print(json.dumps(CHILDREN[asked.pop("row")](**asked)))
        return
    result: dict[str, Any] = {
        "benchmark": "analogy",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "versions": {name: metadata.version(name) for name in ("numpy", "numba", "faiss-cpu")},
        "blas": [
            f"{i['internal_api']} {i['version']}" for i in threadpoolctl.threadpool_info() if i["user_api"] == "blas"
        ],
        "repeats": options.repeats,
        "goals": GOALS,
        "vectors": {},
        "rows": {},
    }

    def run(row: str, function: Callable[[], dict[str, Any]], name: str | None = None) -> None:
        start = time.perf_counter()
        found = tried(function)
        print(f"{row} {name or ''}: {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
        if name is None:
            result["rows"][row] = found
        else:
            result["rows"].setdefault(row, {})[name] = found
        if options.to is not None:
            options.to.write_text(json.dumps(result, indent=2) + "\n")

    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, Path(folder))
        result["vectors"] = sets(bench)
        names = list(bench.files)
        result["compile"] = tried(lambda: bench.child("compile"))
        for row in options.rows:
            if row in OF_NOISE:
                run(row, lambda row=row: OF_NOISE[row](bench))
                continue
            for name in names if row in EACH else names[:1]:
                function = EACH.get(row) or OF_THE_FIRST[row]
                run(row, lambda function=function, name=name: function(bench, name), name)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
