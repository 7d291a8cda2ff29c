"""Negatives with the positives' degrees: every rule against a naive loop; the published list."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from g2v_dask.errors import InputError
from g2v_dask.evaluation import degrees, matched, pairlists
from g2v_dask.evaluation.matched import Matched
from g2v_dask.evaluation.pairlists import Split
from g2v_dask.ontology import Ontology
from tests.data_paths import data
from tests.evaluation.subjects import table


def split_of(positives: list[tuple[int, int]], negatives: list[tuple[int, int]]) -> Split:
    pairs = np.array(positives + negatives, dtype=np.int32)
    labels = np.repeat(np.array([1, 0], dtype=np.int8), [len(positives), len(negatives)])
    return Split(pairs=pairs, labels=labels, lines=np.arange(len(pairs), dtype=np.int32))


def network(genes: int = 150, seed: int = 0) -> tuple[Split, np.ndarray, list[list[int]]]:
    """A list as the published one: hubs, negatives with genes of no positive; degrees, and up to 3 of 40 terms."""
    random = np.random.default_rng(seed)
    pull = random.pareto(2.0, size=genes) + 0.2
    first, second = np.triu_indices(genes, 1)
    there = random.random(len(first)) < np.minimum(0.5, 0.06 * pull[first] * pull[second])
    positives = list(zip(first[there].tolist(), second[there].tolist(), strict=True))
    negatives = [(int(random.integers(0, genes)), int(random.integers(genes, genes + 60))) for _ in positives]
    negatives += [(positives[0][1], positives[0][0])]  # with both labels
    degree = np.bincount(np.array(positives).ravel(), minlength=genes + 60).astype(float)
    terms = [sorted(set(random.integers(0, 40, size=random.integers(0, 4)).tolist())) for _ in range(genes + 60)]
    return split_of(positives + positives[:3], negatives), degree, terms


@pytest.fixture(scope="module")
def toy() -> tuple[Split, np.ndarray, list[list[int]], Matched]:
    split, degree, terms = network()
    return split, degree, terms, matched.draw("train", split, degree=degree, terms=terms, seed=(1, 0))


def halves(found: Matched) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Positives and negatives, smaller gene first."""
    rows = [tuple(sorted(pair)) for pair in found.split.pairs.tolist()]
    return [r for r, y in zip(rows, found.split.labels, strict=True) if y], [
        r for r, y in zip(rows, found.split.labels, strict=True) if not y
    ]


def test_draw__negatives_are_what_they_must_be(toy) -> None:
    split, _, terms, found = toy
    listed = {frozenset(p) for p in split.pairs.tolist()}
    true = {tuple(sorted(p)) for p, y in zip(split.pairs.tolist(), split.labels, strict=True) if y}
    genes = {g for pair in true for g in pair}
    allowed = {
        (a, b)
        for a, b in combinations(sorted(genes), 2)
        if frozenset((a, b)) not in listed and not set(terms[a]) & set(terms[b])
    }
    positives, negatives = halves(found)
    assert found.candidates == len(allowed)
    assert set(negatives) <= allowed
    assert set(positives) <= true
    assert len(set(negatives)) == len(negatives) == len(set(positives)) == len(positives) == found.kept
    assert found.positives == len(true)
    assert found.kept > 0.6 * len(true)


def test_draw__degrees_are_matched_jointly_in_bins(toy) -> None:
    split, degree, _, found = toy
    true = sorted({tuple(sorted(p)) for p, y in zip(split.pairs.tolist(), split.labels, strict=True) if y})
    ends = sorted(degree[gene] for pair in true for gene in pair)
    edges = sorted({ends[-(-len(ends) * k // found.bins) - 1] for k in range(1, found.bins)})
    assert found.bins >= 20
    assert len(edges) > 8  # degrees are few here

    def cells(pairs: list[tuple[int, int]]) -> Counter[tuple[int, ...]]:
        return Counter(tuple(sorted(bisect_left(edges, degree[gene]) for gene in pair)) for pair in pairs)

    positives, negatives = (cells(some) for some in halves(found))
    assert positives == negatives
    assert all(count <= cells(true)[cell] for cell, count in positives.items())
    for name, value in found.figures.items():
        values = degrees.figures(np.log1p(degree), found.split.pairs)[name]
        assert value == pytest.approx(roc_auc_score(found.split.labels, values))
        assert value == pytest.approx(0.5, abs=0.02)


def test_draw__would_not_be_matched_by_chance(toy) -> None:
    """What the proof refuses: the list's own negatives, and pairs of positive genes drawn evenly."""
    split, degree, _, _ = toy
    assert matched.proof(degree, split.pairs, split.labels)["sum"] > 0.9
    genes = np.unique(split.pairs[split.labels == 1])
    random = np.random.default_rng(0)
    positives = split.pairs[split.labels == 1]
    pairs = np.concatenate([positives, random.choice(genes, size=positives.shape).astype(np.int32)])
    labels = np.repeat(np.array([1, 0], dtype=np.int8), len(positives))
    assert matched.proof(degree, pairs, labels)["sum"] > 0.6


def test_draw__order_tells_nothing(toy) -> None:
    _, _, _, found = toy
    up = found.split.pairs[:, 0] < found.split.pairs[:, 1]
    spread = 3 / np.sqrt(found.kept)
    assert [up[found.split.labels == y].mean() for y in (0, 1)] == pytest.approx([0.5, 0.5], abs=spread)
    assert roc_auc_score(found.split.labels, found.split.lines) == pytest.approx(0.5, abs=spread)


def test_draw__is_the_seed_s(toy) -> None:
    split, degree, terms, found = toy
    same = matched.draw("train", split, degree=degree, terms=terms, seed=(1, 0))
    other = matched.draw("train", split, degree=degree, terms=terms, seed=(2, 0))
    assert (same.split.pairs == found.split.pairs).all()
    assert (same.split.labels == found.split.labels).all()
    assert set(halves(other)[1]) != set(halves(found)[1])


def test_draw__nothing_to_draw() -> None:
    split = split_of([(0, 1), (1, 2), (0, 2)], [(3, 4)])
    with pytest.raises(InputError, match="the 3 positive genes of test leave no pair for a negative"):
        matched.draw("test", split, degree=np.array([2.0, 2, 2, 0, 0]), terms=[[]] * 5, seed=(1,))


def test_draw__what_cannot_be_matched_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bins that are too wide: the proof finds out."""
    split, degree, terms = network()
    monkeypatch.setattr(matched, "BINS", (2,))
    with pytest.raises(InputError, match=r"positives of train cannot be matched: AUC of log degree sum 0\.\d+"):
        matched.draw("train", split, degree=degree, terms=terms, seed=(1, 0))


# -- as published ---------------------------------------------------------------------------------------------


def test_published__valid_and_test_within_002() -> None:
    """Degrees counted here once more, over pairs and by name."""
    listed = pairlists.read(sorted(data("gene2vec").iterdir()), table())
    terms = Ontology.read(sorted(data("genes").iterdir()), table()).terms_of()
    number = {term: i for i, term in enumerate(sorted(frozenset().union(*terms.values())))}
    carried = [[number[t] for t in sorted(terms.get(gene, ()))] for gene in listed.genes.tolist()]
    degree = degrees.positives_of_genes(listed)
    counted: Counter[str] = Counter()
    for split in listed.splits.values():
        rows = listed.genes[split.pairs[split.labels == 1]].tolist()
        counted.update(gene for pair in {frozenset(row) for row in rows} for gene in pair)
    for name, kept in (("valid", 0.90), ("test", 0.93)):
        found = matched.draw(name, listed.splits[name], degree=degree, terms=carried, seed=(1,))
        assert found.bins >= 20
        assert found.kept / found.positives > kept
        pairs, labels = listed.genes[found.split.pairs], found.split.labels
        logs = np.log1p([[counted[a], counted[b]] for a, b in pairs.tolist()])
        made = (logs.sum(axis=1), logs.min(axis=1), logs.prod(axis=1), np.abs(logs[:, 0] - logs[:, 1]))
        assert [roc_auc_score(labels, values) for values in made] == pytest.approx([0.5] * 4, abs=0.02)
        annotated = [terms.get(a, frozenset()) & terms.get(b, frozenset()) for a, b in pairs[labels == 0].tolist()]
        assert not any(annotated)
        there = {frozenset(p) for p in listed.genes[listed.splits[name].pairs].tolist()}
        assert not there & {frozenset(p) for p in pairs[labels == 0].tolist()}
