"""``expression/<dataset>`` → ``pairs/<dataset>``: its co-expressed gene pairs. A part is a dataset."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from numpy.typing import NDArray

from g2v_dask import arrays, schema
from g2v_dask.errors import InputError
from g2v_dask.files import placed
from g2v_dask.kernels import correlation
from g2v_dask.kernels.correlation import PairList
from g2v_dask.parts import Output, Part, Plan, Receipt, Target, Work, one_round, share_nothing
from g2v_dask.spec import PairsSpec
from g2v_dask.store import Artifact, Store

VERSION = 1
begin = share_nothing
next_round = one_round
ROW_GROUP = 1_048_576
MIN_EXPRESSED = 0.2  # share of samples with CPM >= 1
MIN_EXPRESSED_SPARSE = 0.02  # where more than half of all counts are 0, as in single cells


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What a part needs to know."""

    expression: Artifact
    spec: PairsSpec


def plan(store: Store, spec: PairsSpec) -> Plan:
    """One target a dataset."""
    targets = []
    chosen, left_out = store.passing("expression", spec.datasets)
    for artifact in chosen:
        samples, genes = artifact.facts["samples"], artifact.facts["genes"]
        part = Part(number=0, bytes=memory_bytes(samples, genes, spec), label=artifact.name)
        targets.append(
            Target(
                kind="pairs",
                name=artifact.name,
                title=artifact.title,
                version=VERSION,
                identity=spec.select("identity"),
                limits=spec.select("limit"),
                inputs={artifact.key: artifact.digest},
                spec=dataclasses.replace(spec, datasets=(artifact.name,)),
                detail=Detail(expression=artifact, spec=spec),
                parts=(part,),
            )
        )
    return Plan(stage="pairs", targets=tuple(targets), left_out=left_out)


def memory_bytes(samples: int, genes: int, spec: PairsSpec) -> int:
    """Peak of a part: expression as read and as chosen, and what the kernel needs.

    8·samples·genes + kernel + one row group of text.
    """
    kernel = correlation.memory_bytes(samples=samples, genes=genes, threads=1, max_pairs=spec.max_pairs, k=spec.top_k)
    return 8 * samples * genes + kernel + 64 * ROW_GROUP


def run_part(work: Work) -> Output:
    """Finds the pairs of one dataset and writes them as one Parquet file."""
    detail: Detail = work.target.detail
    root = arrays.open_group(detail.expression.folder, "expression")
    genes = arrays.strings(root, "gene_id")
    expression = arrays.values(root, "expression")
    # a gene that has one rank in all samples, such as the highest, is flat after quantile normalisation
    constant = arrays.values(root, "constant") | (expression.min(axis=0) == expression.max(axis=0))
    keep, least = expressed(detail.expression, root, detail.spec.min_expressed)
    unexpressed = int(np.count_nonzero(~keep & ~constant))
    keep &= ~constant
    if np.count_nonzero(keep) < 2:
        msg = (
            f"{work.target.name}: {np.count_nonzero(keep)} of {len(genes)} genes can take part in pairs "
            f"({np.count_nonzero(constant)} constant, {unexpressed} not expressed"
            + (f"; lower --min-expressed, now {least})" if unexpressed else ")")
        )
        raise InputError(msg)
    expression = np.ascontiguousarray(expression[:, keep])
    started = time.monotonic()
    found = _find(expression, detail.spec, work.target.name)
    kernel_seconds = time.monotonic() - started
    work.alive()
    file = work.desk / "data.parquet" / "part-0.parquet"
    write(file, found, genes[keep])
    result = {
        "samples": len(expression),
        "genes": len(genes),
        "genes_used": int(keep.sum()),
        "genes_constant": int(constant.sum()),
        "genes_unexpressed": unexpressed,
        "min_expressed": least,
        "pairs": len(found.r),
        "r_min": float(found.r.min()),
        "method": found.method,
        "kernel_seconds": kernel_seconds,
    }
    return Output(files=(file,), result=result)


def expressed(artifact: Artifact, root: zarr.Group, least: float | None) -> tuple[NDArray[np.bool_], float | None]:
    """(genes,) which genes are expressed in enough samples, and the share asked for; without counts, all."""
    if not artifact.facts["counts"]:
        return np.ones(artifact.facts["genes"], dtype=bool), None
    if least is None:
        least = MIN_EXPRESSED_SPARSE if artifact.facts["share_of_zeros"] > 0.5 else MIN_EXPRESSED
    return arrays.values(root, "expressed") / artifact.facts["samples"] >= least, least


def _find(expression: NDArray[np.float32], spec: PairsSpec, name: str) -> PairList:
    if spec.top_k is not None:
        rule: Any = spec.top_k_rule
        return correlation.pairs_top_k(expression, k=spec.top_k, rule=rule, max_pairs=spec.max_pairs)
    assert spec.threshold is not None
    found = correlation.pairs_above(expression, threshold=spec.threshold, max_pairs=spec.max_pairs)
    if not len(found.r):
        strongest = correlation.strongest(expression)
        msg = (
            f"{name}: no pair of genes has r ≥ {spec.threshold}; the strongest has r = {strongest:.4f}. "
            f"--threshold {math.floor(strongest * 100) / 100:.2f} gives some; --top-k 50 does for every gene"
        )
        raise InputError(msg)
    return found


def write(file: Path, found: PairList, genes: NDArray[np.str_]) -> None:
    """Writes pairs in the order they have, in row groups that a reader can skip by gene."""
    ids = pa.array(genes.tolist(), pa.string())
    dictionary = ["gene_a", "gene_b"]
    with (
        placed(file) as part,
        pq.ParquetWriter(part, schema.PAIRS, compression="zstd", use_dictionary=dictionary) as out,
    ):
        for start in range(0, len(found.r), ROW_GROUP):
            rows = slice(start, start + ROW_GROUP)
            columns = [
                ids.take(pa.array(found.gene_a[rows])),
                ids.take(pa.array(found.gene_b[rows])),
                pa.array(found.r[rows]),
            ]
            out.write_table(pa.Table.from_arrays(columns, schema=schema.PAIRS), row_group_size=ROW_GROUP)


def facts(store: Store, target: Target, receipts: Mapping[int, Receipt]) -> dict[str, Any]:
    """Counts, and the rule."""
    result: dict[str, Any] = receipts[0]["result"]
    return {**result, "rule": dict(target.identity)}
