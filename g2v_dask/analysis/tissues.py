"""How specific genes are for tissues: z-scores of a gene's mean over tissues, and tau. A dataset is a tissue.

Values are log2(CPM + 1) of read counts, before any quantile normalisation: that makes all samples alike in
distribution, and would take away a part of what tells tissues apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2v_dask.errors import InputError

LEAST_SAMPLES = 30  # of a tissue, as in Gene2Vec
LEAST_TISSUES = 3  # of two, the z-scores of every gene are -1 and 1
ROWS = 256  # samples whose logarithms are held at once
MOST_SPECIFIC = 100  # genes of a tissue
SPECIFIC_TAU = 0.8  # and more is specific: Kryuchkova-Mostacci and Robinson-Rechavi 2017, on logarithms as here
EXPRESSED = 1.0  # log2(CPM + 1), which is 1 CPM: fewer reads are noise, of which tau is large
DIGITS = 9  # of a z-score: a gene of one tissue alone has √(tissues - 1), whatever rounding leaves of it
LISTED = 8  # tissues that a message names

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Tissue:
    """What genes are expressed in one tissue."""

    name: str
    samples: int
    genes: NDArray[np.str_]
    mean: Array
    """(genes,) of log2(CPM + 1) over samples."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Specificity:
    """Genes over tissues. NaN where a tissue does not measure a gene, or too few tissues do."""

    tissues: tuple[str, ...]
    samples: tuple[int, ...]
    genes: NDArray[np.str_]
    """(genes,) those of any tissue; sorted."""
    mean: Array
    """(tissues, genes) of log2(CPM + 1) over samples."""
    z: Array
    """(tissues, genes) (mean - its mean over tissues) / its deviation over tissues; NaN where all are equal."""
    tau: Array
    """(genes,) from 0, as much in all tissues, to 1, in one tissue alone; NaN for a gene without any read."""

    def z_of(self, tissue: str) -> Array:
        """(genes,) the z-scores of one tissue."""
        row: Array = self.z[self.tissues.index(tissue)]
        return row


def are_there(samples: Iterable[int]) -> bool:
    """Whether datasets with read counts, of so many samples each, are tissues enough."""
    return sum(count >= LEAST_SAMPLES for count in samples) >= LEAST_TISSUES


def enough(samples: Mapping[str, int]) -> tuple[str, ...]:
    """The datasets that are tissues: those of 30 samples or more, in the order given.

    Parameters: samples   of the datasets with read counts, by name.
    Raises:     InputError if there are fewer than 3.
    """
    found = tuple(name for name, count in samples.items() if count >= LEAST_SAMPLES)
    if len(found) < LEAST_TISSUES:
        few = sorted(samples.items(), key=lambda item: (-item[1], item[0]))
        named = ", ".join(f"{name} {count}" for name, count in few[:LISTED]) + (", ..." if few[LISTED:] else "")
        msg = (
            f"tissue: z-scores take {LEAST_TISSUES} tissues of {LEAST_SAMPLES} samples or more, and of "
            f"{len(samples)} datasets with read counts {len(found)} have so many"
            f"{f' (samples: {named})' if few else ''}; ingest more tissues with --counts, one a file or by --group-by"
        )
        raise InputError(msg)
    return found


def tissue(name: str, genes: NDArray[np.str_], counts: NDArray[np.number[Any]]) -> Tissue:
    """The mean log2(CPM + 1) of each gene; samples without any read are left out.

    Memory: 24·ROWS bytes a gene.
    Parameters: counts   (samples, genes) reads, 0 or more.
    Oracle:     a loop over samples, in the tests.
    """
    total, used = np.zeros(len(genes)), 0
    for start in range(0, len(counts), ROWS):
        block = counts[start : start + ROWS].astype(np.float64)
        reads = block.sum(axis=1)
        block = block[reads > 0]
        total += np.log2(block * (1e6 / reads[reads > 0])[:, None] + 1).sum(axis=0)
        used += len(block)
    return Tissue(name=name, samples=len(counts), genes=genes, mean=total / max(used, 1))


def specificity(found: Sequence[Tissue]) -> Specificity:
    """z-scores over tissues, and tau.

    Parameters: found   tissues of unlike name; a gene counts where 3 of them or more measure it.
    Raises:     InputError for fewer than 3.
    Source:     z: Du et al. 2019, Fig. 4; tau: Yanai et al. 2005, Σ (1 - xᵢ / max x) / (n - 1).
    Oracle:     scipy.stats.zscore; a loop for tau, in the tests.
    """
    if len(found) < LEAST_TISSUES:
        msg = f"tissue: z-scores take {LEAST_TISSUES} tissues, got {len(found)}"
        raise InputError(msg)
    genes: NDArray[np.str_] = reduce(np.union1d, [t.genes for t in found])
    mean = np.full((len(found), len(genes)), np.nan)
    for row, one in zip(mean, found, strict=True):
        row[np.searchsorted(genes, one.genes)] = one.mean
    there = np.isfinite(mean)
    count = there.sum(axis=0)
    known = count >= LEAST_TISSUES
    values = np.where(there, mean, 0.0)
    away = np.where(there, mean - values.sum(axis=0) / np.maximum(count, 1), 0.0)
    spread = np.sqrt(np.square(away).sum(axis=0) / np.maximum(count, 1))
    most = values.max(axis=0)
    varies = known & (spread > 1e-12 * most)  # rounding alone is no difference
    z = np.where(there & varies, away / np.where(varies, spread, 1.0), np.nan)
    lacking = np.where(there, most - values, 0.0).sum(axis=0)
    expressed = known & (most > 0)
    tau = np.where(expressed, lacking / np.where(expressed, most * (count - 1), 1.0), np.nan)
    return Specificity(
        tissues=tuple(t.name for t in found),
        samples=tuple(t.samples for t in found),
        genes=genes,
        mean=mean,
        z=z,
        tau=tau,
    )


def specific(found: Specificity) -> dict[str, NDArray[np.int64]]:
    """The genes that are specific for each tissue, as columns of ``found``; at most 100, the most specific first.

    A gene is specific for the one tissue where its mean is largest, if that is 1 CPM or more and its tau 0.8 or more;
    the first are those of the largest z-score, then of the largest mean, then by gene id.
    Source: threshold of tau, and one tissue a gene: Kryuchkova-Mostacci and Robinson-Rechavi 2017.
    """
    most = np.where(np.isfinite(found.mean), found.mean, -1.0)
    where = most.argmax(axis=0)
    height = most.max(axis=0)
    good = np.isfinite(found.tau) & (height >= EXPRESSED)
    good[good] = found.tau[good] >= SPECIFIC_TAU
    chosen = {}
    for row, name in enumerate(found.tissues):
        own = np.flatnonzero(good & (where == row) & np.isfinite(found.z[row]))
        order = np.lexsort((own, -height[own], -np.round(found.z[row, own], DIGITS)))
        chosen[name] = own[order][:MOST_SPECIFIC]
    return chosen
