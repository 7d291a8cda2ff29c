"""Platform tables of all kinds, and the messages when one is not there."""

import gzip

import pytest

from g2v_dask.errors import InputError
from g2v_dask.platforms import PlatformTable, find
from tests.data_paths import data

ANNOT = (
    "^Annotation\n!Annotation_date = Nov 08 2018\n!Annotation_platform = GPL96\n#ID = ID from Platform data table\n"
    "#Gene symbol = Entrez Gene symbol\n!platform_table_begin\n"
    "ID\tGene title\tGene symbol\tGene ID\n"
    "1007_s_at\tmicroRNA 4640///discoidin\tMIR4640///DDR1\t100616237///780\n"
    "1053_at\treplication factor\tRFC2\t5982\n"
    "AFFX-x\t\t\t\n!platform_table_end\n"
)
FULL = (
    "#ID = Affymetrix Probe Set ID\n#Gene Symbol = from Entrez\n"
    "ID\tGB_ACC\tGene Title\tGene Symbol\tENTREZ_GENE_ID\n"
    '1007_s_at\tU48705\t"discoidin"\tDDR1 /// MIR4640\t780 /// 100616237\n'
    "1053_at\tM87338\treplication\tRFC2 /// RFC2\t5982\n"
    "117_at\tX51757\theat shock\tHSPA6\t3310\n"
    "AFFX-x\t\t\t---\t\n"
)
FAMILY = "^DATABASE = GeoMiame\n!Database_name = GEO\n^PLATFORM = GPL1\n!Platform_title = x\n#ID = \n" + (
    "!platform_table_begin\nID\tGENE_SYMBOL\n1\tTP53\n2\tA|B\n3\tNA\n!platform_table_end\n"
    "^SAMPLE = GSM1\n!sample_table_begin\nID_REF\tVALUE\n1\t5.5\n!sample_table_end\n"
)
GENE_ST = (
    "#ID = \nID\tgene_assignment\n"
    "7896759\tNR_015368 // LINC01128 // long // 1p36 // 643837 /// NR_047519 // LINC01128 // long // 1p36 // 643837\n"
    "7896761\tNM_152486 // SAMD11 // sterile // 1p36 // 148398 /// X1 // KLHL17 // kelch // 1p36 // 339451\n"
    "7896763\t---\n"
)


@pytest.mark.parametrize(
    ("text", "symbols", "several", "unnamed"),
    [
        (ANNOT, {"1053_at": "RFC2"}, {"1007_s_at"}, 1),
        (FULL, {"1053_at": "RFC2", "117_at": "HSPA6"}, {"1007_s_at"}, 1),
        (FAMILY, {"1": "TP53"}, {"2"}, 1),
        (GENE_ST, {"7896759": "LINC01128"}, {"7896761"}, 1),
        ("probe_id\tsymbol\na\tX\nb\tY\nb\tZ\na\tX\n", {"a": "X"}, {"b"}, 0),
        ("ID\tILMN_Gene\r\nILMN_1\tACTB\r\n", {"ILMN_1": "ACTB"}, set(), 0),
    ],
    ids=["annot", "full table", "family", "gene_assignment", "ours", "illumina"],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_load__formats(tmp_path, text, symbols, several, unnamed, zipped):
    file = tmp_path / "GPL1"
    file.write_bytes(gzip.compress(text.encode(), mtime=0) if zipped else text.encode())
    table = PlatformTable.load(file)
    assert table.symbols == symbols
    assert table.several == several
    assert table.unnamed == unnamed


def test_load__real_tables():
    for accession, probes in {"GPL96": 19_812, "GPL10558": 33_998}.items():
        path = find(data("platforms"), accession)
        assert path.name == f"{accession}.tsv.gz"
        table = PlatformTable.load(path)
        assert len(table.symbols) == probes
        assert len(table.digest) == 64
    assert PlatformTable.load(find(data("platforms"), "GPL570")).symbols["1053_at"] == "RFC2"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"probe_id\tx\n1\t2\n", "has no column of genes.*found 'probe_id', 'x'"),
        (b"foo\tsymbol\n1\t2\n", "has no column of probes"),
        (b"probe_id\tsymbol\na\tNA\n", "names no gene"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (gzip.compress(b"probe_id\tsymbol\n" * 500, mtime=0)[:-9], "truncated or damaged gzip"),
    ],
)
def test_load__bad_files(tmp_path, content, message):
    file = tmp_path / "GPL5.tsv"
    file.write_bytes(content)
    with pytest.raises(InputError, match=message):
        PlatformTable.load(file)


def test_find__names_what_is_expected(tmp_path):
    with pytest.raises(InputError, match=r"no platform table GPL96: expected GPL96.tsv, GPL96.tsv.gz, .* in "):
        find(tmp_path, "GPL96")
    with pytest.raises(InputError, match="--platforms"):
        find(None, "GPL96")
    with pytest.raises(InputError, match="not a folder"):
        find(tmp_path / "none", "GPL96")
    for bad in ("../GPL96", "GPL", "gpl96", "GPL96/x"):
        with pytest.raises(InputError, match="expected a platform accession"):
            find(tmp_path, bad)


@pytest.mark.parametrize("name", ["GPL96.tsv", "GPL96.annot.gz", "GPL96-57554.txt", "GPL96_family.soft.gz"])
def test_find__names_that_geo_gives(tmp_path, name):
    (tmp_path / name).write_text("x")
    (tmp_path / "GPL960.tsv").write_text("x")
    assert find(tmp_path, "GPL96").name == name
