"""Maps: two coordinates for each gene, by PCA, t-SNE or UMAP; the same bytes for the same vectors and seed.

Every step is one thread's and takes no path by chance: PCA from the covariance with fixed signs, neighbours by
brute force (a product of matrices is as fast as an approximate index at 20,000 genes, and finds all of them), first
places from the first two components. The seed moves these by a hundredth, and draws UMAP's samples.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from g2v_dask.errors import InputError
from g2v_dask.spec import MapSpec

FEWEST = 4  # genes of a map
EXAGGERATED = 250  # iterations of t-SNE with attraction × 12 (van der Maaten 2014; Belkina et al. 2019)
EVERY = 25  # iterations between two reports

Progress = Callable[[int, int, str], None]
"""``progress(done, total, note)``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Map:
    """Where the genes of an embedding lie on a map."""

    places: NDArray[np.float64]
    """(genes, 2)."""
    facts: dict[str, Any]
    """What vectors and spec determine: components that PCA left, their share of variance, KL divergence of t-SNE."""


def memory_bytes(genes: int, components: int, spec: MapSpec) -> int:
    """Bytes that ``places`` needs beyond its libraries.

    Vectors as read, in float64 and centred (20 a number); covariance and its eigenvectors; neighbours of t-SNE and
    their affinities of both directions (100 each), of UMAP with its samples; grids of t-SNE, working copies.
    """
    near = 3 * spec.perplexity if spec.method == "tsne" else spec.neighbours if spec.method == "umap" else 0
    return int(20 * genes * components + 24 * components**2 + 100 * genes * near + 2000 * genes) + (128 << 20)


def check(genes: int, spec: MapSpec) -> None:
    """Checks that there are enough genes for the map.

    Raises: InputError for fewer than 4, and for more neighbours, or a larger perplexity, than they allow.
    """
    if genes < FEWEST:
        msg = f"a map takes at least {FEWEST} genes, and the embedding has {genes}"
        raise InputError(msg)
    if spec.method == "tsne" and 3 * spec.perplexity > genes - 1:
        msg = (
            f"a perplexity of {spec.perplexity:g} looks at {3 * spec.perplexity:g} neighbours of each gene, and the "
            f"embedding has {genes:,} genes; take one of at most {(genes - 1) // 3:,}"
        )
        raise InputError(msg)
    if spec.method == "umap" and spec.neighbours >= genes:
        msg = f"neighbours must be fewer than the {genes:,} genes of the embedding, got {spec.neighbours}"
        raise InputError(msg)


def places(vectors: NDArray[np.floating[Any]], spec: MapSpec, progress: Progress) -> Map:
    """A map of vectors; near vectors, by Euclidean distance, come to lie near each other.

    Memory: ``memory_bytes``.
    Parameters: vectors    (genes, components), finite.
                progress   is told of iterations of t-SNE; what it raises ends the work.
    Raises: InputError as ``check``, for values that are no numbers, and if all vectors are equal.
    Source: PCA before, and first places by it: Kobak & Berens 2019; rates: Belkina et al. 2019.
    """
    check(len(vectors), spec)
    x, kept = components(vectors, 2 if spec.method == "pca" else spec.pca)
    facts: dict[str, Any] = {"components": x.shape[1], "variance": float(kept.sum())}
    if spec.method == "pca":
        return Map(places=_two(x), facts={**facts, "shares": _two(kept[None])[0].tolist()})
    if spec.method == "umap":
        return Map(places=_umap(x, spec), facts=facts)
    found, divergence = _tsne(x, spec, progress)
    return Map(places=found, facts={**facts, "kl_divergence": divergence})


def components(vectors: NDArray[np.floating[Any]], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The first principal components of each vector, at most ``count``, or all for 0; and their shares of variance.

    From the covariance in float64; of each component the largest loading is positive.
    Raises: InputError for values that are no numbers, and if all vectors are equal.
    """
    x = np.asarray(vectors, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
    if len(bad):
        msg = f"expected numbers, but {len(bad):,} of {len(x):,} vectors hold NaN or infinity (the first is {bad[0]})"
        raise InputError(msg)
    if (x == x[0]).all():
        msg = f"all {len(x):,} vectors are equal: there is nothing to map"
        raise InputError(msg)
    most = min(x.shape)
    model = PCA(n_components=min(count, most) if count else most, svd_solver="covariance_eigh")
    return model.fit_transform(x), model.explained_variance_ratio_


def _two(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The first two columns; of vectors with one component the second is zero."""
    return np.pad(x[:, :2], ((0, 0), (0, 2 - min(2, x.shape[1]))))


def _near(x: NDArray[np.float64], count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest others of each gene, by exact search, and how far they are."""
    distances, rows = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(x).kneighbors()
    return rows, distances


def _tsne(x: NDArray[np.float64], spec: MapSpec, progress: Progress) -> tuple[NDArray[np.float64], float]:
    """Places by t-SNE, and the Kullback-Leibler divergence that is left."""
    lib = _load("openTSNE")
    rows, distances = _near(x, int(3 * spec.perplexity))
    index = lib.nearest_neighbors.PrecomputedNeighbors(rows, distances)
    affinities = lib.affinity.PerplexityBasedNN(knn_index=index, perplexity=spec.perplexity, n_jobs=1)
    first = lib.initialization.rescale(_two(x))  # to a deviation of 1e-4
    first = lib.initialization.jitter(first, random_state=spec.seed)  # equal vectors must not stay on one spot
    done = 0

    def report(_iteration: int, error: float, _places: Any) -> None:
        nonlocal done
        done += EVERY
        progress(done, EXAGGERATED + spec.iterations, f"iterations, divergence {error:.3f}")

    model = lib.TSNE(
        perplexity=spec.perplexity,
        learning_rate="auto" if spec.learning_rate is None else spec.learning_rate,
        early_exaggeration_iter=EXAGGERATED,
        n_iter=spec.iterations,
        n_jobs=1,
        random_state=spec.seed,
        callbacks=report,
        callbacks_every_iters=EVERY,
    )
    found = model.fit(affinities=affinities, initialization=first)
    return np.ascontiguousarray(found, dtype=np.float64), float(found.kl_divergence)


def _umap(x: NDArray[np.float64], spec: MapSpec) -> NDArray[np.float64]:
    """Places by UMAP; as in its own counting, a gene is the first of its neighbours."""
    lib = _load("umap")
    rows, distances = _near(x, spec.neighbours - 1)
    rows = np.column_stack([np.arange(len(x)), rows])
    distances = np.column_stack([np.zeros(len(x)), distances])
    first = _two(x)
    first = 10 * first / np.abs(first).max()  # the size that umap-learn gives its own
    first += np.random.default_rng(spec.seed).normal(scale=1e-4, size=first.shape)
    with warnings.catch_warnings():
        # the index would place new vectors on a map that is there; nobody asks for that
        warnings.filterwarnings("ignore", message=r"precomputed_knn\[2\] \(knn_search_index\) is not an NNDescent")
        model = lib.UMAP(
            n_neighbors=spec.neighbours,
            min_dist=spec.min_dist,
            precomputed_knn=(rows, distances),
            init=first,
            random_state=spec.seed,
            n_jobs=1,
        )
        found = model.fit_transform(x)
    return np.ascontiguousarray(found, dtype=np.float64)


def _load(library: str) -> Any:
    """A library, loaded when a map needs it: with Numba it takes seconds."""
    with warnings.catch_warnings():
        # of umap, where tensorflow, which nothing here uses, is not installed
        warnings.filterwarnings("ignore", message="Tensorflow not installed", category=ImportWarning)
        return importlib.import_module(library)
