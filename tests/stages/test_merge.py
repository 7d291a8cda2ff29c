import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from g2v_dask import arrays, driver, tiles
from g2v_dask.driver import Summary
from g2v_dask.errors import SpecError
from g2v_dask.spec import MergeSpec, PairsSpec
from g2v_dask.stages import merge, pairs
from g2v_dask.store import Store
from tests import made

GENES = [f"G{i:02d}" for i in range(23)]


@pytest.fixture
def store(tmp_path):
    return dataclasses.replace(Store.open(tmp_path / "s", create=True), tile=8)


def add(store: Store, name: str, seed: int, genes: list[str] = GENES, **rule) -> None:
    made.expression(store, name, made.correlated(20, len(genes), seed=seed), genes)
    spec = PairsSpec(**{"threshold": 0.5, "datasets": (name,), **rule})
    assert driver.here(pairs, pairs.plan(store, spec), store).exit_code == 0


def count(store: Store, **options) -> Summary:
    return driver.here(merge, merge.plan(store, MergeSpec(**options)), store)


def dense(store: Store, name: str = "all") -> np.ndarray:
    matrix = arrays.Cooccurrence(store.get("cooccurrence", name).folder)
    size = len(matrix.genes)
    out = np.zeros((size, size), dtype=np.int64)
    for i, j in tiles.blocks(size, matrix.tile):
        rows, cols = tiles.span(size, matrix.tile, i), tiles.span(size, matrix.tile, j)
        out[rows, cols] = matrix.read(i, j)
        out[cols, rows] = matrix.read(i, j).T
    return out


def naive(store: Store, names: list[str]) -> tuple[list[str], np.ndarray]:
    """Counted pair by pair, from the Parquet files."""
    frames = [__import__("pandas").read_parquet(store.get("pairs", n).path / "data.parquet") for n in names]
    genes = sorted({g for n in names for g in genes_of(store, n)})
    place = {g: i for i, g in enumerate(genes)}
    out = np.zeros((len(genes), len(genes)), dtype=np.int64)
    for frame in frames:
        for a, b in zip(frame["gene_a"], frame["gene_b"], strict=True):
            out[place[a], place[b]] += 1
            out[place[b], place[a]] += 1
    return genes, out


def genes_of(store: Store, name: str) -> list[str]:
    return arrays.strings(arrays.open_group(store.get("expression", name).folder, "expression"), "gene_id").tolist()


def test_merge__counts_in_how_many_datasets_two_genes_are_a_pair(store):
    add(store, "a", 1)
    add(store, "b", 2, [f"G{i:02d}" for i in range(5, 31)])
    add(store, "c", 3)
    summary = count(store)
    genes, expected = naive(store, ["a", "b", "c"])
    matrix = arrays.Cooccurrence(store.get("cooccurrence", "all").folder)
    assert matrix.genes.tolist() == genes
    np.testing.assert_array_equal(dense(store), expected)
    facts = summary.artifacts["all"]
    upper = expected[np.triu_indices(len(genes), k=1)]
    assert facts["cells"] == np.count_nonzero(upper)
    assert facts["pairs"] == upper.sum()
    assert facts["recurrence"] == {str(m): int((upper == m).sum()) for m in (1, 2, 3) if (upper == m).any()}
    assert (np.diagonal(dense(store)) == 0).all()


def test_merge__adding_changing_and_removing_equals_from_scratch(store, tmp_path):
    """The plan takes the last version as its base; the bytes are those of a merge from nothing."""
    for seed, name in enumerate("abcdef"):
        add(store, name, seed)
    count(store)
    add(store, "g", 10)
    add(store, "b", 11)  # another version of b
    members = ("a", "b", "d", "e", "f", "g")  # c is gone
    plan = merge.plan(store, MergeSpec(datasets=members))
    detail = plan.targets[0].detail
    assert detail.base is not None
    assert (len(detail.added), len(detail.removed)) == (2, 2)
    driver.here(merge, plan, store)
    count(store, name="scratch", datasets=members)
    assert made.data_files(store.get("cooccurrence", "all").path) == made.data_files(
        store.get("cooccurrence", "scratch").path
    )
    np.testing.assert_array_equal(dense(store), naive(store, list(members))[1])


def test_merge__a_new_gene_rebuilds(store):
    for seed, name in enumerate("abcd"):
        add(store, name, seed)
    count(store)
    add(store, "e", 10, [*GENES, "Z"])
    plan = merge.plan(store, MergeSpec())
    assert plan.targets[0].detail.base is None
    driver.here(merge, plan, store)
    np.testing.assert_array_equal(dense(store), naive(store, list("abcde"))[1])


def test_merge__members_of_another_rule_are_refused_and_listed(store):
    add(store, "a", 1)
    add(store, "b", 2, threshold=0.6)
    with pytest.raises(SpecError, match=r"threshold 0.5.*: a; threshold 0.6.*: b"):
        count(store)
    assert count(store, datasets=("b",)).made == ["all"]


def test_merge__without_pairs(store):
    with pytest.raises(SpecError, match="no pairs in .* run 'g2v pairs' first"):
        count(store)


def test_merge__order_of_datasets_changes_nothing(store):
    add(store, "a", 1)
    add(store, "b", 2)
    first = merge.plan(store, MergeSpec(datasets=("a", "b"))).targets[0]
    assert merge.plan(store, MergeSpec(datasets=("b", "a"))).targets[0].digest == first.digest


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tile=st.integers(1, 30))
def test_merge__any_tile_size_gives_the_same_matrix(tmp_path_factory, tile):
    store = dataclasses.replace(Store.open(tmp_path_factory.mktemp("t") / "s", create=True), tile=tile)
    add(store, "a", 1)
    add(store, "b", 2)
    count(store)
    np.testing.assert_array_equal(dense(store), naive(store, ["a", "b"])[1])


def test_merge__row_groups_that_hold_no_gene_of_a_band_are_skipped(store, monkeypatch):
    monkeypatch.setattr(pairs, "ROW_GROUP", 7)
    add(store, "a", 1)
    count(store)
    np.testing.assert_array_equal(dense(store), naive(store, ["a"])[1])


def test_merge__resumes_without_losing_finished_bands(store):
    add(store, "a", 1)
    plan = merge.plan(store, MergeSpec())
    target = plan.targets[0]
    merge.begin(target.folder(store), target)
    kept = arrays.chunk_file(target.folder(store), "value", 0, 1)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(b"finished by the run before")
    merge.begin(target.folder(store), target)
    assert kept.read_bytes() == b"finished by the run before"
