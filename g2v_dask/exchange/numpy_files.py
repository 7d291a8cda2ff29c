"""NumPy's own files: .npz with names in it, .npy with names beside it."""

from __future__ import annotations

import json
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from g2v_dask.errors import InputError
from g2v_dask.exchange.base import Format, Options, Vectors, VectorsLike, card_of
from g2v_dask.exchange.words import name_rows

# what NumPy's readers of zip, deflate and headers raise for damage
_ZIP = (zipfile.BadZipFile, zlib.error, RuntimeError)
_HEADER = (OSError, EOFError, ValueError, TypeError, AttributeError, SyntaxError, tokenize.TokenError)


def _write_npz(stream: IO[bytes], _path: Path, embedding: VectorsLike) -> None:
    card = np.array(json.dumps(dict(embedding.card)))
    np.savez(stream, genes=embedding.genes.astype(np.str_), vectors=embedding.vectors, card=card)


def _read_npz(file: Path, options: Options) -> Vectors:
    """Our own arrays (genes, vectors, card), or one table of numbers and, beside it, one list of ids."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays: dict[str, NDArray[Any]] = {name: np.asarray(archive[name]) for name in archive.files}
        card = card_of(arrays["card"].item() if "card" in arrays else None)
    except (*_ZIP, *_HEADER) as error:
        msg = (
            f"{file} is not a whole npz file of plain arrays ({error}); save it with numpy.savez, texts as "
            f"names.astype(str)"
        )
        raise InputError(msg) from error
    if {"genes", "vectors"} <= set(arrays):
        ids, vectors = arrays["genes"], arrays["vectors"]
        if ids.ndim != 1 or ids.dtype.kind not in "UTiu":
            msg = f"{file}: genes must be a list of texts (dtype str), found shape {ids.shape} of {ids.dtype}"
            raise InputError(msg)
        return name_rows(file, vectors, options, ids=ids, card=card)
    tables = [array for array in arrays.values() if array.ndim == 2 and array.dtype.kind == "f"]
    lists = [array for array in arrays.values() if array.ndim == 1 and array.dtype.kind in "UTiu"]
    if len(tables) != 1 or len(lists) > 1:
        held = ", ".join(f"{name} {array.shape} of {array.dtype}" for name, array in arrays.items())
        msg = (
            f"{file}: needs arrays genes and vectors, or one table of floats and one list of texts or tokens; "
            f"it holds {held or 'nothing'}"
        )
        raise InputError(msg)
    return name_rows(file, tables[0], options, ids=lists[0] if lists else None, card=card)


def _write_npy(stream: IO[bytes], _path: Path, embedding: VectorsLike) -> None:
    np.save(stream, np.ascontiguousarray(embedding.vectors), allow_pickle=False)


def _read_npy(file: Path, options: Options) -> Vectors:
    try:
        with file.open("rb") as stream:
            vectors = np.lib.format.read_array(stream, allow_pickle=False)
    except _HEADER as error:
        msg = f"{file} is not a whole npy file of numbers ({error}); save it with numpy.save"
        raise InputError(msg) from error
    return name_rows(file, vectors, options)


FORMATS: Mapping[str, Format] = {
    ".npz": Format(doc="NumPy: genes, vectors", read=_read_npz, write=_write_npz, takes=("names", "tokens")),
    ".npy": Format(
        doc="NumPy, names beside it", read=_read_npy, write=_write_npy, takes=("names", "tokens"), names_beside=True
    ),
}
