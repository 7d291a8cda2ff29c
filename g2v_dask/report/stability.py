"""The report on how stable embeddings are: two tables, a picture, files."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any

from g2v_dask.analysis.stability import Agreement, Stability
from g2v_dask.names import Names
from g2v_dask.report.sheets import Column, Picture, Sheet


def _overlaps() -> Any:
    """The module that draws, loaded for the picture alone."""
    return importlib.import_module("g2v_dask.report.overlaps")


def sheets(found: Stability, names: Names) -> tuple[Sheet, Sheet]:
    """The table of pairs of embeddings, and that of the least stable genes."""
    overlap = [Column(name=f"{k} nearest", right=True) for k in found.ks]
    rows = [(a, b, *_cells(pair)) for (a, b), pair in found.pairs.items()]
    if len(rows) > 1:
        rows.append(("all", f"{len(rows)} pairs", *_cells(found.all)))
    least = [(names.about(g.gene), g.overlaps) for g in found.least_stable()]
    pairs = Sheet(
        title=f"Stability of {len(found.sizes)} embeddings",
        facts=_facts(found),
        columns=(
            Column(name="Embedding 1"),
            Column(name="Embedding 2"),
            *overlap,
            Column(name="Procrustes", right=True),
            Column(name="Rank correlation", right=True),
        ),
        rows=tuple(rows),
        notes=_notes(found),
    )
    genes = Sheet(
        title="The least stable genes",
        columns=(Column(name="Gene"), *overlap, Column(name="Description")),
        rows=tuple((gene, *(f"{o:.3f}" for o in overlaps), gene.description) for gene, overlaps in least),
        notes=_about_genes(found, len(least)),
    )
    return pairs, genes


def _cells(pair: Agreement) -> tuple[str, ...]:
    overlaps = (f"{o.mean:.3f} ({o.range})" for o in pair.overlaps)
    return (*overlaps, f"{pair.procrustes:.4f}", f"{pair.rank_correlation:.4f}")


def _facts(found: Stability) -> tuple[str, ...]:
    """How many genes are compared, and of how many where an embedding has more."""
    size = len(found.genes)
    more = tuple(f"{name} has {genes:,}" for name, genes in found.sizes.items() if genes != size)
    return (f"{size:,} genes that all have", *more)


def _notes(found: Stability) -> tuple[str, ...]:
    chance = ", ".join(f"{c:.4f} at {k}" for k, c in zip(found.ks, found.chance, strict=True))
    notes = [
        f"Nearest: the share of a gene's so many nearest genes by cosine that both embeddings have; mean over genes, "
        f"in brackets 5 % to 95 % of genes. By chance: {chance}.",
        "Procrustes: what rotation, shift and scale cannot take away of the difference; 0 (same shape) to 1.",
        f"Rank correlation: Spearman's, of the cosines of {found.sampled:,} pairs of genes.",
    ]
    if found.zero:
        notes.append(f"Left out: {found.zero:,} genes whose vector is zero in one of the embeddings.")
    return (*notes, *found.notes)


def _about_genes(found: Stability, listed: int) -> tuple[str, ...]:
    if not listed:
        return ("None: all genes keep all their nearest genes.",)
    if found.lost <= listed:
        return ()
    return (f"{found.lost:,} genes keep none of their nearest genes; listed are the first of them by gene id.",)


# -- files --------------------------------------------------------------------------------------------------


def with_picture(pages: tuple[Sheet, Sheet], found: Stability) -> tuple[Sheet, Sheet]:
    """The tables, with the picture under the first."""
    pairs, genes = pages
    heat = "" if len(found.pairs) == 1 else f"; right, mean overlap of the {found.ks[0]} nearest, pair by pair"
    caption = f"How many genes keep which part of their nearest genes{heat}"
    return replace(pairs, picture=Picture(png=_overlaps().picture(found), caption=caption)), genes
