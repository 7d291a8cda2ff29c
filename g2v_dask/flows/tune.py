"""A grid of trainings: all trained, all judged, and the one chosen whose figure is the highest."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from g2v_dask import driver
from g2v_dask.cluster import Cluster
from g2v_dask.driver import Summary
from g2v_dask.errors import InputError, SpecError
from g2v_dask.flows import evaluate as evaluations
from g2v_dask.flows import pipeline
from g2v_dask.parts import Plan, Stage
from g2v_dask.progress import Display
from g2v_dask.report.tuned import Run, Tried, Tuned
from g2v_dask.spec import ClusterSpec, EvaluateSpec, TrainSpec, expand_files
from g2v_dask.stages import evaluate, train
from g2v_dask.store import Store
from g2v_dask.tune_spec import TuneSpec


def run(spec: TuneSpec, *, cluster: ClusterSpec | None = None, display: Display, report: str | None = None) -> Tuned:
    """Trains and judges every cell of a grid, as far as the store does not have it; ``cluster`` takes the spec's place.

    All trainings are one plan, then all evaluations. A cell that cannot be trained or judged has no figure, but the
    reason why.
    Raises: SpecError if training cannot take the co-occurrence; InputError if no cell has the figure that chooses;
            any other G2VError.
    """
    with pipeline.ready(spec.store, cluster or spec.cluster, display, report, create=False) as (store, there):
        _check_given(store, spec.evaluate)
        runs = [run for cell in spec.cells for run in cell.runs]
        trained = _driven(train, pipeline.joined("train", list(_plans(store, runs))), store, there, display)
        why = {refused["name"]: refused["reason"] for refused in trained.quarantined}
        plans: list[Plan] = []
        for name in (one.name for one in runs if one.name not in why):
            try:
                plans.append(evaluate.plan(store, dataclasses.replace(spec.evaluate, name=name, to=name)))
            except InputError as error:  # too few of a task's genes, for one
                why[name] = str(error)
        judged = _driven(evaluate, pipeline.joined("evaluate", plans), store, there, display)
        why |= {refused["name"]: refused["reason"] for refused in judged.quarantined}
        tried = [
            Tried(at=cell.at, runs=tuple(_figure(store, spec, one, why.get(one.name)) for one in cell.runs))
            for cell in spec.cells
        ]
    if all(cell.why for cell in tried):
        msg = f"tune: no cell has {str(spec.choose)!r}; {tried[0].runs[0].embedding}: {tried[0].why}"
        raise InputError(msg)
    return Tuned(name=spec.name, choose=str(spec.choose), grid=spec.grid, cells=tried, stages=(trained, judged))


def _check_given(store: Store, spec: EvaluateSpec) -> None:
    """Finds what is not there before hours of training.

    Raises: SpecError for files, a library or read counts that are not there, or an embedding that is not in the store.
    """
    evaluate.asked(store, spec)
    for text in filter(None, (*spec.genesets, spec.pairs, spec.go, spec.genes)):
        if "://" not in text and not Path(text).is_dir():
            expand_files([text])
    for name in (*spec.beside, *spec.common):
        store.get("embeddings", name)


def _driven(stage: Stage, plan: Plan, store: Store, there: Cluster, display: Display) -> Summary:
    for note in dict.fromkeys(plan.notes):
        display.say(note)
    summary = driver.drive(stage, plan, store, there, display)
    display.say(f"{summary.stage}: {len(summary.made)} made, {len(summary.fresh)} fresh; {summary.seconds:.1f} s")
    return summary


def _plans(store: Store, runs: Sequence[TrainSpec]) -> Iterator[Plan]:
    """The plans of all trainings; what differs in its iterations alone is one run where the schedule lets it be."""
    together: dict[TrainSpec, list[TrainSpec]] = {}
    for one in runs:
        checkpoints = (one.method, one.schedule) == ("skipgram", "restart")
        alike = dataclasses.replace(one, name="-", iterations=1) if checkpoints else one
        together.setdefault(alike, []).append(one)
    for specs in together.values():
        yield train.plan(store, specs[0]) if len(specs) == 1 else train.plan_run(store, specs)


def _figure(store: Store, spec: TuneSpec, one: TrainSpec, why: str | None) -> Run:
    """The figure of a run that chooses, or why there is none."""
    if why is None:
        judged = evaluations.read(store.get("evaluations", one.name))
        try:
            row = spec.choose.find(judged.figures)
        except InputError as error:
            why = judged.skipped.get(spec.choose.task, str(error))
        else:
            figures = {key: float(row[key]) for key in ("value", "low", "high", "coverage")}
            if "test" in row["on"].split():
                msg = f"tune: {spec.choose} is a figure of a test set, which must not choose"
                raise SpecError(msg)
            undefined = f"{spec.choose} is not defined" if math.isnan(figures["value"]) else ""
            return Run(embedding=one.name, seed=one.seed, **figures, why=undefined)
    return Run(embedding=one.name, seed=one.seed, why=why)
