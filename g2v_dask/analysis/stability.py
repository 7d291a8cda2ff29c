"""How alike embeddings of the same genes are: neighbours, shape, cosines.

Neighbours are those of ``query``: float32 products only propose genes, each proposed one gets its cosine in float64,
in multiples of 2^-40, and ties go by gene id. So no BLAS, block or thread can change an overlap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from threadpoolctl import threadpool_limits

from g2v_dask.errors import InputError, SpecError
from g2v_dask.kernels.differences import QUANTUM_BITS
from g2v_dask.search.space import Space, make, spread

KS = (10, 50)
SAMPLED_PAIRS = 1_000_000  # of genes, for the rank correlation
ROWS = 512  # of products held at once by a thread
GROUP = 32  # genes of which the best one stands for all in the search for the k-th best
LISTED = 20  # of the genes that are least stable

Vectors = tuple[NDArray[np.str_], NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How large a share of their k nearest neighbours genes keep from one embedding to another; over all genes."""

    k: int
    mean: float
    low: float
    """5 % quantile over genes."""
    high: float
    """95 % quantile over genes."""

    @property
    def range(self) -> str:
        """The two quantiles, in words."""
        return f"{self.low:.2f} to {self.high:.2f}"


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How alike two embeddings are; of all, each gene's overlap and the two last are means over pairs."""

    overlaps: tuple[Overlap, ...]
    procrustes: float
    """What rotation, shift and scale cannot take away of the difference: 0 (the same shape) to 1."""
    rank_correlation: float
    """Spearman's, of the cosines of the same pairs of genes."""

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        overlaps = {str(o.k): {"mean": o.mean, "q05": o.low, "q95": o.high} for o in self.overlaps}
        return {"overlap": overlaps, "procrustes": self.procrustes, "rank_correlation": self.rank_correlation}


@dataclass(frozen=True, kw_only=True)
class GeneOverlap:
    """One gene's overlaps, means over pairs of embeddings, in the order of ``ks``."""

    gene: str
    overlaps: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Stability:
    """What two or more embeddings have in common."""

    sizes: Mapping[str, int]
    """Genes of each embedding, by name."""
    ks: tuple[int, ...]
    """Numbers of neighbours, ascending."""
    genes: NDArray[np.str_]
    """(genes,) those compared: in all embeddings and nowhere zero; sorted."""
    zero: int
    """Shared genes that were left out: in an embedding their vector is zero, and has no direction."""
    sampled: int
    """Pairs of genes behind the rank correlation."""
    pairs: Mapping[tuple[str, str], Agreement]
    """Of each two embeddings, in the order in which they were given."""
    all: Agreement
    overlaps: NDArray[np.float64]
    """(ks, genes) each gene's overlap, mean over pairs of embeddings."""
    notes: tuple[str, ...] = ()

    @property
    def chance(self) -> tuple[float, ...]:
        """The overlap at each k of neighbours drawn at random."""
        return tuple(k / (len(self.genes) - 1) for k in self.ks)

    @property
    def lost(self) -> int:
        """Genes that keep none of their neighbours, at no k, in no pair."""
        return int(np.count_nonzero((self.overlaps == 0).all(axis=0)))

    def least_stable(self, count: int = LISTED) -> tuple[GeneOverlap, ...]:
        """Genes of the lowest overlap at the first k; ties by the next k, then by gene id. None that keep all."""
        moved = np.flatnonzero((self.overlaps < 1).any(axis=0))
        order = moved[np.lexsort(self.overlaps[::-1, moved])][:count]
        return tuple(GeneOverlap(gene=str(self.genes[g]), overlaps=tuple(self.overlaps[:, g].tolist())) for g in order)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "embeddings": dict(self.sizes),
            "genes": len(self.genes),
            "zero": self.zero,
            "chance": {str(k): c for k, c in zip(self.ks, self.chance, strict=True)},
            "pairs": [{"first": a, "second": b, **found.as_json()} for (a, b), found in self.pairs.items()],
            "all": self.all.as_json(),
            "sampled_pairs": self.sampled,
            "lost": self.lost,
            "least_stable": [
                {"gene": g.gene, "overlap": {str(k): o for k, o in zip(self.ks, g.overlaps, strict=True)}}
                for g in self.least_stable()
            ],
            "notes": list(self.notes),
        }


def compare(
    embeddings: Mapping[str, Vectors], *, ks: Sequence[int] = KS, seed: int = 1, threads: int | None = None
) -> Stability:
    """How alike embeddings are over the genes that all of them have.

    Memory: 8·components + 4·max(ks) bytes a gene and embedding, 8 MB an embedding for ranks, and 5·ROWS bytes a gene
    and thread.
    Parameters: embeddings   name to ids (genes,), no id twice, and vectors (genes, components), finite.
                ks           numbers of neighbours.
                seed         of the sample of gene pairs, where there are more than a million.
                threads      all cores where left out.
    Raises:     SpecError if there are fewer than two embeddings, or a k is under 1 or comes twice.
                InputError if they share too few genes for the largest k, or all cosines of one are equal.
    Source:     disparity of Gower 1975 (`scipy.spatial.procrustes`); Spearman 1904 (`scipy.stats.spearmanr`).
    """
    if len(embeddings) < 2:
        msg = f"a comparison takes at least two embeddings, got {', '.join(embeddings) or 'none'}"
        raise SpecError(msg)
    ks = ascending(ks)
    genes, rows, zero = _shared(embeddings)
    if len(genes) <= ks[-1]:
        sizes = ", ".join(f"{name} {len(ids):,}" for name, (ids, _) in embeddings.items())
        msg = (
            f"k must be less than the number of genes that all embeddings have with a vector that is not zero, "
            f"{len(genes):,} (of {sizes}); got k = {ks[-1]}: ask for fewer neighbours, or compare other embeddings"
        )
        raise InputError(msg)
    first, second = _sample(len(genes), seed)
    neighbours, ranks, shapes = {}, {}, {}
    for name, (ids, vectors) in embeddings.items():
        space = make(ids, vectors, rows[name], unit=True, threads=threads)
        cosines = _cosines(space, first, second)
        if cosines.min() == cosines.max():
            msg = f"all cosines of {name} are {cosines[0]:g}: no gene has nearest neighbours; compare other embeddings"
            raise InputError(msg)
        neighbours[name] = nearest(space, ks[-1])
        ranks[name] = rankdata(cosines)
        shapes[name] = _shape(space.vectors)
    correlations = np.atleast_2d(np.corrcoef(list(ranks.values())))
    names = list(embeddings)
    pairs, total = {}, np.zeros((len(ks), len(genes)))
    for i, j in combinations(range(len(names)), 2):
        a, b = names[i], names[j]
        shares = np.array([overlap(neighbours[a][:, :k], neighbours[b][:, :k]) for k in ks])
        total += shares
        pairs[a, b] = Agreement(
            overlaps=_summed_up(shares, ks),
            procrustes=disparity(shapes[a], shapes[b]),
            rank_correlation=float(correlations[i, j]),
        )
    overlaps = total / len(pairs)
    return Stability(
        sizes={name: len(ids) for name, (ids, _) in embeddings.items()},
        ks=ks,
        genes=genes,
        zero=zero,
        sampled=len(first),
        pairs=pairs,
        all=Agreement(
            overlaps=_summed_up(overlaps, ks),
            procrustes=float(np.mean([p.procrustes for p in pairs.values()])),
            rank_correlation=float(np.mean([p.rank_correlation for p in pairs.values()])),
        ),
        overlaps=overlaps,
    )


def ascending(ks: Sequence[int]) -> tuple[int, ...]:
    """The numbers of neighbours, ascending.

    Raises: SpecError if there is none, one is under 1, or one comes twice.
    """
    if not ks or min(ks) < 1 or len(set(ks)) < len(ks):
        msg = f"k must be one or more different numbers, each at least 1; got {', '.join(map(str, ks)) or 'none'}"
        raise SpecError(msg)
    return tuple(sorted(ks))


def _shared(embeddings: Mapping[str, Vectors]) -> tuple[NDArray[np.str_], dict[str, NDArray[np.int64]], int]:
    """The genes to compare, sorted; their rows in each embedding; how many were left out, being zero somewhere."""
    common: NDArray[np.str_] = reduce(np.intersect1d, [ids for ids, _ in embeddings.values()])
    rows, used = {}, np.ones(len(common), dtype=bool)
    for name, (ids, vectors) in embeddings.items():
        order = np.argsort(ids, kind="stable")
        rows[name] = order[np.searchsorted(ids, common, sorter=order)]
        used &= vectors[rows[name]].any(axis=1)
    return common[used], {name: found[used] for name, found in rows.items()}, int(np.count_nonzero(~used))


# -- neighbours ---------------------------------------------------------------------------------------------


def nearest(space: Space, k: int) -> NDArray[np.int32]:
    """The k nearest other genes of each gene by cosine, best first, ties by gene id; exact.

    Memory: 5·ROWS bytes a gene and thread, more where many cosines tie with the k-th best.
    Parameters: space   of unit vectors (`make` with unit); more than k genes.
    Returns:    (genes, k) positions.
    """
    out = np.empty((len(space), k), dtype=np.int32)
    starts = range(0, len(space), ROWS)

    def run(number: int) -> None:
        rows = slice(starts[number], min(starts[number] + ROWS, len(space)))
        products = space.unit[rows] @ space.unit.T
        products[np.arange(len(products)), np.arange(rows.start, rows.stop)] = -np.inf
        # a product is within e of its cosine: where k products reach a bar, the k best cosines reach it less e, and
        # their products reach it less 2 e
        bar = np.nextafter(_reached(products, k) - np.float32(2 * space.error), np.float32(-np.inf))
        row, other = np.nonzero(products >= bar[:, None])
        cosines = _cosines(space, row + rows.start, other)
        order = np.lexsort((other, -cosines, row))
        first = np.searchsorted(row, np.arange(len(products)))  # rows come in order, whatever lexsort does inside them
        out[rows] = other[order][first[:, None] + np.arange(k)]

    spread(run, range(len(starts)), space.threads)
    return out


def _reached(products: NDArray[np.float32], k: int) -> NDArray[np.float32]:
    """(rows,) what k products of a row reach: the k-th best of the best of groups, which is a tenth of the work."""
    groups = max(k + 1, products.shape[1] // GROUP)  # one more, since a gene's product with itself is -inf
    width = products.shape[1] // groups
    best = products[:, : width * groups].reshape(len(products), width, groups).max(axis=1)
    reached: NDArray[np.float32] = np.partition(best, -k, axis=1)[:, -k]
    return reached


def _cosines(space: Space, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
    """Cosines of pairs of positions, in multiples of 2^-40: equal ones are equal, whatever rounded them."""
    # of unit vectors: |x - y|² = 2 - 2 cos
    quantised: NDArray[np.float64] = np.ldexp(
        np.rint(np.ldexp(1 - space.squares(first, second) / 2, QUANTUM_BITS)), -QUANTUM_BITS
    )
    return quantised


def overlap(first: NDArray[np.int32], second: NDArray[np.int32]) -> NDArray[np.float64]:
    """(genes,) the share of a gene's k neighbours that both tables (genes, k) have.

    >>> overlap(np.array([[1, 2], [0, 2]]), np.array([[2, 3], [2, 0]])).tolist()
    [0.5, 1.0]
    """
    both = np.sort(np.concatenate([first, second], axis=1), axis=1)  # no gene comes twice in a row of one table
    shares: NDArray[np.float64] = (both[:, 1:] == both[:, :-1]).sum(axis=1) / first.shape[1]
    return shares


def _summed_up(shares: NDArray[np.float64], ks: tuple[int, ...]) -> tuple[Overlap, ...]:
    """Of (ks, genes)."""
    low, high = np.quantile(shares, (0.05, 0.95), axis=1)
    each = zip(ks, shares.mean(axis=1).tolist(), low.tolist(), high.tolist(), strict=True)
    return tuple(Overlap(k=k, mean=mean, low=five, high=ninety_five) for k, mean, five, ninety_five in each)


# -- shape and cosines --------------------------------------------------------------------------------------


def _shape(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """(genes, components) centred, and of Frobenius norm 1."""
    centred = vectors.astype(np.float64)
    centred -= centred.mean(axis=0)
    centred /= np.linalg.norm(centred)
    return centred


def disparity(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Procrustes residual of two shapes (genes, components): 0 to 1; components may be of unlike number.

    The best rotation leaves 1 - (Σ σ)², σ the singular values of AᵀB (Gower 1975). Zeros that pad the shorter vectors
    add none.
    """
    with threadpool_limits(limits=1, user_api="blas"):  # more threads give other bits
        singular = np.linalg.svd(first.T @ second, compute_uv=False)
    return float(np.clip(1 - singular.sum() ** 2, 0.0, 1.0))


def _sample(genes: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions of all pairs of genes, or of a million drawn by seed."""
    if genes * (genes - 1) // 2 <= SAMPLED_PAIRS:
        first, second = np.triu_indices(genes, 1)
        return first, second
    random = np.random.default_rng(seed)
    first = random.integers(0, genes, SAMPLED_PAIRS)
    return first, (first + random.integers(1, genes, SAMPLED_PAIRS)) % genes
