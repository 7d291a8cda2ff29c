"""The picture of how stable embeddings are: which share of their nearest genes genes keep; pair by pair where many.

Loaded when it is drawn, as ``figures``, whose rules hold here too: no backend, the same input gives the same bytes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from g2v_dask.analysis.stability import Overlap, Stability
from g2v_dask.report.figures import BLUE, saved_figure, short

BAND, INK = "#e3e9f1", "#222222"
WIDE, TALL, CELL = 6.2, 1.9, 0.42  # inches: a histogram's sides, the least side of a cell of the heat map
MOST_BARS = 50  # of a histogram, and one for 0
PRINTED = 10  # embeddings up to which each cell of the heat map holds its number
LABEL = 24  # characters of a name


def picture(found: Stability) -> bytes:
    """A histogram of the genes' overlaps for each k; of more than two embeddings also a heat map. A PNG."""
    many = len(found.sizes) > 2
    side = max(4.2, CELL * len(found.sizes) + 1.5) if many else 0.0
    figure = Figure(figsize=(WIDE + side, max(TALL * len(found.ks) + 0.5, side)), layout="constrained")
    FigureCanvasAgg(figure)
    left: Any = figure
    if many:
        halves: Any = figure.subfigures(1, 2, width_ratios=(WIDE, side))
        left, right = halves
        _heat_map(right.subplots(), found)
    panels = left.subplots(len(found.ks), 1, sharex=True, squeeze=False)[:, 0]
    for axes, shares, summed in zip(panels, found.overlaps, found.all.overlaps, strict=True):
        _histogram(axes, shares, summed)
    which = "two embeddings share, mean over pairs" if many else "both embeddings share"
    panels[-1].set_xlabel(f"part of a gene's nearest genes that {which}")
    left.supylabel("genes", fontsize=10)
    return saved_figure(figure, ".png")


def _histogram(axes: Axes, shares: NDArray[np.float64], summed: Overlap) -> None:
    bars = min(summed.k, MOST_BARS)
    # overlaps are multiples of 1 / k: each stands in the middle of its bar; means that lie between two go to the right
    edges = (np.arange(bars + 2) - 0.5) / bars - 1e-9
    counts, _ = np.histogram(shares, edges)
    axes.axvspan(summed.low, summed.high, color=BAND, zorder=0, label=f"5 to 95 % of genes: {summed.range}")
    axes.stairs(counts / len(shares), edges, fill=True, color=BLUE)
    axes.axvline(summed.mean, color=INK, linewidth=1.5, label=f"mean {summed.mean:.3f}")
    axes.set_title(f"{summed.k} nearest", loc="left", fontsize=10)
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=2, frameon=False, fontsize=9, borderaxespad=0.1, reverse=True
    )
    axes.set_xlim(-0.06, 1.06)  # half a bar of 10 nearest on either side
    axes.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.3g} %"))
    axes.spines[["top", "right"]].set_visible(False)


def _heat_map(axes: Axes, found: Stability) -> None:
    """Mean overlap of each two embeddings at the first k; none with itself."""
    names = list(found.sizes)
    values = np.full((len(names), len(names)), np.nan)
    for (a, b), pair in found.pairs.items():
        i, j = names.index(a), names.index(b)
        values[i, j] = values[j, i] = pair.overlaps[0].mean
    image = axes.imshow(values, cmap="cividis", vmin=0, vmax=1, interpolation="nearest")
    if len(names) <= PRINTED:
        for (row, column), value in np.ndenumerate(values):
            if row != column:
                colour = "white" if value < 0.5 else "black"
                axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=9)
    labels = [short(name, LABEL) for name in _apart(names)]
    axes.set_xticks(range(len(names)), labels, rotation=90, fontsize=9, parse_math=False)
    axes.set_yticks(range(len(names)), labels, fontsize=9, parse_math=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(f"mean overlap of the {found.ks[0]} nearest", fontsize=10)
    bar: Any = axes.figure.colorbar(image, ax=axes, shrink=0.7)
    bar.ax.tick_params(labelsize=9)
    bar.outline.set_visible(False)


def _apart(names: Sequence[str]) -> list[str]:
    """Names without the words that all begin with.

    >>> _apart(["stability-svd-seed1", "stability-svd-seed2"]), _apart(["sg", "sg8"])
    (['seed1', 'seed2'], ['sg', 'sg8'])
    """
    shared = os.path.commonprefix(list(names)).rfind("-") + 1
    return [name[shared:] for name in names]
