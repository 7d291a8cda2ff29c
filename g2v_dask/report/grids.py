"""The heat map of a grid: a labelled cell a figure, the highest of each row bold, the chosen one framed.

Loaded when it is drawn, as ``figures``, whose rules hold here too: no backend, the same input gives the same bytes.
Cividis is read alike with and without colour vision, and in grey.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from g2v_dask.report.evaluation import number
from g2v_dask.report.figures import saved_figure, short
from g2v_dask.report.scatter import suffix_of as suffix_of
from g2v_dask.report.tuned import NONE, Tuned, highest

WIDE, TALL = 0.62, 0.42  # inches of a cell
LABEL, TITLE = 28, 70  # characters
MISSING, INK = "#ededed", "#222222"


def draw(found: Tuned, file: Path) -> bytes:
    """The picture, in the format of the file's name.

    Raises: InputError for a name that is not of a PNG, SVG or PDF file.
    """
    suffix = suffix_of(file)
    rows = found.table
    *keys, last = found.grid
    values = np.array([[cell.value for cell in cells] for _, cells in rows])
    tall, wide = values.shape
    width, height = WIDE * wide, max(TALL * tall, 1.2)
    figure = Figure(figsize=(width + 3.4, height + 1.6))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((2 / (width + 3.4), 0.8 / (height + 1.6), width / (width + 3.4), height / (height + 1.6)))
    image = axes.imshow(np.ma.masked_invalid(values), cmap=_colours(), aspect="auto", interpolation="nearest")
    if (np.nanmax(values) - np.nanmin(values)) == 0:  # one colour for all needs a scale all the same
        image.set_clim(float(np.nanmin(values)) - 0.5, float(np.nanmax(values)) + 0.5)
    _number_cells(axes, image, found)
    axes.set_xticks(range(wide), [short(str(v), LABEL) for v in found.grid[last]], fontsize=9, parse_math=False)
    names = [short(", ".join(map(str, at)), LABEL) for at, _ in rows]
    axes.set_yticks(range(tall), names, fontsize=9, parse_math=False)
    axes.set_xlabel(last.replace("_", " "))
    axes.set_ylabel(", ".join(keys).replace("_", " "))
    axes.set_title(short(f"{found.name}: {found.choose}", TITLE), fontsize=11, loc="left", parse_math=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    bar: Any = figure.colorbar(image, cax=axes.inset_axes((1 + 0.2 / width, 0, 0.16 / width, 1)))
    bar.ax.tick_params(labelsize=9)
    bar.outline.set_visible(False)
    return saved_figure(figure, suffix, bbox_inches="tight", pad_inches=0.12)


def _colours() -> Any:
    """Dark for low, bright for high; what is missing is grey."""
    return mpl.colormaps["cividis"].with_extremes(bad=MISSING)


def _number_cells(axes: Axes, image: AxesImage, found: Tuned) -> None:
    """Each cell's figure, dark on bright and bright on dark, and a frame around the chosen one."""
    for row, (_, cells) in enumerate(found.table):
        most = highest(cells)
        for column, cell in enumerate(cells):
            known = not math.isnan(cell.value)
            luma = float(image.to_rgba(np.array([[cell.value]]))[0, 0, :3] @ [0.3, 0.59, 0.11]) if known else 1.0
            axes.text(
                column,
                row,
                number(cell.value) if known else NONE,
                fontsize=9,
                fontweight="bold" if cell.value == most else "normal",
                color="white" if luma < 0.46 else "black",  # at least 4.5 : 1
                horizontalalignment="center",
                verticalalignment="center_baseline",
            )
            if cell is found.best:
                frame = Rectangle((column - 0.46, row - 0.44), 0.92, 0.88, fill=False, linewidth=2, edgecolor=INK)
                axes.add_patch(frame)
