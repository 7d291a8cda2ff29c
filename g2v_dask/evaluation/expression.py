"""Vectors of genes made of expression alone, by PCA: what an embedding must be better than."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.int64]
Datasets = Callable[[], Iterator[tuple[NDArray[np.str_], NDArray[np.float32]]]]
"""Gives gene ids and (samples, genes) log2 expression of one dataset after another; may be asked several times."""

SPARE = 10  # directions beyond those that are wanted
PASSES = 5  # times that the expression is read: enough for spectra that fall as slowly as those of expression
BLOCK = 256  # samples at once
STILL = 1e-6  # a gene of a smaller standard deviation (log2) does not vary
NOTHING = 1e-12  # of the largest variance: smaller ones are rounding, where there are fewer samples than components


def components(
    datasets: Datasets, rows: Mapping[str, int], count: int, *, within: bool, key: Sequence[int]
) -> NDArray[np.float32]:
    """The scores of genes on the first principal components of all samples side by side; genes are the observations.

    Samples are read dataset by dataset, and never held together: block power iteration on the products of genes (the
    randomised range finder with power passes), Rayleigh-Ritz at the end.
    Memory: 40·(count + 10) + 16·BLOCK bytes a gene, and the expression of the largest dataset.
    Parameters: rows     gene id to row; the rows run from 0.
                within   each gene is standardised in each dataset: what is left is how genes vary together, and not
                         how much they are expressed where.
                key      seed.
    Returns:    (genes, count); zeros for a gene that no dataset has, and for components beyond the samples there are.
    Source:     Halko, Martinsson and Tropp 2011, algorithm 4.4.   Oracle: sklearn.decomposition.PCA.
    """
    size = max(rows.values(), default=-1) + 1
    found = np.zeros((size, count), dtype=np.float32)
    base = np.linalg.qr(np.random.default_rng(list(key)).standard_normal((size, min(size, count + SPARE))))[0]
    for _ in range(PASSES - 1):
        base = np.linalg.qr(_products(datasets, rows, base, within=within))[0]
    values, turn = np.linalg.eigh(base.T @ _products(datasets, rows, base, within=within))
    best = np.argsort(values)[::-1][:count]
    best = best[values[best] > NOTHING * values.max(initial=0)]
    found[:, : len(best)] = base @ turn[:, best] * np.sqrt(values[best])
    return found


def _products(datasets: Datasets, rows: Mapping[str, int], base: Array, *, within: bool) -> Array:
    """Xᵀ X base, X (samples, genes) the samples of all datasets, each centred over its genes."""
    found = np.zeros_like(base)
    for genes, expression in datasets():
        places = np.array([rows.get(gene, -1) for gene in genes.tolist()], dtype=np.int64)
        columns = np.flatnonzero(places >= 0)
        own = places[columns]
        for block in _blocks(expression, columns, within=within):
            found[own] += block.T @ (block @ base[own])
    return found


def _blocks(expression: NDArray[np.float32], columns: Rows, *, within: bool) -> Iterator[Array]:
    """(samples, columns) some samples after others, centred over genes."""
    mean, spread = _moments(expression, columns) if within else (0.0, 1.0)
    for start in range(0, len(expression) if len(columns) else 0, BLOCK):
        block = (expression[start : start + BLOCK, columns] - mean) / spread
        yield block - block.mean(axis=1, keepdims=True)


def _moments(expression: NDArray[np.float32], columns: Rows) -> tuple[Array, Array]:
    """(columns,) mean, and standard deviation, over samples; infinity for a gene that does not vary."""
    mean = expression.mean(axis=0, dtype=np.float64)[columns]
    squares = np.zeros(len(columns))
    for start in range(0, len(expression), BLOCK):
        squares += np.square(expression[start : start + BLOCK, columns] - mean).sum(axis=0)
    spread = np.sqrt(squares / max(len(expression), 1))
    return mean, np.where(spread > STILL, spread, np.inf)
