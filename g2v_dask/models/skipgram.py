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
import hashlib
import itertools
import json
import logging
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import gensim
import numpy as np
from gensim.models import Word2Vec
from numpy.typing import NDArray

from g2v_dask.errors import InputError
from g2v_dask.models import base
from g2v_dask.spec import TrainSpec
from g2v_dask.tiles import TileMatrix

BUCKET_PAIRS = 1 << 19
"""Pairs of one bucket, on average, and of one block of a scatter."""
LOSS_PAIRS = 1 << 14
"""Pairs of the fixed sample that the loss is taken on."""
MIN_ALPHA = 0.0001
"""Learning rate at the end: gensim's default, which the published code uses."""
KEPT = 2
"""Checkpoints that stay: the newest, and one before it should the newest be damaged."""
SHUFFLE, LOSS = 0, 1
"""Streams of random numbers drawn from one seed."""


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
    folder: Path,
    progress: base.Progress,
    alive: base.Alive,
    memory_limit_bytes: int | None = None,
) -> base.Trained:
    """Gene vectors from skip-gram with negative sampling.

    Memory per part: ``memory_bytes``. Disk in ``folder``: 12 bytes a cell, then 8 a pair (16 with more than
    65,536 genes), and two checkpoints. The pair files have no name: they vanish with the process.
    Parameters: matrix   counts in how many datasets two genes are a pair; the diagonal is not read.
                folder   checkpoints of an earlier run of the same spec and data are resumed.
                progress counts pairs over all iterations; the note names the iteration and its loss.
    Returns:    genes in ≥ ``min_count`` pairs; loss: mean −log σ(u·v) − Σ log σ(−u'·v), both directions.
    Raises:     InputError if no pair is left, no gene passes min_count, or values are not counts.
                BudgetError if ``memory_limit_bytes`` is too small.
    Source:     Mikolov et al. 2013, equation 4; Du et al. 2019 (Gene2Vec).
    """
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        raw, file, shuffled = (stack.enter_context(_scratch(folder)) for _ in range(3))
        counts, found = _spill(matrix, spec.min_datasets, raw)
        order = _vocabulary(matrix, counts, spec)
        base.check_budget("skipgram", memory_bytes(len(order), 2 * found, spec.components), memory_limit_bytes)
        names = [str(matrix.genes[i]) for i in order]
        model = _model(names, counts[order], spec)
        pairs = _PairFile(file=file, bits=8 if len(names) <= 1 << 8 * 2 else 16)
        _expand(raw, order, len(counts), pairs)
        raw.truncate(0)
        if not pairs.length:
            msg = f"train: no pair has two genes in at least min-count {spec.min_count} pairs; lower min-count"
            raise InputError(msg)
        corpus = _Corpus(
            names=names, pairs=pairs, shuffled=_PairFile(file=shuffled, bits=pairs.bits), seed=spec.seed
        )
        losses = _run(model, corpus, spec, folder=folder, progress=progress, alive=alive)
        facts = _facts(model, pairs, counts, cells=found)
    vectors = np.array(model.wv.vectors, dtype=np.float32)
    return base.Trained(genes=np.array(names, dtype=np.str_), vectors=vectors, losses=losses, facts=facts)
