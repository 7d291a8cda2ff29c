"""GloVe through the stage: one part or rounds, any number of workers, run at once or in pieces: the same bytes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from g2v_dask import arrays, driver, tiles
from g2v_dask.cluster import Cluster, connect
from g2v_dask.driver import Summary
from g2v_dask.errors import G2VError, SpecError
from g2v_dask.models import adagrad, glove, glove_rounds
from g2v_dask.parts import Output, Part, Plan, Receipt, Target, Work
from g2v_dask.progress import Display
from g2v_dask.spec import ClusterSpec, CooccurSpec, IndexSpec, MergeSpec, PairsSpec, TrainSpec
from g2v_dask.stages import cooccur, index, merge, pairs, train
from g2v_dask.store import Store
from tests import made, stores
from tests.oracles_models import Glove, glove_loss

GENES = [f"G{i:03d}" for i in range(60)]
QUIET = Display(quiet=True)


def counts(seed: int, samples: int = 14, genes: int = 60) -> np.ndarray:
    rng = np.random.default_rng(seed)
    level = rng.normal(2.0, 1.5, genes) + rng.normal(size=(samples, 2)) @ rng.normal(size=(2, genes)) / 2
    found = rng.poisson(np.exp(level))
    found[0, found.sum(axis=0) == 0] = 1
    return found


def add_samples(store: Store, *, weights: str = "raw", reads: np.ndarray | None = None) -> None:
    """``cooccurrence/TCM`` of one tissue."""
    reads = counts(1) if reads is None else reads
    made.expression(store, "tissue", np.zeros(reads.shape), GENES, counts=reads)
    driver.here(cooccur, cooccur.plan(store, CooccurSpec(name="TCM", weights=weights)), store)


def add_pairs(store: Store) -> None:
    """``cooccurrence/all`` of three datasets."""
    for seed, name in enumerate("abc"):
        made.expression(store, name, made.correlated(25, 60, seed=seed % 2), GENES)
    for stage, spec in ((pairs, PairsSpec(threshold=0.5)), (merge, MergeSpec())):
        driver.here(stage, stage.plan(store, spec), store)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three bands of genes, both origins."""
    root = tmp_path_factory.mktemp("prepared") / "s"
    opened = stores.empty(root, tile=20)
    add_samples(opened)
    add_pairs(opened)
    return root


@pytest.fixture
def store(prepared: Path, tmp_path: Path) -> Store:
    """One's own."""
    return Store.open(shutil.copytree(prepared, tmp_path / "s"))


@pytest.fixture(scope="module")
def whole(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The embedding of the tissue, made in one part at one go."""
    return here(Store.open(shutil.copytree(prepared, tmp_path_factory.mktemp("whole") / "s")), in_rounds=False)


def spec_of(**more: object) -> TrainSpec:
    given = {"source": "TCM", "name": "e", "components": 6, "iterations": 3, "tolerance": 0.0, "checkpoint": 2}
    return TrainSpec(method="glove", **{**given, **more})


def plan(store: Store, *, in_rounds: bool, **more: object) -> Plan:
    with pytest.MonkeyPatch.context() as patch:
        if in_rounds:
            patch.setattr(glove, "SMALL", 0)
        made_ = train.plan(store, spec_of(**more))
    assert made_.targets[0].detail.in_rounds == in_rounds
    return made_


def data_of(store: Store, name: str = "e") -> dict[str, bytes]:
    """All bytes of the embedding; and then it is gone, so that it can be made another way."""
    artifact = store.get("embeddings", name)
    found = made.data_files(artifact.path)
    everything = {p.relative_to(artifact.path).as_posix() for p in artifact.path.rglob("*") if p.is_file()}
    assert everything == {*found, "manifest.json"}  # no round leaves a file
    assert not store.work(artifact.digest).desk.exists()
    forget(store, name)
    return found


def forget(store: Store, name: str = "e") -> None:
    """Removes an embedding, its files too."""
    path = store.get("embeddings", name).path
    store.remove("embeddings", name)
    shutil.rmtree(path)


def here(store: Store, *, in_rounds: bool, **more: object) -> dict[str, bytes]:
    summary = driver.here(train, plan(store, in_rounds=in_rounds, **more), store)
    assert summary.made == ["e"]
    return data_of(store)


# -- one part and rounds --------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["TCM", "all"])
@pytest.mark.parametrize("triangle", ["both", "upper"])
@pytest.mark.parametrize("init", ["svd", "random"])
def test_train__one_part_and_rounds_give_the_same_bytes(store: Store, source: str, triangle: str, init: str) -> None:
    options = {"source": source, "triangle": triangle, "init": init, "x_max": 10.0}
    assert here(store, in_rounds=False, **options) == here(store, in_rounds=True, **options)


@pytest.mark.parametrize("solver", ["majorised", "rows"])
def test_train__both_solvers_in_rounds(store: Store, monkeypatch: pytest.MonkeyPatch, solver: str) -> None:
    monkeypatch.setattr(glove, "choose_solver", lambda facts, spec: (solver, "told"))
    one, many = (here(store, in_rounds=in_rounds) for in_rounds in (False, True))
    assert one == many


@pytest.mark.parametrize("tolerance", [0.0, 0.03, 0.9])
def test_train__rounds_end_where_one_part_does(store: Store, tolerance: float) -> None:
    cards = []
    for in_rounds in (False, True):
        made_ = plan(store, in_rounds=in_rounds, tolerance=tolerance, iterations=9)
        cards.append(driver.here(train, made_, store).artifacts["e"])
        forget(store)
    assert cards[0] == cards[1]
    passes = len(cards[0]["losses"]) - 1
    assert passes == {0.0: 9, 0.9: 1}.get(tolerance, passes)
    assert 1 <= passes <= 9


def test_train__look_alike_genes_come_in_one_order(tmp_path: Path) -> None:
    """Sums of logs round: of genes that are alike, the order must not go by how the sums were put together."""
    store = stores.empty(tmp_path / "s", tile=16)
    half = counts(3, genes=30)
    add_samples(store, weights="log1p", reads=np.hstack([half, half]))
    one, many = (here(store, in_rounds=in_rounds) for in_rounds in (False, True))
    assert one == many


def test_plan__more_genes_than_small_go_in_rounds(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for small, in_rounds in ((60, False), (59, True)):
        monkeypatch.setattr(glove, "SMALL", small)
        (target,) = train.plan(store, spec_of()).targets
        assert target.detail.in_rounds == in_rounds
        assert len(target.parts) == (3 if in_rounds else 1)
        (target,) = train.plan(store, spec_of(optimizer="adagrad")).targets
        assert not target.detail.in_rounds
    monkeypatch.undo()
    assert (
        target.digest != train.plan(store, spec_of()).targets[0].digest == plan(store, in_rounds=True).targets[0].digest
    )


@pytest.mark.parametrize(("init", "before"), [("svd", 10), ("random", 2)])
def test_phase__rounds_follow_each_other(init: str, before: int) -> None:
    spec = spec_of(init=init)
    phases = [glove_rounds.phase(r, spec) for r in range(before + 7)]
    assert phases[before:] == ["rows", "columns", "balance", "rows", "columns", "balance", "rows"]
    sizes = [len(glove_rounds.parts("e", 60, 16, spec, round_=r)) for r in range(before + 3)]
    assert [size == 1 for size in sizes] == [p in glove_rounds.ALONE for p in phases[: before + 3]]


# -- workers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["TCM", "all"])
def test_train__two_workers_give_the_bytes_of_one_process(store: Store, cluster: Cluster, source: str) -> None:
    expected = here(store, in_rounds=False, source=source)
    for in_rounds in (False, True):
        driver.drive(train, plan(store, in_rounds=in_rounds, source=source), store, cluster, QUIET)
        assert data_of(store) == expected


@pytest.mark.parametrize("workers", [1, 5])
def test_train__one_and_five_workers_give_the_same_bytes(store: Store, whole: dict[str, bytes], workers: int) -> None:
    with connect(ClusterSpec(workers=workers, memory_bytes=1 << 30)) as there:
        driver.drive(train, plan(store, in_rounds=True), store, there, QUIET)
    assert data_of(store) == whole


# -- cut off and resumed --------------------------------------------------------------------------------------


class InterruptError(Exception):
    """The part was cut off."""


def cut_off(plan_: Plan, store: Store, parts: int) -> int:
    """Lets so many parts end, of all there would be; returns how many receipts they left."""
    left = [parts]
    plain = train.run_part

    class Stage:
        plan, begin, next_round, facts = train.plan, train.begin, train.next_round, train.facts

        @staticmethod
        def run_part(work: Work) -> Output:
            left[0] -= 1
            if left[0] < 0:
                raise InterruptError
            return plain(work)

    with pytest.raises(InterruptError):
        driver.here(Stage, plan_, store)
    return len(list(store.work(plan_.targets[0].digest).desk.glob("round-*/part-*.json")))


@pytest.mark.parametrize("ended", [2, 9, 24, 44])
def test_train__rounds_go_on_where_they_were_cut_off(store: Store, whole: dict[str, bytes], ended: int) -> None:
    assert cut_off(plan(store, in_rounds=True), store, ended) == ended
    summary = driver.here(train, plan(store, in_rounds=True), store)
    assert summary.parts_resumed == ended
    assert summary.parts_run == 45 - ended
    assert data_of(store) == whole


class Stopper(Display):
    """Ctrl-C after so many parts."""

    def __init__(self, after: int) -> None:
        super().__init__(quiet=True)
        self.left = after

    def advance(self, label: str) -> None:
        super().advance(label)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def test_train__interrupted_client_goes_on(store: Store, cluster: Cluster, whole: dict[str, bytes]) -> None:
    with pytest.raises(KeyboardInterrupt):
        driver.drive(train, plan(store, in_rounds=True), store, cluster, Stopper(30))
    summary: Summary = driver.drive(train, plan(store, in_rounds=True), store, cluster, QUIET)
    assert summary.parts_resumed >= 30
    assert data_of(store) == whole


def test_train__files_of_a_round_that_went_are_made_again(store: Store, whole: dict[str, bytes]) -> None:
    plan_ = plan(store, in_rounds=True)
    cut_off(plan_, store, 29)
    folder = plan_.targets[0].folder(store).desk
    (folder / "logs" / "1-2.float32").unlink()
    (folder / "round-10" / "part-2.npz").write_bytes(b"cut")
    assert driver.here(train, plan_, store).parts_resumed == 27
    assert data_of(store) == whole


def test_train__log_x_that_is_cut_while_it_is_read_is_no_silent_zero(store: Store) -> None:
    plan_ = plan(store, in_rounds=True)
    cut_off(plan_, store, 5)
    tile = plan_.targets[0].folder(store).desk / "logs" / "0-1.float32"
    plain = train.next_round

    class Stage:
        plan, begin, run_part, facts = train.plan, train.begin, train.run_part, train.facts

        @staticmethod
        def next_round(target: Target, done: int, receipts: Mapping[int, Receipt]) -> tuple[Part, ...]:
            if done == 1:
                tile.write_bytes(tile.read_bytes()[:-4])
            return plain(target, done, receipts)

    with pytest.raises(OSError, match=r"0-1.float32 is cut off; run the same command again"):
        driver.here(Stage, plan_, store)


@pytest.mark.parametrize("optimizer", ["als", "adagrad"])
def test_train__one_part_goes_on_from_its_checkpoint(store: Store, optimizer: str) -> None:
    options = {"optimizer": optimizer, "iterations": 7, "in_rounds": False}
    expected = here(store, **options)
    plan_ = plan(store, **options)
    asked = [0]  # whether it still owns the work: once a tile, of which there are six, and once a pass

    class Cut(Work):
        def alive(self) -> None:
            asked[0] += 1
            if asked[0] == 12:
                raise InterruptError

    class Stage:
        plan, begin, next_round, facts = train.plan, train.begin, train.next_round, train.facts

        @staticmethod
        def run_part(work: Work) -> Output:
            return train.run_part(Cut(**vars(work)))

    with pytest.raises(InterruptError):
        driver.here(Stage, plan_, store)
    scratch = store.work(plan_.targets[0].digest).desk / "scratch"
    assert max(p.name for p in scratch.iterdir()) == "iteration-00004.npz"
    driver.here(train, plan_, store)
    assert data_of(store) == expected


def test_train__diverging_adagrad_keeps_its_checkpoint(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = here(store, in_rounds=False, optimizer="adagrad", iterations=8)
    plan_ = plan(store, in_rounds=False, optimizer="adagrad", iterations=8)
    plain, passes = adagrad.one_pass, [0]

    def breaks(*given: object, **more: object) -> float:
        passes[0] += 1
        return plain(*given, **more) if passes[0] <= 5 else float("nan")

    scratch = store.work(plan_.targets[0].digest).desk / "scratch"
    with monkeypatch.context() as patch:
        patch.setattr(adagrad, "one_pass", breaks)
        with pytest.raises(G2VError, match="AdaGrad diverges: the loss is nan in iteration 6") as caught:
            driver.here(train, plan_, store)
    assert str(scratch) in str(caught.value)
    assert (scratch / "iteration-00004.npz").exists()
    assert store.names("embeddings") == []
    driver.here(train, plan_, store)  # the rate was not to blame
    assert data_of(store) == expected


def test_train__learning_rate_far_too_large_is_one_clear_error(store: Store) -> None:
    plan_ = plan(store, in_rounds=False, optimizer="adagrad", learning_rate=1e6)
    with pytest.raises(G2VError, match=r"train: AdaGrad diverges: .* give a --learning-rate below 1e\+06"):
        driver.here(train, plan_, store)
    assert store.names("embeddings") == []


# -- what is written ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("in_rounds", [False, True])
def test_card__says_how_it_was_made(store: Store, in_rounds: bool) -> None:  # noqa: FBT001
    plan_ = plan(store, in_rounds=in_rounds, iterations=3)
    card = driver.here(train, plan_, store).artifacts["e"]
    x = dense(store, "TCM")
    assert card["entries"] == np.count_nonzero(x > 0)
    assert card["not_positive"] == np.count_nonzero(np.triu(x <= 0) & np.triu(np.ones_like(x, dtype=bool)))
    assert card["not_positive"] == store.get("cooccurrence", "TCM").facts["not_positive"] > 0
    assert card["solver"] == plan_.targets[0].detail.solver
    assert plan_.notes == (f"e: {glove.choose_solver(store.get('cooccurrence', 'TCM').facts, spec_of())[1]}",)
    assert len(card["losses"]) == 4
    assert card["losses"][-1] < card["losses"][0]
    assert card["samples"] == {"tissue": 14}
    parameters = {"triangle": "both", "vectors": "sum", "optimizer": "als", "init": "svd", "x_max": 100.0}
    assert parameters.items() <= card["parameters"].items()
    assert "checkpoint" not in card["parameters"]
    root = arrays.open_group(store.get("embeddings", "e").folder, "embeddings")
    stored = {k: v for k, v in card.items() if k != "versions"}
    assert root.attrs["card"] == stored
    assert arrays.values(root, "vector").shape == (60, 6)


def dense(store: Store, name: str) -> np.ndarray:
    matrix = arrays.Cooccurrence(store.get("cooccurrence", name).folder)
    out = np.zeros((60, 60))
    for i, j in tiles.blocks(60, matrix.tile):
        left, right = tiles.span(60, matrix.tile, i), tiles.span(60, matrix.tile, j)
        out[left, right] = matrix.read(i, j)
        out[right, left] = out[left, right].T
    return out


def test_train__last_loss_is_that_of_the_vectors(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    plain = glove.als.vectors
    monkeypatch.setattr(glove.als, "vectors", lambda state, which: (kept.append(state), plain(state, which))[1])
    card = driver.here(train, plan(store, in_rounds=True), store).artifacts["e"]
    problem = Glove(x=dense(store, "TCM"), x_max=100.0, alpha=0.75, upper=False)
    assert card["losses"][-1] == pytest.approx(glove_loss(problem, kept[0].rows, kept[0].columns), rel=1e-5)


def test_train__checkpoint_changes_no_result(store: Store) -> None:
    assert here(store, in_rounds=False, checkpoint=1) == here(store, in_rounds=False, checkpoint=40)


def test_train__no_seed_enters_but_the_digest(store: Store) -> None:
    vectors = []
    for seed in (1, 2):
        here_ = driver.here(train, plan(store, in_rounds=True, seed=seed), store)
        assert here_.made == ["e"]
        root = arrays.open_group(store.get("embeddings", "e").folder, "embeddings")
        vectors.append(arrays.values(root, "vector").tobytes())
    assert vectors[0] == vectors[1]


@pytest.mark.parametrize("vectors", ["sum", "main"])
def test_index__takes_what_the_upper_triangle_leaves(store: Store, vectors: str) -> None:
    driver.here(train, plan(store, in_rounds=False, triangle="upper", vectors=vectors), store)
    assert driver.here(index, index.plan(store, IndexSpec(name="e")), store).made == ["e"]


# -- origins --------------------------------------------------------------------------------------------------


def test_train__pairs_are_solved_row_by_row(store: Store) -> None:
    plan_ = plan(store, in_rounds=False, source="all", min_datasets=2)
    assert plan_.targets[0].detail.solver == "rows"
    card = driver.here(train, plan_, store).artifacts["e"]
    assert card["solver"] == "rows"
    assert card["entries"] == np.count_nonzero(dense(store, "all") >= 2)


def test_train__svd_takes_samples(store: Store) -> None:
    spec = TrainSpec(source="TCM", name="v", method="svd", components=5)
    card = driver.here(train, train.plan(store, spec), store).artifacts["v"]
    assert card["components"] == 5
    root = arrays.open_group(store.get("embeddings", "v").folder, "embeddings")
    assert np.isfinite(arrays.values(root, "vector")).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "skipgram"}, "skipgram learns from pairs, but cooccurrence/TCM was summed over samples"),
        ({"method": "glove", "min_datasets": 2}, "min-datasets is for co-occurrence from pairs; cooccurrence/TCM was"),
        ({"method": "svd", "min_datasets": 2}, "min-datasets is for co-occurrence from pairs; cooccurrence/TCM was"),
    ],
)
def test_plan__samples_do_not_serve_for_all(store: Store, options: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        train.plan(store, TrainSpec(source="TCM", **options))


def test_plan__more_components_than_genes(store: Store) -> None:
    with pytest.raises(SpecError, match="less than the number of genes, 60 in cooccurrence/TCM; got 60"):
        plan(store, in_rounds=False, components=60)


@pytest.mark.parametrize("in_rounds", [False, True])
def test_train__no_positive_cell_is_quarantined(tmp_path: Path, in_rounds: bool) -> None:  # noqa: FBT001
    """Two genes with one read each, in two samples: they meet in none, and their corrected diagonal is 0."""
    store = stores.empty(tmp_path / "s", tile=16)
    reads = np.zeros((3, 60), int)
    reads[0, 7] = reads[1, 9] = 1
    add_samples(store, reads=reads)
    summary = driver.here(train, plan(store, in_rounds=in_rounds, components=1), store)
    assert "no cell of the co-occurrence of 2 genes is positive" in summary.quarantined[0]["reason"]
