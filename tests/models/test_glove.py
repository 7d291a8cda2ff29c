"""GloVe by alternating least squares against the objective as it is written, entry by entry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from g2v_dask import tiles
from g2v_dask.errors import InputError, SpecError
from g2v_dask.folders import LocalFolder
from g2v_dask.models import base, glove
from g2v_dask.models import glove_als as als
from g2v_dask.models.glove_als import Known, Setting, Solver, State
from g2v_dask.spec import TrainSpec
from tests.data_paths import data
from tests.oracles_models import DenseMatrix, Glove, glove_gradient, glove_loss, glove_objective, modules, reads

SOLVERS: tuple[Solver, ...] = ("majorised", "rows")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As inside a part: else bits differ."""
    with threadpool_limits(1):
        yield


def spec_of(components: int, **more: object) -> TrainSpec:
    return TrainSpec(method="glove", components=components, **more)


def run(matrix: tiles.TileMatrix, folder: Path, spec: TrainSpec, **more: object) -> base.Trained:
    folder.mkdir(exist_ok=True)
    given = {"progress": lambda *_: None, "alive": lambda: None, "solver": "majorised", **more}
    return glove.train(matrix, spec, folder=LocalFolder(folder), **given)


def naive(matrix: DenseMatrix, spec: TrainSpec) -> Glove:
    return Glove(x=matrix.values, x_max=spec.x_max, alpha=spec.alpha, upper=spec.triangle == "upper")


def sparse(genes: int, share: float, seed: int) -> NDArray[np.uint32]:
    """Co-occurrence as of few datasets: most cells 0, the diagonal too."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.geometric(0.4, (genes, genes)) * (rng.random((genes, genes)) < share), 1)
    return (upper + upper.T).astype(np.uint32)


class Problem:
    """What a part knows before its first pass, and the steps of a pass over all bands."""

    def __init__(self, matrix: DenseMatrix, spec: TrainSpec, solver: Solver) -> None:
        self.spec, self.naive = spec, naive(matrix, spec)
        self.setting = Setting.of(matrix, spec, solver)
        self.logs = glove.MemoryLogs()
        found = []
        for row, col in tiles.blocks(self.setting.size, self.setting.tile):
            self.logs.tiles[row, col], known = als.read_tile(matrix, self.setting, row, col)
            found.append(known)
        self.known: Known = als.symmetric(als.joined(iter(found)), self.setting)

    def start(self) -> State:
        return glove.start(self.logs, self.known, self.setting, self.spec)

    def half(self, side: als.Side, mine: als.Floats, theirs: als.Floats) -> als.Floats:
        s = self.setting
        made = [
            als.half_pass(self.logs, s, b, side=side, mine=mine[s.span(b)], theirs=theirs, known=self.known)[0]
            for b in range(s.bands)
        ]
        return np.concatenate(made)

    def objective(self, rows: als.Floats, columns: als.Floats) -> float:
        return glove_objective(self.naive, rows, columns, ridge=self.spec.ridge, free=als.FREE)

    def gradient(self, rows: als.Floats, columns: als.Floats) -> float:
        """Its length."""
        both = glove_gradient(self.naive, rows, columns, ridge=self.spec.ridge, free=als.FREE)
        return float(np.sqrt(sum((g**2).sum() for g in both)))

    def rounding(self, rows: als.Floats, columns: als.Floats) -> float:
        """What the objective may be off by because vectors and predictions are float32."""
        W, C = np.abs(rows.astype(float)), np.abs(columns.astype(float))
        size = W[:, :-1] @ C[:, :-1].T + W[:, -1:] + C[:, -1] + 10.0
        f = np.minimum(np.maximum(self.naive.x, 0) / self.spec.x_max, 1.0) ** self.spec.alpha
        return float((f * (self.naive.x > 0) * (3e-7 * size) ** 2).sum())


@pytest.fixture
def last(monkeypatch: pytest.MonkeyPatch) -> list[State]:
    """The state whose vectors a run returned, newest last."""
    states: list[State] = []
    plain = als.vectors

    def spy(state: State, which: str) -> als.Floats:
        states.append(state)
        return plain(state, which)

    monkeypatch.setattr(als, "vectors", spy)
    return states


@pytest.fixture(scope="module")
def tissue() -> DenseMatrix:
    """40 genes, some of so few reads that cells are 0, and the diagonal at most that."""
    x = reads(12, 40, depth=1.0)
    x[3, 3] = -2.5  # as of estimated counts
    assert (np.diag(x) <= 0).sum() > 1
    assert (x[np.triu_indices(40, 1)] == 0).any()
    assert ((x > 0) & (x < 100)).mean() > 0.2
    return DenseMatrix(values=x, tile=16)


# -- what is summed -------------------------------------------------------------------------------------------


def test_oracle__gradient_is_that_of_the_objective() -> None:
    rng = np.random.default_rng(1)
    problem = Glove(x=reads(9, 6, depth=2.0), x_max=100.0, alpha=0.75, upper=True)
    sides = rng.normal(size=(2, 6, 4))
    found = np.array(glove_gradient(problem, *sides, ridge=0.3, free=0.1))
    for place in np.ndindex(*sides.shape):
        up, down = sides.copy(), sides.copy()
        up[place] += 1e-5
        down[place] -= 1e-5
        slope = (
            glove_objective(problem, *up, ridge=0.3, free=0.1) - glove_objective(problem, *down, ridge=0.3, free=0.1)
        ) / 2e-5
        assert found[place] == pytest.approx(slope, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("triangle", ["both", "upper"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_train__losses_are_the_naive_objective(
    tissue: DenseMatrix, tmp_path: Path, last: list[State], triangle: str, solver: Solver
) -> None:
    found = []
    for passes in (1, 2, 3, 6):
        spec = spec_of(5, triangle=triangle, iterations=passes, tolerance=0.0, ridge=1e-3)
        losses = run(tissue, tmp_path / str(passes), spec, solver=solver).losses
        assert len(losses) == passes + 1  # the start's, and after each pass
        assert losses[-1] == pytest.approx(glove_loss(naive(tissue, spec), last[-1].rows, last[-1].columns), rel=1e-5)
        found.append(losses)
    assert all(found[-1][: len(f)] == f for f in found)
    begun = Problem(tissue, spec, solver).start()
    assert losses[0] == pytest.approx(glove_loss(naive(tissue, spec), begun.rows, begun.columns), rel=1e-5)


@pytest.mark.parametrize("triangle", ["both", "upper"])
@pytest.mark.parametrize("optimizer", ["als", "adagrad"])
def test_train__counts_entries_and_cells_that_are_none(
    tissue: DenseMatrix, tmp_path: Path, triangle: str, optimizer: str
) -> None:
    spec = spec_of(3, triangle=triangle, optimizer=optimizer, iterations=1)
    facts = run(tissue, tmp_path, spec).facts
    positive = tissue.values > 0
    diagonal = int(np.diag(positive).sum())
    both = int(positive.sum())
    assert facts["entries"] == (both if triangle == "both" else (both - diagonal) // 2 + diagonal)
    assert facts["entries"] == sum(1 for _ in naive(tissue, spec).entries())
    assert facts["not_positive"] == int(np.triu(~positive).sum()) > 0
    assert facts.get("solver") == ("majorised" if optimizer == "als" else None)


@pytest.mark.parametrize("optimizer", ["als", "adagrad"])
def test_train__min_datasets_leaves_smaller_cells_out(tmp_path: Path, optimizer: str) -> None:
    x = sparse(50, 0.5, 3)
    spec = spec_of(4, optimizer=optimizer, iterations=3, min_datasets=3, x_max=10.0)
    few = run(DenseMatrix(values=x, tile=20), tmp_path / "a", spec, solver="rows")
    only = np.where(x >= 3, x, 0).astype(np.uint32)
    whole = spec_of(4, optimizer=optimizer, iterations=3, x_max=10.0)
    plain = run(DenseMatrix(values=only, tile=20), tmp_path / "b", whole, solver="rows")
    assert few.vectors.tobytes() == plain.vectors.tobytes()
    assert few.genes.tolist() == plain.genes.tolist()
    assert (few.facts, few.losses) == (plain.facts, plain.losses)
    assert few.facts["entries"] == np.count_nonzero(x >= 3) < np.count_nonzero(x)


def test_train__genes_by_sum_then_id_and_none_without_an_entry(tmp_path: Path) -> None:
    x = sparse(30, 0.3, 5).astype(float)
    x[[4, 9]] = x[:, [4, 9]] = 0.0
    x[9, 9] = -7.0
    result = run(DenseMatrix(values=x, tile=8), tmp_path, spec_of(3))
    sums = np.maximum(x, 0).sum(axis=0)
    assert result.genes.tolist() == [f"G{g:05d}" for g in sorted(range(30), key=lambda g: (-sums[g], g)) if sums[g] > 0]
    assert len(set(sums.tolist())) < len(sums)  # ties occur
    assert result.vectors.shape == (28, 3)
    assert np.isfinite(result.vectors).all()


# -- the start ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("triangle", ["both", "upper"])
@pytest.mark.parametrize("tile", [7, 300, 400])
def test_product__equals_the_dense_one(triangle: str, tile: int) -> None:
    """Of both triangles, the diagonal once; tiles of more than one strip."""
    x = reads(15, 320, seed=2, depth=1.5)
    problem = Problem(DenseMatrix(values=x, tile=tile), spec_of(6, triangle=triangle), "majorised")
    rng = np.random.default_rng(0)
    basis, bias = rng.normal(size=(320, 3)).astype(np.float32), rng.normal(size=320)
    L = np.where(x > 0, np.log(x, where=x > 0, out=np.zeros_like(x)) - bias[:, None] - bias, 0.0)
    bands = range(problem.setting.bands)
    found = np.concatenate([als.product(problem.logs, problem.setting, b, basis, bias) for b in bands])
    np.testing.assert_allclose(found, L @ basis, atol=1e-3)


@pytest.mark.parametrize("triangle", ["both", "upper"])
@pytest.mark.parametrize("tile", [7, 300, 400])
def test_start__is_the_best_fit_of_log_x_less_biases(triangle: str, tile: int) -> None:
    x = reads(15, 320, seed=2, depth=1.5)
    problem = Problem(DenseMatrix(values=x, tile=tile), spec_of(6, triangle=triangle), "majorised")
    begun = problem.start()
    bias = als.biases(problem.known)
    np.testing.assert_array_equal(begun.rows[:, -1], bias.astype(np.float32))
    np.testing.assert_array_equal(begun.columns[:, -1], bias.astype(np.float32))
    entry = x > 0
    L = np.where(entry, np.log(x, where=entry, out=np.zeros_like(x)) - bias[:, None] - bias, 0.0)
    size = np.sort(np.abs(np.linalg.eigvalsh(L)))[::-1]
    best = np.sqrt((size[6:] ** 2).sum())
    rest = np.linalg.norm(L - begun.rows[:, :-1].astype(float) @ begun.columns[:, :-1].T.astype(float))
    assert best <= rest * (1 + 1e-6)
    assert rest <= 1.02 * best
    W = begun.rows[:, :-1]
    assert (W[np.abs(W).argmax(axis=0), np.arange(6)] > 0).all()


def test_train__no_seed_enters_the_svd_start(tissue: DenseMatrix, tmp_path: Path) -> None:
    first, other = (run(tissue, tmp_path / str(seed), spec_of(5, seed=seed, iterations=3)) for seed in (1, 2))
    assert first.vectors.tobytes() == other.vectors.tobytes()
    assert first.losses == other.losses


def test_train__random_start_follows_the_seed(tissue: DenseMatrix, tmp_path: Path) -> None:
    made = [
        run(tissue, tmp_path / f"{n}", spec_of(5, seed=seed, init="random", iterations=3)).vectors.tobytes()
        for n, seed in enumerate((1, 1, 2))
    ]
    assert made[0] == made[1] != made[2]


# -- a pass ---------------------------------------------------------------------------------------------------


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Small co-occurrences of all kinds: reads deep and shallow, pairs dense and sparse, empty genes."""
    genes, seed = draw(st.integers(5, 18)), draw(st.integers(0, 10**6))
    kind = draw(st.sampled_from(["deep", "shallow", "pairs", "few pairs"]))
    if kind in ("deep", "shallow"):
        x = reads(10, genes, seed=seed, depth=5.0 if kind == "deep" else 0.3)
    else:
        x = sparse(genes, 0.7 if kind == "pairs" else 0.15, seed)
    if not (x > 0).any():
        x[0, 1] = x[1, 0] = 1
    spec = spec_of(
        draw(st.integers(1, genes - 2)),
        triangle=draw(st.sampled_from(["both", "upper"])),
        init=draw(st.sampled_from(["svd", "random"])),
        ridge=draw(st.sampled_from([0.0, 1e-12, 1e-8, 1e-4, 1e-2, 1.0])),
        x_max=draw(st.sampled_from([1.0, 10.0, 100.0, 1e6])),
        alpha=draw(st.sampled_from([0.0, 0.75, 2.0])),
    )
    matrix = DenseMatrix(values=x, tile=draw(st.integers(2, 20)))
    return Problem(matrix, spec, draw(st.sampled_from(SOLVERS)))


@settings(deadline=None, max_examples=120)
@given(problem=problems())
def test_half_pass__never_raises_the_objective(problem: Problem) -> None:
    state = problem.start()
    rows, columns = state.rows, state.columns
    now = problem.objective(rows, columns)
    for _ in range(2):
        for side in ("rows", "columns"):
            if side == "rows":
                rows = problem.half("rows", rows, columns)
            else:
                columns = problem.half("columns", columns, rows)
            then, now = now, problem.objective(rows, columns)
            assert now <= then * (1 + 1e-5) + problem.rounding(rows, columns), side
        turned = als.balanced(State(rows=rows, columns=columns), problem.known)
        then, now = now, problem.objective(turned.rows, turned.columns)
        assert now <= then * (1 + 1e-5) + problem.rounding(turned.rows, turned.columns), "balanced"
        rows, columns = turned.rows, turned.columns


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10**6), triangle=st.sampled_from(["both", "upper"]), rank=st.integers(1, 5))
def test_balanced__keeps_predictions_in_uncorrelated_components(seed: int, triangle: str, rank: int) -> None:
    rng = np.random.default_rng(seed)
    problem = Problem(DenseMatrix(values=reads(10, 20, seed=seed)), spec_of(5, triangle=triangle), "rows")
    sides = [rng.normal(size=(20, rank)) @ rng.normal(size=(rank, 5)) for _ in range(2)]
    rows, columns = (np.hstack([s, rng.normal(size=(20, 1))]).astype(np.float32) for s in sides)
    turned = als.balanced(State(rows=rows, columns=columns, losses=(0.5,)), problem.known)
    was, now = (a[:, :-1].astype(float) @ b[:, :-1].T.astype(float) for a, b in ((rows, columns), sides_of(turned)))
    np.testing.assert_allclose(now, was, atol=1e-5 * np.abs(was).max())
    assert turned.rows[:, -1].tobytes() == rows[:, -1].tobytes()
    assert turned.columns[:, -1].tobytes() == columns[:, -1].tobytes()
    assert turned.losses == (0.5,)
    weight = [known[:, als.WEIGHT] for known in (problem.known.rows, problem.known.columns)]
    grams = [s[:, :-1].T @ (f[:, None] * s[:, :-1]) for s, f in zip(sides_of(turned), weight, strict=True)]
    top = grams[0][0, 0]
    np.testing.assert_allclose(grams[0], grams[1], atol=1e-4 * top)
    np.testing.assert_allclose(grams[0], np.diag(np.diag(grams[0])), atol=1e-4 * top)
    assert (np.diff(np.diag(grams[0])) <= 1e-4 * top).all()
    assert problem.objective(*sides_of(turned)) <= problem.objective(rows, columns) * (1 + 1e-5)


def sides_of(state: State) -> tuple[als.Floats, als.Floats]:
    return state.rows, state.columns


@pytest.mark.parametrize(
    ("losses", "share"),
    [
        ((9.0,), 0.0),
        ((9.0, 8.0), 1 / 4),
        ((9.0, 8.0, 7.0), 2 / 5),
        ((9.0, 8.0, 8.5), 0.0),
        ((9.0, 8.0, 8.5, 8.0), 1 / 4),
        (tuple(np.arange(99.0, 0, -1)), als.MOMENTUM),
    ],
)
def test_onward__goes_further_the_longer_the_loss_falls(losses: tuple[float, ...], share: float) -> None:
    rng = np.random.default_rng(0)
    was, began, now = rng.normal(size=(3, 2, 6, 4)).astype(np.float32)
    before = State(rows=began[0], columns=began[1], reached=(was[0], was[1]), losses=losses[:-1])
    state = als.onward(before, now[0], now[1], losses=losses)
    np.testing.assert_allclose(state.rows, now[0] + share * (now[0] - was[0]), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(state.columns, now[1] + share * (now[1] - was[1]), rtol=1e-5, atol=1e-6)
    assert state.rows.dtype == np.float32
    assert state.reached is not None
    assert state.reached[0].tobytes() == now[0].tobytes()
    assert state.losses == losses


@pytest.mark.parametrize("triangle", ["both", "upper"])
def test_train__ends_where_the_gradient_is_0(triangle: str, tmp_path: Path, last: list[State]) -> None:
    matrix = DenseMatrix(values=reads(12, 24, depth=2.0), tile=10)
    spec = spec_of(3, triangle=triangle, iterations=200, tolerance=0.0, ridge=0.1, x_max=1000.0)
    ends = []
    for solver in SOLVERS:
        problem = Problem(matrix, spec, solver)
        run(matrix, tmp_path / solver, spec, solver=solver)
        begun, end = problem.start(), last[-1]
        assert problem.gradient(end.rows, end.columns) <= 1e-5 * problem.gradient(begun.rows, begun.columns)
        ends.append(problem.objective(end.rows, end.columns))
        assert ends[-1] < 0.7 * problem.objective(begun.rows, begun.columns)
    assert ends[0] == pytest.approx(ends[1], rel=1e-6)


@pytest.mark.parametrize(
    ("triangle", "solver"),
    [
        ("both", "majorised"),
        ("both", "rows"),
        ("upper", "rows"),
        ("upper", "majorised"),
    ],
)
def test_train__same_for_any_tile_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, triangle: str, solver: Solver
) -> None:
    """Up to float32's rounding, and to a turn among components of one size: so the products of vectors.

    Majorised steps of the upper triangle are of strips: a tile holds whole ones, here of a gene.
    """
    if (triangle, solver) == ("upper", "majorised"):
        monkeypatch.setattr(als, "STRIP", 1)
    x = reads(20, 60, seed=4, depth=2.0)
    spec = spec_of(5, triangle=triangle, iterations=3, tolerance=0.0, vectors="main")
    whole = run(DenseMatrix(values=x, tile=60), tmp_path / "whole", spec, solver=solver)
    for tile in (7, 32, 59, 500):
        other = run(DenseMatrix(values=x, tile=tile), tmp_path / str(tile), spec, solver=solver)
        assert other.genes.tolist() == whole.genes.tolist()
        assert other.facts == whole.facts
        np.testing.assert_allclose(other.losses, whole.losses, rtol=1e-4)
        was, now = whole.vectors @ whole.vectors.T, other.vectors @ other.vectors.T
        np.testing.assert_allclose(now, was, atol=2e-3 * np.abs(was).max())


@pytest.mark.parametrize("which", ["sum", "main"])
def test_train__vectors_are_the_sum_or_the_main_ones(
    tissue: DenseMatrix, tmp_path: Path, last: list[State], which: str
) -> None:
    result = run(tissue, tmp_path, spec_of(5, iterations=2, vectors=which, triangle="upper"))
    order = [int(g[1:]) for g in result.genes]
    rows, columns = last[-1].rows[order, :-1], last[-1].columns[order, :-1]
    np.testing.assert_array_equal(result.vectors, rows + columns if which == "sum" else rows)
    assert np.abs(columns).max() > 0


# -- when to stop ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("losses", "iterations", "tolerance", "ends"),
    [
        ((5.0,), 3, 0.5, False),
        ((5.0, 1.0), 3, 0.5, False),
        ((5.0, 4.0), 3, 0.5, True),
        ((5.0, 4.0), 3, 0.0, False),
        ((5.0, 5.0), 3, 0.0, False),
        ((5.0, 9.0), 3, 0.5, False),  # a ridge may raise the loss at first: not yet the end
        ((5.0, 4.0, 3.0, 2.0), 3, 0.0, True),
    ],
)
def test_finished(losses: tuple[float, ...], iterations: int, tolerance: float, ends: bool) -> None:  # noqa: FBT001
    assert als.finished(losses, iterations, tolerance) == ends


def test_train__settles_before_its_passes_are_used_up(tissue: DenseMatrix, tmp_path: Path) -> None:
    losses = run(tissue, tmp_path, spec_of(5, iterations=50, tolerance=0.05)).losses
    assert 2 <= len(losses) < 51
    falls = [abs(a - b) / a for a, b in zip(losses, losses[1:], strict=False)]
    assert all(f >= 0.05 for f in falls[:-1])
    assert falls[-1] < 0.05


# -- checkpoints ----------------------------------------------------------------------------------------------


class StoppedError(Exception):
    """This task no longer owns the work."""


def stop_at(passes: int):
    """A progress that ends the run in that pass."""

    def progress(done: int, total: int, note: str) -> None:
        if note.startswith("loss") and done == passes:
            raise StoppedError

    return progress


@pytest.mark.parametrize("passes", [1, 3, 5])
@pytest.mark.parametrize("solver", SOLVERS)
def test_train__resumes_to_the_same_bytes(tissue: DenseMatrix, tmp_path: Path, passes: int, solver: Solver) -> None:
    spec = spec_of(5, iterations=7, tolerance=0.0, checkpoint=2)
    whole = run(tissue, tmp_path / "whole", spec, solver=solver)
    with pytest.raises(StoppedError):
        run(tissue, tmp_path / "cut", spec, solver=solver, progress=stop_at(passes))
    seen: list[int] = []
    result = run(
        tissue, tmp_path / "cut", spec, solver=solver, progress=lambda d, t, n: seen.append(d) if "loss" in n else None
    )
    assert seen[0] == passes - passes % 2  # not from the start
    assert result.vectors.tobytes() == whole.vectors.tobytes()
    assert (result.losses, result.facts) == (whole.losses, whole.facts)


def test_train__stops_when_it_no_longer_owns_the_work(tissue: DenseMatrix, tmp_path: Path) -> None:
    left = [9]  # of them 6 tiles

    def alive() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(tissue, tmp_path, spec_of(5, iterations=30, tolerance=0.0), alive=alive)


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "foreign", "flipped"])
def test_train__damaged_checkpoint_falls_back_to_the_one_before(
    tissue: DenseMatrix, tmp_path: Path, damage: str
) -> None:
    spec = spec_of(5, iterations=6, tolerance=0.0, checkpoint=2)
    whole = run(tissue, tmp_path, spec)
    newest, before = sorted(tmp_path.glob("iteration-*.npz"), reverse=True)
    content = newest.read_bytes()
    if damage == "foreign":
        held = dict(np.load(newest))
        np.savez(newest, **{**held, "identity": np.array("other"), "rows": held["rows"] * 2})
    else:
        half = len(content) // 2
        damaged = {
            "truncated": content[:half],
            "garbage": b"x" * 999,
            "empty": b"",
            "flipped": content[:half] + bytes([content[half] ^ 255]) + content[half + 1 :],
        }
        newest.write_bytes(damaged[damage])
    seen: list[int] = []
    result = run(tissue, tmp_path, spec, progress=lambda d, t, n: seen.append(d) if "loss" in n else None)
    assert (newest.name, before.name) == ("iteration-00006.npz", "iteration-00004.npz")
    assert seen[0] == 4
    assert result.vectors.tobytes() == whole.vectors.tobytes()


@pytest.mark.parametrize("other", [{"ridge": 0.1}, {"components": 4}, {"triangle": "upper"}])
def test_train__checkpoint_of_another_spec_is_not_resumed(
    tissue: DenseMatrix, tmp_path: Path, other: dict[str, object]
) -> None:
    run(tissue, tmp_path / "a", spec_of(**{"components": 5, "iterations": 6, "checkpoint": 1, **other}))
    spec = spec_of(5, iterations=6, checkpoint=1)
    result = run(tissue, tmp_path / "a", spec)
    assert result.vectors.tobytes() == run(tissue, tmp_path / "b", spec).vectors.tobytes()


# -- the choice of the solver ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "choice"),
    [
        ({"genes": 3000, "magnitudes": {"14": 4_501_500}}, "majorised"),
        ({"genes": 3000, "magnitudes": {"2": 200_000, "14": 100_000}}, "rows"),
        ({"genes": 3000, "recurrence": {"1": 50_000, "2": 9_000}}, "rows"),
        ({"genes": 3000, "recurrence": {"1": 400_000, "200": 4_101_500}}, "majorised"),
    ],
)
def test_solver__by_the_share_of_cells_that_weigh_less_than_1(facts: dict[str, object], choice: str) -> None:
    found, why = glove.choose_solver(facts, spec_of(50))
    assert found == choice
    assert why.startswith(f"{choice} least squares: ")


def test_solver__cells_below_min_datasets_are_no_entries() -> None:
    facts = {"genes": 1000, "recurrence": {"1": 200_000, "3": 300_500}}
    for least, share in ((1, "100.0%"), (2, "60.0%")):
        why = glove.choose_solver(facts, spec_of(300, x_max=1.0, min_datasets=least))[1]
        assert f" {share} of the cells weigh 1;" in why


# -- bad input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["als", "adagrad"])
def test_train__bad_input(tmp_path: Path, optimizer: str) -> None:
    spec = spec_of(3, optimizer=optimizer)
    with pytest.raises(InputError, match="no cell of the co-occurrence of 9 genes is positive"):
        run(DenseMatrix(values=-np.ones((9, 9))), tmp_path, spec)
    x = sparse(9, 1.0, 0)
    x[5:] = x[:, 5:] = 0
    with pytest.raises(InputError, match="5 genes have an entry, components is 5; give at most 4"):
        run(DenseMatrix(values=x), tmp_path, spec_of(5, optimizer=optimizer))
    result = run(DenseMatrix(values=x), tmp_path, spec_of(4, optimizer=optimizer))
    assert result.vectors.shape == (5, 4)


@pytest.mark.parametrize("x_max", [0.0, -1.0, float("nan")])
def test_spec__x_max_is_positive(x_max: float) -> None:
    with pytest.raises(SpecError, match=r"x_max must be at least 1e-06, got"):
        spec_of(3, x_max=x_max)


# -- real data ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def uterus() -> DenseMatrix:
    """2,000 genes with reads in all samples of a tissue."""
    table = pd.read_csv(data("rnaseq", "uterus-rsem-count-gtex.txt.gz"), sep="\t", index_col=0)
    counts = table.drop(columns="Entrez_Gene_Id")
    counts = counts[(counts > 0).all(axis=1)].sort_index().iloc[:2000].to_numpy(float).T
    x = counts.T @ counts
    np.fill_diagonal(x, (np.diag(x) - counts.sum(axis=0)) / 2)
    return DenseMatrix(values=x, tile=2048)


def neighbours(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2.0)
    return np.argsort(-cosines, axis=1)[:, :10]


def test_real_tissue__loss_not_above_adagrads_after_as_many_passes(uterus: DenseMatrix, tmp_path: Path) -> None:
    passes = 3
    als_loss = run(uterus, tmp_path / "a", spec_of(100, iterations=passes, init="random")).losses[-1]
    adagrad = run(uterus, tmp_path / "b", spec_of(100, iterations=passes, optimizer="adagrad"))
    assert als_loss <= adagrad.losses[-1]


def test_real_tissue__seeds_agree_in_neighbours(uterus: DenseMatrix, tmp_path: Path) -> None:
    made = [
        neighbours(run(uterus, tmp_path / str(seed), spec_of(100, seed=seed, init="random")).vectors) for seed in (1, 2)
    ]
    shared = np.mean([len(np.intersect1d(a, b)) for a, b in zip(*made, strict=True)]) / 10
    assert 0.95 <= shared < 1.0


def test_modules__pairs_train_with_either_solver(tmp_path: Path) -> None:
    matrix = modules(200, 4000, tile=64)
    found = [run(matrix, tmp_path / s, spec_of(10, x_max=10.0), solver=s) for s in SOLVERS]
    assert all(f.losses[-1] < 0.5 * f.losses[0] for f in found)
    assert found[0].genes.tolist() == found[1].genes.tolist()
