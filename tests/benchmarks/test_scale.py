"""The benchmark of scale runs, on tiny input; and its simulation and its studies are what they say."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from g2v_dask.readers import formats
from g2v_dask.spec import IngestSpec
from tests.benchmarks import scale_simulation, scale_studies
from tests.benchmarks.scale_simulation import Costs, Stage, Task
from tests.data_paths import data

FREE = Costs(begin=0.0, submit=0.0, land=0.0, beside=0.0)


def stage(*seconds: float, size: int = 0, costs: Costs = FREE) -> Stage:
    return Stage(name="x", tasks=tuple(Task(seconds=s, bytes=size) for s in seconds), costs=costs)


def test_wall__free_costs_are_list_scheduling():
    seconds = (4.0, 3.0, 3.0, 2.0, 2.0, 2.0)
    assert scale_simulation.wall(stage(*seconds), 1) == sum(seconds)
    assert scale_simulation.wall(stage(*seconds), 2) == 8.0  # 4 + 2 + 2, and 3 + 3 + 2
    assert scale_simulation.wall(stage(*seconds), 100) == 4.0


def test_wall__client_and_disk_are_one_server_each():
    costs = Costs(begin=5.0, submit=0.5, land=1.5, beside=0.0)
    served = stage(*[0.0] * 100, costs=costs)
    assert scale_simulation.wall(served, 64) == pytest.approx(205.0)
    slow = scale_simulation.on_shared_disk(stage(*[2.0] * 8, size=100), 50.0)
    assert scale_simulation.wall(slow, 8) == 16.0  # all their time is the disk's
    free = replace(slow, costs=FREE)
    assert scale_simulation.wall(free, 8) == 2.0


@pytest.mark.parametrize("workers", [1, 2, 5, 16])
def test_wall__keeps_to_its_bounds(workers: int):
    random = np.random.default_rng(1)
    costs = Costs(begin=1.0, submit=0.01, land=0.02, beside=0.1, disk=1e-3)
    drawn = stage(*random.lognormal(0, 1, 60), size=40, costs=costs)
    found = scale_simulation.wall(drawn, workers)
    assert found >= max(scale_simulation.bounds(drawn, workers).values()) - 1e-9
    assert found <= scale_simulation.wall(drawn, 1)


def test_study__is_as_real_ones_are():
    world = scale_studies.world(20_000, 20_000)
    some = 2_000  # genes are of no order
    sizes = [scale_studies.samples_of(number) for number in range(500)]
    assert min(sizes) >= 30
    assert max(sizes) == 300
    assert 50 <= np.median(sizes) <= 70
    values = [scale_studies.study(world, number, sizes[number]) for number in range(8)]
    shares = [np.mean(np.corrcoef(v[:, :some], rowvar=False)[np.triu_indices(some, 1)] >= 0.9) for v in values]
    assert 2e-4 < np.median(shares) < 3e-3
    assert np.array_equal(values[3], scale_studies.study(world, 3, sizes[3]))


def test_series__reads_back(tmp_path: Path):
    scale_studies.series(0, tmp_path, n_probes=700, most=33)
    (file,) = tmp_path.iterdir()
    (source,) = formats.scan(file, IngestSpec(files=(str(file),), platforms=str(data("platforms"))))
    rows = [row for block in formats.read(source) for row in block.rows]
    assert (source.name, source.platform, source.n_samples) == ("GSE90000001", "GPL570", 33)
    assert tuple(rows) == scale_studies.probes(700)[0]


def run(folder: Path, *arguments: str) -> dict:
    tiny = ["--studies", "2", "--probes", "3000", "--genes", "1000", "--most-samples", "32", "--components", "4"]
    sizes = ["--pairs-at", "2", "--parts", "60", "--plot", str(folder / "plot.png")]
    command = [sys.executable, str(Path(__file__).with_name("scale.py")), str(folder), *tiny, *sizes, *arguments]
    environment = os.environ | {"G2V_TEST_DATA": str(data())}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout[done.stdout.rindex('{\n "machine"') :])


def test_scale__pairs_parts_and_simulation(tmp_path: Path):
    out = run(tmp_path, "--only", "pairs", "parts", "simulation")
    assert [(r["studies"], r["workers"]) for r in out["pairs"]["runs"]] == [(2, 1), (2, 2)]
    assert out["pairs"]["runs"][1]["pairs"] > 0
    assert 0 < out["pairs"]["largest"]["worker_peak_bytes"]
    assert out["parts"]["empty_plan"]["parts"] == 60
    assert [mark["parts"] for mark in out["parts"]["empty_plan"]["marks"]] == [1, 6, 30, 60]
    assert set(out["simulation"]["at"]) == {"16", "128"}
    assert out["simulation"]["prediction"]["1 worker"]["pairs"]["computed_seconds"] > 0
    assert (tmp_path / "plot.png").read_bytes()[:4] == b"\x89PNG"
    assert not (tmp_path / "dask").exists()


def test_scale__whole(tmp_path: Path):
    out = run(tmp_path, "--only", "whole")
    assert set(out["whole"]["stage_seconds"]) == {"ingest", "pairs", "merge", "train", "index"}
    assert out["whole"]["quarantined"] == []
    assert out["whole"]["part_seconds"]["train"]["parts"] == 2
    assert out["whole"]["peak"]["worker"]["pss_bytes"] > 0
