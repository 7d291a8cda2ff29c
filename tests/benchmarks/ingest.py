"""Ingest against ``pandas.read_csv`` on the same files: reading alone, and the whole way to normalised genes.

    python tests/benchmarks/ingest.py [FILES...]

Medians of 7, contenders in turn in one run; JSON on stdout. ``read``: our blocks, freed as they come.
``table``: our blocks joined to the one float64 matrix that pandas gives. ``ingest``: ``table`` and all of prepare.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from g2v_dask.genes import GeneTable  # noqa: E402
from g2v_dask.platforms import PlatformTable, find  # noqa: E402
from g2v_dask.prepare import gather, prepare  # noqa: E402
from g2v_dask.readers import formats  # noqa: E402
from g2v_dask.readers.source import Source  # noqa: E402
from g2v_dask.spec import IngestSpec  # noqa: E402

FILES = (
    "scale/GSE49454_probes_x_samples.tsv.gz",
    "geo/GSE55235_series_matrix.txt.gz",
    "geo/GSE14520-GPL571_series_matrix.txt.gz",
    "geo/GSE4107_series_matrix.txt.gz",
    "rnaseq/read-rsem-count-tcga-t.txt.gz",
)


def contenders(path: Path, platforms: Path, genes: GeneTable) -> tuple[Source, dict[str, Callable[[], object]]]:
    """What is timed on one file."""
    platform = "GPL10558" if "GSE49454" in path.name else None
    spec = IngestSpec(files=(str(path),), platforms=str(platforms), platform=platform, min_samples=3)
    (source,) = formats.scan(path, spec)
    table = None if source.platform is None else PlatformTable.load(find(platforms, source.platform))
    comment = "!" if source.format == "geo_matrix" else None
    return source, {
        "pandas": lambda: pd.read_csv(path, sep="\t", comment=comment),
        "read": lambda: sum(len(block.rows) for block in formats.read(source)),
        "table": lambda: gather(formats.read(source), source),
        "ingest": lambda: prepare(formats.read(source), source=source, spec=spec, genes=genes, platform=table),
    }


def measure(paths: list[Path], platforms: Path, *, repeats: int = 7) -> dict[str, object]:
    """Seconds a file and contender, and ratios to pandas."""
    genes = GeneTable.load()
    genes.translate(["none"])  # its indexes are made once a process
    found: dict[str, object] = {}
    for path in paths:
        source, made = contenders(path, platforms, genes)
        times: dict[str, list[float]] = {name: [] for name in made}
        for name in made:
            made[name]()  # compiled, and in the page cache
        for _ in range(repeats):
            for name, call in made.items():
                start = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start)
        seconds = {name: statistics.median(t) for name, t in times.items()}
        found[source.name] = {
            "samples": source.n_samples,
            "seconds": {name: round(t, 4) for name, t in seconds.items()},
            "of_pandas": {n: round(t / seconds["pandas"], 3) for n, t in seconds.items() if n != "pandas"},
        }
    return {"repeats": repeats, "numpy": np.__version__, "pandas": pd.__version__, "files": found}


if __name__ == "__main__":
    data = ROOT.parent / "shared" / "data"
    chosen = [Path(a) for a in sys.argv[1:]] if len(sys.argv) > 1 else [data / name for name in FILES]
    print(json.dumps(measure(chosen, data / "platforms"), indent=1))
