"""Compiled loops under `correlation`: standardise, multiply a tile, pick from it, order what was picked.

Whole batches of tiles run inside one compiled call without the GIL. A Python loop over tiles costs 15 % of
the SGEMM at tiles of 512 and more than the SGEMM of short vectors.

Three rules hold for every loop here. No fastmath: sums are taken in the written order, so that float64
results are equal on any CPU (LLVM fuses no multiply-add unless told so). Where indices are added they are
unsigned, or a slice is indexed by its own `range`: for a sum of signed indices Numba emits a wraparound test,
and the SIMD loop is lost (8 x). No slices per pair: each takes a reference, and threads wait for the counter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  Numba's np.dot calls this BLAS; loaded before anyone limits threads
from numba import njit
from numpy.typing import NDArray

LANES = 8  # float64 numbers of one AVX-512 register; rows of unit vectors are padded with zeros to a multiple
STRETCH = 64  # columns looked at together: 0.2 % of pairs are one in eight of these
GENES_AT_ONCE = 32  # their samples stay in L1 or L2 between the passes


@njit(nogil=True, cache=True)
def standardise(expression: NDArray[np.float32], first: int, last: int, unit: NDArray[np.float64]) -> int:
    """Writes genes [first, last) as float64 rows of length 1; returns the first bad gene, or -1.

    A gene is bad if it is constant or not finite. Sums run over samples in order.
    """
    samples = expression.shape[0]
    for start in range(first, last, GENES_AT_ONCE):
        width = min(GENES_AT_ONCE, last - start)
        mean = np.zeros(width)
        length = np.zeros(width)
        low = expression[0, start : start + width].copy()
        high = low.copy()
        for i in range(samples):
            row = expression[i, start : start + width]
            for g in range(width):
                mean[g] += np.float64(row[g])
                low[g] = min(low[g], row[g])
                high[g] = max(high[g], row[g])
        for g in range(width):
            mean[g] /= samples
        for i in range(samples):
            row = expression[i, start : start + width]
            for g in range(width):
                d = np.float64(row[g]) - mean[g]
                length[g] += d * d
        for g in range(width):
            length[g] = np.sqrt(length[g])
            # The mean of a constant column is not its value to the last bit: compare values, not the length.
            if low[g] == high[g] or not (0.0 < length[g] < np.inf):
                return start + g
        for i in range(0, samples, LANES):
            # Eight samples of a gene at once: one whole cache line of `unit`.
            rows = expression[i : i + LANES, start : start + width]
            for g in range(width):
                line = unit[start + g, i : i + LANES]
                for q in range(rows.shape[0]):
                    line[q] = (np.float64(rows[q, g]) - mean[g]) / length[g]
    return -1


@njit(nogil=True, cache=True)
def dot(unit: NDArray[np.float64], a: int, b: int) -> float:
    """Float64 dot of two padded rows: eight partial sums, combined in one order."""
    i, j, one = np.uint64(a), np.uint64(b), np.uint64(1)
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = 0.0
    k, end = np.uint64(0), np.uint64(unit.shape[1])
    while k < end:
        s0 += unit[i, k] * unit[j, k]
        k += one
        s1 += unit[i, k] * unit[j, k]
        k += one
        s2 += unit[i, k] * unit[j, k]
        k += one
        s3 += unit[i, k] * unit[j, k]
        k += one
        s4 += unit[i, k] * unit[j, k]
        k += one
        s5 += unit[i, k] * unit[j, k]
        k += one
        s6 += unit[i, k] * unit[j, k]
        k += one
        s7 += unit[i, k] * unit[j, k]
        k += one
    return ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))


@njit(nogil=True, cache=True)
def reaches(values: NDArray[np.float32], floor: np.float32) -> bool:
    """Whether any value is at least `floor`. An integer sum of comparisons: SIMD without fastmath."""
    hits = np.int32(0)
    for k in range(values.size):
        hits |= np.int32(values[k] >= floor)
    return bool(hits != 0)


@njit(nogil=True, cache=True)
def reaches_either(values: NDArray[np.float32], floor: np.float32, floors: NDArray[np.float32]) -> bool:
    """Whether any value is at least `floor`, or at least its own of `floors`."""
    hits = np.int32(0)
    for k in range(values.size):
        hits |= np.int32(values[k] >= floor) | np.int32(values[k] >= floors[k])
    return bool(hits != 0)


@njit(nogil=True, cache=True)
def multiply(
    left: NDArray[np.float32], row: NDArray[np.int64], col: NDArray[np.int64], scratch: NDArray[np.float32]
) -> NDArray[np.float32]:
    """One tile of `left` times its transpose, in `scratch`."""
    rows = left[row[0] : row[1]]
    cols = left[col[0] : col[1]]
    product = scratch[: rows.shape[0] * cols.shape[0]].reshape((rows.shape[0], cols.shape[0]))
    np.dot(rows, cols.T, product)
    return product


@njit(nogil=True, cache=True)
def scan_above(
    left: NDArray[np.float32],
    unit: NDArray[np.float64],
    spans: NDArray[np.int64],
    at: int,
    last: int,
    floor: np.float32,
    threshold: float,
    scratch: NDArray[np.float32],
    gene_a: NDArray[np.int32],
    gene_b: NDArray[np.int32],
    r: NDArray[np.float64],
) -> tuple[int, int]:
    """Picks pairs out of tiles [at, last); returns the next tile and the count of pairs written.

    `spans` (tiles, 2, 2) are genes [from, to) of rows and of columns. A product of at least `floor` is a
    candidate, and its float64 dot decides. Stops early, between tiles, when the output may not hold the next.
    """
    n = 0
    while at < last:
        row, col = spans[at, 0], spans[at, 1]
        if n + (row[1] - row[0]) * (col[1] - col[0]) > r.size:
            break
        product = multiply(left, row, col, scratch)
        on_diagonal = row[0] == col[0]
        for i in range(product.shape[0]):
            line = product[i]
            for j in range(i + 1 if on_diagonal else 0, line.size, STRETCH):
                stretch = line[j : j + STRETCH]
                if not reaches(stretch, floor):
                    continue
                for q in range(stretch.size):
                    if stretch[q] >= floor:
                        b = col[0] + j + q
                        exact = dot(unit, row[0] + i, b)
                        if exact >= threshold:
                            gene_a[n] = row[0] + i
                            gene_b[n] = b
                            r[n] = exact
                            n += 1
        at += 1
    return at, n


@njit(nogil=True, cache=True)
def pack(value: np.float32, gene: int) -> np.int64:
    """A float32 and a gene as one integer; integers are ordered as their values are."""
    bits = np.int64(np.float32(value).view(np.int32))
    if bits < 0:
        bits ^= np.int64(0x7FFFFFFF)
    return (bits << 32) | np.int64(gene)


@njit(nogil=True, cache=True)
def value_of(key: np.int64) -> np.float32:
    """The float32 in a packed integer."""
    bits = key >> 32
    if bits < 0:
        bits ^= np.int64(0x7FFFFFFF)
    return np.int32(bits).view(np.float32)


@njit(nogil=True, cache=True)
def gene_of(key: np.int64) -> np.int32:
    """The gene in a packed integer."""
    return np.int32(key & np.int64(0x7FFFFFFF))


@njit(nogil=True, cache=True)
def kth_largest(keys: NDArray[Any], k: int) -> Any:
    """The k-th largest of `keys`, which it reorders (Hoare's selection, middle pivot)."""
    low, high, want = 0, keys.size - 1, k - 1
    while low < high:
        pivot = keys[(low + high) >> 1]
        i, j = low, high
        while i <= j:
            while keys[i] > pivot:
                i += 1
            while keys[j] < pivot:
                j -= 1
            if i <= j:
                keys[i], keys[j] = keys[j], keys[i]
                i += 1
                j -= 1
        if want <= j:
            high = j
        elif want >= i:
            low = i
        else:
            break
    return keys[want]


@njit(nogil=True, cache=True)
def below(value: float | np.float32, step: float) -> np.float32:
    """`value` - `step` as float32, rounded down."""
    exact = np.float64(value) - step
    rounded = np.float32(exact)
    if np.float64(rounded) > exact:
        rounded = np.nextafter(rounded, np.float32(-np.inf))
    return rounded


@njit(nogil=True, cache=True)
def best_exact(
    keys: NDArray[np.int64],
    gene: int,
    k: int,
    unit: NDArray[np.float64],
    partner: NDArray[np.int32],
    r: NDArray[np.float64],
) -> None:
    """Writes the k of `keys` with the largest float64 r to `gene`, in the order of genes, and these r.

    Among equal r the smaller gene comes first.
    """
    found = np.empty(keys.size, np.int32)
    for q in range(keys.size):
        found[q] = gene_of(keys[q])
    found.sort()
    exact = np.empty(found.size)
    for q in range(found.size):
        exact[q] = dot(unit, gene, found[q])
    if found.size > k:
        least = kth_largest(exact.copy(), k)
        ties = k - np.sum(exact > least)  # how many of those equal to the k-th still find room
    else:
        least, ties = -np.inf, np.int64(0)
    n = 0
    for q in range(found.size):
        if exact[q] > least or (exact[q] == least and ties > 0):
            ties -= exact[q] == least
            partner[n] = found[q]
            r[n] = exact[q]
            n += 1


@njit(nogil=True, cache=True)
def keep_from(keys: NDArray[np.int64], floor: np.float32) -> int:
    """Moves the keys of at least `floor` to the front; returns how many."""
    n = 0
    for q in range(keys.size):
        if value_of(keys[q]) >= floor:
            keys[n] = keys[q]
            n += 1
    return n


@njit(nogil=True, cache=True)
def prune(
    keys: NDArray[np.int64],
    gene: int,
    k: int,
    step: float,
    unit: NDArray[np.float64],
    floors: NDArray[np.float32],
) -> int:
    """Drops from a full row of keys what cannot be among the k best; returns how many are left.

    Raises the gene's entry in `floors`. Where too many are as good as the k-th (copies of one gene), the
    float64 values decide at once: of the k best of all, those seen so far are among the k best seen so far.
    """
    floor = below(value_of(kth_largest(keys, k)), step)
    floors[gene] = max(floor, floors[gene])
    n = keep_from(keys, floor)
    if keys.size - n < (keys.size - k) // 2:
        partner, r = np.empty(k, np.int32), np.empty(k)
        best_exact(keys[:n], gene, k, unit, partner, r)
        n = k
        for q in range(k):
            keys[q] = pack(np.float32(r[q]), partner[q])  # as near to r as any product has to be
    return n


@njit(nogil=True, cache=True)
def scan_top(
    left: NDArray[np.float32],
    unit: NDArray[np.float64],
    row: NDArray[np.int64],
    col: NDArray[np.int64],
    k: int,
    step: float,
    scratch: NDArray[np.float32],
    floors: NDArray[np.float32],
    keys: NDArray[np.int64],
    filled: NDArray[np.int64],
) -> None:
    """Adds to each gene's row of `keys` every product of one tile that may be among its k best.

    `floors` (genes,) float32: a lower bound of each gene's k-th best, less `step`. `keys` (genes, capacity)
    and `filled` (genes,): what was found. A tile serves its rows and its columns, so only one thread at a
    time may be at work on these genes.
    """
    capacity = keys.shape[1]
    product = multiply(left, row, col, scratch)
    on_diagonal = row[0] == col[0]
    col_floors = floors[col[0] : col[1]]
    for i in range(product.shape[0]):
        a = row[0] + i
        line = product[i]
        for j in range(i + 1 if on_diagonal else 0, line.size, STRETCH):
            stretch = line[j : j + STRETCH]
            stretch_floors = col_floors[j : j + STRETCH]
            if not reaches_either(stretch, floors[a], stretch_floors):
                continue
            for q in range(stretch.size):
                b = col[0] + j + q
                if stretch[q] >= floors[a]:
                    keys[a, filled[a]] = pack(stretch[q], b)
                    filled[a] += 1
                    if filled[a] == capacity:
                        filled[a] = prune(keys[a], a, k, step, unit, floors)
                if stretch[q] >= stretch_floors[q]:
                    keys[b, filled[b]] = pack(stretch[q], a)
                    filled[b] += 1
                    if filled[b] == capacity:
                        filled[b] = prune(keys[b], b, k, step, unit, floors)


@njit(nogil=True, cache=True)
def finish_top(
    keys: NDArray[np.int64],
    filled: NDArray[np.int64],
    unit: NDArray[np.float64],
    first: int,
    last: int,
    k: int,
    step: float,
    partner: NDArray[np.int32],
    r: NDArray[np.float64],
) -> None:
    """Settles genes [first, last): writes each one's k partners, in the order of genes, and their r."""
    for gene in range(first, last):
        mine = keys[gene, : filled[gene]]
        n = keep_from(mine, below(value_of(kth_largest(mine, k)), step))
        best_exact(mine[:n], gene, k, unit, partner[gene], r[gene])


@njit(nogil=True, cache=True)
def emit_top(
    partner: NDArray[np.int32],
    r: NDArray[np.float64],
    first: int,
    last: int,
    listings: int,
    gene_a: NDArray[np.int32],
    gene_b: NDArray[np.int32],
    out: NDArray[np.float64],
) -> int:
    """Writes the pairs of genes [first, last)'s lists, each once, smaller gene first; returns how many.

    `listings` is in how many of the two lists a pair must be: 1 or 2.
    """
    n = 0
    for gene in range(first, last):
        for q in range(partner.shape[1]):
            p = partner[gene, q]
            theirs = partner[p]
            listed = np.int32(0)
            for s in range(theirs.size):
                listed |= np.int32(theirs[s] == gene)
            # A pair in both lists is written from the smaller gene's.
            if (listed != 0 and gene < p) or (listed == 0 and listings == 1):
                gene_a[n] = min(gene, p)
                gene_b[n] = max(gene, p)
                out[n] = r[gene, q]
                n += 1
    return n


@njit(nogil=True, cache=True)
def order_by(
    key: NDArray[np.int32],
    genes: int,
    gene_a: NDArray[np.int32],
    gene_b: NDArray[np.int32],
    r: NDArray[np.float64],
    out_a: NDArray[np.int32],
    out_b: NDArray[np.int32],
    out_r: NDArray[np.float64],
) -> None:
    """A stable counting sort by `key` (one of the two genes)."""
    place = np.zeros(genes + 1, np.int64)
    for q in range(key.size):
        place[key[q] + 1] += 1
    for g in range(genes):
        place[g + 1] += place[g]
    for q in range(key.size):
        p = place[key[q]]
        place[key[q]] = p + 1
        out_a[p] = gene_a[q]
        out_b[p] = gene_b[q]
        out_r[p] = r[q]
