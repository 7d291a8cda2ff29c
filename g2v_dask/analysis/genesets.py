"""Gene sets: read from GMT files, and which of them a group of genes holds more of than chance gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import false_discovery_control, hypergeom

from g2v_dask.errors import InputError
from g2v_dask.exchange.sidefiles import text_of
from g2v_dask.genes import GeneTable

FDR = 0.05  # sets of a larger q are not shown as enriched

Sets = Mapping[str, tuple[str, ...]]


def read_gmt(paths: Iterable[str | Path]) -> dict[str, tuple[str, ...]]:
    """The genes of each set of one or several GMT files, plain or gzip: name, description, genes, tab-separated.

    A gene that a set names twice counts once; blank lines and empty cells are passed over.
    Raises: InputError if a file cannot be read or is empty, a line holds no gene or no name, or two sets have one
            name; it names file and line.
    """
    found: dict[str, tuple[str, ...]] = {}
    where: dict[str, str] = {}
    for path in map(Path, paths):
        for number, line in enumerate(text_of(path.expanduser()).split("\n"), start=1):
            if not line.strip():
                continue
            name, *cells = (cell.strip() for cell in line.split("\t"))
            genes = tuple(dict.fromkeys(cell for cell in cells[1:] if cell))
            here = f"{path}, line {number}"
            if not name or not genes:
                msg = (
                    f"{here}: expected a gene set (name, description, genes; tab-separated), got {line[:60]!r}; "
                    f"gene sets are GMT files"
                )
                raise InputError(msg)
            if name in found:
                msg = f"{here}: the set {name!r} was there before ({where[name]}); give each set once"
                raise InputError(msg)
            found[name], where[name] = genes, here
    return found


@dataclass(frozen=True, kw_only=True)
class Enriched:
    """One gene set in one group."""

    group: int
    name: str
    overlap: int
    """Genes of the set in the group."""
    size: int
    """Genes of the set in the universe."""
    expected: float
    """Overlap by chance: size · genes of the group in the universe / universe."""
    odds_ratio: float
    """Of the sample; infinite where the group holds all of the set or nothing else, NaN where one of them is all."""
    p: float
    """One-sided Fisher's exact test: as large an overlap, or larger, by chance."""
    q: float
    """Benjamini-Hochberg over all tests."""


@dataclass(frozen=True, kw_only=True)
class Enrichment:
    """All gene sets in all groups."""

    found: tuple[Enriched, ...]
    """Those that share a gene; by group, then p, then name."""
    universe: int
    """Genes of the embedding that are in at least one set."""
    sets: int
    """Sets that have a gene in the universe."""
    tests: int
    """Every set in every group, with an overlap or without."""

    def best(self, group: int, most: int | None = None) -> list[Enriched]:
        """The sets of a group with q ≤ 0.05, best first."""
        return [e for e in self.found if e.group == group and e.q <= FDR][:most]


def enrichment(genes: NDArray[np.str_], group: NDArray[np.int32], sets: Sets, *, table: GeneTable) -> Enrichment:
    """Every set against every group by a one-sided Fisher's exact test, corrected together.

    The universe is what clusterProfiler and g:Profiler take by default: of the genes asked about, those that are in
    at least one set. A gene that no set knows could not have been found, and would make every p smaller. All sets
    that are given make one universe. Genes meet by their current symbols, so that the words of an embedding may be
    Ensembl or Entrez ids, and sets may hold older symbols.
    Memory: 48 bytes a set and group.
    Parameters: genes   (genes,) the words of the embedding.
                group   (genes,) from 1.
    Raises: InputError if no gene of the sets is among the words.
    Oracle: scipy.stats.fisher_exact.
    """
    contained = _matrix(genes, sets, table)
    known = np.flatnonzero(np.asarray(contained.sum(axis=0)).ravel() > 0)
    if not len(known):
        some = ", ".join(list(sets.values())[0][:3])
        msg = (
            f"none of the {len(genes):,} genes is in a gene set: the sets hold {some} ..., "
            f"the embedding {', '.join(genes[:3].tolist())} ...; take sets of the same species"
        )
        raise InputError(msg)
    numbers = np.unique(group)
    grouped = (group[known, None] == numbers).astype(np.int64)
    overlap = np.asarray(contained[:, known] @ grouped)
    size = np.asarray(contained.sum(axis=1)).reshape(-1, 1)
    named = np.array(list(sets), dtype=np.str_)[size[:, 0] > 0]
    overlap, size = overlap[size[:, 0] > 0], size[size[:, 0] > 0]
    drawn, universe = grouped.sum(axis=0), len(known)
    p = np.ones(overlap.shape)
    at = np.nonzero(overlap)  # without an overlap p is 1
    p[at] = np.minimum(hypergeom.sf(overlap[at] - 1, universe, size[at[0], 0], drawn[at[1]]), 1.0)
    q = false_discovery_control(p.ravel(), method="bh").reshape(p.shape)
    inside, outside = overlap * (universe - size - drawn + overlap), (drawn - overlap) * (size - overlap)
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = inside / outside
    expected = size * drawn / universe
    rows, columns = at
    order = np.lexsort((named[rows], p[at], columns))
    found = tuple(
        Enriched(
            group=int(numbers[c]),
            name=str(named[r]),
            overlap=int(overlap[r, c]),
            size=int(size[r, 0]),
            expected=float(expected[r, c]),
            odds_ratio=float(odds[r, c]),
            p=float(p[r, c]),
            q=float(q[r, c]),
        )
        for r, c in zip(rows[order], columns[order], strict=True)
    )
    return Enrichment(found=found, universe=universe, sets=len(named), tests=p.size)


def _matrix(genes: NDArray[np.str_], sets: Sets, table: GeneTable) -> csr_array:
    """(sets, genes) 1 where a set holds a gene: they have one symbol."""
    words: dict[str, list[int]] = {}
    for row, symbol in enumerate(table.translate(genes.tolist()).symbols):
        words.setdefault(symbol, []).append(row)
    rows, columns = [], []
    for number, members in enumerate(sets.values()):
        symbols = dict.fromkeys(table.translate(members).symbols)
        held = [row for symbol in symbols for row in words.get(symbol, ())]
        rows += [number] * len(held)
        columns += held
    return csr_array((np.ones(len(rows), dtype=np.int64), (rows, columns)), shape=(len(sets), len(genes)))
