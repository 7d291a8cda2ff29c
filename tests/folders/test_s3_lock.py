"""The lock of a store in a bucket where two try at once, where answers are lost, and where a service refuses."""

from __future__ import annotations

import http.client
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import botocore.exceptions
import pytest

from g2v_dask import schema
from g2v_dask.errors import StoreError
from g2v_dask.folders import desks, json_bytes, lease, open_folder, s3
from g2v_dask.folders.s3 import S3Folder
from g2v_dask.store import Store
from tests import buckets

WAIT_SECONDS = 60.0


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with buckets.serving() as there:
        yield there


@pytest.fixture
def url(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store without artifacts, and a cache of its own."""
    monkeypatch.setenv("G2V_CACHE", str(tmp_path / "cache"))
    desks.desk.cache_clear()
    where = buckets.new_bucket(endpoint)
    Store.open(where, create=True)
    return where


# -- two at once ----------------------------------------------------------------------------------------------

RACER = """
import sys
from g2v_dask.folders import lease
from g2v_dask.errors import StoreError
from g2v_dask.store import Store

lease.LEASE_SECONDS = 0.0  # whatever was left is stale
plain = lease.Lease._put

def put(self, who, tag):
    if who and self._tag is None:  # it has looked, and is about to take the lock
        lease.LEASE_SECONDS = 60.0
        print("looked", flush=True)
        sys.stdin.readline()
    return plain(self, who, tag)

lease.Lease._put = put
store = Store.open(sys.argv[1])
try:
    with store.lock():
        print("taken", flush=True)
        sys.stdin.readline()
        store.point("pairs", "x", sys.argv[2] * 64, tag=store.head_tag("pairs", "x"))
        print("moved", flush=True)
except StoreError as error:
    print(f"refused: {error}", flush=True)
"""


class Racer:
    """A process that finds the lock stale, and takes it when told to."""

    def __init__(self, url: str, word: str) -> None:
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", RACER, url, word]
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def hears(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


@pytest.fixture
def racers(url: str) -> Iterator[tuple[Racer, Racer]]:
    """Two, of which each has seen the lock that a dead process left."""
    left = {"who": "process 1 on elsewhere, since 2020-01-01 00:00:00", "lease": "l", "token": "t"}
    open_folder(url).write(lease.NAME, json_bytes(left))
    both = Racer(url, "a"), Racer(url, "b")
    try:
        assert [racer.hears() for racer in both] == ["looked", "looked"]
        yield both
    finally:
        for racer in both:
            racer.process.kill()
            racer.process.communicate()


@pytest.mark.parametrize("first", [0, 1])
def test_lock__of_two_that_find_it_stale_one_takes_it_over(url: str, racers: tuple[Racer, Racer], first: int) -> None:
    winner, loser = racers[first], racers[1 - first]
    winner.tell()
    assert winner.hears() == "taken"
    loser.tell()
    refused = loser.hears()
    assert refused.startswith(f"refused: the store {url} is in use by process {winner.process.pid} on ")
    assert refused.endswith("; wait for it, or stop it")
    assert loser.process.communicate(timeout=WAIT_SECONDS) == ("", "")
    winner.tell()
    assert winner.hears() == "moved"
    assert winner.process.wait(timeout=WAIT_SECONDS) == 0
    assert Store.open(url).head("pairs", "x") == "ab"[first] * 64
    with Store.open(url).lock():  # given back
        pass


# -- answers that are lost ------------------------------------------------------------------------------------


@contextmanager
def answers_lost(endpoint: str, lost: list[str]) -> Iterator[str]:
    """A way to a service on which the answers to PUTs of these names are lost, each once; the PUTs are done."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            there = http.client.HTTPConnection(endpoint.removeprefix("http://"))
            there.request(self.command, self.path, body, dict(self.headers))
            answer = there.getresponse()
            data = answer.read()
            there.close()
            name = self.path.rpartition("/")[2]
            if self.command == "PUT" and name in lost:
                lost.remove(name)
                self.close_connection = True
                return
            self.send_response_only(answer.status)
            for key, value in answer.getheaders():
                if key.lower() not in ("transfer-encoding", "connection"):
                    self.send_header(key, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass_on  # noqa: N815  (the base class names them)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with served(Handler) as there:
        yield there


@contextmanager
def served(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """The endpoint of a server of one's own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_lock__each_answer_is_lost_once_on_the_way(url: str, endpoint: str) -> None:
    """Taking, renewing, HEAD and giving back: boto3 asks again, and is told that it is too late."""
    lost: list[str] = []
    with answers_lost(endpoint, lost) as there:
        store = Store.open(url.replace(endpoint, there))
        lost.append(lease.NAME)
        with store.lock():
            assert lost == []
            lost.append(lease.NAME)
            store.root.check_lock()
            assert lost == []
            lost.append("HEAD")
            store.point("pairs", "x", "a" * 64, tag=None)
            assert lost == []
            lost.append(lease.NAME)
        assert lost == []
    assert Store.open(url).head("pairs", "x") == "a" * 64
    with Store.open(url).lock():
        pass


class Deaf:
    """A client whose PUTs go through, while the next answers to them are lost."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.lost = 0

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        def ask(**how: Any) -> Any:
            answer = getattr(self.client, verb)(**how)
            if verb == "put_object" and self.lost:
                self.lost -= 1
                raise botocore.exceptions.ConnectionClosedError(endpoint_url=str(how["Key"]))
            return answer

        return ask


@pytest.fixture
def deaf(url: str, monkeypatch: pytest.MonkeyPatch) -> Deaf:
    """What this process asks the service with."""
    client = Deaf(s3._client(S3Folder.of(url).endpoint))
    monkeypatch.setattr(s3, "_client", lambda _: client)
    return client


@pytest.mark.parametrize("lost", [1, 3])
def test_renew__whose_answers_were_lost_has_renewed(url: str, deaf: Deaf, lost: int) -> None:
    """The lock is another object than this process knows of, yet its own."""
    store = Store.open(url)
    with store.lock():
        deaf.lost = lost
        for _ in range(lost):
            with pytest.raises(StoreError, match="the object store does not answer as expected; try again"):
                store.root.check_lock()
        store.root.check_lock()
        tag = store.head_tag("pairs", "x")
        store.point("pairs", "x", "a" * 64, tag=tag)
    assert Store.open(url).head("pairs", "x") == "a" * 64
    with store.lock():  # given back, too
        pass


def test_free__whose_answer_was_lost_has_freed(url: str, deaf: Deaf) -> None:
    store = Store.open(url)
    with store.lock():
        deaf.lost = 1
    with store.lock():
        pass


def test_renew__whose_answer_was_lost_and_then_the_lock(url: str, deaf: Deaf) -> None:
    """Another has taken over after that: what it holds is not taken for one's own."""
    store = Store.open(url)
    with store.lock():
        deaf.lost = 1
        with pytest.raises(StoreError, match="does not answer"):
            store.root.check_lock()
        other = {"who": "process 2 on elsewhere", "lease": "another", "token": "t"}
        store.root.write(lease.NAME, json_bytes(other))
        for _ in range(2):
            with pytest.raises(StoreError, match="was taken over by process 2 on elsewhere"):
                store.root.check_lock()
    assert b"process 2 on elsewhere" in (store.root.read(lease.NAME) or b"")


# -- what a service says --------------------------------------------------------------------------------------

REFUSAL = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>NotImplemented</Code>'
    b"<Message>A header you provided implies functionality that is not implemented</Message></Error>"
)


class Refusing(BaseHTTPRequestHandler):
    """A service that holds a store, and answers 501 to a conditional PUT."""

    body = REFUSAL
    protocol_version = "HTTP/1.1"

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"1"')
        self.send_header("Last-Modified", self.date_time_string())
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self._answer(200, json_bytes({"format": schema.FORMAT_VERSION, "tile": 2048}))

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(501, self.body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(200, b"<DeleteResult/>")

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.parametrize("body", [REFUSAL, b""], ids=["with a reason", "bare"])
def test_lock__a_service_that_answers_501_is_refused_with_the_reason(endpoint: str, body: bytes) -> None:
    assert endpoint  # its credentials
    with served(type("Handler", (Refusing,), {"body": body})) as there:
        store = Store.open(f"s3://genes/store?endpoint_url={there}")
        said = r"the object store answers (NotImplemented|501): it has no conditional writes, so two writers could meet"
        with pytest.raises(StoreError, match=said), store.lock():
            pass


# -- what others leave in a bucket ----------------------------------------------------------------------------
