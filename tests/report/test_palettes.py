"""Colours as the colour-blind see them: by the matrices of Machado, Oliveira and Fernandes 2009, in CIELAB."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from numpy.typing import NDArray

from g2v_dask.analysis import biotypes
from g2v_dask.report import palettes

EYES = {
    "trichromat": np.eye(3),
    "protanope": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranope": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanope": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def seen(colour: str, eye: str) -> NDArray[np.float64]:
    """CIELAB of a colour as one kind of eyes sees it."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(EYES[eye] @ linear, 0, 1) / [0.95047, 1.0, 1.08883]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def apart(first: str, second: str) -> float:
    """The least distance of two colours for any eyes; 2.3 is just noticed."""
    return min(float(np.linalg.norm(seen(first, eye) - seen(second, eye))) for eye in EYES)


def test_seen__is_cielab() -> None:
    np.testing.assert_allclose(seen("#ffffff", "trichromat"), [100, 0, 0], atol=0.02)
    np.testing.assert_allclose(seen("#ff0000", "trichromat"), [53.24, 80.09, 67.20], atol=0.05)
    assert apart("#d62728", "#2ca02c") < apart("#0072b2", "#e69f00") / 2  # red and green, blue and orange


def test_colours__any_two_of_eight() -> None:
    assert min(apart(a, b) for a, b in combinations(palettes.COLOURS[:8], 2)) > 15


def test_biotypes__any_two_and_from_paper_and_grey() -> None:
    assert tuple(palettes.BIOTYPES) == biotypes.KINDS
    colours = list(palettes.BIOTYPES.values())
    assert min(apart(a, b) for a, b in combinations(colours, 2)) > 25
    assert min(apart(colour, "#ffffff") for colour in colours) > 20
    assert min(apart(colour, palettes.UNKNOWN) for colour in colours) > 15


@pytest.mark.parametrize("eye", EYES)
def test_diverging__darker_to_both_ends_which_differ(eye: str) -> None:
    light = [float(seen(to_hex(palettes.DIVERGING(x)), eye)[0]) for x in np.linspace(0, 1, 21)]
    assert all(a < b for a, b in pairwise(light[:11]))
    assert all(a > b for a, b in pairwise(light[10:]))


def test_diverging__both_signs_apart_and_none_like_what_is_unknown() -> None:
    colours = [to_hex(palettes.DIVERGING(x)) for x in np.linspace(0, 1, 41)]
    assert min(apart(colours[20 - i], colours[20 + i]) for i in range(6, 21)) > 30
    assert min(apart(colour, palettes.FAINT) for colour in colours) > 8
    assert min(apart(colour, "#ffffff") for colour in [*colours, palettes.FAINT]) > 8
