"""All analogies of one gene, and the best of all: lanes (`kernels.lanes`), a lane a difference."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2v_dask.kernels import lanes
from g2v_dask.search.ranking import Found, merged
from g2v_dask.search.space import Space, spread

CHUNK = 256  # genes b whose rows of the Gram matrix are made at once
FIRST_ENDS = 8  # genes of largest and smallest s scored in each lane of a sample
NO_CEILING = 2.0


class Lanes:
    """A search through lanes that remembers the best so far, and how much was pruned."""

    def __init__(
        self, space: Space, want: int, *, shorter: bool, shortest: float, ceiling: float | None, bar: float = -np.inf
    ) -> None:
        self.space, self.want = space, want
        self.bars = np.array([bar])
        self.rules = (self.bars, want, shorter, shortest**2, NO_CEILING if ceiling is None else ceiling)
        self.counts = np.zeros(5, dtype=np.int64)
        """Lanes; those within reach; pairs tested for their distance from the axis; for their length; scored."""
        self._threads: list[tuple[Any, Any, NDArray[np.int64]]] = []
        self._free: list[tuple[Any, Any, NDArray[np.int64]]] = []

    def _take(self) -> tuple[Any, Any, NDArray[np.int64]]:
        """Buffers, lists and counts of a thread."""
        try:
            return self._free.pop()
        except IndexError:
            capacity = max(4 * self.want, 4096)
            one = (1, capacity)
            lists = np.empty(one), np.empty(one, dtype=np.int64), np.empty(one, dtype=np.int64), np.zeros(1, np.int64)
            buffers = lanes.scratch(len(self.space), self.space.components)
            made = (buffers, lists, np.zeros(5, dtype=np.int64))
            self._threads.append(made)
            return made

    def search(self, genes_a: NDArray[np.int64], *, first: int = 0) -> None:
        """Searches all lanes of these genes with the genes from `first` on."""
        left, prepared = self.space.left, self.space.for_lanes
        rows_a = left[genes_a] @ left.T

        def run(start: int) -> None:
            held = self._take()
            rows_b = left[start : start + CHUNK] @ left.T
            lanes.search(genes_a, rows_a, start, rows_b, prepared, self.rules, *held)
            self._free.append(held)

        spread(run, range(first, len(self.space), CHUNK), self.space.threads)

    def sample(self, genes_a: NDArray[np.int64], genes_b: NDArray[np.int64]) -> bool:
        """Raises the bar to what the extreme genes of these lanes reach, at the least; False if they are too few."""
        left, prepared = self.space.left, self.space.for_lanes
        rows_a = left[genes_a] @ left.T
        n = len(self.space)
        ends = FIRST_ENDS
        while ends < n and len(genes_a) * len(genes_b) * ends * ends < 4 * self.want:
            ends *= 2

        def run(start: int) -> None:
            held = self._take()
            some = genes_b[start : start + CHUNK]
            lanes.sample(genes_a, rows_a, some, left[some] @ left.T, ends, prepared, self.rules, *held)
            self._free.append(held)

        spread(run, range(0, len(genes_b), CHUNK), self.space.threads)
        found = self.found()
        self._threads.clear()  # what the sample found will be found again
        self._free.clear()
        if len(found) < self.want:
            return False
        self.bars[0] = max(self.bars[0], found.scores[-1])
        return True

    def found(self) -> Found:
        """The best of all threads: scores and positions (a, b, c, d), in final order."""
        n = len(self.space)
        parts = [(np.empty(0), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))]
        for _, (scores, first, second, filled), _ in self._threads:
            parts.append((scores[0, : filled[0]], first[0, : filled[0]], second[0, : filled[0]]))
        best = merged(parts, self.want)
        first, second = best.genes[:, 0], best.genes[:, 1]
        return Found(scores=best.scores, genes=np.stack([first // n, first % n, second // n, second % n], axis=1))

    def work(self) -> NDArray[np.int64]:
        """`counts` of all threads."""
        return np.sum([counts for _, _, counts in self._threads], axis=0, initial=0) + self.counts


def of_gene(space: Space, a: int, want: int, *, shortest: float, ceiling: float | None) -> Found:
    """The best a - b ≈ c - d over all b, c and d: positions (a, b, c, d), in final order."""
    search = Lanes(space, want, shorter=False, shortest=shortest, ceiling=ceiling)
    mine = np.array([a])
    search.sample(mine, np.arange(len(space)))
    search.search(mine)
    return search.found()
