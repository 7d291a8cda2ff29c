"""Gene-set prediction: against scikit-learn's own nested search, planted and shuffled; no test gene is learned from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.svm import SVC

from g2v_dask.errors import InputError
from g2v_dask.evaluate_spec import EvaluateSpec
from g2v_dask.evaluation import prediction
from g2v_dask.evaluation.base import Subject
from g2v_dask.evaluation.prediction import Question, annotation_counts, predicted
from tests.data_paths import data
from tests.evaluation.subjects import FakeBackground, evaluated, figure, figures, subject, symbols, write_gmt

SPEC = EvaluateSpec(genesets=("x",), tasks=("prediction",), bootstrap=50, sets=6)
MODELS = ("", "random vectors", "expression PCA", "annotation count")


def planted(
    tmp_path: Path,
    *,
    sizes: Sequence[int] = (20, 22, 25, 30),
    genes: int = 700,
    shuffled: bool = False,
    background: FakeBackground | None = None,
) -> Subject:
    """Sets around a direction each; a last set, too large to be asked about, knows all genes but the last fifty."""
    rng = np.random.default_rng(8)
    names = symbols(genes)
    vectors = rng.standard_normal((genes, 10))
    held, start = {}, 0
    for i, size in enumerate(sizes):
        vectors[start : start + size] += 3 * rng.standard_normal(10)
        held[f"S{i}"] = names[start : start + size].tolist()
        start += size
    held["known"] = names[: genes - 50].tolist()
    if shuffled:
        vectors = vectors[rng.permutation(genes)]
    return subject(names, vectors, files={"genesets": [write_gmt(tmp_path / "p.gmt", held)]}, background=background)


def asked(count: int, inside: int, *, seed: int = 3) -> Question:
    return Question(rows=np.arange(count), inside=np.arange(count) < inside, seed=seed)


# -- one set ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_predicted__as_nested_search_of_scikit_learn(shift: float) -> None:
    rng = np.random.default_rng(1)
    question = asked(150, 25)
    vectors = rng.standard_normal((150, 6))
    vectors[:25] += shift
    truth, figures, penalties = question.inside, [], []
    for train, test in StratifiedKFold(3, shuffle=True, random_state=3).split(vectors, truth):
        inner = StratifiedKFold(3, shuffle=True, random_state=3)
        machine = SVC(kernel="rbf", gamma=0.1, class_weight="balanced")
        search = GridSearchCV(machine, {"C": [0.1, 1.0, 10.0]}, scoring="roc_auc", cv=inner)
        decided = search.fit(vectors[train], truth[train]).decision_function(vectors[test])
        figures.append((roc_auc_score(truth[test], decided), average_precision_score(truth[test], decided)))
        penalties.append(search.best_params_["C"])
    found = predicted(rbf_kernel(vectors, gamma=0.1).astype(np.float32), question)
    assert (found.auroc, found.auprc) == pytest.approx(np.mean(figures, axis=0), abs=2e-3)
    assert found.penalty == np.median(penalties)


def test_predicted__genes_unlike_all_others_cannot_be_told() -> None:
    """All genes are equally far from each other: only one that was learned from could be told."""
    found = predicted(np.eye(120, dtype=np.float32) * 0.5 + np.float32(0.5), asked(120, 20))
    assert found.auroc == 0.5


class Spy:
    """Records by whom it is taught and what it is asked; the kernel holds the numbers of its two genes."""

    taught: ClassVar[list[set[int]]] = []
    asked: ClassVar[list[set[int]]] = []

    def __init__(self, **_: Any) -> None:
        pass

    def fit(self, kernel: NDArray[np.float64], inside: NDArray[np.bool_]) -> Spy:
        genes = (kernel // 1000).astype(int)
        assert (genes.T == kernel % 1000).all()
        self.mine = set(genes[:, 0].tolist())
        self.taught.append(self.mine)
        return self

    def decision_function(self, kernel: NDArray[np.float64]) -> NDArray[np.float64]:
        self.asked.append(set((kernel // 1000).astype(int)[:, 0].tolist()))
        assert set((kernel % 1000).astype(int)[0].tolist()) == self.mine
        return np.arange(len(kernel), dtype=np.float64)


def test_predicted__no_gene_is_asked_of_what_learned_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "SVC", Spy)
    Spy.taught.clear()
    Spy.asked.clear()
    at = np.arange(90, dtype=np.float32)
    predicted(at[:, None] * 1000 + at, asked(90, 15))
    assert all(not taught & asked for taught, asked in zip(Spy.taught, Spy.asked, strict=True))
    each = 3 * len(prediction.GRID) + 1  # the choice of C, and the machine that is asked
    assert len(Spy.taught) == 3 * each
    held_out = []
    for start in range(0, 3 * each, each):
        test = Spy.asked[start + each - 1]
        held_out += sorted(test)
        for taught, some in zip(Spy.taught[start : start + each], Spy.asked[start : start + each - 1], strict=False):
            assert not taught & test
            assert not some & test
    assert sorted(held_out) == list(range(90))  # each gene is asked about once


def test_auroc__as_scikit_learn() -> None:
    rng = np.random.default_rng(2)
    inside = rng.random(200) < 0.2
    for decided in (rng.standard_normal(200) + inside, rng.integers(0, 4, 200), np.zeros(200)):
        assert prediction.auroc(inside, decided) == pytest.approx(roc_auc_score(inside, decided), rel=1e-12)


def test_annotation_counts__by_hand_on_six_genes() -> None:
    """Left out: A itself, B that holds it, D that lies in it. C and E remain."""
    sets = {"A": [0, 1], "B": [0, 1, 2], "C": [0, 3], "D": [1], "E": [3, 4]}
    contained = np.zeros((5, 6), dtype=np.int64)
    for row, genes in enumerate(sets.values()):
        contained[row, genes] = 1
    assert annotation_counts(csr_array(contained), 0).tolist() == [1, 0, 0, 2, 1, 0]
    assert annotation_counts(csr_array(contained), 2).tolist() == [2, 3, 1, 1, 1, 0]


# -- the whole task -----------------------------------------------------------------------------------------


def test_prediction__planted_near_1_shuffled_near_half(tmp_path: Path) -> None:
    rows = evaluated(prediction, planted(tmp_path), SPEC)["rows"]
    assert figure(rows, metric="auroc")["value"] > 0.97
    assert figure(rows, metric="auprc")["value"] > 0.8
    shuffled = evaluated(prediction, planted(tmp_path, shuffled=True), SPEC)
    assert figure(shuffled["rows"], metric="auroc")["value"] == pytest.approx(0.5, abs=0.09)
    assert figure(shuffled["rows"], metric="auprc")["value"] < 0.12
    assert figure(rows, metric="auroc")["genes"] == 650  # what no set knows takes no part
    assert set(rows["on"].to_pylist()) == {"p"}


def test_prediction__baselines(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = symbols(700)
    signal = np.zeros((60, 700), dtype=np.float32)
    for i, (start, size) in enumerate(zip((0, 20, 42, 67), (20, 22, 25, 30), strict=True)):
        signal[i * 15 : i * 15 + 15, start : start + size] = 2  # each set is high in some samples
    expression = signal + rng.standard_normal((60, 700)).astype(np.float32)
    background = FakeBackground(datasets=[(names, expression[:30]), (names[::-1], expression[30:, ::-1])])
    toy = planted(tmp_path, shuffled=True, background=background)
    found = evaluated(prediction, toy, replace(SPEC, baselines=True))
    auroc = {model: figure(found["rows"], metric="auroc", model=model) for model in MODELS}
    assert auroc["expression PCA"]["value"] > 0.9
    assert auroc["random vectors"]["value"] == pytest.approx(0.5, abs=0.09)
    # Of its genes only "known" is left to count, and holds the set whole; the others have each other's sets.
    assert 0.4 < auroc["annotation count"]["value"] < 0.5
    assert [r["baseline"] for r in auroc.values()] == ["", *["baseline"] * 3]
    kept = found["sets"].to_pylist()
    assert [(r["model"], r["set"]) for r in kept if r["set"] == "S1"] == [(m, "S1") for m in sorted(MODELS)]
    assert {(r["size"], r["known"], r["others"]) for r in kept if r["set"] == "S0"} == {(20, 20, 400)}
    assert all(np.isnan(r["penalty"]) == (r["model"] == "annotation count") for r in kept)
    for metric in ("auroc", "auprc"):
        values = [r[metric] for r in kept if r["model"] == ""]
        told = figure(found["rows"], metric=metric, model="")
        assert told["value"] == pytest.approx(np.mean(values))
        assert told["low"] <= told["value"] <= told["high"]


def test_prediction__count_tells_genes_of_many_sets(tmp_path: Path) -> None:
    names = symbols(400)
    held = {f"S{i}": names[i : i + 25].tolist() for i in range(6)}  # they overlap, none holds another
    held["known"] = names[100:].tolist()
    toy = subject(names, np.eye(400)[:, :5], files={"genesets": [write_gmt(tmp_path / "a.gmt", held)]})
    rows = evaluated(prediction, toy, replace(SPEC, baselines=True))["rows"]
    assert figure(rows, metric="auroc", model="annotation count")["value"] > 0.9
    assert not figures(rows, model="expression PCA")  # nothing is known of its expression


def test_prediction__any_cut_into_units_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "PER_GENE", 4)
    spec = replace(SPEC, baselines=True, sets=3)
    toy = planted(tmp_path)
    first = evaluated(prediction, toy, spec)
    monkeypatch.setattr(prediction, "CHUNK", 1)
    cut = evaluated(prediction, replace(toy), spec)
    assert len(prediction.units(toy, spec)) == 2 * 3 + 1
    assert str(first["sets"].to_pylist()) == str(cut["sets"].to_pylist())  # NaN is not equal to NaN
    assert first["rows"].equals(cut["rows"])
    other = evaluated(prediction, toy, replace(spec, seed=2))
    assert not other["rows"]["value"].equals(first["rows"]["value"])


# -- which sets, and which genes ----------------------------------------------------------------------------


def sized(tmp_path: Path, name: str, sizes: Sequence[int]) -> Path:
    """Sets of these sizes among 500 genes, and one that knows them all."""
    names = symbols(500)
    rng = np.random.default_rng(len(sizes))
    held = {f"{name}{i}": rng.choice(names, size, replace=False).tolist() for i, size in enumerate(sizes)}
    return write_gmt(tmp_path / f"{name}.gmt", {**held, f"{name} all": names.tolist()})


def chosen(tmp_path: Path, spec: EvaluateSpec, **sizes: Sequence[int]) -> prediction.Chosen:
    files = [sized(tmp_path, name, some) for name, some in sizes.items()]
    return prediction._chosen(subject(symbols(500), np.ones((500, 2)), files={"genesets": files}), spec)


def test_chosen__across_sizes(tmp_path: Path) -> None:
    found = chosen(tmp_path, replace(SPEC, sets=9), a=[*range(10, 250, 2), *[20] * 5])
    sizes = sorted(len(found.known[number]) for number in found.numbers)
    fit = sorted([*range(20, 201, 2), *[20] * 5])
    for size, stretch in zip(sizes, np.array_split(fit, 9), strict=True):  # one of each ninth
        assert stretch[0] <= size <= stretch[-1]
    other = chosen(tmp_path, replace(SPEC, sets=9, seed=2), a=[*range(10, 250, 2), *[20] * 5])
    assert other.numbers != found.numbers
    every = chosen(tmp_path, replace(SPEC, sets=9, all_sets=True), a=[*range(10, 250, 2), *[20] * 5])
    assert len(every.numbers) == len(fit)


def test_chosen__collections_share_evenly_as_far_as_they_reach(tmp_path: Path) -> None:
    found = chosen(tmp_path, replace(SPEC, sets=20), a=[30] * 40, b=[40] * 3, c=[50] * 30)
    of = [found.of(number) for number in found.numbers]
    assert [of.count(name) for name in "abc"] == [9, 3, 8]
    assert len(chosen(tmp_path, replace(SPEC, sets=2), a=[30] * 9, b=[40] * 3, c=[50] * 9).numbers) == 2


def test_question__others_are_known_to_sets_and_in_none_of_this_one(tmp_path: Path) -> None:
    toy = planted(tmp_path)
    found = prediction._chosen(toy, SPEC)
    for number in found.numbers:
        question = prediction._question(found, number, 1)
        known, others = question.rows[question.inside], question.rows[~question.inside]
        assert known.tolist() == toy.find(found.all.genes[number]).tolist()
        assert len(others) == min(650 - len(known), 20 * len(known))
        assert len(set(question.rows.tolist())) == len(question.rows)
        assert max(others) < 650


def test_question__does_not_depend_on_the_other_sets(tmp_path: Path) -> None:
    names = symbols(500)
    alone = {"S": names[:30].tolist(), "all": names.tolist()}
    both = {"T": names[5:60].tolist(), **alone}
    drawn = []
    for name, held in {"a": alone, "b": both}.items():
        toy = subject(names, np.ones((500, 2)), files={"genesets": [write_gmt(tmp_path / f"{name}.gmt", held)]})
        found = prediction._chosen(toy, SPEC)
        drawn.append(prediction._question(found, found.all.names.index("S"), 1))
    assert drawn[0].rows.tolist() == drawn[1].rows.tolist()
    assert drawn[0].seed == drawn[1].seed


def test_question__at_most_4000_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = symbols(5000)
    held = {"S": names[:200].tolist(), "all": names.tolist()}
    toy = subject(names, np.ones((5000, 1)), files={"genesets": [write_gmt(tmp_path / "a.gmt", held)]})
    found = prediction._chosen(toy, SPEC)
    assert (~prediction._question(found, 0, 1).inside).sum() == 4000
    (unit,) = prediction.units(toy, SPEC)
    assert unit.bytes > 12 * 4200**2
    monkeypatch.setattr(prediction, "PER_GENE", 21)
    assert (~prediction._question(found, 0, 1).inside).sum() == 4000


def test_units__no_known_genes(tmp_path: Path) -> None:
    file = write_gmt(tmp_path / "a.gmt", {"A": [f"X{i}Y" for i in range(30)]})
    with pytest.raises(InputError, match=r"prediction: toy has 0.0 % of its genes, less than least-coverage = 0.1"):
        prediction.units(subject(symbols(5), np.eye(5), files={"genesets": [file]}), SPEC)


def test_units__a_set_without_others(tmp_path: Path) -> None:
    """Nothing is known not to be in the only set."""
    file = write_gmt(tmp_path / "a.gmt", {"A": symbols(30).tolist(), "small": symbols(40)[31:].tolist()})
    with pytest.raises(InputError, match="no set has 20 to 200 genes that toy knows, beside at least as many known"):
        prediction.units(subject(symbols(400), np.ones((400, 2)), files={"genesets": [file]}), SPEC)


# -- expression ---------------------------------------------------------------------------------------------


def test_prediction__go_terms_by_real_expression(monkeypatch: pytest.MonkeyPatch) -> None:
    """Components of GTEx kidney tell genes of GO terms from others; random vectors do not."""
    monkeypatch.setattr(prediction, "PER_GENE", 5)
    table = pd.read_csv(data("rnaseq", "kidney-rsem-count-gtex.txt.gz"), sep="\t", index_col=0).iloc[:, 1:]
    log = np.log2(table.to_numpy() / table.to_numpy().sum(axis=0) * 1e6 + 1).T.astype(np.float32)
    best = np.argsort(-log.mean(axis=0), kind="stable")[:6000]
    names = table.index[best].to_numpy().astype(str)
    background = FakeBackground(datasets=[(names, log[:, best])])
    files = {"go": sorted(data("genes").iterdir())}
    blank = subject(names, np.zeros((6000, 20)), background=background)
    toy = subject(names, prediction._expression(blank, 1), background=background, files=files)
    spec = replace(SPEC, genesets=(), go="x", sets=8, baselines=True)
    rows = evaluated(prediction, toy, spec)["rows"]
    auroc = {model: figure(rows, metric="auroc", model=model, on="GO")["value"] for model in MODELS}
    assert auroc[""] > auroc["random vectors"] + 0.05
    assert auroc[""] == pytest.approx(auroc["expression PCA"], abs=1e-6)  # here they are one
    assert auroc["random vectors"] == pytest.approx(0.5, abs=0.07)
