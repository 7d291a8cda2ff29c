"""Makes the demo's three files, of three formats, from the matrices in ``demo_sources``. Run once, by hand:

python tests/make_demo.py ../shared/data/demo_sources jobs/demo
"""

import gzip
import sys
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
from scipy import sparse


def main(sources: Path, out: Path) -> None:
    """Writes a series matrix, a table and an h5ad file."""
    out.mkdir(parents=True, exist_ok=True)
    bladder = pd.read_csv(sources / "bladder_u133a.tsv.gz", sep="\t", index_col=0)
    write_bytes(out / "bladder_series_matrix.txt.gz", series_matrix(bladder).encode())
    write_bytes(out / "leukemia.tsv.gz", gzip.decompress((sources / "leukemia_u95av2.tsv.gz").read_bytes()))
    cells = pd.read_csv(sources / "immune_cells.tsv.gz", sep="\t", index_col=0)
    counts = sparse.csr_matrix(cells.to_numpy().T.astype(np.uint16))
    adata = anndata.AnnData(
        counts,
        obs=pd.DataFrame(index=cells.columns.astype(str)),
        var=pd.DataFrame(index=cells.index.astype(str)),
    )
    with h5py.File(out / "immune_cells.h5ad", "w") as file:
        smallest = {"compression": "gzip", "compression_opts": 9, "shuffle": True}
        anndata.io.write_elem(file, "/", adata, dataset_kwargs=smallest)


def series_matrix(table: pd.DataFrame) -> str:
    """The table as GEO would serve it."""
    quoted = "\t".join(f'"{c.removesuffix(".CEL")}"' for c in table.columns)
    lines = [
        '!Series_title\t"Bladder cancer (bladderbatch)"',
        '!Series_platform_id\t"GPL96"',
        '!Series_sample_taxid\t"9606"',
        f"!Sample_geo_accession\t{quoted}",
        "!series_matrix_table_begin",
        f'"ID_REF"\t{quoted}',
    ]
    for gene, row in zip(table.index, table.to_numpy(), strict=True):
        lines.append(f'"{gene}"\t' + "\t".join(f"{v:g}" for v in row))
    return "\n".join([*lines, "!series_matrix_table_end", ""])


def write_bytes(path: Path, data: bytes) -> None:
    """Gzip without a time stamp, so that making it again gives the same file."""
    path.write_bytes(gzip.compress(data, compresslevel=9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
