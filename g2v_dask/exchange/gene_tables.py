"""Tables of what is known of genes: genes in the first column, values beside them; CSV or TSV, plain or gzip."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from g2v_dask.errors import InputError
from g2v_dask.exchange.sidefiles import text_of


@dataclass(frozen=True, kw_only=True)
class GeneColumns:
    """A table of genes, as text."""

    file: Path
    genes: list[str]
    columns: Mapping[str, list[str]]
    """Of each header the values, in the order of the genes."""


def read(file: Path) -> GeneColumns:
    """A table with a header and genes in its first column, apart by tabs or commas, plain or gzip.

    The header may leave the first column out, as R writes it.
    Raises: InputError as ``text_of``, for a table without a second column, and for a row of another length (numbered).
    """
    text = text_of(file.expanduser())
    apart = "\t" if "\t" in "".join(text.split("\n", 2)[:2]) else ","
    try:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=apart)
        header = next(lines, [])
        rows = [(n, row) for n, row in enumerate(lines, start=2) if any(row)]
    except csv.Error as error:
        msg = f"cannot read the table {file}: {error}; expected text apart by tabs or commas, with a header"
        raise InputError(msg) from error
    if rows and len(rows[0][1]) == len(header) + 1:
        header = ["", *header]
    if len(header) < 2 or not rows:
        msg = f"{file} must hold a header, genes in the first column, and values beside them; its header is {header}"
        raise InputError(msg)
    for number, row in rows:
        if len(row) != len(header):
            msg = f"{file}, row {number}: expected {len(header)} fields, as in the header, got {len(row)}"
            raise InputError(msg)
    genes, *columns = zip(*(row for _, row in rows), strict=True)
    names = [name.strip() for name in header[1:]]
    return GeneColumns(
        file=file, genes=[gene.strip() for gene in genes], columns=dict(zip(names, map(list, columns), strict=True))
    )
