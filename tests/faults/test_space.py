"""A full disk, a store that cannot be written: one clear error, the store as before, and it works once that is mended.

The disk is a small tmpfs where mounting is allowed; elsewhere a limit on the length of files stands for it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults import runs
from tests.faults.conftest import Scene
from tests.shell import g2v

DISK_BYTES = 64 << 20
PAGE_BYTES = 4096
STAGES = ["ingest", "pairs", "merge", "skipgram", "glove"]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[bool]:
    """Makes ``store`` a disk of its own; whether that was allowed."""
    folder = tmp_path / "store"
    folder.mkdir()
    mounted = mount(folder, "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs")
    yield mounted
    if mounted:
        subprocess.run(["umount", folder], check=True)


def mount(folder: Path, *how: str) -> bool:
    """Whether mounting went well."""
    return os.getuid() == 0 and subprocess.run(["mount", *how, folder], check=False).returncode == 0


@pytest.mark.parametrize("scene", STAGES, indirect=True)
def test_disk_full__the_command_says_so_and_works_after_space_is_made(disk: bool, scene: Scene) -> None:
    whole = [key for stage in runs.STAGES.values() for key in stage.makes]
    others = [key for key in whole if key not in runs.STAGES[scene.stage].makes]
    before = runs.contents(scene.store, *others)
    pages = runs.chance("disk full", scene.stage).choice([2, 3, 4, 6])
    address = scene.machine.ensure()
    if disk:
        ballast = scene.store / "ballast"
        fill(ballast, pages)
        message = runs.run(scene.stage, scene.data, scene.store, address).fails(1)
        assert "No space left on device" in message
        assert "make space" in message
        ballast.unlink()
    else:
        words = (*runs.words(scene.stage, scene.data), "--store", scene.store, "-q", "--cluster-workers", 1)
        message = runs.Program.start(*words, file_bytes=pages * 512).fails(1)
        assert "File too large" in message
    assert runs.half_written(scene.store) == []
    assert runs.contents(scene.store, *others) == before
    for key in runs.STAGES[scene.stage].makes:
        assert not (scene.store / key / "HEAD").exists()
    runs.run(scene.stage, scene.data, scene.store, address).finish()
    assert runs.contents(scene.store) == runs.contents(scene.undisturbed)


def fill(ballast: Path, pages: int) -> None:
    """All of the disk but some pages."""
    room = os.statvfs(ballast.parent)
    with ballast.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, (room.f_bavail - pages) * room.f_frsize)


@pytest.mark.parametrize("scene", STAGES, indirect=True)
def test_read_only_store__the_command_says_so_and_readers_go_on(disk: bool, scene: Scene) -> None:
    before = runs.files(scene.store)
    assert read_only(scene.store, mounted=disk)
    try:
        answer = g2v(*runs.words(scene.stage, scene.data), "--store", scene.store, "-q")
        assert answer.code == 1
        assert answer.err.count("\n") == 1
        assert "cannot be written" in answer.err
        assert g2v("ls", "--store", scene.store).code == 0
        assert g2v("similar", "TP53", "--name", "svd", "--store", scene.store).code in (0, 2)  # the gene may be unknown
        assert runs.files(scene.store) == before
    finally:
        assert writable(scene.store, mounted=disk)
    runs.run(scene.stage, scene.data, scene.store, scene.machine.ensure()).finish()
    keys = runs.STAGES[scene.stage].makes
    assert runs.contents(scene.store, *keys) == runs.contents(scene.undisturbed, *keys)


def read_only(folder: Path, *, mounted: bool) -> bool:
    """Takes the right to write; modes do not bind root, but a mount does."""
    return mount(folder, "-o", "remount,ro") if mounted else _modes(folder, "a-w")


def writable(folder: Path, *, mounted: bool) -> bool:
    """Gives it back."""
    return mount(folder, "-o", "remount,rw") if mounted else _modes(folder, "u+w")


def _modes(folder: Path, change: str) -> bool:
    return os.getuid() != 0 and subprocess.run(["chmod", "-R", change, folder], check=False).returncode == 0
