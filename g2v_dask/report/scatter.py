"""Pictures of maps: a point for every gene, coloured by category or number, chosen genes by name.

Loaded when a picture is drawn, as ``figures``, whose rules hold here too: no backend, the same input gives the same
bytes, no name is read as markup. Points are one image inside the file, so that an SVG of 20,000 genes stays small;
their order is shuffled, so that no category lies on top of another; but one that is pale lies below the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from scipy.ndimage import binary_fill_holes, distance_transform_edt, gaussian_filter

from g2v_dask.errors import InputError
from g2v_dask.report.figures import FORMATS, saved_figure, short
from g2v_dask.report.labels import Count, spread
from g2v_dask.report.palettes import COLOURS, DIVERGING, FAINT, INK, OTHER, PALE, PLAIN, UNKNOWN

LONG = 7.5  # inches of the longer side of the map
FLAT = 0.5  # the shorter side is at least so much of it
COVERED = 0.3  # of the map by points, were they apart
SMALLEST, LARGEST = 1.5, 40.0  # area of a point, in square points
APART = 8  # categories that colours alone tell apart
MOST = len(COLOURS)  # categories with a colour of their own
ROBUST = (1.0, 99.0)  # percentiles at the ends of a colour scale
RARE, ENLARGED = 0.2, 2.0  # genes of at most this share among pale ones are points of so many times the area
CELLS = 48  # along a side of the grid on which a category is densest
CLEAR = 19.0  # points between the middles of two numbers, or of a number and a named gene
SHORE, STEP = 6.0, 1.5  # points: how far from an island's genes its outline runs; of the grid for it
SMALL = 100  # genes of an island whose number is written smaller, if it has fewer
HIDDEN = 60.0  # points that the number of an island is moved, rather than hide what lies below it
COVERING = 150.0  # more of them, rather than hide the island itself
MOVED = (10.0, 20.0, 30.0, 45.0, 60.0)  # points that a number may be moved for that
LABEL, TITLE = 24, 70  # characters
HALO = [withStroke(linewidth=2.5, foreground="white")]


@dataclass(frozen=True, kw_only=True)
class Categories:
    """A word for each gene."""

    name: str
    values: Sequence[str]
    """(genes,); empty where nothing is known."""
    numbered: bool = False
    """Whether the words are numbers of groups, to be shown on the map, in their order."""
    colours: Mapping[str, str] | None = None
    """The colour of each word, in the order of the legend, to be the same in every picture; left out: by count."""
    missing: str = "unknown"
    """What the legend calls genes of which nothing is known."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scale:
    """A number for each gene."""

    name: str
    values: NDArray[np.float64]
    """(genes,); NaN where nothing is known."""
    diverging: bool = False
    """Whether numbers lie on both sides of 0, which is then the middle of the colours."""
    missing: str = "unknown"
    """What the legend calls genes of which nothing is known."""

    @property
    def cmap(self) -> Any:
        """The colours."""
        return DIVERGING if self.diverging else "viridis"

    @property
    def grey(self) -> str:
        """Of genes of which nothing is known."""
        return FAINT if self.diverging else UNKNOWN

    def norm(self) -> Normalize:
        """From number to colour: from the 1st to the 99th percentile, of one with two sides as far on either."""
        values = self.values[np.isfinite(self.values)]
        if self.diverging:
            most = float(np.percentile(np.abs(values), ROBUST[1])) + 1e-12
            return Normalize(-most, most)
        low, high = (float(v) for v in np.percentile(values, ROBUST))
        return Normalize(low, max(high, low + 1e-12))


@dataclass(frozen=True, kw_only=True, eq=False)
class Scatter:
    """What a picture of a map shows."""

    title: str
    places: NDArray[np.float64]
    """(genes, 2)."""
    colour: Categories | Scale | None = None
    labels: Mapping[int, str] = field(default_factory=dict)
    """What to write at some genes, by row."""
    axes: tuple[str, str] = ("", "")
    """What the two directions mean, if they mean anything."""
    islands: NDArray[np.int32] | None = None
    """(genes,) the number of each gene's island, 0 for none: islands are outlined and numbered."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Paper:
    """A frame around all points, in one scale for both directions."""

    low: NDArray[np.float64]
    """(2,) the lower left corner."""
    span: NDArray[np.float64]
    """(2,) width and height, as places are counted."""

    @classmethod
    def around(cls, places: NDArray[np.float64]) -> Paper:
        least, most = places.min(axis=0), places.max(axis=0)
        span = most - least
        span = np.maximum(span, FLAT * span.max()) * 1.04 if span.max() > 0 else np.ones(2)
        return cls(low=(least + most - span) / 2, span=span)

    @property
    def inches(self) -> NDArray[np.float64]:
        """(2,) width and height as drawn."""
        inches: NDArray[np.float64] = LONG * self.span / self.span.max()
        return inches

    @property
    def scale(self) -> NDArray[np.float64]:
        """(2,) of a point, as places are counted."""
        scale: NDArray[np.float64] = self.span / self.inches / 72
        return scale

    def points(self, places: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places in points (1/72 inch) from the corner."""
        points: NDArray[np.float64] = (places - self.low) / self.span * self.inches * 72
        return points


def suffix_of(file: Path) -> str:
    """The format of a picture, by its file's name.

    Raises: InputError for a name that is not of a PNG, SVG or PDF file.
    """
    suffix = file.suffix.lower()
    if suffix not in FORMATS:
        msg = f"a picture is a .png, .svg or .pdf file; got {str(file)!r}"
        raise InputError(msg)
    return suffix


def draw(picture: Scatter, file: Path) -> bytes:
    """A map as a picture in the format of the file's name.

    Raises: InputError for another format.
    """
    suffix = suffix_of(file)
    paper = Paper.around(picture.places)
    width, height = paper.inches
    figure = Figure(figsize=(width + 3, height + 1))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.25 / (width + 3), 0.4 / (height + 1), width / (width + 3), height / (height + 1)))
    axes.set_xlim(paper.low[0], paper.low[0] + paper.span[0])
    axes.set_ylim(paper.low[1], paper.low[1] + paper.span[1])
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.set_xlabel(short(picture.axes[0], TITLE), fontsize=9, parse_math=False)
    axes.set_ylabel(short(picture.axes[1], TITLE), fontsize=9, parse_math=False)
    axes.set_title(short(picture.title, TITLE), fontsize=12, loc="left", parse_math=False)
    size = float(np.clip(COVERED * width * height * 72**2 / len(picture.places), SMALLEST, LARGEST))
    marks = _coloured(axes, picture, size)
    if picture.islands is not None:
        marks = _islands(axes, picture, picture.islands, paper)  # categories have no numbers then
    _write(axes, marks, picture, paper)
    return saved_figure(figure, suffix, bbox_inches="tight", pad_inches=0.12)


# -- colours ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Mark:
    """A number on the map, for a category."""

    text: str
    colour: str
    place: NDArray[np.float64]
    """On paper, in points."""
    size: int = 10
    """Of the font, in points."""


def _coloured(axes: Axes, picture: Scatter, size: float) -> list[_Mark]:
    """Draws the points and what explains their colours; gives back the numbers that belong on the map."""
    places, colour = picture.places, picture.colour
    if colour is None:
        dots(axes, places, [PLAIN] * len(places), size)
        return []
    if isinstance(colour, Scale):
        _scale(axes, places, colour, size)
        return []
    return _categories(axes, picture, colour, size)


def dots(axes: Axes, places: NDArray[np.float64], colours: Any, size: float, **how: Any) -> Any:
    """Draws points in a fixed random order."""
    order = np.random.default_rng(0).permutation(len(places))
    x, y = places[order].T
    return axes.scatter(x, y, s=size, c=np.asarray(colours)[order], linewidths=0, rasterized=True, **how)


def _scale(axes: Axes, places: NDArray[np.float64], colour: Scale, size: float) -> None:
    """Points by number, those without one in grey below the others, and the colour bar."""
    known = np.isfinite(colour.values)
    dots(axes, places[~known], [colour.grey] * int((~known).sum()), size)
    if not known.any():
        return
    values, norm = colour.values[known], colour.norm()
    drawn = dots(axes, places[known], values, size, cmap=colour.cmap, norm=norm)
    inset = axes.inset_axes((1.04, 0.5, 0.025, 0.42))
    bar = axes.figure.colorbar(drawn, cax=inset, extend=beyond(values, norm))
    bar.outline.set_visible(False)
    inset.tick_params(labelsize=9)
    inset.set_title(short(colour.name, 40), fontsize=10, loc="left", pad=14, parse_math=False)
    if not known.all():
        _legend(axes, [(colour.missing, int((~known).sum()), colour.grey)], title="", top=0.46)


def beyond(values: NDArray[np.float64], norm: Normalize) -> str:
    """At which ends of a colour bar there is more."""
    assert norm.vmin is not None
    assert norm.vmax is not None
    ends = {(True, True): "both", (True, False): "min", (False, True): "max"}
    return ends.get((bool(values.min() < norm.vmin), bool(values.max() > norm.vmax)), "neither")


def _categories(axes: Axes, picture: Scatter, colour: Categories, size: float) -> list[_Mark]:
    """Points by category, those without one in grey below the others, and the legend."""
    places = picture.places
    counts = Counter(value for value in colour.values if value)
    colours = _colours(colour, counts)
    values = np.array(colour.values, dtype=np.str_)
    known = values != ""
    dots(axes, places[~known], [UNKNOWN] * int((~known).sum()), size)
    pale = np.isin(values, [word for word, its in colours.items() if its == PALE])
    dots(axes, places[pale], [PALE] * int(pale.sum()), size)
    rest = known & ~pale
    seen = size * (ENLARGED if 0 < rest.sum() <= RARE * len(values) and pale.any() else 1.0)
    dots(axes, places[rest], [colours.get(word, OTHER) for word in values[rest].tolist()], seen)
    shown = (colour.numbered or len(colours) > APART) and picture.islands is None
    numbers = {w: (w if colour.numbered else str(n)) for n, w in enumerate(colours, start=1)} if shown else {}
    rows = [(_entry(word, numbers), counts[word], its) for word, its in colours.items()]
    others = [word for word in counts if word not in colours]
    if others:
        rows.append((f"{len(others):,} others", sum(counts[word] for word in others), OTHER))
    if not known.all():
        rows.append((colour.missing, int((~known).sum()), UNKNOWN))
    _legend(axes, rows, title=colour.name, top=1.0)
    return _marks(picture, values, numbers, colours)


def _colours(colour: Categories, counts: Mapping[str, int]) -> dict[str, str]:
    """The colour of each word that has one of its own, in the order of the legend."""
    if colour.colours is not None:
        return {word: its for word, its in colour.colours.items() if word in counts}
    words = sorted(counts, key=_by_number) if colour.numbered else sorted(counts, key=lambda w: (-counts[w], w))
    most = set(sorted(words, key=lambda w: (-counts[w], w))[:MOST])
    kept = [word for word in words if word in most]
    pale = {word for word in kept if 2 * counts[word] > sum(counts.values()) and not colour.numbered}
    return {word: PALE if word in pale else its for word, its in zip(kept, COLOURS, strict=False)}


def _by_number(word: str) -> tuple[int, str]:
    return (int(word), "") if word.isdecimal() else (1 << 62, word)


def _entry(word: str, numbers: Mapping[str, str]) -> str:
    number = numbers.get(word, word)
    return word if number == word else f"{number}: {word}"


def _marks(
    picture: Scatter, values: NDArray[np.str_], numbers: Mapping[str, str], colours: Mapping[str, str]
) -> list[_Mark]:
    """The numbers of categories, each where most of its genes lie, or as near as named genes and other numbers let.

    The median would be nearer to what is usual; but that of a category in two pieces may lie in another.
    """
    paper = Paper.around(picture.places)
    points = paper.points(picture.places)
    taken = [points[row] for row in picture.labels]
    angles = np.arange(16) * np.pi / 8
    away = [np.zeros(2), *(r * np.array([np.cos(a), np.sin(a)]) for r in MOVED for a in angles)]
    marks = []
    for word, number in numbers.items():
        best = _densest(points[values == word], paper)
        free = (p for p in best + away if all(np.abs(p - other).max() > CLEAR for other in taken))
        place = next(free, best)
        taken.append(place)
        marks.append(_Mark(text=number, colour=colours[word], place=place))
    return marks


def _densest(own: NDArray[np.float64], paper: Paper) -> NDArray[np.float64]:
    """Among points, the place that most others lie around, on a smoothed grid."""
    sides = paper.inches * 72 / CELLS
    cells = np.clip(own / sides, 0, CELLS - 1).astype(np.int64)
    grid = np.zeros((CELLS, CELLS))
    np.add.at(grid, (cells[:, 0], cells[:, 1]), 1)
    dense = gaussian_filter(grid, sigma=2.0, mode="constant")[cells[:, 0], cells[:, 1]]
    place: NDArray[np.float64] = np.median(own[dense >= dense.max() * (1 - 1e-9)], axis=0)
    return place


def _legend(axes: Axes, rows: Sequence[tuple[str, int, str]], *, title: str, top: float) -> None:
    """Colours, words, and how many genes; words are set after it is made, since a leading ``_`` would hide one."""
    handles = [Line2D([], [], linestyle="", marker="o", markersize=7, color=colour) for _, _, colour in rows]
    legend = axes.legend(
        handles, ["-"] * len(rows), loc="upper left", bbox_to_anchor=(1.02, top), frameon=False, fontsize=9,
        title="-" if title else None, title_fontsize=10, alignment="left", handletextpad=0.2, borderaxespad=0,
    )  # fmt: skip
    legend.get_title().set(text=short(title, 40), parse_math=False)
    for text, (word, count, _) in zip(legend.get_texts(), rows, strict=True):
        text.set(text=f"{short(word, 40)} ({count:,})", parse_math=False)


# -- islands ------------------------------------------------------------------------------------------------


def _islands(axes: Axes, picture: Scatter, islands: NDArray[np.int32], paper: Paper) -> list[_Mark]:
    """Outlines the islands; gives back their numbers, each on its island, or beside one that it would hide."""
    points = paper.points(picture.places)
    count = Count(points, paper.inches * 72)
    taken = [points[row] for row in picture.labels]
    marks = []
    for number in np.unique(islands[islands > 0]).tolist():
        own = points[islands == number]
        _outline(axes, own, paper)
        place = _beside(own, count, taken, _densest(own, paper))
        taken.append(place)
        marks.append(_Mark(text=str(number), colour=INK, place=place, size=10 if len(own) >= SMALL else 8))
    return marks


def _outline(axes: Axes, own: NDArray[np.float64], paper: Paper) -> None:
    """A line around points, everywhere as far from the next of them; none around what is empty inside."""
    low = own.min(axis=0) - 2 * SHORE
    shape = np.ceil((own.max(axis=0) + 2 * SHORE - low) / STEP).astype(np.int64) + 1
    cells = np.rint((own - low) / STEP).astype(np.int64)
    water = np.ones(shape, dtype=bool)
    water[cells[:, 0], cells[:, 1]] = False
    away = distance_transform_edt(water, sampling=STEP)
    away[binary_fill_holes(away <= SHORE) & (away > SHORE)] = 0
    across, up = (paper.low[i] + (low[i] + STEP * np.arange(shape[i])) * paper.scale[i] for i in (0, 1))
    drawn = axes.contour(across, up, away.T, levels=[SHORE], colors=[INK], linewidths=0.7, zorder=4)
    drawn.set_clip_on(False)


def _beside(
    own: NDArray[np.float64], count: Count, taken: Sequence[NDArray[np.float64]], best: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Where the number of an island stands: where it hides few points and no other number, not far from its middle."""
    middle = own.mean(axis=0)
    angles = np.arange(16) * np.pi / 8
    ways = np.column_stack([np.cos(angles), np.sin(angles)])
    reach = ((own - middle) @ ways.T).max(axis=0) + SHORE + CLEAR / 2
    tried = np.vstack([best, middle + ways * reach[:, None]])
    cost = np.append(0.0, reach) + HIDDEN * count.within(tried - CLEAR / 2, tried + CLEAR / 2)
    cost = cost + COVERING * np.array([(np.abs(own - place).max(axis=1) < CLEAR / 2).mean() for place in tried])
    for other in taken:
        cost = cost + np.where(np.abs(tried - other).max(axis=1) < CLEAR, 1000.0, 0.0)
    place: NDArray[np.float64] = tried[int(np.argmin(cost))]
    return place


# -- names --------------------------------------------------------------------------------------------------


def _write(axes: Axes, marks: Sequence[_Mark], picture: Scatter, paper: Paper) -> None:
    """Writes the numbers of categories, then the names of chosen genes beside them."""
    for mark in marks:
        axes.annotate(
            mark.text, tuple(mark.place.tolist()), xycoords="axes points", fontsize=mark.size, fontweight="bold",
            color=INK, ha="center", va="center_baseline", zorder=5,
            bbox={"boxstyle": "round,pad=0.18", "fc": "white", "ec": mark.colour, "lw": 1.4, "alpha": 0.9},
        )  # fmt: skip
    if not picture.labels:
        return
    named = picture.places[list(picture.labels)]
    words = [short(text, LABEL) for text in picture.labels.values()]
    anchors = paper.points(named)
    spots = spread(
        anchors,
        np.array([_size(word, 9) for word in words]),
        paper.points(picture.places),
        taken=[(mark.place, _size(mark.text, 11) + 4) for mark in marks],
        paper=paper.inches * 72,
    )
    x, y = named.T
    for colour, line in (("white", 3.2), (INK, 1.3)):
        axes.scatter(x, y, s=38, facecolors="none", edgecolors=colour, linewidths=line, zorder=6)
    for word, place, away in zip(words, named, spots - anchors, strict=True):
        axes.annotate(
            word, place, xytext=away, textcoords="offset points", fontsize=9, color="black", ha="center", va="center",
            zorder=8, path_effects=HALO, parse_math=False,
            arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.8, "shrinkA": 0, "shrinkB": 3.5},
        )  # fmt: skip


def _size(word: str, points: float) -> NDArray[np.float64]:
    """Width and height of a word of that font size, by and large: capitals of the font are about so wide."""
    return np.array([0.68 * len(word), 1.15]) * points
