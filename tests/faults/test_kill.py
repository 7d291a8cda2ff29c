"""kill -9 of the client and of workers, at random moments with a fixed seed.

The same command finishes the work, and the data have the same bytes as those of an undisturbed run.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from g2v_dask.store import Store
from tests import made

DEMO = Path(__file__).parents[2] / "jobs" / "demo"
SPEC = """
store = "store"
[ingest]
files = ["{demo}/bladder_series_matrix.txt.gz", "{demo}/leukemia.tsv.gz", "{demo}/immune_cells.h5ad"]
[pairs]
top_k = 10
[merge]
[[train]]
name = "skipgram"
components = 16
iterations = 6
[[train]]
name = "svd"
method = "svd"
components = 16
[[index]]
name = "skipgram"
shard_rows = 4000
[[index]]
name = "svd"
"""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(folder)
    return contents(folder)


def command(folder: Path, *more: str) -> list[str]:
    spec = folder / "run.toml"
    if not spec.exists():
        spec.write_text(SPEC.format(demo=DEMO))
    return [sys.executable, "-m", "g2v_dask.cli", "run", str(spec), "--quiet", *more]


def start(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(command(folder, *more), stdout=log, stderr=log, preexec_fn=hear_interrupts)


def hear_interrupts() -> None:
    """Background jobs of a shell ignore SIGINT, and their children inherit that; this one shall not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def finish(folder: Path, *more: str) -> None:
    done = subprocess.run(command(folder, *more), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def contents(folder: Path) -> dict[str, dict[str, bytes]]:
    store = Store.open(folder / "store")
    kinds = ("expression", "pairs", "cooccurrence", "embeddings", "index")
    found = {a.key: made.data_files(a.path) for k in kinds for a in store.artifacts(k)}
    assert len(found) == 11
    return found


def gone(processes: list[psutil.Process]) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=60)
    return not alive


def test_client_killed__the_same_command_finishes(tmp_path: Path, undisturbed: dict[str, dict[str, bytes]]) -> None:
    chance = random.Random(7)
    for _ in range(4):
        client = start(tmp_path)
        time.sleep(chance.uniform(3.0, 9.0))
        workers = psutil.Process(client.pid).children(recursive=True) if client.poll() is None else []
        client.send_signal(signal.SIGKILL)
        client.wait()
        assert gone(workers)  # nothing outlives its client
    finish(tmp_path)
    assert contents(tmp_path) == undisturbed


def test_workers_killed__the_run_goes_on(tmp_path: Path, undisturbed: dict[str, dict[str, bytes]]) -> None:
    chance = random.Random(8)
    client = start(tmp_path)
    kills = 0
    while client.poll() is None and not (tmp_path / "store" / ".work").exists():
        time.sleep(0.1)  # until parts run; a cluster that loses a worker while it starts does not start
    while client.poll() is None and kills < 3:
        time.sleep(chance.uniform(1.0, 4.0))
        kills += kill_one_worker(client.pid, chance)
    assert client.wait(timeout=300) == 0, (tmp_path / "log").read_text()
    assert kills >= 2
    assert contents(tmp_path) == undisturbed


def kill_one_worker(client: int, chance: random.Random) -> int:
    """Kills one of the client's worker processes, if there is one; 1 if it did."""
    try:
        children = psutil.Process(client).children(recursive=True)
        workers = sorted((c for c in children if "spawn_main" in " ".join(c.cmdline())), key=lambda c: c.pid)
        if workers:
            chance.choice(workers).kill()
        return len(workers[:1])
    except psutil.NoSuchProcess:
        return 0


def test_second_client__starts_while_tasks_of_a_killed_one_still_run(
    tmp_path: Path, undisturbed: dict[str, dict[str, bytes]]
) -> None:
    chance = random.Random(9)
    with scheduler(tmp_path) as address:
        for _ in range(3):
            client = start(tmp_path, "--cluster", address)
            time.sleep(chance.uniform(2.5, 6.0))
            client.send_signal(signal.SIGKILL)
            client.wait()
        finish(tmp_path, "--cluster", address)
    assert contents(tmp_path) == undisturbed


@contextmanager
def scheduler(folder: Path) -> Iterator[str]:
    """A separate scheduler with two workers; its address."""
    file = folder / "scheduler.json"
    common = ["--scheduler-file", str(file), "--no-dashboard"]
    dask = [sys.executable, "-m", "dask"]
    with (folder / "dask.log").open("wb") as log:
        head = [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", *common]
        processes = [subprocess.Popen(head, stdout=log, stderr=log)]
        deadline = time.monotonic() + 60
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        worker = [*dask, "worker", *common, "--nthreads", "1", "--memory-limit", "4GB", "--local-directory"]
        processes += [subprocess.Popen([*worker, str(folder / f"w{i}")], stdout=log, stderr=log) for i in range(2)]
        try:
            yield read_address(file)
        finally:
            everyone = [c for p in processes for c in psutil.Process(p.pid).children(recursive=True)]
            for process in reversed(processes):
                process.send_signal(signal.SIGTERM)
            for process in processes:
                process.wait(timeout=60)
            assert gone(everyone)


def read_address(file: Path) -> str:
    return str(json.loads(file.read_text())["address"])


def test_interrupt__stops_at_once_and_says_how_to_go_on(tmp_path: Path) -> None:
    client = start(tmp_path)
    time.sleep(4)
    os.kill(client.pid, signal.SIGINT)
    assert client.wait(timeout=60) == 130
    assert "the same command goes on" in (tmp_path / "log").read_text()
