"""The vectors among which a question is answered, prepared once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, TypeVar

import numpy as np
import threadpoolctl
from numpy.typing import NDArray

from g2v_dask import tiles
from g2v_dask.kernels import blocks, differences
from g2v_dask.machine import cores

TILE = 512  # a product of 1 MiB and its factors stay in L2
BATCH = 8  # tiles a thread takes at a time
SAMPLED_PAIRS = 1_000_000  # for the quantiles of lengths
ROWS = 2048  # of float64 numbers held at once
MOST_CANDIDATES = 1 << 22  # duplicates among them are first folded together
SEED = 20_200_201
CLOSE = 2.0**-4  # of two vectors' squared lengths: under it, an inverse length is taken from the vectors themselves
T = TypeVar("T")


@cache
def _libraries() -> threadpoolctl.ThreadpoolController:
    """The libraries that are loaded: looking for them takes longer than some questions."""
    return threadpoolctl.ThreadpoolController()


def spread(function: Callable[[int], T], numbers: Sequence[int], threads: int) -> list[T]:
    """Calls of a function that lets the GIL go, in order of the numbers; BLAS has one thread in each."""
    with _libraries().limit(limits=1, user_api="blas"):
        if threads == 1 or len(numbers) < 2:
            return [function(n) for n in numbers]
        with ThreadPoolExecutor(min(threads, len(numbers))) as pool:
            return list(pool.map(function, numbers))


@dataclass(frozen=True, kw_only=True, eq=False)
class Space:
    """Genes in the order of their ids, with all that the kernels need of their vectors.

    Memory: 8·genes·components bytes, and 60·genes.
    """

    genes: NDArray[np.str_]
    """(genes,) sorted: the order of positions is the order of ids, which settles ties."""
    rows: NDArray[np.int64]
    """(genes,) each gene's row in the embedding."""
    vectors: NDArray[np.float32]
    """(genes, components) as stored."""
    scale: NDArray[np.float64]
    """(genes,) what rows are multiplied by: 1, or 1 / length."""
    sign: float
    """1 for differences, -1 for sums."""
    threads: int

    def __len__(self) -> int:
        return len(self.genes)

    @property
    def components(self) -> int:
        """Length of a vector."""
        return int(self.vectors.shape[1])

    @property
    def error(self) -> float:
        """`differences.relative_error`."""
        return differences.relative_error(self.components)

    @cached_property
    def places(self) -> dict[int, int]:
        """The position of each row."""
        return {row: position for position, row in enumerate(self.rows.tolist())}

    @cached_property
    def sizes(self) -> NDArray[np.float64]:
        """(genes,) squared lengths of the scaled vectors."""
        out = np.empty(len(self))
        self.each_span(lambda first, last: differences.lengths(self.vectors, self.scale, first, last, out))
        return out

    @cached_property
    def centre(self) -> NDArray[np.float64]:
        """(components,) the mean vector, which differences do not feel: without it rounding is less. Of sums 0."""
        if self.sign < 0:
            return np.zeros(self.components)
        total = np.zeros(self.components)
        for rows in self._row_blocks():
            total += self._scaled(rows).sum(axis=0)
        return total / len(self)

    @cached_property
    def left(self) -> NDArray[np.float32]:
        """(genes, components) scaled and centred."""
        out = np.empty(self.vectors.shape, dtype=np.float32)
        for rows in self._row_blocks():
            out[rows] = self._scaled(rows) - self.centre
        return out

    @cached_property
    def unit(self) -> NDArray[np.float32]:
        """(genes, components) scaled, not centred."""
        out = np.empty(self.vectors.shape, dtype=np.float32)
        for rows in self._row_blocks():
            out[rows] = self._scaled(rows)
        return out

    @cached_property
    def h(self) -> NDArray[np.float64]:
        """(genes,) squared lengths of the centred vectors."""
        out = np.empty(len(self))
        for rows in self._row_blocks():
            block = self._scaled(rows) - self.centre
            out[rows] = np.einsum("ij,ij->i", block, block)
        return out

    @cached_property
    def low(self) -> NDArray[np.float32]:
        """(genes,) those, less what float32 may be off by."""
        down: NDArray[np.float32] = np.nextafter((self.h * (1 - self.error)).astype(np.float32), np.float32(-np.inf))
        return down

    @cached_property
    def near(self) -> NDArray[np.float32]:
        """(genes,) each gene's distance to its nearest other, or less. One pass over the Gram matrix."""
        spans = self.spans()
        numbers = range(0, len(spans), BATCH)
        least = [np.full(len(self), np.inf, dtype=np.float32) for _ in numbers]

        def run(number: int) -> None:
            scratch = np.empty(TILE * TILE, dtype=np.float32)
            batch = spans[number : number + BATCH]
            differences.nearest(self.left, self.low, batch, scratch, least[number // BATCH])

        spread(run, numbers, self.threads)
        squares = np.minimum.reduce(least)
        near: NDArray[np.float32] = np.sqrt(np.maximum(squares, 0)) * np.float32(1 - 1e-6)
        return near

    @cached_property
    def for_lanes(self) -> tuple[Any, ...]:
        """What `kernels.lanes` calls its space."""
        h = self.h.astype(np.float32)
        whole, longest = float(self.centre @ self.centre), float(np.sqrt(self.h.max(initial=0.0)))
        mean = np.empty(len(self))
        for rows in self._row_blocks():
            mean[rows] = (self._scaled(rows) - self.centre) @ self.centre
        prepared = (self.vectors, self.scale, self.sizes, self.left, self.low, h, self.near, mean)
        return (*prepared, whole, longest, self.error, float(np.median(self.near)))

    def inverses(self, first: int, last: int) -> tuple[NDArray[np.float32], int]:
        """1 / length of the differences of genes [first, last) with all from `first` on, and how many are duplicates.

        Returns: (last - first, genes - first) float32; 0 for duplicates, and on and below the diagonal.
        """
        out = np.empty((last - first, len(self) - first), dtype=np.float32)
        starts = range(first, len(self), TILE)
        found = np.zeros(len(starts), dtype=np.int64)

        def run(number: int) -> None:
            col = np.array([starts[number], min(starts[number] + TILE, len(self))])
            scratch = np.empty((last - first) * TILE, dtype=np.float32)
            tile = differences.squares(self.left, self.low, self.sign, np.array([first, last]), col, scratch)
            part = np.empty(tile.shape, dtype=np.float32)
            found[number] = differences.inverses(
                tile, self.vectors, self.scale, self.h, self.sizes, first, col[0], CLOSE, part
            )
            out[:, col[0] - first : col[1] - first] = part

        spread(run, range(len(starts)), self.threads)
        return out, int(found.sum())

    @cached_property
    def duplicates(self) -> int:
        """How many pairs of genes are duplicates, or nearly: `differences.NEAR`. From the vectors, directly.

        Of sums: how many pairs add up to nothing, or nearly.
        """
        if self.sign < 0:
            return self._opposites()
        weights = np.ones(len(self), dtype=np.int64)
        first, second = self._candidates(np.arange(len(self)))
        some = np.arange(len(self))
        same = 0
        if first is None:
            whole = np.ascontiguousarray(self.vectors).view(np.dtype((np.void, 4 * self.components)))[:, 0]
            _, some, weights = np.unique(whole, return_index=True, return_counts=True)
            same = int((weights * (weights - 1) // 2).sum())
            first, second = self._candidates(some, limit=None)
        assert first is not None
        assert second is not None
        squares = self.squares(some[first], some[second])
        longest = np.maximum(self.sizes[some[first]], self.sizes[some[second]])
        close = squares <= differences.NEAR**2 * longest
        return same + int((weights[first] * weights[second])[close].sum())

    def _opposites(self) -> int:
        """How many pairs add up to nothing, or nearly: their shadows on one direction do."""
        shadow = self._shadow()
        order = np.argsort(shadow, kind="stable")
        ordered, width = shadow[order], self._width()
        found = 0
        for rows in self._row_blocks():
            starts = np.searchsorted(ordered, -shadow[rows] - width, side="left")
            counts = np.searchsorted(ordered, -shadow[rows] + width, side="right") - starts
            first = np.repeat(np.arange(rows.start, rows.stop), counts)
            at = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
            second = order[np.repeat(starts, counts) + at]
            first, second = first[first < second], second[first < second]
            longest = np.maximum(self.sizes[first], self.sizes[second])
            found += int((self.squares(first, second) <= differences.NEAR**2 * longest).sum())
        return found

    def _shadow(self) -> NDArray[np.float64]:
        """(genes,) products with one random unit vector."""
        direction = np.random.default_rng(SEED).normal(size=(1, differences.padded(self.components)))
        direction[0, self.components :] = 0
        shadow: NDArray[np.float64] = self.project(direction / np.linalg.norm(direction))[0]
        return shadow

    def _width(self) -> float:
        """How far the shadows of duplicates may be apart."""
        return differences.NEAR * float(np.sqrt(self.sizes.max(initial=0.0))) * (1 + 1e-9)

    def _candidates(
        self, some: NDArray[np.int64], limit: int | None = MOST_CANDIDATES
    ) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
        """Pairs whose shadows on one direction are as close as duplicates' must be; None if they are too many."""
        shadow = self._shadow()[some]
        order = np.argsort(shadow, kind="stable")
        ordered = shadow[order]
        ends = np.searchsorted(ordered, ordered + self._width(), side="right")
        counts = ends - np.arange(len(some)) - 1
        if limit is not None and counts.sum() > limit:
            return None, None
        first = np.repeat(np.arange(len(some)), counts)
        second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
        return order[first], order[second]

    def squares(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
        """Squared lengths of the differences (or sums) of pairs of positions, in float64."""
        out = np.empty(len(first))
        one, two = first.astype(np.int64), second.astype(np.int64)
        at = [slice(r.start, r.stop) for r in _blocks(len(first), 1 << 16)]

        def run(block: int) -> None:
            part = at[block]
            differences.pair_lengths(self.vectors, self.scale, self.sign, one[part], two[part], out[part])

        spread(run, range(len(at)), self.threads)
        return out

    def quantile(self, share: float) -> float:
        """The length under which this share of all differences lies: of all pairs, or of a million drawn by seed.

        Less what rounding may take off: lengths that are equal to it are not under it.
        """
        if share not in self._quantiles:
            self._quantiles[share] = self._quantile(share)
        return self._quantiles[share]

    @cached_property
    def _quantiles(self) -> dict[float, float]:
        """Those asked for before."""
        return {}

    def _quantile(self, share: float) -> float:
        n = len(self)
        if n * (n - 1) // 2 <= SAMPLED_PAIRS:
            first, second = np.triu_indices(n, 1)
        else:
            random = np.random.default_rng(SEED)
            first = random.integers(0, n, SAMPLED_PAIRS)
            second = (first + random.integers(1, n, SAMPLED_PAIRS)) % n
        return float(np.sqrt(np.quantile(self.squares(first, second), share, method="lower"))) * (1 - 1e-12)

    def project(self, queries: NDArray[np.float64]) -> NDArray[np.float64]:
        """(queries, genes) dot products of padded float64 queries with all scaled vectors."""
        out = np.empty((len(queries), len(self)))
        self.each_span(lambda first, last: differences.project(self.vectors, self.scale, queries, first, last, out))
        return out

    def spans(self) -> NDArray[np.int64]:
        """Tiles of the upper triangle."""
        return tile_spans(len(self), TILE)

    @cached_property
    def blocks(self) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        """Genes in blocks of neighbours: each place's gene (-1 fills the last block), `left` and `low` in that order.

        Split in halves along the direction of largest spread, again and again, down to one block.
        """
        places = -(-len(self) // blocks.BLOCK) * blocks.BLOCK
        order = np.full(places, -1, dtype=np.int64)
        order[: len(self)] = _split(self.left, np.arange(len(self)))
        left = np.zeros((places, self.components), dtype=np.float32)
        low = np.full(places, np.inf, dtype=np.float32)
        left[: len(self)], low[: len(self)] = self.left[order[: len(self)]], self.low[order[: len(self)]]
        return order, left, low

    def each_span(self, function: Callable[[int, int], None]) -> None:
        """Calls of a function on ranges of genes, by all threads."""
        step = max(1024, -(-len(self) // (4 * self.threads)))
        starts = range(0, len(self), step)
        spread(lambda start: function(start, min(start + step, len(self))), starts, self.threads)

    def _row_blocks(self) -> Iterator[slice]:
        return (slice(r.start, r.stop) for r in _blocks(len(self), ROWS))

    def _scaled(self, rows: slice) -> NDArray[np.float64]:
        scaled: NDArray[np.float64] = self.vectors[rows] * self.scale[rows, None]
        return scaled


def tile_spans(size: int, tile: int) -> NDArray[np.int64]:
    """(tiles, 2, 2) genes [from, to) of rows and of columns, of the upper triangle."""
    spans = [tiles.span(size, tile, band) for band in range(tiles.count(size, tile))]
    sides = [(span.start, span.stop) for span in spans]
    return np.array([(sides[i], sides[j]) for i, j in tiles.blocks(size, tile)], dtype=np.int64)


def _split(left: NDArray[np.float32], genes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The genes in an order in which neighbours are near each other."""
    if len(genes) <= blocks.BLOCK:
        return genes
    part = left[genes] - left[genes].mean(axis=0)
    direction = part[np.argmax(np.einsum("ij,ij->i", part, part))]
    for _ in range(8):  # power iteration: near enough to the first principal axis
        direction = (part @ direction) @ part
        direction /= np.linalg.norm(direction) + np.float32(1e-30)
    ordered = genes[np.argsort(part @ direction, kind="stable")]
    half = -(-len(genes) // (2 * blocks.BLOCK)) * blocks.BLOCK
    return np.concatenate([_split(left, ordered[:half]), _split(left, ordered[half:])])


def _blocks(size: int, step: int) -> Iterator[range]:
    return (range(start, min(start + step, size)) for start in range(0, size, step))


def make(
    genes: NDArray[np.str_],
    vectors: NDArray[np.float32],
    rows: NDArray[np.int64],
    *,
    unit: bool = False,
    sums: bool = False,
    threads: int | None = None,
) -> Space:
    """The space of some rows of an embedding.

    Parameters: genes     (all,) names; vectors (all, components) float32, as stored.
                rows      which of them take part; with `unit` none of length 0.
    """
    ordered = rows[np.argsort(genes[rows], kind="stable")]
    taken = np.ascontiguousarray(vectors[ordered], dtype=np.float32)
    scale = np.ones(len(ordered))
    if unit:
        squares = np.empty(len(ordered))
        differences.lengths(taken, scale, 0, len(ordered), squares)
        scale = 1 / np.sqrt(squares)
    return Space(
        genes=genes[ordered],
        rows=ordered,
        vectors=taken,
        scale=scale,
        sign=-1.0 if sums else 1.0,
        threads=cores() if threads is None else threads,
    )
