"""One stage, or all the stages of a run spec, from an open store to a summary."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from distributed import performance_report

from g2v_dask import driver, stages
from g2v_dask.cluster import Cluster, connect
from g2v_dask.driver import Summary
from g2v_dask.errors import InputError
from g2v_dask.parts import Plan
from g2v_dask.progress import Display
from g2v_dask.spec import ClusterSpec, IndexSpec, IngestSpec, MergeSpec, PairsSpec, RunSpec, Spec, TrainSpec
from g2v_dask.store import Store


def run_stage(url: str, spec: Spec, *, cluster: ClusterSpec, display: Display, report: str | None = None) -> Summary:
    """Runs one stage on a store; ``ingest`` makes the store where there is none.

    Returns: what was made, what was fresh, what is quarantined.
    Raises: any G2VError; the store then is as before, or holds whole artifacts only.
    """
    store = Store.open(url, create=isinstance(spec, IngestSpec))
    with _ready(store, cluster, display, report) as there:
        return _one(store, spec, there, display)


def run_all(
    spec: RunSpec, *, cluster: ClusterSpec | None = None, display: Display, report: str | None = None
) -> list[Summary]:
    """Runs every stage of a spec in order; ``cluster`` takes the place of the spec's own.

    Returns: one summary a stage that ran, in order.
    """
    makes_store = any(step.stage == "ingest" for step in spec.steps)
    store = Store.open(spec.store, create=makes_store)
    members = _Members(store)
    summaries = []
    with _ready(store, cluster or spec.cluster, display, report) as there:
        for stage_spec in members.specs(spec):
            summary = _one(store, stage_spec, there, display)
            members.take(stage_spec, summary.names)
            summaries.append(summary)
    return summaries


def plan_all(spec: RunSpec) -> list[dict[str, Any]]:
    """What ``run_all`` would do: one row a target; ``after <stage>`` where the input is not made yet.

    Writes nothing.
    """
    store = Store.open(spec.store, imagine=any(step.stage == "ingest" for step in spec.steps))
    members = _Members(store)
    rows: list[dict[str, Any]] = []
    waiting_for: str | None = None
    for stage_spec in members.specs(spec):
        stage = stage_spec.stage()
        if waiting_for is not None and waiting_for != stage:
            name = getattr(stage_spec, "name", None) or "*"
            rows.append({"stage": stage, "name": name, "parts": None, "bytes": None, "state": f"after {waiting_for}"})
            members.take(stage_spec, [name])
            continue
        plan = stages.load(stage).plan(store, stage_spec)
        rows += driver.preview(plan, store)
        members.take(stage_spec, _current(plan, store))
        if any(driver.state(store, t) == "todo" for t in plan.targets if t.kind):
            waiting_for = stage
    return rows


def _current(plan: Plan, store: Store) -> list[str]:
    return [t.name for t in plan.targets if t.kind and driver.state(store, t) != "quarantined"]


def _one(store: Store, spec: Spec, there: Cluster, display: Display) -> Summary:
    stage = stages.load(spec.stage())
    plan = stage.plan(store, spec)
    summary = driver.drive(stage, plan, store, there, display)
    display.say(_line(summary))
    return summary


def _line(summary: Summary) -> str:
    """A stage in one line."""
    counts = [f"{len(summary.made)} made"]
    for word, names in (
        ("replaced", summary.replaced),
        ("fresh", summary.fresh),
        ("quarantined", summary.quarantined),
    ):
        if names:
            counts.append(f"{len(names)} {word}")
    if summary.parts_resumed:
        counts.append(f"{summary.parts_resumed} parts were done before")
    return f"{summary.stage}: {', '.join(counts)}; {summary.seconds:.1f} s"


@contextmanager
def _ready(store: Store, cluster: ClusterSpec, display: Display, report: str | None) -> Iterator[Cluster]:
    """The store locked, a cluster for when it is needed, and the performance report if one is wanted."""
    with store.lock(), connect(cluster, display.say) as there:
        if report is None:
            yield there
            return
        with there.client.as_current(), performance_report(filename=report):
            yield there


class _Members:
    """What the stages of one run hand on: the datasets, the matrix, the embedding that it made."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: dict[str, list[str]] = {}

    def take(self, spec: Spec, names: list[str]) -> None:
        """Notes what a stage of this run has made current."""
        self._made.setdefault(spec.stage(), []).extend(names)

    def specs(self, spec: RunSpec) -> Iterator[Spec]:
        """The specs of a run in order, each filled in when its turn comes."""
        for step in spec.steps:
            for made in step.specs(self._datasets()):
                yield self._filled(made)

    def _datasets(self) -> list[str]:
        for stage in ("pairs", "ingest"):
            if stage in self._made:
                return sorted(set(self._made[stage]))
        return self._store.names("expression")

    def _filled(self, spec: Spec) -> Spec:
        """Names left out mean what this run has made, not whatever else is in the store."""
        if isinstance(spec, PairsSpec) and spec.datasets is None and "ingest" in self._made:
            return dataclasses.replace(spec, datasets=self._some("ingest"))
        if isinstance(spec, MergeSpec) and spec.datasets is None and "pairs" in self._made:
            return dataclasses.replace(spec, datasets=self._some("pairs"))
        if isinstance(spec, TrainSpec) and spec.source is None and len(self._made.get("merge", ())) == 1:
            return dataclasses.replace(spec, source=self._made["merge"][0])
        if isinstance(spec, IndexSpec) and spec.name is None and len(self._made.get("train", ())) == 1:
            return dataclasses.replace(spec, name=self._made["train"][0])
        return spec

    def _some(self, stage: str) -> tuple[str, ...]:
        names = tuple(sorted(set(self._made[stage])))
        if not names:
            msg = f"{stage} left no dataset to go on with: all were quarantined; see 'g2v ls --quarantined'"
            raise InputError(msg)
        return names
