"""How much better one embedding is than another on the same task: differences, and their intervals by resampling.

Both are scored on the same resamples, so what makes a resample easy or hard falls out of the difference.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BLOCK = 100  # resamples at once
INTERVAL = (2.5, 97.5)  # percentiles

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Second less first."""

    value: float
    low: float
    high: float
    """95 % interval; NaN for a single unit, or where no resample could be scored."""
    units: int
    """What was resampled: genes, sets."""


def of_means(first: Array, second: Array, *, draws: int, seed: int) -> Difference:
    """The difference of two means over the same units, by a bootstrap over units.

    Memory: 8·BLOCK bytes a unit.
    Parameters: first, second   (units,); a unit that is NaN in one of them takes no part.
    Source:     Efron and Tibshirani 1993, chapter 16.   Oracle: `scipy.stats.bootstrap` (percentile, paired).
    """
    both = np.isfinite(first) & np.isfinite(second)
    gap = second[both] - first[both]
    if len(gap) < 2:  # one alone has no spread
        return Difference(value=float(gap.mean()) if len(gap) else np.nan, low=np.nan, high=np.nan, units=len(gap))
    random = np.random.default_rng([seed, len(gap)])
    means = []
    for start in range(0, draws, BLOCK):
        rows = random.integers(0, len(gap), size=(min(BLOCK, draws - start), len(gap)))
        means.append(gap[rows].mean(axis=1))
    return of_draws(float(gap.mean()), np.concatenate(means), units=len(gap))


def of_draws(value: float, drawn: Array, *, units: int) -> Difference:
    """A difference, and its interval from those of resamples; what could not be scored takes no part.

    Parameters: drawn   (draws,) NaN where a resample could not be scored.
                units   that were resampled.
    """
    known = drawn[np.isfinite(drawn)]
    low, high = np.percentile(known, INTERVAL) if len(known) else (np.nan, np.nan)
    return Difference(value=value, low=float(low), high=float(high), units=units)
