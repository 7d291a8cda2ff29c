"""The report on a new version: what came, what went, what it changed in the embedding, and whether it passed."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from g2v_dask.analysis.stability import Stability
from g2v_dask.driver import Summary
from g2v_dask.names import Names
from g2v_dask.report.asked import asked_sheets
from g2v_dask.report.evaluated import Figure
from g2v_dask.report.evaluation import figures_sheet, number, title_of
from g2v_dask.report.finite import finite
from g2v_dask.report.sheets import Cell, Column, Picture, Sheet

GATE_EXIT = 4
COUNTED = {"cooccurrence": ("datasets", "samples", "genes", "pairs"), "embeddings": ("genes", "components")}  # facts
EACH = ("expression", "pairs")  # kinds with an artifact a dataset


def _overlaps() -> Any:
    """The module that draws, loaded for the picture alone."""
    return importlib.import_module("g2v_dask.report.overlaps")


@dataclass(frozen=True, kw_only=True)
class Moved:
    """A gene whose nearest genes are others now, among the genes that both versions have."""

    gene: str
    overlap: float
    before: tuple[str, ...]
    now: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Kept:
    """What an embedding has in common with its last version."""

    embedding: str
    names: Names
    k: int
    found: Stability | None = None
    first: bool = False
    """There is no last version."""
    why: str = ""
    """Why nothing is compared."""
    moved: tuple[Moved, ...] = ()

    @property
    def overlap(self) -> float | None:
        """Mean share of a gene's k nearest genes that both versions have; None if they were not compared."""
        return None if self.found is None else self.found.all.overlaps[0].mean

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "embedding": self.embedding,
            "k": self.k,
            "overlap": self.overlap,
            **({"why": self.why} if self.why else {}),
            **({} if self.found is None else _agreement(self.found)),
            "moved": [{**vars(m), "before": list(m.before), "now": list(m.now)} for m in self.moved],
        }


def _agreement(found: Stability) -> dict[str, Any]:
    (share,) = found.all.overlaps
    return {
        "genes": len(found.genes),
        "q05": share.low,
        "q95": share.high,
        "procrustes": found.all.procrustes,
        "rank_correlation": found.all.rank_correlation,
    }


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """An evaluation of the new version."""

    evaluation: str
    figures: Sequence[Figure]
    before: Sequence[Figure]
    """Of the last version; none if there is none."""

    def as_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "evaluation": self.evaluation,
            "figures": [finite(f) for f in self.figures],
            "before": [finite(f) for f in self.before],
        }


@dataclass(frozen=True, kw_only=True)
class Reached:
    """What the gate asks of a figure, and what it is."""

    bound: str
    value: float = math.nan
    why: str = ""
    """Why the gate does not let it pass."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """Which artifact is current under a name, before and after."""

    key: str
    """``kind/name``."""
    before: str | None
    after: str | None
    counts: Mapping[str, Mapping[str, int]]
    """``before`` and ``after``: datasets, samples, genes, pairs; none of what is there once a dataset."""


@dataclass(kw_only=True)
class Outcome:
    """What one reprocess did."""

    at: str
    """UTC."""
    store: str
    found: int
    """Series that the search found."""
    series: dict[str, list[str]]
    """Accessions: new, changed, gone, failed, no_table."""
    failures: dict[str, str]
    """Accession to what went wrong when it was fetched."""
    gate: dict[str, Any]
    datasets: dict[str, list[str]]
    """Names: new, changed, gone."""
    stages: list[Summary]
    heads: list[Head]
    kept: list[Kept] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    reached: list[Reached] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    """Why it is not published."""
    seconds: float = 0.0
    files: list[str] = field(default_factory=list)
    """Of the report."""

    @property
    def idle(self) -> bool:
        """Whether there was nothing to do."""
        came = any(self.series[word] for word in ("new", "changed", "gone"))
        return not came and not self.heads and not self.datasets["gone"] and not self.reasons

    @property
    def quarantined(self) -> dict[str, str]:
        """Dataset (or what else was refused) to the reason."""
        return {q["name"]: f"{s.stage}: {q['reason']}" for s in self.stages for q in s.quarantined}

    @property
    def exit_code(self) -> int:
        """4: not published; 3: published, but some inputs are quarantined or could not be fetched."""
        return GATE_EXIT if self.reasons else 3 if self.quarantined or self.failures else 0

    def as_json(self) -> dict[str, Any]:
        """The report for machines."""
        return {
            "at": self.at,
            "store": self.store,
            "nothing_new": self.idle,
            "published": not self.reasons and not self.idle,
            "gate": {**self.gate, "reasons": self.reasons},
            "series": {"found": self.found, **self.series, "failed": self.failures},
            "datasets": {**self.datasets, "quarantined": self.quarantined},
            "overlap": [k.as_json() for k in self.kept],
            "evaluations": [j.as_json() for j in self.judged],
            "reached": [finite(vars(r)) for r in self.reached],
            "heads": [vars(h) for h in self.heads],
            "stages": [s.as_json() for s in self.stages],
            "seconds": self.seconds,
            "files": self.files,
            "exit_code": self.exit_code,
        }


def sheets(outcome: Outcome) -> list[Sheet]:
    """All tables of the report."""
    return [
        summary(outcome),
        *_changes(outcome),
        *_reached(outcome.reached),
        *_kept(outcome.kept),
        *_judged(outcome.judged),
        *_stages(outcome.stages),
        *_heads(outcome.heads),
    ]


def summary(outcome: Outcome) -> Sheet:
    """What came, what went and what is there, in one table; above it whether it is published."""
    rows = [
        *((f"series {word.replace('_', ' ')}, in this run", str(len(outcome.series[word]))) for word in outcome.series),
        *((f"datasets {word}", str(len(outcome.datasets[word]))) for word in outcome.datasets),
        ("datasets quarantined", str(len(outcome.quarantined))),
        *(_count(head, word) for head in outcome.heads for word in head.counts["after"]),
        *((f"{k.embedding}: overlap with the last version", _share(k)) for k in outcome.kept),
    ]
    return Sheet(
        title=f"{'Not published' if outcome.reasons else 'A new version'}: {outcome.store}",
        facts=(outcome.at, f"{outcome.found:,} series found", f"{outcome.seconds:.1f} s", *_gate(outcome.gate)),
        columns=(Column(name="What"), Column(name="Number", right=True)),
        rows=tuple(rows),
        notes=(
            *(f"Not published: {reason}. The last version stays." for reason in outcome.reasons),
            *(f"{k.embedding}: {k.why}." for k in outcome.kept if k.why),
        ),
    )


def _gate(gate: Mapping[str, Any]) -> tuple[str, ...]:
    single = {key: value for key, value in gate.items() if key not in ("k", "evaluation") and value is not None}
    bounds = [*(f"{key.replace('_', ' ')} {value}" for key, value in single.items()), *gate["evaluation"]]
    return (f"gate: {', '.join(bounds) or 'none'}",)


def _count(head: Head, word: str) -> tuple[str, str]:
    """One count of an artifact; before, where it was another."""
    before, after = head.counts["before"].get(word), head.counts["after"][word]
    return f"{head.key}: {word}", f"{after:,}" if before in (None, after) else f"{before:,} → {after:,}"


def _share(kept: Kept) -> str:
    return "none" if kept.overlap is None else f"{kept.overlap:.3f}"


def _changes(outcome: Outcome) -> Iterator[Sheet]:
    """The datasets that are not as they were, and the series that could not be had."""
    listed: list[tuple[str, str, str]] = [(name, word, "") for word, some in outcome.datasets.items() for name in some]
    listed += [(name, "quarantined", reason) for name, reason in outcome.quarantined.items()]
    listed += [(name, "not fetched", reason) for name, reason in outcome.failures.items()]
    listed += [
        (name, "no table", "its matrix is empty, and there are no counts") for name in outcome.series["no_table"]
    ]
    if listed:
        yield _table("Datasets and series", ("Name", "Now", "Why"), listed)


def _kept(compared: Sequence[Kept]) -> Iterator[Sheet]:
    """The neighbours that genes keep, and the genes that keep the fewest."""
    for kept in compared:
        if kept.found is None:
            continue
        all_ = kept.found.all
        (share,), (chance,) = all_.overlaps, kept.found.chance
        yield Sheet(
            title=f"Neighbours kept: {kept.embedding}",
            facts=(f"{len(kept.found.genes):,} genes that both versions have",),
            columns=tuple(
                Column(name=name, right=True)
                for name in (f"{kept.k} nearest", "5 to 95 % of genes", "by chance", "Procrustes", "Rank correlation")
            ),
            rows=(
                (
                    f"{share.mean:.3f}",
                    share.range,
                    f"{chance:.4f}",
                    f"{all_.procrustes:.4f}",
                    f"{all_.rank_correlation:.4f}",
                ),
            ),
            picture=Picture(
                png=_overlaps().picture(kept.found), caption="How many genes keep which part of their nearest genes"
            ),
        )
        rows = [(kept.names.about(m.gene), f"{m.overlap:.2f}", *_two(m, kept.names)) for m in kept.moved]
        yield _table(
            f"The genes that moved most: {kept.embedding}", ("Gene", "Kept", "Nearest before", "Nearest now"), rows
        )


def _reached(reached: Sequence[Reached]) -> Iterator[Sheet]:
    """What the gate asks of the evaluations."""
    if reached:
        rows = [(r.bound, number(r.value) or "none", "no" if r.why else "yes") for r in reached]
        yield _table("What evaluations must reach", ("Figure", "Value", "Reached"), rows, left=1)


def _judged(judged: Sequence[Judged]) -> Iterator[Sheet]:
    """The figures of the new version, a table a task; and those of the last where it has the same."""
    for one in judged:
        for task in dict.fromkeys(str(f["task"]) for f in one.figures):
            figures, before = ([f for f in some if f["task"] == task] for some in (one.figures, one.before))
            yield figures_sheet(figures, title=f"{title_of(task)}: {one.evaluation}")
            if before:
                yield figures_sheet(before, title=f"{title_of(task)}: {one.evaluation}, the last version")


def _two(moved: Moved, names: Names) -> tuple[str, str]:
    before, now = (", ".join(names.about(g).symbol for g in some) for some in (moved.before, moved.now))
    return before, now


def _stages(summaries: Sequence[Summary]) -> Iterator[Sheet]:
    """What each stage did; and what the report step asked."""
    words = ("made", "replaced", "fresh", "quarantined")
    rows = [
        (s.stage, *(str(len(getattr(s, w))) for w in words), str(s.parts_run), f"{s.seconds:.1f}")
        for s in summaries
        if s.stage != "report"
    ]
    yield _table("Stages", ("Stage", *words, "parts", "seconds"), rows, left=1)
    for one in summaries:
        if one.stage == "report":
            for embedding, answers in one.artifacts.items():
                yield from (sheet for sheet in asked_sheets(embedding, answers) if sheet.columns)
                if "figure" in answers:
                    yield _table(f"Map of {embedding}", ("Picture",), [(answers["figure"],)])


def _heads(heads: Sequence[Head]) -> Iterator[Sheet]:
    """Which version was current, and is now; those of datasets are counted, and stand in the JSON."""
    rows = [(h.key, _digest(h.before), _digest(h.after)) for h in heads if h.key.partition("/")[0] not in EACH]
    counted = {kind: sum(h.key.startswith(f"{kind}/") for h in heads) for kind in EACH}
    notes = tuple(f"{number:,} of {kind} besides." for kind, number in counted.items() if number)
    if heads:
        yield _table("Versions", ("Artifact", "Before", "After"), rows, notes=notes)


def _digest(digest: str | None) -> str:
    return "none" if digest is None else digest[:12]


def _table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[tuple[Cell, ...]],
    *,
    left: int | None = None,
    notes: tuple[str, ...] = (),
) -> Sheet:
    """A table of texts; the columns from ``left`` on stand to the right."""
    first = len(columns) if left is None else left
    named = tuple(Column(name=name, right=i >= first) for i, name in enumerate(columns))
    return Sheet(title=title, columns=named, rows=tuple(rows), notes=notes)
