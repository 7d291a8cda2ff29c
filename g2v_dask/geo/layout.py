"""Accessions, and where GEO keeps what belongs to them. Nothing that came from elsewhere becomes a path unchecked."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from urllib.parse import parse_qs, urlsplit

from g2v_dask.errors import InputError
from g2v_dask.geo_spec import PLATFORM, SERIES

PLATFORMS = "platforms"  # where annotations lie, flat

_BUILD = r"[A-Za-z0-9]+(?:\.[A-Za-z0-9]+)*"
_GENES = re.compile(rf"[A-Za-z]+\.{_BUILD}\.annot\.tsv\.gz")
_HREF = re.compile(r"""href\s*=\s*["']([^"'<>]*)["']""", re.IGNORECASE)


def is_series(text: str) -> bool:
    """Whether it is the accession of a series, and nothing else."""
    return SERIES.fullmatch(text) is not None


def is_platform(text: str) -> bool:
    """Whether it is the accession of a platform, and nothing else."""
    return PLATFORM.fullmatch(text) is not None


def series(text: str) -> str:
    """The accession of a series.

    Raises: InputError if it is not one.
    """
    if not is_series(text):
        msg = f"expected the accession of a GEO series such as GSE55235, got {text!r}"
        raise InputError(msg)
    return text


def in_order(accessions: Iterable[str]) -> list[str]:
    """Each once, by number."""
    return sorted(set(accessions), key=lambda a: int(a[3:]))


def folder(accession: str) -> str:
    """GEO's folder of a series or platform.

    >>> folder("GSE55235"), folder("GSE42"), folder("GPL10558")
    ('series/GSE55nnn/GSE55235', 'series/GSEnnn/GSE42', 'platforms/GPL10nnn/GPL10558')
    """
    top = "series" if accession.startswith("GSE") else "platforms"
    return f"{top}/{accession[:-3] if len(accession) > 6 else accession[:3]}nnn/{accession}"


def matrices(accession: str, listing: str) -> list[str]:
    """The series matrix files that a listing of GEO's ``matrix`` folder links to, one a platform.

    >>> matrices("GSE42", '<a href="GSE42-GPL96_series_matrix.txt.gz">x</a> <a href="../../etc/passwd">y</a>')
    ['GSE42-GPL96_series_matrix.txt.gz']
    """
    wanted = re.compile(rf"{accession}(-{PLATFORM.pattern})?_series_matrix\.txt\.gz")
    return sorted({link for link in _links(listing) if wanted.fullmatch(link)})


def split_matrices(accession: str, listing: str) -> list[str]:
    """The links to numbered parts of series matrices: GEO has split some that had many samples.

    >>> split_matrices("GSE9891", '<a href="GSE9891_series_matrix-1.txt.gz">x</a>')
    ['GSE9891_series_matrix-1.txt.gz']
    """
    wanted = re.compile(rf"{accession}(-{PLATFORM.pattern})?_series_matrix-?\d+\.txt\.gz")
    return sorted({link for link in _links(listing) if wanted.fullmatch(link)})


def counts(accession: str, page: str) -> tuple[str, str | None] | None:
    """NCBI's raw counts, and their gene annotation, that a series' download page links to."""
    wanted = re.compile(rf"{accession}_raw_counts_{_BUILD}_NCBI\.tsv\.gz")
    named = [name for link in _links(page) for name in parse_qs(urlsplit(link).query).get("file", [])]
    raw = sorted(n for n in named if wanted.fullmatch(n))
    genes = sorted(n for n in named if _GENES.fullmatch(n))
    return (raw[-1], genes[-1] if genes else None) if raw else None


def _links(page: str) -> list[str]:
    return [html.unescape(link) for link in _HREF.findall(page)]
