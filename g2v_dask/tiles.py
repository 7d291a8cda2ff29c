"""Geometry of a symmetric gene × gene matrix in square tiles: the upper triangle, row by row.

>>> list(blocks(5, 2))
[(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
>>> [span(5, 2, b) for b in range(count(5, 2))]
[slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


def count(size: int, tile: int) -> int:
    """How many tiles lie along one side."""
    return -(-size // tile)


def span(size: int, tile: int, band: int) -> slice:
    """The genes of one band."""
    return slice(band * tile, min((band + 1) * tile, size))


def blocks(size: int, tile: int) -> Iterator[tuple[int, int]]:
    """Every tile (row band, column band) of the upper triangle, in storage order."""
    bands = count(size, tile)
    return ((i, j) for i in range(bands) for j in range(i, bands))


class TileMatrix(Protocol):
    """A symmetric matrix that is read tile by tile; what every trainer takes."""

    @property
    def genes(self) -> NDArray[np.str_]:
        """(genes,) ids in the order of the axis."""

    @property
    def tile(self) -> int:
        """Genes along one side of a tile."""

    def read(self, row: int, col: int) -> NDArray[Any]:
        """One tile with row ≤ col, dense; tiles on the diagonal are full."""
