"""``cooccurrence/<from>`` → ``embeddings/<name>``: runs a trainer.

One part with checkpoints; of GloVe on many genes, rounds of row bands (``models/glove_rounds``). Several numbers of
iterations of skip-gram's ``restart`` schedule are one run: a preparation that keeps the vectors after each.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from g2v_dask import arrays, models
from g2v_dask.errors import SpecError
from g2v_dask.files import placed, write_file
from g2v_dask.folders import read_json
from g2v_dask.models.base import Trained
from g2v_dask.parts import Output, Part, Plan, Receipt, Target, Work, share_nothing
from g2v_dask.spec import TrainSpec
from g2v_dask.store import Artifact, Store

if TYPE_CHECKING:
    from g2v_dask.models.glove_als import Solver

VERSION = 1
MADE_BY = ("g2v_dask", "gensim", "numba", "numpy", "scipy")  # whose versions the card names
RUN = "run.json"  # of a run for several: the genes, the losses, the facts
begin = share_nothing


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What the parts need to know."""

    cooccurrence: Artifact
    spec: TrainSpec
    tile: int
    solver: Solver | None
    in_rounds: bool
    kept: tuple[int, ...] = ()
    """Of a run for several: after which iterations its vectors are kept."""
    run: str | None = None
    """Of one of the several: the digest of the run."""

    @property
    def genes(self) -> int:
        """Of the co-occurrence's axis."""
        return int(self.cooccurrence.facts["genes"])


def plan(store: Store, spec: TrainSpec) -> Plan:
    """One target, of one part or of rounds.

    Raises: SpecError if the method cannot take a co-occurrence of that origin, or of so few genes.
    """
    source = store.only("cooccurrence", spec.source)
    _check(source, spec)
    notes: tuple[str, ...] = ()
    solver: Solver | None = None
    in_rounds = False
    if spec.method == "glove" and spec.optimizer == "als":
        glove: Any = models.load(spec.method)
        solver, why = glove.choose_solver(source.facts, spec)
        notes = (f"{spec.name}: {why}",)
        in_rounds = source.facts["genes"] > glove.SMALL
    detail = Detail(cooccurrence=source, spec=spec, tile=store.tile, solver=solver, in_rounds=in_rounds)
    target = Target(
        kind="embeddings",
        name=spec.name,
        title=spec.name,
        version=VERSION,
        identity={**spec.select("identity"), **({} if solver is None else {"solver": solver})},
        inputs={source.key: source.digest},
        spec=dataclasses.replace(spec, source=detail.cooccurrence.name),
        detail=detail,
        parts=_first_parts(detail),
        same_blas=spec.method != "skipgram",
    )
    return Plan(stage="train", targets=(target,), notes=notes)


def plan_run(store: Store, specs: Sequence[TrainSpec]) -> Plan:
    """A target each of several specs, and one run for all of them: each takes the vectors after its iterations.

    The specs differ in name and iterations alone, and start the learning rate anew in each iteration (``restart``): so
    an iteration does not hang on how many follow, and each target is, to the byte, what ``plan`` of its spec makes.
    Raises: SpecError for other specs; or as ``plan``.
    """
    longest = max(specs, key=lambda spec: spec.iterations)
    if any(dataclasses.replace(s, name=longest.name, iterations=longest.iterations) != longest for s in specs):
        msg = "train: runs that are one must differ in name and iterations alone"
        raise SpecError(msg)
    if (longest.method, longest.schedule) != ("skipgram", "restart"):
        msg = (
            f"train: only skipgram with schedule restart passes through shorter runs on its way; got "
            f"{longest.method}, {longest.schedule}"
        )
        raise SpecError(msg)
    targets = {spec.name: plan(store, spec).targets[0] for spec in specs}
    whole = targets[longest.name]
    kept = tuple(sorted({spec.iterations for spec in specs}))
    run = dataclasses.replace(
        whole,
        kind="",
        identity={**whole.identity, "kept": list(kept)},
        detail=dataclasses.replace(whole.detail, kept=kept),
        parts=(dataclasses.replace(whole.parts[0], label=f"{longest.name} and shorter runs"),),
    )
    need = whole.detail.genes * (8 * longest.components + 500)  # vectors, twice, and names
    each = (
        dataclasses.replace(
            target,
            detail=dataclasses.replace(target.detail, run=run.digest),
            parts=(Part(number=0, bytes=need, label=target.name),),
            after=(run.digest,),
        )
        for target in targets.values()
    )
    return Plan(stage="train", targets=(run, *each))


def _check(source: Artifact, spec: TrainSpec) -> None:
    pairs = source.facts["origin"] == "pairs"
    if spec.method == "skipgram" and not pairs:
        msg = (
            f"train: skipgram learns from pairs, but {source.key} was summed over samples; "
            f"train with --method glove or svd, or give --from a matrix that 'g2v merge' made"
        )
        raise SpecError(msg)
    if spec.min_datasets > 1 and not pairs:
        msg = f"train: min-datasets is for co-occurrence from pairs; {source.key} was summed over samples; leave it out"
        raise SpecError(msg)
    if spec.method == "glove" and spec.components >= source.facts["genes"]:
        msg = (
            f"train: components must be less than the number of genes, {source.facts['genes']:,} in {source.key}; "
            f"got {spec.components}"
        )
        raise SpecError(msg)


def _first_parts(detail: Detail) -> tuple[Part, ...]:
    spec, source = detail.spec, detail.cooccurrence
    if detail.in_rounds:
        first: tuple[Part, ...] = models.in_rounds().parts(spec.name, detail.genes, detail.tile, spec, round_=0)
        return first
    need = models.load(spec.method).memory_bytes(
        genes=detail.genes, cells=_cells(source, spec.min_datasets), components=spec.components
    )
    return (Part(number=0, bytes=need, label=spec.name),)


def _cells(source: Artifact, least: int) -> int:
    """How many cells, of both triangles, are not 0, or hold at least so many datasets."""
    if source.facts["origin"] == "samples":
        return 2 * int(source.facts["cells"])
    recurrence: Mapping[str, int] = source.facts["recurrence"]
    return 2 * sum(number for m, number in recurrence.items() if int(m) >= least)


def next_round(target: Target, done: int, receipts: Mapping[int, Receipt]) -> tuple[Part, ...]:
    """The next round of a trainer that has rounds."""
    detail: Detail = target.detail
    if not detail.in_rounds:
        return ()
    spec = detail.spec
    following: tuple[Part, ...] = models.in_rounds().next_parts(
        spec.name, detail.genes, detail.tile, spec, done=done, receipts=receipts
    )
    return following


def run_part(work: Work) -> Output:
    """Trains, or does a part of it; at the end writes vectors and card."""
    detail: Detail = work.target.detail
    if detail.kept:
        return _run_of_several(work, detail)
    matrix = arrays.Cooccurrence(detail.cooccurrence.folder)
    spec, how = detail.spec, {} if detail.solver is None else {"solver": detail.solver}
    if detail.run is not None:
        made: Output | Trained = _of_run(work, detail, detail.run)
    elif detail.in_rounds:
        made = models.in_rounds().run_part(work, matrix, spec, **how)
    else:
        trainer = models.load(spec.method)
        made = trainer.train(matrix, spec, folder=work.scratch, progress=work.progress, alive=work.alive, **how)
    if isinstance(made, Output):
        return made
    work.alive()
    card = _card(detail, made)
    files = arrays.write(
        work.folder,
        "embeddings",
        data={"vector": np.ascontiguousarray(made.vectors, dtype=np.float32)},
        chunks=(detail.tile, made.vectors.shape[1]),
        attributes={"card": card},
        coordinates={"gene_id": made.genes},
    )
    # versions are no part of data.*: a release of ours must not change the bytes under one digest
    return Output(files=files, result={**card, "versions": {name: metadata.version(name) for name in MADE_BY}})


def _run_of_several(work: Work, detail: Detail) -> Output:
    """Trains once, and leaves the vectors after each of the iterations that are kept."""
    skipgram: Any = models.load(detail.spec.method)

    def keep(iteration: int, vectors: Any) -> None:
        if iteration in detail.kept:
            with placed(work.desk / _kept(iteration)) as part, part.open("wb") as file:
                np.save(file, vectors)
            work.folder.send(_kept(iteration))  # the checkpoint that follows is resumed without it

    matrix = arrays.Cooccurrence(detail.cooccurrence.folder)
    made: Trained = skipgram.train(
        matrix, detail.spec, folder=work.scratch, progress=work.progress, alive=work.alive, keep=keep
    )
    about = {"genes": made.genes.tolist(), "losses": made.losses, "facts": made.facts}
    write_file(work.desk / RUN, json.dumps(about, allow_nan=False).encode())  # in the order of the card
    return Output(files=(work.desk / RUN, *(work.folder.fetch(_kept(i)) for i in detail.kept)))


def _kept(iteration: int) -> str:
    """The file of the vectors after so many iterations."""
    return f"vectors-{iteration:05d}.npy"


def _of_run(work: Work, detail: Detail, digest: str) -> Trained:
    """What a run of so many iterations makes, of the run for several."""
    folder = (work.store.work(digest) / "data").marked(work.token)
    about, iterations = read_json(folder, RUN), detail.spec.iterations
    assert about is not None  # its receipt is there
    return Trained(
        genes=np.array(about["genes"], dtype=np.str_),
        vectors=np.load(folder.fetch(_kept(iterations))),
        losses=about["losses"][:iterations],
        facts=about["facts"],
    )


def _card(detail: Detail, trained: Trained) -> dict[str, Any]:
    """What identity and data determine: the same run gives the same card."""
    source = detail.cooccurrence
    return {
        "genes": len(trained.genes),
        "components": trained.vectors.shape[1],
        "order": "count descending, then gene id",
        "parameters": {**detail.spec.select("identity")},
        "cooccurrence": {"name": source.name, "digest": source.digest},
        "datasets": dict(source.manifest["inputs"]),
        "samples": dict(source.facts["samples"]),
        "rule": dict(source.facts["rule"]),
        "losses": list(trained.losses),
        **trained.facts,
    }


def facts(store: Store, target: Target, receipts: Mapping[int, Receipt]) -> dict[str, Any]:
    """The card."""
    (receipt,) = receipts.values()
    card: dict[str, Any] = receipt["result"]
    return card
