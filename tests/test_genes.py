"""Gene ids: the bundled table, NCBI's gene_info, translation, and what users type."""

import gzip
import subprocess
import sys

import pytest

from g2v_dask.errors import InputError
from g2v_dask.genes import BUNDLED, GeneTable, running_numbers
from tests.data_paths import data

HEADER = "entrez\tsymbol\tname\tbiotype\tensembl\taliases\n"
SMALL = HEADER + (
    "1\tAAA\talpha\tprotein-coding\tENSG00000000001\tA1|OLD|AAA\n"
    "2\tBBB\tbeta\tncRNA\tENSG00000000002|ENSG00000000009\tB1|OLD|A1X\n"
    "3\tA1X\tgamma\tpseudo\tENSG00000000009\tA1X\n"
    "4\tC1orf9\tdelta\tprotein-coding\t\t\n"
)
NCBI = (
    "#tax_id\tGeneID\tSymbol\tLocusTag\tSynonyms\tdbXrefs\tchromosome\tmap_location\tdescription\ttype_of_gene\n"
    "9606\t7157\tTP53\t-\tBCC7|P53\tMIM:191170|HGNC:HGNC:11998|Ensembl:ENSG00000141510\t17\t-\ttumor protein p53\t"
    "protein-coding\n"
    "9606\t9\tNEWENTRY\t-\t-\t-\t-\t-\tnone yet\tother\n"
    "9606\t60\tACTB\t-\t-\tEnsembl:ENSG00000075624\t7\t-\t-\tprotein-coding\n"
)
MOUSE = "10090\t11461\tActb\t-\tActx\tEnsembl:ENSMUSG00000029580\t5\t-\tactin, beta\tprotein-coding\n"


@pytest.fixture(scope="module")
def human() -> GeneTable:
    return GeneTable.load()


@pytest.fixture
def small(tmp_path) -> GeneTable:
    (tmp_path / "genes.tsv").write_text(SMALL)
    return GeneTable.load(tmp_path / "genes.tsv")


def test_bundled__is_the_shared_table(human):
    assert BUNDLED.read_bytes() == data("genes", "human_genes.tsv.gz").read_bytes()
    assert len(human) == 61_888
    assert len(human.digest) == 64
    assert human.describe("TP53") == "tumor protein p53"
    assert human.biotype("TP53") == "protein-coding"
    assert human.describe("no such") == human.biotype("no such") == ""
    assert "TP53" in human
    assert "P53" not in human


def test_import__needs_no_pandas():
    code = "import sys, g2v_dask.genes; assert not {'pandas', 'numba', 'dask', 'anndata'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_translate__every_kind_of_id(human):
    found = human.translate(
        ["TP53", "ENSG00000141510.17", "ENSG00000182378.13_PAR_Y", "   7157", "7157.0", "P53", "C1ORF112", "nope"]
    )
    assert found.symbols == ["TP53", "TP53", "PLCXD1", "TP53", "TP53", "TP53", "C1orf112", "nope"]
    assert found.counts == {"symbol": 2, "ensembl": 2, "entrez": 2, "alias": 1, "ambiguous": 0, "unknown": 1}
    assert found.unknown == ("nope",)
    assert found.known_share == 7 / 8


def test_translate__symbol_wins_and_several_stay(small):
    found = small.translate(["A1X", "A1", "OLD", "ENSG00000000009.2", "ENSG99999999999.7", "C1ORF9", "aaa"])
    assert found.symbols == [
        "A1X",
        "AAA",
        "OLD",
        "ENSG00000000009",
        "ENSG99999999999",
        "C1orf9",
        "aaa",
    ]
    assert found.counts == {"symbol": 2, "ensembl": 0, "entrez": 0, "alias": 1, "ambiguous": 2, "unknown": 2}
    assert found.ambiguous == ("OLD", "ENSG00000000009.2")


def test_known_share__running_numbers_are_no_entrez_ids(human):
    rows = [str(k) for k in range(1, 10_001)]
    assert human.translate(rows).known_share > 0.7  # the trap
    assert running_numbers(rows)
    assert human.known_share(rows) == 0.0
    entrez = [e for e in human.entrez if int(e) <= 10_000]
    assert not running_numbers(entrez)
    assert human.known_share(entrez) == 1.0


@pytest.mark.parametrize(
    ("query", "gene"),
    [
        ("TP53", "TP53"),
        ("tp53", "TP53"),
        (" her2 ", "ERBB2"),
        ("P53", "TP53"),
        ("p53", "TP53"),
        ("7157", "TP53"),
        ("ensg00000141510.3", "TP53"),
        ("c1ORF112", "C1orf112"),
    ],
)
def test_resolve__any_id_any_case(human, query, gene):
    assert human.resolve(query, {"TP53", "ERBB2", "C1orf112"}) == gene


def test_resolve__unknown_names_the_closest(human):
    with pytest.raises(InputError, match="got 'TPP53'.*closest names are TP53"):
        human.resolve("TPP53", ["TP53", "ACTB"])
    with pytest.raises(InputError, match=r"'p53' \(TP53\)|known gene|none of the 1"):
        human.resolve("p53", ["ACTB"])
    with pytest.raises(InputError, match="'TP53' is a known gene, but not one of the 1 genes here"):
        human.resolve("TP53", ["ACTB"])


def test_resolve__among_decides_what_an_alias_means(small):
    assert small.resolve("OLD", ["AAA"]) == "AAA"
    assert small.resolve("old", ["BBB"]) == "BBB"
    with pytest.raises(InputError, match="several genes: AAA, BBB"):
        small.resolve("OLD", ["AAA", "BBB"])
    assert small.resolve("odd", ["ODD", "AAA"]) == "ODD"  # a gene that no table knows


@pytest.mark.parametrize("zipped", [False, True])
def test_load__gene_info(tmp_path, zipped):
    file = tmp_path / "info"
    file.write_bytes(gzip.compress((NCBI + MOUSE).encode()) if zipped else (NCBI + MOUSE).encode())
    table = GeneTable.load(file)
    assert table.symbol == ["TP53", "ACTB"]
    assert table.ensembl == ["ENSG00000141510", "ENSG00000075624"]
    assert table.translate(["P53", "60", "Actb"]).symbols == ["TP53", "ACTB", "Actb"]
    assert table.describe("ACTB") == ""
    file.write_text(NCBI.split("\n")[0] + "\n" + MOUSE)
    assert GeneTable.load(file).translate(["ENSMUSG00000029580.2", "Actx"]).symbols == ["Actb", "Actb"]


def test_load__bad_files(tmp_path):
    with pytest.raises(InputError, match="expected a gene table at"):
        GeneTable.load(tmp_path / "none.tsv")
    bad = tmp_path / "bad"
    bad.write_text("a\tb\n1\t2\n")
    with pytest.raises(InputError, match="expected the columns entrez, symbol.*found a, b"):
        GeneTable.load(bad)
    bad.write_bytes(gzip.compress(SMALL.encode() * 99, mtime=0)[:-20])
    with pytest.raises(InputError, match="truncated gzip"):
        GeneTable.load(bad)
    bad.write_text(HEADER)
    with pytest.raises(InputError, match="without genes"):
        GeneTable.load(bad)
    bad.write_text(SMALL + "5\tshort\n")
    with pytest.raises(InputError, match="not a gene table"):
        GeneTable.load(bad)
