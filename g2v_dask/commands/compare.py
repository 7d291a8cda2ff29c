"""The command that holds embeddings against each other: compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from g2v_dask.commands.options import cluster_of, display_of, spec_of, spec_options, store_option, work_options
from g2v_dask.spec import EvaluateSpec


@click.command()
@click.argument("embeddings", nargs=-1, required=True, metavar="EMBEDDING EMBEDDING...")
@store_option
@spec_options(EvaluateSpec, leave_out=("name", "to", "beside", "common", "genesets"))
@click.option("--genesets", multiple=True, metavar="GMT", help="gene sets: clusteredness, prediction; repeatable")
@click.option("--html", metavar="FILE", help="write all tables as one self-contained HTML page")
@click.option("--markdown", metavar="FILE", help="write them as Markdown")
@work_options
def compare(
    *, embeddings: tuple[str, ...], store: str, genesets: tuple[str, ...], html: str | None, markdown: str | None,
    cluster: str | None, cluster_workers: int | None, report: str | None, quiet: bool, as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Judge two or more embeddings on the genes that all have, and hold them against the first.

    Asks what g2v evaluate asks, of all with the same genes, pairs, sets and seeds. Differences are paired: all are
    scored on the same resamples of genes, sets or tissues. Then in which neighbours they differ. Ids may differ, for
    genes meet by their symbols; vectors from elsewhere come in with g2v import. Each is kept in the store as
    evaluations/NAME-common-...

    \b
      g2v compare skipgram svd --store work --genesets c2.gmt --pairs gene2vec/ --models cosine,heads
      g2v compare skipgram svd published --store work --tasks neighbours
    """
    spec: Any = spec_of(EvaluateSpec, {**given, "genesets": genesets or None, "beside": embeddings[1:]})
    from g2v_dask.flows import compare as flow

    where = cluster_of(cluster, cluster_workers)
    found = flow.run(store, embeddings, spec, cluster=where, display=display_of(quiet=quiet), report=report)
    from g2v_dask import report as pages
    from g2v_dask.report import book, comparison

    sheets = comparison.sheets(found)
    if markdown is not None:
        book.write_markdown(Path(markdown), book.Book(sheets=sheets))
    if html is not None:
        book.write_html(Path(html), book.Book(sheets=sheets))
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=1))
    elif html is None and markdown is None:
        for sheet in sheets:
            pages.show_sheet(sheet)
