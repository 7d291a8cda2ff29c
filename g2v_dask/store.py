"""The store: immutable artifacts in a folder, and which of them is current.

::

    <store>/g2v.json                                 format version, tile size
    <store>/<kind>/<name>/<digest12>/manifest.json   what it is, from what, and its files' sha256
                                    /data.*          the data, and nothing else
    <store>/<kind>/<name>/HEAD                       names the current digest; written last
    <store>/.work/<digest12>/                        owner, receipts and state of work under way
    <store>/.quarantine/<kind>/<name>.json           an input that was refused, and why
    <store>/.lock                                    one writer at a time

What has no manifest does not exist. Every file is put in place by rename.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from g2v_dask import schema
from g2v_dask.errors import SpecError, StoreError
from g2v_dask.files import file_sha256, read_json, write_json
from g2v_dask.options import check_name, nearest

TILE = 2048  # genes; 16 MiB of uint32 a tile
YOUNG_SECONDS = 24 * 3600  # gc leaves work alone that was touched since


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One committed result."""

    kind: str
    name: str
    digest: str
    path: Path
    manifest: Mapping[str, Any]

    @property
    def key(self) -> str:
        """``kind/name``."""
        return f"{self.kind}/{self.name}"

    @property
    def files(self) -> list[Path]:
        """Its files: those that the manifest names, whatever else lies there."""
        return [self.path / f["path"] for f in self.manifest["files"]]

    def damage(self) -> str | None:
        """The first of its files that is missing or of another length, in words; None if it is whole.

        Looks at names and lengths only: what is changed in place shows when the file is decoded.
        """
        for entry in self.manifest["files"]:
            file = self.path / entry["path"]
            size = file.stat().st_size if file.is_file() else None
            if size != entry["bytes"]:
                return f"{file} is missing" if size is None else f"{file} has {size} bytes, expected {entry['bytes']}"
        return None

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the stage says of the result."""
        facts: Mapping[str, Any] = self.manifest["facts"]
        return facts

    @property
    def title(self) -> str:
        """The name before characters were replaced."""
        return str(self.manifest["title"])


@dataclass(frozen=True)
class Store:
    """A store that is open; cheap to make and to send to a worker."""

    root: Path
    tile: int

    # -- opening ----------------------------------------------------------------------------------------

    @classmethod
    def open(cls, url: str | Path, *, create: bool = False, imagine: bool = False) -> Store:
        """The store in a folder; ``create`` makes it where there is none, ``imagine`` goes without.

        Raises: StoreError if it is a file, not a store, absent, or of another format version.
        """
        text = str(url)
        if "://" in text and not text.startswith("file://"):
            msg = f"a store is a local folder; {text.split('://')[0]}:// is not supported"
            raise StoreError(msg)
        root = Path(text.removeprefix("file://")).expanduser().absolute()
        if root.exists() and not root.is_dir():
            msg = f"a store is a folder, but {root} is a file; name another folder"
            raise StoreError(msg)
        found = read_json(root / "g2v.json")
        if found is None:
            return cls._absent(root, create=create, imagine=imagine)
        version = found.get("format")
        if version != schema.FORMAT_VERSION:
            msg = (
                f"the store {root} has format {version}; this g2v_dask reads format "
                f"{schema.FORMAT_VERSION}. Install one that knows format {version}, or use another store."
            )
            raise StoreError(msg)
        return cls(root=root, tile=int(found["tile"]))

    @classmethod
    def _absent(cls, root: Path, *, create: bool, imagine: bool) -> Store:
        # what a first command leaves that was killed between two breaths
        ours = re.compile(r"\.lock|\..*\.partial.*")
        strangers = sorted(p.name for p in root.iterdir() if not ours.fullmatch(p.name)) if root.is_dir() else []
        if strangers or not (create or imagine):
            hint = f"it holds {strangers[0]!r} and no g2v.json" if strangers else "there is nothing"
            msg = f"no store at {root}: {hint}. 'g2v ingest FILES... --store FOLDER' makes one in a new folder."
            raise StoreError(msg)
        if create:
            write_json(root / "g2v.json", {"format": schema.FORMAT_VERSION, "tile": TILE})
        return cls(root=root, tile=TILE)

    def exists(self) -> bool:
        """Whether it is on the disk, or only imagined."""
        return (self.root / "g2v.json").exists()

    def unmake(self) -> None:
        """Takes a store away again that holds no artifact and no word about one."""
        if not any((self.root / kind).exists() for kind in (*schema.KINDS, ".quarantine", ".work")):
            for name in (".lock", "g2v.json"):
                (self.root / name).unlink(missing_ok=True)
            if not any(self.root.iterdir()):
                self.root.rmdir()

    # -- artifacts ---------------------------------------------------------------------------------------

    def folder(self, kind: str, name: str, digest: str) -> Path:
        """Where an artifact lies, committed or not."""
        return self.root / kind / check_name(name) / digest[:12]

    def head(self, kind: str, name: str) -> str | None:
        """The digest that is current under a name."""
        found = read_json(self.root / kind / check_name(name) / "HEAD")
        return None if found is None else str(found["digest"])

    def committed(self, kind: str, name: str, digest: str) -> Artifact | None:
        """The artifact of that digest, if it was ever finished."""
        path = self.folder(kind, name, digest)
        manifest = read_json(path / "manifest.json")
        if manifest is None or manifest["digest"] != digest:
            return None
        return Artifact(kind=kind, name=name, digest=digest, path=path, manifest=manifest)

    def get(self, kind: str, name: str) -> Artifact:
        """The current artifact of a name or of a title.

        Raises: SpecError for a name that is not there, listing those that are.
        """
        artifact = self._current(kind, self._name(kind, name))
        damage = artifact.damage()
        if damage is not None:
            msg = f"{artifact.key} is damaged: {damage}; run the command that made it again, it will be made anew"
            raise StoreError(msg)
        return artifact

    def _name(self, kind: str, text: str) -> str:
        """The name that a user means: that of an artifact, or of the one with that title."""
        if text == Path(text).name and (self.root / kind / text / "HEAD").exists():
            return text
        titled = [a.name for a in self.artifacts(kind) if a.title == text]
        if not titled:
            names = self.names(kind)
            have = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "none"
            msg = f"no {kind} named {text!r} in {self.root}{nearest(text, names)}; there are: {have}"
            raise SpecError(msg)
        return titled[0]

    def _current(self, kind: str, name: str) -> Artifact:
        digest = self.head(kind, name)
        artifact = None if digest is None else self.committed(kind, name, digest)
        if artifact is None:
            msg = (
                f"{kind}/{name} is damaged: it has no manifest; run the command that made it again, or drop it "
                f"with 'g2v rm {kind}/{name}'"
            )
            raise StoreError(msg)
        return artifact

    def only(self, kind: str, name: str | None) -> Artifact:
        """The artifact of that name, or, where no name is given, the only one there is.

        Raises: SpecError if there are none, or several and no name.
        """
        if name is not None:
            return self.get(kind, name)
        names = self.names(kind)
        if len(names) != 1:
            found = f"{len(names)}: {', '.join(names[:8])}" if names else "none; make one first"
            msg = f"name the {kind} to use; in {self.root} there are {found}"
            raise SpecError(msg)
        return self.get(kind, names[0])

    def names(self, kind: str) -> list[str]:
        """The names that have a current artifact, sorted."""
        return sorted(p.parent.name for p in (self.root / kind).glob("*/HEAD"))

    def artifacts(self, kind: str) -> list[Artifact]:
        """The current artifacts of a kind, by name.

        Raises: StoreError if one has no manifest.
        """
        return [self._current(kind, name) for name in self.names(kind)]

    def select(self, kind: str, wanted: Iterable[str] | None) -> list[Artifact]:
        """The current artifacts of these names or titles; all where none are wanted.

        Raises: SpecError for a name that is not there, or an empty list; StoreError if one is damaged.
        """
        if wanted is None:
            wanted = self.names(kind)
        elif not list(wanted):
            msg = "datasets must name at least one dataset, got an empty list"
            raise SpecError(msg)
        return sorted({a.name: a for a in (self.get(kind, w) for w in wanted)}.values(), key=lambda a: a.name)

    def rows(self, kind: str | None = None) -> list[dict[str, Any]]:
        """The current artifacts, of one kind or all, as rows: kind, name, digest, size, made.

        Raises: SpecError for a kind that is not known.
        """
        if kind is not None and kind not in schema.KINDS:
            msg = f"kind must be one of {', '.join(schema.KINDS)}; got {kind!r}{nearest(kind, schema.KINDS)}"
            raise SpecError(msg)
        return [
            {
                "kind": a.kind,
                "name": a.name,
                "title": a.title,
                "digest": a.digest[:12],
                "size": _size(a.facts),
                "bytes": sum(f["bytes"] for f in a.manifest["files"]),
                "made": a.manifest["made"]["at"],
            }
            for k in schema.KINDS
            if kind in (None, k)
            for a in self.artifacts(k)
        ]

    def passing(self, kind: str, wanted: Iterable[str] | None) -> tuple[list[Artifact], tuple[str, ...]]:
        """``select``, but where none are wanted without the datasets that a stage before has turned down since.

        Those are in quarantine, or their expression was removed. Returns: the artifacts, and why others are not.
        """
        chosen = self.select(kind, wanted)
        if wanted is not None:
            return chosen, ()
        kinds = schema.KINDS[: schema.KINDS.index(kind) + 1]
        refused = {f["name"]: f"{f['name']} (in quarantine)" for f in self.quarantined() if f["kind"] in kinds}
        there = set(self.names("expression"))
        out = {a.name: refused.get(a.name, f"{a.name} (no expression)") for a in chosen}
        left = [name for name in out if name in refused or name not in there]
        return [a for a in chosen if a.name not in left], tuple(out[name] for name in left)

    def changes(self, last: Artifact, members: list[Artifact]) -> tuple[list[Artifact], list[Artifact]] | None:
        """What of ``members`` did not go into ``last``, and what went into it and is no member any more.

        None if something of the latter is gone, or damaged, so that it cannot be taken out again.
        """
        had: Mapping[str, str] = last.manifest["inputs"]
        now = {m.key: m.digest for m in members}
        gone = [(*key.split("/", 1), digest) for key, digest in had.items() if now.get(key) != digest]
        were = [self.committed(kind, name, digest) for kind, name, digest in gone]
        removed = [a for a in were if a is not None and a.damage() is None]
        return ([m for m in members if had.get(m.key) != m.digest], removed) if len(removed) == len(gone) else None

    # -- committing --------------------------------------------------------------------------------------

    def commit(self, artifact: Artifact) -> None:
        """Makes a finished artifact the current one: strays out, manifest, then HEAD.

        Raises: StoreError if a file that the manifest names is missing, or not as it was written.
        """
        named = set()
        for entry in artifact.manifest["files"]:
            file = artifact.path / entry["path"]
            size = file.stat().st_size if file.exists() else None
            if size != entry["bytes"] or file_sha256(file) != entry["sha256"]:
                state = "missing" if size is None else f"damaged ({size} bytes, {entry['bytes']} written)"
                msg = f"{artifact.key}: part {entry['part']}: {file} is {state}; run the same command again"
                raise StoreError(msg)
            named.add(file)
        for file in artifact.path.rglob("*"):
            if file.is_file() and file not in named:
                file.unlink()
        for folder in sorted((p for p in artifact.path.rglob("*") if p.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()  # of earlier rounds
        write_json(artifact.path / "manifest.json", artifact.manifest)
        self.point(artifact.kind, artifact.name, artifact.digest)

    def point(self, kind: str, name: str, digest: str) -> None:
        """Moves HEAD."""
        write_json(self.root / kind / check_name(name) / "HEAD", {"digest": digest})

    def remove(self, kind: str, name: str) -> None:
        """Drops HEAD; ``gc`` takes the data away later.

        Raises: SpecError if there is no such artifact.
        """
        (self.root / kind / self._name(kind, name) / "HEAD").unlink()

    def gc(self, *, young_seconds: float = YOUNG_SECONDS) -> list[Path]:
        """Deletes what no HEAD reaches through the manifests' inputs, and work that is not young."""
        keep = {self.folder(*key) for key in self._reachable()}
        now = time.time()
        gone = [p for kind in schema.KINDS for p in (self.root / kind).glob("*/*") if p.is_dir() and p not in keep]
        gone = [p for p in gone if not self._busy(p.name, now, young_seconds)]
        gone += [p for p in (self.root / ".work").glob("*") if now - _touched(p) > young_seconds]
        gone += list(self.root.glob(".gone-*"))
        for path in gone:
            grave = path if path.name.startswith(".gone-") else self.root / f".gone-{uuid.uuid4().hex}"
            path.rename(grave)  # first the name, so that a half deleted folder is never taken for a whole one
            shutil.rmtree(grave)
        for folder in [p for kind in schema.KINDS for p in (self.root / kind).glob("*") if p.is_dir()]:
            if not any(folder.iterdir()):
                folder.rmdir()
        return gone

    def _busy(self, digest12: str, now: float, young_seconds: float) -> bool:
        work = self.root / ".work" / digest12
        return work.exists() and now - _touched(work) <= young_seconds

    def _reachable(self) -> set[tuple[str, str, str]]:
        seen: set[tuple[str, str, str]] = set()
        queue = [(k, n, d) for k in schema.KINDS for n in self.names(k) if (d := self.head(k, n))]
        while queue:
            key = queue.pop()
            artifact = None if key in seen else self.committed(*key)
            seen.add(key)
            if artifact is not None:
                for target, digest in artifact.manifest["inputs"].items():
                    kind, _, name = target.partition("/")
                    if kind in schema.KINDS:
                        queue.append((kind, name, digest))
        return seen

    # -- work under way ----------------------------------------------------------------------------------

    def work(self, digest: str) -> Path:
        """The folder of the receipts and the state of work under way."""
        return self.root / ".work" / digest[:12]

    def quarantine_file(self, kind: str, name: str) -> Path:
        """Where the reason lies for which an input was refused."""
        return self.root / ".quarantine" / kind / f"{check_name(name)}.json"

    def quarantined(self) -> list[dict[str, Any]]:
        """Every input that was refused, with its reason."""
        found = (read_json(p) for p in sorted((self.root / ".quarantine").glob("*/*.json")))
        return [f for f in found if f is not None]

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Holds the store for one writer; the lock dies with its process.

        Raises: StoreError if another process holds it (saying which), or if the file system has no locks.
        """
        path = self.root / ".lock"
        with _own_lock(self.root), _opened(path) as stream:
            try:
                fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                stream.seek(0)
                msg = f"the store {self.root} is in use by {stream.read().strip()}; wait for it, or stop it"
                raise StoreError(msg) from error
            except OSError as error:
                msg = (
                    f"the file system of {self.root} has no POSIX locks ({error}); "
                    f"mount it with locking (NFS: version 4, or 'local_lock=none'), or use another folder"
                )
                raise StoreError(msg) from error
            stream.truncate(0)
            started = time.strftime("%Y-%m-%d %H:%M:%S")
            stream.write(f"process {os.getpid()} on {socket.gethostname()}, since {started}\n")
            stream.flush()
            yield


_held: set[Path] = set()  # POSIX locks are a process's: what holds between its threads is this


@contextmanager
def _own_lock(root: Path) -> Iterator[None]:
    """Refuses a second writer of the same process."""
    root = root.resolve()
    if root in _held:
        msg = f"the store {root} is in use by another thread or call of this process; wait for it"
        raise StoreError(msg)
    _held.add(root)
    try:
        yield
    finally:
        _held.discard(root)


def _opened(path: Path) -> IO[str]:
    try:
        return path.open("a+")
    except OSError as error:
        msg = f"the store {path.parent} cannot be written: {error.strerror}; mount it writable, or use another folder"
        raise StoreError(msg) from error


def _size(facts: Mapping[str, Any]) -> str:
    """How large a result is, in its own words."""
    words = ("samples", "genes", "pairs", "components", "datasets", "answers", "groups")
    return ", ".join(f"{facts[w]:,} {w}" for w in words if isinstance(facts.get(w), int))


def _touched(path: Path) -> float:
    """When a folder, or a file below it, last changed."""
    times = [path.stat().st_mtime]
    times += [p.stat().st_mtime for p in path.rglob("*") if p.exists()]
    return max(times)
