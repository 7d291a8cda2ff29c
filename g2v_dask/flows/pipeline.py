"""One stage, or all the stages of a run spec, from an open store to a summary."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from distributed import performance_report

from g2v_dask import driver, stages
from g2v_dask.cluster import Cluster, connect
from g2v_dask.driver import Summary
from g2v_dask.errors import InputError, SpecError
from g2v_dask.flows import reports
from g2v_dask.folders import Folder
from g2v_dask.geo.fetch import inputs
from g2v_dask.options import Spec
from g2v_dask.parts import Plan, Stage, Target
from g2v_dask.progress import Display
from g2v_dask.spec import (
    ClusterSpec,
    CooccurSpec,
    EvaluateSpec,
    IndexSpec,
    IngestSpec,
    KmeansSpec,
    MapSpec,
    MergeSpec,
    PairsSpec,
    ProfileSpec,
    ReportSpec,
    RunSpec,
    Step,
    TrainSpec,
)
from g2v_dask.store import Store


def run_stage(url: str, spec: Spec, *, cluster: ClusterSpec, display: Display, report: str | None = None) -> Summary:
    """Runs one stage on a store; ``ingest`` makes the store where there is none.

    Returns: what was made, what was fresh, what is quarantined.
    Raises: any G2VError; the store then is as before, or holds whole artifacts only.
    """
    with ready(url, cluster, display, report, create=isinstance(spec, IngestSpec)) as (store, there):
        return _all(store, [(None, spec)], there, display)[0]


def run_all(
    spec: RunSpec, *, cluster: ClusterSpec | None = None, display: Display, report: str | None = None
) -> list[Summary]:
    """Runs every stage of a spec in order; ``cluster`` takes the place of the spec's own.

    Of GEO's series, those are taken that the store's ledger has.
    Returns: as `run_steps`.
    Raises:  SpecError if the ledger has none, and the spec names no files.
    """
    where = cluster or spec.cluster
    with ready(spec.store, where, display, report, create=makes_store(spec)) as (store, there):
        whole = with_geo(spec, store)
        return run_steps(whole.steps, Members(store), store, there, display)


def run_steps(steps: Iterable[Step], members: Members, store: Store, there: Cluster, display: Display) -> list[Summary]:
    """Runs steps in order; ``members`` takes what they make.

    A stage that leaves nothing to go on with is the last: its summary says why.
    A dataset that a step for each cannot take is told as quarantined, and left out of the steps that follow.
    Returns: one summary a stage that ran, in order; what it does for each dataset is one.
    """
    summaries: list[Summary] = []
    for step in steps:
        specs = list(members.specs(step))
        if step.stage == "report":
            summaries += [reports.answered(store, s) for _, s in specs if isinstance(s, ReportSpec)]
            continue
        summary, lost = _all(store, specs, there, display)
        summaries.append(summary)
        if not summary.names:
            break
        members.take(step.stage, summary.names)
        members.drop(lost)
    return summaries


def geo_folder(store: Store) -> Folder:
    """Where the files and the ledger of GEO's series lie."""
    return store.root / "geo"


def with_geo(spec: RunSpec, store: Store) -> RunSpec:
    """The run over the series that the store's ledger has, if it asks for GEO's.

    Raises: SpecError if there are none, and no files of its own.
    """
    if spec.geo is None:
        return spec
    folder = geo_folder(store)
    there = inputs(folder) if folder.names() else None
    if there is not None and there.files:
        return spec.with_series(there.files, there.platforms)
    if not any(s.stage == "ingest" and s.values.get("files") for s in spec.steps):
        msg = (
            f"{store.root.url} has no series of GEO yet; 'g2v reprocess SPEC.toml' searches, fetches and runs, "
            f"'g2v geo fetch' only fetches"
        )
        raise SpecError(msg)
    return spec


def plan_all(spec: RunSpec) -> list[dict[str, Any]]:
    """What ``run_all`` would do: one row a target; ``after <stage>`` where the input is not made yet.

    Writes nothing. Of GEO's series, those are taken that the store's ledger has; where it has none, ``after fetch``.
    """
    store = Store.open(spec.store, imagine=makes_store(spec))
    members = Members(store)
    rows: list[dict[str, Any]] = []
    waiting_for: str | None = None
    try:
        spec = with_geo(spec, store)
    except SpecError:
        waiting_for = "fetch"
    for step in spec.steps:
        waiting = waiting_for not in (None, step.stage)
        if waiting or step.stage == "report":
            name = str(step.values.get("name", "*"))
            state = f"after {waiting_for}" if waiting else "todo"
            rows.append({"stage": step.stage, "name": name, "parts": None, "bytes": None, "state": state})
            continue
        for dataset, stage_spec in members.specs(step):
            try:
                plan = stages.load(step.stage).plan(store, stage_spec)
            except (SpecError, InputError) as error:
                if dataset is None:
                    raise
                row = {"stage": step.stage, "name": dataset, "parts": 0, "bytes": 0, "state": "refused"}
                rows.append({**row, "reason": str(error)})
                members.drop([dataset])
                continue
            rows += driver.preview(plan, store)
            passing = [t.name for t in plan.targets if driver.state(store, t) != "quarantined"]
            members.take(step.stage, passing)
            if dataset is not None and len(passing) < len(plan.targets):
                members.drop([dataset])
            if not all(_current(store, t) for t in plan.targets if t.kind):
                waiting_for = step.stage
    return rows


def makes_store(spec: RunSpec) -> bool:
    return any(step.stage == "ingest" for step in spec.steps)


def _current(store: Store, target: Target) -> bool:
    """Whether nothing is to be done for a target, so that later stages can be planned from it."""
    fresh = driver.state(store, target) == "fresh" and store.head(target.kind, target.name) == target.digest
    return fresh or driver.state(store, target) == "quarantined"


def _all(
    store: Store, specs: list[tuple[str | None, Spec]], there: Cluster, display: Display
) -> tuple[Summary, list[str]]:
    """Runs one stage for all its specs at once, so that what one leaves of the workers another takes.

    Returns: what it did, and the datasets that it could not do.
    """
    stage = stages.load(specs[0][1].stage())
    plans: dict[str | None, Plan] = {}
    unfit: dict[str, str] = {}
    for dataset, spec in specs:
        try:
            plans[dataset] = stage.plan(store, spec)
        except (SpecError, InputError) as error:
            if dataset is None:
                raise
            unfit[dataset] = str(error)
    plan = joined(specs[0][1].stage(), list(plans.values()))
    for note in plan.notes:
        display.say(note)
    summary = driver.drive(stage, plan, store, there, display)
    summary.quarantined += [{"name": dataset, "reason": reason} for dataset, reason in unfit.items()]
    display.say(_line(summary))
    undone = [d for d, p in plans.items() if d and not {t.name for t in p.targets}.issubset(summary.names)]
    return summary, [*unfit, *undone]


def joined(stage: str, plans: list[Plan]) -> Plan:
    """Several plans of one stage as one.

    Raises: SpecError if two of them would make one artifact.
    """
    targets = [target for plan in plans for target in plan.targets]
    seen: set[str] = set()
    for key in (target.key for target in targets if target.kind and len(plans) > 1):
        if key in seen:
            msg = f"{stage}: {key} would be made twice, of different things; put {{dataset}} into its name"
            raise SpecError(msg)
        seen.add(key)
    return Plan(
        stage=stage,
        targets=tuple(targets),
        refused=tuple(r for plan in plans for r in plan.refused),
        left_out=tuple(dict.fromkeys(name for plan in plans for name in plan.left_out)),
        notes=tuple(note for plan in plans for note in plan.notes),
    )


def made(
    stage: Stage,
    plan: Plan,
    store: Store,
    *,
    here: bool,
    cluster: ClusterSpec | None,
    display: Display,
    report: str | None,
) -> Summary:
    """Makes what a plan asks for, in this process if it is small (``here``) or made already, else on a cluster.

    The caller holds the store's lock.
    """
    if here or all(driver.state(store, target) == "fresh" for target in plan.targets):
        return driver.here(stage, plan, store)
    with connect(cluster or ClusterSpec(), display.say) as there, reported(there, report):
        return driver.drive(stage, plan, store, there, display)


def made_alone(
    stage: Stage, plan: Plan, store: Store, *, cluster: ClusterSpec | None, display: Display, report: str | None
) -> Summary:
    """``made`` for a plan of one part, which needs no cluster unless one, or its report, is asked for.

    Raises: InputError for what quarantines it: the one input of a command is no batch with a loss.
    """
    here = cluster is None and report is None
    summary = made(stage, plan, store, here=here, cluster=cluster, display=display, report=report)
    if summary.quarantined:
        raise InputError(summary.quarantined[0]["reason"])
    return summary


def _line(summary: Summary) -> str:
    """A stage in one line."""
    counts = [f"{len(summary.made)} made"]
    for word, names in (
        ("replaced", summary.replaced),
        ("fresh", summary.fresh),
        ("restored", summary.restored),
        ("left out", summary.left_out),
        ("quarantined", summary.quarantined),
    ):
        if names:
            counts.append(f"{len(names)} {word}")
    if summary.parts_resumed:
        counts.append(f"{summary.parts_resumed} parts were done before")
    return f"{summary.stage}: {', '.join(counts)}; {summary.seconds:.1f} s"


@contextmanager
def ready(
    url: str, cluster: ClusterSpec, display: Display, report: str | None, *, create: bool, wait: bool = False
) -> Iterator[tuple[Store, Cluster]]:
    """The store locked (``wait``: as soon as it can be), a cluster for when it is needed, and the performance report.

    A store that was made for this and got nothing in it goes again.
    """
    _check_report(report)
    before = create and not Store.open(url, imagine=True).exists()
    with Store.open(url, create=create).lock(wait=wait):
        # a run that failed may have taken it away while this one waited
        before = before or (create and not Store.open(url, imagine=True).exists())
        store = Store.open(url, create=create)
        try:
            with connect(cluster, display.say) as there, reported(there, report):
                yield store, there
        except BaseException:
            if before:
                store.unmake()  # while nobody else has it
            raise


@contextmanager
def reported(there: Cluster, report: str | None) -> Iterator[None]:
    """Writes Dask's performance report of what runs inside, if one is wanted."""
    _check_report(report)
    if report is None:
        yield
        return
    with there.client.as_current(), performance_report(filename=report):
        yield


def _check_report(report: str | None) -> None:
    """Refuses a report that could not be written when all work is done."""
    if report is not None and (Path(report).is_dir() or not Path(report).absolute().parent.is_dir()):
        msg = f"report must be a file in a folder that exists, got {report}"
        raise SpecError(msg)


class Members:
    """What the stages of one run hand on: the datasets, the matrix, the embedding that it made."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._made: dict[str, list[str]] = {}
        self._out: set[str] = set()

    def take(self, stage: str, names: list[str]) -> None:
        """Notes what a stage of this run has made current."""
        self._made.setdefault(stage, []).extend(names)

    def drop(self, datasets: list[str]) -> None:
        """Leaves datasets out of what is done for each from now on."""
        self._out.update(datasets)

    def specs(self, step: Step) -> Iterator[tuple[str | None, Spec]]:
        """The specs of a step, each filled in when its turn comes; of a step for each, with its dataset.

        Raises: SpecError for a step for each where there are no datasets.
        """
        datasets = [d for d in self._datasets() if d not in self._out]
        if step.for_each and not datasets:
            msg = f"{step.stage}: for_each: {self._store.root.url} has no datasets"
            raise SpecError(msg)
        for dataset, made in step.specs(datasets):
            yield dataset, self._filled(made)

    def _datasets(self) -> list[str]:
        for stage in ("pairs", "ingest"):
            if stage in self._made:
                return sorted(set(self._made[stage]))
        return self._store.names("expression")

    def _filled(self, spec: Spec) -> Spec:
        """Names left out mean what this run has made, not whatever else is in the store."""
        if isinstance(spec, PairsSpec) and spec.datasets is None and "ingest" in self._made:
            return dataclasses.replace(spec, datasets=tuple(sorted(set(self._made["ingest"]))))
        if isinstance(spec, CooccurSpec | ProfileSpec) and spec.datasets is None and "ingest" in self._made:
            return dataclasses.replace(spec, datasets=tuple(sorted(set(self._made["ingest"]))))
        if isinstance(spec, MergeSpec) and spec.datasets is None and "pairs" in self._made:
            return dataclasses.replace(spec, datasets=tuple(sorted(set(self._made["pairs"]))))
        if isinstance(spec, TrainSpec) and spec.source is None:
            return self._only(spec, "source", "merge", "cooccur")
        if isinstance(spec, IndexSpec | KmeansSpec | MapSpec | EvaluateSpec | ReportSpec) and spec.name is None:
            last = "combine" if "combine" in self._made else "train"
            return self._only(spec, "name", last)
        return spec

    def _only(self, spec: Spec, field: str, *stages: str) -> Spec:
        """The spec with the one name that these stages of this run have made, if there is just one."""
        made = {name for stage in stages for name in self._made.get(stage, ())}
        return dataclasses.replace(spec, **{field: made.pop()}) if len(made) == 1 else spec
