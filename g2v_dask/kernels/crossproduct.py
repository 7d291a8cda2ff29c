"""Co-occurrence of genes in samples: the sum over samples of the product of two genes' weights.

The matrix is that of quanteda's ``fcm`` (and of exp2vec's ``dtm2tcm``, which takes it from there): a sample is a
document, a read is a word. So the value of two genes is in how many ways a read of one and a read of the other
can be drawn from one sample, and the diagonal, (sum of squares - sum) / 2, how many pairs of its own reads a gene
has.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Weights = NDArray[np.float64]

EXACT = 2.0**53
"""Whole numbers below it have no neighbour that float64 skips: sums of whole counts that stay below are exact, in
any order, on any CPU."""


def weighted(counts: NDArray[np.number], how: str, *, libraries: NDArray[np.float64] | None = None) -> Weights:
    """(samples, genes) float64: what each gene counts in each sample.

    Parameters: how        raw: the reads; log1p: log(1 + reads); cpm: reads per million of the sample's reads.
                libraries  (samples,) all reads of each sample, for cpm; a sample without reads counts 0.

    >>> weighted(np.array([[1, 3], [0, 0]]), "cpm", libraries=np.array([8.0, 0.0]))
    array([[125000., 375000.],
           [     0.,      0.]])
    """
    reads = counts.astype(np.float64)
    if how == "log1p":
        return np.log1p(reads, out=reads)
    if how == "cpm":
        assert libraries is not None
        share = np.divide(1e6, libraries, out=np.zeros_like(libraries), where=libraries > 0)
        reads *= share[:, np.newaxis]
    return reads


def product(left: Weights, right: Weights) -> NDArray[np.float64]:
    """(genes of left, genes of right) the sum over samples of the products of their weights.

    Where both are one array, the tile is symmetric to the bit (NumPy takes BLAS's SYRK), and its diagonal is
    the sum of x (x - 1) / 2: (sum of squares - sum) / 2, without the cancellation of two large sums.
    Memory: the tile. Exact for whole numbers while the sum of squares of every gene is below ``EXACT``: no partial
    sum of products is larger (Cauchy-Schwarz).

    Parameters: left, right  (samples, genes) of the same samples.

    >>> x = np.array([[1.0, 2.0], [3.0, 0.0]])
    >>> product(x, x)
    array([[3., 2.],
           [2., 1.]])
    """
    found: NDArray[np.float64] = left.T @ right
    if left is right:
        np.fill_diagonal(found, (left * (left - 1)).sum(axis=0) / 2)
    return found


def magnitudes(tile: NDArray[np.float64], *, diagonal: bool) -> dict[int, int]:
    """How many cells > 0 lie in each [2^k, 2^(k+1)), by k; values below 2^-1022 count as -1023.

    Of a tile on the diagonal only its upper triangle, with the diagonal.

    >>> magnitudes(np.array([[1.0, 5.0], [7.0, -1.0]]), diagonal=True)
    {0: 1, 2: 1}
    """
    counts = _exponents(np.ascontiguousarray(tile).view(np.uint64), diagonal)
    return {int(e) - 1023: int(counts[e]) for e in np.flatnonzero(counts)}


@njit(nogil=True, cache=True)
def _exponents(bits: NDArray[np.uint64], upper: bool) -> NDArray[np.int64]:  # noqa: FBT001  (numba has no keywords)
    """(2048,) positive numbers by the exponent field of IEEE 754: their bits are below 2^63 and not 0."""
    counts = np.zeros(4096, dtype=np.int64)  # the sign is the highest bit: 2048 and more are not positive
    zeros = 0
    for i in range(bits.shape[0]):
        for j in range(i if upper else 0, bits.shape[1]):
            counts[bits[i, j] >> np.uint64(52)] += 1
            zeros += bits[i, j] == 0
    counts[0] -= zeros
    return counts[:2048]
