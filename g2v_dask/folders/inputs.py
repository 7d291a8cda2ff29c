"""Files that users name: on a file system, or in a bucket."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from g2v_dask.errors import SpecError
from g2v_dask.files import digest_of
from g2v_dask.folders import Folder, LocalFolder, open_folder
from g2v_dask.spec import expand_files


@dataclass(frozen=True, kw_only=True)
class Input:
    """A file to read. Every machine that needs one of a bucket brings a copy to its own desk."""

    url: str
    """What names it: a path, or ``s3://...``."""
    folder: Folder
    name: str

    def path(self) -> Path:
        """The file, or its copy on this machine.

        Raises: FileNotFoundError if it is not there.
        """
        return self.folder.fetch(self.name)


def find(patterns: Iterable[str]) -> tuple[Input, ...]:
    """The files that paths, URLs and glob patterns name, each once, sorted within a pattern.

    Raises: SpecError for one that names nothing.
    """
    found: dict[str, Input] = {}
    for pattern in patterns:
        for file in _in_bucket(pattern) if "://" in pattern else map(_local, expand_files([pattern])):
            found.setdefault(file.url, file)
    files = tuple(found.values())
    if files:  # those of a bucket are asked for and brought at once
        files = tuple(files[-1].folder.together(_marked, files))
        files[-1].folder.together(Input.path, files)
    return files


def _local(path: Path) -> Input:
    return Input(url=str(path), folder=LocalFolder(path.parent), name=path.name)


def _in_bucket(pattern: str) -> list[Input]:
    """The objects that a URL names; ``*`` and ``[...]`` as in a shell, not across ``/``."""
    where, mark, query = pattern.partition("?endpoint_url=")
    fixed = re.split(r"[*\[]", where, maxsplit=1)[0]
    base, _, _ = fixed.rpartition("/")
    folder = open_folder(base + mark + query)
    wanted = where[len(base) + 1 :]
    if fixed == where:
        return [Input(url=(folder / wanted).url, folder=folder, name=wanted)]
    names = [n for n in folder.sizes() if _matches(n, wanted)]
    if not names:
        msg = f"no such file: {pattern}"
        raise SpecError(msg)
    return [Input(url=(folder / name).url, folder=folder, name=name) for name in names]


def _matches(name: str, pattern: str) -> bool:
    return name.count("/") == pattern.count("/") and fnmatch.fnmatchcase(name, pattern)


def _marked(file: Input) -> Input:
    """Copies are those of what an object holds now.

    Raises: SpecError if it is not there.
    """
    if file.folder.is_local:
        return file
    tag = file.folder.tag(file.name)
    if tag is None:
        msg = f"no such file: {file.url}"
        raise SpecError(msg)
    return replace(file, folder=file.folder.marked(digest_of(tag)[:12]))


def holding(url: str, prefix: str) -> Folder:
    """The folder of a path or URL; its files whose names begin so lie on its desk."""
    folder = open_folder(url)
    if folder.is_local:
        return folder
    names = [name for name in folder.names() if name.startswith(prefix)]
    copies = folder.marked(digest_of(folder.together(folder.tag, names))[:12])
    copies.fetch(*names)
    return copies
