"""The command that maps genes: map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from g2v_dask.commands.options import (
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

if TYPE_CHECKING:
    from g2v_dask.flows.maps import Islands, Mapped
    from g2v_dask.flows.pictures import Picture


@click.command("map")
@store_option
@spec_options(MapSpec)
@click.option("--figure", multiple=True, metavar="FILE", help="draw the map (.png .svg .pdf); repeatable")
@click.option("--colour", metavar="WHAT", help="group, biotype, tissue=NAME, tissues (a sheet of small maps), none, or "
              "a column of --table  [group, if there are any; biotype with --islands]")  # fmt: skip
@click.option("--groups", metavar="NAME", help="groups to colour by  [those with the embedding's name]")
@click.option("--table", metavar="FILE", help="table to colour by: genes in its first column, a header (TSV, CSV)")
@click.option("--datasets", metavar="A,B,...", help="the datasets that are tissues  [all with read counts]")
@click.option("--label", metavar="GENE,GENE,...", help="genes to name in the picture")
@click.option("--islands", is_flag=True, help="find the islands of the map, number them, test each for each biotype")
@click.option("--markdown", metavar="FILE", help="write the islands and their genes as Markdown, the map beside it")
@work_options
def map_(
    *, store: str, figure: tuple[str, ...], colour: str | None, groups: str | None, table: str | None,
    datasets: str | None, label: str | None, islands: bool, markdown: str | None, cluster: str | None,
    cluster_workers: int | None, report: str | None, quiet: bool, as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Give every gene a place on a map, near those with a near vector; kept in the store as maps/NAME.

    By t-SNE (a minute for 18,000 genes), UMAP, or the first two principal components. Pictures show it with a
    point a gene: of a column of text each word has a colour, of numbers a scale from the 1st to the 99th percentile.
    A tissue is a dataset with read counts; its colours are each gene's z-score over tissues. Islands are what lies
    apart on the map; --islands lists the biotypes that each holds more of than by chance (Fisher's exact test).

    \b
      g2v map --store work --figure map.svg --label TP53,BRCA1
      g2v map --store work --figure kidney.png --colour tissue=kidney
      g2v map --store work --islands --figure islands.png
      g2v map --store work --method umap --to genes-umap --figure umap.png --table genes.tsv --colour tissue
    """
    asked = {"--colour": colour, "--groups": groups, "--table": table, "--datasets": datasets, "--label": label}
    idle = [name for name, value in asked.items() if value is not None]
    if idle and not (figure or (islands and markdown is not None)):
        msg = f"{', '.join(idle)}: only with --figure, which draws the map"
        raise SpecError(msg)
    if markdown is not None and not islands:
        msg = "--markdown writes the islands of the map: give --islands"
        raise SpecError(msg)
    from g2v_dask.flows import maps
    from g2v_dask.flows.pictures import Picture

    beside = [] if markdown is None else [_beside(markdown)]
    picture = Picture(
        files=tuple(dict.fromkeys(Path(name) for name in (*figure, *beside))),
        colour=colour,
        groups=groups,
        table=None if table is None else Path(table),
        label=_split(label) or (),
        datasets=_split(datasets),
        islands=islands,
    )
    spec: Any = spec_of(MapSpec, given)
    where = cluster_of(cluster, cluster_workers)
    done = maps.run(store, spec, picture, cluster=where, display=display_of(quiet=quiet), report=report)
    _show(done, picture, figure, markdown=markdown, as_json=as_json)


def _split(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(word.strip() for word in text.split(",") if word.strip())


def _beside(markdown: str) -> str:
    """The picture of a report."""
    picture = Path(markdown).with_suffix(".png")
    if picture == Path(markdown):
        msg = f"{markdown}: the picture of the report takes that name; call the report .md"
        raise SpecError(msg)
    return str(picture)


def _show(done: Mapped, picture: Picture, figure: tuple[str, ...], *, markdown: str | None, as_json: bool) -> None:
    """Prints what was done, drawn or found."""
    name = done.summary.names[0]
    if done.islands is not None and markdown is not None:
        _write(done.islands, markdown)
    if done.islands is not None and as_json:
        click.echo(json.dumps({**done.summary.as_json(), "islands": done.islands.as_json()}, indent=1))
        return
    if done.islands is not None and markdown is None:
        _print(done.islands)
    if picture.files and not as_json:
        written = [*figure, *([] if markdown is None else [markdown])]
        click.echo(f"maps/{name} → {', '.join(written)}")
    elif done.islands is None:
        print_summaries([done.summary], as_json=as_json, many=False)


def _print(found: Islands) -> None:
    from g2v_dask import report

    report.show_sheet(_sheet(found))


def _sheet(found: Islands) -> Any:
    from g2v_dask.report.islands import islands_sheet

    facts = found.artifact.facts
    title = f"Islands of {found.artifact.key}: {facts['genes']:,} genes of {facts['embedding']}"
    return islands_sheet(_listed(found), found.names, title=title, apart=int((found.island == 0).sum()))


def _listed(found: Islands) -> list[Any]:
    from g2v_dask.report.islands import Island

    return [Island(number=n, members=found.members(n), tested=tuple(found.of(n))) for n in found.numbers]


def _write(found: Islands, file: str) -> None:
    from g2v_dask import report
    from g2v_dask.report.islands import islands_markdown

    path = Path(file)
    caption = "The map with its islands, by number"
    text = islands_markdown(
        _sheet(found), _listed(found), found.names, picture=path.with_suffix(".png").name, caption=caption
    )
    report.write(path, text)
