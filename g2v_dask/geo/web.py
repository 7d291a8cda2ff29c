"""Requests that are polite and patient: rates kept, faults tried again after a while, time-outs on everything."""

from __future__ import annotations

import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

import requests
import urllib3
from urllib3.util.retry import Retry

T = TypeVar("T")

AGENT = "g2v_dask"
CONNECT_SECONDS = 15.0
BACKOFF_SECONDS = 1.0  # before the second try; doubles with each
LONGEST_SECONDS = 120.0  # that is waited between two tries, whatever a server asks for
SLOWEST = 1000  # bytes a second; a body that comes slower is given up
PIECE = 1 << 16
AGAIN = (403, 408, 416, 425, 429)  # 403: NCBI sheds load with it; 416: what was begun is longer than the file

BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)


class StoppedError(Exception):
    """The run was asked to end."""


class WebError(Exception):
    """A server did not give what was asked for.

    The texts hold no query: it may hold an API key.
    """

    def __init__(self, text: str, *, status: int | None = None, after: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        """Of HTTP; None for what broke otherwise."""
        self.after = after
        """Seconds that the server asked to be left alone."""

    @property
    def gone(self) -> bool:
        """Whether it is not there."""
        return self.status in (404, 410)

    @property
    def again(self) -> bool:
        """Whether to try again."""
        return self.status is None or self.status in AGAIN or self.status >= 500


@dataclass
class Pace:
    """Requests a second, over all threads."""

    seconds: float
    """Between two."""
    _next: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, stop: threading.Event) -> None:
        """Returns when it is one's turn."""
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self.seconds
        stop.wait(turn - now)


@dataclass
class Web:
    """What all requests of a run share."""

    tries: int
    timeout_seconds: float
    pace: Pace | None = None
    """For requests that say ``paced``: NCBI's programs, not its files."""
    stop: threading.Event = field(default_factory=threading.Event)
    _own: threading.local = field(default_factory=threading.local)

    def patiently(self, ask: Callable[[], T]) -> T:
        """What ``ask`` gives; it is asked again, after a while, as long as its WebError allows.

        Waits as long as the server says (``Retry-After``), else twice as long each time, with jitter.

        Raises: WebError, the last one; StoppedError.
        """
        for count in range(1, self.tries + 1):
            try:
                return ask()
            except WebError as fault:
                if not fault.again or count == self.tries:
                    raise
                backoff = BACKOFF_SECONDS * 2 ** (count - 1) * random.uniform(0.5, 1.5)
                self.stop.wait(min(LONGEST_SECONDS, backoff if fault.after is None else fault.after))
        raise AssertionError

    @contextmanager
    def opened(
        self,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        paced: bool = False,
    ) -> Iterator[requests.Response]:
        """An answer whose body is not read yet; a ``form`` is posted, so that it is in no URL.

        Raises: WebError for anything but success and 304.
        """
        if paced and self.pace is not None:
            self.pace.wait(self.stop)
        self.go_on()
        where = shown(url)
        try:
            response = self._session().request(
                "GET" if form is None else "POST",
                url,
                params=query,
                data=form,
                headers=headers,
                stream=True,
                allow_redirects=form is None,  # a form may hold a key: it goes to no other host
                timeout=(min(CONNECT_SECONDS, self.timeout_seconds), self.timeout_seconds),
            )
        except BROKEN as error:
            msg = f"{where}: {reason(error)}"
            raise WebError(msg) from None
        with response:
            if response.status_code != 304 and not response.ok:
                raise _refused(where, response)
            yield response

    def pieces(self, response: requests.Response, where: str) -> Iterator[bytes]:
        """The body as it comes, not decoded.

        Raises: WebError if it breaks off, stands still, or crawls; StoppedError.
        """
        started, got = time.monotonic(), 0
        while True:
            self.go_on()
            try:
                piece = response.raw.read1(PIECE, decode_content=False)
            except BROKEN as error:
                msg = f"{where}: {reason(error)} after {got:,} bytes"
                raise WebError(msg) from None
            if not piece:
                return
            got += len(piece)
            if time.monotonic() - started > self.timeout_seconds + got / SLOWEST:
                msg = f"{where}: slower than {SLOWEST:,} bytes a second; given up after {got:,} bytes"
                raise WebError(msg)
            yield piece

    def body(
        self,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
        paced: bool = False,
    ) -> bytes:
        """A small document, whole; asked for once."""
        with self.opened(url, query=query, form=form, headers={"Accept-Encoding": "identity"}, paced=paced) as got:
            whole = b"".join(self.pieces(got, shown(url)))
            check_length(shown(url), len(whole), got.headers.get("Content-Length"))
            return whole

    def go_on(self) -> None:
        """Raises StoppedError if the run was asked to end."""
        if self.stop.is_set():
            raise StoppedError

    def _session(self) -> requests.Session:
        """A session is one thread's."""
        if not hasattr(self._own, "session"):
            self._own.session = requests.Session()
            self._own.session.headers["User-Agent"] = AGENT
        session: requests.Session = self._own.session
        return session


def shown(url: str) -> str:
    """A URL without its query, for messages."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def check_length(where: str, got: int, expected: str | None) -> None:
    """Raises WebError if a body is not as long as was said."""
    if expected is not None and expected.isdigit() and int(expected) != got:
        msg = f"{where}: expected {int(expected):,} bytes, got {got:,}"
        raise WebError(msg)


def reason(error: Exception) -> str:
    """What broke, in words that hold no URL."""
    text = f"{type(error).__name__} {error}"
    if "imeout" in text or "timed out" in text:
        return "no answer in time"
    if isinstance(error, requests.exceptions.SSLError) or "CERTIFICATE" in text:
        return "its certificate is not trusted"
    if "NameResolution" in text or "getaddrinfo" in text:
        return "no such host"
    if "refused" in text:
        return "connection refused"
    if any(word in text for word in ("reset", "IncompleteRead", "aborted", "RemoteDisconnected", "Broken pipe")):
        return "connection broken off"
    return f"connection failed ({type(error).__name__})"


def _refused(where: str, response: requests.Response) -> WebError:
    text = f"{where}: {response.status_code} {response.reason}".rstrip()
    return WebError(text, status=response.status_code, after=_after(response))


def _after(response: requests.Response) -> float | None:
    """Retry-After, which is seconds or a date."""
    value = response.headers.get("Retry-After")
    if value is None:
        return None
    try:
        return Retry().parse_retry_after(value)
    except urllib3.exceptions.InvalidHeader:
        return None
