"""The gene-gene interaction predictor network (GGIPNN) of Du et al. 2019 (BMC Genomics 20:82), in PyTorch.

Two genes' vectors, side by side, pass 100, 100 and 10 rectified units, the first two with dropout 0.5, and a softmax
of two. What the paper leaves open is as in the published code (jingcheng-du/Gene2vec): Adam with rate 0.001, batches
of 128, weights by He et al. 2015 (a normal, cut at two deviations), biases 0.1, random vectors uniform in [-1, 1].

Three things differ from that code. It makes one pass; here training ends when the loss on the validation pairs has not
fallen for ten looks (a look is every 200 steps, as there), and the weights of the lowest loss are taken: the paper's
early stop. It drops out on the third layer too; the paper does not. It takes the vectors as they are; here they are
divided by one number, so that they are as large as random ones. Lengths and angles stay in proportion, and the figure
no longer hangs on a trainer's unit: an SVD's vectors made 160 times as large gave a test AUC of 0.50 instead of 0.62.

PyTorch is an optional extra, so it is loaded when a network is trained; scores are made by NumPy. All chance comes from
one generator of NumPy, and one thread works: the same seed gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, ndtr, ndtri

from g2v_dask.errors import SpecError
from g2v_dask.evaluation.pairlists import Labels, Pairs, Split

MODES = ("frozen", "trainable", "random frozen", "random trainable")
HIDDEN = (100, 100, 10)
DROPPED = 2  # hidden layers with dropout, the first ones
KEPT = 0.5  # share of units that dropout leaves; a bit each
RATE, BATCH, BIAS = 1e-3, 128, 0.1
LOOK = 200  # steps from one look at the validation pairs to the next
PATIENCE = 10  # looks without a lower loss
MOST = 100_000  # steps; 49 epochs of the published list
CUT = 2.0  # deviations at which TensorFlow's initial weights are cut; their variance is made 2.6 / inputs before

Vectors = NDArray[np.float32]
Layers = tuple[tuple[Vectors, Vectors], ...]
"""Weights (inputs, outputs) and biases (outputs,), first layer first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A trained network."""

    table: Vectors
    """(genes, components)"""
    layers: Layers
    steps: int
    """After which its weights were taken."""
    loss: float
    """Mean cross-entropy of the validation pairs, in nats."""

    def score(self, pairs: Pairs) -> NDArray[np.float32]:
        """(pairs,) log odds: they rank as the softmax does, and do not tie where that is rounded to 1."""
        outputs = _outputs(self.table, self.layers, pairs)
        return np.asarray(outputs[:, 1] - outputs[:, 0])


def load() -> Any:
    """PyTorch, on one thread.

    Raises: SpecError if it is not installed.
    """
    try:
        import torch  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        msg = "the model ggipnn needs PyTorch: pip install 'g2v_dask[torch]'; or leave it out: --models cosine,heads"
        raise SpecError(msg) from error
    torch.set_num_threads(1)
    return torch


def fit(
    vectors: Vectors,
    train: Split,
    valid: Split,
    *,
    mode: str,
    seed: int,
    progress: Callable[[int, int, str], None],
) -> Network:
    """Trains on the training pairs; the validation pairs say when to stop.

    Memory: 28 bytes a gene and component where vectors are trained, else 8; 10 KB a validation pair.
    Parameters: vectors   (genes, components); for random modes only its shape counts. Size: of the training genes.
                mode      of ``MODES``: whose vectors, and whether they are trained with the rest. Adam then moves all
                          training genes at each step, as TensorFlow's does; genes of other splits stay as they began.
    Raises:     SpecError if PyTorch is not installed.
    """
    torch = load()
    random = np.random.default_rng([seed, MODES.index(mode)])
    genes, local = np.unique(train.pairs, return_inverse=True)
    if mode.startswith("random"):
        start = random.uniform(-1, 1, vectors.shape).astype(np.float32)
    else:
        start = _as_large_as_random(vectors, genes)
    table = torch.from_numpy(start[genes])  # a copy, of the training genes alone
    table.requires_grad_(mode.endswith("trainable"))
    layers = [_tensors(torch, *layer) for layer in _initial(2 * vectors.shape[1], random)]
    trained = [p for layer in layers for p in layer] + ([table] if table.requires_grad else [])
    adam = torch.optim.Adam(trained, lr=RATE, fused=True)
    pairs, labels = torch.from_numpy(local.reshape(-1, 2)), torch.from_numpy(train.labels.astype(np.int64))
    best: Network | None = None
    for step, rows in enumerate(_batches(len(labels), random), start=1):
        batch = torch.from_numpy(rows)
        inputs = table.index_select(0, pairs.index_select(0, batch).view(-1)).view(len(rows), -1)
        outputs = _pass(torch, inputs, layers, random)
        loss = torch.nn.functional.cross_entropy(outputs, labels.index_select(0, batch))
        adam.zero_grad()
        loss.backward()
        adam.step()
        if step % LOOK and step < MOST:
            continue
        now = tuple((w.detach().numpy().copy(), b.detach().numpy().copy()) for w, b in layers)
        place = start
        if table.requires_grad:
            place = start.copy()
            place[genes] = table.detach().numpy()
        held = cross_entropy(_outputs(place, now, valid.pairs), valid.labels)
        if best is None or held < best.loss:
            best = Network(table=place, layers=now, steps=step, loss=held)
        progress(step, MOST, f"step {step:,}, validation loss {held:.4f}")
        if step >= best.steps + PATIENCE * LOOK or step >= MOST:
            break
    assert best is not None  # the last step looks
    return best


def _as_large_as_random(vectors: Vectors, genes: NDArray[np.int32]) -> Vectors:
    """Divided by one number: the mean square over some genes becomes that of uniform numbers in [-1, 1], 1 / 3."""
    size = np.sqrt(3 * np.mean(np.square(vectors[genes], dtype=np.float64)))
    return (vectors / (size if size > 0 else 1.0)).astype(np.float32)


def _initial(inputs: int, random: np.random.Generator) -> Layers:
    """Weights of a normal that is cut at two deviations, as TensorFlow's variance_scaling_initializer."""
    sizes = (inputs, *HIDDEN, 2)
    made = []
    for before, after in zip(sizes[:-1], sizes[1:], strict=True):
        cut = ndtri(random.uniform(ndtr(-CUT), ndtr(CUT), (before, after)))
        weights = (np.sqrt(2.6 / before) * cut).astype(np.float32)
        made.append((weights, np.full(after, BIAS, dtype=np.float32)))
    return tuple(made)


def _tensors(torch: Any, weights: Vectors, biases: Vectors) -> tuple[Any, Any]:
    return torch.from_numpy(weights).requires_grad_(), torch.from_numpy(biases).requires_grad_()


def _batches(pairs: int, random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Rows of batch after batch; all pairs in a new order in each epoch, whose last batch may be short."""
    while True:
        order = random.permutation(pairs)
        for start in range(0, pairs, BATCH):
            yield order[start : start + BATCH]


def _pass(torch: Any, inputs: Any, layers: list[tuple[Any, Any]], random: np.random.Generator) -> Any:
    """(batch, 2) outputs before the softmax, with dropout."""
    held = inputs
    for number, (weights, biases) in enumerate(layers):
        held = torch.addmm(biases, held, weights)
        if number < len(HIDDEN):
            held = torch.relu(held)
        if number < DROPPED:
            held = held * torch.from_numpy(_coins(held.shape, random))
    return held


def _coins(shape: tuple[int, int], random: np.random.Generator) -> NDArray[np.float32]:
    """0 or 1 / KEPT: what is left is made larger, so that nothing changes on average."""
    count = shape[0] * shape[1]
    bits = np.unpackbits(np.frombuffer(random.bytes(-(-count // 8)), dtype=np.uint8), count=count)
    return bits.reshape(shape).astype(np.float32) / np.float32(KEPT)


def _outputs(table: Vectors, layers: Layers, pairs: Pairs) -> Vectors:
    """(pairs, 2) outputs before the softmax, without dropout."""
    held = table[pairs].reshape(len(pairs), -1)
    for number, (weights, biases) in enumerate(layers):
        held = held @ weights + biases
        if number < len(HIDDEN):
            np.maximum(held, 0, out=held)
    return held


def cross_entropy(outputs: Vectors, labels: Labels) -> float:
    """Mean over pairs, in nats."""
    logs = log_softmax(outputs.astype(np.float64), axis=1)
    return float(-logs[np.arange(len(labels)), labels].mean())
