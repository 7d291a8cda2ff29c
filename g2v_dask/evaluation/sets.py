"""Gene sets of several files as rows of an embedding, for the tasks that ask about sets; means over sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from g2v_dask.analysis.genesets import read_gmt
from g2v_dask.evaluation.base import Subject

GO = "GO"
TOGETHER = "all"  # what figures of several collections together are on


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneSets:
    """Sets of one or several collections, in their order."""

    names: tuple[str, ...]
    collection: NDArray[np.str_]
    """(sets,) the file that each is from, without its ending; or ``GO``."""
    genes: tuple[tuple[str, ...], ...]
    """(sets,) the genes of each as its file lists them."""
    rows: Mapping[str, int]
    """Each gene to its row in the embedding, -1 if that does not have it."""

    def known(self, number: int, *, less: int = 0) -> NDArray[np.int64]:
        """The rows of a set, ascending, each once; without the last ``less`` genes that are listed."""
        genes = self.genes[number][: len(self.genes[number]) - less]
        return np.unique([row for row in map(self.rows.__getitem__, genes) if row >= 0]).astype(np.int64)

    def share(self, numbers: Sequence[int]) -> float:
        """The share of the genes of some sets that the embedding has."""
        genes = {gene for number in numbers for gene in self.genes[number]}
        return sum(self.rows[gene] >= 0 for gene in genes) / len(genes) if genes else 0.0

    def collections(self) -> dict[str, NDArray[np.bool_]]:
        """What figures are told of: each collection, and where there are several all of them; (sets,) which are in."""
        labels = tuple(dict.fromkeys(self.collection.tolist()))
        found = {label: self.collection == label for label in labels}
        return found if len(found) < 2 else {**found, TOGETHER: np.ones(len(self.names), dtype=np.bool_)}


@lru_cache(maxsize=2)
def read(subject: Subject, *, go: bool) -> GeneSets:
    """The sets of all GMT files that were given, and of the terms of GO if they are asked for; read once a process.

    Raises: InputError if a file cannot be read, or two sets have one name.
    """
    paths = subject.files.get("genesets", ())
    if len(paths) > 1:
        read_gmt(paths)  # two files must not hold one set
    found: dict[str, Mapping[str, tuple[str, ...]]] = {}
    for path in paths:
        found[_label(path, found)] = read_gmt([path])
    if go and subject.files.get("go"):
        found[GO] = subject.ontology.gene_sets(1, len(subject.table))
    genes = tuple(genes for sets in found.values() for genes in sets.values())
    every = list(dict.fromkeys(gene for some in genes for gene in some))
    return GeneSets(
        names=tuple(name for sets in found.values() for name in sets),
        collection=np.array([label for label, sets in found.items() for _ in sets], dtype=np.str_),
        genes=genes,
        rows=dict(zip(every, subject.find(every).tolist(), strict=True)),
    )


def _label(path: Path, taken: Mapping[str, object]) -> str:
    """A file's name without its endings; of two files of one name the second is told by a number."""
    label = path.name.removesuffix(".gz").removesuffix(".gmt")
    same = sum(label == one or one.startswith(f"{label} (") for one in taken)
    return f"{label} ({same + 1})" if same else label


def mean_interval(values: NDArray[np.float64], *, resamples: int, key: Sequence[int]) -> tuple[float, float]:
    """The 95 % interval of a mean over sets, by resampling the sets (percentiles).

    Memory: 16 bytes a set and resample.
    Parameters: values   (sets,) the figure of each set.
                key      seed.
    Returns:    NaN for fewer than two sets.
    Source:     Efron 1979.   Oracle: scipy.stats.bootstrap.
    """
    if len(values) < 2:
        return float("nan"), float("nan")
    random = np.random.default_rng(list(key))
    means = values[random.integers(0, len(values), (resamples, len(values)))].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
