"""What is known of every series: a small JSON document each, so that any store can hold them, and without a lock."""

from __future__ import annotations

import enum
from dataclasses import asdict, dataclass
from typing import Any

from g2v_dask.errors import StoreError
from g2v_dask.folders import Folder, read_json, write_json
from g2v_dask.geo import layout

KINDS = ("matrix", "counts", "annotation")


class State(enum.StrEnum):
    """Where a series stands.

    ::

        named, or found by a search
             │
             ▼         all its files are there
           found ─┬──────────────────────────────▶ fetched   it feeds ingest
                  ├─ tables empty, no counts ────▶ no_table
                  ├─ a file could not be had ────▶ failed
                  └─ GEO answers 404 ────────────▶ gone      files and entry are kept

    Each run looks at every series again, so ``no_table``, ``failed`` and ``gone`` leave by the same arrows.
    ``fetched`` leaves for ``gone`` and ``no_table`` only: where a later look fails, its files are still good, and
    ``error`` says what happened. What stays ``found`` was cut off.
    """

    FOUND = "found"
    FETCHED = "fetched"
    NO_TABLE = "no_table"
    FAILED = "failed"
    GONE = "gone"


@dataclass(frozen=True, kw_only=True)
class File:
    """One file, as it was when it was checked."""

    name: str
    """Below ``files/``."""
    kind: str
    """``matrix``, ``counts`` or ``annotation``."""
    url: str
    bytes: int
    sha256: str
    etag: str | None = None
    last_modified: str | None = None
    rows: int | None = None
    """Rows of a matrix's table, or of counts; a matrix without is no input."""
    samples: int = 0
    platforms: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One series."""

    accession: str
    state: State = State.FOUND
    title: str = ""
    platforms: tuple[str, ...] = ()
    samples: int = 0
    updated: str | None = None
    """The date that the search gave, YYYY-MM-DD."""
    files: tuple[File, ...] = ()
    tries: int = 0
    """Runs that failed since it was last as it should be."""
    error: str | None = None
    """Why the last run failed; of a fetched series also what it lacks."""
    seen_at: str | None = None
    """When GEO last had it (UTC)."""
    fetched_at: str | None = None
    """When a file of it last changed (UTC)."""

    def as_json(self) -> dict[str, Any]:
        """For the document."""
        return asdict(self)

    @classmethod
    def of_json(cls, value: dict[str, Any]) -> Entry:
        """From the document."""
        files = tuple(File(**{**f, "platforms": tuple(f["platforms"])}) for f in value["files"])
        return cls(**{**value, "state": State(value["state"]), "platforms": tuple(value["platforms"]), "files": files})


@dataclass(frozen=True)
class Ledger:
    """The entries below ``<store>/geo/ledger``."""

    root: Folder
    """``<store>/geo``."""

    def entries(self) -> dict[str, Entry]:
        """All of them, in order of accession number."""
        names = (n.removesuffix(".json") for n in self._folder.names() if n.endswith(".json"))
        found = self._folder.together(self.get, layout.in_order(n for n in names if layout.is_series(n)))
        return {e.accession: e for e in found if e is not None}

    def get(self, accession: str) -> Entry | None:
        """One entry, or None.

        Raises: StoreError if its document is damaged.
        """
        name = f"{layout.series(accession)}.json"
        value = read_json(self._folder, name)
        if value is None:
            return None
        try:
            return Entry.of_json(value)
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{self._folder.url}/{name} is no entry of the ledger ({error}); remove it, and fetch again"
            raise StoreError(msg) from error

    def put(self, entry: Entry) -> None:
        """Writes an entry."""
        write_json(self._folder, f"{layout.series(entry.accession)}.json", entry.as_json())

    @property
    def _folder(self) -> Folder:
        return self.root / "ledger"
