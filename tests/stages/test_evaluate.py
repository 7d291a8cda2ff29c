"""The stage that evaluates: units side by side, one table at the end; the tasks' own figures are tested with them."""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from g2v_dask import driver, evaluation, schema
from g2v_dask.errors import InputError, SpecError
from g2v_dask.evaluation.base import ROWS, Subject, Tables, TooLittleError, Unit, row, rows_table
from g2v_dask.flows import evaluate as evaluate_flow
from g2v_dask.parts import Target
from g2v_dask.spec import EvaluateSpec
from g2v_dask.stages import evaluate
from g2v_dask.store import Store
from tests import go_toy, stores

GENES = ["TP53", "BRCA1", "CD3E", "CD19"]


class Counting:
    """A task of three units: each counts the genes of one set; the sum of the counts is the figure."""

    @staticmethod
    def units(subject: Subject, spec: EvaluateSpec) -> tuple[Unit, ...]:
        subject.covered("counting", float((subject.find(["TP53", "LFS1", "NOGENE"]) >= 0).mean()), spec.least_coverage)
        return tuple(Unit(label=f"set {i}", bytes=1000, given=i) for i in range(3))

    @staticmethod
    def run(subject: Subject, spec: EvaluateSpec, unit: Unit, progress: Any) -> Tables:
        progress(0, 1, "counting")
        (file,) = subject.files["genesets"]
        genes = file.read_text().splitlines()[unit.given].split("\t")[2:]
        found = subject.find(genes)
        return {"counts": pa.table({"unit": [unit.given], "known": [int((found >= 0).sum())]})}

    @staticmethod
    def sum_up(subject: Subject, spec: EvaluateSpec, tables: Tables) -> Tables:
        counts = tables["counts"]
        total = sum(counts["known"].to_pylist())
        figure = row(task="clusteredness", metric="known", value=total, genes=4, coverage=1.0, seed=spec.seed)
        return {ROWS: rows_table([figure]), "sets": counts}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(evaluation, "load", lambda name: Counting)
    store = stores.empty(tmp_path / "store")
    stores.embedding(store, "genes", GENES, np.eye(4))
    (tmp_path / "sets.gmt").write_text("A\t-\tTP53\tBRCA1\nB\t-\tCD3E\tNOGENE\nC\t-\tNOGENE\n")
    return store


def judged(store: Store, tmp_path: Path, **given: Any) -> Target:
    (target,) = evaluate.plan(store, EvaluateSpec(genesets=(str(tmp_path / "sets.gmt"),), **given)).targets
    return target


def test_evaluate__units_are_summed_up_in_their_order(store: Store, tmp_path: Path) -> None:
    plan = evaluate.plan(store, EvaluateSpec(genesets=(str(tmp_path / "sets.gmt"),), tasks=("clusteredness",)))
    assert [p.label for p in plan.targets[0].parts] == ["genes, set 0", "genes, set 1", "genes, set 2"]
    summary = driver.here(evaluate, plan, store)
    assert (summary.made, summary.parts_run) == (["genes"], 4)
    artifact = store.get("evaluations", "genes")
    assert artifact.facts["figures"] == 1
    assert sorted(artifact.names) == ["data.parquet/part-0.parquet", "tables/clusteredness-sets.parquet"]
    table = pq.read_table(artifact.path / "data.parquet" / "part-0.parquet")
    assert table.schema.equals(schema.EVALUATION)
    assert table["value"].to_pylist() == [3.0]
    assert table["embedding"].to_pylist() == [store.get("embeddings", "genes").digest]
    assert np.isnan(table["low"].to_pylist()).all()
    kept = pq.read_table(artifact.path / "tables" / "clusteredness-sets.parquet")
    assert kept["known"].to_pylist() == [2, 1, 0]
    assert driver.here(evaluate, evaluate.plan(store, EvaluateSpec(**_as_before(tmp_path))), store).fresh == ["genes"]


def _as_before(tmp_path: Path) -> dict[str, Any]:
    return {"genesets": (str(tmp_path / "sets.gmt"),), "tasks": ("clusteredness",)}


def test_evaluate__what_is_in_the_files_is_identity_and_where_they_lie_is_not(store: Store, tmp_path: Path) -> None:
    before = judged(store, tmp_path, tasks=("clusteredness",)).digest
    text = (tmp_path / "sets.gmt").read_text()
    (tmp_path / "sets.gmt").write_text(text + "D\t-\tTP53\n")
    assert judged(store, tmp_path, tasks=("clusteredness",)).digest != before
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "sets.gmt").write_text(text)
    assert judged(store, tmp_path / "elsewhere", tasks=("clusteredness",)).digest == before
    assert judged(store, tmp_path / "elsewhere", tasks=("clusteredness",), least_coverage=0.2).digest == before
    assert judged(store, tmp_path / "elsewhere", tasks=("clusteredness",), seed=2).digest != before


def test_evaluate__parts_read_the_store_alone(store: Store, tmp_path: Path) -> None:
    """The client's files may be out of reach for the workers."""
    plan = evaluate.plan(store, EvaluateSpec(**_as_before(tmp_path)))
    (target,) = plan.targets
    folder = target.folder(store)
    evaluate.begin(folder, target)
    (tmp_path / "sets.gmt").unlink()
    assert (folder.desk / "given" / "genesets" / "0" / "sets.gmt").exists()


def test_evaluate__too_few_genes(store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="genes has 66.7 % of its genes, less than least-coverage = 0.9"):
        judged(store, tmp_path, tasks=("clusteredness",), least_coverage=0.9)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tasks": ("clusteredness",)}, "clusteredness needs --genesets"),
        ({"tasks": ("interaktion",)}, "did you mean 'interaction'"),
        ({"tasks": ("prediction",)}, "prediction needs --genesets or --go"),
        ({"models": ("cosinus",)}, "did you mean 'cosine'"),
        ({"models": ()}, "models must name one or more"),
        ({"matched": True, "pairs": "x"}, "matched needs --pairs, and --go"),
        ({"tax_id": "mouse"}, "evaluate: tax_id must be a number of NCBI's taxonomy"),
        ({"tasks": ("stability",)}, "stability needs --beside"),
    ],
)
def test_spec__says_what_is_missing(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        EvaluateSpec(**given)


class Fitting(Counting):
    """The same for sets of five genes or more, of which there are none."""

    @staticmethod
    def units(subject: Subject, spec: EvaluateSpec) -> tuple[Unit, ...]:
        msg = "prediction: no set has 5 genes; take files of more sets"
        raise TooLittleError(msg)


def test_evaluate__a_task_that_nobody_named_is_passed_over(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "load", lambda name: Fitting if name == "prediction" else Counting)
    files = (str(tmp_path / "sets.gmt"),)
    plan = evaluate.plan(store, EvaluateSpec(genesets=files))
    assert plan.notes == ("genes: prediction is not asked: no set has 5 genes; take files of more sets",)
    assert plan.targets[0].identity["tasks"] == ["clusteredness"]
    driver.here(evaluate, plan, store)
    facts = store.get("evaluations", "genes").facts
    assert facts["tasks"] == ["clusteredness"]
    assert facts["skipped"] == {"prediction": "no set has 5 genes; take files of more sets"}
    with pytest.raises(InputError, match="prediction: no set has 5 genes"):
        evaluate.plan(store, EvaluateSpec(genesets=files, tasks=("clusteredness", "prediction")))
    monkeypatch.setattr(evaluation, "load", lambda name: Fitting)
    with pytest.raises(InputError, match="prediction: no set has 5 genes"):
        evaluate.plan(store, EvaluateSpec(genesets=files))


def test_evaluate__files_that_are_wrong_are_not_passed_over(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    (tmp_path / "sets.gmt").write_text("A without genes\n")
    stores.embedding(store, "other", GENES, np.eye(4))
    with pytest.raises(InputError, match=r"sets\.gmt"):
        evaluate.plan(store, EvaluateSpec(name="genes", genesets=(str(tmp_path / "sets.gmt"),)))


MOUSE = "10090"
GENE_INFO = "#tax_id\tGeneID\tSymbol\tSynonyms\tdbXrefs\tdescription\ttype_of_gene\n"


def test_evaluate__go_of_another_species(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """gene2go of all species, and the gene table of this one; both reach the parts."""
    monkeypatch.undo()
    names = [f"Gn{i}" for i in range(60)]
    stores.embedding(store, "mouse", names, np.random.default_rng(0).normal(size=(60, 3)))
    rows = [f"{MOUSE}\t{i + 1}\t{name}\t-\t-\t-\tprotein-coding\n" for i, name in enumerate(names)]
    (tmp_path / "mouse.gene_info").write_text(GENE_INFO + "".join(rows))
    go = go_toy.ncbi(tmp_path / "go")
    with gzip.open(go / "gene2go.gz", "at") as stream:
        for i in range(60):
            stream.write(f"{MOUSE}\t{i + 1}\t{go_toy.C if i < 25 else go_toy.D}\tIDA\t-\t-\t-\tProcess\n")
    asked = EvaluateSpec(
        name="mouse", go=str(go), tax_id=MOUSE, genes=str(tmp_path / "mouse.gene_info"), tasks=("prediction",), sets=2
    )
    plan = evaluate.plan(store, asked)
    assert {i.partition(":")[2].partition("/")[0] for i in plan.targets[0].inputs if i.startswith("file:")} == {
        "go",
        "genes",
    }
    driver.here(evaluate, plan, store)
    figures = evaluate_flow.read(store.get("evaluations", "mouse")).figures
    assert {(f["on"], f["genes"], f["coverage"]) for f in figures} == {("GO", 60, 1.0)}
    with pytest.raises(InputError, match="mouse has 0.0 % of its genes"):  # by the human table
        evaluate.plan(store, dataclasses.replace(asked, genes=None))
    with pytest.raises(InputError, match="no annotation of the species 10116"):
        evaluate.plan(store, dataclasses.replace(asked, tax_id="10116"))


def test_evaluate__nothing_to_ask(store: Store) -> None:
    with pytest.raises(SpecError, match="nothing to ask"):
        evaluate.plan(store, EvaluateSpec())


def test_evaluate__tissue_without_counts(store: Store) -> None:
    with pytest.raises(SpecError, match="no dataset here has any"):
        evaluate.plan(store, EvaluateSpec(tasks=("tissue",)))


def test_evaluate__no_torch(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "test_text.txt").write_text("TP53 BRCA1\n")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"pip install 'g2v_dask\[torch\]'; or leave it out: --models cosine,heads"):
        evaluate.plan(store, EvaluateSpec(pairs=str(tmp_path / "pairs")))
