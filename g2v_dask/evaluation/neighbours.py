"""Neighbours: whether genes have the same nearest genes in other embeddings, and which have others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from g2v_dask.analysis.stability import ROWS as AT_ONCE
from g2v_dask.analysis.stability import nearest, overlap
from g2v_dask.errors import InputError
from g2v_dask.evaluate_spec import EvaluateSpec
from g2v_dask.evaluation.base import ROWS, Progress, Subject, Tables, Unit, row, rows_table
from g2v_dask.evaluation.stability import by_symbol, common
from g2v_dask.search.space import Space, make

TASK = "neighbours"
K = 10
LISTED = 20  # genes that differ most
EXAMPLES = ("TP53", "EGFR", "BRCA1", "CD3E", "CD79A", "HLA-DRA", "COL1A1", "ALB", "RPL3", "MKI67", "ACTB", "INS")
"""Genes that many know, of unlike work; those that are there are shown."""
RESAMPLED = 0  # stream of random numbers of the seed
BLOCK = 100  # resamples at once

Array = NDArray[np.float64]
Near = NDArray[np.int32]


def units(subject: Subject, spec: EvaluateSpec) -> tuple[Unit, ...]:
    """The embedding beside each other one.

    Raises: InputError as ``stability.common``.
    """
    made = []
    for name, (_, vectors) in subject.beside.items():
        count = len(common(TASK, subject, spec, [name]))
        components = subject.vectors.shape[1] + vectors.shape[1]
        held = count * (16 * components + 8 * K + 5 * AT_ONCE + 8 * BLOCK)
        made.append(Unit(label=f"{TASK}, {name}", bytes=held, given=name))
    return tuple(made)


def run(subject: Subject, spec: EvaluateSpec, unit: Unit, progress: Progress) -> Tables:
    """One other embedding: how many of its nearest genes a gene keeps, and the table of genes."""
    other = str(unit.given)
    progress(0, 3, f"{TASK}, {other}")
    spaces = _spaces(subject, other)
    near = []
    for done, space in enumerate(spaces, start=1):
        near.append(nearest(space, K))
        progress(done, 3, f"{TASK}, {other}")
    genes = spaces[0].genes
    kept = overlap(*near)
    same = (near[0][:, 0] == near[1][:, 0]).astype(np.float64)
    told = np.column_stack([kept, kept == 0, same]).astype(np.float64)
    means = resampled(told, draws=spec.bootstrap, seed=spec.seed)
    names = (f"kept of {K}", f"none of {K} kept", "same nearest gene")
    shared = {"on": other, "genes": len(genes), "coverage": len(genes) / len(subject.genes)}
    rows = [_figure(name, means[:, i], "", shared) for i, name in enumerate(names)]
    if spec.baselines:
        rows += _chance(names, len(genes), shared)
    progress(3, 3, f"{TASK}, {other}")
    return {"figures": pa.Table.from_pylist(rows), "neighbours": _table(other, spaces, near, kept)}


def sum_up(subject: Subject, spec: EvaluateSpec, tables: Tables) -> Tables:
    """What genes keep, with 95 % intervals over resamples of genes, and the table of genes."""
    found = [row(task=TASK, seed=spec.seed, **figure) for figure in tables["figures"].to_pylist()]
    return {ROWS: rows_table(found), "neighbours": tables["neighbours"]}


def _spaces(subject: Subject, other: str) -> tuple[Space, Space]:
    """Both embeddings over the genes that both have with a vector that is not zero, in one order."""
    both = [
        by_symbol(subject.genes, subject.vectors, subject.table),
        by_symbol(*subject.beside[other], subject.table),
    ]
    here, there = (genes[vectors.any(axis=1)] for genes, vectors in both)
    genes: NDArray[np.str_] = np.intersect1d(here, there, assume_unique=True)
    if len(genes) <= K:
        msg = f"{TASK}: of the genes that {subject.name} and {other} have, {len(genes)} have vectors that are not zero"
        raise InputError(msg)
    one, two = (make(ids, v, np.searchsorted(ids, genes), unit=True, threads=1) for ids, v in both)
    return one, two


def resampled(values: Array, *, draws: int, seed: int) -> Array:
    """(3, columns) means over genes, and their 95 % interval over resamples of genes.

    Parameters: values   (genes, columns).
    """
    random = np.random.default_rng([seed, RESAMPLED])
    size = len(values)
    means = []
    for start in range(0, draws, BLOCK):
        drawn = [np.bincount(random.integers(0, size, size), minlength=size) for _ in range(min(BLOCK, draws - start))]
        means.append(np.array(drawn, dtype=np.float64) @ values / size)
    low, high = np.percentile(np.concatenate(means), (2.5, 97.5), axis=0)
    return np.stack([values.mean(axis=0), low, high])


def _figure(metric: str, values: Any, model: str, shared: dict[str, Any]) -> dict[str, Any]:
    value, low, high = (float(v) for v in values)
    baseline = "baseline" if model else ""
    return {"metric": metric, "value": value, "low": low, "high": high, "model": model, "baseline": baseline, **shared}


def _chance(names: Sequence[str], genes: int, shared: dict[str, Any]) -> list[dict[str, Any]]:
    """What neighbours that are drawn at random keep: hypergeometric."""
    others = genes - 1
    left = np.arange(K)
    none = np.prod((others - K - left) / (others - left)) if others >= 2 * K else 0.0
    values = (K / others, float(none), 1 / others)
    return [_figure(name, (v, np.nan, np.nan), "chance", shared) for name, v in zip(names, values, strict=True)]


# -- the table ------------------------------------------------------------------------------------------------


def _table(other: str, spaces: tuple[Space, Space], near: Sequence[Near], kept: Array) -> pa.Table:
    """The genes that differ most, then examples: what they keep, and their nearest genes in both."""
    genes = spaces[0].genes
    close = np.minimum(*(_cosine(space, table[:, -1]) for space, table in zip(spaces, near, strict=True)))
    most = differ_most(kept, close)[:LISTED]
    place = {gene: i for i, gene in enumerate(genes.tolist())}
    examples = np.array([place[gene] for gene in EXAMPLES if gene in place], dtype=np.int64)
    rows = np.concatenate([most, examples])
    here, there = ([", ".join(genes[table[i]].tolist()) for i in rows] for table in near)
    both = [", ".join(genes[np.intersect1d(near[0][i], near[1][i])].tolist()) for i in rows]
    texts = {
        "other": [other] * len(rows),
        "why": ["differs most"] * len(most) + ["example"] * len(examples),
        "gene": genes[rows].tolist(),
    }
    return pa.table(
        {
            **{name: pa.array(values, type=pa.string()) for name, values in texts.items()},
            "kept": pa.array(kept[rows]),
            "cosine": pa.array(close[rows]),
            **{
                name: pa.array(values, type=pa.string())
                for name, values in (("here", here), ("there", there), ("both", both))
            },
        }
    )


def differ_most(kept: Array, close: Array) -> NDArray[np.int64]:
    """Genes by what they keep, the least first, of equal ones those with near neighbours in both embeddings.

    A gene of which no embedding knows a near neighbour keeps few by chance, and there are many of these.
    Parameters: close   (genes,) the smaller of the cosines with the k-th nearest gene in both.
    """
    return np.lexsort((np.arange(len(kept)), -close, kept))


def _cosine(space: Space, other: Near) -> Array:
    """(genes,) the cosine of each gene and one other."""
    cosines: Array = 1 - space.squares(np.arange(len(space)), other.astype(np.int64)) / 2
    return cosines
