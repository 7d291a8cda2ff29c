"""GloVe's alternating least squares as rounds of parts: a part is a row band, what needs all rows a round of one.

::

    read      bands   log x in tiles, as files; what each says of the genes
    begin     1       the genes' biases; random vectors, or a first basis for the SVD
    product   bands   log x · basis          ┐ ``PRODUCTS`` times, with init svd
    basis     1       orthonormal again      ┘ the last time: the truncated SVD
    rows      bands   a half pass, and the loss after the pass before      ┐
    columns   bands   the other half                                       │ until the loss settles
    balance   1       both sides balanced: the state after the pass        ┘
    vectors   1       in place of columns, when the loss has settled: the result

A part reads the files of the last rounds and writes its own. Every function that computes is ``glove_als``'s, so the
bits are those of one part (``glove.train``), and of any number of workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2v_dask import tiles
from g2v_dask.files import placed
from g2v_dask.models import base, glove
from g2v_dask.models import glove_als as als
from g2v_dask.models.glove_als import Floats, Known, Setting, State
from g2v_dask.parts import Output, Part, Receipt, Work
from g2v_dask.spec import TrainSpec

PASS = ("rows", "columns", "balance")
ALONE = ("begin", "basis", "balance", "vectors")
"""Phases of one part."""


def phase(round_: int, spec: TrainSpec) -> str:
    """What a round does.

    >>> [phase(r, TrainSpec(method="glove", init="random")) for r in range(6)]
    ['read', 'begin', 'rows', 'columns', 'balance', 'rows']
    """
    first = ["read", "begin"]
    if spec.init == "svd":
        first += ["product", "basis"] * als.PRODUCTS
    return first[round_] if round_ < len(first) else PASS[(round_ - len(first)) % len(PASS)]


def parts(name: str, size: int, tile: int, spec: TrainSpec, *, round_: int) -> tuple[Part, ...]:
    """The parts of a round; of ``columns`` those that follow if the loss has not settled."""
    need = glove.part_bytes(size, tile, spec.components)
    what = phase(round_, spec)
    if what in ALONE:
        return (Part(number=0, bytes=need, label=f"{name}, {what}"),)
    bands = tiles.count(size, tile)
    return tuple(Part(number=band, bytes=need, label=f"{name}, {what} {band}") for band in range(bands))


def next_parts(
    name: str, size: int, tile: int, spec: TrainSpec, *, done: int, receipts: Mapping[int, Receipt]
) -> tuple[Part, ...]:
    """The parts of the round after ``done``: after the vectors none."""
    results = [receipts[number]["result"] for number in sorted(receipts)]
    if "genes" in results[0]:
        return ()
    if phase(done, spec) == "rows":
        losses = _losses(results)
        if als.finished(losses, spec.iterations, spec.tolerance):
            # beyond the bands' numbers, so that no receipt of a band passes for it
            need = glove.part_bytes(size, tile, spec.components)
            return (Part(number=tiles.count(size, tile), bytes=need, label=f"{name}, vectors"),)
    return parts(name, size, tile, spec, round_=done + 1)


def _losses(results: list[Mapping[str, Any]]) -> tuple[float, ...]:
    """The loss after each pass so far: what was known, and the bands' sums, in their order."""
    return (*results[0]["before"], sum(r["loss"] for r in results) / (2 * results[0]["entries"]))


def run_part(work: Work, matrix: tiles.TileMatrix, spec: TrainSpec, solver: als.Solver) -> Output | base.Trained:
    """Does one part; the last of all gives the vectors."""
    setting = Setting.of(matrix, spec, solver)
    files = _Files(work, setting)
    what, band = phase(work.round, spec), work.part.number
    if what == "read":
        return _read(work, files, matrix, setting, band)
    if what == "columns" and band == setting.bands:
        state, known = files.state(work.round - 2), files.known()
        losses = files.losses(state, work.round - 1, known)
        done = State(rows=state.rows, columns=state.columns, losses=losses)
        return glove.trained(matrix, known, done, spec, facts={"solver": solver})
    if what == "begin":
        return _begin(work, files, setting, spec)
    if what == "product":
        basis, bias = files.named(work.round - 1, "basis"), als.biases(files.known())
        return files.keep(f"part-{band}", {"made": als.product(files, setting, band, basis, bias)}, {})
    if what == "basis":
        return _basis(work, files, setting, spec)
    if what == "balance":
        before, known = files.state(work.round - 3, reached=True), files.known()
        rows, columns = (files.side(r) for r in (work.round - 2, work.round - 1))
        losses = files.losses(before, work.round - 2, known)
        return files.keep_state(als.balanced(als.onward(before, rows, columns, losses=losses), known))
    return _half_pass(work, files, setting, band, "rows" if what == "rows" else "columns")


def _read(work: Work, files: _Files, matrix: tiles.TileMatrix, setting: Setting, band: int) -> Output:
    written, found = [], []
    for col in range(band, setting.bands):
        work.alive()
        log_x, known = als.read_tile(matrix, setting, band, col)
        found.append(known)
        written.append(files.put(band, col, log_x))
        work.progress(col - band + 1, setting.bands - band, "log x")
    known = als.joined(iter(found))
    kept = files.keep(f"part-{band}", known.arrays(), {})
    return Output(files=(*kept.files, *written), result=kept.result)


def _begin(work: Work, files: _Files, setting: Setting, spec: TrainSpec) -> Output:
    each = (Known.of(files.band(0, band)) for band in range(setting.bands))
    known = glove.checked(als.symmetric(als.joined(each), setting), setting)
    about = files.keep("known", known.arrays(), {}).files
    if spec.init == "random":
        begun = files.keep_state(als.random_state(known, setting, spec.seed))
    else:
        begun = files.keep("state", {"basis": als.first_basis(setting)}, {})
    return Output(files=(*begun.files, *about), result={})


def _basis(work: Work, files: _Files, setting: Setting, spec: TrainSpec) -> Output:
    image = files.side(work.round - 1)
    if phase(work.round + 1, spec) == "product":
        return files.keep("state", {"basis": als.orthonormal(image)}, {})
    basis = files.named(work.round - 2, "basis")
    return files.keep_state(als.svd_state(basis, image, files.known(), setting))


def _half_pass(work: Work, files: _Files, setting: Setting, band: int, side: als.Side) -> Output:
    before, known = files.state(work.round - (1 if side == "rows" else 2)), files.known()
    theirs = before.columns if side == "rows" else files.side(work.round - 1)
    mine = getattr(before, side)[setting.span(band)]
    made, loss = als.half_pass(files, setting, band, side=side, mine=mine, theirs=theirs, known=known)
    result = {"loss": loss, "entries": known.entries, "before": list(before.losses)} if side == "rows" else {}
    return files.keep(f"part-{band}", {"made": made, "loss": np.array(loss)}, result)


class _Files:
    """What parts leave for each other in the target's folder; log x is read strip by strip (an ``als.Logs``)."""

    def __init__(self, work: Work, setting: Setting) -> None:
        self._work = work
        self._setting = setting

    def keep(self, name: str, held: Mapping[str, NDArray[Any]], result: Any) -> Output:
        """Writes arrays under this round."""
        path = self._work.desk / self._name(self._work.round, name)
        self._work.alive()
        with placed(path) as part, part.open("wb") as stream:
            np.savez(stream, allow_pickle=False, **held)
        return Output(files=(path,), result=result)

    def _name(self, round_: int, name: str) -> str:
        return f"round-{round_}/{name}.npz"

    def _load(self, round_: int, name: str) -> dict[str, NDArray[Any]]:
        with np.load(self._work.folder.fetch(self._name(round_, name)), allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    def named(self, round_: int, name: str) -> Floats:
        """One array of a round's only part."""
        found: Floats = self._load(round_, "state")[name]
        return found

    def keep_state(self, state: State) -> Output:
        """Writes a state; where the last pass came apart from it, since only the next balance reads that."""
        held = state.arrays()
        reached = {name: held.pop(name) for name in list(held) if name.startswith("reached")}
        files = [self.keep(name, some, {}).files for name, some in (("state", held), ("reached", reached))]
        return Output(files=tuple(f for some in files for f in some), result={})

    def state(self, round_: int, *, reached: bool = False) -> State:
        """The vectors that a round's only part has left, and where the last pass came if it is asked for."""
        return State.of({**self._load(round_, "state"), **(self._load(round_, "reached") if reached else {})})

    def band(self, round_: int, band: int) -> dict[str, NDArray[Any]]:
        """What the part of one band has left."""
        return self._load(round_, f"part-{band}")

    def losses(self, before: State, round_: int, known: Known) -> tuple[float, ...]:
        """The loss after each pass so far: what a state knew, and the bands' sums of ``rows``, in their order."""
        total = sum(float(self.band(round_, b)["loss"]) for b in range(self._setting.bands))
        return (*before.losses, total / (2 * known.entries))

    def side(self, round_: int) -> Floats:
        """The rows that all bands have made."""
        return np.concatenate([self.band(round_, b)["made"] for b in range(self._setting.bands)])

    def known(self) -> Known:
        """What the co-occurrence says of the genes."""
        return Known.of(self._load(1, "known"))

    def _tile(self, row: int, col: int) -> str:
        return f"logs/{row}-{col}.float32"

    def put(self, row: int, col: int, log_x: Floats) -> Path:
        """Writes a tile of log x."""
        path = self._work.desk / self._tile(row, col)
        with placed(path) as part:
            log_x.tofile(part)
        return path

    def strips(self, row: int, col: int) -> Iterator[tuple[slice, Floats]]:
        """One tile in strips, read into one buffer: mapped, its pages would count as the worker's memory."""
        left, right = self._setting.span(row), self._setting.span(col)
        rows, columns = left.stop - left.start, right.stop - right.start
        buffer = np.empty((min(als.STRIP, rows), columns), np.float32)
        with self._work.folder.fetch(self._tile(row, col)).open("rb", buffering=0) as stream:
            for start in range(0, rows, als.STRIP):
                strip = slice(start, min(start + als.STRIP, rows))
                block = buffer[: strip.stop - start]
                _fill(stream, block)
                yield strip, block


def _fill(stream: Any, block: Floats) -> None:
    """Reads a block.

    Raises: OSError if the file ends before.
    """
    view = block.reshape(-1).view(np.uint8).data
    while len(view):
        got = stream.readinto(view)
        if not got:
            msg = f"{stream.name} is cut off; run the same command again"
            raise OSError(msg)
        view = view[got:]
