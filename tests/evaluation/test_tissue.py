"""Tissue: planted vectors tell all, shuffled ones nothing; each part against scikit-learn, a loop, or by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from threadpoolctl import threadpool_limits

from g2v_dask import driver
from g2v_dask.errors import InputError
from g2v_dask.evaluation import tissue
from g2v_dask.evaluation.base import ROWS, Dataset, Subject, Tables
from g2v_dask.genes import GeneTable
from g2v_dask.spec import EvaluateSpec
from g2v_dask.stages import evaluate
from tests import made, stores

Floats = NDArray[np.float64]
TISSUES = ("bone", "heart", "liver", "lung")
OWN = 20  # genes of each tissue alone
COMMON = 320
GENES = [f"G{i:04d}" for i in range(len(TISSUES) * OWN + COMMON)]


@dataclass(kw_only=True)
class Known:
    """A background that a test holds in its hands."""

    datasets: list[Dataset]
    members: list[tuple[NDArray[np.str_], NDArray[np.float32]]] = field(default_factory=list)
    degrees: Mapping[str, float] = field(default_factory=dict)

    def degree(self) -> Mapping[str, float]:
        return self.degrees

    def moments(self) -> Mapping[str, tuple[float, float]]:
        return {}

    def expression(self) -> Iterator[tuple[NDArray[np.str_], NDArray[np.float32]]]:
        yield from self.members

    def measured(self) -> Mapping[str, tuple[int, NDArray[np.str_]]]:
        return {d.name: (len(d.counts), d.genes) for d in self.datasets}

    def counts(self) -> Iterator[Dataset]:
        yield from self.datasets


def planted(samples: int = 30) -> tuple[list[Dataset], NDArray[np.float32]]:
    """Genes whose vectors hold where they are expressed; the first ones are of one tissue alone, and lie together."""
    random = np.random.default_rng(5)
    vectors = random.normal(size=(len(GENES), 6))
    height = 7 + 0.8 * vectors @ random.normal(size=(6, len(TISSUES)))
    for number in range(len(TISSUES)):
        own = slice(number * OWN, (number + 1) * OWN)
        height[own] = 0
        height[own, number] = 8 + random.normal(size=OWN)
    centre = height.mean(axis=1, keepdims=True)
    vectors = np.hstack([(height - centre) / height.std(axis=1, keepdims=True), 0.05 * vectors])
    some = []
    for number, name in enumerate(TISSUES):
        expected = np.maximum(2 ** height[:, number] - 1, 0)
        some.append(
            Dataset(name=name, genes=np.array(GENES), counts=random.poisson(expected, (samples, len(GENES))) * 1.0)
        )
    return some, vectors.astype(np.float32)


DATASETS, VECTORS = planted()
SPEC = EvaluateSpec(tasks=("tissue",), bootstrap=60)
TABLE = GeneTable.load()


def subject(vectors: NDArray[np.float32] = VECTORS, **known: Any) -> Subject:
    background = Known(**{"datasets": DATASETS, **known})
    return Subject(name="e", genes=np.array(GENES), vectors=vectors, table=TABLE, background=background)


def judged(one: Subject, spec: EvaluateSpec = SPEC) -> Tables:
    found: dict[str, list[pa.Table]] = {}
    for unit in tissue.units(one, spec):
        for name, table in tissue.run(one, spec, unit, lambda *_: None).items():
            found.setdefault(name, []).append(table)
    return tissue.sum_up(one, spec, {name: pa.concat_tables(some) for name, some in found.items()})


def figures(tables: Tables, model: str = "vectors") -> dict[tuple[str, str], dict[str, Any]]:
    return {(r["metric"], r["on"]): r for r in tables[ROWS].to_pylist() if r["model"] == model}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As in a part."""
    with threadpool_limits(1):
        yield


# -- the task -----------------------------------------------------------------------------------------------


def test_tissue__planted_vectors_tell_all() -> None:
    found = judged(subject())
    told = figures(found)
    assert {on for metric, on in told if metric == "r2"} == {*TISSUES, "tau", "all tissues"}
    for name in (*TISSUES, "all tissues"):
        one = told["r2", name]
        assert 0.85 < one["low"] <= one["value"] <= one["high"] < 1
        assert (one["baseline"], one["coverage"]) == ("", 1.0)
    assert told["r2", "all tissues"]["value"] == pytest.approx(np.mean([told["r2", n]["value"] for n in TISSUES]))
    together, random = told["specific cosine", "all tissues"], told["random cosine", "all tissues"]
    assert together["low"] > 0.9 > 0.5 > random["high"]
    assert told["specific z", "all tissues"]["value"] > 10
    assert told["specific p", "all tissues"]["value"] == 1 / 1001
    kept = found["tissues"].to_pylist()
    assert [r["tissue"] for r in kept] == list(TISSUES)
    for number, one in enumerate(kept):
        own = set(GENES[number * OWN : (number + 1) * OWN])
        assert (one["specific"], one["samples"], one["q"]) == (OWN, 30, pytest.approx(1 / 1001))
        assert set(one["first"].split(", ")) <= own


def test_tissue__shuffled_vectors_tell_nothing() -> None:
    order = np.random.default_rng(0).permutation(len(GENES))
    told = figures(judged(subject(VECTORS[order])))
    assert -0.1 < told["r2", "all tissues"]["value"] < 0.03
    assert abs(told["r2", "tau"]["value"]) < 0.1
    assert told["specific p", "all tissues"]["value"] > 0.01
    assert abs(told["specific z", "all tissues"]["value"]) < 3


def test_tissue__the_genes_table_holds_z_tau_and_what_was_told() -> None:
    found = judged(subject())
    genes = found["genes"].to_pandas()
    assert len(genes) == len(GENES) * len(TISSUES)
    wide = genes.pivot_table(index="gene_id", columns="tissue", values="z")
    np.testing.assert_allclose(wide.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose((wide**2).mean(axis=1), 1, rtol=1e-9)
    marked = genes[genes["specific"]]
    assert len(marked) == len(TISSUES) * OWN
    assert (marked["tau"] >= 0.8).all()
    for name, own in genes.groupby("tissue"):
        expected = r2_score(own["z"], own["z_told"])
        assert figures(found)["r2", str(name)]["value"] == pytest.approx(expected, rel=1e-9)


def test_tissue__baselines() -> None:
    """Expression within datasets knows nothing of planted means; expression as such holds them; noise has neither."""
    random = np.random.default_rng(1)
    levels = np.log2(np.array([d.counts.mean(axis=0) for d in DATASETS]) + 1)
    members = [(np.array(GENES), (level + random.normal(size=(12, len(GENES)))).astype(np.float32)) for level in levels]
    spec = replace(SPEC, baselines=True)
    found = judged(subject(members=members), spec)
    rows = found[ROWS].to_pylist()
    kinds = {r["model"]: r["baseline"] for r in rows}
    assert kinds == {
        "vectors": "",
        "random vectors": "baseline",
        "expression mean": "baseline",
        "expression PCA": "baseline",
        "expression levels PCA": "transductive",
    }
    r2 = {model: figures(found, model)["r2", "all tissues"]["value"] for model in kinds}
    assert r2["vectors"] > r2["expression levels PCA"] > 0.7
    assert max(r2[m] for m in ("random vectors", "expression PCA")) < 0.05
    assert -0.1 < r2["expression mean"] < 0.3
    assert not any(r["on"] in TISSUES for r in rows if r["baseline"])
    assert ("specific cosine", "all tissues") not in figures(found, "expression mean")  # one number has no direction


def test_tissue__an_embedding_made_elsewhere_has_no_expression() -> None:
    found = judged(subject(), replace(SPEC, baselines=True))
    assert {r["model"] for r in found[ROWS].to_pylist()} == {"vectors", "random vectors", "expression mean"}
    assert set(found["tissues"]["model"].to_pylist()) > {"expression PCA"}  # all units leave the same columns


def test_tissue__the_same_figures_again() -> None:
    one, two = judged(subject()), judged(subject())
    assert all(one[name].to_pandas().equals(two[name].to_pandas()) for name in one)
    other = judged(subject(), replace(SPEC, seed=2))
    assert not one[ROWS].to_pandas()["value"].equals(other[ROWS].to_pandas()["value"])


def test_tissue__degree_is_matched_where_it_is_known() -> None:
    """Genes of one degree lie together here, those of a tissue no more than that: only matching for degree sees it."""
    random = np.random.default_rng(2)
    own = np.arange(len(GENES)) < len(TISSUES) * OWN
    high = own | (random.random(len(GENES)) < 0.25)
    vectors = (random.normal(size=(len(GENES), 6)) + np.where(high, 3.0, 0.0)[:, None]).astype(np.float32)
    unmatched = figures(judged(subject(vectors)))
    matched = figures(
        judged(subject(vectors, degrees=dict(zip(GENES, np.where(high, 9.0, 1.0).tolist(), strict=True))))
    )
    assert unmatched["specific z", "all tissues"]["value"] > 3 * max(1, matched["specific z", "all tissues"]["value"])


def test_units__what_cannot_be_asked() -> None:
    few = [replace(d, counts=d.counts[:20]) for d in DATASETS[:2]]
    with pytest.raises(InputError, match="3 tissues of 30 samples or more, and of 4 datasets .* 2 have so many"):
        tissue.units(subject(datasets=[*few, *DATASETS[2:]]), SPEC)
    other = replace(subject(), genes=np.array([f"other{i}" for i in range(len(GENES))]))
    with pytest.raises(InputError, match=r"tissue: e has 0\.0 % of its genes"):
        tissue.units(other, SPEC)
    half = replace(subject(), genes=np.array([g if i % 2 else f"x{i}" for i, g in enumerate(GENES)]))
    assert len(tissue.units(half, SPEC)) == 1
    with pytest.raises(InputError, match=r"50\.0 % .* least-coverage = 0\.6"):
        tissue.units(half, replace(SPEC, least_coverage=0.6))
    assert figures(judged(half))["r2", "all tissues"]["coverage"] == 0.5


def test_run__too_few_genes() -> None:
    """Before any counts are read; and where one has no read, after."""
    message = "tissue: takes 50 genes that tissues tell apart, and e has 49 of them"
    spec = replace(SPEC, least_coverage=0.01)
    with pytest.raises(InputError, match=message):
        tissue.units(replace(subject(VECTORS[:49]), genes=np.array(GENES[:49])), spec)
    silent = [replace(d, counts=d.counts * (np.arange(len(GENES)) > 0)) for d in DATASETS]
    few = replace(subject(VECTORS[:50], datasets=silent), genes=np.array(GENES[:50]))
    (unit,) = tissue.units(few, spec)
    with pytest.raises(InputError, match=message):
        tissue.run(few, spec, unit, lambda *_: None)


def test_tissue__in_a_store(tmp_path: Path) -> None:
    store = stores.empty(tmp_path / "s")
    random = np.random.default_rng(0)
    for one in DATASETS:
        values = np.log2(one.counts + 1)
        made.expression(store, one.name, values, GENES, counts=one.counts.astype(np.int64))
    made.expression(store, "array", random.normal(size=(40, 9)), GENES[:9])
    stores.embedding(store, "e", GENES, VECTORS)
    plan = evaluate.plan(store, EvaluateSpec(bootstrap=20))
    assert driver.here(evaluate, plan, store).made == ["e"]
    artifact = store.get("evaluations", "e")
    assert artifact.facts["tasks"] == ["tissue"]
    assert {"tables/tissue-genes.parquet", "tables/tissue-tissues.parquet"} <= set(artifact.names)
    with pytest.raises(InputError, match="of 2 datasets with read counts 2 have so many"):
        evaluate.plan(store, EvaluateSpec(tasks=("tissue",), datasets=("bone", "heart")))


# -- ridge, R² ----------------------------------------------------------------------------------------------


def test_predicted__is_scikit_learns_a_target_at_a_time() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(90, 5)) * [1, 10, 0.1, 3, 1] + 4
    y = np.column_stack([x[:, 0] + random.normal(size=90), random.normal(size=90), x[:, 2] * 5])
    y[random.random(size=90) < 0.2, 1] = np.nan
    fold = tissue.folds(90, seed=3)
    assert np.bincount(fold).tolist() == [18] * 5
    told = tissue.predicted(x, y, fold)
    for target in range(3):
        known = np.isfinite(y[:, target])
        assert np.array_equal(np.isfinite(told[:, target]), known)
        for unseen in range(5):
            seen, asked = known & (fold != unseen), known & (fold == unseen)
            mean, deviation = x[seen].mean(axis=0), x[seen].std(axis=0)
            model = RidgeCV(alphas=tissue.ALPHAS).fit((x[seen] - mean) / deviation, y[seen, target])
            expected = model.predict((x[asked] - mean) / deviation)
            np.testing.assert_allclose(told[asked, target], expected, rtol=1e-8)


def test_predicted__a_gene_is_never_told_by_itself() -> None:
    """A column that is a gene's own answer, in the genes of one fold alone, helps nobody there."""
    random = np.random.default_rng(0)
    y = random.normal(size=(100, 1))
    fold = tissue.folds(100, seed=1)
    x = np.column_stack([random.normal(size=100), np.where(fold == 0, y[:, 0], 0.0)])
    told = tissue.predicted(x, y, fold)
    assert r2_score(y[fold == 0], told[fold == 0]) < 0.2


def test_fitted__is_scikit_learns_and_a_naive_bootstrap() -> None:
    random = np.random.default_rng(0)
    y = random.normal(size=(70, 3))
    told = y + random.normal(size=(70, 3)) * [0.3, 1, 2]
    y[:9, 0] = np.nan
    value, low, high = tissue.fitted(y, told, draws=150, seed=4)
    each = [r2_score(y[9:, 0], told[9:, 0]), *(r2_score(y[:, i], told[:, i]) for i in (1, 2))]
    np.testing.assert_allclose(value, [*each, np.mean(each[:2])], rtol=1e-10)
    same = np.random.default_rng([4, tissue.RESAMPLED])
    drawn = [same.integers(0, 70, 70) for _ in range(150)]
    naive = [r2_score(y[rows, 1], told[rows, 1]) for rows in drawn]
    np.testing.assert_allclose([low[1], high[1]], np.percentile(naive, (2.5, 97.5)), rtol=1e-9)
    constant = tissue.fitted(np.ones((70, 2)), told[:, :2], draws=20, seed=1)
    assert np.isnan(constant).all()


# -- sets ---------------------------------------------------------------------------------------------------


def test_mean_cosine__is_a_loop_over_pairs() -> None:
    random = np.random.default_rng(0)
    unit = random.normal(size=(7, 3))
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    weights = np.array([[1, 1, 1, 1, 1, 1, 1], [2, 0, 1, 3, 0, 0, 1], [7, 0, 0, 0, 0, 0, 0]], dtype=np.float64)
    found = tissue.mean_cosine(unit, weights)
    for row, times in zip(found[:2], weights[:2], strict=True):
        drawn = np.repeat(np.arange(7), times.astype(int)).tolist()
        cosines = [unit[a] @ unit[b] for i, a in enumerate(drawn) for j, b in enumerate(drawn) if i != j and a != b]
        assert row == pytest.approx(np.mean(cosines))
    assert np.isnan(found[2])
    sets = np.array([[0, 1, 2], [4, 6, 5]])
    naive = [np.mean([unit[a] @ unit[b] for a in own for b in own if a != b]) for own in sets.tolist()]
    np.testing.assert_allclose(tissue._mean_cosines(unit, sets), naive, rtol=1e-12)


def test_matched__as_many_of_each_stratum_and_each_gene_as_often() -> None:
    strata = np.array([0] * 10 + [1] * 5 + [-1] * 4 + [2] * 3)
    members = np.array([0, 3, 9, 10, 19, 20, 21])
    sets = tissue.matched(members, strata, draws=4000, seed=1, number=0)
    assert sets.shape == (4000, 7)
    assert all(len(set(one)) == 7 for one in sets[:200].tolist())
    assert (np.sort(strata[sets], axis=1) == np.sort(strata[members])).all()
    often = np.bincount(sets.ravel(), minlength=22) / 4000
    np.testing.assert_allclose(often, [0.3] * 10 + [0.2] * 5 + [0] * 4 + [1] * 3, atol=0.03)
    assert not np.array_equal(sets, tissue.matched(members, strata, draws=4000, seed=1, number=1))
