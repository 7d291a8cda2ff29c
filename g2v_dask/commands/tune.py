"""The command that tries a grid of trainings: tune."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from g2v_dask.commands.options import cluster_of, display_of, work_options


@click.command()
@click.argument("spec")
@click.option("--figure", metavar="FILE", help="draw the heat map (.png .svg .pdf)")
@click.option("--html", metavar="FILE", help="write the report as one self-contained HTML page")
@click.option("--markdown", metavar="FILE", help="write the report as Markdown, its picture beside it")
@work_options
def tune(
    *, spec: str, figure: str | None, html: str | None, markdown: str | None,
    cluster: str | None, cluster_workers: int | None, report: str | None, quiet: bool, as_json: bool,
) -> None:  # fmt: skip
    """Train and judge a grid of settings, and choose the cell whose validation figure is the highest.

    The spec (TOML) says what is tried ([tune.grid]: lists of any options of train), how each is judged ([evaluate])
    and which figure chooses ([tune] choose), never one of a test set. Embeddings and evaluations are kept as
    NAME-c100-i3. It may be stopped at any moment, in any way: the same command goes on where it was.

    With schedule = "restart" the iterations of skipgram are checkpoints of one run.

    \b
      g2v tune jobs/tune.toml --markdown table1.md --figure table1.svg
    """
    from g2v_dask.tune_spec import TuneSpec

    loaded = TuneSpec.load(spec)  # before what takes seconds to load
    from g2v_dask.flows import tune as flow
    from g2v_dask.report import tune as ours

    if figure is not None:
        ours.check_picture(Path(figure))
    where = cluster_of(cluster, cluster_workers, loaded.cluster)
    found = flow.run(loaded, cluster=where, display=display_of(quiet=quiet), report=report)
    _show(found, figure=figure, html=html, markdown=markdown, as_json=as_json)
    sys.exit(found.exit_code)


def _show(found: Any, *, figure: str | None, html: str | None, markdown: str | None, as_json: bool) -> None:
    """Prints what was found, or writes it where it was asked for."""
    from g2v_dask import report
    from g2v_dask.report import tune as ours

    pages = ours.sheets(found)
    if figure is not None:
        ours.write_picture(Path(figure), found)
    if html is not None or markdown is not None:
        drawn = ours.with_picture(pages, found)
        if markdown is not None:
            report.write_markdown(Path(markdown), *drawn)
        if html is not None:
            report.write_html(Path(html), *drawn)
    if as_json:
        click.echo(json.dumps(found.as_json(), indent=1))
    elif html is None and markdown is None:
        for page in pages:
            report.show_sheet(page)
