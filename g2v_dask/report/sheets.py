"""What a report says, whatever it is printed as: answers made into titles, columns, cells and notes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from g2v_dask.answers import Analogies, NearPairs, Solutions
from g2v_dask.names import About, Names
from g2v_dask.query import Neighbour

SCORES = {"cosine": "Similarity", "inner": "Inner product", "l2": "Distance"}
METRICS = {"cosine": "cosine", "inner": "inner product", "l2": "Euclidean distance"}
LISTED = 5  # texts of a filter that is a list; the rest are counted


class Bold(str):
    """Text of a cell that stands out."""

    __slots__ = ()


Cell = About | str


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column; genes and words stand to the left, numbers to the right."""

    name: str
    right: bool = False


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture beside the table."""

    png: bytes
    caption: str


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One table with all that a reader needs to understand it."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    facts: tuple[str, ...] = ()
    """The embedding, the metric, the filters that were on."""
    described: tuple[About, ...] = ()
    """Each gene of the table once, if it has a description that is no column."""
    notes: tuple[str, ...] = ()
    picture: Picture | None = None


def sheet(answers: Analogies | Solutions | NearPairs, names: Names) -> Sheet:
    """The report of any answers."""
    if isinstance(answers, Analogies):
        return _analogies(answers, names)
    return _solutions(answers, names) if isinstance(answers, Solutions) else _near_pairs(answers, names)


def similar_sheet(gene: str, found: Sequence[Neighbour], facts: tuple[str, ...] = ()) -> Sheet:
    """The report of one gene's neighbours, their descriptions as a column."""
    return Sheet(
        title=gene,
        facts=facts,
        columns=(Column(name="gene"), Column(name="cosine", right=True), Column(name="description")),
        rows=tuple((_about(n), f"{n.cosine:.4f}", n.description) for n in found),
    )


def _about(found: Neighbour) -> About:
    return About(gene=found.gene, symbol=found.gene, description=found.description, ensembl=found.ensembl)


def question(answers: Analogies | Solutions, names: Names) -> str:
    """The question as a formula; ``?`` is what was searched for.

    >>> import numpy as np
    >>> names = Names(np.array(["CD74", "HLA-DRA"]))
    >>> question(Analogies(asked=("HLA-DRA", "CD74"), found=(), embedding="genes"), names)
    'HLA-DRA − CD74 ≈ ? − ?'
    >>> question(Analogies(asked=("CD74",), found=(), embedding="genes", sums=True), names)
    'CD74 + ? ≈ ? + ?'
    """
    words = [names.about(word).symbol for word in answers.asked]
    if isinstance(answers, Solutions):
        a, b, c = words
        return f"{a} − {b} = ? − {c}"
    a, b, c, d = [*words, *"????"][:4]
    sign = sign_of(answers)
    return f"{a} {sign} {b} ≈ {c} {sign} {d}"


def sign_of(answers: Analogies) -> str:
    """What stands between two genes."""
    return "+" if answers.sums else "−"


def filter_facts(filters: Mapping[str, Any]) -> tuple[str, ...]:
    """The filters that are on, as words.

    >>> filter_facts({"ceiling": 0.8, "max_per_gene": None, "genes": ["A", "B"], "unit": False})
    ('ceiling 0.8', 'genes A, B')
    """
    return tuple(
        f"{key.replace('_', ' ')} {_value(value)}".strip()
        for key, value in filters.items()
        if value is not None and value is not False
    )


def _value(value: Any) -> str:
    if value is True:
        return ""
    if isinstance(value, str) or not isinstance(value, Iterable):
        return str(value)
    listed = [str(v) for v in value]
    rest = f" and {len(listed) - LISTED:,} more" if len(listed) > LISTED else ""
    return ", ".join(listed[:LISTED]) + rest


def _analogies(answers: Analogies, names: Names) -> Sheet:
    pattern = "{:.4f}" if answers.metric == "cosine" else "{:.6g}"
    found = [([names.about(word) for word in (x.a, x.b, x.c, x.d)], pattern.format(x.score)) for x in answers.found]
    filters = {key: value for key, value in answers.filters.items() if key != "unit"}
    return Sheet(
        title=question(answers, names),
        facts=(
            f"embedding {answers.embedding}",
            METRICS[answers.metric],
            "unit vectors" if answers.unit else "vectors as stored",
            *filter_facts(filters),
        ),
        columns=(
            *(Column(name=name) for name in ("Gene 1", "Gene 2", "≈", "Gene 3", "Gene 4")),
            Column(name=SCORES[answers.metric], right=True),
        ),
        rows=tuple((a, b, "≈", c, d, score) for (a, b, c, d), score in found),
        described=_described(gene for genes, _ in found for gene in genes),
        notes=answers.notes,
    )


def _solutions(answers: Solutions, names: Names) -> Sheet:
    methods = [[(names.about(s.gene), f"{s.score:.4f}") for s in found] for found in answers.methods.values()]
    nothing: tuple[Cell, str] = ("", "")
    ranked = list(zip_longest(*methods, fillvalue=nothing))
    filters = {key: value for key, value in answers.filters.items() if key != "unit"}
    return Sheet(
        title=question(answers, names),
        facts=(f"embedding {answers.embedding}", "unit vectors", *filter_facts(filters)),
        columns=(
            Column(name="Rank", right=True),
            *(c for name in answers.methods for c in (Column(name=name), Column(name="Score", right=True))),
        ),
        rows=tuple(
            (str(rank), *(cell for pair in places for cell in pair)) for rank, places in enumerate(ranked, start=1)
        ),
        described=_described(gene for found in methods for gene, _ in found),
        notes=answers.notes,
    )


def _near_pairs(answers: NearPairs, names: Names) -> Sheet:
    found = [(names.about(x.a), names.about(x.b), f"{x.cosine:.4f}") for x in answers.found]
    return Sheet(
        title=f"Nearest pairs in {answers.embedding}",
        facts=(f"embedding {answers.embedding}", "cosine", *filter_facts(answers.filters)),
        columns=(Column(name="Gene 1"), Column(name="Gene 2"), Column(name="Similarity", right=True)),
        rows=tuple(found),
        described=_described(gene for a, b, _ in found for gene in (a, b)),
        notes=answers.notes,
    )


def _described(genes: Iterable[About]) -> tuple[About, ...]:
    """Each gene once, as they come."""
    return tuple(gene for gene in dict.fromkeys(genes) if gene.description)
