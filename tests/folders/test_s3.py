"""A store in a bucket, against a real server, with writers and readers in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from g2v_dask.errors import SpecError, StoreError
from g2v_dask.folders import desks, open_folder
from g2v_dask.folders.s3 import S3Folder
from g2v_dask.store import Store
from tests import buckets

LEASE_SECONDS = 2.0
WAIT_SECONDS = 60.0

WRITER = """
import sys, time
from g2v_dask.folders import lease
lease.LEASE_SECONDS = {lease}
from g2v_dask.errors import G2VError
from g2v_dask.store import Artifact, Store
store = Store.open(sys.argv[1], create=True)
try:
    with store.lock():
        print("held", flush=True)
        word = sys.stdin.readline().strip()
        folder = store.folder("pairs", "x", word * 64)
        folder.write("data.txt", word.encode())
        entry = dict(path="data.txt", bytes=1, sha256="", part=0)
        made = dict(at="2026-01-01T00:00:00Z")
        manifest = dict(digest=word * 64, title="x", inputs=dict(), facts=dict(), files=[entry], made=made)
        artifact = Artifact(kind="pairs", name="x", digest=word * 64, folder=folder, manifest=manifest)
        tag = store.head_tag("pairs", "x")
        print("ready", flush=True)
        sys.stdin.readline()
        store.commit(artifact, tag=tag)
        print("committed", flush=True)
except G2VError as error:
    print(f"refused: {{error}}", flush=True)
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with buckets.serving() as there:
        yield there


@pytest.fixture
def url(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store that is to be, and a cache of its own."""
    monkeypatch.setenv("G2V_CACHE", str(tmp_path / "cache"))
    desks.desk.cache_clear()
    return buckets.new_bucket(endpoint)


class Writer:
    """A process that takes the lock, and commits when told to."""

    def __init__(self, url: str) -> None:
        code = WRITER.format(lease=LEASE_SECONDS)
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, "-c", code, url], stdin=pipe, stdout=pipe, text=True)

    def hears(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, word: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def writers(url: str) -> Iterator[list[Writer]]:
    """The first of them."""
    started = [Writer(url)]
    try:
        yield started
    finally:
        for writer in started:
            writer.end()


# -- URLs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3://key:secret@bucket/x",
        "s3://bucket/x?endpoint_url=https://key:secret@host",
        "s3://bucket/x?endpoint_url=ftp://host",
        "s3://bucket/x?region=eu",
    ],
)
def test_of__refuses_what_is_no_plain_url_and_repeats_no_secret(url: str) -> None:
    with pytest.raises(SpecError) as caught:
        S3Folder.of(url)
    assert "secret" not in str(caught.value)


def test_url__names_the_same_folder_again() -> None:
    url = "s3://bucket/a/b?endpoint_url=https://host:9000"
    assert open_folder(url).url == url
    assert (open_folder(url) / "c" / "d").url == "s3://bucket/a/b/c/d?endpoint_url=https://host:9000"
    assert open_folder((open_folder(url) / "c").url) == open_folder(url) / "c"


# -- files ----------------------------------------------------------------------------------------------------


def test_folder__reads_writes_lists_and_removes(url: str) -> None:
    folder = open_folder(url)
    assert (folder.names(), folder.sizes(), folder.read("a"), folder.tag("a"), folder.age()) == (
        [],
        {},
        None,
        None,
        None,
    )
    folder.write("a", b"1")
    (folder / "b").write("c", b"22")
    (folder / "b").write("d/e", b"333")
    assert folder.names() == ["a", "b"]
    assert folder.sizes() == {"a": 1, "b/c": 2, "b/d/e": 3}
    assert (folder / "b").read("c") == b"22"
    age = folder.age()
    assert age is not None
    assert -2 < age < WAIT_SECONDS
    (folder / "b").keep_only(["c"])
    folder.remove("a", "not there")
    assert folder.sizes() == {"b/c": 2}
    (folder / "b").clear()
    assert folder.sizes() == {}


def test_fetch__copies_are_those_of_a_mark(url: str) -> None:
    folder = open_folder(url)
    folder.write("a", b"one")
    first = folder.marked("m1")
    assert first.fetch("a").read_bytes() == b"one"
    folder.write("a", b"two")
    assert first.fetch("a").read_bytes() == b"one"
    assert folder.marked("m2").fetch("a").read_bytes() == b"two"
    first.leave()
    assert first.fetch("a").read_bytes() == b"two"
    with pytest.raises(FileNotFoundError):
        first.fetch("a", "b")
    assert [p.name for p in first.desk.iterdir()] == ["a"]


def test_send__many_at_once(url: str) -> None:
    folder = open_folder(url)
    names = [f"x/{n}" for n in range(40)]
    for name in names:
        (folder.desk / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.desk / name).write_text(name)
    folder.send(*names)
    assert folder.together(folder.read, names) == [n.encode() for n in names]


def test_replace__only_what_was_not_changed_meanwhile(url: str) -> None:
    folder = open_folder(url)
    folder.replace("HEAD", b"1", None)
    with pytest.raises(StoreError, match="HEAD was changed by another writer meanwhile"):
        folder.replace("HEAD", b"2", None)
    tag = folder.tag("HEAD")
    folder.replace("HEAD", b"2", tag)
    with pytest.raises(StoreError, match="HEAD was changed by another writer meanwhile"):
        folder.replace("HEAD", b"3", tag)
    assert folder.read("HEAD") == b"2"
    folder.replace("HEAD", b"2", tag)  # as when the answer to a PUT was lost, and it is tried again


def test_send__a_killed_upload_leaves_nothing_visible(url: str) -> None:
    """Killed after the first of its pieces."""
    code = f"""
import sys
from g2v_dask.folders import open_folder, s3
s3._ONE_THREAD.multipart_threshold = s3._ONE_THREAD.multipart_chunksize = 5 << 20
folder = open_folder({url!r})
folder.desk.mkdir(parents=True)
(folder.desk / "large").write_bytes(bytes(400 << 20))
print("go", flush=True)
folder.send("large")
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        folder = S3Folder.of(url)
        client = boto3.client("s3", endpoint_url=folder.endpoint)
        wait_for(lambda: any(_pieces(client, folder)))
    finally:
        child.kill()
        child.communicate()
    assert folder.sizes() == {}
    assert folder.read("large") is None


def _pieces(client: object, folder: S3Folder) -> Iterator[object]:
    uploads = client.list_multipart_uploads(Bucket=folder.bucket).get("Uploads", [])  # type: ignore[attr-defined]
    for upload in uploads:
        which = {"Bucket": folder.bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]}
        yield from client.list_parts(**which).get("Parts", [])  # type: ignore[attr-defined]


def wait_for(happened: object) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not happened():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


# -- the lock -------------------------------------------------------------------------------------------------


def test_lock__one_writer_and_it_says_who(url: str, writers: list[Writer]) -> None:
    assert writers[0].hears() == "held"
    with pytest.raises(StoreError, match=rf"in use by process {writers[0].process.pid} on .*; wait for it"), lock(url):
        pass
    writers[0].tell("a")
    writers[0].hears()
    writers[0].tell()
    assert writers[0].hears() == "committed"
    writers[0].process.wait()
    with lock(url):  # given back
        assert Store.open(url).names("pairs") == ["x"]


def lock(url: str):  # noqa: ANN201
    return Store.open(url, create=True).lock()


TAKER = """
import sys, time
from g2v_dask.folders import lease
from g2v_dask.errors import StoreError
from g2v_dask.store import Store
lease.LEASE_SECONDS = 5.0
time.time = lambda: 4e9  # a client whose clock is decades off
store = Store.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    with store.lock():
        print("taken", flush=True)
except StoreError as error:
    print(error, flush=True)
with store.lock(wait=True):
    print("taken", flush=True)
"""


def test_lock__of_a_dead_process_is_taken_over_when_it_is_old_by_the_services_clock(
    url: str, writers: list[Writer]
) -> None:
    assert writers[0].hears() == "held"
    pipe = subprocess.PIPE
    taker = subprocess.Popen([sys.executable, "-c", TAKER, url], stdin=pipe, stdout=pipe, text=True)
    try:
        assert taker.stdout is not None
        taker.stdout.readline()
        writers[0].end()
        out, _ = taker.communicate("try\n", timeout=WAIT_SECONDS)
        refused, taken = out.splitlines()
        assert f"in use by process {writers[0].process.pid}" in refused
        assert "it counts as dead after 5 s" in refused
        assert taken == "taken"
    finally:
        taker.kill()
        taker.communicate()


def test_commit__by_a_writer_that_lost_its_lock_is_refused(url: str, writers: list[Writer]) -> None:
    """Stopped for longer than its lease, as by a laptop that sleeps; another writes meanwhile."""
    first = writers[0]
    assert first.hears() == "held"
    first.tell("a")
    assert first.hears() == "ready"
    first.process.send_signal(signal.SIGSTOP)
    time.sleep(LEASE_SECONDS + 1.5)  # Last-Modified has whole seconds
    writers.append(Writer(url))
    second = writers[1]
    assert second.hears() == "held"
    second.tell("b")
    assert second.hears() == "ready"
    second.tell()
    assert second.hears() == "committed"
    first.process.send_signal(signal.SIGCONT)
    first.tell()
    assert "was taken over" in first.hears()
    assert Store.open(url).head("pairs", "x") == "b" * 64


def test_commit__without_the_lock_in_time_loses_by_the_tag_of_head(url: str) -> None:
    """Should both have passed the lock's check, HEAD still moves once."""
    store = Store.open(url, create=True)
    tag = store.head_tag("pairs", "x")
    store.point("pairs", "x", "a" * 64, tag=tag)
    with pytest.raises(StoreError, match="changed by another writer"):
        store.point("pairs", "x", "b" * 64, tag=tag)


def test_reader__in_another_process_sees_a_commit_at_once(url: str, writers: list[Writer]) -> None:
    writer = writers[0]
    assert writer.hears() == "held"
    code = """
import sys
from g2v_dask.store import Store
store = Store.open(sys.argv[1])
for _ in sys.stdin:
    print(*(f"{a.name}={a.path.joinpath('data.txt').read_text()}" for a in store.artifacts("pairs")), flush=True)
"""
    pipe = subprocess.PIPE
    reader = subprocess.Popen([sys.executable, "-c", code, url], stdin=pipe, stdout=pipe, text=True)
    try:
        assert reader.stdin is not None
        assert reader.stdout is not None
        seen = []
        for step in ("a", "", None):
            reader.stdin.write("look\n")
            reader.stdin.flush()
            seen.append(reader.stdout.readline().strip())
            if step is not None:
                writer.tell(step)
                writer.hears()
        assert seen == ["", "", "x=a"]
    finally:
        reader.kill()
        reader.communicate()


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
def test_lock__a_service_without_conditional_writes_is_refused(url: str, endpoint: str, header: str) -> None:
    with buckets.without(header, endpoint) as deaf:
        other = url.replace(endpoint, deaf)
        with pytest.raises(StoreError, match=f"takes no heed of {header} in PUT"), lock(other):
            pass
    assert [n for n in open_folder(url).names() if n.startswith(".probe")] == []


# -- errors ---------------------------------------------------------------------------------------------------


def test_open__no_bucket_no_server_no_credentials(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="NoSuchBucket: make the bucket"):
        Store.open(url.replace("s3://genes-", "s3://no-genes-"))
    for name in buckets.ENVIRONMENT:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    code = "import sys; from g2v_dask.store import Store; Store.open(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, env={**os.environ})
    assert "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE" in done.stderr
