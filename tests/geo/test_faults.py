"""What GEO and the disk do wrong: the batch ends, the ledger tells, the next run heals."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from g2v_dask.errors import StoreError
from g2v_dask.folders import Folder, open_folder
from g2v_dask.geo import download, web
from g2v_dask.geo.fetch import Fetched, fetch, inputs
from g2v_dask.geo.ledger import Ledger, State
from g2v_dask.geo.web import Web, WebError
from g2v_dask.geo_spec import GeoSpec
from tests.geo import parts
from tests.geo.server import Fault, Geo, Request
from tests.shell import g2v

FILE = "GSE55235_series_matrix.txt.gz"
whole = partial(parts.matrix, rows=2000)  # of the real file's 22,283
NAME = f"series/GSE55nnn/GSE55235/matrix/{FILE}"
FAULTS = {
    "403": (Fault(status=403), "403"),
    "429": (Fault(status=429, after="0"), "429"),
    "500": (Fault(status=500), "500"),
    "503": (Fault(status=503, after="0"), "503"),
    "hang": (Fault(hang=True), "no answer in time"),
    "drip": (Fault(drip=True), "slower than|no answer in time"),
    "reset": (Fault(reset_at=1000), "connection broken off"),
    "truncated": (Fault(end_at=1000), "connection broken off|expected .* bytes, got"),
    "html": (Fault(html=True), "HTML came"),
    "longer": (Fault(length=7), "connection broken off|expected .* bytes, got|416"),
    "shorter": (Fault(length=-7), "truncated or damaged gzip"),
    "corrupt": (Fault(flip=3000), "damaged gzip"),
}


def run(geo: Geo, root: Folder, *accessions: str, **options: object) -> Fetched:
    spec = GeoSpec(**{"timeout_seconds": 0.5, "tries": 3, "accessions": accessions, **geo.settings, **options})
    return fetch(root, spec, (), say=lambda _: None)


def files_of(root: Folder) -> list[str]:
    """All files on the disk, also what is half written."""
    place = (root / "files").desk
    return sorted(p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file())


@pytest.fixture
def three(geo: Geo) -> Geo:
    """Three series, of which only the middle one will make trouble."""
    for name in ("GSE1", "GSE55235", "GSE60000"):
        geo.series(name, whole() if name == "GSE55235" else parts.matrix(name))
    geo.annotation("GPL96", parts.annotation())
    return geo


@pytest.mark.parametrize("name", FAULTS)
def test_fetch__tries_again(three: Geo, root: Folder, name: str) -> None:
    three.misbehave(FILE, FAULTS[name][0])
    assert run(three, root, "GSE55235") == Fetched(new=("GSE55235",))
    assert (root / "files").fetch(NAME).read_bytes() == whole()
    assert files_of(root) == ["platforms/GPL96.annot.gz", NAME]
    assert len(three.asked(FILE)) == (3 if name == "longer" else 2)  # there, no bytes are left to ask for: 416


@pytest.mark.parametrize("name", FAULTS)
def test_fetch__batch_ends_ledger_tells_next_run_heals(three: Geo, root: Folder, name: str) -> None:
    fault, said = FAULTS[name]
    three.always[FILE] = fault
    names = ("GSE1", "GSE55235", "GSE60000")
    assert run(three, root, *names, tries=2) == Fetched(new=("GSE1", "GSE60000"), failed=("GSE55235",))
    assert len(three.asked(FILE)) == 2
    entry = Ledger(root).entries()["GSE55235"]
    assert (entry.state, entry.tries) == (State.FAILED, 1)
    assert re.search(said, str(entry.error)), entry.error
    assert len(inputs(root).files) == 2
    assert run(three, root, tries=2).failed == ("GSE55235",)
    assert Ledger(root).entries()["GSE55235"].tries == 2
    three.always.clear()
    assert run(three, root) == Fetched(new=("GSE55235",), same=("GSE1", "GSE60000"))
    healed = Ledger(root).entries()["GSE55235"]
    assert (healed.state, healed.tries, healed.error) == (State.FETCHED, 0, None)
    assert (root / "files").fetch(NAME).read_bytes() == whole()


@pytest.mark.parametrize("end", ["matrix/", "annot.gz"])
@pytest.mark.parametrize("name", ["503", "hang", "reset", "truncated", "html"])
def test_fetch__listing_and_annotation_fail_alike(three: Geo, root: Folder, end: str, name: str) -> None:
    fault = {"reset": Fault(reset_at=100), "truncated": Fault(end_at=100)}.get(name, FAULTS[name][0])
    three.always[end] = fault
    assert run(three, root, "GSE55235", tries=2) == Fetched(failed=("GSE55235",))
    three.always.clear()
    sent = len(three.requests)
    assert run(three, root) == Fetched(new=("GSE55235",))
    if end == "annot.gz":  # the matrix that came is not fetched again
        assert [r.status for r in three.requests[sent:] if r.path.endswith(FILE)] == [304]


def test_fetch__what_is_fetched_stays_so_when_a_later_look_fails(three: Geo, root: Folder) -> None:
    run(three, root, "GSE55235")
    three.series("GSE55235", parts.matrix(rows=50))
    three.always["annot.gz"] = Fault(status=503, after="0")
    assert run(three, root) == Fetched(failed=("GSE55235",))
    entry = Ledger(root).entries()["GSE55235"]
    assert (entry.state, entry.tries) == (State.FETCHED, 1)
    assert len(inputs(root).files) == 1
    three.always.clear()
    assert run(three, root) == Fetched(changed=("GSE55235",))  # also where the file came the last time


def test_fetch__no_server_at_all(root: Folder) -> None:
    spec = GeoSpec(files_url="http://127.0.0.1:9/geo", accessions=("GSE1", "GSE2"), tries=2, timeout_seconds=1.0)
    assert fetch(root, spec, (), say=lambda _: None) == Fetched(failed=("GSE1", "GSE2"))
    assert "connection refused" in str(Ledger(root).entries()["GSE1"].error)


# -- waiting ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "low", "high"),
    [
        ("7", 7, 7),
        ("0", 0, 0),
        ("99999", web.LONGEST_SECONDS, web.LONGEST_SECONDS),
        ("Fri, 01 Jan 2100 00:00:00 GMT", web.LONGEST_SECONDS, web.LONGEST_SECONDS),
        ("Sat, 01 Jan 2000 00:00:00 GMT", 0, 0),
        ("soon", 0.005, 0.015),
        (None, 0.005, 0.015),
    ],
)
def test_patiently__waits_as_long_as_the_server_says(three: Geo, after: str | None, low: float, high: float) -> None:
    three.misbehave(FILE, Fault(status=503, after=after))
    stop = parts.Recorder()
    asking = Web(tries=2, timeout_seconds=2.0, stop=stop)
    url = f"{three.settings['files_url']}/{NAME}"
    assert asking.patiently(lambda: asking.body(url)) == whole()
    (waited,) = stop.waited
    assert low <= waited <= high


def test_patiently__backs_off_exponentially_with_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "BACKOFF_SECONDS", 1.0)
    stop = parts.Recorder()

    def never() -> None:
        msg = "broken"
        raise WebError(msg)

    with pytest.raises(WebError, match="broken"):
        Web(tries=6, timeout_seconds=1.0, stop=stop).patiently(never)
    assert len(stop.waited) == 5
    assert all(0.5 * 2**k <= waited <= 1.5 * 2**k for k, waited in enumerate(stop.waited))
    assert len({waited / 2**k for k, waited in enumerate(stop.waited)}) > 1


# -- resuming -----------------------------------------------------------------------------------------------


def of_file(geo: Geo) -> list[Request]:
    return geo.asked(FILE)


@pytest.mark.parametrize("fault", [Fault(reset_at=60_000), Fault(end_at=60_000)], ids=["reset", "truncated"])
def test_download__resumes(three: Geo, root: Folder, fault: Fault) -> None:
    three.misbehave(FILE, fault)
    assert run(three, root, "GSE55235").new == ("GSE55235",)
    first, second = of_file(three)
    begin = int(second.headers["range"].removeprefix("bytes=").removesuffix("-"))
    assert 0 < begin <= 60_000
    assert (first.status, second.status, second.sent) == (200, 206, len(whole()) - begin)
    assert (root / "files").fetch(NAME).read_bytes() == whole()


def test_download__resumes_in_the_next_run(three: Geo, root: Folder) -> None:
    three.misbehave(FILE, Fault(end_at=60_000))
    assert run(three, root, "GSE55235", tries=1).failed == ("GSE55235",)
    assert (root / "files").sizes() == {}  # what is half there is not there
    assert run(three, root).new == ("GSE55235",)
    assert [r.sent for r in of_file(three)] == [60_000, len(whole()) - 60_000]
    assert files_of(root) == ["platforms/GPL96.annot.gz", NAME]


def test_download__begins_anew_if_the_file_changed_meanwhile(three: Geo, root: Folder) -> None:
    three.misbehave(FILE, Fault(end_at=9_000))
    assert run(three, root, "GSE55235", tries=1).failed == ("GSE55235",)
    three.put(NAME, parts.matrix())
    assert run(three, root).new == ("GSE55235",)
    assert [r.status for r in of_file(three)] == [200, 200]
    assert (root / "files").fetch(NAME).read_bytes() == parts.matrix()


@pytest.mark.parametrize("way", ["no ranges", "no validators", "another range"])
def test_download__begins_anew_where_it_cannot_resume(
    three: Geo, root: Folder, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    three.misbehave(FILE, Fault(end_at=9_000))
    three.ranges, three.validators = way != "no ranges", way != "no validators"
    if way == "another range":
        monkeypatch.setattr(download, "_begins_at", lambda *_: False)
    assert run(three, root, "GSE55235", tries=4).new == ("GSE55235",)
    assert (root / "files").fetch(NAME).read_bytes() == whole()
    assert of_file(three)[-1].status == 200


def test_download__what_is_begun_is_longer_than_the_file(three: Geo, root: Folder) -> None:
    three.misbehave(FILE, Fault(end_at=60_000))
    run(three, root, "GSE55235", tries=1)
    part = next((root / "files").desk.rglob("*.partial"))
    part.write_bytes(whole() + b"more")
    assert run(three, root).new == ("GSE55235",)
    assert [r.status for r in of_file(three)] == [200, 416, 200]
    assert (root / "files").fetch(NAME).read_bytes() == whole()


# -- the disk -----------------------------------------------------------------------------------------------


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[bool]:
    """A tmpfs of this size; False where this process may not mount one."""
    place.mkdir(parents=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place], capture_output=True)
    try:
        yield made.returncode == 0
    finally:
        if made.returncode == 0:
            subprocess.run(["umount", place], check=True)


def test_fetch__disk_full(three: Geo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "disk", "1m") as real:
        root = open_folder(tmp_path / "disk" / "store") / "geo"
        assert run(three, root, "GSE1") == Fetched(new=("GSE1",))
        before = files_of(root)
        three.series("GSE55235", parts.whole())
        if not real:
            monkeypatch.setattr(download, "_writable", lambda part, mode: _Full(part.open(mode, buffering=0)))
        with pytest.raises(StoreError, match="No space left on device; make space there"):
            run(three, root, "GSE55235")
        assert files_of(root) == before
        entry = Ledger(root).entries()["GSE55235"]
        assert entry.state is State.FAILED
        assert "No space left" in str(entry.error)
        assert Ledger(root).entries()["GSE1"].state is State.FETCHED
        if real:
            subprocess.run(["mount", "-o", "remount,size=8m", tmp_path / "disk"], check=True)
        monkeypatch.undo()
        assert run(three, root).new == ("GSE55235",)
        assert len(inputs(root).files) == 2


class _Full:
    """A file on a disk with room for 64 kB."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def __enter__(self) -> _Full:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def write(self, piece: bytes) -> int:
        if self.stream.tell() + len(piece) > 1 << 16:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self.stream.write(piece))


def test_fetch__read_only_store(three: Geo, root: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(type(root), "write", refuse)
    with pytest.raises(StoreError, match="Read-only file system"):
        run(three, root, "GSE1")


# -- the process --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_fetch__cut_off_and_healed_by_the_next(three: Geo, tmp_path: Path, number: int, code: int) -> None:
    three.always[FILE] = Fault(hang=True)
    store = tmp_path / "store"
    words = ["geo", "fetch", "GSE1", "GSE55235", "--store", str(store), *three.flags, "--timeout-seconds", "3"]
    process = subprocess.Popen([sys.executable, "-m", "g2v_dask.cli", *words], stderr=subprocess.PIPE, text=True)
    root = open_folder(store) / "geo"
    try:
        while not three.asked(FILE) or (entry := Ledger(root).get("GSE1")) is None or entry.state is State.FOUND:
            assert process.poll() is None, process.stderr and process.stderr.read()
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(timeout=30) == code
    finally:
        process.kill()
        process.communicate()
    states = {a: e.state for a, e in Ledger(root).entries().items()}
    assert states == {"GSE1": State.FETCHED, "GSE55235": State.FOUND}
    assert len(inputs(root).files) == 1
    three.always.clear()
    assert run(three, root) == Fetched(new=("GSE55235",), same=("GSE1",))


def test_cli_fetch__one_line_for_a_full_disk(three: Geo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_writable", lambda part, mode: _Full(part.open(mode, buffering=0)))
    answer = g2v("geo", "fetch", "GSE55235", "--store", tmp_path / "store", *three.flags, "-q", "--json")
    assert answer.code == 1
    assert answer.out == ""
    assert answer.err.startswith("g2v: cannot write ")
    assert answer.err.count("\n") == 1
    rows = json.loads(g2v("geo", "status", "--store", tmp_path / "store", "--json").out)
    assert rows[0]["state"] == "failed"
