"""``expression/*`` → ``embeddings/<name>``: where each gene is measured, how high it is there, how much it varies.

Co-expression says with which genes a gene goes, and little of these three; with few datasets they say much. One part.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2v_dask import arrays
from g2v_dask.errors import SpecError
from g2v_dask.parts import Output, Part, Plan, Receipt, Target, Work, one_round, share_nothing
from g2v_dask.spec import ProfileSpec
from g2v_dask.store import Artifact, Store

VERSION = 1
FIGURES = ("measured", "mean", "standard deviation")  # of a gene in a dataset: a component each
begin = share_nothing
next_round = one_round


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What the part needs to know."""

    members: tuple[Artifact, ...]
    tile: int


def plan(store: Store, spec: ProfileSpec) -> Plan:
    """One target of one part.

    Raises: SpecError if there are no datasets, or one that was named is not there.
    """
    members, left_out = store.passing("expression", spec.datasets)
    if not members:
        msg = f"no expression in {store.root.url} to make a profile of; run 'g2v ingest' first"
        raise SpecError(msg)
    target = Target(
        kind="embeddings",
        name=spec.name,
        title=spec.name,
        version=VERSION,
        identity=spec.select("identity"),
        inputs={member.key: member.digest for member in members},
        spec=dataclasses.replace(spec, datasets=tuple(member.name for member in members)),
        detail=Detail(members=tuple(members), tile=store.tile),
        parts=(Part(number=0, bytes=memory_bytes(members), label=spec.name),),
    )
    return Plan(stage="profile", targets=(target,), left_out=left_out)


def memory_bytes(members: Iterable[Artifact]) -> int:
    """The largest dataset, read and in float64; the vectors of all genes, which may differ; names."""
    sizes = [(int(member.facts["samples"]), int(member.facts["genes"])) for member in members]
    genes = sum(genes for _, genes in sizes)
    return max(20 * samples * genes for samples, genes in sizes) + genes * (16 * len(FIGURES) * len(sizes) + 1000)


def run_part(work: Work) -> Output:
    """Reads one dataset after another, and writes vectors and card."""
    detail: Detail = work.target.detail
    found = []
    for done, member in enumerate(detail.members):
        work.progress(done, len(detail.members), member.name)
        root = arrays.open_group(member.folder, "expression")
        found.append((arrays.strings(root, "gene_id"), figures(arrays.values(root, "expression"))))
    work.alive()
    genes, vectors = profile(found)
    card: dict[str, Any] = {
        "genes": len(genes),
        "components": vectors.shape[1],
        "order": "datasets measured descending, then gene id",
        "of_each_dataset": list(FIGURES),
        "datasets": {member.key: member.digest for member in detail.members},
        "samples": {member.name: member.facts["samples"] for member in detail.members},
    }
    files = arrays.write(
        work.folder,
        "embeddings",
        data={"vector": vectors},
        chunks=(detail.tile, vectors.shape[1]),
        attributes={"card": card},
        coordinates={"gene_id": genes},
    )
    return Output(files=files, result=card)


def figures(expression: NDArray[np.float32]) -> NDArray[np.float64]:
    """(genes, 3) of one dataset: 1; the gene's mean less the mean of all genes; its standard deviation.

    Parameters: expression   (samples, genes) log2.
    """
    values = expression.astype(np.float64)
    mean = values.mean(axis=0)
    return np.column_stack([np.ones(len(mean)), mean - mean.mean(), values.std(axis=0)])


def profile(
    found: Iterable[tuple[NDArray[np.str_], NDArray[np.float64]]],
) -> tuple[NDArray[np.str_], NDArray[np.float32]]:
    """The genes of all datasets, those of the most datasets first, and their figures side by side.

    A gene that a dataset does not measure has 0 in its components. Each component is divided by its root mean square
    over all genes, so that none outweighs the others.
    Parameters: found   of each dataset its genes and ``figures``.
    Returns:    (genes,) ids, and (genes, 3 · datasets); a component that is 0 throughout stays so.
    """
    each = list(found)
    axis = np.unique(np.concatenate([genes for genes, _ in each]))
    vectors = np.zeros((len(axis), len(FIGURES) * len(each)))
    for number, (genes, of_genes) in enumerate(each):
        vectors[np.searchsorted(axis, genes), len(FIGURES) * number : len(FIGURES) * (number + 1)] = of_genes
    order = np.lexsort((axis, -vectors[:, :: len(FIGURES)].sum(axis=1)))
    size = np.sqrt(np.square(vectors).mean(axis=0))
    return axis[order], (vectors / np.where(size > 0, size, 1.0))[order].astype(np.float32)


def facts(store: Store, target: Target, receipts: Mapping[int, Receipt]) -> dict[str, Any]:
    """The card."""
    card: dict[str, Any] = receipts[0]["result"]
    return card
