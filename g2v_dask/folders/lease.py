"""The lock of a store in a bucket: an object that its holder renews, and that is taken over when it is silent.

::

            put if none                      put if match
    absent ────────────▶ held ──renew──▶ held ──────────▶ free
                           │  silent for LEASE_SECONDS     │
                           └──────── put if match ◀────────┘
                                  held by another

Every step is one conditional PUT, so of two that try one succeeds. How long the holder has been silent is told by
the service's own clock: Last-Modified against Date. A holder that was taken over notices when it renews, at the
latest before it commits.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from g2v_dask.errors import StoreError
from g2v_dask.folders.base import json_bytes

LEASE_SECONDS = 60.0  # of silence, after which a holder counts as dead
RENEWALS = 4  # of one lease
NAME = ".lock"
PROBE = ".probe-"  # objects that try what the service can


class Place(Protocol):
    """What a lease asks of the folder that it is of."""

    @property
    def url(self) -> str:
        """What names it."""

    def read(self, name: str) -> bytes | None:
        """A file's content."""

    def look(self, name: str) -> tuple[bytes | None, str | None, float]:
        """Content, tag, and seconds since it was written, by the clock of the service."""

    def try_replace(self, name: str, data: bytes, tag: str | None) -> str | None:
        """The new tag, if the file still had that tag."""

    def remove(self, *names: str) -> None:
        """Removes files."""


_held: dict[str, Lease] = {}  # by URL: what this process holds


class Lease:
    """What this process holds of one folder."""

    def __init__(self, folder: Place) -> None:
        self._folder = folder
        self._guard = threading.Lock()
        self._end = threading.Event()
        self._tag: str | None = None
        self._lost: str | None = None
        self._mark = uuid.uuid4().hex
        self._who = f"process {os.getpid()} on {socket.gethostname()}, since {time.strftime('%Y-%m-%d %H:%M:%S')}"

    def take(self) -> str | None:
        """Takes the lock, or says who has it."""
        data, tag, silent = self._folder.look(NAME)
        holder = _parsed(data)
        if holder.get("who") and silent < LEASE_SECONDS:
            return f"{holder['who']} (last heard of {silent:.0f} s ago; it counts as dead after {LEASE_SECONDS:.0f} s)"
        if self._put(self._who, tag):
            return None
        return _parsed(self._folder.read(NAME)).get("who") or "another that was quicker"

    def _put(self, who: str, tag: str | None) -> bool:
        """One step; every content differs, so that every step has a tag of its own."""
        data = json_bytes({"who": who, "lease": self._mark, "token": uuid.uuid4().hex})
        made = self._folder.try_replace(NAME, data, tag)
        if made is not None:
            self._tag = made
        return made is not None

    def _again(self, who: str) -> bool:
        """``_put`` on what is ours; also if an earlier one went through and we never heard of it."""
        if self._put(who, self._tag):
            return True
        data, tag, _ = self._folder.look(NAME)
        return _parsed(data).get("lease") == self._mark and self._put(who, tag)

    def renew(self) -> None:
        """Tells that this process lives.

        Raises: StoreError if another has taken over.
        """
        with self._guard:
            if self._lost is None and not self._again(self._who):
                who = _parsed(self._folder.read(NAME)).get("who") or "another process"
                self._lost = (
                    f"{self._folder.url} was taken over by {who}: this process was not heard of for "
                    f"{LEASE_SECONDS:.0f} s; it commits nothing more. Run the same command again"
                )
            if self._lost is not None:
                raise StoreError(self._lost)

    def run(self) -> None:
        """Renews until ``free``; a service that does not answer is asked again."""
        while not self._end.wait(LEASE_SECONDS / RENEWALS):
            try:
                self.renew()
            except StoreError:
                if self._lost is not None:
                    return

    def free(self) -> None:
        """Gives the lock back, if it is still ours; where the service does not answer, it runs out by itself."""
        self._end.set()
        with self._guard, suppress(StoreError):
            if self._lost is None:
                self._again("")


def _parsed(data: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(data or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@contextmanager
def held(folder: Place, *, wait: bool) -> Iterator[None]:
    """The lock, renewed by a thread.

    Raises: StoreError if another has it, or if the service has no conditional writes.
    """
    if folder.url in _held:
        msg = f"the store {folder.url} is in use by another thread or call of this process; wait for it"
        raise StoreError(msg)
    _probe(folder)
    lease = Lease(folder)
    while (holder := lease.take()) is not None:
        if not wait:
            msg = f"the store {folder.url} is in use by {holder}; wait for it, or stop it"
            raise StoreError(msg)
        time.sleep(min(5.0, LEASE_SECONDS / RENEWALS))
    _held[folder.url] = lease
    thread = threading.Thread(target=lease.run, name="g2v-lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        del _held[folder.url]
        lease.free()
        thread.join()


def check(folder: Place) -> None:
    """Renews what this process holds of a folder.

    Raises: StoreError if it was lost.
    """
    lease = _held.get(folder.url)
    if lease is not None:
        lease.renew()


def _probe(folder: Place) -> None:
    """Tries both conditions on an object of its own: a service that ignores one would lose updates.

    Raises: StoreError if it does.
    """
    name = f"{PROBE}{uuid.uuid4().hex}"
    try:
        folder.try_replace(name, b"1", None)
        twice = folder.try_replace(name, b"2", None) is not None
        other = folder.try_replace(name, b"3", '"0123456789abcdef0123456789abcdef"') is not None
    finally:
        folder.remove(name)
    if twice or other:
        lacking = "If-None-Match" if twice else "If-Match"
        msg = (
            f"the service of {folder.url} takes no heed of {lacking} in PUT, so two writers could meet; "
            f"use S3, or a service that has conditional writes (MinIO, Ceph 19, Cloudflare R2 ...)"
        )
        raise StoreError(msg)
