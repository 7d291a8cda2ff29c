"""Vectors of genes made of expression alone, by PCA: what an embedding must be better than."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Datasets = Callable[[], Iterator[tuple[NDArray[np.str_], NDArray[np.float32]]]]
"""Gives gene ids and (samples, genes) log2 expression of one dataset after another; may be asked several times."""

MORE = 10  # random directions besides those that are wanted
TURNS = 2  # of the power iteration: enough for spectra that fall as slowly as those of expression


def components(datasets: Datasets, rows: Mapping[str, int], count: int, *, within: bool, seed: int) -> Array:
    """The scores of genes on the first principal components of all samples side by side; genes are the observations.

    By a randomised range finder, one dataset in memory at a time.
    Memory: 24·(count + 10) bytes a gene, and 8·samples bytes a gene for the largest dataset.
    Parameters: rows     gene id to row; the rows run from 0.
                within   each gene is standardised in each dataset: what is left is how genes vary together, and not
                         how much they are expressed where.
    Returns:    (genes, components), at most ``count`` and fewer than there are samples; a gene that no dataset has is
                zero. (genes, 0) without any dataset.
    Source:     Halko, Martinsson and Tropp 2011, algorithm 4.4.   Oracle: sklearn.decomposition.PCA.
    """
    size = max(rows.values(), default=-1) + 1
    basis = np.zeros((size, count + MORE))
    samples = 0
    for number, (own, block) in enumerate(_blocks(datasets, rows, within=within)):
        draw = np.random.default_rng([seed, number]).normal(size=(len(block), count + MORE))
        basis[own] += block.T @ draw
        samples += len(block)
    kept = min(count, samples - 1, size)
    if kept < 1:
        return np.zeros((size, 0))
    for _ in range(TURNS):
        basis, _ = np.linalg.qr(basis)
        turned = np.zeros_like(basis)
        for own, block in _blocks(datasets, rows, within=within):
            turned[own] += block.T @ (block @ basis[own])
        basis = turned
    basis, _ = np.linalg.qr(basis)
    squares = np.zeros((basis.shape[1], basis.shape[1]))
    for own, block in _blocks(datasets, rows, within=within):
        seen = block @ basis[own]
        squares += seen.T @ seen
    values, turns = np.linalg.eigh(squares)
    best = slice(None, -kept - 1, -1)
    scores: Array = (basis @ turns[:, best]) * np.sqrt(np.maximum(values[best], 0))
    return scores


def _blocks(datasets: Datasets, rows: Mapping[str, int], *, within: bool) -> Iterator[tuple[NDArray[np.int64], Array]]:
    """Of each dataset the rows of its genes, and their values (samples, genes), each sample centred over the genes."""
    for genes, expression in datasets():
        found = [(rows[gene], column) for column, gene in enumerate(genes.tolist()) if gene in rows]
        own, columns = (np.array(some, dtype=np.int64) for some in zip(*found, strict=True)) if found else _NONE
        values = np.asarray(expression[:, columns], dtype=np.float64)
        if within:
            values -= values.mean(axis=0)
            deviation = np.sqrt(np.square(values).mean(axis=0))
            values /= np.where(deviation > 0, deviation, 1.0)
        values -= values.mean(axis=1, keepdims=True) if len(own) else 0.0
        yield own, values


_NONE: Any = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))
