"""Committed artifacts made by hand: embeddings, pairs, co-occurrence. Expression is in ``made``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from g2v_dask import arrays, driver, schema, tiles
from g2v_dask.files import digest_of, file_sha256
from g2v_dask.folders import LocalFolder, write_json
from g2v_dask.spec import IndexSpec
from g2v_dask.stages import index
from g2v_dask.store import Artifact, Store


def empty(root: Path, tile: int = 2048) -> Store:
    """A new store; small tiles make small matrices of many."""
    write_json(LocalFolder(root), "g2v.json", {"format": schema.FORMAT_VERSION, "tile": tile})
    return Store.open(root)


def embedding(
    store: Store,
    name: str,
    genes: list[str],
    vectors: NDArray[np.floating],
    *,
    card: dict[str, Any] | None = None,
) -> Artifact:
    """Commits ``embeddings/<name>``."""
    rows = np.asarray(vectors, dtype=np.float32)
    digest = digest_of([name, genes, repr(rows.tolist())])
    folder = store.folder("embeddings", name, digest)
    facts = {"genes": len(genes), "components": rows.shape[1], **(card or {})}
    arrays.write(
        folder,
        "embeddings",
        data={"vector": rows},
        chunks=(store.tile, rows.shape[1]),
        attributes={"card": facts},
        coordinates={"gene_id": genes},
    )
    return commit(store, "embeddings", name, digest, facts, stage="train")


def indexed(store: Store, name: str, *, shard_rows: int) -> None:
    """Commits ``index/<name>`` by the stage itself."""
    made = index.plan(store, IndexSpec(name=name, shard_rows=shard_rows))
    assert driver.here(index, made, store).names == [name]


def pairs(store: Store, name: str, rows: list[tuple[str, str, float]], *, group: int = 1 << 20) -> Artifact:
    """Commits ``pairs/<name>``, in Parquet row groups of ``group`` pairs."""
    digest = digest_of([name, rows])
    folder = store.folder("pairs", name, digest)
    columns = [list(c) for c in zip(*rows, strict=True)] if rows else [[], [], []]
    table = pa.table(dict(zip(schema.PAIRS.names, columns, strict=True)), schema=schema.PAIRS)
    file = folder.desk / "data.parquet" / "part-0.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(table, file, row_group_size=group)
    return commit(store, "pairs", name, digest, {"pairs": len(rows)})


def cooccurrence(store: Store, name: str, genes: list[str], matrix: NDArray[np.uint32]) -> Artifact:
    """Commits ``cooccurrence/<name>`` of a symmetric matrix: its upper triangle of tiles."""
    digest = digest_of([name, genes, matrix.tolist()])
    folder = store.folder("cooccurrence", name, digest)
    size = len(genes)
    arrays.create(
        folder,
        "cooccurrence",
        shapes={"value": (size, size)},
        chunks={"value": (store.tile, store.tile)},
        attributes={"triangle": "upper"},
        coordinates={"gene_id_row": genes, "gene_id_col": genes},
    )
    value = arrays.writable(folder, "value")
    for row, col in tiles.blocks(size, store.tile):
        where = tiles.span(size, store.tile, row), tiles.span(size, store.tile, col)
        value[where] = matrix[where]
    return commit(store, "cooccurrence", name, digest, {"genes": size})


def commit(store: Store, kind: str, name: str, digest: str, facts: dict[str, Any], *, stage: str = "test") -> Artifact:
    """Commits what lies in an artifact's folder."""
    folder = store.folder(kind, name, digest)
    files = [
        {
            "path": name,
            "bytes": size,
            "sha256": file_sha256(folder.fetch(name)),
            "part": 0,
        }
        for name, size in folder.sizes().items()
    ]
    manifest = {
        "kind": kind,
        "name": name,
        "title": name,
        "digest": digest,
        "stage": stage,
        "stage_version": 1,
        "identity": {"seed": 1},
        "inputs": {},
        "facts": facts,
        "files": files,
        "made": {"at": "2026-01-01T00:00:00Z"},
    }
    artifact = Artifact(kind=kind, name=name, digest=digest, folder=folder, manifest=manifest)
    store.commit(artifact, tag=store.head_tag(artifact.kind, artifact.name))
    return artifact
