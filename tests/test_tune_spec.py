"""Grids of trainings as spec files say them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from g2v_dask.errors import SpecError
from g2v_dask.tune_spec import TuneSpec
from tests.data_paths import ROOT

EVALUATE = {"tasks": ["clusteredness"], "genesets": ["c2.gmt"]}


def built(given: dict[str, Any], evaluate: dict[str, Any] | None = None, **more: Any) -> TuneSpec:
    table = {
        "store": "s",
        "tune": {"choose": "clusteredness ratio", **given},
        "evaluate": EVALUATE if evaluate is None else evaluate,
    }
    return TuneSpec.build({**table, **more}, base=Path("/base"))


def test_build__table_1_of_the_paper_where_no_grid_is_given() -> None:
    spec = built({"name": "t", "min_count": 1, "schedule": "restart", "from": "all"})
    assert len(spec.cells) == 40
    assert {cell.at["components"] for cell in spec.cells} == {50, 100, 200, 300}
    names = [run.name for cell in spec.cells for run in cell.runs]
    assert names[:2] == ["t-c50-i1", "t-c50-i2"]
    assert names[-1] == "t-c300-i10"
    first = spec.cells[12].runs[0]
    assert (first.name, first.components, first.iterations, first.min_count) == ("t-c100-i3", 100, 3, 1)
    assert (first.schedule, first.source, first.seed) == ("restart", "all", 1)
    assert (spec.store, spec.evaluate.genesets) == ("/base/s", ("/base/c2.gmt",))


def test_build__any_grid() -> None:
    grid = {"from": ["r09", "top50"], "shift": [1, 2.5], "power": [0, 0.5]}
    spec = built({"method": "svd", "components": 64, "grid": grid})
    assert list(spec.grid) == ["from", "shift", "power"]
    assert [cell.runs[0].name for cell in spec.cells] == [
        f"tune-{source}-shift{shift}-power{power}"
        for source in ("r09", "top50")
        for shift in ("1", "2.5")
        for power in ("0", "0.5")
    ]
    assert [(r.source, r.shift, r.power, r.components) for r in spec.cells[-1].runs] == [("top50", 2.5, 0.5, 64)]


def test_build__methods_may_be_the_grid() -> None:
    spec = built({"grid": {"method": ["svd", "skipgram"], "components": [8]}})
    assert [(c.runs[0].name, c.runs[0].method) for c in spec.cells] == [
        ("tune-svd-c8", "svd"),
        ("tune-skipgram-c8", "skipgram"),
    ]


def test_build__seeds_follow_the_first_which_keeps_its_name() -> None:
    one, three = (built({"seed": 5, "seeds": n, "grid": {"components": [8]}}).cells[0].runs for n in (1, 3))
    assert [(run.name, run.seed) for run in three] == [
        ("tune-c8", 5),
        ("tune-c8-seed6", 6),
        ("tune-c8-seed7", 7),
    ]
    assert one == three[:1]  # so that more seeds leave what is there


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        ({"choose": None}, "tune: choose must name the figure that chooses, such as 'interaction auc on valid of"),
        ({"choose": "clusteredness"}, "tune: choose must be 'TASK METRIC"),
        ({"choose": "clusteredness ratio on test"}, "tune: choose must be a figure on the validation set, never on"),
        ({"choose": "interaction auc of cosine"}, "never on what is tested at the end; got 'interaction auc of"),
        ({"choose": "interaction auc on test of cosine"}, "never on what is tested at the end"),
        ({"choose": "interaction auc on matched of cosine"}, "never on what is tested at the end"),
        ({"choose": "interaction auc on test valid of cosine"}, "never on what is tested at the end"),
        ({"choose": "interaction auc on valid of cosine"}, r"choose asks for interaction, which \[evaluate\] does not"),
        ({"seeds": 0}, "tune: seeds must be a whole number of at least 1, how many runs a cell has; got 0"),
        ({"seeds": True}, "tune: seeds must be a whole number"),
        ({"seeds": [1, 2]}, "tune: seeds must be a whole number"),
        ({"name": "a/b"}, "a name is made of letters"),
        ({"nmae": "x"}, "tune: unknown key 'nmae'; did you mean 'name'"),
        ({"compnents": 5}, "tune: unknown key 'compnents'; did you mean 'components'"),
        ({"grid": {}}, r"tune: grid must be a table \[tune.grid\] of lists, such as components = \[50, 100\]"),
        ({"grid": [5]}, "tune: grid must be a table"),
        ({"grid": {"components": 5}}, r"tune.grid: components must be a list of one value or more, .*; got 5"),
        ({"grid": {"method": "svd"}}, "tune.grid: method must be a list"),
        ({"grid": {"components": []}}, "tune.grid: components must be a list"),
        ({"grid": {"components": [5, 5]}}, r"tune.grid: components must hold different values, got \[5, 5\]"),
        ({"grid": {"seed": [1, 2]}}, "tune.grid: unknown key 'seed'.* figures are averaged over them"),
        ({"grid": {"name": ["a"]}}, "tune.grid: unknown key 'name'.* names are made"),
        ({"grid": {"checkpoint": [1]}, "method": "glove"}, "tune.grid: checkpoint changes nothing of method glove"),
        ({"method": "svd"}, r"tune.grid: iterations changes nothing of method svd; give a \[tune.grid\] without it"),
        ({"grid": {"components": [0]}}, "train: components must be at least 1, got 0"),
        ({"grid": {"components": ["x"]}}, "train: components must be a whole number, got 'x'"),
        ({"components": 5, "grid": {"components": [5]}}, r"components stands in \[tune\] and in \[tune.grid\]"),
        ({"grid": {"from": ["a-b", "a"], "method": ["svd"]}}, None),
        ({"grid": {"from": ["a b"]}}, "a name is made of letters"),
    ],
)
def test_build__wrong_values_are_one_clear_error(tune: dict[str, Any], message: str | None) -> None:
    if message is None:
        assert len(built(tune).cells) == 2
        return
    with pytest.raises(SpecError, match=message):
        built(tune)


@pytest.mark.parametrize(
    ("evaluate", "more", "message"),
    [
        ({**EVALUATE, "name": "x"}, {}, "evaluate: name is that of each embedding of the grid; leave it out"),
        ({**EVALUATE, "to": "x"}, {}, "evaluate: to is that of each embedding"),
        ({"taks": []}, {}, "evaluate: unknown key 'taks'; did you mean 'tasks'"),
        (None, {"pairs": {}}, "tune spec: unknown key 'pairs'"),
        (None, {"store": 5}, r"tune spec: store must be a text \(a folder\), got 5"),
        (None, {"tune": 5}, r"tune spec: tune must be a table \[tune\], got 5"),
        (None, {"cluster": {"workrs": 1}}, "cluster: unknown key 'workrs'; did you mean 'workers'"),
        (None, {"cluster": 1}, r"tune spec: cluster must be a table \[cluster\], got 1"),
    ],
)
def test_build__wrong_tables(evaluate: dict[str, Any] | None, more: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        built({}, evaluate, **more)


def test_build__without_evaluate() -> None:
    with pytest.raises(SpecError, match=r"tune spec: evaluate must be a table \[evaluate\], got None"):
        TuneSpec.build({"store": "s", "tune": {"choose": "clusteredness ratio"}}, base=Path("/base"))


def test_load__a_file(tmp_path: Path) -> None:
    file = tmp_path / "t.toml"
    for text, message in (("a = ", "is not a TOML file"), (None, "no such spec file")):
        if text is None:
            file.unlink()
        else:
            file.write_text(text)
        with pytest.raises(SpecError, match=message):
            TuneSpec.load(file)


def test_load__the_job_is_table_1() -> None:
    spec = TuneSpec.load(ROOT / "jobs" / "tune.toml")
    assert len(spec.cells) == 40
    assert {cell.runs[0].schedule for cell in spec.cells} == {"restart"}
