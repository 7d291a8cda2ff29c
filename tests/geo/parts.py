"""Parts of the real files, as GEO would serve them."""

from __future__ import annotations

import gzip
import threading
from functools import cache

from tests.data_paths import data

GSM = 31
COUNTS = "GSE164073_raw_counts_GRCh38.p13_NCBI.tsv.gz"
GENES = "Human.GRCh38.p13.annot.tsv.gz"


@cache
def _lines(path: str) -> list[str]:
    return gzip.decompress(data(*path.split("/")).read_bytes()).decode().splitlines(keepends=True)


def whole(name: str = "GSE55235_series_matrix.txt.gz") -> bytes:
    """A real file."""
    return data("geo", name).read_bytes()


@cache
def matrix(
    accession: str = "GSE55235",
    *,
    rows: int = 300,
    first: int = 0,
    of: str = "GSE55235_series_matrix.txt.gz",
    platform: str | None = None,
) -> bytes:
    """Some rows of a real series matrix, under an accession, and a platform if one is given."""
    lines = _lines(f"geo/{of}")
    begin = next(i for i, line in enumerate(lines) if line.startswith("!series_matrix_table_begin"))
    own = of.partition("_")[0].partition("-")[0]
    head = [line.replace(f'"{own}"', f'"{accession}"') for line in lines[: begin + 2]]
    if platform is not None:
        real = "GPL571" if "GPL571" in of else "GPL96"
        head = [line.replace(real, platform) if line.startswith("!Sample_platform_id") else line for line in head]
    table = lines[begin + 2 + first : begin + 2 + first + rows]
    return gzip.compress("".join([*head, *table, lines[-1]]).encode(), compresslevel=1, mtime=0)


def empty(accession: str, platform: str = "GPL16791") -> bytes:
    """The matrix of a sequencing study: no rows."""
    return matrix(accession, rows=0, platform=platform)


@cache
def annotation(platform: str = "GPL96", *, rows: int = 20_000) -> bytes:
    """A platform's probes and symbols as GEO's ``.annot.gz``."""
    return gzip.compress(_table(platform, rows, "Annotation").encode(), compresslevel=1, mtime=0)


def table(platform: str) -> str:
    """A platform's probes and symbols as the text of ``acc.cgi``."""
    return _table(platform, 500, "Platform")


def _table(platform: str, rows: int, word: str) -> str:
    cells = [line.rstrip("\n").split("\t") for line in _lines(f"platforms/{platform}.tsv.gz")[1 : rows + 1]]
    body = "".join(f"{c[0]}\t\t{c[1]}\n" for c in cells)
    head = f"^{word.upper()} = {platform}\n!{word}_platform = {platform}\n#ID = probe\n!platform_table_begin\n"
    return f"{head}ID\tGene title\tGene symbol\n{body}!platform_table_end\n"


@cache
def counts(*, rows: int = 2000) -> bytes:
    """Real counts with Entrez ids, in the form of NCBI's own."""
    lines = _lines("rnaseq/chol-rsem-count-tcga-t.txt.gz")
    out = ["GeneID\t" + "\t".join(f"GSM{5_000_000 + i}" for i in range(len(lines[0].split("\t")) - 2)) + "\n"]
    seen: set[str] = set()
    for line in lines[1:]:
        _, gene, *values = line.rstrip("\n").split("\t")
        if gene.strip() not in seen and len(seen) < rows:
            seen.add(gene.strip())
            out.append(gene.strip() + "\t" + "\t".join(str(round(float(v))) for v in values) + "\n")
    return gzip.compress("".join(out).encode(), compresslevel=1, mtime=0)


def genes() -> bytes:
    """A gene annotation of NCBI's."""
    return gzip.compress(b"GeneID\tSymbol\n1\tA1BG\n", mtime=0)


class Recorder(threading.Event):
    """Does not wait, and knows how long it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.waited.append(timeout or 0.0)
        return False
