"""The report at the end of a run: neighbours and analogies as exp2vec lists them, and the map's picture."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from g2v_dask import query
from g2v_dask.driver import Summary
from g2v_dask.errors import InputError
from g2v_dask.query import Embedding
from g2v_dask.spec import ReportSpec
from g2v_dask.store import Store

METHOD = "3CosAdd"  # exp2vec's: the genes nearest to A − B + C


def answered(store: Store, spec: ReportSpec) -> Summary:
    """The answers to a report's questions, by embedding; a gene that is not there is an answer too.

    Raises: SpecError for an unknown embedding; InputError if the picture cannot be drawn or written.
    """
    started = time.monotonic()
    embedding = query.open_embedding(store, spec.name)
    summary = Summary(stage="report")
    summary.artifacts[embedding.name] = {
        "similar": {gene: _or_why(lambda gene=gene: _similar(embedding, gene, spec.k)) for gene in spec.similar},
        "solve": {text: _or_why(lambda text=text: _solve(embedding, text, spec.k)) for text in spec.solve},
    }
    if spec.figure is not None:
        draw(store, embedding, Path(spec.figure))
        summary.artifacts[embedding.name]["figure"] = spec.figure
    summary.seconds = time.monotonic() - started
    return summary


def _or_why(ask: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]] | str:
    try:
        return ask()
    except InputError as error:
        return str(error)


def _similar(embedding: Embedding, gene: str, k: int) -> list[dict[str, Any]]:
    return [{"gene": found.gene, "score": found.cosine} for found in embedding.similar(gene, k)]


def _solve(embedding: Embedding, text: str, k: int) -> list[dict[str, Any]]:
    a, b, c = text.split()
    found = embedding.solve(a, b, c, k).methods[METHOD]
    return [{"gene": one.gene, "score": one.score} for one in found]
