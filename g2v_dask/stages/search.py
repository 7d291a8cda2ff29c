"""Batches of questions → ``answers/<name>``: the best analogies, the nearest pairs, a file of pairs.

**Rounds** of the best analogies: a seeded sample sets a threshold; then blocks of genes A in groups that grow, each
group with the threshold that all before it have reached; the last round merges. With ``max_per_gene`` the
threshold never rises: all blocks in one round, and if the merged list is too short the three rounds go again for
eight times as many. A block's genes lie a stride apart, so that blocks are alike.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from g2v_dask import analogy, schema, tiles
from g2v_dask.answers import Analogies
from g2v_dask.errors import InputError
from g2v_dask.files import file_sha256, placed, write_file
from g2v_dask.parts import Output, Part, Plan, Receipt, Target, Work, share_nothing
from g2v_dask.questions import BatchSpec, BestSpec, Filters, NearSpec, PairSpec
from g2v_dask.search.analogies import Lanes
from g2v_dask.search.ranking import GROWTH, MOST_HELD, Found, ranked
from g2v_dask.search.space import TILE, Space
from g2v_dask.store import Artifact, Store

VERSION = 1
begin = share_nothing
BLOCK = 128  # genes A of a part
GROUPS = (1 / 32, 1 / 8, 1 / 2, 1.0)  # share of the blocks done by the end of each round
SAMPLED_GENES = 64  # genes A whose lanes with all b set the first threshold
BAND = 64  # rows of tiles of a part, of nearest pairs: up to 32,768 genes are one part, and need no cluster
FORECAST_SECONDS = 3.0
QUESTIONS = 256  # of a batch that are one part
SUFFIX = {BestSpec: "best", NearSpec: "near", BatchSpec: "batch"}
Spec = BestSpec | NearSpec | BatchSpec


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What a part needs to know."""

    embedding: Artifact
    spec: Spec
    rounds: tuple[tuple[Part, ...], ...]  # of a cycle
    questions: tuple[tuple[str, str], ...] = ()


def plan(store: Store, spec: Spec) -> Plan:
    """One target. The embedding is read, for the number of genes that take part.

    Raises: InputError if a file of genes or of pairs cannot be read or names a gene that is not here, if vectors
            hold NaN, or too few genes are left.
    """
    source = store.only("embeddings", spec.name)
    field = analogy.read(source)
    near = isinstance(spec, NearSpec)
    space = analogy.near_space(field, spec) if near else analogy.space_of(field, spec)[0]
    if isinstance(spec, BestSpec):
        analogy.check(spec.k, space, 4)
    genes = len(space)
    components = field.vectors.shape[1]
    inputs = {source.key: source.digest}
    if spec.genes is not None:
        inputs[f"genes:{Path(spec.genes).name}"] = file_sha256(Path(spec.genes).expanduser())
    questions: tuple[tuple[str, str], ...] = ()
    if isinstance(spec, BatchSpec):
        file = Path(spec.file).expanduser()
        questions = read_questions(file, field.names.resolve)
        inputs[f"file:{file.name}"] = file_sha256(file)
    need = genes * (16 * components + 200) + (256 << 20)
    rounds = _rounds(spec, genes, len(questions), need)
    target = Target(
        kind="answers",
        name=spec.to or f"{source.name}-{SUFFIX[type(spec)]}",
        title=source.title,
        version=VERSION,
        identity={"question": SUFFIX[type(spec)], "biotype": spec.biotype, **spec.select("identity")},
        inputs=inputs,
        spec=dataclasses.replace(spec, name=source.name),
        detail=Detail(embedding=source, spec=spec, rounds=rounds, questions=questions),
        parts=rounds[0],
    )
    target.folder(store)  # a wrong name is found before any work
    return Plan(stage="search", targets=(target,))


def _rounds(spec: Spec, genes: int, questions: int, need: int) -> tuple[tuple[Part, ...], ...]:
    """The rounds of a cycle."""
    merge = (Part(number=0, bytes=need, label="merge"),)
    if isinstance(spec, BatchSpec):
        return (_parts(0, tiles.count(questions, QUESTIONS), need + 200 * QUESTIONS * genes, "questions"),)
    if isinstance(spec, NearSpec):
        return _parts(0, tiles.count(genes, BAND * TILE), need, "band"), merge
    blocks = tiles.count(genes, BLOCK)
    ends = [blocks] if spec.max_per_gene is not None else [max(1, round(share * blocks)) for share in GROUPS]
    need += 4 * genes * (BLOCK + 256)
    groups = [
        _parts(start, end, need, "genes") for start, end in zip([0, *ends[:-1]], ends, strict=True) if end > start
    ]
    return (Part(number=0, bytes=need, label="sample"),), *groups, merge


def _parts(start: int, end: int, need: int, label: str) -> tuple[Part, ...]:
    return tuple(Part(number=n, bytes=need, label=f"{label} {n}") for n in range(start, end))


def read_questions(file: Path, resolve: Callable[[str], str]) -> tuple[tuple[str, str], ...]:
    """Pairs of genes, one a line, apart by a tab, a comma or white space; ``#`` starts a comment.

    Raises: InputError for a file that cannot be read or holds no pair, and for a line without two genes that are
            known and differ (numbered).
    """
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        msg = f"cannot read the pairs in {file}: {reason}; expected two genes a line"
        raise InputError(msg) from error
    found = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        split = next((mark for mark in ("\t", ",") if mark in text), None)
        words = [w.strip() for w in text.split(split)]
        if text and len(words) != 2:
            msg = f"{file}, line {number}: expected two genes, apart by a tab, a comma or a space, got {line.strip()!r}"
            raise InputError(msg)
        if text:
            try:
                one, two = (resolve(word) for word in words)
            except InputError as error:
                msg = f"{file}, line {number}: {error}"
                raise InputError(msg) from error
            if one == two:
                msg = f"{file}, line {number}: expected two different genes, got {line.strip()!r}"
                raise InputError(msg)
            found.append((one, two))
    if not found:
        msg = f"{file} holds no pair; expected two genes a line"
        raise InputError(msg)
    return tuple(found)


def next_round(target: Target, done: int, receipts: Mapping[int, Receipt]) -> tuple[Part, ...]:
    """The next round of the cycle; after a merge none, unless it was short of answers."""
    rounds = target.detail.rounds
    at = (done + 1) % len(rounds)
    return () if at == 0 and receipts[0]["result"]["enough"] else tuple(rounds[at])


def run_part(work: Work) -> Output:
    """Does one part of the round at hand."""
    detail: Detail = work.target.detail
    spec = detail.spec
    if isinstance(spec, BatchSpec):
        return _batch(work, spec)
    cycle, at = divmod(work.round, len(detail.rounds))
    # with a limit a gene, more are looked at than are wanted
    want = spec.k if spec.max_per_gene is None else min(spec.k * GROWTH ** (cycle + 1), MOST_HELD)
    if at == len(detail.rounds) - 1:
        return _merge(work, want, first=work.round - at)
    if isinstance(spec, NearSpec):
        space = _near_space(detail.embedding, spec, work.threads)
        start = work.part.number * BAND
        return _keep(work, analogy.near_top(space, want, spec, band=range(start, start + BAND)))
    space = _space(detail.embedding, spec, work.threads)
    search = Lanes(
        space,
        want,
        shorter=True,
        shortest=analogy.shortest(space, spec),
        ceiling=spec.ceiling,
        bar=_bar(work, want, first=work.round - at),
    )
    if at == 0:
        some = np.random.default_rng(spec.seed).permutation(len(space))[:SAMPLED_GENES]
        search.sample(np.sort(some), np.arange(len(space)))
        return _keep(work, Found(scores=search.bars[:1], genes=np.empty((1, 0), dtype=np.int64)))
    stride = sum(len(parts) for parts in detail.rounds[1:-1])
    search.search(np.arange(work.part.number, len(space), stride), first=min(work.part.number, len(space) - 1))
    return _keep(work, search.found(), counts=search.work().tolist())


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """How much work a search for the best analogies is."""

    genes: int
    differences: int
    seconds: float
    """Of one thread on this machine, judged by some lanes."""


def estimate(detail: Detail, *, seconds: float = FORECAST_SECONDS) -> Forecast:
    """Runs some lanes, for about as long as is given, and reckons from them."""
    spec = detail.spec
    assert isinstance(spec, BestSpec)
    space = _space(detail.embedding, spec, 1)
    want = spec.k if spec.max_per_gene is None else spec.k * GROWTH
    limits: dict[str, Any] = {"shortest": analogy.shortest(space, spec), "ceiling": spec.ceiling}
    search = Lanes(space, want, shorter=True, **limits)
    some = np.random.default_rng(spec.seed).permutation(len(space))
    search.sample(np.sort(some[: SAMPLED_GENES // 4]), np.arange(len(space)))
    search.search(some[:1])  # what the first call loads and compiles is no part of the work
    before, started = int(search.work()[0]), time.monotonic()
    for a in some[1:]:
        search.search(np.array([a]), first=int(a))
        if time.monotonic() - started > seconds:
            break
    lanes = len(space) * (len(space) - 1) // 2
    each = (time.monotonic() - started) / max(1, int(search.work()[0]) - before)
    return Forecast(genes=len(space), differences=lanes, seconds=lanes * each)


def _keep(work: Work, found: Found, **result: Any) -> Output:
    """Writes what a part found, for the rounds that follow."""
    file = work.desk / f"round-{work.round}" / f"part-{work.part.number}.npz"
    held = BytesIO()
    np.savez(held, scores=found.scores, genes=found.genes)
    work.alive()
    write_file(file, held.getvalue())
    return Output(files=(file,), result=result)


def _found_in(work: Work, first: int) -> list[Found]:
    """What the rounds of this cycle before this one have left, in order."""
    found = []
    for round_ in range(first, work.round):
        for part in work.target.detail.rounds[round_ - first]:
            file = work.folder.fetch(f"round-{round_}/part-{part.number}.npz")
            with np.load(file, allow_pickle=False) as kept:
                found.append(Found(scores=kept["scores"], genes=kept["genes"]))
    return found


def _bar(work: Work, want: int, first: int) -> float:
    """The score that ``want`` answers are known to reach: by the sample, or by the rounds since."""
    before = _found_in(work, first)
    if not before:
        return -np.inf
    scores = np.concatenate([f.scores for f in before[1:]] or [np.empty(0)])
    reached = float(np.partition(scores, len(scores) - want)[len(scores) - want]) if len(scores) >= want else -np.inf
    return max(float(before[0].scores[0]), reached)


def _merge(work: Work, want: int, first: int) -> Output:
    """The final list, if it is long enough or no more are to be had."""
    spec = work.target.detail.spec
    near = isinstance(spec, NearSpec)
    space = (_near_space if near else _space)(work.target.detail.embedding, spec, work.threads)
    lists = [f for f in _found_in(work, first) if f.genes.shape[1]]
    scores, genes = (np.concatenate(column) for column in zip(*((f.scores, f.genes) for f in lists), strict=True))
    order = np.lexsort((*genes.T[::-1], -scores))[:want]
    everything = Found(scores=scores[order], genes=genes[order])
    limit = spec.max_per_gene
    final = ranked(lambda _: everything, spec.k, max_per_gene=limit, genes=len(space), most=want)
    if len(final) < spec.k and len(everything) == want:
        return Output(files=(), result={"enough": False})
    if near:
        answers: Any = analogy.near_pairs(work.target.detail.embedding.name, space, final, spec, spec.k)
        rows: list[tuple[Any, ...]] = [(p.a, p.b, p.cosine) for p in answers.found]
    else:
        notes = _notes(work.target.detail.embedding, spec, work.threads)
        answers = analogy.named(work.target.detail.embedding.name, space, final, spec, spec.k, list(notes))
        rows = [(p.a, p.b, p.c, p.d, p.score) for p in answers.found]
    file = _write(work, [(rank, *row) for rank, row in enumerate(rows, start=1)], near=near)
    return Output(
        files=(file,),
        result={"enough": True, "answers": len(rows), "genes": len(space), "notes": list(answers.notes)},
    )


def _write(work: Work, rows: list[tuple[Any, ...]], *, near: bool = False) -> Path:
    layout = schema.NEAR_PAIRS if near else schema.ANALOGIES
    columns = [list(c) for c in zip(*rows, strict=True)] if rows else [[] for _ in layout.names]
    table = pa.table(dict(zip(layout.names, columns, strict=True)), schema=layout)
    work.alive()
    file = work.desk / "data.parquet" / f"part-{work.part.number:05d}.parquet"
    with placed(file) as part:
        pq.write_table(table, part)
    return file


def _batch(work: Work, spec: BatchSpec) -> Output:
    """The answers to some of the questions of a file."""
    detail: Detail = work.target.detail
    field = analogy.read(detail.embedding)
    space = _pair_space(detail.embedding, PairSpec(**vars(spec.filters), sums=spec.sums), work.threads)
    some = detail.questions[work.part.number * QUESTIONS : (work.part.number + 1) * QUESTIONS]
    found: list[Analogies] = []
    at_once = 16  # questions of one pass: their lists of candidates stay small
    for start in range(0, len(some), at_once):
        found += analogy.pairs(field, some[start : start + at_once], spec.k, spec, space=space)
        work.progress(start, len(some), "questions")
    rows = [(r, x.a, x.b, x.c, x.d, x.score) for a in found for r, x in enumerate(a.found, start=1)]
    notes = sorted({note for a in found for note in a.notes})
    return Output(files=(_write(work, rows),), result={"enough": True, "answers": len(rows), "notes": notes})


@lru_cache(maxsize=1)
def _spaces(embedding: Artifact, kind: str, spec: PairSpec, listed: str, threads: int) -> tuple[Space, tuple[str, ...]]:
    """Made once a process: all its parts ask the same embedding."""
    field = analogy.read(embedding)
    if kind == "near":
        return analogy.near_space(field, spec, threads=threads), ()
    space, notes = analogy.space_of(field, spec, sums=spec.sums, threads=threads)
    return space, tuple(notes)


def _made(embedding: Artifact, kind: str, spec: PairSpec, threads: int) -> tuple[Space, tuple[str, ...]]:
    listed = "" if spec.genes is None else file_sha256(Path(spec.genes).expanduser())
    return _spaces(embedding, kind, spec, listed, threads)


def _space(embedding: Artifact, spec: Filters, threads: int) -> Space:
    return _made(embedding, "best", PairSpec(**vars(spec.filters)), threads)[0]


def _notes(embedding: Artifact, spec: Filters, threads: int) -> tuple[str, ...]:
    return _made(embedding, "best", PairSpec(**vars(spec.filters)), threads)[1]


def _pair_space(embedding: Artifact, spec: PairSpec, threads: int) -> Space:
    return _made(embedding, "best", spec, threads)[0]


def _near_space(embedding: Artifact, spec: Filters, threads: int) -> Space:
    return _made(embedding, "near", PairSpec(**vars(spec.filters)), threads)[0]


def facts(store: Store, target: Target, receipts: Mapping[int, Receipt]) -> dict[str, Any]:
    """How many answers, and what a reader should know of them."""
    results = [receipts[number]["result"] for number in sorted(receipts)]
    spec = target.detail.spec
    return {
        "question": SUFFIX[type(spec)],
        "embedding": target.detail.embedding.name,
        "answers": sum(r["answers"] for r in results),
        "filters": spec.given(),
        "notes": sorted({note for r in results for note in r["notes"]}),
    }
