"""Stability as a task: the figures of ``analysis.stability``, which has oracles of its own, over genes by symbol."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from g2v_dask.analysis import stability as analysis
from g2v_dask.analysis.stability import Vectors
from g2v_dask.errors import InputError
from g2v_dask.evaluation import stability
from g2v_dask.evaluation.base import ROWS, Subject
from g2v_dask.genes import GeneTable
from g2v_dask.spec import EvaluateSpec

TABLE = GeneTable.load()
ROWS_OF_TABLE = [i for i, kind in enumerate(TABLE.kinds) if kind == "protein-coding" and TABLE.ensembl[i]][:200]
SYMBOLS = [TABLE.symbol[i] for i in ROWS_OF_TABLE]
ENSEMBL = [TABLE.ensembl[i].split("|")[0] for i in ROWS_OF_TABLE]
FIRST = np.random.default_rng(0).normal(size=(200, 8)).astype(np.float32)
NEAR = (FIRST + np.random.default_rng(1).normal(scale=0.5, size=(200, 8))).astype(np.float32)
FAR = np.random.default_rng(2).normal(size=(200, 5)).astype(np.float32)


def subject(**beside: Vectors) -> Subject:
    return Subject(
        name="e",
        genes=np.array(SYMBOLS),
        vectors=FIRST,
        table=TABLE,
        background=None,
        beside=beside,  # type: ignore[arg-type]
    )


def of(genes: list[str], vectors: NDArray[np.float32]) -> Vectors:
    return np.array(genes), vectors


def judged(one: Subject, **given: Any) -> list[dict[str, Any]]:
    spec = EvaluateSpec(tasks=("stability",), beside=tuple(one.beside), **given)
    (unit,) = stability.units(one, spec)
    rows: list[dict[str, Any]] = stability.sum_up(one, spec, stability.run(one, spec, unit, lambda *_: None))[
        ROWS
    ].to_pylist()
    return rows


def test_stability__is_that_of_the_analysis() -> None:
    rows = judged(subject(near=of(SYMBOLS, NEAR)))
    found = analysis.compare({"e": of(SYMBOLS, FIRST), "near": of(SYMBOLS, NEAR)})
    pair = found.pairs["e", "near"]
    told = {r["metric"]: (r["value"], r["low"], r["high"]) for r in rows}
    for overlap in pair.overlaps:
        assert told[f"overlap@{overlap.k}"] == (overlap.mean, overlap.low, overlap.high)
    assert told["procrustes"][0] == pair.procrustes
    assert told["rank correlation"][0] == pair.rank_correlation
    assert len(rows) == 4
    assert {(r["on"], r["genes"], r["coverage"], r["baseline"]) for r in rows} == {("near", 200, 1.0, "")}
    assert 0.3 < told["overlap@10"][0] < 0.95


def test_stability__each_beside_and_all_pairs() -> None:
    rows = judged(subject(near=of(SYMBOLS, NEAR), far=of(SYMBOLS[::-1], FAR[::-1])), baselines=True)
    value = {(r["on"], r["metric"], r["model"]): r["value"] for r in rows}
    assert {r["on"] for r in rows} == {"near", "far", "all pairs"}
    assert value["near", "overlap@10", ""] > 3 * value["far", "overlap@10", ""]
    found = analysis.compare({n: of(SYMBOLS, v) for n, v in (("e", FIRST), ("near", NEAR), ("far", FAR))})
    assert value["all pairs", "overlap@50", ""] == found.all.overlaps[1].mean
    assert value["all pairs", "overlap@10", "chance"] == 10 / 199
    assert [r["baseline"] for r in rows if r["model"] == "chance"] == ["baseline"] * 2


def test_stability__words_of_another_kind_meet_by_symbol() -> None:
    same = judged(subject(near=of(SYMBOLS, NEAR)))
    order = np.random.default_rng(3).permutation(200)
    other = judged(subject(near=of([ENSEMBL[i] for i in order], NEAR[order])))
    values = [[r["value"] for r in rows] for rows in (same, other)]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-9)


def test_stability__only_shared_genes_and_their_share() -> None:
    rows = judged(subject(near=of([*SYMBOLS[:90], "another"], NEAR[:91])))
    assert {(r["genes"], r["coverage"]) for r in rows} == {(90, 0.45)}


def test_units__what_cannot_be_compared() -> None:
    spec = EvaluateSpec(tasks=("stability",), beside=("x",))
    for own, message in (
        ({"e": of(SYMBOLS, NEAR)}, "e is compared with others, and --beside names it once more"),
        ({"x": of(SYMBOLS[:50], NEAR[:50])}, "e and x have 50 genes in common, and the 50 nearest"),
        ({"x": of(SYMBOLS[:19], NEAR[:19])}, r"stability: e has 9\.5 % of its genes"),
    ):
        with pytest.raises(InputError, match=message):
            stability.units(subject(**own), spec)
    assert len(stability.units(subject(x=of(SYMBOLS[:51], NEAR[:51])), spec)) == 1
    with pytest.raises(InputError, match=r"least-coverage = 0\.5"):
        stability.units(subject(x=of(SYMBOLS[:51], NEAR[:51])), replace(spec, least_coverage=0.5))
