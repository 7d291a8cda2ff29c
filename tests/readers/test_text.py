"""Numbers out of text: exact for any float, and one clear message for each kind of damage."""

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g2v_dask.errors import InputError
from g2v_dask.readers import text as module
from g2v_dask.readers.text import Fields, Text, number, rows

FLOATS = st.floats(-1e300, 1e300)
FORMATS = st.sampled_from(["r", ".4f", ".3e", ".17g", ".15g", ".6f", ".20f"])


def parsed(path: Path, *, width: int, delimiter: str = "\t", end: str | None = None):
    """Ids and values of a table with one id column and a header."""
    text = Text(path)
    text.line()
    names = [f"s{k}" for k in range(width)]
    fields = Fields(delimiter=delimiter, count=width + 1, ids=(0,), values=tuple(range(1, width + 1)), names=names)
    found = list(rows(text, fields, end=end))
    ids = [word for (words,), _ in found for word in words]
    return ids, np.vstack([v for _, v in found]) if found else np.empty((0, width))


def written(path: Path, body: str) -> Path:
    path.write_bytes(("id\theader\n" + body).encode())
    return path


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(FLOATS, FORMATS), min_size=1, max_size=30))
def test_rows__floats_equal_python(tmp_path_factory, cells):
    words = [repr(x) if f == "r" else format(x, f) for x, f in cells]
    path = written(tmp_path_factory.mktemp("t") / "x", "\t".join(["g", *words]) + "\n")
    _, values = parsed(path, width=len(words))
    assert values[0].tolist() == [float(w) for w in words]


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10**18 - 1), st.integers(-30, 30))
def test_rows__eighteen_digits_equal_python(tmp_path_factory, digits, exponent):
    words = [f"{digits}e{exponent}", f"-{digits}E+0", f"{digits // 1000}.{digits % 1000:03d}"]
    path = written(tmp_path_factory.mktemp("t") / "x", "\t".join(["g", *words]) + "\n")
    assert parsed(path, width=3)[1][0].tolist() == [float(w) for w in words]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_rows__shapes_of_fields(tmp_path, line_end, last):
    body = line_end.join(['"a b"\t 1.5 \t"2"\tNA', 'b\t+1e2\t-.5\t"NA"', "c\t\tnull\t5.", ""])
    path = written(tmp_path / "x", body if last else body.removesuffix(line_end))
    ids, values = parsed(path, width=3)
    assert ids == ["a b", "b", "c"]
    nan = math.nan
    np.testing.assert_array_equal(values, [[1.5, 2, nan], [100, -0.5, nan], [nan, nan, 5]])


@pytest.mark.parametrize("delimiter", ["\t", ",", ";", " "])
def test_rows__delimiters_inside_quotes(tmp_path, delimiter):
    path = written(tmp_path / "x", delimiter.join([f'"a{delimiter}b"', "1", "2"]) + "\n")
    ids, values = parsed(path, width=2, delimiter=delimiter)
    assert ids == [f"a{delimiter}b".strip()]
    assert values.tolist() == [[1, 2]]


def test_rows__any_chunking_is_the_same(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    table = rng.normal(size=(300, 7)).round(4)
    body = "".join(f"g{k}\t" + "\t".join(map(str, row)) + "\n" for k, row in enumerate(table.tolist()))
    path = tmp_path / "x.gz"
    content = ("id\theader\n" + body).encode()
    # two gzip members, as bgzip makes them
    path.write_bytes(gzip.compress(content[:3000], mtime=0) + gzip.compress(content[3000:]))
    for size in (17, 1000, 1 << 20):
        monkeypatch.setattr(module, "PIECE", size)
        ids, values = parsed(path, width=7)
        assert ids == [f"g{k}" for k in range(300)]
        np.testing.assert_array_equal(values, table)


def test_rows__many_odd_fields(tmp_path):
    body = "".join(f"g{k}\t" + "\t".join(["N/A"] * 5) + "\n" for k in range(500)) + "z\t1\t2\t3\t4\t5\n"
    ids, values = parsed(written(tmp_path / "x", body), width=5)
    assert len(ids) == 501
    assert np.isnan(values[:-1]).all()
    assert values[-1].tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("a\t1\t2\nb\t1\n", r"line 3 has 2 fields, expected 3"),
        ("a\t1\t2\nb\t1\t2\t3\n", r"line 3 has 4 fields, expected 3"),
        ("a\t1\t2\nb\t1\tword\n", r"line 3, column 's1': expected a number, got 'word'"),
        ("a\t1\t2\nb\t1_0\t2\n", r"line 3, column 's0': expected a number, got '1_0'"),
        ("a\t1\t2\nb\t1,5\t2\n", r"got '1,5'"),
        ("a\tinf\t2\n", r"line 2, column 's0': expected a finite number"),
        ("a\t1\t-Infinity\n", r"line 2, column 's1': expected a finite number"),
        ("a\t1e999\t2\n", r"expected a finite number"),
        ('a\t"1\t2\n', "fields, expected 3|expected a number"),
    ],
)
def test_rows__damage_is_named(tmp_path, body, message):
    path = written(tmp_path / "x", body)
    with pytest.raises(InputError, match=message) as error:
        parsed(path, width=2)
    assert str(path) in str(error.value)


def test_rows__end_line(tmp_path):
    path = written(tmp_path / "x", "a\t1\n!end\nrubbish")
    assert parsed(path, width=1, end="!end")[0] == ["a"]
    with pytest.raises(InputError, match="expected the line !end"):
        parsed(written(path, "a\t1\n"), width=1, end="!end")


def test_text__bad_files(tmp_path):
    path = tmp_path / "x"
    with pytest.raises(InputError, match="expected an expression file at"):
        Text(path)
    for content, message in {
        b"": "is empty",
        b"  \n": "is empty",
        b"\n<!DOCTYPE html>\n": "holds HTML",
        b"\x89PNG\x00\x00": "not a known format",
    }.items():
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            Text(path)
    whole = gzip.compress(np.random.default_rng(0).bytes(3000).hex().encode())
    path.write_bytes(whole[:-100])
    with pytest.raises(InputError, match="truncated gzip"):
        list(module.pieces(path))
    path.write_bytes(whole[:500] + b"xxxx" + whole[504:])
    with pytest.raises(InputError, match="damaged gzip"):
        list(module.pieces(path))


def test_number__missing_words():
    for word in ("", "NA", "NaN", "null", "N/A", "#N/A", "-", "None"):
        assert math.isnan(number(Path("x"), word, "here"))
    assert number(Path("x"), "1e-300", "here") == 1e-300
