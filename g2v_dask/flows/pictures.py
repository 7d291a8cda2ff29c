"""Pictures of a map, from an open store to files: what colours the genes, which of them are named."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from g2v_dask import query, report
from g2v_dask.analysis import groups
from g2v_dask.errors import InputError, SpecError, StoreError
from g2v_dask.exchange import gene_tables
from g2v_dask.exchange.gene_tables import GeneColumns
from g2v_dask.files import write_file
from g2v_dask.names import Names
from g2v_dask.options import nearest
from g2v_dask.readers.text import MISSING
from g2v_dask.store import Artifact, Store

METHODS = {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA"}
UNKNOWN = ("", "unknown")  # biotypes
COLOURS = ("group", "biotype", "none")  # besides columns of a table


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a picture is asked to show.

    Raises: SpecError for groups together with what colours the genes by something else.
    """

    files: tuple[Path, ...] = ()
    """The picture is written to each, as PNG, SVG or PDF by its name."""
    colour: str | None = None
    """``group``, ``biotype``, ``none``, or a column of the table; left out: groups, where there are any."""
    groups: str | None = None
    """Groups to colour by; left out: those with the embedding's name."""
    table: Path | None = None
    """A table with genes in its first column."""
    label: tuple[str, ...] = ()
    """Genes to name."""

    def __post_init__(self) -> None:
        if self.groups is None:
            return
        if self.table is not None:
            msg = f"--groups {self.groups} and --table {self.table} both colour the genes; leave one of them out"
            raise SpecError(msg)
        if self.colour in COLOURS and self.colour != "group":
            msg = f"--groups {self.groups} is of no use with --colour {self.colour}; leave one of them out"
            raise SpecError(msg)


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """What colours the genes of an embedding, in its order, and which are named."""

    embedding: Artifact
    colour: Any
    """``scatter.Categories``, ``scatter.Scale``, or None."""
    labels: Mapping[int, str]
    notes: tuple[str, ...] = ()
    """What a reader should know of it."""


def _scatter() -> Any:
    """The module that draws, loaded for the first picture."""
    return importlib.import_module("g2v_dask.report.scatter")


def look(store: Store, embedding: Artifact, picture: Picture) -> Look:
    """What a picture needs besides the map; so that what is wrong with it is found before the map is made.

    Raises: SpecError for an unknown colour, a table that it leaves unused, or groups that are not there; StoreError
            for groups of another version of the embedding; InputError for a file that is not of a picture, a table
            that cannot be read or knows no gene here, and names that are no gene here.
    """
    for file in picture.files:
        _scatter().suffix_of(file)
    names = query.names(embedding)
    named = [names.resolve(text) for text in picture.label]
    colour, notes = _colour(store, embedding, names, picture)
    return Look(
        embedding=embedding,
        colour=colour,
        labels={names.rows[word]: names.about(word).symbol for word in named},
        notes=notes,
    )


def draw(artifact: Artifact, look: Look, files: Sequence[Path]) -> None:
    """Draws a map into files.

    Raises: StoreError if it is the map of another embedding, or of another version of it; InputError if a file
            cannot be written.
    """
    if artifact.manifest["inputs"].get(look.embedding.key) != look.embedding.digest:
        msg = f"{artifact.key} is no map of {look.embedding.key} as it is now; make it again: g2v map"
        raise StoreError(msg)
    table = pq.read_table(artifact.path / "data.parquet")
    facts = artifact.facts
    axes = ("", "")
    if facts["method"] == "pca":
        first, second = (f"component {n}: {100 * v:.1f} % of the variance" for n, v in enumerate(facts["shares"], 1))
        axes = (first, second)
    scatter = _scatter()
    picture = scatter.Scatter(
        title=f"{facts['embedding']}: {METHODS[facts['method']]} of {facts['genes']:,} genes",
        places=np.column_stack([table["x"].to_numpy(), table["y"].to_numpy()]),
        colour=look.colour,
        labels=look.labels,
        axes=axes,
    )
    for file in files:
        path = file.expanduser()
        with report.writing(path):
            write_file(path, scatter.draw(picture, path))


# -- colours ------------------------------------------------------------------------------------------------


def _colour(store: Store, embedding: Artifact, names: Names, picture: Picture) -> tuple[Any, tuple[str, ...]]:
    """The colours that are asked for, and notes."""
    if picture.table is not None:
        table = gene_tables.read(picture.table)
        if picture.colour in COLOURS and picture.colour not in table.columns:
            msg = (
                f"--table {picture.table} is of no use with --colour {picture.colour}, which is none of its columns, "
                f"{_few(table.columns)}; leave one of them out"
            )
            raise SpecError(msg)
        return _of_table(table, names, picture.colour)
    there = picture.groups or (embedding.name if embedding.name in store.names("groups") else None)
    if picture.colour == "group" or (picture.colour is None and there is not None):
        return _of_groups(store.get("groups", there or embedding.name), embedding, names), ()
    if picture.colour == "biotype":
        kinds = [names.biotype(word) for word in names.rows]
        return _scatter().Categories(name="biotype", values=["" if k in UNKNOWN else k for k in kinds]), ()
    if picture.colour in (None, "none"):
        return None, ()
    msg = f"colour must be group, biotype, none, or a column of --table; got {picture.colour!r}"
    raise SpecError(msg)


def _of_groups(artifact: Artifact, embedding: Artifact, names: Names) -> Any:
    """Groups by gene; those of another embedding may be shown, those of another version of this one would mislead."""
    if artifact.manifest["inputs"].get(embedding.key, embedding.digest) != embedding.digest:
        msg = f"{artifact.key} are groups of an older {embedding.key}; make them again: g2v kmeans"
        raise StoreError(msg)
    found = groups.members(artifact.path / "data.parquet")
    number = dict(zip(found.genes.tolist(), found.group.tolist(), strict=True))
    values = [str(number.get(word, "")) for word in names.rows]
    if not any(values):
        msg = f"{artifact.key} holds none of the {len(values):,} genes of the map; name others with --groups"
        raise InputError(msg)
    return _scatter().Categories(name=f"groups {artifact.name}", values=values, numbered=True)


def _of_table(table: GeneColumns, names: Names, column: str | None) -> tuple[Any, tuple[str, ...]]:
    """A column of a table by gene: numbers if all that is there are numbers, else categories."""
    if column is None and len(table.columns) == 1:
        column = next(iter(table.columns))
    if column is None or column not in table.columns:
        near = "" if column is None else f" got {column!r}{nearest(column, table.columns)};"
        msg = f"colour must be a column of {table.file}, group, biotype or none;{near} it has {_few(table.columns)}"
        raise SpecError(msg)
    values = ["" if v.strip().lower() in MISSING else v.strip() for v in table.columns[column]]
    symbols = names.table.translate(table.genes).symbols
    by_id: dict[str, str] = {}
    by_symbol: dict[str, str] = {}
    for gene, symbol, value in zip(table.genes, symbols, values, strict=True):
        by_id.setdefault(gene, value)
        by_symbol.setdefault(symbol, value)
    words = list(names.rows)
    known = names.table.translate(words).symbols
    found = [by_id.get(word, by_symbol.get(symbol)) for word, symbol in zip(words, known, strict=True)]
    if all(value is None for value in found):
        msg = f"{table.file} knows none of the {len(words):,} genes here; its first are {_few(table.genes)}"
        raise InputError(msg)
    texts = [value or "" for value in found]
    again = len(table.genes) - len(by_symbol)
    notes = (f"{table.file}: {again:,} rows name a gene once more; its first row counts",) if again else ()
    numbers = [_number(text) for text in texts]
    if any(number is None for number in numbers) or not any(texts):
        return _scatter().Categories(name=column, values=texts), notes
    return _scatter().Scale(name=column, values=np.array(numbers, dtype=np.float64)), notes


def _number(text: str) -> float | None:
    """A finite number, NaN for nothing or infinity, None for other text."""
    if not text:
        return math.nan
    try:
        value = float(text) if "_" not in text else None  # Python reads 1_000 as a number
    except ValueError:
        return None
    return math.nan if value is not None and math.isinf(value) else value


def _few(words: Sequence[str] | Mapping[str, Any]) -> str:
    return ", ".join(list(words)[:8]) + (", ..." if len(words) > 8 else "")
