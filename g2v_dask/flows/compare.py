"""Embeddings side by side: judged on the genes that all have, and held against the first with paired intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from g2v_dask import query
from g2v_dask.analysis import paired
from g2v_dask.analysis.paired import Difference
from g2v_dask.errors import SpecError
from g2v_dask.evaluation import intervals
from g2v_dask.evaluation.clusteredness import FDR, LARGEST
from g2v_dask.evaluation.interaction import on_of
from g2v_dask.evaluation.scorers import CHOSEN
from g2v_dask.evaluation.sets import TOGETHER
from g2v_dask.evaluation.tissue import ALL
from g2v_dask.files import digest_of
from g2v_dask.flows import evaluate
from g2v_dask.flows.pipeline import joined
from g2v_dask.machine import cores
from g2v_dask.progress import Display
from g2v_dask.report.comparison import PAIRWISE, Compared, Which
from g2v_dask.report.evaluated import Evaluated
from g2v_dask.spec import ClusterSpec, EvaluateSpec
from g2v_dask.stages import evaluate as stage
from g2v_dask.store import Artifact, Store

OVER = {  # task to what is resampled
    "clusteredness": "sets",
    "interaction": "genes",
    "prediction": "sets",
    "tissue": "tissues",
}
Values = Mapping[Which, Mapping[str, float]]
"""Of figures that are means: the value of each unit, such as a set."""


def run(
    url: str,
    names: Sequence[str],
    spec: EvaluateSpec,
    *,
    cluster: ClusterSpec | None,
    display: Display,
    report: str | None = None,
) -> Compared:
    """Judges embeddings on the genes that all have, or finds them judged, and compares them.

    Parameters: names   two or more; all are held against the first.
                spec    what is asked; its ``name``, ``to``, ``beside`` and ``common`` are set here.
    Raises:     SpecError if fewer than two are named, or one twice; any other G2VError.
    """
    store = Store.open(url)
    embeddings = _named(store, names)
    names = list(embeddings)
    genes = {name: query.names(artifact) for name, artifact in embeddings.items()}
    words = [np.array(list(one.rows), dtype=np.str_) for one in genes.values()]
    symbols, _ = stage.shared(words, stage.gene_table(spec))
    with store.lock():
        plans = [stage.plan(store, one) for one in _specs(store, names, spec)]
        evaluate.judged(joined("evaluate", plans), store, cluster=cluster, display=display, report=report)
    found = [evaluate.read(store.get("evaluations", plan.targets[0].name)) for plan in plans]
    display.say("compare: differences")
    return Compared(
        sizes={name: len(one.rows) for name, one in genes.items()},
        genes=len(symbols),
        evaluated=found,
        differences={
            name: differences(found[0], other, draws=spec.bootstrap, seed=spec.seed)
            for name, other in zip(names[1:], found[1:], strict=False)
        },
        over=OVER,
    )


def _named(store: Store, names: Sequence[str]) -> dict[str, Artifact]:
    """The embeddings by name, in the order in which they were named."""
    found: dict[str, Artifact] = {}
    for name in names:
        artifact = store.get("embeddings", name)
        if artifact.name in found:
            msg = f"a comparison takes different embeddings, but {artifact.name!r} is named twice"
            raise SpecError(msg)
        found[artifact.name] = artifact
    if len(found) < 2:
        msg = f"a comparison takes at least two embeddings, got {', '.join(found) or 'none'}"
        raise SpecError(msg)
    return found


def _specs(store: Store, names: Sequence[str], spec: EvaluateSpec) -> Iterator[EvaluateSpec]:
    """What is asked of each: all the same, but what is asked about two of them of the first alone."""
    tasks, _ = stage.asked(store, dataclasses.replace(spec, beside=tuple(names[1:])))
    each = tuple(task for task in tasks if task not in PAIRWISE)
    named = bool(spec.tasks)  # what was not named may be passed over, where too little was given for it
    together = digest_of(sorted(names))[:8]
    for name in names if each else names[:1]:
        others = tuple(other for other in names if other != name)
        first = name == names[0]
        yield dataclasses.replace(
            spec,
            name=name,
            to=f"{name}-common-{together}",
            common=others,
            tasks=() if not named else tasks if first else each,
            beside=others if first else (),
        )


# -- differences --------------------------------------------------------------------------------------------


def differences(first: Evaluated, second: Evaluated, *, draws: int, seed: int) -> dict[Which, Difference]:
    """Second less first, of every figure that can be paired: over genes, sets or tissues, whichever it is made of."""
    found: dict[Which, Difference] = {}
    ours, theirs = _means(first), _means(second)
    for which in ours:
        if which in theirs:
            units = sorted(ours[which].keys() & theirs[which].keys())
            one, two = (np.array([some[which][u] for u in units], dtype=np.float64) for some in (ours, theirs))
            found[which] = paired.of_means(one, two, draws=draws, seed=seed)
    return {**found, **_interaction(first, second, draws=draws, seed=seed)}


def _means(found: Evaluated) -> Values:
    return {**_clusteredness(found), **_prediction(found), **_tissue(found)}


def _clusteredness(found: Evaluated) -> Values:
    """Set by set."""
    figures = [f for f in found.figures if f["task"] == "clusteredness" and f["model"] == ""]
    apart = {f["on"]: f["value"] for f in figures if f["metric"] == "random pairs, paper"}
    rows = found.rows("clusteredness-sets")
    values: dict[Which, dict[str, float]] = {}
    for f in figures:
        mine = [r for r in rows if f["on"] in (r["collection"], TOGETHER)]
        each = {f"{r['collection']}/{r['set']}": _of_set(r, f["metric"], apart.get(f["on"], np.nan)) for r in mine}
        if np.isfinite(list(each.values())).any():
            values["clusteredness", f["on"], "", f["metric"]] = each
    return values


def _of_set(row: Mapping[str, Any], metric: str, apart: float) -> float:
    """What a set adds to a figure of clusteredness; NaN if it takes no part."""
    if metric.startswith("mean z"):
        return float(row["z"])
    if metric.startswith("share of sets"):
        return float(row["q"] <= FDR)
    inner = float(row["mean_inner"]) if row["size"] <= LARGEST else np.nan
    return {"within sets, paper": inner, "ratio, paper": inner / apart}.get(metric, np.nan)


def _prediction(found: Evaluated) -> Values:
    """Set by set."""
    values: dict[Which, dict[str, float]] = {}
    rows = found.rows("prediction-sets")
    for f in (f for f in found.figures if f["task"] == "prediction" and f["metric"] in ("auroc", "auprc")):
        mine = [r for r in rows if f["on"] in (r["collection"], TOGETHER) and r["model"] == f["model"]]
        each = {f"{r['collection']}/{r['set']}": float(r[f["metric"]]) for r in mine}
        values["prediction", f["on"], f["model"], f["metric"]] = each
    return values


def _tissue(found: Evaluated) -> Values:
    """Tissue by tissue."""
    values: dict[Which, dict[str, float]] = {}
    for r in found.rows("tissue-tissues"):
        for metric, column in (("r2", "r2"), ("specific cosine", "cosine")):
            values.setdefault(("tissue", ALL, r["model"], metric), {})[r["tissue"]] = float(r[column])
    return values


# -- pairs of genes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scored:
    """What one model makes of a list of pairs."""

    genes: NDArray[np.str_]
    """(pairs, 2)."""
    labels: NDArray[np.int8]
    """(pairs,) 1 for two genes that interact."""
    runs: NDArray[np.float32]
    """(runs, pairs): a run a seed."""


def _interaction(first: Evaluated, second: Evaluated, *, draws: int, seed: int) -> dict[Which, Difference]:
    """List by list and model by model, over resamples of genes; where both scored the same pairs."""
    ours, theirs = _scored(first), _scored(second)
    shared = [which for which in ours if which in theirs and _same_pairs(ours[which], theirs[which])]

    def told(which: tuple[str, str]) -> dict[str, Difference]:
        return _of_ranks(ours[which], theirs[which], draws=draws, seed=seed)

    with ThreadPoolExecutor(cores()) as pool:
        found = list(pool.map(told, shared))
    return {
        ("interaction", *which, metric): one
        for which, some in zip(shared, found, strict=True)
        for metric, one in some.items()
    }


def _scored(found: Evaluated) -> dict[tuple[str, str], _Scored]:
    """List and model to scores; ``chosen`` is the model that was."""
    kept = found.tables.get("interaction-scores")
    if kept is None:
        return {}
    scored: dict[tuple[str, str], _Scored] = {}
    for on, model in dict.fromkeys(zip(kept["on"].to_pylist(), kept["model"].to_pylist(), strict=True)):
        mine = kept.filter(pc.and_(pc.equal(kept["on"], on), pc.equal(kept["model"], model)))
        runs = len(mine["seed"].unique())
        size = len(mine) // runs  # runs stand one after the other, each with all pairs
        scored[on, model] = _Scored(
            genes=np.array([mine[name][:size].to_pylist() for name in ("gene_a", "gene_b")], dtype=np.str_).T,
            labels=mine["label"].to_numpy()[:size],
            runs=mine["score"].to_numpy().reshape(runs, size),
        )
    for choice in found.rows("interaction-choice"):
        on = on_of(choice["list"], "test")
        if (on, choice["model"]) in scored:
            scored[on, CHOSEN] = scored[on, choice["model"]]
    return scored


def _same_pairs(one: _Scored, other: _Scored) -> bool:
    return np.array_equal(one.genes, other.genes) and np.array_equal(one.labels, other.labels)


def _of_ranks(first: _Scored, second: _Scored, *, draws: int, seed: int) -> dict[str, Difference]:
    """AUC and average precision on the same draws of genes, mean over runs."""
    genes, places = np.unique(first.genes, return_inverse=True)
    if np.array_equal(first.runs, second.runs):  # what needs no embedding
        return dict.fromkeys(intervals.METRICS, Difference(value=0.0, low=0.0, high=0.0, units=len(genes)))
    pairs = places.reshape(-1, 2).astype(np.int32)
    once = np.ones((len(genes), 1), dtype=np.uint8)
    times = np.hstack([once, intervals.drawn(len(genes), draws, np.random.default_rng(seed))])
    gap = np.zeros((len(intervals.METRICS), draws + 1))
    for sign, one in ((-1, first), (1, second)):
        gap += sign * np.mean([intervals.resampled(run, one.labels, pairs, times) for run in one.runs], axis=0)
    return {
        name: paired.of_draws(float(row[0]), row[1:], units=len(genes))
        for name, row in zip(intervals.METRICS, gap, strict=True)
    }
