"""One dataset from raw rows to normalised genes: the pure part of ingest, every step with its evidence.

Arrays: log2 → rows over 20 % missing dropped, gaps filled → quantile normalisation → probe to gene → one probe a
gene. Counts: rows of one gene summed → log2(CPM + 1) → quantile normalisation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2v_dask.errors import InputError
from g2v_dask.genes import GeneTable, Translation, running_numbers
from g2v_dask.kernels import normalise
from g2v_dask.platforms import PlatformTable, find
from g2v_dask.readers.source import Block, Kind, Source
from g2v_dask.spec import IngestSpec

MIN_KNOWN = 0.5  # share of ids that a dataset of genes must have in the gene table
MIN_ON_PLATFORM = 0.05  # share of rows that a platform table must name; fewer: it is another array's
GENE_KINDS: tuple[Kind, ...] = ("symbol", "ensembl", "entrez")
SEVERAL = "///"
LARGEST = 1e6  # a log2 value beyond it is none; its square is far from overflow
Evidence = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """One dataset as the store keeps it."""

    expression: NDArray[np.float32]
    """(samples, genes) C-order, log2, quantile normalised."""
    counts: NDArray[np.int32] | NDArray[np.float64] | None
    """(samples, genes) raw, of count data: int32, or float64 where they are estimates."""
    genes: NDArray[np.str_]
    """Sorted."""
    samples: tuple[str, ...]
    constant: NDArray[np.bool_]
    """Genes that did not vary before quantile normalisation."""
    evidence: Evidence
    """What was found and done, ready for JSON."""


@dataclass(kw_only=True)
class Table:
    """All rows of a dataset; `values` is handed on and overwritten."""

    values: normalise.Values
    """(samples, rows)"""
    rows: list[str]
    ids: dict[Kind, list[str]]


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """Rows to genes."""

    genes: list[str]
    """Sorted."""
    of_row: NDArray[np.int64]
    """Gene of each row; -1 for none."""
    by_platform: bool
    evidence: Evidence


@dataclass(frozen=True, kw_only=True)
class Named:
    """Rows with the name of their gene, as a file or a platform writes it."""

    names: list[str]
    """One a row, empty for none."""
    translation: Translation
    """Of those that are not empty."""
    by: str
    dropped: dict[str, int]
    by_platform: bool


def memory_bytes(rows: int, samples: int) -> int:
    """Bytes a dataset needs while it is prepared: three float64 copies, ids, and the tables and text under way."""
    return 24 * rows * samples + 600 * rows + (1 << 28)


def prepare(
    blocks: Iterable[Block],
    *,
    source: Source,
    spec: IngestSpec,
    genes: GeneTable,
    platform: PlatformTable | None = None,
) -> Prepared:
    """Normalised genes of one dataset. Blocks are used up: their arrays may be overwritten.

    Memory: ``memory_bytes``.
    Parameters: platform  table of ``source.platform``; looked at only if the gene table knows too few row ids.
    Raises: InputError if there are fewer than ``spec.min_samples`` samples, or fewer than two rows or genes;
            a sample without a value; negative values where counts were declared;
            under 50 % known ids, and no platform, or no table of it (the file that is expected is named).
    """
    if source.n_samples < spec.min_samples:
        msg = f"{source.path}: expected at least {spec.min_samples} samples (--min-samples), found {source.n_samples}"
        raise InputError(msg)
    table = gather(blocks, source)
    _check_values(table, source)
    facts = normalise.facts(table.values)
    if not np.isfinite([*facts.quantiles, facts.median_library]).all():
        msg = f"{source.path}: expected expression values, found some so large that their sums overflow"
        raise InputError(msg)
    mapping = map_rows(table, source=source, spec=spec, genes=genes, platform=platform)
    scale, rule = _scale(facts, source, spec, by_platform=mapping.by_platform)
    quantiles = dict(zip(("min", "q25", "median", "q75", "q99", "max"), facts.quantiles, strict=True))
    evidence: Evidence = {
        "samples": {"read": source.n_samples, "without_group": source.left_out},
        "scale": {"is": scale, "rule": rule, **asdict(facts), "quantiles": quantiles},
        "rows": {"read": len(table.rows), **mapping.evidence["rows"]},
        "ids": mapping.evidence["ids"],
    }
    if scale == "counts":
        return _counts(table, mapping, source, evidence)
    return _intensities(table, mapping, source, facts, evidence)


def gather(blocks: Iterable[Block], source: Source) -> Table:
    """All blocks as samples × rows.

    Raises: InputError if there are fewer than two rows.
    """
    held = list(blocks)
    rows = [label for block in held for label in block.rows]
    kinds = list(held[0].ids) if held else []
    ids = {kind: [word for block in held for word in block.ids[kind]] for kind in kinds}
    if len(rows) < 2:
        msg = f"{source.path}: expected rows of at least two genes, found {len(rows)}"
        raise InputError(msg)
    if len(held) == 1 and held[0].values.T.flags.c_contiguous:
        return Table(values=held[0].values.T, rows=rows, ids=ids)
    values = np.empty((source.n_samples, len(rows)))
    at = 0
    held.reverse()
    while held:  # a block is freed as soon as it is copied
        block = held.pop().values
        values[:, at : at + len(block)] = block.T
        at += len(block)
    return Table(values=values, rows=rows, ids=ids)


def map_rows(
    table: Table, *, source: Source, spec: IngestSpec, genes: GeneTable, platform: PlatformTable | None
) -> Mapping:
    """The gene of each row: by the ids as they are where the gene table knows half of them, else by the platform.

    Raises: InputError if neither serves, or fewer than two genes come out.
    """
    named = _by_own_ids(table, genes) or _by_platform(table, source, spec, genes, platform)
    translation = named.translation
    symbols = sorted(set(translation.symbols))
    if len(symbols) < 2:
        msg = f"{source.path}: expected at least two genes, its rows name {len(symbols)}"
        raise InputError(msg)
    code = {symbol: k for k, symbol in enumerate(symbols)}
    of_row = np.full(len(named.names), -1, dtype=np.int64)
    of_row[[k for k, name in enumerate(named.names) if name]] = [code[s] for s in translation.symbols]
    shown = {"unknown_ids": list(translation.unknown), "ambiguous_ids": list(translation.ambiguous)}
    evidence = {
        "rows": named.dropped,
        "ids": {"by": named.by, **translation.counts, **shown},
    }
    return Mapping(genes=symbols, of_row=of_row, by_platform=named.by_platform, evidence=evidence)


def first_present(columns: Sequence[list[str]]) -> list[str]:
    """Of each row the first id that is there."""
    if not columns:
        return []
    merged = list(columns[0])
    for column in columns[1:]:
        merged = [a if a else b for a, b in zip(merged, column, strict=True)]
    return merged


def _by_own_ids(table: Table, genes: GeneTable) -> Named | None:
    """Genes by the ids of the rows, if the gene table knows half of them."""
    for kinds in (GENE_KINDS, ("probe",)):
        names = first_present([table.ids[k] for k in kinds if k in table.ids])
        named = _named(names, genes, by=" → ".join(k for k in kinds if k in table.ids), nameless="no_id")
        filled = [n for n in named.names if n]
        if filled and named.translation.known_share >= MIN_KNOWN and not running_numbers(filled):
            return named
    return None


def _named(
    names: list[str], genes: GeneTable, *, by: str, nameless: str, several: int = 0, by_platform: bool = False
) -> Named:
    """Names translated; those that hold several genes are dropped."""
    single = ["" if SEVERAL in n else n for n in names]
    mixed = sum(SEVERAL in n for n in names) + several
    dropped = {nameless: len(names) - sum(map(bool, single)) - mixed, "several_genes": mixed}
    translation = genes.translate(n for n in single if n)
    return Named(names=single, translation=translation, by=by, dropped=dropped, by_platform=by_platform)


def _by_platform(
    table: Table, source: Source, spec: IngestSpec, genes: GeneTable, platform: PlatformTable | None
) -> Named:
    """Genes of probes, by the platform's table."""
    probes = table.ids.get("probe", table.rows)
    if source.platform is None:
        raise InputError(_few_known(table, source, genes))
    if platform is None:
        path = find(spec.platforms, source.platform)
        msg = f"{source.path}: the platform table {path} was not read"
        raise RuntimeError(msg)
    names = [platform.symbols.get(p, "") for p in probes]
    several = sum(p in platform.several for p in probes)
    mapped = sum(map(bool, names))
    if mapped + several < MIN_ON_PLATFORM * len(probes):
        msg = (
            f"{source.path}: {platform.path} ({source.platform}) names {mapped + several:,} of its {len(probes):,} "
            f"rows (such as {_some(probes)}); expected the probes of that platform: name another with --platform"
        )
        raise InputError(msg)
    by = f"platform {source.platform}, column {platform.column}"
    named = _named(names, genes, by=by, nameless="no_gene", several=several, by_platform=True)
    if (share := named.translation.known_share) < MIN_KNOWN:
        msg = (
            f"{source.path}: the gene table knows {share:.0%} of the genes of {source.platform} (such as "
            f"{_some([n for n in names if n])}), expected 50 %; another species? Name its gene table with --genes"
        )
        raise InputError(msg)
    return named


def _few_known(table: Table, source: Source, genes: GeneTable) -> str:
    names = first_present([table.ids[k] for k in GENE_KINDS if k in table.ids]) or table.rows
    filled = [n for n in names if n]
    unknown = genes.translate(filled[:2_000]).unknown
    numbers = "; they count rows" if running_numbers(filled) else ""
    return (
        f"{source.path}: expected at least 50 % known gene ids, found {genes.known_share(filled):.0%} of "
        f"{len(filled):,}; unknown are {_some(unknown or filled)}{numbers}. If they are probes name the platform with "
        "--platform GPLxxx; for another species give its gene table with --genes"
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(repr(n) for n in names[:5])


def _check_values(table: Table, source: Source) -> None:
    for sample, values in zip(source.samples, table.values, strict=True):
        if np.isnan(values).all():
            msg = f"{source.path}: sample {sample!r} has no value, all {values.size:,} are missing; remove it"
            raise InputError(msg)


def _scale(
    facts: normalise.Facts, source: Source, spec: IngestSpec, *, by_platform: bool
) -> tuple[normalise.Scale, str]:
    match spec.scale:
        case "counts":
            if not facts.non_negative:
                msg = (
                    f"{source.path}: expected counts (--counts), found negative values down to "
                    f"{facts.quantiles[0]:g}; give --log2 or leave it to detection"
                )
                raise InputError(msg)
            return "counts", "declared"
        case "linear":
            return "linear", "declared"
        case "log2":
            return "log2", "declared"
    # A series matrix and a table of an array's probes are never counts unless declared.
    return normalise.detect_scale(facts, counts_possible=source.format != "geo_matrix" and not by_platform)


def _intensities(
    table: Table, mapping: Mapping, source: Source, facts: normalise.Facts, evidence: Evidence
) -> Prepared:
    values = table.values
    transform, lost = "none", 0
    if evidence["scale"]["is"] == "linear":
        offset = 1.0 if normalise.needs_offset(facts) else 0.0
        transform = "log2(x + 1)" if offset else "log2"
        lost = normalise.log2(values, offset=offset)
        _check_values(table, source)
    values, kept, filled = _filled(values, source)
    of_row = mapping.of_row[kept]
    labels = [table.rows[k] for k in np.flatnonzero(kept)]
    if (largest := max(float(values.max()), -float(values.min()))) > LARGEST:
        msg = f"{source.path}: expected log2 values, found {largest:g}; give --linear"
        raise InputError(msg)
    constant = normalise.constant_rows(values)
    normalise.quantile_normalise(values)
    variance = normalise.variances(values)
    variance[constant] = 0.0  # what their tied rank gave them is no variance of theirs
    present, codes = np.unique(of_row, return_inverse=True)
    codes = codes.astype(np.int64) - int(present[0] == -1)
    names = [mapping.genes[k] for k in present if k >= 0]
    best = normalise.best_rows(codes, variance, labels)
    evidence["scale"] |= {"transform": transform, "not_positive": lost}
    evidence["rows"] |= {
        "over_20_percent_missing": int((~kept).sum()),
        "filled_values": filled,
        "not_the_most_variable_of_their_gene": int((codes >= 0).sum()) - len(best),
    }
    return _prepared(values[:, best], None, names, constant[best], source, evidence)


def _counts(table: Table, mapping: Mapping, source: Source, evidence: Evidence) -> Prepared:
    values, kept, filled = _filled(table.values, source)
    present, codes = np.unique(mapping.of_row[kept], return_inverse=True)
    codes = codes.astype(np.int64) - int(present[0] == -1)
    names = [mapping.genes[k] for k in present if k >= 0]
    counts = normalise.sum_rows(values, codes, len(names))
    del values
    table.values = np.empty((0, 0))
    for sample, library in zip(source.samples, counts.sum(axis=1), strict=True):
        if not library > 0:
            msg = f"{source.path}: sample {sample!r} has no counts; remove it"
            raise InputError(msg)
    logs = normalise.log_cpm(counts)
    constant = normalise.constant_rows(logs)
    normalise.quantile_normalise(logs)
    whole = bool(counts.max() <= np.iinfo(np.int32).max) and bool((counts == np.rint(counts)).all())
    kept_counts = counts.astype(np.int32) if whole else counts
    evidence["scale"] |= {"transform": "log2(CPM + 1)", "estimated": not whole}
    evidence["rows"] |= {
        "over_20_percent_missing": int((~kept).sum()),
        "filled_values": filled,
        "summed_into_their_gene": int((codes >= 0).sum()) - len(names),
    }
    return _prepared(logs, kept_counts, names, constant, source, evidence)


def _filled(values: normalise.Values, source: Source) -> tuple[normalise.Values, NDArray[np.bool_], int]:
    values, kept, filled = normalise.fill_missing(values)
    if values.shape[1] < 2:
        msg = (
            f"{source.path}: expected at least two rows with values in 80 % of the samples, found {values.shape[1]} of "
            f"{kept.size:,}"
        )
        raise InputError(msg)
    return values, kept, filled


def _prepared(
    values: normalise.Values,
    counts: NDArray[np.int32] | NDArray[np.float64] | None,
    names: list[str],
    constant: NDArray[np.bool_],
    source: Source,
    evidence: Evidence,
) -> Prepared:
    if len(names) < 2:
        msg = f"{source.path}: expected at least two genes, {len(names)} is left after rows with gaps were dropped"
        raise InputError(msg)
    evidence |= {"genes": len(names), "constant_genes": int(constant.sum())}
    return Prepared(
        expression=np.ascontiguousarray(values, dtype=np.float32),
        counts=counts,
        genes=np.array(names, dtype=np.str_),
        samples=source.samples,
        constant=constant,
        evidence=evidence,
    )
