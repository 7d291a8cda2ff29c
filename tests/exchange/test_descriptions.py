"""Descriptions find their words: as they stand, by Ensembl id, and through the gene table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from g2v_dask.errors import InputError
from g2v_dask.exchange import describe
from tests.data_paths import data


def test_describe__real_file_and_all_kinds_of_words() -> None:
    words = ["ENSG00000000003", "ENSG00000000003.15", "TSPAN6", "7105", "nothing"]
    found = describe(data("zador", "gene_descriptions.json.gz"), words)
    assert found == [*["tetraspanin 6"] * 4, ""]


def test_describe__words_that_are_no_genes(tmp_path: Path) -> None:
    file = tmp_path / "d.json"
    file.write_text(json.dumps({"king": "a man who rules [Source:made up]", "queen": "a woman who rules", "man": None}))
    assert describe(file, ["man", "king", "queen"]) == ["", "a man who rules", "a woman who rules"]


def test_describe__versions_on_the_other_side(tmp_path: Path) -> None:
    file = tmp_path / "d.json"
    file.write_text(json.dumps({"ENSG00000141510.18": "p53"}))
    assert describe(file, ["ENSG00000141510", "TP53", "ENSG00000141510.3", "CD3E"]) == ["p53", "p53", "p53", ""]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('["a"]', "JSON object, word → description"),
        ('{"a": 1}', "JSON object, word → description"),
        ('{"a": "x"}', r"none of its 1 descriptions is of a word here; it speaks of a, the words are king, queen"),
        ('{"a": "x", "a": "y"}', "'a' is there twice"),
        ("a: x", "must be JSON"),
        ("", "is empty"),
    ],
)
def test_describe__bad(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "d.json").write_text(content)
    with pytest.raises(InputError, match=message):
        describe(tmp_path / "d.json", ["king", "queen"])
