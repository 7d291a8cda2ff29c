"""Pair analogies: all that is found by tiles, by stored norms and by hyperbolas is what a naive search finds."""

from __future__ import annotations

from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from g2v_dask import analogy
from g2v_dask.answers import Analogies
from g2v_dask.errors import InputError
from g2v_dask.questions import METRICS, PairSpec
from g2v_dask.search import scan
from g2v_dask.search import space as spaces
from tests import oracles
from tests.search import words

MODEST = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)


def small_tiles(patch: pytest.MonkeyPatch, tile: int, ends: int = 2) -> None:
    """So that a few genes are several tiles, and the start does not see all of them."""
    patch.setattr(spaces, "TILE", tile)
    patch.setattr(spaces, "BATCH", 2)
    patch.setattr(scan, "BATCH", 2)
    patch.setattr(scan, "FIRST_ENDS", ends)
    patch.setattr(scan, "BAND_ROWS", tile)
    patch.setattr(scan, "BAND_COLUMNS", tile + 3)


def scored(found: Analogies) -> tuple[Any, Any]:
    """Scores, larger is better, and places."""
    sign = -1 if found.metric == "l2" else 1
    return np.array([sign * f.score for f in found.found]), words.places([(f.c, f.d) for f in found.found])


@MODEST
@given(
    kind=st.sampled_from(words.KINDS),
    n=st.integers(4, 60),
    components=st.integers(1, 12),
    seed=st.integers(0, 9999),
    duplicates=st.integers(0, 6),
    zeros=st.integers(0, 3),
    metric=st.sampled_from(METRICS),
    sums=st.booleans(),
    unit=st.booleans(),
    ceiling=st.sampled_from([None, None, 0.8, 0.0, 1.0]),
    min_difference=st.sampled_from([None, None, 0.1, 0.6, 1.0]),
    max_per_gene=st.sampled_from([None, None, 1, 2]),
    k=st.sampled_from([1, 2, 5, 10, 40, 5000]),
    tile=st.sampled_from([1, 7, 16, 512]),
    threads=st.integers(1, 2),
    norms=st.booleans(),
)
def test_pairs__equal_naive(
    kind: str,
    n: int,
    components: int,
    seed: int,
    duplicates: int,
    zeros: int,
    metric: str,
    sums: bool,
    unit: bool,
    ceiling: float | None,
    min_difference: float | None,
    max_per_gene: int | None,
    k: int,
    tile: int,
    threads: int,
    norms: bool,
) -> None:
    unit = unit and kind != "clustered"  # where unit vectors are 1e-8 apart, how they were rounded shows in scores
    asked = words.stored(words.vectors(kind, n, components, seed, duplicates=duplicates, zeros=zeros), seed)
    x = words.in_order(asked)
    takes_part = np.flatnonzero(x.any(axis=1)) if unit else np.arange(n)
    if len(takes_part) < 4:
        return
    some = np.random.default_rng(seed).choice(takes_part, (3, 2))
    some = some[some[:, 0] != some[:, 1]]
    if unit:
        x[takes_part] = oracles.unit(x[takes_part])
    size = np.linalg.norm(x[some[:, 0]] + (1 if sums else -1) * x[some[:, 1]], axis=1)
    some = some[size > oracles.NEAR * np.linalg.norm(x[some], axis=2).max(axis=1)]
    spec = PairSpec(
        metric=metric,
        sums=sums,
        unit=unit,
        ceiling=ceiling,
        min_difference=min_difference,
        max_per_gene=max_per_gene,
    )
    with pytest.MonkeyPatch.context() as patch:
        small_tiles(patch, tile)
        made, _ = analogy.space_of(asked, spec, sums=sums, threads=threads)
        edge = max(1, n // 3)
        bands = [made.inverses(i, min(i + edge, len(made)))[0] for i in range(0, len(made), edge)]
        stored = bands if norms and metric == "cosine" and not sums else []
        questions = [(f"w{a:03d}", f"w{b:03d}") for a, b in some.tolist()]
        found = analogy.pairs(asked, questions, k, spec, space=made, inverses=stored)
    assert len(found) == len(some)
    live = x[takes_part]
    shortest = oracles.quantile(live, min_difference, sums=sums)
    for one, (a, b) in zip(found, some, strict=True):
        taken = [int(np.searchsorted(takes_part, p)) for p in (a, b)]
        every = oracles.pairs(live, x[[a, b]], taken, metric=metric, sums=sums, ceiling=ceiling, shortest=shortest)
        every = oracles.Every(scores=every.scores, genes=takes_part[every.genes])
        step = oracles.quantum(x[a] + x[b] if sums else x[a] - x[b], metric)
        scores, genes = scored(one)
        if max_per_gene is None:
            oracles.check(scores, genes, every, k, step)
        else:
            oracles.check_few(scores, genes, every.few(k, max_per_gene), step)
        assert any("no more than" in note for note in one.notes) == (len(one.found) < k)


@pytest.mark.parametrize("sums", [False, True])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_tiles__are_scanned_and_change_nothing(monkeypatch: pytest.MonkeyPatch, metric: str, sums: bool) -> None:
    """With a start that sees four genes, tiles of any size, one or two threads: the same numbers to the last bit."""
    asked = words.stored(words.vectors("whole", 60, 6, 1))
    questions = [("w001", "w002"), ("w030", "w007"), ("w059", "w000")]
    spec = PairSpec(metric=metric, sums=sums)
    whole = analogy.pairs(asked, questions, 20, spec)
    tiles = 0
    real = scan.differences.scan_tiles

    def counted(*arguments: Any) -> None:
        nonlocal tiles
        tiles += len(arguments[3])
        real(*arguments)

    monkeypatch.setattr(scan.differences, "scan_tiles", counted)
    for tile in (1, 13, 64):
        for threads in (1, 2):
            small_tiles(monkeypatch, tile)
            assert analogy.pairs(asked, questions, 20, spec, threads=threads) == whole
    assert tiles == 2 * (60 * 61 // 2 + 15 + 1)


def test_inverses__are_never_too_small_and_count_duplicates() -> None:
    for kind in words.KINDS:
        x = words.vectors(kind, 50, 5, 3, duplicates=6, zeros=3)
        made = words.space(x)
        band, found = made.inverses(0, 50)
        wide = x.astype(np.float64)
        true = np.linalg.norm(wide[:, None] - wide, axis=2)
        same = np.triu(true <= oracles.NEAR * np.maximum.outer(*[np.linalg.norm(wide, axis=1)] * 2), 1)
        assert found == made.duplicates == same.sum()
        upper = np.triu(~same, 1)
        assert not band[~upper].any()
        assert (band[upper] * true[upper] >= 1 - 2e-7).all()
        assert (band[upper] * true[upper] <= 1 + 1e-3).all()


def test_inverses__of_zeros_at_the_centre() -> None:
    """Both vectors lie where the mean is: no length to divide by."""
    x = np.array([[1, 2], [-1, -2], [0, 0], [0, 0], [3, 0], [-3, 0]], dtype=np.float32)
    band, found = words.space(x).inverses(0, 6)
    assert found == 1
    assert np.isfinite(band).all()
    assert band[2, 3] == 0


def test_duplicates__of_sums_are_those_that_add_up_to_nothing() -> None:
    x = np.array([[1, 2], [-1, -2], [1, 2], [0, 0], [0, 0], [5, 5]], dtype=np.float32)
    assert words.space(x).duplicates == 2
    assert words.space(x, sums=True).duplicates == 3


@pytest.mark.parametrize("limit", [0, 1 << 22])
def test_duplicates__folded_or_not(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(spaces.Space._candidates, "__defaults__", (limit,))
    x = np.repeat(words.vectors("normal", 30, 4, 0), 3, axis=0)
    assert words.space(x).duplicates == 90


def test_quantile__what_is_as_long_as_it_counts() -> None:
    """Lengths of √2 only: none is under any quantile."""
    asked = words.stored(np.eye(7, dtype=np.float32))
    found = analogy.pairs(asked, [("w000", "w001")], 100, PairSpec(min_difference=0.5))[0]
    assert len(found.found) == 5 * 4


def test_lengths__any_scale() -> None:
    x = words.vectors("normal", 40, 8, 5)
    asked = [words.stored(x * np.float32(factor)) for factor in (2.0**-30, 1, 2.0**30)]
    found = [analogy.pairs(one, [("w003", "w004")], 30, PairSpec())[0] for one in asked]
    assert found[0].found == found[1].found == found[2].found


def test_candidates__the_asked_genes_need_not_be_among_them(tmp_path: Any) -> None:
    asked = words.stored(words.vectors("normal", 40, 8, 6))
    x = words.in_order(asked)
    file = tmp_path / "genes.txt"
    chosen = [2, 3, 5, 7, 11, 13, 17, 19]
    file.write_text("# primes\n" + "".join(f"w{i:03d}\n" for i in chosen) + "unheard\n\n")
    for a, b in ((0, 1), (2, 3), (2, 4)):
        one = analogy.pairs(asked, [(f"w{a:03d}", f"w{b:03d}")], 20, PairSpec(genes=str(file), min_difference=0.2))[0]
        taken = [chosen.index(g) if g in chosen else -1 for g in (a, b)]
        every = oracles.pairs(x[chosen], x[[a, b]], taken, shortest=oracles.quantile(x[chosen], 0.2))
        scores, genes = scored(one)
        oracles.check(scores, genes, oracles.Every(scores=every.scores, genes=np.array(chosen)[every.genes]), 20)


def test_pairs__no_question_no_answer() -> None:
    assert analogy.pairs(words.stored(words.vectors("normal", 9, 3, 0)), [], 5, PairSpec()) == []


def test_pairs__no_direction() -> None:
    x = words.vectors("normal", 9, 3, 0)
    x[1], x[2], x[3] = x[0] * np.float32(1 + 1e-7), -x[0], 0
    asked = words.stored(x)
    first, second, third, fourth = asked.genes[:4].tolist()
    for unit in (False, True):
        with pytest.raises(InputError, match=r"nearly\) the same vector"):
            analogy.pairs(asked, [(first, second)], 5, PairSpec(unit=unit))
        with pytest.raises(InputError, match=r"add up to \(nearly\) nothing"):
            analogy.pairs(asked, [(first, third)], 5, PairSpec(unit=unit, sums=True))
    with pytest.raises(InputError, match=f"vector of {fourth} in e is zero"):
        analogy.pairs(asked, [(first, fourth)], 5, PairSpec(unit=True))


# -- against FAISS ------------------------------------------------------------------------------------------


def unit_differences(x: Any) -> tuple[Any, Any]:
    """All i < j: (i, j), and float32 differences of length 1."""
    genes = np.stack(np.triu_indices(len(x), 1), axis=1)
    gaps = x[genes[:, 0]] - x[genes[:, 1]]
    return genes, gaps / np.linalg.norm(gaps, axis=1, keepdims=True)


def test_pairs__the_same_sets_as_faiss_at_a_thousand() -> None:
    x = words.vectors("normal", 1000, 32, 11)
    asked = words.stored(x)
    x = x[np.argsort(asked.genes)]
    genes, gaps = unit_differences(x)
    index = faiss.IndexFlatIP(32)
    index.add(gaps)
    some = [(0, 1), (17, 400), (999, 3)]
    questions = [(f"w{a:03d}", f"w{b:03d}") for a, b in some]
    for (a, b), one in zip(some, analogy.pairs(asked, questions, 20, PairSpec()), strict=True):
        q = ((x[a] - x[b]) / np.linalg.norm(x[a] - x[b]))[None]
        both = []
        for sign in (1, -1):
            values, rows = index.search(sign * q, 3000)  # a fraction of a per cent holds a or b
            both += [(float(v), *genes[r][::sign].tolist()) for v, r in zip(values[0], rows[0], strict=True)]
        both = sorted((x for x in both if not {a, b} & set(x[1:])), reverse=True)
        assert both[19][0] - both[20][0] > 1e-6  # no tie where the list ends
        assert {(c, d) for _, c, d in both[:20]} == {tuple(p) for p in scored(one)[1].tolist()}


def test_pairs__merged_by_score_where_ranks_go_wrong() -> None:
    """The seed stores i < j, searches q and -q, and takes the two lists in turn, rank by rank.

    Here all good answers are pairs c > d: half of what it shows points the other way.
    """
    random = np.random.default_rng(2)
    step = np.zeros(16)
    step[0] = 3
    base = random.normal(size=(20, 16))
    # the second twenty are the first twenty, a step further: x_(20 + i) - x_i is the step
    x = np.concatenate([base, base + step + 0.05 * random.normal(size=(20, 16))]).astype(np.float32)
    asked = analogy.Stored(name="e", genes=np.array([f"w{i:03d}" for i in range(40)]), vectors=x)
    one = analogy.pairs(asked, [("w020", "w000")], 10, PairSpec())[0]
    scores, ours = scored(one)
    oracles.check(scores, ours, oracles.pairs(x.astype(np.float64), x[[20, 0]].astype(np.float64), [20, 0]), 10)

    genes, gaps = unit_differences(x)
    keep = ~np.isin(genes, [0, 20]).any(axis=1)
    genes, values = genes[keep], gaps[keep] @ ((x[20] - x[0]) / np.linalg.norm(x[20] - x[0]))
    straight, turned = np.argsort(-values)[:10], np.argsort(values)[:10]
    ranks = [pair for i, j in zip(straight, turned, strict=True) for pair in (genes[i], genes[j][::-1])][:10]
    assert {tuple(p) for p in np.array(ranks).tolist()} != {tuple(p) for p in ours.tolist()}
    assert min(values[straight[:5]]) < 0.8 < scores[-1]  # what ranks let in would not be among the best
