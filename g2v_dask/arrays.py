"""Zarr groups as ``schema`` describes them: made once, filled in whole chunks, opened with a check."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec

from g2v_dask import schema, tiles
from g2v_dask.errors import StoreError

FOLDER = "data.zarr"
QUICK = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=8)


def create(
    folder: Path,
    kind: str,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    chunks: Mapping[str, tuple[int, ...]],
    dtypes: Mapping[str, str] | None = None,
    quick: bool = False,
    attributes: Mapping[str, Any] | None = None,
    coordinates: Mapping[str, Any],
) -> None:
    """An artifact's Zarr group with all its metadata and its coordinates; the arrays in ``shapes`` are empty.

    ``quick`` packs five times faster and a quarter less tightly: for large floats, which pack badly anyhow.
    Doing it again leaves the same bytes, so a resumed run may.
    """
    group = schema.GROUPS[kind]
    path = str(folder / FOLDER)
    about = {**group.attributes(), "coordinates": " ".join(coordinates), **(attributes or {})}  # xarray reads it
    root = zarr.open_group(path, mode="a", zarr_format=3, attributes=about, use_consolidated=False)
    for name, values in coordinates.items():
        data = np.asarray(values)
        dtype = "string" if data.dtype.kind in "OUT" else str(data.dtype)
        _array(root, group.variable(name), data.shape, data.shape, dtype)
        writable(folder, name)[...] = data.astype(object) if dtype == "string" else data
    for name, shape in shapes.items():
        variable = group.variable(name)
        dtype = (dtypes or {}).get(name, variable.dtypes[0])
        _array(root, variable, shape, chunks[name], dtype, compressors=QUICK if quick else "auto")
    with warnings.catch_warnings():
        # zarr v3 has no consolidated metadata in its specification yet; readers without it still work.
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(path)


def write(
    folder: Path,
    kind: str,
    *,
    data: Mapping[str, NDArray[Any]],
    chunks: tuple[int, ...],
    attributes: Mapping[str, Any] | None = None,
    coordinates: Mapping[str, Any],
) -> tuple[Path, ...]:
    """An artifact's whole Zarr group by one hand; returns its files."""
    create(
        folder,
        kind,
        shapes={name: values.shape for name, values in data.items()},
        chunks=dict.fromkeys(data, chunks),
        dtypes={name: str(values.dtype) for name, values in data.items()},
        attributes=attributes,
        coordinates=coordinates,
    )
    for name, values in data.items():
        writable(folder, name)[...] = values
    return tuple(files(folder))


def _array(
    root: zarr.Group,
    variable: schema.Variable,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: str,
    compressors: Any = "auto",
) -> None:
    if variable.name in root:
        return  # made by a run that was cut off; its chunks may hold finished parts
    root.create_array(
        variable.name,
        shape=shape,
        chunks=tuple(max(1, c) for c in chunks),
        dtype=dtype,
        compressors=compressors,
        dimension_names=variable.dims,
        attributes={"long_name": variable.doc, "units": variable.unit, "missing": variable.missing},
    )


def open_group(folder: Path, kind: str) -> zarr.Group:
    """An artifact's Zarr group, checked against its schema.

    Raises: StoreError if it is not there, or not what the schema says.
    """
    path = folder / FOLDER
    if not (path / "zarr.json").exists():
        msg = f"no Zarr data at {path}; the artifact is damaged: remove it with 'g2v rm' and make it again"
        raise StoreError(msg)
    root = zarr.open_group(str(path), mode="r", use_consolidated=False)
    schema.validate(kind, dict(root.arrays()), root.attrs)
    return root


def writable(folder: Path, name: str) -> Any:
    """An array that ``create`` made, to fill in whole chunks.

    Empty chunks are written like others: a chunk that is not there is then always damage.
    """
    array = zarr.open_array(f"{folder / FOLDER}/{name}", mode="r+")
    return array.with_config({"write_empty_chunks": True})  # zarr keeps no such setting on disk


def strings(root: zarr.Group, name: str) -> NDArray[np.str_]:
    """A coordinate of texts as a NumPy array of fixed width, which sorts and compares fast."""
    words: Any = np.asarray(_of(root, name)[:])
    longest = int(np.strings.str_len(words).max(initial=1))
    fixed: NDArray[np.str_] = words.astype(f"<U{longest}")  # NumPy casts to no width of its own choosing
    return fixed


def values(root: zarr.Group, name: str) -> NDArray[Any]:
    """A whole array."""
    return np.asarray(_of(root, name)[...])


def _of(root: zarr.Group, name: str) -> zarr.Array[Any]:
    array = root[name]
    assert isinstance(array, zarr.Array)
    return array


def files(folder: Path, *, besides: str | None = None) -> list[Path]:
    """Every file of an artifact's Zarr group, less the chunks of one array."""
    root = folder / FOLDER
    chunks = None if besides is None else root / besides / "c"
    found = (p for p in sorted(root.rglob("*")) if p.is_file() and p.suffix != ".partial")
    return [p for p in found if chunks is None or chunks not in p.parents]


def chunk_file(folder: Path, name: str, *index: int) -> Path:
    """The file of one chunk, under zarr's default key encoding."""
    return folder.joinpath(FOLDER, name, "c", *(str(i) for i in index))


class Cooccurrence:
    """A co-occurrence matrix on disk, read tile by tile (a ``tiles.TileMatrix``)."""

    def __init__(self, folder: Path) -> None:
        self._root = open_group(folder, "cooccurrence")
        self._value = _of(self._root, "value")
        self._genes = strings(self._root, "gene_id_row")

    @property
    def genes(self) -> NDArray[np.str_]:
        """(genes,) ids in the order of the axis, sorted."""
        return self._genes

    @property
    def tile(self) -> int:
        """Genes along one side of a tile."""
        return int(self._value.chunks[0])

    def read(self, row: int, col: int) -> NDArray[Any]:
        """One tile, row ≤ col, dense; a tile on the diagonal is full."""
        size = len(self._genes)
        return np.asarray(self._value[tiles.span(size, self.tile, row), tiles.span(size, self.tile, col)])
