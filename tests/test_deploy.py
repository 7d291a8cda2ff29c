"""The files in ``deploy/`` do what they say."""

import signal
import socket
import subprocess
from pathlib import Path

import distributed
import psutil

ROOT = Path(__file__).parents[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_local_cluster__serves_and_ends_with_its_script(tmp_path):
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        command = ["bash", str(ROOT / "deploy" / "local" / "cluster.sh"), "2", str(port)]
        script = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    try:
        with distributed.Client(f"tcp://127.0.0.1:{port}", timeout=60, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=60)
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
            assert [w["nthreads"] for w in workers] == [1, 1]
        everyone = psutil.Process(script.pid).children(recursive=True)
    finally:
        script.send_signal(signal.SIGTERM)
        assert script.wait(timeout=60) == 143
    assert not psutil.wait_procs(everyone, timeout=60)[1]
