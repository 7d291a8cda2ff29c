"""The benchmark of analogies runs, on tiny input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SIZES = ["--genes", "200", "--components", "8", "--best-genes", "60", "--flat-genes", "60", "--seeds-genes", "60"]
SHORT = ["--repeats", "1", "--best-minutes", "0.001", "--noise-genes", "60", "--noise-minutes", "0.01"]


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(Path(__file__).with_name("analogy.py")), *SIZES, *SHORT, *options]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict:
    kept = tmp_path_factory.mktemp("analogy") / "kept.json"
    done = run("--to", str(kept))
    assert done.returncode == 0, done.stderr
    assert json.loads(kept.read_text()) == json.loads(done.stdout)
    return json.loads(done.stdout)


def test_analogy__all_rows(result):
    assert '"error"' not in json.dumps(result)
    assert result["vectors"] == {"planted": {"genes": 200, "components": 8}}
    once = {"faiss_flat", "seeds_way", "memory_growth", "noise"}
    asked = {"pair_cold", "pair_warm_norms", "batch16", "inner_warm", "gene", "best", "best_parts", "near"}
    assert set(result["rows"]) == once | asked
    assert all(set(result["rows"][row]) == {"planted"} for row in asked)


def test_analogy__figures(result):
    rows = {row: found.get("planted", found) for row, found in result["rows"].items()}
    assert rows["pair_cold"]["peak_bytes"] >= rows["pair_cold"]["peak_bytes_before_query"] > 0
    assert rows["pair_warm_norms"]["same_answers"]
    assert rows["batch16"]["planted_found"] > 0.5
    assert rows["gene"]["found"] == 10
    assert rows["gene"]["scores_are_right"]
    assert rows["best"]["genes"] == 60
    assert rows["best"]["found"] == 1000
    assert rows["best_parts"]["lanes_of_all"] == 200 * 199 // 2
    assert 0 <= rows["best_parts"]["share_ended_by_reach"] <= 1
    assert set(rows["near"]["seconds"]) == {"whole", "search", "bare"}
    assert rows["faiss_flat"]["differences"] == 60 * 59 // 2
    assert rows["faiss_flat"]["recall_at_20"] > 0.99
    seeds = rows["seeds_way"]["60"]
    assert seeds["nprobe_512"]["by_rank"]["recall_at_20"] < seeds["nprobe_512"]["by_score"]["recall_at_20"]
    assert seeds["nprobe_512"]["by_score"]["recall_at_20"] > 0.99  # more probes than lists
    assert set(rows["memory_growth"]) == {"50", "100", "200"}
    noise = rows["noise"]
    assert all(noise[question]["found"] == noise[question]["asked"] for question in ("pair", "gene", "best"))
    assert all(noise[question]["scores_are_right"] for question in ("pair", "gene", "best"))


def test_analogy__file_and_one_row(tmp_path):
    np.save(tmp_path / "some.npy", np.random.default_rng(1).normal(size=(250, 5)))
    found = json.loads(run("--vectors", f"mine={tmp_path / 'some.npy'}", "--only", "inner_warm").stdout)
    assert found["vectors"] == {"mine": {"genes": 200, "components": 5}}
    assert set(found["rows"]) == {"inner_warm"}
    assert found["rows"]["inner_warm"]["mine"]["seconds"]["median"] > 0


def test_analogy__failing_row_and_unknown_row(tmp_path):
    bad = np.random.default_rng(1).normal(size=(50, 5))
    bad[3] = np.nan
    np.save(tmp_path / "bad.npy", bad)
    found = json.loads(run("--vectors", str(tmp_path / "bad.npy"), "--only", "inner_warm,near").stdout)
    assert "NaN" in found["rows"]["inner_warm"]["bad"]["error"]
    assert "near" in found["rows"]
    assert "no row nonsense" in run("--only", "nonsense").stderr
