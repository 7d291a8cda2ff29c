"""Tables: a word and its numbers a row, as Parquet, CSV or TSV."""

from __future__ import annotations

import csv
import functools
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from g2v_dask.errors import InputError
from g2v_dask.exchange import texts
from g2v_dask.exchange.base import Format, Options, Vectors, VectorsLike, card_of

CARD_KEY = "g2v.card"  # of Parquet's metadata
LINE_BYTES = 1 << 22  # of the first line of a text table, at most
LABELS = frozenset({"", "gene", "gene_id", "gene_name", "symbol", "word", "token", "name", "id", "index"})
COUNTED = 8  # columns from which on 0, 1, 2 … are column numbers, not values


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


def _read_parquet(file: Path, options: Options) -> Vectors:
    try:
        table = pq.read_table(file).slice(0, options.truncate)
        columns = table.column_names
        genes = table.column("gene_id").to_pylist() if "gene_id" in columns else []
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        msg = f"{file} is not a whole Parquet file: {error}; download or export it again"
        raise InputError(msg) from error
    names = [n for n in columns if n != "gene_id"]
    # polars and recent pandas write texts as large ones
    if "gene_id" not in columns or table.schema.field("gene_id").type not in (pa.string(), pa.large_string()):
        msg = f"{file}: needs a column gene_id of texts; its columns are {', '.join(columns[:8])}"
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
    words = np.array([gene or "" for gene in genes], dtype=np.str_)
    return Vectors(words, vectors, card_of((table.schema.metadata or {}).get(CARD_KEY.encode())))


# -- CSV and TSV --------------------------------------------------------------------------------------------


def _write_delimited(stream: IO[bytes], path: Path, embedding: VectorsLike, *, apart: str) -> None:
    """A header, then a row a word, quoted where it must be; numbers as short as they read back the same."""
    words: list[str] = [_quoted(word, apart) for word in embedding.genes.tolist()]
    header = apart.join(["gene_id", *(f"component_{i}" for i in range(embedding.vectors.shape[1]))])
    lines = (f"{header}\n".encode(), *texts.lines(words, embedding.vectors, apart))
    if path.suffix.lower() == ".gz":
        # no name and no time in it: the same vectors give the same bytes
        with gzip.GzipFile(filename="", mode="wb", fileobj=stream, mtime=0) as packed:
            packed.writelines(lines)
    else:
        stream.writelines(lines)


def _quoted(word: str, apart: str) -> str:
    if "\n" in word or "\r" in word:
        msg = f"a table of text cannot hold the word {word!r}: it has a line break; use .npz or .parquet"
        raise InputError(msg)
    return '"{}"'.format(word.replace('"', '""')) if apart in word or '"' in word else word


def _read_delimited(file: Path, options: Options, *, apart: str) -> Vectors:
    words: list[str] = []
    blocks = []
    try:
        with _unpacked(file) as stream:
            components = _start(file, stream, apart)
            for batch in _batches(stream, components, apart):
                left = None if options.truncate is None else options.truncate - len(words)
                words += batch.column(0).slice(0, left).to_pylist()
                blocks.append(np.stack([c.to_numpy()[:left] for c in batch.columns[1:]], axis=1))
                if len(words) == options.truncate:
                    break
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        msg = f"{file} is a damaged gzip file ({error}); download it again"
        raise InputError(msg) from error
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        msg = f"{file}: each row must hold a word and {components} numbers, apart by {_named(apart)}: {error}"
        raise InputError(msg) from error
    return Vectors(np.array(words, dtype=np.str_), np.concatenate(blocks), {})


def _unpacked(file: Path) -> IO[bytes]:
    """The file's content; gzip is told by its first bytes, whatever the name."""
    with file.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(file)) if packed else file.open("rb")


def _batches(stream: IO[bytes], components: int, apart: str) -> Iterator[pa.RecordBatch]:
    return texts.batches(stream, components, apart=apart, quoted=True)


def _start(file: Path, stream: IO[bytes], apart: str) -> int:
    """The number of components; the stream is left at the first row of numbers.

    The first line is a header if what follows its first field are no numbers; if its first field is empty or a
    usual label (gene, symbol, word …); or if its numbers only count eight or more columns (0, 1, 2 …), as
    pandas names them.
    """
    first = _fields(file, stream.readline(LINE_BYTES), apart)
    if not _is_header(file, first):
        stream.seek(0)
        return len(first) - 1
    start = stream.tell()
    line = stream.readline(LINE_BYTES)
    if not line.strip():
        msg = f"{file}: holds a header and no rows; nothing to import"
        raise InputError(msg)
    stream.seek(start)
    return len(_fields(file, line, apart)) - 1  # R writes no label over the words: its header is one field short


def _fields(file: Path, line: bytes, apart: str) -> list[str]:
    try:
        fields = next(csv.reader(io.StringIO(line.decode("utf-8-sig").rstrip("\r\n")), delimiter=apart), [])
    except (UnicodeDecodeError, csv.Error) as error:
        msg = f"{file}: a line must be a text in UTF-8, fields apart by {_named(apart)}: {error}"
        raise InputError(msg) from error
    if len(fields) < 2:
        msg = (
            f"{file}: expected a word and its numbers apart by {_named(apart)}, found {line[:60]!r}; "
            f".csv files are apart by commas, .tsv files by tabs"
        )
        raise InputError(msg)
    return fields


def _is_header(file: Path, fields: list[str]) -> bool:
    label, *rest = fields
    if label.strip().lower() in LABELS:
        return True
    texts_ = [field for field in rest if field.strip() and not _is_number(field)]
    if texts_:
        if len(texts_) < len(rest):
            msg = (
                f"{file}: the first line mixes numbers and texts ({texts_[0]!r}); it must be a header, or a word "
                f"and its numbers"
            )
            raise InputError(msg)
        return True
    counted = [[str(start + i) for i in range(len(rest))] for start in (0, 1)]
    return len(rest) >= COUNTED and rest in counted


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _named(apart: str) -> str:
    return "tabs" if apart == "\t" else "commas"


def _delimited(doc: str, apart: str) -> Format:
    return Format(
        doc=doc,
        read=functools.partial(_read_delimited, apart=apart),
        write=functools.partial(_write_delimited, apart=apart),
    )


_CSV = _delimited("words, then numbers, apart by commas", ",")
_TSV = _delimited("the same apart by tabs", "\t")
FORMATS: Mapping[str, Format] = {
    ".parquet": Format(doc="gene_id and one column a component", read=_read_parquet, write=_write_parquet),
    ".csv": _CSV,
    ".csv.gz": _CSV,
    ".tsv": _TSV,
    ".tsv.gz": _TSV,
}
