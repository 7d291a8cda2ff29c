"""Shifted positive PMI of the co-occurrence and its truncated SVD: the baseline of every embedding.

The matrix M is symmetric, so its singular values are |λ| and its left singular vectors the eigenvectors.
Genes fall into connected components, and each eigenvector lives on one of them. Small components are solved
densely. Large ones by block Lanczos: a seeded start block, multiplied by M again and again, every block made
orthogonal to all before it, until the residuals of the wanted vectors are small. A Krylov space would miss
most of the equal eigenvalues of small look-alike components (lone pairs); split by component, none is lost.

All sums are taken in a fixed order on one thread, so the vectors are the same to the byte on one machine,
for any tile size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from g2v_dask.errors import InputError
from g2v_dask.folders import Folder
from g2v_dask.models import base
from g2v_dask.spec import TrainSpec
from g2v_dask.tiles import TileMatrix

DENSE_GENES = 1024
"""Components up to this size are solved densely."""
BLOCK = 32
"""Vectors that one product with M takes: few enough that they stay in the cache, enough to amortise M."""
PRODUCTS = 600
"""Most products of a block with M."""
TOLERANCE = 1e-4
"""A vector has converged when ‖M u − λ u‖ ≤ this · the largest |λ|."""
CELL_BLOCK = 1 << 20
"""Cells turned into PMI at once."""


def basis_size(genes: int, components: int) -> int:
    """Most vectors that a Krylov basis may hold; whole blocks, at most half the genes.

    >>> basis_size(20_000, 200), basis_size(1_500, 200)
    (2048, 736)
    """
    wanted = max(8 * components, components + 1848)
    return min(wanted // BLOCK, genes // 2 // BLOCK) * BLOCK


def memory_bytes(genes: int, cells: int, components: int) -> int:
    """Bytes that training needs, beyond the interpreter with its imports. ``cells`` counts both triangles.

    Assembling the symmetric matrix: 36 a cell. The Krylov basis in float32, its projected matrix and their
    eigenvectors in float64: 4 · genes · basis + 32 · basis². Vectors, their copies: 16 · genes · components.
    """
    basis = basis_size(genes, components) + BLOCK
    solve = 8 * cells + 4 * genes * basis + 32 * basis * basis + 16 * genes * components
    return max(36 * cells, solve) + 24 * CELL_BLOCK + 300 * genes


def train(
    matrix: TileMatrix,
    spec: TrainSpec,
    *,
    folder: Folder,
    progress: base.Progress,
    alive: base.Alive,
) -> base.Trained:
    """Gene vectors U · σ^power from max(log(x_ij · S / (x_i. · x_.j)) − log k, 0), k = ``shift``.

    With ``smoothing`` as ``ppmi`` says.

    Memory per part: ``memory_bytes``. Writes nothing to ``folder``: it is done in seconds.
    Parameters: matrix   symmetric, cells ≥ 0; what is below ``min_datasets`` is 0, in the sums too.
                progress counts converged components.
    Returns:    genes with a cell; the largest |value| of each component is positive, ties: the first gene.
                Components beyond the rank of M are 0. ``losses`` is empty.
    Raises:     InputError if no cell is left, or components > genes − 1.
    Source:     Levy & Goldberg 2014, section 3; Golub & Underwood 1977 (block Lanczos); Wu & Simon 2000.
    Oracle:     numpy.linalg.eigh of the dense matrix, in tests/models/test_svd.py.
    """
    del folder
    progress(0, spec.components, "reading co-occurrence")
    counts, genes, square = _read(matrix, spec)
    alive()
    progress(0, spec.components, "positive PMI")
    M = ppmi(square, spec.shift, smoothing=spec.smoothing)
    progress(0, spec.components, "singular vectors")

    def after(done: int) -> None:
        alive()
        progress(done, spec.components, "singular vectors")

    with threadpool_limits(limits=1, user_api="blas"):  # more threads give other bits
        values, vectors, residual = eigenpairs(M, spec.components, seed=spec.seed, after=after)
    order = base.vocabulary(genes, counts, 0)
    sigma = np.abs(values)
    facts = {
        "cells": int(square.nnz),
        "ppmi_cells": int(M.nnz),
        "singular_values": [float(s) for s in sigma],
        "residual": residual,
    }
    weights = np.where(sigma > 0, sigma**spec.power, 0.0)
    out = (vectors[order] * base.signs(vectors[order]) * weights).astype(np.float32)
    return base.Trained(genes=genes[order], vectors=out, losses=[], facts=facts)


def _read(matrix: TileMatrix, spec: TrainSpec) -> tuple[NDArray[np.float64], NDArray[np.str_], sp.csr_array]:
    """Row sums, ids and the symmetric matrix of the genes that have a cell, in axis order."""
    size = len(matrix.genes)
    bands = list(base.cells(matrix, spec.min_datasets))
    if not any(len(band.rows) for band in bands):
        msg = (
            f"train: the co-occurrence of {size} genes has no cell of at least {spec.min_datasets} datasets; "
            "lower min-datasets, or make pairs with a lower threshold or top-k"
        )
        raise InputError(msg)
    rows, cols, values = (np.concatenate([getattr(b, name) for b in bands]) for name in ("rows", "cols", "values"))
    del bands
    kept = np.unique(np.concatenate([np.unique(rows), np.unique(cols)]))
    if spec.components > len(kept) - 1:
        msg = (
            f"train: components must be at most the number of genes less one; {len(kept)} genes have a "
            f"pair, components is {spec.components}; give at most {len(kept) - 1}"
        )
        raise InputError(msg)
    number = np.zeros(size, np.int32)
    number[kept] = np.arange(len(kept), dtype=np.int32)
    upper = sp.csr_array((values.astype(np.float64), (number[rows], number[cols])), shape=(len(kept),) * 2)
    square = sp.csr_array(upper + sp.triu(upper, 1).T)
    square.sort_indices()
    return _row_sums(square), np.asarray(matrix.genes)[kept].astype(np.str_), square


def _row_sums(matrix: sp.csr_array) -> NDArray[np.float64]:
    """Sums in storage order; every row has a cell."""
    return np.add.reduceat(matrix.data, matrix.indptr[:-1])


def ppmi(counts: sp.csr_array, shift: float, *, smoothing: float = 1.0) -> sp.csr_array:
    """Shifted positive PMI of a symmetric matrix whose every row has a cell; float32, zeros not stored.

    With smoothing a < 1 the chance of a gene as the other of a pair goes by its count to the power a, so that rare
    genes have less PMI: log(x_ij · Σ s^a / (s_i · s_j^a)). The mean of that over both directions is taken: so the
    matrix stays symmetric.
    Source: Levy, Goldberg & Dagan 2015 (TACL 3:211), section 3.1 (context distribution smoothing), made symmetric.
    """
    sums = _row_sums(counts)
    logs = np.log(sums) * ((1 + smoothing) / 2)
    offset = np.log((sums**smoothing).sum()) - np.log(shift)
    rows = np.repeat(np.arange(len(sums), dtype=np.int32), np.diff(counts.indptr))
    data = np.empty(counts.nnz, np.float32)
    for start in range(0, counts.nnz, CELL_BLOCK):
        part = slice(start, start + CELL_BLOCK)
        pmi = np.log(counts.data[part]) - logs[rows[part]] - logs[counts.indices[part]] + offset
        np.maximum(pmi, 0.0, out=pmi)
        data[part] = pmi
    out = sp.csr_array((data, counts.indices.copy(), counts.indptr.copy()), shape=counts.shape)
    out.eliminate_zeros()
    return out


@dataclass(frozen=True, kw_only=True)
class _Found:
    """Eigenpairs of one connected component."""

    genes: NDArray[np.int64]
    values: NDArray[np.float64]
    vectors: NDArray[Any]
    residual: float


def eigenpairs(
    M: sp.csr_array, components: int, *, seed: int, after: Callable[[int], None]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """The eigenpairs of largest |λ|, in this order, and the largest residual relative to the largest |λ|.

    Equal |λ| stand in the order of their components, the positive one first. Values that are 0 but for
    rounding are 0, with a vector of 0.
    """
    found = [_solve(M, genes, components, seed=seed, after=after) for genes in _parts(M)]
    values = np.concatenate([np.zeros(components), *(f.values for f in found)])
    owner = np.repeat(np.arange(-1, len(found)), [components, *(len(f.values) for f in found)])
    place = np.concatenate([np.zeros(components, int), *(np.arange(len(f.values)) for f in found)])
    # rounded, so that equal values of look-alike components stay in the order of the genes
    size = np.round(np.abs(values) / max(np.abs(values).max(), 1e-300), 12)
    best = np.lexsort((place, owner, -size))[:components]
    vectors = np.zeros((M.shape[0], components))
    for column, i in enumerate(best.tolist()):
        if size[i] > 1e-6 and owner[i] >= 0:
            one = found[owner[i]]
            vectors[one.genes, column] = one.vectors[:, place[i]]
    kept = np.where((size > 1e-6)[best], values[best], 0.0)
    worst = max((f.residual for f in found), default=0.0)
    return kept, vectors, worst / max(float(np.abs(values).max()), 1e-300)


def _parts(M: sp.csr_array) -> Iterator[NDArray[np.int64]]:
    """The genes of each connected component that has a cell, in the order of their first gene."""
    _, label = connected_components(M, directed=False)
    order = np.argsort(label, kind="stable")
    parts = np.split(order, np.cumsum(np.bincount(label))[:-1])
    return (p for p in sorted(parts, key=lambda p: int(p[0])) if len(p) > 1 or M[p[0], p[0]])


def _solve(
    M: sp.csr_array, genes: NDArray[np.int64], components: int, *, seed: int, after: Callable[[int], None]
) -> _Found:
    part = M if len(genes) == M.shape[0] else M[genes][:, genes]
    if len(genes) <= DENSE_GENES or basis_size(len(genes), components) < 2 * components + 4 * BLOCK:
        values, vectors = np.linalg.eigh(part.toarray().astype(np.float64))
        best = _largest(values, components)
        return _Found(genes=genes, values=values[best], vectors=vectors[:, best], residual=0.0)
    values, vectors, residual = lanczos(part, components, seed=seed, after=after)
    return _Found(genes=genes, values=values, vectors=vectors, residual=residual)


def _largest(values: NDArray[np.float64], components: int) -> NDArray[np.int64]:
    """Positions of the values of largest size; of two equal ones the positive first."""
    return np.lexsort((-values, -np.round(np.abs(values), 9)))[:components]


def lanczos(
    M: sp.csr_array, components: int, *, seed: int, after: Callable[[int], None]
) -> tuple[NDArray[np.float64], NDArray[np.float32], float]:
    """Eigenpairs of largest |λ| of a symmetric matrix by block Lanczos, and their largest residual.

    ``after`` gets the number of converged vectors at each test. A full basis starts again from its best
    vectors (thick restart). Ends when all have converged, or after ``PRODUCTS``: then the residual says how
    far it came.
    """
    size = M.shape[0]
    most = basis_size(size, components)
    keep = components + (most - components) // 4
    basis = np.zeros((size, most + BLOCK), np.float32, order="F")
    small = np.zeros((most + BLOCK, most + BLOCK))
    X, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((size, BLOCK), dtype=np.float32))
    basis[:, :BLOCK] = X
    m, test = BLOCK, min(2 * components, most - BLOCK)
    for product in range(PRODUCTS):
        X, H, R = _orthogonal(M @ np.ascontiguousarray(X), basis[:, :m])
        small[:m, m - BLOCK : m] = H
        small[m : m + BLOCK, m - BLOCK : m] = R
        basis[:, m : m + BLOCK] = X
        full = m + BLOCK > most
        if m >= test or full or product == PRODUCTS - 1:
            values, Y, residuals = _ritz(small[:m, :m], R, keep)
            done = int(np.count_nonzero(residuals[:components] <= TOLERANCE * np.abs(values[0])))
            after(done)
            if done == components:
                break
            near = done >= 0.95 * components
            test = m + (2 * BLOCK if near else max(4 * BLOCK, m // 5))  # a test costs as m³
        if full:
            basis[:, :keep] = basis[:, :m] @ Y.astype(np.float32)
            basis[:, keep : keep + BLOCK] = X
            small[:] = 0.0
            small[:keep, :keep] = np.diag(values)
            small[keep : keep + BLOCK, :keep] = R @ Y[-BLOCK:]
            m, test = keep, keep + 8 * BLOCK
        m += BLOCK
    Y = Y[:, :components]
    vectors = basis[:, : len(Y)] @ Y.astype(np.float32)
    return values[:components], vectors, float(residuals[:components].max())


def _orthogonal(
    W: NDArray[np.float32], Q: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[Any], NDArray[Any]]:
    """W = Q H + X R with X orthonormal, and orthogonal to Q also where little of W is left beside Q."""
    H = Q.T @ W
    X, R = np.linalg.qr(W - Q @ H)
    again = Q.T @ X
    X, S = np.linalg.qr(X - Q @ again)
    return X, H + again @ R, S @ R


def _ritz(
    small: NDArray[np.float64], R: NDArray[Any], components: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Ritz values of largest size, their vectors in the basis, and the norms of their residuals."""
    values, Y = np.linalg.eigh((small + small.T) / 2)
    best = _largest(values, components)
    Y = Y[:, best]
    return values[best], Y, np.linalg.norm(R.astype(np.float64) @ Y[-BLOCK:], axis=0)
