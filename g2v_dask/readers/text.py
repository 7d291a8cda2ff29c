"""Text files, plain or gzip: lines for the head, whole-line blocks of numbers for the rest. Memory: a few blocks."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from g2v_dask.errors import InputError
from g2v_dask.readers import numbers
from g2v_dask.readers.source import infinite

PIECE = 1 << 18  # bytes read from disk at a time
CHUNK = 1 << 22  # bytes of text parsed at a time; a longer line makes a longer chunk
GZIP = b"\x1f\x8b"
MISSING = frozenset({"", "na", "nan", "n/a", "#n/a", "null", "none", "-", "--", "?", "nd", "missing", "<na>"})
PADDING = ' "\t\r'
T = TypeVar("T")


def pieces(path: Path, size: int = CHUNK) -> Iterator[bytes]:
    """The text of a file in pieces of about ``size`` bytes.

    Raises: InputError if it cannot be read, or is gzip and truncated or damaged.
    """
    try:
        with path.open("rb") as file:
            head = file.read(PIECE)
            if head[:2] == GZIP:
                yield from _unpacked(path, head, lambda: file.read(PIECE), size)
                return
            while head:
                yield head
                head = file.read(size)
    except OSError as error:
        msg = f"expected an expression file at {path}: {error.strerror}"
        raise InputError(msg) from error


def _unpacked(path: Path, head: bytes, more: Callable[[], bytes], size: int) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(wbits=31)
    held: list[bytes] = []
    length = 0
    try:
        while head:
            if unpacker.eof:  # bgzip and cat make files of several members
                if head[:2] != GZIP:
                    break  # padding
                unpacker = zlib.decompressobj(wbits=31)
            out = unpacker.decompress(head)
            held.append(out)
            length += len(out)
            if length >= size:
                yield b"".join(held)
                held, length = [], 0
            head = unpacker.unused_data or more()
    except zlib.error as error:
        msg = f"{path} is a damaged gzip file ({error}); fetch it again"
        raise InputError(msg) from error
    if not unpacker.eof:
        msg = f"{path} is a truncated gzip file: expected its end mark; fetch it again"
        raise InputError(msg)
    if held:
        yield b"".join(held)


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each made in a thread while the one before is used: unpacking takes as long as parsing."""
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, items, None)
        while (item := waiting.result()) is not None:
            waiting = pool.submit(next, items, None)
            yield item


class Text:
    """A text file read from the top: ``line()`` for the head, then ``chunks()`` for the rest."""

    def __init__(self, path: Path, *, prefetch: bool = False) -> None:
        self.path = path
        self.number = 0
        """Lines read so far."""
        self._pieces = ahead(pieces(path)) if prefetch else pieces(path, PIECE)
        self._held = next(self._pieces, b"").removeprefix(b"\xef\xbb\xbf")
        self._at = 0
        check_is_text(path, self._held[:4096])

    def _more(self) -> bool:
        piece = next(self._pieces, b"")
        self._held = self._held[self._at :] + piece
        self._at = 0
        return bool(piece)

    def line(self) -> str | None:
        """The next line without its end, or None after the last."""
        while (end := self._held.find(b"\n", self._at)) < 0:
            if not self._more():
                end = len(self._held)
                break
        if self._at >= len(self._held):
            return None
        raw = self._held[self._at : end]
        self._at = min(end + 1, len(self._held))
        self.number += 1
        return decoded(raw.rstrip(b"\r"))

    def peek(self, count: int) -> list[str]:
        """Up to ``count`` next lines, left where they are; fewer when they are long."""
        while self._held.count(b"\n", self._at) < count and len(self._held) - self._at < CHUNK:
            if not self._more():
                break
        lines = self._held[self._at :].split(b"\n", count)[:count]
        return [decoded(raw.rstrip(b"\r")) for raw in lines if raw.rstrip(b"\r")]

    def chunks(self) -> Iterator[bytes]:
        """The rest in chunks of whole lines, each ended by a line end."""
        parts, rest = [self._held[self._at :]], True
        self._held, self._at = b"", 0
        while rest:
            piece = next(self._pieces, None)
            rest = piece is not None
            if piece is None:
                tail = b"".join(parts)
                if tail.strip(b"\r\n"):
                    yield tail if tail.endswith(b"\n") else tail + b"\n"
            elif (cut := piece.rfind(b"\n") + 1) == 0:
                parts.append(piece)
            else:
                yield b"".join((*parts, piece[:cut]))
                parts = [piece[cut:]]


def decoded(raw: bytes) -> str:
    """Bytes as text: UTF-8, or Latin-1 where they are not."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def check_is_text(path: Path, head: bytes) -> None:
    """Raises InputError if a file's first bytes are no delimited text."""
    start = head.lstrip()[:200].lower()
    known = "a GEO series matrix, a GCT, a delimited table or an h5ad file"
    if not start:
        msg = f"{path} is empty; expected {known}"
        raise InputError(msg)
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<!--")):
        msg = f"{path} holds HTML, expected {known}; the download was a web page, fetch the file itself"
        raise InputError(msg)
    if b"\x00" in head:
        msg = f"{path} is not a known format: expected {known}, plain or gzip; found binary data ({head[:4]!r})"
        raise InputError(msg)


@dataclass(frozen=True, kw_only=True)
class Fields:
    """Which fields of a line are ids and which are values."""

    delimiter: str
    count: int
    ids: tuple[int, ...]
    values: tuple[int, ...]
    names: Sequence[str]
    """Names of the values, for messages."""

    def targets(self) -> NDArray[np.int32]:
        """For each field its column of values, or what else it is."""
        found = np.full(self.count, numbers.SKIP, dtype=np.int32)
        for place, at in enumerate(self.ids):
            found[at] = numbers.FIRST_ID - place
        found[list(self.values)] = np.arange(len(self.values), dtype=np.int32)
        return found


def rows(
    text: Text, fields: Fields, *, end: str | None = None
) -> Iterator[tuple[list[list[str]], NDArray[np.float64]]]:
    """The rest of a file in blocks: the ids (one list a column), and the values (rows, columns).

    ``end`` is the line that must close the table.
    Raises: InputError for a row of another length, text where a number should be, ±inf, or no closing line.
    """
    targets = fields.targets()
    stop = ord(end[0]) if end else 0
    delimiter = ord(fields.delimiter)
    for chunk in text.chunks():
        buffer = np.frombuffer(chunk, dtype=np.uint8)
        at = 0
        while at < len(chunk):
            room = chunk.count(b"\n", at)
            values = np.empty((room, len(fields.values)))
            ids = np.empty((room, len(fields.ids), 2), dtype=np.int64)
            odd = np.empty((max(values.size // 8, 4 * fields.count), 4), dtype=np.int64)
            state, at, count, odds, width = numbers.parse(buffer, at, delimiter, stop, targets, values, ids, odd)
            _settle(text, fields, chunk, values, odd[:odds])
            if state == numbers.RAGGED:
                raise _ragged(text, fields, chunk, at, text.number + count, width)
            if count:
                yield [_words(chunk, ids[:count, k]) for k in range(len(fields.ids))], values[:count]
            text.number += count
            if state == numbers.STOPPED:
                return
            if state == numbers.DONE:
                break
    if end is not None:
        msg = f"{text.path} ends in its table after row {text.number:,}: expected the line {end}; fetch it again"
        raise InputError(msg)


def _words(chunk: bytes, spans: NDArray[np.int64]) -> list[str]:
    """Cells as text, without padding and quotes."""
    # Two flat lists: a list of small lists wakes the garbage collector, which costs more than the parsing.
    begin, end = spans[:, 0].tolist(), spans[:, 1].tolist()
    try:
        return [chunk[a:b].decode().strip(PADDING) for a, b in zip(begin, end, strict=True)]
    except UnicodeDecodeError:
        return [decoded(chunk[a:b]).strip(PADDING) for a, b in zip(begin, end, strict=True)]


def _settle(text: Text, fields: Fields, chunk: bytes, values: NDArray[np.float64], odd: NDArray[np.int64]) -> None:
    """Fields that are no plain number: missing, unusual numbers, or errors."""
    for row, column, begin, stop in odd.tolist():
        word = decoded(chunk[begin:stop]).strip(PADDING)
        where = f"line {text.number + row + 1:,}, column {fields.names[column]!r}"
        values[row, column] = number(text.path, word, where)


def number(path: Path, word: str, where: str) -> float:
    """A word as a number; NaN where it says that nothing was measured.

    Raises: InputError for other text, and for ±inf.
    """
    if word.lower() in MISSING:
        return math.nan
    try:
        value = float(word.replace("_", "x"))  # Python alone would take 1_0
    except ValueError:
        msg = f"{path}: {where}: expected a number, got {word[:40]!r}; mark missing values NA"
        raise InputError(msg) from None
    if math.isinf(value):
        raise infinite(path, where, word)
    return value


def _ragged(text: Text, fields: Fields, chunk: bytes, at: int, number: int, width: int) -> InputError:
    line = decoded(chunk[at : chunk.find(b"\n", at)])
    return InputError(
        f"{text.path}: line {number + 1:,} has {width:,} fields, expected {fields.count:,} as in the header "
        f"({line[:60]!r} …); the file may be truncated there, fetch it again or repair the line"
    )
