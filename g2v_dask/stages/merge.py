"""``pairs/*`` → ``cooccurrence/<name>``: in how many datasets two genes are a pair.

A part is one row band of tiles. The axis is the sorted union of the genes of the members' expression. While
it stays, the last version is brought up to date: new members are added, those that went are subtracted.
From scratch gives the same bytes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from g2v_dask import arrays, tiles
from g2v_dask.errors import SpecError
from g2v_dask.files import canonical
from g2v_dask.folders import Folder
from g2v_dask.parts import Output, Part, Plan, Receipt, Target, Work, one_round
from g2v_dask.spec import MergeSpec
from g2v_dask.store import Artifact, Store

VERSION = 1
next_round = one_round
PairsFile = tuple[Folder, str]  # a folder, and a name in it
READ_BYTES = 128 << 20  # one row group of pairs, decoded


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What a part needs to know: the axis, and what to add to and subtract from which last version."""

    genes: NDArray[np.str_]
    tile: int
    base: Folder | None
    added: tuple[PairsFile, ...]
    removed: tuple[PairsFile, ...]
    samples: Mapping[str, int]  # of each member


def plan(store: Store, spec: MergeSpec) -> Plan:
    """One target, with a part for every row band of tiles.

    Raises: SpecError if there are no pairs, or the members' rules differ.
    """
    members, left_out = store.passing("pairs", spec.datasets)
    if not members:
        msg = f"no pairs in {store.root.url} to merge; run 'g2v pairs' first"
        raise SpecError(msg)
    _check_rules(members)
    axis = _Axis(store)
    genes = axis.union(members)
    base, added, removed = _difference(store, axis, spec.name, members, genes)
    tile = store.tile
    parts = tuple(
        Part(number=band, bytes=memory_bytes(len(genes), tile), label=f"{spec.name}, row band {band}")
        for band in range(tiles.count(len(genes), tile))
    )
    target = Target(
        kind="cooccurrence",
        name=spec.name,
        title=spec.name,
        version=VERSION,
        identity={"tile": tile},
        inputs={m.key: m.digest for m in members},
        spec=dataclasses.replace(spec, datasets=tuple(m.name for m in members)),
        detail=Detail(
            genes=genes,
            tile=tile,
            base=base,
            added=tuple((m.folder, name) for m in added for name in m.names),
            removed=tuple((m.folder, name) for m in removed for name in m.names),
            samples={m.name: m.facts["samples"] for m in members},
        ),
        parts=parts,
    )
    return Plan(stage="merge", targets=(target,), left_out=left_out)


def memory_bytes(genes: int, tile: int) -> int:
    """Peak of a part: 4·tile·genes for the band, 24·tile² to write a tile, and a row group of pairs."""
    return 4 * tile * genes + 24 * tile * tile + READ_BYTES


def _check_rules(members: list[Artifact]) -> None:
    by_rule: dict[bytes, list[Artifact]] = {}
    for member in members:
        rule = [member.manifest["identity"], member.manifest["stage_version"]]
        by_rule.setdefault(canonical(rule), []).append(member)
    if len(by_rule) > 1:
        listed = "; ".join(
            f"{_rule(group[0])}: {', '.join(m.name for m in group[:5])}" + (", ..." if len(group) > 5 else "")
            for group in by_rule.values()
        )
        msg = f"pairs of different rules cannot be merged: {listed}. Name --datasets of one rule"
        raise SpecError(msg)


def _rule(member: Artifact) -> str:
    return ", ".join(f"{k} {v}" for k, v in member.manifest["identity"].items() if v is not None)


class _Axis:
    """The genes of members, read once for each distinct list of genes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, frozenset[str]] = {}

    def union(self, members: Iterable[Artifact]) -> NDArray[np.str_]:
        """The sorted union of the genes of the members' expression."""
        lists = {self._genes(m) for m in members}
        return np.array(sorted(frozenset().union(*lists)), dtype=np.str_)

    def _genes(self, member: Artifact) -> frozenset[str]:
        (key, digest), *_ = member.manifest["inputs"].items()
        kind, _, name = key.partition("/")
        expression = self._store.committed(kind, name, digest)
        if expression is None:
            msg = f"{member.key} was made from {key} {digest[:12]}, which is gone; run 'g2v pairs' again"
            raise SpecError(msg)
        mark = str(expression.facts["genes_sha256"])
        if mark not in self._known:
            root = arrays.open_group(expression.folder, "expression")
            self._known[mark] = frozenset(arrays.strings(root, "gene_id").tolist())
        return self._known[mark]


def _difference(
    store: Store, axis: _Axis, name: str, members: list[Artifact], genes: NDArray[np.str_]
) -> tuple[Folder | None, list[Artifact], list[Artifact]]:
    """The last version, and what it lacks and has too much; or nothing, and all members.

    The last version serves if its axis is the same, what it had and has no more is still there to be
    subtracted, and the change is smaller than the whole.
    """
    digest = store.head("cooccurrence", name)
    last = None if digest is None else store.committed("cooccurrence", name, digest)
    if last is None or (last.manifest["stage"], last.manifest["stage_version"]) != ("merge", VERSION):
        return None, members, []
    change = store.changes(last, members)
    if change is None:
        return None, members, []
    added, removed = change
    matrix = arrays.Cooccurrence(last.folder)
    same_axis = matrix.tile == store.tile and np.array_equal(matrix.genes, genes)
    if not same_axis or last.damage() is not None or len(added) + len(removed) >= len(members):
        return None, members, []
    return last.folder, added, removed


def begin(folder: Folder, target: Target) -> tuple[str, ...]:
    """Writes the axis and the metadata of the matrix."""
    detail: Detail = target.detail
    size = len(detail.genes)
    return arrays.create(
        folder,
        "cooccurrence",
        shapes={"value": (size, size)},
        chunks={"value": (detail.tile, detail.tile)},
        dtypes={"value": "uint32"},
        attributes={"triangle": "upper", "origin": "pairs"},
        coordinates={"gene_id_row": detail.genes, "gene_id_col": detail.genes},
    )


def run_part(work: Work) -> Output:
    """Counts the pairs whose first gene is in one band, and writes the band's tiles."""
    detail: Detail = work.target.detail
    band = work.part.number
    size, tile = len(detail.genes), detail.tile
    counts = _band_of_base(detail, band)
    for sign, files_of_pairs in ((1, detail.added), (-1, detail.removed)):
        for folder, name in files_of_pairs:
            for row, col in _rows(folder.fetch(name), detail.genes, tiles.span(size, tile, band)):
                _count(counts, row, col, sign)
    value = arrays.writable(work.folder, "value")
    rows = tiles.span(size, tile, band)
    files = []
    seen = np.zeros(1, dtype=np.int64)
    for column in range(band, tiles.count(size, tile)):
        span = tiles.span(size, tile, column)
        work.alive()
        block = counts[:, span.start - rows.start : span.stop - rows.start]
        value[rows, span] = block
        files.append(arrays.chunk_file(work.folder, "value", band, column))
        seen = _add(seen, np.bincount(block.ravel()) // (2 if column == band else 1))  # full: each pair twice
    if band == 0:
        files += arrays.shared(work.folder, "value")
    recurrence = {str(m): number for m, number in enumerate(seen.tolist()) if m > 0 and number > 0}
    return Output(files=tuple(files), result=recurrence)


def _add(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """The sum of two histograms of different length."""
    if len(a) < len(b):
        a, b = b, a
    total = a.copy()
    total[: len(b)] += b
    return total


def _band_of_base(detail: Detail, band: int) -> NDArray[np.uint32]:
    """(genes of the band, genes from the band on) the last version's counts, or zeros."""
    size, tile = len(detail.genes), detail.tile
    rows = tiles.span(size, tile, band)
    counts = np.zeros((rows.stop - rows.start, size - rows.start), dtype=np.uint32)
    if detail.base is not None:
        last = arrays.Cooccurrence(detail.base)
        for col in range(band, tiles.count(size, tile)):
            span = tiles.span(size, tile, col)
            counts[:, span.start - rows.start : span.stop - rows.start] = last.read(band, col)
    return counts


def _rows(path: Path, genes: NDArray[np.str_], rows: slice) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """The pairs of one file whose first gene is in the band, as places relative to the band's start."""
    low, high = str(genes[rows.start]), str(genes[rows.stop - 1])
    file = pq.ParquetFile(path, read_dictionary=["gene_a", "gene_b"])
    for group in range(file.num_row_groups):
        statistics = file.metadata.row_group(group).column(0).statistics
        if statistics is not None and (statistics.max < low or statistics.min > high):
            continue
        table = file.read_row_group(group, columns=["gene_a", "gene_b"], use_threads=False)
        first, second = (_places(table.column(c), genes) for c in ("gene_a", "gene_b"))
        # gene_a is sorted, so the band is one run of rows
        run = slice(*np.searchsorted(first, [rows.start, rows.stop]))
        yield first[run] - rows.start, second[run] - rows.start


def _places(column: pa.ChunkedArray, genes: NDArray[np.str_]) -> NDArray[np.int64]:
    """Where the genes of a dictionary-encoded column stand on the axis."""
    out = []
    for chunk in column.chunks:
        words = np.asarray(chunk.dictionary.to_pylist(), dtype=np.str_)
        places = np.searchsorted(genes, words)
        out.append(places[chunk.indices.to_numpy()])
    return np.concatenate(out) if out else np.zeros(0, dtype=np.int64)


def _count(counts: NDArray[np.uint32], row: NDArray[np.int64], col: NDArray[np.int64], sign: int) -> None:
    """Adds or subtracts one dataset's pairs, each there once; both halves of the diagonal tile."""
    one = np.uint32(1)
    inside = col < len(counts)
    for i, j in ((row, col), (col[inside], row[inside])):
        if sign > 0:
            counts[i, j] += one
        else:
            counts[i, j] -= one


def facts(store: Store, target: Target, receipts: Mapping[int, Receipt]) -> dict[str, Any]:
    """Members, axis and how often pairs recur."""
    detail: Detail = target.detail
    seen: dict[str, int] = {}
    for receipt in receipts.values():
        for m, number in receipt["result"].items():
            seen[m] = seen.get(m, 0) + number
    first = store.committed("pairs", *_first_member(target))
    return {
        "origin": "pairs",
        "datasets": len(target.inputs),
        "samples": dict(detail.samples),
        "genes": len(detail.genes),
        "cells": sum(seen.values()),
        "pairs": sum(int(m) * number for m, number in seen.items()),
        "recurrence": dict(sorted(seen.items(), key=lambda item: int(item[0]))),
        "rule": {} if first is None else dict(first.manifest["identity"]),
    }


def _first_member(target: Target) -> tuple[str, str]:
    key, digest = min(target.inputs.items())
    return key.partition("/")[2], digest
