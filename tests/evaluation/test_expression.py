"""Components of expression: scikit-learn's, of all samples side by side, though they are read a dataset at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from g2v_dask.evaluation import expression

Dataset = tuple[NDArray[np.str_], NDArray[np.float32]]
GENES = np.array([f"g{i:02d}" for i in range(50)])


def two_datasets() -> list[Dataset]:
    """12 and 18 samples of 3 factors and noise; the second lacks ten genes, and one does not vary in the first."""
    random = np.random.default_rng(7)
    both = random.normal(size=(50, 3)) @ random.normal(size=(3, 30)) * 3 + random.normal(size=(50, 30)) + 5
    both[4, :12] = 7
    return [(GENES, both[:, :12].T.astype(np.float32)), (GENES[:40], both[:40, 12:].T.astype(np.float32))]


def components(datasets: Sequence[Dataset], genes: Sequence[str], count: int, **how: Any) -> NDArray[np.float32]:
    rows = {gene: row for row, gene in enumerate(genes)}
    return expression.components(lambda: iter(datasets), rows, count, **{"within": False, "key": (1,), **how})


def side_by_side(datasets: Sequence[Dataset], genes: Sequence[str], *, within: bool) -> NDArray[np.float64]:
    """(genes, samples) as the definition has it; a gene that a dataset lacks is at the mean of those it has."""
    blocks = []
    for own, values in datasets:
        found = [own.tolist().index(gene) if gene in own else -1 for gene in genes]
        block = np.where(np.array(found) >= 0, values[:, found], np.nan).astype(np.float64)
        if within:
            spread = block.std(axis=0)
            block = (block - block.mean(axis=0)) / np.where(spread > 1e-6, spread, 1)
        block -= np.nanmean(block, axis=1, keepdims=True)
        blocks.append(np.nan_to_num(block))
    return np.vstack(blocks).T


@pytest.mark.parametrize("within", [False, True])
@pytest.mark.parametrize("block", [7, 256])
def test_components__are_scikit_learns(within: bool, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expression, "BLOCK", block)
    genes = [*GENES.tolist()[:45][::-1], "nowhere"]
    datasets = two_datasets()
    found = components(datasets, genes, 5, within=within)
    stacked = side_by_side(datasets, genes, within=within)
    assert np.abs(stacked.mean(axis=0)).max() < 1e-6  # so that scikit-learn, which centres too, moves nothing
    expected = PCA(n_components=5, svd_solver="full").fit_transform(stacked)
    signs = np.sign((found * expected).sum(axis=0))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found[:, :3] * signs[:3], expected[:, :3], rtol=1e-4, atol=1e-4 * scale)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-2 * scale**2)
    assert not found[45].any()


def test_components__within_datasets_levels_and_scales_are_nothing() -> None:
    random = np.random.default_rng(3)

    def moved() -> Iterator[Dataset]:
        for genes, values in two_datasets():
            yield genes, values * random.uniform(1, 4) + random.normal(size=len(genes)).astype(np.float32) * 9

    plain = components(two_datasets(), GENES.tolist(), 2, within=True)
    other = components(list(moved()), GENES.tolist(), 2, within=True)
    np.testing.assert_allclose(np.abs(plain), np.abs(other), rtol=1e-3, atol=1e-3)
    levels = components(list(moved()), GENES.tolist(), 2)
    assert np.abs(np.abs(levels) - np.abs(plain)).max() > 1


def test_components__fewer_samples_or_genes_than_components() -> None:
    """What is left over is zero, and not the noise of rounding, which a regression would scale up."""
    found = components(two_datasets(), [*GENES.tolist(), "nowhere"], 200)
    assert found.shape == (51, 200)
    assert found.any(axis=0).tolist() == [True] * 30 + [False] * 170
    assert not found[50].any()
    few = components(two_datasets(), GENES.tolist()[:4], 7)
    stacked = side_by_side(two_datasets(), GENES.tolist()[:4], within=False)
    assert few.any(axis=0).tolist() == [True] * 3 + [False] * 4  # centred: three directions of four genes
    np.testing.assert_allclose(few @ few.T, stacked @ stacked.T, rtol=1e-4, atol=1e-3)


def test_components__none() -> None:
    assert not components([], GENES.tolist(), 5).any()
    assert not components([(np.array(["x"]), np.ones((4, 1), dtype=np.float32))], GENES.tolist(), 2, within=True).any()
