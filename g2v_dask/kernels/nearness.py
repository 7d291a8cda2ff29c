"""Compiled loops over all cosines: the nearest pairs, and their histogram.

A float32 product of two unit vectors that were rounded to float32 is within a stated slack of the true cosine
(Higham 2002, eq. 3.5), so a pair whose cosine reaches the bar has a product that reaches it less the slack;
each such pair gets its cosine in float64 from the vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from g2v_dask.kernels.differences import QUANTUM_BITS, push, snap
from g2v_dask.kernels.pick import LANES, STRETCH, dot, multiply, reaches


@njit(nogil=True, cache=True)
def consider(i: int, j: int, space: Any, rules: Any, work: NDArray[np.float64], lists: Any) -> None:
    """Scores one pair in float64, and keeps it if it counts."""
    vectors, scale, sizes, _ = space
    bars, want, ceiling, shortest = rules
    scores, first, second, filled = lists
    for t in range(vectors.shape[1]):
        work[0, t] = scale[i] * np.float64(vectors[i, t])
        work[1, t] = scale[j] * np.float64(vectors[j, t])
    value = dot(work, 0, 1) / np.sqrt(sizes[i] * sizes[j])
    value = snap(max(-1.0, min(1.0, value)), 2.0**-QUANTUM_BITS)
    if value < bars[0] or value > ceiling:
        return
    if shortest > 0:
        for t in range(vectors.shape[1]):
            work[0, t] -= work[1, t]
        if dot(work, 0, 0) < shortest:
            return
    push(value, i, j, scores, first, second, filled, bars, 0, want)


@njit(nogil=True, cache=True)
def all_of(genes: NDArray[np.int64], space: Any, rules: Any, lists: Any) -> None:
    """All pairs of the genes listed, in ascending order."""
    work = np.zeros((2, -(-space[0].shape[1] // LANES) * LANES))
    for i in range(genes.size):
        for j in range(i + 1, genes.size):
            consider(genes[i], genes[j], space, rules, work, lists)


@njit(nogil=True, cache=True)
def scan(
    unit: NDArray[np.float32],
    spans: NDArray[np.int64],
    scratch: NDArray[np.float32],
    space: Any,
    rules: Any,
    lists: Any,
) -> None:
    """All pairs of these tiles."""
    work = np.zeros((2, -(-space[0].shape[1] // LANES) * LANES))
    bars = rules[0]
    for t in range(spans.shape[0]):
        row, col = spans[t, 0], spans[t, 1]
        tile = multiply(unit, row, col, scratch)
        floor = np.float32(bars[0] - space[3])
        for i in range(tile.shape[0]):
            line = tile[i]
            start = i + 1 if row[0] == col[0] else 0
            for j in range(start, line.size, STRETCH):
                end = min(j + STRETCH, line.size)
                if not reaches(line[j:end], floor):
                    continue
                for k in range(j, end):
                    if line[k] >= floor:
                        consider(row[0] + i, col[0] + k, space, rules, work, lists)
                        floor = np.float32(bars[0] - space[3])


@njit(nogil=True, cache=True)
def count(
    unit: NDArray[np.float32], spans: NDArray[np.int64], scratch: NDArray[np.float32], counts: NDArray[np.int64]
) -> None:
    """Adds the cosines of these tiles to equal bins of -1 to 1."""
    half = np.float32(counts.size / 2)
    for t in range(spans.shape[0]):
        row, col = spans[t, 0], spans[t, 1]
        tile = multiply(unit, row, col, scratch)
        for i in range(tile.shape[0]):
            line = tile[i]
            for j in range(i + 1 if row[0] == col[0] else 0, line.size):
                place = int((line[j] + np.float32(1)) * half)
                counts[min(max(place, 0), counts.size - 1)] += 1
