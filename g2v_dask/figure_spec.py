"""Which figure of an evaluation is meant, and what it must reach: as texts in spec files."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from g2v_dask.errors import InputError, SpecError
from g2v_dask.evaluate_spec import TASKS
from g2v_dask.options import is_name, nearest

EXAMPLE = "interaction auc on test of chosen"
_BOUND = re.compile(r"(?:(?P<evaluation>[^\s:]+): *)?(?P<figure>.+?) *>= *(?P<least>\S+)")
_LISTED = 12  # figures that an error names


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of an evaluation, in the words of its table: ``TASK METRIC [on ON] [of MODEL]``.

    What is left out may be anything, if there is one only; a baseline is meant only where it is named.

    >>> figure = Figure.parse("interaction  auc on valid of ggipnn frozen", "choose")
    >>> figure.task, str(figure)
    ('interaction', 'interaction auc on valid of ggipnn frozen')
    """

    text: str

    @classmethod
    def parse(cls, text: str, where: str) -> Figure:
        """The figure that a text names. ``where`` is the option, for errors.

        Raises: SpecError for another form, or an unknown task.
        """
        task, *rest = text.split() or [""]
        if task not in TASKS and rest:
            msg = f"{where} must begin with a task, one of {', '.join(TASKS)}; got {task!r}{nearest(task, TASKS)}"
            raise SpecError(msg)
        if not rest:
            msg = f"{where} must be 'TASK METRIC [on ON] [of MODEL]', such as '{EXAMPLE}'; got {text!r}"
            raise SpecError(msg)
        return cls(text=" ".join((task, *rest)))

    @property
    def task(self) -> str:
        """The task that makes it."""
        return self.text.split()[0]

    def __str__(self) -> str:
        return self.text

    def find(self, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """The row of an evaluation's table (schema.EVALUATION) that is meant.

        Raises: InputError if there is none, or several.
        """
        found = [row for row in rows if self.text in _names(row)]
        if len(found) != 1:
            there = found if found else [row for row in rows if row["task"] == self.task]
            texts = list(dict.fromkeys(_names(row)[-1] for row in there))
            rest = f" and {len(texts) - _LISTED:,} more" if len(texts) > _LISTED else ""
            which = "several figures are" if found else "no figure is"
            msg = f"{which} {self.text!r}; of {self.task} there are: {', '.join(texts[:_LISTED]) or 'none'}{rest}"
            raise InputError(msg)
        return found[0]


def _names(row: Mapping[str, Any]) -> list[str]:
    """All that a row of the table may be called; the whole name last."""
    on = ["", f" on {row['on']}"] if row["on"] else [""]
    of = [f" of {row['model']}"] if row["model"] else []
    if not (of and row["baseline"]):
        of.insert(0, "")
    return [" ".join(f"{row['task']} {row['metric']}{o}{m}".split()) for o in on for m in of]


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What a figure must reach: ``[EVALUATION:] FIGURE >= NUMBER``.

    >>> bound = Bound.parse("genes: interaction auc on test of cosine >= 0.7", "gate: evaluation")
    >>> bound.evaluation, str(bound.figure), bound.least
    ('genes', 'interaction auc on test of cosine', 0.7)
    """

    evaluation: str | None
    """Its name; None: the only one."""
    figure: Figure
    least: float

    @classmethod
    def parse(cls, text: str, where: str) -> Bound:
        """The bound that a text tells. ``where`` is the option, for errors.

        Raises: SpecError for another form, a name that is none, an unknown task, or what is no number.
        """
        found = _BOUND.fullmatch(text.strip())
        if found is None or not is_name(found["evaluation"] or "x"):
            msg = f"{where} must be '[NAME:] FIGURE >= NUMBER', such as 'genes: {EXAMPLE} >= 0.7'; got {text!r}"
            raise SpecError(msg)
        least = _number(found["least"])
        if least is None:
            msg = f"{where} must end with '>= NUMBER', such as '>= 0.7'; got {found['least']!r} in {text!r}"
            raise SpecError(msg)
        return cls(evaluation=found["evaluation"], figure=Figure.parse(found["figure"], where), least=least)

    def __str__(self) -> str:
        return f"{'' if self.evaluation is None else f'{self.evaluation}: '}{self.figure} >= {self.least:g}"


def _number(text: str) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
