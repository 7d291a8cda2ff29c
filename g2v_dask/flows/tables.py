"""An artifact's Parquet, as its manifest names it."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from g2v_dask.store import Artifact

FOLDER = "data.parquet/"


def read(artifact: Artifact, schema: pa.Schema | None = None) -> pa.Table:
    """The table of an artifact; a file in its folder that the manifest does not name takes no part.

    Parameters: schema   that the files must have.
    """
    files = [artifact.path / name for name in sorted(artifact.names) if name.startswith(FOLDER)]
    return pa.concat_tables(pq.read_table(file, schema=schema) for file in files)
