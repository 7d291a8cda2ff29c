"""Negatives that differ from positives in nothing but the label: their genes have the same degrees.

In the published list most negatives hold a gene that is in no positive, so that the degree alone tells them. Here both
genes of a negative are in positives of the split, as often as the genes of the positive that it stands against.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.metrics import roc_auc_score

from g2v_dask.errors import InputError
from g2v_dask.evaluation import degrees
from g2v_dask.evaluation.pairlists import Pairs, Split, first_of_each, keys_of

BINS = (40, 60, 80)  # of degree: the fewest that prove themselves; on the published list 20 leave |difference| at 0.475
WITHIN = 0.02  # of 0.50, each of the four figures


@dataclass(frozen=True, kw_only=True, eq=False)
class Matched:
    """As many positives as negatives, with the same degrees."""

    split: Split
    """Pairs in random order, the two genes of each too; ``lines`` counts them."""
    bins: int
    """Of degree."""
    positives: int
    """Different positive pairs that were to be matched."""
    kept: int
    """Those that found a negative; as many as there are negatives."""
    candidates: int
    """Pairs that may be a negative."""
    figures: Mapping[str, float]
    """AUC of the four figures of log degree (``degrees.FIGURES``); each within 0.02 of 0.50."""


def draw(
    name: str,
    split: Split,
    *,
    degree: NDArray[np.float64],
    terms: Sequence[Collection[int]],
    seed: Sequence[int],
) -> Matched:
    """A split with matched negatives in place of its own.

    A negative is a pair of the split's positive genes that is not in the list (as positive or negative) and shares no
    term. Genes are put into bins of log degree that hold equally many ends of positives. For each two bins as many
    negatives are drawn as there are positives, the likelier the higher the product of the degrees (within a bin too,
    positives prefer genes of high degree); where there are too few, positives are left out.
    Memory: a byte a pair of positive genes, 60 a candidate.
    Parameters: name    of the split, for messages.
                split   pairs in positions of any list of genes.
                degree  (genes,) positive pairs of each in the published list.
                terms   of each gene, the terms that it carries, as numbers from 0.
                seed    of every random choice.
    Raises: InputError if there is nothing to draw, or the four figures are farther than 0.02 from 0.50 with any
            number of bins.
    """
    positives = split.pairs[split.labels == 1]
    positives = positives[first_of_each(positives)]
    genes = np.unique(positives)
    local = np.full(len(degree), -1, dtype=np.int32)
    local[genes] = np.arange(len(genes), dtype=np.int32)
    listed = local[split.pairs]
    candidates = _candidates(listed[(listed >= 0).all(axis=1)], [terms[g] for g in genes.tolist()])
    if not len(candidates):
        msg = f"matched: the {len(genes):,} positive genes of {name} leave no pair for a negative; leave --matched out"
        raise InputError(msg)
    tried = {}
    for bins in BINS:
        random = np.random.default_rng([*seed, bins])
        pairs, labels = _drawn(local[positives], candidates, degree[genes], bins, random)
        figures = proof(degree[genes], pairs, labels)
        if max(abs(value - 0.5) for value in figures.values()) <= WITHIN:
            return Matched(
                split=_shuffled(genes[pairs].astype(np.int32), labels, random),
                bins=bins,
                positives=len(positives),
                kept=int(labels.sum()),
                candidates=len(candidates),
                figures=figures,
            )
        tried[bins] = figures
    last = ", ".join(f"{figure} {value:.3f}" for figure, value in tried[BINS[-1]].items())
    msg = (
        f"matched: the degrees of the {len(positives):,} positives of {name} cannot be matched: "
        f"AUC of log degree {last}, expected 0.50 ± {WITHIN:g}; take a larger list, or leave --matched out"
    )
    raise InputError(msg)


def proof(degree: NDArray[np.float64], pairs: Pairs, labels: NDArray[np.int8]) -> dict[str, float]:
    """The AUC of sum, min, product and absolute difference of log(1 + degree); 0.50 where they tell nothing."""
    made = degrees.figures(np.log1p(degree), pairs)
    return {name: float(roc_auc_score(labels, values)) for name, values in made.items()}


def _candidates(listed: Pairs, terms: Sequence[Collection[int]]) -> Pairs:
    """Pairs of genes, first < second, that are not listed and share no term."""
    size = len(terms)
    free = np.triu(np.ones((size, size), dtype=np.bool_), 1)
    free[listed.min(axis=1), listed.max(axis=1)] = False
    gene = np.repeat(np.arange(size), [len(some) for some in terms])
    term = np.array([t for some in terms for t in some], dtype=np.int64)
    carried = csr_array((np.ones(len(gene), dtype=np.int32), (gene, term)), shape=(size, int(term.max(initial=0)) + 1))
    shared = (carried @ carried.T).tocoo()
    free[shared.coords] = False
    return np.column_stack(np.nonzero(free)).astype(np.int32)


def _drawn(
    positives: Pairs, candidates: Pairs, degree: NDArray[np.float64], bins: int, random: np.random.Generator
) -> tuple[Pairs, NDArray[np.int8]]:
    """Positives and as many negatives, from each two bins of degree equally many; and their labels."""
    ends = degree[positives.ravel()]
    ranks = -(-len(ends) * np.arange(1, bins) // bins) - 1  # the quantiles, of whole numbers: not rounded
    edges = np.unique(np.sort(ends)[ranks])
    bin_of = np.searchsorted(edges, degree, side="left")
    across = len(edges) + 1
    cells = [keys_of(bin_of[pairs], across) for pairs in (positives, candidates)]
    there = [np.bincount(cell, minlength=across * across) for cell in cells]
    wanted = np.minimum(*there)
    weight = degree[candidates[:, 0]] * degree[candidates[:, 1]]
    lots = (random.random(len(positives)), random.exponential(size=len(candidates)) / weight)  # the lowest are taken
    taken = [_lowest(lot, cell, wanted) for lot, cell in zip(lots, cells, strict=True)]
    labels = np.repeat(np.array([1, 0], dtype=np.int8), [len(rows) for rows in taken])
    return np.concatenate([positives[taken[0]], candidates[taken[1]]]), labels


def _lowest(lot: NDArray[np.float64], cell: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the lowest lots of each cell, as many as are wanted of it.

    Of lots that are exponential over weight these are a sample without replacement, by weight (Efraimidis and
    Spirakis 2006, Information Processing Letters 97:181).
    """
    order = np.lexsort((lot, cell))
    there = np.bincount(cell, minlength=len(wanted))
    rank = np.arange(len(cell)) - np.repeat(np.cumsum(there) - there, there)
    rows: NDArray[np.int64] = order[rank < wanted[cell[order]]]
    return rows


def _shuffled(pairs: Pairs, labels: NDArray[np.int8], random: np.random.Generator) -> Split:
    """In random order, and the two genes of each pair too: neither may tell the label.

    In the published list 62 % of the positives and 50 % of the negatives are in alphabetical order.
    """
    order = random.permutation(len(pairs))
    turned = random.random(len(pairs)) < 0.5
    mixed = np.where(turned[:, None], pairs[order][:, ::-1], pairs[order])
    return Split(pairs=mixed, labels=labels[order], lines=np.arange(len(pairs), dtype=np.int32))
