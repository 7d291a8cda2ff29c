"""GloVe's kernels against NumPy in float64, on blocks of any shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g2v_dask.kernels import glove

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 150))
"""Columns below, at and beyond a multiple of ``LANES``, and not multiples at all."""
fuzzed = settings(deadline=None, max_examples=40)


def block(shape: tuple[int, int], seed: int, *, empty: float = 0.2) -> tuple[np.ndarray, np.ndarray]:
    """x from 1e-9 to 1e15, some cells 0 or below; and its log."""
    rng = np.random.default_rng(seed)
    x = np.exp(rng.uniform(-20, 35, shape))
    x = np.where(rng.random(shape) < empty, -rng.integers(0, 3, shape).astype(float), x)
    return x, glove.logs(x)


def weights(x: np.ndarray, x_max: float, alpha: float) -> np.ndarray:
    """Equation 9, in float64."""
    return np.where(x > 0, np.minimum(1.0, (np.maximum(x, 0) / x_max) ** alpha), 0.0)


def told(x_max: float, alpha: float) -> tuple[np.float32, np.float32]:
    return np.float32(np.log(x_max)), np.float32(alpha)


@pytest.mark.parametrize("dtype", [np.uint32, np.float64])
def test_logs__are_of_positive_cells_only(dtype: type) -> None:
    x = np.array([[0, 1, 2], [7, 4_000_000_000, 0]], dtype)
    found = glove.logs(x)
    assert found.dtype == np.float32
    assert (found[x == 0] == glove.MISSING).all()
    np.testing.assert_array_equal(found[x > 0], np.log(x[x > 0].astype(float)).astype(np.float32))
    assert glove.logs(np.array([[-3.0]]))[0, 0] == glove.MISSING


def test_logs__no_positive_number_is_taken_for_missing() -> None:
    least = np.array([[5e-324, 1.7e308]])
    assert (glove.logs(least) > glove.MISSING).all()
    assert (glove.weights(glove.logs(least), *told(100.0, 0.75)) > 0).all()


@fuzzed
@given(shape=SHAPES, seed=st.integers(0, 99), x_max=st.sampled_from([1e-3, 1.0, 10.0, 100.0, 1e9]))
@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.75, 1.0, 2.0])
def test_weights__equal_the_formula(alpha: float, shape: tuple[int, int], seed: int, x_max: float) -> None:
    x, log_x = block(shape, seed)
    f, exact = glove.weights(log_x, *told(x_max, alpha)), weights(x, x_max, alpha)
    # log x is a float32: what it is off by grows with α and with |log x|
    np.testing.assert_allclose(f, np.maximum(exact, (x > 0) * 2.0**-126), rtol=2e-5)
    assert (f[x <= 0] == 0.0).all()
    assert (f[x >= x_max] == 1.0).all()
    assert (f <= 1.0).all()


@pytest.mark.parametrize("x_max", [1.0, 3.0, 10.0, 100.0, 12345.0])
def test_weights__are_1_from_x_max_on(x_max: float) -> None:
    x = np.array([[0.0, -1.0, x_max * 0.999, x_max, x_max * 1.001, 1e300]])
    f = glove.weights(glove.logs(x), *told(x_max, 0.75))[0]
    assert f.tolist()[:2] == [0.0, 0.0]
    assert 0.999 < f[2] < 1.0
    assert f.tolist()[3:] == [1.0, 1.0, 1.0]


@fuzzed
@given(shape=SHAPES, seed=st.integers(0, 99), empty=st.sampled_from([0.0, 0.3, 0.97, 1.0]))
def test_residuals__and_their_sum_equal_float64(shape: tuple[int, int], seed: int, empty: float) -> None:
    x, log_x = block(shape, seed, empty=empty)
    predicted = np.random.default_rng(seed + 1).normal(5, 10, shape).astype(np.float32)
    f = weights(x, 100.0, 0.75)
    r = np.where(x > 0, log_x.astype(float) - predicted, 0.0)
    out = predicted.copy()
    total = glove.residuals(log_x, out, *told(100.0, 0.75))
    assert isinstance(total, float)
    assert total == pytest.approx((f * r * r).sum(), rel=3e-5)
    np.testing.assert_allclose(out, f * r, rtol=3e-5, atol=1e-30)
    assert (out[x <= 0] == 0.0).all()


def test_residuals__of_a_strip_are_those_of_the_block() -> None:
    _, log_x = block((40, 130), 3)
    predicted = np.random.default_rng(4).normal(size=(40, 130)).astype(np.float32)
    whole = predicted.copy()
    total = glove.residuals(log_x, whole, *told(100.0, 0.75))
    parts = [glove.residuals(log_x[s], predicted[s], *told(100.0, 0.75)) for s in (slice(0, 17), slice(17, 40))]
    assert predicted.tobytes() == whole.tobytes()
    assert total == pytest.approx(sum(parts), rel=1e-12)


@fuzzed
@given(shape=SHAPES, seed=st.integers(0, 99))
def test_totals__of_rows_and_columns(shape: tuple[int, int], seed: int) -> None:
    x, log_x = block(shape, seed)
    f = glove.weights(log_x, *told(100.0, 0.75)).astype(float)
    value = np.where(x > 0, log_x, 0.0).astype(float)
    by_row, by_column = np.zeros((shape[0], 4)), np.zeros((shape[1], 4))
    glove.totals(log_x, *told(100.0, 0.75), by_row, by_column)
    for axis, found in ((1, by_row), (0, by_column)):
        expected = [(x > 0).sum(axis=axis), value.sum(axis=axis), f.sum(axis=axis), f.max(axis=axis)]
        np.testing.assert_allclose(found, np.column_stack(expected), rtol=1e-12, atol=1e-9)
    before = by_row.copy()
    glove.totals(log_x, *told(100.0, 0.75), by_row, by_column)  # another block adds to them
    np.testing.assert_allclose(by_row[:, :3], 2 * before[:, :3], rtol=1e-12, atol=1e-9)
    np.testing.assert_array_equal(by_row[:, 3], before[:, 3])


@fuzzed
@given(shape=SHAPES, seed=st.integers(0, 99))
def test_centred__is_log_x_less_biases_and_0_without_an_entry(shape: tuple[int, int], seed: int) -> None:
    x, log_x = block(shape, seed)
    rng = np.random.default_rng(seed)
    rows, columns = (rng.normal(5, 5, size).astype(np.float32) for size in shape)
    out = np.full(shape, np.nan, np.float32)
    glove.centred(log_x, rows, columns, out)
    expected = np.where(x > 0, log_x.astype(float) - rows[:, None] - columns, 0.0)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    assert (out[x <= 0] == 0.0).all()


@fuzzed
@given(rows=st.integers(1, 7), columns=st.integers(1, 90), d=st.integers(1, 21), seed=st.integers(0, 99))
def test_add_outer__equals_squares_and_einsum(rows: int, columns: int, d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    f = (rng.random((rows, columns)) * (rng.random((rows, columns)) < 0.3)).astype(np.float32)
    vectors = rng.normal(size=(columns, d)).astype(np.float32)
    one = np.ones((rows, d * (d + 1) // 2), np.float32)  # it adds to what is there
    glove.add_outer(f, vectors, one)
    exact = np.einsum("ik,ka,kb->iab", f.astype(float), vectors.astype(float), vectors.astype(float))
    np.testing.assert_allclose(glove.unpacked(one, d), exact + 1.0, atol=2e-5)
    np.testing.assert_allclose(glove.unpacked(f @ glove.squares(vectors), d), exact, atol=2e-5)


def test_unpacked__is_symmetric_and_in_the_order_of_the_triangle() -> None:
    found = glove.unpacked(np.array([[1, 2, 3, 4, 5, 6]], np.float32), 3)
    assert found.dtype == np.float64
    assert found.tolist() == [[[1, 2, 3], [2, 4, 5], [3, 5, 6]]]
