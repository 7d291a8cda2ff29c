"""A dataset from rows to normalised genes: each step, each refusal, and the real data."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import qnorm

from g2v_dask.errors import InputError
from g2v_dask.genes import GeneTable
from g2v_dask.platforms import PlatformTable, find
from g2v_dask.prepare import memory_bytes, prepare
from g2v_dask.readers import formats
from g2v_dask.readers.source import Block, Source
from g2v_dask.spec import IngestSpec
from tests.data_paths import data

GENES = GeneTable.load()
NAMES = [s for s, k in zip(GENES.symbol, GENES.kinds, strict=True) if k == "protein-coding" and s.isalnum()][:400]


def run(values, rows=None, *, kind="symbol", ids=None, platform=None, table=None, file="table", **options):
    """`prepare` on rows × samples given as an array, in two blocks."""
    values = np.asarray(values, dtype=np.float64)
    rows = NAMES[: len(values)] if rows is None else rows
    ids = {kind: rows} if ids is None else ids
    source = Source(
        path=Path("x.tsv"),
        format=file,
        name="x",
        title="x",
        samples=tuple(f"s{k}" for k in range(values.shape[1])),
        platform=platform,
    )
    cut = len(rows) // 3
    blocks = [
        Block(rows=rows[a], ids={k: v[a] for k, v in ids.items()}, values=values[a])
        for a in (slice(0, cut), slice(cut, None))
    ]
    spec = IngestSpec(files=("x",), **({"min_samples": 3} | options))
    return prepare(blocks, source=source, spec=spec, genes=GENES, platform=table)


def logs(rows=300, samples=8, seed=0):
    return np.random.default_rng(seed).normal(8, 2, size=(rows, samples)).clip(2, 15)


def platform_of(tmp_path, lines):
    (tmp_path / "GPL1.tsv").write_text("probe_id\tsymbol\n" + "\n".join(lines) + "\n")
    return PlatformTable.load(tmp_path / "GPL1.tsv")


EXPECTED = {
    "rnaseq": ("counts", "log2(CPM + 1)"),
    "GSE55235": ("linear", "log2"),
    "GSE14520-GPL571": ("log2", "none"),
    "GSE4107": ("linear", "log2"),
    "GSE42872": ("log2", "none"),
    "GSE49454_probes_x_samples": ("log2", "none"),
    "bladder_u133a": ("log2", "none"),
    "leukemia_u95av2": ("log2", "none"),
    "immune_cells": ("counts", "log2(CPM + 1)"),
}


def test_prepare__scale_of_every_file_of_the_shared_data():
    kept, refused = [], []
    for folder in ("rnaseq", "geo", "scale", "demo_sources"):
        for path in sorted(data(folder).glob("*.gz")):
            spec = IngestSpec(
                files=("x",), platforms=str(data("platforms")), platform="GPL10558" if folder == "scale" else None
            )
            (source,) = formats.scan(path, spec)
            table = PlatformTable.load(find(spec.platforms, source.platform)) if source.platform else None
            few = source.n_samples < 30
            if few:
                refused.append(source.n_samples)
                with pytest.raises(InputError, match=f"at least 30 samples .*found {source.n_samples}"):
                    prepare(formats.read(source), source=source, spec=spec, genes=GENES, platform=table)
                spec = IngestSpec(files=("x",), min_samples=3)
            elif folder in ("rnaseq", "geo"):
                kept.append(source.name)
            made = prepare(formats.read(source), source=source, spec=spec, genes=GENES, platform=table)
            scale = made.evidence["scale"]
            assert (scale["is"], scale["transform"]) == EXPECTED.get(source.name, EXPECTED["rnaseq"]), path
            assert (made.counts is not None) == (scale["is"] == "counts")
            assert made.expression.shape == (source.n_samples, len(made.genes))
            assert made.expression.dtype == np.float32
            assert made.expression.flags.c_contiguous
            assert np.isfinite(made.expression).all()
            assert list(made.genes) == sorted(set(made.genes))
            json.dumps(made.evidence)
    assert len(kept) == 11
    assert sorted(refused) == [6, 11, 11, 22]


def test_prepare__a_series_matrix_equals_pandas_step_by_step():
    path = data("geo", "GSE55235_series_matrix.txt.gz")
    spec = IngestSpec(files=("x",))
    (source,) = formats.scan(path, spec)
    table = PlatformTable.load(find(data("platforms"), "GPL96"))
    made = prepare(formats.read(source), source=source, spec=spec, genes=GENES, platform=table)
    frame = pd.read_csv(path, sep="\t", comment="!", index_col=0)
    frame = np.log2(frame.where(frame > 0))
    frame = frame[frame.isna().mean(axis=1) <= 0.2]
    frame = frame.apply(lambda row: row.fillna(row.mean()), axis=1)
    frame = qnorm.quantile_normalize(frame, axis=1)
    named = frame[[p in table.symbols for p in frame.index]]
    symbols = GENES.translate([table.symbols[p] for p in named.index]).symbols
    ordered = named.assign(gene=symbols, variance=named.var(axis=1), probe=named.index)
    ordered = ordered.sort_values(["gene", "variance", "probe"], ascending=[True, False, True])
    best = ordered.drop_duplicates("gene").set_index("gene").drop(columns=["variance", "probe"])
    assert list(made.genes) == list(best.index)
    np.testing.assert_allclose(made.expression.T, best.to_numpy(), rtol=1e-6)
    assert made.evidence["rows"]["filled_values"] == 9


def test_prepare__counts_equal_pandas_step_by_step():
    path = data("rnaseq", "chol-rsem-count-tcga-t.txt.gz")
    spec = IngestSpec(files=("x",))
    (source,) = formats.scan(path, spec)
    made = prepare(formats.read(source), source=source, spec=spec, genes=GENES)
    frame = pd.read_csv(path, sep="\t").drop(columns="Entrez_Gene_Id").set_index("Hugo_Symbol")
    frame = frame.groupby(GENES.translate(frame.index).symbols).sum().sort_index()
    assert list(made.genes) == list(frame.index)
    assert made.counts.dtype == np.float64
    np.testing.assert_allclose(made.counts.T, frame.to_numpy())
    # the same operations in the same order: a value that ties by one rounding does not by another
    scaled = [sample * (1e6 / sample.sum()) for sample in made.counts]
    cpm = pd.DataFrame(np.log2(np.array(scaled).T + 1))
    np.testing.assert_array_equal(made.constant, (cpm.nunique(axis=1) == 1).to_numpy())
    assert made.evidence["constant_genes"] == made.constant.sum() > 700
    np.testing.assert_allclose(
        made.expression.T, qnorm.quantile_normalize(cpm, axis=1).to_numpy(), rtol=1e-5, atol=1e-5
    )


def test_prepare__probes_to_genes(tmp_path):
    values = logs(200, 6)
    values[3] = 7.0  # constant
    values[4] = values[5]  # tie
    table = platform_of(
        tmp_path,
        [f"p{k}\t{NAMES[k]}" for k in range(100)]
        + ["p100\tTP53 /// MYC", f"p101\t{NAMES[3]}", f"p4\t{NAMES[4]}", "p102\tP53", "p103\tTP53"],
    )
    made = run(values, [f"p{k}" for k in range(200)], kind="probe", platform="GPL1", table=table)
    rows = made.evidence["rows"]
    assert (rows["read"], rows["several_genes"], rows["no_gene"]) == (200, 1, 96)
    assert made.evidence["ids"]["alias"] == 1
    assert made.evidence["ids"]["by"] == "platform GPL1, column symbol"
    wanted = qnorm.quantile_normalize(values, axis=1)
    at = list(made.genes).index
    np.testing.assert_allclose(made.expression[:, at(NAMES[5])], wanted[5], rtol=1e-6)
    # the constant probe has tied ranks that move after normalisation: the one that varies is taken
    np.testing.assert_allclose(made.expression[:, at(NAMES[3])], wanted[101], rtol=1e-6)
    assert not made.constant.any()
    best = 102 if wanted[102].var() > wanted[103].var() else 103
    np.testing.assert_allclose(made.expression[:, at("TP53")], wanted[best], rtol=1e-6)


def test_prepare__constant_genes_are_marked():
    values = logs()
    values[[5, 9]] = 3.25
    made = run(values)
    assert made.constant.sum() == made.evidence["constant_genes"] == 2
    assert set(made.genes[made.constant]) == {NAMES[5], NAMES[9]}


def test_prepare__ids_fall_back(tmp_path):
    ids = {"symbol": ["", "TP53", *NAMES[:8]], "entrez": ["4609", "1", *[""] * 8]}
    made = run(logs(10), ["r"] * 10, ids=ids)
    assert {"MYC", "TP53"} <= set(made.genes)
    assert "A1BG" not in set(made.genes) - set(NAMES[:8])
    assert made.evidence["ids"]["by"] == "symbol → entrez"


def test_prepare__unknown_and_ambiguous_ids_are_kept():
    rows = [*NAMES[:6], "NOSUCH1", "SEPT2", "A /// B", ""]
    made = run(logs(10), rows)
    assert {"NOSUCH1", "SEPT2"} <= set(made.genes)
    assert made.evidence["ids"]["unknown_ids"] == ["NOSUCH1"]
    assert made.evidence["ids"]["ambiguous_ids"] == ["SEPT2"]
    assert (made.evidence["rows"]["several_genes"], made.evidence["rows"]["no_id"]) == (1, 1)
    assert len(made.genes) == 8


@pytest.mark.parametrize(
    ("values", "options", "is_", "transform"),
    [
        (logs(), {}, "log2", "none"),
        (2.0 ** logs(), {}, "linear", "log2"),
        (2.0 ** logs(), {"scale": "log2"}, "log2", "none"),
        (logs(), {"scale": "linear"}, "linear", "log2"),
        ((2.0 ** logs()).round(), {"scale": "counts"}, "counts", "log2(CPM + 1)"),
        (np.where(logs() < 6, 0, 2.0 ** logs()), {}, "linear", "log2(x + 1)"),  # TPM
        (np.where(logs() < 6, 0, 2.0 ** logs()).round(), {}, "counts", "log2(CPM + 1)"),
        (np.where(logs() < 6, 0, 2.0 ** logs()).round(), {"file": "geo_matrix"}, "linear", "log2(x + 1)"),
        (
            np.where(logs() < 6, 0, 2.0 ** logs()).round(),
            {"scale": "counts", "file": "geo_matrix"},
            "counts",
            "log2(CPM + 1)",
        ),
    ],
    ids=[
        "log",
        "linear",
        "declared log",
        "declared linear",
        "declared counts",
        "TPM",
        "counts",
        "series",
        "series declared",
    ],
)
def test_prepare__scales(values, options, is_, transform):
    found = run(values, **options).evidence["scale"]
    assert (found["is"], found["transform"]) == (is_, transform)
    assert (found["rule"] == "declared") == ("scale" in options)


def test_prepare__integer_counts_are_int32_and_summed():
    counts = np.where(logs() < 6, 0, 2.0 ** logs()).round()
    rows = [*NAMES[:299], NAMES[0]]
    made = run(counts, rows)
    assert made.counts.dtype == np.int32
    first = list(made.genes).index(NAMES[0])
    np.testing.assert_array_equal(made.counts[:, first], counts[0] + counts[299])
    assert made.evidence["rows"]["summed_into_their_gene"] == 1
    counts[0, 0] = 2**31
    assert run(counts, rows).counts.dtype == np.float64


def test_prepare__gaps():
    values = logs(300, 10)
    values[0, :2] = np.nan
    values[1, :3] = np.nan
    made = run(values)
    assert NAMES[0] in made.genes
    assert NAMES[1] not in made.genes
    assert made.evidence["rows"]["over_20_percent_missing"] == 1
    assert made.evidence["rows"]["filled_values"] == 2


def bad_values(change):
    values = logs()
    change(values)
    return values


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (logs(samples=2), {}, "at least 3 samples"),
        (logs(1), {}, "at least two genes, found 1"),
        (logs(2), {"rows": [NAMES[0]] * 2}, "at least two genes"),
        (bad_values(lambda v: v.__setitem__((slice(None), 3), np.nan)), {}, "sample 's3' has no value"),
        (
            bad_values(lambda v: v.__setitem__((0, 0), -1)),
            {"scale": "counts"},
            "expected counts .*found negative values down to -1",
        ),
        (bad_values(lambda v: v.__setitem__((slice(None), 3), 0)), {"scale": "counts"}, "sample 's3' has no counts"),
        (bad_values(lambda v: v.__setitem__((slice(None), 3), -1)), {"scale": "linear"}, "sample 's3' has no value"),
        (bad_values(lambda v: v.__setitem__((slice(1, None), slice(3)), np.nan)), {}, "two rows with values in 80 %"),
        (logs() * 1e300, {"scale": "log2"}, "expected log2 values"),
    ],
)
def test_prepare__refusals(values, options, message):
    with pytest.raises(InputError, match=message):
        run(values, **options)


def test_prepare__few_known_ids(tmp_path):
    rows = [f"probe{k}" for k in range(300)]
    with pytest.raises(InputError, match=r"found 0% of 300; unknown are 'probe0', 'probe1'.*--platform"):
        run(logs(), rows)
    with pytest.raises(InputError, match="no platform table GPL1: expected GPL1.tsv, .*--platforms"):
        run(logs(), rows, platform="GPL1")
    with pytest.raises(InputError, match=f"expected GPL1.tsv, .* in {tmp_path}"):
        run(logs(), rows, platform="GPL1", platforms=str(tmp_path))
    other = platform_of(tmp_path, [f"q{k}\t{n}" for k, n in enumerate(NAMES)])
    with pytest.raises(InputError, match="names 0 of its 300 rows.*expected the probes of that platform"):
        run(logs(), rows, platform="GPL1", table=other)
    mouse = platform_of(tmp_path, [f"probe{k}\t{n.lower()}x" for k, n in enumerate(NAMES)])
    with pytest.raises(InputError, match="knows 0% of the genes of GPL1.*another species"):
        run(logs(), rows, platform="GPL1", table=mouse)


def test_prepare__known_ids_need_no_platform():
    made = run(logs(), platform="GPL1", kind="probe", file="geo_matrix")
    assert made.evidence["ids"]["by"] == "probe"


def test_prepare__row_numbers_are_no_entrez_ids(tmp_path):
    rows = [str(k) for k in range(1, 301)]
    with pytest.raises(InputError, match="they count rows"):
        run(logs(), rows, kind="entrez")
    table = platform_of(tmp_path, [f"{k}\t{n}" for k, n in enumerate(NAMES[:300], 1)])
    assert len(run(logs(), rows, kind="probe", platform="GPL1", table=table).genes) == 300


@pytest.mark.parametrize("counts", [False, True])
def test_memory_bytes__is_kept(counts):
    rows, samples = 20_000, 150
    names = (NAMES * 50)[:rows]
    values = 2.0 ** np.random.default_rng(0).normal(8, 2, size=(rows, samples))
    values[values < 60] = 0
    values = values.round() if counts else values
    run(values[:300])  # compiled, and the tables of ids made
    tracemalloc.start()
    try:
        run(values, names)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < memory_bytes(rows, samples) - (1 << 28)
