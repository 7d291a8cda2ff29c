"""Times the pairs kernel beside bare SGEMM, np.corrcoef and CorALS; prints JSON.

python tests/benchmarks/pairs.py [--genes 20000] [--samples 100] [--repeats 7] [--corals-python PYTHON]

Every contender has the same threads. Contenders take turns, so that a busy machine is unkind to all of them,
and a figure is the median of its turns. Bare SGEMM multiplies the same upper-triangle tiles on the same
threads and picks nothing; the fastest of several tiles stands for it. CorALS has an environment of its own:
`pip install --no-deps corals`, with numpy, scipy, numba, scikit-learn and joblib.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import threadpoolctl
from numpy.typing import NDArray
from scipy.stats import rankdata

from g2v_dask.kernels import correlation

ROOT = Path(__file__).parents[2]
TILES = (512, 640, 768)
COHORTS = {
    "uterus": "uterus-rsem-count-gtex",
    "kirc": "kirc-rsem-count-tcga",
    "read": "read-rsem-count-tcga-t",
}
REAL = (*COHORTS, "GSE49454", "tissues")
GOALS = {
    "0.05 %": {"above": 1.25, "top 50 union": 3.0, "top 50 mutual": 3.0},
    "0.2 %": {"above": 1.4, "top 50 union": 3.0, "top 50 mutual": 3.0},
    **dict.fromkeys(COHORTS, {"above": 1.0}),
    "GSE49454": {"above": 0.6},
    "tissues": {"above": 0.35},
}
CORALS = """
import json, sys, time
import numpy as np
from corals.correlation.full.default import cor_full
from corals.correlation.topk.default import cor_topk
x = np.load(sys.argv[1])
start = time.perf_counter()
cor_full(x)
full = time.perf_counter() - start
cor_topk(x[:, :100], k=float(sys.argv[3]), correlation_type="pearson", n_jobs=int(sys.argv[2]))
start = time.perf_counter()
cor_topk(x, k=float(sys.argv[3]), correlation_type="pearson", n_jobs=int(sys.argv[2]))
print(json.dumps({"CorALS full matrix": full, "CorALS top-k": time.perf_counter() - start}))
"""


def scattered(share: float, samples: int, genes: int) -> NDArray[np.float32]:
    """Noise, and groups of 40 genes with r of 0.9 and more over the whole axis: `share` of all pairs."""
    rng = np.random.default_rng(0)
    size = min(40, genes // 4)
    groups = max(1, int(share * genes * (genes - 1) / (size * (size - 1))))
    x = rng.standard_normal((samples, genes))
    for group in np.array_split(rng.permutation(genes)[: groups * size], groups):
        x[:, group] = rng.standard_normal((samples, 1)) + 0.25 * x[:, group]
    return x.astype(np.float32)


def quantile_normalised(x: NDArray[np.float64]) -> NDArray[np.float32]:
    """(samples, genes), each sample with the mean distribution; ties take the mean rank."""
    target = np.sort(x, axis=1).mean(axis=0)
    ranks = rankdata(x, axis=1) - 1
    y = np.interp(ranks, np.arange(x.shape[1]), target).astype(np.float32)
    return np.ascontiguousarray(y[:, y.min(axis=0) < y.max(axis=0)])


def counts(path: Path) -> pd.DataFrame:
    """(genes, samples) counts of one cohort, rows of one gene summed."""
    table = pd.read_csv(path, sep="\t")
    return table.drop(columns=["Hugo_Symbol", "Entrez_Gene_Id"]).groupby(table["Hugo_Symbol"]).sum()


def expressed(table: pd.DataFrame) -> NDArray[np.float32]:
    """log2(CPM + 1) of the genes with CPM >= 1 in at least a fifth of the samples, quantile normalised."""
    x = table.to_numpy(float).T
    cpm = x / x.sum(axis=1, keepdims=True) * 1e6
    kept = ((cpm >= 1).mean(axis=0) >= 0.2) & (x.min(axis=0) < x.max(axis=0))
    return quantile_normalised(np.log2(cpm[:, kept] + 1))


def real(name: str, data: Path) -> NDArray[np.float32]:
    """(samples, genes) of one real dataset."""
    if name in COHORTS:
        return expressed(counts(data / "rnaseq" / f"{COHORTS[name]}.txt.gz"))
    if name == "tissues":
        tables = [counts(path) for path in sorted((data / "rnaseq").glob("*.txt.gz"))]
        return expressed(pd.concat([table for table in tables if table.shape[1] >= 30], axis=1))
    table = pd.read_csv(data / "scale" / "GSE49454_probes_x_samples.tsv.gz", sep="\t", index_col=0)
    symbols = pd.read_csv(data / "platforms" / "GPL10558.tsv.gz", sep="\t", index_col=0)["symbol"]
    x = quantile_normalised(table.to_numpy(float).T)
    best = pd.DataFrame({"symbol": table.index.map(symbols), "variance": x.var(axis=0)}).dropna()
    rows = best.sort_values("variance", ascending=False, kind="stable").drop_duplicates("symbol").index
    return np.ascontiguousarray(x[:, rows])


def bare(x: NDArray[np.float32], tile: int, threads: int) -> Callable[[], None]:
    """SGEMM of the upper-triangle tiles of standardised x, and nothing else."""
    z = x - x.mean(axis=0, dtype=np.float64)
    z = np.ascontiguousarray((z / np.sqrt(np.square(z).sum(axis=0))).T, dtype=np.float32)
    spans = correlation._spans(len(z), tile).tolist()
    scratch = np.empty((threads, tile * tile), np.float32)

    def share(thread: int) -> None:
        for row, col in spans[thread::threads]:
            left, right = z[slice(*row)], z[slice(*col)]
            out = scratch[thread, : len(left) * len(right)].reshape(len(left), len(right))
            np.dot(left, right.T, out=out)

    def run() -> None:
        with threadpoolctl.threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
            list(pool.map(share, range(threads)))

    return run


def in_numpy(x: NDArray[np.float32], threshold: float, threads: int) -> int:
    """np.corrcoef and where; returns the count of pairs."""
    with threadpoolctl.threadpool_limits(threads, "blas"):
        r = np.corrcoef(x.T.astype(np.float64))
        a, b = np.where(r >= threshold)
    return int(np.count_nonzero(a < b))


def corals(x: NDArray[np.float32], python: str, threads: int, k: int) -> dict[str, float]:
    """Seconds of CorALS in its own environment, compiled and warm; its k is a share of all pairs."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/x.npy", x.astype(np.float64))
        done = subprocess.run(
            [python, "-W", "ignore", "-c", CORALS, f"{folder}/x.npy", str(threads), str(k / x.shape[1])],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)},
        )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def contenders(x: NDArray[np.float32], name: str, options: argparse.Namespace) -> dict[str, Callable[[], Any]]:
    """What takes turns on one dataset."""
    threads, threshold, k = options.threads, options.threshold, options.top_k
    every: dict[str, Callable[[], Any]] = {f"bare SGEMM, tile {t}": bare(x, t, threads) for t in TILES}
    every["above"] = lambda: correlation.pairs_above(x, threshold=threshold, threads=threads)
    for way in ("plain", "bounded"):
        every[f"above, {way}"] = lambda way=way: correlation.pairs_above(
            x, threshold=threshold, threads=threads, method=way
        )
    rules = ("union", "mutual") if "%" in name else ("union",)
    for rule in rules:
        every[f"top {k} {rule}"] = lambda rule=rule: correlation.pairs_top_k(x, k=k, rule=rule, threads=threads)
    if "%" in name and not options.no_numpy:
        every["np.corrcoef + where"] = lambda: in_numpy(x, threshold, threads)
    return every


def measure(name: str, x: NDArray[np.float32], options: argparse.Namespace) -> dict[str, Any]:
    """Medians and ratios of all contenders on one dataset."""
    print(f"{name}: {x.shape[0]} samples x {x.shape[1]} genes", file=sys.stderr)
    every = contenders(x, name, options)
    seconds: dict[str, list[float]] = {contender: [] for contender in every}
    results: dict[str, Any] = {}
    for _ in range(options.repeats):
        for contender, call in every.items():
            start = time.perf_counter()
            results[contender] = call()
            seconds[contender].append(time.perf_counter() - start)
    medians = {contender: statistics.median(taken) for contender, taken in seconds.items()}
    if "%" in name and options.corals_python is not None:
        runs = [
            corals(x, options.corals_python, options.threads, options.top_k) for _ in range(min(options.repeats, 3))
        ]
        medians |= {contender: statistics.median(run[contender] for run in runs) for contender in runs[0]}
    fastest = min(medians[f"bare SGEMM, tile {tile}"] for tile in TILES)
    plain, auto, bounded = results["above, plain"], results["above"], results["above, bounded"]
    same = all(
        getattr(plain, part).tobytes() == getattr(other, part).tobytes()
        for other in (auto, bounded)
        for part in ("gene_a", "gene_b", "r")
    )
    pairs = {c: len(found.r) for c, found in results.items() if isinstance(found, correlation.PairList)}
    if "np.corrcoef + where" in results:
        pairs["np.corrcoef + where"] = results["np.corrcoef + where"]
    goals = GOALS[name]
    return {
        "name": name,
        "samples": x.shape[0],
        "genes": x.shape[1],
        "share_of_pairs": len(plain.r) / (x.shape[1] * (x.shape[1] - 1) / 2),
        "method": auto.method,
        "same_bytes_by_either_method": same,
        "pairs": pairs,
        "seconds": {contender: round(median, 4) for contender, median in medians.items()},
        "ratio_to_bare_sgemm": {contender: round(median / fastest, 3) for contender, median in medians.items()},
        "goals": {contender: goal for contender, goal in goals.items() if contender in medians},
    }


def peak(kind: str, options: argparse.Namespace) -> int:
    """High-water mark of a fresh process that makes the 0.2 % data and finds their pairs, in bytes."""
    command = [sys.executable, __file__, "--peak", kind]
    for option in ("genes", "samples", "threads", "threshold", "top_k"):
        command += [f"--{option.replace('_', '-')}", str(getattr(options, option))]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return int(done.stdout)


def print_peak(options: argparse.Namespace) -> None:
    """What the fresh process does. The data are made in float32 rows, so that the kernel is the peak."""
    rng = np.random.default_rng(0)
    x = np.empty((options.samples, options.genes), np.float32)
    member = rng.integers(0, max(2, options.genes // 40), options.genes)
    for row in x:
        row[:] = rng.standard_normal(member.max() + 1)[member] + 0.25 * rng.standard_normal(options.genes)
    if options.peak == "above":
        correlation.pairs_above(x, threshold=options.threshold, threads=options.threads)
    else:
        correlation.pairs_top_k(x, k=options.top_k, threads=options.threads)
    with Path("/proc/self/status").open() as status:
        print(next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM")))


def parse() -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--threshold", type=float, default=0.9)
    parser.add_argument("--top-k", type=int, default=50)
    parser.add_argument("--corals-python", help="Python of an environment that has corals")
    parser.add_argument("--no-numpy", action="store_true", help="leave np.corrcoef out (it takes most of the time)")
    parser.add_argument("--real", nargs="*", choices=REAL, default=list(REAL), help="real datasets to take")
    parser.add_argument("--real-genes", type=int, help="take at most this many genes of real data")
    parser.add_argument("--peak", choices=("above", "top"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measures everything and prints one JSON document."""
    options = parse()
    if options.peak is not None:
        print_peak(options)
        return
    data = Path(os.environ.get("G2V_TEST_DATA", ROOT.parent / "shared" / "data"))
    warm = scattered(0.01, 20, 200)
    for method in ("plain", "bounded"):
        correlation.pairs_above(warm, threshold=0.9, method=method, threads=options.threads)
    correlation.pairs_top_k(warm, k=3, threads=options.threads)
    cases = []
    for name, share in (("0.05 %", 0.0005), ("0.2 %", 0.002)):
        cases.append(measure(name, scattered(share, options.samples, options.genes), options))
    notes = []
    for name in options.real:
        if not data.is_dir():
            notes.append(f"{name}: no data at {data}; set G2V_TEST_DATA")
            continue
        cases.append(measure(name, real(name, data)[:, : options.real_genes].copy(), options))
    if options.corals_python is None:
        notes.append("CorALS left out: name a Python that has it with --corals-python")
    result = {
        "benchmark": "pairs",
        "threads": options.threads,
        "repeats": options.repeats,
        "threshold": options.threshold,
        "blas": [f"{i['internal_api']} {i['version']}" for i in threadpoolctl.threadpool_info() if "version" in i],
        "cases": cases,
        "peak_bytes": {kind: peak(kind, options) for kind in ("above", "top")},
        "peak_bytes_goal": 10**9,
        "notes": notes,
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
