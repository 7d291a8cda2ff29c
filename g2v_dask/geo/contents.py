"""Whether a fetched file is what its name says, and what it holds. Each reads the file whole, checksums included."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from g2v_dask.geo import layout
from g2v_dask.geo.web import WebError

TABLE = b"!series_matrix_table_"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a file holds."""

    rows: int | None = None
    samples: int = 0
    platforms: tuple[str, ...] = ()
    title: str = ""


def matrix(path: Path, accession: str) -> Seen:
    """A series matrix: its head, and how many rows its table has.

    Raises: WebError if it is damaged, without an end, or of another series.
    """
    head: dict[bytes, list[str]] = {}
    rows: int | None = None
    ended = False
    with _unpacked(path) as lines:
        for line in lines:
            if line.startswith(TABLE):
                ended = line[len(TABLE) :].startswith(b"end")
                rows = rows if ended else -1  # the header is no row
            elif rows is None and line.startswith(b"!"):
                key, _, rest = line.partition(b"\t")
                cells = [c.strip().strip('"') for c in rest.decode("utf-8", errors="replace").split("\t")]
                head.setdefault(key, []).extend(cells)
            elif rows is not None and not ended and line.strip():
                rows += 1
    if rows is None or not ended:
        msg = "its table does not end: it is cut off, or no series matrix"
        raise WebError(msg)
    named = head.get(b"!Series_geo_accession", [""])[0]
    if named != accession:
        msg = f"it says that it is of {named[:20]!r}, expected {accession}"
        raise WebError(msg)
    platforms = head.get(b"!Sample_platform_id") or head.get(b"!Series_platform_id") or []
    return Seen(
        rows=max(rows, 0),
        samples=len(head.get(b"!Sample_geo_accession", [])),
        platforms=tuple(layout.in_order(p for p in platforms if layout.is_platform(p))),
        title=head.get(b"!Series_title", [""])[0],
    )


def counts(path: Path) -> Seen:
    """NCBI's raw counts: gene ids, then a column a sample.

    Raises: WebError if it is damaged or holds something else.
    """
    with _unpacked(path) as lines:
        header = next(lines, b"").rstrip(b"\r\n").split(b"\t")
        rows = sum(1 for line in lines if line.strip())
    if header[0].strip(b'"') != b"GeneID" or len(header) < 2 or not rows:
        msg = "expected NCBI's raw counts, GeneID and a column a sample; it holds something else"
        raise WebError(msg)
    return Seen(rows=rows, samples=len(header) - 1)


def packed(path: Path) -> Seen:
    """Any gzip file with something in it.

    Raises: WebError if it is damaged or empty.
    """
    with _unpacked(path) as lines:
        if not sum(len(line) for line in lines):
            msg = "it is empty"
            raise WebError(msg)
    return Seen()


def platform_table(path: Path) -> Seen:
    """GEO's text of a platform; ``rows`` is 0 if it has no table.

    Raises: WebError if its table does not end.
    """
    rows, marks = 0, 0
    with path.open("rb") as lines:
        for line in lines:
            if line.lower().startswith((b"!platform_table_begin", b"!platform_table_end")):
                marks += 1
            elif marks == 1 and line.strip():
                rows += 1
    if marks == 1:
        msg = "its table does not end: it is cut off"
        raise WebError(msg)
    return Seen(rows=max(rows - 1, 0))


@contextmanager
def _unpacked(path: Path) -> Iterator[Iterator[bytes]]:
    """The lines of a gzip file. Its end, where the checksum is, is reached by reading all of them."""
    try:
        with gzip.open(path, "rb") as lines:
            yield _lines(lines)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        msg = f"it is a truncated or damaged gzip file ({error})"
        raise WebError(msg) from None


def _lines(stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    yield from stream
