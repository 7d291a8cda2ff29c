"""What is asked of an embedding: the filters of every question, and the questions that are batches.

Like the stages' specs: each option is described once, for the command line, Python and the digest.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from g2v_dask.options import Spec, option

METRICS = ("cosine", "inner", "l2")


@dataclass(frozen=True, kw_only=True)
class Filters(Spec):
    """What an answer must be; off unless given."""

    unit: bool = option("normalise the vectors before they are subtracted", False, role="identity")  # noqa: FBT003
    ceiling: float | None = option(
        "drop answers where cos(A, C) or cos(B, D) is over this, so that paralogues do not answer trivially "
        "(gene_analogies takes 0.8)",
        None,
        role="identity",
        low=-1.0,
        high=1.0,
    )
    max_per_gene: int | None = option("no gene in more than this many answers of a list", None, role="identity", low=1)
    genes: str | None = option("file of the genes that may answer, one a line", None, path=True)
    biotype: str | None = option("only genes of this biotype may answer: protein-coding, ncRNA, ...", None)
    min_difference: float | None = option(
        "drop pairs whose difference is shorter than this quantile of all (0.1: the shortest tenth); tiny "
        "differences win often",
        None,
        role="identity",
        low=0.0,
        high=1.0,
    )

    @classmethod
    def stage(cls) -> str:
        """The module in ``stages`` that answers what is a batch."""
        return "search"

    def given(self) -> dict[str, Any]:
        """The filters that are on, under users' names."""
        return {name: value for name, value in vars(self.filters).items() if value not in (None, False)}

    @property
    def filters(self) -> Filters:
        """The filters alone, of a question that has more."""
        return Filters(**{f.name: getattr(self, f.name) for f in dataclasses.fields(Filters)})


@dataclass(frozen=True, kw_only=True)
class PairSpec(Filters):
    """How pairs are asked."""

    metric: str = option(
        "cosine of the two differences, their inner product, or the distance between them",
        "cosine",
        role="identity",
        choices=METRICS,
    )
    sums: bool = option("a + b against all sums c + d", False, role="identity", key="sum")  # noqa: FBT003


@dataclass(frozen=True, kw_only=True)
class BatchSpec(PairSpec):
    """A file of pairs → ``answers/<to>``."""

    file: str = option("file of pairs: two genes a line, apart by a tab, comma or space", path=True)
    name: str | None = option("embedding to ask [the only one]", None)
    to: str | None = option("name of the answers [that of the embedding and -batch]", None)
    k: int = option("answers a pair", 10, role="identity", low=1)


@dataclass(frozen=True, kw_only=True)
class BestSpec(Filters):
    """The best analogies among all differences → ``answers/<to>``."""

    name: str | None = option("embedding to search [the only one]", None)
    to: str | None = option("name of the answers [that of the embedding and -best]", None)
    k: int = option("analogies to find", 1000, role="identity", low=1)
    seed: int = option("seed of the sample that sets the first threshold; it changes no answer", 1, low=0)


@dataclass(frozen=True, kw_only=True)
class NearSpec(Filters):
    """The nearest pairs of all genes → ``answers/<to>``."""

    name: str | None = option("embedding to search [the only one]", None)
    to: str | None = option("name of the answers [that of the embedding and -near]", None)
    k: int = option("pairs to find", 1000, role="identity", low=1)
