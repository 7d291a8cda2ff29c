"""GloVe (Pennington et al. 2014) on a co-occurrence of either origin.

Two optimizers of one objective: alternating least squares (``glove_als``) and the published AdaGrad, one entry
after another (``adagrad``). The **loss** is ½ Σ f r² / entries, as GloVe's own code and text2vec print it; the ridge
is no part of it. One entry is one direction of a cell; the diagonal is one entry in either mode.

``triangle="upper", vectors="main"`` is what exp2vec trains: text2vec takes the upper triangle as it comes.
A context vector is the main vector up to signs where the matrix is symmetric; in the sum of both, components of a
negative eigenvalue vanish.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from g2v_dask import tiles
from g2v_dask.errors import InputError
from g2v_dask.folders import Folder
from g2v_dask.models import adagrad, base
from g2v_dask.models import glove_als as als
from g2v_dask.models.checkpoints import Checkpoints
from g2v_dask.models.glove_als import Floats, Known, Setting, Solver, State
from g2v_dask.spec import TrainSpec

SMALL = 8192
"""Genes up to which all passes are one part: less work than its dispatch would cost."""
MAJORISED, ROWS = 15.0, 5
"""Passes until the loss settles: majorised over the share of cells that weigh 1 (fewer are taken for the fit of what
is not there), and of rows. Measured on tissues, single cells and pairs."""
PRODUCT, OUTER, SOLVE = 1.0, 1.7, 25.0
"""Cost of a multiplication in a matrix product, in a sum of outer products, in a solve; measured, in the first's."""


# -- the choice of the solver ---------------------------------------------------------------------------------


def choose_solver(facts: Mapping[str, Any], spec: TrainSpec) -> tuple[Solver, str]:
    """Which half pass a co-occurrence of these facts takes, by arithmetic, and why, in words.

    >>> pairs = {"genes": 10_000, "recurrence": {"1": 500_000}}
    >>> choose_solver(pairs, TrainSpec(method="glove"))[0]
    'rows'
    >>> reads = {"genes": 10_000, "magnitudes": {"3": 1_000_000, "12": 49_000_000}}
    >>> choose_solver(reads, TrainSpec(method="glove"))[0]
    'majorised'
    """
    genes, width = int(facts["genes"]), spec.components + 1
    cells = genes * (genes + 1) / 2
    entries, full = _entries(facts, spec)
    heavy = max(full / cells, 1e-3)
    passes = MAJORISED / heavy
    both = 2 * genes * genes
    products = 2 * both * width
    density = entries / cells
    one = OUTER * density if density < als.SPARSE else PRODUCT
    normal = one * both * width * (width + 1) / 2 + SOLVE * 2 * genes * width**3 / 3
    majorised, rows = passes * PRODUCT * products, ROWS * (PRODUCT * products + normal)
    choice: Solver = "majorised" if majorised <= rows else "rows"
    return choice, (
        f"{choice} least squares: {heavy:.1%} of the cells weigh 1; about {passes:.0f} majorised passes of "
        f"{products:.2g} multiplications, or {ROWS} of {products + normal:.2g} with a solve for each gene"
    )


def _entries(facts: Mapping[str, Any], spec: TrainSpec) -> tuple[float, float]:
    """How many cells of the upper triangle are entries, and how many of those weigh 1."""
    pairs = "recurrence" in facts
    seen: Mapping[str, int] = facts["recurrence" if pairs else "magnitudes"]
    least = float(spec.min_datasets) if pairs else -math.inf
    bound = spec.x_max if pairs else math.log2(spec.x_max)
    if spec.alpha == 0:  # all weigh 1
        bound = -math.inf
    kept = [(float(size), number) for size, number in seen.items() if float(size) >= least]
    return float(sum(n for _, n in kept)), float(sum(n for size, n in kept if size >= bound))


# -- one part -------------------------------------------------------------------------------------------------


def memory_bytes(genes: int, cells: int, components: int) -> int:
    """Bytes that training in one part needs, beyond the interpreter with its imports.

    Log x, its upper triangle of tiles: 2·genes² and a row of tiles; and whole, 4·genes², for AdaGrad (a small problem
    is not told apart). The rest as one band's part: ``part_bytes``.
    """
    del cells
    tile = min(genes, 2048)
    return 6 * genes * genes + 2 * genes * tile + part_bytes(genes, tile, components)


def part_bytes(genes: int, tile: int, components: int) -> int:
    """Bytes of one band's part: blocks as they are read, strips, both sides, and packed normal matrices.

    28·tile² while a tile is read; 64·genes·components for both sides, their gradients and copies (balancing takes 76,
    and no tile); 6·tile·components² for packed normal matrices and squares.
    """
    tile = min(genes, tile)
    return (
        28 * tile * tile + 64 * genes * (components + 2) + 6 * tile * (components + 1) * (components + 2) + (64 << 20)
    )


class MemoryLogs:
    """Log x held in memory: its stored tiles."""

    def __init__(self) -> None:
        self.tiles: dict[tuple[int, int], Floats] = {}

    def strips(self, row: int, col: int) -> Iterator[tuple[slice, Floats]]:
        """One tile in strips."""
        whole = self.tiles[row, col]
        for start in range(0, len(whole), als.STRIP):
            strip = slice(start, min(start + als.STRIP, len(whole)))
            yield strip, whole[strip]


def train(
    matrix: tiles.TileMatrix,
    spec: TrainSpec,
    *,
    folder: Folder,
    progress: base.Progress,
    alive: base.Alive,
    solver: Solver = "majorised",
) -> base.Trained:
    """Gene vectors from GloVe, all passes in one part.

    Memory per part: ``memory_bytes``.
    Parameters: matrix   symmetric, of either origin; cells ≤ 0 are no entry.
                folder   a checkpoint of an earlier run of the same spec and data is resumed.
                progress counts passes; the note is the loss.
    Returns:    genes with an entry, by (Σ x descending, gene id); losses: the start's, then after each pass.
    Raises:     InputError if no cell is positive or there are no more genes than components; G2VError if AdaGrad
                diverges (its last good checkpoint stays).
    Source:     Pennington, Socher & Manning 2014, equations 8 and 9.
    Oracle:     tests/oracles_models.py::glove_loss, glove_gradient.
    """
    setting = Setting.of(matrix, spec, solver)
    logs = MemoryLogs()
    found: list[list[Known]] = [[] for _ in range(setting.bands)]
    for number, (row, col) in enumerate(tiles.blocks(setting.size, setting.tile)):
        alive()
        logs.tiles[row, col], known = als.read_tile(matrix, setting, row, col)
        found[row].append(known)
        progress(0, spec.iterations, f"reading tile {number + 1}")
    # band by band, as rounds add them: rounding may decide the order of look-alike genes
    whole = als.joined(als.joined(iter(band)) for band in found)
    known = checked(als.symmetric(whole, setting), setting)
    del found
    if spec.optimizer == "adagrad":
        state = adagrad.fit(logs.tiles, known, setting, spec, folder=folder, progress=progress, alive=alive)
        return trained(matrix, known, state, spec, facts={})
    checkpoints = Checkpoints(folder, spec.select("identity"), solver, matrix.genes.tolist(), known.counts.tolist())
    held = checkpoints.newest()
    state = start(logs, known, setting, spec) if held is None else State.of(held)
    while True:
        alive()
        rows, loss = _side(logs, known, setting, "rows", state.rows, state.columns)
        losses = (*state.losses, loss / (2 * known.entries))
        progress(len(losses) - 1, spec.iterations, f"loss {losses[-1]:.4g}")
        if als.finished(losses, spec.iterations, spec.tolerance):
            done = State(rows=state.rows, columns=state.columns, losses=losses)
            return trained(matrix, known, done, spec, facts={"solver": solver})
        columns, _ = _side(logs, known, setting, "columns", state.columns, rows)
        state = als.balanced(als.onward(state, rows, columns, losses=losses), known)
        if len(losses) % spec.checkpoint == 0:
            checkpoints.save(len(losses), **state.arrays())


def start(logs: als.Logs, known: Known, setting: Setting, spec: TrainSpec) -> State:
    """The first vectors: ``init``."""
    if spec.init == "random":
        return als.random_state(known, setting, spec.seed)
    basis, bias = als.first_basis(setting), als.biases(known)
    for number in range(als.PRODUCTS):
        image = np.concatenate([als.product(logs, setting, b, basis, bias) for b in range(setting.bands)])
        if number < als.PRODUCTS - 1:
            basis = als.orthonormal(image)
    return als.svd_state(basis, image, known, setting)


def _side(
    logs: als.Logs, known: Known, setting: Setting, side: als.Side, mine: Floats, theirs: Floats
) -> tuple[Floats, float]:
    """A half pass over all bands."""
    made = [
        als.half_pass(logs, setting, band, side=side, mine=mine[setting.span(band)], theirs=theirs, known=known)
        for band in range(setting.bands)
    ]
    return np.concatenate([rows for rows, _ in made]), sum(loss for _, loss in made)


def checked(known: Known, setting: Setting) -> Known:
    """The same, if something can be trained on it.

    Raises: InputError if there is no entry, or no more genes with one than components.
    """
    genes = int(np.count_nonzero(known.counts > 0))
    if not genes:
        msg = f"train: no cell of the co-occurrence of {setting.size} genes is positive, so there is nothing to learn"
        raise InputError(msg)
    if setting.components >= genes:
        msg = (
            f"train: components must be less than the number of genes; {genes} genes have an entry, components is "
            f"{setting.components}; give at most {genes - 1}"
        )
        raise InputError(msg)
    return known


def trained(
    matrix: tiles.TileMatrix, known: Known, state: State, spec: TrainSpec, *, facts: Mapping[str, Any]
) -> base.Trained:
    """The result in vocabulary order."""
    order = base.vocabulary(matrix.genes, known.counts, 0)
    order = order[known.counts[order] > 0]
    return base.Trained(
        genes=np.asarray(matrix.genes)[order].astype(np.str_),
        vectors=als.vectors(state, spec.vectors)[order],
        losses=list(state.losses),
        facts={"entries": known.entries, "not_positive": known.skipped, **facts},
    )
