"""Questions of differences, from names to answers: filters resolved, arrays searched, genes named.

In between lies ``search``, which knows positions and numbers only. Loaded when a question needs it: Numba takes
half a second, which ``g2v similar`` does not have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from g2v_dask import arrays
from g2v_dask.answers import Analogies, Analogy, NearPair, NearPairs, Solution, Solutions
from g2v_dask.errors import InputError, SpecError
from g2v_dask.kernels import differences
from g2v_dask.names import Names
from g2v_dask.options import nearest as closest
from g2v_dask.questions import Filters, PairSpec
from g2v_dask.search import analogies, nearest, scan
from g2v_dask.search.ranking import Found, ranked
from g2v_dask.search.space import Space, make
from g2v_dask.store import Artifact

EPSILON = 1e-3  # of 3CosMul's denominator (Levy and Goldberg 2014)
SHOWN = 5  # genes named in a message
STEPS = 2048  # of float64 vectors held at once


class Vectors(Protocol):
    """What is asked: a ``query.Embedding``, or what a stage has read."""

    @property
    def name(self) -> str:
        """The embedding's name."""

    @property
    def genes(self) -> NDArray[np.str_]:
        """(genes,) words."""

    @property
    def vectors(self) -> NDArray[np.float32]:
        """(genes, components) as stored."""

    @property
    def names(self) -> Names:
        """Its genes by name."""


# -- who may answer -----------------------------------------------------------------------------------------


def candidates(asked: Vectors, filters: Filters) -> NDArray[np.int64]:
    """The rows of the genes that may answer.

    Raises: InputError if the file of genes is missing, empty, or names none of the embedding's; SpecError for a
            biotype that no gene has.
    """
    rows = np.arange(len(asked.genes))
    if filters.genes is not None:
        rows = np.array(sorted(_listed(asked, Path(filters.genes).expanduser())), dtype=np.int64)
    if filters.biotype is not None:
        kinds = [asked.names.biotype(word) for word in asked.genes[rows].tolist()]
        rows = rows[np.array([kind == filters.biotype for kind in kinds], dtype=bool)]
        if not len(rows):
            known = sorted({kind for kind in kinds if kind})
            hint = closest(filters.biotype, known)
            msg = f"no gene here has the biotype {filters.biotype!r}{hint}; there are: {', '.join(known) or 'none'}"
            raise SpecError(msg)
    return rows


def _listed(asked: Vectors, file: Path) -> set[int]:
    """The rows that a file of genes names; names that the embedding does not have are passed over."""
    try:
        words = [line.strip() for line in file.read_text("utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        msg = f"cannot read the genes in {file}: {reason}; expected one gene a line"
        raise InputError(msg) from error
    words = [w for w in words if w and not w.startswith("#")]
    rows: set[int] = set()
    unknown: list[str] = []
    for word in words:
        try:
            rows.add(asked.names.rows[asked.names.resolve(word)])
        except InputError:
            unknown.append(word)
    if not rows:
        found = f"{len(words):,} names, none of them known here: {', '.join(unknown[:SHOWN])}" if words else "no names"
        msg = f"{file}: expected one gene a line, found {found}"
        raise InputError(msg)
    return rows


def space_of(
    asked: Vectors, filters: Filters, *, sums: bool = False, also: Sequence[int] = (), threads: int | None = None
) -> tuple[Space, list[str]]:
    """The space of the genes that may answer, and notes on those that cannot.

    Parameters: also   rows that take part in any case, though they do not answer.
    Raises: InputError if vectors hold NaN, or fewer than four genes are left.
    """
    rows = np.union1d(candidates(asked, filters), np.array(also, dtype=np.int64))
    notes = []
    if filters.unit:
        zero = ~asked.vectors[rows].any(axis=1)
        if zero.any():
            notes.append(f"left out, since a vector of zeros has no direction: {_some(asked.genes[rows[zero]])}")
            rows = rows[~zero]
    _finite(asked, rows)
    return make(asked.genes, asked.vectors, rows, unit=filters.unit, sums=sums, threads=threads), notes


def _finite(asked: Vectors, rows: Sequence[int] | NDArray[np.int64]) -> None:
    """Raises: InputError if some of these vectors hold NaN."""
    at = np.asarray(rows, dtype=np.int64)
    bad = at[~np.isfinite(asked.vectors[at]).all(axis=1)]
    if len(bad):
        named = _some(np.sort(asked.genes[bad]))
        msg = f"{asked.name}: the vectors of {named} hold NaN or infinite values; remove them and import again"
        raise InputError(msg)


def _some(genes: NDArray[np.str_]) -> str:
    more = f" and {len(genes) - SHOWN:,} more" if len(genes) > SHOWN else ""
    return ", ".join(genes[:SHOWN].tolist()) + more


def shortest(space: Space, filters: Filters) -> float:
    """The length of the shortest difference that counts."""
    return 0.0 if filters.min_difference is None else space.quantile(filters.min_difference)


def check(k: int, space: Space, least: int) -> None:
    """Raises: SpecError for k < 1, InputError for fewer genes than a question needs."""
    if k < 1:
        msg = f"k must be at least 1, got {k}"
        raise SpecError(msg)
    if len(space) < least:
        msg = f"expected at least {least} genes to choose from, found {len(space)}; loosen --genes or --biotype"
        raise InputError(msg)


def _notes(space: Space, filters: Filters, notes: Sequence[str], found: int, k: int) -> tuple[str, ...]:
    """What a reader should know of a search."""
    out = list(notes)
    if space.duplicates:
        out.append(
            f"{space.duplicates:,} pairs of (nearly) the same vector are no difference and take no part"
            if space.sign > 0
            else f"{space.duplicates:,} pairs that add up to (nearly) nothing take no part"
        )
    if filters.min_difference is not None:
        out.append(f"differences shorter than {shortest(space, filters):.4g} are left out (min-difference)")
    if found < k:
        out.append(f"there are no more than {found:,} answers")
    return tuple(out)


def neighbours(asked: Vectors, row: int, k: int, filters: Filters) -> list[tuple[int, float]]:
    """Rows and cosines of the k genes nearest to one, of those that the filters let through."""
    rows = np.union1d(candidates(asked, filters), [row])
    _finite(asked, rows)
    space = make(asked.genes, asked.vectors, rows)
    values = _cosines(asked, space, [row])[0]
    keep = space.rows != row
    if filters.ceiling is not None:
        keep &= values <= filters.ceiling
    if filters.min_difference is not None:
        measured = make(asked.genes, asked.vectors, rows[asked.vectors[rows].any(axis=1)], unit=True)
        long = measured if filters.unit else space
        here = np.full(len(long), int(np.flatnonzero(long.rows == row)[0]))
        far = np.sqrt(long.squares(here, np.arange(len(long)))) >= shortest(long, filters)
        keep &= np.isin(space.rows, long.rows[far])
    some = np.flatnonzero(keep)
    best = some[np.argsort(-values[some], kind="stable")][:k]
    return [(int(space.rows[p]), float(values[p])) for p in best]


# -- pairs --------------------------------------------------------------------------------------------------


def pairs(
    asked: Vectors,
    questions: Sequence[tuple[str, str]],
    k: int,
    spec: PairSpec,
    *,
    space: Space | None = None,
    notes: Sequence[str] = (),
    inverses: Sequence[NDArray[np.float32]] = (),
    threads: int | None = None,
) -> list[Analogies]:
    """a − b ≈ c − d for several (a, b), in one pass over all pairs (c, d): the best k of each.

    Parameters: space, notes   prepared before, of these filters; else made here.
                inverses       1 / length of all differences of that space, in bands; else computed.
    Raises: InputError for an unknown gene, twice the same, duplicates, or fewer than four genes; SpecError for k < 1.
    """
    if not questions:
        return []
    named = [(asked.names.resolve(a), asked.names.resolve(b)) for a, b in questions]
    for (a, b), (first, second) in zip(named, questions, strict=True):
        if a == b:
            msg = f"expected two different genes, got {first!r} and {second!r}, which are both {a}"
            raise InputError(msg)
    if space is None:
        space, notes = space_of(asked, spec, sums=spec.sums, threads=threads)
    rows = [(asked.names.rows[a], asked.names.rows[b]) for a, b in named]
    inside = set(space.rows.tolist()) if len(space) < 4 else set()
    check(k, space, 2 + max(sum(row in inside for row in pair) for pair in rows))
    question = _asked(asked, space, rows, spec)

    def answer(q: int, found: Found) -> Analogies:
        (a, b), names = named[q], space.genes
        sign = -1.0 if spec.metric == "l2" else 1.0
        best = tuple(
            Analogy(a=a, b=b, c=str(names[c]), d=str(names[d]), score=sign * score + 0.0)
            for score, (c, d) in zip(found.scores.tolist(), found.genes.tolist(), strict=True)
        )
        return Analogies(
            asked=(a, b),
            found=best,
            embedding=asked.name,
            metric=spec.metric,
            sums=spec.sums,
            unit=spec.unit,
            filters=spec.given(),
            notes=_notes(space, spec, notes, len(best), k),
        )

    if spec.max_per_gene is None:
        return [answer(q, f) for q, f in enumerate(scan.top(space, question, k, inverses=inverses))]
    out = []
    for q in range(len(question)):
        one = _one(question, q)
        found = ranked(
            lambda want, one=one: scan.top(space, one, want, inverses=inverses)[0],  # type: ignore[misc]
            k,
            max_per_gene=spec.max_per_gene,
            genes=len(space),
        )
        out.append(answer(q, found))
    return out


def ask_pairs(embedding: Any, questions: Sequence[tuple[str, str]], k: int, spec: PairSpec) -> list[Analogies]:
    """``pairs`` of an open embedding, whose spaces are kept from question to question."""
    plain = not (spec.genes or spec.biotype or spec.unit or spec.sums)
    listed = None if spec.genes is None else candidates(embedding, spec).tobytes()  # the file may have changed
    key = (listed, spec.biotype, spec.unit, spec.sums)
    if key not in embedding.prepared:
        embedding.prepared[key] = space_of(embedding, spec, sums=spec.sums)
    space, notes = embedding.prepared[key]
    stored = embedding.norms if plain and spec.metric == "cosine" else ()
    return pairs(embedding, questions, k, spec, space=space, notes=notes, inverses=stored)


def _one(question: scan.Asked, q: int) -> scan.Asked:
    part = slice(q, q + 1)
    return scan.Asked(
        differences=question.differences[part],
        taken=question.taken[part],
        allowed=question.allowed[part],
        metric=question.metric,
        shortest=question.shortest,
    )


def _asked(asked: Vectors, space: Space, rows: list[tuple[int, int]], spec: PairSpec) -> scan.Asked:
    """The questions as arrays."""
    width = differences.padded(space.components)
    vectors = np.zeros((len(rows), width))
    taken = np.full((len(rows), 2), -1, dtype=np.int64)
    allowed = np.ones((len(rows), 2, len(space)), dtype=bool)
    for q, pair in enumerate(rows):
        _finite(asked, list(pair))
        ends = asked.vectors[list(pair)].astype(np.float64)
        if spec.unit:
            ends /= _lengths(asked, list(pair))[:, None]
        vectors[q, : space.components] = ends[0] - space.sign * ends[1]
        longest = np.sqrt((ends * ends).sum(axis=1).max())
        if np.linalg.norm(vectors[q]) <= differences.NEAR * longest:
            a, b = asked.genes[list(pair)]
            what = "have (nearly) the same vector" if space.sign > 0 else "add up to (nearly) nothing"
            msg = f"{a} and {b} {what} in {asked.name}: there is no direction to ask for"
            raise InputError(msg)
        taken[q] = [space.places.get(row, -1) for row in pair]
        if spec.ceiling is not None:
            under = _cosines(asked, space, list(pair)) <= spec.ceiling
            allowed[q] = under if space.sign > 0 else under.all(axis=0)
    return scan.Asked(
        differences=vectors, taken=taken, allowed=allowed, metric=spec.metric, shortest=shortest(space, spec)
    )


def _lengths(asked: Vectors, rows: list[int]) -> NDArray[np.float64]:
    """Lengths of some vectors as stored. Raises: InputError if one is zero."""
    out = np.empty(len(rows))
    differences.lengths(np.ascontiguousarray(asked.vectors[rows]), np.ones(len(rows)), 0, len(rows), out)
    if not out.all():
        gene = str(asked.genes[rows[int(np.flatnonzero(out == 0)[0])]])
        msg = f"the vector of {gene} in {asked.name} is zero: it has no direction"
        raise InputError(msg)
    lengths: NDArray[np.float64] = np.sqrt(out)
    return lengths


def _cosines(asked: Vectors, space: Space, rows: list[int]) -> NDArray[np.float64]:
    """(rows, genes) cosines of some vectors with all of a space; of a zero vector 0."""
    queries = np.zeros((len(rows), differences.padded(space.components)))
    queries[:, : space.components] = asked.vectors[rows]
    own = np.sqrt(np.einsum("ij,ij->i", queries, queries))
    lengths = own[:, None] * np.sqrt(space.sizes)
    values = space.project(queries) / np.where(lengths > 0, lengths, 1.0)
    quantum = 2.0**-differences.QUANTUM_BITS
    cosines: NDArray[np.float64] = np.rint(values / quantum) * quantum
    return cosines


# -- one gene, and all --------------------------------------------------------------------------------------


def gene(asked: Vectors, name: str, k: int, filters: Filters, *, threads: int | None = None) -> Analogies:
    """The best a − b ≈ c − d over every b, c and d.

    Raises: InputError for an unknown gene or fewer than four genes; SpecError for k < 1.
    """
    a = asked.names.resolve(name)
    row = asked.names.rows[a]
    if filters.unit:
        _lengths(asked, [row])
    space, notes = space_of(asked, filters, also=[row], threads=threads)
    check(k, space, 4)
    position = int(np.flatnonzero(space.rows == row)[0])
    limits = {"shortest": shortest(space, filters), "ceiling": filters.ceiling}
    found = ranked(
        lambda want: analogies.of_gene(space, position, want, **limits),  # type: ignore[arg-type]
        k,
        max_per_gene=filters.max_per_gene,
        genes=len(space),
        free=1,
    )
    return named(asked.name, space, found, filters, k, notes, asked_for=(a,))


def named(
    embedding: str,
    space: Space,
    found: Found,
    filters: Filters,
    k: int,
    notes: list[str],
    asked_for: tuple[str, ...] = (),
) -> Analogies:
    """Positions as genes."""
    return Analogies(
        asked=asked_for,
        found=tuple(
            Analogy(**dict(zip("abcd", space.genes[positions].tolist(), strict=True)), score=score)
            for score, positions in zip(found.scores.tolist(), found.genes, strict=True)
        ),
        embedding=embedding,
        unit=filters.unit,
        filters=filters.given(),
        notes=_notes(space, filters, notes, len(found), k),
    )


def near_pairs(embedding: str, space: Space, found: Found, filters: Filters, k: int) -> NearPairs:
    """Positions as pairs of genes."""
    notes = () if len(found) == k else (f"there are no more than {len(found):,} pairs",)
    return NearPairs(
        found=tuple(
            NearPair(a=str(space.genes[i]), b=str(space.genes[j]), cosine=score)
            for score, (i, j) in zip(found.scores.tolist(), found.genes.tolist(), strict=True)
        ),
        embedding=embedding,
        filters=filters.given(),
        notes=notes,
    )


def near_space(asked: Vectors, filters: Filters, *, threads: int | None = None) -> Space:
    """The space of unit vectors in which nearest pairs are looked for; zero vectors have no cosine, and no part."""
    rows = candidates(asked, filters)
    rows = rows[asked.vectors[rows].any(axis=1)]
    _finite(asked, rows)
    space = make(asked.genes, asked.vectors, rows, unit=True, threads=threads)
    if len(space) < 2:
        msg = f"expected at least two genes to choose from, found {len(space)}; loosen --genes or --biotype"
        raise InputError(msg)
    return space


def histogram(asked: Vectors) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """How many pairs of genes have which cosine: counts and the edges of equal bins."""
    return nearest.histogram(near_space(asked, Filters()))


def near_top(space: Space, want: int, filters: Filters, *, band: range | None = None) -> Found:
    """The nearest pairs, of some rows of tiles or all."""
    return nearest.top(space, want, ceiling=filters.ceiling, shortest=shortest(space, filters), band=band)


# -- solve --------------------------------------------------------------------------------------------------


def solve(
    asked: Vectors, a: str, b: str, c: str, k: int, filters: Filters, *, include_inputs: bool = False
) -> Solutions:
    """A − B = ? − C by three methods, on unit vectors.

    With unit vectors: 3CosAdd is the cosine of ? with a − b + c (Mikolov et al. 2013; exp2vec prints it); 3CosMul is
    cos(?, a) cos(?, c) / (cos(?, b) + 0.001), cosines shifted to 0..1 (Levy and Goldberg 2014, eq. 4); PairDirection
    is cos(? − c, a − b) (Levy and Goldberg 2014, eq. 2).
    Raises: InputError for an unknown gene, two that are the same, or a zero vector; SpecError for k < 1.
    """
    words = tuple(asked.names.resolve(text) for text in (a, b, c))
    for one, two in ((0, 1), (0, 2), (1, 2)):
        if words[one] == words[two]:
            msg = f"expected three different genes, got {words[one]} twice"
            raise InputError(msg)
    rows = [asked.names.rows[w] for w in words]
    _finite(asked, rows)
    ends = asked.vectors[rows] / _lengths(asked, rows)[:, None]
    unit_filters = dataclasses.replace(filters.filters, unit=True)
    space, notes = space_of(asked, unit_filters)
    check(k, space, 1)
    keep = np.ones(len(space), dtype=bool)
    if not include_inputs:
        keep &= ~np.isin(space.rows, rows)
    if filters.ceiling is not None:
        keep &= _cosines(asked, space, rows[:1])[0] <= filters.ceiling
        between = float(ends[1] @ ends[2])
        if between > filters.ceiling:
            keep[:] = False
            notes.append(f"cos({words[1]}, {words[2]}) = {between:.4f} is over the ceiling: no answer is left")
    width = differences.padded(space.components)
    queries = np.zeros((5, width))
    queries[:3, : space.components] = ends
    queries[3, : space.components] = ends[0] - ends[1] + ends[2]
    queries[4, : space.components] = ends[0] - ends[1]
    if not np.linalg.norm(queries[3]) > 1e-9 or not np.linalg.norm(queries[4]) > 1e-9:
        msg = f"{words[0]} − {words[1]} + {words[2]} is (nearly) nothing: there is no direction to ask for"
        raise InputError(msg)
    s = space.project(queries)
    step, toward = _steps(space, ends[2], queries[4, : space.components])
    if filters.min_difference is not None:
        keep &= step >= shortest(space, unit_filters)
    shifted = (1 + s[:3]) / 2
    scores = {
        "3CosAdd": s[3] / np.linalg.norm(queries[3]),
        "3CosMul": shifted[0] * shifted[2] / (shifted[1] + EPSILON),
        "PairDirection": np.where(step > differences.NEAR, toward, -np.inf),
    }
    methods = {method: _solutions(space, values, keep, k) for method, values in scores.items()}
    if any(len(found) < k for found in methods.values()):
        notes.append(f"there are no more than {int(keep.sum()):,} answers")
    given = {key: value for key, value in filters.given().items() if key != "unit"}
    return Solutions(
        asked=(words[0], words[1], words[2]), embedding=asked.name, methods=methods, filters=given, notes=tuple(notes)
    )


def _steps(
    space: Space, start: NDArray[np.float64], direction: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Every gene's distance from a vector, and the cosine of the step to it with a direction; of no step 0."""
    length, toward = np.empty(len(space)), np.empty(len(space))
    for first in range(0, len(space), STEPS):
        some = slice(first, first + STEPS)
        gaps = space.vectors[some] * space.scale[some, None] - start
        length[some] = np.sqrt(np.einsum("ij,ij->i", gaps, gaps))
        toward[some] = gaps @ direction
    return length, toward / (np.where(length > 0, length, 1.0) * np.linalg.norm(direction))


def _solutions(space: Space, values: NDArray[np.float64], keep: NDArray[np.bool_], k: int) -> tuple[Solution, ...]:
    """The k best, ties by gene id: positions are in the order of ids."""
    quantum = 2.0**-differences.QUANTUM_BITS
    snapped = np.where(np.isfinite(values), np.rint(values / quantum) * quantum, -np.inf)
    some = np.flatnonzero(keep & np.isfinite(snapped))
    best = some[np.argsort(-snapped[some], kind="stable")][:k]
    return tuple(Solution(gene=str(space.genes[p]), score=float(snapped[p]) + 0.0) for p in best)


# -- stored -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class Stored:
    """An embedding's words and vectors, as a part reads them."""

    name: str
    genes: NDArray[np.str_]
    vectors: NDArray[np.float32]

    @cached_property
    def names(self) -> Names:
        """Its genes by name."""
        return Names(self.genes)


def read(artifact: Artifact) -> Stored:
    """The embedding of an artifact."""
    root = arrays.open_group(artifact.folder, "embeddings")
    return Stored(name=artifact.name, genes=arrays.strings(root, "gene_id"), vectors=arrays.values(root, "vector"))
