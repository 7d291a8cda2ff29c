"""The skip-gram trainer against bare gensim, against itself after a kill, and at its edges."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gensim.models import Word2Vec

from g2v_dask.errors import InputError
from g2v_dask.folders import LocalFolder
from g2v_dask.models import base, load, skipgram
from g2v_dask.spec import TrainSpec
from tests.oracles_models import MemoryMatrix, modules

ROOT = Path(__file__).parents[2]

SPEC = TrainSpec(components=12, iterations=3, min_count=2)


def quiet(done: int, total: int, note: str) -> None:
    """No progress."""


def alive() -> None:
    """Still ours."""


def run(matrix: MemoryMatrix, folder: Path, spec: TrainSpec = SPEC, **more: object) -> base.Trained:
    given = {"progress": quiet, "alive": alive, **more}
    return skipgram.train(matrix, spec, folder=LocalFolder(folder), **given)


@pytest.fixture(scope="module")
def small() -> MemoryMatrix:
    return modules(150, 2500, tile=64)


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> int:
    """Small buckets, so that small data fill many."""
    monkeypatch.setattr(skipgram, "BUCKET_PAIRS", 700)
    return 700


def shuffled(matrix: MemoryMatrix, spec: TrainSpec, folder: Path) -> list[list[list[str]]]:
    """The sentences of every iteration, as the corpus gives them."""
    seen: list[list[list[str]]] = []
    one = skipgram._one_iteration

    def spy(model: Word2Vec, corpus: skipgram._Corpus, alphas: tuple[float, float]) -> None:
        inner = corpus.inner.bit_generator.state
        seen.append([list(pair) for pair in corpus])
        corpus.inner.bit_generator.state = inner
        one(model, corpus, alphas)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(skipgram, "_one_iteration", spy)
        run(matrix, folder, spec)
    return seen


class Epochs:
    """A corpus with an order of its own in every epoch."""

    def __init__(self, epochs: list[list[list[str]]]) -> None:
        self.epochs = epochs
        self.at = 0

    def __iter__(self):
        self.at += 1
        return iter(self.epochs[self.at - 1])


def bare(matrix: MemoryMatrix, spec: TrainSpec, result: base.Trained) -> Word2Vec:
    """Gensim's own model, its vocabulary in our order."""
    model = Word2Vec(
        vector_size=spec.components,
        window=1,
        sg=1,
        min_count=1,
        sample=spec.sample,
        negative=spec.negative,
        alpha=spec.learning_rate,
        workers=1,
        seed=spec.seed,
        sorted_vocab=0,
    )
    sums = dict(zip(matrix.genes.tolist(), matrix.dense().sum(axis=0).tolist(), strict=True))
    model.build_vocab_from_freq({g: sums[g] for g in result.genes.tolist()})
    return model


def test_train__equals_one_long_gensim_call(
    small: MemoryMatrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buckets: int
) -> None:
    """Enough pairs for many jobs an epoch, so the falling rate counts."""
    many = MemoryMatrix(genes=small.genes, rows=small.rows, cols=small.cols, values=small.values * 8, tile=small.tile)
    spec = TrainSpec(components=12, iterations=3, min_count=2, sample=0.0)
    epochs = shuffled(many, spec, tmp_path / "a")
    ours = run(many, tmp_path / "b", spec)
    model = bare(many, spec, ours)
    assert len(epochs[0]) > 4 * 5000
    model.train(Epochs(epochs), total_examples=len(epochs[0]), epochs=3)
    assert ours.vectors.tobytes() == model.wv.vectors.tobytes()


def test_train__restart_equals_one_gensim_call_an_iteration(small: MemoryMatrix, tmp_path: Path, buckets: int) -> None:
    spec = TrainSpec(components=12, iterations=2, min_count=2, schedule="restart")
    epochs = shuffled(small, spec, tmp_path / "a")
    ours = run(small, tmp_path / "b", spec)
    model = bare(small, spec, ours)
    for epoch in epochs:
        model.train(epoch, total_examples=len(epoch), epochs=1, start_alpha=0.025, end_alpha=0.0001)
    assert ours.vectors.tobytes() == model.wv.vectors.tobytes()


def test_train__every_pair_as_often_as_seen_and_in_a_new_order(
    small: MemoryMatrix, tmp_path: Path, buckets: int
) -> None:
    epochs = shuffled(small, TrainSpec(components=4, iterations=2, min_count=1), tmp_path)
    assert len(epochs[0]) > 5 * buckets
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(small.pairs())
    assert epochs[0] != epochs[1]
    assert epochs[0] != small.pairs()


def test_train__shuffle_is_uniform(tmp_path: Path, buckets: int) -> None:
    """Where a pair lands does not depend on where it was: correlation of positions is near 0."""
    dense = np.triu(np.ones((90, 90), np.uint32), 1)
    matrix = MemoryMatrix.from_dense(dense)
    order = shuffled(matrix, TrainSpec(components=2, iterations=1, min_count=1), tmp_path)[0]
    rank = {tuple(pair): i for i, pair in enumerate(matrix.pairs())}
    places = [rank[tuple(pair)] for pair in order]
    assert sorted(places) == list(range(len(places)))
    r = np.corrcoef(places, np.arange(len(places)))[0, 1]
    assert abs(r) < 4 / np.sqrt(len(places))


def test_train__vocabulary_by_count_then_gene(small: MemoryMatrix, tmp_path: Path) -> None:
    result = run(small, tmp_path)
    counts = small.dense().sum(axis=0)
    expected = sorted(zip((-counts.astype(int)).tolist(), small.genes.tolist(), strict=True))
    assert result.genes.tolist() == [g for c, g in expected if -c >= SPEC.min_count]
    assert len(set(counts.tolist())) < len(counts)  # ties occur


def test_train__min_datasets_reads_small_cells_as_zero(small: MemoryMatrix, tmp_path: Path) -> None:
    spec = TrainSpec(components=4, iterations=1, min_count=1, min_datasets=2)
    kept = small.values >= 2
    only = MemoryMatrix(
        genes=small.genes, rows=small.rows[kept], cols=small.cols[kept], values=small.values[kept], tile=64
    )
    other = TrainSpec(components=4, iterations=1, min_count=1)
    ours, plain = run(small, tmp_path / "a", spec), run(only, tmp_path / "b", other)
    assert ours.vectors.tobytes() == plain.vectors.tobytes()
    assert len(small.values) > len(only.values) > 0


@pytest.mark.parametrize("tile", [7, 64, 1000])
def test_train__same_bytes_for_any_tile_size(small: MemoryMatrix, tmp_path: Path, tile: int) -> None:
    other = MemoryMatrix(genes=small.genes, rows=small.rows, cols=small.cols, values=small.values, tile=tile)
    assert run(other, tmp_path / "a").vectors.tobytes() == run(small, tmp_path / "b").vectors.tobytes()


def test_train__other_seed_gives_other_vectors(small: MemoryMatrix, tmp_path: Path) -> None:
    spec = TrainSpec(components=12, iterations=3, min_count=2, seed=2)
    ours, other = run(small, tmp_path / "a"), run(small, tmp_path / "b", spec)
    assert ours.vectors.tobytes() != other.vectors.tobytes()


class StoppedError(Exception):
    """This task no longer owns the work."""


def stop_after(calls: int):
    left = [calls]

    def check() -> None:
        left[0] -= 1
        if left[0] < 0:
            raise StoppedError

    return check


@pytest.mark.parametrize("calls", [1, 2, 3, 4])
def test_train__resumes_to_the_same_bytes(small: MemoryMatrix, tmp_path: Path, buckets: int, calls: int) -> None:
    whole = run(small, tmp_path / "whole")
    with pytest.raises(StoppedError):
        run(small, tmp_path / "cut", alive=stop_after(calls))
    notes: list[str] = []
    result = run(small, tmp_path / "cut", progress=lambda done, total, note: notes.append(note))
    assert notes[0].startswith(f"iteration {calls // 2 + 1} ")
    assert result.vectors.tobytes() == whole.vectors.tobytes()
    assert result.losses == whole.losses
    assert result.facts == whole.facts


@pytest.mark.parametrize("schedule", ["restart", "continuous"])
def test_train__keep_gives_what_shorter_runs_end_with_if_rates_restart(
    small: MemoryMatrix, tmp_path: Path, buckets: int, schedule: str
) -> None:
    def spec(iterations: int) -> TrainSpec:
        return TrainSpec(components=12, iterations=iterations, min_count=2, schedule=schedule)

    kept: dict[int, bytes] = {}
    whole = run(small, tmp_path / "all", spec(4), keep=lambda i, vectors: kept.update({i: vectors.tobytes()}))
    assert list(kept) == [1, 2, 3, 4]
    for iterations in range(2, 5):
        alone = run(small, tmp_path / str(iterations), spec(iterations))
        same = schedule == "restart" or iterations == 4
        assert (alone.vectors.tobytes() == kept[iterations]) == same
        assert (alone.losses == whole.losses[:iterations]) == same
        assert alone.facts == whole.facts


@pytest.mark.parametrize("calls", [1, 2, 3, 4])
def test_train__keep_misses_no_iteration_of_a_resumed_run(
    small: MemoryMatrix, tmp_path: Path, buckets: int, calls: int
) -> None:
    whole: dict[int, bytes] = {}
    run(small, tmp_path / "whole", keep=lambda i, vectors: whole.update({i: vectors.tobytes()}))
    kept: dict[int, bytes] = {}
    with pytest.raises(StoppedError):
        run(small, tmp_path / "cut", alive=stop_after(calls), keep=lambda i, v: kept.update({i: v.tobytes()}))
    assert len(kept) == calls // 2
    run(small, tmp_path / "cut", keep=lambda i, v: kept.update({i: v.tobytes()}))
    assert kept == whole


def test_train__without_the_random_state_a_resumed_run_differs(
    small: MemoryMatrix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(small, tmp_path / "whole")
    with pytest.raises(StoppedError):
        run(small, tmp_path, alive=stop_after(2))
    path = sorted(tmp_path.glob("iteration-*.npz"), reverse=True)[0]
    held = dict(np.load(path))
    held["random_key"] = np.random.RandomState(SPEC.seed).get_state()[1]  # noqa: NPY002
    np.savez(path, **held)
    assert run(small, tmp_path).vectors.tobytes() != whole.vectors.tobytes()


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "foreign"])
def test_train__damaged_checkpoint_falls_back_to_the_one_before(
    small: MemoryMatrix, tmp_path: Path, damage: str
) -> None:
    whole = run(small, tmp_path)
    newest, before = sorted(tmp_path.glob("iteration-*.npz"), reverse=True)
    content = newest.read_bytes()
    if damage == "foreign":
        held = dict(np.load(newest))
        np.savez(newest, **{**held, "identity": np.array("other"), "vectors": held["vectors"] * 2})
    else:
        damaged = {"truncated": content[: len(content) // 2], "garbage": b"x" * 999, "empty": b""}
        newest.write_bytes(damaged[damage])
    notes: list[str] = []
    result = run(small, tmp_path, progress=lambda done, total, note: notes.append(note))
    assert notes[0] == "iteration 3 of 3"
    assert before.exists()
    assert result.vectors.tobytes() == whole.vectors.tobytes()


def test_train__checkpoint_of_another_spec_is_not_resumed(small: MemoryMatrix, tmp_path: Path) -> None:
    other = TrainSpec(components=12, iterations=3, min_count=2, negative=4)
    run(small, tmp_path / "a", other)
    result = run(small, tmp_path / "a")
    assert result.vectors.tobytes() == run(small, tmp_path / "b").vectors.tobytes()


def test_train__leaves_only_checkpoints(small: MemoryMatrix, tmp_path: Path) -> None:
    run(small, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["iteration-00002.npz", "iteration-00003.npz"]


def test_train__error_in_gensims_reader_thread_is_raised(small: MemoryMatrix, tmp_path: Path, buckets: int) -> None:
    def broken(done: int, total: int, note: str) -> None:
        if 0 < done < total // 3:
            raise StoppedError

    with pytest.raises(StoppedError):
        run(small, tmp_path, progress=broken)


def test_train__loss_falls_and_progress_ends_at_the_total(small: MemoryMatrix, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    spec = TrainSpec(components=12, iterations=8, min_count=1, learning_rate=0.2, sample=0.0)
    result = run(small, tmp_path, spec, progress=lambda done, total, note: steps.append((done, total)))
    assert steps == sorted(steps)
    assert steps[-1] == (8 * len(small.pairs()),) * 2
    assert len(result.losses) == 8
    # untrained weights are 0: log 2 for the pair and for each negative
    assert result.losses[-1] < result.losses[0] < 6 * np.log(2)


def test_train__facts_count_what_is_dropped(small: MemoryMatrix, tmp_path: Path) -> None:
    spec = TrainSpec(components=4, iterations=1, min_count=40, sample=1e-3)
    result = run(small, tmp_path, spec)
    counts = small.dense().sum(axis=0).astype(float)
    kept = counts >= 40
    part = small.dense()[np.ix_(kept, kept)].astype(float)
    share = 1e-3 * counts[kept].sum() / counts[kept]
    keep = np.minimum(np.sqrt(share) + share, 1.0)  # word2vec.c
    assert result.facts["pairs"] == len(small.pairs())
    assert result.facts["pairs_dropped_by_min_count"] == len(small.pairs()) - part.sum() / 2
    assert result.facts["genes_dropped_by_min_count"] == np.sum((counts > 0) & ~kept) > 0
    expected = 1 - (part * np.outer(keep, keep)).sum() / part.sum()
    assert result.facts["pairs_dropped_by_sample_share"] == pytest.approx(expected, abs=1e-6)
    assert 0 < expected < 1


def test_train__more_than_65536_genes_use_wide_pairs(small: MemoryMatrix, tmp_path: Path) -> None:
    wide = skipgram._PairFile(file=skipgram._scratch(LocalFolder(tmp_path)), bits=32)
    first, second = np.array([0, 70_000, 2**32 - 1]), np.array([2**32 - 1, 1, 5])
    wide.write(0, wide.pack(first, second))
    again = wide.unpack(wide.read(0, wide.length))
    np.testing.assert_array_equal(again, [first, second])
    wide.file.close()


def test_train__bad_input(small: MemoryMatrix, tmp_path: Path) -> None:
    empty = MemoryMatrix.from_dense(np.zeros((5, 5), np.uint32))
    with pytest.raises(InputError, match="no pair that is seen in at least 1"):
        run(empty, tmp_path)
    with pytest.raises(InputError, match="no pair that is seen in at least 99"):
        run(small, tmp_path, TrainSpec(min_datasets=99))
    with pytest.raises(InputError, match="no gene is in at least min-count 9999"):
        run(small, tmp_path, TrainSpec(min_count=9999))
    star = np.zeros((9, 9), np.uint32)
    star[0, 1:] = 1
    with pytest.raises(InputError, match="no pair joins two genes"):
        run(MemoryMatrix.from_dense(star), tmp_path, TrainSpec(min_count=5))
    with pytest.raises(InputError, match="float64"):
        run(MemoryMatrix.from_dense(star.astype(float)), tmp_path)


CHILD = """
import hashlib, sys
from pathlib import Path
from g2v_dask.folders import LocalFolder
from tests.oracles_models import modules
from g2v_dask.models import load
from g2v_dask.spec import TrainSpec
spec = TrainSpec(components=12, iterations=3, min_count=2)
result = load("skipgram").train(modules(150, 2500, tile=64), spec, folder=LocalFolder(Path(sys.argv[1])),
                                progress=lambda *a: print(a, flush=True), alive=lambda: None)
print(hashlib.sha256(result.vectors.tobytes()).hexdigest())
"""


def child(folder: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", CHILD, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}, cwd=ROOT)


def test_train__same_bytes_in_any_process_and_hash_seed(small: MemoryMatrix, tmp_path: Path) -> None:
    here = hashlib.sha256(run(small, tmp_path / "a").vectors.tobytes()).hexdigest()
    for seed in ("1", "77"):
        out, _ = child(tmp_path / seed, PYTHONHASHSEED=seed).communicate()
        assert out.split()[-1] == here


def test_train__killed_process_resumes_to_the_same_bytes(small: MemoryMatrix, tmp_path: Path) -> None:
    here = run(small, tmp_path / "a").vectors.tobytes()
    with child(tmp_path / "b") as process:
        for line in process.stdout:
            if "iteration 2 of 3" in line:
                process.kill()
                break
    left = [p.name for p in (tmp_path / "b").iterdir() if not p.name.startswith("new-")]
    assert left
    assert all(name.startswith("iteration-") for name in left)  # no pair file stays
    assert run(small, tmp_path / "b").vectors.tobytes() == here


def test_load__gives_the_trainer_of_a_method() -> None:
    assert load("skipgram") is skipgram
    assert load("svd").memory_bytes(10, 10, 2) > 0
