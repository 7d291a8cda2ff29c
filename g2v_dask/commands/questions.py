"""The commands that ask an embedding: similar, analogy, ask."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from g2v_dask.commands.options import (
    Command,
    cluster_of,
    display_of,
    json_option,
    spec_of,
    spec_options,
    store_of,
    store_option,
    work_options,
)
from g2v_dask.errors import SpecError
from g2v_dask.options import Spec
from g2v_dask.questions import BatchSpec, BestSpec, Filters, NearSpec, PairSpec

if TYPE_CHECKING:
    from g2v_dask.answers import Analogies, NearPairs, Solutions
    from g2v_dask.query import Embedding


def embedding_option(command: Command) -> Command:
    """``--name``."""
    return click.option("--name", help="embedding to ask [the only one]")(command)


def k_option(text: str) -> Callable[[Command], Command]:
    """``-k``; what is wrong with a number is said where it is used."""
    return click.option("-k", default=10, show_default=True, type=int, help=text)


def report_options(command: Command) -> Command:
    """Where answers go."""
    for decorate in (
        json_option,
        click.option("--html", metavar="FILE", help="write the answer as one self-contained HTML page"),
        click.option("--markdown", metavar="FILE", help="write the answer as Markdown, with Protein Atlas links"),
    ):
        command = decorate(command)
    return command


def _show(
    embedding: Embedding,
    answers: Analogies | Solutions | NearPairs,
    *,
    markdown: str | None,
    html: str | None,
    as_json: bool,
    groups: int | None = None,
) -> None:
    """Prints answers, or writes them where they were asked for."""
    from g2v_dask import report

    if markdown is not None or html is not None:
        full = report.full_sheet(answers, embedding.names, embedding.vectors, groups=groups)
        if markdown is not None:
            report.write_markdown(Path(markdown), full)
        if html is not None:
            report.write_html(Path(html), full)
    if as_json:
        click.echo(json.dumps(answers.as_json(), indent=1))
    elif markdown is None and html is None:
        report.show_sheet(report.sheet(answers, embedding.names))


# -- similar ------------------------------------------------------------------------------------------------


@click.command()
@click.argument("genes_asked", nargs=-1, metavar="GENE...")
@store_option
@click.option("--name", help="embedding to ask [the only one]")
@click.option("-k", type=int, help="neighbours to list [10; with --best 1000]")
@click.option("--best", is_flag=True, help="the nearest pairs of all genes instead, as answers/NAME-near")
@click.option("--histogram", metavar="FILE", help="a picture of all similarities (.png .svg .pdf)")
@spec_options(Filters)
@click.option("--to", help="with --best: name of the answers [that of the embedding and -near]")
@click.option("--html", metavar="FILE", help="write the answer as one self-contained HTML page")
@click.option("--markdown", metavar="FILE", help="write the answer as Markdown, with Protein Atlas links")
@work_options
def similar(
    *,
    genes_asked: tuple[str, ...],
    store: str,
    name: str | None,
    k: int | None,
    best: bool,
    histogram: str | None,
    to: str | None,
    html: str | None,
    markdown: str | None,
    cluster: str | None,
    cluster_workers: int | None,
    report: str | None,
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """List the nearest genes of each GENE by cosine; with --best the nearest pairs of all.

    A gene is named by symbol, Ensembl id, Entrez id or alias, in any case.
    """
    if bool(genes_asked) == (best or histogram is not None):
        msg = "name at least one GENE, or ask for --best or --histogram without one"
        raise SpecError(msg)
    if histogram is not None:
        _histogram(store, name, histogram)
    if best:
        spec = spec_of(NearSpec, {"name": name, "to": to, "k": k, **given})
        _batch(store, spec, cluster, cluster_workers, report, quiet, html=html, markdown=markdown, as_json=as_json)
    elif genes_asked:
        _similar(store, name, genes_asked, 10 if k is None else k, spec_of(Filters, given), markdown, html, as_json)


def _similar(
    store: str,
    name: str | None,
    genes: tuple[str, ...],
    k: int,
    filters: Spec,
    markdown: str | None,
    html: str | None,
    as_json: bool,  # noqa: FBT001
) -> None:
    from g2v_dask import query, report

    assert isinstance(filters, Filters)
    embedding = query.open_embedding(store_of(store), name)
    answers = {gene: embedding.similar(gene, k=k, filters=filters) for gene in genes}
    if markdown is not None:
        report.write(Path(markdown), report.similar_markdown(answers, embedding.name))
    if html is not None:
        facts = (f"embedding {embedding.name}", "cosine", *report.filter_facts(filters.given()))
        sheets = [report.similar_sheet(gene, found, facts) for gene, found in answers.items()]
        report.write_html(Path(html), *sheets)
    if as_json:
        click.echo(json.dumps({g: [n.as_json() for n in found] for g, found in answers.items()}, indent=1))
    elif markdown is None and html is None:
        report.similar_table(answers)


def _histogram(store: str, name: str | None, file: str) -> None:
    from g2v_dask import analogy, query, report

    embedding = query.open_embedding(store_of(store), name)
    counts, edges = analogy.histogram(embedding)
    report.write_histogram(Path(file), counts, edges, embedding=embedding.name, genes=len(embedding))


# -- analogy ------------------------------------------------------------------------------------------------


@click.group()
def analogy() -> None:
    """Ask which differences of genes are alike: exact, over all n² of them.

    Differences are of the vectors as stored, unless --unit is given; all four genes of an answer differ.
    Try --ceiling 0.8 where paralogues answer each other, --max-per-gene 2 where one gene fills the list.
    """


@analogy.command()
@click.argument("a")
@click.argument("b")
@store_option
@embedding_option
@k_option("answers to list")
@spec_options(PairSpec)
@report_options
def pair(
    *, a: str, b: str, store: str, name: str | None, k: int, markdown: str | None, html: str | None, as_json: bool,
    **given: Any,
) -> None:  # fmt: skip
    """List the pairs (C, D) with A − B ≈ C − D."""
    from g2v_dask import query

    spec: Any = spec_of(PairSpec, given)
    embedding = query.open_embedding(store_of(store), name)
    found = embedding.pair(a, b, k, metric=spec.metric, sums=spec.sums, filters=spec.filters)
    _show(embedding, found, markdown=markdown, html=html, as_json=as_json)


@analogy.command()
@click.argument("a")
@store_option
@embedding_option
@k_option("answers to list")
@spec_options(Filters)
@click.option("--groups", type=click.IntRange(min=1), help="k-means groups of the heat map [by silhouette]")
@report_options
def gene(
    *, a: str, store: str, name: str | None, k: int, groups: int | None, markdown: str | None, html: str | None,
    as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """List the best A − B ≈ C − D over every B, C and D.

    Markdown and HTML hold a heat map of the cosines among the A − B vectors, in k-means groups. It takes from
    seconds to minutes: every difference is compared with every A − B.
    """
    from g2v_dask import query

    filters: Any = spec_of(Filters, given)
    embedding = query.open_embedding(store_of(store), name)
    found = embedding.gene(a, k, filters=filters)
    _show(embedding, found, markdown=markdown, html=html, as_json=as_json, groups=groups)


@analogy.command()
@click.argument("a")
@click.argument("b")
@click.argument("c")
@store_option
@embedding_option
@k_option("answers to list")
@spec_options(Filters)
@click.option("--include-inputs", is_flag=True, help="A, B and C may answer too, as exp2vec prints them")
@report_options
def solve(
    *, a: str, b: str, c: str, store: str, name: str | None, k: int, include_inputs: bool, markdown: str | None,
    html: str | None, as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Solve A − B = ? − C by 3CosAdd, 3CosMul and PairDirection, on unit vectors."""
    from g2v_dask import query

    filters: Any = spec_of(Filters, given)
    embedding = query.open_embedding(store_of(store), name)
    found = embedding.solve(a, b, c, k, include_inputs=include_inputs, filters=filters)
    _show(embedding, found, markdown=markdown, html=html, as_json=as_json)


@analogy.command()
@store_option
@spec_options(BestSpec)
@click.option("--html", metavar="FILE", help="write the answer as one self-contained HTML page")
@click.option("--markdown", metavar="FILE", help="write the answer as Markdown, with Protein Atlas links")
@work_options
def best(
    *, store: str, cluster: str | None, cluster_workers: int | None, report: str | None, quiet: bool,
    html: str | None, markdown: str | None, as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Find the best analogies of all, over all pairs of differences, exactly; on the cluster, resumable.

    Each analogy comes once: of its four equal forms the one with the smallest gene id first.
    """
    spec = spec_of(BestSpec, given)
    _batch(store, spec, cluster, cluster_workers, report, quiet, html=html, markdown=markdown, as_json=as_json)


@analogy.command()
@click.argument("file")
@store_option
@spec_options(BatchSpec, leave_out=("file",))
@click.option("--html", metavar="FILE", help="write the answers as one self-contained HTML page")
@click.option("--markdown", metavar="FILE", help="write the answers as Markdown, with Protein Atlas links")
@work_options
def batch(
    *, file: str, store: str, cluster: str | None, cluster_workers: int | None, report: str | None, quiet: bool,
    html: str | None, markdown: str | None, as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Answer every pair of genes in FILE (two a line), many in one pass; kept in the store as answers/NAME."""
    spec = spec_of(BatchSpec, {"file": file, **given})
    _batch(store, spec, cluster, cluster_workers, report, quiet, html=html, markdown=markdown, as_json=as_json)


def _batch(
    store: str,
    spec: Any,
    cluster: str | None,
    workers: int | None,
    performance: str | None,
    quiet: bool,  # noqa: FBT001
    *,
    html: str | None,
    markdown: str | None,
    as_json: bool,
) -> None:
    """Runs a batch of questions, then prints or writes what it found."""
    from g2v_dask import report
    from g2v_dask.flows import questions

    where = cluster_of(cluster, workers)
    found = questions.run(store, spec, cluster=where, display=display_of(quiet=quiet), report=performance)
    sheets = [report.sheet(answers, found.embedding.names) for answers in found.answers]
    if markdown is not None:
        report.write_markdown(Path(markdown), *sheets)
    if html is not None:
        report.write_html(Path(html), *sheets)
    if as_json:
        click.echo(json.dumps({"artifact": found.key, "answers": [a.as_json() for a in found.answers]}, indent=1))
    elif markdown is None and html is None:
        for sheet in sheets:
            report.show_sheet(sheet)
        click.echo(f"all of it: {found.key} (Parquet; 'g2v show {found.key}' says where)")


# -- ask ----------------------------------------------------------------------------------------------------


@click.command("ask")
@store_option
@click.option("--name", help="embedding to ask first [the only one]")
@click.option("-k", default=10, show_default=True, type=click.IntRange(min=1), help="answers to list")
@click.option("--session", metavar="FILE", help="Markdown file of the answers [g2v-session-DATE-TIME.md]")
@click.option("--history", metavar="FILE", help="lines to go back to [~/.local/state/g2v/history, by the XDG rules]")
def ask(*, store: str, name: str | None, k: int, session: str | None, history: str | None) -> None:
    """Ask one question after another: a prompt with completion of gene names; 'help' in it tells all.

    Every answer is also appended to a Markdown file. From a pipe, lines are read plainly, and the exit code is
    2 if any of them could not be answered: printf 'pair HLA-DRA CD74\\n' | g2v ask --store work
    """
    from g2v_dask.ask import ask as start

    sys.exit(
        start(
            store_of(store),
            name,
            k=k,
            session=None if session is None else Path(session),
            history=None if history is None else Path(history),
        )
    )
