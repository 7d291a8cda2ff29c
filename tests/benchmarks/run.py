"""The whole way on real data: seconds a stage, and the share of the pairs stage spent in its kernel. Prints JSON.

    PYTHONPATH=. python tests/benchmarks/run.py [--top-k 50] [--repeats 7]

All of ``rnaseq/`` and ``geo/`` (11 datasets pass), 200 components × 9 iterations. ``warm`` runs ``pairs`` again
and again in a new store on the same workers, where libraries are loaded; ``share_of_parts`` is kernel seconds
over the seconds of the parts, ``share_of_wall`` over workers × seconds of the stage.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from g2v_dask import driver
from g2v_dask.cluster import Cluster, connect
from g2v_dask.flows import pipeline
from g2v_dask.progress import Display
from g2v_dask.schema import KINDS
from g2v_dask.spec import ClusterSpec, IndexSpec, IngestSpec, MergeSpec, PairsSpec, TrainSpec
from g2v_dask.stages import pairs
from g2v_dask.store import Store
from tests.data_paths import data

QUIET = Display(quiet=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--top-k", type=int)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--files", nargs="*", help="instead of all of rnaseq/ and geo/")
    parser.add_argument("--components", type=int, default=200)
    parser.add_argument("--iterations", type=int, default=9)
    options = parser.parse_args()
    files = options.files or [str(data(f)) + "/*" for f in ("rnaseq", "geo")]
    with tempfile.TemporaryDirectory() as folder, connect(ClusterSpec(workers=2)) as cluster:
        print(json.dumps(measure(Path(folder), cluster, files, options), indent=1))


def measure(folder: Path, cluster: Cluster, files: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of each stage, cold; then of pairs, warm."""
    rule = PairsSpec(top_k=options.top_k)
    where = ClusterSpec(address=cluster.client.scheduler.address)
    specs = [
        IngestSpec(files=tuple(files), platforms=str(data("platforms"))),
        rule,
        MergeSpec(),
        TrainSpec(name="genes", components=options.components, iterations=options.iterations),
        IndexSpec(),
    ]
    out: dict[str, Any] = {"datasets": 0, "seconds": {}}
    for spec in specs:
        summary = pipeline.run_stage(str(folder / "store"), spec, cluster=where, display=QUIET)
        out["seconds"][spec.stage()] = round(summary.seconds, 2)
        out["datasets"] = out["datasets"] or len(summary.made)
    out["warm"] = warm(Store.open(folder / "store"), cluster, rule, options.repeats)
    return out


def warm(store: Store, cluster: Cluster, rule: PairsSpec, repeats: int) -> dict[str, float]:
    """Medians of the pairs stage, made anew each time."""
    walls, of_parts, of_wall = [], [], []
    for _ in range(repeats):
        for artifact in [a for kind in KINDS if kind != "expression" for a in store.artifacts(kind)]:
            store.remove(artifact.kind, artifact.name)
        store.gc(young_seconds=0)
        plan = pairs.plan(store, rule)
        summary = driver.drive(pairs, plan, store, cluster, QUIET)
        kernel = sum(f["kernel_seconds"] for f in summary.artifacts.values())
        walls.append(summary.seconds)
        of_parts.append(kernel / summary.part_seconds)
        of_wall.append(kernel / summary.seconds / cluster.threads())
    return {
        "pairs_seconds": round(statistics.median(walls), 2),
        "share_of_parts": round(statistics.median(of_parts), 3),
        "share_of_wall": round(statistics.median(of_wall), 3),
    }


if __name__ == "__main__":
    main()
