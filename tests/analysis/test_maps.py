"""Maps: near vectors lie near each other, wrong input is told, and the same input gives the same bytes."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from g2v_dask.analysis import maps
from g2v_dask.errors import InputError
from g2v_dask.spec import MapSpec
from tests.data_paths import data

Floats = NDArray[np.float64]
METHODS = ("tsne", "umap", "pca")


def quick(method: str, **more: object) -> MapSpec:
    return MapSpec(**{"method": method, "perplexity": 8.0, "iterations": 100, "neighbours": 8, **more})


def placed(vectors: NDArray[np.floating], spec: MapSpec) -> Floats:
    return maps.places(vectors, spec, lambda done, total, note: None).places


def blobs(genes: int = 90, components: int = 6, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Three groups far from each other, by turns."""
    group = np.arange(genes) % 3
    noise = np.random.default_rng(seed).normal(size=(genes, components))
    return (12 * np.eye(3, components)[group] + noise).astype(np.float32), group


def nearest(points: Floats) -> NDArray[np.int64]:
    return NearestNeighbors(n_neighbors=1).fit(points).kneighbors()[1][:, 0]


@pytest.mark.parametrize("method", METHODS)
def test_places__keeps_groups_apart(method: str) -> None:
    vectors, group = blobs()
    points = placed(vectors, quick(method))
    assert points.shape == (90, 2)
    assert points.dtype == np.float64
    assert (group[nearest(points)] == group).all()


@pytest.mark.parametrize("method", ["tsne", "umap"])
def test_places__keep_neighbours_of_real_genes_better_than_pca(method: str) -> None:
    counts = pd.read_csv(data("rnaseq", "chol-rsem-count-tcga-t.txt.gz"), sep="\t", nrows=500).iloc[:, 2:]
    vectors = np.log1p(counts.to_numpy())
    vectors -= vectors.mean(axis=1, keepdims=True)
    x, _ = maps.components(vectors, 50)
    ours = trustworthiness(x, placed(vectors, quick(method, perplexity=15.0, iterations=250)), n_neighbors=10)
    theirs = trustworthiness(x, placed(vectors, quick("pca")), n_neighbors=10)
    assert ours > theirs + 0.03


@pytest.mark.parametrize("method", METHODS)
def test_places__equal_vectors_and_one_component(method: str) -> None:
    vectors, _ = blobs()
    vectors[::2] = vectors[0]
    assert np.isfinite(placed(vectors, quick(method))).all()
    line = np.arange(60, dtype=np.float32)[:, None] ** 1.5
    points = placed(line, quick(method))
    assert np.isfinite(points).all()
    if method == "pca":
        assert (points[:, 1] == 0).all()
    assert (np.abs(nearest(points) - np.arange(60)) <= 3).mean() > 0.9


def test_components__as_by_svd_with_fixed_signs() -> None:
    for shape in ((40, 7), (5, 12)):
        x = np.random.default_rng(1).normal(size=shape) + 5
        ours, shares = maps.components(x, 3)
        u, s, v = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
        largest = v[np.arange(3), np.abs(v[:3]).argmax(axis=1)]
        assert np.allclose(ours, u[:, :3] * s[:3] * np.sign(largest), atol=1e-8)
        assert np.allclose(shares, s[:3] ** 2 / (s**2).sum())


@pytest.mark.parametrize(("count", "left"), [(0, 6), (4, 4), (50, 6)])
def test_components__no_more_than_there_are(count: int, left: int) -> None:
    vectors, _ = blobs()
    ours, shares = maps.components(vectors, count)
    assert ours.shape == (90, left)
    assert len(shares) == left
    if left == 6:
        assert shares.sum() == pytest.approx(1.0)


def test_places__facts() -> None:
    vectors, _ = blobs()
    found = maps.places(vectors, quick("tsne", pca=3), lambda *_: None)
    assert found.facts["components"] == 3
    assert 0 < found.facts["kl_divergence"] < 3
    longer = maps.places(vectors, quick("tsne", pca=3, iterations=500), lambda *_: None)
    assert longer.facts["kl_divergence"] < found.facts["kl_divergence"]
    flat = maps.places(vectors, quick("pca"), lambda *_: None).facts
    assert flat["components"] == 2
    assert sum(flat["shares"]) == pytest.approx(flat["variance"])


def test_places__learning_rate_and_min_dist_matter() -> None:
    vectors, _ = blobs()
    assert not np.array_equal(placed(vectors, quick("tsne", learning_rate=200.0)), placed(vectors, quick("tsne")))
    tight, loose = (placed(vectors, quick("umap", min_dist=d)) for d in (0.0, 0.9))

    def gap(points: Floats) -> float:
        return float(np.median(np.linalg.norm(points - points[nearest(points)], axis=1)))

    assert gap(loose) > 2 * gap(tight)


@pytest.mark.parametrize("method", METHODS)
def test_places__refuses_what_is_no_number(method: str) -> None:
    for bad in (np.nan, np.inf):
        vectors, _ = blobs()
        vectors[[7, 70], 1] = bad
        with pytest.raises(InputError, match=r"2 of 90 vectors hold NaN or infinity \(the first is 7\)"):
            placed(vectors, quick(method))
    with pytest.raises(InputError, match="all 30 vectors are equal"):
        placed(np.full((30, 4), 0.1, dtype=np.float32), quick(method))


@pytest.mark.parametrize(
    ("genes", "spec", "message"),
    [
        (3, quick("pca"), "at least 4 genes, and the embedding has 3"),
        (90, quick("tsne", perplexity=30.0), "looks at 90 neighbours.*has 90 genes; take one of at most 29"),
        (4, quick("tsne", perplexity=1.5), "take one of at most 1$"),
        (15, quick("umap", neighbours=15), "fewer than the 15 genes of the embedding, got 15"),
    ],
)
def test_check__too_few_genes(genes: int, spec: MapSpec, message: str) -> None:
    with pytest.raises(InputError, match=message):
        maps.check(genes, spec)
    with pytest.raises(InputError, match=message):
        placed(blobs()[0][:genes], spec)


@pytest.mark.parametrize(
    ("genes", "spec"),
    [
        (4, quick("pca")),
        (91, quick("tsne", perplexity=30.0)),
        (4, quick("tsne", perplexity=1.0)),
        (16, quick("umap", neighbours=15)),
    ],
)
def test_check__just_enough_genes(genes: int, spec: MapSpec) -> None:
    assert np.isfinite(placed(blobs(max(genes, 90) + 1)[0][:genes], spec)).all()


def test_places__tells_how_far_it_is_and_can_be_stopped() -> None:
    vectors, _ = blobs()
    told: list[tuple[int, int]] = []
    maps.places(vectors, quick("tsne"), lambda done, total, note: told.append((done, total)))
    assert told == [(done, 350) for done in range(25, 351, 25)]

    class StoppedError(Exception):
        pass

    def stop(done: int, total: int, note: str) -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        maps.places(vectors, quick("tsne"), stop)


# -- the same bytes -----------------------------------------------------------------------------------------


def fingerprints() -> list[str]:
    """Of maps by every way there is: t-SNE by trees, and by interpolation, which takes 10,000 genes."""
    small, _ = blobs(300)
    many, _ = blobs(10_001, components=3)
    specs = [(small, quick(method)) for method in METHODS]
    specs += [(small, quick("tsne", seed=2)), (small, quick("umap", seed=2))]
    specs += [(many, quick("tsne", iterations=5, perplexity=2.0))]
    usual, maps.EXAGGERATED = maps.EXAGGERATED, 20
    try:
        return [hashlib.sha256(placed(vectors, spec).tobytes()).hexdigest() for vectors, spec in specs]
    finally:
        maps.EXAGGERATED = usual


def test_places__the_same_bytes_in_another_process() -> None:
    code = "from tests.analysis.test_maps import fingerprints; print(*fingerprints())"
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    ours = fingerprints()
    assert other.stdout.split() == ours
    assert len(set(ours)) == len(ours)  # a seed changes a map
