"""The command that judges embeddings: evaluate."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from g2v_dask.commands.options import cluster_of, display_of, spec_of, spec_options, store_option, work_options
from g2v_dask.spec import EvaluateSpec


@click.command()
@store_option
@spec_options(EvaluateSpec, leave_out=("genesets",))
@click.option("--genesets", multiple=True, metavar="GMT", help="gene sets: clusteredness, prediction; repeatable")
@click.option("--figure", metavar="FILE", help="draw the ROC curves of interaction (.png .svg .pdf)")
@click.option("--html", metavar="FILE", help="write all tables and curves as one self-contained HTML page")
@click.option("--markdown", metavar="FILE", help="write them as Markdown, the pictures beside it")
@work_options
def evaluate(
    *, store: str, genesets: tuple[str, ...], figure: str | None, html: str | None, markdown: str | None,
    cluster: str | None, cluster_workers: int | None, report: str | None, quiet: bool, as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Say what an embedding is worth, beside baselines; kept in the store as evaluations/NAME.

    Asks all whose files are given: pathway clusteredness and gene-set prediction (--genesets, --go), gene-gene
    interaction (--pairs), tissues (datasets with read counts), stability and neighbours (--beside). --baselines
    scores also what needs no embedding: a figure without that beside it says little.

    \b
      g2v evaluate --store work --genesets c2.gmt --pairs gene2vec/ --go genes/ --baselines --matched
      g2v evaluate --store work --tasks interaction --pairs gene2vec/ --models cosine,heads --figure roc.svg
    """
    spec: Any = spec_of(EvaluateSpec, {**given, "genesets": genesets or None})
    from g2v_dask.flows import evaluate as flow

    where = cluster_of(cluster, cluster_workers)
    drawn = None if figure is None else Path(figure)
    found = flow.run(store, spec, cluster=where, display=display_of(quiet=quiet), report=report, figure=drawn)
    show(found, html=html, markdown=markdown, as_json=as_json)


def show(found: Any, *, html: str | None, markdown: str | None, as_json: bool) -> None:
    """Prints an evaluation, or writes it where it was asked for."""
    from g2v_dask import report
    from g2v_dask.report import book
    from g2v_dask.report import evaluation as ours

    if html is not None or markdown is not None:
        whole = book.Book(sheets=ours.sheets(found, pictures=True))
        if markdown is not None:
            book.write_markdown(Path(markdown), whole)
        if html is not None:
            book.write_html(Path(html), whole)
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=1))
    elif html is None and markdown is None:
        for page in ours.sheets(found):
            report.show_sheet(page)
        click.echo(f"all of it: {found.artifact.key} (Parquet; 'g2v show {found.artifact.key}' says where)")
