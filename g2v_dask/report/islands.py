"""What a report says of the islands of a map: one row for each kind of genes that an island holds too many of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from g2v_dask.analysis.genesets import FDR
from g2v_dask.analysis.islands import Tested
from g2v_dask.names import Names
from g2v_dask.report.markdown import body, escape
from g2v_dask.report.sheets import Column, Picture, Sheet

MIDDLE = 5  # genes that stand for an island


@dataclass(frozen=True, kw_only=True)
class Island:
    """One island."""

    number: int
    members: Sequence[str]
    """Its genes, those in its middle first."""
    tested: Sequence[Tested]


def islands_sheet(islands: Sequence[Island], names: Names, *, title: str, apart: int) -> Sheet:
    """All islands; of each the kinds of genes with q ≤ 0.05, as they come.

    Parameters: apart   genes of no island.
    """
    tests = sum(len(i.tested) for i in islands)
    return Sheet(
        title=title,
        facts=(
            f"{len(islands)} islands, {apart:,} genes on none",
            "Fisher's exact test, one-sided",
            f"q by Benjamini-Hochberg over {tests:,} tests, shown to {FDR}",
        ),
        columns=(
            Column(name="Island", right=True),
            Column(name="Genes", right=True),
            Column(name="Biotype"),
            *(Column(name=name, right=True) for name in ("Overlap", "Expected", "Odds ratio", "q")),
            Column(name="In the middle"),
        ),
        rows=tuple(row for island in islands for row in _rows(island, names)),
    )


def _rows(island: Island, names: Names) -> Iterable[tuple[str, ...]]:
    """One row a kind, or one for an island that no kind stands out of; what holds for the island stands once."""
    own = (str(island.number), f"{len(island.members):,}")
    middle = ", ".join(names.about(gene).symbol for gene in island.members[:MIDDLE])
    best = [t for t in island.tested if t.q <= FDR]
    if not best:
        yield (*own, "", "", "", "", "", middle)
    for n, found in enumerate(best):
        yield (*(own if n == 0 else ("", "")), *_test(found), middle if n == 0 else "")


def _test(found: Tested) -> tuple[str, ...]:
    odds = f"{found.odds_ratio:,.1f}" if math.isfinite(found.odds_ratio) else "∞" if found.odds_ratio > 0 else ""
    return (
        found.kind,
        f"{found.overlap:,}",
        f"{found.expected:,.1f}",
        odds,
        f"{found.q:.1e}" if found.q > 0 else "< 1e-300",
    )


def islands_markdown(sheet: Sheet, islands: Sequence[Island], names: Names, *, picture: str, caption: str) -> str:
    """The table, the picture, and the genes of every island."""
    drawn = replace(sheet, picture=Picture(png=b"", caption=caption))
    parts = [f"# {escape(sheet.title)}\n\n{body(drawn, picture)}"]
    for island in islands:
        genes = ", ".join(escape(names.about(gene).symbol) for gene in island.members)
        parts.append(f"## Island {island.number}: {len(island.members):,} genes\n\n{genes}\n")
    return "\n".join(parts)
