"""Stability: how alike an embedding and others are, as ``g2v stability`` tells it, as figures of an evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from g2v_dask.analysis import stability
from g2v_dask.analysis.stability import KS, Agreement, Vectors
from g2v_dask.errors import InputError
from g2v_dask.evaluate_spec import EvaluateSpec
from g2v_dask.evaluation.base import ROWS, Progress, Subject, Tables, TooLittleError, Unit, row, rows_table
from g2v_dask.genes import GeneTable

TASK = "stability"
ALL = "all pairs"


def units(subject: Subject, spec: EvaluateSpec) -> tuple[Unit, ...]:
    """All embeddings at once: of each the nearest genes are found once.

    Raises: InputError as ``common``.
    """
    count = len(common(TASK, subject, spec, list(subject.beside)))
    components = [subject.vectors.shape[1], *(vectors.shape[1] for _, vectors in subject.beside.values())]
    held = sum(count * (8 * c + 4 * max(KS)) + 8 * stability.SAMPLED_PAIRS for c in components)
    return (Unit(label=TASK, bytes=held + 5 * stability.ROWS * count),)


def run(subject: Subject, spec: EvaluateSpec, unit: Unit, progress: Progress) -> Tables:
    """The comparison of all with all, over the genes that all have."""
    progress(0, 1, TASK)
    embeddings = {name: by_symbol(*own, subject.table) for name, own in everyone(subject).items()}
    found = stability.compare(embeddings, seed=spec.seed, threads=1)
    share = len(found.genes) / len(subject.genes)
    shared = {"genes": len(found.genes), "coverage": share}
    rows: list[dict[str, Any]] = []
    for (first, second), pair in found.pairs.items():
        if first == subject.name:
            rows += _rows(pair, {"on": second, **shared})
    if len(found.pairs) > 1:
        rows += _rows(found.all, {"on": ALL, **shared})
    if spec.baselines:
        chance = {"model": "chance", "baseline": "baseline", "on": ALL if len(found.pairs) > 1 else second, **shared}
        rows += [_row(f"overlap@{k}", value, chance) for k, value in zip(found.ks, found.chance, strict=True)]
    return {"figures": pa.Table.from_pylist(rows)}


def sum_up(subject: Subject, spec: EvaluateSpec, tables: Tables) -> Tables:
    """The embedding beside each other one, and all pairs. An overlap's interval is from 5 % to 95 % of genes."""
    return {ROWS: rows_table([row(task=TASK, seed=spec.seed, **f) for f in tables["figures"].to_pylist()])}


def _rows(pair: Agreement, shared: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One pair of embeddings."""
    overlaps = [_row(f"overlap@{o.k}", o.mean, shared, o.low, o.high) for o in pair.overlaps]
    two = (("procrustes", pair.procrustes), ("rank correlation", pair.rank_correlation))
    return overlaps + [_row(metric, value, shared) for metric, value in two]


def _row(
    metric: str, value: float, shared: Mapping[str, Any], low: float = math.nan, high: float = math.nan
) -> dict[str, Any]:
    return {"model": "", "baseline": "", "metric": metric, "value": value, "low": low, "high": high, **shared}


# -- also of neighbours ---------------------------------------------------------------------------------------


def everyone(subject: Subject) -> dict[str, Vectors]:
    """The embedding that is judged, then the others, by name."""
    return {subject.name: (subject.genes, subject.vectors), **subject.beside}


def common(task: str, subject: Subject, spec: EvaluateSpec, others: list[str]) -> list[str]:
    """The genes that an embedding and some others have, by their symbols, sorted.

    Raises: InputError if the embedding is named beside itself; TooLittleError if they have too few genes in common.
    """
    if subject.name in others:
        msg = f"{task}: {subject.name} is compared with others, and --beside names it once more; leave it out"
        raise InputError(msg)
    held = [set(subject.table.translate(everyone(subject)[name][0].tolist()).symbols) for name in others]
    shared = sorted(set(subject.rows).intersection(*held))
    subject.covered(task, len(shared) / len(subject.genes), spec.least_coverage)
    if len(shared) <= max(KS):
        msg = (
            f"{task}: {subject.name} and {', '.join(others)} have {len(shared)} genes in common, and the "
            f"{max(KS)} nearest of each are compared; name other embeddings with --beside"
        )
        raise TooLittleError(msg)
    return shared


def by_symbol(genes: NDArray[np.str_], vectors: NDArray[np.float32], table: GeneTable) -> Vectors:
    """An embedding whose words are today's symbols, so that one of Ensembl ids meets one of symbols; each once."""
    symbols, first = np.unique(table.translate(genes.tolist()).symbols, return_index=True)
    return symbols, vectors[first]
