"""The command that tells all of an embedding on one page: report."""

from __future__ import annotations

from pathlib import Path

import click

from g2v_dask.commands.options import store_option
from g2v_dask.errors import SpecError


@click.command()
@click.argument("file", required=False, metavar="FILE.html")
@store_option
@click.option("--name", help="embedding to tell of [the only one]")
@click.option("--markdown", metavar="FILE", help="write it as Markdown too, its pictures beside it")
@click.option("--similar", metavar="GENE,GENE,...", help="genes whose nearest ones are listed [well-known ones]")
@click.option("--solve", multiple=True, metavar="'A B C'", help="A − B = ? − C; repeatable [well-known ones]")
@click.option("--pair", multiple=True, metavar="'A B'", help="A − B ≈ ? − ?; repeatable [CD79A CD3E]")
@click.option("-k", type=int, default=8, show_default=True, help="answers a question")
def report(
    *, file: str | None, store: str, name: str | None, markdown: str | None, similar: str | None,
    solve: tuple[str, ...], pair: tuple[str, ...], k: int,
) -> None:  # fmt: skip
    """Write all that the store knows of an embedding as one page: FILE.html, which needs no network.

    The card, datasets, counts of genes and pairs, the loss; every evaluation of it with its baselines and curves;
    its maps, drawn; its groups; nearest genes and analogies; the commands that make all of it again. What is not
    there is not asked for: run g2v evaluate, map and kmeans first.

    \b
      g2v report --store work --name genes genes.html
      g2v report --store work --markdown genes.md --similar TP53,CD3E --solve 'BRCA1 BRCA2 TP53'
    """
    if file is None and markdown is None:
        msg = "report: name the file to write, as in 'g2v report page.html', or give --markdown FILE"
        raise SpecError(msg)
    from g2v_dask.flows import embedding_report as flow

    genes = None if similar is None else tuple(g.strip() for g in similar.split(",") if g.strip())
    examples = flow.Examples(similar=genes, solve=solve or None, pair=pair or None, k=k)
    known = flow.run(store, name, examples)
    from g2v_dask.report.book import write_html, write_markdown
    from g2v_dask.report.embedding import book

    whole = book(known)
    if file is not None:
        write_html(Path(file), whole)
    if markdown is not None:
        write_markdown(Path(markdown), whole)
    click.echo(f"{known.artifact.key} → {', '.join(f for f in (file, markdown) if f is not None)}")
