"""An embedding beside its last version."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from g2v_dask import query
from g2v_dask.analysis import stability
from g2v_dask.errors import InputError, StoreError
from g2v_dask.query import Embedding
from g2v_dask.report.reprocess import Kept, Moved
from g2v_dask.store import Store


def compare(store: Store, held: Store, name: str, k: int) -> Kept:
    """What ``embeddings/<name>`` of ``held`` has in common with that of ``store``, over the genes of both.

    Where they cannot be compared, it says why.
    """
    new = query.load(held, held.get("embeddings", name))
    last = store.head("embeddings", name)
    if last is None:
        return Kept(
            embedding=name, names=new.names, k=k, first=True, why="the first version, nothing to compare it with"
        )
    try:
        old = query.load(store, store.get("embeddings", name))
        found = stability.compare({"last": (old.genes, old.vectors), "new": (new.genes, new.vectors)}, ks=(k,))
    except (InputError, StoreError) as error:
        return Kept(embedding=name, names=new.names, k=k, why=f"cannot be compared with the last version: {error}")
    before, now = (_among(one, found.genes) for one in (old, new))
    moved = tuple(
        Moved(gene=one.gene, overlap=one.overlaps[0], before=_near(before, one.gene, k), now=_near(now, one.gene, k))
        for one in found.least_stable()
    )
    return Kept(embedding=name, names=new.names, k=k, found=found, moved=moved)


def _among(embedding: Embedding, genes: NDArray[np.str_]) -> Embedding:
    """The embedding with these of its genes alone."""
    rows = [embedding.names.rows[gene] for gene in genes.tolist()]
    return Embedding(name=embedding.name, digest="", genes=genes, vectors=embedding.vectors[rows], card={})


def _near(embedding: Embedding, gene: str, k: int) -> tuple[str, ...]:
    return tuple(found.gene for found in embedding.similar(gene, k))
