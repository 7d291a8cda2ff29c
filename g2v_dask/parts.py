"""Plans and parts: what a stage wants made, and how one part of it is done, once, with a receipt.

A **target** is one artifact to be; its **parts** are tasks, in one or more **rounds**. A part writes its own
files, each put in place by rename, and then its receipt. No receipt: not done. Doing a part twice, even at
the same time, leaves the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import distributed
from threadpoolctl import threadpool_limits

from g2v_dask.errors import InputError
from g2v_dask.files import digest_of, file_sha256
from g2v_dask.folders import Folder, read_json, write_json
from g2v_dask.machine import cores
from g2v_dask.options import Spec
from g2v_dask.store import Store

OWNER = "owner.json"  # names the run which owns the work on a target
TOPIC = "g2v"  # of the events by which a running part tells how far it is
EVENT_SECONDS = 0.5


class Superseded(Exception):  # noqa: N818  (not an error: the work now belongs to a newer run)
    """Another run owns this work now; the part ends quietly."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One task: its number within the round, the memory it needs, what to call it."""

    number: int
    bytes: int
    label: str


@dataclass(frozen=True, kw_only=True)
class Target:
    """One artifact to be made, or (``kind`` empty) a preparation that others wait for."""

    kind: str
    name: str
    title: str
    version: int  # of the stage: raised by hand when its results change
    identity: Mapping[str, Any]  # the spec's fields that change the result
    inputs: Mapping[str, str]  # what it is made from, to digests
    limits: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""  # where it comes from, for people: a file's path
    spec: Spec | None = None  # by which the stage plans this target again, whatever else is in the store by then
    detail: Any = None  # what the stage's parts need to know; small, and a plain dataclass
    parts: tuple[Part, ...]  # of the first round
    after: tuple[str, ...] = ()  # digests of preparations
    same_blas: bool = False  # the result is made of BLAS floats: all workers must have one library and kernel
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        identity = {
            "kind": self.kind,
            "name": self.name,
            "version": self.version,
            "identity": dict(self.identity),
            "inputs": sorted(self.inputs.items()),
        }
        object.__setattr__(self, "digest", digest_of(identity))

    @property
    def key(self) -> str:
        """``kind/name``."""
        return f"{self.kind or 'preparation'}/{self.name}"

    def folder(self, store: Store) -> Folder:
        """Where its files lie."""
        return store.folder(self.kind, self.name, self.digest) if self.kind else store.work(self.digest) / "data"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """An input that a plan turns down: what, from where, and why."""

    kind: str
    name: str
    title: str
    source: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that one stage should have made, and what it turned down."""

    stage: str
    targets: tuple[Target, ...]
    refused: tuple[Refusal, ...] = ()
    left_out: tuple[str, ...] = ()  # datasets that it passes over, and why
    notes: tuple[str, ...] = ()  # what it chose, and why


@dataclass(frozen=True, kw_only=True)
class Output:
    """What a part leaves: its files, and a small JSON result."""

    files: tuple[Path, ...]
    result: Any = None


Receipt = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a running part is given."""

    store: Store
    target: Target
    round: int
    part: Part
    token: str
    progress: Callable[[int, int, str], None]

    @property
    def folder(self) -> Folder:
        """The target's own folder; its copies on this machine are those of this run."""
        return self.target.folder(self.store).marked(self.token)

    @property
    def desk(self) -> Path:
        """The local folder that files are written in."""
        return self.folder.desk

    @property
    def threads(self) -> int:
        """How many threads the part may start: one on a worker, which runs other parts; all where it is alone."""
        return cores() if _worker() is None else 1

    @property
    def scratch(self) -> Folder:
        """A folder for checkpoints and temporary files; it goes when the target is committed."""
        return (self.store.work(self.target.digest) / "scratch").marked(self.token)

    def alive(self) -> None:
        """Checks that this run still owns the target.

        Raises: Superseded if a newer run took it over, or finished it.
        """
        owner = read_json(self.store.work(self.target.digest), OWNER)
        if owner is None or owner["token"] != self.token:
            raise Superseded


class Stage(Protocol):
    """What every module in ``stages`` offers."""

    def plan(self, store: Store, spec: Any) -> Plan:
        """What to make; writes nothing. Reads metadata, and data only where the shape of the result hangs on them."""

    def begin(self, folder: Folder, target: Target) -> tuple[str, ...]:
        """Writes what the parts share on the folder's desk, before the first of them; may be done again.

        Returns: the names of its files.
        """

    def run_part(self, work: Work) -> Output:
        """Does one part; pure given its inputs."""

    def next_round(self, target: Target, done: int, receipts: Mapping[int, Receipt]) -> tuple[Part, ...]:
        """The parts of the round after ``done``, or none."""

    def facts(self, store: Store, target: Target, receipts: Mapping[int, Receipt]) -> dict[str, Any]:
        """What the manifest says of the result; from the receipts of the last round."""


def share_nothing(folder: Folder, target: Target) -> tuple[str, ...]:
    """``begin`` of a stage whose parts share no files."""
    return ()


def one_round(target: Target, done: int, receipts: Mapping[int, Receipt]) -> tuple[Part, ...]:
    """``next_round`` of a stage whose parts do not depend on each other."""
    return ()


def receipts(store: Store, target: Target, round_: int, parts: Iterable[Part]) -> dict[int, Receipt]:
    """The receipts there are of a round, by part number."""
    folder = store.work(target.digest) / f"round-{round_}"
    there = set(folder.names())
    numbers = [p.number for p in parts if receipt_name(p.number) in there]
    found = folder.together(lambda number: read_json(folder, receipt_name(number)), numbers)
    return {number: receipt for number, receipt in zip(numbers, found, strict=True) if receipt is not None}


def receipt_name(number: int) -> str:
    """The file of a part's receipt, in the folder of its round."""
    return f"part-{number}.json"


def execute(
    run_part: Callable[[Work], Output], store: Store, target: Target, round_: int, part: Part, token: str
) -> dict[str, Any]:
    """Does one part on a worker and writes its receipt.

    BLAS, OpenMP and FAISS have one thread: more would give other bits, and too many threads.
    Returns: ``{"state": "done" | "refused" | "superseded", ...}``; an InputError is an answer, not a failure.
    """
    started = time.monotonic()
    work = Work(store=store, target=target, round=round_, part=part, token=token, progress=_reporter(target, part))
    try:
        work.alive()
        with threadpool_limits(1):
            output = run_part(work)
        files = [_entry(file, work) for file in output.files]
        work.alive()
        work.folder.send(*(f["path"] for f in files))
        work.alive()
    except Superseded:
        return {"state": "superseded"}
    except InputError as error:
        return {"state": "refused", "reason": str(error)}
    seconds = time.monotonic() - started
    receipt = {"files": files, "result": output.result, "seconds": seconds}
    write_json(store.work(target.digest) / f"round-{round_}", receipt_name(part.number), receipt)
    return {"state": "done", "receipt": receipt}


def _entry(file: Path, work: Work) -> dict[str, Any]:
    """A file as receipts and manifests name it."""
    return {
        "path": file.relative_to(work.desk).as_posix(),
        "bytes": file.stat().st_size,
        "sha256": file_sha256(file),
        "part": work.part.number,
    }


def _worker() -> Any:
    """The Dask worker that this runs on, or None."""
    try:
        return distributed.get_worker()
    except ValueError:
        return None


def _reporter(target: Target, part: Part) -> Callable[[int, int, str], None]:
    """A function, for any thread, that tells the client how far a part is; silent where there is no worker."""
    worker = _worker()
    if worker is None:
        return lambda done, total, note: None
    last = [0.0]

    def report(done: int, total: int, note: str) -> None:
        now = time.monotonic()
        if now - last[0] >= EVENT_SECONDS or done >= total:
            last[0] = now
            worker.log_event(TOPIC, {"label": part.label, "done": done, "total": total, "note": note})

    return report
