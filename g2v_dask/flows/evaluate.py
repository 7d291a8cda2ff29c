"""What an embedding is worth, from an open store to figures that can be shown."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from g2v_dask import schema
from g2v_dask.driver import Summary
from g2v_dask.errors import InputError, SpecError
from g2v_dask.files import write_file
from g2v_dask.flows import tables
from g2v_dask.flows.pipeline import made
from g2v_dask.parts import Plan
from g2v_dask.progress import Display
from g2v_dask.report import writing
from g2v_dask.report.evaluated import Evaluated
from g2v_dask.spec import ClusterSpec, EvaluateSpec
from g2v_dask.stages import evaluate as stage
from g2v_dask.store import Artifact, Store

TABLES = "tables/"  # of an artifact: what tasks keep beside the figures


def run(
    url: str,
    spec: EvaluateSpec,
    *,
    cluster: ClusterSpec | None,
    display: Display,
    report: str | None = None,
    figure: Path | None = None,
) -> Evaluated:
    """Judges an embedding, or finds it judged; ``figure``: draws the ROC curves of interaction there.

    Raises: any G2VError; InputError also for what quarantines the evaluation.
    """
    store = Store.open(url)
    with store.lock():
        plan = stage.plan(store, spec)
        (target,) = plan.targets
        if figure is not None:
            _check(figure, tuple(target.identity["tasks"]))
        judged(plan, store, cluster=cluster, display=display, report=report)
    found = read(store.get("evaluations", target.name))
    if figure is not None:
        draw(found, figure)
    return found


def judged(
    plan: Plan, store: Store, *, cluster: ClusterSpec | None, display: Display, report: str | None = None
) -> Summary:
    """Makes the evaluations of a plan, or finds them made. The caller holds the store's lock.

    Raises: InputError for what quarantines one: the one input of a command is no batch with a loss.
    """
    for note in plan.notes:
        display.say(note)
    summary = made(stage, plan, store, here=False, cluster=cluster, display=display, report=report)
    if summary.quarantined:
        raise InputError(summary.quarantined[0]["reason"])
    return summary


def read(artifact: Artifact) -> Evaluated:
    """An evaluation as it lies in the store."""
    folder = artifact.path
    kept = {Path(name).stem: pq.read_table(folder / name) for name in sorted(artifact.names) if name.startswith(TABLES)}
    figures = tables.read(artifact, schema.EVALUATION)
    return Evaluated(artifact=artifact, figures=figures.to_pylist(), tables=kept)


def _curves() -> Any:
    """The module that draws, loaded for the first picture."""
    return importlib.import_module("g2v_dask.report.curves")


def _check(file: Path, tasks: tuple[str, ...]) -> None:
    """Refuses a picture that could not be drawn when all work is done."""
    _curves().suffix_of(file)
    if "interaction" not in tasks:
        msg = f"--figure draws the ROC curves of interaction, which is not asked (but {', '.join(tasks)}); give --pairs"
        raise SpecError(msg)


def draw(found: Evaluated, file: Path) -> None:
    """Draws the ROC curves of an evaluation into a file.

    Raises: InputError if it keeps no scores, or the file cannot be written.
    """
    path = file.expanduser()
    picture = _curves().of_evaluation(found, file=path)
    if picture is None:
        msg = f"{found.artifact.key} keeps no scores of interaction, so there are no curves to draw"
        raise InputError(msg)
    with writing(path):
        write_file(path, picture)
