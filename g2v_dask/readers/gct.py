"""GCT files (Broad Institute), versions 1.2 and 1.3: two head lines, a header, then genes × samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from g2v_dask.errors import InputError
from g2v_dask.options import nearest
from g2v_dask.readers import ids, split
from g2v_dask.readers.source import Block, Kind, Source, check_samples, safe_name, stem
from g2v_dask.readers.text import Fields, Text, rows


@dataclass(frozen=True, kw_only=True)
class Head:
    """What the first lines of a GCT say."""

    rows: int
    """Data rows that it announces."""
    headers: list[str]
    """Names of the columns before the samples."""
    samples: list[str]
    notes: dict[str, list[str]]
    """GCT 1.3: facts of the samples, a list each."""


def scan(path: Path, *, samples: Path | None = None, group_by: str | None = None, prefix: str = "") -> list[Source]:
    """The datasets of a GCT: all of it, or one a group of a sample table or of its own sample facts (1.3)."""
    head = _head(Text(path))
    title = prefix + stem(path)
    whole = Source(
        path=path,
        format="gct",
        name=safe_name(title),
        title=title,
        samples=tuple(head.samples),
        n_rows=head.rows,
    )
    if group_by is None:
        return [whole]
    if samples is not None:
        groups = split.sample_groups(samples, group_by, head.samples, of=path)
    elif group_by in head.notes:
        groups = dict(zip(head.samples, head.notes[group_by], strict=True))
    else:
        known = ", ".join(head.notes)
        hint = f"{nearest(group_by, head.notes)}; it has {known}" if known else "; name a sample table with --samples"
        msg = f"{path} has no facts {group_by!r} of its samples{hint}"
        raise InputError(msg)
    return split.by_group(whole, groups, prefix=prefix)


def read(source: Source) -> Iterator[Block]:
    """The rows of a GCT in blocks, with the source's samples only.

    Raises: InputError if rows are damaged, or there are not as many as it announces.
    """
    text = Text(source.path, prefetch=True)
    head = _head(text)
    kinds = id_columns(text, head)
    wanted = range(len(head.samples)) if source.columns is None else source.columns
    first = len(head.headers)
    fields = Fields(
        delimiter="\t",
        count=first + len(head.samples),
        ids=tuple(sorted(kinds)),
        values=tuple(first + k for k in wanted),
        names=source.samples,
    )
    seen = 0
    for words, values in rows(text, fields):
        seen += len(values)
        yield Block(rows=words[0], ids=ids.by_kind([kinds[k] for k in fields.ids], words), values=values)
    if seen != head.rows:
        msg = f"{source.path} announces {head.rows:,} rows, found {seen:,}; fetch it again, or correct its second line"
        raise InputError(msg)


def id_columns(text: Text, head: Head) -> dict[int, Kind]:
    """Which of the columns before the samples are ids. The first always is.

    The second, ``Description``, holds symbols (GTEx) or words.
    """
    width = len(head.headers)
    cells = [line.split("\t", width)[:width] for line in text.peek(ids.TRIED)]
    columns = [[c[k] if k < len(c) else "" for c in cells] for k in range(width)]
    headers = ["gene_symbol" if ids.plain(h) == "description" else h for h in head.headers]
    found: dict[int, Kind] = {}
    for place in range(width):  # one at a time: any of them may be a fact that is a number
        pair = [0, place] if place else [0]
        here, _ = ids.leading_ids([headers[k] for k in pair], [columns[k] for k in pair])
        for k, kind in here.items():
            if k == 0 or kind not in found.values():
                found[pair[k]] = kind
    return found if 0 in found else {0: "probe", **found}


def _head(text: Text) -> Head:
    version = (text.line() or "").strip()
    if version not in ("#1.2", "#1.3"):
        msg = f"{text.path}: expected a GCT of version 1.2 or 1.3, found {version!r}"
        raise InputError(msg)
    try:
        sizes = [int(word) for word in (text.line() or "").split()]
    except ValueError:
        sizes = []
    if len(sizes) not in (2, 4) or min(sizes) < 0:
        msg = f"{text.path}: expected numbers of rows and columns in line 2 of a GCT"
        raise InputError(msg)
    count, width = sizes[:2]
    facts, notes = (sizes[2], sizes[3]) if len(sizes) == 4 else (1, 0)
    header = [cell.strip().strip('"') for cell in (text.line() or "").rstrip("\t").split("\t")]
    samples = header[1 + facts :]
    if len(samples) != width:
        msg = f"{text.path}: line 2 announces {width:,} samples, the header has {len(samples):,}; correct one of them"
        raise InputError(msg)
    check_samples(text.path, samples)
    found: dict[str, list[str]] = {}
    for _ in range(notes):
        cells = (text.line() or "").split("\t")
        if len(cells) != len(header):
            msg = f"{text.path}: line {text.number} has {len(cells):,} fields, expected {len(header):,}"
            raise InputError(msg)
        found[cells[0]] = cells[1 + facts :]
    return Head(rows=count, headers=header[: 1 + facts], samples=samples, notes=found)
