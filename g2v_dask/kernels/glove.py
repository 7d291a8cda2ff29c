"""GloVe on blocks of log co-occurrence: weights, residuals, normal matrices.

A block holds log x in float32, and ``MISSING`` where there is no entry. Its weights follow from it alone:
f = min(1, (x / x_max)^α) (Pennington et al. 2014, equation 9), so they are never stored.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

MISSING = np.float32(-1e4)
"""Stands for log x where x ≤ 0, which is no entry; no float64 has such a logarithm."""
LANES = 64  # sums are taken in so many strands, which are added in one order: SIMD, and the same bits

_LOG2_E = np.float32(math.log2(math.e))
_FLOOR = np.float32(-126.0)
# 2^r for |r| ≤ 1/2, to float32's precision (Cephes, exp2f)
_C6, _C5, _C4 = np.float32(1.535336188319500e-4), np.float32(1.339887440266574e-3), np.float32(9.618437357674640e-3)
_C3, _C2, _C1 = np.float32(5.550332471162809e-2), np.float32(2.402264791363012e-1), np.float32(6.931472028550421e-1)
_HALF, _ONE, _ZERO = np.float32(0.5), np.float32(1.0), np.float32(0.0)


def logs(x: NDArray[Any]) -> NDArray[np.float32]:
    """log x in float32; ``MISSING`` where x ≤ 0."""
    out = np.full(x.shape, MISSING, dtype=np.float32)
    entry = x > 0
    np.log(x, out=out, where=entry, casting="unsafe", dtype=np.float64)
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def _weigh(log_x, log_max, alpha, bits, out):  # type: ignore[no-untyped-def]
    """f of one row: 2^(α·log2(x / x_max)) where that is below 1; exactly 1 and 0 where it shall be.

    Branches would cost more than the polynomial; 2^n is made of its bits, in a loop of its own.
    """
    size = len(log_x)
    scale = bits.view(np.float32)
    factor = alpha * _LOG2_E
    for k in range(size):
        power = max(min((log_x[k] - log_max) * factor, _ZERO), _FLOOR)
        whole = np.floor(power + _HALF)
        r = power - whole
        out[k] = _ONE + r * (_C1 + r * (_C2 + r * (_C3 + r * (_C4 + r * (_C5 + r * _C6)))))
        bits[k] = (np.int32(whole) + np.int32(127)) << np.int32(23)
    for k in range(size):
        f = out[k] * scale[k]
        out[k] = f if log_x[k] > MISSING else _ZERO


@njit(cache=True, nogil=True, error_model="numpy")
def residuals(log_x, predicted, log_max, alpha):  # type: ignore[no-untyped-def]
    """Turns the predictions of a block into f·(log x − prediction); returns Σ f·(log x − prediction)².

    log_x, predicted   (rows, columns) float32.
    """
    rows, columns = log_x.shape
    bits = np.empty(columns, np.int32)
    f = np.empty(columns, np.float32)
    strands = np.empty(LANES, np.float32)
    total = 0.0
    whole = columns - columns % LANES
    for i in range(rows):
        _weigh(log_x[i], log_max, alpha, bits, f)
        row, out = log_x[i], predicted[i]
        strands[:] = _ZERO
        for start in range(0, whole, LANES):
            for k in range(LANES):
                r = row[start + k] - out[start + k]
                fr = f[start + k] * r
                strands[k] += fr * r
                out[start + k] = fr
        for k in range(LANES):
            total += strands[k]
        for k in range(whole, columns):
            r = row[k] - out[k]
            out[k] = f[k] * r
            total += out[k] * r
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def weights(log_x, log_max, alpha):  # type: ignore[no-untyped-def]
    """(rows, columns) float32: f of a block, 0 where there is no entry."""
    rows, columns = log_x.shape
    bits = np.empty(columns, np.int32)
    out = np.empty((rows, columns), np.float32)
    for i in range(rows):
        _weigh(log_x[i], log_max, alpha, bits, out[i])
    return out


@njit(cache=True, nogil=True, error_model="numpy")
def totals(log_x, log_max, alpha, by_row, by_column):  # type: ignore[no-untyped-def]
    """Adds a block to what is known of its rows and columns: (genes, 4) entries, Σ log x, Σ f, largest f."""
    rows, columns = log_x.shape
    bits = np.empty(columns, np.int32)
    f = np.empty(columns, np.float32)
    for i in range(rows):
        _weigh(log_x[i], log_max, alpha, bits, f)
        for k in range(columns):
            if log_x[i, k] > MISSING:
                value, weight = float(log_x[i, k]), float(f[k])
                by_row[i, 0] += 1.0
                by_row[i, 1] += value
                by_row[i, 2] += weight
                by_row[i, 3] = max(by_row[i, 3], weight)
                by_column[k, 0] += 1.0
                by_column[k, 1] += value
                by_column[k, 2] += weight
                by_column[k, 3] = max(by_column[k, 3], weight)


@njit(cache=True, nogil=True, error_model="numpy")
def centred(log_x, row_bias, column_bias, out):  # type: ignore[no-untyped-def]
    """log x less the biases of its row and column; 0 where there is no entry."""
    rows, columns = log_x.shape
    for i in range(rows):
        for k in range(columns):
            value = log_x[i, k] - row_bias[i] - column_bias[k]
            out[i, k] = value if log_x[i, k] > MISSING else _ZERO


@njit(cache=True, nogil=True, error_model="numpy")
def add_outer(f, vectors, out):  # type: ignore[no-untyped-def]
    """Adds Σ_k f_ik · v_k v_kᵀ to each row's normal matrix: its upper triangle, packed row by row.

    f         (rows, columns) float32; zeros cost nothing, so this is for sparse blocks.
    vectors   (columns, d) float32.
    out       (rows, d (d + 1) / 2) float32.
    """
    rows, columns = f.shape
    d = np.uint64(vectors.shape[1])  # sums of signed numbers as places would cost the loop its SIMD
    for i in range(rows):
        packed = out[i]
        for k in range(columns):
            weight = f[i, k]
            if weight != _ZERO:
                v = vectors[k]
                at = np.uint64(0)
                for a in range(d):
                    scaled = weight * v[a]
                    for b in range(d - a):
                        packed[at + b] += scaled * v[a + b]
                    at += d - a


def squares(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(genes, d (d + 1) / 2): v vᵀ of each row, upper triangle, packed row by row.

    Weights times this matrix are the normal matrices of all rows at once, as one product: for dense blocks.
    """
    size, d = vectors.shape
    out = np.empty((size, d * (d + 1) // 2), dtype=vectors.dtype)
    at = 0
    for a in range(d):
        np.multiply(vectors[:, a : a + 1], vectors[:, a:], out=out[:, at : at + d - a])
        at += d - a
    return out


def unpacked(packed: NDArray[np.float32], d: int) -> NDArray[np.float64]:
    """(rows, d, d) symmetric matrices of packed upper triangles."""
    out = np.empty((len(packed), d, d))
    upper = np.triu_indices(d)
    out[:, upper[0], upper[1]] = packed
    out[:, upper[1], upper[0]] = packed
    return out
