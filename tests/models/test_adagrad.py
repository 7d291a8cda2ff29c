"""GloVe's published optimizer against a loop over entries as it is written in the paper and in text2vec."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g2v_dask.errors import G2VError
from g2v_dask.folders import LocalFolder
from g2v_dask.kernels import glove as kernel
from g2v_dask.models import adagrad, base, glove
from g2v_dask.spec import TrainSpec
from tests.oracles_models import DenseMatrix, Glove, adagrad_pass, reads


def spec_of(**more: object) -> TrainSpec:
    return TrainSpec(**{"method": "glove", "optimizer": "adagrad", "components": 4, "iterations": 3, **more})


def run(matrix: DenseMatrix, folder: Path, spec: TrainSpec, **more: object) -> base.Trained:
    folder.mkdir(exist_ok=True)
    given = {"progress": lambda *_: None, "alive": lambda: None, **more}
    return glove.train(matrix, spec, folder=LocalFolder(folder), **given)


@pytest.fixture(scope="module")
def tissue() -> DenseMatrix:
    return DenseMatrix(values=reads(12, 40, depth=1.5), tile=16)


@settings(deadline=None, max_examples=25)
@given(
    genes=st.integers(2, 9),
    components=st.integers(1, 20),
    upper=st.booleans(),
    depth=st.sampled_from([0.3, 2.0, 5.0]),
    seed=st.integers(0, 999),
)
def test_one_pass__equals_the_loop(genes: int, components: int, upper: bool, depth: float, seed: int) -> None:  # noqa: FBT001
    rng = np.random.default_rng(seed)
    x = reads(8, genes, seed=seed, depth=depth)
    x[0, 0] = 3.0
    problem = Glove(x=x, x_max=100.0, alpha=0.75, upper=upper)
    shape = (2, genes, components + 1)
    sides, squares = rng.uniform(-0.5, 0.5, shape).astype(np.float32), rng.uniform(1, 9, shape).astype(np.float32)
    exact, exact_squares = sides.astype(float), squares.astype(float)
    log_x = kernel.logs(np.triu(x) if upper else x).T.copy()
    for _ in range(3):
        ours = adagrad.one_pass(
            log_x,
            rows=sides[0],
            columns=sides[1],
            row_squares=squares[0],
            column_squares=squares[1],
            rate=np.float32(0.05),
            x=(np.float32(np.log(100.0)), np.float32(0.75)),
        )
        loss = adagrad_pass(problem, tuple(exact), tuple(exact_squares), rate=0.05)
        entries = sum(1 for _ in problem.entries())
        assert ours / (2 * entries) == pytest.approx(loss, rel=1e-4, abs=1e-9)
    np.testing.assert_allclose(sides, exact, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(squares, exact_squares, rtol=1e-3)


def test_one_pass__clips_residuals() -> None:
    """An entry that is 400 off moves as if it were 100 off."""
    one = {"rate": np.float32(1.0), "x": (np.float32(0.0), np.float32(0.75))}
    held = {name: np.ones((1, 2), np.float32) for name in ("row_squares", "column_squares")}
    rows, columns = np.array([[0.0, 400.0]], np.float32), np.array([[2.0, 0.0]], np.float32)
    total = adagrad.one_pass(np.zeros((1, 1), np.float32), rows=rows, columns=columns, **held, **one)
    assert total == 100.0**2
    assert rows.tolist() == [[-200.0, 300.0]]
    assert columns.tolist() == [[2.0, -100.0]]
    assert held["row_squares"].tolist() == [[1 + 200.0**2, 1 + 100.0**2]]


@pytest.mark.parametrize("triangle", ["both", "upper"])
@pytest.mark.parametrize("which", ["sum", "main"])
def test_train__equals_the_loop(tissue: DenseMatrix, tmp_path: Path, triangle: str, which: str) -> None:
    """First vectors and biases from U(−½, ½) in one draw, main ones first; squared gradients from 1."""
    spec = spec_of(triangle=triangle, vectors=which, seed=7, learning_rate=0.1)
    result = run(tissue, tmp_path, spec)
    problem = Glove(x=tissue.values, x_max=100.0, alpha=0.75, upper=triangle == "upper")
    sides = np.random.default_rng(7).uniform(-0.5, 0.5, (2, 40, 5)).astype(np.float32).astype(float)
    squares = np.ones_like(sides)
    losses = [adagrad_pass(problem, tuple(sides), tuple(squares), rate=0.1) for _ in range(3)]
    np.testing.assert_allclose(result.losses, losses, rtol=1e-4)
    order = [int(g[1:]) for g in result.genes]
    exact = sides[0] + sides[1] if which == "sum" else sides[0]
    np.testing.assert_allclose(result.vectors, exact[order, :-1], atol=1e-3)


def test_train__same_bytes_for_any_tile_and_every_run(tissue: DenseMatrix, tmp_path: Path) -> None:
    spec = spec_of()
    first = run(tissue, tmp_path / "a", spec)
    for number, tile in enumerate((16, 1, 39, 999)):
        other = run(DenseMatrix(values=tissue.values, tile=tile), tmp_path / f"b{number}", spec)
        assert other.vectors.tobytes() == first.vectors.tobytes()
        assert (other.losses, other.facts) == (first.losses, first.facts)
    seeded = run(tissue, tmp_path / "c", spec_of(seed=2))
    assert seeded.vectors.tobytes() != first.vectors.tobytes()


class StoppedError(Exception):
    """This task no longer owns the work."""


@pytest.mark.parametrize("passes", [1, 3, 4])
def test_train__resumes_to_the_same_bytes(tissue: DenseMatrix, tmp_path: Path, passes: int) -> None:
    spec = spec_of(iterations=6, checkpoint=2)
    whole = run(tissue, tmp_path / "whole", spec)

    def stop(done: int, total: int, note: str) -> None:
        if done == passes:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(tissue, tmp_path / "cut", spec, progress=stop)
    seen: list[int] = []
    result = run(
        tissue, tmp_path / "cut", spec, progress=lambda done, total, note: seen.append(done) if "loss" in note else None
    )
    # a pass is saved after it is told; the first always is
    assert seen == list(range({1: 1, 3: 3, 4: 3}[passes], 7))
    assert result.vectors.tobytes() == whole.vectors.tobytes()
    assert (result.losses, result.facts) == (whole.losses, whole.facts)


def test_train__damaged_checkpoint_falls_back_to_the_one_before(tissue: DenseMatrix, tmp_path: Path) -> None:
    spec = spec_of(iterations=6, checkpoint=2)
    whole = run(tissue, tmp_path, spec)
    newest = max(tmp_path.glob("iteration-*.npz"))
    newest.write_bytes(newest.read_bytes()[:500])
    seen: list[int] = []
    result = run(tissue, tmp_path, spec, progress=lambda done, total, note: seen.append(done) if done else None)
    assert seen == [5, 6]
    assert result.vectors.tobytes() == whole.vectors.tobytes()


@pytest.mark.parametrize("rate", [0.7, 3.0, 1e8, 1e38])
def test_train__diverging_rate_stops_and_keeps_the_last_good_checkpoint(
    tissue: DenseMatrix, tmp_path: Path, rate: float
) -> None:
    spec = spec_of(iterations=30, learning_rate=rate, checkpoint=1)
    with pytest.raises(G2VError, match="AdaGrad diverges: the loss is .* give a --learning-rate below") as caught:
        run(tissue, tmp_path, spec)
    kept = sorted(tmp_path.glob("iteration-*.npz"))
    assert bool(kept) == (str(tmp_path) in str(caught.value))  # it names a checkpoint where there is one
    iteration = int(re.search(r"in iteration (\d+)", str(caught.value))[1])
    problem = Glove(x=tissue.values, x_max=100.0, alpha=0.75, upper=False)
    zero = np.zeros((40, 5))
    worst = adagrad_pass(problem, (zero.copy(), zero.copy()), (zero + np.inf, zero + np.inf), rate=0.0)
    for path in kept:
        with np.load(path) as held:
            assert len(held["losses"]) < iteration
            assert held["losses"].max(initial=0.0) <= 4 * worst  # good: not far worse than to say nothing
            assert all(np.isfinite(held[name]).all() for name in ("rows", "columns"))


def test_train__diverging_later_keeps_the_checkpoint_before(
    tissue: DenseMatrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(iterations=9, checkpoint=1)
    whole = run(tissue, tmp_path / "whole", spec)
    passes = [0]
    plain = adagrad.one_pass

    def breaks(*given: object, **more: object) -> float:
        passes[0] += 1
        return plain(*given, **more) if passes[0] <= 4 else float("inf")

    with monkeypatch.context() as patch:
        patch.setattr(adagrad, "one_pass", breaks)
        with pytest.raises(G2VError, match="loss is inf in iteration 5, after .* kept in .*cut"):
            run(tissue, tmp_path / "cut", spec)
    assert max(p.name for p in (tmp_path / "cut").iterdir()) == "iteration-00004.npz"
    assert run(tissue, tmp_path / "cut", spec).vectors.tobytes() == whole.vectors.tobytes()


def test_train__usual_rates_do_not_diverge(tissue: DenseMatrix, tmp_path: Path) -> None:
    for rate in (0.01, 0.05, 0.15):
        losses = run(tissue, tmp_path / str(rate), spec_of(iterations=10, learning_rate=rate)).losses
        assert losses[-1] < losses[0]
