"""A bound on r from short vectors, and whether it is worth its making.

Let x be a gene's standardised values (length 1) and the m columns of P orthonormal. With y = P'x and the
length of the rest rho = sqrt(1 - |y|^2), Cauchy-Schwarz gives r = x_a.x_b <= y_a.y_b + rho_a rho_b: the dot
product of two vectors of m + 1 numbers. Along the principal axes of the genes little is left to the rest, so
few pairs reach a high threshold in the bound, and only these need their full dot product.

Slack. What a float32 product of the short vectors may lack of the r that decides, at most:

- P is orthonormal to max|P'P - I| <= 1e-12 (`principal_axes` checks it); y and |y|^2 are summed in float64
  over s <= MOST_SAMPLES samples. So each differs from that of an exactly orthonormal basis by less than
  4 (s + m) 2^-53 + 2e-12 m < 2e-10 at m <= 63. The y_a.y_b are short by less than
  GUARD = 1e-9, which `slack` adds; rho is never short, since its square is made GUARD larger.
- Rounding to float32 and a float32 sum of m + 1 products in any order: relative to the product of the
  lengths, which are at most sqrt(1 + 2 GUARD), no more than gamma(m + 3): two roundings of factors, one of
  the product and m of sums (Higham 2002, eq. 3.5). `reach` takes gamma(m + 4); the u = 6e-8 that is left
  over pays for the lengths.
- The float64 dot that decides is itself within (s + 3) 2^-53 < 2e-11 of r, part of the same remainder.

So a pair with r >= t has a short product >= t - reach(m + 1) - GUARD, and nothing is lost.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

GUARD = 1e-9
MOST_SAMPLES = 100_000
RANKS = (7, 15, 23, 31, 47, 63)  # m + 1 is a multiple of 8: whole SIMD registers
AXES_SAMPLE = 2048
RATE_SAMPLE = 512  # 130,000 pairs: a rate of 0.0005 is 65 of them
SEED = 20190204

# Costs of one pair of genes in units of one sample's multiply-add of SGEMM, measured once on an AVX-512 EPYC
# (tests/benchmarks/pairs.py). They are constants: the choice depends on the data only, never on the machine's
# speed of the day.
STORE_AND_SCAN = 9.0
CANDIDATE = 20_000.0  # mispredicted branches, and two rows from beyond L1
CANDIDATE_PER_SAMPLE = 20.0
FIXED_PER_SAMPLE_AND_RANK = 4.0 * AXES_SAMPLE  # finding the axes: passes over their sample of genes


def reach(terms: int) -> float:
    """The largest error of a float32 dot product of `terms` numbers of two rounded unit vectors.

    Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, eq. 3.5, with gamma(terms + 3).
    """
    u = 2.0**-24
    return (terms + 3) * u / (1 - (terms + 3) * u)


def slack(rank: int) -> float:
    """What the float32 product of two short vectors of `rank` + 1 numbers may lack of r, at most."""
    return reach(rank + 1) + GUARD


def sample_of_genes(genes: int, size: int, seed: int) -> NDArray[np.int64]:
    """(≤ size,) a seeded sample of gene numbers, sorted."""
    if genes <= size:
        return np.arange(genes)
    return np.sort(np.random.default_rng(seed).choice(genes, size, replace=False))


def principal_axes(unit: NDArray[np.float64], rank: int) -> NDArray[np.float64] | None:
    """(samples, rank) orthonormal columns, by falling variance; None where they are not orthonormal to 1e-12.

    Memory: rank × (samples + genes) × 40 bytes.
    Parameters: unit   (genes, samples) float64, rows of length 1.
    Source: Halko 2011, algorithm 4.4 (subspace iteration) and Rayleigh-Ritz. Any orthonormal axes give a true
    bound, so three passes are enough.
    """
    samples = unit.shape[1]
    width = min(samples, rank + 8)
    basis = np.linalg.qr(np.random.default_rng(SEED).standard_normal((samples, width)))[0]
    if width < samples:
        for _ in range(2):
            basis = np.linalg.qr(unit.T @ (unit @ basis))[0]
    scores = unit @ basis
    vectors = np.linalg.eigh(scores.T @ scores)[1]
    axes = np.ascontiguousarray((basis @ vectors)[:, ::-1][:, :rank])
    excess = np.abs(axes.T @ axes - np.eye(axes.shape[1])).max()
    return axes if excess <= 1e-12 else None


def shorten(unit: NDArray[np.float64], axes: NDArray[np.float64], out: NDArray[np.float32]) -> None:
    """Writes (genes, rank + 1): the coordinates along `axes`, and the length of the rest.

    Memory: genes × rank × 16 bytes.
    """
    scores = unit @ axes
    out[:, :-1] = scores
    rest = 1.0 - np.einsum("ij,ij->i", scores, scores)
    out[:, -1] = np.sqrt(np.maximum(rest, 0.0) + GUARD)


def candidate_rates(scores: NDArray[np.float64], threshold: float, ranks: tuple[int, ...]) -> dict[int, float]:
    """For each rank the share of all pairs of these genes whose bound reaches `threshold`.

    Memory: genes² × 8 bytes.
    Parameters: scores   (genes, max(ranks)) coordinates along the axes.
    """
    genes = len(scores)
    coordinates = scores.astype(np.float32)
    along = np.zeros((genes, genes), np.float32)
    kept = np.zeros(genes)
    rates = {}
    before = 0
    for rank in sorted(ranks):
        part = coordinates[:, before:rank]
        along += part @ part.T
        kept += np.square(scores[:, before:rank]).sum(axis=1)
        rest = np.sqrt(np.maximum(1.0 - kept, 0.0) + GUARD).astype(np.float32)
        reached = int(np.count_nonzero(along + np.outer(rest, rest) >= threshold)) - genes
        rates[rank] = max(reached, 0) / (genes * (genes - 1))
        before = rank
    return rates


def cost_plain(*, samples: int) -> float:
    """Cost of a pair the plain way, in multiply-adds."""
    return samples + STORE_AND_SCAN


def cost_bounded(*, rank: int, rate: float, samples: int, genes: int) -> float:
    """Cost of a pair by the bound, in multiply-adds; the axes' and the rotation's cost spread over the pairs.

    `rate` is the share of pairs whose bound reaches the threshold.
    """
    pairs = genes * (genes - 1) / 2
    scan = rank + 1 + STORE_AND_SCAN + rate * (CANDIDATE + CANDIDATE_PER_SAMPLE * samples)
    # Float64 multiply-adds cost twice a float32 one.
    once = 2.0 * samples * (max(RANKS) + 8) * FIXED_PER_SAMPLE_AND_RANK + 2.0 * genes * samples * rank
    return scan + once / pairs


def choose_rank(rates: Mapping[int, float], *, samples: int, genes: int, always: bool = False) -> int | None:
    """The rank m of least cost, or None where plain is cheaper (never None if `always`).

    A pure function of the sample's rates and of the shape.

    >>> choose_rank({15: 0.001, 31: 0.0005}, samples=80, genes=15_000)
    15
    >>> choose_rank({15: 0.13, 31: 0.0025, 47: 0.0007}, samples=177, genes=20_000)
    47
    >>> choose_rank({15: 0.13, 31: 0.1}, samples=80, genes=15_000) is None
    True
    """
    if not rates:
        return None
    cost, rank = min(
        (cost_bounded(rank=rank, rate=rate, samples=samples, genes=genes), rank) for rank, rate in rates.items()
    )
    return rank if always or cost < cost_plain(samples=samples) else None


def ranks_for(samples: int) -> tuple[int, ...]:
    """The ranks worth trying: up to half of the samples, beyond which the scan gains too little."""
    return tuple(rank for rank in RANKS if rank <= samples // 2) or (min(min(RANKS), samples - 1),)


def may_pay(*, samples: int, genes: int) -> bool:
    """Whether the bound would pay if it left no candidate at all: if not, no sample need be drawn."""
    return samples <= MOST_SAMPLES and (
        cost_bounded(rank=min(RANKS), rate=0.0, samples=samples, genes=genes) < cost_plain(samples=samples)
    )
