"""k-means by either library: groups that are there, numbered and described the same way on any machine."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from numpy.typing import NDArray

from g2v_dask.analysis import groups
from g2v_dask.cluster import Cluster
from g2v_dask.errors import InputError
from g2v_dask.names import Names

SIZES = (70, 40, 40, 9)


@pytest.fixture(params=["scikit-learn", "dask-ml"])
def method(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Either library, on vectors of 7 components in blocks of 16 rows."""
    monkeypatch.setattr(groups, "BLOCK_BYTES", 16 * 8 * 7)
    if request.param == "dask-ml":
        monkeypatch.setattr(groups, "IN_MEMORY_BYTES", 0)
    return str(request.param)


def apart(seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.str_], NDArray[np.int64]]:
    """Vectors of groups far from each other, shuffled; ids; the number that each group must get."""
    random = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(SIZES)) + 1, SIZES)
    vectors = 9 * np.eye(len(SIZES), 7)[truth - 1] + random.normal(size=(len(truth), 7)) + 20
    # of the two groups of 40 the second has the smallest id
    ids = np.array([f"g{(1 if t == 3 else 2)}{i:03d}" for i, t in enumerate(truth)])
    truth = np.where(truth == 2, 3, np.where(truth == 3, 2, truth))
    order = random.permutation(len(truth))
    return vectors[order].astype(np.float32), ids[order], truth[order]


def found(vectors: NDArray[np.float32], genes: NDArray[np.str_], k: int = 4, *, unit: bool = False, seed: int = 1):
    return groups.kmeans(vectors, genes, k=k, unit=unit, seed=seed)


def same(one: groups.Groups, other: groups.Groups) -> bool:
    return np.array_equal(one.group, other.group) and np.array_equal(one.cosine, other.cosine)


@pytest.mark.parametrize("unit", [False, True])
def test_kmeans__finds_what_is_apart(method: str, unit: bool) -> None:
    vectors, genes, truth = apart()
    ours = found(vectors, genes, unit=unit)
    assert ours.method == method
    assert ours.group.tolist() == truth.tolist()
    assert ours.sizes == [70, 40, 40, 9]


@pytest.mark.parametrize("unit", [False, True])
def test_kmeans__cosine_and_inertia_as_by_a_loop(method: str, unit: bool) -> None:
    vectors, genes, _ = apart(1)
    ours = found(vectors, genes, 5, unit=unit)
    x = vectors.astype(np.float64)
    if unit:
        x /= np.linalg.norm(x, axis=1)[:, None]
    inertia = 0.0
    for row, number in enumerate(ours.group):
        mean = np.mean([x[i] for i in range(len(x)) if ours.group[i] == number], axis=0)
        inertia += float((x[row] - mean) @ (x[row] - mean))
        assert ours.cosine[row] == pytest.approx(x[row] @ mean / np.linalg.norm(x[row]) / np.linalg.norm(mean))
    assert ours.inertia == pytest.approx(inertia)


def test_kmeans__is_a_fixed_point_as_good_as_many_tries(method: str) -> None:
    """No gene is nearer to another mean; and no one of many starts of a plain Lloyd ends much lower."""
    x = np.random.default_rng(3).normal(size=(150, 7)).astype(np.float32)
    genes = np.array([f"g{i:03d}" for i in range(150)])
    ours = found(x, genes, 6)
    means = np.array([x[ours.group == n].mean(axis=0) for n in range(1, 7)])
    nearest = ((x[:, None] - means) ** 2).sum(axis=2).argmin(axis=1) + 1
    assert np.mean(nearest == ours.group) > 0.99
    best = min(lloyd(x, 6, seed) for seed in range(20))
    assert ours.inertia < best * 1.05


def lloyd(x: NDArray[np.float32], k: int, seed: int) -> float:
    """The inertia of k-means from random first centres."""
    centres = x[np.random.default_rng(seed).choice(len(x), k, replace=False)]
    for _ in range(100):
        labels = ((x[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        centres = np.array([x[labels == n].mean(axis=0) if (labels == n).any() else centres[n] for n in range(k)])
    return float(((x[:, None] - centres) ** 2).sum(axis=2).min(axis=1).sum())


def test_kmeans__the_seed_is_all_the_chance_there_is(method: str) -> None:
    vectors = np.random.default_rng(4).normal(size=(80, 7)).astype(np.float32)
    genes = np.array([f"g{i:03d}" for i in range(80)])
    one = found(vectors, genes, 8)
    assert same(one, found(vectors, genes, 8))
    assert any(not same(one, found(vectors, genes, 8, seed=seed)) for seed in (2, 3))


def test_kmeans__streamed_inside_a_worker_as_here(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """No work leaves the part: a worker of one thread would wait for itself."""
    vectors, genes, _ = apart(2)

    def there(vectors: NDArray[np.float32], genes: NDArray[np.str_]) -> groups.Groups:
        before, groups.IN_MEMORY_BYTES = groups.IN_MEMORY_BYTES, 0
        try:
            return groups.kmeans(vectors, genes, k=4, unit=False, seed=1)
        finally:
            groups.IN_MEMORY_BYTES = before

    theirs = cluster.client.submit(there, vectors, genes).result(timeout=60)
    monkeypatch.setattr(groups, "IN_MEMORY_BYTES", 0)
    assert theirs.method == "dask-ml"
    assert same(theirs, found(vectors, genes))


@pytest.mark.parametrize("scale", [2.0**-60, 2.0**60])
def test_kmeans__scale_is_of_no_account(method: str, scale: float) -> None:
    vectors, genes, _ = apart()
    plain, scaled = found(vectors, genes), found((vectors * np.float32(scale)), genes)
    assert same(plain, scaled)
    assert scaled.inertia == pytest.approx(plain.inertia * scale**2)


def test_kmeans__unit_goes_by_direction(method: str) -> None:
    lengths = np.tile([1.0, 100.0], 30)
    rows = np.zeros((60, 7))
    rows[:30, 0], rows[30:, 1] = lengths[:30], lengths[30:]
    vectors, genes = rows.astype(np.float32), np.array([f"g{i:02d}" for i in range(60)])
    by_direction = found(vectors, genes, 2, unit=True)
    assert by_direction.group.tolist() == [1] * 30 + [2] * 30
    assert by_direction.cosine.tolist() == [1.0] * 60
    assert found(vectors, genes, 2).group.tolist() != [1] * 30 + [2] * 30


def test_kmeans__a_zero_vector_has_cosine_0(method: str) -> None:
    vectors, genes, _ = apart()
    vectors[5] = 0
    for unit in (False, True):
        assert found(vectors, genes, 3, unit=unit).cosine[5] == 0
    nothing = found(np.zeros((20, 7), dtype=np.float32), genes[:20], 1)
    assert (nothing.cosine.tolist(), nothing.inertia) == ([0.0] * 20, 0.0)


def test_kmeans__more_groups_than_distinct_vectors(method: str) -> None:
    vectors = np.repeat(np.eye(3, 7, dtype=np.float32), 20, axis=0)
    genes = np.array([f"g{i:02d}" for i in range(60)])
    assert found(vectors, genes, 3).sizes == [20, 20, 20]
    with pytest.raises(InputError, match=r"expected 4 groups, but k-means on 60 genes makes [23] .* at most [23] "):
        found(vectors, genes, 4)


def test_kmeans__a_group_a_gene(method: str) -> None:
    vectors, genes, _ = apart()
    ours = found(vectors[:5], genes[:5], 5)
    assert np.argsort(genes[:5]).tolist() == np.argsort(ours.group).tolist()
    assert ours.inertia == 0


def test_method__by_size_alone() -> None:
    assert groups.method(1 << 20, 256) == "scikit-learn"
    assert groups.method((1 << 20) + 1, 256) == "dask-ml"


def test_memory_bytes__is_enough_and_not_far_too_much(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "BLOCK_BYTES", 1 << 20)
    vectors = np.random.default_rng(5).normal(size=(10_000, 64)).astype(np.float32)
    vectors += 9 * np.eye(5, 64, dtype=np.float32)[np.arange(10_000) % 5]
    genes = np.array([f"g{i:05d}" for i in range(10_000)])
    tracemalloc.start()
    try:
        found(vectors, genes, 5)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    need = groups.memory_bytes(10_000, 64, 5)
    assert need / 3 < peak < need


def test_members__come_back_in_their_order() -> None:
    vectors, genes, truth = apart()
    ours = found(vectors, genes)
    ours.cosine[truth == 4] = 0.5  # ties go by gene id
    back = groups.members(groups.table(genes, ours))
    rows = list(zip(back.group.tolist(), (-back.cosine).tolist(), back.genes.tolist(), strict=True))
    assert rows == sorted(rows)
    stored = dict(zip(back.genes.tolist(), zip(back.group.tolist(), back.cosine.tolist(), strict=True), strict=True))
    assert stored == dict(zip(genes.tolist(), zip(ours.group.tolist(), ours.cosine.tolist(), strict=True), strict=True))


def test_groups__biotypes_and_typical_genes() -> None:
    genes = np.array(["TP53", "XIST", "CD3E", "ENSG00000146648", "nonsense", *(f"n{i:02d}" for i in range(10))])
    stored = groups.Members(
        genes=genes, group=np.repeat([1, 2], [4, 11]).astype(np.int32), cosine=np.linspace(1, 0, 15)
    )
    first, second = groups.groups(stored, Names(genes))
    assert (first.number, first.genes) == (1, ("TP53", "XIST", "CD3E", "ENSG00000146648"))
    assert first.biotypes == (("protein-coding", 3), ("ncRNA", 1))
    assert (second.number, second.biotypes) == (2, (("", 11),))
    assert second.typical == tuple(genes[4:14].tolist())
    assert second.cosine == tuple(stored.cosine[4:].tolist())
