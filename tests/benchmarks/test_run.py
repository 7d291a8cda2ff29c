import json
import subprocess
import sys
from pathlib import Path

from tests.data_paths import data

ROOT = Path(__file__).parents[2]


def test_run__prints_seconds_and_shares():
    tiny = ["--files", str(data("rnaseq", "chol-rsem-count-tcga-t.txt.gz")), "--repeats", "1"]
    command = [sys.executable, "tests/benchmarks/run.py", *tiny, "--components", "4", "--iterations", "1"]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": "."}, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert found["datasets"] == 1
    assert set(found["seconds"]) == {"ingest", "pairs", "merge", "train", "index"}
    assert 0 < found["warm"]["share_of_parts"] <= 1
