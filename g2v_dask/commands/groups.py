"""The command that groups genes: kmeans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from g2v_dask.commands.options import cluster_of, display_of, spec_of, spec_options, store_option, work_options
from g2v_dask.errors import SpecError
from g2v_dask.spec import KmeansSpec

if TYPE_CHECKING:
    from g2v_dask.flows.groups import Grouped


@click.command()
@store_option
@spec_options(KmeansSpec)
@click.option("--show", type=int, metavar="N", help="print all members of group N")
@click.option("--genesets", multiple=True, metavar="FILE", help="gene sets (GMT) to test the groups for; repeatable")
@click.option("--markdown", metavar="FILE", help="write all groups, members and enriched sets as Markdown")
@work_options
def kmeans(
    *, store: str, show: int | None, genesets: tuple[str, ...], markdown: str | None, cluster: str | None,
    cluster_workers: int | None, report: str | None, quiet: bool, as_json: bool, **given: Any,
) -> None:  # fmt: skip
    """Put genes with near vectors into groups, by k-means; kept in the store as groups/NAME.

    Lists each group with its biotypes and most typical genes (of highest cosine to the group's mean); with
    --genesets also the sets that it holds more of than by chance (one-sided Fisher's exact test,
    Benjamini-Hochberg over all groups and sets). Groups are numbered by size, the largest is 1.
    """
    spec: Any = spec_of(KmeansSpec, given)
    if show is not None and not 1 <= show <= spec.k:
        msg = f"show: there is no group {show}; the groups are 1 to {spec.k}"
        raise SpecError(msg)
    from g2v_dask.flows import groups

    where = cluster_of(cluster, cluster_workers)
    display = display_of(quiet=quiet)
    found = groups.run(store, spec, cluster=where, display=display, report=report, sets=genesets)
    if markdown is not None:
        _write(found, markdown)
    if as_json:
        click.echo(json.dumps(found.as_json(show), indent=1))
    elif show is not None or markdown is None:
        _print(found, show)


def _write(found: Grouped, file: str) -> None:
    from g2v_dask import report
    from g2v_dask.report.groups import groups_markdown

    text = groups_markdown(found.groups, found.names, artifact=found.artifact, enrichment=found.enrichment)
    report.write(Path(file), text)


def _print(found: Grouped, show: int | None) -> None:
    from g2v_dask import report
    from g2v_dask.report.groups import facts_of, groups_sheet, members_sheet, sets_sheet

    groups = [group for group in found.groups if show in (None, group.number)]
    if show is None:
        report.show_sheet(groups_sheet(groups, found.names, found.artifact))
    else:
        report.show_sheet(members_sheet(groups[0], found.names, facts=facts_of(found.artifact)))
    if found.enrichment is not None:
        report.show_sheet(sets_sheet(groups, found.enrichment))
    key = found.artifact.key
    click.echo(f"all of it: {key} (Parquet; 'g2v show {key}' says where)")
