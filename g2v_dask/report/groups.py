"""What a report says of groups of genes: the groups, one of them with its members, the gene sets in them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from g2v_dask.analysis.genesets import FDR, Enriched, Enrichment
from g2v_dask.analysis.groups import Group
from g2v_dask.names import Names
from g2v_dask.report.markdown import body, escape
from g2v_dask.report.sheets import Column, Sheet
from g2v_dask.store import Artifact

BIOTYPES = 3  # named; the rest are added up
SETS = 5  # of each group, where all groups are shown
SETS_OF_ONE = 25  # where one is


def facts_of(artifact: Artifact) -> tuple[str, ...]:
    """What groups were made of, and how."""
    facts, identity = artifact.facts, artifact.manifest["identity"]
    return (
        f"embedding {facts['embedding']}",
        "unit vectors" if identity["unit"] else "vectors as stored",
        f"k-means by {facts['method']}",
        f"seed {identity['seed']}",
        f"inertia {facts['inertia']:,.6g}",
    )


def groups_sheet(groups: Sequence[Group], names: Names, artifact: Artifact) -> Sheet:
    """One row a group: its size, biotypes, and the genes nearest to its mean."""
    return Sheet(
        title=f"{len(groups)} group{'s' * (len(groups) > 1)} of {artifact.facts['genes']:,} genes",
        facts=facts_of(artifact),
        columns=(
            Column(name="Group", right=True),
            Column(name="Genes", right=True),
            Column(name="Biotypes"),
            Column(name="Most typical genes"),
        ),
        rows=tuple(
            (
                str(group.number),
                f"{len(group.genes):,}",
                biotypes(group),
                ", ".join(names.about(gene).symbol for gene in group.typical),
            )
            for group in groups
        ),
    )


def biotypes(group: Group) -> str:
    """The most common biotypes of a group, in per cent of its genes.

    >>> kinds = (("protein-coding", 900), ("ncRNA", 60), ("", 35), ("pseudo", 5))
    >>> biotypes(Group(number=1, genes=("G",) * 1000, cosine=(1.0,) * 1000, biotypes=kinds))
    'protein-coding 90.0 %, ncRNA 6.0 %, unknown 3.5 %, rest 0.5 %'
    """
    named = [(kind if kind else "unknown", count) for kind, count in group.biotypes[:BIOTYPES]]
    rest = len(group.genes) - sum(count for _, count in named)
    shares = ((kind, 100 * count / len(group.genes)) for kind, count in [*named, ("rest", rest)])
    return ", ".join(f"{kind} {share:.1f} %" for kind, share in shares if share >= 0.05)


def members_sheet(group: Group, names: Names, *, facts: tuple[str, ...] = ()) -> Sheet:
    """Every gene of a group, the most typical first."""
    return Sheet(
        title=f"Group {group.number}",
        facts=(*facts, f"{len(group.genes):,} genes", biotypes(group)),
        columns=(
            Column(name="Gene"),
            Column(name="Cosine", right=True),
            Column(name="Biotype"),
            Column(name="Description"),
        ),
        rows=tuple(
            (about, f"{cosine:.4f}", names.biotype(about.gene), about.description)
            for about, cosine in zip(map(names.about, group.genes), group.cosine, strict=True)
        ),
    )


def sets_sheet(groups: Sequence[Group], enrichment: Enrichment) -> Sheet:
    """The best gene sets of each group; more of them where it is one group."""
    alone = len(groups) == 1
    most = SETS_OF_ONE if alone else SETS
    best = {group.number: enrichment.best(group.number, most) for group in groups}
    without = [str(number) for number, sets in best.items() if not sets]
    none = (f"No set has q ≤ {FDR} in group{'s' * (len(without) > 1)} {', '.join(without)}.",) if without else ()
    columns = (
        Column(name="Group", right=True),
        Column(name="Gene set"),
        *(Column(name=name, right=True) for name in ("Overlap", "Expected", "Odds ratio", "q")),
    )
    rows = ((str(number), *_set_row(found)) for number, sets in best.items() for found in sets)
    return Sheet(
        title=f"Gene sets in group {groups[0].number}" if alone else "Gene sets in each group",
        facts=facts_of_test(enrichment),
        columns=columns[alone:],
        rows=tuple(row[alone:] for row in rows),
        notes=none,
    )


def facts_of_test(enrichment: Enrichment) -> tuple[str, ...]:
    """How gene sets were tested."""
    return (
        "Fisher's exact test, one-sided",
        f"universe {enrichment.universe:,} genes, those in at least one of {enrichment.sets:,} sets",
        f"q by Benjamini-Hochberg over {enrichment.tests:,} tests, shown to {FDR}",
    )


def _set_row(found: Enriched) -> tuple[str, ...]:
    return (
        found.name,
        f"{found.overlap:,} of {found.size:,}",
        f"{found.expected:,.1f}",
        f"{found.odds_ratio:,.1f}" if math.isfinite(found.odds_ratio) else "∞" if found.odds_ratio > 0 else "",
        f"{found.q:.1e}" if found.q > 0 else "< 1e-300",
    )


def groups_markdown(groups: Sequence[Group], names: Names, *, artifact: Artifact, enrichment: Enrichment | None) -> str:
    """Everything: the table of groups, then each group with its gene sets and all its members."""
    return "\n".join(_sections(groups, names, artifact, enrichment))


def _sections(
    groups: Sequence[Group], names: Names, artifact: Artifact, enrichment: Enrichment | None
) -> Iterator[str]:
    first = groups_sheet(groups, names, artifact)
    if enrichment is not None:
        first = replace(first, notes=(f"Gene sets: {'; '.join(facts_of_test(enrichment))}.",))
    yield f"# {escape(first.title)}\n\n{body(first)}"
    for group in groups:
        members = members_sheet(group, names)
        yield f"## {escape(members.title)}\n"
        if enrichment is not None:
            sets = replace(sets_sheet([group], enrichment), facts=())  # once, above
            yield f"### {escape(sets.title)}\n\n{body(sets)}\n### Genes of group {group.number}\n"
        yield body(members)
