"""Pairs of genes by Pearson r within one dataset: all above a threshold, or the best k of each gene.

Float32 products of tiles find candidates, a float64 dot in one fixed order decides. So the pairs, and the
bits of r, are the same for any tile, any number of threads, either method and any CPU.

Candidates. With u = 2^-24, m samples and e = (m + 3) u / (1 - (m + 3) u), a float32 product of two unit
vectors that were rounded to float32 is within e of r. So a pair with r >= t has a product >= t - e; and a
product below (the k-th largest of a gene's products) - 2 e cannot be one of that gene's k best.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import threadpoolctl
from numpy.typing import NDArray

from g2v_dask.errors import InputError
from g2v_dask.kernels import bound, pick

DEFAULT_TILE = 512  # a product of 1 MiB and its factors stay in L2
BATCH = 4  # tiles a thread takes at a time
BUFFER_TILES = 2  # a thread's buffer of pairs: one tile whole, and room before it
EMIT_BATCH = 1024  # genes whose lists become pairs at a time
Method = Literal["auto", "plain", "bounded"]


class TooManyPairs(InputError):  # noqa: N818  named for what happened, as TooManyRedirects is
    """A dataset has more pairs than `max_pairs`. The scan stopped when it knew."""

    def __init__(self, *, found: int, estimate: int, max_pairs: int, rule: str) -> None:
        super().__init__(
            f"expected at most {max_pairs:,} pairs, found {found:,} with about {estimate:,} in all ({rule}); "
            "raise --threshold, take --top-k, or raise --max-pairs"
        )
        self.found = found
        """Pairs found when it stopped."""
        self.estimate = estimate
        """Pairs in all, judged from the share of tiles done."""
        self.max_pairs = max_pairs
        self.rule = rule

    def __reduce__(self) -> tuple[Callable[..., TooManyPairs], tuple[int, int, int, str]]:
        # Workers send errors by pickle, which would call the class with the message alone.
        return _too_many, (self.found, self.estimate, self.max_pairs, self.rule)


def _too_many(found: int, estimate: int, max_pairs: int, rule: str) -> TooManyPairs:
    return TooManyPairs(found=found, estimate=estimate, max_pairs=max_pairs, rule=rule)


@dataclass(frozen=True, kw_only=True)
class PairList:
    """Pairs of genes, each once, sorted by (gene_a, gene_b)."""

    gene_a: NDArray[np.int32]
    """Column of `expression`; the smaller of the two."""
    gene_b: NDArray[np.int32]
    """Column of `expression`; the larger of the two."""
    r: NDArray[np.float64]
    """Pearson r, the float64 dot product of the standardised columns."""
    method: str
    """"plain" or "bounded m=15": how the pairs were found. It never changes them."""


def pairs_above(
    expression: NDArray[np.float32],
    *,
    threshold: float,
    max_pairs: int | None = None,
    threads: int = 1,
    tile: int = DEFAULT_TILE,
    method: Method = "auto",
) -> PairList:
    """All pairs of genes with r >= threshold.

    Memory: `memory_bytes`.
    Parameters: expression   (samples, genes) float32, finite, no constant column; ≥ 3 samples, ≥ 2 genes.
                threshold    smallest r, -1 to 1; signed.
                max_pairs    stop with TooManyPairs beyond this many; None: no limit.
                tile         genes along a side of a tile; changes speed and memory only.
                method       "bounded" scans short vectors (see `bound`); "auto" takes it where it pays.
    Returns:    PairList; equal to np.corrcoef in float64 on every pair with |r - threshold| > 1e-12.
    Raises:     InputError if the shape, the threshold or a column is unfit; the column is named by number.
                TooManyPairs (an InputError) if there are more than `max_pairs`.
    Source:     Higham 2002, eq. 3.5 (the candidates).   Oracle: tests/oracles.py::correlated_pairs.
    Examples:
    >>> x = np.array([[1, 2, 4, 9], [2, 4, 3, 1], [3, 6, 2, 5], [4, 8.5, 1, 5]], np.float32)
    >>> found = pairs_above(x, threshold=0.9)
    >>> found.gene_a, found.gene_b, found.r.round(3)
    (array([0], dtype=int32), array([1], dtype=int32), array([0.998]))
    """
    if not -1.0 <= threshold <= 1.0:
        message = f"expected a threshold from -1 to 1, got {threshold}"
        raise InputError(message)
    threshold = float(threshold)  # an int would be compiled anew
    _check_limits(max_pairs, threads, tile)
    with threadpoolctl.threadpool_limits(1, "blas"):
        unit = _standardised(expression, threads)
        samples, genes = expression.shape
        left, floor, name = _factors(unit, samples, threshold, threads, method)
        picker = _Picker(genes * (genes - 1) // 2, max_pairs, f"r >= {threshold}")
        _scan(unit, left, floor, threshold, picker, threads, tile)
        del left, unit
    return _sorted(picker, genes, name)


def pairs_top_k(
    expression: NDArray[np.float32],
    *,
    k: int,
    rule: Literal["union", "mutual"] = "union",
    max_pairs: int | None = None,
    threads: int = 1,
    tile: int = DEFAULT_TILE,
    method: Method = "auto",
) -> PairList:
    """The pairs of each gene with its k partners of largest r (signed, no floor; ties: the smaller gene).

    Memory: `memory_bytes` with `k`.
    Parameters: expression   as for `pairs_above`.
                k            partners a gene; all of them if k ≥ genes - 1.
                rule         "union": either gene lists the other; "mutual": both do.
                max_pairs, threads, tile   as for `pairs_above`.
                method       of no effect yet valid: k-th best r are low, a bound leaves too many.
    Returns:    PairList.
    Raises:     InputError as `pairs_above`, and if k < 1 or the rule is unknown.
                TooManyPairs if there are more than `max_pairs`; before any work if k alone makes it certain.
    Oracle: tests/oracles.py::top_k_pairs.
    Examples:
    >>> x = np.array([[1, 2, 4, 9], [2, 4, 3, 1], [3, 6, 2, 5], [4, 8.5, 1, 5]], np.float32)
    >>> best = pairs_top_k(x, k=1)
    >>> list(zip(best.gene_a.tolist(), best.gene_b.tolist()))
    [(0, 1), (2, 3)]
    """
    if k < 1:
        message = f"expected k of at least 1, got {k}"
        raise InputError(message)
    if rule not in ("union", "mutual"):
        message = f"expected the rule 'union' or 'mutual', got {rule!r}"
        raise InputError(message)
    if method not in ("auto", "plain", "bounded"):
        message = f"expected the method 'auto', 'plain' or 'bounded', got {method!r}"
        raise InputError(message)
    _check_limits(max_pairs, threads, tile)
    with threadpoolctl.threadpool_limits(1, "blas"):
        unit = _standardised(expression, threads)
        samples, genes = expression.shape
        k = min(k, genes - 1)
        described = f"the {k} best of each gene, {rule}"
        least = -(-genes * k // 2)  # every list entry is in a pair, and a pair is in at most two lists
        if rule == "union" and max_pairs is not None and least > max_pairs:
            raise TooManyPairs(found=least, estimate=genes * k, max_pairs=max_pairs, rule=described)
        partner, r = _lists(unit, samples, k, threads, tile)
    picker = _Picker(genes, max_pairs, described)
    listings = 2 if rule == "mutual" else 1

    def emit(batch: range) -> None:
        most = len(batch) * k
        a, b, out = np.empty(most, np.int32), np.empty(most, np.int32), np.empty(most)
        n = pick.emit_top(partner, r, batch.start, batch.stop, listings, a, b, out)
        picker.add(a[:n].copy(), b[:n].copy(), out[:n].copy(), len(batch))

    _each(emit, genes, EMIT_BATCH, threads)
    return _sorted(picker, genes, "plain")


def strongest(expression: NDArray[np.float32], *, threads: int = 1) -> float:
    """The largest r of any two genes, in float64.

    Memory: `memory_bytes` with k = 1.
    Parameters: expression   as for `pairs_above`.
    Raises:     InputError as `pairs_above`.
    Oracle: tests/oracles.py::correlated_pairs.
    """
    return float(pairs_top_k(expression, k=1, threads=threads).r.max())


def memory_bytes(
    *,
    samples: int,
    genes: int,
    threads: int,
    max_pairs: int | None,
    tile: int = DEFAULT_TILE,
    k: int | None = None,
) -> int:
    """The most bytes these functions hold at once beyond `expression` (and Python with its libraries).

    genes × (8 × padded samples + 4 × max(samples, 64))      unit vectors in float64; factors in float32
    + 32 × pairs                                             pairs as found, and as sorted
    + threads × 4 × tile²                                    a product
    and above a threshold: threads × 64 × tile²              buffers of pairs of two tiles, and their copies
    + 2,048 × (8 × samples + 1,500) × 3                      the sample that the bound's choice is made from
    or with `k`: genes × (8 × (2 k + 16) + 12 × k)           what may be among the k best, and the lists
    + threads × 1,024 × 32 × k                               buffers of pairs, and their copies
    where padded is samples rounded up to 8, and pairs is genes × (genes - 1) / 2, at most max_pairs, and with
    `k` at most genes × k.
    """
    padded = -(-samples // pick.LANES) * pick.LANES
    pairs = genes * (genes - 1) // 2
    total = genes * (8 * padded + 4 * max(samples, 64)) + threads * 4 * tile * tile
    if k is None:
        total += threads * 64 * tile * tile + bound.AXES_SAMPLE * (8 * samples + 1500) * 3
    else:
        k = min(k, genes - 1)
        pairs = min(pairs, genes * k)
        total += genes * (8 * _capacity(genes, k) + 12 * k) + threads * EMIT_BATCH * 32 * k
    if max_pairs is not None:
        pairs = min(pairs, max_pairs)
    return total + 32 * pairs


class _Picker:
    """Gathers the pairs that threads find, and stops them at the limit."""

    def __init__(self, size: int, max_pairs: int | None, rule: str) -> None:
        self.chunks: list[tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]] = []
        self._found = self._done = 0
        self._size, self._max_pairs, self._rule = size, max_pairs, rule
        self._lock = threading.Lock()

    def add(self, a: NDArray[np.int32], b: NDArray[np.int32], r: NDArray[np.float64], done: int) -> None:
        """Takes one chunk, the yield of `done` of all `size` units of work."""
        with self._lock:
            self.chunks.append((a, b, r))
            self._found += len(r)
            self._done += done
            if self._max_pairs is not None and self._found > self._max_pairs:
                estimate = self._found * self._size // max(self._done, 1)
                raise TooManyPairs(found=self._found, estimate=estimate, max_pairs=self._max_pairs, rule=self._rule)


class _Batches:
    """Deals range(size) to threads in batches; an empty one means that nothing is left."""

    def __init__(self, size: int, batch: int) -> None:
        self._starts = iter(range(0, size, batch))
        self._size, self._batch = size, batch
        self._lock = threading.Lock()

    def take(self) -> range:
        with self._lock:
            start = next(self._starts, self._size)
            return range(start, min(start + self._batch, self._size))

    def stop(self) -> None:
        with self._lock:
            self._starts = iter(())


class _Apart:
    """Deals tiles to threads so that no two at work share a gene: a tile changes its genes' lists."""

    def __init__(self, spans: NDArray[np.int64]) -> None:
        self._bands = [(int(row), int(col)) for row, col in spans[:, :, 0]]
        self._waiting = list(range(len(spans)))
        self._busy: set[int] = set()
        self._free = threading.Condition()

    def take(self, done: int | None) -> int | None:
        """Gives back the tile that is done; returns the next, or None when nothing is left."""
        with self._free:
            if done is not None:
                self._busy.difference_update(self._bands[done])
                self._free.notify_all()
            while self._waiting:
                for place, at in enumerate(self._waiting):
                    if self._busy.isdisjoint(self._bands[at]):
                        del self._waiting[place]
                        self._busy.update(self._bands[at])
                        return at
                self._free.wait()
            return None

    def stop(self) -> None:
        with self._free:
            self._waiting.clear()
            self._free.notify_all()


def _run(work: Callable[[], None], dealer: _Batches | _Apart, threads: int) -> None:
    """Runs `work` on each thread; when one fails the dealer stops the others, and its error is raised."""

    def guarded() -> None:
        try:
            work()
        except BaseException:
            dealer.stop()
            raise

    if threads == 1:
        work()
        return
    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(guarded) for _ in range(threads)]
    for future in futures:
        future.result()


def _each(function: Callable[[range], None], size: int, batch: int, threads: int) -> None:
    """Calls `function` on the batches of range(size), on threads."""
    dealer = _Batches(size, batch)

    def work() -> None:
        while taken := dealer.take():
            function(taken)

    _run(work, dealer, threads)


def _check_limits(max_pairs: int | None, threads: int, tile: int) -> None:
    for name, value, least in (("max_pairs", max_pairs, 0), ("threads", threads, 1), ("tile", tile, 1)):
        if value is not None and value < least:
            message = f"expected {name} of at least {least}, got {value}"
            raise InputError(message)


def _standardised(expression: NDArray[np.float32], threads: int) -> NDArray[np.float64]:
    """(genes, samples padded with zeros to whole registers) float64, rows of length 1 and mean 0."""
    if expression.ndim != 2 or expression.shape[0] < 3 or expression.shape[1] < 2:
        message = f"expected (samples, genes) with at least 3 samples and 2 genes, got {expression.shape}"
        raise InputError(message)
    if expression.dtype != np.float32:
        message = f"expected float32 expression, got {expression.dtype}"
        raise InputError(message)
    samples, genes = expression.shape
    values = np.ascontiguousarray(expression)
    unit = np.zeros((genes, -(-samples // pick.LANES) * pick.LANES))
    bad: list[int] = []

    def standardise(batch: range) -> None:
        gene = pick.standardise(values, batch.start, batch.stop, unit)
        if gene >= 0:
            bad.append(gene)

    _each(standardise, genes, 8 * pick.GENES_AT_ONCE, threads)
    if bad:
        gene = min(bad)
        column = values[:, gene]
        what = f"constant ({column[0]})" if np.isfinite(column).all() else "not finite"
        message = f"expected genes that vary and have no missing value, column {gene} is {what}; leave it out"
        raise InputError(message)
    return unit


def _factors(
    unit: NDArray[np.float64], samples: int, threshold: float, threads: int, method: Method
) -> tuple[NDArray[np.float32], np.float32, str]:
    """The float32 rows to multiply, the product that makes a pair a candidate, and the method's name."""
    axes = None
    if method == "bounded" or (method == "auto" and bound.may_pay(samples=samples, genes=len(unit))):
        axes = _axes(unit[:, :samples], threshold, always=method == "bounded")
    elif method not in ("auto", "plain"):
        message = f"expected the method 'auto', 'plain' or 'bounded', got {method!r}"
        raise InputError(message)
    width = samples if axes is None else axes.shape[1] + 1
    left = np.empty((len(unit), width), np.float32)

    def shorten(batch: range) -> None:
        rows = slice(batch.start, batch.stop)
        if axes is None:
            left[rows] = unit[rows, :samples]
        else:
            bound.shorten(unit[rows, :samples], axes, left[rows])

    _each(shorten, len(unit), 512, threads)
    if axes is None:
        return left, pick.below(threshold, bound.reach(samples)), "plain"
    rank = axes.shape[1]
    return left, pick.below(threshold, bound.slack(rank)), f"bounded m={rank}"


def _scan(
    unit: NDArray[np.float64],
    left: NDArray[np.float32],
    floor: np.float32,
    threshold: float,
    picker: _Picker,
    threads: int,
    tile: int,
) -> None:
    """Gives the picker all pairs above the threshold, tile by tile."""
    spans = _spans(len(unit), tile)
    # The rows of one band follow each other, so that they stay in cache; the bands come shuffled, so that the
    # tiles done at any time are a fair sample of all.
    turn = np.random.default_rng(bound.SEED).permutation(-(-len(unit) // tile))
    spans = spans[np.argsort(turn[spans[:, 0, 0] // tile], kind="stable")]
    dealer = _Batches(len(spans), BATCH)

    def work() -> None:
        scratch = np.empty(tile * tile, np.float32)
        room = BUFFER_TILES * tile * tile
        a, b, r = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room)
        while batch := dealer.take():
            at = batch.start
            while at < batch.stop:
                start = at
                at, n = pick.scan_above(left, unit, spans, at, batch.stop, floor, threshold, scratch, a, b, r)
                picker.add(a[:n].copy(), b[:n].copy(), r[:n].copy(), _pairs_in(spans[start:at]))

    _run(work, dealer, threads)


def _axes(unit: NDArray[np.float64], threshold: float, *, always: bool) -> NDArray[np.float64] | None:
    """(samples, m) axes for the bound, or None if the plain way is cheaper by a sample of genes."""
    genes, samples = unit.shape
    ranks = bound.ranks_for(samples)
    axes = bound.principal_axes(unit[bound.sample_of_genes(genes, bound.AXES_SAMPLE, bound.SEED)], max(ranks))
    if axes is None:
        return None
    # Other genes than those that the axes were fitted to: on these the bound looks better than it is.
    judged = unit[bound.sample_of_genes(genes, bound.RATE_SAMPLE, bound.SEED + 1)] @ axes
    rates = bound.candidate_rates(judged, threshold, ranks)
    rank = bound.choose_rank(rates, samples=samples, genes=genes, always=always)
    return None if rank is None else np.ascontiguousarray(axes[:, :rank])


def _capacity(genes: int, k: int) -> int:
    """Length of a gene's row of keys: room to collect between two prunings, or for all partners."""
    return min(2 * k + 16, genes)


def _lists(
    unit: NDArray[np.float64], samples: int, k: int, threads: int, tile: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """(genes, k) each gene's best partners, in the order of genes, and their r."""
    genes = len(unit)
    left = unit[:, :samples].astype(np.float32)
    spans = _spans(genes, tile)
    step = 2 * bound.reach(samples)
    floors = np.full(genes, -np.inf, np.float32)
    keys = np.empty((genes, _capacity(genes, k)), np.int64)
    filled = np.zeros(genes, np.int64)

    dealer = _Apart(spans)

    def scan() -> None:
        scratch = np.empty(tile * tile, np.float32)
        at = dealer.take(None)
        while at is not None:
            pick.scan_top(left, unit, spans[at, 0], spans[at, 1], k, step, scratch, floors, keys, filled)
            at = dealer.take(at)

    _run(scan, dealer, threads)
    partner = np.empty((genes, k), np.int32)
    r = np.empty((genes, k))

    def finish(batch: range) -> None:
        pick.finish_top(keys, filled, unit, batch.start, batch.stop, k, step, partner, r)

    _each(finish, genes, 512, threads)
    return partner, r


def _spans(genes: int, tile: int) -> NDArray[np.int64]:
    """(tiles, 2, 2) genes [from, to) of the rows and columns of each upper-triangle tile.

    Diagonal by diagonal, wrapped around: every gene is seen equally often at any time, so that every gene's
    k-th best is soon bounded.
    """
    bands = -(-genes // tile)
    distance, band = np.divmod(np.arange(bands * (bands // 2 + 1)), bands)
    other = (band + distance) % bands
    # An even number of bands: the last distance meets each tile twice.
    once = ~((2 * distance == bands) & (band >= bands // 2))
    low, high = np.minimum(band, other)[once], np.maximum(band, other)[once]
    starts = np.stack((low, high), axis=1) * tile
    return np.stack((starts, np.minimum(starts + tile, genes)), axis=2)


def _pairs_in(spans: NDArray[np.int64]) -> int:
    """How many pairs of genes lie in these tiles."""
    size = spans[:, :, 1] - spans[:, :, 0]
    on_diagonal = spans[:, 0, 0] == spans[:, 1, 0]
    rows, cols = size[:, 0], size[:, 1]
    return int(np.where(on_diagonal, rows * (rows - 1) // 2, rows * cols).sum())


def _sorted(picker: _Picker, genes: int, method: str) -> PairList:
    """What was picked as one list in the order of (a, b): two counting sorts, the smaller gene last."""
    parts = zip(*picker.chunks, strict=True) if picker.chunks else ([np.empty(0, t)] for t in "iid")
    a, b, r = (np.concatenate(part) for part in parts)
    picker.chunks.clear()  # before the sort's own copy: never three at once
    first = np.empty_like(a), np.empty_like(b), np.empty_like(r)
    pick.order_by(b, genes, a, b, r, *first)
    pick.order_by(first[0], genes, *first, a, b, r)
    return PairList(gene_a=a, gene_b=b, r=r, method=method)
