"""exp2vec's whole job: ``jobs/exp2vec.toml`` on a GCT of read counts and sample attributes, as GTEx has them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from g2v_dask.errors import SpecError
from g2v_dask.flows import pipeline
from g2v_dask.progress import Display
from g2v_dask.spec import ClusterSpec, ReportSpec, RunSpec
from g2v_dask.store import Store
from tests.data_paths import data
from tests.shell import g2v

JOB = Path(__file__).parents[2] / "jobs" / "exp2vec.toml"
ASKED = ["EGFR", "TP53", "PTEN", "KRAS", "BRCA1", "BRCA2"]
TISSUES = {"uterus": "uterus-rsem-count-gtex", "kidney": "kidney-rsem-count-gtex"}
GENES = 700


@pytest.fixture(scope="module")
def gtex(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``reads.gct`` and ``attributes.txt``: two real tissues, whole reads, ids with versions."""
    folder = tmp_path_factory.mktemp("gtex")
    tissues = {
        tissue: pd.read_csv(data("rnaseq", f"{name}.txt.gz"), sep="\t", index_col="Hugo_Symbol").iloc[:, 1:]
        for tissue, name in TISSUES.items()
    }
    table = pd.concat(tissues.values(), axis=1).round().astype(int)
    table = pd.concat([table.loc[ASKED], table.drop(ASKED).sample(GENES - len(ASKED), random_state=1)])
    genes = pd.read_csv(data("genes", "human_genes.tsv.gz"), sep="\t", dtype=str, na_filter=False)
    ensembl = dict(zip(genes["symbol"], genes["ensembl"].str.split("|").str[0], strict=True))
    ids = [f"{ensembl.get(symbol) or symbol}.{number % 9}" for number, symbol in enumerate(table.index)]
    lines = ["#1.2", f"{len(table)}\t{table.shape[1]}", "\t".join(["Name", "Description", *table.columns])]
    lines += [
        "\t".join([one, symbol, *map(str, row)])
        for one, symbol, row in zip(ids, table.index, table.to_numpy().tolist(), strict=True)
    ]
    (folder / "reads.gct").write_text("\n".join(lines) + "\n")
    rows = [f"{sample}\t{tissue}" for tissue, frame in tissues.items() for sample in frame.columns]
    (folder / "attributes.txt").write_text("\n".join(["SAMPID\tSMTS", *rows]) + "\n")
    return folder


def spec(gtex: Path, **training: Any) -> RunSpec:
    """The job as it stands, but for its files, and smaller."""
    table = tomllib.loads(JOB.read_text())
    table["ingest"] = {"files": ["reads.gct"], "samples": "attributes.txt", "group_by": "SMTS", "scale": "counts"}
    table["train"][0] |= {"components": 20, **training}
    table["kmeans"][0] |= {"k": 5}
    table["map"][0] |= {"iterations": 60}
    return RunSpec.build(table, base=gtex)


def test_exp2vec__makes_all_of_it_and_answers_per_tissue(gtex: Path, address: str) -> None:
    summaries = pipeline.run_all(spec(gtex), cluster=ClusterSpec(address=address), display=Display(quiet=True))
    stages = ["ingest", "cooccur", "train", "kmeans", "map", "report", "report"]
    assert [s.stage for s in summaries] == stages
    assert [len(s.made) for s in summaries[1:5]] == [2, 2, 2, 2]  # all tissues at once
    store = Store.open(gtex / "exp2vec")
    for kind in ("expression", "cooccurrence", "embeddings", "groups", "maps"):
        assert store.names(kind) == sorted(TISSUES), kind
    card = store.get("embeddings", "uterus").facts
    assert card["parameters"]["triangle"] == "upper"
    assert card["losses"][-1] < card["losses"][0]
    for tissue, summary in zip(sorted(TISSUES), summaries[-2:], strict=True):
        answers = summary.artifacts[tissue]
        assert list(answers["similar"]) == ["EGFR", "TP53", "PTEN", "KRAS"]
        assert all(len(found) == 5 for found in answers["similar"].values())
        assert len(answers["solve"]["BRCA1 BRCA2 TP53"]) == 5
        assert Path(answers["figure"]).read_bytes().startswith(b"\x89PNG")


def test_exp2vec__prints_the_two_tables_and_does_nothing_twice(gtex: Path, address: str, tmp_path: Path) -> None:
    """From the shell, by the spec file; after the run above all is fresh."""
    file = gtex / "job.toml"
    text = JOB.read_text().replace('files = ["tissues/*.txt.gz"] # tables of read counts, a tissue each',
                                   'files = ["reads.gct"]\nsamples = "attributes.txt"\ngroup_by = "SMTS"')  # fmt: skip
    text = text.replace("components = 100", "components = 20").replace("k = 15", "k = 5")
    file.write_text(text.replace("pca = 0", "iterations = 60\npca = 0"))
    pipeline.run_all(spec(gtex), cluster=ClusterSpec(address=address), display=Display(quiet=True))
    done = g2v("run", file, "--cluster", address, "--quiet")
    assert done.code == 0, done.err
    assert "Nearest genes in kidney" in done.out
    assert "BRCA1 − BRCA2 = ? − TP53 in uterus" in done.out
    assert [line.split()[1:3] for line in done.out.splitlines() if line.split()[:1] in (["cooccur"], ["train"])] == [
        ["0", "0"]
    ] * 2


def test_report__a_gene_that_is_not_there_is_said_so(gtex: Path, address: str) -> None:
    made = spec(gtex)
    pipeline.run_all(made, cluster=ClusterSpec(address=address), display=Display(quiet=True))
    table = {"store": "exp2vec", "report": {"name": "kidney", "similar": ["EGFR", "NOGENE"], "k": 2}}
    (summary,) = pipeline.run_all(RunSpec.build(table, base=gtex), display=Display(quiet=True))
    found = summary.artifacts["kidney"]["similar"]
    assert len(found["EGFR"]) == 2
    assert "NOGENE" in found["NOGENE"]


def test_run__a_tissue_that_cannot_be_done_leaves_the_others_whole(tmp_path: Path, address: str) -> None:
    """One has fewer genes than components, one no read at all: they are told, exit code 3, also the second time."""
    random = np.random.default_rng(3)
    known = pd.read_csv(data("genes", "human_genes.tsv.gz"), sep="\t", dtype=str, na_filter=False)["symbol"].tolist()
    for name, genes, reads in (("good", 60, 30), ("small", 12, 30), ("zero", 60, 0)):
        table = random.poisson(reads, (genes, 35))
        frame = pd.DataFrame(table, index=known[:genes], columns=[f"{name}{k}" for k in range(35)])
        frame.to_csv(tmp_path / f"{name}.tsv", sep="\t", index_label="symbol")
    each = {"for_each": "dataset", "name": "{dataset}"}
    table = {
        "store": "s",
        "ingest": {"files": ["*.tsv"], "scale": "counts"},
        "cooccur": {**each, "datasets": ["{dataset}"]},
        "train": {**each, "from": "{dataset}", "method": "glove", "components": 20},
        "kmeans": {**each, "k": 3},
        "report": {**each, "similar": [known[1]], "figure": "{dataset}.png"},
    }
    spec = RunSpec.build(table, base=tmp_path)
    for _ in range(2):
        found = pipeline.run_all(spec, cluster=ClusterSpec(address=address), display=Display(quiet=True))
        told = {q["name"]: q["reason"] for s in found for q in s.quarantined}
        assert "components must be less than the number of genes, 12" in told["small"]
        assert "zero" in told
        assert any("no maps named 'good'" in reason for reason in told.values()), told  # its tables stand all the same
        assert [s.names for s in found[2:4]] == [["good"], ["good"]]
        assert len(found[-1].artifacts["good"]["similar"][known[1]]) == 5
        assert max(s.exit_code for s in found) == 3
    states = {(r["stage"], r["name"]): r["state"] for r in pipeline.plan_all(spec)}
    assert states["kmeans", "good"] == "fresh"
    assert ("kmeans", "small") not in states


def test_run__for_each_without_datasets(tmp_path: Path) -> None:
    Store.open(tmp_path / "s", create=True)
    spec = RunSpec.build({"store": "s", "cooccur": {"for_each": "dataset", "name": "{dataset}"}}, base=tmp_path)
    with pytest.raises(SpecError, match="cooccur: for_each: .* has no datasets"):
        pipeline.run_all(spec, display=Display(quiet=True))


def test_report_spec__a_picture_of_another_kind_is_refused_before_any_work() -> None:
    with pytest.raises(SpecError, match=r"figure must be a .png, .svg or .pdf file, got 'p.gif'"):
        ReportSpec(figure="p.gif")
