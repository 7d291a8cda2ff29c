"""Where files of a bucket lie on this machine: those just made, and copies of those that were read.

::

    <cache>/<bucket>-<hash>/<mark>/<key>

``G2V_CACHE`` names the cache [~/.cache/g2v_dask]. What a mark names never changes; what was not used for a week goes.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import time
from pathlib import Path

KEPT_SECONDS = 7 * 24 * 3600
_STAMP = ".used"


def cache() -> Path:
    """The cache of this user."""
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.environ.get("G2V_CACHE") or f"{home}/g2v_dask").expanduser()


@functools.lru_cache(maxsize=4096)
def desk(bucket: str, mark: str) -> Path:
    """The folder of one mark. The first use in a process says that it is used, and sweeps out others."""
    place = cache() / bucket
    _sweep(place)
    folder = place / mark
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _STAMP).touch()
    return folder


@functools.lru_cache(maxsize=64)
def _sweep(place: Path) -> None:
    """Removes what nobody has used for a week."""
    for folder in place.iterdir() if place.is_dir() else ():
        stamp = folder / _STAMP
        with contextlib.suppress(FileNotFoundError):  # another sweeps too
            used = stamp.stat().st_mtime if stamp.exists() else folder.stat().st_mtime
            if time.time() - used > KEPT_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def forget(bucket: str, key: str) -> None:
    """Removes what lies on the desks of a folder, under whatever mark."""
    for folder in (cache() / bucket).glob(f"*/{key}"):
        shutil.rmtree(folder, ignore_errors=True)
