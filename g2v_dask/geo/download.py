"""One file: asked for only if it changed, resumed where it broke off, and checked whole before it counts."""

from __future__ import annotations

import gzip
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import requests

from g2v_dask.errors import StoreError
from g2v_dask.files import file_sha256
from g2v_dask.folders import Folder
from g2v_dask.geo.contents import Seen
from g2v_dask.geo.ledger import File
from g2v_dask.geo.web import Web, WebError, check_length, shown

PARTIAL = ".partial"  # folders pass over names that hold it


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A file to fetch."""

    name: str
    """Below ``files/``."""
    kind: str
    url: str
    check: Callable[[Path], Seen]
    """Raises WebError if the content is not what it should be."""
    query: Mapping[str, str] | None = None
    program: bool = False
    """Whether a program of NCBI's makes it: then the pace holds."""
    pack: bool = False
    """Whether it comes as text and is to be kept as gzip."""


def download(web: Web, files: Folder, wanted: Wanted, known: File | None) -> tuple[File, Seen] | None:
    """The file, in its place in the folder, and what it holds; None if ``known`` still is what the server has.

    Raises: WebError if it cannot be had; StoreError if it cannot be written.
    """
    target = files.desk / wanted.name
    part = target.with_name(f".{target.name}{PARTIAL}")
    answer = web.patiently(lambda: _once(web, wanted, known, part))
    if answer is None:
        return None
    headers, seen = answer
    try:
        _place(part, target, pack=wanted.pack)
        files.send(wanted.name)
        size, digest = target.stat().st_size, file_sha256(target)
        if not files.is_local:
            target.unlink()  # the bucket has it; who reads it brings a copy
    except OSError as error:
        raise _unwritten(target, error) from error
    finally:
        _discard(part)
    etag, modified = headers.get("ETag"), headers.get("Last-Modified")
    return (
        File(
            name=wanted.name,
            kind=wanted.kind,
            url=requests.Request("GET", wanted.url, params=wanted.query).prepare().url or wanted.url,
            bytes=size,
            sha256=digest,
            etag=etag,
            last_modified=modified,
            rows=seen.rows,
            samples=seen.samples,
            platforms=seen.platforms,
        ),
        seen,
    )


def _once(web: Web, wanted: Wanted, known: File | None, part: Path) -> tuple[Mapping[str, str], Seen] | None:
    """One try: what is missing of the partial file, then its checks."""
    where = shown(wanted.url)
    have, tag = _begun(part)
    headers = {"Accept-Encoding": "identity"}
    if tag:
        headers |= {"Range": f"bytes={have}-", "If-Range": tag}
    elif known is not None:
        headers |= {"If-None-Match": known.etag} if known.etag else {}
        headers |= {"If-Modified-Since": known.last_modified} if known.last_modified else {}
    try:
        with web.opened(wanted.url, query=wanted.query, headers=headers, paced=wanted.program) as response:
            if response.status_code == 304 or (known is not None and _unchanged(known, response.headers)):
                return None
            resumed = response.status_code == 206 and _begins_at(response, have)
            if response.status_code == 206 and not resumed:
                _discard(part)
                msg = f"{where}: another range than the one asked for"
                raise WebError(msg)
            _begin(part, response.headers, resumed=resumed)
            expected = response.headers.get("Content-Length")
            got = _write(web, response, part, where, resumed=resumed)
            check_length(where, got, expected)
            found = dict(response.headers)
    except WebError as fault:
        if fault.gone or fault.status == 416:
            _discard(part)
        raise
    try:
        return found, wanted.check(part)
    except WebError as fault:
        _discard(part)
        msg = f"{where}: {fault}"
        raise WebError(msg) from None


def _unchanged(known: File, headers: Mapping[str, str]) -> bool:
    """Whether an answer is what is there already, by its tag or date, or where it has neither by its length."""
    etag, modified, length = headers.get("ETag"), headers.get("Last-Modified"), headers.get("Content-Length")
    if etag and known.etag:
        return etag == known.etag
    if modified and known.last_modified:
        return modified == known.last_modified
    return length is not None and length == str(known.bytes) and not (etag or modified)


def _begun(part: Path) -> tuple[int, str]:
    """How much of the file is there, and the validator it was sent with; no validator, no resuming."""
    try:
        return part.stat().st_size, _tag(part).read_text("latin-1")
    except OSError:
        return 0, ""


def _begin(part: Path, headers: Mapping[str, str], *, resumed: bool) -> None:
    """Writes down the validator before the first byte. A weak ETag is none (RFC 9110, 13.1.5)."""
    if resumed:
        return
    _discard(part)
    etag = headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        if validator:
            _tag(part).write_text(validator, "latin-1")
    except OSError as error:
        raise _unwritten(part, error) from error


def _write(web: Web, response: requests.Response, part: Path, where: str, *, resumed: bool) -> int:
    """Puts the body into the partial file; how many bytes came.

    Raises: WebError if what comes is HTML, or breaks off; StoreError if the disk does not take it.
    """
    got = 0
    with _writable(part, "ab" if resumed else "wb") as stream:
        for piece in web.pieces(response, where):
            if not got and not resumed and piece.lstrip()[:1] == b"<":
                _discard(part)
                msg = f"{where}: HTML came instead of the file"
                raise WebError(msg)
            try:
                stream.write(piece)
            except OSError as error:
                _discard(part)  # gives the space back
                raise _unwritten(part, error) from error
            got += len(piece)
    return got


def _writable(part: Path, mode: str) -> BinaryIO:
    """The partial file; not buffered, so that a full disk shows in ``write`` and not at the end."""
    try:
        return part.open(mode, buffering=0)  # type: ignore[return-value]
    except OSError as error:
        raise _unwritten(part, error) from error


def _begins_at(response: requests.Response, have: int) -> bool:
    return re.match(rf"bytes {have}-", response.headers.get("Content-Range", "")) is not None


def _place(part: Path, target: Path, *, pack: bool) -> None:
    if pack:
        bare = part.with_name(f"{part.name}.gz")
        try:
            with part.open("rb") as text, bare.open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as out:
                shutil.copyfileobj(text, out, 1 << 20)
            bare.replace(target)
        finally:
            bare.unlink(missing_ok=True)
    else:
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(target)


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _tag(part).unlink(missing_ok=True)


def _tag(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _unwritten(path: Path, error: OSError) -> StoreError:
    if isinstance(error, StoreError):
        return error
    return StoreError(
        f"cannot write {path}: {error.strerror or error}; make space there, or make it writable, "
        "and run the same command again"
    )
