"""A matrix in memory that trainers read as they read the store's, and small co-occurrences to train on."""

from __future__ import annotations

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
