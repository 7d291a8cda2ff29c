"""Gene pairs from the Gene Ontology: each rule by hand, against naive loops, and on the real annotations."""

import itertools
import zlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from g2v_dask.errors import InputError, SpecError
from g2v_dask.evaluate_spec import BROAD, GoaSpec
from g2v_dask.evaluation import goa
from g2v_dask.genes import GeneTable
from g2v_dask.ontology import ROOT, Ontology
from tests import go_toy
from tests.data_paths import data
from tests.go_toy import B, C, D, E, G, X


def spec(**given) -> GoaSpec:
    return GoaSpec(**{"go": "in", "to": "out", "exclude": (X,), **given})


def toy(folder: Path, each: int = 12) -> Ontology:
    files = sorted(go_toy.tables(folder / "go", each).iterdir())
    return Ontology.read(files, GeneTable.load(go_toy.table(folder, each)))


def random_ontology(seed: int) -> Ontology:
    """60 terms whose parents are drawn among those before them, 90 genes with 1 to 4 of them."""
    rng = np.random.default_rng(seed)
    terms = [ROOT, *(f"GO:{k:07d}" for k in range(1, 60))]
    parents = {
        term: tuple(sorted({terms[p] for p in rng.integers(max(0, k - 25), k, size=rng.integers(1, 3))})) if k else ()
        for k, term in enumerate(terms)
    }
    rows = {
        (f"G{g}", terms[t], str(rng.choice(["IDA", "IEA", "TAS"])))
        for g in range(90)
        for t in rng.integers(0, 60, size=rng.integers(1, 5))
    }
    return Ontology(terms={t: t for t in terms}, parents=parents, annotations=tuple(sorted(rows)))


def pairs(split: goa.Split, label: int) -> list[frozenset[str]]:
    return [
        frozenset((a, b))
        for a, b, value in zip(split.first.tolist(), split.second.tolist(), split.label.tolist(), strict=True)
        if value == label
    ]


def kinds(pair: frozenset[str]) -> tuple[str, str]:
    first, second = sorted(gene[0].lower() for gene in pair)
    return first, second


def test_build__each_rule_by_hand(tmp_path):
    built = goa.build(toy(tmp_path), spec(split="1:1:1"))
    assert built.genes == 6 * 12  # kinds f, g, h and j carry nothing that counts
    assert built.terms == len({C, D, E, G})
    yes = Counter(kinds(pair) for split in built.splits for pair in pairs(split, 1))
    no = Counter(kinds(pair) for split in built.splits for pair in pairs(split, 0))
    assert set(yes) == go_toy.YES
    assert set(no) == go_toy.NO
    assert built.positives == 6 * 66 + 2 * 144  # within six kinds, and between two and two
    assert built.positive_genes == 72
    assert built.doubtful == 0


def test_build__doubtful_negatives_share_what_does_not_count(tmp_path):
    ontology = toy(tmp_path)
    extra = tuple((f"{kind}{n}", B, "IEA") for kind in "AE" for n in range(12))
    richer = Ontology(terms=ontology.terms, parents=ontology.parents, annotations=(*ontology.annotations, *extra))
    built = goa.build(richer, spec(split="1:1:1"))
    ae = sum(kinds(pair) == ("a", "e") for split in built.splits for pair in pairs(split, 0))
    assert built.doubtful == ae > 0


def test_kept__evidence_terms_and_levels(tmp_path):
    ontology = toy(tmp_path, 1)
    assert goa.kept(ontology, spec()) == {
        "A0": {C}, "B0": {C}, "C0": {E}, "D0": {D}, "E0": {G}, "I0": {E}
    }  # fmt: skip
    assert set(goa.kept(ontology, spec(evidence=("IEA",)))) == {"F0"}
    assert goa.kept(ontology, spec(exclude=()))["G0"] == {X}
    assert goa.kept(ontology, spec(exclude=(X, E))).keys() == {"A0", "B0", "D0", "E0"}
    assert goa.kept(ontology, spec(least_level=4)) == {"C0": {E}, "I0": {E}}
    assert goa.kept(ontology, spec(least_level=2)).keys() >= {"H0", "J0"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_build__agrees_with_naive_loops(seed):
    ontology = random_ontology(seed)
    options = spec(seed=seed, split="2:1:1", least_level=2, exclude=())
    built = goa.build(ontology, options)
    own = goa.kept(ontology, options)
    below = {t: {d for d in ontology.terms if t in (d, *ontology.ancestors(d))} for t in ontology.terms}
    reach = {gene: set().union(*(below[t] for t in terms)) for gene, terms in own.items()}
    yes = {frozenset(p) for p in itertools.combinations(own, 2) if own[p[0]] & own[p[1]]}
    may = {frozenset(p) for p in itertools.combinations(own, 2) if not reach[p[0]] & reach[p[1]]}
    assert built.positives == len(yes)
    assert built.positive_genes == len(frozenset().union(*yes))
    split_of: dict[str, str] = {}
    for split in built.splits:
        drawn = pairs(split, 0)
        assert set(drawn) <= may
        assert len(set(drawn)) == len(drawn) == len(pairs(split, 1)) == split.counts["negatives"]
        for gene in frozenset().union(*drawn, *pairs(split, 1)):
            assert split_of.setdefault(gene, split.name) == split.name  # no gene in two splits
    found = [pair for split in built.splits for pair in pairs(split, 1)]
    assert len(found) == len(set(found))
    inside = {p for p in yes if len({split_of.get(g) for g in p}) == 1 and None not in map(split_of.get, p)}
    assert set(found) == inside
    assert sum(split.genes for split in built.splits) == built.genes == len(own)


def test_build__same_seed_same_pairs(tmp_path):
    ontology = toy(tmp_path, 40)

    def lines(**given) -> list[tuple[str, str, int]]:
        return [
            row
            for s in goa.build(ontology, spec(split="1:1:1", **given)).splits
            for row in zip(s.first.tolist(), s.second.tolist(), s.label.tolist(), strict=True)
        ]

    assert lines(seed=3) == lines(seed=3) != lines(seed=4)
    labels = [label for _, _, label in lines(seed=3)]
    assert labels != sorted(labels, reverse=True)  # mixed
    assert {a < b for a, b, label in lines(seed=3) if label} == {True, False}  # either gene first


def test_parts__of_the_genes():
    for ratio, counts in (("7:1:2", [70, 10, 20]), ("1:1:1", [33, 33, 34]), ("8:1:1", [80, 10, 10])):
        assert np.bincount(goa._parts(100, spec(split=ratio))).tolist() == counts
    assert goa._parts(100, spec(seed=1)).tolist() != goa._parts(100, spec(seed=2)).tolist()


def test_unranked__numbers_every_pair_once():
    first, second = goa._unranked(np.arange(200 * 199 // 2))
    assert (first < second).all()
    assert (second < 200).all()
    assert len(set(zip(first.tolist(), second.tolist(), strict=True))) == 200 * 199 // 2
    count = 60_000_000  # near the largest that floats can tell
    last = np.array([count * (count - 1) // 2 - 1])
    assert [int(x[0]) for x in goa._unranked(last)] == [count - 2, count - 1]


def test_negatives__are_drawn_evenly(tmp_path):
    ontology = toy(tmp_path, 4)
    own = goa.kept(ontology, spec())
    genes, reach = sorted(own), goa._reach(ontology, [own[gene] for gene in sorted(own)])
    drawn: Counter[tuple[str, str]] = Counter()
    for seed in range(200):
        rng = np.random.default_rng(seed)
        first, second = goa._negatives(np.arange(24), 56, reach, rng, "train")  # half of them
        drawn.update(kinds(frozenset((genes[a], genes[b]))) for a, b in zip(first, second, strict=True))
    counts = np.array([drawn[pair] for pair in sorted(go_toy.NO)])  # each stands for 16 pairs
    assert counts.sum() == 200 * 56
    assert counts.min() > 0.93 * counts.mean()
    assert counts.max() < 1.07 * counts.mean()


def test_build__refuses(tmp_path):
    ontology = toy(tmp_path)
    with pytest.raises(InputError, match=r"no annotation has evidence EXP, HDA; there are IDA \(60\), .*IEA \(12\)"):
        goa.build(ontology, spec(evidence=("EXP", "HDA")))
    with pytest.raises(InputError, match="exclude names GO:0000999, no term of biological process"):
        goa.build(ontology, spec(exclude=("GO:0000999",)))
    with pytest.raises(InputError, match="none of the 108 genes carries a term of level 9 or more"):
        goa.build(ontology, spec(least_level=9))
    with pytest.raises(InputError, match="no two of the 1 genes of valid share a term"):
        goa.build(ontology, spec(split="70:1:1"))
    same = Ontology(
        terms=ontology.terms, parents=ontology.parents, annotations=tuple((f"A{n}", C, "IDA") for n in range(30))
    )
    with pytest.raises(InputError, match="train has 210 positives, but only 0 pairs share neither term nor child"):
        goa.build(same, spec())


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"split": "7:1"}, "split must be three whole numbers"),
        ({"split": "7:0:3"}, "split must be three whole numbers"),
        ({"evidence": ()}, "evidence must name one code"),
        ({"exclude": ("signal transduction",)}, "exclude must name terms such as GO:0007165"),
        ({"tax_id": "human"}, "tax_id must be a number"),
        ({"least_level": -1}, "least_level must be at least 0"),
    ],
)
def test_spec__refuses(given, match):
    with pytest.raises(SpecError, match=match):
        spec(**given)


def test_build__real():
    whole = Ontology.read(sorted(data("genes").iterdir()), GeneTable.load())
    some = tuple(row for row in whole.annotations if zlib.crc32(row[0].encode()) % 4 == 0)  # a quarter of the genes
    ontology = Ontology(terms=whole.terms, parents=whole.parents, annotations=some)
    options = spec(exclude=BROAD)
    built = goa.build(ontology, options)
    own = goa.kept(ontology, options)
    given = np.array([split.genes for split in built.splits])
    assert given.sum() == built.genes == len(own) > 2_500
    assert (abs(given / built.genes - [0.7, 0.1, 0.2]) < 0.001).all()
    assert built.positives > 50_000
    above = {gene: terms.union(*map(ontology.ancestors, terms)) for gene, terms in own.items()}
    assert not {t for terms in own.values() for t in terms if ontology.level(t) < 3 or t in BROAD}
    rng = np.random.default_rng(1)
    for split in built.splits:
        assert split.counts["positives"] == split.counts["negatives"]
        drawn = rng.choice(len(split.label), 500)
        for a, b, label in zip(split.first[drawn], split.second[drawn], split.label[drawn].tolist(), strict=True):
            assert bool(own[a] & own[b]) == bool(label)
            assert label or not (above[a] & own[b] or above[b] & own[a])
    train, valid, test = ({*s.first.tolist(), *s.second.tolist()} for s in built.splits)
    assert len(train | valid | test) == len(train) + len(valid) + len(test)
