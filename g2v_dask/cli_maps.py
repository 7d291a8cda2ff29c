"""The command that maps genes: map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from g2v_dask.cli_options import (
    cluster_of,
    display_of,
    print_summaries,
    spec_of,
    spec_options,
    store_option,
    work_options,
)
from g2v_dask.errors import SpecError
from g2v_dask.spec import MapSpec


@click.command("map")
@store_option
@spec_options(MapSpec)
@click.option("--figure", multiple=True, metavar="FILE", help="draw the map (.png .svg .pdf); repeatable")
@click.option(
    "--colour", metavar="WHAT", help="group, biotype, none, or a column of --table  [group, if there are any]"
)
@click.option("--groups", metavar="NAME", help="groups to colour by  [those with the embedding's name]")
@click.option("--table", metavar="FILE", help="table to colour by: genes in its first column, a header (TSV, CSV)")
@click.option("--label", metavar="GENE,GENE,...", help="genes to name in the picture")
@work_options
def map_(
    *, store: str, figure: tuple[str, ...], colour: str | None, groups: str | None, table: str | None,
    label: str | None, cluster: str | None, cluster_workers: int | None, report: str | None, quiet: bool,
    as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Give every gene a place on a map, near those with a near vector; kept in the store as maps/NAME.

    By t-SNE (a minute for 18,000 genes), UMAP, or the first two principal components. Pictures show it with a
    point a gene: of a column of text each word has a colour, of numbers a scale from the 1st to the 99th percentile.

    \b
      g2v map --store work --figure map.svg --label TP53,BRCA1
      g2v map --store work --method umap --to genes-umap --figure umap.png --table genes.tsv --colour tissue
    """
    asked = {"--colour": colour, "--groups": groups, "--table": table, "--label": label}
    idle = [name for name, value in asked.items() if value is not None]
    if idle and not figure:
        msg = f"{', '.join(idle)}: only with --figure, which draws the map"
        raise SpecError(msg)
    from g2v_dask.flows import maps
    from g2v_dask.flows.pictures import Picture

    picture = Picture(
        files=tuple(Path(name) for name in figure),
        colour=colour,
        groups=groups,
        table=None if table is None else Path(table),
        label=tuple(gene.strip() for gene in (label or "").split(",") if gene.strip()),
    )
    spec: Any = spec_of(MapSpec, given)
    where = cluster_of(cluster, cluster_workers)
    summary = maps.run(store, spec, picture, cluster=where, display=display_of(quiet=quiet), report=report)
    if figure and not as_json:
        click.echo(f"maps/{summary.names[0]} → {', '.join(figure)}")
    else:
        print_summaries([summary], as_json=as_json, many=False)
