"""Figures of ranked pairs, and their intervals when genes, not pairs, are drawn again.

Pairs that share a gene are not independent: resampling pairs gives intervals that are much too narrow. So genes are
drawn with replacement, and a pair counts as often as its first gene was drawn times as often as its second: the
pigeonhole bootstrap (Owen 2007, Annals of Applied Statistics 1:386), for pairs of one set of genes. Its variance is
right for what genes bring into a figure, and up to three times too large for what single pairs bring; so intervals
are rather too wide than too narrow. All models are scored on the same draws: differences can be taken draw by draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from g2v_dask.evaluation.pairlists import Labels, Pairs

METRICS = ("auc", "average precision")
BLOCK = 32  # draws at once: a block of them stays in the cache
LEVEL = (0.025, 0.975)

Scores = NDArray[np.float32]
"""(runs, pairs) of one model: a run a seed."""
Draws = NDArray[np.uint8]
"""(genes, draws) how often each gene was drawn."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One metric of one model."""

    value: float
    """Mean over runs."""
    low: float
    high: float
    """95 % interval of that mean when genes are drawn again; NaN where no draw had both labels."""
    sd: float
    """Over runs; NaN for a single one."""


def drawn(genes: int, draws: int, random: np.random.Generator) -> Draws:
    """As many genes as there are, with replacement, ``draws`` times. (That one comes 256 times has no chance.)"""
    counts = random.multinomial(genes, np.full(genes, 1 / genes), size=draws)
    return np.ascontiguousarray(counts.astype(np.uint8).T)


def figures(scores: Scores, labels: Labels, pairs: Pairs, draws: Draws) -> dict[str, Figure]:
    """Each of ``METRICS`` of one model, with its interval.

    Parameters: labels  (pairs,) both there.
                pairs   (pairs, 2) positions in the genes of ``draws``.
    Memory: 40·BLOCK bytes a pair.
    Oracle: scikit-learn with sample_weight.
    """
    points = np.array([(roc_auc_score(labels, run), average_precision_score(labels, run)) for run in scores])
    again = np.mean([resampled(run, labels, pairs, draws) for run in scores], axis=0)
    found = {}
    for name, values, spread in zip(METRICS, points.T, again, strict=True):
        held = spread[np.isfinite(spread)]
        low, high = np.quantile(held, LEVEL).tolist() if len(held) else (np.nan, np.nan)
        sd = float(values.std(ddof=1)) if len(values) > 1 else np.nan
        found[name] = Figure(value=float(values.mean()), low=low, high=high, sd=sd)
    return found


def resampled(scores: NDArray[np.float32], labels: Labels, pairs: Pairs, draws: Draws) -> NDArray[np.float64]:
    """(metrics, draws) the figures of each draw; NaN where a draw left no pair of one label.

    A negative is outranked by the weight of the positives above it and half of those that tie with it; a positive's
    precision is taken at the last pair that ties with it.
    """
    order = np.argsort(-scores, kind="stable")
    falling = -scores[order]
    positive = labels[order] == 1
    above, below = order[positive], order[~positive]  # rows of positives and of negatives, best first
    first, second = falling[positive], falling[~positive]
    strictly = np.searchsorted(first, second, side="left")  # positives above each negative
    weakly = np.searchsorted(first, second, side="right")  # or at its score
    reached = np.searchsorted(first, first, side="right")  # positives that are at or above each positive
    passed = np.searchsorted(second, first, side="right")  # negatives
    tied = bool((strictly != weakly).any())
    found = np.empty((len(METRICS), draws.shape[1]))
    for start in range(0, draws.shape[1], BLOCK):
        counts = np.ascontiguousarray(draws[:, start : start + BLOCK])
        ups, downs = _weights(counts, pairs[above]), _weights(counts, pairs[below])
        up, down = _sums(ups), _sums(downs)
        outranked = up[strictly] if not tied else (up[strictly] + up[weakly]) / 2
        hits = up[reached]
        total = hits + down[passed]
        precision = np.divide(hits, total, out=np.zeros_like(hits), where=total > 0)
        with np.errstate(invalid="ignore"):
            auc = np.einsum("ij,ij->j", outranked, downs) / (up[-1] * down[-1])
            mean = np.einsum("ij,ij->j", precision, ups) / up[-1]
        found[:, start : start + BLOCK] = auc, np.where(down[-1] > 0, mean, np.nan)
    return found


def _weights(counts: Draws, pairs: Pairs) -> NDArray[np.float64]:
    """(pairs, draws) how often each pair was drawn: its two genes' counts multiplied."""
    return np.multiply(counts[pairs[:, 0]], counts[pairs[:, 1]], dtype=np.float64)


def _sums(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(pairs + 1, draws) the weight of the first 0, 1, 2, ... pairs."""
    sums = np.zeros((len(weights) + 1, weights.shape[1]))
    np.cumsum(weights, axis=0, out=sums[1:])
    return sums
