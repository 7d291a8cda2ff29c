"""Delimited tables: layouts, id columns, samples in rows; against pandas on real ones."""

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from g2v_dask.errors import InputError
from g2v_dask.readers import formats
from g2v_dask.readers.ids import kind_of
from g2v_dask.readers.source import safe_name, stem
from g2v_dask.spec import IngestSpec
from tests.data_paths import data


def opened(tmp_path, text, *, name="t.txt", **options):
    """Sources of a table, and all rows of the first: ids by kind, values."""
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode(), mtime=0) if name.endswith(".gz") else text.encode())
    sources = formats.scan(path, IngestSpec(files=("x",), **options))
    blocks = list(formats.read(sources[0]))
    ids = {k: [w for b in blocks for w in b.ids[k]] for k in blocks[0].ids}
    return sources, ids, np.vstack([b.values for b in blocks])


@pytest.mark.parametrize(
    ("parts", "kinds"),
    [
        (("rnaseq", "kirc-rsem-count-tcga.txt.gz"), ["symbol", "entrez"]),
        (("demo_sources", "immune_cells.tsv.gz"), ["symbol"]),
        (("scale", "GSE49454_probes_x_samples.tsv.gz"), ["probe"]),
    ],
)
def test_read__real_files_equal_pandas(parts, kinds):
    path = data(*parts)
    (source,) = formats.scan(path, IngestSpec(files=("x",)))
    blocks = list(formats.read(source))
    assert list(blocks[0].ids) == kinds
    wanted = pd.read_csv(path, sep="\t", index_col=list(range(len(kinds))), float_precision="round_trip")
    assert source.samples == tuple(wanted.columns)
    np.testing.assert_array_equal(np.vstack([b.values for b in blocks]), wanted.to_numpy())
    if len(kinds) == 2:
        entrez = [w for b in blocks for w in b.ids["entrez"]]
        assert sum(not w for w in entrez) == 1_293
        assert not any(w.startswith(" ") for w in entrez)


@pytest.mark.parametrize(
    ("header", "rows", "kinds", "samples"),
    [
        ("gene\ts1\ts2", ["A\t1\t2"], {"symbol": ["A"]}, ["s1", "s2"]),
        ("s1\ts2", ["A\t1\t2"], {"symbol": ["A"]}, ["s1", "s2"]),  # R's write.table
        ('"s1" "s2"', ['"A" 1 2'], {"symbol": ["A"]}, ["s1", "s2"]),  # its default
        ("\ts1\ts2\t", ["A\t1\t2\t"], {"symbol": ["A"]}, ["s1", "s2"]),
        ("s1,s2", ["ENSG00000000003.1,1,2"], {"ensembl": ["ENSG00000000003.1"]}, ["s1", "s2"]),
        ("GeneID;s1;s2", ["7157;1;2"], {"entrez": ["7157"]}, ["s1", "s2"]),
        ("ID_REF\ts1\ts2", ["7157\t1\t2"], {"probe": ["7157"]}, ["s1", "s2"]),
        (
            "ensembl_id\tgene_name\tlength\ts1\ts2",
            ["ENSG00000000003\tTSPAN6\t2000\t1\t2"],
            {"symbol": ["TSPAN6"], "ensembl": ["ENSG00000000003"]},
            ["s1", "s2"],
        ),
        (
            "ID\tGene Symbol\tGene Title\ts1\ts2",
            ["11_at\tDDR1 /// X\tdiscoidin domain\t1\t2"],
            {"symbol": ["DDR1 /// X"], "probe": ["11_at"]},
            ["s1", "s2"],
        ),
        (
            "# Program:featureCounts\nGeneid\tChr\tStart\tEnd\tStrand\tLength\ta.bam\tb.bam",
            ["ENSG00000000003\t1;1\t5;6\t9;9\t+;+\t7\t1\t2"],
            {"ensembl": ["ENSG00000000003"]},
            ["a.bam", "b.bam"],
        ),
        ("#gene\ts1\ts2", ["A\t1\t2"], {"symbol": ["A"]}, ["s1", "s2"]),
        (
            "Hugo_Symbol\tEntrez_Gene_Id\ts1\ts2",
            ["\t 5\t1\t2", "NA\t0\t1\t2", "A\t 7\t1\t2"],
            {"symbol": ["", "", "A"], "entrez": ["5", "", "7"]},
            ["s1", "s2"],
        ),
    ],
)
def test_scan__layouts(tmp_path, header, rows, kinds, samples):
    (source,), ids, values = opened(tmp_path, "\n".join([header, *rows]) + "\n")
    assert list(source.samples) == samples
    assert ids == kinds
    np.testing.assert_array_equal(values, [[1, 2]] * len(rows))


def test_read__samples_in_rows(tmp_path):
    text = "sample,TP53,ACTB,MYC\nb,1,2,3\na,4,5,\n"
    (source,), ids, values = opened(tmp_path, text, name="x.csv.gz", samples_in_rows=True)
    assert source.samples == ("b", "a")
    assert ids == {"symbol": ["TP53", "ACTB", "MYC"]}
    np.testing.assert_array_equal(values, [[1, 4], [2, 5], [3, np.nan]])


@pytest.mark.parametrize("samples_in_rows", [False, True])
def test_scan__sample_table_splits(tmp_path, samples_in_rows):
    (tmp_path / "of.csv").write_text("n,id,tissue\n1,c,Heart - Left\n2,a,Liver\n3,b,Heart - Left\n4,d,NA\n")
    text = (
        "id\tTP53\tMYC\na\t1\t5\nb\t2\t6\nc\t3\t7\nd\t4\t8\n"
        if samples_in_rows
        else ("id\ta\tb\tc\td\nTP53\t1\t2\t3\t4\nMYC\t5\t6\t7\t8\n")
    )
    sources, _, values = opened(
        tmp_path, text, samples=str(tmp_path / "of.csv"), group_by="tissue", samples_in_rows=samples_in_rows
    )
    assert [(s.name, s.title, s.group, s.samples, s.left_out) for s in sources] == [
        ("Heart_-_Left", "Heart - Left", "Heart - Left", ("b", "c"), 1),
        ("Liver", "Liver", "Liver", ("a",), 1),
    ]
    np.testing.assert_array_equal(values, [[2, 3], [6, 7]])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("just words\nand words\n", "not a known format"),
        ("oneword\n", "not a known format"),
        ("gene\ts1\ts2\n", "header and no rows"),
        ("gene\ts1\ts1\nA\t1\t2\n", "duplicated sample id 's1'"),
        ("gene\ts1\t\ts3\nA\t1\t2\t3\n", "sample 2 has no id"),
        ("1.5\t2.5\n1.25\t2\n", "put the ids first"),
        ("gene\nA\n", "not a known format"),
        ("gene\ts1\nA\tx\nB\t2\nC\t3\n", "expected a number, got 'x'"),
        ("gene\ts1\ts2\nA\t1\nB\t1\t2\n", "fields, expected"),
        ("gene\ts1\ts2\nA\t1\t+inf\n", "finite"),
        ("gene\ts1\ts2\n\n", "header and no rows"),
    ],
)
def test_scan__bad_tables(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        opened(tmp_path, text)


def test_scan__sample_table_errors(tmp_path):
    text = "id\ta\tb\nTP53\t1\t2\nMYC\t5\t6\n"
    table = tmp_path / "of.tsv"
    for content, column, message in (
        ("id\ttissue\na\tx\n", "tisue", "no column 'tisue'; did you mean 'tissue'"),
        ("id\ttissue\nz\tx\n", "tissue", "names no sample of"),
        ("id\ttissue\na\tx\na\ty\n", "tissue", "in two groups, 'x' and 'y'"),
        ("id\ttissue\na\t\n", "tissue", "none of its 2 samples has a group"),
    ):
        table.write_text(content)
        with pytest.raises(InputError, match=message):
            opened(tmp_path, text, samples=str(table), group_by=column)


def test_names():
    names = ["a.tsv.gz", "b_series_matrix.txt.gz", "c.d.H5AD", ".gz"]
    assert [stem(Path(n)) for n in names] == ["a", "b", "c.d", ".gz"]
    assert safe_name("Brain - Cortex (BA9)/x") == "Brain_-_Cortex__BA9__x"
    assert [safe_name(n) for n in ("..", ".hidden", "", "é")] == ["__", "_hidden", "_", "_"]


def test_kind_of__content_over_header():
    assert kind_of("symbol", ["ENSG00000000003", "ENSG00000000005.2"], first=True) == "ensembl"
    assert kind_of("gene", ["1007_s_at", "1053_at"], first=True) == "probe"
    assert kind_of("probe", ["1", "2"], first=True) == "probe"
    assert kind_of("s1", ["1", "2"], first=False) is None
    assert kind_of("gene_symbol", ["NA", ""], first=False) == "symbol"
