"""Batches of questions in parts: the same answers as a naive search, on any workers, cut in any way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from g2v_dask import analogy, driver
from g2v_dask.cluster import Cluster, connect
from g2v_dask.errors import InputError, SpecError
from g2v_dask.progress import Display
from g2v_dask.questions import METRICS, BatchSpec, BestSpec, NearSpec, PairSpec
from g2v_dask.search import nearest
from g2v_dask.search.analogies import Lanes
from g2v_dask.spec import ClusterSpec
from g2v_dask.stages import search
from g2v_dask.store import Store
from tests import made, oracles, stores
from tests.search import words

QUIET = Display(quiet=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return stores.empty(tmp_path / "s")


@pytest.fixture(scope="module")
def three() -> Iterator[Cluster]:
    with connect(ClusterSpec(workers=3, memory_bytes=1 << 30)) as there:
        yield there


@pytest.fixture(scope="module")
def one() -> Iterator[Cluster]:
    with connect(ClusterSpec(workers=1, memory_bytes=1 << 30)) as there:
        yield there


def put(store: Store, x: NDArray[np.float32], name: str = "e", seed: int = 0) -> Any:
    """Commits an embedding whose rows are not in the order of its ids; returns its vectors in that order."""
    genes = words.ids(len(x), seed)
    stores.embedding(store, name, genes.tolist(), x)
    return x[np.argsort(genes)].astype(np.float64)


def ask(store: Store, spec: Any) -> Any:
    """Answers in this process; the facts."""
    plan = search.plan(store, spec)
    summary = driver.here(search, plan, store)
    assert not summary.quarantined, summary.quarantined
    return summary.artifacts[plan.targets[0].name]


def table(store: Store, name: str) -> pd.DataFrame:
    return pd.read_parquet(store.get("answers", name).path / "data.parquet")


def answers(store: Store, name: str, letters: str = "abcd") -> tuple[Any, Any]:
    found = table(store, name)
    assert found["rank"].tolist() == list(range(1, len(found) + 1))
    rows = found[[f"gene_{letter}" for letter in letters]].to_numpy().tolist()
    return found["score"].to_numpy(), words.places(rows).reshape(-1, len(letters))


# -- best ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "block", "options"),
    [
        ("normal", 7, {}),
        ("normal", 1, {}),
        ("normal", 128, {"seed": 5}),
        ("whole", 5, {"k": 200}),
        ("clustered", 7, {"ceiling": 0.8}),
        ("flat", 9, {"ceiling": 0.5, "min_difference": 0.2}),
        ("normal", 7, {"max_per_gene": 1}),
        ("whole", 7, {"max_per_gene": 2, "min_difference": 0.5}),
        ("offset", 7, {"max_per_gene": 3, "unit": True}),
        ("normal", 4, {"k": 10**6}),
    ],
)
def test_best__equals_naive(
    store: Store, monkeypatch: pytest.MonkeyPatch, kind: str, block: int, options: dict[str, Any]
) -> None:
    n = 16 if options.get("k", 0) > 1000 else 28
    x = put(store, words.vectors(kind, n, 6, 8, duplicates=3))
    monkeypatch.setattr(search, "BLOCK", block)
    monkeypatch.setattr(search, "SAMPLED_GENES", 6)
    spec = BestSpec(**{"k": 25, **options})
    facts = ask(store, spec)
    x = oracles.unit(x) if spec.unit else x
    every = oracles.analogies(x, ceiling=spec.ceiling, shortest=oracles.quantile(x, spec.min_difference))
    scores, genes = answers(store, "e-best")
    if spec.max_per_gene is None:
        oracles.check(scores, genes, every, spec.k)
    else:
        oracles.check_few(scores, genes, every.few(spec.k, spec.max_per_gene))
    assert facts["answers"] == len(scores)
    assert facts["filters"] == spec.given()
    assert any("no more than" in note for note in facts["notes"]) == (len(scores) < spec.k)


def test_best__more_rounds_until_the_list_is_full(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every good answer has the same gene, so eight times as many are looked at, and again."""
    x = words.vectors("normal", 24, 4, 1)
    x[3:] = x[3] + 1e-3 * x[3:]
    x = put(store, x)
    monkeypatch.setattr(search, "BLOCK", 8)
    monkeypatch.setattr(search, "SAMPLED_GENES", 6)
    summary = driver.here(search, search.plan(store, BestSpec(k=6, max_per_gene=1)), store)
    scores, genes = answers(store, "e-best")
    oracles.check_few(scores, genes, oracles.analogies(x).few(6, 1))
    assert summary.parts_run > 3 + 2  # the sample, three blocks and the merge, more than once


def test_best__vectors_of_zeros_leave_no_gap_between_parts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unit vectors are fewer than the genes of the embedding: no analogy is found by two parts."""
    x = words.vectors("normal", 15, 4, 1)
    x[4] = 0
    x = put(store, x)
    monkeypatch.setattr(search, "BLOCK", 7)
    facts = ask(store, BestSpec(k=10**6, unit=True))
    scores, genes = answers(store, "e-best")
    takes_part = np.flatnonzero(x.any(axis=1))
    every = oracles.analogies(oracles.unit(x[takes_part]))
    oracles.check(scores, genes, oracles.Every(scores=every.scores, genes=takes_part[every.genes]), 10**6)
    assert any(f"no direction: w{np.flatnonzero(~x.any(axis=1))[0]:03d}" in note for note in facts["notes"])


def test_best__same_bytes_in_process_and_on_one_and_three_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one: Cluster, three: Cluster
) -> None:
    monkeypatch.setattr(search, "BLOCK", 8)
    x = words.vectors("whole", 40, 7, 3)
    found = []
    specs = [BestSpec(k=20), BestSpec(k=20, ceiling=0.6, max_per_gene=2, min_difference=0.1, to="few")]
    for number, cluster in enumerate((None, one, three)):
        store = stores.empty(tmp_path / f"s{number}")
        wide = put(store, x)
        for spec in specs:
            plan = search.plan(store, spec)
            if cluster is None:
                driver.here(search, plan, store)
            else:
                assert driver.drive(search, plan, store, cluster, QUIET).made == [plan.targets[0].name]
        found.append([made.data_files(store.get("answers", name).path) for name in ("e-best", "few")])
    assert found[0] == found[1] == found[2]
    oracles.check(*answers(store, "e-best"), oracles.analogies(wide), 20)
    every = oracles.analogies(wide, ceiling=0.6, shortest=oracles.quantile(wide, 0.1))
    oracles.check_few(*answers(store, "few"), every.few(20, 2))


def test_best__whole_blocks_on_a_cluster_equal_lanes_in_process(store: Store, cluster: Cluster) -> None:
    x = put(store, words.vectors("clustered", 300, 12, 2)).astype(np.float32)
    plan = search.plan(store, BestSpec(k=50))
    assert len(plan.targets[0].detail.rounds) >= 4
    driver.drive(search, plan, store, cluster, QUIET)
    lanes = Lanes(words.space(x), 50, shorter=True, shortest=0.0, ceiling=None)
    lanes.sample(np.arange(20), np.arange(300))
    lanes.search(np.arange(300))
    scores, genes = answers(store, "e-best")
    assert scores.tolist() == lanes.found().scores.tolist()
    assert genes.tolist() == lanes.found().genes.tolist()


def test_best__a_changed_file_of_genes_is_another_question(store: Store, tmp_path: Path) -> None:
    x = put(store, words.vectors("normal", 20, 4, 1))
    file = tmp_path / "genes"
    for chosen in (range(0, 12), range(8, 20)):
        file.write_text("\n".join(f"w{i:03d}" for i in chosen))
        ask(store, BestSpec(k=10, genes=str(file)))
        every = oracles.analogies(x[list(chosen)])
        scores, genes = answers(store, "e-best")
        oracles.check(scores, genes, oracles.Every(scores=every.scores, genes=np.array(chosen)[every.genes]), 10)


def test_estimate__some_lanes(store: Store) -> None:
    put(store, words.vectors("normal", 40, 4, 1))
    forecast = search.estimate(search.plan(store, BestSpec(k=10)).targets[0].detail, seconds=0.01)
    assert (forecast.genes, forecast.differences) == (40, 780)
    assert forecast.seconds > 0


@pytest.mark.parametrize("spec", [BestSpec(k=5), NearSpec(k=5), BestSpec(k=5, unit=True)])
def test_plan__finds_bad_vectors_before_any_work(store: Store, spec: Any) -> None:
    x = words.vectors("normal", 9, 3, 0)
    x[2, 1], x[5, 0] = np.nan, np.inf
    genes = words.ids(9, 0)
    put(store, x)
    with pytest.raises(InputError, match=f"e: the vectors of {', '.join(sorted(genes[[2, 5]]))} hold NaN"):
        search.plan(store, spec)


def test_plan__too_few_genes(store: Store) -> None:
    put(store, words.vectors("normal", 3, 3, 0), "three")
    with pytest.raises(InputError, match="at least 4 genes to choose from, found 3"):
        search.plan(store, BestSpec(name="three"))
    put(store, np.array([[1, 2], [0, 0], [0, 0]], dtype=np.float32), "lone")
    with pytest.raises(InputError, match="at least two genes to choose from, found 1"):
        search.plan(store, NearSpec(name="lone"))
    with pytest.raises(SpecError, match="k"):
        BestSpec(k=0)


# -- near ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"ceiling": 0.7, "min_difference": 0.02}, {"max_per_gene": 1}])
def test_near__one_band_or_several(store: Store, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    drawn = words.vectors("normal", 600, 8, 6, duplicates=4)
    drawn[77] = 0
    x = put(store, drawn)
    found = []
    monkeypatch.setattr(nearest, "SAMPLE", 40)
    for band in (1, 64):
        monkeypatch.setattr(search, "BAND", band)
        spec = NearSpec(k=50, to=f"near-{band}", **options)
        assert len(search.plan(store, spec).targets[0].parts) == (2 if band == 1 else 1)
        ask(store, spec)
        found.append(made.data_files(store.get("answers", f"near-{band}").path))
    assert found[0] == found[1]
    takes_part = np.flatnonzero(x.any(axis=1))
    unit = oracles.unit(x[takes_part])
    every = oracles.near_pairs(unit, ceiling=spec.ceiling, shortest=oracles.quantile(unit, spec.min_difference))
    every = oracles.Every(scores=every.scores, genes=takes_part[every.genes])
    scores, genes = answers(store, "near-1", "ab")
    if spec.max_per_gene is None:
        oracles.check(scores, genes, every, 50)
    else:
        oracles.check_few(scores, genes, every.few(50, 1))


def test_near__fewer_than_asked(store: Store) -> None:
    put(store, words.vectors("normal", 5, 3, 0))
    facts = ask(store, NearSpec(k=50))
    assert (facts["answers"], facts["notes"]) == (10, ["there are no more than 10 pairs"])


# -- batch --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sums", [False, True])
@pytest.mark.parametrize("metric", METRICS)
def test_batch__parts_of_questions_equal_one_by_one(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metric: str, sums: bool
) -> None:
    x = words.vectors("normal", 30, 5, 4)
    put(store, x)
    file = tmp_path / "pairs.txt"
    file.write_text("# asked\nw000\tw001\nw002, w003\n\nw004 w005  # a comment\nW006   w007\nw008\tw009\nw000\tw002\n")
    monkeypatch.setattr(search, "QUESTIONS", 4)
    options = {"metric": metric, "sums": sums, "max_per_gene": 2, "ceiling": 0.9}
    facts = ask(store, BatchSpec(file=str(file), k=7, **options))
    assert len(search.plan(store, BatchSpec(file=str(file), k=7, **options)).targets[0].parts) == 2
    asked = words.stored(x)
    questions = [("w000", "w001"), ("w002", "w003"), ("w004", "w005"), ("w006", "w007"), ("w008", "w009")]
    expected = analogy.pairs(asked, [*questions, ("w000", "w002")], 7, PairSpec(**options))
    rows = [[r, f.a, f.b, f.c, f.d, f.score] for one in expected for r, f in enumerate(one.found, start=1)]
    assert table(store, "e-batch").to_numpy().tolist() == rows
    assert facts["answers"] == len(rows) == 42


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("w000 w001\nw002\n", "line 2: expected two genes, apart by a tab, a comma or a space, got 'w002'"),
        ("w000 w001 w002\n", "line 1: expected two genes"),
        ("# of\nw000\tw001\tw002\n", "line 2: expected two genes"),
        ("w000,\n", "line 1: "),
        ("", "holds no pair; expected two genes a line"),
        ("# nothing\n\n", "holds no pair; expected two genes a line"),
        ("w000 w001\n\nw002 w0033\n", "line 3: .*w0033"),
        ("w000 w000\n", "line 1: expected two different genes, got 'w000 w000'"),
        ("<!DOCTYPE html>\n<html><body>not found</body></html>\n", "line 1: .*<!DOCTYPE"),
    ],
)
def test_batch__bad_files(store: Store, tmp_path: Path, text: str, message: str) -> None:
    put(store, words.vectors("normal", 9, 3, 0))
    file = tmp_path / "pairs.txt"
    file.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        search.plan(store, BatchSpec(file=str(file)))
    assert str(file) in str(caught.value)


def test_batch__no_file_and_no_text(store: Store, tmp_path: Path) -> None:
    put(store, words.vectors("normal", 9, 3, 0))
    with pytest.raises(InputError, match="cannot read the pairs in .*No such file"):
        search.plan(store, BatchSpec(file=str(tmp_path / "none")))
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00w")
    with pytest.raises(InputError, match="it is not UTF-8 text"):
        search.plan(store, BatchSpec(file=str(tmp_path / "bytes")))
