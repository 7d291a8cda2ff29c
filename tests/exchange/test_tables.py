"""CSV and TSV: headers, quotes, gzip, exact numbers; and rows that do not fit."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from g2v_dask import exchange
from g2v_dask.errors import InputError
from g2v_dask.exchange import Options, Vectors

ROWS = "man,1,0.5\nking,-2e-3,7\n"
FOUND = (["man", "king"], np.array([[1, 0.5], [-2e-3, 7]], dtype=np.float32).tolist())

HEADERS = {
    "none": "",
    "texts": "term,a,b\n",
    "pandas": ",0,1\n",
    "label over numbers": "gene_id,0,1\n",
    "capitals": "Word,1,2\n",
    "R": "V1,V2\n",
    "quoted": '"term","a, b","c"\n',
}


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".tsv.gz"])
def test_read__header_or_none(tmp_path: Path, header: str, suffix: str) -> None:
    text = HEADERS[header] + ROWS
    if suffix.startswith(".tsv"):
        text = text.replace("a, b", "a; b").replace(",", "\t")
    raw = text.encode()
    (tmp_path / f"e{suffix}").write_bytes(gzip.compress(raw) if suffix.endswith(".gz") else raw)
    found = exchange.read(tmp_path / f"e{suffix}")
    assert (found.genes.tolist(), found.vectors.tolist()) == FOUND


@pytest.mark.parametrize("start", [0, 1])
def test_read__counted_columns_are_a_header_from_eight_on(tmp_path: Path, start: int) -> None:
    file = tmp_path / "e.csv"
    counted = ",".join(str(start + i) for i in range(8))
    file.write_text(f"term,{counted}\nman,{counted}\n")
    assert exchange.read(file).genes.tolist() == ["man"]
    file.write_text("term,0,1,2\nman,0,1,2\n")
    assert exchange.read(file).genes.tolist() == ["term", "man"]


def test_read__windows_quotes_and_empty_lines(tmp_path: Path) -> None:
    file = tmp_path / "e.csv"
    file.write_bytes(b'\xef\xbb\xbf"New York, NY", 1,2\r\n"say ""x""",3,4\r\n\r\nnull,5,6\r\nNA,7,8\r\n')
    found = exchange.read(file)
    assert found.genes.tolist() == ["New York, NY", 'say "x"', "null", "NA"]
    assert found.vectors.tolist() == [[1, 2], [3, 4], [5, 6], [7, 8]]


def test_read__gzip_whatever_the_name_and_truncate(tmp_path: Path) -> None:
    file = tmp_path / "e.csv"
    file.write_bytes(gzip.compress(b"gene,x\nman,1\n") + gzip.compress(b"king,2\nqueen,3\n"))
    assert exchange.read(file).genes.tolist() == ["man", "king", "queen"]
    assert exchange.read(file, Options(truncate=2)).genes.tolist() == ["man", "king"]


@pytest.mark.parametrize("index_label", [None, "gene"])
def test_read__what_pandas_writes(tmp_path: Path, index_label: str | None) -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
    frame = pd.DataFrame(vectors, index=[f"w{i}" for i in range(50)])
    frame.to_csv(tmp_path / "e.tsv.gz", sep="\t", index_label=index_label)
    found = exchange.read(tmp_path / "e.tsv.gz")
    assert found.genes.tolist() == list(frame.index)
    np.testing.assert_array_equal(found.vectors, vectors)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz", ".tsv.gz"])
def test_write__opens_in_pandas(tmp_path: Path, suffix: str) -> None:
    vectors = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    words = ["a,b", 'say "x"', "tab\there", "#plain"]
    exchange.write(tmp_path / f"e{suffix}", Vectors(np.array(words), vectors, {}))
    sep = "\t" if suffix.startswith(".tsv") else ","
    frame = pd.read_csv(tmp_path / f"e{suffix}", sep=sep, index_col="gene_id", dtype={"gene_id": str})
    assert list(frame.columns) == ["component_0", "component_1", "component_2"]
    assert list(frame.index) == words
    np.testing.assert_array_equal(frame.to_numpy().astype(np.float32), vectors)
    with pytest.raises(InputError, match="has a line break"):
        exchange.write(tmp_path / f"f{suffix}", Vectors(np.array(["a\nb"]), vectors[:1], {}))


BAD = {
    "apart by something else": ("man;1;2\n", r"apart by commas, found b'man;1;2.*tabs"),
    "short row": ("man,1,2\nking,3\n", r"a word and 2 numbers.*Expected 3 columns, got 2"),
    "long row": ("gene,x\nman,1\nking,3,4\n", r"a word and 1 numbers"),
    "text": ("man,1,2\nking,x,4\n", r"a word and 2 numbers.*'x'"),
    "gap": ("man,1,2\nking,,4\n", r"a word and 2 numbers"),
    "gap in the first row": ("man,,2\nking,1,4\n", r"a word and 2 numbers"),
    "mixed first line": ("man,x,2\nking,1,4\n", r"first line mixes numbers and texts \('x'\)"),
    "NaN": ("man,1,2\nking,nan,4\n", r"'king' \(row 2\)"),
    "twice": ("man,1\nking,2\nman,3\n", r"1 rows repeat a name: 'man'"),
    "no name": ("man,1\n,3\n", r"row 2 has an empty name"),
    "header only": ("gene,x,y\n", r"a header and no rows"),
    "web page": ("<!DOCTYPE html>", "web page"),
    "not UTF-8": (b"man,1\n\xff,2\n", r"(?i)utf-?8"),
    "not UTF-8 at once": (b"\xff,1\n", r"UTF-8"),
    "damaged gzip": (gzip.compress(ROWS.encode())[:-12], r"damaged gzip"),
}


@pytest.mark.parametrize("case", BAD)
def test_read__bad(tmp_path: Path, case: str) -> None:
    content, message = BAD[case]
    (tmp_path / "e.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=f"(?s){message}"):
        exchange.read(tmp_path / "e.csv")
