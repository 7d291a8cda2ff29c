"""A grid of trainings that was tried."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from g2v_dask.driver import Summary
from g2v_dask.report.finite import finite

NONE = "–"  # a cell without a figure


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training, and the figure of it that chooses."""

    embedding: str
    seed: int
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    """95 % interval of the figure; NaN where there is none."""
    coverage: float = math.nan
    """The share of the task's genes that the embedding has."""
    why: str = ""
    """Why there is no figure."""


@dataclass(frozen=True, kw_only=True)
class Tried:
    """One cell of the grid."""

    at: Mapping[str, Any]
    """Its value of each key of the grid."""
    runs: tuple[Run, ...]
    """One a seed."""

    @property
    def value(self) -> float:
        """Mean over its runs; NaN if one of them has no figure."""
        return fmean(run.value for run in self.runs)

    @property
    def interval(self) -> tuple[float, float]:
        """Means of the bounds of its runs' intervals."""
        return fmean(run.low for run in self.runs), fmean(run.high for run in self.runs)

    @property
    def range(self) -> tuple[float, float]:
        """The least and the highest of its runs."""
        return min(run.value for run in self.runs), max(run.value for run in self.runs)

    @property
    def why(self) -> str:
        """Why it has no figure."""
        return next((run.why for run in self.runs if run.why), "")

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; JSON knows finite numbers alone."""
        low, high = self.interval
        figures = {"value": self.value, "low": low, "high": high}
        return {
            "at": dict(self.at),
            **finite(figures),
            **({"why": self.why} if self.why else {}),
            "runs": [finite(vars(run)) for run in self.runs],
        }


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A grid that was tried."""

    name: str
    choose: str
    """The figure that chooses."""
    grid: Mapping[str, Sequence[Any]]
    cells: Sequence[Tried]
    """The last key of the grid changes first."""
    stages: Sequence[Summary] = field(default_factory=tuple)

    @property
    def best(self) -> Tried:
        """The cell with the highest figure; of equal ones the first of the grid. Some cell has a figure."""
        return max((c for c in self.cells if not math.isnan(c.value)), key=lambda cell: cell.value)

    @property
    def table(self) -> list[tuple[tuple[Any, ...], list[Tried]]]:
        """The rows of Table 1: their values of all keys but the last, and a cell for each value of that."""
        wide = len(self.grid[list(self.grid)[-1]])
        rows = (list(self.cells[start : start + wide]) for start in range(0, len(self.cells), wide))
        return [(tuple(cells[0].at.values())[:-1], cells) for cells in rows]

    @property
    def exit_code(self) -> int:
        """3 if a cell has no figure."""
        return 3 if any(cell.why for cell in self.cells) else 0

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "name": self.name,
            "choose": self.choose,
            "grid": {key: list(values) for key, values in self.grid.items()},
            "cells": [cell.as_json() for cell in self.cells],
            "chosen": self.best.as_json(),
            "stages": [summary.as_json() for summary in self.stages],
            "exit_code": self.exit_code,
        }


def highest(cells: Iterable[Tried]) -> float:
    """The highest figure of some cells; NaN where none has one."""
    return max((cell.value for cell in cells if not math.isnan(cell.value)), default=math.nan)
