"""The part of a list of pairs that an embedding knows, as published and with matched negatives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from g2v_dask.evaluation import degrees, matched, pairlists
from g2v_dask.evaluation.base import Subject
from g2v_dask.evaluation.matched import Matched
from g2v_dask.evaluation.pairlists import SPLITS, PairList, Split

PUBLISHED, MATCHED = "published", "matched"

Splits = Mapping[str, Split]


@dataclass(frozen=True, kw_only=True, eq=False)
class Known:
    """Genes that the embedding has, and the pairs of two of them. Positions in pairs are in these genes."""

    listed: PairList
    """All that was published; its positions are in its own genes."""
    genes: NDArray[np.str_]
    """(genes,) symbols, sorted."""
    words: tuple[str, ...]
    """(genes,) what the embedding calls them."""
    places: NDArray[np.int64]
    """(genes,) positions in the list's genes."""
    vectors: NDArray[np.float32]
    """(genes, components)"""
    splits: Splits

    @property
    def coverage(self) -> float:
        """The share of the list's genes that the embedding has."""
        genes = np.unique(np.concatenate([split.genes for split in self.listed.splits.values()]))
        return len(np.intersect1d(genes, self.places)) / len(genes)


@lru_cache(maxsize=2)
def read(subject: Subject) -> Known:
    """The list that was given; read once a process.

    Raises: InputError as ``pairlists.read``.
    """
    listed = pairlists.read(subject.files["pairs"], subject.table)
    found = subject.find(listed.genes.tolist())
    places = np.flatnonzero(found >= 0)
    rows = found[places]
    local = np.full(len(found), -1, dtype=np.int32)
    local[places] = np.arange(len(places), dtype=np.int32)
    splits = {}
    for name, split in listed.splits.items():
        pairs = local[split.pairs]
        kept = (pairs >= 0).all(axis=1)
        splits[name] = Split(pairs=pairs[kept], labels=split.labels[kept], lines=split.lines[kept])
    return Known(
        listed=listed,
        genes=listed.genes[places],
        words=tuple(subject.genes[rows].tolist()),
        places=places,
        vectors=np.ascontiguousarray(subject.vectors[rows]),
        splits=splits,
    )


@lru_cache(maxsize=2)
def terms(subject: Subject) -> Mapping[str, frozenset[str]]:
    """Gene symbol to the terms that it is annotated with, by any evidence; read once a process.

    Raises: InputError as ``Ontology.read``.
    """
    return subject.ontology.terms_of()


@lru_cache(maxsize=2)
def with_matched(subject: Subject, seed: int) -> Mapping[str, Matched]:
    """Each split with matched negatives; drawn once a process, by seed, the same wherever it is drawn.

    Raises: InputError as ``matched.draw``.
    """
    known, annotated = read(subject), terms(subject)
    number = {term: i for i, term in enumerate(sorted(frozenset().union(*annotated.values())))}
    carried = [[number[term] for term in sorted(annotated.get(gene, ()))] for gene in known.genes.tolist()]
    degree = degrees.positives_of_genes(known.listed)[known.places]
    return {
        name: matched.draw(name, split, degree=degree, terms=carried, seed=(seed, SPLITS.index(name)))
        for name, split in known.splits.items()
    }


def splits_of(subject: Subject, listed: str, seed: int) -> Splits:
    """The splits of the published list, or with matched negatives."""
    if listed == PUBLISHED:
        return read(subject).splits
    return {name: one.split for name, one in with_matched(subject, seed).items()}
