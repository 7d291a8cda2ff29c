"""Neighbours: what genes keep against naive loops, which genes are listed, and what chance keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from scipy.stats import hypergeom

from g2v_dask.analysis.stability import Vectors
from g2v_dask.errors import InputError
from g2v_dask.evaluation import neighbours
from g2v_dask.evaluation.base import ROWS, Subject, Tables
from g2v_dask.genes import GeneTable
from g2v_dask.query import cosine
from g2v_dask.spec import EvaluateSpec

TABLE = GeneTable.load()
NAMED = ["TP53", "EGFR", "CD3E"]
GENES = sorted([*NAMED, *(f"G{i:03d}" for i in range(77))])
FIRST = np.random.default_rng(0).normal(size=(80, 6)).astype(np.float32)
NEAR = (FIRST + np.random.default_rng(1).normal(scale=0.4, size=(80, 6))).astype(np.float32)


def subject(**beside: Vectors) -> Subject:
    return Subject(
        name="e",
        genes=np.array(GENES),
        vectors=FIRST,
        table=TABLE,
        background=None,
        beside=beside,  # type: ignore[arg-type]
    )


def judged(one: Subject, **given: Any) -> Tables:
    spec = EvaluateSpec(tasks=("neighbours",), beside=tuple(one.beside), **given)
    found: dict[str, list[pa.Table]] = {}
    for unit in neighbours.units(one, spec):
        for name, table in neighbours.run(one, spec, unit, lambda *_: None).items():
            found.setdefault(name, []).append(table)
    return neighbours.sum_up(one, spec, {name: pa.concat_tables(some) for name, some in found.items()})


def naive(vectors: NDArray[np.float32]) -> list[list[int]]:
    """The 10 rows of largest cosine, ties by row, as genes are sorted here."""
    rows = []
    for i in range(len(vectors)):
        others = sorted((-cosine(vectors[i], vectors[j]), j) for j in range(len(vectors)) if j != i)
        rows.append([j for _, j in others[:10]])
    return rows


def test_neighbours__is_a_naive_loop() -> None:
    order = np.random.default_rng(2).permutation(80)
    found = judged(subject(near=(np.array(GENES)[order], NEAR[order])), bootstrap=200)
    one, two = naive(FIRST), naive(NEAR)
    kept = np.array([len(set(a) & set(b)) / 10 for a, b in zip(one, two, strict=True)])
    same = np.array([a[0] == b[0] for a, b in zip(one, two, strict=True)])
    told = {r["metric"]: r for r in found[ROWS].to_pylist()}
    assert told["kept of 10"]["value"] == pytest.approx(kept.mean())
    assert told["none of 10 kept"]["value"] == pytest.approx((kept == 0).mean())
    assert told["same nearest gene"]["value"] == pytest.approx(same.mean())
    random = np.random.default_rng([1, neighbours.RESAMPLED])
    means = [kept[random.integers(0, 80, 80)].mean() for _ in range(200)]
    interval = told["kept of 10"]["low"], told["kept of 10"]["high"]
    np.testing.assert_allclose(interval, np.percentile(means, (2.5, 97.5)), rtol=1e-12)
    table = found["neighbours"].to_pylist()
    assert [r["gene"] for r in table if r["why"] == "example"] == NAMED
    for row in table:
        gene = GENES.index(row["gene"])
        assert row["kept"] == kept[gene]
        assert row["here"] == ", ".join(GENES[i] for i in one[gene])
        assert row["there"] == ", ".join(GENES[i] for i in two[gene])
        assert row["both"] == ", ".join(GENES[i] for i in sorted(set(one[gene]) & set(two[gene])))
        tenth = min(cosine(v[gene], v[near[gene][-1]]) for v, near in ((FIRST, one), (NEAR, two)))
        assert row["cosine"] == pytest.approx(tenth)
    listed = [r["kept"] for r in table if r["why"] == "differs most"]
    assert listed == sorted(kept.tolist())[:20]


def test_differ_most__of_equal_ones_those_whose_neighbours_are_near() -> None:
    kept, close = np.array([0.5, 0.0, 0.0, 0.0, 1.0]), np.array([0.9, 0.2, 0.8, 0.2, 0.9])
    assert neighbours.differ_most(kept, close).tolist() == [2, 1, 3, 0, 4]


def test_neighbours__a_moved_gene_is_found_and_equal_embeddings_keep_all() -> None:
    moved = FIRST.copy()
    moved[GENES.index("EGFR")] *= -1
    found = judged(subject(same=(np.array(GENES), FIRST), moved=(np.array(GENES), moved)), bootstrap=20)
    value = {(r["on"], r["metric"]): r["value"] for r in found[ROWS].to_pylist()}
    assert [value["same", m] for m in ("kept of 10", "none of 10 kept", "same nearest gene")] == [1, 0, 1]
    assert 0.8 < value["moved", "kept of 10"] < 1
    rows = [r for r in found["neighbours"].to_pylist() if r["other"] == "moved"]
    assert (rows[0]["gene"], rows[0]["kept"], rows[0]["both"]) == ("EGFR", 0.0, "")


def test_neighbours__chance() -> None:
    found = judged(subject(near=(np.array(GENES), NEAR)), baselines=True, bootstrap=20)
    chance = {r["metric"]: r for r in found[ROWS].to_pylist() if r["model"] == "chance"}
    assert chance["kept of 10"]["value"] == 10 / 79
    assert chance["none of 10 kept"]["value"] == pytest.approx(hypergeom.pmf(0, 79, 10, 10))
    assert chance["same nearest gene"]["value"] == 1 / 79
    assert {r["baseline"] for r in chance.values()} == {"baseline"}
    drawn = np.random.default_rng(9).normal(size=(80, 30)).astype(np.float32)
    random = judged(subject(x=(np.array(GENES), drawn)), bootstrap=20)[ROWS].to_pylist()
    assert {r["metric"]: r["value"] for r in random}["kept of 10"] == pytest.approx(10 / 79, rel=0.25)


def test_neighbours__zero_vectors_have_none() -> None:
    holed = NEAR.copy()
    holed[:5] = 0
    rows = judged(subject(x=(np.array(GENES), holed)), bootstrap=20)[ROWS].to_pylist()
    assert {(r["genes"], r["coverage"]) for r in rows} == {(75, 75 / 80)}
    holed[10:] = 0
    with pytest.raises(InputError, match="of the genes that e and x have, 5 have vectors that are not zero"):
        judged(subject(x=(np.array(GENES), holed)), bootstrap=20)


def test_units__one_a_name_and_what_cannot_be_compared() -> None:
    one = subject(a=(np.array(GENES), NEAR), b=(np.array(GENES), FIRST))
    spec = EvaluateSpec(tasks=("neighbours",), beside=("a", "b"))
    assert [u.given for u in neighbours.units(one, spec)] == ["a", "b"]
    with pytest.raises(InputError, match="neighbours: e and x have 50 genes in common"):
        neighbours.units(subject(x=(np.array(GENES[:50]), NEAR[:50])), spec)
