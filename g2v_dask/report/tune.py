"""The report on a grid of trainings: the paper's Table 1, all cells with their intervals, the heat map."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from g2v_dask.files import write_file
from g2v_dask.report.evaluation import number
from g2v_dask.report.saved import writing
from g2v_dask.report.sheets import Bold, Column, Picture, Sheet
from g2v_dask.report.tuned import NONE, Tried, Tuned, highest


def _grids() -> Any:
    """The module that draws, loaded for the picture alone."""
    return importlib.import_module("g2v_dask.report.grids")


def sheets(found: Tuned) -> tuple[Sheet, Sheet]:
    """Table 1, and the list of all cells, the best first."""
    return _table(found), _list(found)


def _table(found: Tuned) -> Sheet:
    """The figure of each cell; the highest of each row bold."""
    *keys, last = found.grid
    best = found.best
    rows = [
        (*(_word(value) for value in at), *([] if keys else [""]), *(_cell(cell, highest(cells)) for cell in cells))
        for at, cells in found.table
    ]
    columns = [*(Column(name=_words(key)) for key in keys), *([] if keys else [Column(name="")])]
    columns[-1] = Column(name=f"{columns[-1].name} ↓ {_words(last)} →".removeprefix(" ↓ "))
    seeds = len(best.runs)
    return Sheet(
        title=f"{found.name}: {found.choose}",
        facts=(f"{len(found.cells)} cells", f"mean of {seeds} runs each" if seeds > 1 else "one run each"),
        columns=(*columns, *(Column(name=_word(value), right=True) for value in found.grid[last])),
        rows=tuple(rows),
        notes=("Bold: the highest of a row.", *_notes(found)),
    )


def _cell(cell: Tried, most: float) -> str:
    if math.isnan(cell.value):
        return NONE
    return Bold(number(cell.value)) if cell.value == most else number(cell.value)


def _words(key: str) -> str:
    return key.replace("_", " ")


def _word(value: Any) -> str:
    return str(value)


def _notes(found: Tuned) -> tuple[str, ...]:
    """What was chosen, how sure that is, and what has no figure."""
    best = found.best
    at = ", ".join(f"{_words(key)} {_word(value)}" for key, value in best.at.items())
    notes = [f"Chosen: {best.runs[0].embedding} ({at}), {_with_interval(best)}: the highest of {len(found.cells)}."]
    low, high = best.interval
    near = sum(low <= cell.value <= high for cell in found.cells if cell is not best)
    if near:
        others = "1 other cell lies" if near == 1 else f"{near} other cells lie"
        notes.append(f"{others} within its 95 % interval: the choice among them is chance, more or less.")
    without = [cell for cell in found.cells if cell.why]
    notes += [f"{NONE}: {cell.runs[0].embedding} has no figure: {cell.why}" for cell in without[:3]]
    if len(without) > 3:
        notes.append(f"{NONE}: {len(without) - 3} more have none.")
    return tuple(notes)


def _with_interval(cell: Tried) -> str:
    low, high = cell.interval
    return number(cell.value) + (f" (95 %: {number(low)} to {number(high)})" if math.isfinite(low) else "")


def _list(found: Tuned) -> Sheet:
    """All cells with their intervals, the best first."""
    ranked = sorted(found.cells, key=lambda cell: (math.isnan(cell.value), -cell.value))
    seeds = len(ranked[0].runs)
    columns = [
        *(Column(name=_words(key)) for key in found.grid),
        *(Column(name=name, right=True) for name in (found.choose, "95 %", "coverage")),
        *([Column(name=f"least to highest of {seeds} runs", right=True)] if seeds > 1 else []),
        Column(name="embedding"),
    ]
    return Sheet(title="All cells, the best first", columns=tuple(columns), rows=tuple(_listed(c) for c in ranked))


def _listed(cell: Tried) -> tuple[str, ...]:
    low, high = cell.interval
    least, most = cell.range
    coverage = fmean(run.coverage for run in cell.runs)
    return (
        *(_word(value) for value in cell.at.values()),
        NONE if math.isnan(cell.value) else number(cell.value),
        f"{number(low)} to {number(high)}" if math.isfinite(low) else "",
        f"{100 * coverage:.1f} %" if math.isfinite(coverage) else "",
        *([f"{number(least)} to {number(most)}" if not cell.why else ""] if len(cell.runs) > 1 else []),
        cell.runs[0].embedding,
    )


# -- files --------------------------------------------------------------------------------------------------


def check_picture(file: Path) -> None:
    """Refuses a picture that could not be drawn when all work is done.

    Raises: InputError for a name that is not of a PNG, SVG or PDF file.
    """
    _grids().suffix_of(file)


def write_picture(path: Path, found: Tuned) -> None:
    """Draws the heat map into a file, in the format of its name.

    Raises: InputError if it cannot be written.
    """
    file = path.expanduser()
    drawn = _grids().draw(found, file)
    with writing(file):
        write_file(file, drawn)


def with_picture(pages: tuple[Sheet, Sheet], found: Tuned) -> tuple[Sheet, Sheet]:
    """The sheets, with the heat map under Table 1."""
    table, cells = pages
    caption = f"{found.choose}: brighter is higher; bold: the highest of a row; framed: chosen"
    return replace(table, picture=Picture(png=_grids().draw(found, Path("grid.png")), caption=caption)), cells
