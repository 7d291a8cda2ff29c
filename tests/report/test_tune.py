"""The report on a grid: Table 1 with its row maxima, what is chosen, and the heat map."""

from __future__ import annotations

import io
import itertools
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from g2v_dask import report
from g2v_dask.driver import Summary
from g2v_dask.errors import InputError
from g2v_dask.report import grids, terminal, tune
from g2v_dask.report.sheets import Bold
from g2v_dask.report.tuned import NONE, Run, Tried, Tuned

TABLE_1 = {"components": (50, 100, 200, 300), "iterations": tuple(range(1, 11))}


def tuned(
    grid: Mapping[str, tuple[Any, ...]],
    value: Callable[..., float],
    *,
    seeds: int = 1,
    missing: tuple[int, ...] = (),
    name: str = "t",
    choose: str = "clusteredness ratio, paper",
) -> Tuned:
    """A grid whose cells have the values of a function; of the n-th seed n / 100 more."""
    cells = []
    for number, values in enumerate(itertools.product(*grid.values())):
        at = dict(zip(grid, values, strict=True))
        runs = (
            Run(embedding=f"{name}-{number}-{seed}", seed=seed, why="no pair is left")
            if number in missing
            else Run(
                embedding=f"{name}-{number}-{seed}",
                seed=seed,
                value=(v := value(**at) + seed / 100),
                low=v - 0.05,
                high=v + 0.07,
                coverage=0.9,
            )
            for seed in range(seeds)
        )
        cells.append(Tried(at=at, runs=tuple(runs)))
    stages = (Summary(stage="train"), Summary(stage="evaluate"))
    return Tuned(name=name, choose=choose, grid=grid, cells=cells, stages=stages)


def hill(components: int, iterations: int) -> float:
    """Best at 200 components; in each row at another iteration."""
    peak = {50: 4, 100: 6, 200: 9, 300: 1}[components]
    return 1.5 - abs(components - 200) / 1000 - abs(iterations - peak) / 50


def bold(found: Tuned) -> list[list[int]]:
    """The columns of the bold cells of each row."""
    return [[i for i, cell in enumerate(row) if isinstance(cell, Bold)] for row in tune.sheets(found)[0].rows]


def test_table__is_that_of_the_paper() -> None:
    found = tuned(TABLE_1, hill)
    table, _ = tune.sheets(found)
    assert [c.name for c in table.columns] == ["components ↓ iterations →", *map(str, range(1, 11))]
    assert [row[0] for row in table.rows] == ["50", "100", "200", "300"]
    assert table.rows[2][9] == "1.500"
    assert bold(found) == [[4], [6], [9], [1]]
    assert found.best.at == {"components": 200, "iterations": 9}
    assert table.title == "t: clusteredness ratio, paper"
    assert table.notes[1] == (
        "Chosen: t-28-0 (components 200, iterations 9), 1.500 (95 %: 1.450 to 1.570): the highest of 40."
    )
    inside = sum(1.45 <= hill(c, i) <= 1.57 for c in TABLE_1["components"] for i in TABLE_1["iterations"])
    assert table.notes[2].startswith(f"{inside - 1} other cells lie within its 95 % interval")


def test_table__several_keys_make_the_rows() -> None:
    found = tuned({"from": ("a", "b"), "shift": (1, 2.5), "power": (0, 1)}, lambda **at: at["shift"] + at["power"])
    table, cells = tune.sheets(found)
    assert [c.name for c in table.columns] == ["from", "shift ↓ power →", "0", "1"]
    assert [row[:2] for row in table.rows] == [("a", "1"), ("a", "2.5"), ("b", "1"), ("b", "2.5")]
    assert found.best is found.cells[3]  # of equal ones the first
    assert [row[3] for row in cells.rows] == ["3.500", "3.500", "2.500", "2.500", "2.000", "2.000", "1.000", "1.000"]


def test_table__one_key_is_one_row() -> None:
    table, _ = tune.sheets(tuned({"min_count": (1, 5)}, lambda min_count: min_count))
    assert [c.name for c in table.columns] == ["min count →", "1", "5"]
    assert table.rows == (("", "1.000", "5.000"),)


def test_table__equal_maxima_are_both_bold() -> None:
    assert bold(tuned({"shift": (1, 2, 3)}, lambda shift: 0.5)) == [[1, 2, 3]]


def test_sheets__seeds_are_averaged_and_their_range_told() -> None:
    found = tuned({"shift": (1, 2)}, lambda shift: shift, seeds=3)
    table, cells = tune.sheets(found)
    assert table.rows == (("", "1.010", "2.010"),)
    assert "mean of 3 runs each" in table.facts
    assert cells.columns[-2].name == "least to highest of 3 runs"
    assert cells.rows[0] == ("2", "2.010", "1.960 to 2.080", "90.0 %", "2.000 to 2.020", "t-1-0")


def test_sheets__cells_without_a_figure_say_why_and_are_never_chosen() -> None:
    found = tuned({"shift": (1, 2, 3), "power": (0, 1)}, lambda shift, power: -shift, missing=(0, 1, 2, 5))
    table, cells = tune.sheets(found)
    assert [row[1:] for row in table.rows] == [(NONE, NONE), (NONE, "-2.000"), ("-3.000", NONE)]
    assert bold(found) == [[], [2], [1]]
    assert found.best.at == {"shift": 2, "power": 1}
    assert table.notes[-4:] == (
        *(f"{NONE}: t-{n}-0 has no figure: no pair is left" for n in (0, 1, 2)),
        f"{NONE}: 1 more have none.",
    )
    assert [row[2] for row in cells.rows] == ["-2.000", "-3.000", NONE, NONE, NONE, NONE]
    assert found.exit_code == 3
    told = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert (told["cells"][0]["value"], told["cells"][0]["why"]) == (None, "no pair is left")
    assert told["chosen"]["value"] == -2


def test_tried__one_run_without_a_figure_leaves_none() -> None:
    """A mean of fewer runs than the others have would not be a fair one."""
    runs = (Run(embedding="a", seed=1, value=0.9, low=0.8, high=1.0), Run(embedding="b", seed=2, why="lost"))
    cell = Tried(at={"shift": 1}, runs=runs)
    assert math.isnan(cell.value)
    assert cell.why == "lost"


# -- the picture --------------------------------------------------------------------------------------------


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_draw__the_same_bytes(suffix: str) -> None:
    found = tuned(TABLE_1, hill, missing=(3,))
    assert grids.draw(found, Path(f"a{suffix}")) == grids.draw(found, Path(f"b{suffix}"))


def test_draw__labels_every_cell_and_makes_row_maxima_bold() -> None:
    svg = grids.draw(tuned(TABLE_1, hill, missing=(3,)), Path("a.svg")).decode()
    for value in ("1.330", "1.500", NONE, "components", "iterations"):
        assert f"<!-- {value} -->" in svg
    assert "DejaVuSans-Bold" in svg
    plain = grids.draw(tuned({"shift": (1, 2)}, lambda shift: shift), Path("a.svg")).decode()
    assert plain.count("<!-- 2.000 -->") == 1


def test_draw__brighter_is_higher_also_in_grey() -> None:
    picture = pixels(grids.draw(tuned({"shift": tuple(range(12))}, lambda shift: shift), Path("a.png"))).astype(float)
    grey = picture @ [0.299, 0.587, 0.114]
    row = grey[int(len(grey) * 0.3)]  # above the numbers
    first = int(np.flatnonzero(row < 250)[0])
    width = 0.62 * 144
    seen = [row[int(first + (i + 0.5) * width)] for i in range(12)]
    assert seen == sorted(seen)
    assert seen[-1] - seen[0] > 120


@pytest.mark.parametrize(
    "grid",
    [
        {"shift": (1,)},
        {"shift": tuple(range(40))},
        {"from": tuple(f"a rather long name of a co-occurrence {i}" for i in range(30)), "shift": (1, 2)},
        {"from": ("$a$b_{", "_hidden", "<i>&"), "method": ("svd",)},
    ],
)
def test_draw__any_grid(grid: dict[str, tuple[Any, ...]]) -> None:
    picture = pixels(grids.draw(tuned(grid, lambda **at: 0.5), Path("a.png")))
    assert 200 < picture.shape[1] < 5000
    assert 150 < picture.shape[0] < 5000


# -- files --------------------------------------------------------------------------------------------------


def test_files__markdown_html_and_picture(tmp_path: Path) -> None:
    found = tuned(TABLE_1, hill)
    pages = tune.with_picture(tune.sheets(found), found)
    report.write_markdown(tmp_path / "t.md", *pages)
    report.write_html(tmp_path / "t.html", *pages)
    markdown, html = ((tmp_path / name).read_text("utf-8") for name in ("t.md", "t.html"))
    assert "](t.png)" in markdown
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")
    assert markdown.count("\n# ") + markdown.startswith("# ") == 2
    assert html.count("data:image/png;base64,") == 1
    assert markdown.count("**") == 2 * 4
    assert "| **1.500** |" in markdown
    assert html.count("<b>") == 4
    assert '>1.480</td><td class="right"><b>1.500</b></td>' in html
    for file, start in (("t.svg", b"<?xml"), ("u.PNG", b"\x89PNG")):
        tune.write_picture(tmp_path / file, found)
        assert (tmp_path / file).read_bytes().startswith(start)


def test_show_sheet__row_maxima_are_bold(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(terminal, "_console", lambda: Console(file=out, force_terminal=True, width=200))
    report.show_sheet(tune.sheets(tuned(TABLE_1, hill))[0])
    assert out.getvalue().count("\x1b[1m1.500") == 1
    assert "\x1b[1m1.480" not in out.getvalue()


def test_check_picture__other_formats() -> None:
    tune.check_picture(Path("a.svg"))
    with pytest.raises(InputError, match=r"a picture is a \.png, \.svg or \.pdf file; got 'a.gif'"):
        tune.check_picture(Path("a.gif"))
