"""``embeddings/<name>`` → ``index/<name>``: exact FAISS shards of the unit vectors; inverse lengths of differences.

A part is a shard, or a band of inverse lengths: genes in the order of their ids, from the diagonal on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from g2v_dask import arrays, schema, tiles
from g2v_dask.files import placed
from g2v_dask.parts import Output, Part, Plan, Receipt, Target, Work, one_round, share_nothing
from g2v_dask.search.space import Space, make
from g2v_dask.spec import IndexSpec
from g2v_dask.store import Artifact, Store

VERSION = 1
begin = share_nothing
next_round = one_round
FOLDER = "data.index"
BAND = 1024  # genes of a band of inverse lengths


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What a part needs to know."""

    embedding: Artifact
    shard_rows: int
    shards: int


def plan(store: Store, spec: IndexSpec) -> Plan:
    """One target, with a part for every shard, and for every band of inverse lengths if they are wanted."""
    source = store.only("embeddings", spec.name)
    root = arrays.open_group(source.folder, "embeddings")
    vector: Any = root["vector"]
    genes, components = vector.shape
    shards = tiles.count(genes, spec.shard_rows)
    bands = tiles.count(genes, BAND) if spec.norms else 0
    need = 12 * min(genes, spec.shard_rows) * components  # as stored, as unit vectors, in FAISS
    band_need = 24 * genes * components + 12 * BAND * genes
    target = Target(
        kind="index",
        name=source.name,
        title=source.title,
        version=VERSION,
        identity=spec.select("identity"),
        inputs={source.key: source.digest},
        spec=dataclasses.replace(spec, name=source.name),
        detail=Detail(embedding=source, shard_rows=spec.shard_rows, shards=shards),
        parts=(
            *(Part(number=n, bytes=need, label=f"{source.name}, shard {n}") for n in range(shards)),
            *(Part(number=shards + n, bytes=band_need, label=f"{source.name}, norms {n}") for n in range(bands)),
        ),
    )
    return Plan(stage="index", targets=(target,))


def run_part(work: Work) -> Output:
    """Writes one shard, the first with the table of genes, or one band of inverse lengths."""
    detail: Detail = work.target.detail
    number = work.part.number
    return _shard(work, number) if number < detail.shards else _band(work, number - detail.shards)


def _shard(work: Work, number: int) -> Output:
    detail: Detail = work.target.detail
    root = arrays.open_group(detail.embedding.folder, "embeddings")
    vector: Any = root["vector"]
    genes, components = vector.shape
    rows = tiles.span(genes, detail.shard_rows, number)
    shard = faiss.IndexFlatIP(components)
    shard.add(unit_rows(np.asarray(vector[rows])))
    work.alive()
    folder = work.desk / FOLDER
    files = [folder / f"shard-{number:05d}.faiss"]
    with placed(files[0]) as part:
        faiss.write_index(shard, str(part))
    if number == 0:
        files.append(folder / "genes.parquet")
        table = pa.table({"gene_id": arrays.strings(root, "gene_id").tolist()}, schema=schema.INDEX_GENES)
        with placed(files[1]) as part:
            pq.write_table(table, part)
    return Output(files=tuple(files), result={"genes": genes, "components": components})


def _band(work: Work, number: int) -> Output:
    detail: Detail = work.target.detail
    space = _space(detail.embedding, work.threads)
    rows = tiles.span(len(space), BAND, number)
    band, duplicates = space.inverses(rows.start, rows.stop)
    work.alive()
    file = work.desk / FOLDER / f"norms-{number:05d}.npy"
    with placed(file) as part, part.open("wb") as stream:
        np.save(stream, band, allow_pickle=False)
    return Output(files=(file,), result={"duplicates": duplicates})


@lru_cache(maxsize=1)
def _space(embedding: Artifact, threads: int) -> Space:
    """Read once a process."""
    root = arrays.open_group(embedding.folder, "embeddings")
    genes, vectors = arrays.strings(root, "gene_id"), arrays.values(root, "vector")
    return make(genes, vectors, np.arange(len(genes)), threads=threads)


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(genes, components) rows of length 1; a row of zeros stays."""
    wide = vectors.astype(np.float64)
    norm = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    unit: NDArray[np.float32] = (wide / np.where(norm > 0, norm, 1.0)[:, None]).astype(np.float32)
    return unit


def facts(store: Store, target: Target, receipts: Mapping[int, Receipt]) -> dict[str, Any]:
    """Sizes."""
    shards = target.detail.shards
    found = {**receipts[0]["result"], "shards": shards, "metric": "cosine"}
    if len(receipts) > shards:
        bands = [r["result"] for number, r in receipts.items() if number >= shards]
        found["norms"] = {"bands": len(bands), "rows": BAND, "duplicates": sum(b["duplicates"] for b in bands)}
    return found
