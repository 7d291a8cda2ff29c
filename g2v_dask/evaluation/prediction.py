"""Can the genes of a set be told from others by their vectors?

For each set of 20 to 200 genes that the embedding has: its genes against 20 times as many others (at most 4,000), by a
support vector machine with a radial kernel (γ as scikit-learn's ``scale``, of all vectors) and balanced classes. Three
stratified folds are held out in turn; C is chosen by three folds within the genes that are left. AUROC and AUPRC are
means over the three folds, and then over sets.

The others are drawn from the genes that are in some set of the same collection: a gene that no set knows is no known
negative, and tells itself by being studied little.

Baselines: normal random vectors; a PCA of the expression that the embedding learned from, with as many components, each
gene standardised within each dataset, and at the mean of all genes where a dataset does not have it; and, without
vectors and training, the number of sets that a gene is in, by which much-studied genes are told (Gillis & Pavlidis
2011). Of these the set itself is left out, and what holds it whole or lies in it, which would tell its genes.

Random vectors come out a little under 0.5: where a fold holds more of what is alike by chance, the others hold less.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import sklearn
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import StratifiedKFold
from sklearn.svm import SVC

from g2v_dask.evaluate_spec import EvaluateSpec
from g2v_dask.evaluation import expression
from g2v_dask.evaluation import sets as gene_sets
from g2v_dask.evaluation.base import ROWS, Progress, Subject, Tables, TooLittleError, Unit, row, rows_table
from g2v_dask.evaluation.sets import GeneSets, mean_interval

TASK = "prediction"
LEAST, MOST = 20, 200  # known genes of a set
PER_GENE, MOST_OTHERS = 20, 4000
OUTER, INNER = 3, 3  # folds; more of the outer ones would leave small sets fewer than seven genes to be asked about
GRID = (0.1, 1.0, 10.0)  # C
CHUNK = 10  # sets a unit
SAMPLES = 4096  # of the largest dataset, for the memory of a part: its true size is not known before it is read
EMBEDDING, RANDOM, EXPRESSION, COUNT = "", "random vectors", "expression PCA", "annotation count"
FOUND = "scored"  # the table of a unit
# What a stream of chance is for: the second number of its seed.
OF_CHOICE, OF_OTHERS, OF_VECTORS, OF_PCA, OF_INTERVALS = range(4, 9)


@dataclass(frozen=True, kw_only=True, eq=False)
class Chosen:
    """The sets that are asked about."""

    all: GeneSets
    numbers: tuple[int, ...]
    """Their places among all."""
    known: Mapping[int, NDArray[np.int64]]
    """Place to rows; of all sets."""
    universe: Mapping[str, NDArray[np.int64]]
    """Collection to the rows that are in some set of it, ascending."""

    def of(self, number: int) -> str:
        """The collection of a set."""
        return str(self.all.collection[number])


# -- which sets -----------------------------------------------------------------------------------------------


def units(subject: Subject, spec: EvaluateSpec) -> tuple[Unit, ...]:
    """Some of the sets, by the embedding or by a baseline.

    Raises: InputError if a file is wrong; TooLittleError if the embedding has too few of the genes, or no set is of
            use.
    """
    chosen = _chosen(subject, spec)
    by_size = sorted(chosen.numbers, key=lambda number: (-len(chosen.known[number]), number))
    count = -(-len(by_size) // CHUNK)
    dealt = [tuple(by_size[start::count]) for start in range(count)]
    found = [
        Unit(
            label=f"{TASK}, {model or 'embedding'}, part {start + 1} of {count} of the sets",
            bytes=_bytes(subject, chosen, numbers, model),
            given=(model, numbers),
        )
        for model in _models(subject, spec)
        for start, numbers in enumerate(dealt)
    ]
    if spec.baselines:
        need = 64 * sum(len(rows) for rows in chosen.known.values())
        found.append(Unit(label=f"{TASK}, {COUNT}", bytes=need, given=(COUNT, chosen.numbers)))
    return tuple(found)


def _models(subject: Subject, spec: EvaluateSpec) -> tuple[str, ...]:
    """What has vectors."""
    if not spec.baselines:
        return (EMBEDDING,)
    measured = next(iter(subject.background.expression()), None) is not None
    return (EMBEDDING, RANDOM, EXPRESSION) if measured else (EMBEDDING, RANDOM)


def _bytes(subject: Subject, chosen: Chosen, numbers: Sequence[int], model: str) -> int:
    """A kernel in float32 with what it is made of, the part of it that is learned from in float64, and its copies."""
    genes, components = subject.vectors.shape
    asked = max(len(chosen.known[number]) for number in numbers) * (1 + PER_GENE)
    wide = 40 * (components + expression.SPARE) + 4 * SAMPLES + 16 * expression.BLOCK
    return 16 * asked**2 + 2 * subject.vectors.nbytes + (genes * wide if model == EXPRESSION else 0)


@lru_cache(maxsize=1)
def _chosen(subject: Subject, spec: EvaluateSpec) -> Chosen:
    sets = gene_sets.read(subject, go=True)
    every = range(len(sets.names))
    subject.covered(TASK, sets.share(every), spec.least_coverage)
    known = {number: sets.known(number) for number in every}
    universe: dict[str, NDArray[np.int64]] = {}
    for label in dict.fromkeys(sets.collection.tolist()):
        mine = [known[number] for number in np.flatnonzero(sets.collection == label).tolist()]
        universe[label] = np.unique(np.concatenate(mine))
    fit = [n for n in every if _fits(len(known[n]), len(universe[str(sets.collection[n])]))]
    if not fit:
        msg = (
            f"{TASK}: no set has {LEAST} to {MOST} genes that {subject.name} knows, beside at least as many known "
            f"genes in other sets of its file; take files of more sets, or --go"
        )
        raise TooLittleError(msg)
    numbers = tuple(fit) if spec.all_sets else _drawn(sets, known, fit, spec)
    return Chosen(all=sets, numbers=numbers, known=known, universe=universe)


def _fits(known: int, universe: int) -> bool:
    return LEAST <= known <= MOST and 2 * known <= universe


def _drawn(
    sets: GeneSets, known: Mapping[int, NDArray[np.int64]], fit: Sequence[int], spec: EvaluateSpec
) -> tuple[int, ...]:
    """As many sets as wanted, as evenly from the collections as they allow; of each across its sizes.

    A collection's sets are laid in the order of their sizes, cut into as many stretches as sets are wanted, and one of
    each stretch is drawn.
    """
    pools: dict[str, list[int]] = {}
    for number in fit:
        pools.setdefault(str(sets.collection[number]), []).append(number)
    drawn: list[int] = []
    for done, label in enumerate(sorted(pools, key=lambda label: (len(pools[label]), label))):
        wanted = min(len(pools[label]), (spec.sets - len(drawn)) // (len(pools) - done))
        chance = np.random.default_rng([spec.seed, OF_CHOICE, _key(label)])
        ordered = sorted(pools[label], key=lambda number: (len(known[number]), sets.names[number]))
        stretches = np.array_split(np.array(ordered), wanted) if wanted else []
        drawn += [int(chance.choice(stretch)) for stretch in stretches]
    return tuple(sorted(drawn))


def _key(name: str) -> int:
    """A name as part of a seed, so that what is drawn for a set does not depend on the others."""
    return zlib.crc32(name.encode())


# -- one set --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """The genes of one set, and as many others as are wanted."""

    rows: NDArray[np.int64]
    inside: NDArray[np.bool_]
    """(rows,) whether it is a gene of the set."""
    seed: int
    """Of the folds."""


def _question(chosen: Chosen, number: int, seed: int) -> Question:
    known = chosen.known[number]
    others = np.setdiff1d(chosen.universe[chosen.of(number)], known, assume_unique=True)
    chance = np.random.default_rng([seed, OF_OTHERS, _key(chosen.all.names[number])])
    drawn = chance.choice(others, min(len(others), PER_GENE * len(known), MOST_OTHERS), replace=False)
    rows = np.concatenate([known, drawn])
    return Question(rows=rows, inside=np.arange(len(rows)) < len(known), seed=int(chance.integers(1 << 31)))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How well a set's genes were told from the others; means over the folds."""

    auroc: float
    auprc: float
    penalty: float
    """The C that was chosen, median over the folds; NaN where nothing was learned."""


def predicted(kernel: NDArray[np.float32], question: Question) -> Answer:
    """A machine learned from two thirds of the genes and asked about the last, in turn.

    Memory: 12 bytes a cell of the kernel, with the kernel.
    Parameters: kernel   (rows, rows) of the question's genes; shared by all folds and all C.
    Oracle: sklearn.model_selection.GridSearchCV, fold by fold.
    """
    decided, penalties = [], []
    for train, test in _folds(OUTER, question.inside, question.seed):
        penalties.append(_best(kernel, question, train))
        decided += _decisions(kernel, question.inside, train, test, penalties[-1:])
    return _answer(question, decided, float(np.median(penalties)))


def counted(question: Question, counts: NDArray[np.int64]) -> Answer:
    """The same folds, told apart by a number that needs no learning. Parameters: counts   (rows,)."""
    return _answer(question, [counts[test] for _, test in _folds(OUTER, question.inside, question.seed)], np.nan)


def _answer(question: Question, decided: Sequence[NDArray[Any]], penalty: float) -> Answer:
    """Parameters: decided   of each fold, a number for each gene that was held out; larger: in the set."""
    truth = [question.inside[test] for _, test in _folds(OUTER, question.inside, question.seed)]
    areas = [auroc(t, d) for t, d in zip(truth, decided, strict=True)]
    precisions = [average_precision_score(t, d) for t, d in zip(truth, decided, strict=True)]
    return Answer(auroc=float(np.mean(areas)), auprc=float(np.mean(precisions)), penalty=penalty)


def auroc(inside: NDArray[np.bool_], decided: NDArray[Any]) -> float:
    """The chance that a gene of the set is seen further on its side than another gene; ties count half.

    Asked 30 times a set, scikit-learn's own would take longer than the machines of a small set.
    Parameters: inside   (genes,) some, not all; decided: (genes,) finite.
    Source:     Mann & Whitney 1947.   Oracle: sklearn.metrics.roc_auc_score.
    """
    own = int(inside.sum())
    ranks = rankdata(decided)[inside].sum()
    return float((ranks - own * (own + 1) / 2) / (own * (len(inside) - own)))


def _folds(count: int, inside: NDArray[np.bool_], seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """What is learned from, and what is asked about."""
    splits: Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]
    splits = StratifiedKFold(count, shuffle=True, random_state=seed).split(inside, inside)
    return splits


def _best(kernel: NDArray[np.float32], question: Question, train: NDArray[np.int64]) -> float:
    """The C of the best mean AUROC on folds of the training genes alone; of equals the smallest."""
    scores = np.zeros(len(GRID))
    for first, second in _folds(INNER, question.inside[train], question.seed):
        decided = _decisions(kernel, question.inside, train[first], train[second], GRID)
        scores += [auroc(question.inside[train[second]], one) for one in decided]
    return GRID[int(scores.argmax())]


def _decisions(
    kernel: NDArray[np.float32],
    inside: NDArray[np.bool_],
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    penalties: Sequence[float],
) -> list[NDArray[np.float64]]:
    """For each C, how far on the set's side a machine learned from ``train`` sees each of ``test``."""
    learned = kernel[np.ix_(train, train)].astype(np.float64)  # libsvm's type: it would copy once for each C
    asked = kernel[np.ix_(test, train)].astype(np.float64)
    machines = (SVC(C=penalty, kernel="precomputed", class_weight="balanced") for penalty in penalties)
    with sklearn.config_context(assume_finite=True):  # a kernel is; looking at each of its cells costs as much as a fit
        return [machine.fit(learned, inside[train]).decision_function(asked) for machine in machines]


# -- models ---------------------------------------------------------------------------------------------------


def run(subject: Subject, spec: EvaluateSpec, unit: Unit, progress: Progress) -> Tables:
    """The figures of some sets by one model."""
    model, numbers = unit.given
    chosen = _chosen(subject, spec)
    answers = _by_count if model == COUNT else _by_vectors
    rows = []
    for done, (number, question, answer) in enumerate(answers(subject, spec, chosen, model, numbers)):
        progress(done, len(numbers), chosen.all.names[number])
        rows.append(
            {
                "collection": chosen.of(number),
                "set": chosen.all.names[number],
                "model": model,
                "size": len(chosen.all.genes[number]),
                "known": int(question.inside.sum()),
                "others": int((~question.inside).sum()),
                "auroc": answer.auroc,
                "auprc": answer.auprc,
                "penalty": answer.penalty,
            }
        )
    return {FOUND: pa.Table.from_pylist(rows)}


Answers = Iterator[tuple[int, Question, Answer]]


def _by_vectors(subject: Subject, spec: EvaluateSpec, chosen: Chosen, model: str, numbers: Sequence[int]) -> Answers:
    vectors = _vectors(subject, model, spec.seed)
    variance = float(vectors.var(dtype=np.float64))
    gamma = 1 / (vectors.shape[1] * variance) if variance else 1.0  # scikit-learn's 'scale'
    for number in numbers:
        question = _question(chosen, number, spec.seed)
        yield number, question, predicted(rbf_kernel(vectors[question.rows], gamma=gamma), question)


def _vectors(subject: Subject, model: str, seed: int) -> NDArray[np.float32]:
    """(genes, components) of a model."""
    if model == RANDOM:
        drawn = np.random.default_rng([seed, OF_VECTORS])
        return drawn.standard_normal(subject.vectors.shape, dtype=np.float32)
    return _expression(subject, seed) if model == EXPRESSION else subject.vectors


def _by_count(subject: Subject, spec: EvaluateSpec, chosen: Chosen, model: str, numbers: Sequence[int]) -> Answers:
    for label in dict.fromkeys(chosen.of(number) for number in numbers):
        mine = np.flatnonzero(chosen.all.collection == label).tolist()
        held = [chosen.known[number] for number in mine]
        starts = np.concatenate([[0], np.cumsum([len(rows) for rows in held])])
        contained = csr_array(
            (np.ones(starts[-1], dtype=np.int64), np.concatenate(held), starts), shape=(len(mine), len(subject.genes))
        )
        for number in (n for n in numbers if chosen.of(n) == label):
            question = _question(chosen, number, spec.seed)
            counts = annotation_counts(contained, mine.index(number))
            yield number, question, counted(question, counts[question.rows])


def annotation_counts(contained: csr_array, number: int) -> NDArray[np.int64]:
    """In how many sets each gene is, of those that neither hold one set whole nor lie in it.

    Parameters: contained   (sets, genes) 1 where a set holds a gene.
                number      the row of that set.
    """
    of_set = np.asarray(contained[[number]].todense()).ravel()
    shared, sizes = contained @ of_set, np.asarray(contained.sum(axis=1)).ravel()
    apart = (shared < of_set.sum()) & (shared < sizes)
    return np.asarray(apart.astype(np.int64) @ contained, dtype=np.int64)


@lru_cache(maxsize=1)
def _expression(subject: Subject, seed: int) -> NDArray[np.float32]:
    """(genes, components) of a PCA of the expression; read once a process."""
    rows = {gene: row for row, gene in enumerate(subject.genes.tolist())}
    count = subject.vectors.shape[1]
    return expression.components(subject.background.expression, rows, count, within=True, key=(seed, OF_PCA))


# -- figures --------------------------------------------------------------------------------------------------


def sum_up(subject: Subject, spec: EvaluateSpec, tables: Tables) -> Tables:
    """Mean AUROC and AUPRC over sets, by collection and together; and ``sets``, a row a set and model."""
    chosen = _chosen(subject, spec)
    found = tables[FOUND]
    rows: list[dict[str, Any]] = []
    for label, inside in chosen.all.collections().items():
        universe = [rows for name, rows in chosen.universe.items() if label in (name, gene_sets.TOGETHER)]
        coverage = chosen.all.share(np.flatnonzero(inside).tolist())
        here = found if label == gene_sets.TOGETHER else found.filter(pc.equal(found["collection"], label))
        for model in here["model"].unique().to_pylist():
            mine = here.filter(pc.equal(here["model"], model))
            for metric in ("auroc", "auprc"):
                values = mine[metric].to_numpy()
                low, high = mean_interval(values, resamples=spec.bootstrap, key=(spec.seed, OF_INTERVALS))
                rows.append(
                    row(
                        task=TASK,
                        on=label,
                        model=model,
                        metric=metric,
                        value=float(values.mean()),
                        low=low,
                        high=high,
                        baseline="baseline" if model else "",
                        genes=len(np.unique(np.concatenate(universe))),
                        coverage=coverage,
                        seed=spec.seed,
                    )
                )
    order = [("model", "ascending"), ("auroc", "descending"), ("set", "ascending")]
    return {ROWS: rows_table(rows), "sets": found.sort_by(order)}
