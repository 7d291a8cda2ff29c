"""Expression artifacts made by hand, so that a stage can be tested without the stages before it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from g2v_dask import arrays
from g2v_dask.files import digest_of, file_sha256
from g2v_dask.folders import Folder
from g2v_dask.kernels.normalise import expressed
from g2v_dask.store import Artifact, Store


def expression(
    store: Store,
    name: str,
    values: NDArray[np.floating],
    genes: list[str],
    *,
    counts: NDArray[np.integer] | NDArray[np.float64] | None = None,
    constant: NDArray[np.bool_] | None = None,
) -> Artifact:
    """Commits ``expression/<name>`` of (samples, genes) values."""
    samples = len(values)
    data = {"expression": np.asarray(values, dtype=np.float32)}
    if counts is not None:
        data["counts"] = counts if counts.dtype == np.float64 else counts.astype(np.int32)
    digest = digest_of([name, genes, *(v.tolist() for v in data.values())])
    folder = store.folder("expression", name, digest)
    coordinates = {
        "sample_id": [f"S{i}" for i in range(samples)],
        "gene_id": genes,
        "constant": np.zeros(len(genes), dtype=bool) if constant is None else constant,
    }
    if counts is not None:
        coordinates["expressed"] = expressed(counts)
    arrays.write(
        folder,
        "expression",
        data=data,
        chunks=(samples, store.tile),
        coordinates=coordinates,
    )
    facts = {
        "samples": samples,
        "genes": len(genes),
        "genes_sha256": digest_of(genes),
        "counts": counts is not None,
        "share_of_zeros": None if counts is None else float(np.mean(counts == 0)),
    }
    artifact = Artifact(
        kind="expression",
        name=name,
        digest=digest,
        folder=folder,
        manifest=_manifest(name, digest, folder, facts),
    )
    store.commit(artifact, tag=store.head_tag(artifact.kind, artifact.name))
    return artifact


def _manifest(name: str, digest: str, folder: Folder, facts: dict[str, object]) -> dict[str, object]:
    files = [
        {
            "path": name,
            "bytes": size,
            "sha256": file_sha256(folder.fetch(name)),
            "part": 0,
        }
        for name, size in folder.sizes().items()
    ]
    return {
        "kind": "expression",
        "name": name,
        "title": name,
        "digest": digest,
        "stage": "ingest",
        "stage_version": 1,
        "identity": {},
        "inputs": {},
        "facts": facts,
        "files": files,
        "made": {"at": "2026-01-01T00:00:00Z"},
    }


def correlated(samples: int, genes: int, *, seed: int, groups: int = 3) -> NDArray[np.float32]:
    """(samples, genes) where genes of one group go together, more or less."""
    random = np.random.default_rng(seed)
    drivers = random.normal(size=(samples, groups))
    which = random.integers(0, groups, size=genes)
    noise = random.uniform(0.05, 1.5, size=genes)
    return (drivers[:, which] + random.normal(size=(samples, genes)) * noise).astype(np.float32)


def data_files(folder: Path) -> dict[str, bytes]:
    """Every byte of an artifact's data, by path: what 'the same bytes' means."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.relative_to(folder).parts[0].startswith("data.")
    }
