"""Texts that name a figure of an evaluation, or what it must reach."""

from __future__ import annotations

import math
from typing import Any

import pytest

from g2v_dask.errors import InputError, SpecError
from g2v_dask.evaluation.base import row
from g2v_dask.figure_spec import Bound, Figure


def figures() -> list[dict[str, Any]]:
    """Some rows of a table."""
    common = {"genes": 10, "coverage": 0.5, "seed": 1}
    return [
        row(task="interaction", metric="auc", on="valid", model="cosine", value=0.61, **common),
        row(
            task="interaction",
            metric="auc",
            on="valid",
            model="log-degree sum",
            baseline="transductive",
            value=0.9,
            **common,
        ),  # fmt: skip
        row(task="interaction", metric="auc", on="test", model="cosine", value=0.6, **common),
        row(task="interaction", metric="auc", on="test", model="ggipnn frozen", value=0.7, **common),
        row(task="clusteredness", metric="ratio, paper", value=1.5, **common),
        row(task="clusteredness", metric="share of sets with q <= 0.05", on="c2", value=0.3, **common),
    ]


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("interaction auc", "interaction"),
        ("interaction average precision on test matched of log-degree sum", "interaction"),
        ("  clusteredness   mean z  on c2.all ", "clusteredness"),
    ],
)
def test_figure__reads_what_it_writes(text: str, task: str) -> None:
    figure = Figure.parse(text, "x")
    assert (figure.task, str(figure)) == (task, " ".join(text.split()))
    assert Figure.parse(str(figure), "x") == figure


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (" ", r"choose must be 'TASK METRIC \[on ON\] \[of MODEL\]', such as 'interaction auc .*; got ' '"),
        ("interaction", "choose must be 'TASK METRIC"),
        ("interactoin auc", "choose must begin with a task, one of clusteredness.*; did you mean 'interaction'"),
    ],
)
def test_figure__wrong_texts(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Figure.parse(text, "choose")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("interaction auc on test of cosine", 0.6),
        ("interaction auc of ggipnn frozen", 0.7),
        ("interaction auc on valid", 0.61),  # a baseline is meant only where it is named
        ("interaction auc on valid of log-degree sum", 0.9),
        ("clusteredness ratio, paper", 1.5),
        ("clusteredness share of sets with q <= 0.05", 0.3),
        ("clusteredness share of sets with q <= 0.05 on c2", 0.3),
    ],
)
def test_find__the_one_that_is_meant(text: str, value: float) -> None:
    assert Figure.parse(text, "x").find(figures())["value"] == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "interaction auc on test",
            "several figures are 'interaction auc on test'; of interaction there are: "
            "interaction auc on test of cosine, interaction auc on test of ggipnn frozen$",
        ),
        (
            "clusteredness z",
            "no figure is 'clusteredness z'; of clusteredness there are: clusteredness ratio, paper, clustered",
        ),
        ("interaction auc on test of cosin", "no figure is"),
        ("interaction auc on valid of", "no figure is"),
        ("tissue tau", "no figure is 'tissue tau'; of tissue there are: none$"),
    ],
)
def test_find__none_or_several(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Figure.parse(text, "x").find(figures())


def test_find__lists_a_dozen() -> None:
    rows = [{**figures()[0], "model": f"m{i}"} for i in range(20)]
    with pytest.raises(InputError, match=r"m11 and 8 more$"):
        Figure.parse("interaction auc", "x").find(rows)


@pytest.mark.parametrize(
    ("text", "name", "least"),
    [
        ("genes: interaction auc on test of cosine >= 0.7", "genes", 0.7),
        ("interaction auc on test of cosine>=-1e-1", None, -0.1),
        ("a.b-1:interaction auc on test of cosine >=1", "a.b-1", 1.0),
    ],
)
def test_bound__reads_what_it_writes(text: str, name: str | None, least: float) -> None:
    bound = Bound.parse(text, "x")
    assert (bound.evaluation, str(bound.figure), bound.least) == (name, "interaction auc on test of cosine", least)
    assert Bound.parse(str(bound), "x") == bound


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("interaction auc > 0.7", r"must be '\[NAME:\] FIGURE >= NUMBER', such as 'genes: interaction .* >= 0.7'"),
        ("interaction auc >= ", "must be '"),
        ("interaction auc >= high", "must end with '>= NUMBER', such as '>= 0.7'; got 'high' in 'interaction auc"),
        ("interaction auc >= nan", "must end with .* got 'nan'"),
        ("interaction auc >= inf", "must end with .* got 'inf'"),
        (".x: interaction auc >= 1", "must be '"),
        ("x: auc >= 1", "must be 'TASK METRIC"),
        ("x:>= 1", "must be '"),
        ("x: areas auc >= 1", "must begin with a task"),
    ],
)
def test_bound__wrong_texts(text: str, message: str) -> None:
    with pytest.raises(SpecError, match=f"gate: evaluation {message}"):
        Bound.parse(text, "gate: evaluation")


def test_row__is_what_find_reads() -> None:
    assert {"task", "metric", "on", "model", "baseline", "value"} <= figures()[0].keys()
    assert math.isnan(figures()[0]["low"])
