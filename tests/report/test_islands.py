"""What is said of islands: one row a kind that stands out, numbers as people write them, all genes in the Markdown."""

from __future__ import annotations

import math

import numpy as np

from g2v_dask.analysis import islands
from g2v_dask.names import Names
from g2v_dask.report.islands import Island, islands_markdown, islands_sheet

NAMES = Names(np.array(["TP53", "ENSG00000146648", "MIR15A", "a|b", "C1", "C2", "C3", "C4"]))


def row(island: int, kind: str, q: float, odds: float = 3.25) -> islands.Tested:
    return islands.Tested(
        island=island, kind=kind, genes=7, overlap=1234, expected=12.34, odds_ratio=odds, p=q / 2, q=q
    )


ISLANDS = (
    Island(
        number=1,
        members=["TP53", "ENSG00000146648", "a|b", "C1", "C2", "C3"],
        tested=(row(1, "microRNA", 0.0, math.inf), row(1, "snoRNA", 0.05), row(1, "ncRNA", 0.051)),
    ),
    Island(number=2, members=["MIR15A"], tested=(row(2, "ncRNA", 0.5),)),
    Island(number=3, members=["C4"], tested=(row(3, "ncRNA", 0.01, math.nan),)),
)


def test_sheet__kinds_that_stand_out() -> None:
    found = islands_sheet(ISLANDS, NAMES, title="Islands of maps/e", apart=1500)
    assert found.facts[0] == "3 islands, 1,500 genes on none"
    assert found.facts[2] == "q by Benjamini-Hochberg over 5 tests, shown to 0.05"
    middle = "TP53, EGFR, a|b, C1, C2"
    assert found.rows == (
        ("1", "6", "microRNA", "1,234", "12.3", "∞", "< 1e-300", middle),
        ("", "", "snoRNA", "1,234", "12.3", "3.2", "5.0e-02", ""),
        ("2", "1", "", "", "", "", "", "MIR15A"),
        ("3", "1", "ncRNA", "1,234", "12.3", "", "1.0e-02", "C4"),
    )
    assert {len(row) for row in found.rows} == {len(found.columns)}
    assert islands_sheet((), NAMES, title="none", apart=8).rows == ()


def test_markdown__table_picture_and_every_gene() -> None:
    sheet = islands_sheet(ISLANDS, NAMES, title="Islands of maps/e", apart=0)
    text = islands_markdown(sheet, ISLANDS, NAMES, picture="my map.png", caption="The map")
    assert text.startswith("# Islands of maps/e\n")
    assert "![The map](my%20map.png)" in text
    assert "## Island 1: 6 genes\n\nTP53, EGFR, a\\|b, C1, C2, C3\n" in text
    assert text.count("## Island") == 3
