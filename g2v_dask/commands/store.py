"""``g2v ls``, ``show``, ``rm``, ``gc``, ``verify``: what is in a store, and whether it is whole."""

from __future__ import annotations

import json
import sys

import click

from g2v_dask.commands.options import display_of, json_option, store_of, store_option
from g2v_dask.errors import SpecError
from g2v_dask.options import check_name, nearest


@click.command("ls")
@click.argument("kind", required=False)
@store_option
@click.option("--quarantined", is_flag=True, help="list the inputs that were refused, and why")
@json_option
def list_(*, kind: str | None, store: str, quarantined: bool, as_json: bool) -> None:
    """List what is in the store, or one KIND of it."""
    from g2v_dask import report

    opened = store_of(store)
    rows = opened.quarantined() if quarantined else opened.rows(kind)
    columns = ("kind", "name", "reason") if quarantined else ("kind", "name", "digest", "size", "made")
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        report.table(rows, columns)


@click.command()
@click.argument("artifact", metavar="KIND/NAME")
@store_option
@json_option
def show(*, artifact: str, store: str, as_json: bool) -> None:
    """Show an artifact's manifest, where it lies, and how to open it in Python."""
    from g2v_dask import report

    opened = store_of(store)
    found = opened.get(*_kind_and_name(artifact))
    if as_json:
        click.echo(json.dumps({"path": str(found.path), **found.manifest}, indent=1))
    else:
        report.show(found, opened)


@click.command("rm")
@click.argument("artifact", metavar="KIND/NAME")
@store_option
def remove(*, artifact: str, store: str) -> None:
    """Remove an artifact from the store; 'g2v gc' then frees its space."""
    opened = store_of(store)
    with opened.lock():
        opened.remove(*_kind_and_name(artifact))
    click.echo(f"removed {artifact}; 'g2v gc' frees its space")


@click.command()
@store_option
@click.option("--young-hours", default=24.0, show_default=True, help="spare unfinished work that was touched since")
def gc(*, store: str, young_hours: float) -> None:
    """Delete what no current artifact was made from."""
    opened = store_of(store)
    with opened.lock():
        gone = opened.gc(young_seconds=young_hours * 3600)
    click.echo(f"deleted {len(gone)} folders")


def _kind_and_name(text: str) -> tuple[str, str]:
    from g2v_dask.schema import KINDS

    kind, slash, name = text.partition("/")
    if not slash or kind not in KINDS:
        known = ", ".join(KINDS)
        msg = f"name an artifact as KIND/NAME, KIND one of {known}; got {text!r}{nearest(kind, KINDS)}"
        raise SpecError(msg)
    return kind, check_name(name)


@click.command()
@store_option
@click.option("--deep", is_flag=True, help="read every file, and compare its sha256")
@click.option("--repair", is_flag=True, help="make the parts of damaged files again, and put back what is the same")
@click.option("-q", "--quiet", is_flag=True, help="no progress")
@json_option
def verify(*, store: str, deep: bool, repair: bool, quiet: bool, as_json: bool) -> None:
    """Check that what the manifests name is there, and is what it was.

    Of all artifacts that are current, and of what they were made from. Exit code 1 while there is damage.
    """
    from g2v_dask import report
    from g2v_dask.flows import verify as flow

    verdict = flow.verify(store, deep=deep, repair=repair, say=display_of(quiet=quiet).say)
    rows = flow.rows(verdict.faults)
    if as_json:
        found = {k: v for k, v in vars(verdict).items() if k != "faults"}
        click.echo(json.dumps({**found, "faults": rows, "exit_code": verdict.exit_code}, indent=1))
    else:
        if rows:
            report.table(rows, ("artifact", "digest", "part", "file", "found", "state"))
        how = "read" if deep else "looked at"
        bad = sum(not f.repaired for f in verdict.faults)
        state = f"{bad} damaged" if bad else "all whole"
        click.echo(f"{verdict.artifacts} artifacts, {verdict.files} files ({verdict.bytes:,} bytes) {how}: {state}")
    sys.exit(verdict.exit_code)
