"""Islands of a map: crowds of genes apart from the others, and what kinds of genes they hold more of than by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, hypergeom
from sklearn.cluster import DBSCAN
from sklearn.neighbors import NearestNeighbors

NONE = 0  # the number of genes on no island


@dataclass(frozen=True, kw_only=True)
class Tested:
    """One kind of genes on one island."""

    island: int
    kind: str
    genes: int
    """Of the island."""
    overlap: int
    """Genes of the kind on the island."""
    expected: float
    """Overlap by chance: genes of the island · share of the kind on the map."""
    odds_ratio: float
    """Of the sample; infinite where the island holds all of the kind or nothing else, NaN where one of them is all."""
    p: float
    """One-sided Fisher's exact test: as large an overlap, or larger, by chance."""
    q: float
    """Benjamini-Hochberg over all islands and kinds."""


def find(places: NDArray[np.float64], *, least: int = 10, near: int = 10, crowded: float = 0.95) -> NDArray[np.int32]:
    """The island of each gene, numbered from 1, the largest; 0 for a gene on none.

    A gene is crowded if ``near`` genes, itself among them, lie within a reach; crowded genes within reach of each
    other are on one island, and so are others within reach of a crowded one (DBSCAN). The reach is the map's own: as
    far as lets the share ``crowded`` of all genes be crowded. So a map may be stretched or turned, and gets the same
    islands. More ``near`` joins islands over wider straits; less ``crowded`` cuts them up, and leaves more genes on
    none. At the defaults the islands of a t-SNE map are about those that the eye sees.
    Memory: 8 bytes a gene and gene within reach, about 30 on a map by t-SNE.
    Parameters: places    (genes, 2), finite.
                least     genes of an island; smaller ones are none.
                near      genes within reach, from 2.
                crowded   share of the genes, over 0 to 1.
    Returns:    (genes,) numbers; of islands of one size the one with the earlier gene comes first.
    Source: Ester et al. 1996.   Oracle: single linkage, in the tests.
    """
    near = min(near, len(places))
    if near < 2:
        return np.zeros(len(places), dtype=np.int32)
    distances, _ = NearestNeighbors(n_neighbors=near).fit(places).kneighbors(places)
    reach = max(float(np.quantile(distances[:, -1], crowded)), np.finfo(np.float64).tiny)  # genes may lie on one spot
    found = DBSCAN(eps=reach, min_samples=near).fit_predict(places)
    names, first, sizes = np.unique(found, return_index=True, return_counts=True)
    order = [k for k in np.lexsort((first, -sizes)) if names[k] >= 0 and sizes[k] >= least]
    number = np.zeros(len(names), dtype=np.int32)
    number[order] = np.arange(1, len(order) + 1)
    numbered: NDArray[np.int32] = number[np.searchsorted(names, found)]
    return numbered


def test(island: NDArray[np.int32], kinds: Sequence[str]) -> tuple[Tested, ...]:
    """Every island against every kind, by island, then p, then kind.

    The universe is all genes of the map: those on no island and those of no kind (an empty text) are in it, but are
    not tested.
    Parameters: island   (genes,) as ``find`` gives them.
                kinds    (genes,).
    Oracle: scipy.stats.fisher_exact.
    """
    of = np.asarray(kinds, dtype=np.str_)
    named = [kind for kind in np.unique(of).tolist() if kind]
    numbers = [number for number in np.unique(island).tolist() if number != NONE]
    if not named or not numbers:
        return ()
    inside = (island[:, None] == numbers).astype(np.int64)
    overlap = inside.T @ (of[:, None] == named).astype(np.int64)
    drawn, size, universe = inside.sum(axis=0)[:, None], (of[:, None] == named).sum(axis=0), len(of)
    p = np.minimum(hypergeom.sf(overlap - 1, universe, size, drawn), 1.0)
    q = false_discovery_control(p.ravel(), method="bh").reshape(p.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = overlap * (universe - size - drawn + overlap) / ((drawn - overlap) * (size - overlap))
    expected = drawn * size / universe
    found = [
        Tested(
            island=numbers[row],
            kind=kind,
            genes=int(drawn[row, 0]),
            overlap=int(overlap[row, column]),
            expected=float(expected[row, column]),
            odds_ratio=float(odds[row, column]),
            p=float(p[row, column]),
            q=float(q[row, column]),
        )
        for row in range(len(numbers))
        for column, kind in enumerate(named)
    ]
    return tuple(sorted(found, key=lambda t: (t.island, t.p, t.kind)))
