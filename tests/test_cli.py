"""Commands as a user types them; every bad input gives one message, and nothing half written."""

import gzip
import json
import re
from pathlib import Path

import click
import numpy as np
import pytest

from g2v_dask import cli
from g2v_dask.cluster import connect
from g2v_dask.folders import LocalFolder, write_json
from g2v_dask.spec import ClusterSpec
from g2v_dask.store import Store
from tests import made
from tests.shell import g2v

README = Path(__file__).parents[1] / "README.md"
SYMBOLS = ["ACTB", "CD3E", "CD3D", "HLA-A", "RPL3", "RPL4", "TP53", "EGFR", "MYC", "GAPDH", "MS4A1", "CD19"]


def table(values: np.ndarray | None = None, *, samples: list[str] | None = None, genes: list[str] = SYMBOLS) -> str:
    """A small, good table of log2 values."""
    values = np.random.default_rng(1).uniform(3, 12, (len(genes), 30)) if values is None else values
    samples = [f"S{i}" for i in range(values.shape[1])] if samples is None else samples
    rows = ["\t".join([g, *(f"{v:.3f}" for v in row)]) for g, row in zip(genes, values, strict=True)]
    return "\n".join(["gene\t" + "\t".join(samples), *rows]) + "\n"


@pytest.fixture
def store(tmp_path):
    """A store with the pairs of three small datasets, their matrix, and an embedding."""
    opened = Store.open(tmp_path / "store", create=True)
    for seed, name in enumerate("abc"):
        made.expression(opened, name, made.correlated(30, 12, seed=seed, groups=2), sorted(SYMBOLS))
    return opened


@pytest.mark.parametrize("name", sorted(cli.cli.commands))
def test_commands__have_help_and_stand_in_the_readme(name):
    command = cli.cli.commands[name]
    assert command.help
    assert all(p.help for p in command.params if isinstance(p, click.Option))
    assert f"g2v {name}" in README.read_text("utf-8")
    assert g2v(name, "--help").code == 0


def test_stages__from_pairs_to_index_by_hand(store, address):
    where = ("--store", store.root.desk, "--cluster", address, "-q")
    assert g2v("pairs", *where, "--top-k", 3).code == 0
    merged = g2v("merge", *where, "--json")
    assert json.loads(merged.out)["artifacts"]["all"]["datasets"] == 3
    trained = g2v("train", *where, "--name", "v", "--method", "svd", "--components", 4)
    assert trained.code == 0, trained.err
    assert g2v("index", *where).code == 0
    found = json.loads(g2v("similar", "cd3e", "--store", store.root.desk, "-k", 2, "--json").out)
    assert len(found["cd3e"]) == 2
    again = json.loads(g2v("pairs", *where, "--top-k", 3, "--json").out)
    assert (again["made"], len(again["fresh"])) == ([], 3)
    shown = g2v("show", "embeddings/v", "--store", store.root.desk)
    assert "open_store" in shown.out
    listed = json.loads(g2v("ls", "--store", store.root.desk, "--json").out)
    assert {(r["kind"], r["name"]) for r in listed} >= {("pairs", "a"), ("index", "v")}
    assert g2v("rm", "index/v", "--store", store.root.desk).code == 0
    assert g2v("gc", "--store", store.root.desk, "--young-hours", 0).out == "deleted 1 folders\n"


def bad(
    content: str | bytes, message: str, *options: str, name: str = "x.tsv"
) -> tuple[str, bytes, str, tuple[str, ...]]:
    return name, content if isinstance(content, bytes) else content.encode(), message, options


GOOD = np.random.default_rng(2).uniform(3, 12, (12, 30))
HOLED = np.where(np.arange(30)[None, :] == 4, np.nan, GOOD)
INFINITE = np.where((np.arange(12)[:, None] == 3) & (np.arange(30) == 5), np.inf, GOOD)
COUNTS = np.random.default_rng(3).integers(0, 5000, (12, 30)).astype(float)
COUNTS[2, 3] = -4
SERIES = (
    '!Series_title\t"t"\n!Series_geo_accession\t"GSE9"\n!Series_platform_id\t"GPL96"\n!series_matrix_table_begin\n'
    + table(genes=[f"{i}_at" for i in range(12)]).replace("gene\t", "ID_REF\t")
    + "!series_matrix_table_end\n"
)

BAD_FILES = {
    "html": bad("<!DOCTYPE html>\n<html><body>404</body></html>\n", "HTML"),
    "unknown": bad(b"\x00\x01\x02\x03" * 99, "x.tsv"),
    "empty": bad("", "x.tsv"),
    "truncated gzip": bad(gzip.compress(table().encode())[:-40], "gzip", name="x.tsv.gz"),
    "ragged row": bad(table().replace("\nTP53\t", "\nTP53\t1.0\t"), "31"),
    "text in a number column": bad(re.sub(r"(\nEGFR\t)[\d.]+", r"\1high", table()), "high"),
    "duplicated samples": bad(table(samples=["S1"] * 2 + [f"T{i}" for i in range(28)]), "S1"),
    "no platform table": bad(SERIES, "GPL96", name="GSE9_series_matrix.txt"),
    "all-NaN column": bad(table(HOLED), "S4"),
    "infinite": bad(table(INFINITE), "inf"),
    "negative counts": bad(table(COUNTS), "-4", "--counts"),
    "one gene": bad(table(GOOD[:1], genes=["TP53"]), "gene"),
    "unknown genes": bad(table(genes=[f"thing{i}" for i in range(12)]), "thing0"),
    "too few samples": bad(table(GOOD[:, :7]), "7 samples, fewer than 30"),
    "empty series": bad(SERIES[: SERIES.index("0_at")] + "!series_matrix_table_end\n", "GSE9", name="GSE9.txt"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_ingest__a_bad_file_is_quarantined_and_the_good_one_goes_on(tmp_path, address, case):
    name, content, message, options = BAD_FILES[case]
    (tmp_path / name).write_bytes(content)
    (tmp_path / "good.tsv").write_text(table(np.abs(COUNTS) if "--counts" in options else None))
    store = tmp_path / "s"
    answer = g2v(
        "ingest",
        tmp_path / name,
        tmp_path / "good.tsv",
        "--store",
        store,
        "--cluster",
        address,
        "-q",
        *options,
    )
    assert answer.code == 3, answer.err
    opened = Store.open(store)
    assert opened.names("expression") == ["good"]
    (record,) = opened.quarantined()
    assert message in record["reason"]
    assert "Traceback" not in answer.err
    assert not [p for p in store.rglob("*") if ".partial" in p.name or p.suffix == ".tmp"]
    assert record["name"] in g2v("ls", "--quarantined", "--store", store).out


BAD_COMMANDS = {
    "no such file": (("ingest", "{tmp}/absent.tsv", "--store", "{tmp}/s"), 2, "no such file"),
    "store is a file": (("ingest", "{tmp}/good.tsv", "--store", "{tmp}/good.tsv"), 1, "is a file"),
    "two of one name": (
        ("ingest", "{tmp}/good.tsv", "{tmp}/sub/good.tsv", "--store", "{tmp}/s"),
        2,
        "two inputs",
    ),
    "newer store": (("ls", "--store", "{tmp}/newer"), 1, "has format 99; this g2v_dask reads format 1"),
    "no store": (("pairs", "--store", "{tmp}/none"), 1, "no store at"),
    "no --store": (("pairs",), 2, "--store"),
    "threshold and top-k": (
        ("pairs", "--store", "{store}", "--threshold", "0.5", "--top-k", "3"),
        2,
        "exclude",
    ),
    "threshold over 1": (("pairs", "--store", "{store}", "--threshold", "1.5"), 2, "from -1.0 to 1.0"),
    "unknown dataset": (("pairs", "--store", "{store}", "--datasets", "aa"), 2, "did you mean 'a'"),
    "unknown option": (("pairs", "--store", "{store}", "--treshold", "1"), 2, "--threshold"),
    "unknown method": (("train", "--store", "{store}", "--method", "glovve"), 2, "skipgram"),
    "unknown matrix": (("train", "--store", "{store}", "--from", "alll"), 2, "no cooccurrence named 'alll'"),
    "no pairs": (("merge", "--store", "{store}"), 2, "run 'g2v pairs' first"),
    "name with a slash": (("train", "--store", "{store}", "--name", "a/b"), 2, "a name is made of"),
    "name with dots": (("show", "pairs/..", "--store", "{store}"), 2, "a name is made of"),
    "unknown kind": (("show", "pears/a", "--store", "{store}"), 2, "did you mean 'pairs'"),
    "no embedding": (("similar", "TP53", "--store", "{store}"), 2, "none; make one first"),
    "no spec": (("run", "{tmp}/none.toml"), 2, "no such spec file"),
    "spec key": (("run", "{tmp}/bad.toml"), 2, "did you mean 'threshold'"),
    "no memory": (("pairs", "--store", "{store}", "--cluster", "{small}"), 1, "needs"),
    "no scheduler": (
        ("pairs", "--store", "{store}", "--cluster", "tcp://127.0.0.1:9"),
        1,
        "no scheduler answers",
    ),
    "strange cluster": (("pairs", "--store", "{store}", "--cluster", "yarn"), 2, "must be local, slurm"),
    "prefix": (("ingest", "{tmp}/good.tsv", "--store", "{tmp}/s", "--name-prefix", "../"), 2, "name-prefix"),
    "group without column": (
        ("ingest", "{tmp}/good.tsv", "--store", "{tmp}/s", "--samples", "{tmp}/good.tsv"),
        2,
        "group-by",
    ),
    "import of nothing": (
        ("import", "{tmp}/absent.txt", "--store", "{store}", "--name", "e"),
        2,
        "absent.txt",
    ),
}


@pytest.mark.parametrize("case", BAD_COMMANDS)
def test_commands__bad_usage_is_one_message_and_changes_nothing(tmp_path, store, case, request):
    words, code, message = BAD_COMMANDS[case]
    (tmp_path / "sub").mkdir()
    for folder in (tmp_path, tmp_path / "sub"):
        (folder / "good.tsv").write_text(table())
    write_json(LocalFolder(tmp_path / "newer"), "g2v.json", {"format": 99, "tile": 8})
    (tmp_path / "bad.toml").write_text('store = "store"\n[pairs]\ntreshold = 0.5\n')
    small = request.getfixturevalue("small_address") if "{small}" in words else ""
    before = sorted(p for p in store.root.desk.rglob("*") if p.name != ".lock")
    answer = g2v(*(w.format(tmp=tmp_path, store=store.root.desk, small=small) for w in words))
    assert answer.code == code, answer
    assert message in answer.err
    assert "Traceback" not in answer.err
    assert sorted(p for p in store.root.desk.rglob("*") if p.name != ".lock") == before
    if "{tmp}/s" in words:
        assert not list((tmp_path / "s").rglob("manifest.json"))


@pytest.fixture(scope="session")
def small_address():
    """A scheduler whose one worker has little more than its libraries take."""
    spec = ClusterSpec(workers=1, memory_bytes=310 << 20)
    with connect(spec) as small:
        yield small.client.scheduler.address


def test_environment__names_the_store(store, monkeypatch):
    monkeypatch.setenv("G2V_STORE", str(store.root.desk))
    assert "expression" in g2v("ls").out


def test_verbose__shows_where_an_error_came_from(tmp_path):
    assert "Traceback" in g2v("-v", "ls", "--store", tmp_path / "none").err
