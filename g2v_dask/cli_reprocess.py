"""``g2v reprocess``: search, fetch, redo what changed, publish."""

from __future__ import annotations

import click


@click.command()
@click.argument("spec")
def reprocess(*, spec: str) -> None:
    """Fetch what is new or changed in GEO, redo only that, and publish a new version with a report."""
