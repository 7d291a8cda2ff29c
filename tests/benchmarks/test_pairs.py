"""The benchmark of pairs runs, on tiny input."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("G2V_TEST_DATA", ROOT.parent / "shared" / "data"))
TINY = ["--genes", "300", "--samples", "20", "--repeats", "1", "--top-k", "5"]


def run(*options: str) -> dict:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "benchmarks" / "pairs.py"), *TINY, *options],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return json.loads(done.stdout)


def test_pairs_benchmark__synthetic():
    result = run("--real")
    assert [case["name"] for case in result["cases"]] == ["0.05 %", "0.2 %"]
    for case in result["cases"]:
        pairs = case["pairs"]
        assert pairs["above"] == pairs["above, bounded"] == pairs["np.corrcoef + where"] > 0
        assert 300 * 5 / 2 <= pairs["top 5 union"] <= 300 * 5
        assert pairs["top 5 mutual"] < pairs["top 5 union"]
        assert case["same_bytes_by_either_method"]
        assert set(case["seconds"]) == set(case["ratio_to_bare_sgemm"])
    assert result["peak_bytes"]["above"] > 0
    assert any("CorALS" in note for note in result["notes"])


def test_pairs_benchmark__real_data():
    if not DATA.is_dir() and os.environ.get("CI") != "true":
        pytest.skip(f"no test data at {DATA}")
    result = run("--real", "uterus", "--real-genes", "600", "--threshold", "0.7")
    case = result["cases"][-1]
    assert (case["name"], case["samples"], case["genes"]) == ("uterus", 82, 600)
    assert case["same_bytes_by_either_method"]
    assert case["pairs"]["above"] > 0
