"""Expression files of any known format: what datasets a file holds, and their rows in blocks.

The format is known by content, not by name. One module a format does the rest.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from g2v_dask.errors import InputError
from g2v_dask.readers import gct, geo_matrix, h5ad, table
from g2v_dask.readers.source import Block, Format, Source
from g2v_dask.readers.text import GZIP, Text, pieces
from g2v_dask.spec import IngestSpec

HDF5 = b"\x89HDF\r\n\x1a\n"


def scan(path: Path, spec: IngestSpec) -> list[Source]:
    """The datasets of a file: one, or one a group. Reads heads only (of samples in rows: the whole file once).

    ``spec.platform`` goes to files that name none.
    Raises: InputError for a file of no known format, or with a damaged head; and where a group is not found.
    """
    with content_of(path):
        found = _scan(path, spec)
    return [s if s.platform is not None else replace(s, platform=spec.platform) for s in found]


def _scan(path: Path, spec: IngestSpec) -> list[Source]:
    prefix = spec.name_prefix
    samples = None if spec.samples is None else Path(spec.samples)
    match sniff(path):
        case "geo_matrix":
            return geo_matrix.scan(path, prefix=prefix)
        case "gct":
            return gct.scan(path, samples=samples, group_by=spec.group_by, prefix=prefix)
        case "h5ad":
            return h5ad.scan(path, samples=samples, group_by=spec.group_by, layer=spec.layer, prefix=prefix)
        case "table":
            return table.scan(
                path,
                samples=samples,
                group_by=spec.group_by,
                samples_in_rows=spec.samples_in_rows,
                prefix=prefix,
            )


def read(source: Source) -> Iterator[Block]:
    """A dataset in blocks of rows.

    Raises: InputError for damaged content: line, column and value are named.
    """
    readers = {"geo_matrix": geo_matrix.read, "gct": gct.read, "h5ad": h5ad.read, "table": table.read}
    with content_of(source.path):
        yield from readers[source.format](source)


@contextmanager
def content_of(path: Path) -> Iterator[None]:
    """What libraries raise at content that no check of ours foresaw is the file's fault, and said so.

    A damaged HDF5 chunk is an OSError, a matrix without its indices a KeyError; one such file in a batch must
    not stop the rest. What the system says of the file itself (not there, not readable) is passed on.
    """
    try:
        yield
    except InputError:
        raise
    except (csv.Error, KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        raise InputError(_damaged(path, error)) from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise InputError(_damaged(path, error)) from error


def _damaged(path: Path, error: Exception) -> str:
    return f"{path} cannot be read, its content is damaged or not of its format: {type(error).__name__}: {error}"


def sniff(path: Path) -> Format:
    """The format of a file, by its first bytes.

    Raises: InputError if it cannot be read or is of no known format.
    """
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        msg = f"expected an expression file at {path}: {error.strerror}"
        raise InputError(msg) from error
    if head == HDF5:
        return "h5ad"
    if head[:2] == GZIP and _unpacked_head(path) == HDF5:
        msg = f"{path} is a gzipped HDF5 file; h5ad cannot be read through gzip: gunzip it first"
        raise InputError(msg)
    first = (Text(path).line() or "").strip()
    if re.fullmatch(r"#\d\.\d", first):
        return "gct"
    if first.startswith(("^DATABASE", "^SERIES", "^SAMPLE", "^PLATFORM", "^Annotation")):
        msg = f"{path} is a SOFT file; expected the series matrix of that series (…_series_matrix.txt.gz)"
        raise InputError(msg)
    return "geo_matrix" if first.startswith("!") else "table"


def _unpacked_head(path: Path) -> bytes:
    return next(pieces(path, 1), b"")[:8]
