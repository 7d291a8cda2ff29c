"""Pictures: the heat map of A − b vectors by group, the histogram of all similarities.

Loaded by ``saved`` when the first picture is drawn: matplotlib and scikit-learn take seconds to import. Figures
are drawn on a canvas of their own, so no backend is chosen for a whole process, and the same input gives the
same bytes.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import ScalarFormatter
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from threadpoolctl import threadpool_limits

from g2v_dask.answers import Analogies
from g2v_dask.errors import InputError, SpecError
from g2v_dask.names import Names
from g2v_dask.report.sheets import sign_of

MOST_GROUPS = 8
MOST_ROWS = 60  # of the map: more have no legible names
PRINTED = 12  # rows up to which each cell holds its number
LABEL = 24  # characters of a name
DPI = 144
BLUE = "#4477aa"
COLOURS = ("#77aadd", "#ee8866", "#44bb99", "#eedd88", "#ffaabb", "#bbcc33", "#dddddd", "#99ddff")  # Paul Tol's light
FORMATS: dict[str, dict[str, Any]] = {  # what of a file would change with the day or the version
    ".png": {"Software": None},
    ".svg": {"Date": None, "Creator": None},
    ".pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


@dataclass(frozen=True, kw_only=True)
class GeneMap:
    """How the b of the best A − b ≈ c − d fall into groups."""

    groups: Mapping[str, int]
    """The group of each b, from 1: that of the best answer is 1."""
    png: bytes | None
    """The heat map; none if there are too few b."""
    notes: tuple[str, ...] = ()


def gene_map(answers: Analogies, names: Names, vectors: NDArray[np.float32], *, groups: int | None = None) -> GeneMap:
    """The groups of b in the answers to one gene A, and the heat map of the cosines among the A − b.

    Groups are by k-means of the A − b at unit length, in as many groups as asked for, or as give the best
    silhouette. Rows of the map stand by group, then by their best answer.

    Memory: 16·d bytes a distinct b; silhouettes are made in blocks.
    Parameters: vectors   (genes, d), rows in the order of ``names``.
    Raises: SpecError for fewer than 1 group, or more than there are distinct b.
    """
    (gene,) = answers.asked
    found = list(dict.fromkeys(answer.b for answer in answers.found))
    if groups is not None and not 1 <= groups <= max(len(found), 1):
        msg = f"groups must be from 1 to {max(len(found), 1)}, the number of distinct b; got {groups}"
        raise SpecError(msg)
    if len(found) < 3:
        note = f"{len(found)} distinct b: too few for groups and a heat map, which take 3"
        return GeneMap(groups=dict.fromkeys(found, 1), png=None, notes=(note,))
    rows = np.array([names.rows[word] for word in (gene, *found)])
    used = vectors[rows].astype(np.float64)
    if answers.unit:
        used = _unit(used)
    unit = _unit(used[0] + used[1:] if answers.sums else used[0] - used[1:])
    labels = _labels(unit, groups)
    order = [i for i in np.argsort(labels, kind="stable").tolist() if i < MOST_ROWS]
    left_out = len(found) - len(order)
    note = f"the heat map shows the {MOST_ROWS} b of the best answers, of {len(found):,}"
    png = _heat_map(
        unit[order] @ unit[order].T,
        words=[names.about(found[i]).symbol for i in order],
        groups=labels[order],
        sign=sign_of(answers),
        gene=names.about(gene).symbol,
    )
    return GeneMap(groups=dict(zip(found, labels.tolist(), strict=True)), png=png, notes=(note,) if left_out else ())


def histogram(
    counts: NDArray[np.integer[Any]],
    edges: NDArray[np.floating[Any]],
    *,
    file: Path,
    embedding: str,
    genes: int,
    log: bool = True,
) -> bytes:
    """The distribution of the cosines of all gene pairs, as a picture in the format of the file's name.

    Parameters: counts   of pairs, one a bin.
                edges    of the bins, one more than there are counts.
                log      whether the axis of counts is logarithmic: the tails, which are asked about, hold few pairs.
    Raises: InputError for a name that is not of a PNG, SVG or PDF file.
    """
    suffix = file.suffix.lower()
    if suffix not in FORMATS:
        msg = f"a picture is a .png, .svg or .pdf file; got {str(file)!r}"
        raise InputError(msg)
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.stairs(counts, edges, fill=True, color=BLUE)
    axes.set_xlim(float(edges[0]), float(edges[-1]))
    if log and counts.any():
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.5)  # so that a single pair has a height
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel("cosine similarity")
    axes.set_ylabel("pairs of genes")
    axes.set_title(
        f"{short(embedding, 60)}: {int(counts.sum()):,} pairs of {genes:,} genes", fontsize=11, parse_math=False
    )
    axes.spines[["top", "right"]].set_visible(False)
    return saved_figure(figure, suffix)


# -- groups -------------------------------------------------------------------------------------------------


def _labels(unit: NDArray[np.float64], groups: int | None) -> NDArray[np.int64]:
    """The group of each row, from 1 in the order of first appearance."""
    distinct = len(np.unique(unit.round(6), axis=0))  # k-means cannot split what is equal
    tried = range(2, min(MOST_GROUPS, len(unit) - 1, distinct) + 1) if groups is None else [min(groups, distinct)]
    # one thread: sums of a fixed order, and so the same groups anywhere
    with threadpool_limits(limits=1):
        split = [KMeans(n_clusters=k, n_init=10, random_state=0).fit_predict(unit) for k in tried]
        if groups is None and len(split) > 1:
            split.sort(key=lambda labels: -silhouette_score(unit, labels))  # stable: ties to the fewer groups
    best = split[0] if split else np.zeros(len(unit), dtype=np.int64)
    _, first = np.unique(best, return_index=True)
    number = np.empty(len(first), dtype=np.int64)
    number[np.argsort(first)] = np.arange(1, len(first) + 1)
    renumbered: NDArray[np.int64] = number[best]
    return renumbered


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: NDArray[np.float64] = rows / np.where(norms > 0, norms, 1.0)
    return unit


# -- drawing ------------------------------------------------------------------------------------------------


def _heat_map(
    cosines: NDArray[np.float64], *, words: Sequence[str], groups: NDArray[np.int64], sign: str, gene: str
) -> bytes:
    """Draws in inches, so that names stay legible whatever their number; the canvas grows around them."""
    size = len(words)
    cell = float(np.clip(5 / size, 0.19, 0.6))
    side, strip, gap = cell * size, 0.2, 0.05
    height = max(side, 2.0)  # the colour bar has a label to hold
    figure = Figure(figsize=(side + 3, height + 2))
    FigureCanvasAgg(figure)

    def place(left: float, bottom: float, width: float, tall: float) -> Axes:
        return figure.add_axes((left / (side + 3), bottom / (height + 2), width / (side + 3), tall / (height + 2)))

    top = 1 + height
    main = place(1, top - side, side, side)
    low, digits = _scale(cosines)
    image = main.imshow(cosines, cmap="RdBu_r" if low < 0 else "viridis", vmin=low, vmax=1, interpolation="nearest")
    _name_axes(main, place(1 - strip - gap, top - side, strip, side), words, groups, points=min(10.0, 45 * cell))
    if size <= PRINTED and digits < 3:  # more do not fit
        _print_numbers(main, image, cosines, digits=max(2, digits + 1), points=min(9.0, 18 * cell))
    tall = min(height, 3.0)
    _bar(figure, image, place(1 + side + 0.25, top - tall, 0.16, tall), f"cosine of A {sign} b vectors")
    count = len(np.unique(groups))
    split = f"{count} groups" if count > 1 else "one group"
    figure.text(
        (1 - strip - gap) / (side + 3),
        (top + 0.12) / (height + 2),
        f"A {sign} b of the best answers, A = {short(gene, LABEL)}\n{size} b in {split}",
        fontsize=11,
        verticalalignment="bottom",
        parse_math=False,
    )
    return saved_figure(figure, ".png", bbox_inches="tight", pad_inches=0.12)


def _name_axes(main: Axes, strip: Axes, words: Sequence[str], groups: NDArray[np.int64], *, points: float) -> None:
    """Names at the rows and columns, and a strip that numbers and colours the groups, with lines between them."""
    size = len(words)
    strip.imshow(
        (groups[:, None] - 1) % len(COLOURS), cmap=ListedColormap(COLOURS), vmin=0, vmax=len(COLOURS) - 1, aspect="auto"
    )
    cuts = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), size]
    for start, stop in pairwise(cuts):
        strip.text(
            0,
            (start + stop - 1) / 2,
            str(groups[start]),
            fontsize=min(points, 9.0),
            fontweight="bold",
            horizontalalignment="center",
            verticalalignment="center_baseline",
        )
    for cut in cuts[1:-1]:
        strip.axhline(cut - 0.5, color="black", linewidth=1)
        main.axhline(cut - 0.5, color="black", linewidth=1)
        main.axvline(cut - 0.5, color="black", linewidth=1)
    labels = [short(word, LABEL) for word in words]
    main.set_yticks([])
    main.set_xticks(range(size), labels, rotation=90, fontsize=points, parse_math=False)
    strip.set_xticks([])
    strip.set_yticks(range(size), labels, fontsize=points, parse_math=False)
    for axes in (main, strip):
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)


def _scale(cosines: NDArray[np.float64]) -> tuple[float, int]:
    """The lowest cosine of the colours, and how many digits tell them apart.

    Where A is long, all A − b look alike: their cosines fill a hundredth of −1 to 1, which would be one colour.
    So it is −1, diverging around 0, if some are negative, and else the lowest there is, rounded down.
    """
    least = float(cosines.min())
    if least < 0:
        return -1.0, 1
    digits = int(np.clip(np.ceil(-np.log10(max(1 - least, 1e-9))), 1, 4))
    return min(math.floor(least * 10**digits), 10**digits - 1) / 10**digits, digits


def _print_numbers(axes: Axes, image: AxesImage, cosines: NDArray[np.float64], *, digits: int, points: float) -> None:
    luma = image.to_rgba(cosines)[..., :3] @ np.array([0.3, 0.59, 0.11])
    for (row, column), value in np.ndenumerate(cosines):
        axes.text(
            column,
            row,
            f"{value:z.{digits}f}".replace("-", "−"),
            fontsize=points,
            color="white" if luma[row, column] < 0.5 else "black",
            horizontalalignment="center",
            verticalalignment="center_baseline",
        )


def _bar(figure: Figure, image: AxesImage, axes: Axes, label: str) -> None:
    bar = figure.colorbar(image, cax=axes)
    bar.formatter = ScalarFormatter(useOffset=False)
    bar.set_label(label, fontsize=9)
    bar.ax.tick_params(labelsize=9)
    bar.outline.set_visible(False)


def short(word: str, most: int) -> str:
    """A text in one line of at most so many characters."""
    text = " ".join(word.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def saved_figure(figure: Figure, suffix: str, **how: Any) -> bytes:
    """The figure's file, the same for the same figure."""
    out = io.BytesIO()
    with warnings.catch_warnings(), mpl.rc_context({"svg.hashsalt": "g2v"}):
        # a word in a script that the bundled font has not: boxes are drawn, and the table holds the word
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        figure.savefig(out, format=suffix[1:], dpi=DPI, metadata=FORMATS[suffix], **how)
    return out.getvalue()
