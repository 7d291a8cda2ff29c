"""What is compared when a client connects: versions on both sides, and room for a part."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path

import distributed
import psutil
import pytest

from g2v_dask.cluster import connect, remote
from g2v_dask.cluster.agreement import RECORDED, capacities
from g2v_dask.errors import G2VError, SpecError
from g2v_dask.spec import ClusterSpec
from tests.clusters.processes import dask, free_port
from tests.shell import g2v


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    words = ("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    with dask(tmp_path_factory.mktemp("scheduler"), *words):
        yield f"tcp://127.0.0.1:{port}"


def stub(folder: Path, package: str, version: str) -> str:
    """A folder for PYTHONPATH in which a package seems to have this version, for who asks importlib.metadata."""
    info = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    return str(folder)


@contextmanager
def worker(folder: Path, scheduler: str, name: str, *words: str, **environment: str) -> Iterator[None]:
    """A worker, from when the scheduler has it until the scheduler has it no more."""
    folder = folder / name
    folder.mkdir()
    plain = ("worker", scheduler, "--host", "127.0.0.1", "--nthreads", "1", "--no-dashboard", "--no-nanny")
    limit = () if "--memory-limit" in words else ("--memory-limit", "2GB")
    with distributed.Client(scheduler, timeout=60, set_as_default=False) as client:
        here = len(client.scheduler_info(n_workers=-1)["workers"])
        with dask(folder, *plain, *limit, *words, environment=environment):
            client.wait_for_workers(here + 1, timeout=60)
            yield


def test_connect__a_worker_with_another_version_is_named_with_both(scheduler: str, tmp_path: Path) -> None:
    numpy, zarr = metadata.version("numpy"), metadata.version("zarr")
    path = stub(tmp_path / "stub", "numpy", "1.0.1")
    stub(tmp_path / "stub", "zarr", "2.0.0")
    with (
        worker(tmp_path, scheduler, "same"),
        worker(tmp_path, scheduler, "other", PYTHONPATH=path),
        connect(ClusterSpec(address=scheduler)) as there,
        pytest.raises(G2VError) as refused,
    ):
        _ = there.client
    said = str(refused.value)
    assert said.startswith(f"workers differ from this client: numpy: client {numpy}, workers 1.0.1 (tcp://127.0.0.1:")
    assert f"zarr: client {zarr}, workers 2.0.0 (tcp://127.0.0.1:" in said
    assert said.count("client ") == 2
    assert said.endswith("install the same versions in both")


def test_connect__the_client_may_be_the_odd_one(scheduler: str, tmp_path: Path, monkeypatch) -> None:
    ours = metadata.version("gensim")
    monkeypatch.syspath_prepend(stub(tmp_path / "stub", "gensim", "3.8.3"))
    assert metadata.version("gensim") == "3.8.3"
    with (
        worker(tmp_path, scheduler, "a"),
        worker(tmp_path, scheduler, "b"),
        connect(ClusterSpec(address=scheduler)) as there,
        pytest.raises(G2VError, match=rf"gensim: client 3.8.3, workers {ours} \(tcp://.* and 1 more\); install"),
    ):
        _ = there.client


def test_connect__a_worker_without_room_for_a_part_is_named(scheduler: str, tmp_path: Path) -> None:
    with (
        worker(tmp_path, scheduler, "small", "--memory-limit", "250MB"),
        connect(ClusterSpec(address=scheduler)) as there,
        pytest.raises(G2VError, match=r"worker tcp://.* has 0.25 GB for 1 threads, but its libraries alone take 0.31"),
    ):
        _ = there.client


def test_connect__workers_that_are_alike_are_told_in_one_line(scheduler: str, tmp_path: Path) -> None:
    said: list[str] = []
    with (
        worker(tmp_path, scheduler, "a"),
        worker(tmp_path, scheduler, "b", "--memory-limit", "3GB"),
        connect(ClusterSpec(address=scheduler), said.append) as there,
    ):
        assert sorted(capacities(there.client).values()) == [(2_000_000_000, 1), (3_000_000_000, 1)]
        assert there.share_bytes() == 2_000_000_000 - (300 << 20)
        assert set(there.making["versions"]) == set(RECORDED)
        assert there.making["python"] == ".".join(str(n) for n in sys.version_info[:3])
    assert said[0].startswith("2 workers of 2.0 to 3.0 GB, 2 threads; dashboard ")


def test_check_blas__sees_a_worker_that_came_later(scheduler: str, tmp_path: Path) -> None:
    """OpenBLAS is told by the environment to take the kernel of another CPU."""
    with worker(tmp_path, scheduler, "a"), connect(ClusterSpec(address=scheduler)) as there:
        assert len(there.client.scheduler_info()["workers"]) == 1
        there.check_blas("svd")
        kernel = "Nehalem" if "Nehalem" not in there.making["blas"][0] else "Haswell"
        with worker(tmp_path, scheduler, "b", OPENBLAS_CORETYPE=kernel):
            with pytest.raises(G2VError, match=f"svd needs workers with one BLAS .* found .*{kernel}"):
                there.check_blas("svd")


def test_connect__local_workers_and_dashboard_listen_on_this_machine_only() -> None:
    with connect(ClusterSpec(workers=1, memory_bytes=1 << 30)) as there:
        (worker_,) = there.client.run(os.getpid).values()
        processes = [psutil.Process(), psutil.Process(worker_), psutil.Process(worker_).parent()]
        open_ = [c.laddr.ip for p in processes for c in p.net_connections("inet") if c.status == "LISTEN"]
    assert len(open_) >= 3
    assert set(open_) == {"127.0.0.1"}


# -- which cluster ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["ws://127.0.0.1:8786", "tcp://127.0.0.1", "8786", "slurm://x:1", ""])
def test_cluster_spec__only_local_slurm_tcp_and_tls(address: str) -> None:
    with pytest.raises(SpecError, match="must be local, slurm, tcp://host:port or tls://host:port"):
        ClusterSpec(address=address)


def test_run__flag_then_environment_then_toml(scheduler: str, tmp_path: Path, monkeypatch) -> None:
    """Ports 1, 2 and 3, where nobody listens: the error names the one that was tried."""
    demo = Path(__file__).parents[2] / "jobs" / "demo" / "leukemia.tsv.gz"
    monkeypatch.setattr(remote, "CONNECT_SECONDS", 0.5)
    spec = tmp_path / "run.toml"
    spec.write_text(f"store = 's'\n[cluster]\naddress = 'tcp://127.0.0.1:1'\n[ingest]\nfiles = ['{demo}']\n")
    assert "no scheduler answers at tcp://127.0.0.1:1 " in g2v("run", spec, "-q").err
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "tcp://127.0.0.1:2")
    assert "no scheduler answers at tcp://127.0.0.1:2 " in g2v("run", spec, "-q").err
    assert "no scheduler answers at tcp://127.0.0.1:3 " in g2v("run", spec, "-q", "--cluster", "tcp://127.0.0.1:3").err
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "ws://127.0.0.1:2")
    wrong = g2v("run", spec, "-q")
    assert (wrong.code, "got 'ws://127.0.0.1:2'" in wrong.err) == (2, True)
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", "")
    assert "no scheduler answers at tcp://127.0.0.1:1 " in g2v("run", spec, "-q").err
    monkeypatch.setattr(remote, "CONNECT_SECONDS", 30.0)
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", scheduler)
    with worker(tmp_path, scheduler, "w"):
        assert g2v("run", spec, "-q").code == 0
