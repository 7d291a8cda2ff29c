"""All analogies of one gene, and the best of all: lanes (`kernels.lanes`), a lane a difference."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2v_dask.kernels import blocks, lanes
from g2v_dask.kernels.differences import NEAR, TINY, padded
from g2v_dask.search.ranking import Found, merged
from g2v_dask.search.space import Space, spread, tile_spans

CHUNK = 256  # genes b whose rows of the Gram matrix are made at once
FIRST_ENDS = 8  # genes of largest and smallest s scored in each lane of a sample
NO_CEILING = 2.0
MOST_SAMPLED = 20_000_000  # pairs of extreme genes that a sample scores
TRIED = 16  # lanes that are searched first: they raise the bar, and tell which way is shorter
BLOCK_TILE = 512
LANES_AT_ONCE = 2048  # of one gene, in `search_blocks`: 4 x genes x 2,048 bytes

# Costs measured once on an AVX-512 EPYC (tests/benchmarks/analogy.py). They choose a way, never an answer.
TEST_NS = 0.8
MEASURE_NS = 60.0
PAIR_NS = 0.1  # half of all blocks looked into


class Lanes:
    """A search through lanes that remembers the best so far, and how much was pruned."""

    def __init__(
        self, space: Space, want: int, *, shorter: bool, shortest: float, ceiling: float | None, bar: float = -np.inf
    ) -> None:
        self.space, self.want = space, want
        self.bars = np.array([bar])
        self.rules = (self.bars, want, shorter, shortest**2, NO_CEILING if ceiling is None else ceiling)
        self.promising = np.empty(0, dtype=np.int64)
        """Genes b of the best that a sample has found."""
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
        """Raises the bar to what the extreme genes of these lanes reach, at the least; False if they are too few.

        Where filters drop the extreme genes, more are taken, of fewer lanes.
        """
        left, prepared = self.space.left, self.space.for_lanes
        rows_a = left[genes_a] @ left.T
        ends = FIRST_ENDS
        while True:
            scored = len(genes_a) * len(genes_b) * ends * ends
            lane_genes = genes_b[:: max(1, scored // max(MOST_SAMPLED, 4 * self.want))]

            def run(start: int, lane_genes: NDArray[np.int64] = lane_genes, ends: int = ends) -> None:
                held = self._take()
                some = lane_genes[start : start + CHUNK]
                lanes.sample(genes_a, rows_a, some, left[some] @ left.T, ends, prepared, self.rules, *held)
                self._free.append(held)

            spread(run, range(0, len(lane_genes), CHUNK), self.space.threads)
            found = self._raise_bar()
            self.promising = np.unique(found.genes[:, 1])[:TRIED]
            if len(found) >= self.want:
                return True
            if ends >= len(self.space):
                return False
            ends *= 4

    def try_lanes(self, a: int, genes_b: NDArray[np.int64]) -> NDArray[np.int64]:
        """Raises the bar to what some lanes, each given once, reach when searched whole; returns their work."""
        left, held = self.space.left, self._take()
        mine = np.array([a])
        rows_a = left[mine] @ left.T
        for b in genes_b:
            lanes.search(mine, rows_a, b, left[b : b + 1] @ left.T, self.space.for_lanes, self.rules, *held)
        self._raise_bar()
        return held[2]

    def _raise_bar(self) -> Found:
        """Takes what was found so far for its bar only: it will be found again."""
        found = self.found()
        self._threads.clear()
        self._free.clear()
        if len(found) >= self.want:
            self.bars[0] = max(self.bars[0], found.scores[-1])
        return found

    def slow(self, a: int) -> bool:
        """Whether lanes would take longer than blocks, judged by what a few of them do."""
        some = np.unique(np.linspace(0, len(self.space) - 1, TRIED).astype(np.int64))
        work = self.try_lanes(a, some[some != a])
        _, _, tested, measured, _ = work / max(1, work[0])
        pairs = len(self.space) * (len(self.space) - 1) / 2
        return bool(tested * TEST_NS + measured * MEASURE_NS > pairs * PAIR_NS)

    def search_blocks(self, a: int) -> None:
        """Searches all lanes of one gene, block by block, for many lanes at once."""
        space = self.space
        allowed = self._under_ceiling(a)
        order, left, low = space.blocks
        prepared, longest = space.for_lanes, float(np.sqrt(space.h.max()))
        slack = 2 * space.error * longest
        spans = tile_spans(len(order), BLOCK_TILE)
        for start in range(0, len(space), LANES_AT_ONCE):
            b = np.arange(start, min(start + LANES_AT_ONCE, len(space)))
            b = b[(b != a) & (space.squares(np.full(len(b), a), b) > self._least(a, b))]
            s = np.ascontiguousarray(self._questions(a, b) @ left.T)
            sides = (len(b), len(order) // blocks.BLOCK)
            lows, highs = np.empty(sides, dtype=np.float32), np.empty(sides, dtype=np.float32)
            blocks.ranges(s, lows, highs)

            def run(number: int, b: NDArray[np.int64] = b, s: Any = s, lows: Any = lows, highs: Any = highs) -> None:
                held = self._take()
                row, col = spans[number]
                scratch = np.empty(BLOCK_TILE * BLOCK_TILE, dtype=np.float32)
                least = np.empty([(end - begin) // blocks.BLOCK for begin, end in (row, col)], dtype=np.float32)
                tile = blocks.bounds(left, low, row, col, self.bars[0], self.rules[3] ** 0.5, slack, scratch, least)
                buffers, lists, counts = held
                blocks.search(
                    a, b, s, lows, highs, tile, least, row[0], col[0], order, slack, allowed, prepared, self.rules,
                    buffers[0], lists, counts,
                )  # fmt: skip
                self._free.append(held)

            spread(run, range(len(spans)), space.threads)

    def _under_ceiling(self, a: int) -> NDArray[np.bool_]:
        """(genes,) which genes may be c: those whose cosine with a is not over the ceiling."""
        space = self.space
        query = np.zeros((1, padded(space.components)))
        query[0, : space.components] = space.vectors[a] * space.scale[a]
        lengths = np.sqrt(space.sizes * space.sizes[a])
        # what is near the ceiling is settled with the rest of an answer
        under: NDArray[np.bool_] = space.project(query)[0] <= (self.rules[4] + 1e-9) * lengths + 1e-300
        return under

    def _least(self, a: int, b: NDArray[np.int64]) -> NDArray[np.float64]:
        """The squared length that the differences of a lane must be over."""
        sizes = self.space.sizes
        near = NEAR**2 * np.maximum(sizes[a], sizes[b])
        least: NDArray[np.float64] = np.maximum(near, np.nextafter(self.rules[3], 0))
        return least

    def _questions(self, a: int, b: NDArray[np.int64]) -> NDArray[np.float32]:
        """(lanes, components) unit vectors of a - b."""
        space = self.space
        gaps = space.vectors[a] * space.scale[a] - space.vectors[b] * space.scale[b, None]
        unit: NDArray[np.float32] = (gaps / np.linalg.norm(gaps, axis=1, keepdims=True)).astype(np.float32)
        return unit

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
        """Lanes; those within reach; pairs tested for their distance from the axis; for their length; scored."""
        none = np.zeros(5, dtype=np.int64)
        total: NDArray[np.int64] = np.sum([none, *(counts for _, _, counts in self._threads)], axis=0)
        return total


def of_gene(space: Space, a: int, want: int, *, shortest: float, ceiling: float | None) -> Found:
    """The best a - b ≈ c - d over all b, c and d: positions (a, b, c, d), in final order.

    Lanes prune well in embeddings of many effective dimensions, blocks do not depend on it: a few lanes tell
    which way is shorter. The answer is the same.
    """
    search = Lanes(space, want, shorter=False, shortest=shortest, ceiling=ceiling)
    mine = np.array([a])
    enough = search.sample(mine, np.arange(len(space)))
    if enough and search.bars[0] > TINY:
        search.try_lanes(a, search.promising)  # a few lanes whole: the bar is then near where it ends
    if enough and search.bars[0] > TINY and search.slow(a):
        search.search_blocks(a)
    else:
        search.search(mine)
    return search.found()
