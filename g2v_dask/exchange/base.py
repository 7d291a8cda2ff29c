"""What all formats share: the vectors of a file, what a user says of it, and the one check of what was read."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from g2v_dask.errors import InputError

SHOWN = 5  # words quoted as evidence


class Vectors(NamedTuple):
    """The vectors of a file: words, one row each, and what the file says of them."""

    genes: NDArray[np.str_]
    vectors: NDArray[np.float32]
    card: dict[str, Any]
    special: tuple[str, ...] = ()  # tokens of no gene whose rows were left out: <pad>, <mask> …


class VectorsLike(Protocol):
    """What can be written: ``Vectors``, or a ``query.Embedding``."""

    @property
    def genes(self) -> NDArray[np.str_]:
        """(genes,) words, distinct."""

    @property
    def vectors(self) -> NDArray[np.float32]:
        """(genes, components) one row a word."""

    @property
    def card(self) -> Mapping[str, Any]:
        """What they were trained on."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user says of a file of vectors, besides where it is."""

    names: Path | None = None
    """File of its words, one a row; for formats that hold none."""
    tokens: Path | None = None
    """Dictionary of genes and tokens, for a file whose rows are told by token."""
    tensor: str | None = None
    """The tensor to take, of several."""
    trust_pickle: bool = False
    """Whether ``tokens`` may be a pickle."""
    truncate: int | None = None
    """Take the first rows only."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One file format: how it is read and written, and which options mean something to it."""

    doc: str
    read: Callable[[Path, Options], Vectors]
    write: Callable[[IO[bytes], Path, VectorsLike], None]
    takes: tuple[str, ...] = ()
    """Of the options ``names``, ``tokens``, ``tensor``: those it can use."""
    names_beside: bool = False
    """It holds no words: they stand in a file beside it (``words.beside``)."""


def check_table(file: Path, vectors: NDArray[Any]) -> None:
    """Refuses what is not a table of numbers."""
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        msg = f"{file}: vectors must be a table of numbers, found shape {vectors.shape} of {vectors.dtype}"
        raise InputError(msg)


def checked(file: Path, found: Vectors) -> Vectors:
    """The vectors as contiguous float32 rows of distinct, non-empty words."""
    genes, vectors = found.genes, found.vectors
    check_table(file, vectors)
    if genes.ndim != 1 or len(genes) != len(vectors):
        msg = f"{file}: {genes.size} names for {len(vectors)} vectors; there must be one name a vector"
        raise InputError(msg)
    if 0 in vectors.shape:
        msg = f"{file}: holds {vectors.shape[0]} vectors of {vectors.shape[1]} components; nothing to import"
        raise InputError(msg)
    words, counts = np.unique(genes, return_counts=True)
    if words[0] == "":
        msg = f"{file}: row {int(np.flatnonzero(genes == '')[0]) + 1} has an empty name"
        raise InputError(msg)
    if len(words) < len(genes):
        twice = ", ".join(repr(str(w)) for w in words[counts > 1][:SHOWN])
        msg = f"{file}: {len(genes) - len(words)} rows repeat a name: {twice}; keep one row a name"
        raise InputError(msg)
    with np.errstate(over="ignore"):
        narrow = np.ascontiguousarray(vectors, dtype=np.float32)
    finite = np.isfinite(narrow).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        msg = (
            f"{file}: {int((~finite).sum())} vectors hold NaN, infinite or too large values, "
            f"first {str(genes[row])!r} (row {row + 1}); remove them"
        )
        raise InputError(msg)
    return found._replace(vectors=narrow)


def card_of(text: Any) -> dict[str, Any]:
    """A card that came with a file; what is no JSON object is left."""
    try:
        card = json.loads(text) if text else {}
    except (TypeError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def heavy(name: str) -> Any:
    """A library that one format or one method needs, loaded on first use.

    anndata and gensim take seconds to import, even pyarrow.compute 50 ms, and ``g2v similar``, which loads
    this package, must answer within one: so this is the one place that loads libraries late.
    """
    return importlib.import_module(name)
