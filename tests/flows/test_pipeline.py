"""Whole runs of a spec over small tables of real genes: what is done, what is fresh, what is left out."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import g2v_dask
from g2v_dask import driver
from g2v_dask.cluster import Cluster
from g2v_dask.driver import Summary
from g2v_dask.errors import SpecError
from g2v_dask.flows import pipeline
from g2v_dask.progress import Display
from g2v_dask.spec import ClusterSpec, MergeSpec, PairsSpec, RunSpec
from g2v_dask.stages import merge, pairs
from g2v_dask.store import Store
from tests import made
from tests.data_paths import ROOT, data
from tests.shell import g2v

pytestmark = pytest.mark.xdist_group("pipeline")  # the run below is made once

TISSUES = {"kich": "kich-rsem-count-tcga-t", "prad": "prad-rsem-count-tcga", "thca": "thca-rsem-count-tcga"}
SPEC = """
store = "store"
[ingest]
files = ["tables/*.tsv"]
[pairs]
threshold = 0.8
[[merge]]
name = "all"
[[merge]]
for_each = "dataset"
name = "only-{dataset}"
datasets = ["{dataset}"]
[[train]]
from = "all"
name = "by-svd"
method = "svd"
components = 8
[[train]]
from = "all"
name = "by-skipgram"
components = 8
iterations = 2
min_count = 1
[[index]]
name = "by-svd"
[[index]]
name = "by-skipgram"
shard_rows = 50
"""
STEPS = ["ingest", "pairs", "merge", "merge", "train", "train", "index", "index"]
QUIET = Display(quiet=True)


@dataclass(frozen=True)
class Run:
    """A folder with a spec, its tables and its store."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "run.toml"

    @property
    def spec(self) -> RunSpec:
        return RunSpec.load(self.file)

    @property
    def store(self) -> Store:
        return Store.open(self.folder / "store")

    def go(self, address: str) -> list[Summary]:
        return pipeline.run_all(self.spec, cluster=ClusterSpec(address=address), display=QUIET)

    def shards(self) -> int:
        """Parts of both indices; more than two."""
        genes = [self.store.get("embeddings", name).facts["genes"] for name in ("by-svd", "by-skipgram")]
        assert genes[1] > 50
        return 1 + math.ceil(genes[1] / 50)

    def work(self, summaries: list[Summary]) -> Counter[str]:
        """Parts that ran, by stage."""
        found: Counter[str] = Counter()
        for summary in summaries:
            found[summary.stage] += summary.parts_run
        return +found


@pytest.fixture(scope="module")
def counts() -> dict[str, pd.DataFrame]:
    """300 real genes × samples of three tissues: ribosomal, MHC, collagens, surface antigens."""
    read = {
        name: pd.read_csv(data("rnaseq", f"{file}.txt.gz"), sep="\t", index_col="Hugo_Symbol").iloc[:, 1:]
        for name, file in TISSUES.items()
    }
    first = read["kich"]
    named = sorted(g for g in first.index if g.startswith(("RPL", "RPS", "HLA-", "COL", "CD", "KRT")))
    genes = first.loc[named].mean(axis=1).nlargest(300).index
    return {name: frame.loc[genes] for name, frame in read.items()}


def table(folder: Path, name: str, frame: pd.DataFrame) -> None:
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    frame.to_csv(folder / "tables" / f"{name}.tsv", sep="\t", index_label="symbol")


@pytest.fixture(scope="module")
def first(
    tmp_path_factory: pytest.TempPathFactory, counts: dict[str, pd.DataFrame], address: str
) -> tuple[Run, list[Summary]]:
    """The first run: three tissues, one without a pair, one with too few samples, and a stranger in the store."""
    run = Run(tmp_path_factory.mktemp("first"))
    for name, frame in counts.items():
        table(run.folder, name, frame.iloc[:, :35])
    random = np.random.default_rng(2)
    noise = np.array([random.permutation(row) for row in counts["kich"].to_numpy()])
    table(run.folder, "noise", pd.DataFrame(noise, counts["kich"].index, counts["kich"].columns))
    table(run.folder, "small", counts["kich"].iloc[:, 35:46])
    run.file.write_text(SPEC)
    store = Store.open(run.folder / "store", create=True)
    genes = sorted(counts["kich"].index)
    made.expression(store, "stranger", made.correlated(30, 300, seed=1), genes)
    assert driver.here(pairs, pairs.plan(store, PairsSpec(threshold=0.8)), store).made == ["stranger"]
    return run, run.go(address)


@pytest.fixture
def copy(first: tuple[Run, list[Summary]], tmp_path: Path) -> Run:
    """The first run's folder, to be changed."""
    shutil.copytree(first[0].folder, tmp_path / "copy")
    return Run(tmp_path / "copy")


@pytest.fixture
def fresh(first: tuple[Run, list[Summary]], tmp_path: Path) -> Run:
    """The spec and its tables, and no store."""
    shutil.copytree(first[0].folder, tmp_path / "fresh", ignore=shutil.ignore_patterns("store"))
    return Run(tmp_path / "fresh")


def contents(store: Store) -> dict[str, dict[str, bytes]]:
    kinds = ("expression", "pairs", "cooccurrence", "embeddings", "index")
    return {a.key: made.data_files(a.path) for k in kinds for a in store.artifacts(k)}


# -- a whole run --------------------------------------------------------------------------------------------


def test_run_all__does_every_stage_in_order(first: tuple[Run, list[Summary]]) -> None:
    run, summaries = first
    assert [s.stage for s in summaries] == STEPS
    assert [sorted(s.made) for s in summaries] == [
        ["kich", "noise", "prad", "thca"],
        ["kich", "prad", "thca"],
        ["all"],
        ["only-kich", "only-prad", "only-thca"],
        ["by-svd"],
        ["by-skipgram"],
        ["by-svd"],
        ["by-skipgram"],
    ]
    assert run.work(summaries) == {"ingest": 4, "pairs": 3, "merge": 4, "train": 2, "index": run.shards()}
    assert run.store.names("embeddings") == run.store.names("index") == ["by-skipgram", "by-svd"]
    assert run.store.get("embeddings", "by-svd").facts["parameters"]["method"] == "svd"
    assert not list((run.store.root.desk / ".work").glob("*"))


def test_run_all__what_is_quarantined_is_left_out_and_told(first: tuple[Run, list[Summary]]) -> None:
    run, summaries = first
    assert [s.exit_code for s in summaries] == [3, 3, *[0] * 6]
    assert [q["name"] for q in summaries[0].quarantined] == ["small"]
    assert "11 samples, fewer than 30" in summaries[0].quarantined[0]["reason"]
    assert [q["name"] for q in summaries[1].quarantined] == ["noise"]
    assert "no pair of genes has r ≥ 0.8" in summaries[1].quarantined[0]["reason"]
    assert sorted((q["kind"], q["name"]) for q in run.store.quarantined()) == [
        ("expression", "small"),
        ("pairs", "noise"),
    ]


def test_run_all__members_of_a_merge_are_the_pairs_of_the_spec(first: tuple[Run, list[Summary]]) -> None:
    store = first[0].store
    assert "stranger" in store.names("pairs")
    assert sorted(store.get("cooccurrence", "all").manifest["inputs"]) == ["pairs/kich", "pairs/prad", "pairs/thca"]
    assert list(store.get("cooccurrence", "only-prad").manifest["inputs"]) == ["pairs/prad"]
    assert "only-noise" not in store.names("cooccurrence")
    assert sorted(store.get("embeddings", "by-svd").facts["datasets"]) == ["pairs/kich", "pairs/prad", "pairs/thca"]


def test_run_all__pairs_equal_corrcoef(first: tuple[Run, list[Summary]]) -> None:
    opened = g2v_dask.open_store(first[0].store.root.desk)
    for name in TISSUES:
        dataset = opened.expression(name)
        values = dataset["expression"].to_numpy().astype(np.float64)
        genes = np.array(dataset["gene_id"].to_numpy().tolist())
        used = first[0].store.get("pairs", name).facts
        flat = dataset["constant"].to_numpy() | (values.min(axis=0) == values.max(axis=0))
        r = np.corrcoef(values[:, ~flat].T)
        a, b = np.nonzero(np.triu(r >= 0.8, k=1))
        found = opened.pairs(name).compute()
        got = dict(zip(zip(found["gene_a"], found["gene_b"], strict=True), found["r"], strict=True))
        wanted = {(genes[~flat][i], genes[~flat][j]): r[i, j] for i, j in zip(a, b, strict=True)}
        assert used["genes_unexpressed"] == 0
        assert got.keys() == wanted.keys()
        assert all(abs(got[k] - wanted[k]) < 1e-9 for k in got)
        assert len(got) == used["pairs"] > 50


# -- again ----------------------------------------------------------------------------------------------------


def test_run_all__again_is_fresh_starts_no_cluster_and_still_says_what_is_quarantined(
    first: tuple[Run, list[Summary]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(self: Cluster) -> None:
        pytest.fail("a cluster was asked for")

    monkeypatch.setattr(Cluster, "_connect", connect)
    run = first[0]
    before = {p: p.stat().st_mtime_ns for p in run.store.root.desk.rglob("data.*")}
    again = pipeline.run_all(run.spec, display=QUIET)
    assert [s.stage for s in again] == STEPS
    assert run.work(again) == {}
    assert [s.made for s in again] == [[]] * 8
    assert [sorted(s.fresh) for s in again] == [sorted(s.made) for s in first[1]]
    assert [s.exit_code for s in again] == [3, 3, *[0] * 6]
    assert {p: p.stat().st_mtime_ns for p in run.store.root.desk.rglob("data.*")} == before


def test_run_all__one_changed_file_is_all_that_is_redone(
    copy: Run, counts: dict[str, pd.DataFrame], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    plainly = merge._difference

    def difference(*arguments: Any) -> Any:
        steps.append(plainly(*arguments))
        return steps[-1]

    monkeypatch.setattr(merge, "_difference", difference)
    table(copy.folder, "prad", counts["prad"].iloc[:, 10:45])
    before = contents(copy.store)
    summaries = copy.go(address)
    assert [s.made for s in summaries] == [
        ["prad"],
        ["prad"],
        ["all"],
        ["only-prad"],
        ["by-svd"],
        ["by-skipgram"],
        ["by-svd"],
        ["by-skipgram"],
    ]
    assert [s.replaced for s in summaries] == [s.made for s in summaries]
    assert copy.work(summaries) == {"ingest": 1, "pairs": 1, "merge": 2, "train": 2, "index": copy.shards()}
    base, added, removed = steps[0]  # of the merge of all
    assert base is not None
    assert ([a.name for a in added], [a.name for a in removed]) == (["prad"], ["prad"])
    scratch = MergeSpec(name="scratch", datasets=tuple(TISSUES))
    assert driver.here(merge, merge.plan(copy.store, scratch), copy.store).made == ["scratch"]
    after = contents(copy.store)
    assert after["cooccurrence/all"] == after["cooccurrence/scratch"] != before["cooccurrence/all"]
    assert after["cooccurrence/only-kich"] == before["cooccurrence/only-kich"]


def test_run_all__a_file_less_is_subtracted(copy: Run, address: str) -> None:
    (copy.folder / "tables" / "thca.tsv").unlink()
    summaries = copy.go(address)
    assert copy.work(summaries) == {"merge": 1, "train": 2, "index": copy.shards()}
    assert sorted(copy.store.get("cooccurrence", "all").manifest["inputs"]) == ["pairs/kich", "pairs/prad"]
    scratch = MergeSpec(name="scratch", datasets=("kich", "prad"))
    driver.here(merge, merge.plan(copy.store, scratch), copy.store)
    found = contents(copy.store)
    assert found["cooccurrence/all"] == found["cooccurrence/scratch"]


def test_run_all__nothing_left_to_merge_is_one_message(fresh: Run, address: str) -> None:
    for name in TISSUES:
        (fresh.folder / "tables" / f"{name}.tsv").unlink()
    summaries = fresh.go(address)
    assert [(s.stage, s.exit_code) for s in summaries] == [("ingest", 3), ("pairs", 3)]  # and no further
    assert "no pair of genes" in summaries[-1].quarantined[0]["reason"]
    assert [q["name"] for q in fresh.store.quarantined()] == ["small", "noise"]


def test_run_all__names_left_out_mean_what_the_run_made(fresh: Run, address: str) -> None:
    """Of one merge and one training the later stages need no name, though the store has others."""
    fresh.file.write_text('store = "store"\n[ingest]\nfiles = ["tables/kich.tsv"]\n[pairs]\ntop_k = 5\n')
    fresh.go(address)
    for name in ("a", "b"):
        fresh.file.write_text(
            'store = "store"\n[ingest]\nfiles = ["tables/kich.tsv"]\n[pairs]\ntop_k = 5\n'
            f'[merge]\nname = "{name}"\n[train]\nname = "{name}"\nmethod = "svd"\ncomponents = 4\n[index]\n'
        )
        assert [s.names for s in fresh.go(address)] == [["kich"], ["kich"], [name], [name], [name]]
    assert list(fresh.store.get("embeddings", "b").manifest["inputs"]) == ["cooccurrence/b"]


def test_run_all__without_ingest_takes_what_the_store_has(copy: Run, address: str) -> None:
    copy.file.write_text('store = "store"\n[pairs]\nthreshold = 0.8\n[merge]\nname = "whole"\n')
    found = copy.go(address)
    assert [sorted(s.fresh) for s in found] == [["kich", "prad", "stranger", "thca"], []]
    assert copy.store.get("cooccurrence", "whole").facts["datasets"] == 4
    assert [s.exit_code for s in found] == [3, 0]


def test_run_all__for_each_dataset_down_to_an_index(copy: Run, address: str) -> None:
    each = '\nfor_each = "dataset"\nname = "only-{dataset}"\n'
    copy.file.write_text(
        'store = "store"\n[ingest]\nfiles = ["tables/*.tsv"]\n[pairs]\nthreshold = 0.8\n'
        f'[merge]{each}datasets = ["{{dataset}}"]\n'
        f'[train]{each}from = "only-{{dataset}}"\nmethod = "svd"\ncomponents = 3\n[index]{each}'
    )
    found = copy.go(address)
    assert [s.names for s in found[2:]] == [[f"only-{name}" for name in sorted(TISSUES)]] * 3
    assert list(copy.store.get("embeddings", "only-thca").facts["datasets"]) == ["pairs/thca"]
    assert {state for _, _, state in states(copy)} == {"fresh", "refused", "quarantined"}


def test_run_all__for_each_dataset_needs_names_that_differ(copy: Run, address: str) -> None:
    copy.file.write_text(SPEC.replace('name = "only-{dataset}"', 'name = "one"'))
    with pytest.raises(SpecError, match=r"merge: cooccurrence/one would be made twice.*put \{dataset\} into its name"):
        copy.go(address)


# -- plans ----------------------------------------------------------------------------------------------------


def states(run: Run) -> list[tuple[str, str, str]]:
    return [(r["stage"], r["name"], r["state"]) for r in pipeline.plan_all(run.spec)]


def test_plan_all__before_anything_is_made(fresh: Run) -> None:
    fresh.file.write_text(
        SPEC.replace('[[merge]]\nfor_each = "dataset"\nname = "only-{dataset}"', '[[merge]]\nname = "x"')
    )
    rows = pipeline.plan_all(fresh.spec)
    assert [(r["stage"], r["name"], r["state"]) for r in rows] == [
        ("ingest", "kich", "todo"),
        ("ingest", "noise", "todo"),
        ("ingest", "prad", "todo"),
        ("ingest", "thca", "todo"),
        ("ingest", "small", "refused"),
        ("pairs", "*", "after ingest"),
        ("merge", "all", "after ingest"),
        ("merge", "x", "after ingest"),
        ("train", "by-svd", "after ingest"),
        ("train", "by-skipgram", "after ingest"),
        ("index", "by-svd", "after ingest"),
        ("index", "by-skipgram", "after ingest"),
    ]
    assert all(r["parts"] == 1 and r["bytes"] > 1 << 20 for r in rows[:4])
    assert not (fresh.folder / "store").exists()


def test_plan_all__for_each_before_anything_is_made(fresh: Run) -> None:
    rows = [(stage, state) for stage, _, state in states(fresh)]
    assert ("merge", "after ingest") in rows
    assert not (fresh.folder / "store").exists()


def test_plan_all__after_a_run(first: tuple[Run, list[Summary]]) -> None:
    run = first[0]
    before = sorted(run.store.root.desk.rglob("*"))
    found = states(run)
    assert sorted(found) == sorted(
        [(s.stage, name, "fresh") for s in first[1] for name in s.made]
        + [("ingest", "small", "refused"), ("pairs", "noise", "quarantined")]
    )
    assert sorted(run.store.root.desk.rglob("*")) == before


def test_plan_all__names_what_one_change_makes_due(copy: Run, counts: dict[str, pd.DataFrame]) -> None:
    table(copy.folder, "prad", counts["prad"].iloc[:, 10:45])
    copy.file.write_text(SPEC.replace('for_each = "dataset"\n', "").replace("{dataset}", "prad"))
    found = states(copy)
    assert found[:5] == [
        ("ingest", "kich", "fresh"),
        ("ingest", "noise", "fresh"),
        ("ingest", "prad", "todo"),
        ("ingest", "thca", "fresh"),
        ("ingest", "small", "refused"),
    ]
    assert {state for stage, _, state in found if stage != "ingest"} == {"after ingest"}


def test_plan_all__only_what_follows_a_change_waits(copy: Run) -> None:
    copy.file.write_text(SPEC.replace("iterations = 2", "iterations = 3"))
    found = states(copy)
    assert ("train", "by-svd", "fresh") in found
    assert ("train", "by-skipgram", "todo") in found
    assert ("index", "by-skipgram", "after train") in found
    assert ("merge", "only-kich", "fresh") in found


def test_plan_all__a_file_that_came_back(copy: Run, counts: dict[str, pd.DataFrame], address: str) -> None:
    copy.file.write_text(SPEC.partition("[[merge]]")[0].replace("0.8", "0.7"))
    table(copy.folder, "prad", counts["prad"].iloc[:, 10:45])
    copy.go(address)
    table(copy.folder, "prad", counts["prad"].iloc[:, :35])
    promised = states(copy)
    assert copy.work(copy.go(address)) == {"pairs": 1}
    assert ("pairs", "prad", "fresh") not in promised


# -- the ways to call it ----------------------------------------------------------------------------------------


def test_g2v_run__json_and_report(fresh: Run, address: str, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    answer = g2v("run", fresh.file, "--cluster", address, "--json", "-q", "--report", page)
    assert answer.code == 3, answer.err
    found = json.loads(answer.out)
    assert [s["stage"] for s in found] == STEPS
    assert sum(s["parts_run"] for s in found) == 4 + 3 + 4 + 2 + fresh.shards()
    assert found[2]["artifacts"]["all"]["datasets"] == 3
    assert found[1]["exit_code"] == 3
    html = page.read_text("utf-8")
    assert "<html" in html
    assert "execute-" in html or "pairs-" in html  # the tasks of this run
    told = g2v("plan", fresh.file, "--json")
    assert told.code == 0
    assert {r["state"] for r in json.loads(told.out)} == {"fresh", "refused", "quarantined"}
    assert "by-skipgram" in g2v("plan", fresh.file).out


def test_g2v_run__a_report_that_cannot_be_written_is_known_before_any_work(fresh: Run, address: str) -> None:
    page = fresh.file / "report.html"  # in a file
    answer = g2v("run", fresh.file, "--cluster", address, "-q", "--report", page)
    assert answer.code == 2
    assert str(page) in answer.err
    assert not list(fresh.folder.rglob("manifest.json"))


def test_jobs_run__is_what_people_submit(copy: Run, address: str) -> None:
    """From another folder: relative paths start at the spec file."""
    command = [sys.executable, str(ROOT / "jobs" / "run.py"), str(copy.file), "--json", "--cluster", address]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT.parent)
    assert done.returncode == 3, done.stderr
    assert {n for s in json.loads(done.stdout) for n in s["fresh"]} >= {"kich", "all", "by-svd"}
    assert not [s for s in json.loads(done.stdout) if s["made"]]


def test_run__from_python(fresh: Run, address: str) -> None:
    found = g2v_dask.run(fresh.file, cluster=address)
    assert [s["stage"] for s in found] == STEPS
    assert found[0]["quarantined"][0]["name"] == "small"
    opened = g2v_dask.open_store(fresh.folder / "store")
    best = opened.run.pairs(top_k=3, datasets=["kich", "noise"], cluster=address)
    assert (sorted(best["made"]), best["exit_code"]) == (["kich", "noise"], 0)
    assert best["artifacts"]["noise"]["rule"]["top_k"] == 3
    frame = opened.pairs("noise").compute()
    partners = pd.concat([frame["gene_a"], frame["gene_b"]]).value_counts()
    assert partners.min() >= 3
    near = [n.gene for n in opened.embedding("by-svd").similar("HLA-DPB1", k=5)]
    assert sum(gene.startswith("HLA-D") for gene in near) >= 3
    assert opened.run.index(name="by-svd", cluster=address)["fresh"] == ["by-svd"]
