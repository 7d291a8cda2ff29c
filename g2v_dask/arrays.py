"""Zarr groups as ``schema`` describes them: made once, filled in whole chunks, opened with a check."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec
from zarr.storage import LocalStore

from g2v_dask import schema, tiles
from g2v_dask.errors import StoreError
from g2v_dask.folders import Folder, LocalFolder

FOLDER = "data.zarr"
QUICK = BloscCodec(cname="lz4", clevel=5, shuffle="shuffle", typesize=8)


def create(
    folder: Folder,
    kind: str,
    *,
    shapes: Mapping[str, tuple[int, ...]],
    chunks: Mapping[str, tuple[int, ...]],
    dtypes: Mapping[str, str] | None = None,
    quick: bool = False,
    attributes: Mapping[str, Any] | None = None,
    coordinates: Mapping[str, Any],
) -> tuple[str, ...]:
    """An artifact's Zarr group with all its metadata and its coordinates; the arrays in ``shapes`` are empty.

    ``quick`` packs five times faster and a quarter less tightly: for large floats, which pack badly anyhow.
    Doing it again leaves the same bytes, so a resumed run may.
    Returns: the names of the files, which lie on the folder's desk.
    """
    group = schema.GROUPS[kind]
    path = str(folder.desk / FOLDER)
    about = {**group.attributes(), "coordinates": " ".join(coordinates), **(attributes or {})}  # xarray reads it
    # of a run that was cut off: metadata that was damaged since must not stay; chunks do, they may be finished parts
    for stale in ("", *coordinates, *shapes):
        (folder.desk / FOLDER / stale / "zarr.json").unlink(missing_ok=True)
    root = zarr.open_group(path, mode="a", zarr_format=3, attributes=about, use_consolidated=False)
    for name, values in coordinates.items():
        data = np.asarray(values)
        dtype = "string" if data.dtype.kind in "OUT" else str(data.dtype)
        _array(root, group.variable(name), data.shape, data.shape, dtype)
        _writable(folder, name)[...] = data.astype(object) if dtype == "string" else data
    for name, shape in shapes.items():
        variable = group.variable(name)
        dtype = (dtypes or {}).get(name, variable.dtypes[0])
        _array(root, variable, shape, chunks[name], dtype, compressors=QUICK if quick else "auto")
    with warnings.catch_warnings():
        # zarr v3 has no consolidated metadata in its specification yet; readers without it still work.
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        zarr.consolidate_metadata(path)
    chunks_of = tuple(f"{FOLDER}/{name}/c/" for name in shapes)
    made = LocalFolder(folder.desk).sizes()
    return tuple(name for name in made if name.startswith(FOLDER) and not name.startswith(chunks_of))


def write(
    folder: Folder,
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
        _writable(folder, name)[...] = values
    return tuple(folder.desk / name for name in LocalFolder(folder.desk).sizes() if name.startswith(FOLDER))


def _array(
    root: zarr.Group,
    variable: schema.Variable,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: str,
    compressors: Any = "auto",
) -> None:
    root.create_array(
        variable.name,
        shape=shape,
        chunks=tuple(max(1, c) for c in chunks),
        dtype=dtype,
        compressors=compressors,
        dimension_names=variable.dims,
        attributes={"long_name": variable.doc, "units": variable.unit, "missing": variable.missing},
    )


def open_group(folder: Folder, kind: str) -> zarr.Group:
    """An artifact's Zarr group, checked against its schema.

    Raises: StoreError if it is not there, or not what the schema says.
    """
    try:
        folder.fetch(f"{FOLDER}/zarr.json")
    except FileNotFoundError as error:
        msg = f"no Zarr data at {(folder / FOLDER).url}: it is damaged; remove it with 'g2v rm' and make it again"
        raise StoreError(msg) from error
    source = str(folder.desk / FOLDER) if folder.is_local else Fetching(folder / FOLDER)
    root = zarr.open_group(source, mode="r", use_consolidated=False)
    schema.validate(kind, dict(root.arrays()), root.attrs)
    return root


class Fetching(LocalStore):
    """A Zarr store that brings to the desk what is read of a folder that lies elsewhere."""

    def __init__(self, folder: Folder) -> None:
        folder.desk.mkdir(parents=True, exist_ok=True)
        super().__init__(folder.desk, read_only=True)
        self._folder = folder

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """One value; None where there is none.

        Raises: StoreError for a chunk that is not there: Zarr would read it as zeros.
        """
        try:
            await asyncio.to_thread(self._folder.fetch, key)
        except FileNotFoundError as error:
            if "/c/" in f"/{key}":
                msg = f"{(self._folder / key).url} is missing; run the command that made it again"
                raise StoreError(msg) from error
            return None
        return await super().get(key, prototype, byte_range)

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """What lies in a folder of the place, not of the desk."""
        for name in await asyncio.to_thread((self._folder / prefix).names):
            yield name


def writable(folder: Folder, name: str) -> Any:
    """An array that ``create`` made, to fill in whole chunks on the folder's desk.

    Empty chunks are written like others: a chunk that is not there is then always damage.
    """
    folder.fetch(f"{FOLDER}/zarr.json", f"{FOLDER}/{name}/zarr.json")
    return _writable(folder, name)


def _writable(folder: Folder, name: str) -> Any:
    array = zarr.open_array(f"{folder.desk / FOLDER}/{name}", mode="r+")
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


def shared(folder: Folder, name: str) -> tuple[Path, ...]:
    """The files of an artifact's Zarr group, less the chunks of one array: what ``create`` made."""
    found = [n for n in folder.sizes() if n.startswith(f"{FOLDER}/") and not n.startswith(f"{FOLDER}/{name}/c/")]
    folder.fetch(*found)
    return tuple(folder.desk / n for n in found)


def chunk_file(folder: Folder, name: str, *index: int) -> Path:
    """The file of one chunk on the desk, under zarr's default key encoding."""
    return folder.desk.joinpath(FOLDER, name, "c", *(str(i) for i in index))


class Cooccurrence:
    """A co-occurrence matrix on disk, read tile by tile (a ``tiles.TileMatrix``)."""

    def __init__(self, folder: Folder) -> None:
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
