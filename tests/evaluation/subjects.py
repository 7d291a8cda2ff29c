"""Embeddings to judge without a store: a subject with a background of plain values, and a task done whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from g2v_dask.evaluate_spec import EvaluateSpec
from g2v_dask.evaluation.base import Dataset, Subject, Task, Unit
from g2v_dask.genes import GeneTable


@dataclass(frozen=True, kw_only=True)
class FakeBackground:
    """What a store would know; nothing, unless it is given."""

    degrees: Mapping[str, float] = field(default_factory=dict)
    datasets: Sequence[tuple[NDArray[np.str_], NDArray[np.float32]]] = ()
    counted: Sequence[Dataset] = ()

    def degree(self) -> Mapping[str, float]:
        return self.degrees

    def moments(self) -> Mapping[str, tuple[float, float]]:
        values: dict[str, list[NDArray[np.float32]]] = {}
        for genes, expression in self.datasets:
            for gene, column in zip(genes.tolist(), expression.T, strict=True):
                values.setdefault(gene, []).append(column)
        joined = {gene: np.concatenate(columns).astype(np.float64) for gene, columns in values.items()}
        return {gene: (float(v.mean()), float(v.var())) for gene, v in joined.items()}

    def expression(self) -> Iterator[tuple[NDArray[np.str_], NDArray[np.float32]]]:
        yield from self.datasets

    def measured(self) -> Mapping[str, tuple[int, NDArray[np.str_]]]:
        return {d.name: (len(d.counts), d.genes) for d in self.counted}

    def counts(self) -> Iterator[Dataset]:
        yield from self.counted


@lru_cache(maxsize=1)
def table() -> GeneTable:
    """The bundled table, read once."""
    return GeneTable.load()


def symbols(count: int) -> NDArray[np.str_]:
    """The first protein-coding genes of the bundled table, by symbol."""
    known = table()
    coding = (s for s, kind in zip(known.symbol, known.kinds, strict=True) if kind == "protein-coding")
    return np.array(sorted(coding)[:count])


def subject(
    genes: Sequence[str] | NDArray[np.str_],
    vectors: Any,
    *,
    background: FakeBackground | None = None,
    files: Mapping[str, Sequence[Path]] | None = None,
    beside: Mapping[str, tuple[NDArray[np.str_], NDArray[np.float32]]] | None = None,
    name: str = "toy",
) -> Subject:
    """An embedding with its background; ``files`` by option: genesets, pairs, go."""
    return Subject(
        name=name,
        genes=np.array(list(genes), dtype=np.str_),
        vectors=np.asarray(vectors, dtype=np.float32),
        table=table(),
        background=FakeBackground() if background is None else background,
        files={key: tuple(paths) for key, paths in (files or {}).items()},
        beside=dict(beside or {}),
    )


def alone(done: int, total: int, note: str) -> None:
    """Progress that nobody follows."""


def units_done(task: Task, judged: Subject, spec: EvaluateSpec, units: Sequence[Unit]) -> dict[str, pa.Table]:
    """The tables of some units, joined in their order, as the stage joins them."""
    found: dict[str, list[pa.Table]] = {}
    for unit in units:
        for name, part in task.run(judged, spec, unit, alone).items():
            found.setdefault(name, []).append(part)
    return {name: pa.concat_tables(parts) for name, parts in found.items()}


def evaluated(task: Any, judged: Subject, spec: EvaluateSpec) -> dict[str, pa.Table]:
    """A whole task in this process: its units one after the other, then their sum. ``task``: its module."""
    done = units_done(task, judged, spec, task.units(judged, spec))
    return dict(task.sum_up(judged, spec, done))


def figures(rows: pa.Table, **wanted: str) -> list[dict[str, Any]]:
    """The rows of the tidy table whose columns have these values: ``figures(rows, metric="auc", on="test")``."""
    return [row for row in rows.to_pylist() if all(row[key] == value for key, value in wanted.items())]


def figure(rows: pa.Table, **wanted: str) -> dict[str, Any]:
    """The one such row."""
    (only,) = figures(rows, **wanted)
    return only


def write_gmt(path: Path, sets: Mapping[str, Sequence[str]]) -> Path:
    """Gene sets as a GMT file."""
    path.write_text("".join("\t".join((name, "-", *genes)) + "\n" for name, genes in sets.items()), "utf-8")
    return path
