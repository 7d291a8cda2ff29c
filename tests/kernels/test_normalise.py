"""Numerics of ingest against qnorm, NumPy and plain loops."""

import numpy as np
import pytest
import qnorm
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from g2v_dask.kernels import normalise

SMALL = st.integers(1, 12)
ROUNDED = st.integers(-5, 5).map(float)  # many ties


@settings(max_examples=150, deadline=None)
@given(arrays(np.float64, st.tuples(SMALL, SMALL), elements=ROUNDED))
def test_quantile_normalise__equals_qnorm_with_ties(values):
    wanted = qnorm.quantile_normalize(values.T.copy(), axis=1)
    normalise.quantile_normalise(values)
    np.testing.assert_allclose(values.T, wanted, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("decimals", [1, 3, 12])
@pytest.mark.parametrize(("samples", "rows"), [(23, 3000), (3, 70_000)])
def test_quantile_normalise__equals_qnorm(samples, rows, decimals):
    rng = np.random.default_rng(decimals)
    values = np.round(rng.normal(size=(samples, rows)) * rng.lognormal(size=(samples, 1)), decimals)
    values[:, :7] = -0.0
    values[0, 7:20] = 0.0
    wanted = qnorm.quantile_normalize(values.T.copy(), axis=1)
    normalise.quantile_normalise(values)
    np.testing.assert_allclose(values.T, wanted, rtol=1e-12, atol=1e-12)


def test_quantile_normalise__values_that_differ_in_the_last_bit():
    """Keys that agree in all but the lowest bits must still be ordered exactly."""
    rng = np.random.default_rng(2)
    values = 1.0 + rng.integers(0, 2000, size=(4, 5000)) * 2.0**-52
    wanted = qnorm.quantile_normalize(values.T.copy(), axis=1)
    normalise.quantile_normalise(values)
    np.testing.assert_allclose(values.T, wanted, rtol=1e-15)
    order = np.argsort(values, axis=1, kind="stable")
    assert (np.diff(np.take_along_axis(values, order, axis=1)) >= 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_quantile_normalise__refuses_what_would_move_silently(bad):
    values = np.arange(12.0).reshape(3, 4)
    values[1, 2] = bad
    with pytest.raises(ValueError, match="expected finite values"):
        normalise.quantile_normalise(values)


@settings(max_examples=100, deadline=None)
@given(arrays(np.float64, st.tuples(SMALL, SMALL), elements=st.one_of(ROUNDED, st.just(np.nan))))
def test_facts__equal_numpy(values):
    if np.isnan(values).all():
        with pytest.raises(ValueError, match="at least one value"):
            normalise.facts(values)
        return
    found = normalise.facts(values)
    np.testing.assert_allclose(found.quantiles, np.nanquantile(values, normalise.QUANTILES))
    there = values[~np.isnan(values)]
    assert found.zero_share == pytest.approx((there == 0).mean())
    assert found.missing_share == pytest.approx(np.isnan(values).mean())
    assert found.median_library == pytest.approx(np.median(np.nansum(values, axis=1)))
    nonzero = there[there != 0]
    assert found.integer_share == pytest.approx((nonzero == np.rint(nonzero)).mean() if nonzero.size else 0)


def facts(**changes):
    base = {
        "quantiles": (0.0, 8.0, 300.0, 1000.0, 13_000.0, 1e6),
        "missing_share": 0.0,
        "zero_share": 0.1,
        "integer_share": 0.7,
        "median_library": 3e7,
    }
    return normalise.Facts(**(base | changes))


@pytest.mark.parametrize(
    ("changes", "scale"),
    [
        ({}, "counts"),
        ({"integer_share": 1.0, "median_library": 4e3}, "counts"),
        ({"zero_share": 0.0099}, "linear"),
        ({"zero_share": 0.01}, "counts"),
        ({"integer_share": 0.25}, "counts"),
        ({"integer_share": 0.2499}, "linear"),
        ({"median_library": 2e6}, "linear"),
        ({"quantiles": (-0.1, 8.0, 300.0, 1000.0, 13_000.0, 1e6)}, "linear"),
        ({"quantiles": (0.0, 0.0, 0.0, 1.0, 5.0, 1000.0), "integer_share": 1.0}, "log2"),
        ({"quantiles": (0.0, 0.0, 0.0, 1.0, 5.0, 1001.0), "integer_share": 1.0}, "counts"),
        ({"quantiles": (0.0, 0.0, 0.0, 1.0, 5.0, 60.0)}, "log2"),
        ({"quantiles": (0.0, 0.1, 3.0, 8.0, 12.0, 50.1)}, "linear"),
        ({"quantiles": (2.0, 4.0, 6.0, 8.0, 12.0, 16.0)}, "log2"),
        ({"quantiles": (0.1, 0.5, 1.0, 1.5, 3.0, 5.0)}, "linear"),
        ({"quantiles": (50.0, 58.0, 59.0, 60.0, 100.0, 100.0), "zero_share": 0.0}, "log2"),
    ],
)
def test_detect_scale__rules_at_their_borders(changes, scale):
    assert normalise.detect_scale(facts(**changes), counts_possible=True)[0] == scale


def test_detect_scale__never_counts_where_they_are_impossible():
    assert normalise.detect_scale(facts(), counts_possible=False) == ("linear", "q99 > 100")


def test_log2__not_positive_becomes_missing():
    values = np.array([[4.0, 0.0, -1.0], [np.nan, 1.0, 8.0]])
    assert normalise.log2(values) == 2
    np.testing.assert_array_equal(values, [[2, np.nan, np.nan], [np.nan, 0, 3]])
    values = np.array([[0.0, 3.0]])
    assert normalise.log2(values, offset=1.0) == 0
    np.testing.assert_array_equal(values, [[0, 2]])


def test_fill_missing__twenty_percent_is_kept():
    values = np.ones((10, 4))
    values[:, 3] = 0.1
    values[:2, 1] = np.nan
    values[:3, 2] = np.nan
    values[4, 1] = 5.0
    values[0, 3] = np.nan
    out, kept, filled = normalise.fill_missing(values)
    assert kept.tolist() == [True, True, False, True]
    assert filled == 3
    assert out[:2, 1].tolist() == [12 / 8, 12 / 8]
    assert (out[:, 2] == 0.1).all()  # the mean of equal values is that value, to the bit
    assert normalise.constant_rows(out).tolist() == [True, False, True]


def test_fill_missing__nothing_to_do_is_no_copy():
    values = np.ones((3, 4))
    assert normalise.fill_missing(values)[0] is values


def test_variances__equal_numpy():
    values = np.random.default_rng(0).normal(5, 2, size=(31, 200))
    np.testing.assert_allclose(normalise.variances(values), values.var(axis=0, ddof=1), rtol=1e-12)


def test_best_rows__largest_variance_then_label_then_order():
    genes = np.array([1, 0, 1, -1, 0, 1, 2, 2])
    variance = np.array([3.0, 1.0, 3.0, 99.0, 2.0, 1.0, 0.0, 0.0])
    labels = ["p9", "p1", "p10", "p0", "p4", "p5", "x", "x"]
    assert normalise.best_rows(genes, variance, labels).tolist() == [4, 2, 6]


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_sum_rows__equals_a_loop(data):
    rows = data.draw(st.integers(1, 20))
    genes = data.draw(arrays(np.int64, rows, elements=st.integers(-1, 4)))
    values = data.draw(arrays(np.float64, (3, rows), elements=st.integers(0, 9).map(float)))
    out = normalise.sum_rows(values, genes, 5)
    for gene in range(5):
        np.testing.assert_array_equal(out[:, gene], values[:, genes == gene].sum(axis=1))


def test_log_cpm__equals_its_formula():
    counts = np.array([[1.0, 0.0, 3.0], [10.0, 10.0, 0.0]])
    wanted = np.log2(counts / counts.sum(axis=1, keepdims=True) * 1e6 + 1)
    np.testing.assert_allclose(normalise.log_cpm(counts), wanted, rtol=1e-14)
    with pytest.raises(ValueError, match="sample 1 has no counts"):
        normalise.log_cpm(np.array([[1.0], [0.0]]))
