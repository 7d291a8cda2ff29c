"""Questions about one embedding, answered in process and at once: no cluster, read only.

What is imported here is what ``g2v similar`` waits for: nothing of pandas, xarray or Dask. A test holds it.

**One answer whatever the way.** A search, by FAISS shards or by brute force, only proposes rows: all whose
score reaches the k-th best one less twice the bound on the score's error. Each of them then gets its cosine
in float64, correctly rounded sums of exact products, and the order (cosine descending, gene id) is made of
those. So neither FAISS, its shards, nor the BLAS can change an answer.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import zarr
from numpy.typing import NDArray

from g2v_dask import arrays, exchange
from g2v_dask.answers import Analogies, Solutions
from g2v_dask.errors import InputError, SpecError, StoreError
from g2v_dask.names import Names
from g2v_dask.questions import Filters, PairSpec
from g2v_dask.store import Artifact, Store

QUANTA = 2.0**40  # of a cosine: what differs by less is a tie
ROWS = 8192  # of float64 vectors held at once by brute force
_MAPPED = getattr(faiss, "IO_FLAG_MMAP_IFC", faiss.IO_FLAG_MMAP)  # flat shards are mapped from FAISS 1.11 on


@dataclass(frozen=True, kw_only=True)
class Neighbour:
    """One gene near another."""

    gene: str
    cosine: float  # of the vectors as stored, in float64
    description: str = ""  # the gene's name in words; empty for a word that is no known gene
    ensembl: str = ""  # the gene's (first) Ensembl id; empty likewise

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding:
    """Genes and their vectors, in memory.

    >>> import numpy as np
    >>> vectors = np.array([[1, 0], [2, 0], [0, 1], [1, 1]], dtype=np.float32)
    >>> e = Embedding(name="tiny", digest="", genes=np.array(["A", "B", "C", "D"]), vectors=vectors, card={})
    >>> [(n.gene, round(n.cosine, 3)) for n in e.similar("A")]
    [('B', 1.0), ('D', 0.707), ('C', 0.0)]
    """

    name: str
    digest: str
    genes: NDArray[np.str_] = field(repr=False)
    vectors: NDArray[np.float32] = field(repr=False)
    card: Mapping[str, Any] = field(repr=False)
    shards: tuple[Any, ...] = field(default=(), repr=False)  # FAISS, of unit rows in the order of the genes
    norms: tuple[NDArray[np.float32], ...] = field(default=(), repr=False)  # 1 / length of all differences, in bands
    descriptions: Mapping[str, str] | None = field(default=None, repr=False)  # of its own, by gene

    def __len__(self) -> int:
        return len(self.genes)

    @cached_property
    def names(self) -> Names:
        """Its genes by name."""
        return Names(self.genes, self.descriptions)

    def resolve(self, gene: str) -> str:
        """The gene of this embedding that a symbol, Ensembl id, Entrez id or alias names, in any case.

        Raises: InputError for a name that is not here, with the closest ones, or that names several.
        """
        return self.names.resolve(gene)

    def similar(self, gene: str, k: int = 10, *, filters: Filters | None = None) -> list[Neighbour]:
        """The k nearest other genes by cosine, best first, ties by gene id; all of them if k is larger.

        A gene whose vector is zero has cosine 0 to every other. Of the filters, a ceiling drops neighbours over
        it, and a least difference those that are too near.
        Raises: InputError for an unknown gene, or one whose vector is zero. SpecError for k < 1.
        """
        if k < 1:
            msg = f"k must be at least 1, got {k}"
            raise SpecError(msg)
        row = self.names.rows[self.resolve(gene)]
        query = self.vectors[row].astype(np.float64)
        if not query.any():
            msg = f"the vector of {gene} in {self.name} is zero: it has no direction and no neighbours"
            raise InputError(msg)
        if filters is not None and filters.given():
            found = _search().neighbours(self, row, k, filters)
            return [self._neighbour(str(self.genes[r]), value) for r, value in found]
        # one more than k, since the gene itself is among them (or ties with k + 1 others)
        proposed = self._propose(query, min(k + 1, len(self)))
        scored = [(-cosine(query, self.vectors[r]), str(self.genes[r])) for r in proposed if r != row]
        return [self._neighbour(name, -negative) for negative, name in sorted(scored)[:k]]

    def _neighbour(self, gene: str, value: float) -> Neighbour:
        about = self.names.about(gene)
        return Neighbour(
            gene=gene,
            cosine=value + 0.0,  # no -0.0
            description=about.description,
            ensembl=about.ensembl,
        )

    def pair(
        self, a: str, b: str, k: int = 10, *, metric: str = "cosine", sums: bool = False, filters: Filters | None = None
    ) -> Analogies:
        """a − b ≈ c − d: the k pairs (c, d) whose difference is most like a − b, over all ordered pairs; exact.

        Parameters: metric   ``cosine``, ``inner``, or ``l2`` (the distance of the two differences; small is good).
                    sums     a + b ≈ c + d instead, over all pairs.
        Raises: InputError for an unknown gene, a = b, duplicates, fewer than four genes; SpecError for k < 1.
        """
        return self.pairs([(a, b)], k, metric=metric, sums=sums, filters=filters)[0]

    def pairs(
        self,
        questions: Sequence[tuple[str, str]],
        k: int = 10,
        *,
        metric: str = "cosine",
        sums: bool = False,
        filters: Filters | None = None,
    ) -> list[Analogies]:
        """``pair`` for many pairs, in one pass over all differences."""
        spec = PairSpec(**{**vars(filters or Filters()), "metric": metric, "sums": sums})
        return _search().ask_pairs(self, questions, k, spec)  # type: ignore[no-any-return]

    def gene(self, a: str, k: int = 10, *, filters: Filters | None = None) -> Analogies:
        """The k best a − b ≈ c − d over every b, c and d; exact.

        Raises: InputError for an unknown gene, or fewer than four genes; SpecError for k < 1.
        """
        return _search().gene(self, a, k, filters or Filters())  # type: ignore[no-any-return]

    def solve(
        self, a: str, b: str, c: str, k: int = 10, *, include_inputs: bool = False, filters: Filters | None = None
    ) -> Solutions:
        """A − B = ? − C by 3CosAdd, 3CosMul and PairDirection, on unit vectors.

        Raises: InputError for an unknown gene, or one that is given twice; SpecError for k < 1.
        """
        found: Solutions = _search().solve(self, a, b, c, k, filters or Filters(), include_inputs=include_inputs)
        return found

    @cached_property
    def prepared(self) -> dict[Any, Any]:
        """Spaces of differences that were made for earlier questions."""
        return {}

    def _propose(self, query: NDArray[np.float64], k: int) -> list[int]:
        """Rows that hold the k best, and all that tie with the last of them."""
        found: NDArray[np.int64] = (
            _by_shards(self.shards, query, k) if self.shards else _by_brute_force(self.vectors, query, k)
        )
        rows: list[int] = found.tolist()
        return rows

    def to_keyedvectors(self) -> Any:
        """A gensim KeyedVectors of the same genes in the same order."""
        return exchange.to_keyedvectors(self)

    def to_anndata(self) -> Any:
        """An AnnData object: genes as observations, vectors as X, the card as JSON in ``uns["card"]``."""
        return exchange.to_anndata(self)


def _search() -> Any:
    """The search of differences; it compiles with Numba, whose import takes longer than ``similar`` has."""
    return importlib.import_module("g2v_dask.analogy")


def open_embedding(store: Store, name: str | None = None) -> Embedding:
    """The embedding of that name, or the only one there is; with its FAISS shards if its index is fresh."""
    return load(store, store.only("embeddings", name))


def load(store: Store, artifact: Artifact) -> Embedding:
    """An embedding in memory, from its artifact."""
    root = arrays.open_group(artifact.folder, "embeddings")
    card: Any = root.attrs["card"]
    genes, descriptions = _words(root)
    index = _index_of(store, artifact)
    return Embedding(
        name=artifact.name,
        digest=artifact.digest,
        genes=genes,
        vectors=arrays.values(root, "vector"),
        card=dict(card),
        shards=() if index is None else _open_shards(index),
        norms=() if index is None else _open_norms(index),
        descriptions=descriptions,
    )


def names(artifact: Artifact) -> Names:
    """The words of an embedding; its vectors stay on the disk, where they may be larger than the memory."""
    return Names(*_words(arrays.open_group(artifact.folder, "embeddings")))


def _words(root: zarr.Group) -> tuple[NDArray[np.str_], dict[str, str] | None]:
    """An embedding's genes, and its own descriptions of them if it has any."""
    genes = arrays.strings(root, "gene_id")
    if "description" not in root:
        return genes, None
    return genes, dict(zip(genes.tolist(), arrays.values(root, "description").tolist(), strict=True))


def _index_of(store: Store, artifact: Artifact) -> Artifact | None:
    """The current index, if it is of this very embedding."""
    digest = store.head("index", artifact.name)
    index = None if digest is None else store.committed("index", artifact.name, digest)
    same = index is not None and index.manifest["inputs"].get(artifact.key) == artifact.digest
    return index if same else None


def _open_shards(index: Artifact) -> tuple[Any, ...]:
    """The shards of an index."""
    shards = tuple(_open_shard(index.folder.fetch(n)) for n in sorted(index.names) if n.endswith(".faiss"))
    rows = sum(shard.ntotal for shard in shards)
    if rows != index.facts["genes"]:
        msg = (
            f"{index.key}: its shards hold {rows} vectors, its manifest says {index.facts['genes']}; "
            f"run 'g2v rm {index.key}' and 'g2v index' again"
        )
        raise StoreError(msg)
    return shards


def _open_norms(index: Artifact) -> tuple[NDArray[np.float32], ...]:
    """The inverse lengths of all differences, band by band, mapped and not read; none if the index has none."""
    bands = []
    for name in sorted(n for n in index.names if n.endswith(".npy")):
        try:
            file = index.folder.fetch(name)
            # copy on write: the kernels are compiled for arrays that may be written, and these never are
            bands.append(np.load(file, mmap_mode="c", allow_pickle=False))
        except (OSError, ValueError) as error:
            msg = f"{(index.folder / name).url} is missing or damaged ({error}); make it again: 'g2v index --norms'"
            raise StoreError(msg) from error
    return tuple(bands)


def _open_shard(file: Path) -> Any:
    try:
        return faiss.read_index(str(file), _MAPPED)
    except RuntimeError as error:
        msg = f"{file} is missing or damaged ({error}); run 'g2v rm' on this index and 'g2v index' again"
        raise StoreError(msg) from error


def cosine(a: NDArray[np.floating[Any]], b: NDArray[np.floating[Any]]) -> float:
    """The cosine of two float32 vectors, in float64; 0 if one is zero.

    Products of float32 numbers are exact in float64 and fsum rounds once, so the sum has no order. The cosine is
    rounded to a multiple of 2^-40: 1 / √2 and 3 / √18 are equal then, as they should be, and equal vectors have
    a cosine of exactly 1.
    """
    x, y = a.astype(np.float64), b.astype(np.float64)
    scale = math.sqrt(math.fsum(x * x) * math.fsum(y * y))
    value = 0.0 if scale == 0 else max(-1.0, min(1.0, math.fsum(x * y) / scale))
    return round(value * QUANTA) / QUANTA


def slack(components: int, precision: type[np.floating[Any]]) -> float:
    """Bounds the error of a dot of two unit vectors that were rounded to this precision.

    Each rounding of a unit vector (its norm, taken in this precision or better, and the division) moves the
    dot by at most (d / 2 + 2)u to first order, the dot itself by d·u (Higham 2002, section 3.1, any order of
    summation): 2(d / 2 + 2)u + d·u = (2d + 4)u. The 8 pays for the higher orders, the last term for rounding
    to a quantum.
    """
    return (2 * components + 8) * float(np.finfo(precision).eps) / 2 + 1 / QUANTA


def _by_brute_force(vectors: NDArray[np.float32], query: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Rows by float64 scores. Memory: 8·rows for the scores, and a block of 8,192 vectors in float64."""
    scores = np.concatenate(list(_scores(vectors, query / np.linalg.norm(query))))
    kth = np.partition(scores, len(scores) - k)[len(scores) - k]
    return np.flatnonzero(scores >= kth - 2 * slack(len(query), np.float64))


def _scores(vectors: NDArray[np.float32], unit: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(vectors), ROWS):
        block = vectors[start : start + ROWS].astype(np.float64)
        norms = np.sqrt(np.einsum("ij,ij->i", block, block))
        yield block @ unit / np.where(norms > 0, norms, 1.0)


def _by_shards(shards: tuple[Any, ...], query: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Rows by FAISS's float32 scores: the k best of all shards set the bar, then all over it are taken."""
    unit = (query / np.linalg.norm(query)).astype(np.float32)[None, :]
    best = np.concatenate([shard.search(unit, min(k, shard.ntotal))[0][0] for shard in shards])
    kth = np.partition(best, len(best) - k)[len(best) - k]
    # FAISS takes what is strictly over a float32: the next one below
    bar = np.nextafter(np.float32(float(kth) - 2 * slack(unit.shape[1], np.float32)), np.float32(-2))
    found, first = [], 0
    for shard in shards:
        found.append(shard.range_search(unit, float(bar))[2].astype(np.int64) + first)
        first += shard.ntotal
    return np.concatenate(found)
