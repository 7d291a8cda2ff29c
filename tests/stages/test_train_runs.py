"""Several numbers of iterations as one run: the bytes of as many runs, also after a stop, and in a bucket."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from g2v_dask import driver
from g2v_dask.driver import Summary
from g2v_dask.errors import SpecError
from g2v_dask.flows import verify
from g2v_dask.folders import LocalFolder, desks, open_folder
from g2v_dask.models import skipgram
from g2v_dask.spec import MergeSpec, PairsSpec, TrainSpec
from g2v_dask.stages import merge, pairs, train
from g2v_dask.store import Store
from tests import buckets, made

GENES = [f"G{i:03d}" for i in range(80)]
SPEC = TrainSpec(components=8, iterations=4, min_count=1, schedule="restart")


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a co-occurrence of 80 genes."""
    folder = tmp_path_factory.mktemp("runs") / "s"
    store = Store.open(folder, create=True)
    for seed, name in enumerate("abc"):
        made.expression(store, name, made.correlated(25, 80, seed=seed % 2), GENES)
    for stage, spec in ((pairs, PairsSpec(threshold=0.6)), (merge, MergeSpec())):
        driver.here(stage, stage.plan(store, spec), store)
    return folder


@pytest.fixture
def store(empty: Path, tmp_path: Path) -> Store:
    shutil.copytree(empty, tmp_path / "s")
    return Store.open(tmp_path / "s")


def specs(*iterations: int) -> list[TrainSpec]:
    return [dataclasses.replace(SPEC, name=f"t-i{i}", iterations=i) for i in iterations]


def together(store: Store, *iterations: int) -> Summary:
    return driver.here(train, train.plan_run(store, specs(*iterations)), store)


@pytest.fixture(scope="module")
def alone(empty: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Digest, facts and bytes of the runs of 1, 2 and 4 iterations, each trained for itself."""
    folder = tmp_path_factory.mktemp("alone") / "s"
    shutil.copytree(empty, folder)
    store = Store.open(folder)
    for spec in specs(1, 2, 4):
        driver.here(train, train.plan(store, spec), store)
    return found(store)


def found(store: Store) -> dict[str, Any]:
    artifacts = store.artifacts("embeddings")
    return {a.name: (a.digest, dict(a.facts), made.data_files(a.path)) for a in artifacts}


def test_plan_run__makes_what_each_run_alone_makes(store: Store, alone: dict[str, Any]) -> None:
    summary = together(store, 2, 1, 4)
    assert (sorted(summary.made), summary.parts_run) == (["t-i1", "t-i2", "t-i4"], 4)
    assert found(store) == alone
    assert len({digest for digest, _, _ in alone.values()}) == 3
    assert list((store.root / ".work").names()) == []  # the run's own files are gone
    assert together(store, 1, 2, 4).parts_run == 0


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts iterations."""
    done: list[int] = []
    one = skipgram._one_iteration

    def spy(*given: Any) -> None:
        one(*given)
        done.append(len(done) + 1)

    monkeypatch.setattr(skipgram, "_one_iteration", spy)
    return done


def test_plan_run__trains_as_many_iterations_as_the_longest(store: Store, trained: list[int]) -> None:
    together(store, 1, 2, 4)
    assert trained == [1, 2, 3, 4]


def stopped(store: Store, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """A run that ends in the iteration after so many."""
    one, left = skipgram._one_iteration, [after]

    def spy(*given: Any) -> None:
        if not left[0]:
            raise RuntimeError("stopped")
        left[0] -= 1
        one(*given)

    with monkeypatch.context() as patch:
        patch.setattr(skipgram, "_one_iteration", spy)
        with pytest.raises(RuntimeError, match="stopped"):
            together(store, 1, 2, 4)


def test_plan_run__resumes_to_the_same_bytes(
    store: Store, alone: dict[str, Any], monkeypatch: pytest.MonkeyPatch, trained: list[int]
) -> None:
    stopped(store, monkeypatch, 2)
    assert found(store) == {}
    trained.clear()
    together(store, 1, 2, 4)
    assert len(trained) == 2
    assert found(store) == alone


def test_plan_run__cut_off_between_two_results_trains_no_more(
    store: Store, alone: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    of_run = train._of_run

    def fails(work: Any, detail: Any, digest: str) -> Any:
        if detail.spec.iterations == 2:
            raise RuntimeError("stopped")
        return of_run(work, detail, digest)

    with monkeypatch.context() as patch:
        patch.setattr(train, "_of_run", fails)
        with pytest.raises(RuntimeError, match="stopped"):
            together(store, 1, 2, 4)
    assert list(found(store)) == ["t-i1"]
    monkeypatch.setattr(skipgram, "train", None)
    summary = together(store, 1, 2, 4)
    assert (summary.fresh, summary.parts_run) == (["t-i1"], 2)
    assert found(store) == alone


def test_plan_run__input_that_is_refused_is_told_of_each(store: Store) -> None:
    wanted = [dataclasses.replace(spec, min_count=9999) for spec in specs(1, 3)]
    summary = driver.here(train, train.plan_run(store, wanted), store)
    assert [q["name"] for q in summary.quarantined] == ["t-i1", "t-i3"]
    assert all("no gene is in at least min-count 9999" in q["reason"] for q in summary.quarantined)


def test_plan_run__damaged_result_is_repaired_for_itself(store: Store, alone: dict[str, Any]) -> None:
    together(store, 1, 2, 4)
    artifact = store.get("embeddings", "t-i2")
    file = artifact.path / next(n for n in artifact.names if "vector/c" in n)
    file.write_bytes(b"x" * file.stat().st_size)
    verdict = verify.verify(store.root.url, deep=True, repair=True, say=lambda text: None)
    assert [(f.artifact, f.repaired) for f in verdict.faults] == [("embeddings/t-i2", True)]
    assert found(store) == alone


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([SPEC, dataclasses.replace(SPEC, components=9)], "runs that are one must differ in name and iterations alone"),
        ([dataclasses.replace(SPEC, schedule="continuous")], "only skipgram with schedule restart .* continuous"),
        ([dataclasses.replace(SPEC, method="svd")], "only skipgram with schedule restart .* got svd"),
    ],
)
def test_plan_run__of_specs_that_are_not_one_run(store: Store, wanted: list[TrainSpec], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        train.plan_run(store, wanted)


@pytest.fixture
def bucket(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The same store in a bucket."""
    monkeypatch.setenv("G2V_CACHE", str(tmp_path / "cache"))
    desks.desk.cache_clear()
    with buckets.serving() as endpoint:
        url = buckets.new_bucket(endpoint)
        root = open_folder(url)
        for name in LocalFolder(empty).sizes():
            root.write(name, (empty / name).read_bytes())
        yield Store.open(url)


def test_plan_run__in_a_bucket_stopped_and_resumed_elsewhere(
    bucket: Store, alone: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: list[int]
) -> None:
    stopped(bucket, monkeypatch, 2)
    shutil.rmtree(tmp_path / "cache")
    desks.desk.cache_clear()  # another machine
    trained.clear()
    together(bucket, 1, 2, 4)
    assert len(trained) == 2
    assert found(bucket) == alone
