"""What questions about an embedding give back: plain data, for tables, JSON, Markdown and Parquet alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Analogy:
    """a − b ≈ c − d; of sums a + b ≈ c + d."""

    a: str
    b: str
    c: str
    d: str
    score: float
    """Cosine, inner product or Euclidean distance of the two differences (or sums), in float64."""


@dataclass(frozen=True, kw_only=True)
class Analogies:
    """The answers to one question, best first; ties by the gene ids a, b, c, d."""

    asked: tuple[str, ...]
    """The genes of the question, as the embedding has them: (A, B), (A,), or none where all are searched."""
    found: tuple[Analogy, ...]
    embedding: str
    metric: str = "cosine"
    """``cosine``, ``inner`` or ``l2``; with ``l2`` smaller is better."""
    sums: bool = False
    """a + b ≈ c + d rather than differences."""
    unit: bool = False
    """Whether vectors were normalised before they were subtracted."""
    filters: Mapping[str, Any] = field(default_factory=dict)
    """The filters that were on, as given."""
    notes: tuple[str, ...] = ()
    """What a reader should know: fewer answers than asked for and why, near-duplicates left out, bounds."""

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Solution:
    """One gene that may stand for ? in A − B = ? − C."""

    gene: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Solutions:
    """A − B = ? − C by each method, best first."""

    asked: tuple[str, str, str]
    embedding: str
    methods: Mapping[str, tuple[Solution, ...]]
    """``3CosAdd``, ``3CosMul`` and ``PairDirection``."""
    filters: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class NearPair:
    """Two genes that lie near each other."""

    a: str
    b: str
    cosine: float


@dataclass(frozen=True, kw_only=True)
class NearPairs:
    """The nearest pairs of all genes, best first; ``a < b`` by gene id, ties by (a, b)."""

    found: tuple[NearPair, ...]
    embedding: str
    filters: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return asdict(self)
