"""GloVe on a store in a bucket, on machines that forget what they had: the bytes of a local store."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from g2v_dask import driver
from g2v_dask.folders import desks, open_folder
from g2v_dask.models import glove
from g2v_dask.models.checkpoints import Checkpoints
from g2v_dask.parts import Part, Receipt, Target
from g2v_dask.stages import train
from g2v_dask.store import Store
from tests import buckets, made, stores
from tests.stages.test_train_glove import InterruptError, add_samples, cut_off, spec_of

PASSES = 2


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with buckets.serving() as there:
        yield there


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """The files of a store with a co-occurrence of two bands; and the embedding that a local folder gets."""
    store = stores.empty(tmp_path_factory.mktemp("local") / "s", tile=30)
    add_samples(store)
    files = {name: store.root.read(name) or b"" for name in store.root.sizes() if name != ".lock"}
    driver.here(train, train.plan(store, spec_of(iterations=PASSES)), store)
    return files, made.data_files(store.get("embeddings", "e").path)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this machine keeps its copies."""
    monkeypatch.setenv("G2V_CACHE", str(tmp_path / "cache"))
    desks.desk.cache_clear()
    return tmp_path / "cache"


@pytest.fixture
def store(endpoint: str, local: tuple[dict[str, bytes], dict[str, bytes]], cache: Path) -> Store:
    """The same store, in a bucket."""
    assert not cache.exists()
    url = buckets.new_bucket(endpoint)
    folder = open_folder(url)
    folder.together(lambda item: folder.write(*item), local[0].items())
    return Store.open(url)


@pytest.fixture
def wiped(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], None]]:
    """How a machine forgets."""

    def elsewhere() -> None:
        monkeypatch.setenv("G2V_CACHE", str(tmp_path / f"machine-{len(list(tmp_path.iterdir()))}"))
        desks.desk.cache_clear()

    return {
        "under a process that lives": lambda: shutil.rmtree(cache, ignore_errors=True),
        "another machine": elsewhere,
    }


@pytest.mark.parametrize("way", ["under a process that lives", "another machine"])
def test_train__rounds_on_a_machine_that_is_wiped_between_them(
    store: Store,
    local: tuple[dict[str, bytes], dict[str, bytes]],
    wiped: dict[str, Callable[[], None]],
    monkeypatch: pytest.MonkeyPatch,
    way: str,
) -> None:
    monkeypatch.setattr(glove, "SMALL", 0)
    rounds = [0]

    class Stage:
        plan, begin, run_part, facts = train.plan, train.begin, train.run_part, train.facts

        @staticmethod
        def next_round(target: Target, done: int, receipts: Mapping[int, Receipt]) -> tuple[Part, ...]:
            wiped[way]()
            rounds[0] += 1
            return train.next_round(target, done, receipts)

    assert driver.here(Stage, train.plan(store, spec_of(iterations=PASSES)), store).made == ["e"]
    assert rounds[0] > 10
    wiped[way]()
    artifact = store.get("embeddings", "e")
    assert made.data_files(artifact.path) == local[1]
    assert sorted(artifact.folder.sizes()) == sorted([*artifact.names, "manifest.json"])  # no round leaves a file


def test_train__rounds_cut_off_go_on_on_a_machine_that_was_wiped(
    store: Store,
    local: tuple[dict[str, bytes], dict[str, bytes]],
    wiped: dict[str, Callable[[], None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the read, in a product, and in a pass."""
    monkeypatch.setattr(glove, "SMALL", 0)
    plan = train.plan(store, spec_of(iterations=PASSES))
    for parts in (1, 3, 13):
        cut_off(plan, store, parts)
        wiped["another machine"]()
    summary = driver.here(train, plan, store)
    assert summary.parts_resumed == 1 + 3 + 13
    assert made.data_files(store.get("embeddings", "e").path) == local[1]


def test_train__one_part_goes_on_from_a_checkpoint_in_the_bucket(
    store: Store,
    local: tuple[dict[str, bytes], dict[str, bytes]],
    wiped: dict[str, Callable[[], None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = train.plan(store, spec_of(iterations=PASSES, checkpoint=1))
    save, newest, found = Checkpoints.save, Checkpoints.newest, []

    def cut(self: Checkpoints, *given: object, **more: object) -> None:
        save(self, *given, **more)  # type: ignore[arg-type]
        raise InterruptError

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", cut)
        with pytest.raises(InterruptError):
            driver.here(train, plan, store)
    wiped["another machine"]()
    monkeypatch.setattr(Checkpoints, "newest", lambda self: found.append(newest(self)) or found[0])
    driver.here(train, plan, store)
    assert len(found[0]["losses"]) == 1
    assert made.data_files(store.get("embeddings", "e").path) == local[1]
