"""A folder of a file system."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from g2v_dask.errors import StoreError
from g2v_dask.files import write_file
from g2v_dask.folders.base import T, U

GONE = ".gone-"  # what is being deleted
PARTIAL = ".partial"  # what is being written
WAIT_SECONDS = 2.0


@dataclass(frozen=True)
class LocalFolder:
    """A ``base.Folder`` on this machine, or on a file system that all machines share."""

    root: Path

    @property
    def url(self) -> str:
        """Its path."""
        return str(self.root)

    @property
    def is_local(self) -> bool:
        """It is."""
        return True

    @property
    def desk(self) -> Path:
        """Itself."""
        return self.root

    def __truediv__(self, name: str) -> LocalFolder:
        return LocalFolder(self.root / name)

    def marked(self, mark: str) -> LocalFolder:
        """Itself: there are no copies."""
        return self

    def names(self) -> list[str]:
        """What lies directly in it, but what is half written or half deleted."""
        try:
            found = os.listdir(self.root)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted(n for n in found if PARTIAL not in n and not n.startswith(GONE))

    def sizes(self) -> dict[str, int]:
        """The bytes of every file below."""
        return dict(sorted(_sizes(str(self.root), "")))

    def read(self, name: str) -> bytes | None:
        """A file's content."""
        try:
            return (self.root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, data: bytes) -> None:
        """By rename."""
        write_file(self.root / name, data)

    def tag(self, name: str) -> str | None:
        """Of its content: the lock keeps others from writing in between."""
        data = self.read(name)
        return None if data is None else hashlib.sha256(data).hexdigest()

    def replace(self, name: str, data: bytes, tag: str | None) -> None:
        """Compares, then writes."""
        if self.tag(name) != tag:
            msg = f"{self.root / name} was changed by another writer meanwhile; run the same command again"
            raise StoreError(msg)
        self.write(name, data)

    def remove(self, *names: str) -> None:
        """Removes files."""
        for name in names:
            (self.root / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """First the name, so that a half deleted folder is never taken for a whole one."""
        grave = self.root.with_name(f"{GONE}{uuid.uuid4().hex}")
        try:
            self.root.rename(grave)
        except FileNotFoundError:
            return
        shutil.rmtree(grave)

    def keep_only(self, names: Iterable[str]) -> None:
        """Removes every other file, hidden ones too, and the folders that are empty then."""
        kept = {self.root / name for name in names}
        for path in sorted(self.root.rglob("*"), reverse=True):  # what is in a folder comes before it
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path not in kept:
                path.unlink()

    def tidy(self) -> None:
        """Graves that a killed process has left, and empty folders."""
        for grave in self.root.rglob(f"{GONE}*"):
            shutil.rmtree(grave)
        for folder in [*self.root.glob("*/*"), *self.root.glob("*")]:
            if folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir()):
                folder.rmdir()

    def age(self) -> float | None:
        """Since the youngest of its files and folders changed."""
        times = []
        for path in (self.root, *self.root.rglob("*")):
            with suppress(FileNotFoundError):  # gone while this looks
                times.append(path.lstat().st_mtime)
        return time.time() - max(times) if times else None

    def fetch(self, *names: str) -> Path:
        """The files themselves."""
        path = self.root
        for name in names:
            path = self.root / name
            if not path.is_file():
                raise FileNotFoundError(2, "no such file", str(path))
        return path

    def send(self, *names: str) -> None:
        """They are there; what remains is that the disk has them."""
        for name in names:
            with (self.root / name).open("rb") as stream:
                os.fsync(stream.fileno())

    def leave(self) -> None:
        """There are no copies."""

    def together(self, do: Callable[[T], U], items: Iterable[T]) -> list[U]:
        """One after the other: a disk does not wait."""
        return [do(item) for item in items]

    @contextmanager
    def lock(self, *, wait: bool = False) -> Iterator[None]:
        """A POSIX lock on ``.lock``; it dies with its process.

        Raises: StoreError if another process holds it, or if the file system has no locks.
        """
        with _own_lock(self.root):
            while True:
                with _opened(self.root / ".lock") as stream:
                    self._take(stream, wait=wait)
                    if _is_still(stream, self.root / ".lock"):
                        yield
                        return
                self.root.mkdir(parents=True, exist_ok=True)  # it was taken away while this one waited

    def _take(self, stream: IO[str], *, wait: bool) -> None:
        while not _taken(stream, self.root):
            stream.seek(0)
            if not wait:
                msg = f"the store {self.root} is in use by {stream.read().strip()}; wait for it, or stop it"
                raise StoreError(msg)
            time.sleep(WAIT_SECONDS)
        stream.truncate(0)
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        stream.write(f"process {os.getpid()} on {socket.gethostname()}, since {started}\n")
        stream.flush()

    def check_lock(self) -> None:
        """A POSIX lock ends with its process, and not before."""


def _sizes(folder: str, prefix: str) -> Iterator[tuple[str, int]]:
    """The files below a folder, but those that are half written."""
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir():
            yield from _sizes(entry.path, f"{prefix}{entry.name}/")
        elif PARTIAL not in entry.name and entry.is_file():
            yield prefix + entry.name, entry.stat().st_size


def _is_still(stream: IO[str], path: Path) -> bool:
    """Whether the file that is locked is the one of that name."""
    try:
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _taken(stream: IO[str], root: Path) -> bool:
    try:
        fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        msg = (
            f"the file system of {root} has no POSIX locks ({error}); "
            f"mount it with locking (NFS: version 4, or 'local_lock=none'), or use another folder"
        )
        raise StoreError(msg) from error
    return True


_held: set[Path] = set()  # POSIX locks are a process's: what holds between its threads is this


@contextmanager
def _own_lock(root: Path) -> Iterator[None]:
    """Refuses a second writer of the same process."""
    root = root.resolve()
    if root in _held:
        msg = f"the store {root} is in use by another thread or call of this process; wait for it"
        raise StoreError(msg)
    _held.add(root)
    try:
        yield
    finally:
        _held.discard(root)


def _opened(path: Path) -> IO[str]:
    try:
        return path.open("a+")
    except OSError as error:
        msg = f"the store {path.parent} cannot be written: {error.strerror}; mount it writable, or use another folder"
        raise StoreError(msg) from error
