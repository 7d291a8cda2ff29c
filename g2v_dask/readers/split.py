"""Splitting one file into datasets by a column of a sample table."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from g2v_dask.errors import InputError
from g2v_dask.options import nearest
from g2v_dask.readers.ids import present
from g2v_dask.readers.source import Source, safe_name
from g2v_dask.readers.text import Text


def sample_groups(table: Path, column: str, samples: Sequence[str], *, of: Path) -> dict[str, str]:
    """The group of each sample, from a sample table; its id column is the one that names most of the samples.

    Raises: InputError if the table has no such column, names none of the samples, or one in two groups.
    """
    header, lines = read_table(table)
    if column not in header:
        msg = f"{table} has no column {column!r}{nearest(column, header)}; found {', '.join(header[:30])}"
        raise InputError(msg)
    wanted = set(samples)
    hits = [sum(line[k] in wanted for line in lines) for k in range(len(header))]
    best = max(range(len(header)), key=lambda k: hits[k])
    if hits[best] == 0:
        first = lines[0][0] if lines else "nothing"
        msg = (
            f"{table} names no sample of {of}: expected ids such as {samples[0]!r} in one of its columns, found "
            f"{first!r}"
        )
        raise InputError(msg)
    at = header.index(column)
    groups: dict[str, str] = {}
    for line in lines:
        sample, group = line[best], line[at]
        if sample in wanted and groups.setdefault(sample, group) != group:
            msg = f"{table} puts sample {sample!r} in two groups, {groups[sample]!r} and {group!r}; expected one"
            raise InputError(msg)
    return groups


def by_group(whole: Source, groups: Mapping[str, str], *, prefix: str = "") -> list[Source]:
    """One source a group, sorted by group; samples without a group are left out, and counted.

    Raises: InputError if no sample has a group.
    """
    places: dict[str, list[int]] = {}
    for place, sample in enumerate(whole.samples):
        if group := present_group(groups.get(sample, "")):
            places.setdefault(group, []).append(place)
    if not places:
        msg = f"{whole.path}: none of its {len(whole.samples):,} samples has a group; look at the column of --group-by"
        raise InputError(msg)
    left_out = len(whole.samples) - sum(map(len, places.values()))
    return [
        replace(
            whole,
            name=safe_name(prefix + group),
            title=prefix + group,
            samples=tuple(whole.samples[k] for k in places[group]),
            columns=tuple(places[group]),
            group=group,
            left_out=left_out,
        )
        for group in sorted(places)
    ]


def present_group(group: str) -> str:
    """A group without padding; nothing where the cell says missing. A group may be called 0."""
    group = group.strip()
    return group if group == "0" else present(group)


def read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a small delimited table; rows are as long as the header.

    Raises: InputError if it cannot be read, or a row is longer than the header.
    """
    text = Text(path)
    lines: list[str] = []
    while (line := text.line()) is not None:
        if line and not (line.startswith("#") and not lines):
            lines.append(line)
    delimiter = delimiter_of(lines[0]) or "\t"
    cells = [[c.strip() for c in row] for row in csv.reader(lines, delimiter=delimiter)]
    header = cells[0]
    if len(cells) > 1 and len(cells[1]) == len(header) + 1:  # R's write.table leaves the row names' header out
        header = ["", *header]
    for number, row in enumerate(cells[1:], 2):
        if len(row) > len(header):
            msg = f"{path}: row {number} has {len(row)} fields, expected {len(header)} as in the header"
            raise InputError(msg)
        row.extend([""] * (len(header) - len(row)))
    return header, cells[1:]


def delimiter_of(line: str) -> str | None:
    """Tab, else the most frequent of comma, semicolon and blank outside quotes; None if there is none."""
    bare = "".join(part for k, part in enumerate(line.split('"')) if k % 2 == 0)
    if "\t" in bare:
        return "\t"
    counts = Counter(c for c in bare if c in ",;")
    if counts:
        return counts.most_common(1)[0][0]
    return " " if " " in bare.strip() or '" "' in line else None
