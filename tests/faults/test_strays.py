"""What does not belong into a store: ls, verify, gc and a run pass it over, and gc leaves it where it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from g2v_dask import driver
from g2v_dask.folders import desks, inputs, open_folder
from g2v_dask.folders.s3 import S3Folder
from g2v_dask.spec import IndexSpec, MergeSpec, PairsSpec, TrainSpec
from g2v_dask.stages import index, merge, pairs, train
from g2v_dask.store import Store
from tests import buckets, made
from tests.shell import g2v

GENES = [f"G{i:02d}" for i in range(40)]
TRAINED = TrainSpec(name="e", method="svd", components=4)


def run(store: Store) -> list[driver.Summary]:
    """The stages after ingest."""
    steps = ((pairs, PairsSpec(threshold=0.5)), (merge, MergeSpec()), (train, TRAINED), (index, IndexSpec()))
    return [driver.here(stage, stage.plan(store, spec), store) for stage, spec in steps]


def scatter(store: Store) -> dict[str, bytes]:
    """Puts files where none of ours lie, by name."""
    pairs_of_a = store.get("pairs", "a")
    version = f"pairs/a/{pairs_of_a.digest[:12]}"
    part = (pairs_of_a.folder).read("data.parquet/part-0.parquet") or b""
    strays = {
        "notes.txt": b"beside the store's own",
        "my notes/a.txt": b"in a folder of somebody's",
        "models/e/HEAD": b"of a kind that there is not",
        "pairs/notes.txt": b"in a kind's folder",
        "pairs/.DS_Store": b"hidden",
        "pairs/0123456789ab": b"named as a version, in a kind's folder",
        "pairs/my copy/HEAD": b'{"digest": "' + pairs_of_a.digest.encode() + b'"}',
        f"pairs/my copy/{pairs_of_a.digest[:12]}/manifest.json": b"{}",
        "pairs/backup/a.parquet": part,
        "pairs/a/notes.txt": b"beside the versions",
        "pairs/a/0123456789ab": b"a file that is named as a version",
        "pairs/a/old version/a.parquet": part,
        f"{version}/notes.txt": b"beside the data",
        f"{version}/data.parquet/part-7.parquet": part,
        "embeddings/e/HEAD.old": b"{}",
        ".work/notes.txt": b"beside the work",
        ".quarantine/notes.txt": b"beside the records",
        ".quarantine/notes.json": b'{"no": "record"}',
        ".quarantine/pairs/my copy.json": b'{"no": "record"}',
        "geo/ledger/notes.json": b"{}",
        "geo/files/notes.txt": b"beside the matrices",
        "reports/notes.txt": b"beside the reports",
    }
    for name, content in strays.items():
        store.root.write(name, content)
    return strays


def told(store: str, *words: str, code: int = 0) -> object:
    answer = g2v(*words, "--store", store, "--json")
    assert answer.code == code, answer.err
    return json.loads(answer.out)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with buckets.serving() as there:
        yield there


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets, and all that is made of them."""
    root = tmp_path_factory.mktemp("filled") / "s"
    store = Store.open(root, create=True)
    for seed, name in enumerate("ab"):
        made.expression(store, name, made.correlated(30, len(GENES), seed=seed), GENES)
    run(store)
    return root


@pytest.fixture
def bucket(endpoint: str, filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The same store in a bucket, and a cache of its own."""
    monkeypatch.setenv("G2V_CACHE", str(tmp_path / "cache"))
    desks.desk.cache_clear()
    url = buckets.new_bucket(endpoint)
    local, there = open_folder(filled), open_folder(url)
    for name in local.sizes():
        there.write(name, local.read(name) or b"")
    return url


@pytest.fixture(params=["folder", "bucket"])
def url(request: pytest.FixtureRequest, filled: Path, tmp_path: Path) -> str:
    """The store, to be spoiled."""
    if request.param == "bucket":
        return str(request.getfixturevalue("bucket"))
    return str(shutil.copytree(filled, tmp_path / "s"))


def test_strays__are_passed_over_and_stay(url: str) -> None:
    store = Store.open(url)
    before = told(url, "ls"), told(url, "ls", "--quarantined")
    checked = told(url, "verify", "--deep", "-q")
    own = {name: store.root.read(name) for name in store.root.sizes() if name != ".lock"}
    strays = scatter(store)

    assert (told(url, "ls"), told(url, "ls", "--quarantined")) == before
    assert told(url, "verify", "--deep", "-q") == checked
    assert g2v("gc", "--store", url, "--young-hours", 0).out == "deleted 0 folders\n"
    assert {name: store.root.read(name) for name in store.root.sizes() if name != ".lock"} == {**own, **strays}
    assert told(url, "geo", "status") == []

    fresh = run(store)
    assert [s.fresh for s in fresh] == [["a", "b"], ["all"], ["e"], ["e"]]
    assert [s.parts_run for s in fresh] == [0, 0, 0, 0]


def test_strays__change_nothing_of_what_is_made_beside_them(filled: Path, tmp_path: Path) -> None:
    """Made again from the first pairs on: the same bytes, and the artifacts' own folders are swept."""
    store = Store.open(shutil.copytree(filled, tmp_path / "s"))
    kinds = ("pairs", "cooccurrence", "embeddings")
    own = {a.key: made.data_files(a.path) for kind in kinds for a in store.artifacts(kind)}
    strays = scatter(store)
    for key in own:
        kind, name = key.split("/")
        store.get(kind, name).folder.remove("manifest.json")
        (store.root / key).remove("HEAD")
    assert [s.made for s in run(store)[:3]] == [["a", "b"], ["all"], ["e"]]
    assert {key: made.data_files(store.get(*key.split("/")).path) for key in own} == own
    version = f"pairs/a/{store.get('pairs', 'a').digest[:12]}/"
    for name, content in strays.items():
        swept = name.startswith(version)
        assert store.root.read(name) == (None if swept else content), name


def test_gc__leaves_what_only_looks_like_work(url: str) -> None:
    """A file with a version's name is no version; an empty folder goes, as nobody's."""
    store = Store.open(url)
    store.root.write(".work/0123456789ab", b"a file")
    store.root.write("index/e/0123456789ab/part.faiss", b"of a run that was cut off")
    if store.root.is_local:
        (store.root.desk / "pairs" / "a" / "fedcba987654").mkdir()
        (store.root.desk / "old").mkdir()
        (store.root.desk / "link").symlink_to(store.root.desk / "old")
    many = 2 if store.root.is_local else 1
    assert g2v("gc", "--store", url, "--young-hours", 0).out == f"deleted {many} folders\n"
    assert store.root.read(".work/0123456789ab") == b"a file"
    assert (store.root / "index" / "e").names() == sorted(["HEAD", store.get("index", "e").digest[:12]])
    assert g2v("gc", "--store", url, "--young-hours", 0).out == "deleted 0 folders\n"
    assert "old" not in store.root.names()


def test_bucket__folders_that_a_console_made_are_no_files(bucket: str) -> None:
    """Consoles and mounts keep an empty object for a folder, whose key ends in a slash."""
    url, store = bucket, Store.open(bucket)
    there = S3Folder.of(url)
    client = boto3.client("s3", endpoint_url=there.endpoint)
    version = f"pairs/a/{store.get('pairs', 'a').digest[:12]}"
    for name in ("", "pairs", "pairs/a", version, f"{version}/data.parquet", ".work", ".work/0123456789ab", "inputs"):
        client.put_object(Bucket=there.bucket, Key=f"{there.key}/{name}".rstrip("/") + "/", Body=b"")
    store.root.write("inputs/one.tsv", b"1")
    assert [file.name for file in inputs.find([url.replace("?", "/inputs/*?")])] == ["one.tsv"]
    assert (open_folder(url) / version).sizes().keys() == {*store.get("pairs", "a").names, "manifest.json"}
    assert told(url, "verify", "--deep", "-q")["faults"] == []  # type: ignore[index]
    assert g2v("gc", "--store", url, "--young-hours", 0).out == "deleted 0 folders\n"
    store.get("pairs", "a").folder.remove("manifest.json")
    assert driver.here(pairs, pairs.plan(store, PairsSpec(threshold=0.5)), store).made == ["a"]
    store.remove("pairs", "a")
    assert g2v("gc", "--store", url, "--young-hours", 0).code == 0
