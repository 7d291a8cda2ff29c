"""Neighbour overlap, Procrustes residual and rank correlation against naive loops and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial import procrustes
from scipy.stats import ortho_group, spearmanr

from g2v_dask.analysis import stability
from g2v_dask.errors import InputError, SpecError
from g2v_dask.query import cosine
from g2v_dask.search.space import make

Vectors = tuple[NDArray[np.str_], NDArray[np.float32]]


def made(genes: int, components: int, seed: int = 0) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(genes, components)).astype(np.float32)
    return np.array([f"G{i:04d}" for i in range(genes)]), vectors


def naive_neighbours(ids: NDArray[np.str_], vectors: NDArray[np.float32], k: int) -> dict[str, list[str]]:
    """The k genes of largest cosine, ties by gene id, one pair after the other."""
    found = {}
    for i, gene in enumerate(ids.tolist()):
        others = [(-cosine(vectors[i], vectors[j]), ids[j].item()) for j in range(len(ids)) if j != i]
        found[gene] = [name for _, name in sorted(others)[:k]]
    return found


def naive_overlap(a: Vectors, b: Vectors, k: int) -> list[float]:
    """Of genes in order; both embeddings of the same genes."""
    one, two = naive_neighbours(*a, k), naive_neighbours(*b, k)
    return [len(set(one[gene]) & set(two[gene])) / k for gene in sorted(one)]


def restricted(ids: NDArray[np.str_], vectors: NDArray[np.float32], genes: set[str]) -> Vectors:
    order = [i for i in np.argsort(ids).tolist() if ids[i] in genes]
    return ids[order], vectors[order]


# -- one with another ---------------------------------------------------------------------------------------


def test_compare__identical_embeddings_agree_in_all() -> None:
    one = made(80, 6)
    found = stability.compare({"a": one, "b": one}, ks=(10, 50))
    assert [(o.k, o.mean, o.low, o.high) for o in found.all.overlaps] == [(10, 1, 1, 1), (50, 1, 1, 1)]
    assert found.all.procrustes == pytest.approx(0, abs=1e-12)
    assert found.all.rank_correlation == pytest.approx(1, abs=1e-12)
    assert found.least_stable() == ()


def test_compare__rotation_shift_free_scale_and_order_of_genes_change_nothing() -> None:
    ids, vectors = made(300, 8)
    turned = (3.7 * vectors.astype(np.float64) @ ortho_group.rvs(8, random_state=1)).astype(np.float32)
    order = np.random.default_rng(2).permutation(300)
    found = stability.compare({"a": (ids, vectors), "b": (ids[order], turned[order])})
    assert [o.mean for o in found.all.overlaps] == [1, 1]
    assert found.all.procrustes == pytest.approx(0, abs=1e-10)
    assert found.all.rank_correlation == pytest.approx(1, abs=1e-9)


def test_compare__unrelated_embeddings_agree_by_chance() -> None:
    found = stability.compare({"a": made(2000, 20, seed=1), "b": made(2000, 20, seed=2)})
    assert found.chance == (10 / 1999, 50 / 1999)
    for overlap, chance in zip(found.all.overlaps, found.chance, strict=True):
        assert overlap.mean == pytest.approx(chance, rel=0.15)  # 20,000 and 100,000 draws: s.d. 10 % and 4 %
    assert found.all.procrustes > 0.9
    assert abs(found.all.rank_correlation) < 0.02
    assert found.sampled == 1_000_000  # of 1,999,000 pairs


def test_compare__is_that_of_scipy_and_a_naive_loop() -> None:
    a, b = made(70, 5), made(70, 5, seed=1)
    b = (b[0], (b[1] + 2 * a[1]).astype(np.float32))
    found = stability.compare({"a": a, "b": b}, ks=(3, 12))
    for row, k in enumerate((3, 12)):
        shares = naive_overlap(a, b, k)
        assert found.overlaps[row].tolist() == shares
        summed = found.pairs["a", "b"].overlaps[row]
        assert (summed.mean, summed.low, summed.high) == pytest.approx(
            (np.mean(shares), *np.quantile(shares, (0.05, 0.95)))
        )
    assert 0.2 < found.all.overlaps[0].mean < 0.9
    wide = [v.astype(np.float64) for v in (a[1], b[1])]
    assert found.all.procrustes == pytest.approx(procrustes(*wide)[2], rel=1e-10)
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in wide]
    cosines = [(u @ u.T)[np.triu_indices(70, 1)] for u in unit]
    assert found.sampled == 70 * 69 // 2
    assert found.all.rank_correlation == pytest.approx(spearmanr(*cosines).statistic, rel=1e-9)


def test_compare__unlike_components_are_padded_with_zeros() -> None:
    a, b = made(60, 7), made(60, 3)
    b = (b[0], np.ascontiguousarray(a[1][:, :3] + 0.1 * b[1]))
    padded = np.pad(b[1], ((0, 0), (0, 4)))
    expected = procrustes(a[1].astype(np.float64), padded.astype(np.float64))[2]
    there = stability.compare({"a": a, "b": b}, ks=(5,)).all.procrustes
    back = stability.compare({"b": b, "a": a}, ks=(5,)).all.procrustes
    assert there == pytest.approx(expected, rel=1e-10)
    assert back == pytest.approx(expected, rel=1e-10)


def test_compare__only_shared_genes_count() -> None:
    ids, vectors = made(60, 4)
    other = made(60, 4, seed=3)[1]
    one, two = (ids[:50], vectors[:50]), (ids[10:][::-1], other[10:][::-1])
    found = stability.compare({"a": one, "b": two}, ks=(7,))
    shared = set(ids[10:50].tolist())
    assert found.genes.tolist() == sorted(shared)
    assert found.sizes == {"a": 50, "b": 50}
    assert found.overlaps[0].tolist() == naive_overlap(restricted(*one, shared), restricted(*two, shared), 7)


def test_compare__genes_of_zero_vectors_are_left_out_and_counted() -> None:
    ids, vectors = made(40, 4)
    other = made(40, 4, seed=3)[1].copy()
    vectors, other[8] = vectors.copy(), 0
    vectors[[3, 8]] = 0
    found = stability.compare({"a": (ids, vectors), "b": (ids, other)}, ks=(5,))
    assert (found.zero, len(found.genes)) == (2, 38)
    assert not {"G0003", "G0008"} & set(found.genes.tolist())


def test_compare__of_three_all_is_each_genes_mean_over_pairs() -> None:
    some = {name: made(50, 4, seed=seed) for seed, name in enumerate("cab")}
    found = stability.compare(some, ks=(20, 4))
    assert list(found.pairs) == [("c", "a"), ("c", "b"), ("a", "b")]
    assert found.ks == (4, 20)
    each = [naive_overlap(some[a], some[b], 4) for a, b in found.pairs]
    np.testing.assert_allclose(found.overlaps[0], np.mean(each, axis=0), rtol=1e-12)
    assert found.all.overlaps[0].low == pytest.approx(np.quantile(np.mean(each, axis=0), 0.05))
    assert found.all.procrustes == pytest.approx(np.mean([p.procrustes for p in found.pairs.values()]))
    assert found.all.rank_correlation == pytest.approx(np.mean([p.rank_correlation for p in found.pairs.values()]))


def test_least_stable__lowest_at_first_k_then_next_then_gene_id() -> None:
    ids, vectors = made(90, 4)
    moved = vectors.copy()
    moved[[7, 30]] *= -1
    found = stability.compare({"a": (ids, vectors), "b": (ids, moved)}, ks=(5, 20))
    both = list(zip(*found.overlaps.tolist(), ids.tolist(), strict=True))
    expected = sorted(row for row in both if row[0] < 1 or row[1] < 1)[:20]
    assert [(*g.overlaps, g.gene) for g in found.least_stable()] == expected
    assert {g.gene for g in found.least_stable(2)} == {"G0007", "G0030"}


def test_lost__genes_that_keep_no_neighbour_at_any_k_in_any_pair() -> None:
    some = {name: made(90, 4, seed=seed) for seed, name in enumerate("abc")}
    found = stability.compare(some, ks=(2, 4))
    shares = np.array([naive_overlap(some[a], some[b], 4) for a, b in found.pairs])
    assert found.lost == np.count_nonzero(~shares.any(axis=0))
    assert 0 < found.lost < 90


def test_compare__seed_draws_the_pairs_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stability, "SAMPLED_PAIRS", 500)
    some = {"a": made(80, 4), "b": made(80, 4, seed=1)}
    one, again, other = (stability.compare(some, ks=(10,), seed=seed) for seed in (1, 1, 2))
    assert one.as_json() == again.as_json()
    assert one.sampled == 500
    assert one.all.rank_correlation != other.all.rank_correlation
    assert one.overlaps.tolist() == other.overlaps.tolist()


# -- neighbours ---------------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None)
@given(
    genes=st.integers(2, 70),
    components=st.integers(1, 9),
    seed=st.integers(0, 9999),
    levels=st.sampled_from([None, 1, 2]),
    rows=st.sampled_from([1, 7, 512]),
    group=st.sampled_from([1, 4, 32]),
    threads=st.integers(1, 2),
    data=st.data(),
)
def test_nearest__is_naive_whatever_block_group_and_ties(
    genes: int,
    components: int,
    seed: int,
    levels: int | None,
    rows: int,
    group: int,
    threads: int,
    data: st.DataObject,
) -> None:
    k = data.draw(st.integers(1, genes - 1))
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(genes, components)).astype(np.float32)
    if levels is not None:  # whole numbers: many equal cosines
        vectors = random.integers(-levels, levels + 1, size=(genes, components)).astype(np.float32)
        vectors[~vectors.any(axis=1), 0] = 1
    ids = random.permutation(np.array([f"g{i}" for i in range(genes)]))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stability, "ROWS", rows)
        patched.setattr(stability, "GROUP", group)
        space = make(ids, vectors, np.arange(genes), unit=True, threads=threads)
        found = stability.nearest(space, k)
    expected = naive_neighbours(ids, vectors, k)
    assert [space.genes[row].tolist() for row in found] == [expected[gene] for gene in space.genes.tolist()]


# -- what cannot be compared --------------------------------------------------------------------------------


def test_compare__too_few_shared_genes_says_how_many() -> None:
    with pytest.raises(InputError, match=r"k must be less than .* 30 \(of a 40, b 50\); got k = 30: ask for fewer"):
        stability.compare({"a": made(40, 3), "b": (made(60, 3)[0][10:], made(50, 3)[1])}, ks=(10, 30))


def test_compare__no_shared_gene() -> None:
    ids, vectors = made(20, 3)
    with pytest.raises(InputError, match=r"not zero, 0 \(of"):
        stability.compare({"a": (ids, vectors), "b": (np.strings.add("x", ids), vectors)}, ks=(1,))


def test_compare__equal_cosines_leave_nothing_to_compare() -> None:
    ids, vectors = made(20, 3)
    with pytest.raises(InputError, match="all cosines of flat are 1: no gene has nearest neighbours"):
        stability.compare({"a": (ids, vectors), "flat": (ids, np.ones_like(vectors))}, ks=(2,))


@pytest.mark.parametrize("ks", [(), (0,), (-1, 5), (5, 5)])
def test_compare__numbers_of_neighbours_that_are_none(ks: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match="k must be one or more different numbers, each at least 1"):
        stability.compare({"a": made(20, 3), "b": made(20, 3)}, ks=ks)


def test_ascending__sorts_and_refuses_as_compare() -> None:
    assert stability.ascending((50, 3, 10)) == (3, 10, 50)
    with pytest.raises(SpecError, match="each at least 1; got 3, 0"):
        stability.ascending((3, 0))


def test_compare__takes_two() -> None:
    with pytest.raises(SpecError, match="at least two embeddings, got a"):
        stability.compare({"a": made(20, 3)}, ks=(2,))
