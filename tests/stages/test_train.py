import numpy as np
import pytest

from g2v_dask import driver
from g2v_dask.cluster import Cluster, connect
from g2v_dask.errors import BudgetError
from g2v_dask.models import svd
from g2v_dask.progress import Display
from g2v_dask.spec import ClusterSpec, MergeSpec, PairsSpec, TrainSpec
from g2v_dask.stages import merge, pairs, train
from g2v_dask.store import Store
from tests import made

GENES = [f"G{i:03d}" for i in range(80)]


@pytest.fixture
def store(tmp_path):
    opened = Store.open(tmp_path / "s", create=True)
    for seed, name in enumerate("abc"):
        made.expression(opened, name, made.correlated(25, 80, seed=seed % 2), GENES)
    for stage, spec in ((pairs, PairsSpec(threshold=0.6)), (merge, MergeSpec())):
        driver.here(stage, stage.plan(opened, spec), opened)
    return opened


@pytest.mark.parametrize("least", [1, 2])
def test_plan__svd_counts_the_cells_that_it_will_read(store, least):
    spec = TrainSpec(name="v", method="svd", components=8, min_datasets=least)
    (target,) = train.plan(store, spec).targets
    card = driver.here(train, train.plan(store, spec), store).artifacts["v"]
    assert target.parts[0].bytes == svd.memory_bytes(genes=80, cells=card["cells"], components=8)


def test_plan__over_the_budget_it_refuses_naming_the_need(store, monkeypatch):
    monkeypatch.setattr(svd, "memory_bytes", lambda **_: 10**13)
    plan = train.plan(store, TrainSpec(name="v", method="svd", components=8))
    with connect(ClusterSpec(workers=1)) as there, pytest.raises(BudgetError, match=r"train of v needs 10000.00 GB"):
        driver.drive(train, plan, store, there, Display(quiet=True))


def test_card__says_what_the_vectors_were_made_of(store):
    card = driver.here(train, train.plan(store, TrainSpec(name="v", components=8, iterations=2)), store).artifacts["v"]
    assert card["samples"] == {"a": 25, "b": 25, "c": 25}
    assert set(card["datasets"]) == {"pairs/a", "pairs/b", "pairs/c"}
    assert card["rule"]["threshold"] == 0.6
    assert (card["components"], len(card["losses"])) == (8, 2)
    assert set(card["versions"]) == {"g2v_dask", "gensim", "numba", "numpy", "scipy"}
    assert card["parameters"]["iterations"] == 2


def test_train__input_that_lost_a_chunk_is_not_read_as_zeros(store):
    source = store.get("cooccurrence", "all")
    chunk = source.path / next(n for n in source.names if "value/c" in n)
    chunk.unlink()
    with pytest.raises(OSError, match=r"cooccurrence/all is damaged: .* is missing; run the command that made it"):
        train.plan(store, TrainSpec(name="v", method="svd", components=8))
    again = driver.here(merge, merge.plan(store, MergeSpec()), store)
    assert again.made == ["all"]  # it is made anew
    assert np.isfinite(driver.here(train, train.plan(store, TrainSpec(name="v", components=8)), store).seconds)


def test_cluster__takes_fewer_workers_where_a_part_needs_more():
    cluster = Cluster(ClusterSpec())
    cluster._fitting = 8
    cluster._make_room(10**15)
    assert cluster._fitting == 1
