"""Which GEO series to keep, how to fetch them, and when their embedding is good enough to be published."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass

from g2v_dask.errors import SpecError
from g2v_dask.figure_spec import Bound
from g2v_dask.options import Spec, option

SERIES = re.compile(r"GSE[1-9][0-9]{0,8}")
PLATFORM = re.compile(r"GPL[1-9][0-9]{0,8}")


@dataclass(frozen=True, kw_only=True)
class GeoSpec(Spec):
    """GEO series → files beside the store's artifacts, and a ledger of them."""

    platform: tuple[str, ...] = option("platforms, GPLxxx; any where none is named", ())
    organism: str | None = option("organism, as NCBI's taxonomy names it; '' for any", "Homo sapiens")
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

    def __post_init__(self) -> None:
        super().__post_init__()
        _each("platform", self.platform, PLATFORM, "GPL570")
        _each("accessions", self.accessions, SERIES, "GSE55235")
        if self.organism is not None and '"' in self.organism:
            msg = f"geo: organism must be a name without quotes, got {self.organism!r}"
            raise SpecError(msg)
        if self.since is not None:
            try:
                datetime.datetime.strptime(self.since, "%Y-%m-%d")
            except ValueError as error:
                msg = f"geo: since must be a date such as 2026-01-31, got {self.since!r}"
                raise SpecError(msg) from error
        for key in ("search_url", "files_url", "pages_url"):
            url = getattr(self, key)
            if re.fullmatch(r"https?://[^\s?#]+", url) is None:
                msg = f"geo: {key} must begin with https:// or http://, got {url!r}"
                raise SpecError(msg)
            object.__setattr__(self, key, url.rstrip("/"))


def _each(key: str, accessions: tuple[str, ...], pattern: re.Pattern[str], example: str) -> None:
    for accession in accessions:
        if pattern.fullmatch(accession) is None:
            msg = f"geo: {key} must hold accessions such as {example}, got {accession!r}"
            raise SpecError(msg)


@dataclass(frozen=True, kw_only=True)
class GateSpec(Spec):
    """What a new version must reach to be published by ``reprocess``."""

    least_overlap: float | None = option(
        "least mean share of neighbours that new and last version have in common", None, low=0.0, high=1.0
    )
    most_quarantined: int | None = option("most datasets that may be in quarantine", None, low=0)
    k: int = option("neighbours of a gene that are compared", 10, low=1)
    evaluation: tuple[str, ...] = option(
        "figures that [evaluate] must reach, each as 'NAME: TASK METRIC on ON of MODEL >= NUMBER'", ()
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.bounds  # each is read once, so that a wrong one is found before any work

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """What the figures must reach."""
        return tuple(Bound.parse(text, "gate: evaluation") for text in self.evaluation)
