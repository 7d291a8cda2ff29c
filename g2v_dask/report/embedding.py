"""All that is known of an embedding, for one page: what it is, what it was made of, what it is worth, what it says."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from g2v_dask.analysis.groups import Group
from g2v_dask.answers import Analogies, Solutions
from g2v_dask.names import Names
from g2v_dask.query import Neighbour
from g2v_dask.report import evaluation
from g2v_dask.report.book import Book
from g2v_dask.report.evaluated import Evaluated
from g2v_dask.report.groups import groups_sheet
from g2v_dask.report.sheets import Column, Picture, Sheet, sheet
from g2v_dask.store import Artifact

LOSSES = 12  # of training that the table holds; the picture has all
LISTED = (
    "datasets",
    "samples",
    "losses",
    "cooccurrence",
    "versions",
    "card",
    "singular_values",
)  # of a card: elsewhere
LONG = 8  # numbers of a list in a card, from which on their count is told


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """One dataset that an embedding learned from; what is gone from the store is not known."""

    name: str
    samples: int | None = None
    genes: int | None = None
    pairs: int | None = None
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Map:
    """A map of the embedding, drawn."""

    artifact: Artifact
    picture: Picture


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """All that a store knows of an embedding."""

    artifact: Artifact
    names: Names
    store: str
    card: Mapping[str, Any]
    datasets: Sequence[Dataset] = ()
    cooccurrence: Mapping[str, Any] = field(default_factory=dict)
    """Facts of the matrix that it was trained on; none if that is gone, or it was made elsewhere."""
    evaluations: Sequence[Evaluated] = ()
    maps: Sequence[Map] = ()
    groups: Sequence[tuple[Artifact, Sequence[Group]]] = ()
    similar: Mapping[str, Sequence[Neighbour]] = field(default_factory=dict)
    analogies: Sequence[Analogies | Solutions] = ()
    commands: Sequence[str] = ()
    notes: Sequence[str] = ()
    """What is not shown, and why."""


def book(known: Known) -> Book:
    """The page, from what the embedding is to how it can be made again."""
    return Book(
        sheets=sheets(known),
        commands=known.commands,
        about_commands="Files are named as they were then. The same versions and CPU kernel give the same bytes.",
    )


def sheets(known: Known) -> list[Sheet]:
    """All tables and pictures."""
    return [
        card_sheet(known),
        *_datasets(known),
        *_recurrence(known),
        *_training(known),
        *(s for found in known.evaluations for s in evaluation.sheets(found, pictures=True)),
        *(_map(m) for m in known.maps),
        *(_groups(artifact, groups, known.names) for artifact, groups in known.groups),
        *_similar(known),
        *(sheet(found, known.names) for found in known.analogies),
    ]


# -- what it is ---------------------------------------------------------------------------------------------


def card_sheet(known: Known) -> Sheet:
    """The embedding's card, and how large all is that it was made from."""
    artifact, matrix = known.artifact, known.cooccurrence
    made = artifact.manifest["made"]
    rows = [
        ("genes", number_of(known.card["genes"])),
        ("components", number_of(known.card["components"])),
        *((name, value) for name, value in _flat(known.card) if name not in ("genes", "components")),
        *(
            (f"co-occurrence: {word}", number_of(matrix[word]))
            for word in ("genes", "datasets", "cells", "pairs")
            if word in matrix
        ),
        *((name, str(version)) for name, version in made.get("versions", {}).items() if name == "g2v_dask"),
    ]
    return Sheet(
        title=f"Embedding {artifact.title}",
        facts=(f"version {artifact.digest[:12]}", f"made {made.get('at', '')}", known.store),
        columns=(Column(name="What"), Column(name="Value")),
        rows=tuple(rows),
        notes=tuple(known.notes),
    )


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A card as rows; what stands elsewhere on the page, or says nothing, is left out."""
    for key, value in values.items():
        name = f"{prefix}{key}".replace("_", " ")
        if key in LISTED or value is None:
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, "" if key == "parameters" else f"{name}: ")
        elif isinstance(value, list | tuple) and len(value) > LONG:
            yield name, f"{len(value):,} values"
        else:
            yield name, ", ".join(map(str, value)) if isinstance(value, list | tuple) else number_of(value)


def number_of(value: Any) -> str:
    """A value of a card in words.

    >>> number_of(20182), number_of(0.5), number_of(5.8e-05), number_of(True), number_of("svd")
    ('20,182', '0.5', '5.8e-05', 'yes', 'svd')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _datasets(known: Known) -> Iterator[Sheet]:
    """What it learned from, a row a dataset."""
    if not known.datasets:
        return
    given = known.datasets
    words = [w for w in ("samples", "genes", "pairs") if any(getattr(d, w) is not None for d in given)]
    samples = sum(d.samples or 0 for d in given)
    yield Sheet(
        title="Datasets",
        facts=(f"{len(given):,} dataset{'s' * (len(given) != 1)}", f"{samples:,} samples"),
        columns=(
            Column(name="Dataset"),
            *(Column(name=w.capitalize(), right=True) for w in words),
            Column(name="Source"),
        ),
        rows=tuple((d.name, *(_count(getattr(d, w)) for w in words), d.source) for d in given),
    )


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _recurrence(known: Known) -> Iterator[Sheet]:
    """In how many datasets pairs recur."""
    seen: Mapping[str, int] = known.cooccurrence.get("recurrence", {})
    if not seen:
        return
    total = sum(seen.values())
    yield Sheet(
        title="How often pairs recur",
        facts=(f"{total:,} pairs of genes", f"{known.cooccurrence['pairs']:,} with their repeats"),
        columns=tuple(Column(name=name, right=True) for name in ("In datasets", "Pairs", "Share")),
        rows=tuple(
            (times, f"{pairs:,}", f"{100 * pairs / total:.2f} %")
            for times, pairs in sorted(seen.items(), key=lambda item: int(item[0]))
        ),
    )


def _training(known: Known) -> Iterator[Sheet]:
    """The loss, iteration by iteration."""
    losses = list(known.card.get("losses") or ())
    if not losses:
        return
    last = len(losses) - 1
    shown = sorted({round(i * last / (LOSSES - 1)) for i in range(LOSSES)}) if last >= LOSSES else range(last + 1)
    yield Sheet(
        title="Training",
        facts=(f"{len(losses):,} values of the loss",),
        columns=(Column(name="Iteration", right=True), Column(name="Loss", right=True)),
        rows=tuple((str(i + 1), f"{losses[i]:.6g}") for i in shown),
        picture=Picture(png=_curves().losses(losses), caption="The loss of each iteration"),
    )


def _curves() -> Any:
    """The module that draws."""
    return importlib.import_module("g2v_dask.report.curves")


# -- what it says -------------------------------------------------------------------------------------------


def _map(found: Map) -> Sheet:
    facts = found.artifact.facts
    rows = [(name, value) for name, value in _flat({k: v for k, v in facts.items() if k not in ("embedding", "genes")})]
    identity = {k: v for k, v in found.artifact.manifest["identity"].items() if k != "method"}
    return Sheet(
        title=f"Map {found.artifact.title}",
        facts=(f"{facts['genes']:,} genes",),
        columns=(Column(name="What"), Column(name="Value")),
        rows=(*rows, *_flat(identity)),
        picture=found.picture,
    )


def _groups(artifact: Artifact, groups: Sequence[Group], names: Names) -> Sheet:
    made = groups_sheet(groups, names, artifact)
    return replace(made, title=f"Groups {artifact.title}: {made.title}")


def _similar(known: Known) -> Iterator[Sheet]:
    """Nearest genes, a row a gene."""
    if not known.similar:
        return
    asked = [(known.names.about(gene), found) for gene, found in known.similar.items()]
    yield Sheet(
        title="Nearest genes",
        facts=("by cosine",),
        columns=(Column(name="Gene"), Column(name="Nearest")),
        rows=tuple(
            (about, ", ".join(f"{known.names.about(n.gene).symbol} {n.cosine:.3f}" for n in found))
            for about, found in asked
        ),
        described=tuple(about for about, _ in asked if about.description),
    )
