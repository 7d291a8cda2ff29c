"""Figures of draws of genes against scikit-learn with weights; intervals that are as wide as they must be."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from g2v_dask.evaluation import intervals


def made(genes: int, pairs: int, *, tied: bool, seed: int = 0):
    random = np.random.default_rng(seed)
    first = random.integers(0, genes, pairs)
    chosen = np.column_stack([first, (first + random.integers(1, genes, pairs)) % genes]).astype(np.int32)
    labels = (random.random(pairs) < 0.4).astype(np.int8)
    scores = (random.normal(size=pairs) + 0.7 * labels).astype(np.float32)
    return chosen, labels, np.round(scores) if tied else scores


def test_drawn__as_many_genes_as_there_are() -> None:
    draws = intervals.drawn(50, 400, np.random.default_rng(0))
    assert draws.shape == (50, 400)
    assert (draws.sum(axis=0, dtype=int) == 50).all()
    assert draws.mean() == 1
    assert draws.var() == pytest.approx(1 - 1 / 50, abs=0.03)  # binomial(50, 1 / 50)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("pairs", [60, 700])
def test_resampled__is_that_of_scikit_learn_with_weights(pairs: int, tied: bool) -> None:
    chosen, labels, scores = made(40, pairs, tied=tied)
    draws = intervals.drawn(40, 40, np.random.default_rng(1))  # more than a block
    found = intervals.resampled(scores, labels, chosen, draws)
    for draw in range(40):
        weight = draws[chosen[:, 0], draw].astype(float) * draws[chosen[:, 1], draw]
        assert found[0, draw] == pytest.approx(roc_auc_score(labels, scores, sample_weight=weight), abs=1e-12)
        assert found[1, draw] == pytest.approx(average_precision_score(labels, scores, sample_weight=weight), abs=1e-12)


def test_resampled__constant_scores_tell_nothing() -> None:
    chosen, labels, _ = made(40, 300, tied=False)
    draws = intervals.drawn(40, 20, np.random.default_rng(1))
    auc, precision = intervals.resampled(np.zeros(300, dtype=np.float32), labels, chosen, draws)
    assert auc.tolist() == [0.5] * 20
    weight = np.multiply(draws[chosen[:, 0]], draws[chosen[:, 1]], dtype=float)
    assert precision == pytest.approx((weight * labels[:, None]).sum(axis=0) / weight.sum(axis=0))


def test_figures__draws_without_a_label_take_no_part() -> None:
    pairs = np.array([[0, 1], [2, 3], [0, 2]], dtype=np.int32)
    labels, scores = np.array([1, 0, 0], dtype=np.int8), np.array([[3, 1, 2]], dtype=np.float32)
    draws = np.array([[1, 0, 2], [1, 2, 2], [1, 1, 0], [1, 1, 0]], dtype=np.uint8)  # no positive in the second draw,
    found = intervals.figures(scores, labels, pairs, draws)  # no negative in the third
    assert [(f.value, f.low, f.high) for f in found.values()] == [(1, 1, 1), (1, 1, 1)]
    nothing = intervals.figures(scores, labels, pairs, draws[:, 1:])
    assert np.isnan([nothing["auc"].low, nothing["average precision"].high]).all()


def test_figures__mean_and_deviation_over_runs() -> None:
    chosen, labels, scores = made(40, 500, tied=False)
    other = made(40, 500, tied=False, seed=3)[2]
    runs = np.stack([scores, other])
    draws = intervals.drawn(40, 200, np.random.default_rng(1))
    found = intervals.figures(runs, labels, chosen, draws)["auc"]
    each = [roc_auc_score(labels, run) for run in runs]
    assert (found.value, found.sd) == pytest.approx((np.mean(each), np.std(each, ddof=1)))
    again = np.mean([intervals.resampled(run, labels, chosen, draws)[0] for run in runs], axis=0)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(again, [0.025, 0.975])))
    assert np.isnan(intervals.figures(runs[:1], labels, chosen, draws)["auc"].sd)


def test_figures__intervals_hold_the_truth_where_genes_bring_it() -> None:
    """95 of 100 worlds: genes bring half of what score and label are made of, so pairs of one gene are alike.

    Intervals that take the 780 pairs of 40 genes for independent (Hanley and McNeil 1982) are far too narrow.
    """
    random = np.random.default_rng(7)
    first, second = np.triu_indices(40, 1)
    pairs = np.column_stack([first, second]).astype(np.int32)

    def world() -> tuple[np.ndarray, np.ndarray]:
        active, told = random.normal(size=(2, 40)), random.normal(size=(2, 40))
        made = [
            kind[0][first] + kind[0][second] + kind[1][first] * kind[1][second] + random.normal(size=len(first))
            for kind in (active, 0.7 * (active + told))
        ]
        return made[1].astype(np.float32), (made[0] > 0).astype(np.int8)

    truth = np.mean([roc_auc_score(labels, scores) for scores, labels in (world() for _ in range(400))])
    held = {"genes": 0, "pairs": 0}
    for _ in range(100):
        scores, labels = world()
        found = intervals.figures(scores[None], labels, pairs, intervals.drawn(40, 128, random))["auc"]
        held["genes"] += found.low <= truth <= found.high
        a, yes = found.value, int(labels.sum())
        no = len(labels) - yes
        spread = (yes - 1) * (a / (2 - a) - a * a) + (no - 1) * (2 * a * a / (1 + a) - a * a)
        held["pairs"] += abs(a - truth) <= 1.96 * np.sqrt((a * (1 - a) + spread) / (yes * no))
    assert 90 <= held["genes"] <= 99
    assert held["pairs"] <= 78
