"""GloVe's published optimizer: AdaGrad, one entry after another, in one thread, so in one order.

As text2vec 0.5.1 has it, which exp2vec runs (``src/GloveFit.h``): first vectors and biases from U(−½, ½), squared
gradients from 1, residuals clipped to ±100, entries column by column, no shuffling. text2vec runs it on all cores
without a lock, so its results differ from run to run; here one thread makes them repeatable.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numba import njit
from numpy.typing import NDArray

from g2v_dask.errors import G2VError
from g2v_dask.folders import Folder
from g2v_dask.kernels.glove import MISSING, residuals
from g2v_dask.models import base
from g2v_dask.models.checkpoints import Checkpoints
from g2v_dask.models.glove_als import STRIP, Floats, Known, Setting, State
from g2v_dask.spec import TrainSpec

CLIP = np.float32(100.0)
"""Largest residual that enters a gradient (text2vec)."""
DIVERGED = 4.0
"""A loss this many times that of the first vectors is taken for divergence."""


def fit(
    tiles: Mapping[tuple[int, int], Floats],
    known: Known,
    setting: Setting,
    spec: TrainSpec,
    *,
    folder: Folder,
    progress: base.Progress,
    alive: base.Alive,
) -> State:
    """Both sides after ``iterations`` passes over all entries.

    Memory: log x whole, 4·genes² bytes, beside its tiles; 16·genes·components.
    Returns: vectors and biases; losses: of each pass, taken while it goes, as the published codes print them.
    Raises:  G2VError if the loss is no number, or ``DIVERGED`` times the start's: the last good checkpoint stays in
             ``folder``.
    Source:  Pennington et al. 2014, section 4.2; Duchi et al. 2011.
    Oracle:  tests/oracles_models.py::adagrad_pass.
    """
    log_x = _whole(tiles, setting)
    checkpoints = Checkpoints(folder, spec.select("identity"), known.counts.tolist())
    held = checkpoints.newest()
    if held is None:
        held = _first(setting, spec.seed)
        checkpoints.save(0, **held)  # so that there is always a good one
    losses = held.pop("losses").tolist()
    # residuals are clipped, so a loss is never infinite; and it may blow up in the first iteration
    worst = DIVERGED * _start_loss(log_x, setting, spec.seed) / (2 * known.entries)
    while len(losses) < spec.iterations:
        alive()
        total = one_pass(log_x, **held, rate=np.float32(spec.learning_rate), x=(setting.log_max, setting.alpha))
        loss = total / (2 * known.entries)
        if not np.isfinite(loss) or loss > worst:
            msg = (
                f"train: AdaGrad diverges: the loss is {loss:.4g} in iteration {len(losses) + 1}"
                + (f", after {losses[-1]:.4g}" if losses else "")
                + f"; give a --learning-rate below {spec.learning_rate:g} (GloVe's own is 0.05). "
                + f"The last good checkpoint is kept in {folder.url}"
            )
            raise G2VError(msg)
        losses.append(loss)
        progress(len(losses), spec.iterations, f"loss {loss:.4g}")
        if len(losses) % spec.checkpoint == 0:
            checkpoints.save(len(losses), **held, losses=np.array(losses))
    return State(rows=held["rows"], columns=held["columns"], losses=tuple(losses))


def _whole(tiles: Mapping[tuple[int, int], Floats], setting: Setting) -> Floats:
    """(genes, genes) log x with row j = column j of the entries (i, j), as they are visited."""
    out = np.full((setting.size, setting.size), MISSING, np.float32)
    for (row, col), tile in tiles.items():
        out[setting.span(col), setting.span(row)] = tile.T
        if not setting.upper:
            out[setting.span(row), setting.span(col)] = tile
    return out


def _first(setting: Setting, seed: int) -> dict[str, NDArray[np.float32]]:
    """Vectors and biases before the first pass, and their squared gradients."""
    shape = (setting.size, setting.components + 1)
    rows, columns = np.random.default_rng(seed).uniform(-0.5, 0.5, (2, *shape)).astype(np.float32)
    ones = np.ones((2, *shape), np.float32)
    return {"rows": rows, "columns": columns, "row_squares": ones[0], "column_squares": ones[1], "losses": np.empty(0)}


def _start_loss(log_x: Floats, setting: Setting, seed: int) -> float:
    """Σ f r² of the first vectors."""
    first = _first(setting, seed)
    rows, columns, d = first["rows"], first["columns"], setting.components
    total = 0.0
    for start in range(0, len(log_x), STRIP):  # row j of log x holds the entries (i, j)
        some = slice(start, start + STRIP)
        predicted = columns[some, :d] @ rows[:, :d].T + columns[some, d:] + rows[:, d]
        total += residuals(log_x[some], predicted, setting.log_max, setting.alpha)
    return total


def one_pass(  # noqa: PLR0913
    log_x: Floats,
    *,
    rows: Floats,
    columns: Floats,
    row_squares: Floats,
    column_squares: Floats,
    rate: np.float32,
    x: tuple[np.float32, np.float32],
) -> float:
    """One pass over all entries, in place; Σ f r² on the way."""
    return float(_one_pass(log_x, rows, columns, row_squares, column_squares, rate, *x))


@njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _one_pass(log_x, rows, columns, row_squares, column_squares, rate, log_max, alpha):  # type: ignore[no-untyped-def]
    """The last column of each side holds its biases. Sums of products are reordered for SIMD, once and for all."""
    genes, width = rows.shape
    d = width - 1
    total = 0.0
    for j in range(genes):
        c, c_squares = columns[j], column_squares[j]
        for i in range(genes):
            value = log_x[j, i]
            if value > MISSING:
                w, w_squares = rows[i], row_squares[i]
                r = w[d] + c[d] - value
                dot = np.float32(0.0)
                for k in range(d):
                    dot += w[k] * c[k]
                r = min(max(r + dot, -CLIP), CLIP)
                f = np.float32(1.0)
                if value < log_max:
                    f = np.exp((value - log_max) * alpha)
                step = f * r
                total += step * r
                for k in range(d):
                    to_w, to_c = step * c[k], step * w[k]
                    w[k] -= rate * to_w / np.sqrt(w_squares[k])
                    c[k] -= rate * to_c / np.sqrt(c_squares[k])
                    w_squares[k] += to_w * to_w
                    c_squares[k] += to_c * to_c
                w[d] -= rate * step / np.sqrt(w_squares[d])
                c[d] -= rate * step / np.sqrt(c_squares[d])
                w_squares[d] += step * step
                c_squares[d] += step * step
    return total
