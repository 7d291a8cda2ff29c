"""Where names stand beside the points they name, so that none lies on another. Geometry only, in points on paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RADII = (9.0, 15.0, 24.0, 36.0, 52.0, 72.0, 96.0)  # tried distances between a point and the edge of its name
DIRECTIONS = 24
RING = 4.5  # half the side of what marks a named point
CELL = 4.0  # side of the cells in which points are counted
ROUNDS = 3  # the first places names one by one, the others look again with all the rest in place
OVER, CROSSED, OUTSIDE, HIDDEN = 1000.0, 150.0, 1000.0, 40.0  # against one point of distance

Array = NDArray[np.float64]


def spread(anchors: Array, sizes: Array, points: Array, *, taken: Sequence[tuple[Array, Array]], paper: Array) -> Array:
    """The middle of each name: near its point, off other names, marks and lines, where few points lie below it.

    Parameters: anchors   (names, 2) the points that are named.
                sizes     (names, 2) width and height of each name.
                points    (genes, 2) all points.
                taken     middle and size of what is there already.
                paper     (2,) width and height; names stay on it if they can.
    Returns:    (names, 2).
    """
    count = Count(points, paper)
    fixed = [(middle, size / 2) for middle, size in taken] + [(a, np.full(2, RING)) for a in anchors]
    spots: list[Array | None] = [None] * len(anchors)
    for _ in range(ROUNDS):
        for i, (anchor, size) in enumerate(zip(anchors, sizes, strict=True)):
            others = [(j, spot) for j, spot in enumerate(spots) if spot is not None and j != i]
            boxes = fixed + [(spot, sizes[j] / 2) for j, spot in others]
            tried, cost = _tried(anchor, size / 2)
            for middle, half in boxes:
                cost = cost + OVER * np.sqrt(_overlap(tried, size / 2, middle, half))
            for j, spot in others:
                cost = cost + CROSSED * _crossing(anchor, tried, anchors[j], spot)
            out = np.maximum(size / 2 - tried, 0) + np.maximum(tried + size / 2 - paper, 0)
            below = count.within(tried - size / 2, tried + size / 2)
            cost = cost + OUTSIDE * out.sum(axis=1) + HIDDEN * below
            spots[i] = tried[int(np.argmin(cost))]
    return np.array(spots, dtype=np.float64).reshape(-1, 2)


def _tried(anchor: Array, half: Array) -> tuple[Array, Array]:
    """Middles around a point, in all directions at several distances, and what each costs by its distance."""
    angles = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
    ray = np.column_stack([np.cos(angles), np.sin(angles)])
    with np.errstate(divide="ignore"):
        reach = (half / np.abs(ray)).min(axis=1)  # from the middle of a name to its edge
    middles = [anchor + ray * (radius + reach)[:, None] for radius in RADII]
    return np.concatenate(middles), np.repeat(RADII, DIRECTIONS)


def _overlap(middles: Array, half: Array, other: Array, its_half: Array) -> Array:
    """The area that boxes share with another."""
    shared = np.maximum(half + its_half - np.abs(middles - other), 0)
    area: Array = np.minimum(shared, 2 * np.minimum(half, its_half)).prod(axis=1)
    return area


def _crossing(start: Array, ends: Array, other: Array, its_end: Array) -> NDArray[np.bool_]:
    """Whether the lines from ``start`` to each end cross another."""

    def side(a: Array, b: Array, c: Array) -> Array:
        first, second = b - a, c - a
        return np.sign(first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0])

    apart = side(start, ends, other) * side(start, ends, its_end) < 0
    crossing: NDArray[np.bool_] = apart & (side(other, its_end, start) * side(other, its_end, ends) < 0)
    return crossing


class Count:
    """How dense points lie, from sums over a grid of cells."""

    def __init__(self, points: Array, paper: Array) -> None:
        self._cells = np.maximum(np.ceil(paper / CELL), 1).astype(np.int64)
        where = np.clip(points / CELL, 0, self._cells - 1).astype(np.int64)
        grid = np.zeros(self._cells + 1, dtype=np.int64)
        np.add.at(grid, (where[:, 0] + 1, where[:, 1] + 1), 1)
        self._sums = np.minimum(grid, 1).cumsum(axis=0).cumsum(axis=1)

    def within(self, low: Array, high: Array) -> Array:
        """The share of the cells of each box that hold a point."""
        a = np.clip(np.floor(low / CELL), 0, self._cells - 1).astype(np.int64)
        b = np.clip(np.ceil(high / CELL), a + 1, self._cells).astype(np.int64)
        s = self._sums
        held = s[b[:, 0], b[:, 1]] - s[a[:, 0], b[:, 1]] - s[b[:, 0], a[:, 1]] + s[a[:, 0], a[:, 1]]
        share: Array = held / (b - a).prod(axis=1)
        return share
