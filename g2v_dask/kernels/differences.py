"""Compiled loops of difference search: exact scores, tiles of squared lengths, and the scan of a tile.

Candidates are found in float32 with a bound on its error, and every one of them is scored in float64 from the
vectors, so what is found depends on no tile, no thread, no BLAS.

The bound, with u = 2^-24 and e = `relative_error(d)`. A tile holds low_i + low_j - 2 x_i.x_j, where low =
|x|^2 (1 - e). The float32 product of two rows of d numbers is within gamma(d) |x_i||x_j| <= gamma(d)
(|x_i|^2 + |x_j|^2) / 2 of the true one (Higham 2002, eq. 3.5); rounding the rows themselves to float32 moves
the squared length by at most 4u (|x_i|^2 + |x_j|^2), the three sums and the rounded |x|^2 by 7u of it. All that
is less than e (|x_i|^2 + |x_j|^2): a tile never says more than the true squared length.

The rules of loops are those of `pick`: no fastmath where a sum is taken, whole stretches tested at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from g2v_dask.kernels.pick import LANES, STRETCH, dot, multiply

COSINE, INNER, EUCLIDEAN = 0, 1, 2  # metrics; with the last, scores are negative distances: larger is better
SQUARES, INVERSES, NEARNESS = 0, 1, 2  # a tile holds squared lengths, or 1 / length; the third: `any_hit`
QUANTUM_BITS = 40  # scores are multiples of 2^-40 of their scale: equal ones are equal, whatever rounded them
TINY = 2.0**-16  # bars up to this leave nothing out: above it, tests in float32 have room for the rounding to a quantum
NEAR = 2.0**-20  # a difference shorter than this share of the longer of its vectors is one of duplicates


def relative_error(components: int) -> float:
    """e of the module's docstring."""
    return (1.01 * components + 16) * 2.0**-24


def padded(components: int) -> int:
    """Components, with zeros up to a whole number of `pick.LANES`."""
    return -(-components // LANES) * LANES


@njit(nogil=True, cache=True)
def difference(
    vectors: NDArray[np.float32],
    scale: NDArray[np.float64],
    sign: float,
    i: int,
    j: int,
    out: NDArray[np.float64],
) -> None:
    """scale_i x_i - sign scale_j x_j in float64; sign -1 makes the sum."""
    first, second = vectors[i], vectors[j]
    p, q = scale[i], sign * scale[j]
    for t in range(first.size):
        out[t] = p * np.float64(first[t]) - q * np.float64(second[t])


@njit(nogil=True, cache=True)
def snap(value: float, quantum: float) -> float:
    """The nearest multiple of a power of two; never -0."""
    return float(np.rint(value / quantum) * quantum + 0.0)


@njit(nogil=True, cache=True)
def score(work: NDArray[np.float64], asked: float, found: float, metric: int, quantum: float) -> float:
    """How alike work[0] (squared length `asked`) and work[1] (`found`) are, in float64."""
    if metric == COSINE:
        value = dot(work, 0, 1) / np.sqrt(asked * found)
        return snap(max(-1.0, min(1.0, value)), quantum)
    if metric == INNER:
        return snap(dot(work, 0, 1), quantum)
    for t in range(work.shape[1]):
        work[2, t] = work[0, t] - work[1, t]
    return snap(-np.sqrt(dot(work, 2, 2)), quantum)


@njit(nogil=True, cache=True)
def lengths(
    vectors: NDArray[np.float32], scale: NDArray[np.float64], first: int, last: int, out: NDArray[np.float64]
) -> None:
    """Squared lengths of scaled rows [first, last), in float64."""
    work = np.zeros((1, -(-vectors.shape[1] // LANES) * LANES))
    for i in range(first, last):
        row = vectors[i]
        for t in range(row.size):
            work[0, t] = scale[i] * np.float64(row[t])
        out[i] = dot(work, 0, 0)


@njit(nogil=True, cache=True)
def pair_lengths(
    vectors: NDArray[np.float32],
    scale: NDArray[np.float64],
    sign: float,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    """Squared lengths of the differences of these pairs, from the vectors themselves, in float64."""
    work = np.zeros((1, -(-vectors.shape[1] // LANES) * LANES))
    for p in range(first.size):
        difference(vectors, scale, sign, first[p], second[p], work[0])
        out[p] = dot(work, 0, 0)


@njit(nogil=True, cache=True)
def project(
    vectors: NDArray[np.float32],
    scale: NDArray[np.float64],
    queries: NDArray[np.float64],
    first: int,
    last: int,
    out: NDArray[np.float64],
) -> None:
    """Dot products of the queries (queries, padded) with scaled rows [first, last), in float64."""
    work = np.zeros((2, queries.shape[1]))
    for q in range(queries.shape[0]):
        work[1] = queries[q]
        for i in range(first, last):
            row = vectors[i]
            for t in range(row.size):
                work[0, t] = np.float64(row[t])
            out[q, i] = scale[i] * dot(work, 0, 1)


# -- the best so far ----------------------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def keep_best(
    scores: NDArray[np.float64], first: NDArray[np.int64], second: NDArray[np.int64], filled: int, want: int
) -> int:
    """Puts the best in front, in final order: score descending, then (first, second); returns how many are kept."""
    order = np.argsort(second[:filled], kind="mergesort")
    order = order[np.argsort(first[:filled][order], kind="mergesort")]
    order = order[np.argsort(-scores[:filled][order], kind="mergesort")]
    kept = min(want, filled)
    best = order[:kept]
    scores[:kept], first[:kept], second[:kept] = scores[best], first[best], second[best]
    return kept


@njit(nogil=True, cache=True)
def push(
    value: float,
    one: int,
    two: int,
    scores: NDArray[np.float64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    filled: NDArray[np.int64],
    bars: NDArray[np.float64],
    q: int,
    want: int,
) -> None:
    """Adds an answer to the list of query q; a full list is cut to the best `want`, and its bar rises."""
    n = filled[q]
    scores[q, n], first[q, n], second[q, n] = value, one, two
    n += 1
    if n == scores.shape[1]:
        n = keep_best(scores[q], first[q], second[q], n, want)
        bars[q] = max(bars[q], scores[q, n - 1])
    filled[q] = n


# -- tiles --------------------------------------------------------------------------------------------------


@njit(nogil=True, cache=True)
def squares(
    left: NDArray[np.float32],
    low: NDArray[np.float32],
    sign: float,
    row: NDArray[np.int64],
    col: NDArray[np.int64],
    scratch: NDArray[np.float32],
) -> NDArray[np.float32]:
    """A tile of lower bounds of squared lengths of all differences (sign 1) or sums (-1), in `scratch`."""
    tile = multiply(left, row, col, scratch)
    weight = np.float32(-2.0 * sign)
    lows = low[col[0] : col[1]]
    for i in range(tile.shape[0]):
        line = tile[i]
        mine = low[row[0] + i]
        for j in range(line.size):
            line[j] = mine + lows[j] + weight * line[j]
    return tile


@njit(nogil=True, cache=True)
def inverses(
    tile: NDArray[np.float32],
    vectors: NDArray[np.float32],
    scale: NDArray[np.float64],
    h: NDArray[np.float64],
    sizes: NDArray[np.float64],
    row: int,
    col: int,
    close: float,
    out: NDArray[np.float32],
) -> int:
    """1 / length of a tile's differences, 0 for duplicates and on the diagonal; returns how many duplicates.

    Where a square is under `close` of the two vectors' own, the length is taken from the vectors directly. As tiles
    never hold too large a square, no inverse is too small but by rounding; none is too large by more than
    e / (2 close) of it. Pairs below the diagonal are left 0.
    """
    work = np.zeros((1, -(-vectors.shape[1] // LANES) * LANES))
    found = 0
    for i in range(tile.shape[0]):
        line, to = tile[i], out[i]
        a = row + i
        for j in range(line.size):
            b = col + j
            if b <= a:
                to[j] = np.float32(0)
            elif line[j] < close * (h[a] + h[b]):
                difference(vectors, scale, 1.0, a, b, work[0])
                square = dot(work, 0, 0)
                if square <= NEAR * NEAR * max(sizes[a], sizes[b]):
                    to[j] = np.float32(0)
                    found += 1
                else:
                    to[j] = np.float32(1.0 / np.sqrt(square))
            else:
                to[j] = np.float32(1.0) / np.sqrt(line[j])
    return found


@njit(nogil=True, cache=True)
def nearest(
    left: NDArray[np.float32],
    low: NDArray[np.float32],
    spans: NDArray[np.int64],
    scratch: NDArray[np.float32],
    least: NDArray[np.float32],
) -> None:
    """Lowers `least` (genes,) to the smallest lower bound of each gene's squared distances in these tiles."""
    for at in range(spans.shape[0]):
        row, col = spans[at, 0], spans[at, 1]
        tile = squares(left, low, 1.0, row, col, scratch)
        own = least[col[0] : col[1]]
        for i in range(tile.shape[0]):
            line = tile[i]
            start = 0
            if row[0] == col[0]:
                start = i + 1
            smallest = np.float32(np.inf)
            for j in range(start, line.size):
                value = line[j]
                smallest = value if value < smallest else smallest
                own[j] = value if value < own[j] else own[j]
            g = row[0] + i
            least[g] = smallest if smallest < least[g] else least[g]


@njit(nogil=True, cache=True)
def any_hit(
    tile: NDArray[np.float32],
    i: int,
    j: int,
    theirs: NDArray[np.float32],
    q: int,
    col: int,
    mine: np.float32,
    slop: np.float32,
    floor: np.float32,
    kind: int,
) -> bool:
    """Whether any of the STRETCH pairs from [i, j] on may reach the floor of query q; no slices, they cost more.

    kind   NEARNESS: length^2 - 2 (s_i - s_j) <= T^2 - |q|^2; SQUARES: (s_i - s_j)^2 >= T^2 length^2;
           INVERSES: (s_i - s_j) / length >= T.
    """
    line, at, ask, place = np.uint64(i), np.uint64(j), np.uint64(q), np.uint64(col)
    hits = np.int32(0)
    if kind == NEARNESS:
        for k in range(STRETCH):
            gap = abs(mine - theirs[ask, place + np.uint64(k)]) + slop
            hits |= np.int32(tile[line, at + np.uint64(k)] - np.float32(2) * gap <= floor)
    elif kind == SQUARES:
        for k in range(STRETCH):
            gap = abs(mine - theirs[ask, place + np.uint64(k)]) + slop
            hits |= np.int32(gap * gap >= floor * tile[line, at + np.uint64(k)])
    else:
        for k in range(STRETCH):
            gap = abs(mine - theirs[ask, place + np.uint64(k)]) + slop
            hits |= np.int32(gap * tile[line, at + np.uint64(k)] >= floor)
    return bool(hits != 0)


@njit(nogil=True, cache=True)
def is_hit(value: np.float32, gap: np.float32, floor: np.float32, kind: int) -> bool:
    """`any_hit` of one pair."""
    if kind == NEARNESS:
        return bool(value - np.float32(2) * gap <= floor)
    if kind == SQUARES:
        return bool(gap * gap >= floor * value)
    return bool(gap * value >= floor)


@njit(nogil=True, cache=True)
def scan(
    tile: NDArray[np.float32],
    holds: int,
    box: NDArray[np.int64],
    row: int,
    col: int,
    rows: NDArray[np.float32],
    cols: NDArray[np.float32],
    slop: NDArray[np.float32],
    floors: NDArray[np.float32],
    state: Any,
) -> None:
    """Scans part of a tile for every query, and scores what may reach its bar.

    tile      whose [i, j] is of genes row + i and col + j; SQUARES or INVERSES as `holds` says.
    box       [first row, last row, first column, last column) of the tile.
    rows, cols  (queries, genes) float32: (s_i - s_j) is rows[q, i] - cols[q, j].
    slop      (queries,) what rounding s may take off a gap.
    floors    (queries,) float32, set here from the bars.
    state     what `consider` needs.
    """
    kind = NEARNESS if state[3] == EUCLIDEAN else holds
    for q in range(rows.shape[0]):
        floors[q] = floor_of(state, q, holds)
        for i in range(box[0], box[1]):
            a = row + i
            mine = rows[q, a]
            j = max(box[2], a + 1 - col)
            while j < box[3]:
                end = min(j + STRETCH, box[3])
                if end - j < STRETCH or any_hit(tile, i, j, cols, q, col + j, mine, slop[q], floors[q], kind):
                    for k in range(j, end):
                        gap = abs(mine - cols[q, col + k]) + slop[q]
                        if is_hit(tile[i, k], gap, floors[q], kind) and consider(q, a, col + k, state):
                            floors[q] = floor_of(state, q, holds)
                j += STRETCH


@njit(nogil=True, cache=True)
def floor_of(state: Any, q: int, holds: int) -> np.float32:
    """What a tile's entry is compared with, for the bar of a query; on the safe side in float32.

    Cosine: T^2 of squares, T of inverses (which are never too small), everything if T <= TINY. Distance: its square
    less |q|^2.
    """
    metric, asked, bars = state[3], state[6], state[10]
    bar = bars[q]
    if metric == EUCLIDEAN:
        if bar == -np.inf:
            return np.float32(np.inf)
        most = bar * bar - asked[q]
        return np.float32(most + 2e-6 * (bar * bar + asked[q]))
    if bar <= TINY:
        return np.float32(0) if holds == SQUARES else np.float32(-1)
    if holds == SQUARES:
        return np.float32(bar * bar * (1 - 1e-6))
    return np.float32(bar * (1 - 1e-6))


@njit(nogil=True, cache=True)
def consider(q: int, i: int, j: int, state: Any) -> bool:
    """Scores the differences i - j and j - i (or the sum) for a query; keeps what counts. True if the bar rose."""
    vectors, scale, sizes, metric, sign, queries, asked, quantum, taken, allowed, bars, want, least, work, lists = state
    scores, first, second, filled = lists
    if taken[q, 0] == i or taken[q, 1] == i or taken[q, 0] == j or taken[q, 1] == j:
        return False
    difference(vectors, scale, sign, i, j, work[1])
    square = dot(work, 1, 1)
    if square < least or square <= NEAR * NEAR * max(sizes[i], sizes[j]):
        return False
    work[0] = queries[q]
    before = bars[q]
    value = score(work, asked[q], square, metric, quantum[q])
    if sign < 0:
        if value >= bars[q] and allowed[q, 0, i] and allowed[q, 0, j]:
            push(value, i, j, scores, first, second, filled, bars, q, want)
        return bool(bars[q] != before)
    if value >= bars[q] and allowed[q, 0, i] and allowed[q, 1, j]:
        push(value, i, j, scores, first, second, filled, bars, q, want)
    if metric == EUCLIDEAN:
        for t in range(work.shape[1]):
            work[1, t] = -work[1, t]
        value = score(work, asked[q], square, metric, quantum[q])
    else:
        value = 0.0 - value
    if value >= bars[q] and allowed[q, 0, j] and allowed[q, 1, i]:
        push(value, j, i, scores, first, second, filled, bars, q, want)
    return bool(bars[q] != before)


@njit(nogil=True, cache=True)
def consider_all(q: int, genes: NDArray[np.int64], state: Any) -> None:
    """Scores all pairs of the genes listed."""
    for i in range(genes.size):
        for j in range(i + 1, genes.size):
            consider(q, genes[i], genes[j], state)


@njit(nogil=True, cache=True)
def scan_tiles(
    left: NDArray[np.float32],
    low: NDArray[np.float32],
    sign: float,
    spans: NDArray[np.int64],
    rows: NDArray[np.float32],
    cols: NDArray[np.float32],
    slop: NDArray[np.float32],
    floors: NDArray[np.float32],
    scratch: NDArray[np.float32],
    state: Any,
) -> None:
    """Computes tiles (spans, as `pick.scan_above` has them) and scans them."""
    box = np.zeros(4, np.int64)
    for t in range(spans.shape[0]):
        row, col = spans[t, 0], spans[t, 1]
        tile = squares(left, low, sign, row, col, scratch)
        box[1], box[3] = tile.shape[0], tile.shape[1]
        scan(tile, SQUARES, box, row[0], col[0], rows, cols, slop, floors, state)


@njit(nogil=True, cache=True)
def scan_band(
    band: NDArray[np.float32],
    start: int,
    first: int,
    last: int,
    width: int,
    rows: NDArray[np.float32],
    cols: NDArray[np.float32],
    slop: NDArray[np.float32],
    floors: NDArray[np.float32],
    state: Any,
) -> None:
    """Scans rows [first, last) of a band of stored inverses, whose [0, 0] is gene `start` with itself."""
    box = np.array([first, last, 0, 0])
    for col in range(0, band.shape[1], width):
        box[2], box[3] = col, min(col + width, band.shape[1])
        scan(band, INVERSES, box, start, start, rows, cols, slop, floors, state)


@njit(nogil=True, cache=True)
def greedy(members: NDArray[np.int64], genes: int, limit: int, k: int) -> NDArray[np.int64]:
    """The first k answers, in their order, such that no gene is in more than `limit` of them.

    members   (answers, genes of an answer) positions.
    """
    counts = np.zeros(genes, np.int64)
    chosen = np.empty(min(k, members.shape[0]), np.int64)
    n = 0
    for answer in range(members.shape[0]):
        if n == k:
            break
        free = True
        for gene in members[answer]:
            free &= counts[gene] < limit
        if free:
            for gene in members[answer]:
                counts[gene] += 1
            chosen[n] = answer
            n += 1
    return chosen[:n]
