"""Embeddings as files that other tools read, and back: word2vec text and binary, Parquet, npz, h5ad.

A format is one entry of ``FORMATS``, told by the file's extension. Whatever is read is checked in one place
(``_checked``); whatever is written is put in place by rename. Nothing is ever unpickled.
"""

from __future__ import annotations

import importlib
import json
import mmap
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from g2v_dask.errors import InputError
from g2v_dask.files import placed
from g2v_dask.spec import nearest

TEXT_ROWS = 4096  # formatted at once; 4,096 × 200 values are about 10 MB of text
TEXT_BLOCK_BYTES = 16 << 20  # parsed at once; a line must fit
MOST_COMPONENTS = 1 << 16  # over this a header is taken for damage
CARD_KEY = "g2v.card"  # of Parquet's metadata
HTML_MARKS = (b"<!doctype", b"<html", b"<head", b"<?xml")


class Vectors(NamedTuple):
    """The vectors of a file: words, one row each, and what the file says of them."""

    genes: NDArray[np.str_]
    vectors: NDArray[np.float32]
    card: dict[str, Any]


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
class Format:
    """One file format: how it is read (all of it, or the first rows) and written."""

    doc: str
    read: Callable[[Path, int | None], Vectors]
    write: Callable[[IO[bytes], Path, VectorsLike], None]


def write(path: Path, embedding: VectorsLike) -> None:
    """Writes an embedding in the format of the file's extension; the file is whole, or not there.

    Raises: InputError for an unknown extension, a folder that is not there, or a word that the format
            cannot hold (word2vec: white space).
    """
    file = Path(path).expanduser()
    writer = format_of(file).write
    if not file.parent.is_dir():
        msg = f"cannot write {file}: there is no folder {file.parent}; make it first"
        raise InputError(msg)
    if file.is_dir():
        msg = f"cannot write {file}: it is a folder; name a file in it"
        raise InputError(msg)
    with placed(file) as part, part.open("wb") as stream:
        writer(stream, part, embedding)


def read(path: Path, *, truncate: int | None = None) -> Vectors:
    """The vectors of a file, checked; ``truncate`` takes the first rows only.

    Memory: the vectors twice; word2vec text 16 MiB more, h5ad and npz all rows before they are cut.
    Raises: InputError for a file that is missing, of an unknown extension, a web page or truncated; for
            no rows, rows of other lengths, values that are not finite in float32, and words that are empty
            or there twice.
    """
    file = sniff(path)
    found = FORMATS[file.suffix.lower()].read(file, truncate)
    return _checked(file, found)


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
    found = FORMATS.get(file.suffix.lower())
    if found is None:
        known = ", ".join(f"{suffix} ({f.doc})" for suffix, f in FORMATS.items())
        hint = nearest(file.suffix.lower(), FORMATS)
        msg = f"{file}: unknown extension {file.suffix!r}{hint}; known: {known}"
        raise InputError(msg)
    return found


def _checked(file: Path, found: Vectors) -> Vectors:
    """The vectors as contiguous float32 rows of distinct, non-empty words."""
    genes, vectors = found.genes, found.vectors
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiu":
        msg = f"{file}: vectors must be a table of numbers, found shape {vectors.shape} of {vectors.dtype}"
        raise InputError(msg)
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
        twice = ", ".join(repr(str(w)) for w in words[counts > 1][:5])
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
    return Vectors(genes, narrow, found.card)


def _heavy(name: str) -> Any:
    """A library that one format or one method needs, loaded on first use.

    anndata and gensim take seconds to import, even pyarrow.compute 50 ms, and ``g2v similar``, which loads
    this module, must answer within one: so this is the one place that loads libraries late.
    """
    return importlib.import_module(name)


# -- word2vec -----------------------------------------------------------------------------------------------


def _header(file: Path, line: bytes) -> tuple[int, int]:
    """Rows and components, from word2vec's first line."""
    fields = line.split()
    if len(line) > 100 or len(fields) != 2 or not all(f.isdigit() for f in fields):
        msg = (
            f"{file}: the first line of a word2vec file says 'rows components', for instance '20000 200'; "
            f"found {line[:60]!r}. Files of GloVe lack that line: put it first"
        )
        raise InputError(msg)
    rows, components = (int(f) for f in fields)
    if not (rows > 0 and 0 < components <= MOST_COMPONENTS):
        msg = f"{file}: the first line says {rows} rows of {components} values; expected 1 to {MOST_COMPONENTS}"
        raise InputError(msg)
    return rows, components


def _truncated(file: Path, rows: int, components: int, found: int, unit: str = "rows") -> InputError:
    return InputError(
        f"{file}: the first line says {rows} rows of {components} components, the file holds {found} {unit}; "
        f"it is truncated or damaged: download or export it again"
    )


def _wanted(file: Path, rows: int, components: int, least_bytes: int, truncate: int | None) -> int:
    """How many rows to read; checks the header against the file's length before memory is taken."""
    size = file.stat().st_size
    if size < rows * least_bytes:
        raise _truncated(file, rows, components, size, "bytes")
    return rows if truncate is None else min(rows, truncate)


def _read_text(file: Path, truncate: int | None) -> Vectors:
    with file.open("rb") as stream:
        rows, components = _header(file, stream.readline(1000))
        wanted = _wanted(file, rows, components, 2 * components + 2, truncate)
        start = stream.tell()
        # word2vec in C ends each line with a space: an empty last column
        spare = stream.readline(TEXT_BLOCK_BYTES).rstrip(b"\r\n").endswith(b" ")
        stream.seek(start)
        vectors = np.empty((wanted, components), dtype=np.float32)
        words: list[str] = []
        try:
            for batch in _text_batches(stream, components, spare=spare):
                take = min(batch.num_rows, wanted - len(words))
                if take < batch.num_rows and wanted == rows:
                    raise _truncated(file, rows, components, len(words) + batch.num_rows, "rows or more")
                block = vectors[len(words) : len(words) + take]
                for column in range(components):
                    block[:, column] = batch.column(column + 1).to_numpy()[:take]
                words += batch.column(0).slice(0, take).to_pylist()
                if len(words) == wanted < rows:
                    break
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            msg = (
                f"{file}: after the first line, each line must hold a word and {components} numbers, "
                f"apart by one space: {error}"
            )
            raise InputError(msg) from error
    if len(words) < wanted:
        raise _truncated(file, rows, components, len(words))
    return Vectors(np.array(words, dtype=np.str_), vectors, {})


def _text_batches(stream: IO[bytes], components: int, *, spare: bool) -> Iterator[pa.RecordBatch]:
    """Blocks of lines, parsed by Arrow straight into float32 (correctly rounded)."""
    names = [str(i) for i in range(components + 1 + spare)]
    types = {name: pa.float32() for name in names} | {names[0]: pa.string()}
    if spare:
        types[names[-1]] = pa.string()
    options = pa.csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False)
    parse = pa.csv.ParseOptions(delimiter=" ", quote_char=False, double_quote=False, ignore_empty_lines=False)
    reader = pa.csv.ReadOptions(column_names=names, use_threads=False, block_size=TEXT_BLOCK_BYTES)
    yield from pa.csv.open_csv(stream, read_options=reader, parse_options=parse, convert_options=options)


def _write_text(stream: IO[bytes], _path: Path, embedding: VectorsLike) -> None:
    words = _words_without_space(embedding)
    rows, components = embedding.vectors.shape
    join = _heavy("pyarrow.compute").binary_join_element_wise
    stream.write(b"%d %d\n" % (rows, components))
    for start in range(0, rows, TEXT_ROWS):
        block = embedding.vectors[start : start + TEXT_ROWS]
        columns: list[Any] = [pa.array(words[start : start + TEXT_ROWS], pa.string())]
        # Arrow writes the shortest decimal that reads back as the same float32
        columns += [pa.array(np.ascontiguousarray(c)).cast(pa.string()) for c in block.T]
        lines = join(*columns, " ").to_pylist()
        stream.write("".join(f"{line}\n" for line in lines).encode())


def _words_without_space(embedding: VectorsLike) -> list[str]:
    words: list[str] = embedding.genes.tolist()
    for word in words:
        if not word or word.split() != [word]:
            msg = f"word2vec files cannot hold the word {word!r}: it has white space; use .npz or .parquet"
            raise InputError(msg)
    return words


def _read_binary(file: Path, truncate: int | None) -> Vectors:
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        rows, components = _header(file, data[: max(0, data.find(b"\n", 0, 1000))])
        wanted = _wanted(file, rows, components, 4 * components + 2, truncate)
        vectors = np.empty((wanted, components), dtype="<f4")
        words: list[str] = []
        place = data.find(b"\n") + 1
        for row in range(wanted):
            space = data.find(b" ", place)
            end = space + 1 + 4 * components
            if space < 0 or end > len(data):
                raise _truncated(file, rows, components, row)
            # word2vec in C ends each row with a line feed, gensim does not
            words.append(_word(file, data[place:space].lstrip(b"\n"), row))
            vectors[row] = np.frombuffer(data[space + 1 : end], dtype="<f4")
            place = end
        if wanted == rows and data[place : place + 2] not in (b"", b"\n"):
            raise _truncated(file, rows, components, len(data) - place, "bytes more")
    return Vectors(np.array(words, dtype=np.str_), vectors, {})


def _word(file: Path, raw: bytes, row: int) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        msg = f"{file}: the word of row {row + 1} is not UTF-8: {raw[:60]!r}; the file is damaged"
        raise InputError(msg) from error


def _write_binary(stream: IO[bytes], _path: Path, embedding: VectorsLike) -> None:
    words = _words_without_space(embedding)
    stream.write(b"%d %d\n" % embedding.vectors.shape)
    for word, vector in zip(words, embedding.vectors, strict=True):
        stream.write(word.encode() + b" " + vector.astype("<f4").tobytes())


# -- Parquet ------------------------------------------------------------------------------------------------


def _write_parquet(stream: IO[bytes], _path: Path, embedding: VectorsLike) -> None:
    """``gene_id``, and one float column a component.

    Not one column of lists: pandas would make an object of each row. This way ``set_index("gene_id")`` in
    pandas, and ``drop("gene_id").to_numpy()`` in polars, is the matrix.
    """
    columns: dict[str, Any] = {"gene_id": pa.array(embedding.genes.tolist(), pa.string())}
    for number, column in enumerate(embedding.vectors.T):
        columns[f"component_{number}"] = pa.array(np.ascontiguousarray(column))
    table = pa.table(columns).replace_schema_metadata({CARD_KEY: json.dumps(dict(embedding.card))})
    pq.write_table(table, stream)


def _read_parquet(file: Path, truncate: int | None) -> Vectors:
    try:
        table = pq.read_table(file)
    except (pa.ArrowInvalid, OSError) as error:
        msg = f"{file} is not a whole Parquet file: {error}; download or export it again"
        raise InputError(msg) from error
    table = table.slice(0, truncate)
    names = [n for n in table.column_names if n != "gene_id"]
    if "gene_id" not in table.column_names or not pa.types.is_string(table.schema.field("gene_id").type):
        msg = f"{file}: needs a column gene_id of texts; its columns are {', '.join(table.column_names[:8])}"
        raise InputError(msg)
    for name in names:
        column = table.column(name)
        if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)) or column.null_count:
            msg = (
                f"{file}: column {name} must hold a number in every row, "
                f"found {column.type} with {column.null_count} nulls"
            )
            raise InputError(msg)
    vectors = np.empty((table.num_rows, len(names)), dtype=np.float32)
    with np.errstate(over="ignore"):
        for number, name in enumerate(names):
            vectors[:, number] = table.column(name).to_numpy()
    genes = np.array([g or "" for g in table.column("gene_id").to_pylist()], dtype=np.str_)
    return Vectors(genes, vectors, _card((table.schema.metadata or {}).get(CARD_KEY.encode())))


def _card(text: Any) -> dict[str, Any]:
    """A card that came with a file; what is no JSON object is left."""
    try:
        card = json.loads(text) if text else {}
    except (TypeError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


# -- NumPy and AnnData --------------------------------------------------------------------------------------


def _write_npz(stream: IO[bytes], _path: Path, embedding: VectorsLike) -> None:
    card = np.array(json.dumps(dict(embedding.card)))
    np.savez(stream, genes=embedding.genes.astype(np.str_), vectors=embedding.vectors, card=card)


def _read_npz(file: Path, truncate: int | None) -> Vectors:
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            missing = {"genes", "vectors"} - set(archive.files)
            if missing:
                msg = f"{file}: needs arrays genes and vectors; it holds {', '.join(archive.files)}"
                raise InputError(msg)
            genes, vectors = archive["genes"], archive["vectors"]
            card = _card(archive["card"].item() if "card" in archive.files else None)
    except InputError:
        raise
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, TypeError, AttributeError) as error:
        msg = f"{file} is not a whole npz file of plain arrays ({error}); save it with numpy.savez"
        raise InputError(msg) from error
    if genes.dtype.kind not in "UT":
        msg = f"{file}: genes must be texts (dtype str), found {genes.dtype}"
        raise InputError(msg)
    return Vectors(genes[:truncate].astype(np.str_), vectors[:truncate], card)


def to_anndata(embedding: VectorsLike) -> Any:
    """An AnnData object: genes as observations, vectors as X, the card as JSON in ``uns["card"]``."""
    pandas = _heavy("pandas")
    rows, components = embedding.vectors.shape
    return _heavy("anndata").AnnData(
        X=embedding.vectors,
        obs=pandas.DataFrame(index=pandas.Index(embedding.genes.astype(object), name="gene_id")),
        var=pandas.DataFrame(index=[f"component_{i}" for i in range(components)]),
        uns={"card": json.dumps(dict(embedding.card))},  # HDF5 has no place for null or lists of objects
    )


def _write_h5ad(_stream: IO[bytes], path: Path, embedding: VectorsLike) -> None:
    to_anndata(embedding).write_h5ad(path)


def _read_h5ad(file: Path, truncate: int | None) -> Vectors:
    try:
        data = _heavy("anndata").read_h5ad(file)
    except Exception as error:  # noqa: BLE001  (anndata wraps h5py's errors in several of its own)
        msg = f"{file} is not a whole h5ad file: {error}; download or export it again"
        raise InputError(msg) from error
    if data.X is None:
        msg = f"{file}: X is missing; the vectors must be in X, one observation a gene"
        raise InputError(msg)
    matrix = data.X[:truncate]
    vectors = matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)
    genes = np.asarray(data.obs_names[:truncate], dtype=np.str_)
    return Vectors(genes, vectors, _card(data.uns.get("card")))


def to_keyedvectors(embedding: VectorsLike) -> Any:
    """A gensim KeyedVectors of the same words in the same order; the vectors are copied."""
    keyed = _heavy("gensim.models").KeyedVectors(embedding.vectors.shape[1], dtype=np.float32)
    keyed.add_vectors(embedding.genes.tolist(), embedding.vectors)
    return keyed


_TEXT = Format(doc="word2vec text", read=_read_text, write=_write_text)
FORMATS: Mapping[str, Format] = {
    ".txt": _TEXT,
    ".vec": _TEXT,
    ".bin": Format(doc="word2vec binary", read=_read_binary, write=_write_binary),
    ".parquet": Format(doc="gene_id and one column a component", read=_read_parquet, write=_write_parquet),
    ".npz": Format(doc="NumPy: genes, vectors", read=_read_npz, write=_write_npz),
    ".h5ad": Format(doc="AnnData: obs_names, X", read=_read_h5ad, write=_write_h5ad),
}
