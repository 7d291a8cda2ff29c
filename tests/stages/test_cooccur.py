"""Co-occurrence in samples equals A'A in Python's integers, for any tile, order, number of workers and history."""

import dataclasses
import math
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from g2v_dask import arrays, driver, tiles
from g2v_dask.cluster import Cluster
from g2v_dask.driver import Summary
from g2v_dask.errors import SpecError
from g2v_dask.models import base
from g2v_dask.parts import Target
from g2v_dask.progress import Display
from g2v_dask.spec import CooccurSpec, IngestSpec
from g2v_dask.stages import cooccur, ingest
from g2v_dask.store import Artifact, Store
from tests import made
from tests.data_paths import data

GENES = [f"G{i:02d}" for i in range(23)]
OTHERS = [f"G{i:02d}" for i in range(5, 31)]


@pytest.fixture
def store(tmp_path):
    return dataclasses.replace(Store.open(tmp_path / "s", create=True), tile=8)


def reads(seed: int, samples: int, genes: int) -> np.ndarray:
    """Whole counts up to 9 million, many of them 0."""
    random = np.random.default_rng(seed)
    size = np.exp(random.uniform(0, 16, size=(samples, genes)))
    return np.where(random.random((samples, genes)) < 0.4, 0, size.astype(np.int64))


def add(store: Store, name: str, counts: np.ndarray, genes: list[str] = GENES) -> Artifact:
    return made.expression(store, name, np.zeros(counts.shape), genes, counts=counts)


def take(store: Store, file: Path) -> Summary:
    return driver.here(ingest, ingest.plan(store, IngestSpec(files=(str(file),), scale="counts")), store)


def plan(store: Store, name: str = "TCM", **options) -> Target:
    (target,) = cooccur.plan(store, CooccurSpec(name=name, **options)).targets
    return target


def count(store: Store, name: str = "TCM", **options) -> Summary:
    return driver.here(cooccur, cooccur.plan(store, CooccurSpec(name=name, **options)), store)


def dense(store: Store, name: str = "TCM") -> np.ndarray:
    matrix = arrays.Cooccurrence(store.get("cooccurrence", name).folder)
    size = len(matrix.genes)
    out = np.full((size, size), np.nan)
    for i, j in tiles.blocks(size, matrix.tile):
        rows, cols = tiles.span(size, matrix.tile, i), tiles.span(size, matrix.tile, j)
        out[rows, cols] = matrix.read(i, j)
        out[cols, rows] = matrix.read(i, j).T
    return out


def axis(store: Store, name: str = "TCM") -> list[str]:
    return arrays.Cooccurrence(store.get("cooccurrence", name).folder).genes.tolist()


def frame(store: Store, *names: str) -> pd.DataFrame:
    """All samples of these datasets, on the sorted union of their genes; Python's numbers."""
    found = []
    for name in names:
        root = arrays.open_group(store.get("expression", name).folder, "expression")
        found.append(pd.DataFrame(arrays.values(root, "counts"), columns=arrays.strings(root, "gene_id").tolist()))
    return pd.concat(found).fillna(0).sort_index(axis=1)


def naive(counts: pd.DataFrame) -> np.ndarray:
    """A'A in Python's integers, and the diagonal by hand."""
    a = np.array([[int(v) for v in row] for row in counts.to_numpy()], dtype=object)
    out = a.T @ a
    for g in range(len(out)):
        out[g, g] = (sum(v * v for v in a[:, g]) - sum(a[:, g])) // 2
    return out


def naive_weights(weights: pd.DataFrame) -> np.ndarray:
    a = weights.to_numpy(dtype=np.float64)
    genes = range(a.shape[1])
    out = np.array([[math.fsum(a[:, i] * a[:, j]) for j in genes] for i in genes])
    for g in genes:
        out[g, g] = math.fsum(v * (v - 1) / 2 for v in a[:, g])
    return out


def assert_exact(found: np.ndarray, expected: np.ndarray) -> None:
    assert [[int(v) for v in row] for row in found] == expected.tolist()


# -- values ---------------------------------------------------------------------------------------------------


def test_cooccur__whole_counts_equal_pythons_integers(store):
    counts = reads(1, 31, 23)
    add(store, "a", counts)
    summary = count(store)
    expected = naive(frame(store, "a"))
    assert_exact(dense(store), expected)
    assert axis(store) == GENES
    assert summary.parts_run == 6
    facts = summary.artifacts["TCM"]
    upper = np.array([float(v) for v in expected[np.triu_indices(23)]])
    assert (facts["origin"], facts["datasets"], facts["samples"]) == ("samples", 1, {"a": 31})
    assert (facts["genes"], facts["genes_dropped"], facts["rounded"], facts["weights"]) == (23, 0, False, "raw")
    assert facts["cells"] == np.count_nonzero(upper > 0)
    assert facts["cells"] + facts["not_positive"] == 23 * 24 // 2
    sizes = pd.Series([math.frexp(v)[1] - 1 for v in upper if v > 0]).value_counts().sort_index()
    assert facts["magnitudes"] == {str(k): n for k, n in sizes.items()}
    manifest = store.get("cooccurrence", "TCM").manifest
    assert manifest["stage"] == "cooccur"
    assert manifest["identity"] == {"weights": "raw", "min_samples_expressed": 1, "tile": 8}


def test_cooccur__cells_that_are_not_positive_are_counted(store):
    counts = np.ones((4, 9), dtype=np.int32)  # a single read makes no pair with itself
    counts[:, 8] = [3, 0, 0, 0]
    counts[0, :2] = 0
    counts[1:, 0] = 0  # dropped
    counts[0, 2] = 0
    counts[1:, 3] = 0
    add(store, "a", counts, GENES[:9])
    facts = count(store).artifacts["TCM"]
    value = naive(frame(store, "a")[GENES[1:9]])
    assert_exact(dense(store), value)
    upper = np.triu_indices(8)
    assert facts["not_positive"] == sum(v <= 0 for v in value[upper])
    assert facts["not_positive_diagonal"] == 7
    assert facts["not_positive"] > 7


def test_cooccur__estimated_counts(store):
    random = np.random.default_rng(4)
    add(store, "a", np.exp(random.normal(4, 3, size=(40, 23))).round(2))
    add(store, "b", reads(2, 30, 26), OTHERS)
    assert plan(store).same_blas
    count(store)
    np.testing.assert_allclose(dense(store), naive_weights(frame(store, "a", "b")), rtol=1e-12)


@pytest.mark.parametrize("weights", ["log1p", "cpm"])
def test_cooccur__weights_against_numpy(store, weights):
    counts = reads(5, 25, 23)
    counts[:, 4] = np.arange(25) < 2
    counts[7] = 0  # a sample without a read
    add(store, "a", counts)
    assert plan(store, weights=weights).same_blas
    assert count(store, weights=weights).artifacts["TCM"]["weights"] == weights
    count(store, "few", weights=weights, min_samples_expressed=3)
    x = frame(store, "a")
    per_million = x.div(x.sum(axis=1), axis=0).fillna(0) * 1e6  # of all reads, whatever genes are on the axis
    expected = np.log1p(x) if weights == "log1p" else per_million
    np.testing.assert_allclose(dense(store), naive_weights(expected), rtol=1e-12)
    assert "G04" not in axis(store, "few")
    np.testing.assert_allclose(dense(store, "few"), naive_weights(expected.drop(columns="G04")), rtol=1e-12)


def test_cooccur__several_datasets_add_up(store):
    add(store, "b", reads(1, 20, 23))
    add(store, "a", reads(2, 15, 26), OTHERS)
    add(store, "c", reads(3, 9, 3), ["A", "G07", "Z"])
    count(store)
    both = frame(store, "a", "b", "c")
    assert axis(store) == both.columns.tolist() == ["A", *sorted({*GENES, *OTHERS}), "Z"]
    assert_exact(dense(store), naive(both))
    assert plan(store, datasets=("c", "a", "b")).digest == plan(store, datasets=("a", "b", "c")).digest


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tile=st.integers(1, 16), rows=st.integers(1, 40))
def test_cooccur__any_tile_and_any_block_of_samples_give_the_same_bits(tmp_path_factory, tile, rows):
    store = dataclasses.replace(Store.open(tmp_path_factory.mktemp("t") / "s", create=True), tile=tile)
    add(store, "a", reads(1, 20, 9), GENES[:9])
    add(store, "b", reads(2, 15, 9), GENES[5:14])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cooccur, "SAMPLES", rows)
        patch.setattr(cooccur, "CACHE_BYTES", 1)
        count(store)
    assert_exact(dense(store), naive(frame(store, "a", "b")))


def test_packed__whole_chunks_in_as_few_blocks_as_hold_them(store, monkeypatch):
    monkeypatch.setattr(cooccur, "SAMPLES", 40)
    for name, samples in (("a", 12), ("b", 20), ("c", 9), ("d", 55), ("e", 1)):
        add(store, name, reads(1, samples, 23))
    target = plan(store)
    cooccur.begin(target.folder(store), target)
    documents = cooccur._documents(target.folder(store), (), target.detail.added, "raw")
    assert [b.samples for b in documents.blocks] == [32, 9, 55, 1]


def test_cooccur__past_2_to_the_53_it_says_so_and_goes_on(store):
    counts = np.full((3, 2), 2**30, dtype=np.int64)
    counts[2] = 1
    counts[:, 1] = [2**26, 2**26, 3]
    add(store, "a", counts, GENES[:2])
    target = plan(store)
    assert target.same_blas
    facts = count(store).artifacts["TCM"]
    assert facts["rounded"] is True
    np.testing.assert_allclose(dense(store), naive(frame(store, "a")).astype(float), rtol=1e-15)


@pytest.mark.parametrize(("second", "rounded"), [(0, False), (1, True)])
def test_plan__rounded_from_2_to_the_53_on(store, second, rounded):
    """2 · (2^26)² is 2^53 exactly."""
    add(store, "a", np.array([[2**26], [2**26 - 1 + second]]), ["G"])
    assert plan(store).detail.rounded is rounded
    assert plan(store).same_blas is rounded
    assert plan(store, weights="log1p").detail.rounded is False


# -- the axis -------------------------------------------------------------------------------------------------


def test_cooccur__genes_without_reads_are_dropped(store):
    """Over all datasets together; a gene of one band may leave a whole band empty in a dataset."""
    first, second = reads(1, 20, 23), reads(2, 15, 26)
    first[:, [0, 6, 7, 22]] = 0
    second[:, 1:4] = 0  # G06, G07, G08
    add(store, "a", first)
    add(store, "b", second, OTHERS)
    facts = count(store).artifacts["TCM"]
    kept = [g for g in sorted({*GENES, *OTHERS}) if g not in ("G00", "G06", "G07")]
    assert axis(store) == kept
    assert (facts["genes"], facts["genes_dropped"]) == (28, 3)
    assert_exact(dense(store), naive(frame(store, "a", "b")[kept]))


def test_cooccur__min_samples_expressed_counts_over_all_datasets(store):
    first, second = np.full((5, 3), 7), np.full((4, 3), 9)
    first[2:, 1] = 0  # 2 + 4 samples
    first[1:, 2], second[2:, 2] = 0, 0  # 1 + 2
    add(store, "a", first, ["A", "B", "C"])
    add(store, "b", second, ["A", "B", "C"])
    for least, kept in ((3, ["A", "B", "C"]), (4, ["A", "B"]), (7, ["A"])):
        count(store, min_samples_expressed=least)
        assert axis(store) == kept
        assert_exact(dense(store), naive(frame(store, "a", "b")[kept]))
    with pytest.raises(SpecError, match=r"at least 10 of the 9 samples of a, b; the most that one has is 9: lower"):
        plan(store, min_samples_expressed=10)


# -- the last version ------------------------------------------------------------------------------------------


def test_cooccur__adding_changing_and_removing_equals_from_scratch(store):
    for seed, name in enumerate("abcdef"):
        add(store, name, reads(seed, 12, 23))
    count(store)
    add(store, "g", reads(10, 9, 23))
    add(store, "b", reads(11, 12, 23))  # another version of b
    members = ("a", "b", "d", "e", "f", "g")  # c is gone
    target = plan(store, datasets=members)
    assert target.detail.base == store.get("cooccurrence", "TCM").folder
    assert (len(target.detail.added), len(target.detail.removed)) == (2, 2)
    last = count(store, datasets=members).artifacts["TCM"]
    scratch = count(store, "scratch", datasets=members).artifacts["scratch"]
    assert made.data_files(store.get("cooccurrence", "TCM").path) == made.data_files(
        store.get("cooccurrence", "scratch").path
    )
    assert last == scratch
    assert_exact(dense(store), naive(frame(store, *members)))


def test_cooccur__what_is_taken_away_goes_first(store):
    """Old and new together would pass 2^53; neither does, and no bit is lost on the way."""
    big = np.array([[80_000_001, 80_000_003]])  # an odd product: twice that has no float64
    for seed, name in enumerate("abc"):
        add(store, name, reads(seed, 4, 2) % 1000 + 1, GENES[:2])
    add(store, "d", big, GENES[:2])
    count(store)
    add(store, "d", big + 1, GENES[:2])
    target = plan(store)
    assert target.detail.base is not None
    assert (len(target.detail.added), len(target.detail.removed)) == (1, 1)
    count(store)
    assert_exact(dense(store), naive(frame(store, *"abcd")))


def spoil_axis(store: Store) -> dict:
    add(store, "e", reads(9, 3, 24), [*GENES, "Z"])
    return {}


def spoil_weights(store: Store) -> dict:
    add(store, "e", reads(9, 3, 23))
    return {"weights": "log1p"}


def spoil_rule(store: Store) -> dict:
    add(store, "e", reads(9, 3, 23))
    return {"min_samples_expressed": 2}


def spoil_whole(store: Store) -> dict:
    add(store, "e", reads(9, 3, 23) + 0.5)
    return {}


def spoil_sums(store: Store) -> dict:
    add(store, "e", reads(9, 3, 23) + 100_000_000)
    return {}


def spoil_last(store: Store) -> dict:
    last = store.get("cooccurrence", "TCM")
    last.folder.remove(next(n for n in last.names if "value/c" in n))
    add(store, "e", reads(9, 3, 23))
    return {}


def spoil_removed(store: Store) -> dict:
    before = store.get("expression", "d")
    add(store, "d", reads(19, 10, 23))
    before.folder.remove(before.names[0])
    return {}


def spoil_most(store: Store) -> dict:
    for seed, name in enumerate("abc"):
        add(store, name, reads(20 + seed, 10, 23))
    return {}


SPOILERS = [
    spoil_axis,
    spoil_weights,
    spoil_rule,
    spoil_whole,
    spoil_sums,
    spoil_last,
    spoil_removed,
    spoil_most,
]


@pytest.mark.parametrize("spoil", SPOILERS, ids=lambda f: f.__name__)
def test_plan__rebuilds_where_the_last_version_does_not_serve(store, spoil):
    for seed, name in enumerate("abcd"):
        add(store, name, reads(seed, 10, 23))
    count(store)
    options = spoil(store)
    detail = plan(store, **options).detail
    assert (detail.base, detail.removed) == (None, ())
    assert detail.added == detail.members
    count(store, **options)
    if not options and spoil not in (spoil_whole, spoil_sums):
        assert_exact(dense(store), naive(frame(store, *store.names("expression"))))


def test_plan__a_change_in_estimated_counts_rebuilds(store):
    """Also where what is estimated has gone: what it left in the sums is rounded."""
    for seed, name in enumerate("abcd"):
        add(store, name, reads(seed, 10, 23))
    add(store, "e", reads(5, 10, 23) + 0.25)
    count(store)
    assert plan(store, datasets=tuple("abcd")).detail.base is None
    add(store, "e", reads(6, 10, 23) + 0.25)
    assert plan(store).detail.base is None
    count(store)
    np.testing.assert_allclose(dense(store), naive_weights(frame(store, *"abcde")), rtol=1e-12)


def test_plan__a_sum_that_was_rounded_is_no_base(store):
    for seed, name in enumerate("abcd"):
        add(store, name, reads(seed, 10, 23))
    add(store, "e", reads(5, 1, 23) + 100_000_000)
    assert count(store).artifacts["TCM"]["rounded"]
    target = plan(store, datasets=tuple("abcd"))
    assert (target.detail.base, target.same_blas) == (None, False)


# -- what comes in ----------------------------------------------------------------------------------------------


def test_cooccur__sparse_h5ad(tmp_path):
    """CSR counts of single cells, through ingest."""
    genes = ["TP53", "EGFR", "KRAS", "PTEN", "BRCA1", "MYC", "ACTB"]
    counts = np.random.default_rng(3).poisson(0.4, size=(60, len(genes)))
    counts[:, 2] *= 5000
    counts[:, 6] += 1  # no cell without a read: ingest refuses those
    file = tmp_path / "cells.h5ad"
    ad.AnnData(X=sp.csr_matrix(counts.astype(np.float32)), var=pd.DataFrame(index=genes)).write_h5ad(file)
    store = dataclasses.replace(Store.open(tmp_path / "s", create=True), tile=2)
    assert take(store, file).made == ["cells"]
    facts = count(store).artifacts["TCM"]
    assert not plan(store).same_blas
    assert facts["samples"] == {"cells": 60}
    expected = pd.DataFrame(counts, columns=genes)
    assert_exact(dense(store), naive(expected[sorted(genes)]))


def test_cooccur__a_real_tissue(tmp_path):
    """RSEM's estimated counts; and, rounded to whole reads, to the bit."""
    rows = pd.read_csv(data("rnaseq", "kidney-rsem-count-gtex.txt.gz"), sep="\t", nrows=150)
    store = dataclasses.replace(Store.open(tmp_path / "s", create=True), tile=64)
    for name, table in (("estimated", rows), ("whole", rows.set_index(["Hugo_Symbol", "Entrez_Gene_Id"]).round(0))):
        table.reset_index(drop=name == "estimated").to_csv(tmp_path / f"{name}.tsv", sep="\t", index=False)
        assert take(store, tmp_path / f"{name}.tsv").made == [name]
        count(store, name, datasets=(name,))
        assert plan(store, name, datasets=(name,)).same_blas == (name == "estimated")
        x = frame(store, name)
        x = x.loc[:, x.sum() > 0]
        assert axis(store, name) == x.columns.tolist()
        assert len(x.columns) > 100
        np.testing.assert_allclose(dense(store, name), naive_weights(x), rtol=1e-12)
    assert_exact(dense(store, "whole"), naive(x))


# -- what cannot be ---------------------------------------------------------------------------------------------


def test_plan__datasets_without_counts(store):
    made.expression(store, "array", np.zeros((5, 3)), ["A", "B", "C"])
    with pytest.raises(SpecError, match=r"array has none; datasets with read counts: none\. 'g2v ingest'"):
        plan(store)
    add(store, "a", reads(1, 9, 23))
    add(store, "b", reads(1, 9, 23))
    with pytest.raises(SpecError, match=r"array has none; datasets with read counts: a, b\."):
        plan(store, datasets=("a", "array"))
    summary = count(store)
    assert (summary.artifacts["TCM"]["datasets"], summary.left_out) == (2, ["array (no counts)"])


def test_plan__an_empty_store(store):
    with pytest.raises(SpecError, match=r"counted in reads, and there are none"):
        plan(store)


def test_plan__a_tissue_of_zeros(store):
    add(store, "void", np.zeros((6, 23), dtype=np.int32))
    with pytest.raises(SpecError, match=r"TCM: no gene has a read .* of the 6 samples of void; all counts are 0"):
        plan(store)


def test_plan__an_unknown_tissue_lists_those_there_are(store):
    add(store, "kidney", reads(1, 9, 23))
    add(store, "liver", reads(1, 9, 23))
    with pytest.raises(
        SpecError, match=r"no expression named 'livre'.*did you mean 'liver'.* there are: kidney, liver"
    ):
        plan(store, datasets=("livre",))


# -- workers ----------------------------------------------------------------------------------------------------


def test_cooccur__one_or_two_workers_give_the_same_bytes(store: Store, cluster: Cluster) -> None:
    """Estimated counts, whose sums are rounded: in this process alone, and on two workers."""
    random = np.random.default_rng(4)
    add(store, "a", np.exp(random.normal(4, 3, size=(40, 23))).round(2))
    add(store, "b", reads(2, 30, 26), OTHERS)
    count(store, "one")
    driver.drive(cooccur, cooccur.plan(store, CooccurSpec(name="two")), store, cluster, Display(quiet=True))
    one, two = (store.get("cooccurrence", name) for name in ("one", "two"))
    assert made.data_files(one.path) == made.data_files(two.path)
    assert one.facts == two.facts


def test_begin__again_keeps_the_tiles_that_are_done(store):
    add(store, "a", reads(1, 9, 23))
    target = plan(store)
    cooccur.begin(target.folder(store), target)
    kept = arrays.chunk_file(target.folder(store), "value", 0, 1)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(b"finished by the run before")
    cooccur.begin(target.folder(store), target)
    assert kept.read_bytes() == b"finished by the run before"


# -- trainers' reading ------------------------------------------------------------------------------------------


def test_cells__of_sums_below_1_none_is_lost(store):
    """Products of log counts, or of estimates, may lie between 0 and 1."""
    add(store, "a", np.array([[0.25, 0.5, 3.0], [0.0, 0.0, 2.0]]), ["A", "B", "C"])
    count(store)
    (found,) = base.cells(arrays.Cooccurrence(store.get("cooccurrence", "TCM").folder), 1)
    cells = list(zip(found.rows.tolist(), found.cols.tolist(), found.values.tolist(), strict=True))
    assert cells == [(0, 1, 0.125), (0, 2, 0.75), (1, 2, 1.5), (2, 2, 4.0)]
