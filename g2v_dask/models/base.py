"""What every trainer takes and gives, and how all of them read the co-occurrence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from g2v_dask import tiles
from g2v_dask.folders import Folder
from g2v_dask.spec import TrainSpec

Progress = Callable[[int, int, str], None]
"""``progress(done, total, note)``; may be called from a helper thread, never from two at once."""

Alive = Callable[[], None]
"""Raises when this task no longer owns the work; may be called from a helper thread, as ``Progress``."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a trainer makes: one vector a gene, in vocabulary order (count descending, gene id)."""

    genes: NDArray[np.str_]
    """(genes,) ids."""
    vectors: NDArray[np.float32]
    """(genes, components)."""
    losses: list[float]
    """One value an iteration; empty where a method has none."""
    facts: dict[str, Any]
    """What identity and data determine, for the card; JSON-ready."""


class Model(Protocol):
    """A trainer: the modules that ``g2v_dask.models.MODELS`` names."""

    def train(
        self,
        matrix: tiles.TileMatrix,
        spec: TrainSpec,
        *,
        folder: Folder,
        progress: Progress,
        alive: Alive,
    ) -> Trained:
        """The vectors. ``folder`` holds checkpoints and scratch files; what it holds is resumed."""

    def memory_bytes(self, genes: int, cells: int, components: int) -> int:
        """Bytes that training needs, beyond the interpreter with its imports."""


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Non-zero cells of the upper triangle (row ≤ column), sorted by (row, column)."""

    rows: NDArray[np.int32]
    cols: NDArray[np.int32]
    values: NDArray[Any]


def cells(matrix: tiles.TileMatrix, least: int) -> Iterator[Cells]:
    """The cells with value ≥ ``least``, or > 0 where that is 1 or less, one band of rows after the other.

    Put together they are the same for any tile size. Memory: one dense tile and 24 bytes a cell of a band.
    """
    size, tile = len(matrix.genes), matrix.tile
    bands = tiles.count(size, tile)
    for band in range(bands):
        found = [_tile_cells(matrix, band, col, least) for col in range(band, bands)]
        rows = np.concatenate([f.rows for f in found])
        order = np.argsort(rows, kind="stable")  # columns already ascend within a row
        yield Cells(
            rows=rows[order],
            cols=np.concatenate([f.cols for f in found])[order],
            values=np.concatenate([f.values for f in found])[order],
        )


def _tile_cells(matrix: tiles.TileMatrix, row: int, col: int, least: int) -> Cells:
    dense = np.ascontiguousarray(matrix.read(row, col))
    if least > 1:
        chosen = dense >= least
    else:  # of whole numbers those from 1 on; of others, which sums of log counts may be, no positive one is lost
        chosen = dense if dense.dtype.kind in "ub" else dense > 0
    flat = np.flatnonzero(chosen)
    rows, cols = np.divmod(flat.astype(np.int32), np.int32(dense.shape[1]))
    values = dense.reshape(-1)[flat]
    if row == col:
        upper = rows <= cols
        rows, cols, values = rows[upper], cols[upper], values[upper]
    return Cells(rows=rows + np.int32(row * matrix.tile), cols=cols + np.int32(col * matrix.tile), values=values)


def vocabulary(genes: NDArray[np.str_], counts: NDArray[Any], least: int) -> NDArray[np.int64]:
    """Positions on the axis of the genes with count ≥ ``least``, by (count descending, gene id).

    >>> vocabulary(np.array(["A", "B", "C", "D"]), np.array([2, 0, 5, 2]), 1)
    array([2, 0, 3])
    """
    order = np.lexsort((genes, -counts))
    return order[counts[order] >= least]


def signs(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(components,) ±1 that make the entry of largest size of each column positive; of equal ones the first decides."""
    first = np.argmax(np.round(np.abs(vectors), 6), axis=0)
    return np.where(np.take_along_axis(vectors, first[None], axis=0)[0] < 0, -1.0, 1.0)
