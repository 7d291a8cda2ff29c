"""Several embeddings side by side, against cosines and SVD as they are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from g2v_dask import background, driver, query
from g2v_dask.errors import SpecError
from g2v_dask.flows import pipeline, recipe
from g2v_dask.progress import Display
from g2v_dask.spec import ClusterSpec, CombineSpec, MergeSpec, PairsSpec, RunSpec, TrainSpec
from g2v_dask.stages import combine, merge, pairs, train
from g2v_dask.store import Store
from tests import made, stores
from tests.shell import g2v

RANDOM = np.random.default_rng(4)
FIRST = [f"G{i}" for i in range(40)]
SECOND = [f"G{i}" for i in range(45, 5, -1)]  # 34 in common, in another order
A = RANDOM.normal(size=(40, 6)).astype(np.float32)
B = (100 * RANDOM.normal(size=(40, 3)) + 50).astype(np.float32)
B[3] = 0  # of G42, which is not common
B[10] = 0  # of G35, which is


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = stores.empty(tmp_path / "s", tile=16)
    stores.embedding(opened, "a", FIRST, A, card={"datasets": {"pairs/x": "1"}, "samples": {"x": 20}})
    stores.embedding(opened, "b", SECOND, B, card={"datasets": {"pairs/y": "2"}, "samples": {"y": 30}})
    return opened


def do(store: Store, *names: str, components: int | None = None, name: str = "both") -> query.Embedding:
    plan = combine.plan(store, CombineSpec(embeddings=names, name=name, components=components))
    summary = driver.here(combine, plan, store)
    assert not summary.quarantined, summary.quarantined
    return query.open_embedding(store, name)


def cosines(genes: list[str], vectors: np.ndarray, asked: list[str]) -> np.ndarray:
    """Of all pairs, one by one; 0 where a vector is zero."""
    rows = {gene: vectors[i].astype(float) for i, gene in enumerate(genes)}
    found = np.zeros((len(asked), len(asked)))
    for i, one in enumerate(asked):
        for j, other in enumerate(asked):
            length = np.sqrt(np.sum(rows[one] ** 2)) * np.sqrt(np.sum(rows[other] ** 2))
            found[i, j] = np.sum(rows[one] * rows[other]) / length if length else 0.0
    return found


def test_combine__products_are_the_means_of_the_cosines(store: Store) -> None:
    both = do(store, "a", "b")
    common = [gene for gene in FIRST if gene in SECOND]
    assert both.genes.tolist() == common
    assert both.vectors.shape == (34, 9)
    wanted = (cosines(FIRST, A, common) + cosines(SECOND, B, common)) / 2
    np.testing.assert_allclose(both.vectors @ both.vectors.T, wanted, atol=1e-6)
    lengths = np.linalg.norm(both.vectors, axis=1)
    zero = common.index("G35")
    assert lengths[zero] == pytest.approx(np.sqrt(0.5))  # known to one of the two alone
    np.testing.assert_allclose(np.delete(lengths, zero), 1, atol=1e-6)


def test_combine__order_is_that_of_the_first(store: Store) -> None:
    assert do(store, "b", "a").genes.tolist() == [gene for gene in SECOND if gene in FIRST]


def test_combine__three(store: Store) -> None:
    stores.embedding(store, "c", FIRST, RANDOM.normal(size=(40, 2)).astype(np.float32))
    three = do(store, "a", "b", "c")
    assert three.vectors.shape == (34, 11)
    np.testing.assert_allclose(np.square(three.vectors[:, 9:]).sum(axis=1), 1 / 3, atol=1e-6)


@pytest.mark.parametrize("components", [1, 4, 9])
def test_combine__components_are_the_truncated_svd(store: Store, components: int) -> None:
    whole = do(store, "a", "b", name="whole").vectors.astype(float)
    few = do(store, "a", "b", components=components)
    U, s, _ = np.linalg.svd(whole, full_matrices=False)
    best = (U[:, :components] * s[:components]) @ (U[:, :components] * s[:components]).T
    np.testing.assert_allclose(few.vectors @ few.vectors.T, best, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(few.vectors, axis=0), s[:components], rtol=1e-5)
    largest = few.vectors[np.abs(few.vectors).argmax(axis=0), np.arange(components)]
    assert (largest > 0).all()
    assert few.card["share_of_squares"] == pytest.approx(np.sum(s[:components] ** 2) / np.sum(s**2))


def test_combine__rows_of_any_number(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = do(store, "a", "b", components=4, name="at-once").vectors
    monkeypatch.setattr(combine, "BLOCK", 5)
    np.testing.assert_allclose(do(store, "a", "b", components=4, name="in-blocks").vectors, wanted, atol=1e-6)


def test_combine__card_and_inputs_name_all_sources(store: Store) -> None:
    both = do(store, "a", "b", components=4)
    digests = {name: store.get("embeddings", name).digest for name in "ab"}
    assert store.get("embeddings", "both").manifest["inputs"] == {f"embeddings/{n}": d for n, d in digests.items()}
    card = dict(both.card)
    assert (card["genes"], card["components"], card["embeddings"]) == (34, 4, digests)
    assert card["datasets"] == {"pairs/x": "1", "pairs/y": "2"}
    assert card["samples"] == {"x": 20, "y": 30}
    assert card["parameters"] == {"embeddings": ["a", "b"], "components": 4}


def test_combine__again_is_fresh_until_a_source_changes(store: Store) -> None:
    spec = CombineSpec(embeddings=("a", "b"), name="both")
    assert driver.here(combine, combine.plan(store, spec), store).made == ["both"]
    assert driver.here(combine, combine.plan(store, spec), store).fresh == ["both"]
    stores.embedding(store, "b", SECOND, 2 * B[::-1])
    assert driver.here(combine, combine.plan(store, spec), store).names == ["both"]
    assert len(list((store.root.desk / "embeddings" / "both").iterdir())) == 3  # two versions and HEAD


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embeddings": ("a",)}, "expected two or more different embeddings, got a"),
        ({"embeddings": ("a", "b", "a")}, "expected two or more different embeddings, got a, b, a"),
        ({"embeddings": ()}, "got none"),
        ({"embeddings": ("a", "both")}, "must not be called as one that it is made of, 'both'"),
        ({"embeddings": ("a", "c")}, "no embeddings named 'c'"),
        ({"embeddings": ("a", "b"), "components": 10}, "at most 9, which a, b have together; got 10"),
    ],
)
def test_combine__bad_options(store: Store, options: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        combine.plan(store, CombineSpec(name="both", **options))


def test_combine__no_gene_in_common(store: Store) -> None:
    stores.embedding(store, "others", ["X", "Y"], np.ones((2, 2)))
    summary = driver.here(combine, combine.plan(store, CombineSpec(embeddings=("a", "others"), name="both")), store)
    (refused,) = summary.quarantined
    assert "no gene is in all of a, others" in refused["reason"]


def test_combine__in_a_run_and_back_as_commands(tmp_path: Path) -> None:
    """What follows takes the combined embedding; the commands that make it again come in an order that works."""
    store = stores.empty(tmp_path / "s", tile=16)
    genes = [f"G{i:02d}" for i in range(30)]
    made.expression(store, "x", made.correlated(20, 30, seed=1), genes)
    trained = {"from": "all", "components": 4, "method": "svd"}
    table = {
        "store": str(store.root.desk),
        "pairs": {"top_k": 5},
        "merge": {},
        "train": [{**trained, "name": "m"}, {**trained, "name": "z", "smoothing": 0.75}],
        "combine": {"embeddings": ["m", "z"], "name": "all", "components": 6},
        "index": {},
    }
    summaries = pipeline.run_all(
        RunSpec.build(table, base=tmp_path), cluster=ClusterSpec(workers=1), display=Display(quiet=True)
    )
    assert [s.names for s in summaries[-2:]] == [["all"], ["all"]]
    commands = recipe.commands(store, [store.get("embeddings", "all")])
    assert [line.split()[1] for line in commands[1:]] == ["pairs", "merge", "train", "train", "combine"]
    assert commands[-1] == "g2v combine m z --name all --components 6"


def test_combine__by_the_command_line(store: Store) -> None:
    answer = g2v("combine", "a", "b", "--store", store.root.desk, "--name", "both", "--cluster-workers", "1", "-q")
    assert answer.code == 0, answer.err
    assert query.open_embedding(store, "both").vectors.shape == (34, 9)


def test_background__is_that_of_the_sources(tmp_path: Path) -> None:
    store = stores.empty(tmp_path / "s", tile=16)
    genes = [f"G{i:02d}" for i in range(30)]
    for seed, name in enumerate("xy"):
        made.expression(store, name, made.correlated(20, 30, seed=seed), genes)
    for stage, spec in (
        (pairs, PairsSpec(top_k=5)),
        (merge, MergeSpec(name="both")),
        (merge, MergeSpec(name="x", datasets=("x",))),
        (train, TrainSpec(source="x", name="a", method="svd", components=4)),
        (train, TrainSpec(source="both", name="b", method="svd", components=4)),
        (combine, CombineSpec(embeddings=("a", "b"), name="ab")),
    ):
        driver.here(stage, stage.plan(store, spec), store)
    found, inputs = background.sources(store, store.get("embeddings", "ab"), [])
    assert [name for name, _ in found.members] == ["x", "y"]
    assert sorted(inputs) == ["cooccurrence/x", "expression/x", "expression/y"]
    of_first, _ = background.sources(store, store.get("embeddings", "a"), [])
    assert found.degree() == of_first.degree()
    assert [name for name, _ in of_first.members] == ["x"]
