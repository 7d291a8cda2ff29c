"""Do the genes of a set lie closer together than others do? As the paper has it, as its code has it, and set by set.

**Paper** (Du et al. 2019): the mean inner product of the pairs within a set, averaged over the sets of at most 50
genes, over the mean inner product of all pairs of 1,000 random genes. Ours draws these genes ``seeds`` times and takes
the mean, since one draw alone moves the ratio.

**Published code** (``src/evaluation_target_function.py`` of jingcheng-du/Gene2vec) differs from the paper:

- it takes cosines, not inner products;
- the 1,000 genes are the first ones after ``random.seed(35)`` and one ``random.shuffle`` of the embedding's words in
  their order; all 499,500 pairs of them count;
- lines are not stripped, so that the last gene of a line keeps its line end, is never found, and drops out;
- a set of fewer than two known genes ends in a division by zero. Such sets are passed over here, in both forms.

All but the last is done here as there. Genes are found by their symbols of today, there as they are spelt.

A ratio says little where the mean of random pairs is near zero, as it is when vectors are centred; so both means stand
beside it, and a ratio to a mean that is not above zero is NaN.

**Set by set**: the mean cosine of a set against that of random sets of the same size, whose genes have the same degrees
in the co-occurrence: z, and p = (1 + random sets as coherent) / (1 + random sets), q by Benjamini-Hochberg over all
sets of all files. Where the co-occurrence is not known the random sets have the same size only, and the names of the
figures say so.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import false_discovery_control

from g2v_dask.evaluate_spec import EvaluateSpec
from g2v_dask.evaluation import sets as gene_sets
from g2v_dask.evaluation.base import ROWS, Progress, Subject, Tables, TooLittleError, Unit, row, rows_table
from g2v_dask.evaluation.sets import GeneSets, mean_interval

TASK = "clusteredness"
LARGEST = 50  # genes that a set of the paper may list
DRAWN = 1000  # random genes of the paper
PUBLISHED_SEED = 35
BINS = 20  # of equally many genes, by degree
CHUNK = 50  # random sets of each set in a unit
FDR = 0.05
EQUAL = 1e-9  # mean cosines closer than this are one; float64 sums err by 1e-13
EMBEDDING, RANDOM, SHUFFLED = "", "random vectors", "shuffled genes"
FOUND = "random"  # the table of a unit
# What a stream of chance is for: the second number of its seed.
OF_VECTORS, OF_PAIRS, OF_SETS, OF_INTERVALS = range(4)


@dataclass(frozen=True, kw_only=True, eq=False)
class Counted:
    """The sets that count: those of at least two known genes."""

    all: GeneSets
    numbers: tuple[int, ...]
    """Their places among all."""
    known: tuple[NDArray[np.int64], ...]
    """(sets,) the rows of each."""

    @property
    def sizes(self) -> NDArray[np.int64]:
        """(sets,) known genes."""
        return np.array([len(rows) for rows in self.known], dtype=np.int64)


def units(subject: Subject, spec: EvaluateSpec) -> tuple[Unit, ...]:
    """The embedding, and where asked two baselines, each against some of the random sets.

    Raises: InputError if a file is wrong; TooLittleError if the embedding has too few of the genes, or no set has two
            of them.
    """
    counted = _counted(subject, spec)
    genes, components = subject.vectors.shape
    need = 8 * (components + 1) * (3 * genes + 2 * len(counted.known))
    return tuple(
        Unit(
            label=f"{TASK}, {model or 'embedding'}, random sets {start + 1} to {min(start + CHUNK, spec.bootstrap)}",
            bytes=need,
            given=(model, start, min(start + CHUNK, spec.bootstrap)),
        )
        for model in _models(spec)
        for start in range(0, spec.bootstrap, CHUNK)
    )


def _models(spec: EvaluateSpec) -> tuple[str, ...]:
    return (EMBEDDING, RANDOM, SHUFFLED) if spec.baselines else (EMBEDDING,)


@lru_cache(maxsize=1)
def _counted(subject: Subject, spec: EvaluateSpec) -> Counted:
    sets = gene_sets.read(subject, go=False)
    subject.covered(TASK, sets.share(range(len(sets.names))), spec.least_coverage)
    known = {number: sets.known(number) for number in range(len(sets.names))}
    numbers = tuple(number for number, rows in known.items() if len(rows) > 1)
    if not numbers:
        msg = f"{TASK}: no set has two genes that {subject.name} knows; take sets of more genes, or another embedding"
        raise TooLittleError(msg)
    return Counted(all=sets, numbers=numbers, known=tuple(known[number] for number in numbers))


def _vectors(subject: Subject, model: str, seed: int) -> NDArray[np.float32]:
    """The vectors of a model: the embedding's own; normal ones of its mean and variance by component; its own, but each
    a random gene's.
    """
    own = subject.vectors
    drawn = np.random.default_rng([seed, OF_VECTORS])
    if model == RANDOM:
        normal = drawn.standard_normal(own.shape, dtype=np.float32)
        return np.asarray(own.mean(axis=0) + own.std(axis=0) * normal, dtype=np.float32)
    return own[drawn.permutation(len(own))] if model == SHUFFLED else own


def _normed(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """(genes, components) of length 1; a zero vector stays zero, and has the cosine 0 with all."""
    long = vectors.astype(np.float64)
    norms = np.linalg.norm(long, axis=1, keepdims=True)
    return np.asarray(np.divide(long, norms, out=np.zeros_like(long), where=norms > 0))


def mean_product(vectors: NDArray[Any]) -> float:
    """The mean inner product of all pairs of two or more vectors (genes, components).

    (‖Σ v‖² - Σ ‖v‖²) / n (n - 1): no pair is ever made.
    """
    long = vectors.astype(np.float64)
    total = long.sum(axis=0)
    return float((total @ total - np.square(long).sum()) / (len(long) * (len(long) - 1)))


# -- random sets ----------------------------------------------------------------------------------------------


def run(subject: Subject, spec: EvaluateSpec, unit: Unit, progress: Progress) -> Tables:
    """The mean cosine of every set against those of some random sets.

    Memory: 24 · components bytes a gene, 16 · components bytes a set.
    """
    model, start, stop = unit.given
    counted = _counted(subject, spec)
    unit_vectors = _normed(_vectors(subject, model, spec.seed))
    observed = np.array([mean_product(unit_vectors[rows]) for rows in counted.known])
    drawer = Drawer.of(counted, degree_bins(_degrees(subject)))
    beyond = np.zeros((stop - start, len(observed)))  # how much more coherent the random set is
    for at, number in enumerate(range(start, stop)):
        progress(at, stop - start, "random sets")
        beyond[at] = drawer.draw(unit_vectors, np.random.default_rng([spec.seed, OF_SETS, number])) - observed
    found = {
        "model": pa.array([model] * len(observed), type=pa.string()),
        "set": np.arange(len(observed)),
        "total": beyond.sum(axis=0),
        "squares": np.square(beyond).sum(axis=0),
        "as_large": (beyond >= -EQUAL).sum(axis=0),
    }
    return {FOUND: pa.table(found)}


def _degrees(subject: Subject) -> NDArray[np.float64]:
    """(genes,) degree in the co-occurrence; NaN for a gene that is not in it."""
    degree = subject.background.degree()
    return np.array([degree.get(gene, np.nan) for gene in subject.genes.tolist()])


def degree_bins(degrees: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each gene: 20 bins of as many genes as ties allow; genes of unknown degree have one of their own.

    Parameters: degrees   (genes,) NaN = not known.
    Returns:    (genes,) from 0; genes of one degree are in one bin.
    """
    known = ~np.isnan(degrees)
    bins = np.zeros(len(degrees), dtype=np.int64)
    if known.any():
        ordered = np.sort(degrees[known])
        edges = np.unique(ordered[-(-np.arange(1, BINS) * len(ordered) // BINS) - 1])
        bins[known] = 1 + np.searchsorted(edges, degrees[known], side="left")
    return np.asarray(np.unique(bins, return_inverse=True)[1], dtype=np.int64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawer:
    """Draws a random set for every set at once.

    All sets share a draw: of each bin some genes in random order, and a set takes as many from the front as it has
    genes in the bin. So each gets every choice of such genes with the same chance, and the sums of vectors along the
    order, made once a draw, are those of all sets.
    """

    members: tuple[NDArray[np.int64], ...]
    """(bins,) the genes of each bin that a set has genes in."""
    depth: NDArray[np.int64]
    """(bins,) the most genes that a set has in it."""
    ends: csr_array
    """(sets, sum of depth) 1 where a set's genes of a bin end."""
    sizes: NDArray[np.int64]
    """(sets,)."""

    @classmethod
    def of(cls, counted: Counted, bins: NDArray[np.int64]) -> Drawer:
        """Parameters: bins   (genes,) from 0."""
        number = int(bins.max()) + 1
        taken = np.stack([np.bincount(bins[rows], minlength=number) for rows in counted.known])
        depth = taken.max(axis=0)
        before = np.cumsum(depth) - depth
        at = np.nonzero(taken)
        columns = before[at[1]] + taken[at] - 1
        ends = csr_array((np.ones(len(columns)), (at[0], columns)), shape=(len(taken), int(depth.sum())))
        used = np.flatnonzero(depth)
        members = tuple(np.flatnonzero(bins == b) for b in used)
        return cls(members=members, depth=depth[used], ends=ends, sizes=counted.sizes)

    def draw(self, unit_vectors: NDArray[np.float64], chance: np.random.Generator) -> NDArray[np.float64]:
        """(sets,) the mean cosine of a random set for each."""
        stops = np.cumsum(self.depth)
        rows = np.concatenate(
            [chance.choice(genes, size, replace=False) for genes, size in zip(self.members, self.depth, strict=True)]
        )
        sums = unit_vectors[rows]
        lengths = np.square(sums).sum(axis=1)  # 1, or 0 for a zero vector
        for start, stop in zip(stops - self.depth, stops, strict=True):
            np.cumsum(sums[start:stop], axis=0, out=sums[start:stop])
            np.cumsum(lengths[start:stop], out=lengths[start:stop])
        squares = np.square(self.ends @ sums).sum(axis=1)
        pairs = self.sizes * (self.sizes - 1)
        return np.asarray((squares - self.ends @ lengths) / pairs, dtype=np.float64)


# -- figures --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Place:
    """A collection of sets, or all together."""

    label: str
    mine: NDArray[np.bool_]
    """Which of the sets that count are in it."""
    coverage: float
    """The share of its genes that the embedding has."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Form:
    """Clusteredness as the paper has it, or as its code has it."""

    name: str
    known: tuple[NDArray[np.int64], ...]
    """(sets,) the rows of each."""
    within: NDArray[np.float64]
    """(sets,) the mean of each set's pairs; NaN for a set that is left out."""
    apart: float
    """The mean of random pairs."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scores:
    """What random sets say of each set."""

    z: NDArray[np.float64]
    """NaN where all random sets are alike."""
    p: NDArray[np.float64]
    q: NDArray[np.float64]


Figure = tuple[str, int, float, float, float]
"""Metric, the genes behind it, value, and its 95 % interval."""


def sum_up(subject: Subject, spec: EvaluateSpec, tables: Tables) -> Tables:
    """Ratios, mean z and the share of coherent sets, by file and together; and ``sets``, the most coherent first."""
    counted = _counted(subject, spec)
    places = _places(counted)
    matched = "" if subject.background.degree() else ", by size only"
    rows: list[dict[str, Any]] = []
    kept = pa.table({})
    for model in _models(spec):
        vectors = _vectors(subject, model, spec.seed)
        forms = (_as_paper(spec, counted, vectors), _as_published(counted, vectors))
        scores = _scores(tables[FOUND], model, len(counted.known), spec.bootstrap)
        for place in places:
            figures = [figure for form in forms for figure in _ratio(spec, form, place)]
            figures += _coherence(spec, counted, scores, place, matched)
            rows += [_row(spec, place, model, figure) for figure in figures]
        if model == EMBEDDING:
            kept = _kept(counted, vectors, scores)
    return {ROWS: rows_table(rows), "sets": kept}


def _places(counted: Counted) -> tuple[Place, ...]:
    """Those of which a set counts."""
    sets = counted.all
    found = {label: (inside, inside[list(counted.numbers)]) for label, inside in sets.collections().items()}
    return tuple(
        Place(label=label, mine=mine, coverage=sets.share(np.flatnonzero(inside).tolist()))
        for label, (inside, mine) in found.items()
        if mine.any()
    )


def _genes(known: Sequence[NDArray[np.int64]], chosen: NDArray[np.bool_]) -> int:
    """How many genes are in one of the chosen sets."""
    return len(np.unique(np.concatenate([rows for rows, taken in zip(known, chosen, strict=True) if taken])))


def _row(spec: EvaluateSpec, place: Place, model: str, figure: Figure) -> dict[str, Any]:
    metric, genes, value, low, high = figure
    return row(
        task=TASK,
        on=place.label,
        model=model,
        metric=metric,
        value=value,
        low=low,
        high=high,
        baseline="baseline" if model else "",
        genes=genes,
        coverage=place.coverage,
        seed=spec.seed,
    )


def _small(counted: Counted) -> NDArray[np.bool_]:
    """(sets,) those that list at most 50 genes."""
    return np.array([len(counted.all.genes[number]) <= LARGEST for number in counted.numbers])


def _as_paper(spec: EvaluateSpec, counted: Counted, vectors: NDArray[np.float32]) -> Form:
    """Inner products."""
    size = min(DRAWN, len(vectors))
    draws = (
        np.random.default_rng([spec.seed, OF_PAIRS, draw]).choice(len(vectors), size, replace=False)
        for draw in range(spec.seeds)
    )
    apart = float(np.mean([mean_product(vectors[rows]) for rows in draws]))
    within = np.array([mean_product(vectors[rows]) for rows in counted.known])
    return Form(name="paper", known=counted.known, within=np.where(_small(counted), within, np.nan), apart=apart)


def _as_published(counted: Counted, vectors: NDArray[np.float32]) -> Form:
    """Cosines, without the last gene of each set, and of the code's own random genes."""
    unit_vectors = _normed(vectors)
    order = list(range(len(vectors)))
    random.Random(PUBLISHED_SEED).shuffle(order)
    left = tuple(counted.all.known(number, less=1) for number in counted.numbers)
    within = np.array([mean_product(unit_vectors[rows]) if len(rows) > 1 else np.nan for rows in left])
    apart = mean_product(unit_vectors[order[:DRAWN]])
    return Form(name="published code", known=left, within=np.where(_small(counted), within, np.nan), apart=apart)


def _ratio(spec: EvaluateSpec, form: Form, place: Place) -> list[Figure]:
    """The mean within sets, that of random pairs, and their ratio; none where no set is small enough."""
    chosen = place.mine & ~np.isnan(form.within)
    if not chosen.any():
        return []
    mean, low, high = _mean(spec, form.within[chosen])
    genes = _genes(form.known, chosen)
    over = 1 / form.apart if form.apart > 0 else np.nan
    return [
        (f"within sets, {form.name}", genes, mean, low, high),
        (f"random pairs, {form.name}", genes, form.apart, np.nan, np.nan),
        (f"ratio, {form.name}", genes, mean * over, low * over, high * over),
    ]


def _coherence(spec: EvaluateSpec, counted: Counted, scores: Scores, place: Place, matched: str) -> list[Figure]:
    """Mean z, and the share of sets that random ones hardly reach."""
    told = place.mine & ~np.isnan(scores.z)
    figures: list[Figure] = []
    if told.any():
        figures.append((f"mean z{matched}", _genes(counted.known, told), *_mean(spec, scores.z[told])))
    share = (scores.q[place.mine] <= FDR).astype(np.float64)
    metric = f"share of sets with q <= {FDR}{matched}"
    figures.append((metric, _genes(counted.known, place.mine), *_mean(spec, share)))
    return figures


def _mean(spec: EvaluateSpec, values: NDArray[np.float64]) -> tuple[float, float, float]:
    """A mean over sets and its interval."""
    return float(values.mean()), *mean_interval(values, resamples=spec.bootstrap, key=(spec.seed, OF_INTERVALS))


def _scores(found: pa.Table, model: str, sets: int, resamples: int) -> Scores:
    """Parameters: found   the tables of all units; every unit has a row for each set, in their order."""
    mine = found.filter(pc.equal(found["model"], model))
    total, squares, as_large = (
        mine[name].to_numpy().reshape(-1, sets).sum(axis=0) for name in ("total", "squares", "as_large")
    )
    spread = np.sqrt(np.maximum(squares - total**2 / resamples, 0) / (resamples - 1))
    z = np.divide(-total / resamples, spread, out=np.full(sets, np.nan), where=spread > EQUAL)
    p = (1 + as_large) / (1 + resamples)  # Phipson & Smyth 2010: a p of 0 cannot be known from samples
    return Scores(z=z, p=p, q=false_discovery_control(p, method="bh"))


def _kept(counted: Counted, vectors: NDArray[np.float32], scores: Scores) -> pa.Table:
    """A row a set, by z from the most coherent to the least, then by name."""
    unit_vectors = _normed(vectors)
    names = np.array([counted.all.names[number] for number in counted.numbers], dtype=np.str_)
    order = np.lexsort((names, -scores.z))  # NaN comes last
    columns: dict[str, NDArray[Any]] = {
        "collection": counted.all.collection[list(counted.numbers)],
        "set": names,
        "size": np.array([len(counted.all.genes[number]) for number in counted.numbers]),
        "known": counted.sizes,
        "mean_inner": np.array([mean_product(vectors[rows]) for rows in counted.known]),
        "mean_cosine": np.array([mean_product(unit_vectors[rows]) for rows in counted.known]),
        "z": scores.z,
        "p": scores.p,
        "q": scores.q,
    }
    return pa.table({name: pa.array(values[order].tolist()) for name, values in columns.items()})
