"""A big file taken apart into its groups in one pass, so that each dataset is then read alone.

A GCT of 56,000 × 17,000 in 54 tissues would otherwise be unpacked 54 times. Memory: a few blocks of text.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from g2v_dask.errors import InputError
from g2v_dask.readers import formats
from g2v_dask.readers.source import Block, Kind, Source

INDEX, ROWS = "scattered.json", "rows.parquet"
BLOCK_BYTES = 1 << 26  # of values read back at a time


def scatter(sources: Sequence[Source], folder: Path) -> None:
    """Writes the groups of one file to a folder: float64 rows × samples a group, and one table of row ids.

    Each file is put in place by rename, the index last. Without the index the folder holds nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    whole = _union(sources)
    at = {c: k for k, c in enumerate(whole.columns or ())}
    mark = f".{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp"
    names = {s.name: f"group-{k:04d}.f64" for k, s in enumerate(sources)}
    picks = [np.array([at[c] for c in s.columns or ()]) for s in sources]
    labels: list[str] = []
    ids: dict[str, list[str]] = {}
    with ExitStack() as stack:
        files = [stack.enter_context((folder / (n + mark)).open("wb")) for n in names.values()]
        for block in formats.read(whole):
            labels.extend(block.rows)
            for kind, words in block.ids.items():
                ids.setdefault(kind, []).extend(words)
            for file, pick in zip(files, picks, strict=True):
                np.take(block.values, pick, axis=1).tofile(file)
    pq.write_table(pa.table({"row": labels, **ids}), folder / (ROWS + mark))
    (folder / (INDEX + mark)).write_text(json.dumps({"rows": len(labels), "files": names}), "utf-8")
    for name in (*names.values(), ROWS, INDEX):
        (folder / (name + mark)).replace(folder / name)


def read_scattered(fetch: Callable[[str], Path], source: Source) -> Iterator[Block]:
    """One group of a scattered file in blocks of rows: the same as reading it from the file.

    ``fetch`` gives the path of a file of the folder by its name.
    Raises: InputError if the folder does not hold that group whole.
    """
    try:
        index = json.loads(fetch(INDEX).read_text("utf-8"))
        path = fetch(index["files"][source.name])
        size = path.stat().st_size
    except (FileNotFoundError, KeyError) as error:
        msg = f"{source.path}: its group {source.title!r} is not among what was scattered; run the same command again"
        raise InputError(msg) from error
    width = source.n_samples
    if size != index["rows"] * width * 8:
        msg = f"{path} has {size:,} bytes, expected {index['rows'] * width * 8:,}; scatter {source.path} again"
        raise InputError(msg)
    table = pq.read_table(fetch(ROWS))
    step = max(1, BLOCK_BYTES // (8 * width))
    with path.open("rb") as file:
        for start in range(0, index["rows"], step):
            part = table.slice(start, step)
            values = np.fromfile(file, dtype=np.float64, count=part.num_rows * width)
            kinds: dict[Kind, list[str]] = {k: part[k].to_pylist() for k in get_args(Kind) if k in part.column_names}
            yield Block(rows=part["row"].to_pylist(), ids=kinds, values=values.reshape(part.num_rows, width))


def _union(sources: Sequence[Source]) -> Source:
    """One source with the samples of all groups, in the order of the file."""
    pairs = sorted((column, sample) for s in sources for column, sample in zip(s.columns or (), s.samples, strict=True))
    columns, samples = zip(*pairs, strict=True)
    return replace(sources[0], columns=columns, samples=samples, group=None)
