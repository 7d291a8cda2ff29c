import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from g2v_dask import driver
from g2v_dask.driver import Summary
from g2v_dask.spec import PairsSpec
from g2v_dask.stages import pairs
from g2v_dask.store import Store
from tests import made


@pytest.fixture
def store(tmp_path):
    return Store.open(tmp_path / "s", create=True)


def find(store: Store, **options) -> Summary:
    return driver.here(pairs, pairs.plan(store, PairsSpec(**options)), store)


def read(store: Store, name: str) -> pd.DataFrame:
    return pd.read_parquet(store.get("pairs", name).path / "data.parquet")


GENES = [f"G{i:03d}" for i in range(60)]


def test_pairs__equal_corrcoef_and_are_sorted(store):
    values = made.correlated(25, 60, seed=1)
    made.expression(store, "a", values, GENES)
    find(store, threshold=0.7)
    table = read(store, "a")
    r = np.corrcoef(values.astype(np.float64).T)
    first, second = np.nonzero(np.triu(r >= 0.7, k=1))
    assert table["gene_a"].tolist() == [GENES[i] for i in first]
    assert table["gene_b"].tolist() == [GENES[i] for i in second]
    np.testing.assert_allclose(table["r"], r[first, second], atol=1e-12)
    assert table["r"].dtype == np.float64


def test_pairs__constant_genes_take_no_part(store):
    values = made.correlated(20, 60, seed=2)
    values[:, 1] = values[:, 0]  # would correlate at 1
    constant = np.zeros(60, dtype=bool)
    constant[1] = True
    made.expression(store, "a", values, GENES, constant=constant)
    summary = find(store, threshold=0.6)
    assert "G001" not in set(read(store, "a")["gene_a"]) | set(read(store, "a")["gene_b"])
    assert summary.artifacts["a"]["genes_constant"] == 1
    assert summary.artifacts["a"]["genes_used"] == 59


def test_pairs__a_gene_that_is_flat_after_normalisation_takes_no_part(store):
    """The highest gene of every sample has the same quantile in all of them (thyroglobulin in thyroid)."""
    values = made.correlated(20, 60, seed=2)
    values[:, 7] = 16.25
    made.expression(store, "a", values, GENES)
    assert find(store, threshold=0.6).artifacts["a"]["genes_constant"] == 1


@pytest.mark.parametrize(("least", "kept"), [(None, 1), (0.0, 3), (0.5, 0), (0.3, 1)])
def test_pairs__genes_not_expressed_take_no_part(store, least, kept):
    """Of 60 genes three are seen in 0, 1 in 10 and 4 in 10 samples."""
    values = made.correlated(20, 60, seed=3)
    counts = np.full((20, 60), 500, dtype=np.int32)
    counts[:, 0] = 0
    counts[:, 1] = np.arange(20) < 2
    counts[:, 2] = np.arange(20) < 8
    made.expression(store, "a", values, GENES, counts=counts)
    facts = find(store, threshold=0.0, min_expressed=least).artifacts["a"]
    assert facts["genes_used"] == 57 + kept
    assert facts["genes_unexpressed"] == 3 - kept


def test_pairs__sparse_counts_have_a_lower_bar(store):
    """In single cells most counts are 0: a gene seen in 2 % of the cells takes part."""
    counts = (np.random.default_rng(4).random((100, 60)) < 0.3).astype(np.int32)
    counts[:, 0] = np.arange(100) < 2
    counts[:, 1] = np.arange(100) < 1
    made.expression(store, "a", made.correlated(100, 60, seed=4), GENES, counts=counts)
    facts = find(store, threshold=0.0).artifacts["a"]
    assert (facts["min_expressed"], facts["genes_unexpressed"]) == (0.02, 1)


def test_pairs__none_at_the_threshold_says_what_would_give_some(store):
    values = np.random.default_rng(5).normal(size=(50, 60))
    made.expression(store, "a", values, GENES)
    strongest = np.triu(np.corrcoef(values.astype(np.float32).astype(np.float64).T), k=1).max()
    summary = find(store)
    (refused,) = summary.quarantined
    assert f"no pair of genes has r ≥ 0.9; the strongest has r = {strongest:.4f}" in refused["reason"]
    assert "--top-k 50" in refused["reason"]
    hint = float(refused["reason"].split("--threshold ")[1].split()[0])
    assert find(store, threshold=hint).made == ["a"]


def test_pairs__too_many_are_quarantined_and_a_higher_limit_tries_again(store):
    made.expression(store, "a", made.correlated(20, 60, seed=6), GENES)
    summary = find(store, threshold=0.0, max_pairs=20)
    assert "at most 20 pairs" in summary.quarantined[0]["reason"]
    assert find(store, threshold=0.0, max_pairs=20).parts_run == 0
    assert find(store, threshold=0.0, max_pairs=10_000).made == ["a"]


def test_pairs__top_k_gives_every_gene_partners(store):
    made.expression(store, "a", made.correlated(20, 60, seed=7), GENES)
    find(store, top_k=2)
    table = read(store, "a")
    partners = pd.concat([table["gene_a"], table["gene_b"]]).value_counts()
    assert set(partners.index) == set(GENES)
    assert partners.min() >= 2
    assert len(table) <= 120


def test_pairs__row_groups_hold_the_number_of_rows_they_should(store, monkeypatch):
    monkeypatch.setattr(pairs, "ROW_GROUP", 100)
    made.expression(store, "a", made.correlated(20, 60, seed=8), GENES)
    find(store, threshold=-1.0)
    file = pq.ParquetFile(next((store.get("pairs", "a").path / "data.parquet").glob("*.parquet")))
    assert file.metadata.num_rows == 60 * 59 // 2
    assert [file.metadata.row_group(i).num_rows for i in range(2)] == [100, 100]
    assert [f.type for f in file.schema_arrow] == ["string", "string", "double"]


def test_pairs__too_few_genes_left(store):
    made.expression(
        store, "a", made.correlated(20, 3, seed=9), ["A", "B", "C"], constant=np.array([1, 1, 0], dtype=bool)
    )
    assert "1 of 3 genes can take part" in find(store).quarantined[0]["reason"]
