"""The SVD trainer against dense linear algebra and SciPy."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from g2v_dask.errors import InputError
from g2v_dask.folders import LocalFolder
from g2v_dask.models import base, svd
from g2v_dask.spec import TrainSpec
from tests.oracles_models import MemoryMatrix, modules

ROOT = Path(__file__).parents[2]


def run(matrix: MemoryMatrix, spec: TrainSpec, **more: object) -> base.Trained:
    given = {"progress": lambda *_: None, "alive": lambda: None, "folder": LocalFolder(Path("unused")), **more}
    return svd.train(matrix, spec, **given)


def spec_of(components: int, **more: object) -> TrainSpec:
    return TrainSpec(method="svd", components=components, **more)


def naive_ppmi(dense: np.ndarray, shift: float) -> np.ndarray:
    """Levy & Goldberg 2014, as it is written, on the dense matrix."""
    x = dense.astype(float)
    expected = np.maximum(np.outer(x.sum(axis=1), x.sum(axis=0)), 1.0) / x.sum()
    pmi = np.log(x / expected, out=np.full(x.shape, -np.inf), where=x > 0)
    return np.maximum(pmi - np.log(shift), 0.0)


@pytest.fixture(scope="module")
def small() -> MemoryMatrix:
    return modules(120, 900, tile=50)


@pytest.fixture(scope="module")
def large() -> MemoryMatrix:
    """Over the size that is solved densely."""
    return modules(1800, 60_000, tile=512)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_ppmi__equals_the_formula(small: MemoryMatrix, shift: float) -> None:
    dense = small.dense()
    has = dense.sum(axis=0) > 0
    square = sp.csr_array(dense[np.ix_(has, has)].astype(float))
    ours = svd.ppmi(square, shift).toarray()
    np.testing.assert_allclose(ours, naive_ppmi(dense, shift)[np.ix_(has, has)], atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.75, 1.0])
def test_ppmi__smoothing_is_the_mean_of_both_directions(small: MemoryMatrix, smoothing: float) -> None:
    dense = small.dense()
    has = np.flatnonzero(dense.sum(axis=0))
    x = dense[np.ix_(has, has)].astype(float)
    wanted = np.zeros_like(x)
    sums = x.sum(axis=1)
    for i, j in zip(*np.nonzero(x), strict=True):  # Levy, Goldberg & Dagan 2015, as it is written: of i with context j
        for word, context in ((i, j), (j, i)):
            chance = sums[context] ** smoothing / np.sum(sums**smoothing)
            wanted[i, j] += np.log(x[i, j] / x.sum() / (sums[word] / x.sum() * chance)) / 2
    found = svd.ppmi(sp.csr_array(x), 2.0, smoothing=smoothing).toarray()
    np.testing.assert_allclose(found, np.maximum(wanted - np.where(x > 0, np.log(2), 0), 0), atol=1e-6)


def test_ppmi__smoothing_takes_from_rare_genes(small: MemoryMatrix) -> None:
    dense = small.dense()
    has = dense.sum(axis=0) > 0
    square = sp.csr_array(dense[np.ix_(has, has)].astype(float))
    counts = square.sum(axis=1)
    plain, smooth = (svd.ppmi(square, 1.0, smoothing=power).sum(axis=1) for power in (1.0, 0.75))
    rare, frequent = counts <= np.quantile(counts, 0.2), counts >= np.quantile(counts, 0.8)
    assert np.mean(smooth[rare] / plain[rare]) < np.mean(smooth[frequent] / plain[frequent])


def test_smoothing__of_1_leaves_digests_as_they_were() -> None:
    assert "smoothing" not in spec_of(8).select("identity")
    assert spec_of(8, smoothing=0.75).select("identity")["smoothing"] == 0.75


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_train__equals_dense_svd(small: MemoryMatrix, power: float) -> None:
    result = run(small, spec_of(10, power=power))
    order = [small.genes.tolist().index(g) for g in result.genes]
    M = naive_ppmi(small.dense(), 1.0)[np.ix_(order, order)]
    U, s, _ = np.linalg.svd(M)
    assert np.min(-np.diff(s[:11])) > 1e-6 * s[0]  # else single vectors are not determined
    np.testing.assert_allclose(result.facts["singular_values"], s[:10], rtol=1e-5)
    V = U[:, :10] * s[:10] ** power
    V *= np.sign(V[np.abs(V).argmax(axis=0), np.arange(10)])
    np.testing.assert_allclose(result.vectors, V, atol=2e-4 * np.abs(V).max())


def test_train__lanczos_equals_dense_and_svds(large: MemoryMatrix) -> None:
    spec = spec_of(40, power=0.0)
    result = run(large, spec)
    order = [large.genes.tolist().index(g) for g in result.genes]
    M = naive_ppmi(large.dense(), 1.0)[np.ix_(order, order)]
    values, vectors = np.linalg.eigh(M)
    best = np.argsort(-np.abs(values))
    s = np.abs(values[best])
    assert 0 < result.facts["residual"] <= svd.TOLERANCE  # not the dense way
    np.testing.assert_allclose(result.facts["singular_values"], s[:40], rtol=1e-5)
    scipys = np.sort(sp.linalg.svds(sp.csr_array(M), 40, return_singular_vectors=False, random_state=0))
    np.testing.assert_allclose(result.facts["singular_values"], scipys[::-1], rtol=1e-5)
    cosines = np.linalg.svd(vectors[:, best[:40]].T @ result.vectors.astype(float))[1]
    gap = (s[39] - s[40]) / s[0]
    assert np.sqrt(max(0, 1 - cosines.min() ** 2)) <= 10 * svd.TOLERANCE / gap + 1e-5  # Davis-Kahan
    np.testing.assert_allclose(result.vectors.T @ result.vectors, np.eye(40), atol=2e-5)


def test_train__finds_all_equal_values_of_lone_pairs() -> None:
    """More lone pairs than a block of Lanczos holds, beside one large component, dense so of weak PMI."""
    drawn = np.random.default_rng(0).random((1300, 1300)) < 0.9
    core = MemoryMatrix.from_dense(drawn.astype(np.uint32))
    lone = 2 * np.arange(100) + 1300
    matrix = MemoryMatrix(
        genes=np.array([f"G{i:05d}" for i in range(1500)]),
        rows=np.concatenate([core.rows, lone]),
        cols=np.concatenate([core.cols, lone + 1]),
        values=np.concatenate([core.values, np.ones(100, np.uint32)]),
    )
    result = run(matrix, spec_of(150))
    s = np.sort(np.abs(np.linalg.eigvalsh(naive_ppmi(matrix.dense(), 1.0))))[::-1][:150]
    np.testing.assert_allclose(result.facts["singular_values"], s, rtol=1e-5)
    assert np.sum(np.abs(s - np.median(s)) < 1e-9) > 2 * svd.BLOCK
    assert result.facts["residual"] > 0  # the large one went the way of Lanczos


@settings(deadline=None, max_examples=15)
@given(tile=st.integers(1, 130))
def test_train__same_bytes_for_any_tile_size(tile: int) -> None:
    matrix = modules(120, 900, tile=50)
    expected = run(matrix, spec_of(8))
    matrix.tile = tile
    result = run(matrix, spec_of(8))
    assert result.vectors.tobytes() == expected.vectors.tobytes()
    assert result.facts == expected.facts


CHILD = """
import hashlib, sys
from pathlib import Path
from g2v_dask.folders import LocalFolder
from tests.oracles_models import modules
from g2v_dask.models import load
from g2v_dask.spec import TrainSpec
matrix = modules(1800, 60_000, tile=int(sys.argv[1]))
result = load("svd").train(matrix, TrainSpec(method="svd", components=40),
                           folder=LocalFolder(Path("unused")), progress=lambda *a: None, alive=lambda: None)
print(hashlib.sha256(result.vectors.tobytes()).hexdigest())
"""


def test_train__same_bytes_in_any_process(large: MemoryMatrix) -> None:
    here = hashlib.sha256(run(large, spec_of(40)).vectors.tobytes()).hexdigest()
    for seed, tile, threads in (("1", "512", "1"), ("9", "333", "2")):
        command = [sys.executable, "-c", CHILD, tile]
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OPENBLAS_NUM_THREADS": threads}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, cwd=ROOT)
        assert done.stdout.split()[-1] == here


def test_train__genes_by_count_then_gene_and_signs_positive(small: MemoryMatrix) -> None:
    result = run(small, spec_of(10))
    counts = small.dense().sum(axis=0)
    ranked = sorted(zip((-counts.astype(int)).tolist(), small.genes.tolist(), strict=True))
    assert result.genes.tolist() == [g for c, g in ranked if c]
    assert (result.vectors[np.abs(result.vectors).argmax(axis=0), np.arange(10)] > 0).all()
    assert result.losses == []


def test_train__genes_without_cells_get_no_vector() -> None:
    dense = np.zeros((6, 6), np.uint32)
    dense[0, 2] = dense[2, 5] = dense[0, 5] = 3
    result = run(MemoryMatrix.from_dense(dense, tile=4), spec_of(2))
    assert sorted(result.genes.tolist()) == ["G00000", "G00002", "G00005"]


def test_train__components_beyond_the_rank_are_zero() -> None:
    dense = np.zeros((6, 6), np.uint32)
    dense[0, 1:] = 1  # a star: rank 2
    result = run(MemoryMatrix.from_dense(dense), spec_of(5, power=0.0))
    assert np.abs(result.vectors[:, :2]).max() > 0.5
    assert not result.vectors[:, 2:].any()
    assert result.facts["singular_values"][2:] == [0.0] * 3


def test_train__min_datasets_counts_in_the_sums(small: MemoryMatrix) -> None:
    kept = small.values >= 2
    only = MemoryMatrix(
        genes=small.genes, rows=small.rows[kept], cols=small.cols[kept], values=small.values[kept], tile=50
    )
    ours, plain = run(small, spec_of(5, min_datasets=2)), run(only, spec_of(5))
    assert ours.genes.tolist() == plain.genes.tolist()
    assert ours.vectors.tobytes() == plain.vectors.tobytes()


def test_train__bad_input(small: MemoryMatrix) -> None:
    with pytest.raises(InputError, match="has no cell of at least 1 datasets"):
        run(MemoryMatrix.from_dense(np.zeros((5, 5), np.uint32)), spec_of(2))
    genes = int(np.count_nonzero(small.dense().sum(axis=0)))
    with pytest.raises(InputError, match=f"give at most {genes - 1}"):
        run(small, spec_of(genes))


def test_train__stops_when_it_no_longer_owns_the_work(large: MemoryMatrix) -> None:
    class StoppedError(Exception):
        pass

    def gone() -> None:
        raise StoppedError

    with pytest.raises(StoppedError):
        run(large, spec_of(10), alive=gone)
