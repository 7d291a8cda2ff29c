"""Differences of two embeddings: against SciPy, and planted ones found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap

from g2v_dask.analysis import paired


def test_of_means__is_scipys_paired_bootstrap() -> None:
    random = np.random.default_rng(6)
    first = random.normal(size=80)
    second = first + random.normal(0.3, 0.5, size=80)
    found = paired.of_means(first, second, draws=4000, seed=1)
    assert found.value == pytest.approx((second - first).mean())
    theirs = bootstrap((second - first,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(2))
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.01)
    assert found.low > 0  # without pairing the noise of the units would hide it
    assert paired.of_means(first, second, draws=4000, seed=1) == found


def test_of_means__units_that_one_does_not_know_take_no_part() -> None:
    first, second = np.array([1.0, np.nan, 3.0, 5.0]), np.array([2.0, 9.0, np.nan, 6.0])
    found = paired.of_means(first, second, draws=20, seed=1)
    assert (found.value, found.low, found.high, found.units) == (1, 1, 1, 2)
    one = paired.of_means(first[:3], second[:3], draws=20, seed=1)
    assert (one.value, one.units, np.isnan(one.low)) == (1, 1, True)
    none = paired.of_means(first[1:3], second[1:3], draws=20, seed=1)
    assert (none.units, np.isnan(none.value), np.isnan(none.low)) == (0, True, True)


def test_of_draws__what_could_not_be_scored_takes_no_part() -> None:
    found = paired.of_draws(0.5, np.array([0.0, np.nan, 1.0]), units=3)
    assert (found.low, found.high) == pytest.approx((0.025, 0.975))
    assert np.isnan(paired.of_draws(0.5, np.array([np.nan]), units=3).low)
