"""A map of an embedding, from an open store to an artifact, its pictures, and its islands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2v_dask import query
from g2v_dask.analysis import biotypes, islands
from g2v_dask.analysis.islands import Tested
from g2v_dask.driver import Summary, state
from g2v_dask.flows import pictures
from g2v_dask.flows.pictures import METHODS, Picture
from g2v_dask.flows.pipeline import made_alone
from g2v_dask.names import Names
from g2v_dask.progress import Display
from g2v_dask.report.finite import finite
from g2v_dask.spec import ClusterSpec, MapSpec
from g2v_dask.stages import map as stage
from g2v_dask.store import Artifact, Store


@dataclass(frozen=True, kw_only=True, eq=False)
class Islands:
    """The islands of a map, and how many genes of each kind they hold."""

    artifact: Artifact
    names: Names
    places: NDArray[np.float64]
    """(genes, 2)."""
    island: NDArray[np.int32]
    """(genes,) from 1, 0 for a gene of none."""
    tested: tuple[Tested, ...]

    @property
    def numbers(self) -> list[int]:
        """Of the islands there are."""
        found: list[int] = np.unique(self.island[self.island > 0]).tolist()
        return found

    def members(self, number: int) -> list[str]:
        """The genes of an island, those in its middle first, as far as the map goes."""
        rows = np.flatnonzero(self.island == number)
        away = np.linalg.norm(self.places[rows] - np.median(self.places[rows], axis=0), axis=1)
        words = list(self.names.rows)
        return [words[row] for row in rows[np.argsort(away, kind="stable")].tolist()]

    def of(self, number: int) -> Iterator[Tested]:
        """The tests of an island."""
        return (t for t in self.tested if t.island == number)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``; JSON knows finite numbers alone."""
        return {
            "artifact": self.artifact.key,
            "genes": len(self.island),
            "apart": int(np.count_nonzero(self.island == 0)),
            "islands": [
                {"island": n, "kinds": [finite(asdict(t)) for t in self.of(n)], "members": self.members(n)}
                for n in self.numbers
            ],
        }


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """What was done, and the islands, if they were asked for."""

    summary: Summary
    islands: Islands | None


def run(
    url: str,
    spec: MapSpec,
    picture: Picture,
    *,
    cluster: ClusterSpec | None,
    display: Display,
    report: str | None = None,
) -> Mapped:
    """Makes the map, or finds it made, and draws the pictures that are asked for.

    Raises: any G2VError; InputError also for what quarantines the map.
    """
    store = Store.open(url)
    with store.lock():
        plan = stage.plan(store, spec)
        (target,) = plan.targets
        embedding = target.detail.embedding
        look = pictures.look(store, embedding, picture) if picture.files else None
        if state(store, target) != "fresh":
            display.say(f"map: {METHODS[spec.method]} of {embedding.facts['genes']:,} genes of {embedding.name}")
        summary = made_alone(stage, plan, store, cluster=cluster, display=display, report=report)
    artifact = store.get("maps", target.name)
    found = of_map(artifact, embedding) if picture.islands else None
    if look is not None:
        pictures.draw(artifact, look, picture.files, islands=None if found is None else found.island)
        for note in look.notes:
            display.say(note)
    return Mapped(summary=summary, islands=found)


def of_map(artifact: Artifact, embedding: Artifact) -> Islands:
    """The islands of a map, each tested for each kind of genes.

    Raises: StoreError if it is the map of another embedding, or of another version of it.
    """
    pictures.check_map(artifact, embedding)
    names = query.names(embedding)
    places = pictures.places(artifact)
    island = islands.find(places)
    tested = islands.test(island, biotypes.kinds(list(names.rows), names.table))
    return Islands(artifact=artifact, names=names, places=places, island=island, tested=tested)
