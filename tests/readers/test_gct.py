"""GCT 1.2 and 1.3: whole, split by a sample table or by its own facts, and scattered."""

import json

import numpy as np
import pytest

from g2v_dask.errors import InputError
from g2v_dask.readers import formats, scatter
from g2v_dask.spec import IngestSpec

SAMPLES = [f"GTEX-{k}" for k in range(9)]
TISSUES = ["Liver", "Heart", "Liver", "", "Heart", "Lung/Left", "Liver", "Heart", "Lung/Left"]
VALUES = np.random.default_rng(3).integers(0, 10**9, size=(50, 9)) / 8


@pytest.fixture
def gct(tmp_path):
    """A GCT as GTEx serves it, and a table of its samples."""
    body = [f"ENSG{k:011d}.4\tGENE{k}\t" + "\t".join(map(str, row)) for k, row in enumerate(VALUES.tolist())]
    path = tmp_path / "gtex.gct"
    path.write_text("\n".join(["#1.2", "50\t9", "\t".join(["Name", "Description", *SAMPLES]), *body]) + "\n")
    lines = [f"{s}\t{t}" for s, t in zip(reversed(SAMPLES), reversed(TISSUES), strict=True)]
    (tmp_path / "samples.txt").write_text("\n".join(["SAMPID\tSMTSD", *lines, "OTHER\tBrain"]) + "\n")
    return path


def split(gct, **options):
    spec = IngestSpec(files=("x",), samples=str(gct.parent / "samples.txt"), group_by="SMTSD", **options)
    return formats.scan(gct, spec)


def values_of(blocks):
    return np.vstack([b.values for b in blocks])


def test_read__whole(gct):
    (source,) = formats.scan(gct, IngestSpec(files=("x",)))
    (block,) = formats.read(source)
    assert (source.name, source.samples) == ("gtex", tuple(SAMPLES))
    assert block.ids["symbol"][:2] == ["GENE0", "GENE1"]
    assert block.ids["ensembl"][1] == block.rows[1] == "ENSG00000000001.4"
    np.testing.assert_array_equal(block.values, VALUES)


def test_scan__groups(gct):
    sources = split(gct, name_prefix="gtex ")
    assert [s.name for s in sources] == ["gtex_Heart", "gtex_Liver", "gtex_Lung_Left"]
    assert [s.title for s in sources][2] == "gtex Lung/Left"
    assert {s.left_out for s in sources} == {1}
    for source in sources:
        where = [k for k, t in enumerate(TISSUES) if t == source.group]
        assert source.columns == tuple(where)
        np.testing.assert_array_equal(values_of(formats.read(source)), VALUES[:, where])


def test_scatter__equals_reading_each_group(gct, tmp_path, monkeypatch):
    sources = split(gct)
    scatter.scatter(sources, tmp_path / "out")
    monkeypatch.setattr(scatter, "BLOCK_BYTES", 8 * 3 * 20)  # 20 rows of 3 samples
    for source in sources:
        direct, again = list(formats.read(source)), list(scatter.read_scattered((tmp_path / "out").joinpath, source))
        assert len(again) > 1
        np.testing.assert_array_equal(values_of(direct), values_of(again))
        assert [w for b in direct for w in b.rows] == [w for b in again for w in b.rows]
        for kind in direct[0].ids:
            assert [w for b in direct for w in b.ids[kind]] == [w for b in again for w in b.ids[kind]]
    assert not list((tmp_path / "out").glob("*.tmp"))


def test_scatter__damage_is_seen(gct, tmp_path):
    sources = split(gct)
    with pytest.raises(InputError, match="its group 'Heart' is not among what was scattered"):
        list(scatter.read_scattered((tmp_path / "none").joinpath, sources[0]))
    scatter.scatter(sources, tmp_path / "out")
    name = json.loads((tmp_path / "out" / scatter.INDEX).read_text())["files"]["Heart"]
    with (tmp_path / "out" / name).open("ab") as file:
        file.write(b"x")
    with pytest.raises(InputError, match="scatter .* again"):
        list(scatter.read_scattered((tmp_path / "out").joinpath, sources[0]))


V13 = (
    "#1.3\n2\t3\t2\t1\nid\tpr_gene_symbol\tpr_number\ts1\ts2\ts3\ntissue\tna\tna\tx\ty\tx\n"
    "1_at\tTP53\t5\t1\t2\t3\n2_at\tMYC\t6\t4\t5\t6\n"
)


def test_read__version_1_3(tmp_path):
    path = tmp_path / "v13.gct"
    path.write_text(V13.replace("pr_gene_symbol", "gene_symbol"))
    (source,) = formats.scan(path, IngestSpec(files=("x",)))
    (block,) = formats.read(source)
    assert block.ids == {"symbol": ["TP53", "MYC"], "probe": ["1_at", "2_at"]}
    assert block.values.tolist() == [[1, 2, 3], [4, 5, 6]]
    x, y = formats.scan(path, IngestSpec(files=("x",), group_by="tissue"))
    assert (x.samples, y.samples) == (("s1", "s3"), ("s2",))
    with pytest.raises(InputError, match="no facts 'tisue'.*did you mean 'tissue'"):
        formats.scan(path, IngestSpec(files=("x",), group_by="tisue"))


def test_read__words_in_description_are_no_symbols(tmp_path):
    path = tmp_path / "a.gct"
    path.write_text("#1.2\n2\t1\nNAME\tDescription\ts1\nTP53\ttumor protein p53\t1\nMYC\tna\t2\n")
    (block,) = formats.read(formats.scan(path, IngestSpec(files=("x",)))[0])
    assert block.ids == {"symbol": ["TP53", "MYC"]}
    path.write_text("#1.2\n2\t1\nNAME\tDescription\ts1\n1007_s_at\tna\t1\n1053_at\tna\t2\n")
    (block,) = formats.read(formats.scan(path, IngestSpec(files=("x",)))[0])
    assert block.ids["probe"] == ["1007_s_at", "1053_at"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("50\t9", "51\t9"), "announces 51 rows, found 50"),
        (("50\t9", "50\t8"), "announces 8 samples, the header has 9"),
        (("50\t9", "fifty"), "expected numbers of rows and columns"),
        (("GTEX-3", "GTEX-2"), "duplicated sample id"),
        (("#1.2", "#1.4"), "1.2 or 1.3|not a known format|expected"),
    ],
)
def test_read__bad_files(gct, change, message):
    gct.write_text(gct.read_text().replace(*change, 1))
    with pytest.raises(InputError, match=message):
        list(formats.read(formats.scan(gct, IngestSpec(files=("x",)))[0]))


def test_scan__group_by_needs_a_table(gct):
    with pytest.raises(InputError, match="--samples"):
        formats.scan(gct, IngestSpec(files=("x",), group_by="SMTSD"))
