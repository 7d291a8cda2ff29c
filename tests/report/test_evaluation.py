"""An evaluation as tables: baselines among what is judged, nothing in a name takes effect."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from g2v_dask import report
from g2v_dask.flows import evaluate
from g2v_dask.report import book, evaluation
from g2v_dask.report.evaluated import Evaluated
from g2v_dask.report.sheets import Sheet
from g2v_dask.store import Artifact, Store
from tests import stores
from tests.judged import GENES, HOSTILE, NAN, curves, figure
from tests.judged import evaluation as commit

AUC = [
    figure("interaction", "auc", 0.7474, low=0.731, high=0.7625, model="ggipnn frozen", on="test"),
    figure("interaction", "average precision", 0.71, model="ggipnn frozen", on="test"),
    figure("interaction", "auc", 0.9, model="degree sum", on="test", baseline="transductive"),
    figure("interaction", "auc", 0.61, model="expression mean", on="test", baseline="baseline"),
    figure("interaction", "auc", 0.55, model="ggipnn frozen", on="matched", coverage=0.25),
]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return stores.empty(tmp_path / "s")


@pytest.fixture
def embedding(store: Store) -> Artifact:
    return stores.embedding(store, "genes", GENES, np.random.default_rng(0).normal(size=(40, 3)))


def judged(store: Store, embedding: Artifact, figures: list[dict[str, Any]], **more: Any) -> Evaluated:
    return evaluate.read(commit(store, "genes", embedding, figures, **more))


def cells(sheet: Sheet) -> list[tuple[str, ...]]:
    return [tuple(str(cell) for cell in row) for row in sheet.rows]


def names(sheet: Sheet) -> list[str]:
    return [column.name for column in sheet.columns]


# -- layouts ------------------------------------------------------------------------------------------------


def test_sheets__baselines_stand_where_their_figures_put_them(store: Store, embedding: Artifact) -> None:
    test, matched = evaluation.sheets(judged(store, embedding, AUC))
    assert test.title == "Gene-gene interaction: genes, test"
    assert names(test) == ["What is scored", "Kind", "AUC", "average precision"]
    assert cells(test) == [
        ("degree sum", "transductive", "0.900", ""),
        ("ggipnn frozen", "", "0.747 (0.731 to 0.762)", "0.710"),
        ("expression mean", "baseline", "0.610", ""),
    ]
    assert f"embedding genes ({embedding.digest[:12]})" in test.facts
    assert {"40 genes", "50.0 % of the task's genes", "seed 1"} <= {*test.facts}
    assert "25.0 % of the task's genes" in matched.facts
    assert [note.partition(":")[0] for note in test.notes] == [
        "In brackets the 95 % interval.",
        "Baseline",
        "Transductive",
    ]
    assert matched.notes == ()
    assert test.picture is None


def test_sheets__what_differs_is_a_column(store: Store, embedding: Artifact) -> None:
    figures = [
        figure("tissue", "r2", 0.5, on="liver"),
        figure("tissue", "r2", 0.25, on="all tissues"),
        figure("tissue", "specific cosine", 0.4, on="all tissues", genes=7),
        figure("tissue", "r2", NAN, on="all tissues", model="PCA", baseline="baseline", seed=2),
    ]
    (sheet,) = evaluation.sheets(judged(store, embedding, figures))
    assert names(sheet) == ["On", "What is scored", "Kind", "R²", "specific cosine", "Genes", "Seed"]
    assert cells(sheet) == [
        ("liver", "embedding", "", "0.500", "", "40", "1"),
        ("all tissues", "embedding", "", "0.250", "0.400", "7 to 40", "1"),
        ("all tissues", "PCA", "baseline", "", "", "40", "2"),
    ]


def test_sheets__many_metrics_stand_below_each_other_and_models_beside(store: Store, embedding: Artifact) -> None:
    metrics = ["ratio, paper", "within sets, paper", "random pairs, paper", "ratio, published code", "mean z", "share"]
    figures = [
        figure("clusteredness", metric, number, on="c2", model=model, baseline="baseline" if model else "")
        for model, plus in (("", 0.0), ("random vectors", 100.0))
        for number, metric in enumerate(metrics, start=1)
        if not (model and metric == "share")
        for number in (number + plus,)
    ]
    (sheet,) = evaluation.sheets(judged(store, embedding, figures))
    assert names(sheet) == ["Metric", "embedding", "random vectors (baseline)"]
    assert cells(sheet)[0] == ("ratio, paper", "1.000", "101")
    assert cells(sheet)[-1] == ("share", "6.000", "")
    assert "on c2" in sheet.facts


def test_sheets__on_the_genes_of_others_says_so(store: Store, embedding: Artifact) -> None:
    for common, words in ((["svd"], "only genes that svd also has"), (["a", "b"], "only genes that a, b also have")):
        (sheet, _) = evaluation.sheets(judged(store, embedding, AUC, common=common))
        assert words in sheet.facts


def test_sheets__stability_has_quantiles_of_genes(store: Store, embedding: Artifact) -> None:
    figures = [figure("stability", "overlap@10", 0.5, low=0.1, high=0.9, on="other")]
    (sheet,) = evaluation.sheets(judged(store, embedding, figures))
    assert sheet.notes == ("In brackets 5 % to 95 % of genes.",)


def test_sheets__only_some_tasks(store: Store, embedding: Artifact) -> None:
    found = judged(store, embedding, [*AUC, figure("stability", "procrustes", 0.5)])
    assert found.tasks == ["interaction", "stability"]
    assert [s.title for s in evaluation.sheets(found, only=["stability"])] == ["Stability: genes"]


def test_as_json__knows_finite_numbers_alone(store: Store, embedding: Artifact) -> None:
    found = judged(store, embedding, AUC).as_json()
    assert found["figures"][0]["low"] == 0.731
    assert found["figures"][1]["low"] is None
    assert (found["artifact"], found["embedding"], found["tasks"]) == ("evaluations/genes", "genes", ["interaction"])


def test_sheets__of_interaction_say_what_was_chosen_on_which_pairs(store: Store, embedding: Artifact) -> None:
    figures = [
        figure("interaction", metric, value, model=model, on=on)
        for on in ("valid", "test", "matched valid", "matched test")
        for model, metric, value in (("chosen", "auc", 0.7), ("cosine", "auc", 0.7), ("", "pair coverage", 0.8125))
    ]
    tables = {
        "interaction-choice": pa.table({"list": ["published", "matched"], "model": ["cosine", "logistic sum"]}),
        "interaction-lists": pa.table({"split": ["train"], "known pairs": [1200]}),
        "interaction-matched": pa.table({"split": ["train"], "degree sum": [0.4987]}),
    }
    *lists, held, matched = evaluation.sheets(judged(store, embedding, figures, tables=tables))
    assert [s.title.rpartition(", ")[2] for s in lists] == ["test", "matched test", "valid", "matched valid"]
    assert cells(lists[0]) == [("cosine", "chosen on valid", "0.700")]
    assert cells(lists[1]) == [("cosine", "0.700")]  # that of matched pairs is another
    assert "81.2 % of its pairs" in lists[0].facts
    assert (names(held), cells(held)) == (["Split", "Known pairs"], [("train", "1,200")])
    assert (names(matched), cells(matched)) == (["Split", "Degree sum"], [("train", "0.499")])
    assert matched.notes[0].endswith("0.5 tells nothing.")


# -- what tasks keep ----------------------------------------------------------------------------------------


def sets(count: int) -> pa.Table:
    rows = [
        {
            "collection": "c2",
            "set": f"S{i:02d}",
            "size": 9,
            "known": 8,
            "mean_cosine": 0.1,
            "z": float(count - i),
            "q": 0.5,
        }
        for i in range(count)
    ]
    return pa.Table.from_pylist(rows)


def test_sheets__the_most_and_the_least_coherent_sets(store: Store, embedding: Artifact) -> None:
    figures = [figure("clusteredness", "mean z", 1.0)]
    tables = {"clusteredness-sets": sets(25)}
    _, most, least = evaluation.sheets(judged(store, embedding, figures, tables=tables))
    assert [row[0] for row in cells(most)] == [f"S{i:02d}" for i in range(10)]
    assert [row[0] for row in cells(least)] == [f"S{i:02d}" for i in range(24, 14, -1)]
    assert cells(most)[0] == ("S00", "8", "0.100", "25", "0.500")
    few = {"clusteredness-sets": sets(12)}
    _, most, least = evaluation.sheets(judged(store, embedding, figures, tables=few))
    assert [row[0] for row in cells(least)] == ["S11", "S10"]  # none stands in both


def test_sheets__prediction_tissue_and_neighbours(store: Store, embedding: Artifact) -> None:
    tables = {
        "prediction-sets": pa.table(
            {
                "set": ["A", "B", "A"],
                "model": ["", "", "random vectors"],
                "known": [20, 30, 20],
                "auroc": [0.5, 0.75, 0.99],
                "auprc": [0.1, 0.2, 0.9],
            }
        ),
        "tissue-tissues": pa.table(
            {
                "tissue": ["liver", "skin", "liver"],
                "model": ["vectors", "vectors", "random vectors"],
                "samples": [30, 1200, 30],
                "r2": [0.25, NAN, 0.0],
                "specific": [12, 0, 12],
                "cosine": [0.5, NAN, 0.0],
                "random": [0.125, NAN, 0.0],
                "q": [1e-4, NAN, 1.0],
                "first": ["ALB, APOA1", "", ""],
            }
        ),
        "neighbours-neighbours": pa.table(
            {
                "other": ["svd", "svd"],
                "why": ["differs most", "example"],
                "gene": ["G01", "TP53"],
                "kept": [0.0, 0.5],
                "here": ["G02", "MDM2"],
                "there": ["G03", "MDM2"],
            }
        ),
    }
    figures = [figure(task, "x", 1.0) for task in ("prediction", "tissue", "neighbours")]
    by_title = {s.title: s for s in evaluation.sheets(judged(store, embedding, figures, tables=tables))}
    assert cells(by_title["The sets that are told best"]) == [
        ("B", "30", "0.750", "0.200"),
        ("A", "20", "0.500", "0.100"),
    ]
    assert cells(by_title["Each tissue"]) == [
        ("liver", "30", "12", "0.250", "0.500", "0.125", "1.0e-04", "ALB, APOA1"),
        ("skin", "1,200", "0", "", "", "", "", ""),
    ]
    assert cells(by_title["Neighbours in genes and svd: example"]) == [("TP53", "0.500", "MDM2", "MDM2")]
    assert names(by_title["Neighbours in genes and svd: differs most"]) == ["Gene", "Kept", "In genes", "In svd"]


# -- printed ------------------------------------------------------------------------------------------------


def test_sheets__hostile_words_take_no_effect(store: Store, embedding: Artifact, tmp_path: Path) -> None:
    figures = [figure("interaction", "auc", 0.5, model=HOSTILE, on=HOSTILE), figure("tissue", HOSTILE, 0.5, on=HOSTILE)]
    kept = curves(shift={HOSTILE: 1.0}, on=HOSTILE)
    found = judged(store, embedding, figures, tables={"interaction-curves": kept})
    whole = book.Book(sheets=evaluation.sheets(found, pictures=True), commands=("echo '<b>' ```",))
    page = book.page(whole)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<b>" not in page
    book.write_markdown(tmp_path / "e.md", whole)
    text = (tmp_path / "e.md").read_text("utf-8")
    before, fence, _ = text.partition("````bash\n")
    assert fence
    assert "<" not in before
    assert not re.search(r"(?<!\\)\]\(javascript", before)


def test_show_sheet__the_terminal_shows_the_same(
    store: Store, embedding: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    for sheet in evaluation.sheets(judged(store, embedding, AUC)):
        report.show_sheet(sheet)
    lines = [re.sub(r" {2,}", "  ", line.strip()) for line in capsys.readouterr().out.splitlines()]
    assert "degree sum  transductive  0.900" in lines
    assert "ggipnn frozen  0.747 (0.731 to 0.762)  0.710" in lines


def test_book__contents_lead_to_sections_and_pictures_are_numbered(
    store: Store, embedding: Artifact, tmp_path: Path
) -> None:
    kept = pa.concat_tables([curves(shift={"ggipnn frozen": 1.0}, on=on) for on in ("test", "matched")])
    found = judged(store, embedding, AUC, tables={"interaction-curves": kept})
    whole = book.Book(sheets=evaluation.sheets(found, pictures=True), commands=("g2v ls",), about_commands="so")
    page = book.page(whole)
    assert re.findall(r'href="#(\w+)"', page) == re.findall(r'<section id="(\w+)"', page) == ["s1", "s2", "s3"]
    assert page.count("data:image/png;base64,") == 2
    book.write_markdown(tmp_path / "e.md", whole)
    text = (tmp_path / "e.md").read_text("utf-8")
    assert re.findall(r"\((e-\d\.png)\)", text) == ["e-1.png", "e-2.png"]
    assert "```bash\ng2v ls\n```\n\nso\n" in text
    pictures = [(tmp_path / f"e-{i}.png").read_bytes() for i in (1, 2)]
    assert all(p.startswith(b"\x89PNG") for p in pictures)
    assert pictures[0] != pictures[1]
