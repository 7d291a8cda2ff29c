"""Numerics of ingest on arrays of samples × rows: what scale values have, logs, gaps, quantiles, rows to genes.

Each sample is one contiguous row of the array, since sorting a sample is what costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import NDArray

Scale = Literal["counts", "linear", "log2"]
Values = NDArray[np.float64]

QUANTILES = (0.0, 0.25, 0.5, 0.75, 0.99, 1.0)
MAX_MISSING = 0.2
MIN_ZEROS = 0.01
COUNTS_MAXIMUM = 1_000
COUNTS_LIBRARY = 2_000_000
COUNTS_INTEGERS = 0.25
BIN_BITS = 20  # of a float64: sign, exponent and 8 bits after it
RADIX = 11  # bits a pass: its counts stay in L1
GROUP = 8  # samples summed together, as qnorm does, so that sums round alike


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a matrix of values looks like: the evidence for its scale."""

    quantiles: tuple[float, ...]
    """At 0, 25, 50, 75, 99 and 100 %, of the values that are there."""
    missing_share: float
    zero_share: float
    integer_share: float
    """Share of whole numbers among the values that are not 0."""
    median_library: float
    """Median over samples of their sum."""

    @property
    def non_negative(self) -> bool:
        """Whether no value is below 0."""
        return self.quantiles[0] >= 0


def facts(values: Values) -> Facts:
    """Evidence for the scale of values (samples × rows; NaN where missing).

    Memory: at worst a copy of the values. Raises: ValueError if there is none.
    """
    missing, zeros, whole, libraries = _tally(values)
    there = values.size - missing
    if there == 0:
        msg = "expected at least one value, all are missing"
        raise ValueError(msg)
    return Facts(
        quantiles=_quantiles(values, there),
        missing_share=missing / values.size,
        zero_share=zeros / there,
        integer_share=whole / max(1, there - zeros),
        median_library=float(np.median(libraries)),
    )


def _quantiles(values: Values, there: int) -> tuple[float, ...]:
    """Exact quantiles, as np.quantile's. Values are counted by their leading bits; only bins that matter are sorted."""
    bits = values.view(np.uint64)
    counts = _count_bins(bits, np.zeros(1 << BIN_BITS, dtype=np.int64))
    ends = np.cumsum(counts)
    places = np.array(QUANTILES) * (there - 1)
    low = np.floor(places).astype(np.int64)
    high = np.minimum(low + 1, there - 1)
    ranks = np.concatenate([low, high])
    bins = np.searchsorted(ends, ranks, side="right")
    wanted = np.zeros(counts.size, dtype=np.bool_)
    wanted[bins] = True
    part = np.sort(_in_bins(values, bits, wanted, np.empty(int(counts[wanted].sum()))))
    before = np.cumsum(np.where(wanted, 0, counts))  # values in bins left out, below each bin
    found = part[ranks - before[bins]]
    a, b = found[: low.size], found[low.size :]
    return tuple(float(q) for q in a + (b - a) * (places - low))


def detect_scale(found: Facts, *, counts_possible: bool) -> tuple[Scale, str]:
    """The scale of values, and the rule that said so.

    Counts: non-negative, at least 1 % zeros, a maximum over 1,000, and all integers, or a median library over
    2 million with at least 25 % integers among the values that are not 0 (RSEM's expected counts).
    Linear: GEO2R's rule. Else the values are logs.
    """
    q0, q25, _, q75, q99, q100 = found.quantiles
    if counts_possible and found.non_negative and found.zero_share >= MIN_ZEROS and q100 > COUNTS_MAXIMUM:
        if found.integer_share == 1.0:
            return "counts", "non-negative integers with zeros"
        if found.median_library > COUNTS_LIBRARY and found.integer_share >= COUNTS_INTEGERS:
            return "counts", "non-negative with zeros, large libraries, many integers: estimated counts"
    if q99 > 100:
        return "linear", "q99 > 100"
    if q100 - q0 > 50 and q25 > 0:
        return "linear", "range > 50 and q25 > 0"
    if 0 < q25 < 1 < q75 < 2:
        return "linear", "0 < q25 < 1 and 1 < q75 < 2"
    return "log2", "no rule for linear values applies"


def needs_offset(found: Facts) -> bool:
    """Whether linear values are abundances with true zeros (TPM, FPKM), which take log2(x + 1)."""
    return found.non_negative and found.zero_share >= MIN_ZEROS


def log2(values: Values, *, offset: float = 0.0) -> int:
    """Takes log2(values + offset) in place; what is not positive becomes missing, and is counted."""
    if offset:
        values += offset
    lost = 0
    for sample in values:
        bad = sample <= 0
        lost += int(np.count_nonzero(bad))
        sample[bad] = np.nan
        np.log2(sample, out=sample)
    return lost


def fill_missing(values: Values, *, max_missing: float = MAX_MISSING) -> tuple[Values, NDArray[np.bool_], int]:
    """Values without the rows (columns of the array) that miss more than a share of their samples.

    The gaps of the others take the mean of what is there, which is never outside it: a constant row stays one.
    Returns the values (the same array if no row goes), which rows are kept, and how many gaps were filled.
    """
    gaps = np.zeros(values.shape[1], dtype=np.int64)
    for sample in values:
        gaps += np.isnan(sample)
    kept = gaps <= max_missing * values.shape[0]
    filled = int(gaps[kept].sum())
    if not kept.all():
        values = np.ascontiguousarray(values[:, kept])
    rows = np.flatnonzero(gaps[kept])
    if rows.size:
        part = values[:, rows]
        low, high = np.nanmin(part, axis=0), np.nanmax(part, axis=0)
        mean = np.clip(np.nansum(part, axis=0) / (values.shape[0] - gaps[kept][rows]), low, high)
        values[:, rows] = np.where(np.isnan(part), mean, part)
    return values, kept, filled


def constant_rows(values: Values) -> NDArray[np.bool_]:
    """Which rows (columns of the array) have the same value in all samples."""
    first = values[0]
    same = np.ones(values.shape[1], dtype=np.bool_)
    for sample in values[1:]:
        same &= sample == first
    return same


def quantile_normalise(values: Values) -> None:
    """Gives all samples the same distribution, in place: the mean over samples of their sorted values.

    Values that tie within a sample get the mean of the target over the ranks they share. Equal to
    ``qnorm.quantile_normalize(rows × samples, axis=1)``.

    Memory: 4 bytes a value for the ranks.
    Raises: ValueError if a value is missing or infinite; sorting would move it silently.
    Source: Bolstad 2003.  Oracle: qnorm.
    """
    samples, rows = values.shape
    order = np.empty((samples, rows), dtype=np.int32)
    target = np.zeros(rows)
    for start in range(0, samples, GROUP):
        total = np.zeros(rows)
        for k in range(start, min(start + GROUP, samples)):
            sample = values[k]
            _sort(sample, sample.view(np.uint64), order[k])
            total += sample
        target += total
    target /= max(samples, 1)
    if not np.isfinite(target).all():
        msg = "expected finite values in quantile normalisation, found missing or infinite ones"
        raise ValueError(msg)
    _place(values, order, target)


def variances(values: Values) -> NDArray[np.float64]:
    """Variance of each row (column of the array) over samples, n − 1 below; two passes, in the order of samples."""
    samples, rows = values.shape
    mean = np.zeros(rows)
    for sample in values:
        mean += sample
    mean /= samples
    total = np.zeros(rows)
    for sample in values:
        difference = sample - mean
        total += difference * difference
    total /= max(samples - 1, 1)
    return total


def best_rows(genes: NDArray[np.int64], variance: NDArray[np.float64], labels: list[str]) -> NDArray[np.int64]:
    """For each gene 0, 1 … the row with the largest variance; ties go to the smallest label, then the first row.

    ``genes`` holds the gene of each row, −1 for none. Every gene must have a row.
    """
    rows = np.flatnonzero(genes >= 0)
    by_label = np.argsort(np.array([labels[k] for k in rows], dtype=object), kind="stable")
    rows = rows[by_label]
    rows = rows[np.argsort(-variance[rows], kind="stable")]
    rows = rows[np.argsort(genes[rows], kind="stable")]
    _, first = np.unique(genes[rows], return_index=True)
    return rows[first]


def sum_rows(values: Values, genes: NDArray[np.int64], count: int) -> Values:
    """Sums of the rows of each gene 0, 1 … count − 1 (samples × genes), in the order of rows; gene −1 is left out."""
    out = np.zeros((values.shape[0], count))
    _sum_rows(values, genes, out)
    return out


def log_cpm(counts: Values) -> Values:
    """log2(counts per million of the sample + 1).

    Raises: ValueError if a sample has no counts.
    """
    out = np.empty_like(counts)
    for k, sample in enumerate(counts):
        library = sample.sum()
        if not library > 0:
            msg = f"sample {k} has no counts"
            raise ValueError(msg)
        np.multiply(sample, 1e6 / library, out=out[k])
        np.log2(out[k] + 1.0, out=out[k])
    return out


def _tally_loop(values: Values) -> tuple[int, int, int, NDArray[np.float64]]:
    missing = zeros = whole = 0
    libraries = np.zeros(values.shape[0])
    for i in range(values.shape[0]):
        sample = values[i]
        total = 0.0
        for j in range(sample.size):
            x = sample[j]
            if np.isnan(x):
                missing += 1
            else:
                zeros += x == 0.0
                whole += x != 0.0 and x == np.rint(x)
                total += x
        libraries[i] = total
    return missing, zeros, whole, libraries


def _key(bits: int) -> np.uint64:
    """The bits of a float64 as a number that orders like it; NaN comes last."""
    word = np.uint64(bits)
    return ~word if word >> np.uint64(63) else word | np.uint64(1 << 63)


def _count_bins_loop(bits: NDArray[np.uint64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    for row in bits:
        for word in row:
            counts[_key(word) >> np.uint64(64 - BIN_BITS)] += 1
    return counts


def _in_bins_loop(
    values: Values, bits: NDArray[np.uint64], wanted: NDArray[np.bool_], out: NDArray[np.float64]
) -> NDArray[np.float64]:
    n = 0
    for i in range(bits.shape[0]):
        for j in range(bits.shape[1]):
            if wanted[_key(bits[i, j]) >> np.uint64(64 - BIN_BITS)]:
                out[n] = values[i, j]
                n += 1
    return out


def _sort_loop(sample: NDArray[np.float64], bits: NDArray[np.uint64], order: NDArray[np.int32]) -> None:
    """Sorts a sample in place, and says where each value came from: radix sort, four times faster than argsort."""
    n = sample.size
    passes = (64 + RADIX - 1) // RADIX
    buckets = 1 << RADIX
    mask = np.uint64(buckets - 1)
    counts = np.zeros((passes, buckets), dtype=np.int32)
    keys, keys_next = np.empty(n, dtype=np.uint64), np.empty(n, dtype=np.uint64)
    here, there = np.empty(n, dtype=np.int32), np.empty(n, dtype=np.int32)
    for j in range(n):
        key = _key(bits[j])
        keys[j] = key
        here[j] = j
        for p in range(passes):
            counts[p, (key >> np.uint64(p * RADIX)) & mask] += 1
    for p in range(passes):
        shift = np.uint64(p * RADIX)
        count = counts[p]
        if count[(keys[0] >> shift) & mask] == n:
            continue
        total = 0
        for b in range(buckets):
            size = count[b]
            count[b] = total
            total += size
        for j in range(n):
            key = keys[j]
            b = (key >> shift) & mask
            at = count[b]
            count[b] = at + 1
            keys_next[at] = key
            there[at] = here[j]
        keys, keys_next = keys_next, keys
        here, there = there, here
    order[:] = here
    for j in range(n):
        key = keys[j]
        bits[j] = key ^ np.uint64(1 << 63) if key >> np.uint64(63) else ~key


def _place_loop(values: Values, order: NDArray[np.int32], target: NDArray[np.float64]) -> None:
    """Sorted samples become their normalised values, in the order of rows."""
    rows = target.size
    placed = np.empty(rows)
    for i in range(values.shape[0]):
        sample = values[i]
        ranks = order[i]
        j = 0
        while j < rows:
            end = j + 1
            while end < rows and sample[end] == sample[j]:
                end += 1
            if end == j + 1:
                placed[ranks[j]] = target[j]
            else:
                total = 0.0
                for k in range(j, end):
                    total += target[k]
                total /= end - j
                for k in range(j, end):
                    placed[ranks[k]] = total
            j = end
        sample[:] = placed


def _sum_rows_loop(values: Values, genes: NDArray[np.int64], out: Values) -> None:
    for i in range(values.shape[0]):
        for j in range(genes.size):
            if genes[j] >= 0:
                out[i, genes[j]] += values[i, j]


_key = njit(nogil=True, cache=True)(_key)
_count_bins = njit(nogil=True, cache=True)(_count_bins_loop)
_in_bins = njit(nogil=True, cache=True)(_in_bins_loop)
_sort = njit(nogil=True, cache=True)(_sort_loop)
_tally = njit(nogil=True, cache=True)(_tally_loop)
_place = njit(nogil=True, cache=True)(_place_loop)
_sum_rows = njit(nogil=True, cache=True)(_sum_rows_loop)


def expressed(counts: NDArray[np.int32] | NDArray[np.float64]) -> NDArray[np.int32]:
    """(genes,) in how many samples each gene has CPM >= 1.

    Parameters: counts  (samples, genes) reads; a library is the sum of a sample's.

    >>> expressed(np.array([[0, 1, 1_999_999], [3, 1, 1_999_996]], dtype=np.int32))
    array([1, 0, 2], dtype=int32)
    """
    library = counts.sum(axis=1, dtype=np.float64)
    over = (counts > 0) & (counts * 1e6 >= library[:, None])
    return np.asarray(over.sum(axis=0), dtype=np.int32)
