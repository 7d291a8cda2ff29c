"""The bound never lies below r, and the cost model is a plain function of its figures."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from g2v_dask.kernels import bound


def unit_rows(seed: int, genes: int, samples: int, factors: int) -> np.ndarray:
    """Standardised genes that share a few factors, as real ones do."""
    rng = np.random.default_rng(seed)
    noise = rng.uniform(0.01, 2, genes)
    x = rng.standard_normal((genes, factors)) @ rng.standard_normal((factors, samples))
    x += noise[:, None] * rng.standard_normal((genes, samples))
    x -= x.mean(axis=1, keepdims=True)
    return x / np.sqrt(np.square(x).sum(axis=1, keepdims=True))


@given(
    seed=st.integers(0, 2**32 - 1),
    genes=st.integers(2, 60),
    samples=st.integers(3, 90),
    factors=st.integers(1, 5),
    rank=st.integers(1, 20),
)
def test_shorten__product_never_below_r_less_slack(seed, genes, samples, factors, rank):
    unit = unit_rows(seed, genes, samples, factors)
    axes = bound.principal_axes(unit, min(rank, samples - 1))
    assert axes is not None
    short = np.empty((genes, axes.shape[1] + 1), np.float32)
    bound.shorten(unit, axes, short)
    product = (short @ short.T).astype(np.float64)
    assert np.all(product >= unit @ unit.T - bound.slack(axes.shape[1]))


def test_shorten__copies_of_a_gene_reach_one():
    unit = unit_rows(1, 3, 20, 2)[[0, 0, 1, 1]]
    axes = bound.principal_axes(unit, 7)
    assert axes is not None
    short = np.empty((4, axes.shape[1] + 1), np.float32)
    bound.shorten(unit, axes, short)
    assert (short[0] @ short[1]) >= 1 - bound.slack(7)


def test_principal_axes__hold_more_than_any_other_axes():
    unit = unit_rows(2, 500, 80, 3)
    axes = bound.principal_axes(unit, 15)
    assert axes is not None
    exact = np.linalg.eigvalsh(unit.T @ unit)[::-1][:15].sum()
    assert axes.shape == (80, 15)
    assert np.square(unit @ axes).sum() == pytest.approx(exact, rel=0.02)


def test_candidate_rates__equal_counted_pairs():
    unit = unit_rows(3, 200, 40, 3)
    axes = bound.principal_axes(unit, 15)
    assert axes is not None
    rates = bound.candidate_rates(unit @ axes, 0.8, (7, 15))
    for rank in (7, 15):
        short = np.empty((200, rank + 1), np.float32)
        bound.shorten(unit, axes[:, :rank], short)
        counted = np.count_nonzero(np.triu(short @ short.T >= 0.8, 1)) / (200 * 199 / 2)
        assert rates[rank] == pytest.approx(counted, abs=2e-4)
    assert rates[7] >= rates[15]


def test_choose_rank__few_candidates_take_the_shortest():
    assert bound.choose_rank({7: 0.0, 15: 0.0, 31: 0.0}, samples=100, genes=20_000) == 7


def test_choose_rank__longer_vectors_when_they_leave_fewer():
    assert bound.choose_rank({15: 0.02, 31: 0.0005}, samples=200, genes=20_000) == 31


def test_choose_rank__plain_when_too_many_are_left():
    rates = {15: 0.2, 31: 0.1}
    assert bound.choose_rank(rates, samples=80, genes=20_000) is None
    assert bound.choose_rank(rates, samples=80, genes=20_000, always=True) == 31


def test_choose_rank__plain_for_few_genes():
    rates = {15: 0.0}
    assert bound.choose_rank(rates, samples=100, genes=300) is None
    assert bound.choose_rank(rates, samples=100, genes=20_000) == 15


def test_may_pay__only_with_many_samples_and_genes():
    assert bound.may_pay(samples=100, genes=20_000)
    assert not bound.may_pay(samples=6, genes=20_000)
    assert not bound.may_pay(samples=100, genes=200)
    assert not bound.may_pay(samples=bound.MOST_SAMPLES + 1, genes=20_000)


def test_ranks_for__at_most_half_of_the_samples():
    assert bound.ranks_for(80) == (7, 15, 23, 31)
    assert bound.ranks_for(3) == (2,)
    assert bound.ranks_for(8) == (7,)


def test_sample_of_genes__seeded_sorted_and_distinct():
    drawn = bound.sample_of_genes(1000, 100, 1)
    assert np.array_equal(drawn, bound.sample_of_genes(1000, 100, 1))
    assert np.all(np.diff(drawn) > 0)
    assert np.array_equal(bound.sample_of_genes(5, 100, 1), np.arange(5))
