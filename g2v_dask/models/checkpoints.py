"""Checkpoints of a trainer that makes many passes in one part."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2v_dask.errors import StoreError
from g2v_dask.files import digest_of, placed
from g2v_dask.folders import Folder

KEPT = 2
"""Checkpoints that stay: the newest, and one before it should the newest be damaged."""


class Checkpoints:
    """The state of a run after some of its passes, in a folder; only what was made alike is resumed."""

    def __init__(self, folder: Folder, *about: Any) -> None:
        """``about``: what a checkpoint must have been made with; JSON-ready."""
        self._folder = folder
        self._identity = digest_of(about)

    def save(self, passes: int, **state: Any) -> Path:
        """Puts the state after so many passes in place, and removes old ones."""
        name = f"iteration-{passes:05d}.npz"
        path = self._folder.desk / name
        with placed(path) as part:
            np.savez(part, allow_pickle=False, identity=np.array(self._identity), **state)
        self._folder.send(name)
        self._folder.remove(*self._names()[KEPT:])
        return path

    def newest(self) -> dict[str, NDArray[Any]] | None:
        """The newest state that is whole and ours."""
        for name in self._names():
            try:
                with self._folder.fetch(name).open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                    held = {key: file[key] for key in file.files}
            except StoreError:
                raise  # a service that is away says nothing of what it holds
            except (OSError, ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
                continue  # damaged, or removed meanwhile: the one before it serves
            if str(held.pop("identity", "")) == self._identity:
                return held
        return None

    def _names(self) -> list[str]:
        """Newest first."""
        return sorted((n for n in self._folder.names() if n.startswith("iteration-")), reverse=True)
