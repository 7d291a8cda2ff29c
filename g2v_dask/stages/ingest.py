"""Files → ``expression/<dataset>``. A part is a dataset.

A text file that is split into many datasets is first scattered into its groups, once: a preparation that its
datasets wait for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from g2v_dask import arrays, platforms
from g2v_dask.errors import InputError, SpecError, StoreError
from g2v_dask.files import digest_of, file_sha256
from g2v_dask.folders import inputs, open_folder
from g2v_dask.folders.inputs import Input
from g2v_dask.genes import BUNDLED, GeneTable
from g2v_dask.kernels import normalise
from g2v_dask.options import check_name
from g2v_dask.parts import Output, Part, Plan, Receipt, Refusal, Target, Work, one_round, share_nothing
from g2v_dask.platforms import PlatformTable
from g2v_dask.prepare import Prepared, memory_bytes, prepare
from g2v_dask.readers import formats, scatter
from g2v_dask.readers.source import Block, Source, safe_name, stem
from g2v_dask.spec import IngestSpec, expand_files
from g2v_dask.store import Store

VERSION = 1
CHUNK_SAMPLES = 4096
SCATTER_BYTES = 512 << 20  # a few blocks of text and their numbers
BYTES_A_VALUE = {True: 1.5, False: 3.0}  # least length of a number in a text file, gzipped or not

begin = share_nothing
next_round = one_round


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What a part needs to know: a dataset, or the datasets of a file to scatter."""

    file: Input
    sources: tuple[Source, ...]
    spec: IngestSpec
    file_sha256: str
    genes: tuple[Path, str]  # and its sha256
    platform: tuple[Input, str] | None = None
    scattered: str | None = None
    """The digest of the preparation, whose files lie in the store that the part is given."""


def plan(store: Store, spec: IngestSpec) -> Plan:
    """One target a dataset, and a preparation for every text file that is split.

    Raises: SpecError if two inputs give datasets of one name, or a file is not there.
    """
    named = {file.path(): file for file in inputs.find(spec.files)}
    files = tuple(named)
    hashes = lru_cache(file_sha256)
    genes = _gene_table(spec)
    _check_paths(spec)
    sources: list[Source] = []
    refused: list[Refusal] = []
    for file in files:
        try:
            sources += formats.scan(file, spec)
        except InputError as error:
            title = spec.name_prefix + stem(file)
            refused.append(_refusal(safe_name(title), title, named[file], str(error)))
    _check_names([*((s.name, _origin(s)) for s in sources), *((r.name, r.source) for r in refused)])
    targets: list[Target] = []
    for file in files:
        of_file = [s for s in sources if s.path == file]
        wanted = [s for s in of_file if s.n_samples >= spec.min_samples]
        refused += [_too_few(s, spec, named[file]) for s in of_file if s.n_samples < spec.min_samples]
        if wanted:
            targets += _targets(store, spec, wanted, named[file], (genes, hashes(genes)), hashes)
    return Plan(stage="ingest", targets=tuple(targets), refused=tuple(refused))


def _gene_table(spec: IngestSpec) -> Path:
    """The gene table's file, once it has been read: a wrong one is bad usage, not the fault of every dataset."""
    if spec.genes is None:
        return BUNDLED
    (path,) = expand_files([spec.genes])
    try:
        GeneTable.load(path)
    except InputError as error:
        raise SpecError(str(error)) from error
    return path


def _check_paths(spec: IngestSpec) -> None:
    folder = None if spec.platforms is None else open_folder(spec.platforms)
    if folder is not None and folder.is_local and not folder.desk.is_dir():
        msg = f"platforms must be a folder of platform tables (GPL96.tsv, GPL570.annot.gz ...), got {spec.platforms}"
        raise SpecError(msg)
    if spec.samples is not None:
        expand_files([spec.samples])


def _check_names(named: list[tuple[str, str]]) -> None:
    """Refuses two inputs that would be one dataset."""
    seen: dict[str, str] = {}
    for name, origin in named:
        other = seen.setdefault(check_name(name), origin)
        if other is not origin:
            msg = (
                f"two inputs would both be the dataset {name!r}: {other} and {origin}; "
                f"leave one out, rename a file, or ingest them apart with --name-prefix"
            )
            raise SpecError(msg)


def _origin(source: Source) -> str:
    return str(source.path) + (f" (group {source.group!r})" if source.group is not None else "")


def _refusal(name: str, title: str, source: Input, reason: str) -> Refusal:
    return Refusal(kind="expression", name=name, title=title, source=source.url, reason=reason)


def _too_few(source: Source, spec: IngestSpec, file: Input) -> Refusal:
    reason = (
        f"{source.n_samples} samples, fewer than {spec.min_samples}; correlations of so few are noise "
        f"(--min-samples takes it all the same)"
    )
    return _refusal(source.name, source.title, file, reason)


def _targets(
    store: Store,
    spec: IngestSpec,
    sources: list[Source],
    named: Input,
    genes: tuple[Path, str],
    hashes: Callable[[Path], str],
) -> Iterator[Target]:
    """The targets of one file."""
    file = sources[0].path
    spec = dataclasses.replace(spec, files=(named.url,))  # a part needs no list of all the others
    preparation = _preparation(spec, sources, named, genes, hashes(file))
    if preparation is not None:
        yield preparation
    for source in sources:
        digests = {"file": hashes(file), "genes": genes[1]}
        platform = _platform_file(spec, source)
        if platform is not None:
            digests[f"platform {source.platform}"] = hashes(platform.path())
        yield Target(
            kind="expression",
            name=source.name,
            title=source.title,
            version=VERSION,
            identity={
                **spec.select("identity"),
                "samples": digest_of([source.samples, source.columns]),
                "platform": source.platform,
                "tile": store.tile,
            },
            limits=spec.select("limit"),
            source=named.url,
            inputs=digests,
            spec=spec,
            detail=Detail(
                file=named,
                sources=(source,),
                spec=spec,
                file_sha256=hashes(file),
                genes=genes,
                platform=None if platform is None else (platform, hashes(platform.path())),
                scattered=None if preparation is None else preparation.digest,
            ),
            parts=(Part(number=0, bytes=_need(source), label=source.name),),
            after=() if preparation is None else (preparation.digest,),
        )


def _preparation(
    spec: IngestSpec, sources: list[Source], file: Input, genes: tuple[Path, str], digest: str
) -> Target | None:
    """The scatter of a text file that holds several datasets; h5ad files are read by sample at once."""
    if len(sources) < 2 or sources[0].format == "h5ad":
        return None
    return Target(
        kind="",
        name=safe_name(stem(sources[0].path)),
        title=file.url,
        version=VERSION,
        identity={"groups": digest_of([[s.name, s.samples, s.columns] for s in sources])},
        inputs={"file": digest},
        detail=Detail(file=file, sources=tuple(sources), spec=spec, file_sha256=digest, genes=genes),
        parts=(Part(number=0, bytes=SCATTER_BYTES, label=f"scatter {sources[0].path.name}"),),
    )


def _platform_file(spec: IngestSpec, source: Source) -> Input | None:
    """The platform table, if there is one; whether one is needed shows when the row ids are read."""
    if spec.platforms is None or source.platform is None:
        return None
    try:
        folder = inputs.holding(spec.platforms, source.platform)
        file = platforms.find(folder.desk, source.platform)
    except InputError:
        return None
    return Input(url=(folder / file.name).url, folder=folder, name=file.name)


def _need(source: Source) -> int:
    """Peak of a part; where the head does not tell the rows, as many as the file can hold."""
    rows = source.n_rows
    if rows is None:
        least = BYTES_A_VALUE[source.path.suffix == ".gz"]
        in_file = max((source.columns or (0,))[-1] + 1, source.n_samples)
        rows = int(source.path.stat().st_size / least / in_file)
    return memory_bytes(rows, source.n_samples)


def run_part(work: Work) -> Output:
    """Reads, normalises and writes one dataset; or scatters a file."""
    detail: Detail = work.target.detail
    sources = detail.sources
    if detail.scattered is None:
        path = detail.file.path()
        _check_unchanged(path, detail.file_sha256)
        sources = tuple(dataclasses.replace(s, path=path) for s in sources)  # a machine's own copy
    source = sources[0]
    if not work.target.kind:
        scatter.scatter(sources, work.desk)
        return Output(files=tuple(sorted(p for p in work.desk.iterdir() if p.suffix != ".tmp")))
    genes = _genes(*detail.genes)
    platform = None if detail.platform is None else _platform(detail.platform[0].path(), detail.platform[1])
    made = prepare(_blocks(work, source), source=source, spec=detail.spec, genes=genes, platform=platform)
    work.alive()
    files = _write(work, made)
    return Output(files=files, result=_result(source, made))


def _check_unchanged(path: Path, sha256: str) -> None:
    """Fails the run, and condemns no dataset, if a file is not what was planned with.

    Raises: OSError if this worker does not see it; StoreError if it has changed.
    """
    if file_sha256(path) != sha256:
        msg = f"{path} has changed since this run was planned; run the same command again"
        raise StoreError(msg)


@lru_cache(maxsize=2)
def _genes(path: Path, sha256: str) -> GeneTable:
    """The gene table, read once a process."""
    _check_unchanged(path, sha256)
    return GeneTable.load(path)


@lru_cache(maxsize=8)
def _platform(path: Path, sha256: str) -> PlatformTable:
    """A platform table, read once a process."""
    _check_unchanged(path, sha256)
    return PlatformTable.load(path)


def _blocks(work: Work, source: Source) -> Iterator[Block]:
    scattered = work.target.detail.scattered
    if scattered is None:
        return formats.read(source)
    folder = work.store.work(scattered) / "data"
    return scatter.read_scattered(folder.marked(work.token).fetch, source)


def _write(work: Work, made: Prepared) -> tuple[Path, ...]:
    data: dict[str, Any] = {"expression": made.expression}
    coordinates = {"sample_id": made.samples, "gene_id": made.genes, "constant": made.constant}
    if made.counts is not None:
        data["counts"] = made.counts
        coordinates["expressed"] = normalise.expressed(made.counts)
    return arrays.write(
        work.folder,
        "expression",
        data=data,
        chunks=(min(CHUNK_SAMPLES, len(made.samples)), work.store.tile),
        coordinates=coordinates,
    )


def _result(source: Source, made: Prepared) -> dict[str, Any]:
    samples, genes = made.expression.shape
    return {
        "samples": samples,
        "genes": genes,
        "genes_sha256": digest_of(np.asarray(made.genes).tolist()),
        "counts": made.counts is not None,
        "share_of_zeros": None if made.counts is None else 1.0 - np.count_nonzero(made.counts) / made.counts.size,
        "format": source.format,
        "file": source.path.name,
        "platform": source.platform,
        "group": source.group,
        "samples_without_group": source.left_out,
        "steps": made.evidence,
    }


def facts(store: Store, target: Target, receipts: Mapping[int, Receipt]) -> dict[str, Any]:
    """Sizes, and each step with its evidence."""
    result: dict[str, Any] = receipts[0]["result"]
    return result
