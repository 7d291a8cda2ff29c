"""Whether a store holds what its manifests say; and its damaged parts, made again one by one."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from g2v_dask import driver, schema, stages
from g2v_dask.errors import G2VError, InputError, SpecError
from g2v_dask.files import file_sha256, placed
from g2v_dask.folders import Folder, LocalFolder
from g2v_dask.options import Spec
from g2v_dask.questions import BatchSpec, BestSpec, NearSpec
from g2v_dask.spec import STAGES, ImportSpec
from g2v_dask.store import Artifact, Store

_SPECS: Mapping[str, type[Spec]] = {
    cls.__name__: cls for cls in (*STAGES.values(), ImportSpec, BestSpec, NearSpec, BatchSpec)
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A file that is not what its manifest says."""

    artifact: str
    """``kind/name``."""
    digest: str
    part: int
    file: str
    found: str
    """What is wrong with it."""
    repaired: bool = False
    note: str = ""
    """Why it could not be repaired."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a check has found."""

    artifacts: int
    files: int
    bytes: int
    """Of the files that were read (``deep``), else of those that were looked at."""
    faults: tuple[Fault, ...]

    @property
    def exit_code(self) -> int:
        """1 while there is damage."""
        return 1 if any(not f.repaired for f in self.faults) else 0


def verify(url: str, *, deep: bool, repair: bool, say: Callable[[str], None]) -> Verdict:
    """Holds every artifact that a HEAD reaches against its manifest: names and lengths, ``deep`` also every sha256.

    A HEAD whose artifact has no manifest is told, and so is one that a publish did not come to.

    Parameters: repair  does the parts of damaged files again, each in a folder of its own, and puts a file back if
                        it has the sha256 that the manifest names; ends a publish. Takes the store's lock.
    Raises:     StoreError if there is no store, or another writer holds it.
    """
    store = Store.open(url)
    if repair:
        with store.lock():
            return _verify(store, deep=deep, repair=repair, say=say)
    return _verify(store, deep=deep, repair=repair, say=say)


def _verify(store: Store, *, deep: bool, repair: bool, say: Callable[[str], None]) -> Verdict:
    faults: list[Fault] = []
    found = sorted(store.reachable(), key=lambda a: (schema.KINDS.index(a.kind), a.name, a.digest))
    for number, artifact in enumerate(found, start=1):
        damaged = _damage(artifact, deep=deep)
        if damaged:
            say(f"{artifact.key} {artifact.digest[:12]}: {len(damaged)} files are damaged")
        # inputs come before what is made of them: what is repaired here is whole when it is needed there
        faults += _repaired(store, artifact, damaged) if repair and damaged else damaged
        say(f"{number}/{len(found)} {artifact.key}")
    faults += _without_manifest(store)
    faults += _unpublished(store, repair=repair)
    entries = [f for a in found for f in a.manifest["files"]]
    return Verdict(
        artifacts=len(found), files=len(entries), bytes=sum(f["bytes"] for f in entries), faults=tuple(faults)
    )


def _without_manifest(store: Store) -> list[Fault]:
    """What is current, yet does not exist; ``reachable`` passes it over."""
    heads = [(k, n, d) for k in schema.KINDS for n in store.names(k) if (d := store.head(k, n))]
    found = store.root.together(lambda key: store.committed(*key), heads)
    note = "run the command that made it again, it will be made anew"
    return [
        Fault(artifact=f"{k}/{n}", digest=d, part=0, file="manifest.json", found="missing or damaged", note=note)
        for (k, n, d), artifact in zip(heads, found, strict=True)
        if artifact is None
    ]


def _unpublished(store: Store, *, repair: bool) -> list[Fault]:
    """The HEADs that a publish did not come to before it was cut off; what others see is a mixture of two versions."""
    left = store.unpublished()
    there = all(store.committed(*key, digest) is not None for key, digest in left.items())
    if repair and left and there:
        replace(store, moved=left).publish()
    note = "run the same 'g2v reprocess' again, or repair it" if there else "run the same 'g2v reprocess' again"
    return [
        Fault(
            artifact=f"{kind}/{name}",
            digest=digest,
            part=0,
            file="HEAD",
            found="a version is published in part, without this",
            repaired=repair and there,
            note=note,
        )
        for (kind, name), digest in left.items()
    ]


def _damage(artifact: Artifact, *, deep: bool) -> list[Fault]:
    # what lies in the store, not what an earlier command has copied from it
    folder = artifact.folder.marked(f"verify-{uuid.uuid4().hex}")
    sizes = folder.sizes()

    def look(entry: Mapping[str, Any]) -> Fault | None:
        size, wrong = sizes.get(entry["path"]), None
        if size is None:
            wrong = "missing"
        elif size != entry["bytes"]:
            wrong = f"{size:,} bytes, expected {entry['bytes']:,}"
        elif deep and (sha256 := file_sha256(folder.fetch(entry["path"]))) != entry["sha256"]:
            wrong = f"sha256 {sha256[:12]}, expected {entry['sha256'][:12]}"
        if wrong is None:
            return None
        return Fault(artifact=artifact.key, digest=artifact.digest, part=entry["part"], file=entry["path"], found=wrong)

    try:
        return [fault for fault in folder.together(look, artifact.manifest["files"]) if fault is not None]
    finally:
        folder.leave()


def _repaired(store: Store, artifact: Artifact, faults: list[Fault]) -> list[Fault]:
    """The faults, each repaired or with the reason why it is not."""
    try:
        with tempfile.TemporaryDirectory(prefix="g2v-repair-") as scratch:
            made = _again(store, artifact, {f.part for f in faults}, Path(scratch))
            return [_put_back(artifact, fault, made) for fault in faults]
    except Exception as error:  # noqa: BLE001  (what cannot be repaired is told, and the others are tried)
        note = str(error) if isinstance(error, G2VError | OSError) else f"{type(error).__name__}: {error}"
        return [replace(f, note=note) for f in faults]


def _again(store: Store, artifact: Artifact, numbers: set[int], scratch: Path) -> Folder:
    """The files of some parts, made anew from the very inputs that the manifest names."""
    manifest = artifact.manifest
    made: Mapping[str, Any] = manifest["made"]
    if not made.get("spec"):
        msg = "its manifest does not say how it was made (it is of an earlier version): remove it, and make it again"
        raise SpecError(msg)
    ((name, values),) = made["spec"].items()
    stage = stages.load(manifest["stage"])
    plan = stage.plan(store.pinned(manifest["inputs"]), _SPECS[name].build(values))
    target = next((t for t in plan.targets if t.digest == artifact.digest), None)
    if target is None:
        reason = plan.refused[0].reason if plan.refused else "its inputs are not what they were"
        msg = f"{reason}; run the command that made it again, it will be made anew"
        raise InputError(msg)
    others = tuple(t for t in plan.targets if t.digest in target.after)
    shadow = Store(root=LocalFolder(scratch), tile=store.tile)
    return driver.again(stage, target, others, shadow, numbers if made.get("rounds") == 1 else None)


def _put_back(artifact: Artifact, fault: Fault, made: Folder) -> Fault:
    """Puts a file in its place, if it is what it was."""
    wanted = next(f["sha256"] for f in artifact.manifest["files"] if f["path"] == fault.file)
    path = made.fetch(fault.file)
    if file_sha256(path) != wanted:
        note = "made again it is not the same: other versions or another CPU; remove it, and make it anew"
        return replace(fault, note=note)
    artifact.folder.leave()  # copies of it may be damaged too
    with placed(artifact.folder.desk / fault.file) as part:
        part.write_bytes(path.read_bytes())
    artifact.folder.send(fault.file)
    return replace(fault, repaired=True)


def rows(faults: Iterable[Fault]) -> list[dict[str, Any]]:
    """Faults as rows of a table."""
    return [
        {**vars(f), "digest": f.digest[:12], "state": "repaired" if f.repaired else f.note or "damaged"} for f in faults
    ]
