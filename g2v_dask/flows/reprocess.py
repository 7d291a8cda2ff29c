"""Search, fetch, redo what changed, compare, publish: a run over GEO's series, from a spec to a report."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from g2v_dask.driver import Summary
from g2v_dask.errors import InputError, SpecError
from g2v_dask.figure_spec import Bound
from g2v_dask.files import digest_of
from g2v_dask.flows import evaluate, pipeline, versions
from g2v_dask.flows.pipeline import Members
from g2v_dask.folders import Folder, json_bytes, open_folder
from g2v_dask.geo.fetch import Fetched, fetch
from g2v_dask.geo.ledger import Ledger
from g2v_dask.geo.search import search
from g2v_dask.geo_spec import GateSpec, GeoSpec
from g2v_dask.progress import Display
from g2v_dask.report import body, escape, page
from g2v_dask.report.reprocess import COUNTED, EACH, Head, Judged, Kept, Outcome, Reached, sheets
from g2v_dask.report.sheets import Sheet
from g2v_dask.spec import ClusterSpec, RunSpec, Step
from g2v_dask.store import Artifact, Store

KINDS = {
    "ingest": "expression",
    "pairs": "pairs",
    "merge": "cooccurrence",
    "cooccur": "cooccurrence",
    "train": "embeddings",
    "profile": "embeddings",
    "combine": "embeddings",
    "index": "index",
    "kmeans": "groups",
    "map": "maps",
    "evaluate": "evaluations",
}
OF_SERIES = re.compile(r"(GSE\d+)(?:-GPL\d+|_raw_counts_.+_NCBI)?")
REPORTS = "reports"


def run(
    spec: RunSpec,
    *,
    cluster: ClusterSpec | None = None,
    display: Display,
    report: str | None = None,
    wait: bool = False,
    copies: str | None = None,
) -> Outcome:
    """Makes a new version of what GEO has now, and publishes it if it passes the gate.

    Readers see the last version until then. What a run that was cut off has done is not done again.
    Parameters: report  file of Dask's performance report.
                wait    for the store, if another process has it; else that is an error.
                copies  folder that gets the report too.
    Raises:     SpecError if the spec has no [geo], or its gate asks for figures without [evaluate]; any G2VError of
                search and stages, which leaves the last version.
    """
    geo = _geo(spec)
    if copies is not None and Path(copies).is_file():
        msg = f"report-to must be a folder, but {copies} is a file"
        raise SpecError(msg)
    where = cluster or spec.cluster
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    started = time.monotonic()
    with pipeline.ready(spec.store, where, display, report, create=True, wait=wait) as (store, there):
        found = search(geo)
        display.say(f"search: {len(found):,} series")
        fetched = fetch(pipeline.geo_folder(store), geo, found, say=display.say, wait=wait)
        ledger = Ledger(pipeline.geo_folder(store))
        whole = pipeline.with_geo(spec, store)
        held = store.held()
        members = Members(held)
        steps, last = _apart(whole.steps)
        summaries = pipeline.run_steps(steps, members, held, there, display)
        heads = _heads(store, held, summaries)
        outcome = Outcome(
            at=at,
            store=store.root.url,
            found=len(found),
            series={word: list(getattr(fetched, word)) for word in ("new", "changed", "gone", "failed", "no_table")},
            failures=_failures(ledger, fetched),
            gate=asdict(spec.gate),
            datasets=_datasets(store, ledger, summaries, heads, prefix=_prefix(steps)),
            stages=summaries,
            heads=heads,
            kept=[versions.compare(store, held, name, spec.gate.k) for name in _named(heads, "embeddings")],
            judged=[_judged(store, held, name) for name in _named(heads, "evaluations")],
        )
        if heads:  # else there is no new version to be judged
            outcome.reached = [_reached(bound, held, summaries) for bound in spec.gate.bounds]
        outcome.reasons = [*_incomplete(steps, summaries), *_refusals(spec.gate, outcome)]
        if not outcome.reasons:
            held.publish()
            _drop(store, outcome.datasets["gone"])
        try:
            if not outcome.reasons and not outcome.idle:
                outcome.stages += pipeline.run_steps(last, members, held, there, display)
        finally:  # what was published has its report, whatever became of the pictures
            outcome.seconds = time.monotonic() - started
            if outcome.idle:
                display.say("nothing new; the last version stays")
            else:
                _write(outcome, [store.root / REPORTS, *([open_folder(copies)] if copies else [])])
    return outcome


def plan(spec: RunSpec) -> dict[str, list[dict[str, Any]]]:
    """What a run would find and do; writes nothing.

    Returns: ``series``: accession, samples, and what the ledger says of it: its state, or ``new``;
             ``stages``: as `pipeline.plan_all`, of what is fetched already.
    """
    geo = _geo(spec)
    found = {f.accession: f for f in search(geo)}
    store = Store.open(spec.store, imagine=True)
    entries = Ledger(pipeline.geo_folder(store)).entries()
    rows = []
    for accession in dict.fromkeys([*found, *geo.accessions, *entries]):
        here, there = entries.get(accession), found.get(accession)
        rows.append(
            {
                "accession": accession,
                "samples": there.samples if there is not None else here.samples if here is not None else None,
                "state": "new" if here is None else here.state.value,
            }
        )
    return {"series": rows, "stages": pipeline.plan_all(spec)}


def _geo(spec: RunSpec) -> GeoSpec:
    if spec.geo is None:
        msg = "reprocess needs a table [geo] in its spec, which says which series to keep; 'g2v run' takes files"
        raise SpecError(msg)
    if spec.gate.evaluation and not any(step.stage == "evaluate" for step in spec.steps):
        msg = "gate: evaluation needs a table [evaluate] in the spec, which makes the figures that it asks for"
        raise SpecError(msg)
    return spec.geo


def _apart(steps: Iterable[Step]) -> tuple[list[Step], list[Step]]:
    """The steps that make a version, and those that show what is published."""
    steps = list(steps)
    return [s for s in steps if s.stage != "report"], [s for s in steps if s.stage == "report"]


# -- what is new --------------------------------------------------------------------------------------------


def _heads(store: Store, held: Store, summaries: Iterable[Summary]) -> list[Head]:
    """Every name under which another artifact is current in ``held``, with its counts."""
    moved = dict.fromkeys((KINDS[s.stage], name) for s in summaries for name in sorted([*s.made, *s.restored]))
    heads = []
    for kind, name in moved:
        before, after = store.head(kind, name), held.head(kind, name)
        if before != after:
            counts = {word: _counts(store, kind, name, d) for word, d in (("before", before), ("after", after))}
            heads.append(Head(key=f"{kind}/{name}", before=before, after=after, counts=counts))
    return heads


def _counts(store: Store, kind: str, name: str, digest: str | None) -> dict[str, int]:
    """How large an artifact is; nothing of those that are there once a dataset."""
    artifact: Artifact | None = None
    if digest is not None and kind in COUNTED:
        artifact = store.committed(kind, name, digest)
    facts: Mapping[str, Any] = {} if artifact is None else artifact.facts
    found = {word: facts[word] for word in COUNTED.get(kind, ()) if word in facts}
    return {word: sum(v.values()) if isinstance(v, Mapping) else v for word, v in found.items()}


def _named(heads: Iterable[Head], kind: str) -> list[str]:
    """The names of one kind."""
    return [name for there, _, name in (head.key.partition("/") for head in heads) if there == kind]


def _judged(store: Store, held: Store, name: str) -> Judged:
    """The figures of an evaluation, and of its last version."""
    last = store.head("evaluations", name)
    before = None if last is None else store.committed("evaluations", name, last)
    return Judged(
        evaluation=name,
        figures=evaluate.read(held.get("evaluations", name)).figures,
        before=() if before is None or before.damage() is not None else evaluate.read(before).figures,
    )


def _datasets(
    store: Store, ledger: Ledger, summaries: Sequence[Summary], heads: Iterable[Head], *, prefix: str
) -> dict[str, list[str]]:
    """The names of datasets that are new, changed, or of a series that GEO no longer has."""
    moved = {h.key.partition("/")[2]: h for h in heads if h.key.startswith("expression/")}
    ingest = next(s for s in summaries if s.stage == "ingest")
    there = {*ingest.names, *(q["name"] for q in ingest.quarantined)}
    series = ledger.entries()
    left = {*store.names("expression"), *(q["name"] for q in store.quarantined() if q["kind"] in EACH)} - there
    return {
        "new": [name for name, head in moved.items() if head.before is None],
        "changed": [name for name, head in moved.items() if head.before is not None],
        "gone": [name for name in sorted(left) if name.startswith(prefix) and _series(name[len(prefix) :]) in series],
    }


def _prefix(steps: Iterable[Step]) -> str:
    """What this spec puts before the names of its datasets."""
    return next((str(s.values.get("name_prefix", "")) for s in steps if s.stage == "ingest"), "")


def _series(name: str) -> str | None:
    """The series of a dataset, if it is named as ingest names what was fetched."""
    found = OF_SERIES.fullmatch(name)
    return None if found is None else found[1]


def _drop(store: Store, datasets: Iterable[str]) -> None:
    """Removes what was made of each of these datasets, and what is said of it; ``gc`` takes the data away later."""
    for dataset in datasets:
        for kind in reversed(EACH):  # while the expression is there, a run that was cut off goes on
            if store.head(kind, dataset) is not None:
                store.remove(kind, dataset)
            store.pardon(kind, dataset)


def _failures(ledger: Ledger, fetched: Fetched) -> dict[str, str]:
    """Why series could not be fetched."""
    entries = ((name, ledger.get(name)) for name in fetched.failed)
    return {name: "" if entry is None else entry.error or "" for name, entry in entries}


# -- the gate -----------------------------------------------------------------------------------------------


def _incomplete(steps: Sequence[Step], summaries: Sequence[Summary]) -> list[str]:
    """Why the version is not whole."""
    if len(summaries) == len(steps) and summaries[-1].names:
        return []
    return [f"{summaries[-1].stage} left nothing to go on with"]


def _refusals(gate: GateSpec, outcome: Outcome) -> list[str]:
    """What of the version the gate does not let pass."""
    refused = [reason for kept in outcome.kept if (reason := _too_unlike(gate, kept))]
    refused += [reached.why for reached in outcome.reached if reached.why]
    many = len(outcome.quarantined)
    if gate.most_quarantined is not None and many > gate.most_quarantined:
        refused.append(f"{many:,} datasets are in quarantine, more than most_quarantined = {gate.most_quarantined:,}")
    return refused


def _too_unlike(gate: GateSpec, kept: Kept) -> str | None:
    if gate.least_overlap is None or kept.first:
        return None
    if kept.overlap is None:
        return f"{kept.embedding}: {kept.why}"
    if kept.overlap >= gate.least_overlap:
        return None
    return (
        f"{kept.embedding} shares {kept.overlap:.3f} of the {kept.k} nearest genes with its last version, "
        f"less than least_overlap = {gate.least_overlap}"
    )


def _reached(bound: Bound, held: Store, summaries: Iterable[Summary]) -> Reached:
    """Whether a figure of this run reaches what it must."""
    made = sorted({name for s in summaries if s.stage == "evaluate" for name in s.names})
    names = [name for name in made if bound.evaluation in (None, name)]
    if len(names) != 1:
        why = f"{bound}: name the evaluation, of those that this run has: {', '.join(made) or 'none'}"
        return Reached(bound=str(bound), why=why)
    try:
        value = float(bound.figure.find(evaluate.read(held.get("evaluations", names[0])).figures)["value"])
    except InputError as error:
        return Reached(bound=str(bound), why=f"{names[0]}: {error}")
    if value >= bound.least:
        return Reached(bound=str(bound), value=value)
    return Reached(
        bound=str(bound), value=value, why=f"{names[0]}: {bound.figure} is {value:.4f}, less than {bound.least:g}"
    )


# -- the report ---------------------------------------------------------------------------------------------


def _write(outcome: Outcome, folders: Sequence[Folder]) -> None:
    """The report as Markdown, with its pictures, HTML and JSON, in each folder."""
    stem = f"{re.sub('[-:]', '', outcome.at)}-{digest_of(outcome.as_json())[:8]}"
    outcome.files = [(folder / f"{stem}.{ending}").url for folder in folders for ending in ("md", "html", "json")]
    pages = sheets(outcome)
    files = {**_markdown(stem, pages), f"{stem}.html": page(*pages).encode()}
    for folder in folders:
        for name, content in {**files, f"{stem}.json": json_bytes(outcome.as_json())}.items():
            folder.write(name, content)


def _markdown(stem: str, pages: Sequence[Sheet]) -> dict[str, bytes]:
    """The Markdown file, and the pictures beside it."""
    files: dict[str, bytes] = {}
    parts = []
    for number, sheet in enumerate(pages):
        picture = f"{stem}-{number}.png"
        if sheet.picture is not None:
            files[picture] = sheet.picture.png
        parts.append(f"# {escape(sheet.title)}\n\n{body(sheet, picture)}")
    return {**files, f"{stem}.md": "\n".join(parts).encode()}
