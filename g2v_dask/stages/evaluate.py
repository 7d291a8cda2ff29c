"""``embeddings/<name>`` → ``evaluations/<to>``: what the vectors are worth, by the tasks that are asked for.

The first round does the tasks' units side by side; the second, of one part, sums them up into one tidy table.
Files that were given travel with the target, so that workers on other machines need none of the client's disk.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from g2v_dask import arrays, background, evaluation, ontology, schema
from g2v_dask.analysis import tissues
from g2v_dask.background import Sources
from g2v_dask.errors import InputError, SpecError
from g2v_dask.evaluation.base import ROWS, Subject, TooLittleError, Unit
from g2v_dask.files import file_sha256, placed
from g2v_dask.folders import Folder
from g2v_dask.folders.inputs import find
from g2v_dask.genes import GeneTable
from g2v_dask.parts import Output, Part, Plan, Receipt, Target, Work
from g2v_dask.spec import EvaluateSpec
from g2v_dask.store import Artifact, Store

VERSION = 1
GIVEN = "given"  # the folder of the files that parts read
MADE_BY = ("numpy", "scipy", "scikit-learn")


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What the parts need to know."""

    embedding: Artifact
    beside: tuple[Artifact, ...]
    common: tuple[Artifact, ...]
    spec: EvaluateSpec
    sources: Sources
    files: Mapping[str, tuple[str, ...]]
    """By option, the names of the files under ``GIVEN``."""
    origins: Mapping[str, str]
    """Name under ``GIVEN`` to path on the client."""
    units: tuple[tuple[str, Unit], ...]
    """Task and unit of each part of the first round."""
    skipped: Mapping[str, str]
    """Why tasks that nobody named are not asked."""


# -- plan -----------------------------------------------------------------------------------------------------


def plan(store: Store, spec: EvaluateSpec) -> Plan:
    """One target; a part for every unit of every task.

    A task that was not named, and that too little was given for, is passed over with a note.
    Raises: SpecError as ``asked``; InputError for files that are wrong; TooLittleError for a task that was named, or
            if none can be asked.
    """
    source = store.only("embeddings", spec.name)
    beside = tuple(store.get("embeddings", name) for name in spec.beside)
    common = tuple(store.get("embeddings", name) for name in spec.common)
    tasks, counted = asked(store, spec)
    paths = _paths(spec)
    found, inputs = background.sources(store, source, counted)
    origins = {
        f"{key}/{number}/{path.name}": str(path) for key, some in paths.items() for number, path in enumerate(some)
    }
    detail = Detail(
        embedding=source,
        beside=beside,
        common=common,
        spec=spec,
        sources=found,
        files={key: tuple(name for name in origins if name.startswith(f"{key}/")) for key in paths},
        origins=origins,
        units=(),
        skipped={},
    )
    subject = _subject(detail, paths)
    units, skipped = _units(subject, spec, tasks)
    name = source.name if spec.to is None else spec.to
    vectors = subject.vectors.nbytes
    target = Target(
        kind="evaluations",
        name=name,
        title=name,
        version=VERSION,
        identity={
            **spec.select("identity"),
            "tasks": [task for task in tasks if task not in skipped],
            # their digests are inputs, which do not tell who has which part
            **{key: sorted(a.name for a in some) for key, some in (("beside", beside), ("common", common))},
        },
        inputs={
            source.key: source.digest,
            **{a.key: a.digest for a in (*beside, *common)},
            **inputs,
            **{f"file:{n}": file_sha256(Path(p)) for n, p in origins.items()},
        },
        limits=spec.select("limit"),
        spec=dataclasses.replace(spec, name=source.name, to=name),
        detail=dataclasses.replace(detail, units=units, skipped=skipped),
        parts=tuple(
            Part(number=number, bytes=vectors + unit.bytes, label=f"{name}, {unit.label}")
            for number, (_, unit) in enumerate(units)
        ),
        same_blas=True,
    )
    target.folder(store)  # a wrong name is found before any work
    notes = tuple(f"{name}: {task} is not asked: {why}" for task, why in skipped.items())
    return Plan(stage="evaluate", targets=(target,), notes=notes)


def asked(store: Store, spec: EvaluateSpec) -> tuple[tuple[str, ...], list[Artifact]]:
    """The tasks that are asked of any embedding, and the datasets with read counts that they take.

    Raises: SpecError if nothing is asked, tissue is asked without read counts, or a library is missing.
    """
    counted = _counted(store, spec)
    tasks = spec.chosen(tissues=tissues.are_there(a.facts["samples"] for a in counted))
    if not tasks:
        msg = "evaluate: nothing to ask: give --genesets, --pairs, --go or --beside, or a store with read counts"
        raise SpecError(msg)
    _check_extras(spec, tasks)
    return tasks, counted if "tissue" in tasks else []


def _units(
    subject: Subject, spec: EvaluateSpec, tasks: Sequence[str]
) -> tuple[tuple[tuple[str, Unit], ...], dict[str, str]]:
    """The units of each task; and why tasks that nobody named are not asked."""
    units: list[tuple[str, Unit]] = []
    skipped: dict[str, TooLittleError] = {}
    for task in tasks:
        try:
            units += [(task, unit) for unit in evaluation.load(task).units(subject, spec)]
        except TooLittleError as error:
            if spec.tasks:
                raise
            skipped[task] = error
    if not units:
        raise next(iter(skipped.values()))
    return tuple(units), {task: str(error).removeprefix(f"{task}: ") for task, error in skipped.items()}


def _counted(store: Store, spec: EvaluateSpec) -> list[Artifact]:
    """The datasets with read counts.

    Raises: SpecError if one that is named has none, or tissue is asked and there are none.
    """
    chosen = store.select("expression", spec.datasets) if store.names("expression") else []
    counted = [a for a in chosen if a.facts["counts"]]
    if spec.datasets is not None and len(counted) < len(chosen):
        without = ", ".join(a.name for a in chosen if not a.facts["counts"])
        msg = f"evaluate: tissue is told by read counts, and {without} has none; name datasets ingested as counts"
        raise SpecError(msg)
    if "tissue" in spec.tasks and not counted:
        msg = "evaluate: tissue is told by read counts, and no dataset here has any; 'g2v ingest --counts' keeps them"
        raise SpecError(msg)
    return counted


def _check_extras(spec: EvaluateSpec, tasks: tuple[str, ...]) -> None:
    """Refuses the network of the paper where its library is missing, before any work."""
    if "interaction" in tasks and "ggipnn" in spec.models and importlib.util.find_spec("torch") is None:
        msg = (
            "evaluate: the model ggipnn needs PyTorch: pip install 'g2v_dask[torch]'; "
            "or leave it out: --models cosine,heads"
        )
        raise SpecError(msg)


def _paths(spec: EvaluateSpec) -> dict[str, tuple[Path, ...]]:
    """The files of each option that names some; of a folder all that lie in it, of GO only what is read."""
    found: dict[str, tuple[Path, ...]] = {}
    for key in ("genesets", "pairs", "go", "genes"):
        given = getattr(spec, key)
        texts = (given,) if isinstance(given, str) else tuple(given or ())
        if texts:
            found[key] = tuple(f.path() for f in find(name for text in texts for name in _inside(text)))
    if "go" in found:
        found["go"] = tuple(ontology.recognised(found["go"]).values())
    return found


def _inside(text: str) -> list[str]:
    """The files of a folder; what is no folder here, as it is."""
    if "://" in text or not Path(text).is_dir():
        return [text]
    return [str(file) for file in sorted(Path(text).iterdir()) if file.is_file()]


# -- parts ----------------------------------------------------------------------------------------------------


def begin(folder: Folder, target: Target) -> tuple[str, ...]:
    """Puts the files that were given where all parts can read them."""
    detail: Detail = target.detail
    for name, origin in detail.origins.items():
        with placed(folder.desk / GIVEN / name) as part:
            part.write_bytes(Path(origin).read_bytes())
    return tuple(f"{GIVEN}/{name}" for name in detail.origins)


@lru_cache(maxsize=1)
def _subject_of(folder: Folder, detail: _ById) -> Subject:
    """The subject, opened once a process for all its parts."""
    held = detail.detail
    paths = {key: tuple(_fetched(folder, f"{GIVEN}/{name}") for name in names) for key, names in held.files.items()}
    return _subject(held, paths)


@dataclass(frozen=True)
class _ById:
    """A detail as a key: the target's digest says what is in it."""

    digest: str
    detail: Detail = dataclasses.field(compare=False)


def _fetched(folder: Folder, name: str) -> Path:
    folder.fetch(name)
    return folder.desk / name


def _subject(detail: Detail, paths: Mapping[str, tuple[Path, ...]]) -> Subject:
    genes, vectors = _vectors(detail.embedding)
    table = _table(paths)
    if detail.common:
        _, rows = shared([genes, *(_words(a) for a in detail.common)], table)
        genes, vectors = genes[rows[0]], vectors[rows[0]]
    return Subject(
        name=detail.embedding.name,
        genes=genes,
        vectors=vectors,
        table=table,
        background=detail.sources,
        files=paths,
        beside={a.name: _vectors(a) for a in detail.beside},
        taxon=detail.spec.tax_id,
    )


def gene_table(spec: EvaluateSpec) -> GeneTable:
    """The gene table that is named, or the bundled one.

    Raises: SpecError if it is not there; InputError if it is none.
    """
    return _table({} if spec.genes is None else {"genes": tuple(f.path() for f in find((spec.genes,)))})


def _table(paths: Mapping[str, tuple[Path, ...]]) -> GeneTable:
    return GeneTable.load(next(iter(paths.get("genes", ())), None))


def shared(words: Sequence[NDArray[np.str_]], table: GeneTable) -> tuple[list[str], list[NDArray[np.int64]]]:
    """The symbols of the genes that several embeddings have, sorted, and the row of each in every embedding.

    Of two words with one symbol the first counts. So what embeddings of other ids, or older symbols, have in common
    is found, and it stands in one order: what a task draws by seed is the same for all.
    Raises: InputError if they have none in common.
    """
    held: list[dict[str, int]] = []
    for some in words:
        rows: dict[str, int] = {}
        for row, symbol in enumerate(table.translate(some.tolist()).symbols):
            rows.setdefault(symbol, row)
        held.append(rows)
    symbols = sorted(set(held[0]).intersection(*held[1:]))
    if not symbols:
        msg = (
            f"the embeddings have no gene in common: of {', '.join(f'{len(w):,}' for w in words)} genes; compare others"
        )
        raise InputError(msg)
    return symbols, [np.array([rows[symbol] for symbol in symbols], dtype=np.int64) for rows in held]


def _words(embedding: Artifact) -> NDArray[np.str_]:
    return arrays.strings(arrays.open_group(embedding.folder, "embeddings"), "gene_id")


def _vectors(embedding: Artifact) -> tuple[Any, Any]:
    root = arrays.open_group(embedding.folder, "embeddings")
    return arrays.strings(root, "gene_id"), arrays.values(root, "vector")


def run_part(work: Work) -> Output:
    """Does one unit, or sums all up."""
    detail: Detail = work.target.detail
    subject = _subject_of(work.folder, _ById(work.target.digest, detail))
    return _unit(work, detail, subject) if work.round == 0 else _sum(work, detail, subject)


def _unit(work: Work, detail: Detail, subject: Subject) -> Output:
    task, unit = detail.units[work.part.number]

    def progress(done: int, total: int, note: str) -> None:
        work.alive()
        work.progress(done, total, note)

    tables = evaluation.load(task).run(subject, detail.spec, unit, progress)
    files = {name: _found(work.part.number, name) for name in tables}
    return Output(files=tuple(_write(work, file, tables[name]) for name, file in files.items()), result=sorted(tables))


def _found(number: int, table: str) -> str:
    """The file of a unit's table."""
    return f"found/{number}-{table}.parquet"


def _sum(work: Work, detail: Detail, subject: Subject) -> Output:
    """The tables of each task's units, one after the other, summed up."""
    rows: list[pa.Table] = []
    files: list[Path] = []
    named: dict[str, list[int]] = {}
    for number, (task, _) in enumerate(detail.units):
        named.setdefault(task, []).append(number)
    there = work.folder.sizes()
    for task, numbers in named.items():
        work.alive()
        tables: dict[str, list[pa.Table]] = {}
        for number in numbers:
            prefix = f"found/{number}-"
            for file in sorted(f for f in there if f.startswith(prefix)):
                name = file.removeprefix(prefix).removesuffix(".parquet")
                tables.setdefault(name, []).append(pq.read_table(_fetched(work.folder, file)))
        joined = {name: pa.concat_tables(some) for name, some in tables.items()}
        summed = evaluation.load(task).sum_up(subject, detail.spec, joined)
        rows.append(summed[ROWS])
        files += [_write(work, f"tables/{task}-{name}.parquet", t) for name, t in summed.items() if name != ROWS]
    figures = pa.concat_tables(rows)
    digests = pa.array([detail.embedding.digest] * len(figures), type=pa.string())
    figures = figures.append_column("embedding", digests).select(schema.EVALUATION.names).cast(schema.EVALUATION)
    files.append(_write(work, "data.parquet/part-0.parquet", figures))
    return Output(files=tuple(files), result={"figures": len(figures)})


def _write(work: Work, name: str, table: pa.Table) -> Path:
    file = work.desk / name
    with placed(file) as part:
        pq.write_table(table, part)
    return file


def next_round(target: Target, done: int, receipts: Mapping[int, Receipt]) -> tuple[Part, ...]:
    """After the units one part that sums up."""
    most = max(part.bytes for part in target.parts) if target.parts else 0
    return (Part(number=0, bytes=most, label=f"{target.name}, figures"),) if done == 0 else ()


def facts(store: Store, target: Target, receipts: Mapping[int, Receipt]) -> dict[str, Any]:
    """The embedding, the tasks, how many figures, and the versions of the libraries behind them."""
    detail: Detail = target.detail
    torch = ("torch",) if importlib.util.find_spec("torch") is not None and "ggipnn" in detail.spec.models else ()
    return {
        "embedding": detail.embedding.name,
        "genes": detail.embedding.facts["genes"],
        "tasks": list(dict.fromkeys(task for task, _ in detail.units)),
        **({"skipped": dict(detail.skipped)} if detail.skipped else {}),
        **receipts[0]["result"],
        "versions": {name: metadata.version(name) for name in (*MADE_BY, *torch)},
    }
