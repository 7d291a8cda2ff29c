"""The report at the end of a run: neighbours and analogies as exp2vec lists them, and the map's picture."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from g2v_dask import query
from g2v_dask.driver import Summary
from g2v_dask.errors import InputError, SpecError, StoreError
from g2v_dask.flows import pictures
from g2v_dask.flows.pictures import Picture
from g2v_dask.query import Embedding
from g2v_dask.spec import ReportSpec
from g2v_dask.store import Store

METHOD = "3CosAdd"  # exp2vec's: the genes nearest to A − B + C


def answered(store: Store, spec: ReportSpec) -> Summary:
    """The answers to a report's questions, by embedding; a gene that is not there is an answer too.

    A picture that cannot be drawn is told as quarantined.
    Raises: SpecError for an unknown embedding.
    """
    started = time.monotonic()
    embedding = query.open_embedding(store, spec.name)
    summary = Summary(stage="report")
    summary.artifacts[embedding.name] = {
        "similar": {gene: _or_why(_similar, embedding, gene, spec.k) for gene in spec.similar},
        "solve": {text: _or_why(_solve, embedding, text, spec.k) for text in spec.solve},
    }
    if spec.figure is not None:
        try:
            _draw(store, embedding, spec)
            summary.artifacts[embedding.name]["figure"] = spec.figure
        except (SpecError, InputError, StoreError) as error:  # the answers stand without it
            summary.quarantined.append({"name": spec.figure, "reason": str(error)})
    summary.seconds = time.monotonic() - started
    return summary


Answers = list[dict[str, Any]]


def _or_why(ask: Callable[[Embedding, str, int], Answers], *question: Any) -> Answers | str:
    """The answers, or why there are none."""
    try:
        return ask(*question)
    except InputError as error:
        return str(error)


def _similar(embedding: Embedding, gene: str, k: int) -> Answers:
    return [{"gene": found.gene, "score": found.cosine} for found in embedding.similar(gene, k)]


def _solve(embedding: Embedding, text: str, k: int) -> Answers:
    a, b, c = text.split()
    found = embedding.solve(a, b, c, k).methods[METHOD]
    return [{"gene": one.gene, "score": one.score} for one in found]


def _draw(store: Store, embedding: Embedding, spec: ReportSpec) -> None:
    """The embedding's map, coloured by its groups if it has any, with the genes of the report named."""
    assert spec.figure is not None
    file = Path(spec.figure)
    file.parent.mkdir(parents=True, exist_ok=True)
    asked = dict.fromkeys([*spec.similar, *(gene for question in spec.solve for gene in question.split())])
    picture = Picture(files=(file,), label=tuple(gene for gene in asked if gene in embedding.names.rows))
    look = pictures.look(store, store.get("embeddings", embedding.name), picture)
    pictures.draw(store.get("maps", embedding.name), look, picture.files)
