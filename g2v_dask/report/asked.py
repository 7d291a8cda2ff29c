"""The tables of a run's report: a row a gene with its neighbours, and the answers to each analogy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from g2v_dask.report.sheets import Column, Sheet


def asked_sheets(embedding: str, answers: Mapping[str, Any]) -> Iterator[Sheet]:
    """The tables of one embedding's answers, as ``flows.reports`` gives them; a question without answers is a note."""
    similar, solved = answers["similar"], answers["solve"]
    if similar:
        found = {gene: rows for gene, rows in similar.items() if not isinstance(rows, str)}
        width = max((len(rows) for rows in found.values()), default=0)
        yield Sheet(
            title=f"Nearest genes in {embedding}",
            columns=(Column(name="gene"), *(Column(name=str(rank)) for rank in range(1, width + 1))),
            rows=tuple((gene, *(row["gene"] for row in rows)) for gene, rows in found.items()),
            notes=tuple(why for why in similar.values() if isinstance(why, str)),
        )
    for question, rows in solved.items():
        a, b, c = question.split()
        title = f"{a} − {b} = ? − {c} in {embedding}"
        columns = (Column(name="gene"), Column(name="cosine", right=True))
        if isinstance(rows, str):
            yield Sheet(title=title, columns=columns, rows=(), notes=(rows,))
        else:
            yield Sheet(title=title, columns=columns, rows=tuple((row["gene"], f"{row['score']:.4f}") for row in rows))
    if "figure" in answers:
        yield Sheet(title="", columns=(), rows=(), notes=(f"the map of {embedding}: {answers['figure']}",))
