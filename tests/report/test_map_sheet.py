"""Sheets of small maps: the same bytes, one scale for all, any words, many panels, what is not measured."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from g2v_dask.errors import InputError
from g2v_dask.report import map_sheet, palettes
from g2v_dask.report.map_sheet import MapSheet
from g2v_dask.report.scatter import Scale

PLACES = np.random.default_rng(0).normal(size=(300, 2)) * [3, 2]


def scale(name: str, values: NDArray[np.float64]) -> Scale:
    return Scale(name=name, values=values, diverging=True, missing="unmeasured")


def sheet(*panels: Scale, title: str = "e") -> MapSheet:
    return MapSheet(title=title, places=PLACES, panels=panels, unit="z-score")


def some(count: int) -> list[Scale]:
    random = np.random.default_rng(1)
    return [scale(f"tissue {i}", np.where(PLACES[:, 0] > 4, np.nan, random.normal(size=300))) for i in range(count)]


def colours_in(png: bytes) -> dict[str, int]:
    with Image.open(io.BytesIO(png)) as image:
        packed = np.asarray(image.convert("RGB")).astype(np.int64) @ [1 << 16, 1 << 8, 1]
    found, counts = np.unique(packed, return_counts=True)
    return {f"#{c:06x}": int(n) for c, n in zip(found.tolist(), counts, strict=True)}


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_draw__the_same_bytes(suffix: str) -> None:
    first, again = (map_sheet.draw(sheet(*some(3)), Path(f"m{suffix}")) for _ in range(2))
    assert first == again


def texts_of(one: MapSheet, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Titles of panels, and the other texts."""
    texts: list[str] = []

    def kept(figure: Figure, suffix: str, **how: object) -> bytes:
        texts.extend(axes.get_title(loc="left") for axes in figure.axes)
        texts.extend(text.get_text() for legend in figure.legends for text in legend.get_texts())
        texts.extend(text.get_text() for text in figure.texts)
        return b""

    monkeypatch.setattr(map_sheet, "saved_figure", kept)
    map_sheet.draw(one, Path("m.png"))
    return texts


def test_draw__every_panel_by_name_and_what_is_grey(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = texts_of(sheet(*some(11), title="genes, by tissue"), monkeypatch)
    assert texts == [*(f"tissue {i}" for i in range(11)), "z-score", "unmeasured", "genes, by tissue"]
    measured = texts_of(sheet(scale("all", PLACES[:, 0])), monkeypatch)
    assert measured == ["all", "z-score", "e"]


def test_draw__a_colour_means_one_number_in_all_panels() -> None:
    """The second panel's numbers are a tenth of the first's: they must not be stretched to its own ends."""
    wide, narrow = np.linspace(-3, 3, 300), np.full(300, 0.3)
    found = colours_in(map_sheet.draw(sheet(scale("a", wide), scale("b", narrow)), Path("m.png")))
    most = float(np.percentile(np.abs(np.concatenate([wide, narrow])), 99))
    expected = to_hex(palettes.DIVERGING((0.3 + most) / (2 * most)))
    assert found[expected] > 100
    assert found.get(palettes.FAINT, 0) < 20  # of edges that fade


def test_draw__unmeasured_genes_are_grey_and_panels_without_any_number() -> None:
    values = np.where(np.arange(300) % 2 == 0, np.nan, 1.0)
    assert colours_in(map_sheet.draw(sheet(scale("a", values)), Path("m.png")))[palettes.FAINT] > 500
    nothing = map_sheet.draw(sheet(scale("a", np.full(300, np.nan))), Path("m.png"))
    assert colours_in(nothing)[palettes.FAINT] > 500
    assert len(map_sheet.draw(sheet(scale("a", values), scale("b", np.full(300, np.nan))), Path("m.svg"))) > 5000


def test_draw__many_panels_fit_on_a_page() -> None:
    with Image.open(io.BytesIO(map_sheet.draw(sheet(*some(54)), Path("m.png")))) as image:
        width, height = image.size
    assert 1400 < width < 2600
    assert 1000 < height < 2600


@pytest.mark.parametrize("name", ["$a$b_{", "_hidden", "<i>&", "\\frac", "a long name that goes on and on and on", ""])
def test_draw__any_word(name: str) -> None:
    one = MapSheet(title=name, places=PLACES, panels=[scale(name, PLACES[:, 0])], unit=name)
    for file in ("m.png", "m.svg"):
        assert len(map_sheet.draw(one, Path(file))) > 5000


def test_draw__other_formats() -> None:
    with pytest.raises(InputError, match=r"a \.png, \.svg or \.pdf file; got 'm\.gif'"):
        map_sheet.draw(sheet(*some(1)), Path("m.gif"))
