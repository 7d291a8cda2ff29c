"""The small files that come along with vectors: texts and JSON, plain or gzip."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

from g2v_dask.errors import InputError


def bytes_of(file: Path) -> bytes:
    """A file's content, unpacked if it is gzip.

    Raises: InputError if it cannot be read, is empty, or is a damaged gzip file.
    """
    try:
        raw = file.read_bytes()
        raw = gzip.decompress(raw) if raw.startswith(b"\x1f\x8b") else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        msg = f"{file} is a damaged gzip file ({error}); download it again"
        raise InputError(msg) from error
    except OSError as error:
        msg = f"cannot read {file}: {error.strerror} (looked from {Path.cwd()})"
        raise InputError(msg) from error
    if not raw.strip():
        msg = f"{file} is empty; download or make it again"
        raise InputError(msg)
    return raw


def text_of(file: Path) -> str:
    """A file's text, UTF-8.

    Raises: InputError as ``bytes_of``, and for other bytes.
    """
    try:
        return bytes_of(file).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{file} must be a text in UTF-8: {error}"
        raise InputError(msg) from error


def json_of(file: Path) -> Any:
    """A file's JSON value.

    Raises: InputError as ``text_of``, for what is no JSON, and for an object that holds a key twice.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                msg = f"{file}: the key {key!r} is there twice; keep one"
                raise InputError(msg)
            found[key] = value
        return found

    text = text_of(file)
    try:
        return json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        msg = f"{file} must be JSON: {error}; it begins with {text[:40]!r}"
        raise InputError(msg) from error
