"""A batch of questions, from an open store to answers that can be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from g2v_dask import driver, query
from g2v_dask.answers import Analogies, Analogy, NearPair, NearPairs
from g2v_dask.flows import tables
from g2v_dask.flows.pipeline import made
from g2v_dask.machine import cores
from g2v_dask.progress import Display
from g2v_dask.questions import BatchSpec, BestSpec, NearSpec
from g2v_dask.spec import ClusterSpec
from g2v_dask.stages import search
from g2v_dask.store import Artifact, Store


@dataclass(frozen=True, kw_only=True)
class Answered:
    """What a batch found, and the embedding it asked."""

    key: str
    """Of the artifact."""
    embedding: query.Embedding
    answers: list[Analogies] | list[NearPairs]


def run(
    url: str,
    spec: search.Spec,
    *,
    cluster: ClusterSpec | None,
    display: Display,
    report: str | None = None,
) -> Answered:
    """Answers a batch, or finds it answered; what is small and asks for no cluster is done in this process.

    Raises: any G2VError; what parts have done stays for the next try.
    """
    store = Store.open(url)
    with store.lock():
        plan = search.plan(store, spec)
        target = plan.targets[0]
        if isinstance(spec, BestSpec) and driver.state(store, target) != "fresh":
            display.say(_forecast(spec, target, cluster or ClusterSpec()))
        here = cluster is None and not isinstance(spec, BestSpec) and len(target.parts) == 1
        made(search, plan, store, here=here, cluster=cluster, display=display, report=report)
    artifact = store.get("answers", target.name)
    return Answered(
        key=artifact.key, embedding=query.load(store, target.detail.embedding), answers=read(artifact, spec)
    )


def _forecast(spec: BestSpec, target: Any, cluster: ClusterSpec) -> str:
    """How much work the best analogies are, and for how long."""
    work = search.estimate(target.detail)
    workers = "" if cluster.address != "local" else f"{cluster.workers or cores()} workers: "
    pairs = work.differences * (work.differences - 1) / 2
    seconds = work.seconds / (1 if cluster.address != "local" else cluster.workers or cores())
    return (
        f"best: {work.differences:,} differences of {work.genes:,} genes, {pairs:.2g} pairs of differences; "
        f"about {workers}{seconds / 3600:.2g} hours" + (" of one worker" if cluster.address != "local" else "")
    )


def read(artifact: Artifact, spec: search.Spec) -> Any:
    """Stored answers as they were found."""
    table = tables.read(artifact)
    facts: Mapping[str, Any] = artifact.facts
    shared: dict[str, Any] = {
        "embedding": facts["embedding"],
        "filters": facts["filters"],
        "notes": tuple(facts["notes"]),
    }
    rows = table.to_pylist()
    if isinstance(spec, NearSpec):
        found = tuple(NearPair(a=r["gene_a"], b=r["gene_b"], cosine=r["score"]) for r in rows)
        return [NearPairs(found=found, **shared)]
    unit = bool(facts["filters"].get("unit", False))
    if not isinstance(spec, BatchSpec):
        return [Analogies(asked=(), found=tuple(_analogy(r) for r in rows), unit=unit, **shared)]
    kind: dict[str, Any] = {"metric": spec.metric, "sums": spec.sums, "unit": unit}
    return [
        Analogies(asked=asked, found=tuple(_analogy(r) for r in some), **kind, **shared)
        for asked, some in groupby(rows, key=lambda r: (r["gene_a"], r["gene_b"]))
    ]


def _analogy(row: Mapping[str, Any]) -> Analogy:
    return Analogy(**{letter: row[f"gene_{letter}"] for letter in "abcd"}, score=row["score"])
