"""A real scheduler and worker that talk TLS: who has a certificate of their CA works, who has none is refused."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from g2v_dask.cluster import connect
from g2v_dask.errors import G2VError, SpecError
from g2v_dask.spec import ClusterSpec, RunSpec
from tests.clusters.processes import dask, free_port

SCRIPT = Path(__file__).parents[2] / "deploy" / "tls" / "make-ca.sh"


def authority(folder: Path) -> Path:
    subprocess.run(["bash", str(SCRIPT), str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return authority(tmp_path_factory.mktemp("tls") / "ca")


@pytest.fixture(scope="module")
def address(ca: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("dask")
    port = free_port()
    there = f"tls://127.0.0.1:{port}"
    scheduler = ["scheduler", "--protocol", "tls", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    worker = ["worker", there, "--host", "127.0.0.1", "--nthreads", "1", "--memory-limit", "2GB", "--no-dashboard"]
    with dask(folder, *scheduler, *flags(ca, "scheduler")), dask(folder, *worker, *flags(ca, "worker")):
        yield there


def flags(ca: Path, role: str) -> list[str]:
    return [
        *("--tls-ca-file", str(ca / "ca.pem")),
        *("--tls-cert", str(ca / f"{role}.pem")),
        *("--tls-key", str(ca / f"{role}-key.pem")),
    ]


def certified(address: str, ca: Path, *, trusting: Path | None = None) -> ClusterSpec:
    return ClusterSpec(
        address=address,
        tls_ca=str((trusting or ca) / "ca.pem"),
        tls_cert=str(ca / "client.pem"),
        tls_key=str(ca / "client-key.pem"),
    )


def test_connect__with_the_certificates_of_the_spec(address: str, ca: Path) -> None:
    with connect(certified(address, ca)) as there:
        assert there.client.submit(sum, [1, 2]).result() == 3
        assert there.threads() == 1


def test_connect__with_the_certificates_of_dasks_environment(address: str, ca: Path, tmp_path: Path) -> None:
    code = f"""if __name__ == "__main__":
    from g2v_dask.cluster import connect
    from g2v_dask.spec import ClusterSpec
    with connect(ClusterSpec(address={address!r})) as there:
        print(there.client.submit(sum, [1, 2]).result())
"""
    environment = {
        "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(ca / "ca.pem"),
        "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT": str(ca / "client.pem"),
        "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY": str(ca / "client-key.pem"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


def test_connect__without_a_certificate_is_refused_before_a_word_is_sent(address: str) -> None:
    with connect(ClusterSpec(address=address)) as there, pytest.raises(SpecError, match="needs certificates: set tls_"):
        _ = there.client


def test_connect__a_certificate_of_another_ca_is_refused(address: str, ca: Path, tmp_path: Path) -> None:
    other = authority(tmp_path / "other")
    with (
        connect(certified(address, other, trusting=ca)) as there,
        pytest.raises(G2VError, match="the scheduler at tls://.* refuses us .* both be signed by tls_ca"),
    ):
        _ = there.client


def test_connect__in_plain_text_is_refused(address: str) -> None:
    with (
        connect(ClusterSpec(address=address.replace("tls", "tcp"))) as there,
        pytest.raises(G2VError, match="if it talks TLS, name it tls://"),
    ):
        _ = there.client


def test_scheduler__asks_for_a_certificate_itself(address: str, ca: Path) -> None:
    """The refusal is the scheduler's: a client that checks nothing gets no further."""
    context = ssl.create_default_context(cafile=str(ca / "ca.pem"))
    context.check_hostname = False
    host, port = address.removeprefix("tls://").split(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        pytest.raises(ssl.SSLError, match="certificate required|handshake failure"),
        context.wrap_socket(plain) as secured,
    ):
        secured.recv(1)


def test_run_spec__certificates_lie_beside_the_spec_file(tmp_path: Path) -> None:
    lines = ['store = "s"', "[cluster]", 'tls_ca = "ca.pem"', 'tls_cert = "c.pem"', 'tls_key = "k.pem"']
    (tmp_path / "run.toml").write_text("\n".join(lines))
    assert RunSpec.load(tmp_path / "run.toml").cluster.tls_key == str(tmp_path / "k.pem")


def test_cluster_spec__certificates_that_are_not_all_there(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="must be given together"):
        ClusterSpec(address="tls://127.0.0.1:1", tls_ca="ca.pem")
    absent = certified("tls://127.0.0.1:1", tmp_path)
    with connect(absent) as there, pytest.raises(SpecError, match="tls_ca cannot be read: No such file"):
        _ = there.client


def test_make_ca__keys_are_ours_alone_and_never_overwritten(ca: Path) -> None:
    assert {file.stat().st_mode & 0o777 for file in ca.iterdir()} == {0o600}
    assert len(list(ca.iterdir())) == 8
    before = (ca / "ca.pem").read_bytes()
    again = subprocess.run(["bash", str(SCRIPT), str(ca)], capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert "never overwritten" in again.stderr
    assert (ca / "ca.pem").read_bytes() == before
