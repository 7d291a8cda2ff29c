"""``g2v geo``: search GEO, fetch series, and see what was fetched."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from g2v_dask.commands.options import display_of, json_option, spec_of, spec_options, store_option
from g2v_dask.errors import SpecError
from g2v_dask.geo_spec import GeoSpec

if TYPE_CHECKING:
    from g2v_dask.folders import Folder

SEARCH_ONLY = ("accessions", "parallel", "files_url", "pages_url")
STATUS = ("accession", "state", "samples", "platforms", "files", "bytes", "tries", "fetched_at", "error")


@click.group()
def geo() -> None:
    """Search GEO, fetch series into the store, and see what was fetched."""


@geo.command()
@spec_options(GeoSpec, leave_out=SEARCH_ONLY)
@json_option
def search(*, as_json: bool, **options: Any) -> None:
    """List the series of GEO that match; NCBI_API_KEY makes it quicker."""
    from g2v_dask import report
    from g2v_dask.geo.search import search as find

    rows = [vars(f) for f in find(_spec(options))]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
    else:
        shown = [{**r, "platforms": " ".join(r["platforms"])} for r in rows]
        report.table(shown, ("accession", "samples", "platforms", "updated", "title"), title=f"{len(rows):,} series")


@geo.command()
@click.argument("accessions", nargs=-1, metavar="[GSE...]")
@click.option("--from-search", is_flag=True, help="fetch what the search options find")
@spec_options(GeoSpec, leave_out=("accessions",))
@store_option
@click.option("-q", "--quiet", is_flag=True, help="no progress")
@json_option
def fetch(
    *, accessions: tuple[str, ...], from_search: bool, store: str, quiet: bool, as_json: bool, **options: Any
) -> None:
    """Fetch series, and look again at all that were fetched before; exits with 3 if some failed."""
    from g2v_dask import report
    from g2v_dask.geo import fetch as fetching
    from g2v_dask.geo.ledger import Ledger
    from g2v_dask.geo.search import search as find

    spec = _spec({**options, "accessions": accessions})
    if not accessions and not from_search and not Ledger(_root(store, imagine=True)).entries():
        msg = "geo fetch: name series (g2v geo fetch GSE55235 ...), or give --from-search; nothing was fetched before"
        raise SpecError(msg)
    found = find(spec) if from_search else ()  # before anything is written
    done = fetching.fetch(_root(store, create=True), spec, found, say=display_of(quiet=quiet).say)
    if as_json:
        click.echo(json.dumps(vars(done), indent=1))
    else:
        report.table([{name: len(of) for name, of in vars(done).items()}], tuple(vars(done)))
        if done.failed:
            click.echo(f"{len(done.failed)} failed: 'g2v geo status --failed' says why; 'g2v geo fetch' tries again")
    sys.exit(3 if done.failed else 0)


@geo.command()
@store_option
@click.option("--failed", is_flag=True, help="only what the last run could not fetch")
@json_option
def status(*, store: str, failed: bool, as_json: bool) -> None:
    """List what the ledger knows of every series."""
    from g2v_dask import report
    from g2v_dask.geo.ledger import Ledger

    entries = [e for e in Ledger(_root(store)).entries().values() if e.tries or not failed]
    if as_json:
        click.echo(json.dumps([e.as_json() for e in entries], indent=1))
        return
    rows = [
        {
            **vars(e),
            "platforms": " ".join(e.platforms),
            "files": len(e.files),
            "bytes": sum(f.bytes for f in e.files),
        }
        for e in entries
    ]
    report.table(rows, STATUS)


def _spec(options: dict[str, Any]) -> GeoSpec:
    spec = spec_of(GeoSpec, options)
    assert isinstance(spec, GeoSpec)
    return spec


def _root(store: str, **how: bool) -> Folder:
    from g2v_dask.store import Store

    return Store.open(store, **how).root / "geo"
