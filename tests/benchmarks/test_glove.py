"""The benchmark of GloVe runs, on tiny input; and its measure of a loss is right."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from g2v_dask.kernels import glove as kernel
from g2v_dask.models import glove_als as als
from g2v_dask.models.adagrad import _whole
from g2v_dask.spec import TrainSpec
from tests.benchmarks.glove import loss_of, share
from tests.data_paths import data
from tests.oracles_models import Glove, MemoryMatrix, glove_loss

ROOT = Path(__file__).parents[2]
SIZES = {
    "components": 6,
    "tile": 64,
    "repeats": 1,
    "reach-genes": 80,
    "passes": 2,
    "large-genes": 150,
    "small": 100,
    "pass-genes": 150,
    "public-genes": 50,
    "public-iterations": 5,
    "cooccur-genes": 150,
    "samples": 40,
}


def test_glove__prints_every_row_beside_its_goal():
    assert data("rnaseq").is_dir()
    command = [sys.executable, "tests/benchmarks/glove.py", *(f"--{k}={v}" for k, v in SIZES.items())]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    assert set(found) == {"machine", "reach", "large", "pass", "public", "cooccur", "outside"}
    reach, large = found["reach"], found["large"]
    assert reach["ours"]["reached"]
    assert reach["ours"]["loss"] <= reach["per_entry"]["loss"]
    assert reach["stage_to_its_stop"]["loss"] == pytest.approx(reach["ours"]["last_loss"], rel=1e-5)
    assert (large["genes"], large["samples"], large["passes"]) == (150, 538, len(large["losses"]) - 1)
    assert 0 < large["peak_gb"]["uss"] <= large["peak_gb"]["pss"] <= large["peak_gb"]["rss"]
    assert (found["cooccur"]["genes"], found["cooccur"]["samples"]) == (150, 40)
    assert min(found["cooccur"][f"{what}_seconds"] for what in ("ours", "bare", "writing")) >= 0
    assert found["pass"]["ours_over_bare"] > 0
    phases = found["outside"]["phases"]
    assert (phases["rows"]["rounds"], phases["rows"]["parts"]) == (large["passes"] + 1, 3 * (large["passes"] + 1))
    assert (phases["vectors"]["parts"], phases["commit"]["parts"]) == (1, 0)
    assert 0 < found["outside"]["share"] < 1


def test_loss_of__is_the_naive_sum():
    random = np.random.default_rng(0)
    x = np.floor(random.lognormal(3, 2, (30, 30)))
    x = np.triu(x) + np.triu(x, 1).T
    spec = TrainSpec(method="glove", components=4, x_max=50.0)
    setting = als.Setting.of(MemoryMatrix.from_dense(x, tile=30), spec, "majorised")
    log_x = _whole({(0, 0): kernel.logs(x)}, setting)
    rows, columns = random.normal(size=(2, 30, 5)).astype(np.float32)
    assert np.count_nonzero(x == 0) > 0
    naive = glove_loss(Glove(x=x, x_max=50.0, alpha=0.75, upper=False), rows, columns)
    assert loss_of(log_x, rows, columns, setting) == pytest.approx(naive, rel=1e-5)


def test_share__counts_idle_workers():
    rounds = [{"parts": 4, "part_seconds": 8.0, "wall": 5.0}, {"parts": 1, "part_seconds": 3.0, "wall": 3.0}]
    assert share(rounds, 2) == {"share": round(5 / 16, 3), "waiting": round(3 / 16, 3)}
