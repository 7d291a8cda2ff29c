"""Reprocess that is cut off while it publishes, that is not alone, and whose files come late."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from g2v_dask import query, schema
from g2v_dask.flows import reprocess
from g2v_dask.folders import open_folder
from g2v_dask.progress import Display
from g2v_dask.report.reprocess import Outcome
from g2v_dask.spec import ClusterSpec, RunSpec
from g2v_dask.store import PUBLISHING, Store
from tests.data_paths import ROOT
from tests.geo import series
from tests.geo.server import Fault, Geo, serving
from tests.shell import g2v

LIMIT_SECONDS = 300
NOWHERE = "tcp://127.0.0.1:9"  # no scheduler: whoever asks for a cluster fails
SPEC = """
store = "store"
[geo]
{urls}
tries = 1
timeout_seconds = 240.0
[gate]
{gate}
[ingest]
[pairs]
top_k = 10
[merge]
[train]
name = "genes"
method = "svd"
components = 8
[index]
"""
CHANGED, NEW = "GSE910002", "GSE910003"
HEADS = [  # in the order in which they move
    f"expression/{CHANGED}",
    f"expression/{NEW}",
    f"pairs/{CHANGED}",
    f"pairs/{NEW}",
    "cooccurrence/all",
    "embeddings/genes",
    "index/genes",
]


@dataclass(frozen=True)
class Place:
    """A folder with a spec and its store."""

    folder: Path
    geo: Geo

    @property
    def store(self) -> Store:
        return Store.open(self.folder / "store")

    def write(self, gate: str = "") -> None:
        urls = "\n".join(f'{key} = "{url}"' for key, url in self.geo.settings.items())
        (self.folder / "weekly.toml").write_text(SPEC.format(urls=urls, gate=gate))

    def go(self, address: str = NOWHERE, *, gate: str = "") -> Outcome:
        self.write(gate)
        spec = RunSpec.load(self.folder / "weekly.toml")
        return reprocess.run(spec, cluster=ClusterSpec(address=address), display=Display(quiet=True))

    def heads(self) -> dict[str, str | None]:
        store = self.store
        return {f"{kind}/{name}": store.head(kind, name) for kind in schema.KINDS for name in store.names(kind)}

    def verify(self, *words: str) -> tuple[int, list[dict[str, Any]]]:
        """Exit code and faults."""
        answer = g2v("verify", "--store", self.folder / "store", "--json", "-q", *words)
        return answer.code, json.loads(answer.out)["faults"]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory, address: str) -> Iterator[Place]:
    """A version, and a next one that is made and not published: one series changed, one new."""
    with serving() as geo:
        place = Place(tmp_path_factory.mktemp("cut"), geo)
        one, other, third = series.twenty()[:3]
        series.serve(geo, one, other)
        assert place.go(address).exit_code == 0
        series.serve(geo, other.without(3), third)
        assert place.go(address, gate="least_overlap = 1.0").exit_code == 4
        yield place


@pytest.fixture
def place(two: Place, tmp_path: Path) -> Place:
    return Place(shutil.copytree(two.folder, tmp_path / "copy"), two.geo)


class Cut(BaseException):
    """The process ends here."""


@pytest.fixture
def cut_before(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Ends a run before the HEAD of this number moves for all."""
    plain, moved = Store.point, [0]

    def cut(number: int) -> None:
        def point(store: Store, kind: str, name: str, digest: str, *, tag: str | None) -> None:
            if store.moved is None:
                if moved[0] == number:
                    raise Cut
                moved[0] += 1
            plain(store, kind, name, digest, tag=tag)

        monkeypatch.setattr(Store, "point", point)

    return cut


@pytest.mark.parametrize("number", [0, 2, 5, 6])
def test_publish__cut_off_before_any_head_is_noticed_and_ended_by_the_next_run(
    place: Place, cut_before: Callable[[int], None], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    before = place.heads()
    cut_before(number)
    with pytest.raises(Cut):
        place.go()
    monkeypatch.undo()
    mixed = place.heads()
    assert {key for key in mixed if mixed[key] != before.get(key)} == set(HEADS[:number])
    reads_one_version(place.store)

    code, faults = place.verify("--deep")
    assert code == 1
    assert [(f["artifact"], f["file"]) for f in faults] == [(key, "HEAD") for key in HEADS[number:]]
    assert "run the same 'g2v reprocess' again" in faults[0]["state"]
    assert g2v("gc", "--store", place.folder / "store", "--young-hours", 0).code == 0  # keeps what is to come

    outcome = place.go()
    assert outcome.exit_code == 0
    assert not any(s.parts_run for s in outcome.stages)
    assert [h.key for h in outcome.heads] == HEADS[number:]
    after = place.heads()
    assert {key for key in after if after[key] != before.get(key)} == set(HEADS)
    assert place.verify("--deep") == (0, [])
    assert place.go().idle


def reads_one_version(store: Store) -> None:
    """What an embedding and its index answer is what the embedding alone would."""
    there = query.open_embedding(store, "genes")
    gene = str(there.genes[0])
    unit = there.vectors.astype(float)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = unit @ unit[0]
    cosines[0] = -np.inf
    assert [s.gene for s in there.similar(gene, 5)] == there.genes[np.argsort(-cosines)[:5]].tolist()


def test_publish__of_a_version_that_the_gate_refuses_now_is_still_noticed(
    place: Place, cut_before: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bounds were made tighter meanwhile: the mixture stays, and verify tells; it can be ended by hand."""
    cut_before(5)
    with pytest.raises(Cut):
        place.go()
    monkeypatch.undo()
    assert place.go(gate="least_overlap = 1.0").exit_code == 4
    assert [f["artifact"] for f in place.verify()[1]] == HEADS[5:]
    code, faults = place.verify("--repair")
    assert (code, {f["state"] for f in faults}) == (0, {"repaired"})
    assert place.verify() == (0, [])
    assert place.go(gate="least_overlap = 1.0").idle


KILLED = """
import os, signal, sys
from g2v_dask import cli
from g2v_dask.store import Store

left, plain = [int(sys.argv.pop(1))], Store.point

def point(store, kind, name, digest, *, tag):
    plain(store, kind, name, digest, tag=tag)
    if store.moved is None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)

Store.point = point
cli.main()
"""


def test_publish__killed_after_the_embedding(place: Place) -> None:
    """kill -9 of the command itself."""
    place.write()
    command = [sys.executable, "-c", KILLED, "6", "reprocess", str(place.folder / "weekly.toml"), "-q"]
    done = subprocess.run([*command, "--cluster", NOWHERE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert place.store.root.read(f".work/{PUBLISHING}") is not None
    assert list(place.store.unpublished()) == [("index", "genes")]
    reads_one_version(place.store)
    assert [h.key for h in place.go().heads] == ["index/genes"]
    assert place.store.root.read(f".work/{PUBLISHING}") is None
    assert place.verify("--deep") == (0, [])


# -- beside others --------------------------------------------------------------------------------------------


@contextmanager
def running(place: Place, address: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """``g2v reprocess`` in a process of its own."""
    command = [sys.executable, "-m", "g2v_dask.cli", "reprocess", str(place.folder / "weekly.toml"), "-q", *words]
    pipe = subprocess.PIPE
    program = subprocess.Popen([*command, "--cluster", address], cwd=ROOT, stdout=pipe, stderr=pipe, text=True)
    try:
        yield program
    finally:
        program.kill()
        program.communicate()


def until(happened: Callable[[], object], program: subprocess.Popen[str]) -> None:
    """Waits for something that a program does."""
    deadline = time.monotonic() + LIMIT_SECONDS
    while not happened():
        assert program.poll() is None, program.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def has_open(program: subprocess.Popen[str], file: Path) -> bool:
    """Whether it has a lock, or waits for it."""
    return str(file) in [f.path for f in psutil.Process(program.pid).open_files()]


def test_run__while_another_fetches_is_refused_or_waits(place: Place) -> None:
    """The lock of the store is free, that of its GEO files is not."""
    place.write()
    before, there = place.heads(), place.folder / "store" / "geo"
    with open_folder(there).lock():
        with running(place, NOWHERE) as program:
            _, err = program.communicate(timeout=LIMIT_SECONDS)
            assert (program.returncode, err.count("\n")) == (1, 1)
            assert f"the store {there} is in use by process {os.getpid()} on " in err
        with place.store.lock():  # given back
            pass
        waiting = running(place, NOWHERE, "--wait")
        program = waiting.__enter__()
        until(lambda: has_open(program, there / ".lock"), program)
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(1)
        assert place.heads() == before
    try:
        out, err = program.communicate(timeout=LIMIT_SECONDS)
        assert program.returncode == 0, err
        assert "report: " in out
        assert place.heads() != before
    finally:
        waiting.__exit__(None, None, None)


def test_run__waits_for_a_new_store_that_its_maker_takes_away(tmp_path: Path, address: str) -> None:
    """The first ends before it has anything, and unmakes the store; the second makes it again, and goes on."""
    with serving() as geo:
        place = Place(tmp_path, geo)
        place.write()
        series.serve(geo, series.twenty()[0])
        geo.misbehave("esearch.fcgi", Fault(hang=True))
        with running(place, NOWHERE) as first:
            until(lambda: geo.asked("esearch.fcgi"), first)  # it has the lock
            with running(place, address, "--wait") as second:
                until(lambda: has_open(second, tmp_path / "store" / ".lock"), second)
                first.send_signal(signal.SIGTERM)
                assert first.wait(LIMIT_SECONDS) == 143
                _, err = second.communicate(timeout=LIMIT_SECONDS)
        assert second.returncode == 0, err
        made = ["cooccurrence/all", "embeddings/genes", "expression/GSE910001", "index/genes", "pairs/GSE910001"]
        assert sorted(place.heads()) == made
        assert place.verify("--deep") == (0, [])


def test_run__that_waited_for_a_new_store_and_fails_leaves_none(tmp_path: Path) -> None:
    """The first unmakes what it made; the second made it again, and unmakes it too."""
    with serving() as geo:
        place = Place(tmp_path, geo)
        place.write()
        geo.misbehave("esearch.fcgi", Fault(hang=True), Fault(status=500))
        with running(place, NOWHERE) as first:
            until(lambda: geo.asked("esearch.fcgi"), first)
            with running(place, NOWHERE, "--wait") as second:
                until(lambda: has_open(second, tmp_path / "store" / ".lock"), second)
                first.send_signal(signal.SIGTERM)
                assert first.wait(LIMIT_SECONDS) == 143
                _, err = second.communicate(timeout=LIMIT_SECONDS)
        assert second.returncode == 1, err
        assert [f.name for f in tmp_path.iterdir()] == ["weekly.toml"]


def test_run__annotation_that_comes_later(tmp_path: Path, address: str) -> None:
    """Without it the probes mean nothing, and the dataset is quarantined; with it, the next run takes it up."""
    one = series.twenty()[0]
    with serving() as geo:
        place = Place(tmp_path, geo)
        series.serve(geo, one)
        annotation = geo.files.pop(f"platforms/GPLnnn/{one.platform}/annot/{one.platform}.annot.gz")
        outcome = place.go(address)
        assert outcome.exit_code == 4
        assert outcome.reasons == ["ingest left nothing to go on with"]
        assert list(outcome.quarantined) == [one.accession]
        assert place.heads() == {}
        assert place.go().idle is False  # it still tells why
        geo.annotation(one.platform, annotation)
        outcome = place.go(address)
        assert (outcome.exit_code, outcome.quarantined) == (0, {})
        assert outcome.series["changed"] == [one.accession]
        assert outcome.datasets["new"] == [one.accession]
        assert place.go().idle
