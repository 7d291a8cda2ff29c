"""``g2v goa``: gene pairs from the Gene Ontology."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from g2v_dask.commands.options import json_option, spec_of, spec_options
from g2v_dask.evaluate_spec import GoaSpec

if TYPE_CHECKING:
    from g2v_dask.flows.goa import Made


@click.group()
def goa() -> None:
    """Make lists of gene pairs from the annotations of the Gene Ontology."""


@goa.command()
@spec_options(GoaSpec)
@json_option
def pairs(*, as_json: bool, **given: Any) -> None:
    """Write pairs of genes that share a process, and as many that do not, for 'g2v evaluate --pairs'.

    The recipe of Gene2Vec (Du et al. 2019) on today's annotations: biological process, evidence of experiments and
    authors; positives carry a common term, negatives have none in common and none below their terms; genes are split
    first, so that no gene of test or valid is in train. Inputs are files of NCBI (gene2go) and the Gene Ontology
    (go-basic.obo), or three tables.
    """
    spec: Any = spec_of(GoaSpec, given)
    from g2v_dask.flows import goa as flow

    made = flow.pairs(spec)
    if as_json:
        click.echo(json.dumps(made.as_json(), indent=1))
    else:
        _print(made)


def _print(made: Made) -> None:
    from g2v_dask import report
    from g2v_dask.evaluation.goa import PAPER, PUBLISHED

    counts = made.counts
    rows: list[dict[str, Any]] = [
        {"": f"{what}, before the split", "here": counts[key], "paper": PAPER[key]}
        for key, what in (("positives", "pairs that share a term"), ("positive_genes", "genes in them"))
    ]
    for name, split in counts["splits"].items():
        rows += [{"": f"{name}: {key}", "here": split[key], "paper": PUBLISHED[name][key]} for key in PUBLISHED[name]]
    report.table(rows, ("", "here", "paper"))
    negatives = sum(split["negatives"] for split in counts["splits"].values())
    click.echo(
        f"{counts['genes']:,} genes carry {counts['terms']:,} terms. The paper took its positives from "
        f"HumanNet.v1.benchmark, which is older than these annotations: one reason why the counts differ."
    )
    click.echo(
        f"{counts['doubtful']:,} of {negatives:,} negatives share a term by evidence that does not count, or one that "
        f"is left out."
    )
    click.echo(f"{'it was there already' if made.fresh else 'written'}: {made.folder} (g2v evaluate --pairs)")
