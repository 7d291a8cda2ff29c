"""The nearest pairs of all genes, and how all similarities are distributed: every pair, in tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2v_dask.kernels import nearness
from g2v_dask.search.ranking import Found, merged
from g2v_dask.search.space import BATCH, TILE, Space, spread

SAMPLE = 512  # genes whose pairs set the first bar
BINS = 200
SEED = 7


def top(space: Space, want: int, *, ceiling: float | None, shortest: float, band: range | None = None) -> Found:
    """The `want` pairs of largest cosine, in final order: score descending, then positions.

    Parameters: space      of unit vectors (`make` with unit).
                ceiling    drops pairs whose cosine is over it.
                shortest   length of the shortest difference that counts.
                band       only the tiles of these rows of tiles.
    """
    bars = np.array([-2.0])
    rules = (bars, want, 2.0 if ceiling is None else ceiling, shortest**2)
    everything = (space.vectors, space.scale, space.sizes, space.error)
    threads: list[Any] = []

    def lists() -> Any:
        one = (1, max(4 * want, 4096))
        return np.empty(one), np.empty(one, dtype=np.int64), np.empty(one, dtype=np.int64), np.zeros(1, np.int64)

    def found() -> Found:
        parts = [(np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))]
        parts += [(s[0, : n[0]], i[0, : n[0]], j[0, : n[0]]) for s, i, j, n in threads]
        return merged(parts, want)

    some = np.sort(np.random.default_rng(SEED).permutation(len(space))[:SAMPLE])
    if len(some) * (len(some) - 1) // 2 >= want:
        first = lists()
        nearness.all_of(some, everything, rules, first)
        threads.append(first)
        best = found()
        threads.clear()
        if len(best) == want:
            bars[0] = best.scores[-1]
    spans = space.spans()
    if band is not None:
        spans = spans[(spans[:, 0, 0] >= band.start * TILE) & (spans[:, 0, 0] < band.stop * TILE)]
    free: list[Any] = []

    def run(number: int) -> None:
        if free:
            mine, scratch = free.pop()
        else:
            mine, scratch = lists(), np.empty(TILE * TILE, dtype=np.float32)
            threads.append(mine)
        nearness.scan(space.unit, spans[number : number + BATCH], scratch, everything, rules, mine)
        free.append((mine, scratch))

    spread(run, range(0, len(spans), BATCH), space.threads)
    return found()


def histogram(space: Space) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """How many pairs have a cosine in each of 200 bins of -1 to 1: counts and edges. In float32, for a picture."""
    spans = space.spans()
    counts = np.zeros((len(spans), BINS), dtype=np.int64)

    def run(number: int) -> None:
        scratch = np.empty(TILE * TILE, dtype=np.float32)
        nearness.count(space.unit, spans[number : number + 1], scratch, counts[number])

    spread(run, range(len(spans)), space.threads)
    return counts.sum(axis=0), np.linspace(-1.0, 1.0, BINS + 1)
