"""What a store knows of an embedding's genes besides their vectors: degree, expression, counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2v_dask import arrays, tiles
from g2v_dask.evaluation.base import Dataset
from g2v_dask.folders import Folder
from g2v_dask.store import Artifact, Store


@dataclass(frozen=True)
class Sources:
    """Where it lies; an ``evaluation.base.Background``."""

    cooccurrence: Folder | None
    members: tuple[tuple[str, Folder], ...]
    """Datasets whose expression the embedding learned from."""
    counted: tuple[tuple[str, Folder], ...]
    """Datasets with read counts."""

    def degree(self) -> Mapping[str, float]:
        """Sums of the rows of the co-occurrence, without the diagonal."""
        return self._degree

    @cached_property
    def _degree(self) -> dict[str, float]:
        if self.cooccurrence is None:
            return {}
        matrix = arrays.Cooccurrence(self.cooccurrence)
        size = len(matrix.genes)
        sums = np.zeros(size)
        for row, col in tiles.blocks(size, matrix.tile):
            block = matrix.read(row, col).astype(np.float64)
            first, second = tiles.span(size, matrix.tile, row), tiles.span(size, matrix.tile, col)
            if row == col:
                np.fill_diagonal(block, 0)
            else:
                sums[second] += block.sum(axis=0)
            sums[first] += block.sum(axis=1)
        return dict(zip(matrix.genes.tolist(), sums.tolist(), strict=True))

    def moments(self) -> Mapping[str, tuple[float, float]]:
        """Mean and variance over all samples of all members that have the gene."""
        return self._moments

    @cached_property
    def _moments(self) -> dict[str, tuple[float, float]]:
        sums: dict[str, list[float]] = {}
        for genes, expression in self.expression():
            for gene, total, squares in zip(
                genes.tolist(),
                expression.sum(axis=0, dtype=np.float64).tolist(),
                np.square(expression, dtype=np.float64).sum(axis=0).tolist(),
                strict=True,
            ):
                held = sums.setdefault(gene, [0.0, 0.0, 0.0])
                held[0] += len(expression)
                held[1] += total
                held[2] += squares
        return {
            gene: (total / n, max(0.0, squares / n - (total / n) ** 2)) for gene, (n, total, squares) in sums.items()
        }

    def expression(self) -> Iterator[tuple[NDArray[np.str_], NDArray[np.float32]]]:
        """One dataset after another."""
        for _, folder in self.members:
            root = arrays.open_group(folder, "expression")
            yield arrays.strings(root, "gene_id"), arrays.values(root, "expression")

    def measured(self) -> Mapping[str, tuple[int, NDArray[np.str_]]]:
        """From the shapes and the gene ids alone."""
        found = {}
        for name, folder in self.counted:
            root: Any = arrays.open_group(folder, "expression")
            found[name] = (int(root["counts"].shape[0]), arrays.strings(root, "gene_id"))
        return found

    def counts(self) -> Iterator[Dataset]:
        """One dataset after another."""
        for name, folder in self.counted:
            root = arrays.open_group(folder, "expression")
            counts = arrays.values(root, "counts").astype(np.float64)
            yield Dataset(name=name, genes=arrays.strings(root, "gene_id"), counts=counts)


def sources(store: Store, embedding: Artifact, counted: list[Artifact]) -> tuple[Sources, dict[str, str]]:
    """What an embedding was made of, as far as it is still there, and the digests of that.

    Of one that several others were combined to: what any of those learned from; of co-occurrences the first.
    """
    inputs = {a.key: a.digest for a in counted}
    reached = list(made_of(store, embedding))
    matrix = next((a for a in reached if a.kind == "cooccurrence"), None)
    members = {a.name: a for a in reached if a.kind == "expression"}
    if matrix is not None:
        inputs |= {matrix.key: matrix.digest}
    inputs |= {a.key: a.digest for a in members.values()}
    found = Sources(
        cooccurrence=None if matrix is None else matrix.folder,
        members=tuple((name, members[name].folder) for name in sorted(members)),
        counted=tuple((a.name, a.folder) for a in counted),
    )
    return found, inputs


def made_of(store: Store, artifact: Artifact) -> Iterator[Artifact]:
    """What it was made from, what that was made from, and so on; what is reached in two ways may come twice."""
    for source in _inputs(store, artifact):
        yield source
        yield from made_of(store, source)


def _inputs(store: Store, artifact: Artifact) -> list[Artifact]:
    """The artifacts that one was made from, if they are still there and whole."""
    named = ((*key.split("/", 1), digest) for key, digest in artifact.manifest["inputs"].items() if "/" in key)
    found = (store.committed(kind, name, digest) for kind, name, digest in named)
    return [a for a in found if a is not None and a.damage() is None]
