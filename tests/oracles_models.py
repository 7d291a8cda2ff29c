"""A matrix in memory that trainers read as they read the store's, and small co-occurrences to train on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from g2v_dask import tiles


@dataclass(kw_only=True)
class MemoryMatrix:
    """A TileMatrix from sorted cells (row < col); a tile is made dense when it is read."""

    genes: NDArray[np.str_]
    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    values: NDArray[np.generic]
    tile: int = 1024
    reads: list[tuple[int, int]] = field(default_factory=list)

    @classmethod
    def from_dense(cls, dense: NDArray[np.generic], *, tile: int = 1024) -> MemoryMatrix:
        rows, cols = np.nonzero(np.triu(dense, 1))
        genes = np.array([f"G{i:05d}" for i in range(len(dense))])
        return cls(genes=genes, rows=rows, cols=cols, values=dense[rows, cols], tile=tile)

    def read(self, row: int, col: int) -> NDArray[np.generic]:
        self.reads.append((row, col))
        size = len(self.genes)
        down, across = tiles.span(size, self.tile, row), tiles.span(size, self.tile, col)
        out = np.zeros((down.stop - down.start, across.stop - across.start), self.values.dtype)
        lo, hi = np.searchsorted(self.rows, [down.start, down.stop])
        r, c, v = self.rows[lo:hi], self.cols[lo:hi], self.values[lo:hi]
        inside = (c >= across.start) & (c < across.stop)
        out[r[inside] - down.start, c[inside] - across.start] = v[inside]
        if row == col:
            out[c[inside] - across.start, r[inside] - down.start] = v[inside]
        return out

    def dense(self) -> NDArray[np.generic]:
        out = np.zeros((len(self.genes),) * 2, self.values.dtype)
        out[self.rows, self.cols] = self.values
        return out + out.T

    def pairs(self) -> list[list[str]]:
        """Every pair as often as it was seen, in the order of the axis."""
        names = self.genes.tolist()
        triples = zip(self.rows.tolist(), self.cols.tolist(), self.values.tolist(), strict=True)
        return [[names[r], names[c]] for r, c, v in triples for _ in range(int(v))]


def modules(genes: int, cells: int, *, seed: int = 0, tile: int = 1024) -> MemoryMatrix:
    """About ``cells`` cells of the upper triangle in modules of many sizes, degrees with a heavy tail.

    Values: geometric, mean 1.7, as of few datasets that share a pair.
    """
    rng = np.random.default_rng(seed)
    weight = np.minimum(rng.pareto(1.3, genes) + 0.1, 10.0).astype(np.float32)
    most = max(genes // 60, 2)
    module = (most * rng.random(genes) ** 2).astype(np.int32)

    def chance(part: NDArray[np.int64]) -> NDArray[np.float32]:
        near = np.where(module[part, None] == module, np.float32(40), np.float32(1))
        return np.outer(weight[part], weight) * near

    probe = rng.choice(genes, min(genes, 400), replace=False)
    seen, scale = chance(probe), cells / (genes * genes)
    for _ in range(30):
        scale *= (2 * cells / genes**2) / np.minimum(seen * np.float32(scale), 1).mean()
    rows, cols = [], []
    for start in range(0, genes, 512):
        part = np.arange(start, min(start + 512, genes))
        drawn = rng.random((len(part), genes), dtype=np.float32) < chance(part) * np.float32(scale)
        r, c = np.nonzero(drawn)
        upper = c > r + start
        rows.append(r[upper] + start)
        cols.append(c[upper])
    r, c = np.concatenate(rows), np.concatenate(cols)
    values = np.minimum(rng.geometric(0.6, len(r)), 900).astype(np.uint32)
    names = np.array([f"G{i:05d}" for i in range(genes)])
    return MemoryMatrix(genes=names, rows=r, cols=c, values=values, tile=tile)


# -- GloVe ----------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class DenseMatrix:
    """A TileMatrix of a symmetric array, diagonal and cells below 0 included."""

    values: NDArray[np.generic]
    tile: int = 1024

    @property
    def genes(self) -> NDArray[np.str_]:
        return np.array([f"G{i:05d}" for i in range(len(self.values))])

    def read(self, row: int, col: int) -> NDArray[np.generic]:
        size = len(self.values)
        return self.values[tiles.span(size, self.tile, row), tiles.span(size, self.tile, col)].copy()


@dataclass(frozen=True, kw_only=True)
class Glove:
    """The objective of Pennington et al. 2014, equations 8 and 9, entry by entry in float64."""

    x: NDArray[np.generic]
    x_max: float
    alpha: float
    upper: bool

    def weight(self, value: float) -> float:
        return (value / self.x_max) ** self.alpha if value < self.x_max else 1.0

    def entries(self) -> Iterator[tuple[int, int, float]]:
        """(i, j, x_ij) of every positive cell, column by column: as R stores a sparse matrix, so text2vec's order."""
        size = len(self.x)
        for j in range(size):
            for i in range(j + 1 if self.upper else size):
                if self.x[i, j] > 0:
                    yield i, j, float(self.x[i, j])


def glove_loss(problem: Glove, rows: NDArray[np.floating], columns: NDArray[np.floating]) -> float:
    """½ Σ f r² / entries; the last column of each side holds its biases."""
    W, C = rows.astype(np.float64), columns.astype(np.float64)
    total, entries = 0.0, 0
    for i, j, value in problem.entries():
        r = W[i, :-1] @ C[j, :-1] + W[i, -1] + C[j, -1] - math.log(value)
        total += problem.weight(value) * r * r
        entries += 1
    return total / (2 * entries)


def glove_objective(
    problem: Glove, rows: NDArray[np.floating], columns: NDArray[np.floating], *, ridge: float, free: float
) -> float:
    """Σ f r² + ridge · f · (‖w_i‖² + ‖c_j‖² + free · (b_i² + β_j²)): of every entry its share."""
    W, C = rows.astype(np.float64), columns.astype(np.float64)
    bears = np.array([*[1.0] * (W.shape[1] - 1), free])
    total = 0.0
    for i, j, value in problem.entries():
        r = W[i, :-1] @ C[j, :-1] + W[i, -1] + C[j, -1] - math.log(value)
        total += problem.weight(value) * (r * r + ridge * (bears @ W[i] ** 2 + bears @ C[j] ** 2))
    return total


def glove_gradient(
    problem: Glove, rows: NDArray[np.floating], columns: NDArray[np.floating], *, ridge: float, free: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The gradient of ``glove_objective``."""
    W, C = rows.astype(np.float64), columns.astype(np.float64)
    bears = np.array([*[1.0] * (W.shape[1] - 1), free])
    by_row, by_column = np.zeros_like(W), np.zeros_like(C)
    for i, j, value in problem.entries():
        r = W[i, :-1] @ C[j, :-1] + W[i, -1] + C[j, -1] - math.log(value)
        f = problem.weight(value)
        by_row[i] += 2 * f * (r * np.append(C[j, :-1], 1.0) + ridge * bears * W[i])
        by_column[j] += 2 * f * (r * np.append(W[i, :-1], 1.0) + ridge * bears * C[j])
    return by_row, by_column


def adagrad_pass(
    problem: Glove,
    sides: tuple[NDArray[np.float64], NDArray[np.float64]],
    squares: tuple[NDArray[np.float64], NDArray[np.float64]],
    *,
    rate: float,
) -> float:
    """One pass of AdaGrad in place, as text2vec goes about it; ½ Σ f r² / entries on the way.

    Residuals are clipped to ±100; both vectors of an entry move by what they were before it, by the squared gradients
    of the entries before it.
    """
    (W, C), (W2, C2) = sides, squares
    total, entries = 0.0, 0
    for i, j, value in problem.entries():
        r = W[i, :-1] @ C[j, :-1] + W[i, -1] + C[j, -1] - math.log(value)
        r = min(max(r, -100.0), 100.0)
        f = problem.weight(value)
        total += f * r * r
        entries += 1
        to_w, to_c = f * r * np.append(C[j, :-1], 1.0), f * r * np.append(W[i, :-1], 1.0)
        W[i] -= rate * to_w / np.sqrt(W2[i])
        C[j] -= rate * to_c / np.sqrt(C2[j])
        W2[i] += to_w**2
        C2[j] += to_c**2
    return total / (2 * entries)


def reads(samples: int, genes: int, *, seed: int = 0, depth: float = 4.0) -> NDArray[np.float64]:
    """Co-occurrence of made-up reads: AᵀA with the diagonal (Σ x² − Σ x) / 2, which is ≤ 0 for genes of one read."""
    rng = np.random.default_rng(seed)
    programs = rng.normal(size=(samples, 3)) @ rng.normal(size=(3, genes))
    level = rng.normal(depth, 1.5, genes) + 0.4 * programs + 0.3 * rng.normal(size=(samples, genes))
    counts = rng.poisson(np.exp(level)).astype(np.float64)
    x = counts.T @ counts
    np.fill_diagonal(x, (np.diag(x) - counts.sum(axis=0)) / 2)
    return x
