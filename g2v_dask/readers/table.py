"""Delimited tables: genes in rows, ids in the first columns, then samples; or samples in rows."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from g2v_dask.errors import InputError
from g2v_dask.readers import ids, split
from g2v_dask.readers.source import Block, Kind, Source, check_samples, safe_name, stem
from g2v_dask.readers.text import Fields, Text, rows

LEADING = 12  # columns looked at for ids and notes


@dataclass(frozen=True, kw_only=True)
class Head:
    """How a table is laid out."""

    delimiter: str
    headers: list[str]
    """One a field; the row names' header, which R leaves out, is empty."""
    width: int
    """Fields of a line: more than headers where lines end with a delimiter."""
    kinds: dict[int, Kind]
    """Id columns."""
    first: int
    """Where the values begin."""


def scan(
    path: Path,
    *,
    samples: Path | None = None,
    group_by: str | None = None,
    samples_in_rows: bool = False,
    prefix: str = "",
) -> list[Source]:
    """The dataset of a table, or one a group of a sample table."""
    text = Text(path)
    head = _head(text, samples_in_rows=samples_in_rows)
    if samples_in_rows:
        names = _first_column(path, head)
        check_samples(path, names)
    else:
        names = head.headers[head.first :]
    title = prefix + stem(path)
    whole = Source(
        path=path,
        format="table",
        name=safe_name(title),
        title=title,
        samples=tuple(names),
        samples_in_rows=samples_in_rows,
    )
    if samples is None or group_by is None:
        return [whole]
    groups = split.sample_groups(samples, group_by, names, of=path)
    return split.by_group(whole, groups, prefix=prefix)


def read(source: Source) -> Iterator[Block]:
    """The rows of a table in blocks, with the source's samples only; a table of samples in rows is one block.

    Raises: InputError for damaged rows.
    """
    text = Text(source.path, prefetch=True)
    head = _head(text, samples_in_rows=source.samples_in_rows)
    if source.samples_in_rows:
        yield _turned(source, text, head)
        return
    wanted = range(len(head.headers) - head.first) if source.columns is None else source.columns
    fields = Fields(
        delimiter=head.delimiter,
        count=head.width,
        ids=tuple(sorted(head.kinds)),
        values=tuple(head.first + k for k in wanted),
        names=source.samples,
    )
    kinds = [head.kinds[k] for k in fields.ids]
    for words, values in rows(text, fields):
        yield Block(rows=words[0], ids=ids.by_kind(kinds, words), values=values)


def _turned(source: Source, text: Text, head: Head) -> Block:
    """A table of samples in rows as one block of genes in rows."""
    genes = head.headers[head.first :]
    fields = Fields(
        delimiter=head.delimiter,
        count=head.width,
        ids=(),
        values=tuple(range(head.first, len(head.headers))),
        names=genes,
    )
    values = np.empty((len(source.samples), len(genes)))
    at = {place: k for k, place in enumerate(source.columns)} if source.columns is not None else None
    seen = filled = 0
    for _, block in rows(text, fields):
        for row in block:
            place = seen if at is None else at.get(seen, -1)
            if place >= 0:
                values[place] = row
                filled += 1
            seen += 1
    if filled != len(source.samples):
        msg = f"{source.path} changed while it was read: expected {len(source.samples):,} samples, found {filled:,}"
        raise InputError(msg)
    kind = ids.kind_of("", genes[: ids.TRIED], first=True) or "symbol"
    return Block(rows=genes, ids=ids.by_kind([kind], [genes]), values=values.T)


def _head(text: Text, *, samples_in_rows: bool) -> Head:
    line = text.line()
    while line is not None and (not line.strip() or line.startswith("#")):
        if line.startswith("#") and _is_header(text, line):
            break
        line = text.line()
    delimiter = split.delimiter_of(line or "")
    if line is None or delimiter is None:
        raise InputError(_unknown(text.path, line or ""))
    cells = next(csv.reader([line.lstrip("#")], delimiter=delimiter))
    headers = [c.strip() for c in cells]
    while headers and not headers[-1] and len(headers) > 2:
        headers.pop()
    lines = text.peek(ids.TRIED if not samples_in_rows else 1)
    if not lines:
        msg = f"{text.path} has a header and no rows; expected a row for each {_what(samples_in_rows)}"
        raise InputError(msg)
    row = next(csv.reader(lines[:1], delimiter=delimiter))
    width = len(row)
    if width == len(headers) + 1 and row[-1].strip():  # R's write.table
        headers = ["", *headers]
    if width > len(headers) and any(row[len(headers) :]):
        msg = f"{text.path}: the first row has {width:,} fields, expected {len(headers):,} as in the header"
        raise InputError(msg)
    width = max(width, len(headers))
    if samples_in_rows:
        return Head(delimiter=delimiter, headers=headers, width=width, kinds={}, first=1)
    columns = _first_columns(lines, delimiter, min(len(headers), LEADING))
    kinds, first = ids.leading_ids(headers[:LEADING], columns)
    if not kinds:
        msg = (
            f"{text.path}: expected gene or probe ids in the first column, found {headers[0]!r} with values such as "
            f"{columns[0][0]!r}; put the ids first, or give --samples-in-rows if genes are in columns"
        )
        raise InputError(msg)
    if first >= len(headers):
        raise InputError(_unknown(text.path, line))
    check_samples(text.path, headers[first:])
    return Head(delimiter=delimiter, headers=headers, width=width, kinds=kinds, first=first)


def _first_columns(lines: list[str], delimiter: str, count: int) -> list[list[str]]:
    """The first cells of some lines, column by column; only a line with quotes needs csv."""
    rows = [
        next(csv.reader([line], delimiter=delimiter)) if '"' in line else line.split(delimiter, count) for line in lines
    ]
    return [[r[k] if k < len(r) else "" for r in rows] for k in range(count)]


def _unknown(path: Path, line: str) -> str:
    return (
        f"{path} is not a known format: expected a GEO series matrix, a GCT, an h5ad file, or a table of ids and "
        f"numbers delimited by tabs, commas or semicolons; its header is {line[:60]!r}"
    )


def _what(samples_in_rows: bool) -> str:  # noqa: FBT001
    return "sample" if samples_in_rows else "gene"


def _is_header(text: Text, line: str) -> bool:
    """Whether a line that begins with # is the header: as many fields as the next, which is data."""
    following = text.peek(1)
    if not following or following[0].startswith("#"):
        return False
    delimiter = split.delimiter_of(following[0])
    return delimiter is not None and line.count(delimiter) == following[0].count(delimiter)


def _first_column(path: Path, head: Head) -> list[str]:
    """The sample ids of a table with samples in rows: one pass over the file."""
    text = Text(path, prefetch=True)
    _head(text, samples_in_rows=True)
    fields = Fields(delimiter=head.delimiter, count=head.width, ids=(0,), values=(), names=())
    return [name for (names,), _ in rows(text, fields) for name in names]
