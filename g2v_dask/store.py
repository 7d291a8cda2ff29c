"""The store: immutable artifacts in a folder or a bucket, and which of them is current.

::

    <store>/g2v.json                                 format version, tile size
    <store>/<kind>/<name>/<digest12>/manifest.json   what it is, from what, and its files' sha256
                                    /data.*          the data, and nothing else
    <store>/<kind>/<name>/HEAD                       names the current digest; written last
    <store>/.work/<digest12>/                        owner, receipts and state of work under way
    <store>/.quarantine/<kind>/<name>.json           an input that was refused, and why
    <store>/.lock                                    one writer at a time

What has no manifest does not exist. Every file is put in place whole: by rename, or by one upload.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from g2v_dask import schema
from g2v_dask.errors import DamageError, SpecError, StoreError
from g2v_dask.files import digest_of, file_sha256
from g2v_dask.folders import Folder, json_bytes, open_folder, read_json, write_json
from g2v_dask.options import check_name, is_name, nearest

TILE = 2048  # genes; 16 MiB of uint32 a tile
YOUNG_SECONDS = 24 * 3600  # gc leaves work alone that was touched since
PUBLISHING = "publishing.json"  # in .work: the HEADs that are being moved together, from what and to what


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """One committed result."""

    kind: str
    name: str
    digest: str
    folder: Folder
    manifest: Mapping[str, Any] = field(compare=False, repr=False)

    @property
    def key(self) -> str:
        """``kind/name``."""
        return f"{self.kind}/{self.name}"

    @property
    def names(self) -> list[str]:
        """Its files: those that the manifest names, whatever else lies there."""
        return [f["path"] for f in self.manifest["files"]]

    @property
    def path(self) -> Path:
        """The local folder that holds all its files; they are brought there if they lie in a bucket."""
        if not self.folder.is_local:
            self.folder.fetch(*self.names)
        return self.folder.desk

    def damage(self) -> str | None:
        """The first of its files that is missing or of another length, in words; None if it is whole.

        Looks at names and lengths only: what is changed in place shows when the file is decoded.
        """
        sizes = self.folder.sizes()
        for entry in self.manifest["files"]:
            size, file = sizes.get(entry["path"]), (self.folder / entry["path"]).url
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

    root: Folder
    tile: int
    moved: dict[tuple[str, str], str] | None = field(default=None, compare=False)  # of a view: HEADs that differ
    alone: bool = field(default=False, compare=False)  # of a view: there are no others

    # -- opening ----------------------------------------------------------------------------------------

    @classmethod
    def open(cls, url: str | Path, *, create: bool = False, imagine: bool = False) -> Store:
        """The store in a folder or bucket; ``create`` makes it where there is none, ``imagine`` goes without.

        Raises: StoreError if it is a file, not a store, absent, or of another format version.
        """
        root = open_folder(url)
        if root.is_local and root.desk.exists() and not root.desk.is_dir():
            msg = f"a store is a folder, but {root.url} is a file; name another folder"
            raise StoreError(msg)
        found = read_json(root, "g2v.json")
        if found is None:
            return cls._absent(root, create=create, imagine=imagine)
        version = found.get("format")
        if version != schema.FORMAT_VERSION:
            msg = (
                f"the store {root.url} has format {version}; this g2v_dask reads format "
                f"{schema.FORMAT_VERSION}. Install one that knows format {version}, or use another store."
            )
            raise StoreError(msg)
        return cls(root=root, tile=int(found["tile"]))

    @classmethod
    def _absent(cls, root: Folder, *, create: bool, imagine: bool) -> Store:
        # what a first command leaves that was killed between two breaths
        strangers = [name for name in root.names() if not re.fullmatch(r"\.lock|\.probe-.*", name)]
        if strangers or not (create or imagine):
            hint = f"it holds {strangers[0]!r} and no g2v.json" if strangers else "there is nothing"
            msg = f"no store at {root.url}: {hint}. 'g2v ingest FILES... --store FOLDER' makes one in a new folder."
            raise StoreError(msg)
        if create:
            write_json(root, "g2v.json", {"format": schema.FORMAT_VERSION, "tile": TILE})
        return cls(root=root, tile=TILE)

    def exists(self) -> bool:
        """Whether it is there, or only imagined."""
        return self.root.read("g2v.json") is not None

    def unmake(self) -> None:
        """Takes a store away again that holds no artifact and no word about one."""
        if set(self.root.names()) <= {".lock", "g2v.json"}:
            self.root.clear()

    # -- views -------------------------------------------------------------------------------------------

    def held(self) -> Store:
        """A view in which HEADs move without moving for others, until ``publish``."""
        return replace(self, moved={})

    def pinned(self, heads: Mapping[str, str]) -> Store:
        """A view in which these artifacts (``kind/name``) have these digests, and there are no others."""
        found = {(kind, name): digest for key, digest in heads.items() for kind, _, name in [key.partition("/")]}
        return replace(self, moved=found, alone=True)

    def publish(self) -> None:
        """Moves the HEADs that were moved in this view, for all; those that others build on come first.

        Which they are is written down before the first, until the last has moved: see ``unpublished``.
        """
        moved = self.moved or {}
        base, work = replace(self, moved=None), self.root / ".work"
        keys = sorted(moved, key=lambda key: (schema.KINDS.index(key[0]), key[1]))
        steps = [(kind, name, base.head(kind, name), moved[kind, name]) for kind, name in keys]
        steps = [step for step in steps if step[2] != step[3]]
        if steps:
            self.root.check_lock()
            write_json(work, PUBLISHING, {"heads": steps})
        for kind, name, _, digest in steps:
            base.point(kind, name, digest, tag=base.head_tag(kind, name))
        work.remove(PUBLISHING)

    def unpublished(self) -> dict[tuple[str, str], str]:
        """What a ``publish`` that was cut off has left to do: digests by kind and name. Its view's next one does it."""
        steps = (read_json(self.root / ".work", PUBLISHING) or {"heads": []})["heads"]
        return {(kind, name): after for kind, name, before, after in steps if self.head(kind, name) == before}

    # -- artifacts ---------------------------------------------------------------------------------------

    def folder(self, kind: str, name: str, digest: str) -> Folder:
        """Where an artifact lies, committed or not."""
        return self.root / kind / check_name(name) / digest[:12]

    def head(self, kind: str, name: str) -> str | None:
        """The digest that is current under a name."""
        if self.moved is not None and (kind, name) in self.moved:
            return self.moved[kind, name]
        if self.alone:
            return None
        found = read_json(self.root / kind / check_name(name), "HEAD")
        return None if found is None else str(found["digest"])

    def head_tag(self, kind: str, name: str) -> str | None:
        """What must not have changed when HEAD is moved."""
        return (self.root / kind / check_name(name)).tag("HEAD")

    def committed(self, kind: str, name: str, digest: str) -> Artifact | None:
        """The artifact of that digest, if it was ever finished; one whose manifest is damaged does not exist."""
        folder = self.folder(kind, name, digest)
        try:
            manifest = read_json(folder, "manifest.json")
        except DamageError:
            return None
        if manifest is None or manifest.get("digest") != digest:
            return None
        # copies of its files are those of this very making
        return Artifact(
            kind=kind, name=name, digest=digest, folder=folder.marked(digest_of(manifest)[:12]), manifest=manifest
        )

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
        if is_name(text) and self.head(kind, text) is not None:
            return text
        titled = [a.name for a in self.artifacts(kind) if a.title == text]
        if not titled:
            names = self.names(kind)
            have = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "") if names else "none"
            msg = f"no {kind} named {text!r} in {self.root.url}{nearest(text, names)}; there are: {have}"
            raise SpecError(msg)
        return titled[0]

    def _current(self, kind: str, name: str) -> Artifact:
        digest = self.head(kind, name)
        artifact = None if digest is None else self.committed(kind, name, digest)
        if artifact is None:
            msg = (
                f"{kind}/{name} is damaged: it has no manifest that can be read; run the command that made it "
                f"again, or drop it with 'g2v rm {kind}/{name}'"
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
            msg = f"name the {kind} to use; in {self.root.url} there are {found}"
            raise SpecError(msg)
        return self.get(kind, names[0])

    def names(self, kind: str) -> list[str]:
        """The names that have a current artifact, sorted."""
        moved = {name for k, name in self.moved or () if k == kind}
        there = [] if self.alone else (self.root / kind).names()
        found = [name for name in there if is_name(name) and name not in moved]  # else it is no artifact's
        heads = self.root.together(lambda name: self.head(kind, name), found)
        return sorted([*moved, *(name for name, head in zip(found, heads, strict=True) if head is not None)])

    def artifacts(self, kind: str) -> list[Artifact]:
        """The current artifacts of a kind, by name.

        Raises: StoreError if one has no manifest.
        """
        return self.root.together(lambda name: self._current(kind, name), self.names(kind))

    def select(self, kind: str, wanted: Iterable[str] | None) -> list[Artifact]:
        """The current artifacts of these names or titles; all where none are wanted.

        Raises: SpecError for a name that is not there, or an empty list; StoreError if one is damaged.
        """
        if wanted is None:
            wanted = self.names(kind)
        elif not list(wanted):
            msg = "datasets must name at least one dataset, got an empty list"
            raise SpecError(msg)
        found = self.root.together(lambda w: self.get(kind, w), wanted)
        return sorted({a.name: a for a in found}.values(), key=lambda a: a.name)

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

    def commit(self, artifact: Artifact, *, tag: str | None) -> None:
        """Makes a finished artifact the current one: strays out, manifest, then HEAD, if it still has that tag.

        Raises: StoreError if a file that the manifest names is missing, or not as it was written; if the lock was
                lost, or HEAD was moved by another.
        """
        folder = artifact.folder
        check_files(artifact.key, folder, artifact.manifest["files"])
        self.root.check_lock()
        folder.keep_only(artifact.names)
        write_json(folder, "manifest.json", artifact.manifest)
        self.point(artifact.kind, artifact.name, artifact.digest, tag=tag)

    def point(self, kind: str, name: str, digest: str, *, tag: str | None) -> None:
        """Moves HEAD, if it still has that tag.

        Raises: StoreError if another writer has moved it.
        """
        if self.moved is not None:
            self.moved[kind, name] = digest
            return
        self.root.check_lock()
        (self.root / kind / check_name(name)).replace("HEAD", json_bytes({"digest": digest}), tag)

    def remove(self, kind: str, name: str) -> None:
        """Drops HEAD; ``gc`` takes the data away later.

        Raises: SpecError if there is no such artifact.
        """
        self.root.check_lock()
        (self.root / kind / self._name(kind, name)).remove("HEAD")

    def gc(self, *, young_seconds: float = YOUNG_SECONDS) -> list[str]:
        """Deletes what no HEAD reaches through the manifests' inputs, and work that is not young.

        What does not lie where an artifact or its work would stays, whatever it is.
        """
        keep = {(a.kind, a.name, a.digest[:12]) for a in self.reachable()}
        found = [
            (kind, name, version)
            for kind in schema.KINDS
            for name in (self.root / kind).names()
            if is_name(name)
            for version in _versions(self.root / kind / name)
        ]
        gone = [self.root / k / n / v for k, n, v in found if (k, n, v) not in keep and self._old(v, young_seconds)]
        gone += [self.root / ".work" / v for v in _versions(self.root / ".work") if self._old(v, young_seconds)]
        for folder in gone:
            self.root.check_lock()
            folder.clear()
        self.root.tidy()
        return [folder.url for folder in gone]

    def _old(self, digest12: str, young_seconds: float) -> bool:
        """Whether nobody has worked on it since."""
        age = (self.root / ".work" / digest12).age()
        return age is None or age > young_seconds

    def reachable(self) -> list[Artifact]:
        """The current artifacts, those that are about to be, and all that they were made from that is still there."""
        found: dict[tuple[str, str, str], Artifact | None] = {}
        queue = [(k, n, d) for k in schema.KINDS for n in self.names(k) if (d := self.head(k, n))]
        queue += [(*key, digest) for key, digest in self.unpublished().items()]
        while queue:
            new = [key for key in dict.fromkeys(queue) if key not in found]
            found.update(zip(new, self.root.together(lambda key: self.committed(*key), new), strict=True))
            queue = [
                (kind, name, digest)
                for artifact in (found[key] for key in new)
                for target, digest in ({} if artifact is None else artifact.manifest["inputs"]).items()
                for kind, _, name in [target.partition("/")]
                if kind in schema.KINDS
            ]
        return [artifact for artifact in found.values() if artifact is not None]

    # -- work under way ----------------------------------------------------------------------------------

    def work(self, digest: str) -> Folder:
        """The folder of the receipts and the state of work under way."""
        return self.root / ".work" / digest[:12]

    def refusal(self, kind: str, name: str) -> dict[str, Any] | None:
        """Why an input was refused, if it was: its record."""
        return read_json(self.root / ".quarantine" / kind, f"{check_name(name)}.json")

    def refuse(self, record: Mapping[str, Any]) -> None:
        """Keeps the record of an input that is refused."""
        write_json(self.root / ".quarantine" / record["kind"], f"{check_name(record['name'])}.json", record)

    def pardon(self, kind: str, name: str) -> None:
        """Drops the record of an input that is refused no more."""
        (self.root / ".quarantine" / kind).remove(f"{check_name(name)}.json")

    def quarantined(self) -> list[dict[str, Any]]:
        """Every input that was refused, with its reason."""
        folder = self.root / ".quarantine"
        names = [name for name in folder.sizes() if _is_record(name)]
        found = self.root.together(lambda name: read_json(folder, name), names)
        return [f for f in found if f is not None]

    @contextmanager
    def lock(self, *, wait: bool = False) -> Iterator[None]:
        """Holds the store for one writer.

        Raises: StoreError if another process holds it (saying which) and ``wait`` is not said, or if it has no locks.
        """
        with self.root.lock(wait=wait):
            yield


def _versions(folder: Folder) -> list[str]:
    """The folders in it that are named as digests are; a file of such a name is a stranger."""
    named = [name for name in folder.names() if re.fullmatch("[0-9a-f]{12}", name)]
    return [v for v in named if ((folder / v).desk.is_dir() if folder.is_local else (folder / v).names())]


def _is_record(name: str) -> bool:
    """Whether a file of the quarantine is a record: ``kind/name.json``, and no stranger."""
    kind, _, file = name.partition("/")
    return kind in schema.KINDS and file.endswith(".json") and is_name(file.removesuffix(".json"))


def _size(facts: Mapping[str, Any]) -> str:
    """How large a result is, in its own words."""
    words = ("samples", "genes", "pairs", "components", "datasets", "answers", "groups")
    return ", ".join(f"{facts[w]:,} {w}" for w in words if isinstance(facts.get(w), int))


def check_files(key: str, folder: Folder, files: Iterable[Mapping[str, Any]]) -> None:
    """Holds files against what the receipts of their parts say of them.

    Raises: DamageError for the first that is missing, or not as it was written.
    """
    sizes = folder.sizes()
    for entry in files:
        name, size = entry["path"], sizes.get(entry["path"])
        # an upload is checked by the service when it is taken in
        if size != entry["bytes"] or (folder.is_local and file_sha256(folder.fetch(name)) != entry["sha256"]):
            state = "missing" if size is None else f"damaged ({size} bytes, {entry['bytes']} written)"
            msg = f"{key}: part {entry['part']}: {(folder / name).url} is {state}; run the same command again"
            raise DamageError(msg)
