import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from g2v_dask.errors import SpecError, StoreError
from g2v_dask.files import digest_of, file_sha256, write_file
from g2v_dask.folders import LocalFolder, write_json
from g2v_dask.store import Artifact, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "s", create=True)


def make(store: Store, kind: str, name: str, text: str, inputs: dict[str, str] | None = None) -> Artifact:
    """Commits a one-file artifact."""
    digest = digest_of([kind, name, text, inputs])
    folder = store.folder(kind, name, digest)
    folder.write("data.txt", text.encode())
    entry = {"path": "data.txt", "bytes": len(text), "sha256": file_sha256(folder.fetch("data.txt")), "part": 0}
    manifest = {
        "digest": digest,
        "title": f"The {name}",
        "inputs": inputs or {},
        "facts": {},
        "files": [entry],
        "made": {"at": "2026-01-01T00:00:00Z"},
    }
    artifact = Artifact(kind=kind, name=name, digest=digest, folder=folder, manifest=manifest)
    store.commit(artifact, tag=store.head_tag(artifact.kind, artifact.name))
    return artifact


def test_open__refuses_a_file_and_a_strange_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="is a file"):
        Store.open(tmp_path / "file", create=True)
    with pytest.raises(StoreError, match=r"holds 'file' and no g2v.json"):
        Store.open(tmp_path, create=True)
    with pytest.raises(StoreError, match="there is nothing"):
        Store.open(tmp_path / "absent")
    with pytest.raises(StoreError, match="s3://"):
        Store.open("s3://bucket/x")


def test_open__imagined_store_writes_nothing(tmp_path: Path) -> None:
    assert Store.open(tmp_path / "s", imagine=True).names("pairs") == []
    assert not (tmp_path / "s").exists()


def test_open__newer_format_is_refused_with_both_numbers(store: Store) -> None:
    write_json(store.root, "g2v.json", {"format": 99, "tile": 8})
    with pytest.raises(StoreError, match=r"has format 99; this g2v_dask reads format 1\."):
        Store.open(store.root.desk)


def test_commit__makes_it_current_and_removes_strays(store: Store) -> None:
    first = make(store, "pairs", "x", "one")
    stray = store.folder("pairs", "x", digest_of(["pairs", "x", "two", None])).desk / "data.txt.partial"
    write_file(stray, b"left over")
    second = make(store, "pairs", "x", "two")
    assert not stray.exists()
    assert store.get("pairs", "x") == second
    assert store.get("pairs", "The x") == second
    assert store.committed("pairs", "x", first.digest) == first


@pytest.mark.parametrize(("harm", "message"), [("unlink", "is missing"), ("flip", "is damaged"), ("cut", "is damaged")])
def test_commit__refuses_damaged_parts(store: Store, harm: str, message: str) -> None:
    good = make(store, "pairs", "x", "data")
    (good.path / "manifest.json").unlink()
    (store.root.desk / "pairs" / "x" / "HEAD").unlink()
    file = good.path / "data.txt"
    {"unlink": file.unlink, "flip": lambda: file.write_text("dAta"), "cut": lambda: file.write_text("d")}[harm]()
    with pytest.raises(StoreError, match=message):
        store.commit(good, tag=store.head_tag(good.kind, good.name))
    assert store.names("pairs") == []


def test_get__unknown_name_lists_what_there_is(store: Store) -> None:
    make(store, "pairs", "GSE1", "x")
    with pytest.raises(SpecError, match=r"no pairs named 'GSE2'.*did you mean 'GSE1'.*there are: GSE1"):
        store.get("pairs", "GSE2")


def test_only__needs_a_name_where_there_are_several(store: Store) -> None:
    with pytest.raises(SpecError, match="none; make one first"):
        store.only("embeddings", None)
    make(store, "embeddings", "a", "x")
    assert store.only("embeddings", None).name == "a"
    make(store, "embeddings", "b", "x")
    with pytest.raises(SpecError, match="2: a, b"):
        store.only("embeddings", None)


def test_gc__keeps_what_a_head_reaches_and_young_work(store: Store) -> None:
    old = make(store, "expression", "x", "old")
    pairs = make(store, "pairs", "x", "p", inputs={old.key: old.digest})
    new = make(store, "expression", "x", "new")
    dropped = make(store, "index", "i", "gone")
    store.remove("index", "i")
    write_json(store.work("a" * 64), "owner.json", {"token": "t"})
    gone = store.gc()
    assert gone == [str(dropped.path)]
    assert old.path.exists()
    assert new.path.exists()
    assert pairs.path.exists()
    assert store.work("a" * 64).desk.exists()
    time.sleep(0.01)
    store.gc(young_seconds=0)
    assert not store.work("a" * 64).desk.exists()


def test_lock__one_writer_and_it_says_who(store: Store) -> None:
    code = (
        "import sys, time\nfrom g2v_dask.store import Store\n"
        "with Store.open(sys.argv[1]).lock():\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(store.root.desk)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=f"in use by process {holder.pid}"), store.lock():
            pass
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with store.lock():  # it died with its holder
        assert str(os.getpid()) in (store.root.desk / ".lock").read_text()


def test_read__damaged_json_names_the_file(store: Store) -> None:
    make(store, "pairs", "x", "data")
    (store.root.desk / "pairs" / "x" / "HEAD").write_text("{half")
    with pytest.raises(StoreError, match="HEAD is not readable as JSON"):
        store.get("pairs", "x")


def test_write_json__is_whole_or_absent(tmp_path: Path) -> None:
    write_json(LocalFolder(tmp_path), "a.json", {"b": 1})
    assert json.loads((tmp_path / "a.json").read_text()) == {"b": 1}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(LocalFolder(tmp_path), "c.json", {"b": float("nan")})
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]
