"""The commands by which artifacts were made, from what their manifests say: so that anybody can make them again."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from g2v_dask import schema
from g2v_dask.options import Spec, key_of
from g2v_dask.spec import STAGES, ImportSpec
from g2v_dask.store import Artifact, Store

STEPS: Mapping[str, type[Spec]] = {**STAGES, "import": ImportSpec}
LISTED = {"ingest": "files", "pairs": "datasets"}  # of stages that make an artifact a dataset: what names them
REPEATED = ("genesets",)  # lists that are given one by one: names of files may hold commas
ARGUMENT = {
    "ingest": "files",
    "import": "file",
    "combine": "embeddings",
}  # no name on the command line


def made_of(store: Store, artifacts: Iterable[Artifact]) -> list[Artifact]:
    """Artifacts, and all that they were made from as far as it is still there; what others are made of comes first."""
    found: dict[str, Artifact] = {}
    queue = list(artifacts)
    while queue:
        artifact = queue.pop()
        if artifact.digest in found:
            continue
        found[artifact.digest] = artifact
        named = ((*key.split("/", 1), digest) for key, digest in artifact.manifest["inputs"].items())
        known = [n for n in named if len(n) == 3 and n[0] in schema.KINDS]
        queue += [a for a in (store.committed(kind, name, digest) for kind, name, digest in known) if a is not None]
    return sorted(found.values(), key=lambda a: (schema.KINDS.index(a.kind), _turns(a, found), a.name, a.digest))


def _turns(artifact: Artifact, found: Mapping[str, Artifact]) -> int:
    """How many of its own kind must be made before it, one of the other: embeddings may be combined of embeddings."""
    inputs = (found.get(digest) for digest in artifact.manifest["inputs"].values())
    return max((1 + _turns(one, found) for one in inputs if one is not None and one.kind == artifact.kind), default=0)


def commands(store: Store, artifacts: Iterable[Artifact]) -> list[str]:
    """What to type, in order: a command for all artifacts of a stage that have the same options.

    Artifacts of earlier versions, whose manifests do not say how they were made, are passed over.
    """
    asked: dict[str, tuple[str, dict[str, Any]]] = {}
    for artifact in made_of(store, artifacts):
        given = artifact.manifest["made"].get("spec")
        for stage in (stage for stage, cls in STEPS.items() if cls.__name__ in (given or {})):
            _add(asked, stage, given[STEPS[stage].__name__])
    texts = [_command(stage, values) for stage, values in asked.values()]
    return [f"export G2V_STORE={shlex.quote(store.root.url)}", *texts] if texts else []


def _add(asked: dict[str, tuple[str, dict[str, Any]]], stage: str, values: Mapping[str, Any]) -> None:
    """Adds a spec; one that differs in its files or datasets alone joins the one before."""
    chosen = dict(_chosen(STEPS[stage], values))
    listed = LISTED.get(stage)
    members = chosen.pop(listed, []) if listed else []
    _, held = asked.setdefault(f"{stage} {chosen!r}", (stage, dict(chosen)))
    if members:
        held[str(listed)] = list(dict.fromkeys([*held.get(str(listed), []), *members]))


def _chosen(cls: type[Spec], values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The options that are not as they would be, and matter to the method, under users' names."""
    for field in dataclasses.fields(cls):
        key, only = key_of(field), field.metadata["only"]
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        if key not in values or values[key] == default:
            continue
        if only is None or values.get("method") in only.split():
            yield key, values[key]


def _command(stage: str, values: Mapping[str, Any]) -> str:
    """One line for the shell."""
    argument = ARGUMENT.get(stage)
    named = {key: value for key, value in values.items() if key != argument}
    given = values.get(argument, []) if argument else []
    words = ["g2v", stage, *([given] if isinstance(given, str) else given)]
    flags = {key_of(f): f.metadata["flags"] for f in dataclasses.fields(STEPS[stage])}
    for key, value in named.items():
        name = "-k" if key == "k" else f"--{key.replace('_', '-')}"
        if flags[key]:
            words.append(f"--{value}")
        elif value is True:
            words.append(name)
        elif key in REPEATED:
            words += [word for one in value for word in (name, one)]
        else:
            words += [name, ",".join(value) if isinstance(value, list) else str(value)]
    return shlex.join(words)
