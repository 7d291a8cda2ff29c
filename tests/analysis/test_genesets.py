"""Gene sets: GMT files good and bad; Fisher's test against SciPy's, Benjamini-Hochberg against a loop."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from g2v_dask.analysis import genesets, groups
from g2v_dask.analysis.genesets import enrichment, read_gmt
from g2v_dask.errors import InputError
from g2v_dask.genes import GeneTable
from tests.data_paths import data

TABLE = GeneTable.load()


# -- files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_read_gmt__twice_named_genes_blank_lines_and_cells(tmp_path: Path, pack) -> None:
    file = tmp_path / "a.gmt"
    file.write_bytes(pack(b"A\thttp://a\tTP53\tEGFR\tTP53\t\t\r\n\r\nB B\t\t CD3E \n"))
    assert read_gmt([file]) == {"A": ("TP53", "EGFR"), "B B": ("CD3E",)}


def test_read_gmt__several_files_in_their_order(tmp_path: Path) -> None:
    for name in "ba":
        (tmp_path / name).write_text(f"{name}\t-\tTP53")
    assert list(read_gmt([tmp_path / "b", str(tmp_path / "a")])) == ["b", "a"]


@pytest.mark.parametrize("broken", ["B", "B\tonly a description", "B\t-\t\t", "\t-\tTP53", "<html>"])
def test_read_gmt__broken_line(tmp_path: Path, broken: str) -> None:
    file = tmp_path / "a.gmt"
    file.write_text(f"A\t-\tTP53\n\n{broken}\n")
    with pytest.raises(InputError, match=r"a.gmt, line 3: expected a gene set \(name, description, genes; tab-"):
        read_gmt([file])


def test_read_gmt__a_set_twice(tmp_path: Path) -> None:
    one, two = tmp_path / "a.gmt", tmp_path / "b.gmt"
    one.write_text("A\t-\tTP53\n")
    two.write_text("B\t-\tTP53\nA\t-\tEGFR\n")
    with pytest.raises(InputError, match=r"b.gmt, line 2: the set 'A' was there before \(.*a.gmt, line 1\)"):
        read_gmt([one, two])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot read"),
        (b"", "is empty"),
        (b"\xff\xfe\x00", "UTF-8"),
        (gzip.compress(b"A\t-\tT", mtime=0)[:-9], "damaged"),
    ],
)
def test_read_gmt__no_such_text(tmp_path: Path, content: bytes | None, said: str) -> None:
    file = tmp_path / "a.gmt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_gmt([file])


# -- enrichment ---------------------------------------------------------------------------------------------


@given(
    labels=st.lists(st.integers(1, 3), min_size=1, max_size=25),
    chosen=st.lists(st.sets(st.integers(0, 29), max_size=12), min_size=1, max_size=6),
)
def test_enrichment__as_scipy_and_a_loop(labels: list[int], chosen: list[set[int]]) -> None:
    genes = [f"w{i:02d}" for i in range(len(labels))]
    sets = {f"S{n}": tuple(f"w{i:02d}" for i in sorted(members)) for n, members in enumerate(chosen)}
    universe = [g for g in genes if any(g in members for members in sets.values())]
    group = dict(zip(genes, labels, strict=True))
    if not universe:
        with pytest.raises(InputError, match="none of the"):
            enrichment(np.array(genes), np.array(labels, dtype=np.int32), sets, table=TABLE)
        return
    expected = {}
    for number in sorted(set(labels)):
        for name, members in sets.items():
            held = [g for g in universe if g in members]
            inside = [g for g in universe if group[g] == number]
            both = len(set(held) & set(inside))
            table = [[both, len(inside) - both], [len(held) - both, len(universe) - len(held) - len(inside) + both]]
            if held:
                odds, p = fisher_exact(table, alternative="greater")
                expected[number, name] = (both, len(held), len(held) * len(inside) / len(universe), odds, p)
    ps = sorted((value[4], key) for key, value in expected.items())
    q, least = {}, 1.0
    for rank in range(len(ps), 0, -1):
        p, key = ps[rank - 1]
        least = min(least, p * len(ps) / rank)
        q[key] = least
    ours = enrichment(np.array(genes), np.array(labels, dtype=np.int32), sets, table=TABLE)
    assert (ours.universe, ours.tests) == (len(universe), len(expected))
    assert ours.sets == len({name for _, name in expected})
    assert {(e.group, e.name) for e in ours.found} == {key for key, value in expected.items() if value[0]}
    for e in ours.found:
        both, size, by_chance, odds, p = expected[e.group, e.name]
        assert (e.overlap, e.size) == (both, size)
        assert (e.expected, e.p, e.q) == pytest.approx((by_chance, p, q[e.group, e.name]))
        assert e.odds_ratio == pytest.approx(odds, nan_ok=True)
    order = [(e.group, e.p, e.name) for e in ours.found]
    assert order == sorted(order)


def test_enrichment__a_table_of_fishers_size() -> None:
    """Tiny p keep their digits: 80 of 87 in a group of 1,200 of 17,000."""
    genes = np.array([f"w{i:05d}" for i in range(17_000)])
    group = np.where(np.arange(17_000) < 1_200, 2, 1).astype(np.int32)
    sets = {"all": tuple(genes.tolist()), "some": tuple(genes[1_120:1_207].tolist())}
    some = next(e for e in enrichment(genes, group, sets, table=TABLE).found if (e.group, e.name) == (2, "some"))
    odds, p = fisher_exact([[80, 1_120], [7, 15_793]], alternative="greater")
    assert 0 < p < 1e-80
    assert (some.overlap, some.size, some.expected) == (80, 87, pytest.approx(87 * 1_200 / 17_000))
    assert (some.odds_ratio, some.p) == (pytest.approx(odds), pytest.approx(p, rel=1e-9, abs=0))
    assert some.q == pytest.approx(4 * p, rel=1e-9, abs=0)


def test_enrichment__ids_and_older_symbols_meet() -> None:
    """EGFR by its Ensembl id with a version, KMT2A by an older symbol, CD3E by its Entrez id."""
    words = np.array(["ENSG00000146648.18", "KMT2A", "CD3E", "not a gene"])
    sets = {"S": ("EGFR", "MLL", "916"), "T": ("TP53",), "U": ("not a gene", "EGFR")}
    found = enrichment(words, np.array([1, 1, 1, 2], dtype=np.int32), sets, table=TABLE)
    assert [(e.group, e.name, e.overlap, e.size) for e in found.found] == [
        (1, "S", 3, 3),
        (1, "U", 1, 2),
        (2, "U", 1, 2),
    ]
    assert (found.universe, found.sets, found.tests) == (4, 2, 4)


def test_enrichment__best_stops_at_the_false_discovery_rate() -> None:
    genes = np.array([f"w{i:03d}" for i in range(200)])
    group = np.repeat([1, 2], 100).astype(np.int32)
    sets = {"one": tuple(genes[:30]), "less": tuple(genes[:12]), "even": tuple(genes[50:150]), "all": tuple(genes)}
    found = enrichment(genes, group, sets, table=TABLE)
    assert [e.name for e in found.best(1)] == ["one", "less"]
    assert [e.name for e in found.best(1, 1)] == ["one"]
    assert found.best(2) == []
    assert max(e.q for e in found.best(1)) < genesets.FDR < min(e.q for e in found.found if e.name == "even")


def test_enrichment__groups_of_a_real_tumour() -> None:
    """Genes by their standardised expression in 31 cholangiocarcinomas."""
    counts = pd.read_csv(data("rnaseq", "chol-rsem-count-tcga-t.txt.gz"), sep="\t", index_col="Hugo_Symbol")
    counts = counts.drop(columns="Entrez_Gene_Id").groupby(level=0).sum()
    counts = counts.loc[counts.median(axis=1).nlargest(6_000).index]
    logs = np.log2(counts / counts.sum() * 1e6 + 1).to_numpy()
    vectors = ((logs - logs.mean(axis=1)[:, None]) / logs.std(axis=1)[:, None]).astype(np.float32)
    genes = counts.index.to_numpy().astype(np.str_)
    found = groups.kmeans(vectors, genes, k=8, unit=False, seed=1)
    sets = read_gmt([data("genesets", "h.all.v6.2.symbols.gmt.gz")])
    assert (len(sets), len(sets["HALLMARK_E2F_TARGETS"])) == (50, 200)
    ours = enrichment(genes, found.group, sets, table=TABLE)
    names = ("OXIDATIVE_PHOSPHORYLATION", "EPITHELIAL_MESENCHYMAL_TRANSITION", "MYC_TARGETS_V1")
    best = [min((e for e in ours.found if e.name == f"HALLMARK_{name}"), key=lambda e: e.q) for name in names]
    assert len({e.group for e in best}) == 3
    assert max(e.q for e in best) < 1e-15
    assert all(ours.best(e.group)[0] == e for e in best)
