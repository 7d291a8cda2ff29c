"""Lists of gene pairs: what is read, what is refused, what is told; the published list itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from g2v_dask.errors import InputError
from g2v_dask.evaluation import degrees, pairlists
from g2v_dask.evaluation.pairlists import Oddities, PairList
from tests.data_paths import data
from tests.evaluation import pair_toys
from tests.evaluation.subjects import table

TOY = {
    "train": [("TP53", "BRCA1", 1), ("BRCA1", "MYC", 0), ("MYC", "TP53", 1), ("TP53", "MYC", 0), ("MYC", "MYC", 1)],
    "valid": [("CD3E", "CD19", 1), ("CD19", "CD3E", 1), ("CD3E", "CD4", 0)],
    "test": [("KIT", "FLT3", 0), ("KIT", "EGFR", 1)],
}


def named(found: PairList, split: str) -> list[tuple[str, str, int]]:
    pairs = found.genes[found.splits[split].pairs].tolist()
    return [(a, b, y) for (a, b), y in zip(pairs, found.splits[split].labels.tolist(), strict=True)]


@pytest.mark.parametrize("packed", [False, True])
def test_read__keeps_order_and_tells_what_is_odd(tmp_path: Path, packed: bool) -> None:
    found = pairlists.read(pair_toys.write(tmp_path, TOY, packed=packed), table())
    assert found.genes.tolist() == sorted({g for rows in TOY.values() for a, b, _ in rows for g in (a, b)})
    assert named(found, "train") == TOY["train"][:4]  # without the gene with itself
    assert (named(found, "valid"), named(found, "test")) == (TOY["valid"], TOY["test"])
    assert found.splits["train"].lines.tolist() == [0, 1, 2, 3]
    assert found.oddities["train"] == Oddities(selves=1, strays=0, repeated=1, contradictory=1)
    assert found.oddities["valid"] == Oddities(selves=0, strays=0, repeated=1, contradictory=0)


def test_read__names_of_today_and_one_gene_under_two_names(tmp_path: Path) -> None:
    listed = {**TOY, "train": [*TOY["train"], ("HER1", "MYC", 1), ("P53", "TP53", 0)]}  # HER1 is EGFR, which is tested
    found = pairlists.read(pair_toys.write(tmp_path, listed), table())
    assert table().lookup("HER1")[0] == "EGFR"
    assert table().lookup("P53")[0] == "TP53"
    assert "EGFR" not in found.genes[found.splits["train"].genes]
    assert named(found, "train") == TOY["train"][:4]
    assert (found.oddities["train"].strays, found.oddities["train"].selves) == (1, 2)
    assert ("KIT", "EGFR", 1) in named(found, "test")


def test_read__other_files_are_passed_over(tmp_path: Path) -> None:
    files = pair_toys.write(tmp_path, TOY)
    (tmp_path / "README.md").write_text("pairs")
    assert len(pairlists.read([*files, tmp_path / "README.md"], table()).genes) == 9


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("train_label.txt", "1\n0\n1\n", "train_text.txt has 5 pairs and train_label.txt 3 labels; expected one label"),
        ("train_label.txt", "1\n0\n1\n2\n1\n", "line 4: expected a label, 0 or 1, got '2'"),
        ("train_label.txt", "1\n1\n1\n1\n1\n", "all labels of .*train_label.txt are 1"),
        (
            "valid_text.txt",
            "CD3E CD19\nCD19\nCD3E CD4\n",
            "line 2: expected two genes separated by a space, got 'CD19'",
        ),
        ("valid_text.txt", "CD3E CD19\nCD3E CD4\nCD3E CD4 CD8A\n", "line 3: expected two genes"),
        ("valid_text.txt", "CD3E CD19\n\nCD3E CD4\n", "line 2: expected two genes separated by a space, got ''"),
        ("test_text.txt", "KIT TP53\nKIT EGFR\n", r"train_text.txt and test_text.txt share 1 genes \(TP53\)"),
        ("test_text.txt", "", "test_text.txt is empty"),
    ],
)
def test_read__what_is_wrong_is_named(tmp_path: Path, file: str, text: str, message: str) -> None:
    files = pair_toys.write(tmp_path, TOY)
    (tmp_path / file).write_text(text)
    with pytest.raises(InputError, match=message):
        pairlists.read(files, table())


def test_read__files_that_are_missing_or_there_twice(tmp_path: Path) -> None:
    files = pair_toys.write(tmp_path, TOY)
    with pytest.raises(InputError, match=r"missing: test_text.txt, test_label.txt"):
        pairlists.read([f for f in files if "test" not in f.name], table())
    pair_toys.write(tmp_path, TOY, packed=True)
    with pytest.raises(InputError, match="is there twice"):
        pairlists.read(sorted(tmp_path.iterdir()), table())


# -- degrees --------------------------------------------------------------------------------------------------


def test_degrees__by_hand(tmp_path: Path) -> None:
    found = pairlists.read(pair_toys.write(tmp_path, TOY), table())
    place = {gene: i for i, gene in enumerate(found.genes.tolist())}
    listed, positive = degrees.pairs_of_genes(found), degrees.positives_of_genes(found)
    assert [listed[place[g]] for g in ("TP53", "BRCA1", "MYC", "CD3E", "KIT", "FLT3")] == [3, 2, 3, 3, 2, 1]
    assert [positive[place[g]] for g in ("TP53", "BRCA1", "MYC", "CD3E", "KIT", "FLT3")] == [2, 1, 1, 1, 1, 0]


def test_table_of__holds_all_but_min() -> None:
    pairs = np.array([[0, 1], [2, 1]], dtype=np.int32)
    made = degrees.table_of([np.array([1.0, 3, 5]), np.array([0.0, 2, 7])], pairs)
    assert made.tolist() == [[4, 3, 2, 2, 0, 2], [8, 15, 2, 9, 14, 5]]


# -- as published ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def published() -> PairList:
    return pairlists.read(sorted(data("gene2vec").iterdir()), table())


def test_published__all_of_it_and_what_is_odd_in_it(published: PairList) -> None:
    there = {name: len(split.labels) for name, split in published.splits.items()}
    odd = published.oddities
    assert {name: there[name] + odd[name].selves + odd[name].strays for name in there} == {
        "train": 263_016,
        "valid": 5_568,
        "test": 21_448,
    }
    assert odd["train"] == Oddities(selves=18, strays=23, repeated=694, contradictory=372)
    assert [int(s.labels.sum()) for s in published.splits.values()] == [130_455, 2_845, 10_848]
    genes = [set(s.genes.tolist()) for s in published.splits.values()]
    assert len(frozenset().union(*genes)) == sum(map(len, genes))


def test_published__degree_alone_tells_most_of_it(published: PairList) -> None:
    """The reason for matched negatives."""
    test = published.splits["test"]
    auc = {
        name: {f: roc_auc_score(test.labels, v) for f, v in degrees.figures(np.log1p(counts), test.pairs).items()}
        for name, counts in (
            ("all", degrees.pairs_of_genes(published)),
            ("positive", degrees.positives_of_genes(published)),
        )
    }
    assert auc["all"]["sum"] == pytest.approx(0.903, abs=0.001)
    assert auc["positive"]["sum"] == pytest.approx(0.971, abs=0.001)
    alphabetical = test.pairs[:, 0] < test.pairs[:, 1]
    assert [alphabetical[test.labels == y].mean() for y in (1, 0)] == pytest.approx([0.616, 0.499], abs=0.003)
