"""``cooccurrence/<from>`` → ``embeddings/<name>``: runs a trainer. One part, with checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np

from g2v_dask import arrays, models
from g2v_dask.models.base import Trained
from g2v_dask.parts import Output, Part, Plan, Receipt, Target, Work, one_round, share_nothing
from g2v_dask.spec import TrainSpec
from g2v_dask.store import Artifact, Store

VERSION = 1
MADE_BY = ("g2v_dask", "gensim", "numpy", "scipy")  # whose versions the card names
begin = share_nothing
next_round = one_round


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What the part needs to know."""

    cooccurrence: Artifact
    spec: TrainSpec
    tile: int


def plan(store: Store, spec: TrainSpec) -> Plan:
    """One target of one part."""
    source = store.only("cooccurrence", spec.source)
    need = models.load(spec.method).memory_bytes(
        genes=source.facts["genes"], cells=_cells(source, spec.min_datasets), components=spec.components
    )
    target = Target(
        kind="embeddings",
        name=spec.name,
        title=spec.name,
        version=VERSION,
        identity=spec.select("identity"),
        inputs={source.key: source.digest},
        detail=Detail(cooccurrence=source, spec=spec, tile=store.tile),
        parts=(Part(number=0, bytes=need, label=spec.name),),
        same_blas=spec.method == "svd",
    )
    return Plan(stage="train", targets=(target,))


def _cells(source: Artifact, least: int) -> int:
    """How many cells, of both triangles, hold at least so many datasets."""
    recurrence: Mapping[str, int] = source.facts["recurrence"]
    return 2 * sum(number for m, number in recurrence.items() if int(m) >= least)


def run_part(work: Work) -> Output:
    """Trains, and writes vectors and card."""
    detail: Detail = work.target.detail
    matrix = arrays.Cooccurrence(detail.cooccurrence.path)
    scratch = work.scratch
    scratch.mkdir(parents=True, exist_ok=True)
    trained = models.load(detail.spec.method).train(
        matrix, detail.spec, folder=scratch, progress=work.progress, alive=work.alive
    )
    work.alive()
    card = _card(detail, trained)
    files = arrays.write(
        work.folder,
        "embeddings",
        data={"vector": np.ascontiguousarray(trained.vectors, dtype=np.float32)},
        chunks=(detail.tile, trained.vectors.shape[1]),
        attributes={"card": card},
        coordinates={"gene_id": trained.genes},
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
    card: dict[str, Any] = receipts[0]["result"]
    return card
