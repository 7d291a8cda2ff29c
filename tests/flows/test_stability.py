"""Stability from a store: runs trained, embeddings compared, the command and its report."""

from __future__ import annotations

import gzip
import json
from itertools import islice
from pathlib import Path

import click
import numpy as np
import pytest

from g2v_dask import driver
from g2v_dask.commands.stability import stability as command
from g2v_dask.errors import G2VError, InputError, SpecError
from g2v_dask.flows import stability
from g2v_dask.progress import Display
from g2v_dask.spec import ClusterSpec, IngestSpec, MergeSpec, PairsSpec, TrainSpec
from g2v_dask.stages import ingest, merge, pairs, train
from g2v_dask.store import Store
from tests import made, stores
from tests.data_paths import data

GENES = [f"G{i:03d}" for i in range(80)]
QUIET = Display(quiet=True)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A co-occurrence of 80 genes from three datasets."""
    opened = Store.open(tmp_path / "s", create=True)
    for seed, name in enumerate("abc"):
        made.expression(opened, name, made.correlated(25, 80, seed=seed % 2), GENES)
    for stage, spec in ((pairs, PairsSpec(threshold=0.6)), (merge, MergeSpec())):
        driver.here(stage, stage.plan(opened, spec), opened)
    return opened


@pytest.fixture
def two(tmp_path: Path) -> Store:
    """Embeddings `one` and `two` of real genes; two of theirs lie elsewhere in the second."""
    opened = stores.empty(tmp_path / "t")
    genes = ["TP53", "EGFR", "KRAS", "PTEN", "BRCA1", "BRCA2", "CD3E", "CD74", "HLA-DRA", "GAPDH"]
    vectors = np.random.default_rng(1).normal(size=(10, 3))
    stores.embedding(opened, "one", genes, vectors)
    moved = vectors.copy()
    moved[:2] *= -1
    stores.embedding(opened, "two", genes[::-1], moved[::-1])
    return opened


@pytest.fixture
def here(address: str) -> ClusterSpec:
    """The tests' cluster."""
    return ClusterSpec(address=address)


def called(*words: object) -> None:
    """The command, its errors raised."""
    command.main([str(word) for word in words], standalone_mode=False)


# -- runs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["svd", "skipgram"])
def test_train__runs_differ_in_their_seed_alone(store: Store, here: ClusterSpec, method: str) -> None:
    spec = TrainSpec(name="x", method=method, components=4, iterations=1, seed=5)
    names = stability.train(str(store.root.desk), spec, 3, cluster=here, display=QUIET)
    assert names == ["x-seed5", "x-seed6", "x-seed7"]
    cards = [dict(store.get("embeddings", name).facts["parameters"]) for name in names]
    assert [card.pop("seed") for card in cards] == [5, 6, 7]
    assert cards[0] == cards[1] == cards[2]
    found = stability.compare(str(store.root.desk), names, ks=(5,)).found
    assert list(found.sizes) == names
    if method == "svd":
        assert found.all.overlaps[0].mean > 0.99  # a seed moves the last digits
        assert found.all.procrustes == pytest.approx(0, abs=1e-6)
    else:
        assert found.all.overlaps[0].mean < 0.99


def test_train__is_what_the_train_stage_makes_and_is_not_made_again(store: Store, here: ClusterSpec) -> None:
    spec = TrainSpec(name="x", components=4, iterations=1)
    alone = TrainSpec(name="x-seed2", components=4, iterations=1, seed=2)
    driver.here(train, train.plan(store, alone), store)
    digest = store.head("embeddings", "x-seed2")
    names = stability.train(str(store.root.desk), spec, 2, cluster=here, display=QUIET)
    before = {name: store.get("embeddings", name).manifest["made"] for name in names}
    assert store.head("embeddings", "x-seed2") == digest
    nowhere = ClusterSpec(address="tcp://127.0.0.1:9")  # all is fresh: no cluster is asked for
    assert stability.train(str(store.root.desk), spec, 2, cluster=nowhere, display=QUIET) == names
    assert {name: store.get("embeddings", name).manifest["made"] for name in names} == before


def test_train__one_run_is_none(store: Store, here: ClusterSpec) -> None:
    with pytest.raises(SpecError, match="runs must be at least 2, to have something to compare; got 1"):
        stability.train(str(store.root.desk), TrainSpec(), 1, cluster=here, display=QUIET)


@pytest.mark.parametrize(
    ("ks", "message"),
    [
        ((0,), "k must be one or more different numbers, each at least 1; got 0"),
        ((5, 80), "k must be less than the number of genes of cooccurrence/all, 80; got k = 80"),
    ],
)
def test_train__wrong_numbers_of_neighbours_are_found_before_any_run(
    store: Store, here: ClusterSpec, ks: tuple[int, ...], message: str
) -> None:
    with pytest.raises(G2VError, match=message):
        stability.train(str(store.root.desk), TrainSpec(components=4), 2, cluster=here, display=QUIET, ks=ks)
    assert store.names("embeddings") == []


def test_command__a_wrong_k_is_found_before_any_run(store: Store, address: str) -> None:
    words = (
        "--runs",
        2,
        "--method",
        "svd",
        "--components",
        4,
        "--store",
        store.root.desk,
        "--cluster",
        address,
        "--quiet",
    )
    with pytest.raises(SpecError, match="k must be one or more different numbers, each at least 1; got 0"):
        called(*words, "-k", "0")
    assert store.names("embeddings") == []


def test_train__runs_that_would_be_equal_are_refused(store: Store, here: ClusterSpec) -> None:
    spec = TrainSpec(name="x", method="glove", components=4)
    with pytest.raises(SpecError, match="runs would be equal: als from the SVD takes no seed; give --init random, or"):
        stability.train(str(store.root.desk), spec, 2, cluster=here, display=QUIET, ks=(5,))
    assert store.names("embeddings") == []
    for more in ({"init": "random"}, {"optimizer": "adagrad"}):
        spec = TrainSpec(name="x", method="glove", components=4, iterations=1, **more)
        names = stability.train(str(store.root.desk), spec, 2, cluster=here, display=QUIET, ks=(5,))
        assert stability.compare(str(store.root.desk), names, ks=(5,)).found.all.overlaps[0].mean < 1


def test_train__input_that_was_refused_is_an_error(
    store: Store, here: ClusterSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> driver.Summary:
        return driver.Summary(stage="train", quarantined=[{"name": "x-seed1", "reason": "no pairs"}])

    monkeypatch.setattr(driver, "drive", refused)
    with pytest.raises(InputError, match="x-seed1 cannot be trained, so there is nothing to compare: no pairs"):
        stability.train(str(store.root.desk), TrainSpec(name="x"), 2, cluster=here, display=QUIET)


def test_command__trains_runs_on_real_expression(
    tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with gzip.open(data("rnaseq", "chol-rsem-count-tcga-t.txt.gz"), "rt") as stream:
        (tmp_path / "chol.txt").write_text("".join(islice(stream, 1501)))
    opened = Store.open(tmp_path / "s", create=True)
    for stage, spec in (
        (ingest, IngestSpec(files=(str(tmp_path / "chol.txt"),))),
        (pairs, PairsSpec(top_k=10)),
        (merge, MergeSpec(name="chol")),
    ):
        driver.here(stage, stage.plan(opened, spec), opened)
    words = ("--runs", 2, "--components", 20, "--from", "chol", "--store", opened.root.desk, "--cluster", address)
    called(*words, "--method", "svd", "-k", "5,10", "--quiet", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found["embeddings"] == {f"stability-svd-seed{seed}": found["genes"] for seed in (1, 2)}
    assert found["genes"] > 500
    assert found["all"]["overlap"]["5"]["mean"] > 0.99


# -- comparing ----------------------------------------------------------------------------------------------


def test_compare__reads_the_store_and_names_the_genes(two: Store) -> None:
    compared = stability.compare(two.root.url, ["one", "two"], ks=(3,))
    assert compared.found.genes.tolist() == sorted(compared.found.genes.tolist())
    assert {g.gene for g in compared.found.least_stable(2)} <= {"TP53", "EGFR"}
    assert compared.names.about("TP53").description == "tumor protein p53"


def test_compare__glove_without_a_seed_says_so(tmp_path: Path) -> None:
    opened = stores.empty(tmp_path / "t")
    vectors = np.random.default_rng(1).normal(size=(10, 3))
    for name, init in (("a", "svd"), ("b", "svd"), ("c", "random")):
        card = {"parameters": {"method": "glove", "optimizer": "als", "init": init}}
        stores.embedding(opened, name, GENES[:10], vectors, card=card)
    (note,) = stability.compare(str(opened.root.desk), ["a", "b", "c"], ks=(3,)).found.notes
    assert note.startswith("a, b: GloVe by als from the SVD takes no seed, so runs are equal")


def test_compare__one_twice_is_none(two: Store) -> None:
    with pytest.raises(SpecError, match="different embeddings, but 'one' is named twice"):
        stability.compare(two.root.url, ["one", "one"])


def test_compare__one_that_is_not_there_lists_those_that_are(two: Store) -> None:
    with pytest.raises(SpecError, match="no embeddings named 'three'.*; there are: one, two"):
        stability.compare(two.root.url, ["one", "three"])


# -- the command --------------------------------------------------------------------------------------------


def test_command__prints_a_table_and_the_least_stable_genes(two: Store, capsys: pytest.CaptureFixture[str]) -> None:
    called("one", "two", "--store", two.root.url, "-k", "3,5")
    out = capsys.readouterr().out
    assert "Stability of 2 embeddings\n10 genes that all have\n" in out
    assert "3 nearest" in out
    assert "5 nearest" in out
    assert "The least stable genes" in out
    assert "tumor protein p53" in out


def test_command__json_is_whole(two: Store, capsys: pytest.CaptureFixture[str]) -> None:
    called("one", "two", "--store", two.root.url, "-k", "3", "--json")
    found = json.loads(capsys.readouterr().out)
    expected = stability.compare(two.root.url, ["one", "two"], ks=(3,)).found
    assert found == json.loads(json.dumps(expected.as_json()))
    assert found["pairs"][0]["first"] == "one"
    assert 0 < found["all"]["overlap"]["3"]["mean"] < 1
    assert found["chance"] == {"3": 3 / 9}


def test_command__markdown_has_its_picture_beside_it_and_html_inside(two: Store, tmp_path: Path) -> None:
    vectors = np.random.default_rng(4).normal(size=(10, 3))
    genes = stability.compare(two.root.url, ["one", "two"], ks=(3,)).found.genes.tolist()
    stores.embedding(two, "three", genes, vectors)
    markdown, html = tmp_path / "r.md", tmp_path / "r.html"
    words = ("one", "two", "three", "--store", two.root.url, "-k", "3,5", "--markdown", markdown, "--html", html)
    called(*words)
    text, picture = markdown.read_text("utf-8"), (tmp_path / "r.png").read_bytes()
    assert text.count("# Stability of 3 embeddings") == 1
    assert "| all | 3 pairs |" in text
    assert "(r.png)" in text
    assert text.index("(r.png)") < text.index("# The least stable genes")
    assert picture.startswith(b"\x89PNG")
    assert html.read_text("utf-8").count("data:image/png;base64,") == 1
    called(*words)
    assert (tmp_path / "r.png").read_bytes() == picture
    with pytest.raises(InputError, match=r"the picture of the report takes that name; call the report .md"):
        called("one", "two", "--store", two.root.url, "-k", "3", "--markdown", tmp_path / "r.png")


def test_command__equal_embeddings_have_no_least_stable_gene(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = stores.empty(tmp_path / "t")
    for name in "ab":
        stores.embedding(opened, name, GENES[:10], np.random.default_rng(1).normal(size=(10, 3)))
    called("a", "b", "--store", opened.root.desk, "-k", "3", "--markdown", tmp_path / "r.md")
    called("a", "b", "--store", opened.root.desk, "-k", "3")
    assert "None: all genes keep all their nearest genes." in capsys.readouterr().out


def test_command__more_lost_genes_than_are_listed_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = stores.empty(tmp_path / "t")
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    order = np.arange(60) * 7 % 60  # neighbours on one circle are far from each other on the other
    for name, at in (("a", angles), ("b", angles[order])):
        stores.embedding(opened, name, GENES[:60], np.column_stack([np.cos(at), np.sin(at)]))
    called("a", "b", "--store", opened.root.desk, "-k", "2")
    out = capsys.readouterr().out
    assert "60 genes keep none of their nearest genes; listed are the first of them by gene id." in out
    assert "G019" in out
    assert "G020" not in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name two or more embeddings to compare, or give --runs to train them first; not both"),
        (("one", "two", "--runs", "3"), "name two or more embeddings to compare, or give --runs .*; not both"),
        (("one",), "at least two embeddings, got one"),
        (("one", "two", "--components", "3", "--name", "x"), "components, name: only with --runs"),
        (("one", "two", "-k", "3,x"), "k must be whole numbers with commas between them, such as 10,50; got '3,x'"),
        (("one", "two", "-k", "10"), r"k must be less than .* 10 \(of one 10, two 10\); got k = 10"),
    ],
)
def test_command__what_cannot_be_done_is_said(two: Store, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(G2VError, match=message):
        called(*words, "--store", two.root.url)


def test_command__offers_every_training_option() -> None:
    offered = {option for parameter in command.params for option in parameter.opts}
    for method in ("--from", "--method", "--seed", "--optimizer", "--init", "--shift", "--runs", "--name", "-k"):
        assert method in offered
    assert isinstance(command, click.Command)
