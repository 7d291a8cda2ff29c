"""Pairs of genes whose difference (or sum) is most like one that is asked for: every pair looked at, in tiles.

With q the asked difference and s = X·q, the inner product of q and x_i - x_j is s_i - s_j, and the length of
x_i - x_j comes from a tile of the Gram matrix, or from stored inverse lengths. No difference is ever made, but of
those few that may be among the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2v_dask.kernels import differences
from g2v_dask.search.ranking import Found, merged
from g2v_dask.search.space import BATCH, TILE, Space, spread

METRICS = {"cosine": differences.COSINE, "inner": differences.INNER, "l2": differences.EUCLIDEAN}
FIRST_ENDS = 32  # genes of largest and of smallest s whose pairs set the first bars
BAND_ROWS = 64  # of stored inverses scanned by every query before the next: 64 x 1,024 floats stay in L2
BAND_COLUMNS = 1024
U = 2.0**-24


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """Several questions of one kind, asked together."""

    differences: NDArray[np.float64]
    """(queries, padded components) a - b, or a + b, in float64, of scaled vectors."""
    taken: NDArray[np.int64]
    """(queries, 2) positions of a and b, which do not answer; -1 for one that is not in the space."""
    allowed: NDArray[np.bool_]
    """(queries, 2, genes) which genes may be c, and d."""
    metric: str
    shortest: float
    """Length of the shortest difference that counts."""

    def __len__(self) -> int:
        return len(self.differences)


def top(space: Space, asked: Asked, want: int, *, inverses: Sequence[NDArray[np.float32]] = ()) -> list[Found]:
    """For each question the `want` best pairs (c, d), in final order: score descending, c, d.

    Parameters: inverses   `Space.inverses` of this very space, in bands; without them tiles are computed.
    Returns: one Found a question; fewer than `want` answers if there are no more.
    """
    s = space.project(asked.differences)
    if asked.metric == "inner":
        return [_inner(space, asked, q, s[q], want) for q in range(len(asked))]
    search = _Search(space, asked, s, want)
    if not search.complete:
        search.stored(inverses) if inverses else search.tiles()
    return search.found()


class _Search:
    """One pass over all pairs, for all questions."""

    def __init__(self, space: Space, asked: Asked, s: NDArray[np.float64], want: int) -> None:
        self.space, self.asked, self.want = space, asked, want
        squares = np.einsum("ij,ij->i", asked.differences, asked.differences)
        self.metric = METRICS[asked.metric]
        self.quantum = _quanta(asked.metric, squares)
        self.squares = squares
        # a cosine's s is that of the unit question
        scaled = s / np.sqrt(squares)[:, None] if asked.metric == "cosine" else s
        scaled = scaled - scaled.mean(axis=1, keepdims=True) if space.sign > 0 else scaled
        self.rows = scaled.astype(np.float32)
        self.cols = self.rows if space.sign > 0 else -self.rows
        self.slop = (4 * U * np.abs(scaled).max(axis=1, initial=0.0)).astype(np.float32)
        self.bars = np.full(len(asked), -np.inf)
        self.states: list[tuple[Any, ...]] = []
        self.complete = self._start()

    def state(self, want: int) -> tuple[Any, ...]:
        """What one thread works with; bars are shared."""
        space, asked = self.space, self.asked
        queries, capacity = len(asked), max(4 * want, 4096)
        lists = (
            np.empty((queries, capacity)),
            np.empty((queries, capacity), dtype=np.int64),
            np.empty((queries, capacity), dtype=np.int64),
            np.zeros(queries, dtype=np.int64),
        )
        work = np.zeros((3, asked.differences.shape[1]))
        kernel = (space.vectors, space.scale, space.sizes, self.metric, space.sign, asked.differences, self.squares)
        rules = (self.quantum, asked.taken, asked.allowed, self.bars, want, asked.shortest**2)
        return (*kernel, *rules, work, lists)

    def _start(self) -> bool:
        """Sets the bars from pairs of extreme genes; True if those were all pairs there are."""
        n, ends = len(self.space), FIRST_ENDS
        while ends * ends < 4 * self.want:
            ends *= 2
        while True:
            state = self.state(self.want)
            for q in range(len(self.asked)):
                order = np.argsort(self.rows[q], kind="stable")
                some = np.unique(np.concatenate([order[:ends], order[n - min(n, ends) :]]))
                differences.consider_all(q, some, state)
            filled, scores = state[-1][3], state[-1][0]
            if 2 * ends >= n:
                self.states.append(state)
                return True
            if (filled >= self.want).all():
                for q, number in enumerate(filled):
                    self.bars[q] = np.partition(scores[q, :number], number - self.want)[number - self.want]
                return False
            ends *= 4
            self.bars[:] = -np.inf

    def tiles(self) -> None:
        """Computes the tiles of the Gram matrix, and scans each for all questions."""
        space = self.space
        spans = space.spans()
        free = [(self.state(self.want), np.empty(TILE * TILE, dtype=np.float32)) for _ in range(space.threads)]
        self.states += [state for state, _ in free]
        floors = np.empty(len(self.asked), dtype=np.float32)

        def run(number: int) -> None:
            state, scratch = free.pop()
            differences.scan_tiles(
                space.left, space.low, space.sign, spans[number : number + BATCH], self.rows, self.cols,
                self.slop, floors.copy(), scratch, state,
            )  # fmt: skip
            free.append((state, scratch))

        spread(run, range(0, len(spans), BATCH), space.threads)

    def stored(self, inverses: Sequence[NDArray[np.float32]]) -> None:
        """Reads stored inverse lengths, and scans each block for all questions."""
        free = [self.state(self.want) for _ in range(self.space.threads)]
        self.states += free
        free = list(free)
        floors = np.empty(len(self.asked), dtype=np.float32)
        steps = [
            (band, start, row)
            for band, start in zip(inverses, np.cumsum([0, *map(len, inverses)]).tolist(), strict=False)
            for row in range(0, len(band), BAND_ROWS)
        ]

        def run(number: int) -> None:
            band, start, row = steps[number]
            state = free.pop()
            differences.scan_band(
                band, start, row, min(row + BAND_ROWS, len(band)), BAND_COLUMNS, self.rows, self.cols, self.slop,
                floors.copy(), state,
            )  # fmt: skip
            free.append(state)

        spread(run, range(len(steps)), self.space.threads)

    def found(self) -> list[Found]:
        """What all threads found."""
        out = []
        for q in range(len(self.asked)):
            parts = []
            for state in self.states:
                scores, first, second, filled = state[-1]
                n = filled[q]
                parts.append((scores[q, :n], first[q, :n], second[q, :n]))
            out.append(merged(parts, self.want))
        return out


def _quanta(metric: str, squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """2^-40 of the scores' scale, a power of two: 1, the squared length of the question, or its length."""
    if metric == "cosine":
        return np.full(len(squares), 2.0**-differences.QUANTUM_BITS)
    scale = squares if metric == "inner" else np.sqrt(squares)
    _, exponent = np.frexp(scale)
    quanta: NDArray[np.float64] = np.ldexp(1.0, exponent - differences.QUANTUM_BITS)
    return quanta


def _inner(space: Space, asked: Asked, q: int, s: NDArray[np.float64], want: int) -> Found:
    """The largest s_c - s_d (or s_c + s_d): needs no tile.

    With c and d each in the order of what they give, all (i + 1)(j + 1) - 1 pairs before (i, j) are as good or
    better. So the best are under a hyperbola; it grows while filters leave too few, or what is outside may count.
    """
    squares = np.einsum("ij,ij->i", asked.differences[q : q + 1], asked.differences[q : q + 1])
    quantum = float(_quanta("inner", squares)[0])
    free = np.ones(len(space), dtype=bool)
    free[[t for t in asked.taken[q] if t >= 0]] = False
    for_c = np.flatnonzero(asked.allowed[q, 0] & free)
    for_d = np.flatnonzero(asked.allowed[q, 1 if space.sign > 0 else 0] & free)
    gain = -space.sign * s
    area = 4 * want + 16
    while True:
        # what lies beyond the largest `area` is not under the hyperbola
        by_c, by_d = _largest(s, for_c, area + 1), _largest(gain, for_d, area + 1)
        widths = np.minimum(area // (1 + np.arange(len(by_c))), len(by_d))
        first = np.repeat(by_c, widths)
        second = by_d[np.arange(len(first)) - np.repeat(np.cumsum(widths) - widths, widths)]
        found = _best_products(space, asked.shortest, s, first, second, quantum, want)
        cut = widths < len(by_d)
        outside = (s[by_c[cut]] + gain[by_d[widths[cut]]]).max(initial=-np.inf)
        if len(found) == want and outside + 2 * quantum < found.scores[-1] or not cut.any():
            return found
        area *= 8


def _largest(values: NDArray[np.float64], some: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """The positions among some with the largest values, in descending order."""
    if count < len(some):
        some = some[np.argpartition(-values[some], count - 1)[:count]]
    return some[np.argsort(-values[some], kind="stable")]


def _best_products(
    space: Space,
    shortest: float,
    s: NDArray[np.float64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    quantum: float,
    want: int,
) -> Found:
    """The best of these pairs by inner product whose difference is long enough."""
    keep = first < second if space.sign < 0 else first != second
    first, second = first[keep], second[keep]
    values = np.rint((s[first] - space.sign * s[second]) / quantum) * quantum + 0.0
    order = np.lexsort((second, first, -values))
    kept: list[NDArray[np.int64]] = []
    step = max(want, 1024)
    for start in range(0, len(order), step):  # lengths are asked only of those that may count
        some = order[start : start + step]
        squares = space.squares(first[some], second[some])
        longest = np.maximum(space.sizes[first[some]], space.sizes[second[some]])
        kept.append(some[(squares >= shortest**2) & (squares > differences.NEAR**2 * longest)])
        if sum(map(len, kept)) >= want:
            break
    best = np.concatenate([*kept, np.empty(0, dtype=np.int64)])[:want]
    return Found(scores=values[best], genes=np.stack([first[best], second[best]], axis=1))
