"""A sheet of small maps: the same genes at the same places, coloured by one number after another on one scale.

Loaded when it is drawn, as ``figures``, whose rules hold here too: no backend, the same input gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from g2v_dask.report.figures import saved_figure, short
from g2v_dask.report.scatter import Paper, Scale, beyond, dots, suffix_of

WIDE = 11.0  # inches of all panels side by side
NARROW, BROAD = 1.5, 3.6  # inches of a panel's longer side
GAP, HEAD = 0.12, 0.24  # inches between panels, and for the name of one
TOP, BAR = 0.3, 1.3  # inches for the title, and for the colour bar
COVERED, SMALLEST, LARGEST = 0.35, 0.35, 20.0  # as ``scatter``'s, for points that lie in less room
TITLE, NAME = 90, 30  # characters


@dataclass(frozen=True, kw_only=True, eq=False)
class MapSheet:
    """What a sheet shows."""

    title: str
    places: NDArray[np.float64]
    """(genes, 2)."""
    panels: Sequence[Scale]
    """One or more, all of one kind."""
    unit: str
    """What the numbers are."""


def draw(sheet: MapSheet, file: Path) -> bytes:
    """A sheet as a picture in the format of the file's name.

    Raises: InputError for another format.
    """
    suffix = suffix_of(file)
    paper = Paper.around(sheet.places)
    across, down = grid(len(sheet.panels))
    side = min(max(WIDE / across - GAP, NARROW), BROAD)
    width, height = side * paper.span / paper.span.max()
    total = across * (width + GAP) + BAR, down * (height + HEAD + GAP) + TOP
    figure = Figure(figsize=total)
    FigureCanvasAgg(figure)
    norm = _shared(sheet.panels)
    size = min(max(COVERED * width * height * 72**2 / len(sheet.places), SMALLEST), LARGEST)
    drawn: Any = None
    for number, panel in enumerate(sheet.panels):
        row, column = divmod(number, across)
        left, top = column * (width + GAP), TOP + row * (height + HEAD + GAP) + HEAD
        axes = figure.add_axes((left / total[0], 1 - (top + height) / total[1], width / total[0], height / total[1]))
        drawn = _panel(axes, panel, sheet.places, paper, norm, size) or drawn
    figure.text(0, 1, short(sheet.title, TITLE), fontsize=12, va="top", parse_math=False)
    _key(figure, drawn, sheet, total)
    return saved_figure(figure, suffix, bbox_inches="tight", pad_inches=0.12)


def grid(panels: int) -> tuple[int, int]:
    """Panels across and down: about as many, rather more across.

    >>> [grid(n) for n in (1, 3, 9, 11, 54)]
    [(1, 1), (2, 2), (3, 3), (4, 3), (8, 7)]
    """
    across = math.ceil(math.sqrt(panels))
    return across, math.ceil(panels / across)


def _shared(panels: Sequence[Scale]) -> Normalize:
    """One scale for all panels, so that a colour means one number."""
    values = np.concatenate([p.values for p in panels])
    if not np.isfinite(values).any():
        return Normalize(0, 1)
    return Scale(name="", values=values, diverging=panels[0].diverging).norm()


def _panel(axes: Axes, panel: Scale, places: NDArray[np.float64], paper: Paper, norm: Normalize, size: float) -> Any:
    """Draws one map; gives back its coloured points, if there are any."""
    axes.set_xlim(paper.low[0], paper.low[0] + paper.span[0])
    axes.set_ylim(paper.low[1], paper.low[1] + paper.span[1])
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#e6e6e6")
    axes.set_title(short(panel.name, NAME), fontsize=9, loc="left", pad=3, parse_math=False)
    known = np.isfinite(panel.values)
    dots(axes, places[~known], [panel.grey] * int((~known).sum()), size)
    if not known.any():
        return None
    return dots(axes, places[known], panel.values[known], size, cmap=panel.cmap, norm=norm)


def _key(figure: Figure, drawn: Any, sheet: MapSheet, total: tuple[float, float]) -> None:
    """The colour bar at the right, and below it what is grey."""
    left, low = (total[0] - BAR + 0.25) / total[0], 1 - (TOP + HEAD) / total[1]
    if drawn is not None:
        values = np.concatenate([p.values[np.isfinite(p.values)] for p in sheet.panels])
        high = min(3.0, 0.6 * total[1]) / total[1]
        low -= 0.35 / total[1] + high
        axes = figure.add_axes((left, low, 0.16 / total[0], high))
        bar = figure.colorbar(drawn, cax=axes, extend=beyond(values, drawn.norm))
        bar.outline.set_visible(False)
        axes.tick_params(labelsize=9)
        axes.set_title(short(sheet.unit, 20), fontsize=10, loc="left", pad=14, parse_math=False)
        low -= 0.35 / total[1]
    if any(not np.isfinite(p.values).all() for p in sheet.panels):
        mark = Line2D([], [], linestyle="", marker="o", markersize=6, color=sheet.panels[0].grey)
        figure.legend(
            [mark], [sheet.panels[0].missing], loc="upper left", bbox_to_anchor=(left - 0.1 / total[0], low),
            frameon=False, fontsize=9, handletextpad=0.2, borderaxespad=0,
        )  # fmt: skip
