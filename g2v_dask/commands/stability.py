"""The command that asks how stable embeddings are: stability."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from g2v_dask.commands.options import cluster_of, display_of, spec_of, spec_options, store_option, work_options
from g2v_dask.errors import SpecError
from g2v_dask.spec import ClusterSpec, TrainSpec


def _numbers(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[int, ...]:
    """Whole numbers with commas between them."""
    try:
        return tuple(int(word) for word in value.split(","))
    except ValueError as error:
        msg = f"k must be whole numbers with commas between them, such as 10,50; got {value!r}"
        raise SpecError(msg) from error


@click.command()
@click.argument("embeddings", nargs=-1, metavar="EMBEDDING...")
@store_option
@click.option("-k", "--k", "ks", default="10,50", show_default=True, callback=_numbers, metavar="K,K,...",
              help="numbers of nearest genes to compare")  # fmt: skip
@click.option("--runs", type=int, help="train so many runs first, with seeds SEED, SEED + 1, ...")
@click.option("--name", help="runs: their embeddings are NAME-seedSEED  [stability-METHOD]")
@spec_options(TrainSpec, leave_out=("name",))
@click.option("--html", metavar="FILE", help="write the report as one self-contained HTML page")
@click.option("--markdown", metavar="FILE", help="write the report as Markdown, its picture beside it")
@work_options
def stability(
    *,
    embeddings: tuple[str, ...],
    store: str,
    ks: tuple[int, ...],
    runs: int | None,
    name: str | None,
    html: str | None,
    markdown: str | None,
    cluster: str | None,
    cluster_workers: int | None,
    report: str | None,
    quiet: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Compare two or more embeddings, or runs of one method that differ in their seed alone.

    Over the genes that all have: how many of its nearest genes a gene keeps, what rotation, shift and scale
    cannot take away of the difference (Procrustes), the rank correlation of cosines, the least stable genes.

    \b
      g2v stability sg svd --store work --markdown stability.md
      g2v stability --runs 5 --method skipgram --from all --store work
    """
    training = {key: value for key, value in {**given, "name": name}.items() if value is not None}
    seed = training.get("seed", 1)
    if bool(embeddings) == (runs is not None):
        msg = "name two or more embeddings to compare, or give --runs to train them first; not both"
        raise SpecError(msg)
    if embeddings and training.keys() - {"seed"}:
        names = ", ".join(sorted(training.keys() - {"seed"}))
        msg = f"{names}: only with --runs, which trains embeddings; {', '.join(embeddings)} are there already"
        raise SpecError(msg)
    from g2v_dask.flows import stability as flow

    if runs is not None:
        spec = spec_of(TrainSpec, {"name": f"stability-{training.get('method', TrainSpec.method)}", **training})
        assert isinstance(spec, TrainSpec)
        where = cluster_of(cluster, cluster_workers) or ClusterSpec()
        shown = display_of(quiet=quiet)
        embeddings = tuple(flow.train(store, spec, runs, cluster=where, display=shown, ks=ks, report=report))
    _show(flow.compare(store, embeddings, ks=ks, seed=seed), markdown=markdown, html=html, as_json=as_json)


def _show(compared: Any, *, markdown: str | None, html: str | None, as_json: bool) -> None:
    """Prints what was found, or writes it where it was asked for."""
    from g2v_dask import report
    from g2v_dask.report import stability as ours

    pages = ours.sheets(compared.found, compared.names)
    if markdown is not None or html is not None:
        drawn = ours.with_picture(pages, compared.found)
        if markdown is not None:
            report.write_markdown(Path(markdown), *drawn)
        if html is not None:
            report.write_html(Path(html), *drawn)
    if as_json:
        click.echo(json.dumps(compared.found.as_json(), indent=1))
    elif markdown is None and html is None:
        for page in pages:
            report.show_sheet(page)
