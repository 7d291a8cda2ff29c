"""GEO series matrix files, as GEO serves them: ``!`` lines, then one quoted table of probes × samples."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from g2v_dask.errors import InputError
from g2v_dask.readers import ids
from g2v_dask.readers.source import Block, Source, check_samples, safe_name, stem
from g2v_dask.readers.text import Fields, Text, rows

BEGIN, END = "!series_matrix_table_begin", "!series_matrix_table_end"
TAKEN = ("!Series_geo_accession", "!Series_platform_id", "!Sample_platform_id", "!Sample_data_row_count")


def scan(path: Path, *, prefix: str = "") -> list[Source]:
    """The dataset of a series matrix, named by its accession, with ``-GPLxxx`` if the series names several."""
    text = Text(path)
    head = _head(text)
    accession = next(iter(head["!Series_geo_accession"]), "")
    if re.fullmatch(r"GSE\d+", accession) is None:
        accession = stem(path)  # not GEO's own, but packaged as one
    of_series, of_samples = head["!Series_platform_id"], head["!Sample_platform_id"]
    in_name = re.findall(rf"{re.escape(accession)}-(GPL\d+)", path.name)  # how GEO names one platform's file
    platforms = of_samples if of_samples else of_series if len(of_series) == 1 else in_name
    platform = platforms[0] if len(platforms) == 1 else None
    several = len(of_series) > 1 or bool(in_name)
    title = prefix + (f"{accession}-{platform}" if several and platform is not None else accession)
    samples = _samples(text)
    return [
        Source(
            path=path,
            format="geo_matrix",
            name=safe_name(title),
            title=title,
            samples=tuple(samples),
            platform=platform,
            n_rows=max((int(n) for n in head["!Sample_data_row_count"] if n.isdigit()), default=None),
        )
    ]


def read(source: Source) -> Iterator[Block]:
    """The table of a series matrix in blocks.

    Raises: InputError if it has no rows, as the series of sequencing studies, or does not end.
    """
    text = Text(source.path, prefetch=True)
    _head(text)
    samples = _samples(text)
    fields = Fields(
        delimiter="\t",
        count=len(samples) + 1,
        ids=(0,),
        values=tuple(range(1, len(samples) + 1)),
        names=samples,
    )
    kind = None
    for (names,), values in rows(text, fields, end=END):
        if kind is None:
            # A running number or a vendor's number is a probe; whether a gene table knows them is seen later.
            kind = ids.kind_of("ID_REF", names[: ids.TRIED], first=True) or "probe"
        yield Block(rows=names, ids=ids.by_kind([kind], [names]), values=values)
    if kind is None:
        msg = (
            f"{source.path}: its table is empty; expected rows of probes. Sequencing studies keep their values in "
            "supplementary files: ingest those as tables"
        )
        raise InputError(msg)


def _head(text: Text) -> dict[str, list[str]]:
    """The distinct values of the lines that name accession and platforms; reads to where the table begins."""
    found: dict[str, list[str]] = {key: [] for key in TAKEN}
    while (line := text.line()) is not None:
        if line.startswith(BEGIN):
            return found
        key, _, rest = line.partition("\t")
        if key in found:
            found[key] = list(dict.fromkeys([*found[key], *(c.strip().strip('"') for c in rest.split("\t"))]))
    msg = f"{text.path}: expected the line {BEGIN}, found none in {text.number:,} lines; fetch it again"
    raise InputError(msg)


def _samples(text: Text) -> list[str]:
    header = next(csv.reader([text.line() or ""], delimiter="\t"), [])
    if not header or header[0] != "ID_REF":
        found = header[0] if header else "the end"
        msg = f"{text.path}: expected a header line that begins with ID_REF after {BEGIN}, found {found!r}"
        raise InputError(msg)
    samples = [h.strip() for h in header[1:]]
    check_samples(text.path, samples)
    return samples
