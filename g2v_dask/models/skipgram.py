"""Skip-gram with negative sampling on gene pairs: gensim's Word2Vec, every pair a two-word sentence.

How the vectors are made, and why they can be made again to the byte:

- The cells of the co-occurrence go to a file of packed pairs, a pair seen in m datasets m times, in the order
  of the gene axis. Every iteration scatters them into buckets (each pair draws its bucket) and shuffles each
  bucket: a uniform permutation, seeded by (seed, iteration) alone, that holds one bucket in memory.
- One ``Word2Vec.train`` call an iteration, with the learning rates that one long call would have there.
  Gensim's reader thread feeds one worker thread: with ``workers=1`` the order of jobs is fixed.
- After each iteration a checkpoint: vectors, output weights, and the state of ``model.random``, from which
  gensim seeds the negatives of every job. Without that state a resumed run would be another run.

The published code (jingcheng-du/Gene2vec, ``src/gene2vec.py``) differs from the paper and from the defaults
here: 100 components (paper: 200), 10 iterations (paper: 9), ``min_count=1`` (paper: 5), 32 workers, unseeded
``random.shuffle`` of all pairs in memory; ``window=1, sg=1`` and gensim's ``negative=5, sample=1e-3`` are the
same. It saves and loads the model after every iteration and calls ``train`` with ``epochs=1`` anew, so each
iteration falls from 0.025 to gensim's 0.0001 again: that is ``schedule="restart"``.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import gensim
import numpy as np
from gensim.models import Word2Vec
from numpy.typing import NDArray

from g2v_dask.errors import InputError
from g2v_dask.folders import Folder
from g2v_dask.models import base
from g2v_dask.models.checkpoints import Checkpoints
from g2v_dask.spec import TrainSpec
from g2v_dask.tiles import TileMatrix

BUCKET_PAIRS = 1 << 19
"""Pairs of one bucket, on average, and of one block of a scatter."""
LOSS_PAIRS = 1 << 14
"""Pairs of the fixed sample that the loss is taken on."""
MIN_ALPHA = 0.0001
"""Learning rate at the end: gensim's default, which the published code uses."""
SHUFFLE, LOSS = 0, 1
"""Streams of random numbers drawn from one seed."""

Keep = Callable[[int, NDArray[np.float32]], None]
"""Is given how many iterations are done, and the vectors then; what it keeps lasts when it returns."""


def memory_bytes(genes: int, cells: int, components: int) -> int:
    """Bytes that training needs, beyond the interpreter with its imports; flat in the number of pairs.

    Vectors, output weights, their copies in a checkpoint or the result: 16 · genes · components. Names and
    gensim's tables: 500 a gene. Buckets and blocks: 64 a pair of two. One band of 1,024 rows: 48 a cell.
    """
    band = min(cells, 1024 * genes)
    return 16 * genes * components + 500 * genes + 128 * BUCKET_PAIRS + 48 * band


def train(
    matrix: TileMatrix,
    spec: TrainSpec,
    *,
    folder: Folder,
    progress: base.Progress,
    alive: base.Alive,
    keep: Keep | None = None,
) -> base.Trained:
    """Gene vectors from skip-gram with negative sampling.

    Memory per part: ``memory_bytes``. Disk in ``folder``: 12 bytes a cell, then 8 a pair (16 with more than
    65,536 genes), and two checkpoints. The pair files have no name: they vanish with the process.
    Parameters: matrix   counts in how many datasets two genes are a pair; the diagonal is not read.
                folder   checkpoints of an earlier run of the same spec and data are resumed.
                progress counts pairs over all iterations; the note names the iteration and its loss.
                keep     is called before each checkpoint: of a run that is resumed, for the iterations before in the
                         run that made them. With ``restart`` the vectors are those of a run of so many iterations.
    Returns:    genes in ≥ ``min_count`` pairs; loss: mean −log σ(u·v) − Σ log σ(−u'·v), both directions.
    Raises:     InputError if no pair is left, no gene passes min_count, or values are not counts.
    Source:     Mikolov et al. 2013, equation 4; Du et al. 2019 (Gene2Vec).
    """
    with contextlib.ExitStack() as stack:
        raw, file, shuffled = (stack.enter_context(_scratch(folder)) for _ in range(3))
        counts, found = _spill(matrix, spec.min_datasets, raw)
        order = _vocabulary(matrix, counts, spec)
        names = [str(matrix.genes[i]) for i in order]
        model = _model(names, counts[order], spec)
        pairs = _PairFile(file=file, bits=16 if len(names) <= 1 << 16 else 32)
        _expand(raw, order, len(counts), pairs)
        raw.truncate(0)
        if not pairs.length:
            msg = f"train: no pair joins two genes that pass min-count {spec.min_count}; lower it"
            raise InputError(msg)
        corpus = _Corpus(names=names, pairs=pairs, shuffled=_PairFile(file=shuffled, bits=pairs.bits), seed=spec.seed)
        losses = _run(model, corpus, spec, folder=folder, progress=progress, alive=alive, keep=keep)
        facts = _facts(model, pairs, counts, cells=found)
    vectors = np.array(model.wv.vectors, dtype=np.float32)
    return base.Trained(genes=np.array(names, dtype=np.str_), vectors=vectors, losses=losses, facts=facts)


def _scratch(folder: Folder) -> IO[bytes]:
    """A file without a name: no second run meets it, and a killed one leaves nothing."""
    folder.desk.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder.desk)


@dataclass(frozen=True, kw_only=True)
class _PairFile:
    """Pairs of vocabulary numbers, both packed into one unsigned integer, in a file without a name."""

    file: IO[bytes]
    bits: int

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint32 if self.bits == 16 else np.uint64)

    @property
    def length(self) -> int:
        return os.fstat(self.file.fileno()).st_size // self.dtype.itemsize

    def pack(self, first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
        packed: NDArray[Any] = first.astype(self.dtype) << self.dtype.type(self.bits)
        packed |= second.astype(self.dtype)
        return packed

    def unpack(self, packed: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        bits = self.dtype.type(self.bits)
        return packed >> bits, packed & self.dtype.type((1 << self.bits) - 1)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Pairs start … stop − 1; the file's own position is not used, so threads may read at once."""
        return _read(self.file, self.dtype, start, stop)

    def write(self, start: int, packed: NDArray[Any]) -> None:
        _write(self.file, start * packed.itemsize, packed)


def _read(file: IO[bytes], dtype: np.dtype[Any], start: int, stop: int) -> NDArray[Any]:
    out = np.empty(stop - start, dtype)
    view, at = out.view(np.uint8).data, start * dtype.itemsize
    while view.nbytes:
        got = os.preadv(file.fileno(), [view], at)
        if not got:
            msg = f"train: a scratch file ends at byte {at}; is the disk of the work folder full?"
            raise OSError(msg)
        view, at = view[got:], at + got
    return out


def _write(file: IO[bytes], at: int, array: NDArray[Any]) -> None:
    view = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    while view.nbytes:
        put = os.pwrite(file.fileno(), view, at)
        view, at = view[put:], at + put


def _spill(matrix: TileMatrix, least: int, raw: IO[bytes]) -> tuple[NDArray[np.int64], int]:
    """Writes the cells as (row, column, value); returns each gene's count of pairs, and how many cells."""
    counts = np.zeros(len(matrix.genes), np.int64)
    found = 0
    for band in base.cells(matrix, least):
        if band.values.dtype.kind not in "ui":
            msg = (
                f"train: skipgram takes counts of datasets (whole numbers), the co-occurrence holds "
                f"{band.values.dtype}; train with method svd"
            )
            raise InputError(msg)
        off = band.rows != band.cols
        triples = np.stack([band.rows[off], band.cols[off], band.values[off]], axis=1).astype(np.uint32)
        weights = triples[:, 2].astype(np.float64)  # sums of whole numbers below 2**53: exact in any order
        for side in (0, 1):
            counts += np.bincount(triples[:, side], weights, len(counts)).astype(np.int64)
        _write(raw, found * 12, triples)
        found += len(triples)
    return counts, found


def _vocabulary(matrix: TileMatrix, counts: NDArray[np.int64], spec: TrainSpec) -> NDArray[np.int64]:
    """Axis positions of the genes that get a vector, in vocabulary order."""
    if not counts.any():
        msg = (
            f"train: the co-occurrence of {len(counts)} genes has no pair that is seen in at least "
            f"{spec.min_datasets} datasets; lower min-datasets, or make pairs with a lower threshold or top-k"
        )
        raise InputError(msg)
    order = base.vocabulary(matrix.genes, counts, spec.min_count)
    if not len(order):
        msg = (
            f"train: no gene is in at least min-count {spec.min_count} pairs; the most frequent of "
            f"{np.count_nonzero(counts)} genes is in {counts.max()}; lower min-count"
        )
        raise InputError(msg)
    return order


def _expand(raw: IO[bytes], order: NDArray[np.int64], genes: int, pairs: _PairFile) -> None:
    """Writes the pairs of two genes with a vector, each as often as it was seen, in vocabulary numbers."""
    number = np.full(genes, -1, np.int64)
    number[order] = np.arange(len(order))
    size, at, step = os.fstat(raw.fileno()).st_size // 12, 0, BUCKET_PAIRS // 4
    for start in range(0, size, step):
        stop = min(start + step, size)
        triples = _read(raw, np.dtype(np.uint32), 3 * start, 3 * stop).reshape(-1, 3)
        first, second = number[triples[:, 0]], number[triples[:, 1]]
        kept = (first >= 0) & (second >= 0)
        packed, times = pairs.pack(first[kept], second[kept]), triples[kept, 2]
        ends = np.cumsum(times, dtype=np.int64)
        cuts = np.flatnonzero(np.diff(ends // BUCKET_PAIRS)) + 1  # a cell seen very often stays whole
        for part, often in zip(np.split(packed, cuts), np.split(times, cuts), strict=True):
            block = np.repeat(part, often)
            pairs.write(at, block)
            at += len(block)


def _model(names: list[str], counts: NDArray[np.int64], spec: TrainSpec) -> Word2Vec:
    """The untrained model, its vocabulary in our order; first vectors are seeded, no string is hashed."""
    model = Word2Vec(
        vector_size=spec.components,
        alpha=spec.learning_rate,
        min_alpha=min(MIN_ALPHA, spec.learning_rate),
        window=1,
        sg=1,
        hs=0,
        negative=spec.negative,
        sample=spec.sample,
        min_count=1,  # the vocabulary holds only genes that passed
        seed=spec.seed,
        workers=spec.workers,
        sorted_vocab=0,  # gensim would put equal counts in reverse order
    )
    model.build_vocab_from_freq(dict(zip(names, counts.tolist(), strict=True)))
    return model


class _Corpus:
    """The pairs of one iteration after another, shuffled; an iterable of two-word sentences.

    Gensim iterates it in a thread of its own, and waits for ever should that thread fail. So an exception
    ends the iteration early instead, and ``check`` raises it where the caller sees it.
    """

    def __init__(self, *, names: list[str], pairs: _PairFile, shuffled: _PairFile, seed: int) -> None:
        self.names = np.array(names, dtype=object)
        self.pairs = pairs
        self.shuffled = shuffled
        self.seed = seed
        self.length = pairs.length
        self.buckets = -(-self.length // BUCKET_PAIRS)
        self.ends = np.zeros(self.buckets, np.int64)
        self.inner = np.random.default_rng(seed)
        self.after: base.Progress = lambda done, total, note: None
        self.failure: BaseException | None = None

    def scatter(self, iteration: int) -> None:
        """Deals the pairs into buckets. Drawn twice: to count them, and to write each to its place."""
        counts = np.zeros(self.buckets, np.int64)
        for _, _, drawn in self._draw(iteration):
            counts += np.bincount(drawn, minlength=self.buckets)
        self.ends = np.cumsum(counts)
        at = self.ends - counts
        for start, stop, drawn in self._draw(iteration):
            packed = self.pairs.read(start, stop)[np.argsort(drawn, kind="stable")]
            sizes = np.bincount(drawn, minlength=self.buckets)
            for bucket, part in enumerate(np.split(packed, np.cumsum(sizes)[:-1])):
                self.shuffled.write(int(at[bucket]), part)
            at += sizes
        self.inner = np.random.default_rng((self.seed, SHUFFLE, iteration, 1))

    def _draw(self, iteration: int) -> Iterator[tuple[int, int, NDArray[np.uint16]]]:
        """Blocks of pairs, and the bucket of each pair."""
        outer = np.random.default_rng((self.seed, SHUFFLE, iteration, 0))
        for start in range(0, self.length, BUCKET_PAIRS):
            stop = min(start + BUCKET_PAIRS, self.length)
            yield start, stop, outer.integers(self.buckets, size=stop - start, dtype=np.uint16)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return itertools.chain.from_iterable(self._blocks())

    def _blocks(self) -> Iterator[Iterator[tuple[str, str]]]:
        try:
            start = 0
            for end in self.ends.tolist():
                packed = self.shuffled.read(start, end)
                self.inner.shuffle(packed)
                for at in range(0, len(packed), 8192):
                    first, second = self.shuffled.unpack(packed[at : at + 8192])
                    yield zip(self.names[first].tolist(), self.names[second].tolist(), strict=True)
                start = end
                self.after(end, self.length, "")
        except BaseException as error:
            self.failure = error

    def check(self) -> None:
        """Raises what ended the last iteration early."""
        if self.failure is not None:
            raise self.failure


def rates(spec: TrainSpec, iteration: int) -> tuple[float, float]:
    """Learning rates at the start and the end of one iteration (from 0).

    >>> from g2v_dask.spec import TrainSpec
    >>> [round(rates(TrainSpec(iterations=3), i)[0], 4) for i in range(3)]
    [0.025, 0.0167, 0.0084]
    >>> rates(TrainSpec(iterations=3, schedule="restart"), 2)
    (0.025, 0.0001)
    """
    first, last = spec.learning_rate, min(MIN_ALPHA, spec.learning_rate)
    if spec.schedule == "restart":
        return first, last
    # as Word2Vec._get_next_alpha, so that each iteration starts at the same bits as in one long call
    begin, end = ((first - (first - last) * (i / spec.iterations)) for i in (iteration, iteration + 1))
    return begin, end


def _run(
    model: Word2Vec,
    corpus: _Corpus,
    spec: TrainSpec,
    *,
    folder: Folder,
    progress: base.Progress,
    alive: base.Alive,
    keep: Keep | None,
) -> list[float]:
    """Trains the iterations that no checkpoint holds; returns the loss after each."""
    sample = _LossSample.draw(model, corpus.pairs, spec)
    held = _checkpoints(model, corpus, spec, folder)
    losses = _resume(model, held)
    total = corpus.length * spec.iterations
    for iteration in range(len(losses), spec.iterations):
        alive()
        before, name = corpus.length * iteration, f"iteration {iteration + 1} of {spec.iterations}"
        progress(before, total, name)

        def after(done: int, _: int, __: str, before: int = before, name: str = name) -> None:
            progress(before + done, total, name)

        corpus.after = after
        corpus.scatter(iteration)
        _one_iteration(model, corpus, rates(spec, iteration))
        losses.append(sample.loss(model))
        alive()
        if keep is not None:
            keep(len(losses), model.wv.vectors)
        _save(model, held, losses)
        progress(before + corpus.length, total, f"{name}, loss {losses[-1]:.4f}")
    return losses


def _one_iteration(model: Word2Vec, corpus: _Corpus, alphas: tuple[float, float]) -> None:
    log = logging.getLogger("gensim")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns of few jobs and of a learning rate that rises, both meant here
    try:
        model.train(corpus, total_examples=corpus.length, epochs=1, start_alpha=alphas[0], end_alpha=alphas[1])
    finally:
        log.setLevel(level)
    corpus.check()


@dataclass(frozen=True, kw_only=True)
class _LossSample:
    """Some pairs in both directions, and negatives for each, drawn once."""

    inputs: NDArray[np.int64]
    outputs: NDArray[np.int64]
    negatives: NDArray[np.int64]

    @classmethod
    def draw(cls, model: Word2Vec, pairs: _PairFile, spec: TrainSpec) -> _LossSample:
        rng = np.random.default_rng((spec.seed, LOSS))
        if pairs.length <= LOSS_PAIRS:
            packed = pairs.read(0, pairs.length)
        else:
            where = np.sort(rng.integers(pairs.length, size=LOSS_PAIRS)).tolist()
            packed = np.concatenate([pairs.read(i, i + 1) for i in where])
        first, second = (side.astype(np.int64) for side in pairs.unpack(packed))
        # as gensim draws them: by count ** 0.75, over the cumulative table
        drawn = rng.integers(int(model.cum_table[-1]), size=(2 * len(packed), spec.negative))
        return cls(
            inputs=np.concatenate([first, second]),
            outputs=np.concatenate([second, first]),
            negatives=np.searchsorted(model.cum_table, drawn),
        )

    def loss(self, model: Word2Vec) -> float:
        """Mean loss of a pair; a negative that is the pair's own gene is left out, as gensim does."""
        vectors, weights = model.wv.vectors, model.syn1neg
        total = 0.0
        for start in range(0, len(self.inputs), 1024):
            part = slice(start, start + 1024)
            v, own, negatives = vectors[self.inputs[part]], self.outputs[part], self.negatives[part]
            positive = np.einsum("ij,ij->i", v, weights[own], dtype=np.float64)
            negative = np.einsum("ij,ikj->ik", v, weights[negatives], dtype=np.float64)
            total += float(np.logaddexp(0.0, -positive).sum())
            total += float(np.logaddexp(0.0, negative)[negatives != own[:, None]].sum())
        return total / len(self.inputs)


def _checkpoints(model: Word2Vec, corpus: _Corpus, spec: TrainSpec, folder: Folder) -> Checkpoints:
    """Those of a run on the same pairs, of the same vocabulary."""
    counts = np.asarray(model.wv.expandos["count"], np.int64).tolist()
    return Checkpoints(
        folder, spec.select("identity"), gensim.__version__, corpus.length, model.wv.index_to_key, counts
    )


def _save(model: Word2Vec, held: Checkpoints, losses: list[float]) -> None:
    """A checkpoint: vectors, output weights, and the state that gensim seeds its negatives from."""
    _, key, position, has_gauss, gauss = model.random.get_state()
    held.save(
        len(losses),
        losses=np.array(losses),
        vectors=model.wv.vectors,
        weights=model.syn1neg,
        random_key=key,
        random_rest=np.array([position, has_gauss]),
        random_gauss=np.array(gauss),
    )


def _resume(model: Word2Vec, held: Checkpoints) -> list[float]:
    """Puts the newest checkpoint into the model; returns its losses."""
    state = held.newest()
    if state is None:
        return []
    position, has_gauss = state["random_rest"].tolist()
    model.random.set_state(("MT19937", state["random_key"], position, has_gauss, float(state["random_gauss"])))
    model.wv.vectors[:] = state["vectors"]
    model.syn1neg[:] = state["weights"]
    return [float(loss) for loss in state["losses"]]


def _facts(model: Word2Vec, pairs: _PairFile, counts: NDArray[np.int64], *, cells: int) -> dict[str, Any]:
    """What the vocabulary and the down-sampling left out."""
    kept = np.asarray(model.wv.expandos["sample_int"], np.float64) / (2**32 - 1)
    words = np.asarray(model.wv.expandos["count"], np.float64)
    both = 0.0
    for start in range(0, pairs.length, BUCKET_PAIRS):
        first, second = pairs.unpack(pairs.read(start, min(start + BUCKET_PAIRS, pairs.length)))
        both += float((kept[first] * kept[second]).sum())  # no BLAS: its threads change the sum
    return {
        "cells": cells,
        "pairs": int(counts.sum()) // 2,
        "pairs_dropped_by_min_count": int(counts.sum()) // 2 - pairs.length,
        "genes_dropped_by_min_count": int(np.count_nonzero(counts)) - len(words),
        "genes_down_sampled": int(np.count_nonzero(kept < 1.0)),
        "pairs_dropped_by_sample_share": 1.0 - both / pairs.length,
        "genes_in_pairs_dropped_by_sample_share": 1.0 - float((kept * words).sum()) / float(words.sum()),
        "reproducible": model.workers == 1,
    }
