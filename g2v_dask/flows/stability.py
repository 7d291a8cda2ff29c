"""How stable embeddings are: trains runs that differ in their seed alone, and compares what the store holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from g2v_dask import driver, query, stages
from g2v_dask.analysis import stability
from g2v_dask.analysis.stability import KS, Stability
from g2v_dask.cluster import connect
from g2v_dask.errors import InputError, SpecError
from g2v_dask.flows.pipeline import joined, reported
from g2v_dask.names import Names
from g2v_dask.progress import Display
from g2v_dask.spec import ClusterSpec, TrainSpec
from g2v_dask.store import Store


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What embeddings have in common, and what their genes are called."""

    found: Stability
    names: Names
    """Of the first embedding."""


def compare(url: str, names: Iterable[str], *, ks: Sequence[int] = KS, seed: int = 1) -> Compared:
    """Compares embeddings of a store, in this process.

    Raises: SpecError if fewer than two are named, one twice, or one is not there; InputError as `stability.compare`.
    """
    store = Store.open(url)
    embeddings: dict[str, query.Embedding] = {}
    for name in names:
        one = query.open_embedding(store, name)
        if one.name in embeddings:
            msg = f"a comparison takes different embeddings, but {one.name!r} is named twice"
            raise SpecError(msg)
        embeddings[one.name] = one
    found = stability.compare({n: (e.genes, e.vectors) for n, e in embeddings.items()}, ks=ks, seed=seed)
    notes = _notes({name: one.card for name, one in embeddings.items()})
    return Compared(found=dataclasses.replace(found, notes=notes), names=next(iter(embeddings.values())).names)


def _notes(cards: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """What a reader should know of how the embeddings were made."""
    seedless = [name for name, card in cards.items() if _seedless(card.get("parameters", {}))]
    if not seedless:
        return ()
    return (
        f"{', '.join(seedless)}: GloVe by als from the SVD takes no seed, so runs are equal whatever theirs; "
        f"--init random, or --optimizer adagrad, shows what chance does",
    )


def _seedless(parameters: Mapping[str, Any]) -> bool:
    chosen = {"method": "glove", "optimizer": "als", "init": "svd"}
    return all(parameters.get(key) == value for key, value in chosen.items())


def train(
    url: str,
    spec: TrainSpec,
    runs: int,
    *,
    cluster: ClusterSpec,
    display: Display,
    ks: Sequence[int] = KS,
    report: str | None = None,
) -> list[str]:
    """Trains so many runs, alike but for the seed: ``spec.seed``, the next, and so on. All at once, as workers allow.

    Parameters: ks   numbers of neighbours that will be compared, so that a wrong one is found before any work.
    Returns:    the names of the embeddings, ``<spec.name>-seed<seed>``; those that are there are not made again.
    Raises:     SpecError for fewer than two runs, runs that their seed would not tell apart, or ks as
                `stability.compare`; InputError for a k not below the number of genes, or if the input of a
                run was refused; any other G2VError.
    """
    if runs < 2:
        msg = f"runs must be at least 2, to have something to compare; got {runs}"
        raise SpecError(msg)
    if _seedless(dataclasses.asdict(spec)):
        msg = "runs would be equal: als from the SVD takes no seed; give --init random, or --optimizer adagrad"
        raise SpecError(msg)
    store = Store.open(url)
    source = store.only("cooccurrence", spec.source)
    most = stability.ascending(ks)[-1]
    if most >= source.facts["genes"]:
        msg = f"k must be less than the number of genes of {source.key}, {source.facts['genes']:,}; got k = {most}"
        raise InputError(msg)
    seeds = range(spec.seed, spec.seed + runs)
    specs = [dataclasses.replace(spec, seed=seed, name=f"{spec.name}-seed{seed}") for seed in seeds]
    stage = stages.load(spec.stage())
    with store.lock(), connect(cluster, display.say) as there, reported(there, report):
        plans = [stage.plan(store, one) for one in specs]
        for note in plans[0].notes:  # those of the others differ in the name alone
            display.say(note)
        summary = driver.drive(stage, joined(spec.stage(), plans), store, there, display)
    for refused in summary.quarantined:
        msg = f"{refused['name']} cannot be trained, so there is nothing to compare: {refused['reason']}"
        raise InputError(msg)
    display.say(f"stability: {len(summary.made)} runs made, {len(summary.fresh)} fresh; {summary.seconds:.1f} s")
    return [s.name for s in specs]
