"""``embeddings/<name>`` → ``index/<name>``: exact FAISS shards of the unit vectors. A part is a shard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from g2v_dask import arrays, schema, tiles
from g2v_dask.files import placed
from g2v_dask.parts import Output, Part, Plan, Receipt, Target, Work, one_round, share_nothing
from g2v_dask.spec import IndexSpec
from g2v_dask.store import Artifact, Store

VERSION = 1
begin = share_nothing
next_round = one_round
FOLDER = "data.index"


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What a part needs to know."""

    embedding: Artifact
    shard_rows: int


def plan(store: Store, spec: IndexSpec) -> Plan:
    """One target, with a part for every shard."""
    source = store.only("embeddings", spec.name)
    root = arrays.open_group(source.path, "embeddings")
    vector: Any = root["vector"]
    genes, components = vector.shape
    need = 12 * min(genes, spec.shard_rows) * components  # as stored, as unit vectors, in FAISS
    target = Target(
        kind="index",
        name=source.name,
        title=source.title,
        version=VERSION,
        identity=spec.select("identity"),
        inputs={source.key: source.digest},
        detail=Detail(embedding=source, shard_rows=spec.shard_rows),
        parts=tuple(
            Part(number=shard, bytes=need, label=f"{source.name}, shard {shard}")
            for shard in range(tiles.count(genes, spec.shard_rows))
        ),
    )
    return Plan(stage="index", targets=(target,))


def run_part(work: Work) -> Output:
    """Writes one shard; the first writes the table of genes too."""
    detail: Detail = work.target.detail
    root = arrays.open_group(detail.embedding.path, "embeddings")
    vector: Any = root["vector"]
    genes, components = vector.shape
    rows = tiles.span(genes, detail.shard_rows, work.part.number)
    shard = faiss.IndexFlatIP(components)
    shard.add(unit_rows(np.asarray(vector[rows])))
    work.alive()
    folder = work.folder / FOLDER
    files = [folder / f"shard-{work.part.number:05d}.faiss"]
    with placed(files[0]) as part:
        faiss.write_index(shard, str(part))
    if work.part.number == 0:
        files.append(folder / "genes.parquet")
        table = pa.table({"gene_id": arrays.strings(root, "gene_id").tolist()}, schema=schema.INDEX_GENES)
        with placed(files[1]) as part:
            pq.write_table(table, part)
    return Output(files=tuple(files), result={"genes": genes, "components": components})


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """(genes, components) rows of length 1; a row of zeros stays."""
    wide = vectors.astype(np.float64)
    norm = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    unit: NDArray[np.float32] = (wide / np.where(norm > 0, norm, 1.0)[:, None]).astype(np.float32)
    return unit


def facts(store: Store, target: Target, receipts: Mapping[int, Receipt]) -> dict[str, Any]:
    """Sizes."""
    return {**receipts[0]["result"], "shards": len(receipts), "metric": "cosine"}
