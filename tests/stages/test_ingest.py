"""Ingest from files to artifacts, on the shared real data: plans, formats, names, refusals and second tries."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import qnorm
import xarray

from g2v_dask import arrays, driver, parts
from g2v_dask.cluster import Cluster
from g2v_dask.driver import Summary
from g2v_dask.errors import SpecError
from g2v_dask.files import file_sha256
from g2v_dask.folders import write_json
from g2v_dask.genes import GeneTable
from g2v_dask.parts import Plan
from g2v_dask.prepare import memory_bytes
from g2v_dask.progress import Display
from g2v_dask.spec import IngestSpec, PairsSpec
from g2v_dask.stages import ingest, pairs
from g2v_dask.store import Artifact, Store
from tests import made
from tests.data_paths import data

pytestmark = pytest.mark.xdist_group("ingest")  # the tables and the store below are made once

KEPT = {
    "GSE14520-GPL571": 43,
    "GSE55235": 30,
    "chol-rsem-count-tcga-t": 31,
    "kich-rsem-count-tcga-t": 60,
    "kidney-rsem-count-gtex": 32,
    "kirc-rsem-count-tcga": 72,
    "lusc-rsem-count-tcga": 51,
    "prad-rsem-count-tcga": 48,
    "read-rsem-count-tcga-t": 87,
    "thca-rsem-count-tcga": 53,
    "uterus-rsem-count-gtex": 82,
}
FEW = {"GSE4107": 22, "GSE42872": 6, "bladder-rsem-count-gtex": 11, "cervix-rsem-count-gtex": 11}
TISSUES = {
    "Bile duct/tumour": "chol-rsem-count-tcga-t",
    "Kidney": "kidney-rsem-count-gtex",
    "Kidney (KICH)": "kich-rsem-count-tcga-t",
}
NAMES = {"Bile duct/tumour": "Bile_duct_tumour", "Kidney": "Kidney", "Kidney (KICH)": "Kidney__KICH_"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "s", create=True)


def plan(store: Store, *files: Path, **options: object) -> Plan:
    return ingest.plan(store, IngestSpec(**{"files": tuple(map(str, files)), **options}))


def take(store: Store, *files: Path, **options: object) -> Summary:
    return driver.here(ingest, plan(store, *files, **options), store)


def data_of(store: Store, name: str) -> dict[str, bytes]:
    return made.data_files(store.get("expression", name).path)


@pytest.fixture(scope="module")
def tissues() -> dict[str, pd.DataFrame]:
    """Counts of every eighth gene in three tissues, genes × samples: over two million reads, and over one tile."""
    read = {
        group: pd.read_csv(data("rnaseq", f"{file}.txt.gz"), sep="\t", index_col="Hugo_Symbol")
        for group, file in TISSUES.items()
    }
    known = GeneTable.load()
    genes = sorted(g for g in read["Kidney"].index if g in known)[::8]
    return {group: frame.drop(columns="Entrez_Gene_Id").loc[genes] for group, frame in read.items()}


def table(folder: Path, name: str, frame: pd.DataFrame) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(file, sep="\t", index_label="symbol")
    return file


@pytest.fixture(scope="module")
def apart(tissues: dict[str, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of the three tissues, each from a table of its own."""
    folder = tmp_path_factory.mktemp("apart")
    opened = Store.open(folder / "s", create=True)
    take(opened, *(table(folder, f"{NAMES[group]}.tsv", frame) for group, frame in tissues.items()))
    return opened


@pytest.fixture
def chol(tmp_path: Path, tissues: dict[str, pd.DataFrame]) -> Path:
    return table(tmp_path, "chol.tsv", tissues["Bile duct/tumour"])


@pytest.fixture
def gct(tmp_path: Path, tissues: dict[str, pd.DataFrame]) -> Path:
    """The three tissues side by side, their samples in turn, and a table of the samples beside it."""
    whole = pd.concat(tissues.values(), axis=1)
    order = np.random.default_rng(11).permutation(whole.shape[1])
    # within a tissue the order stays: so its dataset has the bytes of the one from its own table
    group = np.repeat(list(tissues), [f.shape[1] for f in tissues.values()])[order]
    turns = {name: iter(frame.columns) for name, frame in tissues.items()}
    whole = whole[[next(turns[g]) for g in group]]
    samples = pd.DataFrame({"SAMPID": whole.columns, "SMTSD": group})
    samples.sort_values("SAMPID").to_csv(tmp_path / "samples.tsv", sep="\t", index=False)
    whole.insert(0, "Description", whole.index)
    head = f"#1.2\n{len(whole)}\t{whole.shape[1] - 1}\n"
    (tmp_path / "gtex.gct").write_text(head + whole.to_csv(sep="\t", index_label="Name"))
    return tmp_path / "gtex.gct"


def split(gct: Path) -> dict[str, object]:
    return {"samples": str(gct.parent / "samples.tsv"), "group_by": "SMTSD"}


# -- plans --------------------------------------------------------------------------------------------------


def test_plan__the_shared_data_give_eleven_targets_and_four_refusals(tmp_path: Path) -> None:
    imagined = Store.open(tmp_path / "none", imagine=True)
    files = (data("rnaseq", "*.gz"), data("geo", "*.gz"))
    made_plan = plan(imagined, *files, platforms=str(data("platforms")))
    assert sorted(t.name for t in made_plan.targets) == sorted(KEPT)
    assert {t.name: len(t.detail.sources[0].samples) for t in made_plan.targets} == KEPT
    assert {r.name: int(r.reason.split(" samples, fewer than 30")[0]) for r in made_plan.refused} == FEW
    assert all("--min-samples" in r.reason and Path(r.source).name.startswith(r.name) for r in made_plan.refused)
    assert {t.name: t.detail.platform[0].name for t in made_plan.targets if t.detail.platform} == {
        "GSE14520-GPL571": "GPL571.tsv.gz",
        "GSE55235": "GPL96.tsv.gz",
    }
    assert not (tmp_path / "none").exists()


def test_plan__order_of_files_changes_no_digest(store: Store, apart: Store) -> None:
    files = sorted(apart.root.desk.parent.glob("*.tsv"))
    first, other = plan(store, *files), plan(store, *reversed(files))
    assert {t.name: t.digest for t in first.targets} == {t.name: t.digest for t in other.targets}


def test_plan__two_inputs_of_one_name_are_both_named(store: Store, chol: Path, tmp_path: Path) -> None:
    other = tmp_path / "sub" / "chol.txt"
    other.parent.mkdir()
    other.write_bytes(chol.read_bytes())
    with pytest.raises(SpecError) as error:
        plan(store, chol, other)
    assert str(chol) in str(error.value)
    assert str(other) in str(error.value)
    assert "'chol'" in str(error.value)
    assert len(plan(store, chol, chol).targets) == 1  # the same file twice is one input


def test_plan__two_groups_of_one_name_are_both_named(store: Store, gct: Path) -> None:
    twin = gct.with_name("twin.gct")
    twin.write_bytes(gct.read_bytes())
    group = r"\(group 'Bile duct/tumour'\)"
    with pytest.raises(SpecError, match=rf"'Bile_duct_tumour': .*gtex.gct {group} and .*twin.gct {group}"):
        plan(store, gct, twin, **split(gct))


def test_plan__titles_that_become_one_name_are_refused(store: Store, chol: Path) -> None:
    other = chol.with_name("ch l.tsv")
    other.write_bytes(chol.read_bytes())
    with pytest.raises(SpecError, match="'ch_l'"):
        plan(store, other, chol.rename(chol.with_name("ch_l.tsv")))


def test_plan__a_broken_namesake_is_named_too(store: Store, chol: Path, tmp_path: Path) -> None:
    other = tmp_path / "sub" / "chol.txt"
    other.parent.mkdir()
    other.write_bytes(b"<!DOCTYPE html><html></html>\n")
    with pytest.raises(SpecError, match="two inputs"):
        plan(store, chol, other)


def test_plan__two_dots_in_a_file_name_become_part_of_a_name(store: Store, chol: Path) -> None:
    odd = chol.rename(chol.with_name("tumour..normal.tsv"))
    (target,) = plan(store, odd).targets
    assert target.title == "tumour..normal"


def test_plan__a_sample_table_that_is_not_there_is_bad_usage(store: Store, gct: Path) -> None:
    with pytest.raises(SpecError, match="absent.tsv"):
        plan(store, gct, samples=str(gct.parent / "absent.tsv"), group_by="SMTSD")


# -- real files ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> tuple[Store, Plan, Summary]:
    """Two arrays and one tissue, on the cluster."""
    opened = Store.open(tmp_path_factory.mktemp("real") / "s", create=True)
    files = (
        data("geo", "GSE55235_series_matrix.txt.gz"),
        data("geo", "GSE14520-GPL571_series_matrix.txt.gz"),
        data("rnaseq", "chol-rsem-count-tcga-t.txt.gz"),
        data("rnaseq", "cervix-rsem-count-gtex.txt.gz"),
    )
    made_plan = plan(opened, *files, platforms=str(data("platforms")))
    return opened, made_plan, driver.drive(ingest, made_plan, opened, cluster, Display(quiet=True))


def test_ingest__real_files_and_their_evidence(real: tuple[Store, Plan, Summary]) -> None:
    opened, _, summary = real
    assert sorted(summary.made) == ["GSE14520-GPL571", "GSE55235", "chol-rsem-count-tcga-t"]
    assert (summary.parts_run, summary.exit_code) == (3, 3)
    assert [q["name"] for q in summary.quarantined] == ["cervix-rsem-count-gtex"]
    array = opened.get("expression", "GSE55235")
    facts = array.facts
    assert (facts["samples"], facts["counts"], facts["format"]) == (30, False, "geo_matrix")
    assert (facts["platform"], facts["file"]) == ("GPL96", "GSE55235_series_matrix.txt.gz")
    assert (facts["steps"]["scale"]["is"], facts["steps"]["scale"]["transform"]) == ("linear", "log2")
    assert facts["steps"]["rows"]["read"] == 22_283
    assert facts["steps"]["rows"]["filled_values"] == 9
    assert facts["steps"]["ids"]["by"] == "platform GPL96, column symbol"
    assert set(array.manifest["inputs"]) == {"file", "genes", "platform GPL96"}
    assert array.manifest["inputs"]["platform GPL96"] == file_sha256(data("platforms", "GPL96.tsv.gz"))
    assert opened.get("expression", "GSE14520-GPL571").facts["steps"]["scale"]["transform"] == "none"
    counts = opened.get("expression", "chol-rsem-count-tcga-t").facts
    assert counts["counts"]
    assert counts["steps"]["scale"]["transform"] == "log2(CPM + 1)"
    assert counts["steps"]["ids"]["by"] == "symbol → entrez"
    assert counts["platform"] is None


def test_ingest__the_memory_that_is_planned_covers_the_rows_that_came(real: tuple[Store, Plan, Summary]) -> None:
    opened, made_plan, _ = real
    for target in made_plan.targets:
        facts = opened.get("expression", target.name).facts
        need = memory_bytes(facts["steps"]["rows"]["read"], facts["samples"])
        assert need <= target.parts[0].bytes < 4 * need


@pytest.mark.parametrize("name", ["GSE55235", "chol-rsem-count-tcga-t"])
def test_ingest__plain_xarray_opens_it(real: tuple[Store, Plan, Summary], name: str) -> None:
    artifact = real[0].get("expression", name)
    with xarray.open_zarr(artifact.path / "data.zarr") as opened:
        assert dict(opened.sizes) == {"sample": artifact.facts["samples"], "gene": artifact.facts["genes"]}
        assert {"sample_id", "gene_id", "constant"} <= set(opened.coords)
        assert ("counts" in opened) == artifact.facts["counts"]
        genes = opened["gene_id"].to_numpy().tolist()
        assert genes == sorted(set(genes))
        assert opened["expression"].dtype == np.float32
        assert opened.attrs["encoding_type"] == "g2v.expression"
        gene = opened["expression"].isel(gene=genes.index("GAPDH")).compute()
        assert np.isfinite(gene).all()
        assert gene.mean() > float(opened["expression"].mean())  # everywhere, and much of it


def test_ingest__a_series_equals_pandas_and_qnorm(real: tuple[Store, Plan, Summary]) -> None:
    """GSE14520 comes in log2 and without gaps (tests/test_prepare.py has the linear series and the counts)."""
    probes = pd.read_csv(data("geo", "GSE14520-GPL571_series_matrix.txt.gz"), sep="\t", comment="!", index_col="ID_REF")
    wanted = qnorm.quantile_normalize(probes, axis=1)
    names = pd.read_csv(data("platforms", "GPL571.tsv.gz"), sep="\t", index_col="probe_id")["symbol"]
    names = names.reindex(wanted.index).fillna("").astype(str)
    single = names[(names != "") & ~names.str.contains("///")]
    genes = pd.Series(GeneTable.load().translate(single).symbols, index=single.index)
    order = pd.DataFrame({"gene": genes, "variance": wanted.var(axis=1)[genes.index], "probe": genes.index})
    best = order.sort_values(["gene", "variance", "probe"], ascending=[True, False, True]).drop_duplicates("gene")
    root = arrays.open_group(real[0].get("expression", "GSE14520-GPL571").folder, "expression")
    assert arrays.strings(root, "gene_id").tolist() == best["gene"].tolist()
    assert arrays.strings(root, "sample_id").tolist() == probes.columns.tolist()
    np.testing.assert_allclose(arrays.values(root, "expression").T, wanted.loc[best["probe"]].to_numpy(), rtol=1e-6)


def test_ingest__the_same_command_again_is_fresh(real: tuple[Store, Plan, Summary]) -> None:
    opened, made_plan, first = real
    again = driver.here(ingest, made_plan, opened)
    assert (sorted(again.fresh), again.made, again.parts_run) == (sorted(first.made), [], 0)
    assert again.exit_code == 3
    assert not list((opened.root.desk / ".work").glob("*"))


# -- chunks -------------------------------------------------------------------------------------------------


def test_ingest__chunks_hold_at_most_4096_samples_and_one_tile_of_genes(
    store: Store, tissues: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    """4,200 samples in rows, drawn from real ones; 40 genes, and a store whose tiles are of 16."""
    whole = pd.concat(tissues.values(), axis=1).iloc[:40]
    drawn = whole.T.sample(n=4200, replace=True, random_state=3)
    drawn.index = [f"cell{k}" for k in range(len(drawn))]
    file = tmp_path / "cells.csv"
    drawn.to_csv(file, index_label="sample")
    write_json(store.root, "g2v.json", {"format": 1, "tile": 16})
    small = Store.open(store.root.desk)
    summary = take(small, file, samples_in_rows=True)
    assert summary.made == ["cells"]
    root = arrays.open_group(small.get("expression", "cells").folder, "expression")
    assert root["expression"].shape == (4200, 40)
    assert root["expression"].chunks == (4096, 16)
    assert arrays.strings(root, "sample_id").tolist() == drawn.index.tolist()
    assert arrays.strings(root, "gene_id").tolist() == sorted(drawn.columns)


def test_ingest__one_chunk_where_all_fits(real: tuple[Store, Plan, Summary]) -> None:
    root = arrays.open_group(real[0].get("expression", "GSE55235").folder, "expression")
    assert root["expression"].chunks == (30, 2048)


# -- names and versions ---------------------------------------------------------------------------------------


def test_ingest__other_bytes_under_a_name_replace_it(
    store: Store, chol: Path, tissues: dict[str, pd.DataFrame]
) -> None:
    first = take(store, chol)
    assert (first.made, first.replaced) == (["chol"], [])
    assert (take(store, chol).fresh, store.get("expression", "chol").facts["samples"]) == (["chol"], 31)
    before = store.get("expression", "chol")
    table(chol.parent, "chol.tsv", tissues["Kidney"])
    second = take(store, chol)
    assert (second.made, second.replaced, second.fresh) == (["chol"], ["chol"], [])
    assert store.get("expression", "chol").facts["samples"] == 32
    assert store.committed("expression", "chol", before.digest) is not None  # until gc


def test_ingest__the_same_bytes_elsewhere_are_fresh(store: Store, chol: Path, tmp_path: Path) -> None:
    take(store, chol)
    moved = tmp_path / "elsewhere" / "chol.txt"
    moved.parent.mkdir()
    chol.rename(moved)
    assert take(store, moved).fresh == ["chol"]


def test_ingest__prefix_title_and_odd_characters(store: Store, chol: Path) -> None:
    odd = chol.rename(chol.with_name("bile duct (Ω), 2nd.tsv"))
    summary = take(store, odd, name_prefix="TCGA ")
    assert summary.made == ["TCGA_bile_duct______2nd"]
    by_title = store.get("expression", "TCGA bile duct (Ω), 2nd")
    assert by_title.name == "TCGA_bile_duct______2nd"
    assert by_title.title == "TCGA bile duct (Ω), 2nd"
    asked = PairsSpec(datasets=("TCGA bile duct (Ω), 2nd", "TCGA_bile_duct______2nd"))
    assert [t.name for t in pairs.plan(store, asked).targets] == ["TCGA_bile_duct______2nd"]
    with pytest.raises(SpecError, match="no expression named 'bile duct'"):
        store.get("expression", "bile duct")


# -- refusals and second tries --------------------------------------------------------------------------------


def test_ingest__a_platform_table_added_later_is_tried_again(store: Store, tmp_path: Path) -> None:
    series = data("geo", "GSE55235_series_matrix.txt.gz")
    folder = tmp_path / "platforms"
    folder.mkdir()
    refused = take(store, series, platforms=str(folder))
    (record,) = refused.quarantined
    assert record["name"] == "GSE55235"
    assert f"expected GPL96.tsv, GPL96.tsv.gz, GPL96.annot.gz or GEO's GPL96-*.txt in {folder}" in record["reason"]
    assert store.names("expression") == []
    standing = take(store, series, platforms=str(folder))
    assert (standing.parts_run, standing.exit_code) == (0, 3)
    (folder / "GPL96.tsv.gz").write_bytes(data("platforms", "GPL96.tsv.gz").read_bytes())
    healed = take(store, series, platforms=str(folder))
    assert (healed.made, healed.exit_code) == (["GSE55235"], 0)
    assert store.quarantined() == []


def test_ingest__a_refused_part_names_its_file_as_the_source(store: Store) -> None:
    series = data("geo", "GSE55235_series_matrix.txt.gz")
    take(store, series)
    assert str(series) in store.quarantined()[0]["source"]


def test_ingest__a_lower_limit_of_samples_tries_again(store: Store, tmp_path: Path) -> None:
    file = data("rnaseq", "bladder-rsem-count-gtex.txt.gz")
    assert [q["reason"][:27] for q in take(store, file).quarantined] == ["11 samples, fewer than 30; "]
    assert [q["name"] for q in store.quarantined()] == ["bladder-rsem-count-gtex"]
    lower = take(store, file, min_samples=11)
    assert (lower.made, lower.exit_code) == (["bladder-rsem-count-gtex"], 0)
    assert store.quarantined() == []


def test_ingest__limits_are_in_no_digest(store: Store, chol: Path) -> None:
    take(store, chol)
    assert take(store, chol, min_samples=5).fresh == ["chol"]


def test_ingest__a_broken_file_is_refused_and_then_mended(store: Store, chol: Path) -> None:
    good = chol.read_bytes()
    chol.write_bytes(b"<!DOCTYPE html><html></html>\n")
    refused = take(store, chol)
    assert (refused.exit_code, [q["name"] for q in store.quarantined()]) == (3, ["chol"])
    chol.write_bytes(good)
    assert take(store, chol).made == ["chol"]
    assert store.quarantined() == []


def test_ingest__a_mended_file_under_a_prefix_leaves_no_record(store: Store, chol: Path) -> None:
    good = chol.read_bytes()
    chol.write_bytes(b"<!DOCTYPE html><html></html>\n")
    take(store, chol, name_prefix="p-")
    chol.write_bytes(good)
    assert take(store, chol, name_prefix="p-").made == ["p-chol"]
    assert store.quarantined() == []


def test_ingest__a_mended_split_leaves_no_record(store: Store, gct: Path) -> None:
    assert take(store, gct, **{**split(gct), "group_by": "SMTS"}).exit_code == 3
    assert len(take(store, gct, **split(gct)).made) == 3
    assert store.quarantined() == []


# -- gene tables ----------------------------------------------------------------------------------------------


def test_ingest__ncbi_gene_info_in_place_of_the_bundled_table(
    store: Store, tissues: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    """Genes by Entrez id; the table calls each by another name than the bundled one does."""
    known = GeneTable.load()
    entrez = dict(zip(known.symbol, known.entrez, strict=True))
    frame = tissues["Bile duct/tumour"].iloc[:300]
    ids = [entrez[g] for g in frame.index]
    file = tmp_path / "by_entrez.tsv"
    frame.set_axis(ids).to_csv(file, sep="\t", index_label="entrez")
    header = (
        "#tax_id\tGeneID\tSymbol\tLocusTag\tSynonyms\tdbXrefs\tchromosome\tmap_location\tdescription\ttype_of_gene\n"
    )
    rows = [
        f"9606\t{i}\tmy{g}\t-\t{g}\t-\t1\t1p\tof {g}\tprotein-coding\n" for i, g in zip(ids, frame.index, strict=True)
    ]
    (tmp_path / "gene_info").write_text(header + "".join(rows))
    assert take(store, file).made == ["by_entrez"]
    bundled = arrays.strings(arrays.open_group(store.get("expression", "by_entrez").folder, "expression"), "gene_id")
    assert bundled.tolist() == sorted(frame.index)
    summary = take(store, file, genes=str(tmp_path / "gene_info"))
    assert summary.replaced == ["by_entrez"]  # another gene table is another digest
    artifact = store.get("expression", "by_entrez")
    genes = arrays.strings(arrays.open_group(artifact.folder, "expression"), "gene_id")
    assert genes.tolist() == sorted(f"my{g}" for g in frame.index)
    assert artifact.facts["steps"]["ids"]["entrez"] == 300


# -- split files ----------------------------------------------------------------------------------------------


def equal_to_separate(store: Store, apart: Store) -> None:
    for name in NAMES.values():
        assert data_of(store, name) == data_of(apart, name), name


@pytest.fixture
def scatters(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Path]]:
    """The folders that files were scattered to, in this process."""
    seen: list[Path] = []
    plainly = ingest.scatter.scatter

    def scatter(sources: object, folder: Path) -> None:
        seen.append(folder)
        plainly(sources, folder)

    monkeypatch.setattr(ingest.scatter, "scatter", scatter)
    return iter([seen])


def test_ingest__a_gct_is_scattered_once_and_equals_its_tissues_apart(
    store: Store, apart: Store, gct: Path, tissues: dict[str, pd.DataFrame], scatters: Iterator[list[Path]]
) -> None:
    (folders,) = scatters
    summary = take(store, gct, **split(gct))
    assert sorted(summary.made) == sorted(NAMES.values())
    assert (summary.parts_run, len(folders)) == (4, 1)
    assert {store.get("expression", g).name: g for g in tissues} == {v: k for k, v in NAMES.items()}
    equal_to_separate(store, apart)
    for group, frame in tissues.items():
        root = arrays.open_group(store.get("expression", group).folder, "expression")
        counts = pd.DataFrame(
            arrays.values(root, "counts").T, arrays.strings(root, "gene_id"), arrays.strings(root, "sample_id")
        )
        np.testing.assert_array_equal(counts.loc[frame.index, frame.columns], frame)
        assert store.get("expression", group).facts["group"] == group
    assert not list((store.root.desk / ".work").glob("*"))
    again = take(store, gct, **split(gct))
    assert (len(again.fresh), again.parts_run, len(folders)) == (3, 0, 1)


def test_ingest__a_split_on_the_cluster(store: Store, apart: Store, gct: Path, cluster: Cluster) -> None:
    summary = driver.drive(ingest, plan(store, gct, **split(gct)), store, cluster, Display(quiet=True))
    assert (len(summary.made), summary.parts_run) == (3, 4)
    equal_to_separate(store, apart)
    assert not list((store.root.desk / ".work").glob("*"))


def test_ingest__a_run_that_ended_after_the_scatter_does_not_repeat_it(
    store: Store, apart: Store, gct: Path, cluster: Cluster
) -> None:
    made_plan = plan(store, gct, **split(gct))
    preparation = made_plan.targets[0]
    assert [t.kind for t in made_plan.targets] == ["", "expression", "expression", "expression"]
    write_json(store.work(preparation.digest), parts.OWNER, {"token": "dead"})
    answer = parts.execute(ingest.run_part, store, preparation, 0, preparation.parts[0], "dead")
    assert answer["state"] == "done"
    kept = store.work(preparation.digest).desk / "data"
    assert len(list(kept.glob("group-*.f64"))) == 3
    summary = driver.drive(ingest, made_plan, store, cluster, Display(quiet=True))
    assert (len(summary.made), summary.parts_run, summary.parts_resumed) == (3, 3, 1)
    equal_to_separate(store, apart)
    assert not kept.exists()


def test_ingest__a_torn_scatter_is_done_again(
    store: Store, apart: Store, gct: Path, scatters: Iterator[list[Path]]
) -> None:
    """The receipt is there, a file of it is not: no dataset may be read from that folder."""
    (folders,) = scatters
    made_plan = plan(store, gct, **split(gct))
    preparation = made_plan.targets[0]
    write_json(store.work(preparation.digest), parts.OWNER, {"token": "dead"})
    parts.execute(ingest.run_part, store, preparation, 0, preparation.parts[0], "dead")
    next((store.work(preparation.digest).desk / "data").glob("group-*1.f64")).unlink()
    summary = driver.here(ingest, made_plan, store)
    assert (len(summary.made), summary.parts_resumed, len(folders)) == (3, 0, 2)
    equal_to_separate(store, apart)


def test_ingest__a_split_with_one_group_left_needs_no_scatter(
    store: Store, apart: Store, gct: Path, scatters: Iterator[list[Path]]
) -> None:
    (folders,) = scatters
    summary = take(store, gct, **split(gct), min_samples=60)
    assert (summary.made, summary.parts_run, folders) == (["Kidney__KICH_"], 1, [])
    assert sorted(q["name"] for q in summary.quarantined) == ["Bile_duct_tumour", "Kidney"]
    assert data_of(store, "Kidney__KICH_") == data_of(apart, "Kidney__KICH_")
    rest = take(store, gct, **split(gct))
    assert (sorted(rest.made), rest.fresh) == (["Bile_duct_tumour", "Kidney"], ["Kidney__KICH_"])
    equal_to_separate(store, apart)


def test_ingest__a_damaged_gct_quarantines_all_its_datasets(store: Store, gct: Path) -> None:
    lines = gct.read_text().splitlines()
    gct.write_text("\n".join(lines[:900]) + "\n")
    summary = take(store, gct, **split(gct))
    assert (summary.made, summary.exit_code) == ([], 3)
    assert sorted(q["name"] for q in summary.quarantined) == sorted(NAMES.values())
    announced = f"announces {len(lines) - 3:,} rows, found 897"
    assert all(announced in q["reason"] for q in summary.quarantined)
    assert not list((store.root.desk / ".work").glob("*"))
    assert store.names("expression") == []


def test_ingest__a_refused_group_is_not_scattered_again(
    store: Store, gct: Path, tissues: dict[str, pd.DataFrame], scatters: Iterator[list[Path]]
) -> None:
    (folders,) = scatters
    lines = [line.split("\t") for line in gct.read_text().splitlines()]
    empty = lines[2].index(tissues["Kidney"].columns[4])
    for line in lines[3:]:
        line[empty] = "0"
    gct.write_text("\n".join("\t".join(line) for line in lines) + "\n")
    first = take(store, gct, **split(gct), scale="counts")
    assert sorted(first.made) == ["Bile_duct_tumour", "Kidney__KICH_"]
    assert f"sample {tissues['Kidney'].columns[4]!r} has no counts" in first.quarantined[0]["reason"]
    again = take(store, gct, **split(gct), scale="counts")
    assert (sorted(again.fresh), again.parts_run, len(folders)) == (sorted(first.made), 0, 1)
    assert [q["name"] for q in again.quarantined] == ["Kidney"]


def test_ingest__h5ad_by_a_column_of_obs(
    store: Store, apart: Store, tissues: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    whole = pd.concat(tissues.values(), axis=1).T
    kind = np.repeat(list(tissues), [f.shape[1] for f in tissues.values()])
    obs = pd.DataFrame({"tissue": pd.Categorical(kind)}, index=whole.index)
    file = tmp_path / "all.h5ad"
    ad.AnnData(X=whole.to_numpy(), obs=obs, var=pd.DataFrame(index=whole.columns)).write_h5ad(file)
    made_plan = plan(store, file, group_by="tissue")
    assert [t.after for t in made_plan.targets] == [(), (), ()]
    summary = driver.here(ingest, made_plan, store)
    assert sorted(summary.made) == sorted(NAMES.values())
    equal_to_separate(store, apart)


def test_ingest__samples_in_rows_equal_samples_in_columns(
    store: Store, apart: Store, tissues: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    tissues["Kidney"].T.to_csv(tmp_path / "Kidney.csv.gz", index_label="sample")
    assert take(store, tmp_path / "Kidney.csv.gz", samples_in_rows=True).made == ["Kidney"]
    assert data_of(store, "Kidney") == data_of(apart, "Kidney")


def test_ingest__a_table_is_split_too(store: Store, apart: Store, gct: Path, tissues: dict[str, pd.DataFrame]) -> None:
    whole = table(gct.parent, "all.tsv", pd.concat(tissues.values(), axis=1))
    summary = take(store, whole, **split(gct), name_prefix="")
    assert (len(summary.made), summary.parts_run) == (3, 4)
    equal_to_separate(store, apart)


def test_ingest__a_committed_artifact_names_every_file(real: tuple[Store, Plan, Summary]) -> None:
    artifact: Artifact = real[0].get("expression", "chol-rsem-count-tcga-t")
    on_disk = {p.relative_to(artifact.path).as_posix() for p in artifact.path.rglob("*") if p.is_file()}
    assert on_disk == {f["path"] for f in artifact.manifest["files"]} | {"manifest.json"}
