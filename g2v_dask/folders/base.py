"""What a store asks of the place it lies in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from g2v_dask.errors import DamageError

T = TypeVar("T")
U = TypeVar("U")


class Folder(Protocol):
    """A folder, local or in a bucket; cheap to make and to send to a worker.

    Names are relative and use ``/``. Files are whole or not there. A file is written on the **desk**, a local folder,
    and then sent: the desk of a local folder is the folder itself, and sending does nothing.
    """

    def __hash__(self) -> int: ...

    @property
    def url(self) -> str:
        """What a user writes to name it; holds no secret."""

    @property
    def is_local(self) -> bool:
        """Whether its desk is the folder itself."""

    @property
    def desk(self) -> Path:
        """The local folder where its files are written, and where copies of them lie."""

    def __truediv__(self, name: str) -> Folder:
        """A folder below."""

    def marked(self, mark: str) -> Folder:
        """The same folder with a desk of its own: copies that were made under another mark are not seen."""

    def names(self) -> list[str]:
        """The files and folders directly in it, sorted; none where it does not exist. Nothing that is half written."""

    def sizes(self) -> dict[str, int]:
        """The bytes of every file below, by name, sorted."""

    def read(self, name: str) -> bytes | None:
        """A file's content, as it is now; None where there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Puts a small file in place, whole."""

    def tag(self, name: str) -> str | None:
        """What changes whenever the file does; None where there is none."""

    def replace(self, name: str, data: bytes, tag: str | None) -> None:
        """``write``, if the file still is what it was when ``tag`` was taken.

        Raises: StoreError if another writer has changed it.
        """

    def remove(self, *names: str) -> None:
        """Removes files, those that are there."""

    def clear(self) -> None:
        """Removes the folder with all that is in it, and its desk."""

    def keep_only(self, names: Iterable[str]) -> None:
        """Removes every other file below."""

    def tidy(self) -> None:
        """Removes what is left of deletions that were cut off, and empty folders, two levels down."""

    def age(self) -> float | None:
        """Seconds since anything in it was last written, by the clock of the place; None if it is empty."""

    def fetch(self, *names: str) -> Path:
        """Files on the desk, brought there if they are not; under one mark a file never changes.

        Returns: the path of the last. Raises: FileNotFoundError if one is not there.
        """

    def send(self, *names: str) -> None:
        """Puts files of the desk in place, each whole: on the disk, or in the bucket, when this returns."""

    def leave(self) -> None:
        """Removes the copies that lie on the desk of this mark; of a local folder there are none."""

    def together(self, do: Callable[[T], U], items: Iterable[T]) -> list[U]:
        """``do`` of each item, in order; at once where each waits for an answer from afar."""

    def lock(self, *, wait: bool = False) -> AbstractContextManager[None]:
        """Holds the folder for one writer.

        Raises: StoreError if another has it (saying who), unless told to wait.
        """

    def check_lock(self) -> None:
        """Raises StoreError if this process held the folder and has lost it."""


def read_json(folder: Folder, name: str) -> dict[str, Any] | None:
    """A JSON document, or None where there is none.

    Raises: DamageError if it is there but is not a JSON object.
    """
    raw = folder.read(name)
    if raw is None:
        return None
    try:
        value = json.loads(raw)
    except ValueError as error:
        msg = f"{(folder / name).url} is not readable as JSON ({error}); it is damaged: remove that artifact"
        raise DamageError(msg) from error
    if not isinstance(value, dict):
        msg = f"{(folder / name).url} must hold a JSON object, found {type(value).__name__}"
        raise DamageError(msg)
    return value


def json_bytes(value: Any) -> bytes:
    """JSON as the store's documents are written: sorted keys, one space a level."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"


def write_json(folder: Folder, name: str, value: Any) -> None:
    """Puts a JSON document in place, whole."""
    folder.write(name, json_bytes(value))
