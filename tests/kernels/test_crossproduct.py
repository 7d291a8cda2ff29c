import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g2v_dask.kernels import crossproduct


def reads(seed: int, samples: int, genes: int, most: int) -> np.ndarray:
    """Whole counts over all magnitudes up to ``most``, many of them 0."""
    random = np.random.default_rng(seed)
    size = np.exp(random.uniform(0, np.log(most + 1), size=(samples, genes)))
    return np.where(random.random((samples, genes)) < 0.3, 0, size.astype(np.int64))


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 25), st.integers(1, 25))
def test_product__whole_counts_equal_pythons_integers(seed, samples, m, n):
    """Squares up to 1.2e14, sums up to 7e15: GTEx's largest counts, just below 2^53."""
    left, right = reads(seed, samples, m, 11_000_000), reads(seed + 1, samples, n, 11_000_000)
    found = crossproduct.product(left.astype(float), right.astype(float))
    exact = left.astype(object).T @ right.astype(object)
    assert [[int(v) for v in row] for row in found] == exact.tolist()


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 25))
def test_product__the_diagonal_counts_pairs_of_reads(seed, samples, genes):
    whole = reads(seed, samples, genes, 11_000_000)
    x = whole.astype(float)
    found = crossproduct.product(x, x)
    exact = whole.astype(object).T @ whole.astype(object)
    for g in range(genes):
        squares, sums = sum(int(v) ** 2 for v in whole[:, g]), sum(int(v) for v in whole[:, g])
        exact[g, g] = (squares - sums) // 2
    assert [[int(v) for v in row] for row in found] == exact.tolist()


def test_product__diagonal_by_hand():
    x = np.array([[4.0, 0.5, 1.0], [3.0, 0.0, 1.0]])
    # 4·3/2 + 3·2/2; (0.25 - 0.5) / 2 of half a read; single reads make no pair
    assert np.diagonal(crossproduct.product(x, x)).tolist() == [9.0, -0.125, 0.0]


def test_product__estimated_counts():
    random = np.random.default_rng(3)
    x, y = np.exp(random.normal(5, 3, size=(2, 70, 40))).round(2)
    x[0, 0], x[1:, 0] = 1.01, 0.99  # squares and sums that all but cancel
    exact = [[math.fsum(x[:, a] * y[:, b]) for b in range(40)] for a in range(40)]
    np.testing.assert_allclose(crossproduct.product(x, y), exact, rtol=1e-12)
    same = crossproduct.product(x, x)
    assert (same == same.T).all()
    diagonal = [math.fsum(v * (v - 1) / 2 for v in x[:, a]) for a in range(40)]
    np.testing.assert_allclose(np.diagonal(same), diagonal, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.int32, np.float64])
def test_weighted__against_numpy(dtype):
    counts = reads(1, 20, 30, 1_000_000).astype(dtype)
    counts[4] = 0
    before = counts.copy()
    libraries = counts.sum(axis=1, dtype=np.float64) + 1000
    libraries[4] = 0
    cpm = np.array(
        [[c / size * 1e6 if size else 0.0 for c in row] for row, size in zip(counts, libraries, strict=True)]
    )
    assert (crossproduct.weighted(counts, "raw") == counts).all()
    np.testing.assert_allclose(crossproduct.weighted(counts, "log1p"), np.log(1.0 + counts), rtol=1e-12)
    np.testing.assert_allclose(crossproduct.weighted(counts, "cpm", libraries=libraries), cpm, rtol=1e-15, atol=0)
    assert (counts == before).all()
    assert crossproduct.weighted(counts, "log1p").dtype == np.float64


@pytest.mark.parametrize("diagonal", [False, True])
def test_magnitudes__against_frexp(diagonal):
    random = np.random.default_rng(2)
    tile = np.exp(random.normal(0, 200, size=(50, 50)))
    tile[random.random((50, 50)) < 0.2] = 0
    tile[random.random((50, 50)) < 0.2] *= -1  # -0.0 too
    tile[:5, 7] = [2.0**52, np.nextafter(4.0, 0), 4.0, 2.0**-1022, 2.0**1023]
    cells = tile[np.triu_indices(50)] if diagonal else tile.ravel()
    exponents, numbers = np.unique(np.frexp(cells[cells > 0])[1] - 1, return_counts=True)
    expected = dict(zip(exponents.tolist(), numbers.tolist(), strict=True))
    assert crossproduct.magnitudes(tile, diagonal=diagonal) == expected
    assert sum(expected.values()) == np.count_nonzero(cells > 0)


def test_magnitudes__below_the_smallest_normal_number():
    assert crossproduct.magnitudes(np.array([[5e-324, 0.0]]), diagonal=False) == {-1023: 1}
