"""Versions of an embedding, from a GEO on this machine: what is redone, what is published, and what readers see."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from g2v_dask import query, schema
from g2v_dask.errors import SpecError
from g2v_dask.flows import pipeline, reprocess
from g2v_dask.folders import desks
from g2v_dask.progress import Display
from g2v_dask.report.reprocess import Outcome
from g2v_dask.spec import ClusterSpec, RunSpec
from g2v_dask.store import Store
from tests import buckets
from tests.data_paths import ROOT
from tests.geo import series
from tests.geo.series import Series
from tests.geo.server import Fault, Geo, serving
from tests.shell import g2v

pytestmark = pytest.mark.xdist_group("reprocess")  # the first version of a few series is made once

NOWHERE = "tcp://127.0.0.1:9"  # no scheduler: whoever asks for a cluster fails
STAGES = """
[pairs]
top_k = 10
[merge]
[train]
name = "genes"
method = "svd"
components = 8
[index]
"""
DONE = {"ingest": 2, "pairs": 2, "merge": 1, "train": 1, "index": 1}


@dataclass(frozen=True)
class Place:
    """A folder with a spec and its store, and the GEO that it asks."""

    folder: Path
    geo: Geo
    address: str

    @property
    def file(self) -> Path:
        return self.folder / "weekly.toml"

    @property
    def store(self) -> Store:
        return Store.open(self.folder / "store")

    def write(self, more: str = "", gate: str = "") -> None:
        """The spec, with more steps and bounds of the gate."""
        urls = "".join(f'{key} = "{url}"\n' for key, url in self.geo.settings.items())
        text = f'store = "store"\n[geo]\n{urls}tries = 1\n[gate]\n{gate}\n[ingest]\n{STAGES}{more}'
        self.file.write_text(text)

    def go(self, address: str | None = None) -> Outcome:
        cluster = ClusterSpec(address=self.address if address is None else address)
        return reprocess.run(RunSpec.load(self.file), cluster=cluster, display=Display(quiet=True))

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "g2v_dask.cli", "reprocess", str(self.file), "--cluster", self.address, *words]

    def heads(self) -> dict[str, str | None]:
        store = self.store
        return {f"{kind}/{name}": store.head(kind, name) for kind in schema.KINDS for name in store.names(kind)}

    def reports(self) -> list[str]:
        folder = self.folder / "store" / "reports"
        return sorted(os.listdir(folder)) if folder.exists() else []


def parts(outcome: Outcome) -> dict[str, int]:
    """Parts that ran, by stage."""
    return {s.stage: s.parts_run for s in outcome.stages if s.parts_run}


def few() -> tuple[Series, ...]:
    return series.twenty()[:4]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory, address: str) -> tuple[Path, Outcome]:
    """The first version of four series, and what its run said."""
    folder = tmp_path_factory.mktemp("reprocess")
    with serving() as geo:
        place = Place(folder, geo, address)
        place.write()
        series.serve(geo, *few())
        return folder, place.go()


@pytest.fixture
def place(first: tuple[Path, Outcome], tmp_path: Path, address: str) -> Iterator[Place]:
    """A copy of it, with a GEO that may change."""
    shutil.copytree(first[0], tmp_path / "copy")
    with serving() as geo:
        series.serve(geo, *few())
        place = Place(tmp_path / "copy", geo, address)
        place.write()
        yield place


def test_run__of_twenty_series_one_changed_one_new_one_gone(tmp_path: Path, address: str) -> None:
    with serving() as geo:
        place = Place(tmp_path, geo, address)
        place.write()
        series.serve(geo, *series.twenty())
        outcome = place.go()
        assert parts(outcome) == {"ingest": 20, "pairs": 20, "merge": 1, "train": 1, "index": 1}
        assert outcome.exit_code == 0

        changed, gone = series.twenty()[2].without(3), series.twenty()[6].accession
        series.serve(geo, changed, series.another())
        geo.remove(gone)
        before = place.heads()
        outcome = place.go()
        assert parts(outcome) == DONE
        told = {word: outcome.series[word] for word in ("new", "changed", "gone")}
        assert told == {"new": ["GSE910021"], "changed": [changed.accession], "gone": [gone]}
        assert outcome.datasets == told
        after = place.heads()
        touched = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        assert touched == {
            *(f"{kind}/{name}" for kind in ("expression", "pairs") for name in ("GSE910021", changed.accession, gone)),
            "cooccurrence/all",
            "embeddings/genes",
            "index/genes",
        }
        assert f"expression/{gone}" not in after
        assert f"pairs/{gone}" not in after
        merged = place.store.get("cooccurrence", "all").facts["samples"]
        assert merged == {
            s.accession: s.values.shape[1] for s in (*series.twenty(), changed, series.another()) if s.accession != gone
        }
        (kept,) = outcome.kept
        assert kept.overlap is not None
        assert 0.2 < kept.overlap < 1

        there = place.reports()
        outcome = place.go(NOWHERE)
        assert outcome.idle
        assert parts(outcome) == {}
        assert (place.heads(), place.reports()) == (after, there)


# -- the report ---------------------------------------------------------------------------------------------


def test_run__first_version_has_nothing_to_be_compared_with(first: tuple[Path, Outcome]) -> None:
    outcome = first[1]
    (markdown,) = (Path(f) for f in outcome.files if f.endswith(".md"))
    assert "genes: the first version, nothing to compare it with." in markdown.read_text()
    assert [k.overlap for k in outcome.kept] == [None]
    assert outcome.datasets["new"] == [s.accession for s in few()]


def overlap(old: query.Embedding, new: query.Embedding, k: int) -> dict[str, float]:
    """Of each gene, the naive way."""
    genes = sorted(set(old.genes.tolist()) & set(new.genes.tolist()))
    found = []
    for one in (old, new):
        rows = one.vectors[[one.genes.tolist().index(g) for g in genes]].astype(float)
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        cosines = unit @ unit.T
        np.fill_diagonal(cosines, -np.inf)
        found.append([set(np.argsort(-row, kind="stable")[:k].tolist()) for row in cosines])
    return {gene: len(a & b) / k for gene, a, b in zip(genes, *found, strict=True)}


def test_run__report_tells_what_moved(place: Place) -> None:
    old = query.open_embedding(place.store, "genes")
    series.serve(place.geo, few()[1].without(5))
    answer = g2v("reprocess", place.file, "--cluster", place.address, "--json", "--report-to", place.folder / "web")
    assert answer.code == 0, answer.err
    told = json.loads(answer.out)
    (kept,) = told["overlap"]
    naive = overlap(old, query.open_embedding(place.store, "genes"), 10)
    assert kept["overlap"] == pytest.approx(np.mean(list(naive.values())))
    assert kept["genes"] == len(naive)
    assert [m["overlap"] for m in kept["moved"]] == pytest.approx(sorted(naive.values())[:20])
    for moved in kept["moved"]:
        assert naive[moved["gene"]] == pytest.approx(moved["overlap"])
        assert len(set(moved["before"]) & set(moved["now"])) == round(10 * moved["overlap"])
    heads = {h["key"]: (h["before"], h["after"]) for h in told["heads"]}
    assert heads["embeddings/genes"] == (old.digest, place.store.head("embeddings", "genes"))
    assert {s["stage"]: s["parts_run"] for s in told["stages"]} == {**DONE, "ingest": 1, "pairs": 1}

    files = [Path(f) for f in told["files"]]
    assert {(f.parent.name, f.suffix) for f in files} == {
        (folder, ending) for folder in ("reports", "web") for ending in (".md", ".html", ".json")
    }
    assert json.loads(files[2].read_text()) == told
    assert files[0].read_text() == files[3].read_text()
    markdown, page = files[0].read_text(), files[1].read_text()
    for text in (few()[1].accession, kept["moved"][0]["gene"], "embeddings/genes", old.digest[:12]):
        assert text in markdown
        assert text in page
    picture = next(line for line in markdown.splitlines() if line.startswith("![")).rpartition("(")[2].rstrip(")")
    assert (files[0].parent / picture).read_bytes().startswith(b"\x89PNG")


def test_run__what_cannot_be_used_or_fetched_is_told(place: Place) -> None:
    strange = Series(
        accession="GSE910030",
        platform="GPL999",
        title="probes of nobody",
        values=few()[0].values.rename(index=lambda probe: f"{probe}_x_at"),
    )
    series.serve(place.geo, few()[2].without(2))
    place.geo.series("GSE910030", strange.matrix, platforms=("GPL999",))
    place.geo.records["GSE910031"] = {**place.geo.records["GSE910030"], "accession": "GSE910031", "uid": "200910031"}
    place.geo.always["GSE910031/matrix/"] = Fault(status=503)
    answer = g2v("reprocess", place.file, "--cluster", place.address, "-q")
    assert answer.code == 3
    assert "quarantined GSE910030" in answer.out
    assert "not fetched GSE910031" in answer.out
    (markdown,) = (f for f in place.reports() if f.endswith(".md") and f in answer.out)
    text = (place.folder / "store" / "reports" / markdown).read_text()
    assert "| GSE910030 | quarantined | ingest: " in text
    assert "| GSE910031 | not fetched | " in text


# -- the gate -----------------------------------------------------------------------------------------------


def test_run__gate_keeps_the_last_version(place: Place) -> None:
    before = place.heads()
    place.write(gate="least_overlap = 0.99")
    series.serve(place.geo, few()[1].without(5), series.another())
    gone = few()[3].accession
    place.geo.remove(gone)
    answer = g2v("reprocess", place.file, "--cluster", place.address, "-q")
    assert answer.code == 4
    assert place.heads() == before
    (page,) = (f for f in place.reports() if f.endswith(".html") and f in answer.out)
    text = (place.folder / "store" / "reports" / page).read_text()
    assert "less than least_overlap = 0.99. The last version stays." in text
    assert "<h1>Not published: " in text

    place.write(gate="least_overlap = 0.01")
    outcome = place.go(NOWHERE)  # all is made: it is only published
    assert outcome.exit_code == 0
    assert parts(outcome) == {}
    assert outcome.datasets == {"new": ["GSE910021"], "changed": [few()[1].accession], "gone": [gone]}
    after = place.heads()
    assert after["embeddings/genes"] != before["embeddings/genes"]
    assert f"pairs/{gone}" not in after
    assert place.go(NOWHERE).idle


def test_run__gate_counts_the_quarantined(place: Place) -> None:
    place.write(gate="most_quarantined = 0")
    before = place.heads()
    wrong = dataclasses.replace(few()[0], accession="GSE910030", platform="GPL97")
    series.serve(place.geo, few()[1].without(5))
    place.geo.series(wrong.accession, wrong.matrix, platforms=("GPL97",))
    outcome = place.go()
    assert outcome.exit_code == 4
    assert outcome.reasons == ["1 datasets are in quarantine, more than most_quarantined = 0"]
    assert place.heads() == before
    place.write(gate="most_quarantined = 1")
    assert place.go(NOWHERE).exit_code == 3
    assert place.heads() != before


def test_run__version_that_is_not_whole_is_not_published(place: Place) -> None:
    before = place.heads()
    text = place.file.read_text().replace("top_k = 10", "threshold = 1.0")
    place.file.write_text(text)
    outcome = place.go()
    assert outcome.exit_code == 4
    assert outcome.reasons == ["pairs left nothing to go on with"]
    assert place.heads() == before


def test_run__too_few_common_genes_for_k(place: Place) -> None:
    series.serve(place.geo, few()[1].without(5))
    place.write(gate="k = 100_000")
    assert place.go().exit_code == 0
    series.serve(place.geo, few()[1].without(6))
    place.write(gate="k = 100_000\nleast_overlap = 0.1")
    outcome = place.go()
    assert outcome.exit_code == 4
    assert outcome.reasons[0].startswith("genes: cannot be compared with the last version: k must be less than")


# -- the gate asks for figures ------------------------------------------------------------------------------

EVALUATE = """
[evaluate]
tasks = ["clusteredness"]
genesets = ["near.gmt"]
bootstrap = 20
"""
RATIO = "clusteredness ratio, published code"


def judging(place: Place, *bounds: str) -> None:
    """The spec, judged by a set of genes that are near each other in the version that is there."""
    file = place.folder / "near.gmt"
    if not file.exists():
        embedding = query.open_embedding(place.store, "genes")
        first = str(embedding.genes[0])
        near = [first, *(found.gene for found in embedding.similar(first, 9))]
        file.write_text("\t".join(["near", "-", *near]) + "\n")
    place.write(more=EVALUATE, gate=f"evaluation = {list(bounds)}\n")


def test_run__gate_asks_for_figures(place: Place) -> None:
    judging(place, f"genes: {RATIO} >= 1e6", f"{RATIO} on near >= -1e6", "clusteredness q >= 0")
    before = place.heads()
    answer = g2v("reprocess", place.file, "--cluster", place.address, "-q", "--json")
    assert answer.code == 4
    assert place.heads() == before
    told = json.loads(answer.out)
    value = {f["metric"]: f["value"] for f in told["evaluations"][0]["figures"]}["ratio, published code"]
    assert told["gate"]["reasons"] == [
        f"genes: {RATIO} is {value:.4f}, less than 1e+06",
        told["gate"]["reasons"][1],
    ]
    assert told["gate"]["reasons"][1].startswith("genes: no figure is 'clusteredness q'; of clusteredness there are: ")
    assert [(r["value"], bool(r["why"])) for r in told["reached"]] == [(value, True), (value, False), (None, True)]
    text = Path(told["files"][0]).read_text()
    assert f"| genes: {RATIO} &gt;= 1e+06 |" in text
    assert "# Pathway clusteredness: genes" in text
    assert "gate: genes: clusteredness ratio" in text

    judging(place, f"genes: {RATIO} >= {value - 0.001}")
    outcome = place.go(NOWHERE)  # all is made: it is only published
    assert outcome.exit_code == 0
    assert parts(outcome) == {}
    assert place.heads().keys() - before.keys() == {"evaluations/genes"}

    judging(place, f"genes: {RATIO} >= 1e6")
    assert place.go(NOWHERE).idle  # nothing is new, so there is nothing to hold back


def test_run__report_shows_the_figures_of_the_last_version_too(place: Place) -> None:
    judging(place)
    first = place.go()
    assert (first.judged[0].before, first.exit_code) == ((), 0)
    series.serve(place.geo, few()[1].without(5))
    outcome = place.go()
    (judged,) = outcome.judged
    assert judged.as_json()["before"] == first.judged[0].as_json()["figures"]
    assert judged.as_json()["figures"] != judged.as_json()["before"]
    text = Path(outcome.files[0]).read_text()
    assert text.count("# Pathway clusteredness: genes") == 2
    assert "# Pathway clusteredness: genes, the last version" in text
    assert outcome.reached == []


def test_run__gate_that_does_not_say_which_evaluation(place: Place) -> None:
    judging(place, f"other: {RATIO} >= 0")
    outcome = place.go()
    assert outcome.exit_code == 4
    assert outcome.reasons == [
        f"other: {RATIO} >= 0: name the evaluation, of those that this run has: genes",
    ]


def test_run__gate_asks_for_figures_that_no_step_makes(place: Place) -> None:
    place.write(gate=f'evaluation = ["{RATIO} >= 0"]')
    for words in ([], ["--plan"]):
        answer = g2v("reprocess", place.file, "--cluster", NOWHERE, *words)
        assert answer.code == 2
        assert "gate: evaluation needs a table [evaluate] in the spec" in answer.err


# -- readers, other runs, and the end of a process ----------------------------------------------------------


def test_run__readers_see_the_last_version_until_it_is_published(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    before, seen = place.heads(), []

    def compare(*args: Any) -> Any:
        seen.append(place.heads())
        return compared(*args)

    compared = reprocess.versions.compare
    monkeypatch.setattr(reprocess.versions, "compare", compare)
    series.serve(place.geo, few()[1].without(5))
    place.go()
    assert seen == [before]
    assert place.heads() != before


def test_run__killed_goes_on_where_it_was(tmp_path: Path, address: str) -> None:
    with serving() as geo:
        place = Place(tmp_path, geo, address)
        place.write()
        series.serve(geo, *few())
        run = subprocess.Popen(place.command("-q"), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while run.poll() is None and len(list(tmp_path.glob("store/expression/*/*/manifest.json"))) < 2:
                time.sleep(0.02)
        finally:
            run.send_signal(signal.SIGKILL)
            run.wait()
        assert place.heads() == {}
        answer = subprocess.run(place.command("--json", "-q"), cwd=ROOT, capture_output=True, text=True, check=True)
        told = json.loads(answer.stdout)
        stages = {s["stage"]: s for s in told["stages"]}
        assert stages["ingest"]["parts_run"] <= 3
        assert stages["ingest"]["parts_run"] + stages["ingest"]["parts_resumed"] + len(stages["ingest"]["fresh"]) == 4
        assert told["datasets"]["new"] == [s.accession for s in few()]
        assert place.go(NOWHERE).idle


def test_run__two_at_once(place: Place) -> None:
    with place.store.lock():
        refused = subprocess.run(place.command("-q"), cwd=ROOT, capture_output=True, text=True, check=False)
        assert refused.returncode == 1
        assert "is in use by process" in refused.stderr
        waiting = subprocess.Popen(place.command("-q", "--wait"), cwd=ROOT, stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(3)
    out, _ = waiting.communicate()
    assert waiting.returncode == 0
    assert "nothing new" in out


def test_run__failed_search_leaves_the_last_version(place: Place) -> None:
    before = place.heads()
    place.geo.always["esearch.fcgi"] = Fault(status=500)
    answer = g2v("reprocess", place.file, "--cluster", NOWHERE, "-q")
    assert answer.code == 1
    assert "the search failed" in answer.err
    assert place.heads() == before


def test_run__in_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("G2V_CACHE", str(tmp_path / "cache"))
    desks.desk.cache_clear()
    with buckets.serving() as endpoint, serving() as geo:
        place = Place(tmp_path, geo, NOWHERE)
        place.write()
        url = buckets.new_bucket(endpoint)
        place.file.write_text(place.file.read_text().replace('"store"', f'"{url}"'))
        here = ClusterSpec(workers=1, memory_bytes=4 << 30)  # one that has the keys
        series.serve(geo, *few()[:3])
        told = [reprocess.run(RunSpec.load(place.file), cluster=here, display=Display(quiet=True))]
        series.serve(geo, few()[1].without(5))
        geo.remove(few()[2].accession)
        told += [
            reprocess.run(
                RunSpec.load(place.file), cluster=here, display=Display(quiet=True), copies=str(tmp_path / "web")
            )
        ]
        told += [reprocess.run(RunSpec.load(place.file), cluster=here, display=Display(quiet=True))]
        assert [parts(outcome) for outcome in told] == [
            {"ingest": 3, "pairs": 3, "merge": 1, "train": 1, "index": 1},
            {"ingest": 1, "pairs": 1, "merge": 1, "train": 1, "index": 1},
            {},
        ]
        assert [outcome.idle for outcome in told] == [False, False, True]
        store = Store.open(url)
        assert store.names("pairs") == [s.accession for s in few()[:2]]
        folder = store.root / "reports"
        assert {f for outcome in told for f in outcome.files if f.startswith("s3://")} == {
            (folder / name).url for name in folder.names() if not name.endswith(".png")
        }
        assert len(list((tmp_path / "web").glob("*.html"))) == 1
        assert not any(buckets.SECRET.encode() in (folder.read(name) or b"") for name in folder.names())


# -- other steps, other commands ----------------------------------------------------------------------------

MORE = """
[kmeans]
k = 3
[map]
method = "pca"
[report]
similar = ["ACTB"]
figure = "map.png"
"""


def test_run__all_steps(place: Place) -> None:
    place.write(more=MORE, gate="least_overlap = 0.99")
    series.serve(place.geo, few()[1].without(5))
    assert place.go().exit_code == 4
    assert not (place.folder / "map.png").exists()  # shows what is published
    place.write(more=MORE)
    outcome = place.go()
    assert outcome.exit_code == 0
    assert {h.key for h in outcome.heads} >= {"groups/genes", "maps/genes"}
    assert (place.folder / "map.png").exists()
    assert "Map of genes" in (place.folder / "store" / "reports" / place.reports()[-1]).with_suffix(".md").read_text()


def test_run__each_dataset(place: Place) -> None:
    place.write(more='[[merge]]\nfor_each = "dataset"\nname = "only-{dataset}"\ndatasets = ["{dataset}"]\n')
    place.file.write_text(
        place.file.read_text().replace("[merge]\n", "[[merge]]\n").replace('"genes"', '"genes"\nfrom = "all"')
    )
    outcome = place.go()
    assert {h.key for h in outcome.heads} == {f"cooccurrence/only-{s.accession}" for s in few()}


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (s.st_mtime_ns, s.st_size) for p in folder.rglob("*") for s in [p.stat()]}


def test_plan__writes_nothing(place: Place) -> None:
    series.serve(place.geo, series.another())
    before = tree(place.folder)
    told = reprocess.plan(RunSpec.load(place.file))
    assert {row["accession"]: row["state"] for row in told["series"]} == {
        **{s.accession: "fetched" for s in few()},
        "GSE910021": "new",
    }
    assert {row["state"] for row in told["stages"]} == {"fresh"}
    answer = g2v("reprocess", place.file, "--plan")
    assert answer.code == 0
    assert "series: 4 fetched, 1 new" in answer.out
    assert "GSE910021" in answer.out
    assert "of what is fetched already: 11 fresh, 0 to do" in answer.out
    assert tree(place.folder) == before


def test_plan__of_no_store_yet(tmp_path: Path) -> None:
    with serving() as geo:
        place = Place(tmp_path, geo, NOWHERE)
        place.write()
        series.serve(geo, *few()[:2])
        told = reprocess.plan(RunSpec.load(place.file))
    assert [row["state"] for row in told["series"]] == ["new", "new"]
    assert {row["state"] for row in told["stages"]} == {"after fetch"}
    assert os.listdir(tmp_path) == ["weekly.toml"]


def test_run_all__takes_what_the_ledger_has(place: Place) -> None:
    series.serve(place.geo, series.another())
    spec = RunSpec.load(place.file)
    summaries = pipeline.run_all(spec, cluster=ClusterSpec(address=NOWHERE), display=Display(quiet=True))
    assert summaries[0].fresh == [s.accession for s in few()]
    assert not any(s.parts_run for s in summaries)


def test_run_all__with_nothing_fetched(tmp_path: Path) -> None:
    with serving() as geo:
        place = Place(tmp_path, geo, NOWHERE)
        place.write()
        with pytest.raises(SpecError, match="has no series of GEO yet; 'g2v reprocess"):
            pipeline.run_all(RunSpec.load(place.file), display=Display(quiet=True))
    assert os.listdir(tmp_path) == ["weekly.toml"]


def test_run__needs_to_be_told_which_series(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('store = "store"\n[ingest]\nfiles = ["a.tsv"]\n')
    answer = g2v("reprocess", file)
    assert answer.code == 2
    assert "reprocess needs a table [geo]" in answer.err
    assert os.listdir(tmp_path) == ["run.toml"]


def test_reprocess__report_to_that_cannot_be_written(place: Place) -> None:
    (place.folder / "web").write_text("a file")
    series.serve(place.geo, few()[1].without(5))
    before = place.heads()
    answer = g2v("reprocess", place.file, "--cluster", place.address, "-q", "--report-to", place.folder / "web")
    assert answer.code == 2
    assert "report-to must be a folder" in answer.err
    assert place.heads() == before


# -- the spec -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[geo]", r"spec: \[geo\] needs a table \[ingest\], which may be empty"),
        ('[gate]\n[ingest]\nfiles = ["a"]', r"spec: \[gate\] needs a table \[geo\]"),
        ("geo = 1\n[ingest]", "spec: geo must be a table, got 1"),
        ("[geo]\nplatfrom = []\n[ingest]", "geo: unknown key 'platfrom'; did you mean 'platform'"),
        ("[geo]\n[ingest]\nfiles = []", "ingest: files must name at least one file"),
        ("[geo]\n[gate]\nleast_overlap = 2\n[ingest]", "gate: least_overlap must be from 0.0 to 1.0, got 2.0"),
        ("[geo]\n[gate]\nmost_quarantined = -1\n[ingest]", "gate: most_quarantined must be at least 0, got -1"),
        ("[geo]\n[gate]\nevaluation = ['x']\n[ingest]", r"gate: evaluation must be '\[NAME:\] FIGURE >= NUMBER'"),
        ("[geo]\n[[ingest]]", "spec: ingest must be one table, not an array"),
        ("[ingest]", "ingest: files must be given"),
    ],
)
def test_spec__wrong_tables(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "run.toml"
    file.write_text(f'store = "store"\n{text}\n')
    with pytest.raises(SpecError, match=message):
        RunSpec.load(file)


def test_with_series__own_files_and_platforms_stay(tmp_path: Path) -> None:
    def ingest(values: dict[str, Any]) -> Any:
        spec = RunSpec.build({"store": "s", "geo": {}, "ingest": values}, base=tmp_path)
        ((_, made),) = spec.with_series(["/geo/a.gz", "s3://b/c.gz"], "/geo/platforms").steps[0].specs([])
        return made

    plain = ingest({})
    assert (plain.files, plain.platforms) == (("/geo/a.gz", "s3://b/c.gz"), "/geo/platforms")
    own = ingest({"files": "own/*.gz", "platforms": "mine"})
    assert own.files == (f"{tmp_path}/own/*.gz", "/geo/a.gz", "s3://b/c.gz")
    assert own.platforms == f"{tmp_path}/mine"


@pytest.mark.parametrize("name", ["gene2vec", "reprocess"])
def test_spec__jobs_ask_for_the_series_of_the_paper(name: str) -> None:
    spec = RunSpec.load(ROOT / "jobs" / f"{name}.toml")
    assert spec.geo is not None
    assert (spec.geo.platform, spec.geo.organism, spec.geo.min_samples) == (("GPL570",), "Homo sapiens", 30)
    shown = ["map"] if name == "gene2vec" else []
    assert [s.stage for s in spec.steps] == ["ingest", "pairs", "merge", "train", "index", *shown]


def test_job__is_the_command(tmp_path: Path) -> None:
    words = [sys.executable, "jobs/reprocess.py", str(tmp_path / "none.toml")]
    answer = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert "no such spec file" in answer.stderr
