"""Naive answers in float64 that the kernels are compared with. Clear, slow, and shared with no kernel."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def correlations(expression: NDArray[np.float32]) -> NDArray[np.float64]:
    """(genes, genes) Pearson r, each a correctly rounded sum."""
    columns = expression.astype(np.float64).T
    genes, samples = columns.shape
    deviations = [column - math.fsum(column) / samples for column in columns]
    lengths = [math.sqrt(math.fsum(d * d)) for d in deviations]
    r = np.ones((genes, genes))
    for a in range(genes):
        for b in range(genes):
            r[a, b] = math.fsum(deviations[a] * deviations[b]) / (lengths[a] * lengths[b])
    return r


def correlated_pairs(expression: NDArray[np.float32], threshold: float) -> dict[tuple[int, int], float]:
    """Every pair (a, b), a < b, with r >= threshold, and its r."""
    r = correlations(expression)
    genes = len(r)
    return {(a, b): float(r[a, b]) for a in range(genes) for b in range(a + 1, genes) if r[a, b] >= threshold}


def top_k_pairs(expression: NDArray[np.float32], k: int, rule: str) -> dict[tuple[int, int], float]:
    """Pairs that either ("union") or each ("mutual") of two genes has among its k of largest r.

    r within 1e-12 are equal, and of equals the smaller gene comes first.
    """
    r = correlations(expression).round(12)
    genes = len(r)
    lists = []
    for a in range(genes):
        others = sorted((b for b in range(genes) if b != a), key=lambda b: (-r[a, b], b))
        lists.append(set(others[:k]))
    found = {}
    for a in range(genes):
        for b in range(a + 1, genes):
            listed = (b in lists[a]) + (a in lists[b])
            if listed == 2 or (listed == 1 and rule == "union"):
                found[a, b] = float(r[a, b])
    return found
