"""An option, described once: its type, default, doc line, bounds, and what it is for; and specs made of options.

The command line makes its options from these fields, TOML its keys, Python its keywords.

``identity`` fields enter the digest of what the stage makes. ``limit`` fields do not, but an input that
was quarantined because of one is tried again when it changes. The rest (paths, cluster) change nothing.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import os
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from g2v_dask.errors import SpecError

Role = Literal["identity", "limit", "plain"]
Json = Any
S = TypeVar("S", bound="Spec")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


def option(
    doc: str,
    default: Any = MISSING,
    *,
    role: Role = "plain",
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    path: bool = False,
    key: str | None = None,
    only: str | None = None,
    flags: bool = False,
    names: bool = False,
) -> Any:
    """One field of a spec.

    ``low`` and ``high`` are inclusive bounds. ``path`` values are relative to the spec file. ``key`` is the
    name users write where it is not the field's. ``only`` names the methods an option belongs to.
    ``flags`` shows the choices as one flag each on the command line. ``names`` marks the name of an artifact.
    """
    metadata = {
        "doc": doc,
        "role": role,
        "low": low,
        "high": high,
        "choices": choices,
        "path": path,
        "key": key,
        "only": only,
        "flags": flags,
        "names": names,
    }
    return dataclasses.field(default=default, metadata=metadata)


def key_of(field: dataclasses.Field[Any]) -> str:
    """The name a user writes for a field, in TOML and Python."""
    return str(field.metadata.get("key") or field.name)


@functools.cache
def _hints(owner: type) -> dict[str, Any]:
    """The types of a spec's fields, evaluated once."""
    return typing.get_type_hints(owner)


def value_type(field: dataclasses.Field[Any], owner: type) -> tuple[Any, bool]:
    """The plain type of a field (tuple for lists of text) and whether it may be None."""
    hint = _hints(owner)[field.name]
    optional = False
    if typing.get_origin(hint) in (Union, types.UnionType):
        rest = [a for a in typing.get_args(hint) if a is not type(None)]
        optional, hint = True, rest[0]
    return typing.get_origin(hint) or hint, optional


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Base of the specs: checks types, choices and bounds when made."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            wanted, optional = value_type(field, type(self))
            if value is None and optional:
                continue
            if wanted is tuple and isinstance(value, list | str):
                value = (value,) if isinstance(value, str) else tuple(value)
                object.__setattr__(self, field.name, value)
            if wanted is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
                object.__setattr__(self, field.name, value)
            self._check(field, value, wanted)

    def _check(self, field: dataclasses.Field[Any], value: Any, wanted: Any) -> None:
        where = f"{self.stage()}: {key_of(field)}"
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            msg = f"{where} must be {_TYPE_WORDS[wanted]}, got {value!r} ({type(value).__name__})"
            raise SpecError(msg)
        if wanted is tuple and not all(isinstance(v, str) for v in value):
            msg = f"{where} must be a list of texts, got {list(value)!r}"
            raise SpecError(msg)
        meta = field.metadata
        if wanted is float and math.isinf(value):
            msg = f"{where} must be a finite number, got {value}"
            raise SpecError(msg)
        if meta["choices"] and value not in meta["choices"]:
            near = nearest(str(value), meta["choices"])
            msg = f"{where} must be one of {', '.join(meta['choices'])}; got {value!r}{near}"
            raise SpecError(msg)
        if meta["names"]:
            check_name(value)
        low, high = meta["low"], meta["high"]
        if (low is not None and not value >= low) or (high is not None and not value <= high):
            bounds = f"at least {low}" if high is None else f"from {low} to {high}"
            msg = f"{where} must be {bounds}, got {value}"
            raise SpecError(msg)

    @classmethod
    def stage(cls) -> str:
        """The stage's name, as users write it."""
        return cls.__name__.removesuffix("Spec").lower()

    @classmethod
    def fields_by_key(cls) -> dict[str, dataclasses.Field[Any]]:
        """The fields under the names users write."""
        return {key_of(f): f for f in dataclasses.fields(cls)}

    @classmethod
    def build(cls: type[S], values: Mapping[str, Any], *, base: Path | None = None) -> S:
        """A spec from users' keys; ``base`` is the folder that relative paths start from.

        Raises: SpecError for an unknown key (naming the nearest), a missing one, or a wrong value.
        """
        known = cls.fields_by_key()
        made: dict[str, Any] = {}
        for key, value in values.items():
            if key not in known:
                msg = f"{cls.stage()}: unknown key {key!r}{nearest(key, known)}; known: {', '.join(known)}"
                raise SpecError(msg)
            field = known[key]
            if field.metadata["path"] and base is not None:
                value = under(base, value)
            made[field.name] = value
        missing = [k for k, f in known.items() if f.default is MISSING and f.name not in made]
        if missing:
            msg = f"{cls.stage()}: {', '.join(missing)} must be given"
            raise SpecError(msg)
        return cls(**made)

    def as_json(self) -> dict[str, Json]:
        """The fields that are set, under users' names: ``build`` makes the same spec of them, in any folder."""
        out: dict[str, Json] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            if field.metadata["path"]:
                value = under(Path.cwd(), value)
            out[key_of(field)] = list(value) if isinstance(value, tuple) else value
        return out

    def select(self, role: Role) -> dict[str, Json]:
        """The fields of one role that matter to this spec's method, under users' names, JSON-ready."""
        method = getattr(self, "method", None)
        out: dict[str, Json] = {}
        for field in dataclasses.fields(self):
            only = field.metadata["only"]
            if field.metadata["role"] == role and (only is None or method in only.split()):
                value = getattr(self, field.name)
                out[key_of(field)] = list(value) if isinstance(value, tuple) else value
        return out


_TYPE_WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    tuple: "a list of texts",
}


def is_name(text: str) -> bool:
    """Whether a text can be one folder's name."""
    return _NAME.fullmatch(text) is not None and ".." not in text


def check_name(name: str) -> str:
    """The name, if it can be one folder's.

    Raises: SpecError for a name with ``/``, a leading dot, or another character that is not allowed.
    """
    if not is_name(name):
        msg = (
            f"a name is made of letters, digits, '.', '_' and '-', does not start with '.' "
            f"and holds no '..'; got {name!r}"
        )
        raise SpecError(msg)
    return name


def nearest(word: str, known: typing.Iterable[str]) -> str:
    """``; did you mean 'x'?`` for the closest known word, or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def under(base: Path, value: Any) -> Any:
    """A path, or paths, of a spec file, relative to its folder; a URL stays."""
    if isinstance(value, str):
        return value if "://" in value else os.path.normpath(base / Path(value).expanduser())
    if isinstance(value, list | tuple):
        return tuple(under(base, v) for v in value)
    return value
