"""The network of the paper: its form against PyTorch's own layers, its start, its end, and what it may not see."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from g2v_dask.errors import SpecError
from g2v_dask.evaluation import ggipnn
from g2v_dask.evaluation.ggipnn import MODES, Network
from g2v_dask.evaluation.pairlists import Split
from tests.evaluation.subjects import alone

torch = pytest.importorskip("torch")

GENES, COMPONENTS = 60, 6
LOOK = 6  # steps; here an epoch


def made(seed: int = 0) -> tuple[np.ndarray, Split, Split]:
    """Vectors, and pairs of genes 0 to 39 and of 40 to 59 that interact if their first components agree in sign."""
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(GENES, COMPONENTS)).astype(np.float32)

    def split(genes: range, pairs: int) -> Split:
        chosen = np.array([random.choice(genes, 2, replace=False) for _ in range(pairs)], dtype=np.int32)
        labels = (vectors[chosen, 0].prod(axis=1) > 0).astype(np.int8)
        return Split(pairs=chosen, labels=labels, lines=np.arange(pairs, dtype=np.int32))

    return vectors, split(range(40), 700), split(range(40, 60), 100)


def fitted(mode: str, *, seed: int = 1, vectors: np.ndarray | None = None, looks: list | None = None) -> Network:
    given, train, valid = made()
    follow = alone if looks is None else lambda done, total, note: looks.append((done, note))
    return ggipnn.fit(given if vectors is None else vectors, train, valid, mode=mode, seed=seed, progress=follow)


@pytest.fixture(scope="module", autouse=True)
def _strict():
    """An operation of which PyTorch cannot promise the same bits is an error; and training ends soon."""
    torch.use_deterministic_algorithms(True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ggipnn, "LOOK", LOOK)
        yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(scope="module")
def frozen() -> Network:
    return fitted("frozen")


def test_network__has_the_layers_of_the_paper(frozen: Network) -> None:
    assert [w.shape for w, _ in frozen.layers] == [(2 * COMPONENTS, 100), (100, 100), (100, 10), (10, 2)]
    layers = []
    for weights, biases in frozen.layers:
        layer = torch.nn.Linear(*weights.shape)
        layer.weight.data, layer.bias.data = torch.from_numpy(weights.T), torch.from_numpy(biases)
        layers += [layer, torch.nn.ReLU()]
    oracle = torch.nn.Sequential(*layers[:-1])
    _, _, valid = made()
    with torch.no_grad():
        outputs = oracle(torch.from_numpy(frozen.table[valid.pairs].reshape(len(valid.pairs), -1)))
        chance = torch.softmax(outputs, dim=1)[:, 1].numpy()
        loss = torch.nn.functional.cross_entropy(outputs, torch.from_numpy(valid.labels.astype(np.int64))).item()
    assert 1 / (1 + np.exp(-frozen.score(valid.pairs))) == pytest.approx(chance, abs=1e-5)
    assert frozen.loss == pytest.approx(loss, abs=1e-5)


def test_pass__is_that_of_scoring_but_for_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same coins once more: they fall on what leaves the first two layers, and on nothing else."""
    layers = ggipnn._initial(2 * COMPONENTS, np.random.default_rng(5))
    tensors = [(torch.from_numpy(w), torch.from_numpy(b)) for w, b in layers]
    vectors, train, _ = made()
    held = vectors[train.pairs].reshape(len(train.pairs), -1)
    inputs = torch.from_numpy(held)
    dropped = ggipnn._pass(torch, inputs, tensors, np.random.default_rng(6)).numpy()
    coins = np.random.default_rng(6)
    for number, (weights, biases) in enumerate(layers):
        held = held @ weights + biases
        held = held if number == 3 else np.maximum(held, 0)
        held = held * ggipnn._coins(held.shape, coins) if number < 2 else held
    assert dropped == pytest.approx(held, abs=1e-4)
    plain = ggipnn._outputs(vectors, layers, train.pairs)
    assert np.abs(dropped - plain).max() > 0.1
    monkeypatch.setattr(ggipnn, "DROPPED", 0)
    assert ggipnn._pass(torch, inputs, tensors, coins).numpy() == pytest.approx(plain, abs=1e-5)


def test_coins__half_are_dropped_and_the_rest_is_doubled() -> None:
    coins = ggipnn._coins((128, 100), np.random.default_rng(0))
    assert (coins.shape, coins.dtype) == ((128, 100), np.float32)
    assert set(coins.ravel().tolist()) == {0.0, 2.0}
    assert coins.mean() == pytest.approx(1, abs=0.05)


def test_initial__is_that_of_the_published_code() -> None:
    (first, biases), *_ = ggipnn._initial(4000, np.random.default_rng(0))
    assert (biases == np.float32(0.1)).all()
    assert np.abs(first).max() <= 2 * np.sqrt(2.6 / 4000)  # a normal of variance 2.6 / inputs, cut at two deviations
    assert first.var() == pytest.approx(2 / 4000, rel=0.02)  # so this is that of He et al.


def test_fit__ends_after_ten_looks_without_a_lower_loss_and_takes_the_lowest() -> None:
    looks: list = []
    network = fitted("frozen", looks=looks)
    losses = [float(note.rsplit(" ", 1)[1]) for _, note in looks]
    steps = [done for done, _ in looks]
    assert steps == list(range(LOOK, LOOK * len(steps) + 1, LOOK))
    assert steps[int(np.argmin(losses))] == network.steps
    assert steps[-1] == network.steps + ggipnn.PATIENCE * LOOK
    assert min(losses) == pytest.approx(network.loss, abs=1e-4)


def test_fit__ends_in_any_case(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ggipnn, "MOST", 20)
    looks: list = []
    assert fitted("frozen", looks=looks).steps in (6, 12, 18, 20)
    assert [done for done, _ in looks] == [6, 12, 18, 20]


def test_fit__learns_what_is_there_of_genes_it_has_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether two numbers agree in sign is no sum of what each gene brings. It takes as many steps in a short list."""
    monkeypatch.setattr(ggipnn, "LOOK", 60)
    vectors, train, valid = made()
    two = np.ascontiguousarray(vectors[:, :2])
    network = ggipnn.fit(two, train, valid, mode="frozen", seed=1, progress=alone)
    assert roc_auc_score(valid.labels, network.score(valid.pairs)) > 0.9
    shuffled = np.random.default_rng(3).permutation(two)
    other = ggipnn.fit(shuffled, train, valid, mode="frozen", seed=1, progress=alone)
    assert roc_auc_score(valid.labels, other.score(valid.pairs)) < 0.7


@pytest.mark.parametrize("mode", MODES)
def test_fit__trains_vectors_of_training_genes_or_none(mode: str) -> None:
    vectors, train, _ = made()
    size = np.sqrt(3 * np.square(vectors[np.unique(train.pairs)], dtype=np.float64).mean())
    network, other = fitted(mode), fitted(mode, seed=2)
    if not mode.startswith("random"):
        assert (network.table[40:] == (vectors / size).astype(np.float32)[40:]).all()
        moved = (network.table[:40] != (vectors / size).astype(np.float32)[:40]).any(axis=1)
        assert moved.all() == moved.any() == (mode == "trainable")
    else:
        assert not np.array_equal(network.table, other.table)
        assert network.table[40:].min() >= -1
        assert network.table[40:].max() <= 1
        assert (network.table == fitted(mode, vectors=np.zeros_like(vectors)).table).all()  # whatever the embedding is


@pytest.mark.parametrize("mode", ["frozen", "trainable"])
def test_fit__the_same_seed_gives_the_same_bits(mode: str) -> None:
    pairs = made()[2].pairs
    one, same, other = fitted(mode).score(pairs), fitted(mode).score(pairs), fitted(mode, seed=2).score(pairs)
    assert (one == same).all()
    assert (one != other).any()


def test_fit__size_of_vectors_does_not_matter(frozen: Network) -> None:
    vectors, _, valid = made()
    large = fitted("frozen", vectors=vectors * np.float32(256))
    assert (large.score(valid.pairs) == frozen.score(valid.pairs)).all()
    assert np.isfinite(fitted("frozen", vectors=np.zeros_like(vectors)).score(valid.pairs)).all()


def test_fit__ends_when_nobody_wants_it_any_more() -> None:
    class EndedError(Exception):
        pass

    def ended(done: int, total: int, note: str) -> None:
        raise EndedError

    vectors, train, valid = made()
    with pytest.raises(EndedError):
        ggipnn.fit(vectors, train, valid, mode="frozen", seed=1, progress=ended)


def test_load__without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SpecError, match=r"needs PyTorch: pip install 'g2v_dask\[torch\]'; or leave it out"):
        ggipnn.load()
