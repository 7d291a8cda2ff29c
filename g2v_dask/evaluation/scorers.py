"""What scores pairs of genes: models of their vectors, and baselines that need none.

A model is made of training pairs, and of validation pairs that choose; it is then a function of pairs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from g2v_dask.evaluate_spec import EvaluateSpec
from g2v_dask.evaluation import degrees, ggipnn, heads
from g2v_dask.evaluation.base import Progress, Subject
from g2v_dask.evaluation.known_pairs import Known, terms
from g2v_dask.evaluation.pairlists import Pairs, Split

COSINE, HEAD, GGIPNN = "cosine", "logistic {}", "ggipnn {}"
CHOSEN = "chosen"  # the best of those that may be chosen
TOGETHER = "all gene properties"
COUNTED = ("degree", "positive degree")  # how many pairs of the list a gene is in; how many positive ones
ORDER = "alphabetical order"

Scorer = Callable[[Pairs], NDArray[np.float32]]


def names(spec: EvaluateSpec) -> Iterator[tuple[str, int]]:
    """The models that are asked for, each with its seed; the slow ones first."""
    if "ggipnn" in spec.models:
        for mode in ggipnn.MODES:
            yield from ((GGIPNN.format(mode), spec.seed + run) for run in range(spec.seeds))
    if "heads" in spec.models:
        yield from ((HEAD.format(head), spec.seed) for head in heads.HEADS)
    if "cosine" in spec.models:
        yield COSINE, spec.seed


def kind_of(model: str) -> str:
    """Empty for what scores the embedding's vectors, else ``baseline`` or ``transductive``."""
    if model == CHOSEN or may_be_chosen(model) or model == GGIPNN.format("trainable"):
        return ""
    reads_list = model == ORDER or any(model.startswith(f"{count} ") for count in COUNTED)
    return "transductive" if reads_list else "baseline"


def may_be_chosen(model: str) -> bool:
    """The network with the vectors as they are, and the simple heads."""
    return model in (COSINE, GGIPNN.format("frozen")) or model.startswith(HEAD.format(""))


def learned(
    vectors: NDArray[np.float32], model: str, train: Split, valid: Split, *, seed: int, progress: Progress
) -> Scorer:
    """One of ``names``, made of the vectors."""
    kind, _, way = model.partition(" ")
    if kind == "ggipnn":
        return ggipnn.fit(vectors, train, valid, mode=way, seed=seed, progress=progress).score
    if kind == "cosine":
        return lambda pairs: heads.cosine(vectors, pairs)
    return _head(lambda pairs: heads.features(way, vectors, pairs), train, valid)


def _head(features: Callable[[Pairs], heads.Features], train: Split, valid: Split) -> Scorer:
    """A logistic regression on what a function makes of pairs."""
    fitted = heads.fit(features(train.pairs), train.labels, features(valid.pairs), valid.labels)
    return lambda pairs: fitted.score(features(pairs))


# -- baselines ------------------------------------------------------------------------------------------------


def baselines(subject: Subject, known: Known, train: Split, valid: Split, *, go: bool) -> dict[str, Scorer]:
    """All of them.

    Parameters: go   whether annotations are at hand.
    """
    return {**_transductive(known), **_properties(_values(subject, known, go=go), train, valid)}


def _transductive(known: Known) -> dict[str, Scorer]:
    """What reads the list that it is scored on: how often it has each gene, and in which order it writes the two."""
    counts = (degrees.pairs_of_genes(known.listed), degrees.positives_of_genes(known.listed))
    scorers: dict[str, Scorer] = {}
    for name, of_genes in zip(COUNTED, counts, strict=True):
        values = np.log1p(of_genes[known.places])
        scorers |= {f"{name} {figure}": _figure(values, figure) for figure in degrees.FIGURES}
    # genes are sorted by symbol
    return {**scorers, ORDER: lambda pairs: (pairs[:, 0] < pairs[:, 1]).astype(np.float32)}


def _figure(values: NDArray[np.float64], figure: str) -> Scorer:
    return lambda pairs: degrees.figures(values, pairs)[figure].astype(np.float32)


def _properties(found: Mapping[str, NDArray[np.float64]], train: Split, valid: Split) -> dict[str, Scorer]:
    """A logistic regression on what two genes' values make of a pair, for each property and for all together."""

    def scorer(*values: NDArray[np.float64]) -> Scorer:
        return _head(lambda pairs: degrees.table_of(values, pairs).astype(np.float32), train, valid)

    scorers = {name: scorer(values) for name, values in found.items()}
    return {**scorers, TOGETHER: scorer(*found.values())} if len(found) > 1 else scorers


def _values(subject: Subject, known: Known, *, go: bool) -> dict[str, NDArray[np.float64]]:
    """Of each property that is known, a value a gene; a gene without one has the mean of the others."""
    found: dict[str, NDArray[np.float64]] = {}
    if go:
        annotated = terms(subject)
        found["GO annotations"] = np.log1p([len(annotated.get(gene, ())) for gene in known.genes.tolist()])
    moments, degree = subject.background.moments(), subject.background.degree()
    if moments:
        each = np.array([moments.get(word, (np.nan, np.nan)) for word in known.words])
        found |= {"expression mean": each[:, 0], "expression variance": np.log1p(each[:, 1])}
    if degree:
        found["co-expression degree"] = np.log1p([degree.get(word, np.nan) for word in known.words])
    known_of = {name: values for name, values in found.items() if not np.isnan(values).all()}
    return {name: np.where(np.isnan(values), np.nanmean(values), values) for name, values in known_of.items()}
