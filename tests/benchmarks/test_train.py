"""The benchmark of the trainers runs, on tiny input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_train__prints_json() -> None:
    command = [sys.executable, str(Path(__file__).with_name("train.py"))]
    sizes = ["--genes", "300", "--pairs", "4000", "--components", "8", "--iterations", "1"]
    repeats = ["--svd-cells", "4000", "--repeats", "1", "--svd-repeats", "1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, *sizes, *repeats], capture_output=True, text=True, check=True, env=environment)
    out = json.loads(done.stdout)
    assert set(out) == {"speed", "memory", "svd"}
    assert out["speed"]["pairs"] > 3000
    assert out["speed"]["ours_over_bare"] > 0
    assert out["memory"]["ten_times"]["pairs"] == 10 * out["memory"]["few"]["pairs"]
    assert out["svd"]["cells"] > 3000
