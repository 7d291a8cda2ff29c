"""Lines of a word and its numbers, parsed and written by Arrow: exact in float32 both ways, and quick."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from g2v_dask.exchange.base import heavy

TEXT_ROWS = 4096  # formatted at once; 4,096 × 200 values are about 10 MB of text
TEXT_BLOCK_BYTES = 16 << 20  # parsed at once; a line must fit


def batches(
    stream: IO[bytes], components: int, *, apart: str, quoted: bool, spare: bool = False
) -> Iterator[pa.RecordBatch]:
    """Blocks of lines, parsed by Arrow straight into float32 (correctly rounded).

    ``quoted`` as in CSV, where empty lines mean nothing either; ``spare`` is a last column that is not looked at.
    Raises: pa.ArrowInvalid for a line with other fields, UnicodeDecodeError.
    """
    names = [str(i) for i in range(components + 1 + spare)]
    types = {name: pa.float32() for name in names} | {names[0]: pa.string()}
    if spare:
        types[names[-1]] = pa.string()
    options = pa.csv.ConvertOptions(column_types=types, null_values=[], strings_can_be_null=False)
    parse = pa.csv.ParseOptions(
        delimiter=apart, quote_char='"' if quoted else False, double_quote=quoted, ignore_empty_lines=quoted
    )
    reader = pa.csv.ReadOptions(column_names=names, use_threads=False, block_size=TEXT_BLOCK_BYTES)
    yield from pa.csv.open_csv(stream, read_options=reader, parse_options=parse, convert_options=options)


def lines(words: list[str], vectors: NDArray[np.float32], apart: str) -> Iterator[bytes]:
    """Words and numbers as lines; a number is the shortest decimal that reads back as the same float32."""
    join = heavy("pyarrow.compute").binary_join_element_wise
    for start in range(0, len(words), TEXT_ROWS):
        block = vectors[start : start + TEXT_ROWS]
        columns: list[Any] = [pa.array(words[start : start + TEXT_ROWS], pa.string())]
        columns += [pa.array(np.ascontiguousarray(c)).cast(pa.string()) for c in block.T]
        yield "".join(f"{line}\n" for line in join(*columns, apart).to_pylist()).encode()
