"""The search for all analogies of one gene with all others, or of all with all, without looking at most of them.

A lane is one difference a - b, of length D, with q = (a - b) / D. With s_c = q.x_c and p_c = x_c - s_c q, a
second difference c - d has cos = (s_c - s_d) / |x_c - x_d|, and |x_c - x_d|^2 = (s_c - s_d)^2 + |p_c - p_d|^2.
To reach a bar T > 0 it must pass each of these, and what passes all is scored in float64:

1. **Reach.** s_c - s_d >= T |x_c - x_d| >= T max(near_c, near_d, least), where near_c is the distance of c to
   its nearest gene and `least` the shortest length that counts. As s_d >= min s, the gene c takes no part
   unless s_c - min s >= T max(near_c, least); d likewise from max s. With d in the order of s, the loop over d
   ends at the first that is too near. min and max may then be taken over what is left, and again.
2. **The shorter one asks.** If all analogies are wanted, each is found from the shorter of its two differences,
   so `least` is D itself: most lanes end when max s - min s < T D.
3. **Distance from the axis.** cos >= T means |p_c - p_d| <= tan(theta) (s_c - s_d), with cos(theta) = T. By the
   triangle inequality | |p_c - v| - |p_d - v| | is no more, for any point v. Two are used: v = 0, where |p_c|^2
   = |x_c|^2 - s_c^2, and v = p_a = p_b, where |p_c - p_a|^2 = |x_c - x_a|^2 - (s_c - s_a)^2. Both come from
   rows of the Gram matrix that the lane has at hand.

Slack. s comes from two float32 rows of the Gram matrix, each entry within e H^2 / 2 (`differences`: e, H the
largest length), so a gap s_c - s_d is off by at most 2 e H^2 / D + 8 u H =: g. Where g is over a twentieth of T
`least`, s is taken from the vectors instead: then g = 2 e H. Every test of a gap gives g. A squared distance
from the axis is off by at most w = 2 e H^2 + 2 H g, its root by at most w / root and by sqrt(w); every test of
roots gives twice that.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from g2v_dask.kernels.differences import COSINE, NEAR, TINY, difference, padded, push, score
from g2v_dask.kernels.pick import STRETCH, dot

U = 2.0**-24
COARSE = 0.05  # share of the least gap that slack may be
NARROW = 0.1  # of the range of distances from the axis: below, d is sorted by it
BUCKETS = 512


@njit(nogil=True, cache=True)
def widest(
    mine: NDArray[np.float32], theirs: NDArray[np.float32], first: int, last: int, low: NDArray[Any], high: NDArray[Any]
) -> None:
    """Lowers `low` and raises `high` (each STRETCH long) to the differences of two rows over [first, last)."""
    start = first
    while start + STRETCH <= last:
        x, y = mine[start : start + STRETCH], theirs[start : start + STRETCH]
        for k in range(STRETCH):
            v = x[k] - y[k]
            low[k] = v if v < low[k] else low[k]
            high[k] = v if v > high[k] else high[k]
        start += STRETCH
    for c in range(start, last):
        v = mine[c] - theirs[c]
        low[0] = v if v < low[0] else low[0]
        high[0] = v if v > high[0] else high[0]


@njit(nogil=True, cache=True)
def extent(
    mine: NDArray[np.float32], theirs: NDArray[np.float32], a: int, b: int, low: NDArray[Any], high: NDArray[Any]
) -> tuple[np.float32, np.float32]:
    """Smallest and largest difference of two rows, over all genes but a and b."""
    for k in range(STRETCH):
        low[k], high[k] = np.float32(np.inf), np.float32(-np.inf)
    one, two = min(a, b), max(a, b)
    widest(mine, theirs, 0, one, low, high)
    widest(mine, theirs, one + 1, two, low, high)
    widest(mine, theirs, two + 1, mine.size, low, high)
    width = STRETCH
    while width > 1:
        width //= 2
        for k in range(width):
            low[k] = min(low[k], low[k + width])
            high[k] = max(high[k], high[k + width])
    return low[0], high[0]


@njit(nogil=True, cache=True)
def select(
    s: NDArray[np.float32],
    near: NDArray[np.float32],
    sign: np.float32,
    end: np.float32,
    bar: np.float32,
    least: np.float32,
    a: int,
    b: int,
    out: NDArray[np.int32],
) -> int:
    """Lists the genes that are far enough from the other end, but a and b; returns how many.

    Far enough: sign (s - end) >= T max(near, least). No branch: a quarter of all may pass.
    """
    n = 0
    for c in range(s.size):
        gap = sign * (s[c] - end)
        out[n] = c
        n += int((gap >= bar * near[c]) & (gap >= least) & (c != a) & (c != b))
    return n


@njit(nogil=True, cache=True)
def narrow(
    s: NDArray[np.float32],
    near: NDArray[np.float32],
    sign: np.float32,
    end: np.float32,
    bar: np.float32,
    least: np.float32,
    genes: NDArray[np.int32],
    n: int,
) -> int:
    """`select` among the n genes listed, in place."""
    kept = 0
    for k in range(n):
        c = genes[k]
        gap = sign * (s[c] - end)
        genes[kept] = c
        kept += int((gap >= bar * near[c]) & (gap >= least))
    return kept


@njit(nogil=True, cache=True)
def ends(s: NDArray[np.float32], genes: NDArray[np.int32], n: int) -> tuple[np.float32, np.float32]:
    """Smallest and largest s of the genes listed."""
    low, high = np.float32(np.inf), np.float32(-np.inf)
    for k in range(n):
        low, high = min(low, s[genes[k]]), max(high, s[genes[k]])
    return low, high


@njit(nogil=True, cache=True)
def without(
    genes: NDArray[np.int32],
    n: int,
    products: NDArray[np.float32],
    mean: NDArray[np.float64],
    sizes: NDArray[np.float64],
    h: NDArray[np.float32],
    other: int,
    whole: float,
    ceiling: float,
    error: float,
) -> int:
    """Drops the genes whose cosine with `other` is surely over the ceiling; what is near it is settled later.

    `products` are of centred rows; with `mean` (each centred row times the mean) and `whole` (the mean's square)
    they give the products of the rows as stored.
    """
    kept = 0
    for k in range(n):
        c = genes[k]
        size = np.sqrt(sizes[c] * sizes[other])
        inner = np.float64(products[c]) + mean[c] + mean[other] + whole
        slack = error * (np.float64(h[c]) + h[other] + abs(mean[c]) + abs(mean[other]) + whole)
        if size == 0 or inner - slack <= ceiling * size:
            genes[kept] = c
            kept += 1
    return kept


@njit(nogil=True, cache=True)
def mark(
    start: int,
    s: NDArray[np.float32],
    near: NDArray[np.float32],
    p: NDArray[np.float32],
    v: NDArray[np.float32],
    mine: NDArray[np.float32],
    bar: np.float32,
    marks: NDArray[np.uint8],
) -> None:
    """Marks each d of the STRETCH from `start` on that passes the tests against the c whose numbers are in `mine`."""
    at = np.uint64(start)
    s_c, p_c, v_c, tan, room, need = mine[0], mine[1], mine[2], mine[3], mine[4], mine[5]
    for k in range(STRETCH):
        d = at + np.uint64(k)
        gap = s_c - s[d]
        reach = tan * gap + room
        far = np.uint8(gap >= bar * near[d]) & np.uint8(gap >= need)
        marks[k] = far & np.uint8(abs(p_c - p[d]) <= reach) & np.uint8(abs(v_c - v[d]) <= reach)


@njit(nogil=True, cache=True)
def distances(
    s: NDArray[np.float32],
    h: NDArray[np.float32],
    row_a: NDArray[np.float32],
    h_a: np.float32,
    s_a: np.float32,
    p: NDArray[np.float32],
    v: NDArray[np.float32],
) -> None:
    """Every gene's distance from the axis, seen from 0 and from a."""
    zero, two = np.float32(0), np.float32(2)
    for c in range(s.size):
        beside = s[c] - s_a
        p[c] = np.sqrt(max(h[c] - s[c] * s[c], zero))
        v[c] = np.sqrt(max(h[c] + h_a - two * row_a[c] - beside * beside, zero))


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def product(left: NDArray[np.float32], c: int, d: int) -> np.float32:
    """The product of two rows in float32, in any order: what is made of it allows for that."""
    x, y = left[c], left[d]
    total = np.float32(0)
    for t in range(x.size):
        total += x[t] * y[t]
    return total


@njit(nogil=True, cache=True)
def bucket_of(value: np.float32, low: np.float32, per: np.float32) -> int:
    """The bucket of a value; larger values are never in smaller buckets."""
    return int(min(max((value - low) * per, np.float32(0)), np.float32(BUCKETS - 1)))


@njit(nogil=True, cache=True)
def bucket_sort(
    keys: NDArray[np.float32], n: int, order: NDArray[np.int32], starts: NDArray[np.int32]
) -> tuple[np.float32, np.float32]:
    """Orders n keys by bucket (`starts`: where each begins); returns what `bucket_of` needs."""
    low, high = keys[0], keys[0]
    for k in range(n):
        low, high = min(low, keys[k]), max(high, keys[k])
    per = np.float32(BUCKETS) / (high - low) if high > low else np.float32(0)
    starts[:] = 0
    for k in range(n):
        starts[bucket_of(keys[k], low, per) + 1] += 1
    for b in range(BUCKETS):
        starts[b + 1] += starts[b]
    for k in range(n):
        b = bucket_of(keys[k], low, per)
        order[starts[b]] = k
        starts[b] += 1
    for b in range(BUCKETS, 0, -1):
        starts[b] = starts[b - 1]
    starts[0] = 0
    return low, per


@njit(nogil=True, cache=True)
def search(
    genes_a: NDArray[np.int64],
    rows_a: NDArray[np.float32],
    first_b: int,
    rows_b: NDArray[np.float32],
    space: Any,
    rules: Any,
    buffers: Any,
    lists: Any,
    counts: NDArray[np.int64],
) -> None:
    """Searches the lanes of each of `genes_a` with the genes from `first_b` on.

    rows_a, rows_b   rows of the Gram matrix of the centred vectors, float32.
    space     (vectors, scale, sizes, left, low, h, near, mean, whole, longest, e): as stored; what they are multiplied
              by; squared lengths then; centred, float32; squared lengths then, at least; squared lengths,
              float32; distance to the nearest gene, at least; product with the mean; the mean's square; the
              longest centred; `differences.relative_error`; the middle of the distances to the nearest.
    rules     (bars, want, shorter, shortest, ceiling): the score to reach; how many are wanted; whether each analogy is
              found from the shorter of its differences, and a < b; the squared length that counts; the limit
              of cos(a, c) and cos(b, d).
    buffers   scratch that the lanes of a thread share (`scratch`).
    lists     (scores, first, second, filled); first is a * genes + b, second c * genes + d.
    counts    lanes; those within reach; tests of distances from the axis; of lengths; scores.
    """
    for t in range(rows_b.shape[0]):
        for r in range(genes_a.size):
            a, b = genes_a[r], first_b + t
            if a != b and (a < b or not rules[2]):
                lane(a, b, rows_a[r], rows_b[t], space, rules, buffers, lists, counts)


@njit(nogil=True, cache=True)
def lane(
    a: int,
    b: int,
    row_a: NDArray[np.float32],
    row_b: NDArray[np.float32],
    space: Any,
    rules: Any,
    buffers: Any,
    lists: Any,
    counts: NDArray[np.int64],
) -> None:
    """One lane: its reach, the genes that can be c and d, their join."""
    vectors, scale, sizes, left, _, h, near, mean, whole, longest, e, _ = space
    bars, want, shorter, shortest, ceiling = rules
    work, low, high, s, zeros, list_c, list_d = buffers[:7]
    counts[0] += 1
    difference(vectors, scale, 1.0, a, b, work[0])
    square = dot(work, 0, 0)
    if square < shortest or square <= NEAR * NEAR * max(sizes[a], sizes[b]):
        return
    if bars[0] <= TINY:  # everything counts
        for c in range(s.size):
            for d in range(s.size):
                if c != a and c != b and d != a and d != b:
                    settle(a, b, c, d, space, rules, work, lists, counts)
        return
    length = np.sqrt(square)
    bar = np.float32(bars[0] * (1 - 4 * U))
    need = np.float32(bars[0] * (length if shorter else np.sqrt(shortest)) * (1 - 4 * U))
    slack = 2 * e * longest * longest / length + 8 * U * longest
    if slack > COARSE * max(need, bar * space[11]) and slack > 2 * e * longest:
        slack = 2 * e * longest
        for t in range(vectors.shape[1]):
            work[1, t] = work[0, t] / length
        np.dot(left, work[1, : vectors.shape[1]].astype(np.float32), s)
        least, most = extent(s, zeros, a, b, low, high)
    else:
        inverse = np.float32(1 / length)
        least, most = extent(row_a, row_b, a, b, low, high)
        least, most = least * inverse, most * inverse
        if most - least + slack < need:
            return
        for c in range(s.size):
            s[c] = (row_a[c] - row_b[c]) * inverse
    counts[1] += 1
    give, plus, minus = np.float32(slack), np.float32(1), np.float32(-1)
    nc = select(s, near, plus, least - give, bar, need, a, b, list_c)
    nd = select(s, near, minus, most + give, bar, need, a, b, list_d)
    if ceiling < 1:
        nc = without(list_c, nc, row_a, mean, sizes, h, a, whole, ceiling, 2 * e)
        nd = without(list_d, nd, row_b, mean, sizes, h, b, whole, ceiling, 2 * e)
    for _ in range(2):
        if nc == 0 or nd == 0:
            return
        before = nc + nd
        nc = narrow(s, near, plus, ends(s, list_d, nd)[0] - give, bar, need, list_c, nc)
        nd = narrow(s, near, minus, ends(s, list_c, nc)[1] + give, bar, need, list_d, nd)
        if nc + nd == before:
            break
    if nc > 0 and nd > 0:
        join(a, b, nc, nd, row_a, slack, bar, need, space, rules, buffers, lists, counts)


@njit(nogil=True, cache=True)
def join(
    a: int,
    b: int,
    nc: int,
    nd: int,
    row_a: NDArray[np.float32],
    slack: float,
    bar: np.float32,
    need: np.float32,
    space: Any,
    rules: Any,
    buffers: Any,
    lists: Any,
    counts: NDArray[np.int64],
) -> None:
    """Tests the listed c with the listed d, whole stretches at once, and settles the pairs that pass."""
    left, low, h, near, longest, e = space[3], space[4], space[5], space[6], space[9], space[10]
    work, _, _, s, _, list_c, list_d, order, sorted_d, starts, numbers, marks, words = buffers
    p, v, key, sd, near_d, sorted_p, sorted_v, mine = numbers
    give = np.float32(slack)
    distances(s, h, row_a, h[a], s[a], p, v)
    least = np.float32(np.inf)
    first_p, last_p = np.float32(np.inf), np.float32(0)
    for k in range(nd):
        d = list_d[k]
        least = min(least, p[d], v[d])
        first_p, last_p = min(first_p, p[d]), max(last_p, p[d])
    for k in range(nc):
        least = min(least, p[list_c[k]], v[list_c[k]])
    error = 2 * (2 * e * longest * longest + 2 * longest * slack)
    off = min(np.sqrt(error), error / np.float64(least)) if least > 0 else np.sqrt(error)
    room = np.float32(2.0002 * off + 8 * U * longest)
    tan = np.float32(np.sqrt(max(1 - np.float64(bar) ** 2, 0.0)) / np.float64(bar) * (1 + 8 * U))
    low_d, _ = ends(s, list_d, nd)
    _, high_c = ends(s, list_c, nc)
    by_axis = 2 * (tan * (high_c - low_d + give) + room) < np.float32(NARROW) * (last_p - first_p)
    for k in range(nd):
        key[k] = p[list_d[k]] if by_axis else s[list_d[k]] - give
    low_key, per = bucket_sort(key, nd, order, starts)
    for k in range(nd):
        d = list_d[order[k]]
        sorted_d[k] = d
        sd[k], near_d[k], sorted_p[k], sorted_v[k] = s[d] - give, near[d], p[d], v[d]
    sd[nd : nd + STRETCH] = np.inf  # stretches are whole; what is beyond the list passes no test
    mine[3], mine[4] = tan, room
    square = bar * bar
    for k in range(nc):
        c = list_c[k]
        mine[0], mine[1], mine[2], mine[5] = s[c], p[c], v[c], max(need, bar * near[c])
        if by_axis:
            width = np.float32(1.0001) * (tan * (s[c] - low_d + give) + room)
            start = starts[bucket_of(p[c] - width, low_key, per)]
            end = starts[bucket_of(p[c] + width, low_key, per) + 1]
        else:
            start, end = 0, starts[bucket_of(mine[0] - mine[5], low_key, per) + 1]
        counts[2] += end - start
        for j in range(start, end, STRETCH):
            mark(j, sd, near_d, sorted_p, sorted_v, mine, bar, marks)
            for w in range(words.size):
                if words[w] == 0:
                    continue
                for x in range(8 * w, 8 * w + 8):
                    if marks[x] == 0:
                        continue
                    d = sorted_d[j + x]
                    gap = mine[0] - sd[j + x]
                    counts[3] += 1
                    # in the sums a rounding more than in a tile: low has room for 16
                    if gap * gap >= square * (low[c] + low[d] - np.float32(2) * product(left, c, d)):
                        settle(a, b, c, d, space, rules, work, lists, counts)


@njit(nogil=True, cache=True)
def over(space: Any, i: int, j: int, ceiling: float, work: NDArray[np.float64]) -> bool:
    """Whether the cosine of two vectors as stored is over the ceiling; with a zero vector it is 0."""
    vectors, scale, sizes = space[0], space[1], space[2]
    size = np.sqrt(sizes[i] * sizes[j])
    for t in range(vectors.shape[1]):
        work[2, t] = scale[i] * np.float64(vectors[i, t])
        work[3, t] = scale[j] * np.float64(vectors[j, t])
    value = dot(work, 2, 3) / size if size > 0 else 0.0
    return bool(np.rint(value * 2.0**40) / 2.0**40 > ceiling)


@njit(nogil=True, cache=True)
def settle(
    a: int,
    b: int,
    c: int,
    d: int,
    space: Any,
    rules: Any,
    work: NDArray[np.float64],
    lists: Any,
    counts: NDArray[np.int64],
) -> None:
    """Scores one analogy in float64 from the vectors, and keeps it if it reaches the bar and passes the filters."""
    vectors, scale, sizes = space[0], space[1], space[2]
    bars, want, shorter, shortest, ceiling = rules
    scores, first, second, filled = lists
    if c == d:
        return
    counts[4] += 1
    difference(vectors, scale, 1.0, c, d, work[1])
    square = dot(work, 1, 1)
    if square < shortest or square <= NEAR * NEAR * max(sizes[c], sizes[d]):
        return
    asked = dot(work, 0, 0)
    genes = sizes.size
    if shorter:
        # of two of one length, the one whose genes come first asks
        mine, theirs = min(a, b) * genes + max(a, b), min(c, d) * genes + max(c, d)
        if square < asked or (square == asked and theirs < mine):
            return
    value = score(work, asked, square, COSINE, 2.0**-40)
    if value < bars[0]:
        return
    if ceiling < 1 and (over(space, a, c, ceiling, work) or over(space, b, d, ceiling, work)):
        return
    if not shorter:
        push(value, a * genes + b, c * genes + d, scores, first, second, filled, bars, 0, want)
        return
    # of the four equal forms the one with the smallest gene first
    smallest = min(min(a, b), min(c, d))
    if smallest == b:
        a, b, c, d = b, a, d, c
    elif smallest == c:
        a, b, c, d = c, d, a, b
    elif smallest == d:
        a, b, c, d = d, c, b, a
    push(value, a * genes + b, c * genes + d, scores, first, second, filled, bars, 0, want)


@njit(nogil=True, cache=True)
def sample(
    genes_a: NDArray[np.int64],
    rows_a: NDArray[np.float32],
    genes_b: NDArray[np.int64],
    rows_b: NDArray[np.float32],
    ends_each: int,
    space: Any,
    rules: Any,
    buffers: Any,
    lists: Any,
    counts: NDArray[np.int64],
) -> None:
    """Scores, for each lane, the genes of largest s with those of smallest: what they reach is reached."""
    sizes, work, s = space[2], buffers[0], buffers[3]
    top, bottom = np.empty(ends_each, np.int64), np.empty(ends_each, np.int64)
    for t in range(genes_b.size):
        for r in range(genes_a.size):
            a, b = genes_a[r], genes_b[t]
            if a == b or (rules[2] and b < a):
                continue
            difference(space[0], space[1], 1.0, a, b, work[0])
            square = dot(work, 0, 0)
            if square < rules[3] or square <= NEAR * NEAR * max(sizes[a], sizes[b]):
                continue
            s[:] = rows_a[r] - rows_b[t]
            extremes(s, a, b, np.float32(1), top)
            extremes(s, a, b, np.float32(-1), bottom)
            for c in top:
                for d in bottom:
                    if c >= 0 and d >= 0:
                        settle(a, b, int(c), int(d), space, rules, work, lists, counts)


@njit(nogil=True, cache=True)
def extremes(s: NDArray[np.float32], a: int, b: int, sign: np.float32, out: NDArray[np.int64]) -> None:
    """The genes of largest sign * s but a and b, in no order; -1 where there are no more."""
    out[:] = -1
    least, place, filled = np.float32(-np.inf), 0, 0
    for c in range(s.size):
        value = sign * s[c]
        if value <= least or c == a or c == b:
            continue
        if filled < out.size:
            out[filled] = c
            filled += 1
        else:
            out[place] = c
        if filled == out.size:
            least, place = np.float32(np.inf), 0
            for k in range(out.size):
                if sign * s[out[k]] < least:
                    least, place = sign * s[out[k]], k


def scratch(genes: int, components: int) -> Any:
    """The buffers of one thread."""
    small = np.empty(STRETCH, np.float32), np.empty(STRETCH, np.float32)
    lists = tuple(np.empty(genes, np.int32) for _ in range(4))
    numbers = tuple(np.zeros(genes + STRETCH, np.float32) for _ in range(8))
    work = np.zeros((4, padded(components)))
    s, zeros = np.empty(genes, np.float32), np.zeros(genes, np.float32)
    starts = np.zeros(BUCKETS + 1, np.int32)
    words = np.zeros(STRETCH // 8, np.uint64)
    return (work, *small, s, zeros, *lists, starts, numbers, words.view(np.uint8), words)
