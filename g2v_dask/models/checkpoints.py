"""Checkpoints of a trainer that makes many passes in one part."""

from __future__ import annotations

import os
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2v_dask.files import digest_of

KEPT = 2
"""Checkpoints that stay: the newest, and one before it should the newest be damaged."""


class Checkpoints:
    """The state of a run after some of its passes, in a folder; only what was made alike is resumed."""

    def __init__(self, folder: Path, *about: Any) -> None:
        """``about``: what a checkpoint must have been made with; JSON-ready."""
        self._folder = folder
        self._identity = digest_of(about)

    def save(self, passes: int, **state: Any) -> Path:
        """Puts the state after so many passes in place by rename, and removes old ones."""
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix="new-", delete=False) as file:
            np.savez(file, allow_pickle=False, identity=np.array(self._identity), **state)
        path = self._folder / f"iteration-{passes:05d}.npz"
        os.replace(file.name, path)
        for old in self._paths()[KEPT:]:
            old.unlink(missing_ok=True)
        return path

    def newest(self) -> dict[str, NDArray[Any]] | None:
        """The newest state that is whole and ours."""
        for path in self._paths():
            try:
                with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                    held = {name: file[name] for name in file.files}
            except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
                continue  # damaged, or removed meanwhile: the one before it serves
            if str(held.pop("identity", "")) == self._identity:
                return held
        return None

    def _paths(self) -> list[Path]:
        """Newest first."""
        return sorted(self._folder.glob("iteration-*.npz"), reverse=True)
