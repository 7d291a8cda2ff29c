"""A real browser, without a window: Chromium, told by its DevTools protocol over a pipe what to open.

Messages are JSON, each ended by a zero byte (``--remote-debugging-pipe``): so no port, and no library. Nothing can
leave the machine: names resolve to nothing, and what a page asks for is noted besides.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SECONDS = 60  # for an answer; a page of ours takes a tenth of one
FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)


@dataclass(kw_only=True)
class Visit:
    """What came of opening a page."""

    errors: list[str] = field(default_factory=list)
    """What the console shows as an error, and exceptions."""
    requests: list[str] = field(default_factory=list)
    """Addresses that were asked for besides the page itself and what is in it (``data:``)."""
    width: int = 0
    """Of the page's content, in CSS pixels: more than the window's is a horizontal scroll."""
    headings: list[str] = field(default_factory=list)
    broken: int = 0
    """Pictures that could not be decoded."""
    smallest: float = 0.0
    """The least size of text, in CSS pixels."""
    picture: bytes = b""


LOOK = """({
  width: document.documentElement.scrollWidth,
  headings: [...document.querySelectorAll('h1, h2')].map(h => h.textContent),
  broken: [...document.images].filter(i => !i.complete || i.naturalWidth === 0).length,
  smallest: Math.min(...[...document.querySelectorAll('body *')].map(e => parseFloat(getComputedStyle(e).fontSize)))
})"""


class Browser:
    """One Chromium."""

    def __init__(self, process: subprocess.Popen[bytes], told: int, said: int) -> None:
        self._process, self._told, self._said = process, told, said
        self._number = 0
        self._rest = b""
        self._events: list[dict[str, Any]] = []

    def visit(self, file: Path, *, width: int, height: int = 900, phone: bool = False) -> Visit:
        """Opens a page in a window of that size; ``phone``: as a phone shows it."""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._call(f"{domain}.enable", session)
        self._call(
            "Emulation.setDeviceMetricsOverride",
            session,
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        self._events.clear()
        self._call("Page.navigate", session, url=file.absolute().as_uri())
        self._wait("Page.loadEventFired")
        found = self._call("Runtime.evaluate", session, expression=LOOK, returnByValue=True)["result"]["value"]
        shot = self._call("Page.captureScreenshot", session, captureBeyondViewport=True)
        visit = Visit(**found, picture=base64.b64decode(shot["data"]))
        for event in self._events:
            _note(visit, event["method"], event["params"], file.absolute().as_uri())
        self._call("Target.closeTarget", targetId=target)
        return visit

    def _call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._told, json.dumps(message).encode() + b"\0")
        number = self._number
        answer = self._until(lambda m: m.get("id") == number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def _wait(self, event: str) -> None:
        if not any(e["method"] == event for e in self._events):
            self._until(lambda m: m.get("method") == event)

    def _until(self, wanted: Any) -> dict[str, Any]:
        """The next message of a kind; events on the way are kept."""
        end = time.monotonic() + SECONDS
        while True:
            message = self._next(end)
            if "method" in message:
                self._events.append(message)
            if wanted(message):
                return message

    def _next(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            assert select.select([self._said], [], [], max(0.0, end - time.monotonic()))[0], "Chromium does not answer"
            more = os.read(self._said, 1 << 20)
            assert more, f"Chromium ended with {self._process.poll()}"
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        return message


def _note(visit: Visit, method: str, params: dict[str, Any], page: str) -> None:
    if method == "Network.requestWillBeSent":
        url = params["request"]["url"]
        if url.partition("#")[0] != page and not url.startswith("data:"):
            visit.requests.append(url)
    elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
        visit.errors.append(params["entry"]["text"])
    elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
        visit.errors.append(str(params["args"]))
    elif method == "Runtime.exceptionThrown":
        visit.errors.append(params["exceptionDetails"]["text"])


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are none of the descriptors that the browser's own take."""
    low = os.pipe()
    read, write = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in low)
    for end in low:
        os.close(end)
    return read, write


@contextmanager
def browser(program: str) -> Iterator[Browser]:
    """A Chromium that ends with the block. It reads its orders from descriptor 3, and answers on 4."""
    (orders, told), (said, answers) = _pipe(), _pipe()
    with tempfile.TemporaryDirectory(prefix="g2v-browser-", ignore_cleanup_errors=True) as profile:
        flags = [*FLAGS, f"--user-data-dir={profile}", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
        process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{orders} 4>&{answers}', "chromium", program, *flags],
            pass_fds=(orders, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(orders)
        os.close(answers)
        opened = Browser(process, told, said)
        try:
            yield opened
            opened._call("Browser.close")
        finally:
            os.close(told)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(said)
