"""Lanes and blocks: all analogies of a gene, and the best of all, as a naive search finds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from g2v_dask.search import analogies
from g2v_dask.search import space as spaces
from g2v_dask.search.analogies import Lanes
from g2v_dask.search.ranking import Found
from g2v_dask.search.space import Space
from tests import oracles
from tests.search import words

MODEST = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)


def lanes(made: Space, want: int, *, shorter: bool, bar: float = -np.inf, **rules: Any) -> Lanes:
    return Lanes(made, want, shorter=shorter, bar=bar, **{"shortest": 0.0, "ceiling": None, **rules})


def small(patch: pytest.MonkeyPatch, chunk: int) -> None:
    """So that a few genes are several of everything."""
    patch.setattr(spaces, "TILE", 5)
    patch.setattr(analogies, "CHUNK", chunk)
    patch.setattr(analogies, "FIRST_ENDS", 2)
    patch.setattr(analogies, "LANES_AT_ONCE", 7)
    patch.setattr(analogies, "BLOCK_TILE", 64)


def same(one: Found, two: Found) -> bool:
    return np.array_equal(one.scores, two.scores) and np.array_equal(one.genes, two.genes)


@MODEST
@given(
    kind=st.sampled_from(words.KINDS),
    n=st.integers(4, 26),
    components=st.integers(1, 10),
    seed=st.integers(0, 9999),
    duplicates=st.integers(0, 5),
    zeros=st.integers(0, 3),
    unit=st.booleans(),
    ceiling=st.sampled_from([None, None, 0.8, 0.0, -0.5]),
    min_difference=st.sampled_from([None, None, 0.1, 0.6]),
    k=st.sampled_from([1, 3, 10, 60, 100_000]),
    chunk=st.sampled_from([1, 5, 256]),
    threads=st.integers(1, 2),
)
def test_lanes__equal_naive(
    kind: str,
    n: int,
    components: int,
    seed: int,
    duplicates: int,
    zeros: int,
    unit: bool,
    ceiling: float | None,
    min_difference: float | None,
    k: int,
    chunk: int,
    threads: int,
) -> None:
    """One gene and all; searched outright, by blocks, after a sample, with the bar that the answer has."""
    unit = unit and kind != "clustered"  # where unit vectors are 1e-8 apart, how they were rounded shows in scores
    x = words.vectors(kind, n, components, seed, duplicates=duplicates, zeros=zeros)
    x = x[x.any(axis=1)] if unit else x
    if len(x) < 4:
        return
    wide = oracles.unit(x) if unit else x.astype(np.float64)
    rules = {"shortest": oracles.quantile(wide, min_difference), "ceiling": ceiling}
    a, everyone = seed % len(x), np.arange(len(x))
    with pytest.MonkeyPatch.context() as patch:
        small(patch, chunk)
        made = words.space(x, unit=unit, threads=threads)
        for mine, shorter in ((np.array([a]), False), (everyone, True)):
            every = oracles.analogies(wide, a=None if shorter else a, **rules)
            outright = lanes(made, k, shorter=shorter, **rules)
            outright.search(mine)
            found = outright.found()
            oracles.check(found.scores, found.genes, every, k)
            sampled = lanes(made, k, shorter=shorter, **rules)
            enough = sampled.sample(mine[:3], everyone)
            assert not enough or len(found) == k
            sampled.search(mine)
            assert same(sampled.found(), found)
            if len(found) == k:
                told = lanes(made, k, shorter=shorter, bar=float(found.scores[-1]), **rules)
                told.search(mine)
                assert same(told.found(), found)
                if not shorter and found.scores[-1] > 1e-4:
                    blocks = lanes(made, k, shorter=False, bar=float(found.scores[-1]), **rules)
                    blocks.search_blocks(a)
                    assert same(blocks.found(), found)
        assert same(analogies.of_gene(made, a, k, **rules), _of_gene(made, a, k, rules))


def _of_gene(made: Space, a: int, k: int, rules: Any) -> Found:
    search = lanes(made, k, shorter=False, **rules)
    search.search(np.array([a]))
    return search.found()


@pytest.mark.parametrize(
    ("kind", "ceiling"), [(kind, c) for kind in words.KINDS for c in (None, 0.5) if (kind, c) != ("offset", 0.5)]
)
def test_blocks__equal_lanes(monkeypatch: pytest.MonkeyPatch, kind: str, ceiling: float | None) -> None:
    """Several blocks, tiles and batches of lanes; the bar far down, in the middle, or where the answer ends."""
    x = words.vectors(kind, 150, 6, 4, duplicates=5, zeros=2)
    for threads in (1, 2):
        made = words.space(x, threads=threads)
        expected = _of_gene(made, 31, 200, {"ceiling": ceiling})
        assert len(expected) == 200
        small(monkeypatch, 64)
        for bar in (0.1, float(expected.scores[-1]) * 0.9, float(expected.scores[-1])):
            blocks = lanes(made, 200, shorter=False, bar=bar, ceiling=ceiling)
            blocks.search_blocks(31)
            assert same(blocks.found(), expected)


@pytest.mark.parametrize("components", [4, 256])
def test_blocks__differences_smaller_than_float32_can_tell(components: int) -> None:
    """Genes 1e-6 apart: the sign of a gap is noise, and the answer is not."""
    random = np.random.default_rng(0)
    x = random.normal(size=(5, components))[np.arange(45) % 5] + 3e-6 * random.normal(size=(45, components))
    x = x.astype(np.float32)
    made = words.space(x)
    every = oracles.analogies(x.astype(np.float64), a=0)
    k = int((every.scores > 0.003).sum())
    expected = _of_gene(made, 0, k, {})
    oracles.check(expected.scores, expected.genes, every, k)
    for few in (20, 500, k):
        for shorter in (False, True):
            best = every if not shorter else oracles.analogies(x.astype(np.float64))
            told = lanes(made, few, shorter=shorter, bar=float(best.scores[few - 1]) - 1e-9)
            told.search(np.arange(45) if shorter else np.array([0]))
            oracles.check(told.found().scores, told.found().genes, best, few)
        blocks = lanes(made, few, shorter=False, bar=float(expected.scores[few - 1]))
        blocks.search_blocks(0)
        assert same(blocks.found(), expected.take(np.arange(few)))


@pytest.mark.parametrize("slow", [False, True])
def test_of_gene__either_way(monkeypatch: pytest.MonkeyPatch, slow: bool) -> None:
    """What a few lanes say of the time chooses a way, and no answer."""
    x = words.vectors("flat", 60, 8, 2)
    monkeypatch.setattr(Lanes, "slow", lambda _, __: slow)
    called = []
    real = Lanes.search_blocks
    monkeypatch.setattr(Lanes, "search_blocks", lambda self, a: (called.append(a), real(self, a)))
    found = analogies.of_gene(words.space(x), 7, 40, shortest=0.0, ceiling=None)
    oracles.check(found.scores, found.genes, oracles.analogies(x.astype(np.float64), a=7), 40)
    assert called == [7] * slow


def test_slow__leaves_nothing_behind() -> None:
    made = words.space(words.vectors("normal", 80, 6, 3))
    search = lanes(made, 10, shorter=False)
    assert search.sample(np.array([3]), np.arange(80))
    search.slow(3)
    assert len(search.found()) == 0
    search.search(np.array([3]))
    assert same(search.found(), _of_gene(made, 3, 10, {}))


def test_lanes__prune_and_count() -> None:
    """Most lanes are out of reach; all four tests leave fewer and fewer."""
    made = words.space(words.vectors("normal", 120, 16, 1))
    search = lanes(made, 50, shorter=True)
    assert search.sample(np.arange(120), np.arange(120))
    search.search(np.arange(120))
    all_lanes, reached, tested, measured, scored = search.work().tolist()
    assert all_lanes == 120 * 119 // 2
    assert 0 < reached < all_lanes
    assert 50 <= scored <= measured <= tested < all_lanes * 118 * 117 / 100
    unpruned = lanes(made, 50, shorter=True)
    unpruned.search(np.arange(120))
    assert same(unpruned.found(), search.found())


@pytest.mark.parametrize("first", [0, 1])
def test_lanes__every_share_of_the_genes_finds_its_own(first: int) -> None:
    """Genes a stride apart, as parts have them: together all, none twice."""
    made = words.space(words.vectors("whole", 24, 3, 5))
    together = lanes(made, 10**6, shorter=True)
    together.search(np.arange(24))
    parts = []
    for part in range(5):
        search = lanes(made, 10**6, shorter=True)
        search.search(np.arange(part, 24, 5), first=part * first)
        parts.append(search.found())
    genes = np.concatenate([p.genes for p in parts])
    assert len(np.unique(genes, axis=0)) == len(genes) == len(together.found())


@pytest.mark.parametrize("n", [4, 5])
def test_lanes__four_and_five_genes(n: int) -> None:
    """Of four genes each pairing of two and two gives four analogies' worth of two answers."""
    x = words.vectors("normal", n, 3, 9)
    search = lanes(words.space(x), 1000, shorter=True)
    search.search(np.arange(n))
    assert len(search.found()) == {4: 6, 5: 30}[n]
    oracles.check(search.found().scores, search.found().genes, oracles.analogies(x.astype(np.float64)), 1000)
