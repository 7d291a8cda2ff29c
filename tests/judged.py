"""Evaluations made by hand, so that what shows them can be tested without the tasks that make them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sklearn.metrics import roc_curve

from g2v_dask import schema
from g2v_dask.evaluation.base import row
from g2v_dask.files import digest_of, file_sha256
from g2v_dask.store import Artifact, Store

GENES = [f"G{i:02d}" for i in range(40)]
HOSTILE = "<script>alert(1)</script>|*b* [x](javascript:1) $x_1$"


def figure(task: str, metric: str, value: float, **more: Any) -> dict[str, Any]:
    """One figure, of which only what matters is named."""
    return row(**{"task": task, "metric": metric, "value": value, "genes": 40, "coverage": 0.5, "seed": 1, **more})


def scores(*, shift: Mapping[str, float], on: str = "test", seed: int = 0, runs: int = 2) -> pa.Table:
    """What interaction keeps: 200 pairs of 40 genes; a model's scores of positives are shifted so far up."""
    random = np.random.default_rng(seed)
    pairs = np.array([random.choice(40, 2, replace=False) for _ in range(200)])
    label = (np.arange(200) % 2 == 0).astype(np.int8)
    tables = []
    for model, up in shift.items():
        for run in range(1, runs + 1):
            columns = {
                "on": [on] * 200,
                "model": [model] * 200,
                "seed": [run] * 200,
                "gene_a": [GENES[i] for i in pairs[:, 0]],
                "gene_b": [GENES[i] for i in pairs[:, 1]],
                "label": label,
                "score": (random.normal(size=200) + up * label).astype(np.float32),
            }
            tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def curves(*, shift: Mapping[str, float], on: str = "test") -> pa.Table:
    """The ROC curves of such scores, of the first run."""
    kept = scores(shift=shift, on=on, runs=1)
    rows = []
    for model in shift:
        mine = kept.filter(pc.equal(kept["model"], model))
        false, true, _ = roc_curve(mine["label"].to_numpy(), mine["score"].to_numpy())
        rows += [{"on": on, "model": model, "false": x, "true": y} for x, y in zip(false, true, strict=True)]
    return pa.Table.from_pylist(rows)


def evaluation(
    store: Store,
    name: str,
    embedding: Artifact,
    figures: Sequence[Mapping[str, Any]],
    *,
    tables: Mapping[str, pa.Table] | None = None,
    common: Sequence[str] = (),
    spec: Mapping[str, Any] | None = None,
) -> Artifact:
    """Commits ``evaluations/<name>``."""
    said = [[str(v) for v in f.values()] for f in figures]
    digest = digest_of([name, embedding.digest, said, list(common), sorted(tables or {})])
    folder = store.folder("evaluations", name, digest)
    rows = [{**f, "embedding": embedding.digest} for f in figures]
    files = {"data.parquet/part-0.parquet": pa.Table.from_pylist(rows, schema=schema.EVALUATION)}
    files |= {f"tables/{key}.parquet": table for key, table in (tables or {}).items()}
    for path, table in files.items():
        file = folder.desk / path
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, file)
    manifest = {
        "kind": "evaluations",
        "name": name,
        "title": name,
        "digest": digest,
        "stage": "evaluate",
        "stage_version": 1,
        "identity": {"seed": 1, "common": list(common), "tasks": list(dict.fromkeys(f["task"] for f in figures))},
        "inputs": {embedding.key: embedding.digest},
        "facts": {"embedding": embedding.name, "figures": len(rows)},
        "files": [
            {"path": path, "bytes": size, "sha256": file_sha256(folder.fetch(path)), "part": 0}
            for path, size in folder.sizes().items()
        ],
        "made": {"at": "2026-01-01T00:00:00Z", "spec": None if spec is None else {"EvaluateSpec": dict(spec)}},
    }
    artifact = Artifact(kind="evaluations", name=name, digest=digest, folder=folder, manifest=manifest)
    store.commit(artifact, tag=store.head_tag(artifact.kind, artifact.name))
    return artifact


NAN = math.nan
