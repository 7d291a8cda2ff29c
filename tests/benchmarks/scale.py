"""How it scales: 100 studies from series matrices, pairs and merge of 984, 100,000 parts, and 128 workers. Prints JSON.

    python tests/benchmarks/scale.py FOLDER [--only SECTION ...] [--studies 100] [--pairs-at 100 300 984]
                                            [--parts 100000] [--plot FILE]

Studies are made as GPL570 has them (``scale_studies``), once: what FOLDER holds already is used again. What a section
found stays in FOLDER/results, for ``simulation``, and is printed.

whole       ingest, pairs, merge, train (SVD, and skip-gram of one pass), index: by a run spec, on two workers.
pairs       pairs and merge of 100, 300 and 984 studies on two workers of 2 GB each, all made anew each time; and of
            the fewest on one worker. Their expression is committed straight into a store, as 984 files of 54,675
            probes would be tens of GB.
parts       an empty plan on a scheduler and workers that are processes of their own: tasks a second, and memory (USS,
            which other processes do not sway) when a hundredth, a tenth, half and all of the parts have landed; what
            a part adds is told from the tenth on. Each process of Dask keeps the names of the last 100,000 keys
            (dask.utils.key_split): what a part adds once that cache is full is told besides, of a fifth of the parts.
simulation  computed from what ``pairs`` and ``parts`` measured (``scale_simulation``): first one and two workers,
            beside the real runs; then up to 256.

Run its test first: then Numba's code is on disk, and is not what is measured.
Memory is looked at every 0.5 s; the kernel's own high-water mark of RSS is among it, which no look can miss.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from tests.benchmarks import scale_run, scale_simulation, scale_studies  # noqa: E402
from tests.data_paths import data  # noqa: E402

WORKERS = 2
WORKER_BYTES = 2_000_000_000
CLUSTER = {"workers": WORKERS, "memory_bytes": WORKER_BYTES}
PROBE_BYTES = 1 << 28  # written to learn how fast the disk is
GOALS = {
    "pairs": "at 984: pairs and merge <= 1 hour on 2 cores, a worker <= 2 GB, flat in the number of studies",
    "parts": "memory of the scheduler flat in the number of parts, >= 100,000",
}
Record = dict[str, Any]


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def size(folder: Path) -> int:
    """Bytes of all files below."""
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


@contextmanager
def seconds_of(into: Record, key: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    into[key] = round(time.perf_counter() - start, 2)


# -- sections -----------------------------------------------------------------------------------------------


def whole(options: argparse.Namespace) -> Record:
    out: Record = {"studies": options.studies, "probes": options.probes}
    folder, store = options.folder / "series", options.folder / "store-whole"
    say(f"series matrices of {options.studies} studies")
    with seconds_of(out, "writing_series_seconds"):
        files = scale_studies.write_series(folder, options.studies, n_probes=options.probes, most=options.most_samples)
    out["series_bytes"] = sum(f.stat().st_size for f in files)
    shutil.rmtree(store, ignore_errors=True)
    spec = {
        "store": str(store),
        "cluster": CLUSTER,
        "ingest": {"files": [str(f) for f in files], "platforms": str(data("platforms"))},
        "pairs": {},
        "merge": {},
        "train": [
            {"name": "svd", "method": "svd"},
            {"name": "skipgram", "components": options.components, "iterations": 1, "min_count": 1},
        ],
        "index": [{"name": "svd"}, {"name": "skipgram"}],
    }
    say("ingest, pairs, merge, train, index")
    found = scale_run.child("run", spec=spec)
    stages = found["stages"]
    return {
        **out,
        "seconds": round(found["seconds"], 2),
        "stage_seconds": {name: round(stage["seconds"], 2) for name, stage in stages.items()},
        "client_seconds": {name: client(stage) for name, stage in stages.items()},
        "part_seconds": {name: part_seconds(stage) for name, stage in stages.items()},
        "quarantined": [q for stage in stages.values() for q in stage["quarantined"]],
        "share_of_pairs": shares(stages["pairs"]),
        "peak": found["peak"],
        "store_bytes": size(store),
    }


def pairs(options: argparse.Namespace) -> Record:
    sizes = sorted(set(options.pairs_at))
    out: Record = {
        "genes": options.genes,
        "expression": "committed straight into the store, by the same generator, at the level of genes",
    }
    store = options.folder / "store-pairs"
    say(f"expression of {sizes[-1]} studies")
    with seconds_of(out, "writing_expression_seconds"):
        names = scale_studies.write_expression(store, sizes[-1], genes=options.genes, most=options.most_samples)
    out["expression_bytes"] = size(store)
    out["runs"] = []
    for studies, workers in [(sizes[0], 1), *((s, WORKERS) for s in sizes)]:
        scale_studies.forget(store)
        out["runs"].append(pairs_run(store, names[:studies], workers))
        out["store_bytes"] = size(store)
        say(f"pairs and merge of {studies}, {workers} workers: {out['runs'][-1]['seconds']} s")
    two = [run for run in out["runs"] if run["workers"] == WORKERS]
    out["peak_of_largest_over_smallest"] = {
        stage: round(peak(two[-1], stage) / peak(two[0], stage), 3) for stage in ("pairs", "merge")
    }
    out["largest"] = {
        "studies": sizes[-1],
        "seconds": two[-1]["seconds"],
        "worker_peak_bytes": max(peak(two[-1], stage) for stage in ("pairs", "merge")),
        "goal": GOALS["pairs"],
    }
    return out


def pairs_run(store: Path, names: list[str], workers: int) -> Record:
    """Pairs, then merge, each by a process of its own, so that each has a peak of its own."""
    out: Record = {"studies": len(names), "workers": workers, "stages": {}, "peak": {}}
    steps: dict[str, Record] = {"pairs": {"datasets": names}, "merge": {}}
    for step, spec in steps.items():
        asked = {"store": str(store), "cluster": {**CLUSTER, "workers": workers}, step: spec}
        found = scale_run.child("run", spec=asked)
        out["stages"][step], out["peak"][step] = found["stages"][step], found["peak"]
    made = out["stages"]
    out["quarantined"] = made["pairs"]["quarantined"]
    out["share_of_pairs"] = shares(made["pairs"])
    out["pairs"] = sum(f["pairs"] for f in made["pairs"]["facts"].values())
    for stage in made.values():
        del stage["facts"]
    out["stage_seconds"] = {name: round(stage["seconds"], 2) for name, stage in made.items()}
    out["client_seconds"] = {name: client(stage) for name, stage in made.items()}
    out["part_seconds"] = {name: part_seconds(stage) for name, stage in made.items()}
    out["seconds"] = round(sum(stage["seconds"] for stage in made.values()), 2)
    return out


def peak(run: Record, stage: str) -> int:
    """The largest RSS that a worker had, by the kernel."""
    return int(run["peak"][stage]["worker"]["rss_high_water_bytes"])


def parts(options: argparse.Namespace) -> Record:
    few = max(1, min(2_000, options.parts // 10))
    out: Record = {"goal": GOALS["parts"]}
    plans = (
        ("one_worker", few, 1, False),
        ("empty_plan", options.parts, WORKERS, False),
        ("names_cached", options.parts // 5, WORKERS, True),
    )
    for key, number, workers, filled in plans:
        say(f"an empty plan of {number:,} parts on {workers} workers")
        store = options.folder / "store-parts"
        shutil.rmtree(store, ignore_errors=True)
        with scheduler(options.folder / "dask", workers) as (address, pid):
            asked = {"store": str(store), "parts": number, "address": address, "filled": filled}
            out[key] = scale_run.child("empty", scheduler_pid=pid, **asked)
        shutil.rmtree(store)
    out["bytes_a_part"] = {key: _bytes_a_part(out[key]["marks"]) for key in ("empty_plan", "names_cached")}
    out["tasks_per_second"] = out["empty_plan"]["tasks_per_second"]
    return out


def _bytes_a_part(marks: list[Record]) -> dict[str, float]:
    """What a part adds to each process, from the second mark on."""
    early, late = marks[min(1, len(marks) - 1)], marks[-1]
    landed = max(1, late["parts"] - early["parts"])
    return {n: round((late["uss_bytes"][n] - early["uss_bytes"][n]) / landed, 1) for n in early["uss_bytes"]}


@contextmanager
def scheduler(folder: Path, workers: int) -> Iterator[tuple[str, int]]:
    """A scheduler, with its dashboard, and workers of one thread; its address and process."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    told = folder / "scheduler.json"
    host = ["--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
    memory = ["--nthreads", "1", "--memory-limit", str(WORKER_BYTES), "--local-directory", str(folder)]
    commands = [["dask_scheduler", "--port", "0", "--scheduler-file", str(told), *host]]
    commands += [["dask_worker", "--scheduler-file", str(told), *host, *memory]] * workers
    running: list[subprocess.Popen[bytes]] = []
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    try:
        for module, *arguments in commands:
            command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments]
            running.append(subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment))
            while not told.exists():
                if running[0].poll() is not None:
                    msg = f"the scheduler ended with {running[0].returncode}"
                    raise RuntimeError(msg)
                time.sleep(0.1)
        address = json.loads(told.read_text())["address"]
        _wait_for(address, workers)
        yield address, running[0].pid
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(address: str, workers: int) -> None:
    code = f"import distributed; c = distributed.Client({address!r}); c.wait_for_workers({workers}, 60); c.close()"
    subprocess.run([sys.executable, "-c", code], check=True)


def simulation(options: argparse.Namespace) -> Record:
    runs = found_before(options, "pairs")["runs"]
    empty = found_before(options, "parts")
    beside = empty["one_worker"]["worker_seconds_beside_parts"]
    scheduler_seconds = empty["empty_plan"]["cpu_seconds"]["scheduler"] / empty["empty_plan"]["parts"]

    def known(run: Record) -> list[scale_simulation.Stage]:
        stages = run["stages"].items()
        return [scale_simulation.stage_of(n, s, beside=beside, scheduler=scheduler_seconds) for n, s in stages]

    one, two, *_, largest = (*runs[:2], runs[-1])
    disk = disk_bytes_per_second(options.folder)
    stages = known(largest)
    curves = {
        "computed": scale_simulation.table(stages),
        f"computed, all on one disk of {disk / 1e6:.0f} MB/s": scale_simulation.table(
            [scale_simulation.on_shared_disk(s, disk) for s in stages]
        ),
    }
    points = {WORKERS: sum(scale_simulation.measured(s) for s in largest["stages"].values())}
    if largest["studies"] == one["studies"]:
        points[1] = sum(scale_simulation.measured(s) for s in one["stages"].values())
    if options.plot is not None:
        scale_simulation.plot(options.plot, curves, points)
    (plain, _) = curves.values()
    return {
        "measured": {
            "part seconds": f"pairs and merge of {largest['studies']} studies on {WORKERS} workers of this machine",
            "client": "seconds of plan, begin, submission and landing (with commits), in the same run",
            "beside a part": f"{beside:.4f} s on its worker, from an empty plan on one worker",
            "scheduler": f"{scheduler_seconds:.5f} s of CPU a part, from an empty plan",
            "disk": f"{disk / 1e6:.0f} MB/s: a file of {PROBE_BYTES >> 20} MB written and synced, best of 3",
        },
        "computed": scale_simulation.__doc__.split("\n\n", 1)[1].replace("\n", " ").strip(),  # type: ignore[union-attr]
        "prediction": {
            "from": f"part seconds of {one['studies']} studies on one worker",
            "1 worker": scale_simulation.predicted(known(one), 1, one["stages"]),
            f"{WORKERS} workers": scale_simulation.predicted(known(one), WORKERS, two["stages"]),
            "studies": one["studies"],
        },
        "prediction_of_the_largest": {
            "from": f"its own part seconds, {largest['studies']} studies",
            f"{WORKERS} workers": scale_simulation.predicted(stages, WORKERS, largest["stages"]),
        },
        "studies": largest["studies"],
        "curves": curves,
        "at": {str(row["workers"]): row for row in plain if row["workers"] in (16, 128)},
        "plot": None if options.plot is None else str(options.plot),
    }


def disk_bytes_per_second(folder: Path) -> float:
    """The best of three: what a file takes until it is on the disk."""
    file, block = folder / "disk-probe", os.urandom(1 << 22)
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        with file.open("wb") as out:
            for _ in range(PROBE_BYTES // len(block)):
                out.write(block)
            out.flush()
            os.fsync(out.fileno())
        best = max(best, PROBE_BYTES / (time.perf_counter() - start))
        file.unlink()
    return best


# -- in short -----------------------------------------------------------------------------------------------


def client(stage: Record) -> dict[str, float]:
    """Seconds of the client's own work; ``drive`` is the whole loop, and waits for workers too."""
    return {name: round(found["seconds"], 3) for name, found in stage["client"].items()}


def part_seconds(stage: Record) -> dict[str, float]:
    values = [p["seconds"] for p in stage["parts"]]
    short = {"sum": sum(values), "median": statistics.median(values), "max": max(values)}
    return {"parts": len(values), **{key: round(value, 3) for key, value in short.items()}}


def shares(stage: Record) -> dict[str, float]:
    """Of all pairs of genes, the share in per cent that a study has over the threshold."""
    found = sorted(200 * f["pairs"] / f["genes_used"] / (f["genes_used"] - 1) for f in stage["facts"].values())
    samples = sorted(f["samples"] for f in stage["facts"].values())
    return {
        "least": round(found[0], 4),
        "median": round(statistics.median(found), 4),
        "most": round(found[-1], 4),
        "median_samples": statistics.median(samples),
        "most_samples": samples[-1],
    }


def found_before(options: argparse.Namespace, section: str) -> Record:
    """What a section found, in this run or an earlier one."""
    file = options.folder / "results" / f"{section}.json"
    if not file.exists():
        msg = f"simulation needs what {section} measures, and there is no {file}; run --only {section} first"
        raise SystemExit(msg)
    return dict(json.loads(file.read_text())["found"])


SECTIONS: dict[str, Callable[[argparse.Namespace], Record]] = {
    "whole": whole,
    "pairs": pairs,
    "parts": parts,
    "simulation": simulation,
}


def without_parts(found: Any) -> Any:
    """The same without the lists of single parts, which only ``simulation`` reads."""
    if isinstance(found, dict):
        return {k: without_parts(v) for k, v in found.items() if not (k == "stages" and "share_of_pairs" in found)}
    return [without_parts(v) for v in found] if isinstance(found, list) else found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where studies, stores and results lie; 15 GB at full size")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--studies", type=int, default=100, help="of whole")
    parser.add_argument("--pairs-at", type=int, nargs="+", default=[100, 300, 984], help="studies of pairs")
    parser.add_argument("--parts", type=int, default=100_000, help="of the empty plan")
    parser.add_argument("--plot", type=Path, help="picture of the simulation (.png, .svg, .pdf)")
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--probes", type=int, default=54_675)
    parser.add_argument("--most-samples", type=int, default=scale_studies.MOST)
    parser.add_argument("--components", type=int, default=50, help="of the skip-gram of whole")
    options = parser.parse_args()
    options.folder = options.folder.absolute()
    (options.folder / "results").mkdir(parents=True, exist_ok=True)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "g2v_dask": metadata.version("g2v_dask")}
    out: Record = {"machine": machine}
    for section in [name for name in SECTIONS if name in options.only]:
        start = time.perf_counter()
        found = SECTIONS[section](options)
        kept = {"found": found, "section_seconds": round(time.perf_counter() - start, 1)}
        (options.folder / "results" / f"{section}.json").write_text(json.dumps(kept, indent=1))
        out[section] = {**without_parts(found), "section_seconds": kept["section_seconds"]}
        if len(options.only) > 1:
            print(json.dumps({section: out[section]}, indent=1), flush=True)
    print(json.dumps(out, indent=1))


if __name__ == "__main__":
    main()
