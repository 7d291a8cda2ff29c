"""Platform tables: which gene each probe of an array measures.

Four kinds are read, plain or gzip: ours (``probe_id``, ``symbol``), GEO's ``.annot``, GEO's full platform table
(``GPL570-55999.txt``), and the platform inside a SOFT family file.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from g2v_dask.errors import InputError

ENDINGS = (".tsv", ".tsv.gz", ".annot.gz", ".annot", ".txt", ".txt.gz", ".soft", ".soft.gz")
FAMILY = ("_family.soft.gz", "_family.soft")

PROBE_COLUMNS = ("probe_id", "id", "probe", "probeset_id", "probe_set_id", "probe set id")
# In order of trust. GEO's own annotation first; then vendors' headers; ids that a gene table can translate last.
SYMBOL_COLUMNS = (
    "symbol",
    "gene symbol",
    "gene_symbol",
    "genesymbol",
    "ilmn_gene",
    "gene_name",
    "gene name",
    "genename",
    "hgnc_symbol",
    "orf",
    "gene_assignment",
    "gene id",
    "entrez_gene_id",
    "entrez gene",
    "entrez_gene",
    "entrezid",
    "gene",
    "ensembl",
    "ensembl_gene_id",
    "ensembl_id",
)
NOTHING = frozenset({"", "-", "---", "--", "na", "n/a", "null", "nan", "none", "0", "previous version conflict"})
SEPARATORS = re.compile(r"///|[|;,]")


@dataclass(frozen=True, kw_only=True, eq=False)
class PlatformTable:
    """Probes of one platform and the gene each names."""

    path: Path
    digest: str
    """sha256 of the file."""
    column: str
    """The column the names came from, as the file writes it."""
    symbols: dict[str, str] = field(repr=False)
    """Probe to gene, for probes that name exactly one."""
    several: frozenset[str] = field(repr=False)
    """Probes that name more than one gene: they measure a mixture and are dropped."""
    unnamed: int
    """Probes without a gene: controls, and transcripts of no gene."""

    @classmethod
    def load(cls, path: str | Path) -> PlatformTable:
        """The table in a file.

        Names are separated by ``///``, ``|``, ``;`` or ``,``; the same name twice counts once. A probe listed
        in several rows with different genes names several.

        Raises: InputError if it cannot be read, or lacks a column of probes or of genes.
        """
        file = Path(path).expanduser()
        raw = _read(file)
        lines = _table_lines(_text(file, raw))
        header = [_bare(c) for c in next(lines, "").split("\t")]
        probe, gene = _find(file, header, PROBE_COLUMNS, "probes"), _find(file, header, SYMBOL_COLUMNS, "genes")
        names: dict[str, set[str]] = {}
        for line in lines:
            cells = line.split("\t")
            if len(cells) > probe and (key := _bare(cells[probe])):
                cell = _bare(cells[gene]) if len(cells) > gene else ""
                names.setdefault(key, set()).update(_genes(cell, header[gene].lower()))
        if not any(names.values()):
            msg = (
                f"{file} names no gene: expected symbols in column {header[gene]!r}, found none in {len(names):,} rows"
            )
            raise InputError(msg)
        return cls(
            path=file,
            digest=hashlib.sha256(raw).hexdigest(),
            column=header[gene],
            symbols={k: next(iter(v)) for k, v in names.items() if len(v) == 1},
            several=frozenset(k for k, v in names.items() if len(v) > 1),
            unnamed=sum(not v for v in names.values()),
        )


def find(folder: str | Path | None, accession: str) -> Path:
    """The file of a platform in a folder.

    Raises: InputError that names the file that is expected, if it is not there.
    """
    if re.fullmatch(r"GPL\d+", accession) is None:
        msg = f"expected a platform accession such as GPL570, got {accession!r}"
        raise InputError(msg)
    expected = f"{accession}.tsv, {accession}.tsv.gz, {accession}.annot.gz or GEO's {accession}-*.txt"
    if folder is None:
        msg = f"no platform table {accession}: expected {expected} in a folder named with --platforms"
        raise InputError(msg)
    where = Path(folder).expanduser()
    if not where.is_dir():
        msg = f"no platform table {accession}: expected {expected} in {where}, which is not a folder"
        raise InputError(msg)
    for name in (*(accession + e for e in ENDINGS), *(accession + e for e in FAMILY)):
        if (where / name).is_file():
            return where / name
    for pattern in (f"{accession}-*.txt", f"{accession}-*.txt.gz"):  # GEO puts a running number in the name
        if files := sorted(where.glob(pattern)):
            return files[-1]
    msg = f"no platform table {accession}: expected {expected} in {where}"
    raise InputError(msg)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        msg = f"expected a platform table at {file}: {error.strerror}"
        raise InputError(msg) from error


def _text(file: Path, raw: bytes) -> str:
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            msg = f"{file} is a truncated or damaged gzip file; fetch it again"
            raise InputError(msg) from error
    if raw.lstrip()[:1] == b"<":
        msg = f"{file} holds HTML, expected a platform table; the download was a page, fetch it again"
        raise InputError(msg)
    return raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="replace")


def _table_lines(text: str) -> Iterator[str]:
    """The header and rows: what stands between GEO's marks, or all that is not a comment."""
    begin = re.search(r"(?m)^!platform_table_begin.*\n", text, re.IGNORECASE)
    marked = begin is not None
    for line in text[begin.end() if begin else 0 :].split("\n"):
        line = line.rstrip("\r")
        if line[:19].lower() == "!platform_table_end":
            return
        if line and (marked or line[0] not in "#!^"):
            yield line


def _bare(cell: str) -> str:
    return cell.strip().strip('"').strip()


def _find(file: Path, header: list[str], wanted: tuple[str, ...], what: str) -> int:
    lower = [h.lower() for h in header]
    for name in wanted:
        if name in lower:
            return lower.index(name)
    shown = ", ".join(repr(h) for h in header[:15] if h)
    msg = f"{file} has no column of {what}: expected one of {', '.join(wanted[:6])} …; found {shown}"
    raise InputError(msg)


def _genes(cell: str, column: str) -> set[str]:
    """The distinct genes that one cell names."""
    if column == "gene_assignment":  # Affymetrix: accession // symbol // name // band // Entrez /// …
        parts = [a.split("//") for a in cell.split("///")]
        return {p[1].strip() for p in parts if len(p) > 1 and p[1].strip().lower() not in NOTHING}
    return {g.strip() for g in SEPARATORS.split(cell) if g.strip().lower() not in NOTHING}
