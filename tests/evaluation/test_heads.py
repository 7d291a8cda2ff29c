"""Cosine and logistic heads against SciPy and scikit-learn; C chosen on validation, never anywhere else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cosine as distance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from g2v_dask.evaluation import heads


def made(pairs: int, features: int, seed: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng([3, seed])
    given = (random.normal(size=(pairs, features)) * np.arange(1, features + 1)).astype(np.float32)
    told = given / np.arange(1, features + 1) @ np.linspace(-1, 1, features)
    return given + np.float32(2), (told + noise * random.normal(size=pairs) > 0).astype(np.int8)


def test_cosine__is_that_of_scipy() -> None:
    vectors = np.random.default_rng(0).normal(size=(9, 5)).astype(np.float32)
    vectors[8] = 0
    pairs = np.array([[0, 1], [2, 7], [5, 5], [8, 3]], dtype=np.int32)
    found = heads.cosine(vectors, pairs)
    assert found[:3] == pytest.approx([1 - distance(vectors[a], vectors[b]) for a, b in pairs[:3]], abs=1e-6)
    assert found[3] == 0  # a vector of zeros has no direction


def test_features__by_hand_and_over_blocks() -> None:
    vectors = np.array([[1, -2], [3, 5]], dtype=np.float32)
    pairs = np.tile(np.array([[0, 1], [1, 0]], dtype=np.int32), (heads.BLOCK, 1))  # two blocks
    wanted = {
        "sum": [[4, 3], [4, 3]],
        "product": [[3, -10], [3, -10]],
        "absolute difference": [[2, 7], [2, 7]],
        "concatenation": [[1, -2, 3, 5], [3, 5, 1, -2]],
    }
    assert set(wanted) == set(heads.HEADS)
    for head, rows in wanted.items():
        found = heads.features(head, vectors, pairs)
        assert found.dtype == np.float32
        assert (found == np.tile(rows, (heads.BLOCK, 1))).all()


def test_fit__is_that_of_scikit_learn() -> None:
    (train, labels), (valid, valid_labels) = made(2000, 6, 0), made(300, 6, 1)
    seen, asked = train.copy(), valid.copy()
    model = heads.fit(train, labels, valid, valid_labels)
    auc = {}
    for c in heads.CS:
        oracle = make_pipeline(StandardScaler(), LogisticRegression(C=c, tol=1e-8, max_iter=1000))
        oracle.fit(seen.astype(np.float64), labels)
        auc[c] = roc_auc_score(valid_labels, oracle.decision_function(asked))
        if c == model.c:
            assert model.weights == pytest.approx(oracle[1].coef_[0], rel=1e-3)
            assert model.score(asked) == pytest.approx(oracle.decision_function(asked), abs=1e-3)
    assert auc[model.c] == pytest.approx(max(auc.values()), abs=1e-6)


def test_fit__validation_pairs_choose_the_penalty() -> None:
    """20 pairs and 12 features of noise: the weaker the penalty, the worse; with the training pairs it is reversed."""
    train, labels = made(24, 12, 0, noise=6.0)
    valid, valid_labels = made(4000, 12, 1)
    by_valid = heads.fit(train.copy(), labels, valid, valid_labels)
    by_train = heads.fit(train.copy(), labels, train.copy(), labels)
    assert by_valid.c < by_train.c


def test_fit__size_of_vectors_does_not_matter() -> None:
    (train, labels), (valid, valid_labels) = made(500, 4, 0), made(300, 4, 1)
    one = heads.fit(train.copy(), labels, valid.copy(), valid_labels)
    other = heads.fit(train * np.float32(1024), labels, valid * np.float32(1024), valid_labels)
    assert (one.weights == other.weights).all()


def test_fit__a_feature_that_does_not_vary_and_labels_that_are_told_wholly() -> None:
    (train, _), (valid, _) = made(500, 4, 0), made(300, 4, 1)
    train[:, 2], valid[:, 2] = 7, 7
    model = heads.fit(train.copy(), train[:, 0] > 2, valid.copy(), valid[:, 0] > 2)
    assert model.weights[2] == 0
    assert roc_auc_score(valid[:, 0] > 2, model.score(valid)) > 0.999


def test_fit__features_that_do_not_vary_tell_nothing() -> None:
    (train, labels), (valid, valid_labels) = made(500, 3, 0), made(300, 3, 1)
    train[:] = 7
    model = heads.fit(train, labels, valid.copy(), valid_labels)
    assert (model.score(valid) == 0).all()
