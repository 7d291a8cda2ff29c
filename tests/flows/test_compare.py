"""Embeddings side by side, on the genes that all have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from g2v_dask import driver
from g2v_dask.errors import InputError, SpecError
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
    assert {f["genes"] for f in bad.figures} == {SHARED}
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


def judged(store: Store, name: str, shift: dict[str, float]) -> Any:
    embedding = stores.embedding(store, name, GENES, np.random.default_rng(len(name)).normal(size=(40, 3)))
    kept = scores(shift=shift)
    figures = [figure("interaction", "auc", 0.5, model=m, on="test") for m in shift]
    return evaluate.read(commit(store, name, embedding, figures, tables={"interaction-scores": kept}))


def test_differences__of_interaction_are_over_genes(store: Store) -> None:
    first, second = (
        judged(store, "a", {"cosine": 0.2, "degree": 1.0}),
        judged(store, "bb", {"cosine": 2.5, "degree": 1.0}),
    )
    found = compare.differences(first, second, draws=60, seed=1)
    better = found["interaction", "test", "cosine", "auc"]
    assert better.low > 0
    assert better.units <= 40
    one, two = (compare._scored(e)["test", "cosine"] for e in (first, second))
    assert better.value == pytest.approx(roc_auc_score(two[1], two[2]) - roc_auc_score(one[1], one[2]))
    same = found["interaction", "test", "degree", "auc"]
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert set(found) == {
        ("interaction", "test", m, k) for m in ("cosine", "degree") for k in ("auc", "average precision")
    }


def test_differences__of_other_pairs_are_none(store: Store) -> None:
    first, second = judged(store, "a", {"cosine": 0.2}), judged(store, "bb", {"other": 0.2})
    assert compare.differences(first, second, draws=20, seed=1) == {}
    embedding = store.get("embeddings", "a")
    figures = [figure("interaction", "auc", 0.5, model="cosine", on="test")]
    tables = {"interaction-scores": scores(shift={"cosine": 0.2}, seed=9)}
    other = evaluate.read(commit(store, "c", embedding, figures, tables=tables))
    assert compare.differences(first, other, draws=20, seed=1) == {}
