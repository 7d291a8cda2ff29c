"""Embeddings side by side, on the genes that all have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from g2v_dask import driver
from g2v_dask.errors import InputError, SpecError
from g2v_dask.evaluation import intervals
from g2v_dask.flows import compare, evaluate
from g2v_dask.genes import GeneTable
from g2v_dask.progress import Display
from g2v_dask.report import comparison
from g2v_dask.report.comparison import Compared
from g2v_dask.spec import ClusterSpec, EvaluateSpec
from g2v_dask.stages import evaluate as stage
from g2v_dask.store import Store
from tests import stores
from tests.evaluation.subjects import symbols, write_gmt
from tests.judged import GENES, figure, scores
from tests.judged import evaluation as commit

QUIET = Display(quiet=True)
SHARED = 90
"""Genes that both embeddings have, of 100 and 110."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """``good``: genes of one set lie together; ``bad``: noise, in another order, and one gene by an older name."""
    there = stores.empty(tmp_path / "s")
    known = symbols(120).tolist()
    random = np.random.default_rng(0)
    centres = 2 * random.normal(size=(12, 5))
    near = np.array([centres[i // 10] for i in range(120)]) + random.normal(size=(120, 5))
    stores.embedding(there, "good", known[:100], near[:100])
    words = [ALIAS if g == KNOWN else g for g in known[10:]][::-1]
    stores.embedding(there, "bad", words, random.normal(size=(110, 5)))
    write_gmt(tmp_path / "sets.gmt", {f"S{i:02d}": known[10 * i : 10 * i + 10] for i in range(12)})
    return there


KNOWN = symbols(120).tolist()[50]
_TABLE = GeneTable.load()
ALIAS = next(a for a in _TABLE.aliases[_TABLE.symbol.index(KNOWN)].split("|") if _TABLE.lookup(a) == (KNOWN, "alias"))


def compared(store: Store, cluster: ClusterSpec, *names: str, **spec: Any) -> Compared:
    asked = EvaluateSpec(**{"bootstrap": 40, "seeds": 2, "beside": names[1:], **spec})
    return compare.run(store.root.url, names, asked, cluster=cluster, display=QUIET)


def test_run__on_the_genes_of_both(store: Store, tmp_path: Path, address: str) -> None:
    here = ClusterSpec(address=address)
    sets = (str(tmp_path / "sets.gmt"),)
    found = compared(store, here, "good", "bad", genesets=sets, tasks=("clusteredness", "neighbours"))
    assert (found.genes, dict(found.sizes)) == (SHARED, {"good": 100, "bad": 110})
    good, bad = found.evaluated
    assert (good.tasks, bad.tasks) == (["clusteredness", "neighbours"], ["clusteredness"])
    assert max(f["genes"] for f in bad.figures) == SHARED
    z = found.differences["bad"]["clusteredness", "sets", "", _metric(good, "mean z")]
    assert z.high < 0  # what is planted in the first is not in the second
    assert z.value == pytest.approx(_value(bad, "mean z") - _value(good, "mean z"))
    assert z.units == 9
    within = found.differences["bad"]["clusteredness", "sets", "", "within sets, paper"]
    gap = _value(bad, "within sets, paper") - _value(good, "within sets, paper")
    assert within.value == pytest.approx(gap)
    ratio = found.differences["bad"]["clusteredness", "sets", "", "ratio, paper"]
    assert ratio.value == pytest.approx(_value(bad, "ratio, paper") - _value(good, "ratio, paper"), nan_ok=True)
    nowhere = ClusterSpec(address="tcp://127.0.0.1:9")  # all is there: no cluster is asked for
    again = compared(store, nowhere, "good", "bad", genesets=sets, tasks=("clusteredness", "neighbours"))
    assert again.as_json() == found.as_json()


def _metric(found: Any, start: str) -> str:
    return next(str(f["metric"]) for f in found.figures if str(f["metric"]).startswith(start))


def _value(found: Any, start: str) -> float:
    return next(float(f["value"]) for f in found.figures if str(f["metric"]).startswith(start))


def test_run__what_nobody_named_may_be_passed_over(store: Store, tmp_path: Path, address: str) -> None:
    """Sets of ten genes are too small to be predicted."""
    found = compared(store, ClusterSpec(address=address), "good", "bad", genesets=(str(tmp_path / "sets.gmt"),))
    good, bad = found.evaluated
    assert (good.tasks, bad.tasks) == (["clusteredness", "stability", "neighbours"], ["clusteredness"])
    assert list(good.skipped) == list(bad.skipped) == ["prediction"]
    assert [s.title for s in comparison.sheets(found)][0] == "Pathway clusteredness: good, bad"


def test_run__of_neighbours_alone_judges_the_first(store: Store, address: str) -> None:
    found = compared(store, ClusterSpec(address=address), "good", "bad", tasks=("neighbours",))
    (one,) = found.evaluated
    assert one.artifact.name.startswith("good-common-")
    assert found.differences == {}
    assert [s.title for s in comparison.sheets(found)][0] == "Neighbours: good"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("good",), "at least two embeddings, got good"),
        (("good", "good"), "'good' is named twice"),
        (("good", "god"), "did you mean 'good'"),
    ],
)
def test_run__names_that_cannot_be_compared(store: Store, names: tuple[str, ...], message: str) -> None:
    spec = EvaluateSpec(beside=("bad",))
    with pytest.raises(SpecError, match=message):
        compare.run(store.root.url, names, spec, cluster=None, display=QUIET)


def test_run__nothing_in_common(store: Store) -> None:
    stores.embedding(store, "words", ["king", "queen"], np.eye(2))
    with pytest.raises(InputError, match="have no gene in common: of 100, 2 genes"):
        compare.run(store.root.url, ("good", "words"), EvaluateSpec(beside=("words",)), cluster=None, display=QUIET)


# -- the option common --------------------------------------------------------------------------------------


def test_shared__genes_meet_by_symbol_in_one_order(store: Store) -> None:
    opened = [stage._vectors(store.get("embeddings", name)) for name in ("good", "bad")]
    found, rows = stage.shared([genes for genes, _ in opened], _TABLE)
    assert found == sorted(symbols(120).tolist()[10:100])
    for (genes, _), own in zip(opened, rows, strict=True):
        assert _TABLE.translate(genes[own].tolist()).symbols == found
    assert ALIAS in opened[1][0][rows[1]]
    twice = np.array([KNOWN, ALIAS])
    assert [r.tolist() for r in stage.shared([twice, np.array([ALIAS])], _TABLE)[1]] == [[0], [0]]


def test_common__is_judging_an_embedding_of_these_genes(store: Store, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"tasks": ("clusteredness",), "bootstrap": 20, "seeds": 2}
    asked["genesets"] = (str(tmp_path / "sets.gmt"),)
    whole = EvaluateSpec(name="good", to="a", common=("bad",), **asked)
    driver.here(stage, stage.plan(store, whole), store)
    genes, vectors = stage._vectors(store.get("embeddings", "good"))
    rows = [genes.tolist().index(g) for g in sorted(symbols(120).tolist()[10:100])]
    stores.embedding(store, "cut", genes[rows].tolist(), vectors[rows])
    driver.here(stage, stage.plan(store, EvaluateSpec(name="cut", to="b", **asked)), store)
    one, two = (evaluate.read(store.get("evaluations", name)).as_json()["figures"] for name in "ab")
    assert [{**f, "embedding": ""} for f in one] == [{**f, "embedding": ""} for f in two]


def test_common__is_identity(store: Store, tmp_path: Path) -> None:
    stores.embedding(store, "third", symbols(120).tolist(), np.eye(120))
    asked: dict[str, Any] = {"name": "good", "tasks": ("neighbours",), "bootstrap": 20}

    def digest(**more: Any) -> str:
        (target,) = stage.plan(store, EvaluateSpec(**asked, **more)).targets
        return target.digest

    plain = digest(beside=("bad", "third"))
    assert plain == digest(beside=("third", "bad"))
    others = [digest(beside=("bad",), common=("third",)), digest(beside=("bad", "third"), common=("third",))]
    assert len({plain, *others, digest(beside=("bad",)), digest(beside=("third",), common=("bad",))}) == 5


# -- differences --------------------------------------------------------------------------------------------


def judged(store: Store, name: str, shift: dict[str, float], **more: Any) -> Any:
    embedding = stores.embedding(store, name, GENES, np.random.default_rng(len(name)).normal(size=(40, 3)))
    figures = [figure("interaction", "auc", 0.5, model=m, on="test") for m in shift]
    tables = {"interaction-scores": scores(shift=shift, **more)}
    tables["interaction-choice"] = pa.table({"list": ["published"], "model": [next(iter(shift))]})
    return evaluate.read(commit(store, name, embedding, figures, tables=tables))


def test_differences__of_interaction_are_over_genes(store: Store) -> None:
    first = judged(store, "a", {"cosine": 0.2, "degree": 1.0})
    second = judged(store, "bb", {"cosine": 2.5, "degree": 1.0})
    found = compare.differences(first, second, draws=60, seed=3)
    models, metrics = ("cosine", "degree", "chosen"), ("auc", "average precision")
    assert set(found) == {("interaction", "test", model, metric) for model in models for metric in metrics}
    better = found["interaction", "test", "cosine", "auc"]
    assert better.low > 0
    assert found["interaction", "test", "chosen", "auc"] == better
    same = found["interaction", "test", "degree", "auc"]
    assert (same.value, same.low, same.high) == (0, 0, 0)


@pytest.mark.parametrize(("metric", "score"), [("auc", roc_auc_score), ("average precision", average_precision_score)])
def test_differences__of_interaction_are_a_loop_over_draws(store: Store, metric: str, score: Any) -> None:
    """Each draw of genes weighs the pairs of both embeddings alike; scores are means over runs."""
    held = [judged(store, "a", {"cosine": 0.2}), judged(store, "bb", {"cosine": 1.0})]
    found = compare.differences(*held, draws=25, seed=3)["interaction", "test", "cosine", metric]
    one, two = (compare._scored(e)["test", "cosine"] for e in held)
    assert one.runs.shape == (2, 200)
    genes = np.unique(one.genes)

    def gap(weights: np.ndarray) -> float:
        a, b = ([score(e.labels, run, sample_weight=weights) for run in e.runs] for e in (one, two))
        return float(np.mean(b) - np.mean(a))

    times = intervals.drawn(len(genes), 25, np.random.default_rng(3)).astype(float)
    places = np.searchsorted(genes, one.genes)
    naive = [gap(t[places[:, 0]] * t[places[:, 1]]) for t in times.T]
    assert found.value == pytest.approx(gap(np.ones(200)), abs=1e-6)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(naive, (2.5, 97.5))), abs=1e-6)
    assert found.units == len(genes)


def test_differences__of_other_pairs_are_none(store: Store) -> None:
    first = judged(store, "a", {"cosine": 0.2})
    assert compare.differences(first, judged(store, "bb", {"cosine": 0.2}, seed=9), draws=20, seed=1) == {}
    second = judged(store, "ccc", {"other": 0.3})
    assert {which[2] for which in compare.differences(first, second, draws=20, seed=1)} == {"chosen"}


def test_differences__of_tissues_and_predicted_sets_are_over_these(store: Store) -> None:
    embedding = store.get("embeddings", "good")
    figures = [figure("prediction", "auroc", 0.5, on=on) for on in ("c2", "all")]
    held = []
    for shift in (0.0, 0.25):
        tables = {
            "prediction-sets": pa.table(
                {"collection": ["c2"] * 4, "set": list("ABCD"), "model": [""] * 4, "auroc": np.arange(4) / 8 + shift}
            ),
            "tissue-tissues": pa.table(
                {"tissue": ["x", "y"], "model": ["vectors"] * 2, "r2": [shift, 0.5], "cosine": [np.nan, shift]}
            ),
        }
        held.append(evaluate.read(commit(store, f"e{shift:g}", embedding, figures, tables=tables)))
    found = compare.differences(*held, draws=50, seed=1)
    for on in ("c2", "all"):
        told = found["prediction", on, "", "auroc"]
        assert (told.value, told.low, told.high, told.units) == pytest.approx((0.25, 0.25, 0.25, 4))
    assert found["tissue", "all tissues", "vectors", "r2"].value == pytest.approx(0.125)
    cosine = found["tissue", "all tissues", "vectors", "specific cosine"]
    assert (cosine.value, cosine.units, np.isnan(cosine.low)) == (0.25, 1, True)
