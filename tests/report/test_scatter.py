"""Pictures of maps: any name can be drawn, bytes repeat, SVG stays small, names lie on nothing."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.path import Path as MplPath
from numpy.typing import NDArray
from PIL import Image

from g2v_dask.errors import InputError
from g2v_dask.report import labels, palettes, scatter
from g2v_dask.report.scatter import Categories, Scale, Scatter

STRANGE = ["$a$b_{", "_hidden", "<i>&", "王", "المغرب", "\\frac", "two\nlines", "a phrase that goes on and on", "", " "]
Floats = NDArray[np.float64]


def cloud(genes: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(size=(genes, 2)) * [3, 2]


def pixels(png: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"))


def colours_in(png: bytes) -> dict[str, int]:
    """How many pixels have each colour."""
    packed = pixels(png).astype(np.int64) @ [1 << 16, 1 << 8, 1]
    found, counts = np.unique(packed, return_counts=True)
    return {f"#{c:06x}": int(n) for c, n in zip(found.tolist(), counts, strict=True)}


def by_kind(kind: str, genes: int) -> Categories | Scale | None:
    if kind == "groups":
        return Categories(name="groups e", values=[str(i % 15 + 1) for i in range(genes)], numbered=True)
    if kind == "words":
        return Categories(name="biotype", values=[("coding", "ncRNA", "")[i % 3] for i in range(genes)])
    if kind == "many":
        return Categories(name="tissue", values=[f"t{i % 30:02d}" for i in range(genes)])
    if kind == "scale":
        return Scale(name="r", values=np.where(np.arange(genes) % 5 == 0, np.nan, np.arange(genes) / genes))
    return None


KINDS = ("none", "groups", "words", "many", "scale")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_draw__the_same_bytes(kind: str, suffix: str) -> None:
    def drawn() -> bytes:
        picture = Scatter(title="e", places=cloud(200), colour=by_kind(kind, 200), labels={3: "TP53", 8: "EGFR"})
        return scatter.draw(picture, Path(f"map{suffix}"))

    assert drawn() == drawn()


def test_draw__svg_of_many_genes_is_one_image_and_small() -> None:
    picture = Scatter(title="e", places=cloud(20_000), colour=by_kind("groups", 20_000), labels={0: "TP53"})
    svg = scatter.draw(picture, Path("m.SVG"))
    assert svg.startswith(b"<?xml")
    assert svg.count(b"<image") == 1
    assert len(svg) < 2_000_000
    assert b"<date>" not in svg


@pytest.mark.parametrize("colour", [Categories(name="$n$_{", values=STRANGE), Categories(name="", values=[""] * 10)])
def test_draw__any_word(colour: Categories) -> None:
    many = Categories(name="_x", values=[f"{word}{i}" for i, word in enumerate(STRANGE)])
    for each in (colour, many):
        picture = Scatter(title="\\title$", places=cloud(10), colour=each, labels=dict(enumerate(STRANGE)))
        for name in ("m.png", "m.svg"):
            assert len(scatter.draw(picture, Path(name))) > 5000


@pytest.mark.parametrize(
    "places",
    [np.zeros((5, 2)), np.column_stack([np.arange(5.0), np.zeros(5)]), np.column_stack([np.zeros(5), np.arange(5.0)])],
)
@pytest.mark.parametrize("kind", KINDS)
def test_draw__places_without_width(places: Floats, kind: str) -> None:
    height, width, _ = pixels(
        scatter.draw(Scatter(title="e", places=places, colour=by_kind(kind, 5), labels={0: "A"}), Path("m.png"))
    ).shape
    assert 200 < height < 1500
    assert 200 < width < 2000


@pytest.mark.parametrize("values", [np.full(5, np.nan), np.full(5, 2.0), np.array([1e300, -1e300, 0, 1, 2])])
def test_draw__odd_scales(values: Floats) -> None:
    picture = Scatter(title="e", places=cloud(5), colour=Scale(name="$x$", values=values))
    assert scatter.draw(picture, Path("m.png")).startswith(b"\x89PNG")


def test_draw__other_formats() -> None:
    with pytest.raises(InputError, match=r"a \.png, \.svg or \.pdf file; got 'm\.gif'"):
        scatter.draw(Scatter(title="e", places=cloud(5)), Path("m.gif"))


# -- colours ------------------------------------------------------------------------------------------------


def test_categories__none_lies_on_top_of_another() -> None:
    """On each of 400 spots lie four genes, two of each category, of which the second comes after the first."""
    spots = np.tile(cloud(400), (4, 1))
    values = ["first"] * 800 + ["second"] * 800
    png = scatter.draw(Scatter(title="", places=spots, colour=Categories(name="", values=values)), Path("m.png"))
    found = colours_in(png)
    one, two = (found[colour] for colour in palettes.COLOURS[:2])
    assert 0.4 < one / (one + two) < 0.6


def test_categories__a_majority_is_pale_and_groups_never() -> None:
    values = ["coding"] * 90 + ["ncRNA"] * 6 + [""] * 4
    found = colours_in(
        scatter.draw(Scatter(title="", places=cloud(100), colour=Categories(name="", values=values)), Path("m.png"))
    )
    assert found[palettes.PALE] > found[palettes.COLOURS[1]] > 0
    assert palettes.COLOURS[0] not in found
    assert palettes.UNKNOWN in found
    numbers = ["1"] * 90 + ["2"] * 10
    grouped = Categories(name="", values=numbers, numbered=True)
    found = colours_in(scatter.draw(Scatter(title="", places=cloud(100), colour=grouped), Path("m.png")))
    assert palettes.PALE not in found


def words_of(picture: Scatter, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text in a picture."""
    texts: list[str] = []

    def kept(figure: Figure, suffix: str, **how: object) -> bytes:
        axes = figure.axes[0]
        legend = axes.get_legend()
        if legend is not None:
            texts.extend(t.get_text() for t in (legend.get_title(), *legend.get_texts()))
        texts.extend(t.get_text() for t in axes.texts)
        return b""

    monkeypatch.setattr(scatter, "saved_figure", kept)
    scatter.draw(picture, Path("m.png"))
    return texts


def test_legend__groups_by_number_with_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [str(n) for n in (10, 10, 2, 1, 1, 1)] + [""]
    picture = Scatter(title="", places=cloud(7), colour=Categories(name="groups e", values=values, numbered=True))
    assert words_of(picture, monkeypatch) == ["groups e", "1 (3)", "2 (1)", "10 (2)", "unknown (1)", "1", "2", "10"]


def test_legend__words_by_count_numbered_where_colours_do_not_do(monkeypatch: pytest.MonkeyPatch) -> None:
    few = Categories(name="k", values=["b", "a", "b", "_c"])
    assert words_of(Scatter(title="", places=cloud(4), colour=few), monkeypatch) == ["k", "b (2)", "_c (1)", "a (1)"]
    nine = Categories(name="k", values=list("abcdefghi") + ["i"])
    found = words_of(Scatter(title="", places=cloud(10), colour=nine), monkeypatch)
    assert found[:4] == ["k", "1: i (2)", "2: a (1)", "3: b (1)"]
    assert found[-9:] == [str(n) for n in range(1, 10)]


def test_legend__the_most_frequent_and_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [f"t{i:02d}" for i in range(25) for _ in range(i + 1)]
    picture = Scatter(title="", places=cloud(len(values)), colour=Categories(name="k", values=values))
    found = words_of(picture, monkeypatch)
    assert found[1] == "1: t24 (25)"
    assert found[20:22] == ["20: t05 (6)", "5 others (15)"]
    groups = Categories(name="k", values=[str(int(v[1:]) + 1) for v in values], numbered=True)
    found = words_of(Scatter(title="", places=cloud(len(values)), colour=groups), monkeypatch)
    assert (found[1], found[20], found[21]) == ("6 (6)", "25 (25)", "5 others (15)")


def test_marks__lie_in_their_group_and_apart() -> None:
    """Of a group in two pieces the median lies in the other group; the number must not."""
    rng = np.random.default_rng(0)
    left, middle, right = (rng.normal(size=(n, 2)) / 3 + [x, 0] for n, x in ((300, 0), (200, 6), (250, 12)))
    places = np.concatenate([left, middle, right])
    values = np.array(["1"] * 300 + ["2"] * 200 + ["1"] * 250)
    numbers = {"1": "1", "2": "2"}
    paper = scatter.Paper.around(places)
    picture = Scatter(title="", places=places)
    one, two = scatter._marks(picture, values, numbers, dict.fromkeys(numbers, "red"))
    for mark, x in ((one, 0), (two, 6)):
        assert np.abs(mark.place - paper.points(np.array([[x, 0.0]]))[0]).max() < 15
    mixed = np.array(["1", "2"] * 375)
    named = Scatter(title="", places=places, labels={int(np.abs(places).sum(axis=1).argmin()): "TP53"})
    ring = paper.points(places[list(named.labels)])[0]
    spots = [ring, *(m.place for m in scatter._marks(named, mixed, numbers, dict.fromkeys(numbers, "red")))]
    for i, spot in enumerate(spots):
        assert all(np.abs(spot - other).max() > scatter.CLEAR for other in spots[:i])


def test_categories__fixed_colours_in_the_order_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    colours = {"z": "#112233", "a": "#445566", "absent": "#778899"}
    one = Categories(name="k", values=["a", "a", "z", "new", ""], colours=colours, missing="none of these")
    picture = Scatter(title="", places=cloud(5), colour=one)
    found = colours_in(scatter.draw(picture, Path("m.png")))
    assert found["#112233"] > 0
    assert found["#445566"] > 0
    assert found[palettes.OTHER] > 0
    assert words_of(picture, monkeypatch) == ["k", "z (1)", "a (2)", "1 others (1)", "none of these (1)"]


def test_categories__what_is_pale_lies_below_rare_ones() -> None:
    """All genes of both kinds lie on the same spots; the few must be seen, and larger."""
    spots = np.tile(cloud(30), (20, 1))
    values = ["many"] * 570 + ["few"] * 30
    found = colours_in(
        scatter.draw(Scatter(title="", places=spots, colour=Categories(name="", values=values)), Path("m.png"))
    )
    legend = 150  # pixels of a mark there
    assert found[palettes.COLOURS[1]] > 30 * legend / 10
    assert found.get(palettes.PALE, 0) < 2 * legend


def test_scale__of_two_sides_has_zero_in_the_middle() -> None:
    values = np.array([*np.linspace(-1, 4, 400), np.nan])
    norm = Scale(name="z", values=values, diverging=True).norm()
    assert norm.vmin == pytest.approx(-np.percentile(np.abs(values[:-1]), 99))
    assert norm(0.0) == pytest.approx(0.5)
    one = Scale(name="z", values=np.where(np.arange(40) % 2, np.nan, 1.0), diverging=True, missing="unmeasured")
    found = colours_in(scatter.draw(Scatter(title="", places=cloud(40), colour=one), Path("m.png")))
    assert found[palettes.FAINT] > 100
    assert found.get(palettes.UNKNOWN, 0) < 50  # of edges that fade


# -- islands ------------------------------------------------------------------------------------------------


def archipelago() -> tuple[Floats, NDArray[np.int32]]:
    """A mainland with a hole, two islands, and genes on none."""
    rng = np.random.default_rng(0)
    ring = rng.uniform(-10, 10, size=(3000, 2))
    ring = ring[np.abs(ring).max(axis=1) > 4]
    small = [rng.normal(size=(n, 2)) / 3 + middle for n, middle in ((60, [0, 0]), (40, [20, 3]))]
    places = np.concatenate([ring, *small, [[25, -9], [-15, 9]]])
    return places, np.repeat([1, 2, 3, 0], [len(ring), 60, 40, 2]).astype(np.int32)


def test_islands__numbers_beside_what_they_name_and_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    places, island = archipelago()
    groups = Categories(name="g", values=[str(i % 3) for i in range(len(places))], numbered=True)
    picture = Scatter(title="", places=places, islands=island, colour=groups, labels={0: "TP53"})
    assert words_of(picture, monkeypatch)[-4:] == ["1", "2", "3", "TP53"]  # and no numbers of groups
    paper = scatter.Paper.around(places)
    figure = Figure()
    marks = scatter._islands(figure.add_subplot(), picture, island, paper)
    spots = [mark.place for mark in marks]
    for spot, number in zip(spots, (1, 2, 3), strict=True):
        away = {n: np.abs(paper.points(places[island == n]) - spot).max(axis=1).min() for n in (1, 2, 3)}
        assert away[number] < 30
        assert away[number] == min(away.values())
    assert all(np.abs(a - b).max() >= scatter.CLEAR for i, a in enumerate(spots) for b in spots[:i])
    assert [mark.size for mark in marks] == [10, 8, 8]


def test_beside__a_small_island_in_a_crowd_is_not_hidden_by_its_number() -> None:
    rng = np.random.default_rng(2)
    crowd = rng.uniform(0, 400, size=(4000, 2))
    own = 200 + 3 * rng.normal(size=(12, 2))
    count = labels.Count(np.vstack([crowd, own]), np.array([400.0, 400.0]))
    beside = scatter._beside(own, count, [], own.mean(axis=0))
    assert scatter.CLEAR / 2 < np.abs(own - beside).max(axis=1).min() < 40
    on_it = crowd.mean(axis=0)
    assert scatter._beside(crowd, count, [], on_it).tolist() == on_it.tolist()  # a large one bears its own


def test_islands__an_outline_runs_around_all_points_and_no_hole() -> None:
    places, island = archipelago()
    paper = scatter.Paper.around(places)
    axes = Figure().add_subplot()
    scatter._outline(axes, paper.points(places[island == 1]), paper)
    (line,) = axes.collections
    (path,) = line.get_paths()
    polygons = path.to_polygons()
    assert len(polygons) == 1  # the hole has none
    outline = paper.points(polygons[0])
    own = paper.points(places[island == 1])
    gaps = np.linalg.norm(outline[:, None, :] - own[None, ::3, :], axis=2).min(axis=1)
    exact = np.linalg.norm(outline[::7, None, :] - own[None], axis=2).min(axis=1)
    assert gaps.min() > scatter.SHORE - 2 * scatter.STEP
    assert np.abs(exact - scatter.SHORE).max() < 2 * scatter.STEP
    assert MplPath(polygons[0]).contains_points(places[island == 1]).all()


def test_islands__the_same_bytes_and_none() -> None:
    places, island = archipelago()
    first, again = (scatter.draw(Scatter(title="", places=places, islands=island), Path("m.svg")) for _ in range(2))
    assert first == again
    nowhere = Scatter(title="", places=places, islands=np.zeros_like(island))
    assert scatter.draw(nowhere, Path("m.png")) == scatter.draw(Scatter(title="", places=places), Path("m.png"))
    spot = Scatter(title="", places=np.zeros((12, 2)), islands=np.ones(12, dtype=np.int32))
    assert scatter.draw(spot, Path("m.png")).startswith(b"\x89PNG")


# -- names --------------------------------------------------------------------------------------------------

PAPER = np.array([540.0, 400.0])


def boxes_overlap(a: Floats, b: Floats, size: Floats, other: Floats) -> bool:
    return bool((np.abs(a - b) < (size + other) / 2 - 1e-9).all())


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("crowd", [False, True])
def test_spread__nothing_on_anything(seed: int, crowd: bool) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(0, 1, size=(5000, 2)) * PAPER
    anchors = (rng.normal(size=(14, 2)) * 20 + PAPER / 2) if crowd else points[:14]
    sizes = np.column_stack([rng.uniform(20, 60, size=14), np.full(14, 10.0)])
    taken = [(np.array([100.0, 100.0]), np.array([20.0, 14.0])), (PAPER / 2, np.array([20.0, 14.0]))]
    spots = labels.spread(anchors, sizes, points, taken=taken, paper=PAPER)
    assert np.array_equal(spots, labels.spread(anchors, sizes, points, taken=taken, paper=PAPER))
    fixed = [*taken, *((a, np.full(2, 2 * labels.RING)) for a in anchors)]
    for i, (spot, size) in enumerate(zip(spots, sizes, strict=True)):
        for j in range(i):
            assert not boxes_overlap(spot, spots[j], size, sizes[j])
        for middle, its in fixed:
            assert not boxes_overlap(spot, middle, size, its)
    assert (spots - sizes / 2 > -1).all()
    assert (spots + sizes / 2 < PAPER + 1).all()


def test_spread__near_its_point_and_where_it_is_empty() -> None:
    left = np.column_stack([np.linspace(0, 270, 4000), np.tile(np.linspace(150, 250, 40), 100)])
    (spot,) = labels.spread(np.array([[270.0, 200.0]]), np.array([[30.0, 10.0]]), left, taken=[], paper=PAPER)
    assert spot[0] > 270 + 15
    assert np.abs(spot - [270, 200]).max() < 40
    assert labels.spread(np.empty((0, 2)), np.empty((0, 2)), left, taken=[], paper=PAPER).shape == (0, 2)


def test_count__as_by_a_loop() -> None:
    rng = np.random.default_rng(0)
    paper = np.array([40.0, 24.0])
    points = rng.uniform(0, 1, size=(30, 2)) * paper
    held = {tuple(cell) for cell in (points // labels.CELL).astype(int).tolist()}
    low = rng.integers(0, 4, size=(20, 2)) * labels.CELL
    high = low + rng.integers(1, 3, size=(20, 2)) * labels.CELL
    ours = labels.Count(points, paper).within(low, high)
    for (x0, y0), (x1, y1), share in zip(low // labels.CELL, high // labels.CELL, ours, strict=True):
        cells = [(x, y) for x in range(int(x0), int(x1)) for y in range(int(y0), int(y1))]
        assert share == pytest.approx(sum(cell in held for cell in cells) / len(cells))


def test_crossing__of_lines() -> None:
    start, ends = np.array([0.0, 0.0]), np.array([[4.0, 4.0], [4.0, 0.0], [1.0, 1.0]])
    found = labels._crossing(start, ends, np.array([0.0, 4.0]), np.array([4.0, 0.5]))
    assert found.tolist() == [True, False, False]


def test_draw__names_of_chosen_genes_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = Scatter(title="", places=cloud(30), labels={4: "TP53", 9: "x" * 50})
    assert words_of(picture, monkeypatch) == ["TP53", "x" * 23 + "…"]
