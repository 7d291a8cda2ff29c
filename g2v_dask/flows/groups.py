"""Groups of an embedding's genes, from an open store to groups that can be shown."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from g2v_dask import query, schema
from g2v_dask.analysis import genesets, groups
from g2v_dask.analysis.genesets import Enrichment
from g2v_dask.analysis.groups import Group
from g2v_dask.flows import tables
from g2v_dask.flows.pipeline import made_alone
from g2v_dask.names import Names
from g2v_dask.progress import Display
from g2v_dask.report.finite import finite
from g2v_dask.spec import ClusterSpec, KmeansSpec
from g2v_dask.stages import kmeans
from g2v_dask.store import Artifact, Store


@dataclass(frozen=True, kw_only=True)
class Grouped:
    """Groups, and what is known of their genes."""

    artifact: Artifact
    names: Names
    groups: list[Group]
    enrichment: Enrichment | None

    def as_json(self, shown: int | None = None) -> dict[str, Any]:
        """For ``--json``: every group with its most typical genes, the one that is shown with all."""
        return {
            "artifact": self.artifact.key,
            **{key: self.artifact.facts[key] for key in ("embedding", "genes", "inertia", "method")},
            "groups": [
                {
                    "group": group.number,
                    "genes": len(group.genes),
                    "biotypes": dict(group.biotypes),
                    "typical": list(group.typical),
                    **(
                        {}
                        if self.enrichment is None
                        else {"sets": [finite(asdict(e)) for e in self.enrichment.best(group.number)]}
                    ),
                    **({"members": _members(group)} if group.number == shown else {}),
                }
                for group in self.groups
                if shown in (None, group.number)
            ],
        }


def _members(group: Group) -> list[dict[str, Any]]:
    return [{"gene": gene, "cosine": cosine} for gene, cosine in zip(group.genes, group.cosine, strict=True)]


def run(
    url: str,
    spec: KmeansSpec,
    *,
    cluster: ClusterSpec | None,
    display: Display,
    report: str | None = None,
    sets: tuple[str, ...] = (),
) -> Grouped:
    """Makes the groups, or finds them made, and tests gene sets (GMT files) on them.

    Raises: any G2VError; InputError also for what quarantines the groups.
    """
    known = genesets.read_gmt(sets)  # a broken file is found before any work
    store = Store.open(url)
    with store.lock():
        plan = kmeans.plan(store, spec)
        made_alone(kmeans, plan, store, cluster=cluster, display=display, report=report)
    (target,) = plan.targets
    artifact = store.get("groups", target.name)
    found = groups.members(tables.read(artifact, schema.GROUP_MEMBERS))
    names = query.names(target.detail.embedding)
    enrichment = genesets.enrichment(found.genes, found.group, known, table=names.table) if sets else None
    return Grouped(artifact=artifact, names=names, groups=groups.groups(found, names), enrichment=enrichment)
