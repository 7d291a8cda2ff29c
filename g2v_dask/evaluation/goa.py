"""Pairs of genes that share a process, and pairs that do not, by the annotations of the Gene Ontology.

The recipe of Du et al. 2019 (BMC Genomics 20:82, gene-gene interaction), from a summary: the text itself was not at
hand. What the summary leaves open:

*Terms left out.* Their names were read from the published list. Of its genes, the pairs that
share signal transduction (GO:0007165) or protein phosphorylation (GO:0006468) and nothing else are among its
positives by 1.2 % and 2.1 %, as are random pairs (1.9 %); by cell-cell signaling alone it is 94 %, by nervous system
development 76 %, by proteolysis 59 %. Those two are the default. (Terms that are new or newly used since are rare in
it too, and say nothing.)
*Level.* The shortest way from the root by is_a and part_of, the root has 0; levels 0 to 2 are left out. The published
positives are HumanNet's, of an older ontology: terms that have level 2 today (cell-cell signaling, cell adhesion)
are among them.
*Child term.* Any term below. Two genes are a negative if no term is, for both, one of its own or below one of its own:
the strictest reading. It takes 13 % of random pairs, where 1.5 % share a term.
*Genes.* All that carry a term are split, also those of no positive; a pair belongs to a split with both its genes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, triu

from g2v_dask.errors import InputError
from g2v_dask.evaluate_spec import BROAD, GoaSpec
from g2v_dask.ontology import Ontology

NAMES = ("train", "valid", "test")
PAPER = {"positives": 270_704, "positive_genes": 5_369}  # HumanNet.v1.benchmark, before the split
PUBLISHED = {  # genes and pairs of the published list
    "train": {"genes": 8_832, "positives": 130_455, "negatives": 132_561},
    "valid": {"genes": 1_173, "positives": 2_845, "negatives": 2_723},
    "test": {"genes": 2_467, "positives": 10_848, "negatives": 10_600},
}
BLOCK = 8_192  # pairs tested at once
SPLIT, DRAW, ORDER = 1, 2, 3  # what a seed is for

Rows = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """The pairs of one split, positives and negatives mixed."""

    name: str
    first: NDArray[np.str_]
    second: NDArray[np.str_]
    label: NDArray[np.int8]
    """1 for a pair that shares a term, 0 for one that does not."""
    genes: int
    """That the split was given."""
    used: int
    """That are in a pair."""

    @property
    def counts(self) -> dict[str, int]:
        """Genes given and used, positives, negatives."""
        positives = int(self.label.sum())
        negatives = len(self.label) - positives
        return {"genes": self.genes, "used": self.used, "positives": positives, "negatives": negatives}


@dataclass(frozen=True, kw_only=True, eq=False)
class Built:
    """Pairs in three splits without a gene in common."""

    splits: tuple[Split, ...]
    genes: int
    """That carry a term."""
    terms: int
    """That a gene carries."""
    positives: int
    """Pairs that share a term, before the split."""
    positive_genes: int
    """Genes of these."""
    doubtful: int
    """Negatives that share a term by other evidence, or one that was left out."""


def build(ontology: Ontology, spec: GoaSpec) -> Built:
    """Pairs of genes by the recipe above: as many negatives as positives in each split, drawn evenly.

    The same pairs for the same ontology, options and seed. Which gene of a pair comes first is drawn.
    Memory: about 100 bytes a positive, before the split, and 1 kB a gene.
    Raises: InputError if no annotation has one of the evidence codes, an excluded term is unknown, no term is left,
            or a split has no positive or too few negatives.
    Source: Du et al. 2019, BMC Genomics 20:82; Lee et al. 2011, Genome Res. 21:1109 (HumanNet).
    Oracle: pairwise loops over the sets of terms, in the tests.
    """
    carried = kept(ontology, spec)
    genes = sorted(carried)
    contained = _matrix([carried[gene] for gene in genes])
    shared = triu(contained @ contained.T, k=1).tocoo()
    first, second = shared.row.astype(np.int64), shared.col.astype(np.int64)
    part = _parts(len(genes), spec)
    reach = _reach(ontology, [carried[gene] for gene in genes])
    named = np.array(genes, dtype=np.str_)
    everything = ontology.terms_of()
    all_terms = _matrix([everything[gene] for gene in genes])
    splits, doubtful = [], 0
    for number, name in enumerate(NAMES):
        inside = (part[first] == number) & (part[second] == number)
        members = np.flatnonzero(part == number)
        rng = np.random.default_rng([spec.seed, DRAW, number])
        no = _negatives(members, int(inside.sum()), reach, rng, name)
        doubtful += int(_share(all_terms, *no).sum())
        yes = np.stack([first[inside], second[inside]])
        splits.append(_mixed(name, yes, no, named, len(members), np.random.default_rng([spec.seed, ORDER, number])))
    return Built(
        splits=tuple(splits),
        genes=len(genes),
        terms=contained.shape[1],
        positives=len(first),
        positive_genes=len(np.unique(np.concatenate([first, second]))),
        doubtful=doubtful,
    )


def kept(ontology: Ontology, spec: GoaSpec) -> Mapping[str, frozenset[str]]:
    """Gene to the terms that count; genes without one are left out.

    Raises: InputError as ``build``.
    """
    known = ontology.terms
    absent = [term for term in spec.exclude if term not in known and term not in BROAD]
    if absent:
        msg = f"goa: exclude names {', '.join(absent)}, no term of biological process of this release; correct it"
        raise InputError(msg)
    given = ontology.terms_of(spec.evidence)
    if not given:
        there = ", ".join(f"{code} ({count:,})" for code, count in ontology.evidence.items())
        msg = f"goa: no annotation has evidence {', '.join(spec.evidence)}; there are {there}"
        raise InputError(msg)
    counts = {term for term in known if ontology.level(term) >= spec.least_level}.difference(spec.exclude)
    left = {gene: terms & counts for gene, terms in given.items()}
    if not any(left.values()):
        msg = (
            f"goa: none of the {len(given):,} genes carries a term of level {spec.least_level} or more that is not "
            f"excluded; lower --least-level, or exclude less"
        )
        raise InputError(msg)
    return {gene: terms for gene, terms in left.items() if terms}


def _matrix(carried: Sequence[Iterable[str]]) -> csr_array:
    """(genes, terms) 1 where a gene carries a term; only terms that are carried."""
    listed = [sorted(terms) for terms in carried]
    number = {term: k for k, term in enumerate(sorted({term for terms in listed for term in terms}))}
    rows = np.repeat(np.arange(len(listed)), [len(terms) for terms in listed])
    columns = np.array([number[term] for terms in listed for term in terms], dtype=np.int64)
    return csr_array((np.ones(len(rows), dtype=np.int32), (rows, columns)), shape=(len(listed), len(number)))


def _parts(genes: int, spec: GoaSpec) -> NDArray[np.int8]:
    """(genes,) the number of each gene's split."""
    order = np.random.default_rng([spec.seed, SPLIT]).permutation(genes)
    ends = genes * np.cumsum(spec.shares) // sum(spec.shares)
    part = np.empty(genes, dtype=np.int8)
    part[order] = np.searchsorted(ends, np.arange(genes), side="right")
    return part


def _reach(ontology: Ontology, carried: Sequence[frozenset[str]]) -> NDArray[np.uint64]:
    """(genes, words) bits: two genes have a common bit if a term is, of both, one of its own or below one.

    A common term has leaves below it, which are common too; so leaves alone have bits. Those that lie under the same
    carried terms need but one.
    """
    terms = {term for carries in carried for term in carries}
    inner = {parent for parents in ontology.parents.values() for parent in parents}
    leaves = sorted(set(ontology.terms) - inner)
    above = sorted({tuple(sorted(terms & {leaf, *ontology.ancestors(leaf)})) for leaf in leaves})
    bits: dict[str, list[int]] = {term: [] for term in terms}
    for bit, carriers in enumerate(above):
        for term in carriers:
            bits[term].append(bit)
    reach = np.zeros((len(carried), len(above) // 64 + 1), dtype=np.uint64)
    for row, carries in zip(reach, carried, strict=True):
        of = np.concatenate([bits[term] for term in carries]).astype(np.uint64)
        np.bitwise_or.at(row, (of // 64).astype(np.int64), np.uint64(1) << of % np.uint64(64))
    return reach


def _negatives(
    members: Rows, wanted: int, reach: NDArray[np.uint64], rng: np.random.Generator, name: str
) -> NDArray[np.int64]:
    """(2, wanted) pairs of members without a common bit, each once, drawn evenly from all of them."""
    count = len(members)
    total = count * (count - 1) // 2
    if not wanted:
        msg = f"goa: no two of the {count:,} genes of {name} share a term; take another seed, or a larger part for it"
        raise InputError(msg)
    drawn = min(total, 2 * wanted + 1_000)
    while True:
        first, second = _unranked(rng.choice(total, size=drawn, replace=False))
        pairs = members[np.stack([first, second])]
        good = np.concatenate(
            [
                ~np.any(reach[pairs[0, at : at + BLOCK]] & reach[pairs[1, at : at + BLOCK]], axis=1)
                for at in range(0, drawn, BLOCK)
            ]
        )
        if int(good.sum()) >= wanted:
            return pairs[:, np.flatnonzero(good)[:wanted]]
        if drawn == total:
            msg = (
                f"goa: {name} has {wanted:,} positives, but only {int(good.sum()):,} pairs share neither term nor "
                f"child term; take another seed, or a larger part for it"
            )
            raise InputError(msg)
        drawn = min(total, 4 * drawn)


def _unranked(codes: Rows) -> tuple[Rows, Rows]:
    """The pairs a < b of which the codes are the numbers b (b - 1) / 2 + a; exact below 2^52 pairs."""
    second = ((1 + np.sqrt(1 + 8 * codes.astype(np.float64))) / 2).astype(np.int64)
    second -= second * (second - 1) // 2 > codes
    second += second * (second + 1) // 2 <= codes
    return codes - second * (second - 1) // 2, second


def _share(carried: csr_array, first: Rows, second: Rows) -> NDArray[np.bool_]:
    """Whether two genes carry a common term."""
    found = [
        np.asarray(carried[first[at : at + BLOCK]].multiply(carried[second[at : at + BLOCK]]).sum(axis=1)).ravel() > 0
        for at in range(0, len(first), BLOCK)
    ]
    return np.concatenate(found)


def _mixed(name: str, yes: Rows, no: Rows, named: NDArray[np.str_], genes: int, rng: np.random.Generator) -> Split:
    """Positives and negatives in random order, each pair in a random direction."""
    pairs = np.concatenate([yes, no], axis=1)
    label = np.repeat(np.array([1, 0], dtype=np.int8), [yes.shape[1], no.shape[1]])
    order, turned = rng.permutation(len(label)), rng.integers(2, size=len(label))
    first, second = pairs[turned, np.arange(len(label))], pairs[1 - turned, np.arange(len(label))]
    return Split(
        name=name,
        first=named[first[order]],
        second=named[second[order]],
        label=label[order],
        genes=genes,
        used=len(np.unique(pairs)),
    )
