"""Studies as GPL570 has them, made by one seed: as series matrices of probes, or as expression of genes in a store.

Transcripts belong to modules of heavy-tailed sizes which all studies share; each study moves them by strengths of its
own, besides broad factors that are shared and some that are not. Over that lie noise of each transcript, and of
the measurement. A study's tightness is drawn too, so that studies differ in how many pairs have r >= 0.9, as real ones
do.
"""

from __future__ import annotations

import gzip
import itertools
import json
import multiprocessing
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from g2v_dask import arrays
from g2v_dask.files import digest_of, placed, write_file
from g2v_dask.kernels.normalise import quantile_normalise
from g2v_dask.platforms import PlatformTable
from g2v_dask.readers.geo_matrix import BEGIN, END
from g2v_dask.store import Store
from tests import stores
from tests.data_paths import data

SEED = 6
VERSION = 1  # of the generator: raised when it makes other values
LEAST, MOST = 30, 300  # samples of a study
OVER_LEAST = 30  # median of what a study has beyond LEAST
BROAD, OWN, WIDE = 10, 5, 0.12  # factors that move all genes: in all studies, in one alone; by how much
Samples = NDArray[np.float32]  # (samples, columns)


@dataclass(frozen=True, kw_only=True)
class World:
    """What all studies share, a value each transcript."""

    seed: int
    module: NDArray[np.int64]
    pull: Samples  # of its module; negative where it goes against it
    noise: Samples  # beside a pull of 1
    broad: Samples  # (BROAD, transcripts)
    mean: Samples  # log2
    spread: Samples  # log2


def world(transcripts: int, named: int, seed: int = SEED) -> World:
    """Structure by seed; those beyond ``named`` are of no gene: lowly expressed, and of no module."""
    random = np.random.default_rng(seed)
    modules = max(4, transcripts // 100)
    share = (1 + np.arange(modules)) ** -0.6  # of transcripts: the largest has hundreds, most have tens
    module = random.choice(modules, transcripts, p=share / share.sum())
    pull = random.beta(5, 1.5, transcripts) * np.where(random.random(transcripts) < 0.15, -1, 1)
    mean = np.clip(random.gamma(2.2, 1.7, transcripts) + 2.6, 2.6, 14.5)
    pull[named:], mean[named:] = 0, random.normal(3.6, 0.6, transcripts - named)
    return World(
        seed=seed,
        module=module,
        pull=pull.astype(np.float32),
        noise=random.lognormal(np.log(0.33), 0.6, transcripts).astype(np.float32),
        broad=random.normal(0, WIDE, (BROAD, transcripts)).astype(np.float32),
        mean=mean.astype(np.float32),
        spread=np.clip(random.lognormal(np.log(0.42), 0.65, transcripts), 0.06, 3.5).astype(np.float32),
    )


def samples_of(number: int, most: int = MOST, seed: int = SEED) -> int:
    """Samples of a study: 30 to 300, half of them below 60."""
    beyond = np.random.default_rng([seed, number, 1]).lognormal(np.log(OVER_LEAST), 1.0)
    return int(min(LEAST + beyond, most))


def study(made: World, number: int, samples: int) -> Samples:
    """log2 intensities of one study's transcripts."""
    random = np.random.default_rng([made.seed, number, 2])
    modules, transcripts = int(made.module.max()) + 1, len(made.module)

    def normal(*shape: int) -> Samples:
        return random.standard_normal(shape, dtype=np.float32)

    tightness = random.lognormal(np.log(0.75), 0.35)
    strength = (tightness * random.lognormal(0, 0.8, modules)).astype(np.float32)
    broad = np.vstack([made.broad, np.float32(WIDE) * normal(OWN, transcripts)])
    values = (normal(samples, modules) * strength)[:, made.module]
    values *= made.pull
    values += normal(samples, BROAD + OWN) @ broad
    values += normal(samples, transcripts) * made.noise
    size = np.sqrt((strength[made.module] * made.pull) ** 2 + made.noise**2 + (broad**2).sum(axis=0))
    values *= np.minimum(made.spread / np.sqrt(0.6 * size), 3.5 / size)  # what moves much also varies more
    values += made.mean + 0.3 * normal(transcripts)
    values += normal(samples, transcripts) * np.float32(0.06)
    return values


# -- series matrices ----------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def probes(number: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The first probes of GPL570, in its order, and the gene of each, empty for none."""
    with gzip.open(data("geo", "GSE4107_series_matrix.txt.gz"), "rt", encoding="utf-8") as lines:
        rows = itertools.dropwhile(lambda line: not line.startswith(BEGIN), lines)
        ids = [line.split("\t", 1)[0].strip('"') for line in itertools.islice(rows, 2, 2 + number)]
    ids = [probe for probe in ids if not probe.startswith("!")]
    symbols = PlatformTable.load(data("platforms", "GPL570.tsv.gz")).symbols
    return tuple(ids), tuple(symbols.get(probe, "") for probe in ids)


@lru_cache(maxsize=1)
def probe_world(number: int) -> tuple[World, NDArray[np.int64]]:
    """Transcripts of these probes, and the transcript of each: probes of one gene measure one."""
    _, symbols = probes(number)
    genes = sorted({s for s in symbols if s})
    code = {symbol: at for at, symbol in enumerate(genes)}
    nameless = itertools.count(len(genes))
    transcript = np.array([code[s] if s else next(nameless) for s in symbols])
    return world(int(transcript.max()) + 1, len(genes)), transcript


def accession(number: int) -> str:
    """Of no real series."""
    return f"GSE{90_000_001 + number}"


def series(number: int, folder: Path, *, n_probes: int, most: int) -> None:
    """Writes one study as GEO does, if it is not there."""
    path = folder / f"{accession(number)}_series_matrix.txt.gz"
    if path.exists():
        return
    made, transcript = probe_world(n_probes)
    samples = samples_of(number, most)
    of_probes = np.random.default_rng([made.seed, 3])  # the same in all studies
    answer = of_probes.uniform(0.5, 1.0, len(transcript)).astype(np.float32)
    offset = of_probes.normal(0, 0.8, len(transcript)).astype(np.float32)
    values = study(made, number, samples)
    values = (values - made.mean)[:, transcript] * answer + np.maximum(made.mean[transcript] + offset, 2.2)
    noise = np.random.default_rng([made.seed, number, 4]).standard_normal(values.shape, dtype=np.float32)
    values += np.float32(0.08) * noise
    names = [f"GSM{90_000_001 + number * 1000 + at}" for at in range(samples)]
    columns = [pa.array(probes(n_probes)[0]), *(pa.array(v.round(3)) for v in values.astype(np.float64))]
    table = pa.Table.from_arrays(columns, names=["ID_REF", *names])
    with placed(path) as part, gzip.open(part, "wb", compresslevel=4) as out:
        out.write(_head(accession(number), names, len(transcript)))
        pyarrow.csv.write_csv(table, out, pyarrow.csv.WriteOptions(delimiter="\t"))
        out.write(f"{END}\n".encode())


def _head(name: str, samples: list[str], rows: int) -> bytes:
    def of_samples(key: str, values: Iterable[object]) -> str:
        return "\t".join([f"!Sample_{key}", *(f'"{v}"' for v in values)])

    lines = [
        f'!Series_title\t"Made for a benchmark, {name}"',
        f'!Series_geo_accession\t"{name}"',
        '!Series_platform_id\t"GPL570"',
        of_samples("title", samples),
        of_samples("geo_accession", samples),
        of_samples("platform_id", ["GPL570"] * len(samples)),
        of_samples("data_row_count", [rows] * len(samples)),
        BEGIN,
    ]
    return "".join(f"{line}\n" for line in lines).encode()


# -- expression in a store ----------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def gene_world(genes: int) -> tuple[World, tuple[str, ...]]:
    """Transcripts that are genes, named as those of GPL570, and more where more are wanted."""
    known = sorted({s for s in probes(1 << 20)[1] if s})[:genes]
    return world(genes, genes), tuple(sorted([*known, *(f"MADE{n:05d}" for n in range(genes - len(known)))]))


def expression(number: int, root: Path, *, genes: int, most: int) -> None:
    """Commits one study as ``ingest`` would, if it is not there."""
    store, name = Store.open(root), accession(number)
    digest = digest_of(["scale", VERSION, SEED, number, genes, most])
    if store.committed("expression", name, digest) is not None:
        return
    made, names = gene_world(genes)
    values = study(made, number, samples_of(number, most)).astype(np.float64)
    quantile_normalise(values)
    arrays.write(
        store.folder("expression", name, digest),
        "expression",
        data={"expression": values.astype(np.float32)},
        chunks=(len(values), store.tile),
        coordinates={
            "sample_id": [f"S{at}" for at in range(len(values))],
            "gene_id": list(names),
            "constant": np.zeros(genes, dtype=bool),
        },
    )
    facts = {
        "samples": len(values),
        "genes": genes,
        "genes_sha256": digest_of(names),
        "counts": False,
        "share_of_zeros": None,
    }
    stores.commit(store, "expression", name, digest, facts, stage="ingest")


# -- many ---------------------------------------------------------------------------------------------------


def write_series(folder: Path, studies: int, *, n_probes: int, most: int) -> list[Path]:
    """Series matrices of the first studies; those that are there stay.

    Raises: SystemExit if the folder holds others.
    """
    _claim(folder, {"version": VERSION, "seed": SEED, "probes": n_probes, "most_samples": most})
    _each(partial(series, folder=folder, n_probes=n_probes, most=most), range(studies))
    return [folder / f"{accession(number)}_series_matrix.txt.gz" for number in range(studies)]


def write_expression(folder: Path, studies: int, *, genes: int, most: int) -> list[str]:
    """A store with the expression of the first studies, and nothing that was made of it; their names."""
    _claim(folder.with_name(folder.name + "-settings"), {"version": VERSION, "genes": genes, "most_samples": most})
    store = Store.open(folder, create=True)
    _each(partial(expression, root=folder, genes=genes, most=most), range(studies))
    forget(folder)
    return [name for name in store.names("expression") if name in {accession(n) for n in range(studies)}]


def forget(folder: Path) -> None:
    """Removes from a store all that was made of expression."""
    for kind in ("pairs", "cooccurrence", ".work"):
        shutil.rmtree(folder / kind, ignore_errors=True)


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    file = folder / "settings.json"
    if file.exists() and json.loads(file.read_text()) != settings:
        msg = f"{folder} was made with other settings: {file.read_text()}; name another folder"
        raise SystemExit(msg)
    write_file(file, json.dumps(settings).encode())


def _each(function: Callable[[int], None], numbers: Sequence[int]) -> None:
    """In two processes, one study at a time each."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(function, numbers))
