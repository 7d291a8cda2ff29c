"""Tables of genes: what apart, packed or quoted they may be; and what they are not."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from g2v_dask.errors import InputError
from g2v_dask.exchange import gene_tables


def written(folder: Path, text: str) -> Path:
    file = folder / "t"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    return file


@pytest.mark.parametrize(
    "text",
    [
        "gene\tone\ttwo\nA\tx, y\t1\nB\t\t2\n",
        'gene,one,two\nA,"x, y",1\nB,,2\n',
        "\ufeffgene\t one\ttwo \r\n A \tx, y\t1\r\n\r\nB\t\t2",
        "one\ttwo\nA\tx, y\t1\nB\t\t2\n",  # as R writes row names
    ],
)
def test_read__tables_as_programs_write_them(tmp_path: Path, text: str) -> None:
    plain = written(tmp_path, text)
    packed = tmp_path / "t.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    for file in (plain, packed):
        found = gene_tables.read(file)
        assert (found.file, found.genes) == (file, ["A", "B"])
        assert found.columns == {"one": ["x, y", ""], "two": ["1", "2"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; download or make it again"),
        ("g\nA\n", r"must hold a header, .* its header is \['g'\]"),
        ("g\tv\n", "must hold a header"),
        ("g\tv\nA\tx\n\nB\n", "row 4: expected 2 fields, as in the header, got 1"),
        ("g\tv\nA\t\udcff\n", "must be a text in UTF-8"),
        (f"g\tv\nA\t{'x' * 200_000}\n", "cannot read the table .*: field larger than field limit"),
    ],
)
def test_read__tables_that_are_none(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        gene_tables.read(written(tmp_path, text))


def test_read__a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read .*none.tsv: No such file"):
        gene_tables.read(tmp_path / "none.tsv")
