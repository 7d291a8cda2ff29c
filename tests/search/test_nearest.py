"""The nearest pairs of all genes, and the histogram, against every cosine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from g2v_dask.search import nearest
from g2v_dask.search import space as spaces
from tests import oracles
from tests.search import words


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None)
@given(
    kind=st.sampled_from(words.KINDS),
    n=st.integers(2, 60),
    components=st.integers(1, 12),
    seed=st.integers(0, 9999),
    duplicates=st.integers(0, 6),
    ceiling=st.sampled_from([None, 0.8, 0.0]),
    min_difference=st.sampled_from([None, 0.3]),
    k=st.sampled_from([1, 5, 30, 5000]),
    tile=st.sampled_from([1, 7, 512]),
    sample=st.sampled_from([0, 5, 1024]),
    threads=st.integers(1, 2),
)
def test_top__equals_naive(
    kind: str,
    n: int,
    components: int,
    seed: int,
    duplicates: int,
    ceiling: float | None,
    min_difference: float | None,
    k: int,
    tile: int,
    sample: int,
    threads: int,
) -> None:
    x = words.vectors(kind, n, components, seed, duplicates=duplicates)
    x = x[x.any(axis=1)]
    if len(x) < 2:
        return
    wide = oracles.unit(x)
    shortest = oracles.quantile(wide, min_difference)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spaces, "TILE", tile)
        patch.setattr(nearest, "TILE", tile)
        patch.setattr(nearest, "BATCH", 2)
        patch.setattr(nearest, "SAMPLE", sample)
        made = words.space(x, unit=True, threads=threads)
        found = nearest.top(made, k, ceiling=ceiling, shortest=shortest)
        oracles.check(found.scores, found.genes, oracles.near_pairs(wide, ceiling=ceiling, shortest=shortest), k)
        bands = [
            nearest.top(made, k, ceiling=ceiling, shortest=shortest, band=range(i, i + 2))
            for i in range(0, -(-len(x) // tile), 2)
        ]
    scores, genes = np.concatenate([b.scores for b in bands]), np.concatenate([b.genes for b in bands])
    order = np.lexsort((*genes.T[::-1], -scores))[:k]
    assert np.array_equal(scores[order], found.scores)
    assert np.array_equal(genes[order], found.genes)


def test_histogram__counts_every_pair_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x = words.vectors("normal", 300, 5, 1)
    expected, _ = np.histogram(oracles.near_pairs(oracles.unit(x)).scores, bins=200, range=(-1, 1))
    for tile in (64, 512):
        monkeypatch.setattr(spaces, "TILE", tile)
        counts, edges = nearest.histogram(words.space(x, unit=True, threads=2))
        assert (counts.sum(), len(edges)) == (300 * 299 // 2, 201)
        assert np.abs(counts - expected).sum() <= 20  # float32 moves a few over an edge
