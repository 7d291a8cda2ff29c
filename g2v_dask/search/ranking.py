"""From answers in final order to the list that is shown: the best k, no gene too often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from g2v_dask.errors import SpecError
from g2v_dask.kernels import differences

MOST_HELD = 10_000_000
GROWTH = 8  # times as many answers are asked for when those at hand leave too few


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """Answers in final order: score descending, then positions ascending."""

    scores: NDArray[np.float64]
    """(answers,) float64; larger is better."""
    genes: NDArray[np.int64]
    """(answers, 1 to 4) positions in the space."""

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, chosen: NDArray[np.int64]) -> Found:
        """Some of them."""
        return Found(scores=self.scores[chosen], genes=self.genes[chosen])


def merged(parts: list[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]], want: int) -> Found:
    """The best of several unordered lists of (scores, first, second)."""
    scores, first, second = (np.concatenate(column) for column in zip(*parts, strict=True))
    best = np.lexsort((second, first, -scores))[:want]
    return Found(scores=scores[best], genes=np.stack([first[best], second[best]], axis=1))


def ranked(
    top: Callable[[int], Found],
    k: int,
    *,
    max_per_gene: int | None,
    genes: int,
    free: int = 0,
    most: int = MOST_HELD,
) -> Found:
    """The best k answers with no gene in more than `max_per_gene`, taken greedily in final order.

    Parameters: top    gives the exact best answers, as many as it is asked for or all there are.
                genes  of the space.
                free   columns of an answer, from the first, whose genes are the question's own.
                most   answers that are looked at; where fewer may be, what they hold is the answer.
    Raises: SpecError if ten million answers do not hold k that the filter lets through.
    """
    if max_per_gene is None:
        return top(k)
    want = GROWTH * k
    while True:
        found = top(min(want, most))
        chosen = differences.greedy(np.ascontiguousarray(found.genes[:, free:]), genes, max_per_gene, k)
        if len(chosen) == k or len(found) < min(want, most) or want >= most != MOST_HELD:
            return found.take(chosen)
        if want >= most:
            msg = (
                f"max-per-gene {max_per_gene} lets only {len(chosen):,} of the best {MOST_HELD:,} answers through, "
                f"{k:,} were asked for; raise --max-per-gene, ask for fewer, or drop the trivial ones by --ceiling or "
                f"--min-difference"
            )
            raise SpecError(msg)
        want *= GROWTH
