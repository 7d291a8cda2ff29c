"""Files that are missing, cut or have one bit changed after the commit: verify names them, and makes them again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from g2v_dask.stages import merge
from g2v_dask.store import Store
from tests.faults import runs
from tests.faults.test_parts import HARMS
from tests.shell import g2v

FOUND = {"missing": "missing", "truncated": "expected", "bit flipped": "sha256"}


def harmed(root: Path, key: str, harm: str) -> tuple[Path, bytes, int]:
    """One file of an artifact, of another part than the first where there is one, and what it was."""
    artifact = Store.open(root).get(*key.split("/"))
    entry = max(artifact.manifest["files"], key=lambda f: (f["part"], f["bytes"]))
    file = artifact.path / entry["path"]
    before = file.read_bytes()
    HARMS[harm](file)
    return file, before, entry["part"]


@pytest.mark.parametrize("harm", HARMS)
def test_verify__names_what_is_damaged_and_repairs_just_that(
    undisturbed: tuple[Path, Path], tmp_path: Path, harm: str
) -> None:
    """Each kind at once; all are repaired in the order in which they are made of each other."""
    store = tmp_path / "store"
    shutil.copytree(undisturbed[1], store)
    keys = [key for stage in runs.STAGES.values() for key in stage.makes[:1]]
    before = runs.files(store)
    damaged = {key: harmed(store, key, harm) for key in keys}
    deep = g2v("verify", "--store", store, "--deep", "--json", "-q")
    assert deep.code == 1
    found = {f["artifact"]: f for f in json.loads(deep.out)["faults"]}
    assert found.keys() == damaged.keys()
    for key, (file, _, part) in damaged.items():
        assert file.as_posix().endswith(found[key]["file"])
        assert found[key]["part"] == part
        assert FOUND[harm] in found[key]["found"]
    plain = g2v("verify", "--store", store, "-q")
    assert plain.code == (0 if harm == "bit flipped" else 1)  # lengths tell nothing of a bit
    repaired = g2v("verify", "--store", store, "--deep", "--repair", "--json", "-q")
    assert repaired.code == 0, repaired.out
    assert {f["state"] for f in json.loads(repaired.out)["faults"]} == {"repaired"}
    assert runs.files(store) == before
    assert "all whole" in g2v("verify", "--store", store, "--deep", "-q").out


def test_verify__repair_reruns_just_that_part(
    undisturbed: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    shutil.copytree(undisturbed[1], store)
    _, _, part = harmed(store, "cooccurrence/all", "missing")
    ran = []
    plain = merge.run_part
    monkeypatch.setattr(merge, "run_part", lambda work: ran.append(work.part.number) or plain(work))
    assert g2v("verify", "--store", store, "--repair", "-q").code == 0
    assert ran == [part]


def test_verify__an_input_that_changed_is_not_repaired(undisturbed: tuple[Path, Path], tmp_path: Path) -> None:
    store, data = tmp_path / "store", tmp_path / "data"
    shutil.copytree(undisturbed[0], data)
    shutil.copytree(undisturbed[1], store)
    assert g2v("ingest", data / "leukemia.tsv.gz", "--store", store, "--name-prefix", "own-", "-q").code == 0
    harmed(store, "expression/own-leukemia", "bit flipped")
    (data / "leukemia.tsv.gz").write_bytes((undisturbed[0] / "leukemia.tsv.gz").read_bytes() + b"\0")
    answer = g2v("verify", "--store", store, "--deep", "--repair", "-q")
    assert answer.code == 1
    assert "1 damaged" in answer.out
    assert "run the command that made it again" in " ".join(answer.out.split())
