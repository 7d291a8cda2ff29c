"""Pages in a real browser (tests/browser.sh): nothing is asked of a network, nothing goes wrong, a phone shows it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from g2v_dask import driver
from g2v_dask.analysis.paired import Difference
from g2v_dask.flows import embedding_report, evaluate
from g2v_dask.flows.embedding_report import Examples
from g2v_dask.report import book, comparison, embedding
from g2v_dask.report.comparison import Compared
from g2v_dask.spec import KmeansSpec, MapSpec
from g2v_dask.stages import kmeans
from g2v_dask.stages import map as map_stage
from tests import stores
from tests.browser import Browser, browser
from tests.judged import HOSTILE, curves, evaluation, figure

FIND = Path(__file__).parents[1] / "browser.sh"
CANNOT = 77
WIDE, PHONE = 1280, 390  # CSS pixels
LEAST = 12.0  # CSS pixels of text that can be read
GENES = [
    "TP53",
    "CD3E",
    "HLA-DRA",
    "RPL3",
    "COL1A1",
    "CCNB1",
    "BRCA1",
    "BRCA2",
    HOSTILE,
    *(f"W{i:02d}" * 9 for i in range(51)),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser for all tests of the module."""
    found = subprocess.run(["bash", FIND], capture_output=True, text=True, check=False)
    if found.returncode == CANNOT:
        pytest.skip(found.stderr.strip())
    assert found.returncode == 0, found.stderr
    with browser(found.stdout.strip()) as opened:
        yield opened


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on an embedding with all that there can be, and names that mean harm, or are long."""
    folder = tmp_path_factory.mktemp("page")
    store = stores.empty(folder / "s")
    card = {"losses": [3.0, 2.0, 1.5], "parameters": {HOSTILE: HOSTILE * 4}, "datasets": {"pairs/gone": "0" * 64}}
    made = stores.embedding(store, "genes", GENES, np.random.default_rng(0).normal(size=(60, 5)), card=card)
    for stage, spec in ((kmeans, KmeansSpec(k=3)), (map_stage, MapSpec(method="pca"))):
        driver.here(stage, stage.plan(store, spec), store)
    figures = [
        figure("interaction", "auc", 0.75, low=0.7, high=0.8, model=HOSTILE, on="test"),
        figure("interaction", "auc", 0.9, model="degree sum", on="test", baseline="transductive"),
        *(figure("tissue", f"metric {i} of a long name", i / 7, on=HOSTILE * 3, model=HOSTILE) for i in range(7)),
    ]
    tables = {"interaction-curves": curves(shift={HOSTILE: 1.0, "degree sum": 2.0})}
    evaluation(store, "genes", made, figures, tables=tables, spec={"name": "genes", "pairs": "/a/" + "long" * 40})
    known = embedding_report.run(store.root.url, "genes", Examples(solve=("BRCA1 BRCA2 TP53",), pair=()))
    book.write_html(folder / "page.html", embedding.book(known))
    return folder / "page.html"


@pytest.mark.parametrize(("width", "phone"), [(WIDE, False), (PHONE, True)], ids=["wide", "phone"])
def test_report__opens_without_a_network_and_fits(chromium: Browser, page: Path, width: int, phone: bool) -> None:
    seen = chromium.visit(page, width=width, phone=phone)
    assert seen.errors == []
    assert seen.requests == []
    assert seen.width == width  # wide tables and pictures scroll in frames of their own
    assert seen.broken == 0
    assert seen.smallest >= LEAST
    wanted = ["Embedding genes", "Datasets", "Training", "Gene-gene interaction: genes, test", "Tissues: genes"]
    wanted += ["Map genes", "Groups genes: 3 groups of 60 genes", "Nearest genes", "BRCA1 − BRCA2 = ? − TP53"]
    assert seen.headings == [*wanted, book.AGAIN]
    assert seen.picture.startswith(b"\x89PNG")


def test_comparison__fits_on_a_phone(chromium: Browser, tmp_path: Path) -> None:
    store = stores.empty(tmp_path / "s")
    names = ["a", "b" * 60]
    figures = [figure("interaction", "auc", 0.75, model=HOSTILE, on="test")]
    found = []
    for name in names:
        made = stores.embedding(store, name, ["A", "B"], np.eye(2))
        found.append(evaluate.read(evaluation(store, name, made, figures)))
    gap = {("interaction", "test", HOSTILE, "auc"): Difference(value=0.1, low=0.05, high=0.15, units=9)}
    compared = Compared(sizes=dict.fromkeys(names, 2), genes=2, evaluated=found, differences={names[1]: gap})
    book.write_html(tmp_path / "c.html", book.Book(sheets=comparison.sheets(compared)))
    seen = chromium.visit(tmp_path / "c.html", width=PHONE, phone=True)
    assert (seen.errors, seen.requests, seen.width) == ([], [], PHONE)


def test_visit__sees_what_is_wrong(chromium: Browser, tmp_path: Path) -> None:
    """The tests above can fail."""
    bad = tmp_path / "bad.html"
    words = (
        '<img src="https://example.org/x.png"><img src="data:image/png;base64,AAAA"><h1 style="font-size: 7px">H</h1>'
    )
    bad.write_text(
        f"<!DOCTYPE html>{words}<div style='width: 900px'>x</div><script>console.error('e'); nothing()</script>"
    )
    seen = chromium.visit(bad, width=PHONE)
    assert seen.requests == ["https://example.org/x.png"]
    assert any("nothing" in error or "Uncaught" in error for error in seen.errors)
    assert any("'e'" in error for error in seen.errors)
    assert seen.width > PHONE
    assert (seen.broken, seen.smallest, seen.headings) == (2, 7, ["H"])
