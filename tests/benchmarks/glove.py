"""GloVe and co-occurrence from samples, each beside what its goal names. Prints JSON.

    PYTHONPATH=. python tests/benchmarks/glove.py [--rows reach,large,pass,public,cooccur,outside]

Data are RSEM counts of ``rnaseq/`` (estimates, so float64); genes are drawn at random, by one seed, among those with a
read. A loss is ½ Σ f r² / entries. Libraries and compiled kernels are loaded, and files in the page cache, before a
clock starts; clusters are started in processes of their own. Contenders of one row take turns; figures are medians.

reach     per-entry AdaGrad on several threads without a lock, as text2vec runs it: a thread takes a share of the
          columns. Then ours, from opening the store to the pass that tells that the loss is no higher: in this
          process on one thread; and the whole stage, with its stop by tolerance, on a cluster.
large     the train stage to its stop, on a cluster; memory is that of client, scheduler and workers together.
pass      a pass from tiles of log x in files, a thread a band, beside its matrix products alone on the same threads,
          in whole tiles or in strips, whichever is faster.
public    mittens' GloVe (NumPy, dense, float64) on all threads, from a matrix in memory; ours from the store, on one.
cooccur   the parts of the stage on one thread, less the time of writing, beside DGEMM over the same tiles.
outside   of the run of ``large``: the share of workers' seconds that no part took.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import psutil
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from g2v_dask import arrays, driver, stages, tiles
from g2v_dask.cluster import Cluster, blas_kernel, connect
from g2v_dask.files import digest_of
from g2v_dask.folders import LocalFolder, write_json
from g2v_dask.kernels import glove as kernel
from g2v_dask.kernels.normalise import expressed
from g2v_dask.machine import cores
from g2v_dask.models import adagrad, glove, glove_rounds
from g2v_dask.models import glove_als as als
from g2v_dask.options import Spec
from g2v_dask.parts import OWNER, Target, Work
from g2v_dask.progress import Display
from g2v_dask.spec import STAGES, ClusterSpec, CooccurSpec, TrainSpec
from g2v_dask.stages import cooccur
from g2v_dask.store import Store
from tests import stores
from tests.benchmarks.pairs import counts
from tests.data_paths import data

ROWS = ("reach", "large", "pass", "public", "cooccur", "outside")
SEED = 1
SAMPLED_SECONDS = 0.1  # between two looks at the memory
CHILD = "import json, sys; from tests.benchmarks.glove import child; child(json.loads(sys.argv[1]))"
"""Not this file by its name: workers would load it too, and its libraries count as their memory."""
WHEN = ("first", "again")  # on workers that have nothing loaded yet; on the same
clock = time.perf_counter
Times = dict[str, list[float]]


class Options(argparse.Namespace):
    """What the command was told; a key of what was run with it."""

    __hash__ = object.__hash__  # type: ignore[assignment]


# -- data -----------------------------------------------------------------------------------------------------


@functools.cache
def tissue(name: str) -> pd.DataFrame:
    """(genes, samples) counts of one cohort."""
    return counts(data("rnaseq", f"{name}.txt.gz"))


def tissues() -> pd.DataFrame:
    """(genes, samples) counts of all cohorts."""
    names = sorted(path.name.removesuffix(".txt.gz") for path in data("rnaseq").glob("*.txt.gz"))
    return pd.concat([tissue(name) for name in names], axis=1).fillna(0)


def drawn(table: pd.DataFrame, genes: int, samples: int | None = None) -> pd.DataFrame:
    """Some samples, and some of the genes that have a read in them."""
    random = np.random.default_rng(SEED)
    if samples is not None and samples < table.shape[1]:
        table = table.iloc[:, np.sort(random.choice(table.shape[1], samples, replace=False))]
    table = table[(table > 0).any(axis=1)]
    return table.iloc[np.sort(random.choice(len(table), min(genes, len(table)), replace=False))].sort_index()


def expression(store: Store, table: pd.DataFrame) -> None:
    """Commits ``expression/reads`` with the counts of a table."""
    reads = np.ascontiguousarray(table.to_numpy(np.float64).T)
    digest = digest_of([*table.index, *reads.sum(axis=0).tolist()])
    arrays.write(
        store.folder("expression", "reads", digest),
        "expression",
        data={"expression": np.log2(reads + 1).astype(np.float32), "counts": reads},
        chunks=(len(reads), store.tile),
        coordinates={
            "sample_id": [f"S{k}" for k in range(len(reads))],
            "gene_id": table.index.tolist(),
            "constant": np.zeros(len(table), dtype=bool),
            "expressed": expressed(reads),
        },
    )
    facts = {"samples": len(reads), "genes": len(table), "counts": True}
    stores.commit(store, "expression", "reads", digest, facts, stage="ingest")


def cooccurrence(folder: Path, table: pd.DataFrame, tile: int) -> Store:
    """A store with ``cooccurrence/reads``, as the stage makes it."""
    store = stores.empty(folder, tile)
    expression(store, table)
    assert driver.here(cooccur, cooccur.plan(store, CooccurSpec(name="reads")), store).made
    return store


# -- a clock, a cluster ---------------------------------------------------------------------------------------


def turns(contenders: Mapping[str, Callable[[], float]], repeats: int) -> Times:
    """What each contender returns, its seconds, turn after turn."""
    seconds: Times = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, contender in contenders.items():
            seconds[name].append(contender())
    return seconds


def median(seconds: Iterable[float]) -> float:
    return round(statistics.median(seconds), 4)


def staged(store: Store, cluster: Cluster, name: str, spec: Spec) -> dict[str, Any]:
    """Runs a stage; its seconds, and of each round its parts, their seconds and the client's."""
    stage = stages.load(name)
    rounds: list[dict[str, float]] = []
    since = clock()

    def ended(parts: int, seconds: float) -> None:
        nonlocal since
        now = clock()
        rounds.append({"parts": parts, "part_seconds": seconds, "wall": now - since})
        since = now

    def next_round(target: Target, done: int, receipts: Mapping[int, Any]) -> Any:
        ended(len(receipts), sum(r["seconds"] for r in receipts.values()))
        return stage.next_round(target, done, receipts)

    timed: Any = SimpleNamespace(**{**vars(stage), "next_round": next_round})
    plan = stage.plan(store, spec)
    planned, since = clock() - since, clock()
    summary = driver.drive(timed, plan, store, cluster, Display(quiet=True))
    ended(0, 0.0)
    (facts,) = summary.artifacts.values()
    return {
        "seconds": summary.seconds,
        "plan_seconds": planned,
        "rounds": rounds,
        "losses": facts.get("losses"),
        "solver": facts.get("solver"),
    }


def child(job: dict[str, Any]) -> None:
    """What the process of its own does: some stages on a cluster, one after the other."""
    store, started = Store.open(job["store"]), clock()
    with mock.patch.object(glove, "SMALL", job["small"]), connect(ClusterSpec(workers=job["workers"])) as cluster:
        cluster.threads()  # it is there now
        up = clock() - started
        found = [staged(store, cluster, name, STAGES[name](**values)) for name, values in job["stages"]]
    print(json.dumps({"start_seconds": round(up, 2), "stages": found}))


def on_cluster(store: Store, specs: Iterable[Spec], options: Options) -> dict[str, Any]:
    """Runs stages on a cluster in a process of its own; what it prints, and the most memory of all its processes."""
    job = {
        "store": str(store.root.desk),
        "workers": options.threads,
        "small": options.small,
        "stages": [(spec.stage(), asdict(spec)) for spec in specs],
    }
    command = [sys.executable, "-c", CHILD, json.dumps(job)]
    most: dict[str, int] = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        watcher = threading.Thread(target=watch, args=(process, most))
        watcher.start()
        printed, _ = process.communicate()
        watcher.join()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return {**json.loads(printed), "peak_bytes": most}


def watch(process: subprocess.Popen[str], most: dict[str, int]) -> None:
    """Keeps the largest sums over a process and its descendants, until it ends. PSS counts shared pages once."""
    while process.poll() is None:
        total = dict.fromkeys(("pss", "uss", "rss"), 0)
        try:
            top = psutil.Process(process.pid)
            family = [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return
        for one in family:
            try:
                memory = one.memory_full_info()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            for kind in total:
                total[kind] += getattr(memory, kind)
        for kind, size in total.items():
            most[kind] = max(most.get(kind, 0), size)
        time.sleep(SAMPLED_SECONDS)


# -- reach, public --------------------------------------------------------------------------------------------


def spec_of(options: Options, name: str = "genes") -> TrainSpec:
    return TrainSpec(source="reads", name=name, method="glove", components=options.components)


def in_process(store: Store, spec: TrainSpec, wanted: float) -> dict[str, Any]:
    """Our trainer on one thread, from opening the store to the pass that tells that the loss is no higher."""
    seconds: list[float] = []
    solver, _ = glove.choose_solver(store.only("cooccurrence", "reads").facts, spec)

    def progress(done: int, total: int, note: str) -> None:
        if note.startswith("loss"):
            seconds.append(clock() - start)

    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        start = clock()
        made = glove.train(
            arrays.Cooccurrence(store.only("cooccurrence", "reads").folder),
            spec,
            folder=LocalFolder(Path(folder)),
            progress=progress,
            alive=lambda: None,
            solver=solver,
        )
    last = len(made.losses) - 1
    passes = next((k for k, loss in enumerate(made.losses) if loss <= wanted), last)
    return {
        "seconds": seconds[passes],
        "passes": passes,
        "loss": made.losses[passes],
        "reached": made.losses[passes] <= wanted,
        "all_passes": last,
        "all_seconds": round(seconds[last], 2),
        "last_loss": made.losses[last],
    }


def loss_of(log_x: NDArray[np.float32], rows: NDArray[Any], columns: NDArray[Any], setting: als.Setting) -> float:
    """½ Σ f r² / entries of vectors and biases; row j of ``log_x`` holds the entries (i, j)."""
    total = 0.0
    for start in range(0, len(log_x), als.STRIP):
        some = slice(start, start + als.STRIP)
        predicted = columns[some, :-1] @ rows[:, :-1].T + columns[some, -1:] + rows[:, -1]
        total += kernel.residuals(log_x[some], predicted.astype(np.float32), setting.log_max, setting.alpha)
    return float(total / (2 * np.count_nonzero(log_x > kernel.MISSING)))


def logs(store: Store, spec: TrainSpec) -> tuple[NDArray[np.float32], als.Setting]:
    """Log x of all entries, as AdaGrad goes over them."""
    matrix = arrays.Cooccurrence(store.only("cooccurrence", "reads").folder)
    setting = als.Setting.of(matrix, spec, "majorised")
    held = {at: als.read_tile(matrix, setting, *at)[0] for at in tiles.blocks(setting.size, setting.tile)}
    return adagrad._whole(held, setting), setting


def per_entry(store: Store, spec: TrainSpec, passes: int, threads: int) -> dict[str, float]:
    """AdaGrad over all entries; the shares of the columns run side by side, without a lock."""
    start = clock()
    log_x, setting = logs(store, spec)
    held = adagrad._first(setting, SEED)
    held.pop("losses")
    shares = []
    for columns in np.array_split(np.arange(len(log_x)), threads):
        share = np.full_like(log_x, kernel.MISSING)  # what is missing is passed over, in a thousandth of the time
        share[columns] = log_x[columns]
        shares.append(share)
    one_pass = functools.partial(
        adagrad.one_pass, **held, rate=np.float32(spec.learning_rate), x=(setting.log_max, setting.alpha)
    )
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(passes):
            running = sum(pool.map(one_pass, shares))
    seconds = clock() - start
    return {
        "threads": threads,
        "passes": passes,
        "seconds": round(seconds, 2),
        "loss": loss_of(log_x, held["rows"], held["columns"], setting),
        # as the published codes print it: each entry just before its step, so that the last columns always look good
        "loss_on_the_way": running / (2 * np.count_nonzero(log_x > kernel.MISSING)),
    }


def reach(options: Options, folder: Path) -> dict[str, Any]:
    store = cooccurrence(folder, drawn(tissue(options.tissue), options.reach_genes), options.tile)
    spec = spec_of(options)
    theirs = per_entry(store, spec, options.passes, options.threads)
    found = [in_process(store, spec, theirs["loss"]) for _ in range(options.repeats)]
    seconds = median(f["seconds"] for f in found)
    on = on_cluster(store, [spec_of(options, "first"), spec_of(options, "again")], options)["stages"]
    whole = {
        f"{name}_seconds": round(run["seconds"] + run["plan_seconds"], 2) for name, run in zip(WHEN, on, strict=True)
    }
    return {
        "tissue": options.tissue,
        "genes": options.reach_genes,
        "components": options.components,
        "per_entry": theirs,
        "ours": {**found[0], "seconds": seconds},
        "sooner": round(theirs["seconds"] / seconds, 1),
        "goal": ">= 50",
        "stage_to_its_stop": {
            **whole,
            "loss": on[1]["losses"][-1],
            "passes": len(on[1]["losses"]) - 1,
            "sooner": round(theirs["seconds"] / whole["again_seconds"], 1),
        },
    }


def mittens(x: NDArray[np.float64], spec: TrainSpec, rate: float, iterations: int) -> tuple[float, NDArray[Any], Any]:
    """Seconds of mittens' GloVe on a matrix in memory, and its two sides, biases last."""
    from mittens import GloVe  # noqa: PLC0415  (installed for this row alone)

    start = clock()
    model = GloVe(
        n=spec.components,
        xmax=spec.x_max,
        alpha=spec.alpha,
        learning_rate=rate,
        max_iter=iterations,
        display_progress=0,
    )
    model.fit(x)
    return clock() - start, np.hstack([model.W, model.bw]), np.hstack([model.C, model.bc])


def public(options: Options, folder: Path) -> dict[str, Any]:
    store = cooccurrence(folder, drawn(tissue(options.tissue), options.public_genes), options.tile)
    spec = spec_of(options)
    log_x, setting = logs(store, spec)
    x = np.where(log_x > kernel.MISSING, np.exp(log_x.astype(np.float64)), 0.0)  # a cell without a weight is a 0 there
    in_process(store, spec, np.inf)
    out: list[dict[str, Any]] = []
    for rate, iterations in ((0.05, 100), (options.public_rate, options.public_iterations)):  # its own settings first
        try:
            seconds, rows, columns = mittens(x, spec, rate, iterations)
        except ImportError:
            return {"mittens": "not installed"}
        loss = loss_of(log_x, rows, columns, setting)
        ours = [in_process(store, spec, loss) for _ in range(options.repeats)]
        mine = median(o["seconds"] for o in ours)
        theirs = {"learning_rate": rate, "iterations": iterations, "seconds": round(seconds, 2), "loss": loss}
        out.append({"mittens": theirs, "ours": {**ours[0], "seconds": mine}, "faster": round(seconds / mine, 1)})
    return {
        "version": metadata.version("mittens"),
        "genes": len(x),
        "runs": out,
        "goal": "faster > 1 at no higher loss",
    }


# -- large, outside -------------------------------------------------------------------------------------------


@functools.cache
def large_run(options: Options, folder: Path) -> tuple[int, dict[str, Any]]:
    """Genes; and the train stage on them."""
    table = drawn(tissues(), options.large_genes)
    store = cooccurrence(folder, table, options.tile)
    return len(table), on_cluster(store, [spec_of(options)], options)


def large(options: Options, folder: Path) -> dict[str, Any]:
    genes, found = large_run(options, folder)
    (run,) = found["stages"]
    return {
        "genes": genes,
        "samples": tissues().shape[1],
        "components": options.components,
        "workers": options.threads,
        "seconds": round(run["seconds"] + run["plan_seconds"], 2),
        "goal": "<= 90",
        "cluster_start_seconds": found["start_seconds"],
        "solver": run["solver"],
        "passes": len(run["losses"]) - 1,
        "losses": run["losses"],
        "peak_gb": {kind: round(size / 1e9, 2) for kind, size in found["peak_bytes"].items()},
        "peak_goal": "pss <= 4",
    }


def outside(options: Options, folder: Path) -> dict[str, Any]:
    _, found = large_run(options, folder)
    rounds = found["stages"][0]["rounds"]
    return {
        **share(rounds, options.threads),
        "goal": "share <= 0.15",
        "after_the_first_round": share(rounds[1:], options.threads),
        "phases": phases(rounds, spec_of(options)),
    }


def share(rounds: list[dict[str, float]], workers: int) -> dict[str, float]:
    """Of the workers' seconds those in no part; ``waiting``: of these those beside a round of fewer parts."""
    whole = workers * sum(r["wall"] for r in rounds)
    busy = sum(r["part_seconds"] for r in rounds)
    waiting = sum((workers - r["parts"]) * r["part_seconds"] / r["parts"] for r in rounds if 0 < r["parts"] < workers)
    return {"share": round(1 - busy / whole, 3), "waiting": round(waiting / whole, 3)}


def phases(rounds: list[dict[str, float]], spec: TrainSpec) -> dict[str, dict[str, float]]:
    """Seconds of the client and of the parts, by what they did."""
    out: dict[str, dict[str, float]] = {}
    in_rounds = len(rounds) > 2
    for number, one in enumerate(rounds):
        name = glove_rounds.phase(number, spec) if in_rounds else "all"
        if number >= len(rounds) - 2 and in_rounds:
            name = ("vectors", "commit")[number - len(rounds)]
        seen = out.setdefault(name, {"rounds": 0, "parts": 0, "part_seconds": 0.0, "wall": 0.0})
        for key, value in {**one, "rounds": 1}.items():
            seen[key] = round(seen[key] + value, 3)
    return out


# -- pass -----------------------------------------------------------------------------------------------------


def over_bands(setting: als.Setting, threads: int, work: Callable[[int], Any]) -> list[Any]:
    """Work on every band, on threads with one BLAS thread each."""
    with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, range(setting.bands)))


def our_pass(files: Any, setting: als.Setting, state: als.State, known: als.Known, threads: int) -> float:
    """Seconds of a pass: both half passes, and the balance."""
    start = clock()

    def half(side: als.Side, theirs: als.Floats) -> als.Floats:
        def band_step(band: int) -> als.Floats:
            mine = getattr(state, side)[setting.span(band)]
            return als.half_pass(files, setting, band, side=side, mine=mine, theirs=theirs, known=known)[0]

        return np.concatenate(over_bands(setting, threads, band_step))

    rows = half("rows", state.columns)
    als.balanced(als.onward(state, rows, half("columns", rows), losses=(1.0,)), known)
    return clock() - start


def bare_pass(setting: als.Setting, state: als.State, threads: int, *, strip: int) -> float:
    """Seconds of the same predictions, and products of residuals with the other side, and of nothing else."""
    ones = np.ones((setting.size, 1), np.float32)
    wide = np.hstack([state.rows, ones])
    narrow = np.ascontiguousarray(wide[:, :-1])
    sides: tuple[als.Side, ...] = ("rows", "columns")

    def band_products(band: int) -> None:
        mine = wide[setting.span(band)]
        buffer = np.empty(strip * setting.tile, np.float32)
        for side in sides:
            for row, col, mirrored in setting.blocks(band, side):
                other = setting.span(row if mirrored else col)
                near, far = wide[other], narrow[other]
                left, right = (near, mine) if mirrored else (mine, near)
                for start in range(0, len(left), strip):
                    some = left[start : start + strip]
                    residual = buffer[: len(some) * len(right)].reshape(len(some), len(right))
                    np.matmul(some, right.T, out=residual)
                    _ = residual.T @ far[start : start + strip] if mirrored else residual @ far

    begun = clock()
    over_bands(setting, threads, band_products)
    return clock() - begun


def pass_(options: Options, folder: Path) -> dict[str, Any]:
    genes, random = options.pass_genes, np.random.default_rng(SEED)
    tile = min(options.tile, genes)
    setting = als.Setting(
        size=genes,
        tile=tile,
        components=options.components,
        log_max=np.float32(np.log(100)),
        alpha=np.float32(0.75),
        ridge=1e-4,
        upper=False,
        solver="majorised",
        least=1,
    )
    files = glove_rounds._Files(SimpleNamespace(folder=LocalFolder(folder), desk=folder), setting)  # type: ignore[arg-type]
    log_x = random.normal(12, 4, (tile, tile)).astype(np.float32)
    for row, col in tiles.blocks(genes, tile):
        shape = [s.stop - s.start for s in (setting.span(row), setting.span(col))]
        files.put(row, col, np.ascontiguousarray(log_x[: shape[0], : shape[1]]))
    each = np.tile([float(genes), 12.0 * genes, float(genes), 1.0], (genes, 1))
    known = als.Known(rows=each, columns=each, counts=np.ones(genes), skipped=0)
    state = als.random_state(known, setting, SEED)
    contenders = {
        "ours": lambda: our_pass(files, setting, state, known, options.threads),
        "whole tiles": lambda: bare_pass(setting, state, options.threads, strip=tile),
        "strips": lambda: bare_pass(setting, state, options.threads, strip=min(als.STRIP, tile)),
    }
    turns(contenders, 1)
    seconds = {name: median(taken) for name, taken in turns(contenders, options.repeats).items()}
    bare = min(seconds["whole tiles"], seconds["strips"])
    return {
        "genes": genes,
        "tile": tile,
        "components": options.components,
        "threads": options.threads,
        "logs": "normal (12, 4), float32 tiles in files",
        "ours_seconds": seconds["ours"],
        "bare_seconds": {"whole tiles": seconds["whole tiles"], "strips": seconds["strips"]},
        "ours_over_bare": round(seconds["ours"] / bare, 3),
        "goal": "<= 2",
    }


# -- cooccur --------------------------------------------------------------------------------------------------


class Timed:
    """An array on disk that keeps the seconds of writing to it."""

    def __init__(self, array: Any, spent: list[float]) -> None:
        self._array, self._spent = array, spent

    def __setitem__(self, where: Any, value: Any) -> None:
        start = clock()
        self._array[where] = value
        self._spent.append(clock() - start)


def parts_of(store: Store, target: Target, spent: list[float]) -> float:
    """Seconds of all parts of co-occurrence in this process, less those of writing, which are added to ``spent``."""
    cooccur._documents.cache_clear()  # a new process has read nothing yet
    cooccur.begin(target.folder(store), target)
    write_json(store.work(target.digest), OWNER, {"token": "me"})
    real, written = arrays.writable, list[float]()

    def writable(folder: Path, name: str) -> Any:
        return Timed(real(folder, name), written)

    begun = clock()
    with mock.patch.object(arrays, "writable", writable), threadpool_limits(1):
        for part in target.parts:
            work = Work(store=store, target=target, round=0, part=part, token="me", progress=lambda *_: None)
            cooccur.run_part(work)
    spent.append(sum(written))
    return clock() - begun - spent[-1]


def gemm(reads: NDArray[np.float64], tile: int) -> float:
    """Seconds of the products of all tiles, on one thread."""
    bands = [np.ascontiguousarray(reads[:, start : start + tile]) for start in range(0, reads.shape[1], tile)]
    with threadpool_limits(1):
        begun = clock()
        for row, col in tiles.blocks(reads.shape[1], tile):
            _ = bands[row].T @ bands[col]
        return clock() - begun


def cooccur_(options: Options, folder: Path) -> dict[str, Any]:
    table = drawn(tissues(), options.cooccur_genes, options.samples)
    store = stores.empty(folder, options.tile)
    expression(store, table)
    begun = clock()
    (target,) = cooccur.plan(store, CooccurSpec(name="reads")).targets
    planned = clock() - begun
    reads, written = table.to_numpy(np.float64).T, list[float]()
    contenders = {"ours": lambda: parts_of(store, target, written), "bare": lambda: gemm(reads, options.tile)}
    turns(contenders, 1)
    written.clear()
    seconds = {name: median(taken) for name, taken in turns(contenders, options.repeats).items()}
    (run,) = on_cluster(store, [CooccurSpec(name="reads")], options)["stages"]
    return {
        "genes": len(table),
        "samples": table.shape[1],
        "tile": options.tile,
        "threads": 1,
        "ours_seconds": seconds["ours"],
        "bare_seconds": seconds["bare"],
        "ours_over_bare": round(seconds["ours"] / seconds["bare"], 3),
        "goal": "<= 2",
        "plan_seconds": round(planned, 2),
        "with_plan_over_bare": round((seconds["ours"] + planned) / seconds["bare"], 3),
        "writing_seconds": median(written),
        "stage_on_cluster_seconds": round(run["seconds"] + run["plan_seconds"], 2),
    }


# -- main -----------------------------------------------------------------------------------------------------


def machine(options: Options) -> dict[str, Any]:
    libraries = ("numpy", "scipy", "numba", "zarr", "dask", "distributed")
    return {
        "cores": cores(),
        "threads": options.threads,
        "load_at_start": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "blas": blas_kernel(),
        "versions": {name: metadata.version(name) for name in libraries},
    }


def warm(folder: Path) -> None:
    """Loads libraries and kernels."""
    table = pd.DataFrame(np.random.default_rng(SEED).poisson(9, (40, 12)), index=[f"G{k:02}" for k in range(40)])
    store = cooccurrence(folder, table, 16)
    spec = TrainSpec(source="reads", method="glove", components=4)
    per_entry(store, spec, 1, 2)
    in_process(store, spec, np.inf)


def parse(arguments: list[str] | None) -> Options:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default=",".join(ROWS), help="which of %(default)s")
    parser.add_argument("--threads", type=int, default=2, help="threads, and workers of a cluster")
    parser.add_argument("--components", type=int, default=100)
    parser.add_argument("--tile", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tissue", default="uterus-rsem-count-gtex")
    parser.add_argument("--reach-genes", type=int, default=6000)
    parser.add_argument("--passes", type=int, default=50, help="of per-entry AdaGrad")
    parser.add_argument("--large-genes", type=int, default=20_000)
    parser.add_argument("--small", type=int, default=glove.SMALL, help="genes up to which training is one part")
    parser.add_argument("--pass-genes", type=int, default=20_000)
    parser.add_argument("--public-genes", type=int, default=1500)
    parser.add_argument("--public-rate", type=float, default=0.3, help="a learning rate that suits mittens better")
    parser.add_argument("--public-iterations", type=int, default=500)
    parser.add_argument("--cooccur-genes", type=int, default=20_000)
    parser.add_argument("--samples", type=int, default=328, help="of co-occurrence")
    parser.add_argument("--folder", type=Path, help="for stores of some GB [the system's]")
    return parser.parse_args(arguments, Options())


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    rows: dict[str, Callable[[Any, Path], dict[str, Any]]] = dict(
        zip(ROWS, (reach, large, pass_, public, cooccur_, outside), strict=True)
    )
    out: dict[str, Any] = {"machine": machine(options)}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        warm(Path(folder, "warm"))
        for row in options.rows.split(","):
            # what ``outside`` asks is what ``large`` ran
            shared = "large" if row == "outside" else row
            out[row] = rows[row](options, Path(folder, shared))
            print(json.dumps({row: out[row]}), file=sys.stderr)  # so that a run cut short leaves what it found
    print(json.dumps(out, indent=2))


if __name__ == "__main__":
    main()
