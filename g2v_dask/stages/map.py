"""``embeddings/<name>`` → ``maps/<to>``: a place for every gene, by t-SNE, UMAP or PCA. One part."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from g2v_dask import arrays, schema
from g2v_dask.analysis import maps
from g2v_dask.files import placed
from g2v_dask.parts import Output, Part, Plan, Receipt, Target, Work, one_round, share_nothing
from g2v_dask.spec import MapSpec
from g2v_dask.store import Artifact, Store

VERSION = 1
MADE_BY = {  # whose versions the facts name, by method
    "tsne": ("numpy", "openTSNE", "scikit-learn"),
    "umap": ("numpy", "scikit-learn", "umap-learn"),
    "pca": ("numpy", "scikit-learn"),
}
begin = share_nothing
next_round = one_round


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What the part needs to know."""

    embedding: Artifact
    spec: MapSpec


def plan(store: Store, spec: MapSpec) -> Plan:
    """One target of one part.

    Raises: InputError if the embedding has too few genes; SpecError for a name that cannot be one.
    """
    source = store.only("embeddings", spec.name)
    vector: Any = arrays.open_group(source.folder, "embeddings")["vector"]
    genes, components = vector.shape
    maps.check(genes, spec)
    name = source.name if spec.to is None else spec.to
    target = Target(
        kind="maps",
        name=name,
        title=name,
        version=VERSION,
        identity=spec.select("identity"),
        inputs={source.key: source.digest},
        spec=dataclasses.replace(spec, name=source.name, to=name),
        detail=Detail(embedding=source, spec=spec),
        parts=(Part(number=0, bytes=maps.memory_bytes(genes, components, spec), label=name),),
        same_blas=True,
    )
    target.folder(store)  # a wrong name is found before any work
    return Plan(stage="map", targets=(target,))


def run_part(work: Work) -> Output:
    """Makes the map and writes it as one Parquet file."""
    detail: Detail = work.target.detail
    root = arrays.open_group(detail.embedding.folder, "embeddings")
    genes = arrays.strings(root, "gene_id")

    def progress(done: int, total: int, note: str) -> None:
        work.alive()
        work.progress(done, total, note)

    found = maps.places(arrays.values(root, "vector"), detail.spec, progress)
    work.alive()
    columns = {"gene_id": genes.tolist(), "x": found.places[:, 0], "y": found.places[:, 1]}
    file = work.desk / "data.parquet" / "part-0.parquet"
    with placed(file) as part:
        pq.write_table(pa.table(columns, schema=schema.MAP_PLACES), part)
    result = {
        "embedding": detail.embedding.name,
        "genes": len(genes),
        "method": detail.spec.method,
        **found.facts,
        "versions": {name: metadata.version(name) for name in MADE_BY[detail.spec.method]},
    }
    return Output(files=(file,), result=result)


def facts(store: Store, target: Target, receipts: Mapping[int, Receipt]) -> dict[str, Any]:
    """The embedding, the method, how well the map fits, and the versions of the libraries that made it."""
    result: dict[str, Any] = receipts[0]["result"]
    return result
