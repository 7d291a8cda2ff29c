"""What a report says of embeddings that were judged on the same genes: their figures side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from g2v_dask.analysis.paired import Difference
from g2v_dask.report import evaluation
from g2v_dask.report.evaluated import Evaluated, Figure
from g2v_dask.report.evaluation import EMBEDDING, name_of, number, title_of, value_of
from g2v_dask.report.finite import finite
from g2v_dask.report.sheets import Column, Sheet

PAIRWISE = ("stability", "neighbours")  # tasks that ask about two embeddings, and not about one
Which = tuple[str, str, str, str]
"""Task, on what, model, metric."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """Embeddings on the genes that all have."""

    sizes: Mapping[str, int]
    """Genes of each embedding, by name."""
    genes: int
    """That all have."""
    evaluated: Sequence[Evaluated]
    """Of each embedding, in the order of the names; none but the first where nothing was asked but ``PAIRWISE``."""
    differences: Mapping[str, Mapping[Which, Difference]] = field(default_factory=dict)
    """Of each embedding but the first, less the first."""
    over: Mapping[str, str] = field(default_factory=dict)
    """Task to what was resampled."""

    @property
    def names(self) -> list[str]:
        """The embeddings; all are held against the first."""
        return list(self.sizes)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; JSON knows finite numbers alone."""
        return {
            "embeddings": dict(self.sizes),
            "genes": self.genes,
            "evaluations": [found.as_json() for found in self.evaluated],
            "differences": [
                {
                    **{"embedding": name, "less": self.names[0]},
                    **dict(zip(("task", "on", "model", "metric"), which, strict=True)),
                    **finite(vars(found)),
                }
                for name, some in self.differences.items()
                for which, found in some.items()
            ],
        }


def sheets(found: Compared) -> list[Sheet]:
    """A table a task, then in which neighbours the embeddings differ."""
    tasks = list(dict.fromkeys(task for one in found.evaluated for task in one.tasks))
    beside = [_side_by_side(found, task) for task in tasks if task not in PAIRWISE]
    alone = [s for s in evaluation.sheets(found.evaluated[0], only=PAIRWISE)] if found.evaluated else []
    return [*beside, *alone]


def _side_by_side(found: Compared, task: str) -> Sheet:
    """A row a figure; a column an embedding, and one for its difference to the first."""
    by_name = [{_which(f): f for f in one.figures if f["task"] == task} for one in found.evaluated]
    keys = list(dict.fromkeys(key for some in by_name for key in some))
    rows = [_row(found, by_name, key) for key in _ranked(keys, by_name[0])]
    columns = [Column(name=name) for name in ("On", "What is scored", "Kind", "Metric")]
    columns += [Column(name=name, right=True) for name in found.names]
    columns += [Column(name=f"{name} − {found.names[0]}", right=True) for name in found.names[1:]]
    same = {i for i in (0, 1) if len({row[i] for row in rows}) == 1}  # said once, or nothing new
    used = [i for i in range(len(columns)) if i not in same and (i == 3 or any(row[i] for row in rows))]
    on = (f"on {rows[0][0]}",) if 0 in same and rows[0][0] else ()
    over = found.over.get(task)
    note = f"Differences: paired bootstrap over {over}, with its 95 % interval; * it does not hold 0." if over else ""
    return Sheet(
        title=f"{title_of(task)}: {', '.join(found.names)}",
        facts=(f"{found.genes:,} genes that all have", *_more(found), *on),
        columns=tuple(columns[i] for i in used),
        rows=tuple(tuple(row[i] for i in used) for row in rows),
        notes=(note,) if note else (),
    )


def _which(figure: Figure) -> Which:
    return str(figure["task"]), str(figure["on"]), str(figure["model"]), str(figure["metric"])


def _ranked(keys: Sequence[Which], first: Mapping[Which, Figure]) -> list[Which]:
    """Each thing that is scored on in its turn, then each metric; in it by the first embedding's value."""
    ons = list(dict.fromkeys(key[1] for key in keys))
    metrics = list(dict.fromkeys(key[3] for key in keys))

    def value(key: Which) -> float:
        found = float(first[key]["value"]) if key in first else math.nan
        return -math.inf if math.isnan(found) else found

    return sorted(keys, key=lambda key: (ons.index(key[1]), metrics.index(key[3]), -value(key)))


def _row(found: Compared, by_name: Sequence[Mapping[Which, Figure]], key: Which) -> list[str]:
    task, on, model, metric = key
    kind = next(str(some[key]["baseline"]) for some in by_name if key in some)
    values = [value_of(some[key]) if key in some else "" for some in by_name]
    differences = [difference_of(found.differences.get(name, {}).get(key)) for name in found.names[1:]]
    return [on, model or EMBEDDING, kind, name_of(metric), *values, *differences]


def difference_of(found: Difference | None) -> str:
    """A difference with its interval, and a star where that does not hold 0.

    >>> difference_of(Difference(value=0.0123, low=0.0031, high=0.021, units=100))
    '+0.012 (+0.003 to +0.021) *'
    >>> difference_of(Difference(value=0.0, low=0.0, high=0.0, units=100))
    '0.000'
    """
    if found is None or math.isnan(found.value):
        return ""
    if found.value == found.low == found.high == 0:
        return number(0.0)
    text = _signed(found.value)
    if math.isnan(found.low):
        return text
    star = " *" if found.low > 0 or found.high < 0 else ""
    return f"{text} ({_signed(found.low)} to {_signed(found.high)}){star}"


def _signed(value: float) -> str:
    text = number(abs(value))
    return text if value == 0 else f"{'+' if value > 0 else '−'}{text}"


def _more(found: Compared) -> list[str]:
    """Which embeddings have more genes."""
    return [f"{name} has {size:,}" for name, size in found.sizes.items() if size != found.genes]
