"""Tissue: do vectors tell in which tissues a gene is expressed, and do genes of one tissue lie together?

The first is asked of a ridge regression, of genes that it has not seen: the z-scores of a gene's mean over tissues,
and its tau, from its vector. The second of the genes that are specific for a tissue: the mean cosine of two of them,
against sets of genes drawn at random, as many, with the same degrees and the same expression.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import false_discovery_control
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from g2v_dask.analysis import tissues
from g2v_dask.analysis.tissues import Specificity
from g2v_dask.evaluate_spec import EvaluateSpec
from g2v_dask.evaluation import expression
from g2v_dask.evaluation.base import ROWS, Progress, Subject, Tables, TooLittleError, Unit, row, rows_table

TASK = "tissue"
FOLDS = 5
LEAST_GENES = 10 * FOLDS
ALPHAS = np.logspace(0, 6, 13)  # of standardised components; the best one for each tissue, in the folds that are seen
DRAWS = 1000  # random sets
BINS = 6  # of degree, and of expression: 36 strata, of 500 genes each where there are 18,000
FEWEST = 10  # specific genes of a tissue, to ask whether they lie together
NAMED = 10  # specific genes that the table names
BLOCK = 100  # resamples at once
FOLDED, RESAMPLED, DRAWN, INVENTED, SET, PROJECTED = range(6)  # streams of random numbers of one seed
TAU, ALL = "tau", "all tissues"

VECTORS, RANDOM, MEAN = "vectors", "random vectors", "expression mean"
WITHIN, LEVELS = "expression PCA", "expression levels PCA"
BASELINES = {RANDOM: "baseline", MEAN: "baseline", WITHIN: "baseline", LEVELS: "transductive"}
"""The first PCA is of genes that are standardised within each dataset; the second holds the very means that are asked
for."""

Array = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Known:
    """The genes of the embedding that tissues tell apart."""

    found: Specificity
    columns: Rows
    """(genes,) where each stands in ``found``."""
    rows: Rows
    """(genes,) where each stands in the embedding."""
    coverage: float
    """Share of the genes with z-scores that the embedding has."""


# -- units ----------------------------------------------------------------------------------------------------


def units(subject: Subject, spec: EvaluateSpec) -> tuple[Unit, ...]:
    """The vectors, and each baseline.

    Raises: InputError for fewer than 3 tissues of 30 samples; TooLittleError if the embedding has too few of their
            genes.
    """
    measured = subject.background.measured()
    names = tissues.enough({name: samples for name, (samples, _) in measured.items()})
    genes, counts = np.unique(np.concatenate([measured[name][1] for name in names]), return_counts=True)
    asked = genes[counts >= tissues.LEAST_TISSUES]
    known = subject.find(asked.tolist()) >= 0
    subject.covered(TASK, float(known.mean()) if len(asked) else 0.0, spec.least_coverage)
    _check_enough(subject, int(known.sum()))
    largest = max(samples * len(own) for samples, own in (measured[name] for name in names))
    size = len(genes) * (24 * tissues.ROWS + 100 * len(names) + 8 * 8 * BLOCK) + 16 * largest
    wide = 8 * 6 * subject.vectors.size
    more = {WITHIN: 8 * largest, LEVELS: 8 * largest}  # the expression of one dataset
    models = [VECTORS, *(BASELINES if spec.baselines else ())]
    return tuple(Unit(label=f"{TASK}, {m}", bytes=size + wide + more.get(m, 0), given=m) for m in models)


def run(subject: Subject, spec: EvaluateSpec, unit: Unit, progress: Progress) -> Tables:
    """One model: its figures, and what is behind them by tissue; of the vectors also what is known of each gene."""
    model = str(unit.given)
    progress(0, 3, f"{TASK}, expression")
    known = _known(subject)
    progress(1, 3, f"{TASK}, {model}")
    features = _features(model, subject, known, spec)
    targets = np.column_stack([known.found.z[:, known.columns].T, known.found.tau[known.columns]])
    if features.shape[1]:
        told = predicted(features, targets, folds(len(features), spec.seed))
        fits = fitted(targets, told, draws=spec.bootstrap, seed=spec.seed)
    else:  # no expression is known of an embedding that was made elsewhere
        told, fits = np.full(targets.shape, np.nan), np.full((3, targets.shape[1] + 1), np.nan)
    progress(2, 3, f"{TASK}, {model}")
    together = _together(features, subject, known, spec) if features.shape[1] > 1 else None
    tables = {
        "figures": _figures(model, known, fits, together),
        "tissues": _tissues(model, known, fits, together),
    }
    return tables | ({"genes": _genes(known, told)} if model == VECTORS else {})


def sum_up(subject: Subject, spec: EvaluateSpec, tables: Tables) -> Tables:
    """Of the embedding the figures of each tissue, of baselines those over all of them; the rest is kept beside."""
    found = [
        row(task=TASK, seed=spec.seed, **figure)
        for figure in tables["figures"].to_pylist()
        if np.isfinite(figure["value"])
    ]
    return {ROWS: rows_table(found), "tissues": tables["tissues"], "genes": tables["genes"]}


@lru_cache(maxsize=1)
def _known(subject: Subject) -> _Known:
    """What tissues tell of the embedding's genes; read once a process for all its units.

    Raises: TooLittleError if they tell too few of them apart.
    """
    measured = subject.background.measured()
    names = tissues.enough({name: samples for name, (samples, _) in measured.items()})
    found = tissues.specificity(
        [tissues.tissue(d.name, d.genes, d.counts) for d in subject.background.counts() if d.name in names]
    )
    rows = subject.find(found.genes.tolist())
    told = np.isfinite(found.tau) & np.isfinite(found.z).any(axis=0)
    columns = np.flatnonzero(told & (rows >= 0))
    _, first = np.unique(rows[columns], return_index=True)  # of two ids of one gene the first
    columns = columns[first]
    _check_enough(subject, len(columns))
    return _Known(found=found, columns=columns, rows=rows[columns], coverage=float((rows[told] >= 0).mean()))


def _check_enough(subject: Subject, genes: int) -> None:
    if genes < LEAST_GENES:
        msg = f"{TASK}: takes {LEAST_GENES} genes that tissues tell apart, and {subject.name} has {genes} of them"
        raise TooLittleError(msg)


def _features(model: str, subject: Subject, known: _Known, spec: EvaluateSpec) -> Array:
    """(genes, features) of a model."""
    size, components = len(known.rows), subject.vectors.shape[1]
    if model == VECTORS:
        return subject.vectors[known.rows].astype(np.float64)
    if model == RANDOM:
        return np.random.default_rng([spec.seed, INVENTED]).normal(size=(size, components))
    if model == MEAN:
        return _level(known)[:, None]
    at = {gene: place for place, gene in enumerate(subject.genes[known.rows].tolist())}
    key = (spec.seed, PROJECTED)
    found = expression.components(subject.background.expression, at, components, within=model == WITHIN, key=key)
    return found[:, found.any(axis=0)].astype(np.float64)


def _level(known: _Known) -> Array:
    """(genes,) the mean over the tissues that measure a gene."""
    mean = known.found.mean[:, known.columns]
    level: Array = np.nanmean(mean, axis=0)
    return level


# -- can vectors tell? ----------------------------------------------------------------------------------------


def folds(genes: int, seed: int) -> Rows:
    """(genes,) the fold in which each gene is unseen, from 0; as large as each other, to one gene."""
    random = np.random.default_rng([seed, FOLDED])
    return random.permutation(genes) % FOLDS


def predicted(features: Array, targets: Array, fold: Rows) -> Array:
    """Targets of each gene, as told by a ridge regression on the genes of the other folds.

    The penalty is chosen for each target by leave-one-out within those genes, in closed form.
    Parameters: features   (genes, features), standardised inside.
                targets    (genes, targets); NaN where one is not known: the gene is left out for that target.
    Returns:    (genes, targets), NaN as the targets.
    Oracle:     scikit-learn, a target at a time.
    """
    out = np.full(targets.shape, np.nan)
    there = np.isfinite(targets)
    masks, group = np.unique(there, axis=1, return_inverse=True)
    for number, mask in enumerate(masks.T):
        wanted = np.flatnonzero(group.ravel() == number)
        for unseen in range(FOLDS):
            seen, asked = np.flatnonzero(mask & (fold != unseen)), np.flatnonzero(mask & (fold == unseen))
            if len(seen) < 3 or not len(asked):
                continue
            scaler = StandardScaler().fit(features[seen])
            model = RidgeCV(alphas=ALPHAS, alpha_per_target=True)
            model.fit(scaler.transform(features[seen]), targets[np.ix_(seen, wanted)])
            told = model.predict(scaler.transform(features[asked]))
            out[np.ix_(asked, wanted)] = told.reshape(len(asked), len(wanted))
    return out


def fitted(targets: Array, told: Array, *, draws: int, seed: int) -> Array:
    """R² of each target, and of all but the last their mean: value, and 95 % interval over resamples of genes.

    1 - Σ (y - ŷ)² / Σ (y - ȳ)², over all folds at once. Any model and any embedding of the same genes is given the
    same resamples.
    Parameters: targets, told   (genes, targets); NaN where not known.
    Returns:    (3, targets + 1): value, low and high; NaN for a target that is nowhere told, or does not vary.
    Oracle:     sklearn.metrics.r2_score.
    """
    both = np.isfinite(targets) & np.isfinite(told)
    y, wrong = np.where(both, targets, 0.0), np.where(both, targets - told, 0.0)
    parts = np.hstack([both.astype(np.float64), y, y**2, wrong**2])
    value = _r2(np.ones((1, len(y))) @ parts)[0]
    random = np.random.default_rng([seed, RESAMPLED])
    drawn = []
    for start in range(0, draws, BLOCK):
        weights = [
            np.bincount(random.integers(0, len(y), len(y)), minlength=len(y)) for _ in range(min(BLOCK, draws - start))
        ]
        drawn.append(_r2(np.array(weights, dtype=np.float64) @ parts))
    low, high = np.percentile(np.concatenate(drawn), (2.5, 97.5), axis=0)
    return np.stack([value, low, high])


def _r2(sums: Array) -> Array:
    """(resamples, targets + 1) of the sums of 1, y, y² and (y - ŷ)²; the last is the mean of all but the last."""
    count, total, squares, wrong = np.split(sums, 4, axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        around = squares - total**2 / count
        each = np.where(around > 1e-9 * squares, 1 - wrong / around, np.nan)
    return np.column_stack([each, each[:, :-1].mean(axis=1)])


# -- do genes of a tissue lie together? -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class _Together:
    """Mean cosines of two genes of a set. All (tissues + 1,), the last of all tissues with enough specific genes."""

    genes: Rows
    value: Array
    low: Array
    high: Array
    random: Array
    """Mean over sets drawn at random."""
    random_low: Array
    random_high: Array
    z: Array
    p: Array
    q: Array
    """Benjamini-Hochberg over tissues; that of all is its p."""
    first: tuple[str, ...]
    """The most specific genes."""


def _together(features: Array, subject: Subject, known: _Known, spec: EvaluateSpec) -> _Together:
    """Every tissue's specific genes, against matched random sets; and their mean over tissues."""
    length = np.linalg.norm(features, axis=1)
    there = length > 0
    unit = features / np.where(there, length, 1.0)[:, None]
    place = np.full(len(known.found.genes), -1)
    place[known.columns[there]] = np.flatnonzero(there)
    chosen = tissues.specific(known.found)
    sets = [place[columns][place[columns] >= 0] for columns in chosen.values()]
    strata = np.where(there, _strata(subject, known), -1)
    values, resampled, drawn = [], [], []
    for number, members in enumerate(sets):
        if len(members) < FEWEST:
            values.append(np.nan)
            resampled.append(np.full(spec.bootstrap, np.nan))
            drawn.append(np.full(DRAWS, np.nan))
            continue
        values.append(float(mean_cosine(unit[members], np.ones((1, len(members))))[0]))
        weights = np.random.default_rng([spec.seed, SET, number]).multinomial(
            len(members), np.full(len(members), 1 / len(members)), size=spec.bootstrap
        )
        resampled.append(mean_cosine(unit[members], weights.astype(np.float64)))
        others = matched(members, strata, draws=DRAWS, seed=spec.seed, number=number)
        drawn.append(_mean_cosines(unit, others))
    first = [", ".join(known.found.genes[c].item() for c in columns[:NAMED]) for columns in chosen.values()]
    sizes = [len(members) for members in sets]
    return _against(np.array(values), np.array(resampled), np.array(drawn), np.array(sizes), tuple(first))


def mean_cosine(unit: Array, weights: Array) -> Array:
    """(resamples,) the mean cosine of two different genes of a set.

    Parameters: unit      (genes, components) unit vectors.
                weights   (resamples, genes) how often each gene was drawn; a gene and itself are no pair.
    Oracle:     a loop over pairs.
    """
    sums = weights @ unit
    own = np.square(weights).sum(axis=1)
    pairs = np.square(weights.sum(axis=1)) - own
    mean: Array = (np.square(sums).sum(axis=1) - own) / np.where(pairs > 0, pairs, np.nan)
    return mean


def _mean_cosines(unit: Array, sets: Rows) -> Array:
    """(sets,) the mean cosine of two genes of each set (sets, genes)."""
    count, size = sets.shape
    member = csr_array((np.ones(sets.size), (np.repeat(np.arange(count), size), sets.ravel())), (count, len(unit)))
    sums = np.asarray(member @ unit)
    mean: Array = (np.square(sums).sum(axis=1) - size) / (size * (size - 1))
    return mean


def _strata(subject: Subject, known: _Known) -> Rows:
    """(genes,) bins of expression and, where it is known, of degree: genes of one bin are alike in both."""
    strata = _bins(_level(known))
    degree = subject.background.degree()
    if degree:
        held = np.array([degree.get(gene, 0.0) for gene in subject.genes[known.rows].tolist()])
        strata = strata * BINS + _bins(held)
    return strata


def _bins(values: Array) -> Rows:
    """(genes,) from 0, by quantiles."""
    return np.searchsorted(np.quantile(values, np.arange(1, BINS) / BINS), values, side="right")


def matched(members: Rows, strata: Rows, *, draws: int, seed: int, number: int) -> Rows:
    """(draws, genes) sets of different genes, with as many of each stratum as ``members`` has.

    Parameters: strata   (genes,) the stratum of each gene; -1: never drawn.
                number   of the set, so that each has random numbers of its own.
    """
    random = np.random.default_rng([seed, DRAWN, number])
    columns = []
    for stratum, wanted in zip(*np.unique(strata[members], return_counts=True), strict=True):
        pool = np.flatnonzero(strata == stratum)
        keys = random.random((draws, len(pool)))
        columns.append(pool[np.argpartition(keys, wanted - 1, axis=1)[:, :wanted]])
    return np.concatenate(columns, axis=1)


def _against(values: Array, resampled: Array, drawn: Array, sizes: Rows, first: tuple[str, ...]) -> _Together:
    """What sets have over random ones: (tissues,) values, (tissues, draws) of resamples and of random sets."""
    asked = np.isfinite(values)
    none = np.full((1, 1), np.nan)
    values = np.append(values, values[asked].mean() if asked.any() else np.nan)
    resampled = np.vstack([resampled, resampled[asked].mean(axis=0) if asked.any() else none * resampled[:1]])
    drawn = np.vstack([drawn, drawn[asked].mean(axis=0) if asked.any() else none * drawn[:1]])
    low, high = np.percentile(resampled, (2.5, 97.5), axis=1)
    random_low, random_high = np.percentile(drawn, (2.5, 97.5), axis=1)
    spread = drawn.std(axis=1)
    p = np.where(np.isfinite(values), (1 + (drawn >= values[:, None]).sum(axis=1)) / (1 + drawn.shape[1]), np.nan)
    q = p.copy()
    q[:-1][asked] = false_discovery_control(p[:-1][asked]) if asked.any() else np.nan
    mean = drawn.mean(axis=1)
    z = (values - mean) / np.where(spread > 0, spread, np.nan)
    return _Together(
        genes=np.append(sizes, sizes[asked].sum()),
        value=values,
        low=low,
        high=high,
        random=mean,
        random_low=random_low,
        random_high=random_high,
        z=z,
        p=p,
        q=q,
        first=(*first, ""),
    )


# -- tables ---------------------------------------------------------------------------------------------------


def _figures(model: str, known: _Known, fits: Array, together: _Together | None) -> pa.Table:
    """What goes into the tidy table."""
    names = known.found.tissues
    shared = {
        "model": model,
        "baseline": BASELINES.get(model, ""),
        "genes": len(known.rows),
        "coverage": known.coverage,
    }
    at = {ALL: len(names) + 1, TAU: len(names)} | ({n: i for i, n in enumerate(names)} if model == VECTORS else {})
    rows = [_figure("r2", on, fits[:, i], shared) for on, i in at.items()]
    if together is not None:
        own = shared | {"genes": int(together.genes[-1])}
        for metric, some in (
            ("specific cosine", (together.value, together.low, together.high)),
            ("random cosine", (together.random, together.random_low, together.random_high)),
            ("specific z", (together.z,)),
            ("specific p", (together.p,)),
        ):
            rows.append(_figure(metric, ALL, [values[-1] for values in some], own))
    return pa.Table.from_pylist(rows)


def _figure(metric: str, on: str, values: Any, shared: Mapping[str, Any]) -> dict[str, Any]:
    """One row, of a value and the two ends of its interval, or a value alone."""
    value, low, high = (float(v) for v in (*values, np.nan, np.nan)[:3])
    return {"metric": metric, "on": on, "value": value, "low": low, "high": high, **shared}


def _tissues(model: str, known: _Known, fits: Array, together: _Together | None) -> pa.Table:
    """One row a tissue."""
    found, size = known.found, len(known.found.tissues)
    measured = np.isfinite(found.z[:, known.columns]).sum(axis=1)
    columns: dict[str, Any] = {
        "tissue": pa.array(found.tissues, type=pa.string()),
        "model": pa.array([model] * size, type=pa.string()),
        "samples": pa.array(found.samples, type=pa.int64()),
        "genes": pa.array(measured, type=pa.int64()),
        **{name: pa.array(fits[i, :size]) for i, name in enumerate(("r2", "r2_low", "r2_high"))},
    }
    empty = np.full(size, np.nan)
    for name in ("value", "low", "high", "random", "random_low", "random_high", "z", "p", "q"):
        key = {"value": "cosine", "low": "cosine_low", "high": "cosine_high"}.get(name, name)
        columns[key] = pa.array(empty if together is None else getattr(together, name)[:size])
    none = np.zeros(size, dtype=np.int64)
    columns["specific"] = pa.array(none if together is None else together.genes[:size], type=pa.int64())
    columns["first"] = pa.array([""] * size if together is None else together.first[:size], type=pa.string())
    return pa.table(columns)


def _genes(known: _Known, told: Array) -> pa.Table:
    """One row a gene and tissue: mean log2(CPM + 1), z-score, what was told of it, tau, whether it is specific."""
    found = known.found
    genes = found.genes[known.columns]
    chosen = tissues.specific(found)
    size = len(found.tissues)
    marked = np.zeros(found.z.shape, dtype=bool)
    for mark, columns in zip(marked, chosen.values(), strict=True):
        mark[columns] = True
    return pa.table(
        {
            "gene_id": pa.array(np.tile(genes, size).tolist(), type=pa.string()),
            "tissue": pa.array(np.repeat(found.tissues, len(genes)).tolist(), type=pa.string()),
            "mean": pa.array(found.mean[:, known.columns].ravel()),
            "z": pa.array(found.z[:, known.columns].ravel()),
            "z_told": pa.array(told[:, :size].T.ravel()),
            "tau": pa.array(np.tile(found.tau[known.columns], size)),
            "specific": pa.array(marked[:, known.columns].ravel()),
        }
    )
