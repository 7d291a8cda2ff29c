"""What ``open_store`` returns: a store whose artifacts open as xarray, Dask and NumPy objects."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import dask.array
import dask.dataframe
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import xarray
import zarr
from numpy.typing import NDArray

from g2v_dask import arrays, query, schema, tiles
from g2v_dask.errors import SpecError
from g2v_dask.flows import pipeline
from g2v_dask.options import Spec, key_of, nearest
from g2v_dask.progress import Display
from g2v_dask.spec import STAGES, ClusterSpec, RunSpec
from g2v_dask.store import Artifact, Store

Row = dict[str, Any]
Rows = list[Row]
F = TypeVar("F", bound=Callable[..., Any])

PARTITION_ROWS = 1 << 20  # of pairs; about 60 MB in memory

# The frame of pairs: strings stay Arrow's, as dask.dataframe.read_parquet has them.
_TEXT = pd.StringDtype("pyarrow")
_FRAME = pd.DataFrame(
    {
        "gene_a": pd.Series([], dtype=_TEXT),
        "gene_b": pd.Series([], dtype=_TEXT),
        "r": pd.Series([], dtype="float64"),
        "dataset": pd.Series([], dtype=_TEXT),
    }
)


def open_store(url: str | Path, *, create: bool = False) -> OpenStore:
    """The store in a folder; ``create`` makes an empty one where there is none.

    Raises: StoreError if it is a file, not a store, absent, or of another format version.
    """
    return OpenStore(Store.open(url, create=create))


def run(spec: RunSpec | str | Path, *, cluster: ClusterSpec | str | None = None) -> Rows:
    """Runs every stage of a spec, or of a spec file (TOML); ``cluster`` takes the place of the spec's own.

    Returns: what ``g2v run --json`` prints: one summary a stage that ran.
    Raises: any G2VError; what was made until then stays.
    """
    loaded = spec if isinstance(spec, RunSpec) else RunSpec.load(spec)
    where = None if cluster is None else _cluster(cluster)
    summaries = pipeline.run_all(loaded, cluster=where, display=Display(quiet=True))
    return [s.as_json() for s in summaries]


def _cluster(cluster: ClusterSpec | str | None) -> ClusterSpec:
    if isinstance(cluster, ClusterSpec):
        return cluster
    return ClusterSpec() if cluster is None else ClusterSpec(address=cluster)


class OpenStore:
    """A store, read only but for ``run``. Each call sees what is current at that moment."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(self._store.names(kind))} {kind}" for kind in schema.KINDS)
        return f"<g2v store {self._store.root.url}: {counts}>"

    @property
    def url(self) -> str:
        """The store's folder, or ``s3://bucket/prefix``."""
        return self._store.root.url

    @property
    def run(self) -> Stages:
        """The stages: ``store.run.pairs(top_k=50)``."""
        return Stages(self._store)

    def expression(self, name: str) -> xarray.Dataset:
        """One dataset's expression: samples × genes, Dask-backed; raw ``counts`` where it has them."""
        dataset: xarray.Dataset = xarray.open_zarr(self._data("expression", name))
        return dataset

    def cooccurrence(self, name: str | None = None) -> xarray.Dataset:
        """A co-occurrence matrix: genes × genes, Dask-backed, one chunk a tile, both triangles.

        On disk lies the upper triangle; a tile below the diagonal is its mirror's transpose when computed.
        """
        artifact = self._store.only("cooccurrence", name)
        upper = xarray.open_zarr(artifact.path / arrays.FOLDER, chunks=None)
        value = upper["value"].copy(data=_symmetric(artifact))
        attributes = {k: v for k, v in upper.attrs.items() if k != "triangle"}
        return xarray.Dataset({"value": value}, attrs=attributes)

    def pairs(self, *names: str) -> dask.dataframe.DataFrame:
        """The pairs of these datasets, or of all: ``gene_a``, ``gene_b``, ``r`` and ``dataset``.

        Of the current versions only; a partition is about a million of them.
        Raises: SpecError for a name that is not there, or if there are no pairs at all.
        """
        artifacts = self._store.select("pairs", names if names else None)
        if not artifacts:
            msg = f"no pairs in {self._store.root.url}; run 'g2v pairs' first, or store.run.pairs()"
            raise SpecError(msg)
        partitions = _partitions(_row_groups(artifacts))
        frame: dask.dataframe.DataFrame = dask.dataframe.from_map(
            _read_groups, partitions, meta=_FRAME, label="g2v-pairs"
        )
        return frame

    def embedding(self, name: str | None = None) -> query.Embedding:
        """An embedding, in memory: ``genes``, ``vectors``, ``similar()``, ``to_anndata()`` and more."""
        return query.open_embedding(self._store, name)

    def list(self, kind: str | None = None) -> Rows:
        """What is in the store, of one kind or all: kind, name, digest, size, made; as ``g2v ls --json``."""
        return self._store.rows(kind)

    def _data(self, kind: str, name: str) -> Path:
        """An artifact's Zarr group, after a check against the schema."""
        artifact = self._store.get(kind, name)
        arrays.open_group(artifact.folder, kind)
        return artifact.path / arrays.FOLDER


# -- pairs --------------------------------------------------------------------------------------------------


RowGroup = tuple[str, int, str]  # file, number, dataset


def _row_groups(artifacts: Iterable[Artifact]) -> Iterator[tuple[RowGroup, int]]:
    """The row groups of the files that the manifests name, and their rows."""
    for artifact in artifacts:
        for entry in artifact.manifest["files"]:
            file = str(artifact.folder.fetch(entry["path"]))
            found = pq.read_metadata(file)
            for group in range(found.num_row_groups):
                yield (file, group, artifact.name), found.row_group(group).num_rows


def _partitions(groups: Iterable[tuple[RowGroup, int]]) -> list[list[RowGroup]]:
    """Row groups in their order, put together while they stay within ``PARTITION_ROWS``; at least one list.

    A partition a dataset would cost Dask a minute for 984 small ones; this way they are one.
    """
    made: list[list[RowGroup]] = [[]]
    filled = 0
    for group, rows in groups:
        if made[-1] and filled + rows > PARTITION_ROWS:
            made.append([])
            filled = 0
        made[-1].append(group)
        filled += rows
    return made


def _read_groups(groups: list[RowGroup], *, columns: list[str] | None = None) -> pd.DataFrame:
    """One partition; Dask passes on the columns that are wanted."""
    wanted = list(_FRAME.columns) if columns is None else columns
    stored = [c for c in wanted if c != "dataset"]
    tables = []
    for file, group, dataset in groups:
        with pq.ParquetFile(file) as opened:
            table = opened.read_row_group(group, columns=stored, use_threads=False)
        tables.append(table.append_column("dataset", pa.repeat(dataset, table.num_rows)))
    if not tables:
        return _FRAME[wanted]
    whole = pa.concat_tables(tables).select(wanted)
    frame: pd.DataFrame = whole.to_pandas(types_mapper={pa.string(): _TEXT}.get)
    return frame


# -- co-occurrence ------------------------------------------------------------------------------------------


def _symmetric(artifact: Artifact) -> dask.array.Array:
    """The whole matrix, lazily, of tiles of the upper triangle."""
    value: Any = arrays.open_group(artifact.folder, "cooccurrence")["value"]
    size, tile = value.shape[0], value.chunks[0]
    spans = [tiles.span(size, tile, band) for band in range(tiles.count(size, tile))]
    sides = tuple(s.stop - s.start for s in spans)
    return dask.array.map_blocks(
        _tile,
        value=value,
        chunks=(sides, sides),
        dtype=value.dtype,
        meta=np.empty((0, 0), dtype=value.dtype),
        name=f"g2v-cooccurrence-{artifact.digest}",
    )


def _tile(*, value: zarr.Array[Any], block_id: tuple[int, int]) -> NDArray[Any]:
    """One tile of the whole matrix."""
    row, col = min(block_id), max(block_id)
    size, tile = value.shape[0], value.chunks[0]
    upper = np.asarray(value[tiles.span(size, tile, row), tiles.span(size, tile, col)])
    return upper if block_id[0] <= block_id[1] else upper.T


# -- stages -------------------------------------------------------------------------------------------------


def _like(stage: str) -> Callable[[F], F]:
    """Gives a method the signature and the documentation of a stage's spec, for ``help`` and completion."""
    cls = STAGES[stage]

    def decorate(method: F) -> F:
        keyword = inspect.Parameter.KEYWORD_ONLY
        made = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
        lines = [f"{_first_line(cls)}\n", "Options:"]
        for field in dataclasses.fields(cls):
            required = field.default is dataclasses.MISSING
            default = inspect.Parameter.empty if required else field.default
            made.append(inspect.Parameter(field.name, keyword, default=default, annotation=str(field.type)))
            lines.append(f"    {field.name}: {field.metadata['doc']}")
        made.append(inspect.Parameter("cluster", keyword, default=None, annotation="ClusterSpec | str | None"))
        lines.append("    cluster: a ClusterSpec, or a scheduler's address [workers on this machine]")
        lines.append("\nReturns: the summary that --json prints.\nRaises: any G2VError, SpecError among them.")
        method.__doc__ = "\n".join(lines)
        method.__signature__ = inspect.Signature(made, return_annotation="dict[str, Any]")  # type: ignore[attr-defined]
        return method

    return decorate


def _first_line(cls: type[Spec]) -> str:
    return inspect.cleandoc(cls.__doc__ or "").partition("\n")[0]


class Stages:
    """The stages of a store, named as the commands, with the same options in snake_case.

    ``from`` of ``train`` is ``source`` here, since Python keeps that word for itself.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    @_like("ingest")
    def ingest(self, **options: Any) -> Row:
        """Replaced by ``_like``."""
        return self._do("ingest", options)

    @_like("pairs")
    def pairs(self, **options: Any) -> Row:
        """Replaced by ``_like``."""
        return self._do("pairs", options)

    @_like("merge")
    def merge(self, **options: Any) -> Row:
        """Replaced by ``_like``."""
        return self._do("merge", options)

    @_like("cooccur")
    def cooccur(self, **options: Any) -> Row:
        """Replaced by ``_like``."""
        return self._do("cooccur", options)

    @_like("train")
    def train(self, **options: Any) -> Row:
        """Replaced by ``_like``."""
        return self._do("train", options)

    @_like("profile")
    def profile(self, **options: Any) -> Row:
        """Replaced by ``_like``."""
        return self._do("profile", options)

    @_like("combine")
    def combine(self, **options: Any) -> Row:
        """Replaced by ``_like``."""
        return self._do("combine", options)

    @_like("index")
    def index(self, **options: Any) -> Row:
        """Replaced by ``_like``."""
        return self._do("index", options)

    @_like("kmeans")
    def kmeans(self, **options: Any) -> Row:
        """Replaced by ``_like``."""
        return self._do("kmeans", options)

    @_like("map")
    def map(self, **options: Any) -> Row:
        """Replaced by ``_like``."""
        return self._do("map", options)

    @_like("evaluate")
    def evaluate(self, **options: Any) -> Row:
        """Replaced by ``_like``."""
        return self._do("evaluate", options)

    def _do(self, stage: str, options: Mapping[str, Any]) -> Row:
        given = dict(options)
        cluster = _cluster(given.pop("cluster", None))
        spec = _spec(STAGES[stage], given)
        summary = pipeline.run_stage(self._store.root.url, spec, cluster=cluster, display=Display(quiet=True))
        return summary.as_json()


def _spec(cls: type[Spec], options: Mapping[str, Any]) -> Spec:
    """A spec from Python's keywords, which are the names of its fields."""
    keys = {f.name: key_of(f) for f in dataclasses.fields(cls)}
    for name in options:
        if name not in keys:
            known = ", ".join((*keys, "cluster"))
            msg = f"{cls.stage()}: unknown option {name!r}{nearest(name, keys)}; known: {known}"
            raise SpecError(msg)
    return cls.build({keys[name]: value for name, value in options.items()})
