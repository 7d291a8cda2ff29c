"""The list that is shown: no gene too often, taken in final order, until it is full or there are no more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g2v_dask.errors import SpecError
from g2v_dask.search import ranking
from g2v_dask.search.ranking import Found, merged, ranked
from tests import oracles


def answers(size: int, genes: int, seed: int, columns: int = 4) -> Found:
    random = np.random.default_rng(seed)
    rows = np.array([random.permutation(genes)[:columns] for _ in range(size)], dtype=np.int64)
    return Found(scores=np.sort(random.normal(size=size))[::-1], genes=rows.reshape(size, columns))


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(
    size=st.integers(0, 300),
    genes=st.integers(4, 40),
    k=st.integers(1, 60),
    limit=st.sampled_from([None, 1, 2, 5, 1000]),
    free=st.integers(0, 1),
    seed=st.integers(0, 999),
)
def test_ranked__greedy_over_the_whole_list(
    size: int, genes: int, k: int, limit: int | None, free: int, seed: int
) -> None:
    everything = answers(size, genes, seed)
    asked = []

    def top(want: int) -> Found:
        asked.append(want)
        return everything.take(np.arange(min(want, size)))

    found = ranked(top, k, max_per_gene=limit, genes=genes, free=free)
    naive = oracles.Every(scores=everything.scores, genes=everything.genes).few(k, limit, free)
    oracles.check_few(found.scores, found.genes, naive)
    assert asked == sorted(set(asked))  # more each time
    assert limit is not None or asked == [k]


def test_ranked__past_ten_million_names_the_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "MOST_HELD", 100)
    monkeypatch.setattr(ranked, "__kwdefaults__", {**ranked.__kwdefaults__, "most": 100})
    same = Found(scores=np.ones(1000), genes=np.tile(np.arange(4), (1000, 1)))
    with pytest.raises(SpecError, match=r"max-per-gene 2 lets only 2 of the best 100 .*--ceiling"):
        ranked(lambda want: same.take(np.arange(want)), 5, max_per_gene=2, genes=4)
    few = ranked(lambda want: same.take(np.arange(min(want, 90))), 5, max_per_gene=2, genes=4)
    assert len(few) == 2  # there are no more: no error


def test_merged__ties_by_positions() -> None:
    one = (np.array([1.0, 0.5]), np.array([3, 0]), np.array([1, 1]))
    two = (np.array([1.0, 1.0, 0.5]), np.array([3, 2, 0]), np.array([0, 9, 0]))
    assert merged([one, two], 4).genes.tolist() == [[2, 9], [3, 0], [3, 1], [0, 0]]
