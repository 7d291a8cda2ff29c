"""word2vec's own files, text and binary, and gensim's object of them."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from g2v_dask.errors import InputError
from g2v_dask.exchange import texts
from g2v_dask.exchange.base import Format, Options, Vectors, VectorsLike, heavy

MOST_COMPONENTS = 1 << 16  # over this a header is taken for damage


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


def _read_text(file: Path, options: Options) -> Vectors:
    with file.open("rb") as stream:
        rows, components = _header(file, stream.readline(1000))
        wanted = _wanted(file, rows, components, 2 * components + 2, options.truncate)
        start = stream.tell()
        # word2vec in C ends each line with a space: an empty last column
        spare = stream.readline(texts.TEXT_BLOCK_BYTES).rstrip(b"\r\n").endswith(b" ")
        stream.seek(start)
        vectors = np.empty((wanted, components), dtype=np.float32)
        words: list[str] = []
        try:
            for batch in texts.batches(stream, components, apart=" ", quoted=False, spare=spare):
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


def _write_text(stream: IO[bytes], _path: Path, embedding: VectorsLike) -> None:
    words = _words_without_space(embedding)
    stream.write(b"%d %d\n" % embedding.vectors.shape)
    stream.writelines(texts.lines(words, embedding.vectors, " "))


def _words_without_space(embedding: VectorsLike) -> list[str]:
    words: list[str] = embedding.genes.tolist()
    for word in words:
        if not word or word.split() != [word]:
            msg = f"word2vec files cannot hold the word {word!r}: it has white space; use .npz or .parquet"
            raise InputError(msg)
    return words


def _read_binary(file: Path, options: Options) -> Vectors:
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        rows, components = _header(file, data[: max(0, data.find(b"\n", 0, 1000))])
        wanted = _wanted(file, rows, components, 4 * components + 2, options.truncate)
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


def to_keyedvectors(embedding: VectorsLike) -> Any:
    """A gensim KeyedVectors of the same words in the same order; the vectors are copied."""
    keyed = heavy("gensim.models").KeyedVectors(embedding.vectors.shape[1], dtype=np.float32)
    keyed.add_vectors(embedding.genes.tolist(), embedding.vectors)
    return keyed


_TEXT = Format(doc="word2vec text", read=_read_text, write=_write_text)
FORMATS: Mapping[str, Format] = {
    ".txt": _TEXT,
    ".vec": _TEXT,
    ".bin": Format(doc="word2vec binary", read=_read_binary, write=_write_binary),
}
