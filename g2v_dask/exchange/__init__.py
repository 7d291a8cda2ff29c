"""Embeddings as files that other tools read, and back: word2vec, tables, NumPy, safetensors, AnnData.

A format is one entry of ``FORMATS``, told by the file's extension. Whatever is read is checked in one place
(``base.checked``); whatever is written is put in place by rename. Nothing is ever unpickled by Python itself:
a pickled token dictionary is read, where the user trusts it, by ``pickles``, which knows numbers and texts only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from g2v_dask.errors import InputError
from g2v_dask.exchange import h5ad, numpy_files, safetensors_, tables, word2vec, words
from g2v_dask.exchange.base import Format, Options, Vectors, VectorsLike, checked
from g2v_dask.exchange.descriptions import describe
from g2v_dask.exchange.h5ad import to_anndata
from g2v_dask.exchange.word2vec import to_keyedvectors
from g2v_dask.files import placed, write_file
from g2v_dask.options import nearest

__all__ = [
    "FORMATS",
    "Format",
    "Options",
    "Vectors",
    "VectorsLike",
    "describe",
    "format_of",
    "read",
    "settle",
    "sniff",
    "to_anndata",
    "to_keyedvectors",
    "write",
]

HTML_MARKS = (b"<!doctype", b"<html", b"<head", b"<?xml")
FORMATS: Mapping[str, Format] = {
    **word2vec.FORMATS,
    **tables.FORMATS,
    **numpy_files.FORMATS,
    **safetensors_.FORMATS,
    **h5ad.FORMATS,
}


def write(path: Path, embedding: VectorsLike) -> None:
    """Writes an embedding in the format of the file's extension; the file is whole, or not there.

    A format without words (.npy) gets a second file beside it: ``STEM.names.txt``, one word a line.
    Raises: InputError for an unknown extension, a folder that is not there, or a word that the format
            cannot hold (word2vec: white space; tables and names files: a line break).
    """
    file = Path(path).expanduser()
    form = format_of(file)
    if not file.parent.is_dir():
        msg = f"cannot write {file}: there is no folder {file.parent}; make it first"
        raise InputError(msg)
    if file.is_dir():
        msg = f"cannot write {file}: it is a folder; name a file in it"
        raise InputError(msg)
    with placed(file) as part, part.open("wb") as stream:
        form.write(stream, part, embedding)
        if form.names_beside:
            write_file(words.beside(file), words.one_a_line(embedding.genes.tolist()))


def read(path: Path, options: Options | None = None) -> Vectors:
    """The vectors of a file, checked.

    Memory: the vectors twice; texts 16 MiB more; all formats but word2vec and tables all rows before they are cut.
    Raises: InputError for a file that is missing, of an unknown extension, a web page or truncated; for
            no rows, rows of other lengths, values that are not finite in float32, and words that are empty
            or there twice; for rows without words; for an option that the format has no use for.
    """
    file = sniff(path)
    return checked(file, format_of(file).read(file, settle(file, options or Options())))


def settle(file: Path, options: Options) -> Options:
    """The options as they will be used: those of the format only, and with the names file that lies beside it.

    Raises: InputError for an option that the format has no use for, and for files that cannot be read.
    """
    form = format_of(file)
    for name in ("names", "tokens", "tensor"):
        if getattr(options, name) is not None and name not in form.takes:
            those = sorted(suffix for suffix, f in FORMATS.items() if name in f.takes)
            msg = f"{file}: --{name} is of no use to {suffix_of(file)} files ({form.doc}), but to {', '.join(those)}"
            raise InputError(msg)
    if options.names is not None and options.tokens is not None:
        msg = f"{file}: --names and --tokens both say what the rows are; give one of them"
        raise InputError(msg)
    if options.trust_pickle and options.tokens is None:
        msg = f"{file}: --trust-pickle speaks of the file of --tokens, and there is none; leave it out"
        raise InputError(msg)
    if form.names_beside and options.names is None and options.tokens is None and words.beside(file).is_file():
        return dataclasses.replace(options, names=words.beside(file))
    return options


def sniff(path: Path) -> Path:
    """The file, if it is there, has a known extension and is not a web page; reads its first bytes only."""
    file = Path(path).expanduser()
    format_of(file)
    try:
        with file.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        msg = f"cannot read {file}: {error.strerror} (looked from {Path.cwd()})"
        raise InputError(msg) from error
    if head.lstrip().lower().startswith(HTML_MARKS):
        msg = f"{file} is a web page, not vectors; download the file itself, not the page about it"
        raise InputError(msg)
    if not head:
        msg = f"{file} is empty; download or export it again"
        raise InputError(msg)
    return file


def format_of(file: Path) -> Format:
    """The format of a file's extension."""
    suffix = suffix_of(file)
    found = FORMATS.get(suffix)
    if found is None:
        known = ", ".join(f"{known} ({f.doc})" for known, f in FORMATS.items())
        msg = f"{file}: unknown extension {suffix!r}{nearest(suffix, FORMATS)}; known: {known}"
        raise InputError(msg)
    return found


def suffix_of(file: Path) -> str:
    """The extension, in small letters; of a gzip file with the one before."""
    *_, before, last = "", "", *file.suffixes
    return (before + last if last.lower() == ".gz" else last).lower()
