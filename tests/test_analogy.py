"""Questions of differences from Python: names, filters, what is refused and in which words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from g2v_dask import analogy, query
from g2v_dask.answers import Analogies
from g2v_dask.errors import InputError, SpecError
from g2v_dask.query import Embedding
from g2v_dask.questions import Filters
from tests import oracles
from tests.search import words

GENES = ["CD3E", "CD3D", "TP53", "RPL3", "RPS6", "HLA-A", "MALAT1", "king"]


def embedding(vectors: NDArray[np.floating], genes: list[str] | None = None) -> Embedding:
    names = words.ids(len(vectors), 0) if genes is None else np.array(genes)
    return Embedding(name="e", digest="", genes=names, vectors=np.asarray(vectors, dtype=np.float32), card={})


def known(seed: int = 0) -> Embedding:
    return embedding(np.random.default_rng(seed).normal(size=(len(GENES), 5)), GENES)


def places(found: Analogies) -> Any:
    return words.places([(f.a, f.b, f.c, f.d) for f in found.found]).reshape(-1, 4)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None)
@given(
    kind=st.sampled_from(words.KINDS),
    n=st.integers(4, 24),
    seed=st.integers(0, 9999),
    duplicates=st.integers(0, 4),
    zeros=st.integers(0, 2),
    unit=st.booleans(),
    ceiling=st.sampled_from([None, 0.7]),
    min_difference=st.sampled_from([None, 0.3]),
    max_per_gene=st.sampled_from([None, 1, 3]),
    k=st.sampled_from([1, 10, 60, 20_000]),
)
def test_gene__equals_naive(
    kind: str,
    n: int,
    seed: int,
    duplicates: int,
    zeros: int,
    unit: bool,
    ceiling: float | None,
    min_difference: float | None,
    max_per_gene: int | None,
    k: int,
) -> None:
    unit = unit and kind != "clustered"  # where unit vectors are 1e-8 apart, how they were rounded shows in scores
    made = embedding(words.vectors(kind, n, 6, seed, duplicates=duplicates, zeros=zeros))
    x = made.vectors[np.argsort(made.genes)].astype(np.float64)
    takes_part = np.flatnonzero(x.any(axis=1)) if unit else np.arange(n)
    a = int(takes_part[seed % len(takes_part)])
    filters = Filters(unit=unit, ceiling=ceiling, min_difference=min_difference, max_per_gene=max_per_gene)
    if len(takes_part) < 4:
        with pytest.raises(InputError, match="at least 4 genes"):
            made.gene(f"w{a:03d}", k, filters=filters)
        return
    found = made.gene(f"w{a:03d}", k, filters=filters)
    live = oracles.unit(x[takes_part]) if unit else x
    shortest = oracles.quantile(live, min_difference)
    every = oracles.analogies(live, a=int(np.searchsorted(takes_part, a)), ceiling=ceiling, shortest=shortest)
    every = oracles.Every(scores=every.scores, genes=takes_part[every.genes])
    scores = [f.score for f in found.found]
    if max_per_gene is None:
        oracles.check(np.array(scores), places(found), every, k)
    else:  # a is in every answer, and is not counted
        oracles.check_few(np.array(scores), places(found), every.few(k, max_per_gene, free=1))
    assert (found.asked, found.unit, found.filters) == ((f"w{a:03d}",), unit, filters.given())


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(
    kind=st.sampled_from(words.KINDS),
    n=st.integers(3, 40),
    seed=st.integers(0, 9999),
    duplicates=st.integers(0, 4),
    ceiling=st.sampled_from([None, 0.5]),
    min_difference=st.sampled_from([None, 0.3]),
    include=st.booleans(),
    k=st.sampled_from([1, 5, 100]),
)
def test_solve__equals_naive(
    kind: str,
    n: int,
    seed: int,
    duplicates: int,
    ceiling: float | None,
    min_difference: float | None,
    include: bool,
    k: int,
) -> None:
    made = embedding(words.vectors(kind, n, 6, seed, duplicates=duplicates))
    x = oracles.unit(made.vectors[np.argsort(made.genes)] + np.float32(0))
    asked = tuple(np.random.default_rng(seed).permutation(n)[:3].tolist())
    a, b, c = asked
    filters = Filters(ceiling=ceiling, min_difference=min_difference)
    question = [f"w{i:03d}" for i in asked]
    if not (x[a] - x[b]).any() or np.linalg.norm(x[a] - x[b]) < 1e-8 or np.linalg.norm(x[a] - x[b] + x[c]) < 1e-8:
        return
    found = made.solve(*question, k, include_inputs=include, filters=filters)
    assert list(found.methods) == ["3CosAdd", "3CosMul", "PairDirection"]
    keep = np.ones(n, dtype=bool)
    if not include:
        keep[list(asked)] = False
    if ceiling is not None:
        keep &= oracles.cosines(x, x)[a] <= ceiling
        keep &= bool(x[b] @ x[c] <= ceiling)
    keep &= np.linalg.norm(x - x[c], axis=1) >= oracles.quantile(x, min_difference)
    for method, scores in oracles.solutions(x, asked).items():
        some = np.flatnonzero(keep & np.isfinite(scores))
        ours = found.methods[method]
        every = oracles.Every.of(scores[some], some[:, None])
        oracles.check(np.array([f.score for f in ours]), words.places([(f.gene,) for f in ours]), every, k)


def test_solve__steps_that_a_cosine_cannot_tell() -> None:
    """Genes 1e-5 from C: 1 - cos is 1e-10, and the direction is still right to nine digits."""
    random = np.random.default_rng(1)
    x = random.normal(size=(30, 8))
    x[10:] = x[2] + 1e-5 * random.normal(size=(20, 8))
    made = embedding(x, [f"w{i:03d}" for i in range(30)])
    wide = oracles.unit(made.vectors)
    scores = oracles.solutions(wide, (0, 1, 2))["PairDirection"]
    ours = made.solve("w000", "w001", "w002", 27).methods["PairDirection"]
    np.testing.assert_allclose([f.score for f in ours], [scores[int(f.gene[1:])] for f in ours], atol=1e-9)


def test_solve__king_and_queen() -> None:
    vectors = np.array([[1, 1, 0], [1, 0, 0.1], [0.1, 0, 1], [0.1, 1, 1], [0, -1, 0.1]])
    made = embedding(vectors, ["king", "man", "woman", "queen", "apple"])
    found = made.solve("king", "man", "woman", 2)
    assert {method: f[0].gene for method, f in found.methods.items()} == dict.fromkeys(found.methods, "queen")
    assert found.asked == ("king", "man", "woman")
    with_inputs = made.solve("king", "man", "woman", 9, include_inputs=True)
    assert {f.gene for f in with_inputs.methods["3CosAdd"]} == set(made.genes.tolist())


# -- spaces are kept --------------------------------------------------------------------------------------------


def test_pairs__one_pass_equals_one_by_one_and_again() -> None:
    made = embedding(words.vectors("normal", 50, 6, 1))
    questions = [("w000", "w001"), ("w003", "w002"), ("w001", "w000")]
    for filters in (None, Filters(unit=True), Filters(max_per_gene=1, ceiling=0.5)):
        together = made.pairs(questions, 8, filters=filters)
        assert together == [made.pair(a, b, 8, filters=filters) for a, b in questions]
        assert together == embedding(made.vectors).pairs(questions, 8, filters=filters)
    turned = [(f.d, f.c) for f in made.pair("w000", "w001", 8).found]
    assert turned == [(f.c, f.d) for f in made.pair("w001", "w000", 8).found]


def test_pair__a_file_of_genes_that_changes(tmp_path: Path) -> None:
    made = embedding(words.vectors("normal", 30, 6, 1))
    file = tmp_path / "genes"
    for chosen in (range(5, 15), range(15, 25)):
        file.write_text("\n".join(f"w{i:03d}" for i in chosen))
        found = made.pair("w000", "w001", 9, filters=Filters(genes=str(file)))
        assert {g for f in found.found for g in (f.c, f.d)} <= {f"w{i:03d}" for i in chosen}
        assert len(found.found) == 9


def test_notes__say_what_was_left_out() -> None:
    x = words.vectors("normal", 12, 4, 1)
    x[3], x[5] = x[4], 0
    made = embedding(x, [f"w{i:03d}" for i in range(12)])
    found = made.pair("w000", "w001", 10**4, filters=Filters(unit=True, min_difference=0.2))
    text = "\n".join(found.notes)
    assert "w005" in text
    assert "1 pairs of (nearly) the same vector" in text
    assert "min-difference" in text
    assert f"no more than {len(found.found)} answers" in text
    assert made.pair("w000", "w001", 3).notes[0].startswith("1 pairs")


def test_similar__filters(tmp_path: Path) -> None:
    made = embedding(words.vectors("normal", 40, 6, 1), [f"w{i:03d}" for i in range(40)])
    x = made.vectors.astype(np.float64)
    plain = made.similar("w000", 39)
    assert made.similar("w000", 39, filters=Filters()) == plain
    under = made.similar("w000", 5, filters=Filters(ceiling=0.3))
    assert under == [n for n in plain if n.cosine <= 0.3][:5]
    file = tmp_path / "genes"
    file.write_text("w004 \nw009\nw011\n")
    assert made.similar("w000", 5, filters=Filters(genes=str(file))) == [
        n for n in plain if n.gene in ("w004", "w009", "w011")
    ]
    far = np.linalg.norm(x - x[0], axis=1) >= oracles.quantile(x, 0.4)
    kept = made.similar("w000", 39, filters=Filters(min_difference=0.4))
    assert kept == [n for n in plain if far[int(n.gene[1:])]]


# -- bad input --------------------------------------------------------------------------------------------------


def ways(made: Embedding, *, filters: Filters | None = None, k: int = 3) -> list[Any]:
    """Every question, as functions of its first gene."""
    return [
        lambda a: made.pair(a, "CD3D", k, filters=filters),
        lambda a: made.pair(a, "CD3D", k, metric="inner", filters=filters),
        lambda a: made.pair(a, "CD3D", k, sums=True, filters=filters),
        lambda a: made.pair("CD3D", a, k, metric="l2", filters=filters),
        lambda a: made.gene(a, k, filters=filters),
        lambda a: made.solve(a, "CD3D", "RPL3", k, filters=filters),
        lambda a: made.solve("CD3D", "RPL3", a, k, filters=filters),
    ]


def test_bad__unknown_gene_names_the_closest() -> None:
    for way in ways(known()):
        with pytest.raises(InputError, match=r"CD3X.*CD3[DE]"):
            way("CD3X")


def test_bad__k() -> None:
    for k in (0, -3):
        for way in ways(known(), k=k):
            with pytest.raises(SpecError, match=f"k must be at least 1, got {k}"):
                way("TP53")


def test_bad__the_same_gene_twice() -> None:
    with pytest.raises(InputError, match=r"two different genes, got 'TP53' and 'p53', which are both TP53"):
        known().pair("TP53", "p53")
    for asked in (("TP53", "7157", "CD3E"), ("TP53", "CD3E", "p53"), ("CD3E", "TP53", "tp53")):
        with pytest.raises(InputError, match="three different genes, got TP53 twice"):
            known().solve(*asked)


def test_bad__fewer_than_four_genes() -> None:
    made = embedding(np.eye(3), ["CD3E", "CD3D", "TP53"])
    for way in ways(made)[:5]:
        with pytest.raises(InputError, match="at least 4 genes to choose from, found 3"):
            way("CD3E")


def test_four_and_five_genes() -> None:
    for n in (4, 5):
        made = embedding(words.vectors("normal", n, 3, 1), GENES[:n])
        found = made.pair("CD3E", "CD3D", 100).found
        assert len(found) == (n - 2) * (n - 3)
        assert len(made.pair("CD3E", "CD3D", 100, sums=True).found) == (n - 2) * (n - 3) // 2
        assert len(made.gene("CD3E", 100).found) == (n - 1) * (n - 2) * (n - 3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad__vectors_that_are_not_numbers_are_named(tmp_path: Path, bad: float) -> None:
    made = known()
    made.vectors[2, 1] = bad
    file = tmp_path / "genes"
    file.write_text("\n".join(g for g in GENES if g != "TP53"))
    for filters in (None, Filters(unit=True)):
        for way in ways(made, filters=filters):
            with pytest.raises(InputError, match="e: the vectors of TP53 hold NaN or infinite"):
                way("CD3E")
    for way in ways(made, filters=Filters(genes=str(file))):  # asked, though it may not answer
        assert way("CD3E") is not None
        with pytest.raises(InputError, match="TP53 hold NaN"):
            way("TP53")
    with pytest.raises(InputError, match="TP53 hold NaN"):
        made.similar("CD3E", filters=Filters(ceiling=0.9))


def test_bad__zeros_where_a_direction_is_needed_are_named() -> None:
    made = known()
    made.vectors[2] = 0
    for way in ways(made, filters=Filters(unit=True)):
        with pytest.raises(InputError, match="the vector of TP53 in e is zero"):
            way("TP53")
    for way in ways(made)[-2:]:
        with pytest.raises(InputError, match="the vector of TP53 in e is zero"):
            way("TP53")
    for way in ways(made)[:5]:  # a difference from zero is a direction
        assert len(way("TP53").found) == 3
    assert any("TP53" in note for note in made.solve("CD3E", "CD3D", "RPL3").notes)


def test_bad__duplicates_have_no_direction() -> None:
    made = known()
    made.vectors[1] = made.vectors[0]
    with pytest.raises(InputError, match=r"CD3E and CD3D have \(nearly\) the same vector"):
        made.pair("CD3E", "CD3D")
    with pytest.raises(InputError, match="no direction"):
        made.solve("CD3E", "CD3D", "TP53")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"cannot read the genes in .*genes\.txt: No such file"),
        (b"", r"genes\.txt: expected one gene a line, found no names"),
        (b"# none\n\n", "found no names"),
        (b"XYZZY1\nXYZZY2\n", "found 2 names, none of them known here: XYZZY1, XYZZY2"),
        (b"\xff\xfe\x00", "it is not UTF-8 text"),
    ],
)
def test_bad__files_of_genes(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "genes.txt"
    if content is not None:
        file.write_bytes(content)
    for way in ways(known(), filters=Filters(genes=str(file))):
        with pytest.raises(InputError, match=message):
            way("CD3E")
    with pytest.raises(InputError, match=message):
        known().similar("CD3E", filters=Filters(genes=str(file)))


def test_biotype() -> None:
    made = embedding(np.random.default_rng(0).normal(size=(9, 5)), [*GENES[:6], "MALAT1", "XIST", "king"])
    found = made.pair("MALAT1", "XIST", 1000, filters=Filters(biotype="protein-coding"))
    assert {g for f in found.found for g in (f.c, f.d)} == set(GENES[:6])
    for way in ways(made, filters=Filters(biotype="protein-codin")):
        with pytest.raises(SpecError, match=r"no gene here has the biotype 'protein-codin'.*protein-coding"):
            way("CD3E")
    with pytest.raises(InputError, match="at least 4 genes to choose from, found 2|expected at least 4"):
        made.gene("MALAT1", filters=Filters(biotype="ncRNA"))


def test_metric__unknown() -> None:
    with pytest.raises(SpecError, match="metric"):
        known().pair("CD3E", "CD3D", metric="cos")


def test_filters__out_of_range() -> None:
    for wrong in ({"ceiling": 1.5}, {"max_per_gene": 0}, {"min_difference": -0.1}, {"min_difference": 2.0}):
        with pytest.raises(SpecError, match=next(iter(wrong)).replace("_", ".")):
            Filters(**wrong)


def test_modules__are_loaded_when_asked() -> None:
    assert query._search() is analogy
