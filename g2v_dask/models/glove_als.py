"""GloVe by alternating least squares: the pieces of a pass, each a function of arrays and of blocks of log x.

The objective (Pennington et al. 2014, equation 8, and a ridge ρ, per unit of weight):

    Σ f(x_ij) (w_i·c_j + b_i + β_j − log x_ij)²  +  ρ Σ_i f_i. ‖w_i‖²  +  ρ Σ_j f_.j ‖c_j‖²

A **half pass** keeps one side, say D = (c, 1), and moves the other: with residual r and gradient
g_i = Σ_j f_ij r_ij d_j, every gene makes the step A_i⁻¹ (g_i − ρ f_i. M (w_i, b_i)), A_i = N_i + ρ f_i. M. M is the
identity, but ``FREE`` for the bias: a ridge on biases, which are large, would push them into the vectors.

- ``rows``: N_i = Σ_j f_ij d_j d_jᵀ, each gene's own normal matrix: the exact minimum.
- ``majorised``: N_i = p_i Σ_j d_j d_jᵀ with p_i = max_j f_ij, which is no smaller: the minimum of a function that
  lies above the objective and touches it. It is the least squares fit of the row's prediction + f/p·residual
  (for p = 1 that is Z = prediction + f (log x − prediction)), one factorisation for all genes. Where nearly all
  f are 1, as in read counts, it is the exact minimum too.

Neither raises the objective. All bits of a band follow from the blocks and both sides, so bands may run anywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from g2v_dask import tiles
from g2v_dask.kernels import glove as kernel
from g2v_dask.models.base import signs
from g2v_dask.spec import TrainSpec

Side = Literal["rows", "columns"]
Solver = Literal["majorised", "rows"]
Floats = NDArray[np.float32]

STRIP = 256
"""Rows of a block that are predicted at once: few enough that predictions stay in the cache."""
SPARSE = 1 / 8
"""Share of entries below which a block's normal matrices are summed entry by entry."""
SOLVED = 64
"""Genes whose normal matrices are solved at once."""
EXTRA = 8
"""Directions beyond the wanted components that the start's subspace holds."""
PRODUCTS = 4
"""Products with log x that make the start's subspace."""
FREE = 1e-6
"""Share of the ridge that a bias bears: just enough that no matrix is singular."""
MOMENTUM = 0.9
"""Most of a pass's way that the next one starts further on."""
ENTRIES, LOGS, WEIGHT, PEAK = range(4)
"""What is known of a gene on one side: columns of ``Known.rows`` and ``Known.columns``."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a run of ALS is told."""

    size: int
    """Genes of the axis."""
    tile: int
    components: int
    log_max: np.float32
    alpha: np.float32
    ridge: float
    upper: bool
    """Only entries i ≤ j."""
    solver: Solver
    least: int
    """Smaller cells are no entry."""

    @classmethod
    def of(cls, matrix: tiles.TileMatrix, spec: TrainSpec, solver: Solver) -> Setting:
        """The setting that a spec asks for."""
        return cls(
            size=len(matrix.genes),
            tile=matrix.tile,
            components=spec.components,
            log_max=np.float32(np.log(spec.x_max)),
            alpha=np.float32(spec.alpha),
            ridge=spec.ridge,
            upper=spec.triangle == "upper",
            solver=solver,
            least=spec.min_datasets,
        )

    @property
    def bands(self) -> int:
        """Row bands of tiles."""
        return tiles.count(self.size, self.tile)

    def span(self, band: int) -> slice:
        """The genes of a band."""
        return tiles.span(self.size, self.tile, band)

    def blocks(self, band: int, side: Side) -> Iterator[tuple[int, int, bool]]:
        """The stored tiles (i, j), i ≤ j, that hold the entries of a band's genes; and whether mirrored.

        Of a mirrored tile the band's genes are the columns.
        """
        if side == "columns" or not self.upper:
            yield from ((other, band, True) for other in range(band))
        if side == "columns" and self.upper:
            yield band, band, True
        else:
            yield band, band, False
        if side == "rows" or not self.upper:
            yield from ((band, other, False) for other in range(band + 1, self.bands))


class Logs(Protocol):
    """Log x in stored tiles."""

    def strips(self, row: int, col: int) -> Iterator[tuple[slice, Floats]]:
        """One tile in strips of ``STRIP`` rows; a strip may be overwritten by the next."""


# -- reading --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Known:
    """What the co-occurrence says of each gene."""

    rows: NDArray[np.float64]
    """(genes, 4) entries, Σ log x, Σ f and largest f of gene i over its entries (i, j)."""
    columns: NDArray[np.float64]
    """(genes, 4) the same of gene j."""
    counts: NDArray[np.float64]
    """(genes,) Σ of the positive x of a gene."""
    skipped: int
    """Cells ≤ 0 of the upper triangle, which are no entry."""

    @classmethod
    def of(cls, held: Mapping[str, NDArray[Any]]) -> Known:
        """What arrays of a file say."""
        return cls(rows=held["rows"], columns=held["columns"], counts=held["counts"], skipped=int(held["skipped"]))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The same as arrays, for a file."""
        return {"rows": self.rows, "columns": self.columns, "counts": self.counts, "skipped": np.array(self.skipped)}

    @property
    def entries(self) -> int:
        """Entries in all."""
        return int(self.rows[:, ENTRIES].sum())


def read_tile(matrix: tiles.TileMatrix, setting: Setting, row: int, col: int) -> tuple[Floats, Known]:
    """One tile of log x, and what it says of the genes."""
    x = matrix.read(row, col)
    if setting.least > 1:
        x = np.where(x >= setting.least, x, 0)
    log_x = kernel.logs(x)
    on_diagonal = row == col
    skipped = int(np.count_nonzero(np.triu(x <= 0) if on_diagonal else x <= 0))
    counts = np.zeros(setting.size)
    positive = np.maximum(x, 0)
    counts[setting.span(row)] = positive.sum(axis=1, dtype=np.float64)
    if not on_diagonal:
        counts[setting.span(col)] = positive.sum(axis=0, dtype=np.float64)
    elif setting.upper:
        log_x[np.tril_indices(len(log_x), -1)] = kernel.MISSING
    known = {side: np.zeros((setting.size, 4)) for side in ("rows", "columns")}
    # a symmetric tile on the diagonal says all there is as rows
    ignored = (
        np.zeros((log_x.shape[1], 4)) if on_diagonal and not setting.upper else known["columns"][setting.span(col)]
    )
    kernel.totals(log_x, setting.log_max, setting.alpha, known["rows"][setting.span(row)], ignored)
    return log_x, Known(**known, counts=counts, skipped=skipped)


def joined(known: Iterator[Known]) -> Known:
    """What several tiles say together, in their order."""
    first = next(known)
    rows, columns, counts, skipped = first.rows, first.columns, first.counts, first.skipped
    for one in known:
        rows, columns = _plus(rows, one.rows), _plus(columns, one.columns)
        counts, skipped = counts + one.counts, skipped + one.skipped
    return Known(rows=rows, columns=columns, counts=counts, skipped=skipped)


def symmetric(known: Known, setting: Setting) -> Known:
    """What both directions of the cells say: the same of either side; of the upper triangle alone, as it is."""
    if setting.upper:
        return known
    both = _plus(known.rows, known.columns)
    return Known(rows=both, columns=both, counts=known.counts, skipped=known.skipped)


def _plus(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    total = a + b
    total[:, PEAK] = np.maximum(a[:, PEAK], b[:, PEAK])
    return total


# -- the start ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class State:
    """Both sides of the model: (genes, components + 1) vectors, the last column their biases."""

    rows: Floats
    columns: Floats
    """Where the next pass starts."""
    reached: tuple[Floats, Floats] | None = None
    """Where the last pass came, both sides, before ``onward`` went further; None: there too."""
    losses: tuple[float, ...] = ()
    """After each pass so far, the start's first."""

    @classmethod
    def of(cls, held: Mapping[str, NDArray[Any]]) -> State:
        """A state of its arrays, or of some of them."""
        reached = (held["reached_rows"], held["reached_columns"]) if "reached_rows" in held else None
        return cls(rows=held["rows"], columns=held["columns"], reached=reached, losses=tuple(held["losses"].tolist()))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The state as arrays, for a file."""
        reached = dict(zip(("reached_rows", "reached_columns"), self.reached or (self.rows, self.columns), strict=True))
        return {"rows": self.rows, "columns": self.columns, **reached, "losses": np.array(self.losses)}


def biases(known: Known) -> NDArray[np.float64]:
    """(genes,) b with b_i + b_j ≈ log x_ij: each gene's mean, less half of the mean of all."""
    total = _plus(known.rows, known.columns)
    mean = total[:, LOGS].sum() / total[:, ENTRIES].sum()
    each = np.divide(total[:, LOGS], total[:, ENTRIES], where=total[:, ENTRIES] > 0, out=np.full(len(total), mean))
    found: NDArray[np.float64] = each - mean / 2
    return found


def random_state(known: Known, setting: Setting, seed: int) -> State:
    """Vectors from U(−½, ½) / components, as GloVe's code has them, and the genes' own biases."""
    draw = np.random.default_rng(seed).uniform(-0.5, 0.5, (2, setting.size, setting.components)) / setting.components
    bias = biases(known)[:, None]
    rows, columns = (np.hstack([side, bias]).astype(np.float32) for side in draw)
    return State(rows=rows, columns=columns)


def first_basis(setting: Setting) -> Floats:
    """(genes, components + EXTRA) orthonormal, always the same: no seed enters."""
    width = min(setting.components + EXTRA, setting.size)
    return orthonormal(np.random.default_rng(0).standard_normal((setting.size, width)))


def orthonormal(vectors: NDArray[Any]) -> Floats:
    """An orthonormal basis of the columns."""
    return np.linalg.qr(vectors.astype(np.float64))[0].astype(np.float32)


def product(logs: Logs, setting: Setting, band: int, basis: Floats, bias: NDArray[np.float64]) -> Floats:
    """(genes of the band, width) rows of L · basis; L is log x less biases, 0 where there is no entry.

    Both triangles count, whichever are trained on.
    """
    small = bias.astype(np.float32)
    mine = setting.span(band)
    out = np.zeros((mine.stop - mine.start, basis.shape[1]), np.float32)
    for row, col, mirrored in _square(setting, band):
        left, right = setting.span(row), setting.span(col)
        for strip, block in logs.strips(row, col):
            centred = np.empty_like(block)
            kernel.centred(block, small[left][strip], small[right], centred)
            if mirrored:
                out += centred.T @ basis[left][strip]
            else:
                out[strip] += centred @ basis[right]
            if row == col and setting.upper:  # only half of it is stored
                out += np.triu(centred, strip.start + 1).T @ basis[left][strip]
    return out


def _square(setting: Setting, band: int) -> Iterator[tuple[int, int, bool]]:
    """The stored tiles of a band, of both triangles."""
    yield from ((other, band, True) for other in range(band))
    yield from ((band, other, False) for other in range(band, setting.bands))


def svd_state(basis: Floats, image: Floats, known: Known, setting: Setting) -> State:
    """The truncated SVD of L from an orthonormal basis Q and its image L Q: eigenvectors of Qᵀ L Q.

    L is symmetric, so w = u √|λ| and c = ± w, minus where λ < 0.
    Source: Halko, Martinsson & Tropp 2011, algorithms 4.4 and 5.3.
    """
    Q, LQ = basis.astype(np.float64), image.astype(np.float64)
    small = Q.T @ LQ
    values, vectors = np.linalg.eigh((small + small.T) / 2)
    best = np.argsort(-np.abs(values), kind="stable")[: setting.components]
    rows = Q @ vectors[:, best]
    rows *= signs(rows) * np.sqrt(np.abs(values[best]))
    columns = rows * np.where(values[best] < 0, -1.0, 1.0)
    bias = biases(known)[:, None]
    return State(rows=np.hstack([rows, bias]).astype(np.float32), columns=np.hstack([columns, bias]).astype(np.float32))


# -- a pass ---------------------------------------------------------------------------------------------------


def half_pass(
    logs: Logs, setting: Setting, band: int, *, side: Side, mine: Floats, theirs: Floats, known: Known
) -> tuple[Floats, float]:
    """The band's genes after their step, and Σ f r² of their entries before it.

    Memory: 8·STRIP·tile + 8·genes·components bytes; ``rows``: 2·tile·components² each for normal matrices and squares.
    Parameters: mine     (genes of the band, components + 1) the side that moves.
                theirs   (genes, components + 1) the side that stays.
    """
    d = setting.components
    U = np.hstack([mine, np.ones((len(mine), 1), np.float32)])
    V = np.hstack([theirs[:, :d], np.ones((len(theirs), 1), np.float32), theirs[:, d:]])
    D = np.ascontiguousarray(V[:, : d + 1])
    gradient = np.zeros((len(mine), d + 1), np.float32)
    normal = _Normal(len(mine), d + 1) if setting.solver == "rows" else None
    loss = 0.0
    buffer = np.empty(STRIP * setting.tile, np.float32)  # fresh memory for each strip would cost a tenth of the time
    for row, col, mirrored in setting.blocks(band, side):
        other = setting.span(row if mirrored else col)
        near, far = V[other], D[other]
        if normal is not None:
            normal.meet(far)
        for strip, block in logs.strips(row, col):
            residual = buffer[: block.size].reshape(block.shape)
            left, right = (near[strip], U.T) if mirrored else (U[strip], near.T)
            np.matmul(left, right, out=residual)
            loss += kernel.residuals(block, residual, setting.log_max, setting.alpha)
            if mirrored:
                gradient += residual.T @ far[strip]
            else:
                gradient[strip] += residual @ far
            if normal is not None:
                f = kernel.weights(block, setting.log_max, setting.alpha)
                if mirrored:
                    normal.add(f.T, strip, slice(0, len(mine)))
                else:
                    normal.add(f, slice(0, len(far)), strip)
    about = getattr(known, side)[setting.span(band)]
    ridge = setting.ridge * about[:, WEIGHT : WEIGHT + 1] * np.array([*[1.0] * d, FREE])
    push = gradient - ridge * mine
    if normal is not None:
        step = normal.solve(push, ridge)
    else:
        step = np.empty_like(push)
        for some, gram in _grams(D, setting, band, side):
            step[some] = _common(gram, push[some], ridge[some, 0], about[some, PEAK])
    step[about[:, ENTRIES] == 0] = 0.0
    return (mine + step).astype(np.float32), loss


def _grams(D: Floats, setting: Setting, band: int, side: Side) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Genes of a band, and Σ d dᵀ over the genes that they have entries with (in M^-1/2, as ``_common`` takes it).

    Of the upper triangle strip by strip: cells that are no entry would slow a majorised pass down.
    """

    def gram(some: slice) -> NDArray[np.float64]:
        wide = D[some] * np.array([*[1.0] * setting.components, FREE**-0.5])
        made: NDArray[np.float64] = wide.T @ wide
        return made

    mine = setting.span(band)
    if not setting.upper:
        yield slice(0, mine.stop - mine.start), gram(slice(0, setting.size))
        return
    starts = range(mine.start, mine.stop, STRIP)
    total = gram(slice(mine.stop, setting.size) if side == "rows" else slice(0, mine.start))
    for start in reversed(starts) if side == "rows" else starts:
        strip = slice(start, min(start + STRIP, mine.stop))
        total = total + gram(strip)
        yield slice(strip.start - mine.start, strip.stop - mine.start), total


def _common(
    gram: NDArray[np.float64], push: NDArray[Any], ridge: NDArray[np.float64], peak: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(peak_i Σ d dᵀ + ridge_i M)⁻¹ push_i for all rows: one eigendecomposition serves every peak and ridge."""
    values, vectors = np.linalg.eigh(gram)
    vectors[-1] *= FREE**-0.5
    below = peak[:, None] * np.maximum(values, 0.0) + ridge[:, None]
    turned = push @ vectors
    # directions that no entry and no ridge determines stay as they are
    stiff = below > 1e-15 * below.max(axis=1, keepdims=True)
    step: NDArray[np.float64] = np.divide(turned, below, where=stiff, out=np.zeros_like(turned)) @ vectors.T
    return step


class _Normal:
    """The normal matrices of a band's genes, as packed upper triangles."""

    def __init__(self, genes: int, width: int) -> None:
        self._width = width
        self._packed = np.zeros((genes, width * (width + 1) // 2), np.float32)
        self._vectors = np.empty((0, width), np.float32)
        self._squares: Floats | None = None

    def meet(self, vectors: Floats) -> None:
        """The (genes, width) vectors of the tile that comes next."""
        self._vectors, self._squares = vectors, None

    def add(self, f: Floats, some: slice, rows: slice) -> None:
        """Adds Σ_k f_ik v_k v_kᵀ to the genes of ``rows``, over ``some`` of the tile's vectors."""
        if np.count_nonzero(f) < SPARSE * f.size:
            kernel.add_outer(np.ascontiguousarray(f), self._vectors[some], self._packed[rows])
            return
        if self._squares is None:
            self._squares = kernel.squares(self._vectors)
        self._packed[rows] += f @ self._squares[some]

    def solve(self, push: NDArray[Any], ridge: NDArray[np.float64]) -> NDArray[np.float64]:
        """(N_i + ridge_i)⁻¹ push_i of every gene; the ridge is a diagonal for each."""
        out = np.zeros((len(push), self._width))
        place = np.arange(self._width)
        for start in range(0, len(push), SOLVED):
            some = slice(start, start + SOLVED)
            full = kernel.unpacked(self._packed[some], self._width)
            # a gene of few entries leaves directions open: rounding must not move it there
            least = 1e-6 * np.trace(full, axis1=1, axis2=2) / self._width
            full[:, place, place] += np.maximum(ridge[some], np.maximum(least, 1e-30)[:, None])
            out[some] = np.linalg.solve(full, push[some, :, None])[:, :, 0]
        return out


def onward(before: State, rows: Floats, columns: Floats, *, losses: tuple[float, ...]) -> State:
    """The state after a pass that went from ``before`` to (rows, columns): a little further in the same direction.

    By (k − 1) / (k + 2) of the way since the last pass (at most ``MOMENTUM``), k passes after the loss last rose: three
    times fewer passes where weights are unlike, and none more where they are not.
    Source: Nesterov 1983; restarts: O'Donoghue & Candès 2015, section 3.2.
    """
    k = 1
    while k < len(losses) and losses[-k] <= losses[-k - 1]:
        k += 1
    share = np.float32(min(MOMENTUM, (k - 1) / (k + 2)))
    was = before.reached or (before.rows, before.columns)
    ahead = [new + share * (new - old) for new, old in zip((rows, columns), was, strict=True)]
    return State(rows=ahead[0], columns=ahead[1], reached=(rows, columns), losses=losses)


def balanced(state: State, known: Known) -> State:
    """The same predictions, with the smallest ridge, in components that do not correlate, largest first.

    With Ŵ = √f_i. w_i and Ĉ = √f_.j c_j, and Ŵ Ĉᵀ = U S Vᵀ, the ridge of all factors is least for U √S and V √S.
    Signs: the largest |entry| of each component of w is positive.
    """
    W, C = (
        np.sqrt(about[:, WEIGHT])[:, None] * side[:, :-1].astype(np.float64)
        for about, side in ((known.rows, state.rows), (known.columns, state.columns))
    )
    left, left_inverse = _roots(W.T @ W)
    right, right_inverse = _roots(C.T @ C)
    U, S, Vt = np.linalg.svd(left @ right)
    turn_rows, turn_columns = left_inverse @ (U * np.sqrt(S)), right_inverse @ (Vt.T * np.sqrt(S))
    sign = signs(W @ turn_rows)

    def turned(rows: Floats, columns: Floats) -> tuple[Floats, Floats]:
        return _turned(rows, turn_rows * sign), _turned(columns, turn_columns * sign)

    made = turned(state.rows, state.columns)
    reached = None if state.reached is None else turned(*state.reached)
    return State(rows=made[0], columns=made[1], reached=reached, losses=state.losses)


def _turned(side: Floats, turn: NDArray[np.float64]) -> Floats:
    """One side in other components; biases stay."""
    return np.hstack([side[:, :-1].astype(np.float64) @ turn, side[:, -1:]]).astype(np.float32)


def _roots(gram: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The symmetric square root of a positive matrix, and its inverse on the matrix's range."""
    values, vectors = np.linalg.eigh(gram)
    values = np.where(values > 1e-14 * max(values[-1], 1e-300), values, 0.0)
    root = np.sqrt(values)
    inverse = np.divide(1.0, root, where=root > 0, out=np.zeros_like(root))
    return (vectors * root) @ vectors.T, (vectors * inverse) @ vectors.T


def finished(losses: tuple[float, ...], iterations: int, tolerance: float) -> bool:
    """Whether to stop: the last pass lowered the loss by a smaller share than asked, or passes are used up.

    A pass that raised it went too far onward; the next is plain, and lowers it again.
    """
    passes = len(losses) - 1
    if passes >= iterations:
        return True
    return passes >= 1 and 0 <= losses[-2] - losses[-1] < tolerance * losses[-2]


def vectors(state: State, which: str) -> Floats:
    """(genes, components): main and context vectors summed, or the main ones alone."""
    if which == "main":
        return state.rows[:, :-1]
    total: Floats = state.rows[:, :-1] + state.columns[:, :-1]
    return total
