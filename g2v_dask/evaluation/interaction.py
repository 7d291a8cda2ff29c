"""Gene-gene interaction: do two genes' vectors tell whether they interact, of genes that were not learned from?

The network of the paper and simple heads learn from the training pairs of a published list, choose by its validation
pairs, and are scored on both other splits; beside them stands what needs no vectors. On the list as it is published the
number of pairs that a gene is in tells most; so the same is asked of negatives that are matched in degree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from g2v_dask.errors import InputError
from g2v_dask.evaluate_spec import EvaluateSpec
from g2v_dask.evaluation import heads, intervals, known_pairs, pairlists, scorers
from g2v_dask.evaluation.base import ROWS, Progress, Subject, Tables, Unit, row, rows_table
from g2v_dask.evaluation.intervals import Figure
from g2v_dask.evaluation.known_pairs import MATCHED, PUBLISHED, Known
from g2v_dask.evaluation.pairlists import SPLITS, Split
from g2v_dask.evaluation.scorers import CHOSEN
from g2v_dask.ontology import recognised

TASK = "interaction"
SCORED = ("valid", "test")
BASELINES = "baselines"  # the unit of all of them
CURVE = np.linspace(0, 1, 301)  # rates of false positives at which a curve is kept

Of = tuple[str, str, str]
"""List, split, model."""


# -- what is asked --------------------------------------------------------------------------------------------


def units(subject: Subject, spec: EvaluateSpec) -> tuple[Unit, ...]:
    """Each model on each list; the network once a seed.

    Raises: InputError for a list that is wrong, or of which the embedding knows too little.
    """
    known = known_pairs.read(subject)
    subject.covered(TASK, known.coverage, spec.least_coverage)
    for name, split in known.splits.items():
        if len(set(split.labels.tolist())) < 2:
            msg = (
                f"{TASK}: {subject.name} has both genes of {len(split.labels):,} of the "
                f"{len(known.listed.splits[name].labels):,} pairs of {name}, which are not of both labels; "
                f"take an embedding or a list with more genes in common"
            )
            raise InputError(msg)
    if spec.matched:
        recognised(subject.files["go"])
    models = [*scorers.names(spec), *([(BASELINES, spec.seed)] if spec.baselines else [])]
    return tuple(
        Unit(
            label=f"{TASK}, {listed}, {model}" + (f", seed {seed}" if model.startswith("ggipnn") else ""),
            bytes=_bytes(known, listed, model),
            given=(listed, model, seed),
        )
        for listed in ((PUBLISHED, MATCHED) if spec.matched else (PUBLISHED,))
        for model, seed in models
    )


def _bytes(known: Known, listed: str, model: str) -> int:
    train, components = known.splits["train"], known.vectors.shape[1]
    needed = 50_000_000 + 100 * sum(len(split.labels) for split in known.listed.splits.values())
    if model.startswith("ggipnn"):
        needed += 300_000_000 + 28 * known.vectors.size  # PyTorch itself
    elif model.startswith("logistic"):
        needed += 8 * len(train.labels) * components * heads.WIDTH[model.partition(" ")[2]]
    if listed == MATCHED:
        needed += 31 * len(np.unique(train.pairs[train.labels == 1])) ** 2
    return needed


# -- one model ------------------------------------------------------------------------------------------------


def run(subject: Subject, spec: EvaluateSpec, unit: Unit, progress: Progress) -> Tables:
    """``scores``: of each pair of validation and test, by one model on one list, or by all baselines."""
    listed, model, seed = unit.given
    progress(0, 1, "reading")
    known, splits = known_pairs.read(subject), known_pairs.splits_of(subject, listed, spec.seed)
    # a model is made of these two; it sees pairs of the test split when it is done, and no labels
    train, valid = splits["train"], splits["valid"]
    if model == BASELINES:
        made = scorers.baselines(subject, known, train, valid, go=bool(subject.files.get("go")))
    else:
        made = {model: scorers.learned(known.vectors, model, train, valid, seed=seed, progress=progress)}
    parts = [
        _scores(listed, name, one, seed, splits[name], scorer(splits[name].pairs))
        for one, scorer in made.items()
        for name in SCORED
    ]
    progress(1, 1, "")
    return {"scores": pa.concat_tables(parts)}


def _scores(listed: str, name: str, model: str, seed: int, split: Split, scores: NDArray[np.float32]) -> pa.Table:
    count = len(scores)
    return pa.table(
        {
            **_words({"list": listed, "split": name, "model": model}, count),
            "seed": pa.array(np.full(count, seed), type=pa.int64()),
            "pair": pa.array(split.lines, type=pa.int32()),
            "label": pa.array(split.labels, type=pa.int8()),
            "score": pa.array(scores, type=pa.float32()),
        }
    )


def _words(values: Mapping[str, str], count: int) -> dict[str, pa.Array]:
    """Columns that are one word throughout."""
    return {
        name: pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, dtype=np.int32)), pa.array([word]))
        for name, word in values.items()
    }


# -- figures --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class _Runs:
    """All runs of one model on one split of one list."""

    split: Split
    """Its pairs, in the order of the scores."""
    scores: NDArray[np.float32]
    """(runs, pairs)"""
    seeds: tuple[int, ...]


def sum_up(subject: Subject, spec: EvaluateSpec, tables: Tables) -> Tables:
    """The figures of each model, those of the ``chosen`` one first, and what is worth keeping.

    ``chosen`` is the better of the frozen network and the simple heads, by the AUC on the validation pairs.
    Tables:  ``scores``   of each pair of the test splits, by each run, with its genes.
             ``curves``   ROC of the test splits, mean over runs.
             ``lists``    what the files hold, and how much of it the embedding knows.
             ``choice``   which model is the chosen one on each list.
             ``matched``  how many positives were matched, and the four figures that prove it.
    """
    known = known_pairs.read(subject)
    runs = _runs(subject, spec, tables["scores"])
    lists = list(dict.fromkeys(listed for listed, _, _ in runs))
    rows: list[dict[str, Any]] = []
    choice: dict[str, list[Any]] = {"list": [], "model": [], "valid auc": []}
    for listed in lists:
        figures = {name: _figures(runs, listed, name, spec) for name in SCORED}
        on_valid = {m: f["auc"].value for m, f in figures["valid"].items() if scorers.may_be_chosen(m)}
        best = max(on_valid, key=lambda model: on_valid[model]) if on_valid else None
        if best is not None:
            for column, value in zip(choice, (listed, best, on_valid[best]), strict=True):
                choice[column].append(value)
        for name in SCORED:
            rows += _rows(subject, spec, listed, name, figures[name], best)
    kept: dict[str, pa.Table] = {
        ROWS: rows_table(rows),
        "scores": _kept_scores(known, runs),
        "curves": _curves(runs),
        "lists": _lists(known),
        "choice": pa.table(choice),
    }
    return {**kept, "matched": _proof(subject, spec)} if spec.matched else kept


def _runs(subject: Subject, spec: EvaluateSpec, scores: pa.Table) -> dict[Of, _Runs]:
    """List, split and model to all their runs, in the order of the units."""
    codes, words = [], []
    for column in ("list", "split", "model", "seed"):
        coded = scores[column].cast(pa.string()).combine_chunks().dictionary_encode()
        codes.append(coded.indices.to_numpy(zero_copy_only=False))
        words.append(coded.dictionary.to_pylist())
    key = np.ravel_multi_index(codes, [len(w) for w in words])
    pair, score = scores["pair"].to_numpy(), scores["score"].to_numpy()
    order = np.argsort(key, kind="stable")
    held: dict[Of, list[tuple[int, NDArray[np.float32]]]] = {}
    splits = {listed: known_pairs.splits_of(subject, listed, spec.seed) for listed in words[0]}
    for part in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        listed, name, model, seed = (word[code[part[0]]] for word, code in zip(words, codes, strict=True))
        if not np.array_equal(pair[part], splits[listed][name].lines):
            msg = f"{TASK}: the scores of {model} are not those of the {listed} list; run the evaluation again"
            raise InputError(msg)
        held.setdefault((listed, name, model), []).append((int(seed), score[part]))
    return {
        (listed, name, model): _Runs(
            split=splits[listed][name],
            scores=np.stack([scores for _, scores in some]),
            seeds=tuple(seed for seed, _ in some),
        )
        for (listed, name, model), some in held.items()
    }


def _figures(runs: Mapping[Of, _Runs], listed: str, name: str, spec: EvaluateSpec) -> dict[str, dict[str, Figure]]:
    """Of each model, on one split of one list; all on the same draws of its genes."""
    mine = {model: some for (a, b, model), some in runs.items() if (a, b) == (listed, name)}
    genes, local = np.unique(next(iter(mine.values())).split.pairs, return_inverse=True)
    random = np.random.default_rng([spec.seed, SPLITS.index(name)])
    draws = intervals.drawn(len(genes), spec.bootstrap, random)
    pairs = local.reshape(-1, 2).astype(np.int32)
    return {model: intervals.figures(r.scores, r.split.labels, pairs, draws) for model, r in mine.items()}


def on_of(listed: str, name: str) -> str:
    """What the table calls a split of a list: ``valid``, ``test``, ``matched valid``, ``matched test``."""
    return name if listed == PUBLISHED else f"{listed} {name}"


def _rows(
    subject: Subject,
    spec: EvaluateSpec,
    listed: str,
    name: str,
    figures: Mapping[str, Mapping[str, Figure]],
    chosen: str | None,
) -> Iterator[dict[str, Any]]:
    split = known_pairs.splits_of(subject, listed, spec.seed)[name]
    published = known_pairs.read(subject).listed.splits[name]
    pairs = len(split.labels) / len(published.labels)
    genes = len(published.genes)
    if listed == MATCHED:
        positive = _different_positives(published)
        pairs, genes = int(split.labels.sum()) / len(positive), len(np.unique(positive))
    found = len(split.genes)
    of = partial(row, task=TASK, on=on_of(listed, name), genes=found, coverage=found / genes, seed=spec.seed)
    if chosen is not None:
        figures = {CHOSEN: figures[chosen], **figures}
    for model, some in figures.items():
        kind = scorers.kind_of(model)
        for metric, figure in some.items():
            yield of(model=model, metric=metric, value=figure.value, low=figure.low, high=figure.high, baseline=kind)
        if np.isfinite(some["auc"].sd):
            yield of(model=model, metric="auc sd", value=some["auc"].sd, baseline=kind)
    yield of(metric="pair coverage", value=pairs)


def _different_positives(split: Split) -> pairlists.Pairs:
    """Its positive pairs, each once."""
    pairs: pairlists.Pairs = split.pairs[split.labels == 1]
    return pairs[pairlists.first_of_each(pairs)]


# -- what is kept ---------------------------------------------------------------------------------------------


def _kept_scores(known: Known, runs: Mapping[Of, _Runs]) -> pa.Table:
    """The test splits, with the genes of each pair; log odds, or whatever ranks."""
    genes, parts = pa.array(known.genes.tolist(), type=pa.string()), []
    for (listed, name, model), some in runs.items():
        if name != "test":
            continue
        first, second = (np.ascontiguousarray(some.split.pairs[:, end]) for end in (0, 1))
        for seed, scores in zip(some.seeds, some.scores, strict=True):
            columns = {
                **_words({"on": on_of(listed, name), "model": model}, len(scores)),
                "seed": pa.array(np.full(len(scores), seed), type=pa.int64()),
                "gene_a": pa.DictionaryArray.from_arrays(pa.array(first), genes),
                "gene_b": pa.DictionaryArray.from_arrays(pa.array(second), genes),
                "label": pa.array(some.split.labels, type=pa.int8()),
                "score": pa.array(scores, type=pa.float32()),
            }
            parts.append(pa.table(columns))
    return pa.concat_tables(parts).unify_dictionaries()


def _curves(runs: Mapping[Of, _Runs]) -> pa.Table:
    """ROC curves of the test splits: the rate of true positives at each of ``CURVE``, mean over runs."""
    columns: dict[str, list[Any]] = {"on": [], "model": [], "false": [], "true": []}
    for (listed, name, model), some in runs.items():
        if name == "test":
            columns["on"] += [on_of(listed, name)] * len(CURVE)
            columns["model"] += [model] * len(CURVE)
            columns["false"] += CURVE.tolist()
            columns["true"] += np.mean([_curve(some.split.labels, one) for one in some.scores], axis=0).tolist()
    return pa.table(columns)


def _curve(labels: pairlists.Labels, scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """It begins at 0, 0, also where the best pairs are positives."""
    false, true, _ = roc_curve(labels, scores)
    return np.concatenate([[0.0], np.interp(CURVE[1:], false, true)])


def _lists(known: Known) -> pa.Table:
    """A row a split: what its files hold, what is odd in them, what the embedding knows."""
    rows = []
    for name in SPLITS:
        published, kept, odd = known.listed.splits[name], known.splits[name], known.listed.oddities[name]
        rows.append(
            {
                "split": name,
                "pairs": len(published.labels),
                "positives": int(published.labels.sum()),
                "genes": len(published.genes),
                "of itself": odd.selves,
                "in two splits": odd.strays,
                "repeated": odd.repeated,
                "contradictory": odd.contradictory,
                "known pairs": len(kept.labels),
                "known positives": int(kept.labels.sum()),
                "known genes": len(np.intersect1d(published.genes, known.places)),
            }
        )
    return pa.Table.from_pylist(rows)


def _proof(subject: Subject, spec: EvaluateSpec) -> pa.Table:
    """A row a split: how many positives could be matched, and the four figures of degree."""
    known = known_pairs.read(subject)
    rows = []
    for name, one in known_pairs.with_matched(subject, spec.seed).items():
        positives = _different_positives(known.listed.splits[name])
        rows.append(
            {
                "split": name,
                "bins": one.bins,
                "published positives": len(positives),
                "known positives": one.positives,
                "positives": one.kept,
                "negatives": len(one.split.labels) - one.kept,
                "candidates": one.candidates,
                "published genes": len(np.unique(positives)),
                "genes": len(one.split.genes),
                **{f"degree {figure}": value for figure, value in one.figures.items()},
            }
        )
    return pa.Table.from_pylist(rows)
