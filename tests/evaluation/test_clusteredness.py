"""Clusteredness: by hand on six genes, against loops and the published code, planted, matched in degree; files good
and bad.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import bootstrap, kstest

from g2v_dask.analysis.genesets import read_gmt
from g2v_dask.errors import InputError
from g2v_dask.evaluate_spec import EvaluateSpec
from g2v_dask.evaluation import clusteredness
from g2v_dask.evaluation import sets as gene_sets
from g2v_dask.evaluation.base import Subject
from g2v_dask.evaluation.clusteredness import Drawer, degree_bins, mean_product
from g2v_dask.evaluation.sets import mean_interval
from tests.data_paths import data
from tests.evaluation.subjects import FakeBackground, evaluated, figure, figures, subject, symbols, write_gmt

SPEC = EvaluateSpec(genesets=("x",), tasks=("clusteredness",), bootstrap=20, seeds=2)
SIX = ("TP53", "BRCA1", "CD3E", "CD19", "EGFR", "MYC")
SIX_VECTORS = [[2, 0], [1, 0], [0, 1], [0, 2], [0, 0], [1, 1]]


def six(tmp_path: Path, sets: dict[str, Sequence[str]], **given: Any) -> Subject:
    return subject(SIX, SIX_VECTORS, files={"genesets": [write_gmt(tmp_path / "six.gmt", sets)]}, **given)


def made(tmp_path: Path, genes: int, components: int, sets: int, *, seed: int = 0, **given: Any) -> Subject:
    """Random vectors, not centred, and random sets of 2 to 12 genes."""
    rng = np.random.default_rng(seed)
    names = symbols(genes)
    held = {f"S{i}": rng.choice(names, rng.integers(2, 13), replace=False).tolist() for i in range(sets)}
    vectors = rng.standard_normal((genes, components)) + 0.5
    return subject(names, vectors, files={"genesets": [write_gmt(tmp_path / "made.gmt", held)]}, **given)


def naive_mean(vectors: Any, rows: Sequence[int], *, cosine: bool) -> float:
    """Pair by pair."""
    found = []
    for a, b in itertools.combinations(rows, 2):
        x, y = np.asarray(vectors[a], dtype=float), np.asarray(vectors[b], dtype=float)
        over = np.linalg.norm(x) * np.linalg.norm(y) if cosine else 1.0
        found.append(x @ y / over if over else 0.0)
    return sum(found) / len(found)


# -- the two published forms --------------------------------------------------------------------------------


def test_clusteredness__by_hand_on_six_genes(tmp_path: Path) -> None:
    """A: (2, 0) (1, 0) → 2. B: (0, 1) (0, 2) (1, 1) → (2 + 1 + 2) / 3. All 15 pairs: 2 + 2 + 1 + 2 + 1 + 2 = 10."""
    rows = evaluated(
        clusteredness, six(tmp_path, {"A": ["TP53", "BRCA1", "NOGENE"], "B": ["CD3E", "CD19", "MYC"]}), SPEC
    )["rows"]
    within, apart = (2 + 5 / 3) / 2, 10 / 15
    assert figure(rows, metric="within sets, paper")["value"] == pytest.approx(within, rel=1e-12)
    assert figure(rows, metric="random pairs, paper")["value"] == pytest.approx(apart, rel=1e-12)
    ratio = figure(rows, metric="ratio, paper")
    assert ratio["value"] == pytest.approx(within / apart, rel=1e-12)
    assert (ratio["genes"], ratio["coverage"], ratio["on"], ratio["baseline"]) == (5, pytest.approx(5 / 6), "six", "")
    # The code loses NOGENE of A and MYC of B: cosines 1 and 1; of all pairs 2 + 4 / √2.
    assert figure(rows, metric="within sets, published code")["value"] == pytest.approx(1, rel=1e-12)
    published = figure(rows, metric="random pairs, published code")["value"]
    assert published == pytest.approx((2 + 4 / np.sqrt(2)) / 15, rel=1e-12)
    assert figure(rows, metric="ratio, published code")["value"] == pytest.approx(1 / published, rel=1e-12)


def published_code(words: list[str], vectors: Any, lines: list[str], drawn: int) -> float:
    """What the published script does with words, vectors and the lines of a GMT file, less its division by zero."""
    at = {word: row for row, word in enumerate(words)}
    means = []
    for line in lines:
        cells = line.split("\t")
        if len(cells) > 52:
            continue
        rows = [at[cell] for cell in cells[2:] if cell in at]
        if len(rows) > 1:
            means.append(naive_mean(vectors, rows, cosine=True))
    order = words.copy()
    random.seed(35)
    random.shuffle(order)
    apart = naive_mean(vectors, [at[word] for word in order[:drawn]], cosine=True)
    return sum(means) / len(means) / apart


def test_clusteredness__published_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusteredness, "DRAWN", 25)
    rng = np.random.default_rng(5)
    names = symbols(80)
    held = {f"S{i}": rng.choice(names, size, replace=False).tolist() for i, size in enumerate((2, 5, 50, 51, 9))}
    file = write_gmt(tmp_path / "a.gmt", held)
    toy = subject(names, rng.standard_normal((80, 7)) + 0.3, files={"genesets": [file]})
    with file.open() as lines:
        expected = published_code(names.tolist(), toy.vectors, list(lines), 25)
    found = figure(evaluated(clusteredness, toy, SPEC)["rows"], metric="ratio, published code")
    assert found["value"] == pytest.approx(expected, rel=1e-9)
    wider = [g for name in ("S1", "S2", "S4") for g in held[name][:-1]]  # S0 has one gene left, S3 is too large
    assert found["genes"] == len(set(wider))


def test_clusteredness__paper_against_a_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusteredness, "DRAWN", 30)
    toy = made(tmp_path, 60, 6, 12)
    held = read_gmt(toy.files["genesets"])
    within = [naive_mean(toy.vectors, toy.find(genes).tolist(), cosine=False) for genes in held.values()]
    draws = [np.random.default_rng([1, clusteredness.OF_PAIRS, i]).choice(60, 30, replace=False) for i in range(2)]
    apart = np.mean([naive_mean(toy.vectors, rows.tolist(), cosine=False) for rows in draws])
    assert len(set(draws[0].tolist())) == 30
    ratio = figure(evaluated(clusteredness, toy, SPEC)["rows"], metric="ratio, paper")
    assert ratio["value"] == pytest.approx(np.mean(within) / apart, rel=1e-6)
    assert ratio["low"] < ratio["value"] < ratio["high"]


def test_clusteredness__ratio_to_nothing_is_not_told(tmp_path: Path) -> None:
    """Centred vectors: random pairs have a mean below zero."""
    file = write_gmt(tmp_path / "a.gmt", {"A": SIX[:3]})
    toy = subject(SIX, np.array(SIX_VECTORS) - np.mean(SIX_VECTORS, axis=0), files={"genesets": [file]})
    rows = evaluated(clusteredness, toy, SPEC)["rows"]
    assert figure(rows, metric="random pairs, paper")["value"] < 0
    assert np.isnan(figure(rows, metric="ratio, paper")["value"])
    assert np.isfinite(figure(rows, metric="within sets, paper")["value"])


def test_mean_interval__as_scipy() -> None:
    values = np.random.default_rng(3).gamma(2, size=60)
    low, high = mean_interval(values, resamples=4000, key=(1, 2))
    theirs = bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(7))
    assert (low, high) == pytest.approx(tuple(theirs.confidence_interval), rel=0.02)
    assert np.isnan(mean_interval(values[:1], resamples=10, key=(1,))).all()


# -- random sets --------------------------------------------------------------------------------------------


def test_drawer__mean_cosines_of_the_sets_it_drew(tmp_path: Path) -> None:
    toy = made(tmp_path, 90, 5, 15)
    toy.vectors[7] = 0  # no direction
    counted = clusteredness._counted(toy, SPEC)
    bins = np.arange(90) % 4
    unit_vectors = clusteredness._normed(toy.vectors)
    found = Drawer.of(counted, bins).draw(unit_vectors, np.random.default_rng(11))
    per_bin = [[int((bins[rows] == b).sum()) for b in range(4)] for rows in counted.known]
    chance = np.random.default_rng(11)
    order = [
        chance.choice(np.flatnonzero(bins == b), max(counts[b] for counts in per_bin), replace=False).tolist()
        for b in range(4)
    ]
    for value, counts, rows in zip(found, per_bin, counted.known, strict=True):
        drawn = [gene for some, count in zip(order, counts, strict=True) for gene in some[:count]]
        assert len(set(drawn)) == len(rows)
        assert value == pytest.approx(naive_mean(toy.vectors, drawn, cosine=True), abs=1e-9)


def test_drawer__mean_and_variance_are_those_of_all_possible_sets(tmp_path: Path) -> None:
    """Of ten genes in one bin all 120 sets of three can be listed."""
    rng = np.random.default_rng(0)
    file = write_gmt(tmp_path / "a.gmt", {"A": symbols(10)[:3].tolist(), "B": symbols(10)[2:8].tolist()})
    toy = subject(symbols(10), rng.standard_normal((10, 3)), files={"genesets": [file]})
    spec = replace(SPEC, bootstrap=3000)
    row = next(r for r in evaluated(clusteredness, toy, spec)["sets"].to_pylist() if r["set"] == "A")
    every = [naive_mean(toy.vectors, rows, cosine=True) for rows in itertools.combinations(range(10), 3)]
    observed = naive_mean(toy.vectors, range(3), cosine=True)
    assert row["z"] == pytest.approx((observed - np.mean(every)) / np.std(every), abs=0.08)
    share = np.mean(np.array(every) >= observed - 1e-9)
    assert row["p"] == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 3000))
    assert row["p"] > 0


def test_drawer__every_gene_of_a_bin_is_as_likely(tmp_path: Path) -> None:
    names = symbols(12)
    file = write_gmt(tmp_path / "a.gmt", {"A": names[:4].tolist(), "B": names[3:6].tolist()})
    toy = subject(names, np.eye(12), files={"genesets": [file]})
    drawer = Drawer.of(clusteredness._counted(toy, SPEC), np.array([0] * 6 + [1] * 6))
    assert [m.tolist() for m in drawer.members] == [list(range(6))]  # a bin without genes of a set is never drawn
    # The first vector's square in the sum tells whether gene 0 was drawn: all others are at right angles to it.
    probe = np.zeros((12, 1))
    probe[0] = 1
    lengths = [drawer.draw(probe + 1, np.random.default_rng(i)) for i in range(3000)]
    with_it = np.array([2.0 * 3, 2.0 * 2]) / np.array([4 * 3, 3 * 2])  # pairs with gene 0 have the product 2, not 1
    share = (np.array(lengths) > 1 + with_it / 2).mean(axis=0)
    assert share == pytest.approx([4 / 6, 3 / 6], abs=0.04)


def test_degree_bins__equal_parts_ties_together_unknown_apart() -> None:
    bins = degree_bins(np.arange(100.0))
    assert np.bincount(bins).tolist() == [5] * 20
    assert (np.diff(bins) >= 0).all()
    tied = degree_bins(np.array([0.0] * 50 + list(range(1, 51)) + [np.nan] * 3))
    assert len(set(tied[:50].tolist())) == 1
    assert len(set(tied[100:].tolist())) == 1
    assert tied[100] not in tied[:100]
    assert np.bincount(degree_bins(np.full(7, np.nan))).tolist() == [7]


def test_clusteredness__degree_alone_is_no_coherence(tmp_path: Path) -> None:
    """Vectors that turn with the degree: sets of well-connected genes look coherent, until degrees are matched."""
    rng = np.random.default_rng(2)
    genes = 600
    names, degree = symbols(genes), rng.permutation(genes).astype(float)
    angle = np.pi * degree / genes + rng.normal(scale=0.3, size=genes)
    top = np.flatnonzero(degree > 0.8 * genes)
    file = write_gmt(
        tmp_path / "a.gmt", {f"S{i}": names[rng.choice(top, 12, replace=False)].tolist() for i in range(40)}
    )
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    known = FakeBackground(degrees=dict(zip(names.tolist(), degree.tolist(), strict=True)))
    spec = replace(SPEC, bootstrap=100)
    matched = evaluated(clusteredness, subject(names, vectors, files={"genesets": [file]}, background=known), spec)
    by_size = evaluated(clusteredness, subject(names, vectors, files={"genesets": [file]}), spec)
    assert figure(by_size["rows"], metric="mean z, by size only")["value"] > 3
    assert abs(figure(matched["rows"], metric="mean z")["value"]) < 0.5
    assert figure(matched["rows"], metric="share of sets with q <= 0.05")["value"] == 0
    assert not figures(by_size["rows"], metric="mean z")


def planted(tmp_path: Path, *, noise: float) -> Subject:
    """Thirty sets of ten genes, each around a direction of its own; among 600 genes."""
    rng = np.random.default_rng(4)
    names = symbols(600)
    vectors = rng.standard_normal((600, 20)) + 1
    for i in range(30):
        vectors[10 * i : 10 * i + 10] = rng.standard_normal(20) * 2 + noise * rng.standard_normal((10, 20)) + 1
    file = write_gmt(tmp_path / "planted.gmt", {f"S{i}": names[10 * i : 10 * i + 10].tolist() for i in range(30)})
    return subject(names, vectors, files={"genesets": [file]})


def test_clusteredness__planted_sets_are_found_and_baselines_find_none(tmp_path: Path) -> None:
    spec = replace(SPEC, bootstrap=200, baselines=True)
    found = evaluated(clusteredness, planted(tmp_path, noise=0.3), spec)
    share = "share of sets with q <= 0.05, by size only"
    assert figure(found["rows"], metric=share, model="")["value"] == 1
    assert figure(found["rows"], metric="ratio, paper", model="")["low"] > 2
    assert (np.array(found["sets"]["p"]) == 1 / 201).mean() > 0.9
    for model in ("random vectors", "shuffled genes"):
        assert figure(found["rows"], metric=share, model=model)["value"] <= 1 / 30
        assert abs(figure(found["rows"], metric="mean z, by size only", model=model)["value"]) < 0.6
        ratio = figure(found["rows"], metric="ratio, paper", model=model)
        assert ratio["low"] < 1 < ratio["high"]
        assert ratio["baseline"] == "baseline"


def test_clusteredness__a_set_of_all_genes_is_as_any_other(tmp_path: Path) -> None:
    """Every random set is the set itself: no rounding makes it rare, and it has no z."""
    toy = six(tmp_path, {"all": SIX, "A": SIX[:2]})
    last = evaluated(clusteredness, toy, SPEC)["sets"].to_pylist()[-1]
    assert (last["set"], last["p"], np.isnan(last["z"])) == ("all", 1.0, True)


def test_clusteredness__p_of_chance_is_uniform(tmp_path: Path) -> None:
    found = evaluated(clusteredness, made(tmp_path, 500, 6, 150, seed=9), replace(SPEC, bootstrap=200))["sets"]
    assert kstest(np.array(found["p"]), "uniform").pvalue > 0.01
    assert np.std(np.array(found["z"])) == pytest.approx(1, abs=0.25)


def test_clusteredness__q_is_benjamini_hochberg(tmp_path: Path) -> None:
    found = evaluated(clusteredness, planted(tmp_path, noise=4.0), replace(SPEC, bootstrap=100))["sets"].to_pylist()
    p = [r["p"] for r in found]
    assert len({*p}) > 5
    for r in found:  # the smallest of p · tests / rank over this p and all larger ones
        expected = min(1.0, *(x * len(p) / sum(y <= x for y in p) for x in p if x >= r["p"]))
        assert r["q"] == pytest.approx(expected, rel=1e-12)


def test_clusteredness__any_cut_into_units_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = made(tmp_path, 100, 5, 20)
    spec = replace(SPEC, bootstrap=45, baselines=True)
    first, again = (evaluated(clusteredness, toy, spec) for _ in range(2))
    assert str(first["rows"].to_pylist()) == str(again["rows"].to_pylist())  # NaN is not equal to NaN
    assert first["sets"].equals(again["sets"])
    monkeypatch.setattr(clusteredness, "CHUNK", 7)
    cut = evaluated(clusteredness, toy, spec)
    assert cut["sets"]["p"].equals(first["sets"]["p"])
    np.testing.assert_allclose(np.array(cut["sets"]["z"]), np.array(first["sets"]["z"]), rtol=1e-9)
    other = evaluated(clusteredness, toy, replace(spec, seed=2))
    assert not other["sets"]["p"].equals(first["sets"]["p"])


# -- sets and files -----------------------------------------------------------------------------------------


def test_clusteredness__table_of_sets(tmp_path: Path) -> None:
    names = symbols(120)
    held = {"large": names[:60].tolist(), "pair": names[60:62].tolist(), "one": [names[70], "NOGENE"], "none": ["X1Y"]}
    vectors = np.random.default_rng(1).standard_normal((120, 4)) + 1
    toy = subject(names, vectors, files={"genesets": [write_gmt(tmp_path / "a.gmt", held)]})
    found = evaluated(clusteredness, toy, SPEC)
    kept = found["sets"].to_pylist()
    assert {r["set"]: (r["size"], r["known"], r["collection"]) for r in kept} == {
        "large": (60, 60, "a"),
        "pair": (2, 2, "a"),
    }
    assert [r["z"] for r in kept] == sorted((r["z"] for r in kept), reverse=True)
    for r in kept:
        rows = toy.find(held[r["set"]]).tolist()
        assert r["mean_inner"] == pytest.approx(naive_mean(toy.vectors, rows, cosine=False), rel=1e-6)
        assert r["mean_cosine"] == pytest.approx(naive_mean(toy.vectors, rows, cosine=True), rel=1e-6)
    assert figure(found["rows"], metric="within sets, paper")["genes"] == 2  # more than 50 genes are not the paper's
    assert not figures(found["rows"], metric="within sets, published code")  # of the pair the code loses one
    assert figure(found["rows"], metric="mean z, by size only")["genes"] == 62


def test_clusteredness__several_files_each_and_together(tmp_path: Path) -> None:
    paths = [
        write_gmt(tmp_path / "a.symbols.gmt", {"A": SIX[:2], "none": ["X1Y", "X2Y"]}),
        write_gmt(tmp_path / "b.gmt", {"B": SIX[2:4], "C": SIX[1:3]}),
    ]
    toy = subject(SIX, SIX_VECTORS, files={"genesets": paths})
    rows = evaluated(clusteredness, toy, SPEC)["rows"]
    found = {on: figure(rows, metric="within sets, paper", on=on) for on in ("a.symbols", "b", "all")}
    assert [f["value"] for f in found.values()] == pytest.approx([2, 1, (2 + 2 + 0) / 3])
    assert [f["genes"] for f in found.values()] == [2, 3, 4]
    assert [f["coverage"] for f in found.values()] == pytest.approx([2 / 4, 1, 4 / 6])


def test_read__two_files_of_one_name(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    paths = [write_gmt(tmp_path / name / "sets.gmt", {name: SIX[:2]}) for name in "ab"]
    sets = gene_sets.read(subject(SIX, SIX_VECTORS, files={"genesets": paths}), go=False)
    assert sets.collection.tolist() == ["sets", "sets (2)"]


def test_read__one_set_in_two_files(tmp_path: Path) -> None:
    paths = [write_gmt(tmp_path / f"{name}.gmt", {"A": SIX[:2]}) for name in "ab"]
    with pytest.raises(InputError, match="the set 'A' was there before"):
        clusteredness.units(subject(SIX, SIX_VECTORS, files={"genesets": paths}), SPEC)


def test_units__no_known_genes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"clusteredness: toy has 0.0 % of its genes, less than least-coverage = 0.1"):
        clusteredness.units(six(tmp_path, {"A": ["X1Y", "X2Y"]}), SPEC)


def test_units__no_set_of_two_known_genes(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no set has two genes that toy knows"):
        clusteredness.units(six(tmp_path, {"A": ["TP53", "X2Y"], "B": ["MYC"]}), SPEC)


def test_units__models_and_random_sets(tmp_path: Path) -> None:
    toy = six(tmp_path, {"A": SIX[:2]})
    assert [u.given for u in clusteredness.units(toy, replace(SPEC, bootstrap=60))] == [("", 0, 50), ("", 50, 60)]
    units = clusteredness.units(toy, replace(SPEC, baselines=True))
    assert [u.given[0] for u in units] == ["", "random vectors", "shuffled genes"]
    assert units[1].label == "clusteredness, random vectors, random sets 1 to 20"


def test_clusteredness__words_may_be_ensembl_ids_and_sets_hold_older_symbols(tmp_path: Path) -> None:
    file = write_gmt(tmp_path / "a.gmt", {"A": ["LFS1", "TP53", "EGFR"]})  # LFS1 is TP53
    toy = subject(["ENSG00000141510", "ENSG00000146648.17"], [[2, 0], [3, 1]], files={"genesets": [file]})
    kept = evaluated(clusteredness, toy, SPEC)["sets"].to_pylist()
    assert [(r["known"], r["mean_inner"]) for r in kept] == [(2, 6.0)]


def test_mean_product__is_that_of_all_pairs() -> None:
    vectors = np.random.default_rng(0).standard_normal((30, 4))
    product = vectors @ vectors.T
    assert mean_product(vectors) == pytest.approx(product[np.triu_indices(30, 1)].mean(), rel=1e-9)


def test_clusteredness__of_real_tissue() -> None:
    """Hallmark sets in components of GTEx kidney: oxidative phosphorylation lies together; shuffled genes do not."""
    table = pd.read_csv(data("rnaseq", "kidney-rsem-count-gtex.txt.gz"), sep="\t", index_col=0).iloc[:, 1:]
    log = np.log2(table.to_numpy() / table.to_numpy().sum(axis=0) * 1e6 + 1)
    best = np.argsort(-log.mean(axis=1), kind="stable")[:4000]
    z = (log[best] - log[best].mean(axis=1, keepdims=True)) / log[best].std(axis=1, keepdims=True)
    left, values, _ = np.linalg.svd(z - z.mean(axis=0), full_matrices=False)
    sets = data("genesets", "h.all.v6.2.symbols.gmt.gz")
    toy = subject(table.index[best].astype(str), left[:, :20] * values[:20], files={"genesets": [sets]})
    found = evaluated(clusteredness, toy, replace(SPEC, bootstrap=50, baselines=True))
    own = figure(found["rows"], metric="mean z, by size only", model="")
    shuffled = figure(found["rows"], metric="mean z, by size only", model="shuffled genes")
    assert own["low"] > 2 > 1 > shuffled["high"]
    assert own["on"] == "h.all.v6.2.symbols"
    first = found["sets"].to_pylist()[0]
    assert (first["set"], first["p"]) == ("HALLMARK_OXIDATIVE_PHOSPHORYLATION", 1 / 51)
