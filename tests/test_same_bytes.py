"""The same bits for any number of workers, any order of inputs and any tile: from files to groups, maps and figures."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from g2v_dask import driver, schema
from g2v_dask.cluster import Cluster
from g2v_dask.flows import pipeline
from g2v_dask.kernels import correlation
from g2v_dask.progress import Display
from g2v_dask.spec import ClusterSpec, PairsSpec, RunSpec
from g2v_dask.stages import pairs
from g2v_dask.store import Store
from tests import made, stores
from tests.data_paths import data

pytestmark = pytest.mark.xdist_group("same bytes")  # the files and the first run are made once

TILE = 128  # genes: the 400 of these files are four bands of tiles
OTHERS = ("kidney", "prad", "thyroid")  # tissues besides kich
Contents = dict[str, dict[str, bytes]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """400 real genes: two tables, and two tissues in one file that is scattered first."""
    folder = tmp_path_factory.mktemp("files")
    names = ("kich-rsem-count-tcga-t", "prad-rsem-count-tcga", "thca-rsem-count-tcga", "kidney-rsem-count-gtex")
    read = [pd.read_csv(data("rnaseq", f"{n}.txt.gz"), sep="\t", index_col="Hugo_Symbol").iloc[:, 1:33] for n in names]
    genes = read[0].mean(axis=1).nlargest(400).index
    kich, prad, thca, kidney = (f.loc[genes] for f in read)
    kich.to_csv(folder / "kich.tsv", sep="\t", index_label="symbol")
    prad.to_csv(folder / "prad.csv.gz", index_label="symbol")
    pd.concat([thca, kidney], axis=1).to_csv(folder / "both.tsv", sep="\t", index_label="symbol")
    tissues = {"kich": kich, "prad": prad, "thyroid": thca, "kidney": kidney}
    lines = [f"{sample}\t{tissue}\n" for tissue, frame in tissues.items() for sample in frame.columns]
    (folder / "samples.txt").write_text("sample\ttissue\n" + "".join(lines))
    return [str(folder / name) for name in ("kich.tsv", "prad.csv.gz", "both.tsv")]


def run(folder: Path, files: list[str], cluster: ClusterSpec) -> Contents:
    """All data of a run from files to indices, in a new store of small tiles."""
    store = stores.empty(folder / "s", tile=TILE)
    train = {"from": "all", "components": 12, "seed": 3}
    table: dict[str, Any] = {
        "store": str(store.root.desk),
        "ingest": {"files": files, "samples": _samples(files), "group_by": "tissue", "scale": "counts"},
        "pairs": {"top_k": 8},
        "merge": {"name": "all"},
        "cooccur": {"name": "reads"},
        "train": [
            {**train, "name": "svd", "method": "svd"},
            {**train, "name": "skipgram", "iterations": 2, "min_count": 1},
            {**train, "name": "glove", "method": "glove", "from": "reads", "iterations": 3},
        ],
        "profile": {},
        "combine": {"name": "both", "embeddings": ["svd", "profile"], "components": 12},
        "index": [{"name": "svd", "shard_rows": 150}, {"name": "skipgram", "shard_rows": 150}],
        "kmeans": {"name": "glove", "k": 4},
        "map": {"name": "glove", "method": "pca"},
        "evaluate": {
            "name": "svd",
            "tasks": ["clusteredness", "tissue", "stability", "neighbours"],
            "genesets": [str(data("genesets", "h.all.v6.2.symbols.gmt.gz"))],
            "beside": ["skipgram"],
            "baselines": True,
            "bootstrap": 20,
            "least_coverage": 0.01,
        },
    }
    spec = RunSpec.build(table, base=folder)
    summaries = pipeline.run_all(spec, cluster=cluster, display=Display(quiet=True))
    assert [s.exit_code for s in summaries] == [0] * 14
    assert [s.parts_run for s in summaries] == [5, 4, 4, 10, 1, 1, 1, 1, 1, 3, 3, 1, 1, 11]
    return contents(store)


def _samples(files: list[str]) -> str:
    return str(Path(files[0]).parent / "samples.txt")


def contents(store: Store) -> Contents:
    return {a.key: made.data_files(a.path) for kind in schema.KINDS for a in store.artifacts(kind)}


def same(found: Contents, wanted: Contents) -> None:
    """Every file of every artifact; names the first that differs, not its bytes."""
    assert sorted(found) == sorted(wanted)
    for key in wanted:
        assert sorted(found[key]) == sorted(wanted[key]), key
        assert [f for f in wanted[key] if found[key][f] != wanted[key][f]] == [], key


@pytest.fixture(scope="module")
def alone(files: list[str], tmp_path_factory: pytest.TempPathFactory) -> Contents:
    """The run by one worker, files in order."""
    one = ClusterSpec(workers=1, memory_bytes=4 << 30)
    return run(tmp_path_factory.mktemp("alone"), files, one)


def test_run__covers_every_kind(alone: Contents) -> None:
    made_by_runs = set(schema.KINDS) - {"answers"}  # of questions: tests/stages/test_search.py holds their bytes
    assert {key.partition("/")[0] for key in alone} == made_by_runs
    assert len(alone) == 4 + 4 + 2 + 5 + 2 + 1 + 1 + 1
    assert all(files and all(files.values()) for files in alone.values())


def test_run__four_workers_give_the_same_bytes(files: list[str], alone: Contents, tmp_path: Path) -> None:
    same(run(tmp_path, files, ClusterSpec(workers=4, memory_bytes=4 << 30)), alone)


def test_run__two_threads_of_one_worker_give_the_same_bytes(files: list[str], alone: Contents, tmp_path: Path) -> None:
    same(run(tmp_path, files, ClusterSpec(workers=1, threads=2, memory_bytes=8 << 30)), alone)


@pytest.mark.parametrize("order", [(2, 1, 0), (1, 0, 2)])
def test_run__any_order_of_files_gives_the_same_bytes(
    files: list[str], alone: Contents, tmp_path: Path, address: str, order: tuple[int, ...]
) -> None:
    same(run(tmp_path, [files[k] for k in order], ClusterSpec(address=address)), alone)


def test_run__other_values_give_other_bytes(files: list[str], alone: Contents, tmp_path: Path, address: str) -> None:
    """The comparison can fail: the samples of some genes of one table change places, and all follows."""
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in [*files, _samples(files)]:
        (moved / Path(file).name).write_bytes(Path(file).read_bytes())
    frame = pd.read_csv(moved / "kich.tsv", sep="\t", index_col="symbol")
    frame.iloc[:40] = frame.iloc[:40, ::-1].to_numpy()
    frame.to_csv(moved / "kich.tsv", sep="\t", index_label="symbol")
    found = run(tmp_path, [str(moved / Path(f).name) for f in files], ClusterSpec(address=address))
    changed = {key for key in alone if found[key] != alone[key]}
    assert changed == set(alone) - {f"{kind}/{n}" for kind in ("expression", "pairs") for n in OTHERS}


# -- tiles of the pairs kernel --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def values(files: list[str]) -> tuple[np.ndarray, list[str]]:
    """log2 counts of real genes: samples × genes."""
    frame = pd.read_csv(files[0], sep="\t", index_col="symbol").sort_index()
    return np.log2(frame.to_numpy().T + 1).astype(np.float32), frame.index.tolist()


def parquet(folder: Path, values: tuple[np.ndarray, list[str]], **rule: Any) -> dict[str, bytes]:
    store = Store.open(folder, create=True)
    made.expression(store, "kich", *values)
    summary = driver.here(pairs, pairs.plan(store, PairsSpec(**rule)), store)
    assert summary.made == ["kich"]
    return made.data_files(store.get("pairs", "kich").path)


RULES = [{"threshold": 0.7}, {"top_k": 6}, {"top_k": 6, "top_k_rule": "mutual"}]


@pytest.mark.parametrize("rule", RULES, ids=["threshold", "union", "mutual"])
def test_pairs__any_tile_of_the_kernel_gives_the_same_parquet(
    tmp_path: Path, values: tuple[np.ndarray, list[str]], monkeypatch: pytest.MonkeyPatch, rule: dict[str, Any]
) -> None:
    wanted = parquet(tmp_path / "default", values, **rule)
    assert len(wanted) == 1
    plainly = {name: getattr(correlation, name) for name in ("pairs_above", "pairs_top_k")}
    for tile in (1, 37, 64, 399, 4096):
        for name, function in plainly.items():
            monkeypatch.setattr(correlation, name, functools.partial(function, tile=tile))
        assert parquet(tmp_path / str(tile), values, **rule) == wanted, tile


def test_pairs__either_method_and_any_threads_give_the_same_parquet(
    tmp_path: Path, values: tuple[np.ndarray, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = parquet(tmp_path / "default", values, threshold=0.7)
    plainly = correlation.pairs_above
    for method in ("plain", "bounded"):
        for threads in (1, 3):
            other = functools.partial(plainly, tile=50, method=method, threads=threads)
            monkeypatch.setattr(correlation, "pairs_above", other)
            assert parquet(tmp_path / f"{method}{threads}", values, threshold=0.7) == wanted, (method, threads)


def test_pairs__on_workers_equal_pairs_in_process(
    tmp_path: Path, values: tuple[np.ndarray, list[str]], cluster: Cluster
) -> None:
    wanted = parquet(tmp_path / "here", values, top_k=6)
    store = Store.open(tmp_path / "there", create=True)
    made.expression(store, "kich", *values)
    driver.drive(pairs, pairs.plan(store, PairsSpec(top_k=6)), store, cluster, Display(quiet=True))
    assert made.data_files(store.get("pairs", "kich").path) == wanted
