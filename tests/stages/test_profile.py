"""What expression alone says of a gene, against means and deviations taken one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from g2v_dask import background, driver, query
from g2v_dask.errors import SpecError
from g2v_dask.spec import CombineSpec, ProfileSpec
from g2v_dask.stages import combine, profile
from g2v_dask.store import Store
from tests import made, stores
from tests.shell import g2v

RANDOM = np.random.default_rng(2)
VALUES = {
    "x": (RANDOM.gamma(4, 2, (9, 5)), ["A", "B", "C", "D", "E"]),
    "y": (RANDOM.gamma(4, 2, (6, 3)), ["B", "C", "F"]),
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = stores.empty(tmp_path / "s", tile=4)
    for name, (values, genes) in VALUES.items():
        made.expression(opened, name, values, genes)
    return opened


def do(store: Store, **options: object) -> query.Embedding:
    assert driver.here(profile, profile.plan(store, ProfileSpec(**options)), store).names == ["profile"]
    return query.open_embedding(store, "profile")


def naive(gene: str) -> list[float]:
    """The three figures of each dataset, not yet scaled."""
    found: list[float] = []
    for values, genes in VALUES.values():
        if gene not in genes:
            found += [0.0, 0.0, 0.0]
            continue
        column = values[:, genes.index(gene)].astype(np.float32).tolist()
        mean = sum(column) / len(column)
        level = sum(float(v) for v in values.astype(np.float32).ravel()) / values.size
        found += [1.0, mean - level, (sum((v - mean) ** 2 for v in column) / len(column)) ** 0.5]
    return found


def test_profile__is_presence_mean_and_deviation_of_each_dataset(store: Store) -> None:
    vectors = do(store)
    assert vectors.genes.tolist() == ["B", "C", "A", "D", "E", "F"]  # of two datasets first, then by id
    wanted = np.array([naive(gene) for gene in vectors.genes.tolist()])
    wanted /= [np.sqrt(sum(v**2 for v in column) / len(column)) for column in wanted.T]
    np.testing.assert_allclose(vectors.vectors, wanted, atol=1e-5)
    np.testing.assert_allclose(np.square(vectors.vectors).mean(axis=0), 1, atol=1e-5)


def test_profile__a_still_dataset_has_zeros_and_no_more(store: Store) -> None:
    made.expression(store, "z", np.full((4, 2), 7.0), ["A", "F"])
    found = do(store)
    assert np.isfinite(found.vectors).all()
    assert not found.vectors[:, 7:].any()  # all means are the mean, nothing deviates
    assert found.vectors[:, 6].any()


def test_profile__card_inputs_and_chosen_datasets(store: Store) -> None:
    card = do(store, datasets=("y",)).card
    assert (card["genes"], card["components"], card["samples"]) == (3, 3, {"y": 6})
    digest = store.get("expression", "y").digest
    assert card["datasets"] == {"expression/y": digest}
    assert dict(store.get("embeddings", "profile").manifest["inputs"]) == {"expression/y": digest}
    with pytest.raises(SpecError, match="'w'"):
        profile.plan(store, ProfileSpec(datasets=("w",)))


def test_profile__of_an_empty_store(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no expression .*; run 'g2v ingest' first"):
        profile.plan(stores.empty(tmp_path / "s"), ProfileSpec())


def test_profile__has_its_datasets_as_background_also_when_combined(store: Store) -> None:
    do(store)
    stores.embedding(store, "other", ["A", "B"], np.ones((2, 2)))
    driver.here(combine, combine.plan(store, CombineSpec(embeddings=("profile", "other"), name="both")), store)
    for name in ("profile", "both"):
        found, inputs = background.sources(store, store.get("embeddings", name), [])
        assert [member for member, _ in found.members] == ["x", "y"]
        assert sorted(inputs) == ["expression/x", "expression/y"]
        assert found.degree() == {}


def test_profile__by_the_command_line(store: Store) -> None:
    answer = g2v("profile", "--store", store.root.desk, "--name", "profile", "--cluster-workers", "1", "-q")
    assert answer.code == 0, answer.err
    assert query.open_embedding(store, "profile").vectors.shape == (6, 6)
