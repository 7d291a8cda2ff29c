"""Naive answers in float64 that the kernels are compared with. Clear, slow, and shared with no kernel."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


def correlations(expression: NDArray[np.float32]) -> NDArray[np.float64]:
    """(genes, genes) Pearson r, each a correctly rounded sum."""
    columns = expression.astype(np.float64).T
    genes, samples = columns.shape
    deviations = [column - math.fsum(column) / samples for column in columns]
    lengths = [math.sqrt(math.fsum(d * d)) for d in deviations]
    r = np.ones((genes, genes))
    for a in range(genes):
        for b in range(genes):
            r[a, b] = math.fsum(deviations[a] * deviations[b]) / (lengths[a] * lengths[b])
    return r


def correlated_pairs(expression: NDArray[np.float32], threshold: float) -> dict[tuple[int, int], float]:
    """Every pair (a, b), a < b, with r >= threshold, and its r."""
    r = correlations(expression)
    genes = len(r)
    return {(a, b): float(r[a, b]) for a in range(genes) for b in range(a + 1, genes) if r[a, b] >= threshold}


def top_k_pairs(expression: NDArray[np.float32], k: int, rule: str) -> dict[tuple[int, int], float]:
    """Pairs that either ("union") or each ("mutual") of two genes has among its k of largest r.

    r within 1e-12 are equal, and of equals the smaller gene comes first.
    """
    r = correlations(expression).round(12)
    genes = len(r)
    lists = []
    for a in range(genes):
        others = sorted((b for b in range(genes) if b != a), key=lambda b: (-r[a, b], b))
        lists.append(set(others[:k]))
    found = {}
    for a in range(genes):
        for b in range(a + 1, genes):
            listed = (b in lists[a]) + (a in lists[b])
            if listed == 2 or (listed == 1 and rule == "union"):
                found[a, b] = float(r[a, b])
    return found


# -- differences --------------------------------------------------------------------------------------------
# Genes are positions in the order of their ids; x (genes, components) in float64, rows normalised if that is asked.

NEAR = 2.0**-20  # a difference shorter than this share of the longer of its vectors is one of duplicates
QUANTA = 2.0**40  # scores that round to the same multiple of 2^-40 are ties


@dataclass(frozen=True, kw_only=True)
class Every:
    """Every answer there is, in final order: score descending, then genes."""

    scores: NDArray[np.float64]
    genes: NDArray[np.int64]

    @classmethod
    def of(cls, scores: NDArray[np.float64], genes: NDArray[np.int64], step: float = 1 / QUANTA) -> Every:
        """Sorts them; those that round to the same multiple of `step` are ties."""
        order = np.lexsort((*genes.T[::-1], -np.rint(scores / step)))
        return cls(scores=scores[order], genes=genes[order])

    def few(self, k: int, limit: int | None = None, free: int = 0) -> Every:
        """The first k with no gene in more than `limit`, but for the first `free` of an answer."""
        if limit is None:
            return Every(scores=self.scores[:k], genes=self.genes[:k])
        uses, chosen = Counter[int](), []
        for place, genes in enumerate(self.genes[:, free:].tolist()):
            if len(chosen) < k and all(uses[g] < limit for g in genes):
                uses.update(genes)
                chosen.append(place)
        return Every(scores=self.scores[chosen], genes=self.genes[chosen])


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rows of length 1."""
    x = vectors.astype(np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def cosines(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """(rows of x, rows of y), as ceilings see them; with a vector of zeros 0."""
    lengths = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(y, axis=1)
    values = np.einsum("id,jd->ij", x, y) / np.where(lengths > 0, lengths, 1)
    return np.rint(values * QUANTA) / QUANTA


def quantile(x: NDArray[np.float64], share: float | None, *, sums: bool = False) -> float:
    """The length that this share of all differences is shorter than; lengths that equal it count."""
    if share is None:
        return 0.0
    first, second = np.triu_indices(len(x), 1)
    gaps = x[first] + x[second] if sums else x[first] - x[second]
    return float(np.quantile(np.linalg.norm(gaps, axis=1), share, method="lower")) * (1 - 1e-12)


def differences(
    x: NDArray[np.float64], shortest: float = 0.0, *, sums: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """All differences that count, and their (c, d), in both directions; of sums c < d."""
    n = len(x)
    c, d = np.triu_indices(n, 1) if sums else np.nonzero(~np.eye(n, dtype=bool))
    gaps = x[c] + x[d] if sums else x[c] - x[d]
    size, own = np.linalg.norm(gaps, axis=1), np.linalg.norm(x, axis=1)
    keep = (size > NEAR * np.maximum(own[c], own[d])) & (size >= shortest)
    return gaps[keep], np.stack([c, d], axis=1)[keep]


def quantum(asked: NDArray[np.float64], metric: str = "cosine") -> float:
    """What scores are multiples of: 2^-40 of 1, or of the power of two over |asked|^2 or |asked|."""
    if metric == "cosine":
        return 1 / QUANTA
    size = float(asked @ asked)
    return math.ldexp(1.0, math.frexp(size if metric == "inner" else math.sqrt(size))[1] - 40)


def pairs(
    x: NDArray[np.float64],
    ends: NDArray[np.float64],
    taken: list[int],
    *,
    metric: str = "cosine",
    sums: bool = False,
    ceiling: float | None = None,
    shortest: float = 0.0,
) -> Every:
    """Every (c, d) for a - b, where `ends` are a and b and `taken` their places, if they have some."""
    asked = ends[0] + ends[1] if sums else ends[0] - ends[1]
    gaps, genes = differences(x, shortest, sums=sums)
    keep = ~np.isin(genes, taken).any(axis=1)
    if ceiling is not None:
        over = cosines(ends, x) > ceiling
        keep &= ~(over[0, genes[:, 0]] | over[1, genes[:, 1]])
        if sums:
            keep &= ~(over[0, genes[:, 1]] | over[1, genes[:, 0]])
    gaps, genes = gaps[keep], genes[keep]
    step = quantum(asked, metric)
    if metric == "l2":
        return Every.of(-np.linalg.norm(gaps - asked, axis=1), genes, step)
    inner = gaps @ asked
    if metric == "inner":
        return Every.of(inner, genes, step)
    return Every.of(inner / (np.linalg.norm(gaps, axis=1) * np.linalg.norm(asked)), genes, step)


def analogies(
    x: NDArray[np.float64], *, a: int | None = None, ceiling: float | None = None, shortest: float = 0.0
) -> Every:
    """Every a - b ≈ c - d of one gene a, or of all, then each once: a is the smallest of its genes."""
    gaps, genes = differences(x, shortest)
    straight = gaps / np.linalg.norm(gaps, axis=1, keepdims=True)
    over = cosines(x, x) > (2 if ceiling is None else ceiling)
    scores, found = [], []
    for row, (one, b) in enumerate(genes.tolist()):
        if a is None and one > b or a is not None and one != a:
            continue
        c, d = genes.T
        keep = (c != one) & (c != b) & (d != one) & (d != b) & ~over[one, c] & ~over[b, d]
        if a is None:
            keep &= (c > one) & (d > one)
        scores.append(straight[keep] @ straight[row])
        found.append(np.column_stack([np.full(keep.sum(), one), np.full(keep.sum(), b), c[keep], d[keep]]))
    if not found:
        return Every(scores=np.empty(0), genes=np.empty((0, 4), dtype=np.int64))
    return Every.of(np.concatenate(scores), np.concatenate(found))


def near_pairs(x: NDArray[np.float64], *, ceiling: float | None = None, shortest: float = 0.0) -> Every:
    """Every pair of unit vectors by its cosine."""
    first, second = np.triu_indices(len(x), 1)
    values = cosines(x, x)[first, second]
    keep = (values <= (2 if ceiling is None else ceiling)) & (np.linalg.norm(x[first] - x[second], axis=1) >= shortest)
    return Every.of(values[keep], np.stack([first, second], axis=1)[keep])


def solutions(x: NDArray[np.float64], asked: tuple[int, int, int]) -> dict[str, NDArray[np.float64]]:
    """(genes,) scores of every gene as ? in A - B = ? - C by each method; of no step -inf."""
    a, b, c = (x[i] for i in asked)
    out: dict[str, list[float]] = {"3CosAdd": [], "3CosMul": [], "PairDirection": []}
    for y in x:
        goal, ask, step = a - b + c, a - b, y - c
        size = np.linalg.norm(step)
        out["3CosAdd"].append(y @ goal / np.linalg.norm(goal))
        out["3CosMul"].append((1 + y @ a) / 2 * (1 + y @ c) / 2 / ((1 + y @ b) / 2 + 0.001))
        out["PairDirection"].append(step @ ask / (size * np.linalg.norm(ask)) if size > NEAR else -np.inf)
    return {method: np.array(values) for method, values in out.items()}


def check(
    scores: NDArray[np.float64], genes: NDArray[np.int64], every: Every, k: int, step: float = 1 / QUANTA
) -> None:
    """That answers are the best k of every one, in order; equal scores by genes, also where the list ends."""
    ours = list(map(tuple, np.asarray(genes).tolist()))
    scale = step * QUANTA
    near = every.scores >= min(scores, default=0.0) - 1e-6 * scale
    theirs = {tuple(g): s for g, s in zip(every.genes[near].tolist(), every.scores[near].tolist(), strict=True)}
    assert len(ours) == min(k, len(every.scores))
    assert len(set(ours)) == len(ours)
    np.testing.assert_allclose(np.asarray(scores) / scale, np.array([theirs[g] for g in ours]) / scale, atol=1e-9)
    keys = [(-s, g) for s, g in zip(np.asarray(scores).tolist(), ours, strict=True)]
    assert keys == sorted(keys)
    if ours:
        last, chosen = keys[-1][0], set(ours)
        assert not [g for g, s in theirs.items() if s > -last + 0.51 * step and g not in chosen]
        tied = sorted(g for g, s in theirs.items() if abs(s + last) < 0.49 * step)  # whatever way they were summed
        assert [g for g in tied if g in chosen] == tied[: sum(g in chosen for g in tied)]


def check_few(scores: NDArray[np.float64], genes: NDArray[np.int64], few: Every, step: float = 1 / QUANTA) -> None:
    """That answers are these, in this order."""
    assert np.asarray(genes).reshape(-1, few.genes.shape[1]).tolist() == few.genes.tolist()
    np.testing.assert_allclose(np.asarray(scores) / (step * QUANTA), few.scores / (step * QUANTA), atol=1e-9)
