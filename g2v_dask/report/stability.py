"""The report on how stable embeddings are: tables, picture, files. Loaded by that command alone: matplotlib is slow."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from g2v_dask.analysis.stability import Agreement, Overlap, Stability
from g2v_dask.errors import InputError
from g2v_dask.files import write_file
from g2v_dask.names import Names
from g2v_dask.report.markdown import body, escape
from g2v_dask.report.saved import write, writing
from g2v_dask.report.sheets import Column, Picture, Sheet

DPI = 144
BLUE, BAND, DARK = "#4477aa", "#e3e9f1", "#222222"
MOST_BARS = 50  # of a histogram, and one for 0
PRINTED = 10  # embeddings up to which each cell of the heat map holds its number
LABEL = 24  # characters of a name


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
    )
    return pairs, genes


def _cells(pair: Agreement) -> tuple[str, ...]:
    overlaps = (f"{o.mean:.3f} ({_range(o)})" for o in pair.overlaps)
    return (*overlaps, f"{pair.procrustes:.4f}", f"{pair.rank_correlation:.4f}")


def _range(overlap: Overlap) -> str:
    return f"{overlap.low:.2f}–{overlap.high:.2f}"  # noqa: RUF001  (a range takes the longer dash)


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


# -- files --------------------------------------------------------------------------------------------------


def with_picture(pages: tuple[Sheet, Sheet], found: Stability) -> tuple[Sheet, Sheet]:
    """The tables, with the picture under the first."""
    pairs, genes = pages
    heat = "" if len(found.pairs) == 1 else f"; right, mean overlap of the {found.ks[0]} nearest, pair by pair"
    caption = f"How many genes keep which share of their nearest genes{heat}"
    drawn = Picture(png=picture(found), caption=caption)
    return Sheet(**{**vars(pairs), "picture": drawn}), genes


def write_markdown(path: Path, pages: Sequence[Sheet]) -> None:
    """Writes tables as one Markdown file; the picture of the first goes beside it, under the same name with ``.png``.

    Raises: InputError if a file cannot be written, or both would have one name.
    """
    picture = path.expanduser().with_suffix(".png")
    for drawn in (page.picture for page in pages if page.picture is not None):
        if picture == path.expanduser():
            msg = f"{path}: the picture of the report takes that name; call the report .md"
            raise InputError(msg)
        with writing(picture):
            write_file(picture, drawn.png)
    write(path, "\n".join(f"# {escape(page.title)}\n\n{body(page, picture.name)}" for page in pages))


# -- drawing ------------------------------------------------------------------------------------------------


def picture(found: Stability) -> bytes:
    """How the genes' overlaps are distributed, at each k; of more than two embeddings also a heat map. A PNG."""
    many = len(found.sizes) > 2
    side = 4.2 if many else 0.0
    figure = Figure(figsize=(6.2 + side, max(1.9 * len(found.ks) + 0.5, side)), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2, width_ratios=(6.2, side)) if many else (figure, None)
    panels = left.subplots(len(found.ks), 1, sharex=True, squeeze=False)[:, 0]
    for axes, shares, summed in zip(panels, found.overlaps, found.all.overlaps, strict=True):
        _histogram(axes, shares, summed)
    panels[-1].set_xlabel(
        "share of a gene's nearest genes that " + ("two embeddings" if many else "both embeddings") + " have"
    )
    left.supylabel("genes", fontsize=10)
    if right is not None:
        _heat_map(right.subplots(), found)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=DPI, metadata={"Software": None})  # the same bytes with any version
    return out.getvalue()


def _histogram(axes: Axes, shares: NDArray[np.float64], summed: Overlap) -> None:
    bars = min(summed.k, MOST_BARS)
    edges = (np.arange(bars + 2) - 0.5) / bars  # overlaps are multiples of 1 / k: each in the middle of its bar
    counts, _ = np.histogram(shares, edges)
    axes.axvspan(summed.low, summed.high, color=BAND, zorder=0, label=f"5–95 % of genes: {_range(summed)}")  # noqa: RUF001
    axes.stairs(counts / len(shares), edges, fill=True, color=BLUE)
    axes.axvline(summed.mean, color=DARK, linewidth=1.5, label=f"mean {summed.mean:.3f}")
    axes.set_title(f"{summed.k} nearest", loc="left", fontsize=10)
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=9, borderaxespad=0.1, reverse=True
    )
    axes.set_xlim(-0.03, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(xmax=1, decimals=None))
    axes.spines[["top", "right"]].set_visible(False)


def _heat_map(axes: Axes, found: Stability) -> None:
    """Mean overlap of each two embeddings at the first k."""
    names = list(found.sizes)
    values = np.full((len(names), len(names)), np.nan)  # none with itself
    for (a, b), pair in found.pairs.items():
        i, j = names.index(a), names.index(b)
        values[i, j] = values[j, i] = pair.overlaps[0].mean
    image = axes.imshow(values, cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
    if len(names) <= PRINTED:
        for (row, column), value in np.ndenumerate(values):
            if row != column:
                dark = value < 0.5
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", color="white" if dark else "black")
    cut = os.path.commonprefix(names).rpartition("-")
    labels = [name[len(cut[0] + cut[1]) :] for name in names]
    labels = [label if len(label) <= LABEL else f"{label[: LABEL - 1]}…" for label in labels]
    axes.set_xticks(range(len(names)), labels, rotation=90, fontsize=9)
    axes.set_yticks(range(len(names)), labels, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(f"mean overlap of the {found.ks[0]} nearest", fontsize=10)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.7)
    bar.outline.set_visible(False)  # type: ignore[operator]
