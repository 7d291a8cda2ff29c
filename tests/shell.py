"""The `g2v` program, called in this process, as a shell would see it."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass

from g2v_dask import cli


@dataclass(frozen=True)
class Answer:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str


def g2v(*words: object) -> Answer:
    """Runs `g2v` with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    with _arguments([str(w) for w in words]), redirect_stdout(out), redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
    return Answer(code, out.getvalue(), err.getvalue())


@contextmanager
def _arguments(words: list[str]) -> Iterator[None]:
    before, handler = sys.argv, signal.getsignal(signal.SIGTERM)
    sys.argv = ["g2v", *words]
    try:
        yield
    finally:
        sys.argv = before
        signal.signal(signal.SIGTERM, handler)
