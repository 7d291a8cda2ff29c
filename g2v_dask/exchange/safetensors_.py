"""safetensors: the weights of models, and embeddings with their words in the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from g2v_dask.errors import InputError
from g2v_dask.exchange.base import Format, Options, Vectors, VectorsLike, card_of, heavy
from g2v_dask.exchange.words import name_rows
from g2v_dask.files import canonical
from g2v_dask.options import nearest

LISTED = 12  # tensors named in a message


def _write(stream: IO[bytes], _path: Path, embedding: VectorsLike) -> None:
    """One tensor ``vectors``; genes and card as JSON in the metadata.

    Written here and not by the library, which puts the metadata in another order each time: a header of JSON
    after its length, padded to 8 bytes, then the numbers.
    """
    vectors = np.ascontiguousarray(embedding.vectors, dtype="<f4")
    metadata = {"genes": json.dumps(embedding.genes.tolist()), "card": json.dumps(dict(embedding.card))}
    tensor = {"dtype": "F32", "shape": list(vectors.shape), "data_offsets": [0, vectors.nbytes]}
    header = canonical({"__metadata__": metadata, "vectors": tensor})
    header += b" " * (-len(header) % 8)
    stream.write(len(header).to_bytes(8, "little") + header)
    stream.write(vectors.data)


def _read(file: Path, options: Options) -> Vectors:
    library = heavy("safetensors")
    try:
        with library.safe_open(str(file), framework="numpy") as archive:
            metadata: dict[str, str] = archive.metadata() or {}
            name = _chosen(file, archive, options.tensor)
            vectors: NDArray[Any] = archive.get_tensor(name)
    except (library.SafetensorError, OSError) as error:
        msg = f"{file} is not a whole safetensors file: {error}; download or export it again"
        raise InputError(msg) from error
    except TypeError as error:  # of a type that NumPy has not, bfloat16 for one
        msg = f"{file}: the tensor {name} cannot be read: {error}; save it as float32"
        raise InputError(msg) from error
    ids = _genes(file, metadata["genes"]) if "genes" in metadata else None
    return name_rows(file, vectors, options, ids=ids, card=card_of(metadata.get("card")))


def _chosen(file: Path, archive: Any, wanted: str | None) -> str:
    """The tensor to read: the one that was named, or the only table there is."""
    shapes: dict[str, list[int]] = {name: archive.get_slice(name).get_shape() for name in sorted(archive.keys())}
    if wanted is not None and wanted in shapes:
        return wanted
    tables = [name for name, shape in shapes.items() if len(shape) == 2]
    if wanted is None and len(tables) == 1:
        return tables[0]
    if not tables:
        msg = f"{file}: no tensor is a table of vectors; it holds {', '.join(list(shapes)[:LISTED]) or 'nothing'}"
        raise InputError(msg)
    listed = ", ".join(f"{name} {'×'.join(map(str, shapes[name]))}" for name in tables[:LISTED])
    more = f" and {len(tables) - LISTED} more" if len(tables) > LISTED else ""
    asked = "say by --tensor which one" if wanted is None else f"no tensor is named {wanted!r}{nearest(wanted, shapes)}"
    msg = f"{file}: {asked}; tables are {listed}{more}"
    raise InputError(msg)


def _genes(file: Path, text: str) -> NDArray[np.str_]:
    """The words that the metadata hold."""
    try:
        genes = json.loads(text)
    except ValueError:
        genes = None
    if not isinstance(genes, list) or not all(isinstance(gene, str) for gene in genes):
        msg = f"{file}: genes in its metadata must be a JSON list of texts, found {text[:60]!r}"
        raise InputError(msg)
    return np.array(genes, dtype=np.str_)


FORMATS: Mapping[str, Format] = {
    ".safetensors": Format(
        doc="one tensor; genes in its metadata", read=_read, write=_write, takes=("names", "tokens", "tensor")
    )
}
