"""``cooccurrence/<from>`` → ``embeddings/<name>``: runs a trainer.

One part with checkpoints; of GloVe on many genes, rounds of row bands (``models/glove_rounds``).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from g2v_dask import arrays, models
from g2v_dask.errors import SpecError
from g2v_dask.models.base import Trained
from g2v_dask.parts import Output, Part, Plan, Receipt, Target, Work, share_nothing
from g2v_dask.spec import TrainSpec
from g2v_dask.store import Artifact, Store

if TYPE_CHECKING:
    from g2v_dask.models.glove_als import Solver

VERSION = 1
MADE_BY = ("g2v_dask", "gensim", "numba", "numpy", "scipy")  # whose versions the card names
begin = share_nothing


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What the parts need to know."""

    cooccurrence: Artifact
    spec: TrainSpec
    tile: int
    solver: Solver | None
    in_rounds: bool

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
    matrix = arrays.Cooccurrence(detail.cooccurrence.folder)
    spec, how = detail.spec, {} if detail.solver is None else {"solver": detail.solver}
    if detail.in_rounds:
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
