"""Kinds of genes by hand, and against what NCBI calls them."""

from __future__ import annotations

import gzip
from collections import Counter

import pytest

from g2v_dask.analysis import biotypes
from g2v_dask.analysis.biotypes import CLONE, CODING, FRAME, KINDS, LOCUS, MICRO, NCRNA, PSEUDO, SNO
from g2v_dask.genes import GeneTable
from tests.data_paths import data


@pytest.fixture(scope="module")
def table() -> GeneTable:
    return GeneTable.load()


@pytest.mark.parametrize(
    ("symbol", "biotype", "expected"),
    [
        ("TP53", "protein-coding", CODING),
        ("TP53", "", ""),
        ("XIST", "ncRNA", NCRNA),
        ("RNU4-1", "snRNA", NCRNA),
        ("RNA5S1", "rRNA", NCRNA),
        ("MIR15A", "ncRNA", MICRO),
        ("MIR9-2", "ncRNA", MICRO),
        ("MIRLET7A1", "ncRNA", MICRO),
        ("MIR548AA1", "ncRNA", MICRO),
        ("hsa-let-7a-3", "", MICRO),
        ("MIR17HG", "ncRNA", NCRNA),
        ("MIRLET7BHG", "ncRNA", NCRNA),
        ("SNORD115-26", "snoRNA", SNO),
        ("SNORA70B", "", SNO),
        ("SCARNA2", "ncRNA", SNO),
        ("SNHG1", "ncRNA", NCRNA),
        ("SNORD116-4", "pseudo", PSEUDO),
        ("POTEKP", "pseudo", PSEUDO),
        ("LOC100129138", "pseudo", PSEUDO),
        ("LOC100129138", "ncRNA", LOCUS),
        ("LOC93622", "protein-coding", LOCUS),
        ("LOC124900488", "snRNA", NCRNA),
        ("LOC1", "", LOCUS),
        ("C1orf112", "protein-coding", FRAME),
        ("CXorf51A", "protein-coding", FRAME),
        ("C8ORF44", "ncRNA", FRAME),
        ("C21orf62-AS1", "ncRNA", NCRNA),
        ("C4BPA", "protein-coding", CODING),
        ("FLJ37035", "", CLONE),
        ("MGC20647", "", CLONE),
        ("KIAA1210", "protein-coding", CLONE),
        ("KIAA0319L", "protein-coding", CLONE),
        ("DKFZp434L192", "ncRNA", CLONE),
        ("PRO1804", "", CLONE),
        ("PROM1", "protein-coding", CODING),
        ("RP11-121C2.2", "", CLONE),
        ("RP1-263J7.1", "", CLONE),
        ("CTD-2083E4.4", "", CLONE),
        ("KB-431C1.5", "", CLONE),
        ("XXbac-BPG32J3.18", "", CLONE),
        ("LL22NC03-63E9.3", "", CLONE),
        ("GS1-124K5.11", "", CLONE),
        ("AC006129.2", "", CLONE),
        ("U47924.27", "", CLONE),
        ("BC032026", "", CLONE),
        ("PEDS1-UBE2V1", "protein-coding", CODING),
        ("HLA-B", "protein-coding", CODING),
        ("TRAV12-1", "other", ""),
        ("no gene", "", ""),
        ("", "", ""),
    ],
)
def test_kind__by_hand(symbol: str, biotype: str, expected: str) -> None:
    assert biotypes.kind(symbol, biotype) == expected
    assert expected in (*KINDS, "")


def test_kind__microrna_and_frames_are_those_that_ncbi_describes_so(table: GeneTable) -> None:
    kinds = dict(zip(table.symbol, biotypes.kinds(table.symbol, table), strict=True))
    told = zip(table.symbol, table.name, table.kinds, strict=True)
    micro = {s for s, name, biotype in told if name.startswith("microRNA ") and biotype == "ncRNA"}
    assert {s for s, kind in kinds.items() if kind == MICRO} == micro
    frames = {s for s, kind in kinds.items() if kind == FRAME}
    described = {s for s in frames if "open reading frame" in table.describe(s)}
    assert len(described) > 0.9 * len(frames)
    counts = Counter(kinds.values())
    assert min(counts[kind] for kind in KINDS) > 50
    readthrough = [s for s, name in zip(table.symbol, table.name, strict=True) if "readthrough" in name]
    assert {kinds[s] for s in readthrough} <= {CODING, NCRNA, PSEUDO, LOCUS}


def test_kinds__of_older_symbols_and_ids(table: GeneTable) -> None:
    words = ["ENSG00000141510", "7157", "P53", "LOC90246", "ENSG00000000000", "RP11-121C2.2"]
    assert biotypes.kinds(words, table) == [CODING, CODING, CODING, LOCUS, "", CLONE]


def test_kinds__of_a_real_platform(table: GeneTable) -> None:
    """GPL570, which Gene2Vec learned from, names loci, frames and clones."""
    with gzip.open(data("platforms", "GPL570.tsv.gz"), "rt") as file:
        symbols = sorted({line.rstrip("\n").split("\t")[1] for line in file if "\t" in line} - {"symbol", ""})
    counts = Counter(biotypes.kinds(symbols, table))
    assert counts[CODING] > 10_000
    assert min(counts[kind] for kind in (NCRNA, PSEUDO, LOCUS, FRAME, CLONE)) > 20
    assert counts[""] < 0.06 * len(symbols)
