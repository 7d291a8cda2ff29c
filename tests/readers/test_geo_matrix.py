"""GEO series matrices: names, platforms, empty tables, truncation; against pandas on real ones."""

import gzip

import numpy as np
import pandas as pd
import pytest

from g2v_dask.errors import InputError
from g2v_dask.readers import formats
from g2v_dask.spec import IngestSpec
from tests.data_paths import data

SPEC = IngestSpec(files=("x",))


def matrix(rows="", *, series=("GPL96",), samples=("GPL96", "GPL96"), accession="GSE1", end=True) -> str:
    """A small series matrix."""
    lines = ['!Series_title\t"a\ttitle"', f'!Series_geo_accession\t"{accession}"']
    lines += [f'!Series_platform_id\t"{p}"' for p in series]
    lines += ["", "!Sample_platform_id\t" + "\t".join(f'"{p}"' for p in samples)]
    lines += ["!series_matrix_table_begin", '"ID_REF"\t"GSM1"\t"GSM2"']
    return "\n".join(lines) + "\n" + rows + ("!series_matrix_table_end\n" if end else "")


def scan(tmp_path, text, name="m.txt"):
    (tmp_path / name).write_text(text)
    return formats.scan(tmp_path / name, SPEC)


@pytest.mark.parametrize(
    ("file", "name", "platform", "shape"),
    [
        ("GSE55235_series_matrix.txt.gz", "GSE55235", "GPL96", (22283, 30)),
        ("GSE14520-GPL571_series_matrix.txt.gz", "GSE14520-GPL571", "GPL571", (22268, 43)),
        ("GSE42872_series_matrix.txt.gz", "GSE42872", "GPL6244", (33297, 6)),
    ],
)
def test_read__real_files_equal_pandas(file, name, platform, shape):
    path = data("geo", file)
    (source,) = formats.scan(path, SPEC)
    assert (source.name, source.title, source.platform) == (name, name, platform)
    blocks = list(formats.read(source))
    wanted = pd.read_csv(path, sep="\t", comment="!", index_col=0, float_precision="round_trip")
    assert wanted.shape == shape
    assert source.samples == tuple(wanted.columns)
    np.testing.assert_array_equal(np.vstack([b.values for b in blocks]), wanted.to_numpy())
    probes = [p for b in blocks for p in b.ids["probe"]]
    assert probes == [str(p) for p in wanted.index]


def test_scan__several_platforms_are_named(tmp_path):
    (source,) = scan(tmp_path, matrix(series=("GPL96", "GPL97"), samples=("GPL97",) * 2))
    assert (source.name, source.platform) == ("GSE1-GPL97", "GPL97")
    (source,) = scan(tmp_path, matrix(series=("GPL96",)), "GSE1-GPL96_series_matrix.txt")
    assert source.name == "GSE1-GPL96"
    (source,) = scan(tmp_path, matrix(samples=("GPL96", "GPL97"), series=("GPL96", "GPL97")))
    assert (source.name, source.platform) == ("GSE1", None)


def test_scan__a_matrix_that_is_not_of_geo_is_named_by_its_file(tmp_path):
    (source,) = scan(tmp_path, matrix(accession="E-MTAB-1"), "mine_series_matrix.txt")
    assert source.name == "mine"


def test_scan__prefix_and_platform_of_the_spec(tmp_path):
    (tmp_path / "m").write_text(matrix())
    spec = IngestSpec(files=("x",), name_prefix="my ", platform="GPL5")
    (source,) = formats.scan(tmp_path / "m", spec)
    assert (source.name, source.title, source.platform) == ("my_GSE1", "my GSE1", "GPL96")


def test_read__quotes_and_gaps(tmp_path):
    (source,) = scan(tmp_path, matrix('"1_at"\t1.5\tnull\n"2_at"\t""\t"3"\n'))
    (block,) = formats.read(source)
    assert block.rows == ["1_at", "2_at"]
    np.testing.assert_array_equal(block.values, [[1.5, np.nan], [np.nan, 3]])


def test_read__empty_table_says_where_the_values_are(tmp_path):
    (source,) = scan(tmp_path, matrix())
    with pytest.raises(InputError, match="its table is empty.*supplementary"):
        list(formats.read(source))


def test_read__truncated(tmp_path):
    (source,) = scan(tmp_path, matrix('"1_at"\t1.5\t2\n', end=False))
    with pytest.raises(InputError, match="expected the line !series_matrix_table_end"):
        list(formats.read(source))
    whole = data("geo", "GSE42872_series_matrix.txt.gz").read_bytes()
    (tmp_path / "t.gz").write_bytes(whole[: len(whole) // 2])
    (source,) = formats.scan(tmp_path / "t.gz", SPEC)
    with pytest.raises(InputError, match="truncated gzip"):
        list(formats.read(source))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("!Series_title\tx\n", "expected the line !series_matrix_table_begin"),
        (matrix().replace("GSM2", "GSM1"), "duplicated sample id 'GSM1'"),
        (matrix().replace("ID_REF", "IDREF"), "begins with ID_REF"),
        ("^DATABASE = Geo\n", "SOFT file; expected the series matrix"),
    ],
)
def test_scan__bad_heads(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        scan(tmp_path, text)
    (tmp_path / "z").write_bytes(gzip.compress(text.encode(), mtime=0))
    with pytest.raises(InputError, match=message):
        formats.scan(tmp_path / "z", SPEC)
