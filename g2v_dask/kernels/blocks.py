"""The dense search for one gene's analogies: blocks of neighbours against blocks of neighbours, many lanes at once.

Where lanes (`kernels.lanes`) prune little, as in embeddings of few effective dimensions, every pair (c, d) must be
looked at for every lane. Done by blocks it is a subtraction, a product and a comparison of what lies in L1, and
blocks of genes near each other are skipped whole: for blocks I and J and a lane's s, cos >= T needs

    max(max s_I - min s_J, max s_J - min s_I) >= T min |x_c - x_d| over c in I, d in J.

Slack. s are float32 products of unit vectors q with rows, each off by at most e H (`differences`: e, H), so a gap
by 2 e H; `bounds` takes it off T |x_c - x_d| once, for all lanes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from g2v_dask.kernels.differences import difference, squares
from g2v_dask.kernels.lanes import settle

BLOCK = 64  # genes; a block of bounds is 16 KiB


@njit(nogil=True, cache=True)
def bounds(
    left: NDArray[np.float32],
    low: NDArray[np.float32],
    row: NDArray[np.int64],
    col: NDArray[np.int64],
    bar: float,
    shortest: float,
    slack: float,
    scratch: NDArray[np.float32],
    least: NDArray[np.float32],
) -> NDArray[np.float32]:
    """The squares of the gaps that a tile's pairs need, in `scratch`; `least` [I, J]: the smallest gap of blocks.

    A gap is at least the bar times the pair's distance, and times the shortest length that counts.
    """
    tile = squares(left, low, 1.0, row, col, scratch)
    t, off, zero = np.float32(bar * (1 - 1e-6)), np.float32(slack), np.float32(0)
    square = np.float32(shortest * shortest * (1 - 1e-6))
    least[:] = np.inf
    for i in range(tile.shape[0]):
        line = tile[i]
        for j in range(line.size):
            line[j] = max(t * np.sqrt(max(line[j], square)) - off, zero)
        if row[0] == col[0]:
            line[: i + 1] = np.inf
        for block in range(line.size // BLOCK):
            part = line[block * BLOCK : (block + 1) * BLOCK]
            smallest = np.float32(np.inf)
            for k in range(BLOCK):
                smallest = part[k] if part[k] < smallest else smallest
            least[i // BLOCK, block] = min(least[i // BLOCK, block], smallest)
        for j in range(line.size):
            line[j] = line[j] * line[j]
    return tile


@njit(nogil=True, cache=True)
def ranges(s: NDArray[np.float32], low: NDArray[np.float32], high: NDArray[np.float32]) -> None:
    """Smallest and largest of each lane's s in each block: (lanes, blocks)."""
    for q in range(s.shape[0]):
        for block in range(low.shape[1]):
            smallest, largest = np.float32(np.inf), np.float32(-np.inf)
            for k in range(block * BLOCK, (block + 1) * BLOCK):
                smallest, largest = min(smallest, s[q, k]), max(largest, s[q, k])
            low[q, block], high[q, block] = smallest, largest


@njit(nogil=True, cache=True)
def any_gap(
    s: NDArray[np.float32], q: int, row: int, col: int, tile: NDArray[np.float32], i: int, j: int, rows: int
) -> bool:
    """Whether any gap between `rows` genes from `row` on and the block from `col` on is as wide as the tile asks."""
    ask, to, from_, first, line = np.uint64(q), np.uint64(col), np.uint64(j), np.uint64(row), np.uint64(i)
    hits = np.int32(0)
    for r in range(rows):
        mine, at = s[ask, first + np.uint64(r)], line + np.uint64(r)
        for k in range(BLOCK):
            gap = mine - s[ask, to + np.uint64(k)]
            hits |= np.int32(gap * gap >= tile[at, from_ + np.uint64(k)])
    return bool(hits != 0)


@njit(nogil=True, cache=True)
def search(
    a: int,
    lanes: NDArray[np.int64],
    s: NDArray[np.float32],
    low: NDArray[np.float32],
    high: NDArray[np.float32],
    tile: NDArray[np.float32],
    least: NDArray[np.float32],
    row: int,
    col: int,
    order: NDArray[np.int64],
    slack: float,
    allowed: NDArray[np.bool_],
    space: Any,
    rules: Any,
    work: NDArray[np.float64],
    lists: Any,
    counts: NDArray[np.int64],
) -> None:
    """Looks through one tile for all lanes (their b in `lanes`), and settles what may reach the bar.

    s, low, high   of the lanes: (lanes, genes in blocks), (lanes, blocks).
    tile, least    what `bounds` made of rows from `row` and columns from `col` on.
    order          the gene of each place; -1 for one that only fills its block.
    allowed        (genes,) which may be c.
    slack          what a gap may be off by: a smaller one may have the wrong sign.
    counts         lanes; block pairs looked into; those there were; pairs tested; scored.
    """
    for one in range(least.shape[0]):
        for two in range(least.shape[1]):
            need = least[one, two]
            if need == np.inf:
                continue
            counts[2] += lanes.size
            block_c, block_d = row // BLOCK + one, col // BLOCK + two
            for q in range(lanes.size):
                if max(high[q, block_c] - low[q, block_d], high[q, block_d] - low[q, block_c]) < need:
                    continue
                counts[1] += 1
                if not any_gap(s, q, row + one * BLOCK, col + two * BLOCK, tile, one * BLOCK, two * BLOCK, BLOCK):
                    continue
                for i in range(one * BLOCK, (one + 1) * BLOCK):
                    if not any_gap(s, q, row + i, col + two * BLOCK, tile, i, two * BLOCK, 1):
                        continue
                    for j in range(two * BLOCK, (two + 1) * BLOCK):
                        gap = s[q, row + i] - s[q, col + j]
                        if gap * gap < tile[i, j]:
                            continue
                        counts[3] += 1
                        c, d, b = order[row + i], order[col + j], lanes[q]
                        if c < 0 or d < 0 or c == a or d == a or c == b or d == b:
                            continue
                        if gap < 0:
                            c, d = d, c
                        if allowed[c]:
                            settle_lane(a, b, c, d, space, rules, work, lists, counts)
                        if abs(gap) <= slack:
                            settle_lane(a, b, d, c, space, rules, work, lists, counts)


@njit(nogil=True, cache=True)
def settle_lane(
    a: int, b: int, c: int, d: int, space: Any, rules: Any, work: NDArray[np.float64], lists: Any, counts: NDArray[Any]
) -> None:
    """`lanes.settle` of a lane whose difference is not at hand yet."""
    difference(space[0], space[1], 1.0, a, b, work[0])
    settle(a, b, c, d, space, rules, work, lists, counts)
