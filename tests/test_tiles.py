import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from g2v_dask import tiles


@given(size=st.integers(1, 60), tile=st.integers(1, 70))
def test_blocks__cover_the_upper_triangle_once(size: int, tile: int) -> None:
    seen = np.zeros((size, size), dtype=int)
    for row, col in tiles.blocks(size, tile):
        seen[tiles.span(size, tile, row), tiles.span(size, tile, col)] += 1
    assert (seen[np.triu_indices(size)] == 1).all()
    assert seen.max() == 1


@pytest.mark.parametrize(("size", "tile", "bands"), [(1, 1, 1), (4, 2, 2), (5, 2, 3), (3, 9, 1)])
def test_count__rounds_up(size: int, tile: int, bands: int) -> None:
    assert tiles.count(size, tile) == bands
