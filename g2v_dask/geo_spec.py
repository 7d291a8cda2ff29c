"""Which GEO series to keep, how to fetch them, and when their embedding is good enough to be published."""

from __future__ import annotations

from dataclasses import dataclass

from g2v_dask.options import Spec, option


@dataclass(frozen=True, kw_only=True)
class GeoSpec(Spec):
    """GEO series → files beside the store's artifacts, and a ledger of them."""

    platform: tuple[str, ...] = option("platforms, GPLxxx; any where none is named", ())
    organism: str | None = option("organism, as NCBI's taxonomy names it", "Homo sapiens")
    min_samples: int = option("series with fewer samples are not searched", 30, low=1)
    since: str | None = option("only series published or changed since, YYYY-MM-DD", None)
    query: str | None = option("more terms of an Entrez query", None)
    accessions: tuple[str, ...] = option("series, GSExxx, that are kept whatever the search finds", ())
    parallel: int = option("files fetched at once", 4, low=1, high=16)
    tries: int = option("times that a file is tried in one run", 5, low=1)
    timeout_seconds: float = option("silence after which a connection is given up", 60.0, low=0.1)
    search_url: str = option("NCBI's E-utilities", "https://eutils.ncbi.nlm.nih.gov/entrez/eutils")
    files_url: str = option("GEO's files", "https://ftp.ncbi.nlm.nih.gov/geo")
    pages_url: str = option("GEO's pages, for counts and platform tables", "https://www.ncbi.nlm.nih.gov/geo")


@dataclass(frozen=True, kw_only=True)
class GateSpec(Spec):
    """What a new version must reach to be published by ``reprocess``."""

    least_overlap: float | None = option(
        "least mean share of neighbours that new and last version have in common", None, low=0.0, high=1.0
    )
    most_quarantined: int | None = option("most datasets that may be in quarantine", None, low=0)
    k: int = option("neighbours of a gene that are compared", 10, low=1)
