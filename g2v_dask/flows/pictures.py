"""Pictures of a map, from an open store to files: what colours the genes, which of them are named."""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2v_dask import query, report, schema
from g2v_dask.analysis import biotypes, groups, tissues
from g2v_dask.analysis.tissues import Specificity
from g2v_dask.background import Sources
from g2v_dask.errors import InputError, SpecError, StoreError
from g2v_dask.exchange import gene_tables
from g2v_dask.exchange.gene_tables import GeneColumns
from g2v_dask.files import write_file
from g2v_dask.flows import tables
from g2v_dask.names import Names
from g2v_dask.options import nearest
from g2v_dask.readers.text import MISSING
from g2v_dask.store import Artifact, Store

METHODS = {"tsne": "t-SNE", "umap": "UMAP", "pca": "PCA"}
COLOURS = ("group", "biotype", "tissues", "none")  # besides one tissue, and columns of a table
TISSUE = "tissue="  # and its name
WORDS = "group, biotype, tissue=NAME, tissues, none"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a picture is asked to show.

    Raises: SpecError for options of which one leaves another unused.
    """

    files: tuple[Path, ...] = ()
    """The picture is written to each, as PNG, SVG or PDF by its name."""
    colour: str | None = None
    """``group``, ``biotype``, ``tissue=NAME``, ``tissues`` (a sheet of small maps), ``none``, or a column of the table;
    left out: groups, where there are any, and biotypes for islands."""
    groups: str | None = None
    """Groups to colour by; left out: those with the embedding's name."""
    table: Path | None = None
    """A table with genes in its first column."""
    label: tuple[str, ...] = ()
    """Genes to name."""
    datasets: tuple[str, ...] | None = None
    """The tissues over which a gene's z-score is taken; left out: all datasets with read counts."""
    islands: bool = False
    """Whether the map's islands are outlined and numbered."""

    def __post_init__(self) -> None:
        if self.groups is not None and self.table is not None:
            msg = f"--groups {self.groups} and --table {self.table} both colour the genes; leave one of them out"
            raise SpecError(msg)
        other = self.known and self.colour != "group"
        idle = [
            ("--groups", self.groups is not None and other),
            ("--datasets", self.datasets is not None and not self.of_tissues),
            ("--label", bool(self.label) and self.colour == "tissues"),
            ("--islands", self.islands and self.colour == "tissues"),
        ]
        for option, unused in idle:
            if unused:
                value = {"--groups": f" {self.groups}"}.get(option, "")
                with_what = "other colours than tissues" if self.colour is None else f"--colour {self.colour}"
                msg = f"{option}{value} is of no use with {with_what}; leave one of them out"
                raise SpecError(msg)

    @property
    def known(self) -> bool:
        """Whether the colour is one of ours, and no column of a table."""
        return self.colour in COLOURS or self._tissue

    @property
    def of_tissues(self) -> bool:
        """Whether z-scores colour the genes."""
        return self.colour == "tissues" or self._tissue

    @property
    def _tissue(self) -> bool:
        return self.colour is not None and self.colour.startswith(TISSUE)


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """What colours the genes of an embedding, in its order, and which are named."""

    embedding: Artifact
    colour: Any
    """``scatter.Categories``, ``scatter.Scale``, or None."""
    labels: Mapping[int, str]
    panels: tuple[Any, ...] = ()
    """Of a sheet, each map's ``scatter.Scale``."""
    notes: tuple[str, ...] = ()
    """What a reader should know of it."""


def _scatter() -> Any:
    """The module that draws, loaded for the first picture."""
    return importlib.import_module("g2v_dask.report.scatter")


def _drawing(name: str) -> Any:
    """Another module of pictures, loaded likewise."""
    return importlib.import_module(f"g2v_dask.report.{name}")


def look(store: Store, embedding: Artifact, picture: Picture) -> Look:
    """What a picture needs besides the map; so that what is wrong with it is found before the map is made.

    Raises: SpecError for an unknown colour, a table that it leaves unused, or groups or a tissue that are not there;
            StoreError for groups of another version of the embedding; InputError for a file that is not of a picture,
            a table that cannot be read or knows no gene here, names that are no gene here, and too few tissues.
    """
    for file in picture.files:
        _scatter().suffix_of(file)
    names = query.names(embedding)
    named = [names.resolve(text) for text in picture.label]
    labels = {names.rows[word]: names.about(word).symbol for word in named}
    if picture.of_tissues and picture.table is None:
        panels, notes = _of_tissues(store, names, picture)
        colour = panels[0] if picture.colour != "tissues" else None
        panels = panels if colour is None else ()
        return Look(embedding=embedding, colour=colour, labels=labels, panels=panels, notes=notes)
    colour, notes = _colour(store, embedding, names, picture)
    return Look(embedding=embedding, colour=colour, labels=labels, notes=notes)


def draw(artifact: Artifact, look: Look, files: Sequence[Path], *, islands: NDArray[np.int32] | None = None) -> None:
    """Draws a map into files.

    Parameters: islands   (genes,) the number of each gene's island, 0 for none, to outline them.
    Raises: StoreError if it is the map of another embedding, or of another version of it; InputError if a file
            cannot be written.
    """
    check_map(artifact, look.embedding)
    picture, module = _sheet(artifact, look) if look.panels else _single(artifact, look, islands)
    for file in files:
        path = file.expanduser()
        with report.writing(path):
            write_file(path, module.draw(picture, path))


def check_map(artifact: Artifact, embedding: Artifact) -> None:
    """Raises StoreError if a map is not that of an embedding as it is now."""
    if artifact.manifest["inputs"].get(embedding.key) != embedding.digest:
        msg = f"{artifact.key} is no map of {embedding.key} as it is now; make it again: g2v map"
        raise StoreError(msg)


def places(artifact: Artifact) -> NDArray[np.float64]:
    """(genes, 2) where a map has each gene, in the embedding's order."""
    table = tables.read(artifact, schema.MAP_PLACES)
    return np.column_stack([table["x"].to_numpy(), table["y"].to_numpy()])


def _title(artifact: Artifact) -> str:
    facts = artifact.facts
    return f"{facts['embedding']}: {METHODS[facts['method']]} of {facts['genes']:,} genes"


def _single(artifact: Artifact, look: Look, islands: NDArray[np.int32] | None) -> tuple[Any, Any]:
    """One map, and the module that draws it."""
    axes = ("", "")
    if artifact.facts["method"] == "pca":
        shares = artifact.facts["shares"]
        first, second = (f"component {n}: {100 * v:.1f} % of the variance" for n, v in enumerate(shares, 1))
        axes = (first, second)
    scatter = _scatter()
    picture = scatter.Scatter(
        title=_title(artifact),
        places=places(artifact),
        colour=look.colour,
        labels=look.labels,
        axes=axes,
        islands=islands,
    )
    return picture, scatter


def _sheet(artifact: Artifact, look: Look) -> tuple[Any, Any]:
    """Small maps, and the module that draws them."""
    module = _drawing("map_sheet")
    title = f"{_title(artifact)}, by tissue"
    return module.MapSheet(title=title, places=places(artifact), panels=look.panels, unit="z-score"), module


# -- colours ------------------------------------------------------------------------------------------------


def _colour(store: Store, embedding: Artifact, names: Names, picture: Picture) -> tuple[Any, tuple[str, ...]]:
    """The colours that are asked for, and notes."""
    if picture.table is not None:
        table = gene_tables.read(picture.table)
        if picture.known and picture.colour not in table.columns:
            msg = (
                f"--table {picture.table} is of no use with --colour {picture.colour}, which is none of its columns, "
                f"{_few(table.columns)}; leave one of them out"
            )
            raise SpecError(msg)
        return _of_table(table, names, picture.colour)
    there = picture.groups or (embedding.name if embedding.name in store.names("groups") else None)
    colour = picture.colour
    if colour is None:
        colour = "biotype" if picture.islands and picture.groups is None else "none" if there is None else "group"
    if colour == "group":
        return _of_groups(store.get("groups", there or embedding.name), embedding, names), ()
    if colour == "biotype":
        return _of_biotypes(names), ()
    if colour == "none":
        return None, ()
    msg = f"colour must be {WORDS}, or a column of --table; got {colour!r}{nearest(colour, COLOURS)}"
    raise SpecError(msg)


def _of_biotypes(names: Names) -> Any:
    """The eight kinds of genes that Gene2Vec's map shows."""
    kinds = biotypes.kinds(list(names.rows), names.table)
    colours = _drawing("palettes").BIOTYPES
    return _scatter().Categories(name="biotype", values=kinds, colours=colours, missing="none of these")


def _of_tissues(store: Store, names: Names, picture: Picture) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """The z-scores of one tissue, or of each."""
    assert picture.colour is not None
    found, left_out = _specificity(store, picture.datasets)
    name = picture.colour.removeprefix(TISSUE)
    if picture.colour != "tissues" and name not in found.tissues:
        few = f"; {name} has fewer than {tissues.LEAST_SAMPLES} samples" if name in left_out else ""
        known = _few(found.tissues)
        msg = f"no tissue is named {name!r}{few}{nearest(name, found.tissues)}; tissues are datasets: {known}"
        raise SpecError(msg)
    rows = _columns(found, names)
    if not (rows >= 0).any():
        msg = f"the tissues know none of the {len(rows):,} genes here; their first are {_few(found.genes.tolist())}"
        raise InputError(msg)
    wanted = found.tissues if picture.colour == "tissues" else (name,)
    words = "{}" if picture.colour == "tissues" else "z-score in {}"
    panels = tuple(
        _scatter().Scale(
            name=words.format(one),
            values=np.where(rows >= 0, found.z_of(one)[rows], np.nan),
            diverging=True,
            missing="unmeasured",
        )
        for one in wanted
    )
    few = f"; fewer than {tissues.LEAST_SAMPLES} samples have {', '.join(left_out)}" if left_out else ""
    return panels, (f"z-scores over {len(found.tissues)} tissues{few}",)


def _specificity(store: Store, datasets: tuple[str, ...] | None) -> tuple[Specificity, tuple[str, ...]]:
    """What tissues tell of genes; and which datasets have too few samples to be one."""
    chosen = store.select("expression", datasets) if store.names("expression") else []
    counted = {a.name: a for a in chosen if a.facts["counts"]}
    without = [a.name for a in chosen if not a.facts["counts"]]
    if not counted or (datasets is not None and without):
        which = f"{', '.join(without)} has none" if datasets is not None and without else "no dataset here has any"
        msg = f"tissues are told by read counts, and {which}; 'g2v ingest --counts' keeps them"
        raise SpecError(msg)
    used = tissues.enough({name: a.facts["samples"] for name, a in counted.items()})
    sources = Sources(cooccurrence=None, members=(), counted=tuple((name, counted[name].folder) for name in used))
    found = tissues.specificity([tissues.tissue(d.name, d.genes, d.counts) for d in sources.counts()])
    return found, tuple(name for name in counted if name not in used)


def _columns(found: Specificity, names: Names) -> NDArray[np.int64]:
    """(words,) where each word's gene stands among those of the tissues, -1 for none: by today's symbols."""
    place: dict[str, int] = {}
    for column, symbol in enumerate(names.table.translate(found.genes.tolist()).symbols):
        place.setdefault(symbol, column)
    words = names.table.translate(list(names.rows)).symbols
    return np.array([place.get(symbol, -1) for symbol in words], dtype=np.int64)


def _of_groups(artifact: Artifact, embedding: Artifact, names: Names) -> Any:
    """Groups by gene; those of another embedding may be shown, those of another version of this one would mislead."""
    if artifact.manifest["inputs"].get(embedding.key, embedding.digest) != embedding.digest:
        msg = f"{artifact.key} are groups of an older {embedding.key}; make them again: g2v kmeans"
        raise StoreError(msg)
    found = groups.members(tables.read(artifact, schema.GROUP_MEMBERS))
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
        msg = f"colour must be a column of {table.file}, or {WORDS};{near} it has {_few(table.columns)}"
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
