"""What every task of an evaluation is given, and gives back.

A task is a module: ``units`` says what can be done side by side, ``run`` does one of these, ``sum_up`` makes the
figures of what all have left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from g2v_dask import schema
from g2v_dask.errors import InputError
from g2v_dask.evaluate_spec import EvaluateSpec
from g2v_dask.genes import HUMAN, GeneTable
from g2v_dask.ontology import Ontology

ROWS = "rows"  # the table of figures, among the tables that sum_up makes
Tables = Mapping[str, pa.Table]
Progress = Callable[[int, int, str], None]
"""Parts done, of how many, a word; it ends the work (by an exception) if nobody wants it any more."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Read counts of one dataset."""

    name: str
    genes: NDArray[np.str_]
    counts: NDArray[np.float64]
    """(samples, genes) reads."""


class TooLittleError(InputError):
    """What was given is right, but too little to ask a task about it."""


class Background(Protocol):
    """What the store knows of an embedding's genes besides their vectors; read when asked for."""

    def degree(self) -> Mapping[str, float]:
        """Gene id to the sum of its co-occurrence with all other genes; empty for an embedding made elsewhere."""

    def moments(self) -> Mapping[str, tuple[float, float]]:
        """Gene id to mean and variance of its expression (log2), over all samples that the embedding learned from."""

    def expression(self) -> Iterator[tuple[NDArray[np.str_], NDArray[np.float32]]]:
        """Gene ids, and (samples, genes) log2 expression, of each dataset that the embedding learned from."""

    def measured(self) -> Mapping[str, tuple[int, NDArray[np.str_]]]:
        """Samples and gene ids of each dataset with read counts, of those that were asked for; reads no counts."""

    def counts(self) -> Iterator[Dataset]:
        """The datasets with read counts, of those that were asked for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """An embedding under evaluation, and what is known of its genes."""

    name: str
    genes: NDArray[np.str_]
    """(genes,) its words."""
    vectors: NDArray[np.float32]
    """(genes, components)."""
    table: GeneTable
    """What names of genes mean."""
    background: Background
    files: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    """By option (genesets, pairs, go), the files that were given; of a folder all in it, by name."""
    beside: Mapping[str, tuple[NDArray[np.str_], NDArray[np.float32]]] = field(default_factory=dict)
    """Other embeddings: name to genes and vectors."""
    taxon: str = HUMAN
    """The species of ``gene2go``, by its number at NCBI."""

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """Symbol (as the gene table has it today) to row; of two words with one symbol the first."""
        found: dict[str, int] = {}
        for row, symbol in enumerate(self.table.translate(self.genes.tolist()).symbols):
            found.setdefault(symbol, row)
        return found

    def find(self, genes: Sequence[str]) -> NDArray[np.int64]:
        """The row of each gene, -1 for one that the embedding does not have. Genes may be ids or older symbols."""
        symbols = self.table.translate(list(genes)).symbols
        return np.array([self.rows.get(symbol, -1) for symbol in symbols], dtype=np.int64)

    @cached_property
    def ontology(self) -> Ontology:
        """The Gene Ontology in the files that were given, by today's symbols; read once a process.

        Raises: InputError as ``Ontology.read``.
        """
        return Ontology.read(self.files["go"], self.table, taxon=self.taxon)

    def covered(self, task: str, share: float, least: float) -> float:
        """The share of a task's genes that the embedding has, if it is not too small.

        Raises: TooLittleError if it is under ``least``.
        """
        if share < least or share == 0:
            msg = (
                f"{task}: {self.name} has {100 * share:.1f} % of its genes, less than least-coverage = {least:g}; "
                f"take an embedding or files with the same kind of gene ids, or lower --least-coverage"
            )
            raise TooLittleError(msg)
        return share


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Work that can be done beside other work."""

    label: str
    bytes: int
    """Peak of memory, beside the vectors."""
    given: Any = None
    """What tells it from others; small and plain (a tuple, numbers, texts)."""


class Task(Protocol):
    """What every module of a task offers."""

    def units(self, subject: Subject, spec: EvaluateSpec) -> tuple[Unit, ...]:
        """What is to be done.

        Raises: InputError for files that are wrong; TooLittleError for those that know too few genes, or too few sets.
        """

    def run(self, subject: Subject, spec: EvaluateSpec, unit: Unit, progress: Progress) -> Tables:
        """Does one unit; pure given its inputs. The same columns for every unit that leaves a table of a name."""

    def sum_up(self, subject: Subject, spec: EvaluateSpec, tables: Tables) -> Tables:
        """``rows``, and other tables to keep, of the tables of all units: each the units' rows, in their order."""


def row(
    *,
    task: str,
    metric: str,
    value: float,
    model: str = "",
    on: str = "",
    low: float = math.nan,
    high: float = math.nan,
    baseline: str = "",
    genes: int,
    coverage: float,
    seed: int,
) -> dict[str, Any]:
    """One figure.

    Parameters: model      what was scored: ``ggipnn frozen``, ``logistic product``, a baseline's name.
                on         on what: ``test``, ``matched``, a collection of sets.
                low, high  95 % interval, of overlaps of stability the 5 % to 95 % of genes; NaN where there is none.
                baseline   empty for the embedding; ``baseline``, or ``transductive`` for what reads the list it is
                           scored on.
                genes      of the embedding that took part; coverage: the share of the task's genes that it has.
    """
    return dict(locals())


def rows_table(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """Figures as the tidy table, less the digest, which the stage fills in."""
    fields = [f for f in schema.EVALUATION if f.name != "embedding"]
    return pa.table({f.name: pa.array([r[f.name] for r in rows], type=f.type) for f in fields})
