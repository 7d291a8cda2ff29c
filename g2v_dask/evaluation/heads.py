"""Simple heads on the vectors of two genes: cosine, and a logistic regression on what the vectors make of a pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from g2v_dask.evaluation.pairlists import Labels, Pairs

CS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # scikit-learn's C, of standardised features: the larger, the weaker the ridge
BLOCK = 8192  # pairs at once, where a copy of all would be made

Vectors = NDArray[np.float32]
Features = NDArray[np.float32]

HEADS: Mapping[str, Callable[[Vectors, Vectors], Features]] = {
    "sum": lambda a, b: a + b,
    "product": lambda a, b: a * b,
    "absolute difference": lambda a, b: np.abs(a - b),
    "concatenation": lambda a, b: np.concatenate([a, b], axis=1),
}
WIDTH = {head: 2 if head == "concatenation" else 1 for head in HEADS}  # features a component


def features(head: str, vectors: Vectors, pairs: Pairs) -> Features:
    """(pairs, components) what a head sees of each pair; of a concatenation twice as many.

    The first three are the same for either order of the two genes.
    """
    made: Features = np.empty((len(pairs), WIDTH[head] * vectors.shape[1]), dtype=np.float32)
    for start in range(0, len(pairs), BLOCK):
        some = pairs[start : start + BLOCK]
        made[start : start + BLOCK] = HEADS[head](vectors[some[:, 0]], vectors[some[:, 1]])
    return made


def cosine(vectors: Vectors, pairs: Pairs) -> NDArray[np.float32]:
    """(pairs,) the cosine of two genes' vectors; 0 where one is zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    products: NDArray[np.float32] = np.einsum("ij,ij->i", unit[pairs[:, 0]], unit[pairs[:, 1]])
    return products


@dataclass(frozen=True, kw_only=True, eq=False)
class Logistic:
    """A fitted logistic regression."""

    c: float
    """Of ``CS``, the one with the highest AUC on the validation pairs; of equal ones the smallest."""
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    """(features,) of the training pairs."""
    weights: NDArray[np.float64]
    """(features,) of standardised features."""
    shift: float

    def score(self, given: Features) -> NDArray[np.float32]:
        """(pairs,) log odds."""
        return np.asarray(((given - self.mean) / self.scale) @ self.weights + self.shift, dtype=np.float32)


def fit(train: Features, labels: Labels, valid: Features, valid_labels: Labels) -> Logistic:
    """Learns from the training pairs; the validation pairs only choose C. Both are overwritten.

    Features are standardised by the training pairs, so that the scale of the vectors does not matter. Newton's method:
    exact in a few steps, where pairs are many more than features.
    Memory: 8 bytes a training pair and feature, with the features themselves.
    """
    mean = train.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = _deviation(train, mean)
    for given in (train, valid):
        given -= mean
        given /= scale
    if not train.any():  # no feature varies: nothing is learned, and Newton's steps would lead nowhere
        nothing = np.zeros(train.shape[1])
        return Logistic(c=CS[0], mean=mean, scale=scale, weights=nothing, shift=0.0)
    model = LogisticRegression(solver="newton-cholesky", warm_start=True)
    best: tuple[float, float, NDArray[np.float64], float] | None = None
    for c in CS:
        model.set_params(C=c).fit(train, labels)
        auc = float(roc_auc_score(valid_labels, model.decision_function(valid)))
        if best is None or auc > best[0]:
            best = auc, c, model.coef_[0].astype(np.float64), float(model.intercept_[0])
    assert best is not None  # CS is not empty
    _, c, weights, shift = best
    return Logistic(c=c, mean=mean, scale=scale, weights=weights, shift=shift)


def _deviation(given: Features, mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """(features,) standard deviation; 1 for a feature that does not vary."""
    squares = np.zeros(given.shape[1])
    for start in range(0, len(given), BLOCK):
        squares += np.square(given[start : start + BLOCK] - mean, dtype=np.float64).sum(axis=0)
    deviation = np.sqrt(squares / len(given)).astype(np.float32)
    return np.where(deviation > 0, deviation, np.float32(1))
