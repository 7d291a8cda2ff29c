"""A grid of trainings: what is tried, how each is judged, which figure chooses."""

from __future__ import annotations

import dataclasses
import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g2v_dask.errors import SpecError
from g2v_dask.figure_spec import Figure
from g2v_dask.options import check_name, nearest, under
from g2v_dask.spec import ClusterSpec, EvaluateSpec, TrainSpec

TABLE_1: Mapping[str, Sequence[Any]] = {"components": (50, 100, 200, 300), "iterations": range(1, 11)}
"""The grid of the paper (Du et al. 2019, Table 1)."""
SHORT = {"components": "c", "iterations": "i"}  # in names; of others the whole key
EXAMPLE = "interaction auc on valid of chosen"
OWN = ("name", "seeds", "choose", "grid")  # keys of [tune] besides those of [train]
FORBIDDEN = {  # keys of [train] that [tune] or its grid cannot have
    "name": "names are made: NAME-c100-i3; [tune] name is what they begin with",
    "seed": "seed is the first, and seeds how many; figures are averaged over them",
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One cell of the grid."""

    at: Mapping[str, Any]
    """Its value of each key of the grid."""
    runs: tuple[TrainSpec, ...]
    """One a seed."""


@dataclass(frozen=True, kw_only=True)
class TuneSpec:
    """The store, the cluster, the grid, and how to judge."""

    store: str
    cluster: ClusterSpec
    name: str
    """What the names of embeddings and evaluations begin with."""
    grid: Mapping[str, tuple[Any, ...]]
    """Keys of ``[train]`` to the values that are tried; the last key makes the columns of the table."""
    cells: tuple[Cell, ...]
    choose: Figure
    """The highest one chooses."""
    evaluate: EvaluateSpec

    @classmethod
    def load(cls, path: str | Path) -> TuneSpec:
        """A grid from a TOML file; relative paths in it start at its folder.

        Raises: SpecError if the file is missing, not TOML, or holds an unknown or wrong key.
        """
        file = Path(path).expanduser().absolute()
        try:
            table = tomllib.loads(file.read_text("utf-8"))
        except FileNotFoundError as error:
            msg = f"no such spec file: {file}"
            raise SpecError(msg) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
            msg = f"{file} is not a TOML file: {error}"
            raise SpecError(msg) from error
        return cls.build(table, base=file.parent)

    @classmethod
    def build(cls, table: Mapping[str, Any], *, base: Path) -> TuneSpec:
        """A grid from a parsed TOML table."""
        _check_known("tune spec", table, ("store", "cluster", "tune", "evaluate"))
        for key, wanted in (("store", str), ("cluster", Mapping), ("tune", Mapping), ("evaluate", Mapping)):
            if not isinstance(table.get(key, {} if key == "cluster" else None), wanted):
                what = "a text (a folder)" if wanted is str else f"a table [{key}]"
                msg = f"tune spec: {key} must be {what}, got {table.get(key)!r}"
                raise SpecError(msg)
        given = table["tune"]
        known = TrainSpec.fields_by_key()
        _check_known("tune", given, (*OWN, *(key for key in known if key not in FORBIDDEN), "seed"))
        name = check_name(given.get("name", "tune"))
        grid = _grid(given.get("grid", TABLE_1))
        fixed = {key: value for key, value in given.items() if key not in OWN}
        if both := sorted(fixed.keys() & grid):
            msg = f"tune: {both[0]} stands in [tune] and in [tune.grid]; leave one of them out"
            raise SpecError(msg)
        evaluate = _evaluation(table["evaluate"], base)
        return cls(
            store=under(base, table["store"]),
            cluster=ClusterSpec.build(table.get("cluster", {}), base=base),
            name=name,
            grid=grid,
            cells=tuple(_cells(name, grid, fixed, _seeds(given.get("seeds", 1)))),
            choose=_choice(given.get("choose"), evaluate),
            evaluate=evaluate,
        )


def _check_known(where: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in table:
        if key in known:
            continue
        more = FORBIDDEN.get(key) or f"known: {', '.join(known)}"
        msg = f"{where}: unknown key {key!r}{nearest(key, known)}; {more}"
        raise SpecError(msg)


def _grid(table: Any) -> dict[str, tuple[Any, ...]]:
    """What is tried, key by key, in the order of the spec."""
    if not isinstance(table, Mapping) or not table:
        msg = f"tune: grid must be a table [tune.grid] of lists, such as components = [50, 100]; got {table!r}"
        raise SpecError(msg)
    known = [key for key in TrainSpec.fields_by_key() if key not in FORBIDDEN]
    _check_known("tune.grid", table, known)
    for key, values in table.items():
        if not isinstance(values, Sequence) or isinstance(values, str) or not values:
            msg = f"tune.grid: {key} must be a list of one value or more, such as [1, 2]; got {values!r}"
            raise SpecError(msg)
        if len({str(value) for value in values}) < len(values):
            msg = f"tune.grid: {key} must hold different values, got {list(values)!r}"
            raise SpecError(msg)
    return {key: tuple(values) for key, values in table.items()}


def _seeds(count: Any) -> int:
    """How many runs a cell has."""
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        msg = f"tune: seeds must be a whole number of at least 1, how many runs a cell has; got {count!r}"
        raise SpecError(msg)
    return count


def _cells(name: str, grid: Mapping[str, tuple[Any, ...]], fixed: Mapping[str, Any], seeds: int) -> Iterator[Cell]:
    """Every cell of the grid; the last key changes first.

    Raises: SpecError for a value that training refuses, or a key that is nothing to its method.
    """
    for values in itertools.product(*grid.values()):
        at = dict(zip(grid, values, strict=True))
        named = "-".join([name, *(_label(key, value) for key, value in at.items())])
        first = TrainSpec.build({**fixed, **at, "name": named})
        for key in at:
            if key != "from" and key not in first.select("identity"):
                msg = f"tune.grid: {key} changes nothing of method {first.method}; give a [tune.grid] without it"
                raise SpecError(msg)
        more = (
            dataclasses.replace(first, seed=seed, name=f"{named}-seed{seed}")
            for seed in range(first.seed + 1, first.seed + seeds)
        )
        yield Cell(at=at, runs=(first, *more))


def _label(key: str, value: Any) -> str:
    """A cell's value in its name.

    >>> _label("components", 100), _label("power", 0.5), _label("method", "svd")
    ('c100', 'power0.5', 'svd')
    """
    return value if isinstance(value, str) else f"{SHORT.get(key, key)}{value}"


def _evaluation(table: Mapping[str, Any], base: Path) -> EvaluateSpec:
    for key in ("name", "to"):
        if key in table:
            msg = f"evaluate: {key} is that of each embedding of the grid; leave it out"
            raise SpecError(msg)
    return EvaluateSpec.build(table, base=base)


def _choice(text: Any, evaluate: EvaluateSpec) -> Figure:
    """The figure that chooses.

    Raises: SpecError for one of a test set, or of a task that is not asked.
    """
    if not isinstance(text, str):
        msg = f"tune: choose must name the figure that chooses, such as '{EXAMPLE}'; got {text!r}"
        raise SpecError(msg)
    figure = Figure.parse(text, "tune: choose")
    words = figure.text.split()
    if "test" in words or (figure.task == "interaction" and "valid" not in words):
        msg = f"tune: choose must be a figure on the validation set, never on what is tested at the end; got {text!r}"
        raise SpecError(msg)
    if figure.task not in evaluate.chosen(tissues=True):
        msg = f"tune: choose asks for {figure.task}, which [evaluate] does not; add it to tasks, or give its files"
        raise SpecError(msg)
    return figure
