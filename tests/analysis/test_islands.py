"""Islands of maps: planted ones are found, whatever the map's scale; their kinds are tested as SciPy does."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.stats import false_discovery_control, fisher_exact

from g2v_dask.analysis import islands

Floats = NDArray[np.float64]


def planted(sizes: tuple[int, ...] = (400, 120, 60, 25), lone: int = 15, seed: int = 1) -> tuple[Floats, NDArray]:
    """Discs of even density in a row, 12 apart at their shores, and lone genes far from all; shuffled."""
    rng = np.random.default_rng(seed)
    places, which, at = [], [], 0.0
    for number, size in enumerate(sizes, start=1):
        radius = math.sqrt(size)  # the same density in each
        angle, distance = rng.uniform(0, 2 * math.pi, size), radius * np.sqrt(rng.uniform(size=size))
        places.append(np.column_stack([at + radius + distance * np.cos(angle), distance * np.sin(angle)]))
        which += [number] * size
        at += 2 * radius + 12
    places.append(np.column_stack([1_000 * np.arange(1, lone + 1), np.full(lone, 500.0)]))
    order = rng.permutation(sum(sizes) + lone)
    return np.concatenate(places)[order], np.array(which + [0] * lone)[order]


def test_find__planted_islands_by_size():
    places, which = planted()
    found = islands.find(places)
    assert found.dtype == np.int32
    assert found.shape == which.shape
    assert (found[which == 0] == 0).all()
    assert (found == which).mean() > 0.97  # a few genes off the shore are on none
    assert set(found[found != 0]) == {1, 2, 3, 4}
    assert all(set(found[which == k]) <= {0, k} for k in (1, 2, 3, 4))
    sizes = np.bincount(found)[1:]
    assert (np.diff(sizes) <= 0).all()


@pytest.mark.parametrize("change", ["stretched", "turned", "moved", "other order"])
def test_find__the_map_has_its_own_scale(change):
    places, _ = planted()
    found = islands.find(places)
    order = np.arange(len(places))
    if change == "stretched":
        places = places * 1e-3
    elif change == "turned":
        places = places @ np.array([[0.6, -0.8], [0.8, 0.6]])
    elif change == "moved":
        places = places + 77
    else:
        order = np.random.default_rng(3).permutation(len(places))
    assert (islands.find(places[order]) == found[order]).all()


def test_find__least_genes():
    places, _ = planted()
    found = islands.find(places)
    third = int((found == 3).sum())
    assert (islands.find(places, least=third) == np.where(found <= 3, found, 0)).all()
    assert (islands.find(places, least=third + 1) == np.where(found <= 2, found, 0)).all()
    assert islands.find(places, least=10_000).max() == 0


def test_find__crowded_genes_as_single_linkage_has_them():
    rng = np.random.default_rng(5)
    places = np.concatenate(
        [rng.normal(size=(200, 2)), rng.normal(size=(100, 2)) * 2 + 9, rng.uniform(-9, 20, (60, 2))]
    )
    near, crowded = 6, 0.7
    found = islands.find(places, least=1, near=near, crowded=crowded)
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    kth = np.sort(distance, axis=1)[:, near - 1]
    reach = np.quantile(kth, crowded)
    core = kth <= reach
    naive = fcluster(linkage(places[core], "single"), reach, "distance")
    pairs = {(a, b) for a, b in zip(naive.tolist(), found[core].tolist(), strict=True)}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) > 1  # one to one
    assert 0 not in found[core]
    reached = (distance[:, core] <= reach).any(axis=1)
    assert ((found != 0) == reached).all()
    wider = islands.find(places, least=1, near=near, crowded=0.95)
    assert (wider == 0).sum() < (found == 0).sum()


@pytest.mark.parametrize("count", [0, 1, 2, 5, 12])
def test_find__few_genes_and_one_spot(count):
    assert (islands.find(np.zeros((count, 2))) == (count >= 10)).all()


def test_find__twenty_thousand_genes():
    places = np.random.default_rng(1).normal(size=(20_000, 2)) * 30
    found = islands.find(places)
    assert (found == 1).mean() > 0.9


def test_test__planted_kind():
    places, which = planted()
    found = islands.find(places)
    kinds = np.where(which == 3, "microRNA", np.where(np.arange(len(which)) % 2, "protein coding", "")).tolist()
    best, *others = sorted(islands.test(found, kinds), key=lambda t: t.q)
    assert (best.island, best.kind) == (3, "microRNA")
    assert best.overlap == best.genes == int((found == 3).sum())
    assert math.isinf(best.odds_ratio)
    assert best.q < 1e-40
    assert min(t.q for t in others) > 1e-6


def test_test__agrees_with_scipy():
    rng = np.random.default_rng(2)
    island = rng.choice([0, 1, 2, 3], 400, p=[0.1, 0.5, 0.3, 0.1]).astype(np.int32)
    kinds = rng.choice(["protein coding", "ncRNA", "snoRNA", ""], 400, p=[0.6, 0.25, 0.02, 0.13]).tolist()
    tested = islands.test(island, kinds)
    assert len(tested) == 9
    assert [(t.island, t.p, t.kind) for t in tested] == sorted((t.island, t.p, t.kind) for t in tested)
    of = np.array(kinds)
    naive: dict[tuple[int, str], tuple[int, float, float]] = {}
    for number in (1, 2, 3):
        for kind in ("protein coding", "ncRNA", "snoRNA"):
            a, b = island == number, of == kind
            table = [[(a & b).sum(), (a & ~b).sum()], [(~a & b).sum(), (~a & ~b).sum()]]
            odds, p = fisher_exact(table, alternative="greater")
            naive[number, kind] = (int((a & b).sum()), float(odds), float(p))
    q = dict(zip(naive, false_discovery_control([p for *_, p in naive.values()]).tolist(), strict=True))
    for t in tested:
        overlap, odds, p = naive[t.island, t.kind]
        assert t.overlap == overlap
        assert t.genes == (island == t.island).sum()
        assert t.expected == pytest.approx(t.genes * (of == t.kind).sum() / 400)
        assert t.odds_ratio == pytest.approx(odds)
        assert t.p == pytest.approx(p)
        assert t.q == pytest.approx(q[t.island, t.kind])


def test_test__by_hand():
    island = np.array([1, 1, 1, 0, 0, 2], dtype=np.int32)
    (first, second) = islands.test(island, ["x", "x", "", "", "x", ""])
    # of 6 genes 3 are x; island 1 has 2 of 3: (3·3 + 1) / 20
    assert first == islands.Tested(
        island=1, kind="x", genes=3, overlap=2, expected=1.5, odds_ratio=4.0, p=pytest.approx(0.5), q=pytest.approx(1.0)
    )
    assert (second.island, second.overlap, second.p, second.odds_ratio) == (2, 0, 1.0, 0.0)


def test_test__nothing_to_test():
    assert islands.test(np.zeros(3, dtype=np.int32), ["x", "y", ""]) == ()
    assert islands.test(np.ones(3, dtype=np.int32), ["", "", ""]) == ()
    (all_of_it,) = islands.test(np.ones(3, dtype=np.int32), ["x", "x", "x"])
    assert all_of_it.p == 1.0
    assert math.isnan(all_of_it.odds_ratio)
