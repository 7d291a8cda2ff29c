"""What tells pairs apart without any vector: how often a gene is in the list, and what is known of each gene.

On a list whose negatives are genes that hardly occur in positives, the degree alone tells most pairs.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from g2v_dask.evaluation.pairlists import PairList, Pairs, first_of_each

FIGURES = ("sum", "min", "product", "difference")

Values = NDArray[np.float64]


def pairs_of_genes(listed: PairList) -> Values:
    """(genes,) in how many pairs of the list a gene is, of any label and split; as often as they are listed."""
    return _count(np.concatenate([split.pairs for split in listed.splits.values()]), len(listed.genes))


def positives_of_genes(listed: PairList) -> Values:
    """(genes,) in how many different positive pairs of the list a gene is: its degree in the published network."""
    pairs = np.concatenate([split.pairs[split.labels == 1] for split in listed.splits.values()])
    return _count(pairs[first_of_each(pairs)], len(listed.genes))


def _count(pairs: Pairs, genes: int) -> Values:
    return np.bincount(pairs.ravel(), minlength=genes).astype(np.float64)


def figures(values: Values, pairs: Pairs) -> dict[str, Values]:
    """What two genes' values make of a pair, as ``FIGURES``: sum, min, product and absolute difference; (pairs,) each.

    Parameters: values   (genes,) one value a gene; of a degree its logarithm, log(1 + degree).

    >>> {k: v.tolist() for k, v in figures(np.array([1.0, 3.0]), np.array([[0, 1]], dtype=np.int32)).items()}
    {'sum': [4.0], 'min': [1.0], 'product': [3.0], 'difference': [2.0]}
    """
    first, second = values[pairs[:, 0]], values[pairs[:, 1]]
    made = (first + second, np.minimum(first, second), first * second, np.abs(first - second))
    return dict(zip(FIGURES, made, strict=True))


def table_of(properties: Iterable[Values], pairs: Pairs) -> NDArray[np.float64]:
    """(pairs, 3 · properties) the figures of each property side by side, for a logistic regression.

    Without min, which is (sum - difference) / 2.
    """
    made = (figures(values, pairs) for values in properties)
    return np.column_stack([some[figure] for some in made for figure in FIGURES if figure != "min"])
