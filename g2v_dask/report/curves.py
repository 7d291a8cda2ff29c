"""ROC curves of all that was scored, in one picture, as Fig. 5 of Du et al. 2019; each with its name beside it.

Loaded when a picture is drawn, as ``figures``, whose rules hold here too: no backend, the same input gives the same
bytes, no name is read as markup. What scores the embedding has a solid line in a colour of its own; baselines are
dashed, transductive ones dotted, both in grey: so without colours nothing is lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from g2v_dask.report.evaluated import Evaluated
from g2v_dask.report.figures import saved_figure, short
from g2v_dask.report.palettes import COLOURS, INK
from g2v_dask.report.scatter import suffix_of

SIDE = 5.6  # inches of the axes
WIDE = 2.9  # inches for the names
LINE = 15.5  # points from one name to the next
MIDDLE, LOWEST = 0.37, 0.02  # of the height: where the middle of the names stands, and the last of them at most
POINTS = 1000  # of a curve that are drawn at most: 1 / 1000 of a side is half a point
LABEL, TITLE = 30, 70  # characters
GREY, CHANCE = "#6b6b6b", "#c9c9c9"
KEPT = "interaction-curves"  # what the task keeps
LINES = tuple(colour for colour in COLOURS if colour != "#f0e442")  # yellow is no colour for a line on white
STYLES: Mapping[str, Any] = {"": "-", "baseline": (0, (5, 2)), "transductive": (0, (1, 1.3))}
MARKED, DECADE = 30, 10.0  # of losses: values that are marked one by one; from which ratio on the axis is logarithmic
MEANS = {"baseline": "needs no embedding", "transductive": "reads the list"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """One line of the picture."""

    name: str
    auc: float
    false: NDArray[np.float64]
    """(points,) rate of false positives, ascending."""
    true: NDArray[np.float64]
    """(points,) rate of true positives."""
    kind: str = ""
    """Empty for what scores the embedding, ``baseline`` or ``transductive``."""


def draw(curves: Sequence[Curve], *, title: str, file: Path) -> bytes:
    """The picture, in the format of the file's name.

    Raises: InputError for a name that is not of a PNG, SVG or PDF file.
    """
    suffix = suffix_of(file)
    ranked = sorted(curves, key=lambda c: (-c.auc, c.name))
    tall = max(SIDE, LINE * (len(ranked) + 4) / 72)
    width, height = SIDE + WIDE + 0.8, tall + 1.1
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.65 / width, 0.6 / height, SIDE / width, tall / height))
    axes.plot([0, 1], [0, 1], color=CHANCE, linewidth=1, zorder=1)
    colours = _colours(ranked)
    for curve, colour in reversed(list(zip(ranked, colours, strict=True))):
        line: dict[str, Any] = {"linewidth": 1.3, "zorder": 2} if curve.kind else {"linewidth": 1.9, "zorder": 3}
        axes.plot(*_thinned(curve), color=colour, linestyle=STYLES[curve.kind], **line)
    _name(axes, ranked, colours, step=LINE / 72 / tall)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.set_xlabel("rate of false positives")
    axes.set_ylabel("rate of true positives")
    axes.set_title(short(title, TITLE), fontsize=12, loc="left", parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    return saved_figure(figure, suffix, bbox_inches="tight", pad_inches=0.12)


def _colours(curves: Sequence[Curve]) -> list[str]:
    """A colour for each curve of the embedding, by name: a model has the same in pictures of other lists. Else grey."""
    ours = sorted(c.name for c in curves if not c.kind)
    return [GREY if c.kind else LINES[ours.index(c.name) % len(LINES)] for c in curves]


def _thinned(curve: Curve) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The points of a curve, no more of them than can be seen."""
    if len(curve.false) <= POINTS:
        return curve.false, curve.true
    along = curve.false + curve.true  # grows from 0 to 2
    kept = np.unique(np.searchsorted(along, np.linspace(0, 2, POINTS)).clip(0, len(along) - 1))
    return curve.false[kept], curve.true[kept]


def _name(axes: Axes, curves: Sequence[Curve], colours: Sequence[str], *, step: float) -> None:
    """The names to the right, from the best down, each joined to its curve by a thin line through the empty corner.

    Curves are ranked as they cross the falling diagonal, or nearly so: the lines make a fan, and hardly cross.
    """
    lowest = max(LOWEST + 2 * step, MIDDLE - len(curves) * step / 2)
    for place, (curve, colour) in enumerate(zip(reversed(curves), reversed(colours), strict=True)):
        x, y, at = *crossing(curve), lowest + place * step
        axes.plot([x, 1.01], [y, at], color=colour, linewidth=0.6, alpha=0.8, zorder=1.5, clip_on=False)
        axes.plot(
            x, y, marker="o", markersize=3.5, color=colour, markeredgecolor="white", markeredgewidth=0.5, zorder=4
        )
        _entry(axes, f"{curve.auc:.3f}  {short(curve.name, LABEL)}", at, colour, curve.kind)
    top = lowest + len(curves) * step
    axes.annotate("AUC", (1.068, top), fontsize=9, color=GREY, va="center_baseline", annotation_clip=False)
    kinds = [kind for kind in STYLES if kind and any(c.kind == kind for c in curves)]
    for place, kind in enumerate(reversed(kinds)):
        _entry(axes, f"{kind}: {MEANS[kind]}", lowest - (place + 1.3) * step, GREY, kind)


def _entry(axes: Axes, text: str, at: float, colour: str, kind: str) -> None:
    """A piece of the line, and words."""
    axes.plot([1.01, 1.055], [at, at], color=colour, linestyle=STYLES[kind], linewidth=1.6, clip_on=False)
    axes.annotate(
        text, (1.068, at), fontsize=9, color=INK, va="center_baseline", parse_math=False, annotation_clip=False
    )


def crossing(curve: Curve) -> tuple[float, float]:
    """Where a curve crosses the diagonal that falls from the upper left.

    >>> crossing(Curve(name="x", auc=1.0, false=np.array([0.0, 0.0, 1.0]), true=np.array([0.0, 1.0, 1.0])))
    (0.0, 1.0)
    """
    false = float(np.interp(1.0, curve.false + curve.true, curve.false))
    return false, 1 - false


def losses(values: Sequence[float]) -> bytes:
    """The loss over iterations, as a PNG."""
    figure = Figure(figsize=(6.2, 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(np.arange(1, len(values) + 1), values, color=LINES[0], marker="o" if len(values) <= MARKED else "", ms=4)
    if min(values) > 0 and max(values) > DECADE * min(values):
        axes.set_yscale("log")
    axes.set_xlabel("iteration")
    axes.set_ylabel("loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    return saved_figure(figure, ".png")


# -- of an evaluation ---------------------------------------------------------------------------------------


def of_evaluation(found: Evaluated, on: str | None = None, *, file: Path = Path("curves.png")) -> bytes | None:
    """The curves of interaction on one list of pairs (left out: the first), as its task keeps them; None without."""
    kept = found.tables.get(KEPT)
    if kept is None or not len(kept):
        return None
    on = str(kept["on"][0]) if on is None else on
    figures = [f for f in found.figures if (f["task"], f["on"], f["metric"]) == ("interaction", on, "auc")]
    curves = []
    for figure in figures:
        mine = kept.filter(pc.and_(pc.equal(kept["on"], on), pc.equal(kept["model"], figure["model"])))
        if len(mine):
            curves.append(
                Curve(
                    name=figure["model"],
                    auc=figure["value"],
                    false=mine["false"].to_numpy(),
                    true=mine["true"].to_numpy(),
                    kind=figure["baseline"],
                )
            )
    title = f"{found.artifact.facts['embedding']}: gene-gene interaction, {on}"
    return draw(curves, title=title, file=file) if curves else None
