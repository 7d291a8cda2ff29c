"""``g2v geo``: search GEO, fetch series, and see what was fetched."""

from __future__ import annotations

import click


@click.group()
def geo() -> None:
    """Search GEO, fetch series into the store, and see what was fetched."""
