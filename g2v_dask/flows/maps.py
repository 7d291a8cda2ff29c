"""A map of an embedding, from an open store to an artifact and its pictures."""

from __future__ import annotations

from g2v_dask.driver import Summary, state
from g2v_dask.flows import pictures
from g2v_dask.flows.pictures import METHODS, Picture
from g2v_dask.flows.pipeline import made_alone
from g2v_dask.progress import Display
from g2v_dask.spec import ClusterSpec, MapSpec
from g2v_dask.stages import map as stage
from g2v_dask.store import Store


def run(
    url: str,
    spec: MapSpec,
    picture: Picture,
    *,
    cluster: ClusterSpec | None,
    display: Display,
    report: str | None = None,
) -> Summary:
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
    if look is not None:
        pictures.draw(store.get("maps", target.name), look, picture.files)
        for note in look.notes:
            display.say(note)
    return summary
