"""``g2v reprocess``: search, fetch, redo what changed, publish."""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import Any

import click

from g2v_dask.commands.options import cluster_of, display_of, work_options
from g2v_dask.spec import RunSpec


@click.command()
@click.argument("spec")
@click.option("--plan", "dry", is_flag=True, help="only show what would be fetched and run; writes nothing")
@click.option("--wait", is_flag=True, help="wait while another command has the store")
@click.option("--report-to", metavar="FOLDER", help="write the report there too, besides STORE/reports")
@work_options
def reprocess(
    *,
    spec: str,
    dry: bool,
    wait: bool,
    report_to: str | None,
    cluster: str | None,
    cluster_workers: int | None,
    report: str | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Fetch what is new or changed in GEO, redo only that, and publish a new version with a report.

    The spec says which series to keep ([geo]), the stages to run over them, and what a version must reach to be
    published ([gate]); until it does, everybody sees the last one. It may be stopped at any moment, in any way: the
    same command goes on where it was. With nothing new it does nothing.

    Exit codes: 0 published, or nothing new; 3 so too, but some series were not fetched or are quarantined;
    4 not published, the report says why; 1 failed; 2 bad usage.

    \b
      g2v reprocess weekly.toml --plan
      g2v reprocess weekly.toml --wait
    """
    loaded = RunSpec.load(spec)
    from g2v_dask.flows import reprocess as flow

    if dry:
        _show_plan(flow.plan(loaded), as_json=as_json)
        return
    where = cluster_of(cluster, cluster_workers, loaded.cluster)
    shown = display_of(quiet=quiet)
    outcome = flow.run(loaded, cluster=where, display=shown, report=report, wait=wait, copies=report_to)
    if as_json:
        click.echo(json.dumps(outcome.as_json(), indent=1))
    else:
        _show(outcome)
    sys.exit(outcome.exit_code)


def _show_plan(plan: dict[str, list[dict[str, Any]]], *, as_json: bool) -> None:
    from g2v_dask import report

    if as_json:
        click.echo(json.dumps(plan, indent=1))
        return
    states = Counter(row["state"] for row in plan["series"])
    click.echo(f"series: {', '.join(f'{number:,} {state}' for state, number in states.items()) or 'none found'}")
    if others := [row for row in plan["series"] if row["state"] != "fetched"]:
        report.table(others, ("accession", "samples", "state"))
    due = [{**row, "note": row.get("reason", row.get("note", ""))} for row in plan["stages"] if row["state"] != "fresh"]
    click.echo(f"of what is fetched already: {len(plan['stages']) - len(due):,} fresh, {len(due):,} to do")
    if due:
        report.table(due, ("stage", "name", "parts", "bytes", "state", "note"))


def _show(outcome: Any) -> None:
    """Prints what was done, and where the report lies."""
    from g2v_dask import report
    from g2v_dask.report import reprocess as ours

    if outcome.idle:
        click.echo(f"{outcome.store}: nothing new")
    else:
        report.show_sheet(ours.summary(outcome))
        report.summary_table([s.as_json() for s in outcome.stages])
    for name, reason in outcome.failures.items():
        click.echo(f"not fetched {name}: {reason}")
    for file in outcome.files:
        click.echo(f"report: {file}")
