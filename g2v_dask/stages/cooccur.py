"""``expression/*`` → ``cooccurrence/<name>``: which genes have reads in the same samples.

A part is one tile. Samples stream through it in blocks; several datasets add up, in the order of their names.
The axis is the sorted union of the members' genes, less those with reads in too few samples; to know it, the plan
reads the counts once.

Sums of whole counts below 2^53 have the same bits on any CPU, in any order. Then the last version is brought up to
date where that is less work: new members are added, those that went are subtracted. All other sums are made from
all members anew, by one BLAS.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2v_dask import arrays, tiles
from g2v_dask.errors import SpecError
from g2v_dask.folders import Folder
from g2v_dask.kernels import crossproduct
from g2v_dask.parts import Output, Part, Plan, Receipt, Target, Work, one_round
from g2v_dask.spec import CooccurSpec
from g2v_dask.store import Artifact, Store

VERSION = 1
SAMPLES = 4096  # at most, in one block: as many as ingest puts into a chunk
CACHE_BYTES = 128 << 20  # of weights that a process keeps, so that neighbouring tiles decode no chunk twice
next_round = one_round


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What a part needs to know: what to subtract from and add to which last version; and what the axis is."""

    weights: str
    tile: int
    members: tuple[Folder, ...]
    kept: NDArray[np.bool_]
    """(genes of all members,) which of them stand on the axis."""
    base: Folder | None
    added: tuple[Folder, ...]
    removed: tuple[Folder, ...]
    samples: Mapping[str, int]  # of each member
    rounded: bool


# -- plan -----------------------------------------------------------------------------------------------------


def plan(store: Store, spec: CooccurSpec) -> Plan:
    """One target, with a part for every tile of the upper triangle.

    Reads all counts. Memory: a chunk of them.
    Raises: SpecError if a dataset that was named has no counts, none has, or no gene has reads in enough samples.
    """
    members, left_out = _members(store, spec)
    genes = _union(m.folder for m in members)
    expressed, squares = _scan(members, genes)
    kept = expressed >= spec.min_samples_expressed
    if not kept.any():
        raise SpecError(_no_gene(spec, members, int(expressed.max(initial=0))))
    rounded = spec.weights == "raw" and float(squares.max()) >= crossproduct.EXACT
    exact = spec.weights == "raw" and all(_whole(m) for m in members) and not rounded
    identity = {**spec.select("identity"), "tile": store.tile}
    last = _last(store, spec.name, identity, genes[kept]) if exact else None
    base, added, removed = _difference(store, last, members)
    detail = Detail(
        weights=spec.weights,
        tile=store.tile,
        members=tuple(m.folder for m in members),
        kept=kept,
        base=base,
        added=tuple(m.folder for m in added),
        removed=tuple(m.folder for m in removed),
        samples={m.name: m.facts["samples"] for m in members},
        rounded=rounded,
    )
    target = Target(
        kind="cooccurrence",
        name=spec.name,
        title=spec.name,
        version=VERSION,
        identity=identity,
        inputs={m.key: m.digest for m in members},
        spec=dataclasses.replace(spec, datasets=tuple(m.name for m in members)),
        detail=detail,
        parts=_parts(spec.name, detail, int(np.count_nonzero(kept))),
        same_blas=not exact,
    )
    return Plan(stage="cooccur", targets=(target,), left_out=left_out)


def _members(store: Store, spec: CooccurSpec) -> tuple[list[Artifact], tuple[str, ...]]:
    """The datasets to sum, and why others are not among them."""
    chosen, left_out = store.passing("expression", spec.datasets)
    without = [a.name for a in chosen if not a.facts["counts"]]
    members = [a for a in chosen if a.facts["counts"]]
    if not members or (without and spec.datasets is not None):
        have = ", ".join(a.name for a in store.artifacts("expression") if a.facts["counts"]) or "none"
        which = f"{', '.join(without)} {'has' if len(without) == 1 else 'have'} none" if without else "there are none"
        msg = (
            f"co-occurrence in samples is counted in reads, and {which}; datasets with read counts: "
            f"{have}. 'g2v ingest' keeps them where a file holds counts (--counts where it does not see that it does)"
        )
        raise SpecError(msg)
    return members, (*left_out, *(f"{name} (no counts)" for name in without))


def _union(members: Iterable[Folder]) -> NDArray[np.str_]:
    """The sorted union of the members' genes."""
    every: set[str] = set().union(*(_genes(m).tolist() for m in members))
    return np.array(sorted(every), dtype=np.str_)


def _genes(folder: Folder) -> NDArray[np.str_]:
    return arrays.strings(arrays.open_group(folder, "expression"), "gene_id")


def _counts(folder: Folder) -> Any:
    """The counts of one dataset, on disk."""
    return arrays.open_group(folder, "expression")["counts"]


def _scan(members: Iterable[Artifact], genes: NDArray[np.str_]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Of each gene, in how many samples it has a read, and the sum of its squares; each chunk is read once.

    Of whole counts the sum is below 2^53 only if the exact one is: rounding starts there, and brings none back.
    """
    expressed, squares = np.zeros(len(genes), dtype=np.int64), np.zeros(len(genes))
    for member in members:
        counts = _counts(member.folder)
        places = np.searchsorted(genes, _genes(member.folder))
        for rows in _chunks(counts, 0):
            for columns in _chunks(counts, 1):
                reads = np.asarray(counts[rows, columns]).astype(np.float64)
                expressed[places[columns]] += np.count_nonzero(reads > 0, axis=0)
                squares[places[columns]] += np.square(reads, out=reads).sum(axis=0)
    return expressed, squares


def _chunks(array: Any, axis: int) -> list[slice]:
    """The chunks along one axis of an array on disk."""
    size, step = array.shape[axis], array.chunks[axis]
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]


def _whole(member: Artifact) -> bool:
    """Whether all counts of a dataset are whole numbers: ingest keeps only those as integers."""
    return bool(_counts(member.folder).dtype.kind == "i")


def _no_gene(spec: CooccurSpec, members: list[Artifact], most: int) -> str:
    samples = sum(m.facts["samples"] for m in members)
    wanted = spec.min_samples_expressed
    advice = f"the most that one has is {most}: lower --min-samples-expressed" if most else "all counts are 0"
    return (
        f"{spec.name}: no gene has a read in at least {wanted} of the {samples:,} samples of "
        f"{', '.join(m.name for m in members)}; {advice}"
    )


def _last(store: Store, name: str, identity: Mapping[str, Any], genes: NDArray[np.str_]) -> Artifact | None:
    """The last version, if it is whole, not rounded, and made by the same rule on the same axis."""
    digest = store.head("cooccurrence", name)
    last = None if digest is None else store.committed("cooccurrence", name, digest)
    if last is None or last.damage() is not None:
        return None
    made = {k: last.manifest[k] for k in ("stage", "stage_version", "identity")}
    if made != {"stage": "cooccur", "stage_version": VERSION, "identity": identity} or last.facts["rounded"]:
        return None
    return last if np.array_equal(arrays.Cooccurrence(last.folder).genes, genes) else None


def _difference(
    store: Store, last: Artifact | None, members: list[Artifact]
) -> tuple[Folder | None, list[Artifact], list[Artifact]]:
    """The last version, and what it lacks and has too much; or nothing, and all members.

    The last version serves if what it had and has no more is still there to be subtracted, in whole counts, and
    the change is of fewer samples than the whole.
    """
    change = None if last is None else store.changes(last, members)
    if last is None or change is None:
        return None, members, []
    added, removed = change
    changed, whole = (sum(m.facts["samples"] for m in some) for some in ([*added, *removed], members))
    if not all(_whole(a) for a in removed) or changed >= whole:
        return None, members, []
    return last.folder, added, removed


def _parts(name: str, detail: Detail, genes: int) -> tuple[Part, ...]:
    need = memory_bytes(sum(detail.samples.values()), detail.tile)
    return tuple(
        Part(number=number, bytes=need, label=f"{name}, tile {block}")
        for number, block in enumerate(tiles.blocks(genes, detail.tile))
    )


def memory_bytes(samples: int, tile: int) -> int:
    """Peak of a part: 48·tile² to sum and write a tile; the weights kept, and 32·samples·tile to read a block."""
    return 48 * tile * tile + CACHE_BYTES + 32 * min(samples, SAMPLES) * tile


# -- parts ----------------------------------------------------------------------------------------------------


def begin(folder: Folder, target: Target) -> tuple[str, ...]:
    """Writes the axis and the metadata of the matrix."""
    detail: Detail = target.detail
    genes = _union(detail.members)[detail.kept]
    return arrays.create(
        folder,
        "cooccurrence",
        shapes={"value": (len(genes), len(genes))},
        chunks={"value": (detail.tile, detail.tile)},
        dtypes={"value": "float64"},
        quick=True,
        attributes={"triangle": "upper", "origin": "samples"},
        coordinates={"gene_id_row": genes, "gene_id_col": genes},
    )


def run_part(work: Work) -> Output:
    """Sums one tile over all samples that are to be added or removed, and writes it."""
    detail: Detail = work.target.detail
    documents = _documents(work.folder, detail.removed, detail.added, detail.weights)
    size = len(documents.genes)
    row, col = list(tiles.blocks(size, detail.tile))[work.part.number]
    total = None if detail.base is None else arrays.Cooccurrence(detail.base).read(row, col)
    # first what is taken away: no sum on the way is then larger than the first or the last, so none is rounded
    for number, block in enumerate(documents.blocks):
        work.alive()
        left = documents.weights(number, row)
        found = crossproduct.product(left, left if row == col else documents.weights(number, col))
        if total is None:
            total = found
        elif block.sign > 0:
            total += found
        else:
            total -= found
    assert total is not None
    value = arrays.writable(work.folder, "value")
    value[tiles.span(size, detail.tile, row), tiles.span(size, detail.tile, col)] = total
    files = [arrays.chunk_file(work.folder, "value", row, col)]
    if work.part.number == 0:
        files += arrays.shared(work.folder, "value")
    return Output(files=tuple(files), result=_result(total, diagonal=row == col))


def _result(tile: NDArray[np.float64], *, diagonal: bool) -> dict[str, Any]:
    """What is in a tile; of one on the diagonal, in its upper triangle."""
    magnitudes = crossproduct.magnitudes(tile, diagonal=diagonal)
    cells = len(tile) * (len(tile) + 1) // 2 if diagonal else tile.size
    return {
        "magnitudes": {str(k): number for k, number in magnitudes.items()},
        "not_positive": cells - sum(magnitudes.values()),
        "not_positive_diagonal": int(np.count_nonzero(np.diagonal(tile) <= 0)) if diagonal else 0,
    }


@dataclass(frozen=True, kw_only=True)
class _Block:
    """Samples that are multiplied at once: chunks of one or more datasets."""

    sign: int  # +1 to add, -1 to subtract
    pieces: tuple[tuple[_Dataset, slice], ...]

    @property
    def samples(self) -> int:
        return sum(rows.stop - rows.start for _, rows in self.pieces)


@lru_cache(maxsize=1)
def _documents(folder: Folder, removed: tuple[Folder, ...], added: tuple[Folder, ...], how: str) -> _Documents:
    """The samples of a target, opened once a process for all its tiles."""
    return _Documents(arrays.Cooccurrence(folder), removed, added, how)


class _Documents:
    """The samples to subtract and to add, as weights on the axis, in blocks. Keeps the blocks that it last read."""

    def __init__(
        self, matrix: arrays.Cooccurrence, removed: tuple[Folder, ...], added: tuple[Folder, ...], how: str
    ) -> None:
        self.genes = matrix.genes
        self._tile = matrix.tile
        self._how = how
        self.blocks = tuple(
            _Block(sign=sign, pieces=pieces)
            for sign, some in ((-1, removed), (1, added))
            for pieces in _packed([_Dataset(dataset, self.genes) for dataset in some])
        )
        largest = 8 * self._tile * max(b.samples for b in self.blocks)
        self.weights = lru_cache(maxsize=max(2, CACHE_BYTES // largest))(self._weights)

    def _weights(self, block: int, band: int) -> NDArray[np.float64]:
        """(samples of a block, genes of a band); 0 where a dataset has no such gene."""
        genes = tiles.span(len(self.genes), self._tile, band)
        out = np.zeros((self.blocks[block].samples, genes.stop - genes.start))
        start = 0
        for dataset, rows in self.blocks[block].pieces:
            stop = start + rows.stop - rows.start
            dataset.weights(rows, genes, self._how, out=out[start:stop])
            start = stop
        out.flags.writeable = False  # others will be given it too
        return out


def _packed(datasets: list[_Dataset]) -> list[tuple[tuple[_Dataset, slice], ...]]:
    """All chunks of samples, in order, as few blocks as hold ``SAMPLES`` each; no chunk is cut."""
    blocks: list[list[tuple[_Dataset, slice]]] = []
    room = 0
    for dataset in datasets:
        for rows in _chunks(dataset.counts, 0):
            length = rows.stop - rows.start
            if length > room:
                blocks.append([])
                room = SAMPLES
            blocks[-1].append((dataset, rows))
            room -= length
    return [tuple(b) for b in blocks]


class _Dataset:
    """The counts of one dataset, on the axis of the matrix."""

    def __init__(self, folder: Folder, axis: NDArray[np.str_]) -> None:
        self.counts = _counts(folder)
        genes = _genes(folder)
        places = np.minimum(np.searchsorted(axis, genes), len(axis) - 1)
        found = axis[places] == genes
        self._columns, self._places = np.flatnonzero(found), places[found]

    def weights(self, rows: slice, genes: slice, how: str, *, out: NDArray[np.float64]) -> None:
        """Fills in the weights of some samples and of the genes of a band."""
        first, last = np.searchsorted(self._places, [genes.start, genes.stop])  # both axes are sorted
        if first == last:
            return
        columns, places = self._columns[first:last], self._places[first:last] - genes.start
        libraries = self._libraries[rows] if how == "cpm" else None
        step = self.counts.chunks[1]  # at once: genes that are kept may lie far apart
        for start in range(columns[0], columns[-1] + 1, step):
            some = slice(*np.searchsorted(columns, [start, start + step]))
            if some.start < some.stop:
                here = columns[some]
                reads = np.asarray(self.counts[rows, here[0] : here[-1] + 1])[:, here - here[0]]
                out[:, places[some]] = crossproduct.weighted(reads, how, libraries=libraries)

    @cached_property
    def _libraries(self) -> NDArray[np.float64]:
        """(samples,) all reads of each sample, whatever gene they are of."""
        reads = np.zeros(self.counts.shape[0])
        for rows in _chunks(self.counts, 0):
            for columns in _chunks(self.counts, 1):
                reads[rows] += np.asarray(self.counts[rows, columns]).sum(axis=1, dtype=np.float64)
        return reads


# -- facts ----------------------------------------------------------------------------------------------------


def facts(store: Store, target: Target, receipts: Mapping[int, Receipt]) -> dict[str, Any]:
    """Members and axis; and of what size the cells are, so that a trainer can tell how many are small."""
    detail: Detail = target.detail
    results = [r["result"] for r in receipts.values()]
    sizes: dict[int, int] = {}
    for result in results:
        for k, number in result["magnitudes"].items():
            sizes[int(k)] = sizes.get(int(k), 0) + number
    return {
        "origin": "samples",
        "datasets": len(detail.members),
        "samples": dict(detail.samples),
        "genes": int(np.count_nonzero(detail.kept)),
        "genes_dropped": int(np.count_nonzero(~detail.kept)),
        "weights": detail.weights,
        "rounded": detail.rounded,
        "cells": sum(sizes.values()),
        "not_positive": sum(r["not_positive"] for r in results),
        "not_positive_diagonal": sum(r["not_positive_diagonal"] for r in results),
        "magnitudes": {str(k): sizes[k] for k in sorted(sizes)},
        "rule": {},
    }
