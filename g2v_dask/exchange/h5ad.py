"""AnnData: genes as observations, vectors as X."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from g2v_dask.errors import InputError
from g2v_dask.exchange.base import Format, Options, Vectors, VectorsLike, card_of, heavy


def to_anndata(embedding: VectorsLike) -> Any:
    """An AnnData object: genes as observations, vectors as X, the card as JSON in ``uns["card"]``."""
    pandas = heavy("pandas")
    rows, components = embedding.vectors.shape
    return heavy("anndata").AnnData(
        X=embedding.vectors,
        obs=pandas.DataFrame(index=pandas.Index(embedding.genes.astype(object), name="gene_id")),
        var=pandas.DataFrame(index=[f"component_{i}" for i in range(components)]),
        uns={"card": json.dumps(dict(embedding.card))},  # HDF5 has no place for null or lists of objects
    )


def _write(_stream: IO[bytes], path: Path, embedding: VectorsLike) -> None:
    to_anndata(embedding).write_h5ad(path)


def _read(file: Path, options: Options) -> Vectors:
    try:
        data = heavy("anndata").read_h5ad(file)
    except Exception as error:  # noqa: BLE001  (anndata wraps h5py's errors in several of its own)
        msg = f"{file} is not a whole h5ad file: {error}; download or export it again"
        raise InputError(msg) from error
    if data.X is None:
        msg = f"{file}: X is missing; the vectors must be in X, one observation a gene"
        raise InputError(msg)
    matrix = data.X[: options.truncate]
    vectors = matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)
    genes = np.asarray(data.obs_names[: options.truncate], dtype=np.str_)
    return Vectors(genes, vectors, card_of(data.uns.get("card")))


FORMATS: Mapping[str, Format] = {".h5ad": Format(doc="AnnData: obs_names, X", read=_read, write=_write)}
