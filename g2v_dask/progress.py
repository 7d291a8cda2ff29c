"""How a person follows work: bars in a terminal, plain lines elsewhere, nothing when quiet. On stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

PLAIN_SECONDS = 5.0  # between two plain lines of one stage


@dataclass
class Display:
    """Shows stages and their parts."""

    quiet: bool = False
    console: Console = field(default_factory=lambda: Console(stderr=True, highlight=False))
    _progress: Progress | None = None
    _bars: dict[str, Any] = field(default_factory=dict)
    _stage: str = ""
    _started: float = 0.0
    _said: float = 0.0
    _done: int = 0
    _total: int = 0

    def say(self, text: str) -> None:
        """One line."""
        if not self.quiet:
            self.console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def stage(self, name: str, *, total: int, done: int) -> Iterator[None]:
        """A stage of so many parts, of which some are done already."""
        self._stage, self._total, self._done = name, total, done
        self._started = self._said = time.monotonic()
        if self.quiet or not self.console.is_terminal:
            yield
            return
        columns = (
            TextColumn("{task.description:<40.40}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console) as progress:
            self._progress = progress
            self._bars = {name: progress.add_task(name, total=total, completed=done, rate="")}
            try:
                yield
            finally:
                self._progress, self._bars = None, {}

    def grow(self, parts: int) -> None:
        """So many more parts were found to be needed."""
        self._total += parts

    def advance(self, label: str) -> None:
        """A part is done."""
        self._done += 1
        seconds = max(time.monotonic() - self._started, 1e-9)
        rate = f"{self._done / seconds:.1f}/s"
        if self._progress is not None:
            self._progress.update(self._bars[self._stage], completed=self._done, total=self._total, rate=rate)
            if label in self._bars and label != self._stage:
                self._progress.remove_task(self._bars.pop(label))
        elif time.monotonic() - self._said > PLAIN_SECONDS:
            self._said = time.monotonic()
            left = (self._total - self._done) * seconds / self._done
            self.say(f"  {self._stage}: {self._done}/{self._total} parts, {rate}, about {left:.0f} s left")

    def inside(self, event: dict[str, Any]) -> None:
        """How far one long part is."""
        label, done, total, note = event["label"], event["done"], event["total"], event["note"]
        if self._progress is not None:
            if label not in self._bars:
                self._bars[label] = self._progress.add_task(f"  {label}", total=total, rate="")
            self._progress.update(self._bars[label], completed=done, total=total, rate=note)
        elif self._stage and time.monotonic() - self._said > PLAIN_SECONDS:
            self._said = time.monotonic()
            self.say(f"  {label}: {done}/{total} {note}")
