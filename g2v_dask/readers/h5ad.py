"""h5ad files (anndata): dense or sparse matrix, samples × genes. Read with h5py alone: anndata takes seconds to load.

Layouts are those of anndata 0.7 and later (https://anndata.readthedocs.io/en/latest/fileformat-prose.html).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from g2v_dask.errors import InputError
from g2v_dask.options import nearest
from g2v_dask.readers import ids, split
from g2v_dask.readers.source import Block, Kind, Source, check_samples, infinite, safe_name, stem

CHUNK = 1 << 22  # stored numbers read at a time


def scan(
    path: Path,
    *,
    samples: Path | None = None,
    group_by: str | None = None,
    layer: str | None = None,
    prefix: str = "",
) -> list[Source]:
    """The datasets of an h5ad: all of it, or one a group of an obs column or of a sample table."""
    with _opened(path) as file:
        names = _index(path, file, "obs")
        check_samples(path, names)
        node, _ = _matrix(path, file, layer)
        n_genes = _shape(node)[1]
        groups = None
        if group_by is not None and samples is None:
            groups = dict(zip(names, _obs_column(path, file, group_by), strict=True))
    title = prefix + stem(path)
    whole = Source(
        path=path,
        format="h5ad",
        name=safe_name(title),
        title=title,
        samples=tuple(names),
        layer=layer,
        n_rows=n_genes,
    )
    if group_by is not None and samples is not None:
        groups = split.sample_groups(samples, group_by, names, of=path)
    return [whole] if groups is None else split.by_group(whole, groups, prefix=prefix)


def read(source: Source) -> Iterator[Block]:
    """The source's samples as one block; its values are a view of a samples × genes array.

    Raises: InputError if the matrix is no matrix of numbers, or holds ±inf.
    """
    with _opened(source.path) as file:
        node, var = _matrix(source.path, file, source.layer)
        shape = _shape(node)
        genes, kinds = _gene_ids(source.path, var)
        everyone = len(_index(source.path, file, "obs"))
        if shape != (everyone, len(genes)):
            msg = f"{source.path}: expected a matrix of {everyone:,} × {len(genes):,}, found {shape}"
            raise InputError(msg)
        wanted = np.arange(shape[0]) if source.columns is None else np.asarray(source.columns, dtype=np.int64)
        if isinstance(node, h5py.Dataset):
            values = _dense(node, wanted)
        elif _encoding(node) == "csr_matrix":
            values = _by_rows(node, wanted, shape[1])
        else:
            values = _by_columns(node, wanted, shape)
    if (bad := np.isinf(values)).any():
        sample, gene = np.argwhere(bad)[0]
        where = f"sample {source.samples[sample]!r}, gene {genes[gene]!r}"
        raise infinite(source.path, where, values[sample, gene])
    yield Block(rows=genes, ids=kinds, values=values.T)


def _opened(path: Path) -> Any:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        msg = f"{path} is not a readable HDF5 file (truncated?): {error}; fetch or write it again"
        raise InputError(msg) from error


def _matrix(path: Path, file: Any, layer: str | None) -> tuple[Any, Any]:
    """The node of the matrix and of its genes. ``raw`` names anndata's ``.raw``."""
    layers = list(file["layers"]) if "layers" in file else []
    if layer is None:
        node, var = file.get("X"), file["var"]
    elif layer in layers:
        node, var = file["layers"][layer], file["var"]
    elif layer == "raw" and "raw" in file:
        node, var = file["raw"].get("X"), file["raw"]["var"]
    else:
        known = [*layers, *(["raw"] if "raw" in file else [])]
        msg = f"{path} has no layer {layer!r}{nearest(layer, known)}; found {', '.join(known) or 'none'}"
        raise InputError(msg)
    sparse = isinstance(node, h5py.Group) and _encoding(node) in ("csr_matrix", "csc_matrix")
    dense = isinstance(node, h5py.Dataset) and len(node.shape) == 2 and node.dtype.kind in "iufb"
    if not sparse and not dense:
        kind = "nothing" if node is None else f"a {_encoding(node) or type(node).__name__}"
        msg = f"{path}: expected a dense or sparse (csr, csc) matrix of numbers in {layer or 'X'}, found {kind}"
        raise InputError(msg)
    return node, var


def _encoding(node: Any) -> str:
    found = node.attrs.get("encoding-type", "")
    if not found and "h5sparse_format" in node.attrs:
        found = f"{_text(node.attrs['h5sparse_format'])}_matrix"
    return _text(found)


def _shape(node: Any) -> tuple[int, int]:
    shape = node.shape if isinstance(node, h5py.Dataset) else node.attrs.get("shape", node.attrs.get("h5sparse_shape"))
    return int(shape[0]), int(shape[1])


def _dense(node: Any, wanted: NDArray[np.int64]) -> NDArray[np.float64]:
    values = np.empty((len(wanted), node.shape[1]))
    step = max(1, CHUNK // max(1, node.shape[1]))
    for start in range(0, len(wanted), step):
        part = wanted[start : start + step]  # sorted: h5py needs that
        low, high = int(part[0]), int(part[-1]) + 1
        if high - low <= 4 * len(part):  # HDF5 picks single rows slowly
            values[start : start + step] = node[low:high][part - low]
        else:
            values[start : start + step] = node[part]
    return values


def _by_rows(node: Any, wanted: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    values = np.zeros((len(wanted), width))
    starts = node["indptr"][:].astype(np.int64)
    for place, row in enumerate(wanted):
        low, high = starts[row], starts[row + 1]
        np.add.at(values[place], node["indices"][low:high], node["data"][low:high])
    return values


def _by_columns(node: Any, wanted: NDArray[np.int64], shape: tuple[int, int]) -> NDArray[np.float64]:
    values = np.zeros((len(wanted), shape[1]))
    place = np.full(shape[0], -1, dtype=np.int64)
    place[wanted] = np.arange(len(wanted))
    starts = node["indptr"][:].astype(np.int64)
    at = 0
    while at < shape[1]:
        end = max(at + 1, int(np.searchsorted(starts, starts[at] + CHUNK, side="right")) - 1)
        end = min(end, shape[1])
        low, high = starts[at], starts[end]
        rows = place[node["indices"][low:high]]
        columns = np.repeat(np.arange(at, end), np.diff(starts[at : end + 1]))
        data = np.asarray(node["data"][low:high], dtype=np.float64)
        kept = rows >= 0
        np.add.at(values, (rows[kept], columns[kept]), data[kept])
        at = end
    return values


def _gene_ids(path: Path, var: Any) -> tuple[list[str], dict[Kind, list[str]]]:
    """Names of the genes, and their ids by kind: the index, and columns of var that say they hold ids."""
    names = _frame_index(path, var)
    kind = ids.kind_of("", names[: ids.TRIED], first=True) or "probe"
    kinds, columns = [kind], [names]
    known = ids.SYMBOL_HEADERS | ids.ENSEMBL_HEADERS | ids.ENTREZ_HEADERS
    for column in var if isinstance(var, h5py.Group) else ():
        if column == _text(var.attrs.get("_index", "")) or ids.plain(column) not in known:
            continue
        words = _column(path, var, column)
        found = ids.kind_of(column, words[: ids.TRIED], first=False)
        if found is not None and found not in kinds and len(words) == len(names):
            kinds.append(found)
            columns.append(words)
    return names, ids.by_kind(kinds, columns)


def _index(path: Path, file: Any, frame: str) -> list[str]:
    if frame not in file:
        msg = f"{path} is HDF5 but no h5ad: it has no {frame}; found {', '.join(list(file)[:8])}"
        raise InputError(msg)
    return _frame_index(path, file[frame])


def _frame_index(path: Path, node: Any) -> list[str]:
    if isinstance(node, h5py.Dataset):  # before anndata 0.7: a table of records
        return _texts(node[node.dtype.names[0]])
    return _column(path, node, _text(node.attrs.get("_index", "_index")))


def _obs_column(path: Path, file: Any, column: str) -> list[str]:
    obs = file["obs"]
    columns = list(obs.dtype.names) if isinstance(obs, h5py.Dataset) else [c for c in obs if c != "__categories"]
    if column not in columns:
        msg = f"{path} has no obs column {column!r}{nearest(column, columns)}; found {', '.join(columns[:30])}"
        raise InputError(msg)
    return _texts(obs[column]) if isinstance(obs, h5py.Dataset) else _column(path, obs, column)


def _column(path: Path, frame: Any, column: str) -> list[str]:
    """One column of a data frame as text; nothing where missing."""
    if column not in frame:
        msg = f"{path}: expected the column {column!r} in {frame.name}, found {', '.join(list(frame)[:12])}"
        raise InputError(msg)
    node = frame[column]
    if isinstance(node, h5py.Group):
        if "codes" in node:
            return _decoded(_nested(node["categories"]), node["codes"][:])
        words = _texts(node["values"][:])
        return ["" if gone else w for w, gone in zip(words, node["mask"][:], strict=True)]
    if "categories" in node.attrs:  # anndata 0.7
        return _decoded(_texts(frame[node.attrs["categories"]][:]), node[:])
    return _texts(node[:])


def _nested(node: Any) -> list[str]:
    """Categories, which anndata 0.12 may write as a nullable array."""
    return _texts(node["values"][:]) if isinstance(node, h5py.Group) else _texts(node[:])


def _decoded(categories: Sequence[str], codes: NDArray[Any]) -> list[str]:
    return [categories[c] if c >= 0 else "" for c in codes.tolist()]


def _texts(values: NDArray[Any]) -> list[str]:
    return [_text(v) for v in values.tolist()]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
