"""``embeddings/<name>`` → ``groups/<to>``: groups of genes by k-means. One part."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import pyarrow.parquet as pq

from g2v_dask import arrays
from g2v_dask.analysis import groups
from g2v_dask.errors import SpecError
from g2v_dask.files import placed
from g2v_dask.parts import Output, Part, Plan, Receipt, Target, Work, one_round, share_nothing
from g2v_dask.spec import KmeansSpec
from g2v_dask.store import Artifact, Store

VERSION = 1
begin = share_nothing
next_round = one_round


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What the part needs to know."""

    embedding: Artifact
    spec: KmeansSpec


def plan(store: Store, spec: KmeansSpec) -> Plan:
    """One target of one part.

    Raises: SpecError for more groups than genes, or a name that cannot be one.
    """
    source = store.only("embeddings", spec.name)
    vector: Any = arrays.open_group(source.folder, "embeddings")["vector"]
    genes, components = vector.shape
    if spec.k > genes:
        msg = f"kmeans: k must be at most {genes:,}, the genes of {source.key}; got {spec.k:,}"
        raise SpecError(msg)
    name = source.name if spec.to is None else spec.to
    target = Target(
        kind="groups",
        name=name,
        title=name,
        version=VERSION,
        identity=spec.select("identity"),
        inputs={source.key: source.digest},
        spec=dataclasses.replace(spec, name=source.name, to=name),
        detail=Detail(embedding=source, spec=spec),
        parts=(Part(number=0, bytes=groups.memory_bytes(genes, components, spec.k), label=name),),
        same_blas=True,
    )
    target.folder(store)  # a wrong name is found before any work
    return Plan(stage="kmeans", targets=(target,))


def run_part(work: Work) -> Output:
    """Makes the groups and writes them as one Parquet file."""
    detail: Detail = work.target.detail
    spec = detail.spec
    root = arrays.open_group(detail.embedding.folder, "embeddings")
    vector: Any = root["vector"]
    genes = arrays.strings(root, "gene_id")
    found = groups.kmeans(vector, genes, k=spec.k, unit=spec.unit, seed=spec.seed)
    work.alive()
    file = work.desk / "data.parquet" / "part-0.parquet"
    with placed(file) as part:
        pq.write_table(groups.table(genes, found), part)
    result = {
        "embedding": detail.embedding.name,
        "genes": len(genes),
        "groups": spec.k,
        "sizes": found.sizes,
        "inertia": found.inertia,
        "method": found.method,
        "versions": {name: metadata.version(name) for name in ("numpy", found.method)},
    }
    return Output(files=(file,), result=result)


def facts(store: Store, target: Target, receipts: Mapping[int, Receipt]) -> dict[str, Any]:
    """Sizes, inertia, and the library that made the groups, with its version."""
    result: dict[str, Any] = receipts[0]["result"]
    return result
