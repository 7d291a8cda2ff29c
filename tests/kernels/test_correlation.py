"""Pairs equal a naive loop, and their bits depend on nothing but the data."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from g2v_dask.errors import InputError
from g2v_dask.kernels import bound, correlation, pick
from g2v_dask.kernels.correlation import (
    PairList,
    TooManyPairs,
    memory_bytes,
    pairs_above,
    pairs_top_k,
    strongest,
)
from tests import oracles

ROOT = Path(__file__).parents[2]
BORDER = 1e-12


def made(seed: int, samples: int, genes: int, *, copies: int = 0) -> np.ndarray:
    """Genes with shared factors; some are copies of others."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, 2)) @ rng.standard_normal((2, genes))
    x = (x + rng.uniform(0.05, 1.5, genes) * rng.standard_normal((samples, genes)) + 5).astype(np.float32)
    for _ in range(copies):
        a, b = rng.integers(genes, size=2)
        x[:, a] = x[:, b]
    return x


def pairs_of(found: PairList) -> dict[tuple[int, int], float]:
    return {(a, b): r for a, b, r in zip(found.gene_a.tolist(), found.gene_b.tolist(), found.r.tolist(), strict=True)}


def bits(found: PairList) -> tuple[bytes, bytes, bytes]:
    return found.gene_a.tobytes(), found.gene_b.tobytes(), found.r.tobytes()


shapes = {
    "seed": st.integers(0, 2**32 - 1),
    "samples": st.integers(3, 40),
    "genes": st.integers(2, 40),
    "copies": st.integers(0, 8),
    "tile": st.integers(1, 48),
    "threads": st.integers(1, 3),
}


@settings(deadline=None)
@given(threshold=st.floats(-1, 1), method=st.sampled_from(["auto", "plain", "bounded"]), **shapes)
def test_pairs_above__equals_oracle(seed, samples, genes, copies, tile, threads, threshold, method):
    x = made(seed, samples, genes, copies=copies)
    found = pairs_above(x, threshold=threshold, tile=tile, threads=threads, method=method)
    expected = oracles.correlated_pairs(x, -2)
    got = pairs_of(found)
    assert list(got) == sorted(got)
    for pair, r in expected.items():
        if abs(r - threshold) > BORDER:
            assert (pair in got) == (r > threshold)
    for pair, r in got.items():
        assert r >= threshold
        assert r == pytest.approx(expected[pair], abs=BORDER)
    assert found.gene_a.dtype == found.gene_b.dtype == np.int32
    assert found.r.dtype == np.float64


@settings(deadline=None)
@given(k=st.integers(1, 45), rule=st.sampled_from(["union", "mutual"]), **shapes)
def test_pairs_top_k__equals_oracle(seed, samples, genes, copies, tile, threads, k, rule):
    # Of three samples r is ±1 to the last bit too often for any tie rule to be seen.
    x = made(seed, samples + 5, genes, copies=copies)
    got = pairs_of(pairs_top_k(x, k=k, rule=rule, tile=tile, threads=threads))
    expected = oracles.top_k_pairs(x, k, rule)
    assert list(got) == sorted(expected)
    assert got == pytest.approx(expected, abs=BORDER)


def test_pairs_above__equals_corrcoef():
    x = made(1, 60, 700, copies=20)
    r = np.corrcoef(x.T.astype(np.float64))
    a, b = np.nonzero(np.triu(r >= 0.7, 1))
    for method in ("plain", "bounded"):
        found = pairs_above(x, threshold=0.7, tile=128, threads=2, method=method)
        assert np.array_equal(found.gene_a, a)
        assert np.array_equal(found.gene_b, b)
        np.testing.assert_allclose(found.r, r[a, b], rtol=0, atol=BORDER)


@pytest.mark.parametrize("method", ["plain", "bounded"])
def test_pairs_above__exact_at_the_border(method):
    x = made(2, 25, 120)
    every = pairs_above(x, threshold=-1)
    for r in np.sort(every.r)[[-1, -5, -100, -2000]]:
        at = pairs_above(x, threshold=r, method=method)
        above = pairs_above(x, threshold=np.nextafter(r, 2), method=method)
        assert at.r.min() == r
        assert len(above.r) == len(at.r) - np.count_nonzero(every.r == r)


def test_pairs_above__candidates_below_the_border_are_needed():
    """Products in float32 miss pairs that the margin e brings back: a scan without it loses some."""
    x = made(3, 90, 300)
    every = pairs_above(x, threshold=-1)
    unit = correlation._standardised(x, 1)[:, : len(x)].astype(np.float32)
    product = np.dot(unit, unit.T)[every.gene_a, every.gene_b]
    lost = product < every.r.astype(np.float32)
    assert lost.any()
    for place in np.nonzero(lost)[0][:20]:
        found = pairs_of(pairs_above(x, threshold=every.r[place], method="plain"))
        assert (every.gene_a[place], every.gene_b[place]) in found
    assert np.abs(product - every.r).max() <= bound.reach(len(x))


def test_pairs__same_bits_for_any_tile_threads_and_method():
    x = made(4, 50, 400, copies=30)
    ways = [(t, n, m) for t in (1, 7, 64, 100, 399, 512) for n in (1, 2) for m in ("plain", "bounded")]
    first = bits(pairs_above(x, threshold=0.6))
    top = bits(pairs_top_k(x, k=9))
    for tile, threads, method in ways:
        assert bits(pairs_above(x, threshold=0.6, tile=tile, threads=threads, method=method)) == first
        assert bits(pairs_top_k(x, k=9, tile=tile, threads=threads, method=method)) == top


def test_pairs_above__auto_takes_the_bound_where_it_pays():
    rng = np.random.default_rng(5)
    x = rng.standard_normal((120, 4)) @ rng.standard_normal((4, 6000)) + 0.4 * rng.standard_normal((120, 6000))
    x = x.astype(np.float32)
    found = pairs_above(x, threshold=0.97)
    assert found.method.startswith("bounded m=")
    assert len(found.r) > 0
    assert bits(found) == bits(pairs_above(x, threshold=0.97, method="plain"))
    assert pairs_above(x[:, :100], threshold=0.97).method == "plain"


@pytest.mark.parametrize("method", ["plain", "bounded"])
def test_pairs_above__copies_of_a_gene(method):
    x = made(6, 30, 200)
    x[:, 50:150] = x[:, [3]]
    found = pairs_above(x, threshold=0.999999, method=method)
    assert len(found.r) >= 101 * 100 // 2
    np.testing.assert_allclose(found.r, 1, rtol=0, atol=1e-6)


@pytest.mark.parametrize("tile", [16, 64, 512])
@pytest.mark.parametrize("k", [1, 3, 20])
def test_pairs_top_k__ties_go_to_the_smaller_gene(tile, k):
    """Far more equal partners than a gene's row holds, so the exact pruning decides."""
    x = made(7, 12, 400)
    x[:, 100:380] = x[:, [90]]
    found = pairs_of(pairs_top_k(x, k=k, tile=tile, threads=2, rule="mutual"))
    same = [90, *range(100, 380)]
    lists = {g: [h for h in same if h != g][:k] for g in same}
    expected = {(a, b) for a in same for b in lists[a] if a < b and a in lists[b]}
    assert {pair for pair in found if pair[0] in lists and pair[1] in lists} == expected


def test_pairs_top_k__more_than_all_partners():
    x = made(8, 10, 12)
    everything = pairs_of(pairs_above(x, threshold=-1))
    for k in (11, 12, 500):
        assert pairs_of(pairs_top_k(x, k=k)) == everything
        assert pairs_of(pairs_top_k(x, k=k, rule="mutual")) == everything


def test_strongest__is_the_largest_r():
    x = made(9, 20, 90)
    assert strongest(x) == strongest(x, threads=2) == pairs_above(x, threshold=-1).r.max()


def test_pairs_above__negative_and_zero_thresholds_hold():
    x = made(10, 15, 30)
    r = np.corrcoef(x.T.astype(np.float64))[np.triu_indices(30, 1)]
    assert len(pairs_above(x, threshold=0).r) == np.count_nonzero(r >= 0)
    assert len(pairs_above(x, threshold=-0.5).r) == np.count_nonzero(r >= -0.5)


def test_pairs_above__no_pair():
    found = pairs_above(np.random.default_rng(0).standard_normal((50, 20)).astype(np.float32), threshold=0.99)
    assert found.r.shape == found.gene_a.shape == (0,)


def test_pairs_above__read_only_and_strided_input():
    x = made(11, 15, 30)
    wide = np.zeros((15, 60), np.float32)
    wide[:, ::2] = x
    frozen = x.copy()
    frozen.setflags(write=False)
    first = bits(pairs_above(x, threshold=0.5))
    assert bits(pairs_above(wide[:, ::2], threshold=0.5)) == first
    assert bits(pairs_above(frozen, threshold=0.5)) == first


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("method", ["plain", "bounded"])
def test_pairs_above__stops_at_max_pairs_while_tiles_run(threads, method):
    x = made(12, 20, 1000)
    total = len(pairs_above(x, threshold=0.5).r)
    pairs_above(x, threshold=0.5, max_pairs=total)
    said = r"expected at most 1,000 pairs, found .*--threshold.*--top-k"
    with pytest.raises(TooManyPairs, match=said) as caught:
        pairs_above(x, threshold=0.5, max_pairs=1000, tile=32, threads=threads, method=method)
    assert 1000 < caught.value.found < total / 4
    assert caught.value.estimate == pytest.approx(total, rel=0.5)
    with pytest.raises(TooManyPairs):
        pairs_above(x, threshold=0.5, max_pairs=total - 1)


def test_pairs_top_k__max_pairs():
    x = made(13, 20, 200)
    total = len(pairs_top_k(x, k=5).r)
    pairs_top_k(x, k=5, max_pairs=total)
    with pytest.raises(TooManyPairs):
        pairs_top_k(x, k=5, max_pairs=total - 1)
    with pytest.raises(TooManyPairs) as caught:
        pairs_top_k(x, k=5, max_pairs=499)
    assert caught.value.found == 500  # known before any tile: 200 lists of 5
    with pytest.raises(TooManyPairs):
        pairs_top_k(x, k=5, max_pairs=10, rule="mutual")


def test_too_many_pairs__travels_by_pickle():
    error = TooManyPairs(found=5, estimate=9, max_pairs=4, rule="r >= 0.9")
    back = pickle.loads(pickle.dumps(error))
    assert (str(back), back.found, back.estimate) == (str(error), 5, 9)
    assert isinstance(back, InputError)


def test_pairs__bad_input():
    x = made(14, 10, 70)
    constant = x.copy()
    constant[:, 66] = 0.1
    missing = x.copy()
    missing[3, 5] = np.nan
    infinite = x.copy()
    infinite[3, 7] = np.inf
    for call in (
        lambda v: pairs_above(v, threshold=0.5, threads=2),
        lambda v: pairs_top_k(v, k=2),
        strongest,
    ):
        with pytest.raises(InputError, match=r"column 66 is constant \(0\.1"):
            call(constant)
        with pytest.raises(InputError, match="column 5 is not finite"):
            call(missing)
        with pytest.raises(InputError, match="column 7 is not finite"):
            call(infinite)
        with pytest.raises(InputError, match=r"at least 3 samples and 2 genes, got \(10, 1\)"):
            call(x[:, :1])
        with pytest.raises(InputError, match=r"got \(2, 70\)"):
            call(x[:2])
        with pytest.raises(InputError, match="float32 expression, got float64"):
            call(x.astype(np.float64))


@pytest.mark.parametrize("threshold", [1.01, -1.01, float("nan")])
def test_pairs_above__bad_threshold(threshold):
    with pytest.raises(InputError, match="threshold from -1 to 1"):
        pairs_above(made(0, 5, 5), threshold=threshold)


def test_pairs__bad_options():
    x = made(15, 10, 7)
    with pytest.raises(InputError, match="k of at least 1"):
        pairs_top_k(x, k=0)
    with pytest.raises(InputError, match="'union' or 'mutual'"):
        pairs_top_k(x, k=1, rule="either")
    for call in (lambda **o: pairs_above(x, threshold=0.5, **o), lambda **o: pairs_top_k(x, k=1, **o)):
        with pytest.raises(InputError, match="the method"):
            call(method="fast")
        with pytest.raises(InputError, match="tile of at least 1"):
            call(tile=0)
        with pytest.raises(InputError, match="threads of at least 1"):
            call(threads=0)


@given(genes=st.integers(1, 90), tile=st.integers(1, 100))
def test_spans__every_pair_once(genes, tile):
    seen = np.zeros((genes, genes), int)
    for row, col in correlation._spans(genes, tile):
        seen[row[0] : row[1], col[0] : col[1]] += 1
    assert np.all(np.triu(seen) == np.triu(np.ones_like(seen)))
    assert correlation._pairs_in(correlation._spans(genes, tile)) == genes * (genes - 1) // 2


@given(st.lists(st.integers(-5, 5) | st.integers(-(2**62), 2**62), min_size=1, max_size=60), st.data())
def test_kth_largest__equals_sort(keys, data):
    k = data.draw(st.integers(1, len(keys)))
    assert pick.kth_largest(np.array(keys, np.int64), k) == sorted(keys, reverse=True)[k - 1]


@given(st.lists(st.floats(-1.5, 1.5, width=32), min_size=2, max_size=20), st.integers(0, 2**31 - 1))
def test_pack__keeps_value_gene_and_order(values, gene):
    keys = [pick.pack(np.float32(v), gene) for v in values]
    assert [pick.value_of(np.int64(key)) for key in keys] == values
    assert {pick.gene_of(np.int64(key)) for key in keys} == {gene}
    packed = list(zip(values, keys, strict=True))
    for (v, key), (w, other) in zip(packed, packed[1:], strict=False):
        assert v == w or (v < w) == (key < other)


@given(st.floats(-1, 1), st.floats(0, 1e-4))
def test_below__rounds_down(value, step):
    low = pick.below(value, step)
    assert np.float64(low) <= value - step
    assert np.float64(np.nextafter(np.float32(low), np.float32(2))) > value - step


MEASURE = """
import sys
import numpy as np
from g2v_dask.kernels.correlation import memory_bytes, pairs_above, pairs_top_k

def status(field):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

rng = np.random.default_rng(0)
samples, genes, threads, kind = 60, 9000, 2, sys.argv[1]
shared = rng.standard_normal((samples, 3)) @ rng.standard_normal((3, genes))
x = shared + rng.standard_normal((samples, genes))
x = x.astype(np.float32)
def call(v):
    if kind == "top":
        return pairs_top_k(v, k=60, threads=threads)
    return pairs_above(v, threshold=0.6, threads=threads, method=kind, max_pairs=8_000_000)
call(x[:, :300].copy())  # compiled, and libraries loaded
before = status("VmRSS")
found = call(x)
options = {"k": 60, "max_pairs": None} if kind == "top" else {"max_pairs": len(found.r)}
used = status("VmHWM") - before
print(used, memory_bytes(samples=samples, genes=genes, threads=threads, **options), len(found.r))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the high-water mark from /proc")
@pytest.mark.parametrize("kind", ["plain", "bounded", "top"])
def test_memory_bytes__holds_and_is_not_idle(kind):
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, kind],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    used, allowed, pairs = map(int, done.stdout.split())
    assert pairs > (300_000 if kind == "top" else 2_000_000)
    assert used <= allowed + (8 << 20)  # the allocator's own pages
    assert used >= allowed / 3


def test_memory_bytes__grows_with_what_it_counts():
    base = {"samples": 100, "genes": 20_000, "threads": 2, "max_pairs": 10**6}
    first, top = memory_bytes(**base), memory_bytes(**base, k=50)
    for more in ({"samples": 200}, {"genes": 40_000}, {"threads": 4}, {"max_pairs": 10**7}):
        assert memory_bytes(**(base | more)) > first
        if "max_pairs" not in more:  # 50 a gene are no more than the million
            assert memory_bytes(**(base | more), k=50) > top
    assert memory_bytes(**base, k=100) > top
    assert first < 1 << 30
