"""Several ``embeddings/*`` → ``embeddings/<name>``, whose cosine is the mean of theirs. One part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from g2v_dask import arrays
from g2v_dask.errors import InputError, SpecError
from g2v_dask.models.base import signs
from g2v_dask.parts import Output, Part, Plan, Receipt, Target, Work, one_round, share_nothing
from g2v_dask.spec import CombineSpec
from g2v_dask.store import Artifact, Store

VERSION = 1
BLOCK = 1024  # genes at once, where all are multiplied
begin = share_nothing
next_round = one_round

Vectors = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What the part needs to know."""

    sources: tuple[Artifact, ...]
    components: int | None
    tile: int


def plan(store: Store, spec: CombineSpec) -> Plan:
    """One target of one part.

    Raises: SpecError for an embedding that is not there, and if more components are asked for than there are.
    """
    sources = tuple(store.get("embeddings", name) for name in spec.embeddings)
    width = sum(int(source.facts["components"]) for source in sources)
    if spec.components is not None and spec.components > width:
        names = ", ".join(spec.embeddings)
        msg = f"combine: components must be at most {width}, which {names} have together; got {spec.components}"
        raise SpecError(msg)
    genes = max(int(source.facts["genes"]) for source in sources)
    target = Target(
        kind="embeddings",
        name=spec.name,
        title=spec.name,
        version=VERSION,
        identity=spec.select("identity"),
        inputs={source.key: source.digest for source in sources},
        spec=spec,
        detail=Detail(sources=sources, components=spec.components, tile=store.tile),
        parts=(Part(number=0, bytes=memory_bytes(genes, width), label=f"{spec.name} of {len(sources)}"),),
        same_blas=spec.components is not None,
    )
    return Plan(stage="combine", targets=(target,))


def memory_bytes(genes: int, components: int) -> int:
    """Bytes that the part needs: vectors as read, at unit length and of the common genes; names; products."""
    return 16 * genes * components + 1000 * genes + 32 * components**2 + 16 * BLOCK * components


def run_part(work: Work) -> Output:
    """Reads the sources, lays them side by side, and writes vectors and card."""
    detail: Detail = work.target.detail
    read = [_read(source) for source in detail.sources]
    work.alive()
    genes, vectors = side_by_side(read)
    if not len(genes):
        names = ", ".join(source.name for source in detail.sources)
        msg = f"combine: no gene is in all of {names}; take embeddings of the same kind of gene ids"
        raise InputError(msg)
    kept: dict[str, Any] = {}
    if detail.components is not None:
        with threadpool_limits(limits=1, user_api="blas"):  # more threads give other bits
            vectors, share = reduced(vectors, detail.components)
        kept = {"share_of_squares": share}
    card = {"genes": len(genes), "components": vectors.shape[1], **kept, **_card(detail.sources, work.target)}
    files = arrays.write(
        work.folder,
        "embeddings",
        data={"vector": vectors},
        chunks=(detail.tile, vectors.shape[1]),
        attributes={"card": card},
        coordinates={"gene_id": genes},
    )
    return Output(files=files, result=card)


def _read(source: Artifact) -> tuple[NDArray[np.str_], Vectors]:
    root = arrays.open_group(source.folder, "embeddings")
    return arrays.strings(root, "gene_id"), arrays.values(root, "vector")


def side_by_side(sources: Sequence[tuple[NDArray[np.str_], Vectors]]) -> tuple[NDArray[np.str_], Vectors]:
    """The genes that all sources have, in the order of the first, and their vectors side by side.

    Each source's vectors come at length 1 / √sources, so that a product of two genes is the mean of their cosines. A
    vector of zeros stays one.
    Parameters: sources   genes and (genes, components) vectors of each.
    """
    first = sources[0][0].tolist()
    places = [{gene: row for row, gene in enumerate(genes.tolist())} for genes, _ in sources]
    common = [gene for gene in first if all(gene in place for place in places)]
    scale = 1 / np.sqrt(len(sources))
    parts = []
    for place, (_, vectors) in zip(places, sources, strict=True):
        mine = vectors[[place[gene] for gene in common]].astype(np.float64)
        length = np.linalg.norm(mine, axis=1, keepdims=True)
        parts.append(np.divide(scale * mine, length, out=np.zeros_like(mine), where=length > 0).astype(np.float32))
    return np.array(common, dtype=np.str_), np.concatenate(parts, axis=1)


def reduced(vectors: Vectors, components: int) -> tuple[Vectors, float]:
    """Their truncated SVD, U · σ, and the share of the sum of squares that it keeps.

    Of all vectors of so many components these have the products nearest to those before (Eckart & Young 1936). Nothing
    is centred, or the cosines would be others.
    Oracle: numpy.linalg.svd.
    """
    squares = np.zeros((vectors.shape[1],) * 2)
    for start in range(0, len(vectors), BLOCK):  # in a fixed order, in float64
        block = vectors[start : start + BLOCK].astype(np.float64)
        squares += block.T @ block
    values, turns = np.linalg.eigh(squares)
    best = turns[:, ::-1][:, :components]
    made = np.concatenate([vectors[at : at + BLOCK] @ best for at in range(0, len(vectors), BLOCK)])
    share = float(values[::-1][:components].sum() / values.sum()) if values.sum() > 0 else 1.0
    return (made * signs(made)).astype(np.float32), share


def _card(sources: Sequence[Artifact], target: Target) -> dict[str, Any]:
    """What they were made of, and of which datasets, as far as their own cards say."""
    return {
        "order": f"as in {sources[0].name}",
        "parameters": dict(target.identity),
        "embeddings": {source.name: source.digest for source in sources},
        "datasets": {key: digest for source in sources for key, digest in source.facts.get("datasets", {}).items()},
        "samples": {name: count for source in sources for name, count in source.facts.get("samples", {}).items()},
    }


def facts(store: Store, target: Target, receipts: Mapping[int, Receipt]) -> dict[str, Any]:
    """The card."""
    card: dict[str, Any] = receipts[0]["result"]
    return card
