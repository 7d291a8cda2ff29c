"""Groups of genes by k-means on their vectors, and what describes a group: typical genes, biotypes.

Vectors are read in blocks of a fixed number of rows, from memory or from the disk, and every sum goes block by
block: so the same vectors and seed give the same groups, whatever machine and cluster.
"""

from __future__ import annotations

import functools
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import dask
import dask.array as da
import numpy as np
import pyarrow as pa
from dask_ml.cluster import KMeans as StreamedKMeans
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.cluster import KMeans

from g2v_dask import schema
from g2v_dask.errors import InputError
from g2v_dask.names import Names

IN_MEMORY_BYTES = 1 << 30  # of float32 vectors: at most so many are grouped in memory by scikit-learn
BLOCK_BYTES = 1 << 26  # of a block of vectors in float64
STARTS = 10  # of which the one of least inertia is kept
ROUNDS = 5  # of k-means||, each drawing about 2 k first centres: Bahmani et al. 2012, section 5
TYPICAL = 10  # genes that stand for a group
QUANTA = 2.0**40  # of a cosine: what differs by less is a tie

Vectors = NDArray[np.floating[Any]]
Prepare = Callable[[Vectors], NDArray[np.float32]]


class Rows(Protocol):
    """(genes, components) vectors that give themselves out by rows: a NumPy or a Zarr array."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: slice) -> Any: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Groups:
    """What k-means found."""

    group: NDArray[np.int32]
    """(genes,) from 1, the largest first, equal ones by their smallest gene id."""
    cosine: NDArray[np.float64]
    """(genes,) of each vector and the mean of its group; 0 where one of them is zero."""
    inertia: float
    """Sum of squared distances to the means."""
    method: str
    """``scikit-learn`` or ``dask-ml``."""

    @property
    def sizes(self) -> list[int]:
        """Genes of each group."""
        sizes: list[int] = np.bincount(self.group)[1:].tolist()
        return sizes


def method(genes: int, components: int) -> str:
    """Which library makes the groups: by the size of the vectors alone, since the two give other groups."""
    return "scikit-learn" if 4 * genes * components <= IN_MEMORY_BYTES else "dask-ml"


def memory_bytes(genes: int, components: int, k: int) -> int:
    """Peak of ``kmeans``.

    Always 200 bytes a gene (id, labels, cosine, and their sorted copies), 64·k·components (means, and centres of
    all rounds) and four blocks. In memory also 8·genes·components for the vectors, while they are put together, and
    4·genes·(k + 8) for distances. By dask-ml two blocks' distances to all centres that k-means|| has drawn.
    """
    rows = min(genes, _block(components))
    need = 200 * genes + 64 * k * components + 4 * 8 * rows * components
    if method(genes, components) == "scikit-learn":
        return need + 8 * genes * components + 4 * genes * (k + 8)
    return need + 2 * 8 * rows * (2 * ROUNDS + 1) * k


def kmeans(vectors: Rows, genes: NDArray[np.str_], *, k: int, unit: bool, seed: int) -> Groups:
    """Groups of near vectors, k of them.

    In memory by scikit-learn (k-means++, the best of 10 starts); larger ones by dask-ml (k-means||, one start),
    which reads them block by block in each iteration, in this thread.
    Parameters: vectors  (genes, components) float32.
                genes    (genes,) distinct ids.
                unit     whether vectors are first divided by their length; a zero stays.
    Raises: InputError if fewer than k groups hold a gene: fewer than k vectors differ.
    Source: Lloyd 1982; Arthur, Vassilvitskii 2007 (k-means++); Bahmani et al. 2012 (k-means||).
    """
    how = method(*vectors.shape)
    prepare = _prepare(vectors, unit=unit)
    with warnings.catch_warnings():
        # scikit-learn's words for what is an error below
        warnings.filterwarnings("ignore", message="Number of distinct clusters")
        labels = (_in_memory if how == "scikit-learn" else _streamed)(vectors, prepare, k, seed)
    found = len(np.unique(labels))
    if found < k:
        msg = (
            f"expected {k} groups, but k-means on {len(genes):,} genes makes {found} that hold a gene: "
            f"too few of their vectors differ; ask for at most {found} (-k)"
        )
        raise InputError(msg)
    group = _numbered(labels, genes)
    cosine, inertia = _fit(vectors, group, unit=unit)
    return Groups(group=group, cosine=cosine, inertia=inertia, method=how)


def _in_memory(vectors: Rows, prepare: Prepare, k: int, seed: int) -> NDArray[np.int32]:
    rows = np.concatenate([prepare(vectors[where]) for where in _blocks(*vectors.shape)])
    labels: NDArray[np.int32] = KMeans(k, n_init=STARTS, random_state=seed, copy_x=False).fit_predict(rows)
    return labels


def _streamed(vectors: Rows, prepare: Prepare, k: int, seed: int) -> NDArray[np.int32]:
    chunks = (_block(vectors.shape[1]), vectors.shape[1])
    stored = da.from_array(vectors, chunks=chunks, name="vectors")  # named: the bytes need not be hashed for a name
    rows = stored.map_blocks(prepare, dtype=np.float32, meta=np.empty((0, 0), dtype=np.float32))
    # dask-ml's oversampling is a number of centres a round, not a share of k; its tolerance is absolute, and means
    # what scikit-learn's does because the variance is 1
    model = StreamedKMeans(
        k, oversampling_factor=2 * k, init_max_iter=ROUNDS, n_init=STARTS, random_state=seed, tol=1e-4
    )
    # one block at a time, and no work for the cluster from a part of it. Where every vector is a centre already,
    # k-means|| divides 0 by 0, and draws none
    with dask.config.set(scheduler="synchronous"), np.errstate(invalid="ignore"):
        labels: NDArray[np.int32] = model.fit(rows).labels_.compute()
    return labels


# -- vectors --------------------------------------------------------------------------------------------------


def _block(components: int) -> int:
    """Rows of a block."""
    return max(1, BLOCK_BYTES // (8 * components))


def _blocks(genes: int, components: int) -> Iterator[slice]:
    rows = _block(components)
    return (slice(start, min(start + rows, genes)) for start in range(0, genes, rows))


def _wide(vectors: Vectors, *, unit: bool) -> NDArray[np.float64]:
    """A block in float64, of length 1 where that is wanted."""
    wide = vectors.astype(np.float64)
    if not unit:
        return wide
    norm = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    wide /= np.where(norm > 0, norm, 1.0)[:, None]
    return wide


def _prepare(vectors: Rows, *, unit: bool) -> Prepare:
    """What k-means is given of a block: centred and of mean variance 1, which changes no group.

    So neither a far mean nor the scale costs float32 digits, and tolerances mean the same for all vectors.
    """
    genes, components = vectors.shape
    mean = np.zeros(components)
    for where in _blocks(genes, components):
        mean += _wide(vectors[where], unit=unit).sum(axis=0) / genes
    square = 0.0
    for where in _blocks(genes, components):
        square += float(np.square(_wide(vectors[where], unit=unit) - mean).sum())
    deviation = np.sqrt(square / (genes * components))
    return functools.partial(_prepared, unit=unit, mean=mean, deviation=deviation if deviation > 0 else 1.0)


def _prepared(vectors: Vectors, *, unit: bool, mean: NDArray[np.float64], deviation: float) -> NDArray[np.float32]:
    prepared: NDArray[np.float32] = ((_wide(vectors, unit=unit) - mean) / deviation).astype(np.float32)
    return prepared


def _numbered(labels: NDArray[np.integer[Any]], genes: NDArray[np.str_]) -> NDArray[np.int32]:
    """Labels as numbers from 1: by size, the largest first, then by the smallest gene id."""
    order = np.argsort(genes)
    _, first, inverse, sizes = np.unique(labels[order], return_index=True, return_inverse=True, return_counts=True)
    number = np.empty(len(sizes), dtype=np.int32)
    number[np.lexsort((first, -sizes))] = np.arange(1, len(sizes) + 1)
    group = np.empty(len(genes), dtype=np.int32)
    group[order] = number[inverse]
    return group


def _fit(vectors: Rows, group: NDArray[np.int32], *, unit: bool) -> tuple[NDArray[np.float64], float]:
    """(genes,) cosines of vectors and their group's mean; the inertia."""
    genes, components = vectors.shape
    sizes = np.bincount(group)[1:]
    sums = np.zeros((len(sizes), components))
    for where in _blocks(genes, components):
        labels = group[where] - 1
        members = csr_array((np.ones(len(labels)), (labels, np.arange(len(labels)))), shape=(len(sizes), len(labels)))
        sums += np.asarray(members @ _wide(vectors[where], unit=unit))
    means = sums / sizes[:, None]
    cosine, inertia = np.zeros(genes), 0.0
    for where in _blocks(genes, components):
        block, centre = _wide(vectors[where], unit=unit), means[group[where] - 1]
        scale = np.sqrt(np.einsum("ij,ij->i", block, block) * np.einsum("ij,ij->i", centre, centre))
        dot = np.einsum("ij,ij->i", block, centre)
        np.divide(dot, scale, out=cosine[where], where=scale > 0)
        inertia += float(np.square(block - centre).sum())
    return np.rint(np.clip(cosine, -1.0, 1.0) * QUANTA) / QUANTA + 0.0, inertia  # + 0.0: no -0.0


# -- stored groups --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Members:
    """Stored groups: a row a gene; by group, then cosine descending, then gene id."""

    genes: NDArray[np.str_]
    group: NDArray[np.int32]
    cosine: NDArray[np.float64]


def table(genes: NDArray[np.str_], found: Groups) -> pa.Table:
    """schema.GROUP_MEMBERS of what was found."""
    order = np.lexsort((genes, -found.cosine, found.group))
    columns = [genes[order].tolist(), found.group[order], found.cosine[order]]
    return pa.table(dict(zip(schema.GROUP_MEMBERS.names, columns, strict=True)), schema=schema.GROUP_MEMBERS)


def members(found: pa.Table) -> Members:
    """The groups in a table (schema.GROUP_MEMBERS)."""
    return Members(
        genes=np.array(found["gene_id"].to_pylist(), dtype=np.str_),
        group=found["group"].to_numpy(),
        cosine=found["cosine"].to_numpy(),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """One group."""

    number: int
    genes: tuple[str, ...]
    """The most typical first."""
    cosine: tuple[float, ...]
    """Of each gene and the group's mean."""
    biotypes: tuple[tuple[str, int], ...]
    """Each biotype and its genes, the most common first; an empty text for what is no known gene."""

    @property
    def typical(self) -> tuple[str, ...]:
        """The genes nearest to its mean, by cosine."""
        return self.genes[:TYPICAL]


def groups(found: Members, names: Names) -> list[Group]:
    """The groups one by one, in the order of their numbers."""
    ends = np.flatnonzero(np.diff(found.group)) + 1
    made = []
    for rows in np.split(np.arange(len(found.group)), ends):
        genes = found.genes[rows].tolist()
        counts = Counter(names.biotype(gene) for gene in genes)
        made.append(
            Group(
                number=int(found.group[rows[0]]),
                genes=tuple(genes),
                cosine=tuple(found.cosine[rows].tolist()),
                biotypes=tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
            )
        )
    return made
