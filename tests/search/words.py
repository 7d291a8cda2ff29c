"""Vectors for searches of differences: of several kinds, with duplicates and zeros among them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from g2v_dask.analogy import Stored
from g2v_dask.search.space import Space, make

KINDS = ("normal", "whole", "clustered", "offset", "flat")


def vectors(
    kind: str, n: int, components: int, seed: int, *, duplicates: int = 0, zeros: int = 0
) -> NDArray[np.float32]:
    """(n, components) float32: Gaussian; small whole numbers (exact ties); clusters of genes 1e-5, 1e-8 or a few
    hundredths apart; far from the origin; of very few directions.
    """
    random = np.random.default_rng(seed)
    x = random.normal(size=(n, components))
    if kind == "whole":
        x = random.integers(-2, 3, size=(n, components)).astype(float)
    elif kind == "clustered":
        spread = random.choice([1e-8, 1e-5, 1e-5, 0.03], size=(n, 1))
        x = random.normal(size=(max(2, n // 6), components))[random.integers(0, max(2, n // 6), n)] + spread * x
    elif kind == "offset":
        x = 0.01 * x + 5
    elif kind == "flat":
        x = random.normal(size=(n, 2)) @ random.normal(size=(2, components)) + 1e-3 * x
    for _ in range(min(duplicates, n - 2)):
        x[random.integers(n)] = x[random.integers(n)]
    x[random.permutation(n)[: min(zeros, n - 2)]] = 0
    return x.astype(np.float32)


def ids(n: int, seed: int) -> NDArray[np.str_]:
    """Ids in no order."""
    return np.array([f"w{i:03d}" for i in np.random.default_rng(seed).permutation(n)])


def stored(x: NDArray[np.float32], seed: int = 0) -> Stored:
    """An embedding whose rows are not in the order of its ids."""
    return Stored(name="e", genes=ids(len(x), seed), vectors=x)


def in_order(asked: Stored) -> NDArray[np.float64]:
    """The vectors in the order of the ids, for the oracles."""
    return asked.vectors[np.argsort(asked.genes)].astype(np.float64)


def space(x: NDArray[np.float32], *, unit: bool = False, sums: bool = False, threads: int = 1) -> Space:
    """A space whose positions are rows."""
    genes = np.array([f"w{i:04d}" for i in range(len(x))])
    return make(genes, x, np.arange(len(x)), unit=unit, sums=sums, threads=threads)


def places(found: list[tuple[str, ...]]) -> NDArray[np.int64]:
    """Genes as positions: the number in a word is its place."""
    return np.array([[int(word[1:]) for word in answer] for answer in found], dtype=np.int64)
