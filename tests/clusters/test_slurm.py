"""SLURM for real: one node (tests/slurm/one_node.sh), a driver that is a job, workers that are jobs, and losses."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from g2v_dask.cluster import Cluster, connect, slurm, slurm_jobs
from g2v_dask.cluster_spec import bytes_of, seconds_of
from g2v_dask.errors import BudgetError, G2VError, SpecError
from g2v_dask.spec import ClusterSpec, RunSpec
from g2v_dask.store import Store
from tests.shell import g2v

ROOT = Path(__file__).parents[2]
ONE_NODE = ROOT / "tests" / "slurm" / "one_node.sh"
MAKE_CA = ROOT / "deploy" / "tls" / "make-ca.sh"
CANNOT = 77
LIMIT_SECONDS = 120  # nothing here takes a fifth of it on an idle machine: what does hangs
SPEC = f"""
store = "store"
[cluster]
address = "slurm"
queue = "main"
memory = "1500MB"
walltime = "00:20:00"
minimum = 2
maximum = 2
logs = "logs"
[ingest]
files = ["{ROOT}/jobs/demo/bladder_series_matrix.txt.gz", "{ROOT}/jobs/demo/leukemia.tsv.gz"]
[pairs]
top_k = 10
[merge]
[train]
method = "svd"
components = 16
[index]
"""


@pytest.fixture(scope="module")
def node() -> Iterator[Path]:
    """A SLURM of one node, and SLURM_CONF that names it; the folder of its files."""
    folder = Path(tempfile.mkdtemp(prefix="g2v-slurm-", dir="/tmp"))
    try:
        started = subprocess.run(["bash", ONE_NODE, "start", folder], capture_output=True, text=True, check=False)
        if started.returncode == CANNOT:
            pytest.skip(started.stderr.strip())
        assert started.returncode == 0, started.stderr
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", started.stdout.strip())
            yield folder
            assert told("squeue", "--noheader") == ""  # each test leaves nothing
    finally:
        subprocess.run(["bash", ONE_NODE, "stop", folder], check=True)
        shutil.rmtree(folder, ignore_errors=True)


def told(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def queue(prefix: str = "g2v-") -> dict[str, str]:
    """Jobs whose name starts so, and their state."""
    rows = [line.split() for line in told("squeue", "--noheader", "--format=%i %j %T").splitlines()]
    return {job: state for job, name, state in rows if name.startswith(prefix)}


def until(true: Callable[[], object], what: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"waited too long: {what()}"
        time.sleep(0.2)


def contents(store: Path) -> dict[str, bytes]:
    """All data of a store, by artifact and file."""
    opened = Store.open(store)
    found = {}
    for kind in ("expression", "pairs", "cooccurrence", "embeddings", "index"):
        for name in opened.names(kind):
            artifact = opened.get(kind, name)
            files = [artifact.path / f["path"] for f in artifact.manifest["files"]]
            found |= {f"{kind}/{name}/{f.relative_to(artifact.path)}": f.read_bytes() for f in files}
    return found


def test_run__as_a_batch_job_that_loses_a_worker_job(node: Path, tmp_path: Path, monkeypatch) -> None:
    spec = tmp_path / "run.toml"
    spec.write_text(SPEC)
    monkeypatch.setenv("G2V_PROJECT", str(ROOT))
    log = tmp_path / "driver.log"
    script = ROOT / "deploy" / "slurm" / "run.sbatch"
    driver = told("sbatch", "--parsable", f"--output={log}", f"--chdir={tmp_path}", str(script), "run.toml").strip()

    def state() -> str:
        return re.search(r"JobState=(\w+)", told("scontrol", "show", "job", driver))[1]

    def working() -> bool:
        """Some of the work is done, the rest is not, and both worker jobs run."""
        assert state() in ("PENDING", "RUNNING"), log.read_text()
        done = list((tmp_path / "store" / "expression").glob("*/HEAD"))
        return bool(done) and list(queue().values()) == ["RUNNING", "RUNNING"]

    until(working, lambda: (queue(), log.read_text()))
    lost = min(queue())
    subprocess.run(["scancel", lost], check=True)
    until(lambda: state() not in ("RUNNING", "COMPLETING"), log.read_text)
    assert state() == "COMPLETED", log.read_text()
    until(lambda: not queue())

    shown = told("scontrol", "show", "job", driver)
    records = (node / "jobcomp.txt").read_text()
    print(log.read_text(), shown, records)
    ended = dict(re.findall(r"^JobId=(\d+) .*? JobState=(\w+)", records, flags=re.MULTILINE))
    assert ended[driver] == "COMPLETED"
    assert ended[lost] == "CANCELLED"
    assert len(ended) >= 3  # and one more, in the place of the lost one, if the rest took longer than 15 seconds

    spec.write_text(SPEC.replace('store = "store"', 'store = "local"'))
    assert g2v("run", spec, "-q", "--cluster", "local", "--cluster-workers", 1).code == 0
    assert contents(tmp_path / "store") == contents(tmp_path / "local")


@pytest.mark.parametrize(
    ("killed", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)], ids=["term", "kill"]
)
def test_client__that_is_killed_leaves_no_job(node: Path, tmp_path: Path, killed: int, code: int) -> None:
    """Not one that runs, nor one that waits: the node has no memory for both."""
    spec = tmp_path / "run.toml"
    spec.write_text(SPEC.replace("1500MB", "9GB"))
    client = subprocess.Popen([sys.executable, "-m", "g2v_dask.cli", "run", str(spec), "-q"], cwd=tmp_path)
    try:
        until(lambda: sorted(queue().values()) == ["PENDING", "RUNNING"] or client.poll() is not None, queue)
        client.send_signal(killed)
        assert client.wait(timeout=LIMIT_SECONDS) == code
    finally:
        client.kill()
    until(lambda: not queue(), queue)


def test_cluster__a_lost_job_of_two_workers_comes_again_and_all_talk_tls(
    node: Path, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(slurm_jobs, "WATCH_SECONDS", 2.0)
    ca = tmp_path / "ca"
    subprocess.run(["bash", MAKE_CA, ca], check=True, capture_output=True)
    spec = ClusterSpec(
        **{"address": "slurm", "cores": 2, "memory": "1500MB", "maximum": 1, "logs": str(tmp_path / "logs")},
        **{"tls_ca": str(ca / "ca.pem"), "tls_cert": str(ca / "client.pem"), "tls_key": str(ca / "client-key.pem")},
    )
    said: list[str] = []
    with connect(spec, said.append) as there:
        assert there.client.scheduler.address.startswith("tls://")
        there.client.wait_for_workers(2, timeout=LIMIT_SECONDS)
        assert there.threads() == 2
        listening = {c.laddr.port: c.laddr.ip for c in psutil.Process().net_connections("inet") if c.status == "LISTEN"}
        first = there.client.run(os.getpid)
        (job,) = queue()
        subprocess.run(["scancel", job], check=True)
        until(lambda: queue() and job not in queue(), queue)
        until(lambda: len(there.client.scheduler_info()["workers"]) == 2)
        assert not set(first) & set(there.client.run(os.getpid))
        assert there.client.submit(sum, [1, 2]).result(timeout=LIMIT_SECONDS) == 3
    assert re.match(r"worker job \d+ is (PENDING|RUNNING)", said[0])
    assert re.match(r"[12] workers of 0.8 GB, 2 threads; dashboard http://127.0.0.1:\d+/status", said[-1])
    assert listening[int(re.search(r":(\d+)/status", said[-1])[1])] == "127.0.0.1"
    until(lambda: not queue(), queue)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"queue": "nope"}, "SLURM refused the worker job: .*[Ii]nvalid partition"),
        ({"worker_extra": ["--no-such-option"]}, r"worker job \d+ ended before its worker came .* says why"),
        ({"job_extra": ["--hold"], "queue_hours": 0.001}, r"no worker job has started in 0.001 hours: .* is PENDING"),
        ({"interface": "ib77"}, "the scheduler of the worker jobs does not start: .*ib77"),
    ],
    ids=["refused", "ended", "waiting", "no interface"],
)
def test_cluster__jobs_that_do_not_start(node: Path, tmp_path: Path, settings: dict, message: str) -> None:
    spec = ClusterSpec(address="slurm", memory="1GB", logs=str(tmp_path / "logs"), **settings)
    with connect(spec) as there, pytest.raises(G2VError, match=message):
        _ = there.client
    until(lambda: not queue(), queue)


# -- without SLURM ------------------------------------------------------------------------------------------


def test_cluster__without_sbatch(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        connect(ClusterSpec(address="slurm", memory="1GB")) as there,
        pytest.raises(SpecError, match="needs sbatch, squeue, scancel, not found here"),
    ):
        _ = there.client


def test_cluster__without_dask_jobqueue(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "g2v_dask.cluster.slurm_jobs", None)
    with (
        connect(ClusterSpec(address="slurm", memory="1GB")) as there,
        pytest.raises(SpecError, match=r"needs dask-jobqueue .*: pip install 'g2v_dask\[slurm\]'"),
    ):
        _ = there.client


def test_budget__is_known_before_any_job_is_asked_for() -> None:
    there = Cluster(ClusterSpec(address="slurm", cores=4, threads=2, memory="4GB", maximum=5))
    assert there.threads() == 20
    assert there.share_bytes() == (2_000_000_000 - (300 << 20)) // 2
    with pytest.raises(BudgetError, match="pairs of x needs 1.00 GB"):
        there.check_budget(needed=10**9, label="pairs of x")


def test_jobs__what_the_spec_leaves_open_is_daskss(monkeypatch) -> None:
    with pytest.raises(SpecError, match="slurm needs memory"):
        slurm.Jobs.of(ClusterSpec(address="slurm"))
    with slurm.dask.config.set({"jobqueue.slurm.memory": "2GB", "jobqueue.slurm.walltime": "1-00:00:00"}):
        jobs = slurm.Jobs.of(ClusterSpec(address="slurm"))
    assert (jobs.cores, jobs.memory_bytes) == (1, 2_000_000_000)
    assert jobs.leaving() == ["--lifetime", "85800s", "--lifetime-stagger", "300s"]


@pytest.mark.parametrize("walltime", ["00:02:00", "00:20:00", "04:00:00"])
def test_jobs__workers_leave_before_the_wall_time(walltime: str) -> None:
    jobs = slurm.Jobs.of(ClusterSpec(address="slurm", memory="1GB", walltime=walltime))
    lifetime, stagger = (int(word.removesuffix("s")) for word in jobs.leaving()[1::2])
    assert 0 < lifetime - stagger
    assert lifetime + stagger < seconds_of(walltime)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('memory = "lots"', "memory must be a number and .* as 16GB; got 'lots'"),
        ('memory = "16"', "memory must be a number and"),
        ('memory = "10KB"', "memory must be at least 1MiB"),
        ('walltime = "10:30"', "walltime must be HH:MM:SS or D-HH:MM:SS, got '10:30'"),
        ('walltime = "00:00:30"', "walltime must be at least 00:02:00"),
        ("minimum = 11", r"maximum must be at least minimum \(11\), got 10"),
        ("minimum = 0", "minimum must be at least 1"),
        ("cores = 3\nthreads = 2", r"cores must be a multiple of threads \(2\), got 3"),
        ("cores = 0", "cores must be at least 1"),
        ("queue_hours = 0", "queue_hours must be at least"),
        ('partition = "x"', "unknown key 'partition'"),
    ],
)
def test_run_spec__bad_cluster_settings(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "run.toml").write_text(f"store = 's'\n[cluster]\naddress = 'slurm'\n{line}\n")
    with pytest.raises(SpecError, match=message):
        RunSpec.load(tmp_path / "run.toml")


def test_jobs__memory_that_the_libraries_alone_take() -> None:
    with pytest.raises(SpecError, match="memory must be more than 300MiB for each of a job's 4 workers"):
        slurm.Jobs.of(ClusterSpec(address="slurm", cores=4, memory="1GB"))


def test_bytes_of__as_dask_reads_them() -> None:
    parse = slurm.dask.utils.parse_bytes
    for text in ("16GB", "1.5GiB", "512 MiB", "600M", "2TB", "900000kB"):
        assert bytes_of(text) == parse(text)
