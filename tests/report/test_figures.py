"""Pictures: groups that are there are found, bytes repeat, and no name can break a drawing."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from g2v_dask import report
from g2v_dask.answers import Analogies, Analogy, Solutions
from g2v_dask.errors import InputError, SpecError
from g2v_dask.names import Names
from g2v_dask.report import figures


def asked(count: int, *, groups: int = 3, **more: object) -> tuple[Analogies, Names, np.ndarray]:
    """Answers to one gene whose ``count`` b fall into groups by turns; every second b comes twice."""
    rng = np.random.default_rng(count)
    centres = np.eye(8)[:groups] * 10
    vectors = rng.normal(size=(count + 3, 8)) / 4
    vectors[1 : count + 1] += centres[np.arange(count) % groups]
    words = ["A", *(f"b{i:03d}" for i in range(count)), "c", "d"]
    bs = [b for i, b in enumerate(words[1 : count + 1]) for _ in range(1 + i % 2)]
    found = tuple(Analogy(a="A", b=b, c="c", d="d", score=0.9 - i / 1000) for i, b in enumerate(bs))
    answers = Analogies(asked=("A",), found=found, embedding="genes", **more)  # type: ignore[arg-type]
    return answers, Names(np.array(words)), vectors.astype(np.float32)


def size(png: bytes | None) -> tuple[int, int]:
    assert png is not None
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        width, height = image.size
        return width, height


@pytest.mark.parametrize("more", [{}, {"sums": True}, {"unit": True}])
def test_gene_map__finds_the_groups(more: dict[str, object]) -> None:
    answers, names, vectors = asked(12, **more)
    made = figures.gene_map(answers, names, vectors)
    assert made.groups == {f"b{i:03d}": i % 3 + 1 for i in range(12)}  # 1 is that of the best answer
    assert made.notes == ()
    assert figures.gene_map(answers, names, vectors).png == made.png


def test_gene_map__as_many_groups_as_asked_for() -> None:
    answers, names, vectors = asked(9)
    assert set(figures.gene_map(answers, names, vectors, groups=1).groups.values()) == {1}
    assert set(figures.gene_map(answers, names, vectors, groups=9).groups.values()) == set(range(1, 10))
    for groups in (0, 10):
        with pytest.raises(SpecError, match="from 1 to 9"):
            figures.gene_map(answers, names, vectors, groups=groups)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_gene_map__too_few_for_a_map(count: int) -> None:
    made = figures.gene_map(*asked(count))
    assert (set(made.groups.values()), made.png) == ({1} if count else set(), None)
    assert made.notes == (f"{count} distinct b: too few for groups and a heat map, which take 3",)


def test_gene_map__equal_vectors_are_one_group() -> None:
    answers, names, vectors = asked(5)
    vectors[1:6] = vectors[1]
    made = figures.gene_map(answers, names, vectors)
    assert set(made.groups.values()) == {1}
    assert made.png is not None


@pytest.mark.parametrize("count", [3, 10, 25, 60])
def test_gene_map__grows_with_its_names(count: int) -> None:
    width, height = size(figures.gene_map(*asked(count)).png)
    assert 300 < width < 2200
    assert 300 < height < 2200


def test_gene_map__more_than_60_are_cut_and_told() -> None:
    answers, names, vectors = asked(80)
    made = figures.gene_map(answers, names, vectors)
    assert made.notes == ("the heat map shows the 60 b of the best answers, of 80",)
    assert len(made.groups) == 80
    assert size(made.png)[0] < 2200


@pytest.mark.parametrize(
    ("least", "scale"),
    [(-0.01, (-1.0, 1)), (0.0, (0.0, 1)), (0.71, (0.7, 1)), (0.982, (0.98, 2)), (0.99, (0.99, 2)), (1.0, (0.9999, 4))],
)
def test_scale__uses_all_colours(least: float, scale: tuple[float, int]) -> None:
    assert figures._scale(np.array([[1.0, least], [least, 1.0]])) == scale


def test_heat_map__any_name_can_be_drawn() -> None:
    words = [
        "$a$b_{",
        "x|y",
        "<i>",
        "王",
        "المغرب",
        "a very long phrase that never ends",
        "two\nlines",
        "\\frac",
        "",
        "Z",
    ]
    png = figures._heat_map(
        np.eye(len(words)), words=words, groups=np.arange(1, len(words) + 1), sign="−", gene="$\\frac"
    )
    assert size(png)[0] > 300


def test_full_sheet__groups_and_a_picture(tmp_path: Path) -> None:
    answers, names, vectors = asked(6)
    full = report.full_sheet(answers, names, vectors)
    assert full.columns[-1].name == "Group"
    assert [row[-1] for row in full.rows] == ["1", "2", "2", "3", "1", "1", "2", "3", "3"]
    report.write_markdown(tmp_path / "my answers.md", full)
    assert "](my%20answers.png)" in (tmp_path / "my answers.md").read_text("utf-8")
    assert full.picture is not None
    assert (tmp_path / "my answers.png").read_bytes() == full.picture.png
    report.write_html(tmp_path / "a.html", full)
    assert '<img src="data:image/png;base64,iVBOR' in (tmp_path / "a.html").read_text("utf-8")
    with pytest.raises(InputError, match="call the report .md"):
        report.write_markdown(tmp_path / "a.png", full)


def test_full_sheet__of_other_questions_is_plain() -> None:
    answers, names, vectors = asked(6)
    solved = Solutions(asked=("A", "b000", "b001"), embedding="genes", methods={})
    assert report.full_sheet(solved, names, vectors) == report.sheet(solved, names)
    pair = Analogies(asked=("A", "b000"), found=answers.found, embedding="genes")
    assert report.full_sheet(pair, names, vectors) == report.sheet(pair, names)


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize(("name", "start"), [("h.png", b"\x89PNG"), ("h.SVG", b"<?xml"), ("h.pdf", b"%PDF")])
def test_write_histogram__by_the_name_of_the_file(tmp_path: Path, name: str, start: bytes, log: bool) -> None:
    counts, edges = np.histogram(np.random.default_rng(0).normal(0, 0.2, 1000), bins=40, range=(-1, 1))
    for folder in ("one", "two"):
        report.write_histogram(tmp_path / folder / name, counts, edges, embedding="$genes", genes=46, log=log)
    one, two = ((tmp_path / folder / name).read_bytes() for folder in ("one", "two"))
    assert one.startswith(start)
    assert one == two


def test_write_histogram__no_pairs_and_other_formats(tmp_path: Path) -> None:
    none, edges = np.zeros(4, dtype=np.int64), np.linspace(-1, 1, 5)
    report.write_histogram(tmp_path / "h.png", none, edges, embedding="genes", genes=1)
    assert size((tmp_path / "h.png").read_bytes())[0] > 300
    with pytest.raises(InputError, match=r"a \.png, \.svg or \.pdf file"):
        report.write_histogram(tmp_path / "h.gif", none, edges, embedding="genes", genes=1)


def test_report__draws_with_no_backend_and_loads_late() -> None:
    code = """
import sys
from g2v_dask import report
assert "matplotlib" not in sys.modules
from g2v_dask.report import figures
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
