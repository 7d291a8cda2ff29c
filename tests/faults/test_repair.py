"""What verify says of artifacts without a manifest, and repairs that need more than one part of one round."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from g2v_dask import driver
from g2v_dask.models import glove
from g2v_dask.spec import PairsSpec
from g2v_dask.stages import pairs, train
from g2v_dask.store import Artifact, Store
from tests import made, stores
from tests.data_paths import data
from tests.faults import runs
from tests.faults.test_parts import HARMS
from tests.shell import g2v
from tests.stages.test_train_glove import add_samples, spec_of

GENES = [f"G{i:02d}" for i in range(30)]


def checked(store: Path, *words: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and faults of ``g2v verify``."""
    answer = g2v("verify", "--store", store, "--json", "-q", *words)
    return answer.code, json.loads(answer.out)["faults"]


# -- no manifest ----------------------------------------------------------------------------------------------


def make_pairs(store: Store) -> list[str]:
    return driver.here(pairs, pairs.plan(store, PairsSpec(threshold=0.5)), store).made


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs of two datasets."""
    root = tmp_path_factory.mktemp("whole") / "s"
    store = Store.open(root, create=True)
    for seed, name in enumerate("ab"):
        made.expression(store, name, made.correlated(30, len(GENES), seed=seed), GENES)
    make_pairs(store)
    return root


def lose_manifest(artifact: Artifact) -> None:
    (artifact.path / "manifest.json").unlink()


def lose_all(artifact: Artifact) -> None:
    shutil.rmtree(artifact.path)


def cut_manifest(artifact: Artifact) -> None:
    file = artifact.path / "manifest.json"
    file.write_bytes(file.read_bytes()[:-20])


@pytest.mark.parametrize("harm", [lose_manifest, lose_all, cut_manifest])
def test_verify__head_of_what_has_no_manifest(whole: Path, tmp_path: Path, harm: Any) -> None:
    """It is told, beside the other faults; a repair leaves it; the command that made it makes it."""
    root = shutil.copytree(whole, tmp_path / "s")
    store = Store.open(root)
    lost, other = store.get("pairs", "a"), store.get("pairs", "b")
    bytes_of_a = made.data_files(lost.path)
    harm(lost)
    HARMS["truncated"](other.path / other.names[0])
    for words in ((), ("--deep",)):
        code, faults = checked(root, *words)
        assert code == 1
        assert [(f["artifact"], f["file"]) for f in faults] == [
            ("pairs/b", other.names[0]),
            ("pairs/a", "manifest.json"),
        ]
    assert faults[1]["digest"] == lost.digest[:12]
    assert "2 damaged" in g2v("verify", "--store", root, "-q").out

    before = runs.files(root)
    code, faults = checked(root, "--repair")
    assert code == 1
    assert [f["state"] for f in faults] == ["repaired", "run the command that made it again, it will be made anew"]
    mended = f"pairs/b/{other.digest[:12]}/{other.names[0]}"
    assert {**runs.files(root), mended: b""} == {**before, mended: b""}
    listed = g2v("ls", "pairs", "--store", root)
    assert listed.code == 1
    assert "pairs/a is damaged: it has no manifest that can be read; run the command that made it again" in listed.err

    assert make_pairs(store) == ["a"]
    assert made.data_files(store.get("pairs", "a").path) == bytes_of_a
    assert checked(root, "--deep") == (0, [])


@pytest.mark.parametrize("harm", [lose_manifest, lose_all, cut_manifest])
def test_rm__of_what_has_no_manifest(whole: Path, tmp_path: Path, harm: Any) -> None:
    """The other way that is told; also of what others are made from."""
    root = shutil.copytree(whole, tmp_path / "s")
    harm(Store.open(root).get("expression", "a"))
    for words in (("rm", "expression/a"), ("rm", "pairs/a"), ("gc", "--young-hours", 0)):
        assert g2v(*words, "--store", root).code == 0
    assert [row["name"] for row in json.loads(g2v("ls", "--store", root, "--json").out)] == ["b", "b"]
    assert checked(root, "--deep") == (0, [])
    assert sorted(p.name for p in root.iterdir() if not p.name.startswith(".")) == ["expression", "g2v.json", "pairs"]
    assert Store.open(root).names("pairs") == ["b"]


# -- a dataset of a file that is split ------------------------------------------------------------------------

TISSUES = {"chol-rsem-count-tcga-t": "Bile duct", "kich-rsem-count-tcga-t": "Kidney"}


def write_split(folder: Path, rows: int = 500) -> None:
    """Two tissues side by side, and a table of their samples that tells them apart."""
    folder.mkdir()
    tables = [
        pd.read_csv(data("rnaseq", f"{name}.txt.gz"), sep="\t", index_col=0, nrows=4000).iloc[:, 1:] for name in TISSUES
    ]
    groups = {sample: tissue for table, tissue in zip(tables, TISSUES.values(), strict=True) for sample in table}
    both = pd.concat([table[~table.index.duplicated()] for table in tables], axis=1, join="inner").iloc[:rows]
    both = both[sorted(both, key=lambda sample: sample[::-1])]  # in turn
    samples, genes = list(both), list(both.index)
    lines = ["\t".join(["Name", "Description", *samples])]
    lines += ["\t".join([g, g, *map(str, row)]) for g, row in zip(genes, both.to_numpy().tolist(), strict=True)]
    (folder / "both.gct").write_text(f"#1.2\n{len(genes)}\t{len(samples)}\n" + "\n".join(lines) + "\n")
    (folder / "samples.tsv").write_text("SAMPID\tTISSUE\n" + "".join(f"{s}\t{groups[s]}\n" for s in samples))


def test_repair__datasets_of_a_split_file(tmp_path: Path, address: str) -> None:
    """The file is scattered again, elsewhere; nothing of that stays."""
    write_split(tmp_path / "data")
    root = tmp_path / "s"
    words = ["ingest", tmp_path / "data" / "both.gct", "--samples", tmp_path / "data" / "samples.tsv"]
    answer = g2v(*words, "--group-by", "TISSUE", "--store", root, "--cluster", address, "-q")
    assert answer.code == 0, answer.err
    before = runs.files(root)
    store = Store.open(root)
    assert store.names("expression") == ["Bile_duct", "Kidney"]
    for name, harm in zip(store.names("expression"), ("missing", "bit flipped"), strict=True):
        HARMS[harm](store.get("expression", name).path / "data.zarr" / "expression" / "c" / "0" / "0")
    code, faults = checked(root, "--deep", "--repair")
    assert (code, [(f["artifact"], f["state"]) for f in faults]) == (
        0,
        [("expression/Bile_duct", "repaired"), ("expression/Kidney", "repaired")],
    )
    assert runs.files(root) == before


# -- several rounds -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rounds_again", [True, False])
def test_repair__glove_that_was_made_in_rounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rounds_again: bool
) -> None:
    """All rounds are made again, in the folder of the repair alone; or in one part, which gives the same bytes."""
    store = stores.empty(tmp_path / "s", tile=20)
    add_samples(store)
    monkeypatch.setattr(glove, "SMALL", 0)
    driver.here(train, train.plan(store, spec_of()), store)
    artifact = store.get("embeddings", "e")
    assert artifact.manifest["made"]["rounds"] > 10
    before = runs.files(store.root.desk)
    for name in ("data.zarr/vector/c/1/0", "data.zarr/zarr.json"):
        HARMS["bit flipped"](artifact.path / name)
    if not rounds_again:
        monkeypatch.undo()
    code, faults = checked(store.root.desk, "--deep", "--repair")
    assert (code, sorted(f["file"] for f in faults)) == (0, ["data.zarr/vector/c/1/0", "data.zarr/zarr.json"])
    assert runs.files(store.root.desk) == before
