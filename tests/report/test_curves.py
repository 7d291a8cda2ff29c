"""ROC curves: as scikit-learn has them, in colours that are told apart, and no name can break a drawing."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score, roc_curve

from g2v_dask.errors import InputError
from g2v_dask.flows import evaluate
from g2v_dask.report import curves
from g2v_dask.report.curves import Curve
from tests import stores
from tests.judged import GENES, HOSTILE, evaluation, figure
from tests.judged import curves as kept_curves

PNG = Path("x.png")


def curve(name: str, shift: float, *, kind: str = "", pairs: int = 3000) -> Curve:
    random = np.random.default_rng(len(name))
    label = random.random(pairs) < 0.5
    score = random.normal(size=pairs) + shift * label
    false, true, _ = roc_curve(label, score)
    return Curve(name=name, auc=float(roc_auc_score(label, score)), false=false, true=true, kind=kind)


def image(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as opened:
        return np.asarray(opened.convert("RGB")).astype(np.int64)


def has(pixels: np.ndarray, colour: str) -> bool:
    """Whether a good number of pixels have a colour, or nearly so."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)])
    return int((np.abs(pixels - wanted).max(axis=2) < 12).sum()) > 200


def test_draw__a_colour_for_each_of_the_embeddings_curves_and_grey_for_the_rest() -> None:
    shown = [
        curve("a", 1.5),
        curve("b", 1.0),
        curve("degree", 2.5, kind="transductive"),
        curve("GO", 0.5, kind="baseline"),
    ]
    pixels = image(curves.draw(shown, title="genes", file=PNG))
    assert all(has(pixels, colour) for colour in (*curves.LINES[:2], curves.GREY))
    assert not has(pixels, curves.LINES[2])
    grey = image(curves.draw(shown[2:], title="genes", file=PNG))
    assert not has(grey, curves.LINES[0])


def test_draw__a_model_has_the_same_colour_in_pictures_of_other_lists() -> None:
    names = ("a", "b")
    test, matched = [[curve(name, up) for name, up in zip(names, ups, strict=True)] for ups in ((2.0, 0.5), (0.5, 2.0))]
    assert curves._colours(test) == curves._colours(matched) == list(curves.LINES[:2])
    assert curves._colours(test[::-1]) == list(curves.LINES[1::-1])


def test_draw__repeats_and_takes_any_order() -> None:
    shown = [curve(f"m{i}", i / 3) for i in range(20)]
    first = curves.draw(shown, title="genes", file=PNG)
    assert first == curves.draw(shown[::-1], title="genes", file=PNG)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_draw__hostile_names_are_words(suffix: str) -> None:
    drawn = curves.draw([curve(HOSTILE, 1.0), curve("$\\frac$", 0.5)], title=HOSTILE, file=Path(f"x{suffix}"))
    assert len(drawn) > 1000
    assert b"<script" not in drawn


def test_draw__another_format_is_refused() -> None:
    with pytest.raises(InputError, match=r"a \.png, \.svg or \.pdf file"):
        curves.draw([curve("a", 1.0)], title="genes", file=Path("x.gif"))


def test_thinned__keeps_the_shape() -> None:
    whole = curve("a", 1.0, pairs=40_000)
    false, true = curves._thinned(whole)
    assert len(false) <= curves.POINTS < len(whole.false)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    area = np.trapezoid(true, false)
    assert area == pytest.approx(whole.auc, abs=1e-3)


def test_crossing__is_on_the_curve_and_on_the_diagonal() -> None:
    whole = curve("a", 1.0)
    x, y = curves.crossing(whole)
    assert x + y == pytest.approx(1)
    assert float(np.interp(x, whole.false, whole.true)) == pytest.approx(y, abs=0.01)


def test_losses__fall_on_a_logarithmic_axis_where_they_fall_far() -> None:
    near, far = curves.losses([1.0, 0.9, 0.8]), curves.losses([100.0, 1.0, 0.01])
    assert near.startswith(b"\x89PNG")
    assert near != far
    assert curves.losses([0.5]) != near


def test_of_evaluation__draws_what_the_task_keeps(tmp_path: Path) -> None:
    store = stores.empty(tmp_path / "s")
    embedding = stores.embedding(store, "genes", GENES, np.eye(40))
    figures = [
        figure("interaction", "auc", 0.75, model="cosine", on="test"),
        figure("interaction", "auc", 0.9, model="degree sum", on="test", baseline="transductive"),
        figure("interaction", "auc", 0.6, model="cosine", on="matched"),
    ]
    kept = kept_curves(shift={"cosine": 1.0, "degree sum": 2.0})
    found = evaluate.read(evaluation(store, "genes", embedding, figures, tables={"interaction-curves": kept}))
    drawn = curves.of_evaluation(found)
    assert drawn == curves.of_evaluation(found, "test")
    assert has(image(drawn), curves.LINES[0])
    assert curves.of_evaluation(found, "matched") is None  # nothing is kept of it
    without = evaluate.read(evaluation(store, "genes", embedding, figures))
    assert curves.of_evaluation(without) is None
    with pytest.raises(InputError, match="evaluations/genes keeps no scores of interaction"):
        evaluate.draw(without, tmp_path / "roc.png")
