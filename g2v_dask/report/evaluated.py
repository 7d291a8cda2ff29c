"""An evaluation as it is read from the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from g2v_dask.report.finite import finite
from g2v_dask.store import Artifact

Figure = Mapping[str, Any]
"""One row of schema.EVALUATION."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluated:
    """An evaluation as it lies in the store."""

    artifact: Artifact
    figures: Sequence[Figure]
    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    """What tasks keep beside the figures: ``<task>-<name>``."""

    @property
    def tasks(self) -> list[str]:
        """In the order in which they were done."""
        return list(dict.fromkeys(str(f["task"]) for f in self.figures))

    @property
    def skipped(self) -> Mapping[str, str]:
        """Tasks that nobody named, and why they were not asked."""
        skipped: Mapping[str, str] = self.artifact.facts.get("skipped", {})
        return skipped

    @property
    def digest(self) -> str:
        """Of the embedding."""
        return str(self.artifact.manifest["inputs"][f"embeddings/{self.artifact.facts['embedding']}"])

    def rows(self, table: str) -> list[dict[str, Any]]:
        """The rows of a table that a task keeps; none where it keeps none."""
        return self.tables[table].to_pylist() if table in self.tables else []

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; JSON knows finite numbers alone."""
        return {
            "artifact": self.artifact.key,
            "embedding": self.artifact.facts["embedding"],
            "tasks": self.tasks,
            **({"skipped": dict(self.skipped)} if self.skipped else {}),
            "figures": [finite(f) for f in self.figures],
        }
