"""Gene-gene interaction: do two genes' vectors tell whether they interact, on genes that were not learned from?

The network of the paper and simple heads learn from the training pairs of a published list, choose by its validation
pairs, and are scored on both other splits; beside them stands what needs no vectors. On the list as it is published the
number of pairs that a gene is in tells most; so the same is asked of negatives that are matched in degree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from g2v_dask.errors import InputError
from g2v_dask.evaluate_spec import EvaluateSpec
from g2v_dask.evaluation import degrees, ggipnn, heads, intervals, matched, pairlists
from g2v_dask.evaluation.base import ROWS, Progress, Subject, Tables, Unit, row, rows_table
from g2v_dask.evaluation.pairlists import SPLITS, PairList, Pairs, Split
from g2v_dask.ontology import Ontology, recognised

TASK = "interaction"
PUBLISHED, MATCHED = "published", "matched"
SCORED = ("valid", "test")
COSINE, HEADS, GGIPNN = "cosine", "logistic {}", "ggipnn {}"
CHOSEN = "chosen"
BASELINES = "baselines"  # the unit of all of them
TOGETHER = "all gene properties"
DRAWN, AGAIN = range(2)  # streams of random numbers of one seed
CURVE = np.linspace(0, 1, 301)  # rates of false positives at which a curve is kept

Scorer = Callable[[Pairs], NDArray[np.float32]]
Splits = Mapping[str, Split]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Known:
    """The part of the published list that the embedding knows. All positions are in its genes."""

    listed: PairList
    genes: NDArray[np.str_]
    """(genes,) symbols."""
    rows: NDArray[np.int64]
    """(genes,) of the embedding."""
    places: NDArray[np.int64]
    """(genes,) in the list's genes."""
    vectors: NDArray[np.float32]
    splits: Splits
    coverage: Mapping[str, float]
    """Of each split, the share of its genes."""


# -- what is asked --------------------------------------------------------------------------------------------


def units(subject: Subject, spec: EvaluateSpec) -> tuple[Unit, ...]:
    """Each model on each list; the network once a seed.

    Raises: InputError for a list that is wrong, or of which the embedding knows too little.
    """
    known = _known(subject)
    genes = np.unique(np.concatenate([split.genes for split in known.listed.splits.values()]))
    subject.covered(TASK, len(known.genes) / len(genes), spec.least_coverage)
    for name, split in known.splits.items():
        if len(set(split.labels.tolist())) < 2:
            msg = (
                f"{TASK}: {subject.name} knows both genes of {len(split.labels):,} of the "
                f"{len(known.listed.splits[name].labels):,} pairs of {name}, and not one of each label; "
                f"take an embedding or a list with more genes in common"
            )
            raise InputError(msg)
    if spec.matched:
        recognised(subject.files["go"])
    lists = (PUBLISHED, MATCHED) if spec.matched else (PUBLISHED,)
    return tuple(
        Unit(
            label=f"{TASK}, {listed}, {model}" + (f", seed {seed}" if model.startswith("ggipnn") else ""),
            bytes=_bytes(known, listed, model),
            given=(listed, model, seed),
        )
        for listed in lists
        for model, seed in _models(spec)
    )


def _models(spec: EvaluateSpec) -> Iterator[tuple[str, int]]:
    """What is scored, with the seed: the slow ones first."""
    if "ggipnn" in spec.models:
        for mode in ggipnn.MODES:
            yield from ((GGIPNN.format(mode), spec.seed + run) for run in range(spec.seeds))
    if "heads" in spec.models:
        yield from ((HEADS.format(head), spec.seed) for head in heads.HEADS)
    if "cosine" in spec.models:
        yield COSINE, spec.seed
    if spec.baselines:
        yield BASELINES, spec.seed


def _bytes(known: _Known, listed: str, model: str) -> int:
    train, components = len(known.splits["train"].labels), known.vectors.shape[1]
    needed = 100_000_000 + 100 * sum(len(split.labels) for split in known.listed.splits.values())
    if model.startswith("ggipnn"):
        needed += 300_000_000 + 20 * known.vectors.size  # PyTorch itself
    elif model.startswith("logistic"):
        needed += 12 * train * components * (2 if model.endswith("concatenation") else 1)
    if listed == MATCHED:
        split = known.splits["train"]
        positive = len(np.unique(split.pairs[split.labels == 1]))
        needed += 31 * positive * positive
    return needed


# -- what is known --------------------------------------------------------------------------------------------


@lru_cache(maxsize=2)
def _known(subject: Subject) -> _Known:
    """The pairs whose two genes the embedding has; read once a process."""
    listed = pairlists.read(subject.files["pairs"], subject.table)
    found = subject.find(listed.genes.tolist())
    places = np.flatnonzero(found >= 0)
    local = np.full(len(found), -1, dtype=np.int32)
    local[places] = np.arange(len(places), dtype=np.int32)
    splits, coverage = {}, {}
    for name, split in listed.splits.items():
        pairs = local[split.pairs]
        kept = (pairs >= 0).all(axis=1)
        splits[name] = Split(pairs=pairs[kept], labels=split.labels[kept], lines=split.lines[kept])
        coverage[name] = float((found[split.genes] >= 0).mean()) if len(split.labels) else 0.0
    return _Known(
        listed=listed,
        genes=listed.genes[places],
        rows=found[places],
        places=places,
        vectors=np.ascontiguousarray(subject.vectors[found[places]]),
        splits=splits,
        coverage=coverage,
    )


@lru_cache(maxsize=2)
def _terms(subject: Subject) -> Mapping[str, frozenset[str]]:
    """Gene symbol to the terms that it is annotated with."""
    return Ontology.read(subject.files["go"], subject.table).terms_of()


@lru_cache(maxsize=2)
def _matched(subject: Subject, seed: int) -> Mapping[str, matched.Matched]:
    """Each split with matched negatives; drawn once a process."""
    known, terms = _known(subject), _terms(subject)
    number = {term: i for i, term in enumerate(sorted(set().union(*terms.values())))}
    carried = [[number[term] for term in sorted(terms.get(gene, ()))] for gene in known.genes.tolist()]
    degree = degrees.positives_of_genes(known.listed)[known.places]
    return {
        name: matched.draw(name, split, degree=degree, terms=carried, seed=(seed, DRAWN, SPLITS.index(name)))
        for name, split in known.splits.items()
    }


def _splits(subject: Subject, spec: EvaluateSpec, listed: str) -> Splits:
    if listed == PUBLISHED:
        return _known(subject).splits
    return {name: one.split for name, one in _matched(subject, spec.seed).items()}


# -- one model ------------------------------------------------------------------------------------------------


def run(subject: Subject, spec: EvaluateSpec, unit: Unit, progress: Progress) -> Tables:
    """``scores``: of each pair of validation and test, by one model on one list, or by all baselines."""
    listed, model, seed = unit.given
    progress(0, 1, "reading")
    known, splits = _known(subject), _splits(subject, spec, listed)
    # a model is made of these two; it sees pairs of the test split when it is done, and without labels
    train, valid = splits["train"], splits["valid"]
    if model == BASELINES:
        scorers = {**_transductive(known), **_properties(subject, known, train, valid, use_go=spec.go is not None)}
    else:
        scorers = {model: _learned(known.vectors, model, train, valid, seed=seed, progress=progress)}
    parts = [
        _scores(listed, name, one, seed, splits[name], scorer(splits[name].pairs))
        for one, scorer in scorers.items()
        for name in SCORED
    ]
    progress(1, 1, "")
    return {"scores": pa.concat_tables(parts)}


def _learned(
    vectors: NDArray[np.float32], model: str, train: Split, valid: Split, *, seed: int, progress: Progress
) -> Scorer:
    """A model that scores the vectors of two genes."""
    kind, _, way = model.partition(" ")
    if kind == "ggipnn":
        return ggipnn.fit(vectors, train, valid, mode=way, seed=seed, progress=progress).score
    if kind == "cosine":
        return lambda pairs: heads.cosine(vectors, pairs)
    return _head(lambda pairs: heads.features(way, vectors, pairs), train, valid)


def _head(features: Callable[[Pairs], heads.Features], train: Split, valid: Split) -> Scorer:
    """A logistic regression on what a function makes of pairs."""
    fitted = heads.fit(features(train.pairs), train.labels, features(valid.pairs), valid.labels)
    return lambda pairs: fitted.score(features(pairs))


def _transductive(known: _Known) -> dict[str, Scorer]:
    """What reads the list that it is scored on: how often it has each gene, and in which order it writes the two."""
    counted = {
        "degree": degrees.pairs_of_genes(known.listed),
        "positive degree": degrees.positives_of_genes(known.listed),
    }
    scorers: dict[str, Scorer] = {"alphabetical order": _alphabetical(known)}
    for name, counts in counted.items():
        values = np.log1p(counts[known.places])
        scorers |= {f"{name} {figure}": _figure(values, figure) for figure in degrees.FIGURES}
    return scorers


def _figure(values: NDArray[np.float64], figure: str) -> Scorer:
    return lambda pairs: degrees.figures(values, pairs)[figure].astype(np.float32)


def _alphabetical(known: _Known) -> Scorer:
    """1 for a pair in alphabetical order: genes are sorted by symbol."""
    return lambda pairs: (pairs[:, 0] < pairs[:, 1]).astype(np.float32)


def _properties(subject: Subject, known: _Known, train: Split, valid: Split, *, use_go: bool) -> dict[str, Scorer]:
    """What is known of genes without the embedding: a logistic regression on what two genes' values make of a pair."""
    found = _values(subject, known, use_go=use_go)

    def scorer(*values: NDArray[np.float64]) -> Scorer:
        return _head(lambda pairs: degrees.table_of(values, pairs).astype(np.float32), train, valid)

    scorers = {name: scorer(values) for name, values in found.items()}
    return {**scorers, TOGETHER: scorer(*found.values())} if len(found) > 1 else scorers


def _values(subject: Subject, known: _Known, *, use_go: bool) -> dict[str, NDArray[np.float64]]:
    """Of each property that is known, a value a gene; a gene without one has the mean of the others."""
    background, words = subject.background, subject.genes[known.rows].tolist()
    found: dict[str, NDArray[np.float64]] = {}
    if use_go:
        terms = _terms(subject)
        found["GO annotations"] = np.log1p([len(terms.get(gene, ())) for gene in known.genes.tolist()])
    moments, degree = background.moments(), background.degree()
    if moments:
        each = np.array([moments.get(word, (np.nan, np.nan)) for word in words])
        found |= {"expression mean": each[:, 0], "expression variance": np.log1p(each[:, 1])}
    if degree:
        found["co-expression degree"] = np.log1p([degree.get(word, np.nan) for word in words])
    for values in found.values():
        values[np.isnan(values)] = np.nanmean(values)
    return found


def _scores(listed: str, name: str, model: str, seed: int, split: Split, scores: NDArray[np.float32]) -> pa.Table:
    count = len(scores)
    return pa.table(
        {
            "list": pa.array([listed] * count, type=pa.string()),
            "split": pa.array([name] * count, type=pa.string()),
            "model": pa.array([model] * count, type=pa.string()),
            "seed": pa.array(np.full(count, seed), type=pa.int64()),
            "pair": pa.array(split.lines, type=pa.int32()),
            "label": pa.array(split.labels, type=pa.int8()),
            "score": pa.array(scores, type=pa.float32()),
        }
    )


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
    """The figures of each model, ``chosen`` for the best one that no baseline is, and what is worth keeping.

    ``scores``: of each pair of both test splits, by each run, with its genes.   ``curves``: ROC, mean over runs.
    ``lists``: what was in the files, and how much of it the embedding knows.   ``matched``: its proof.
    ``choice``: which model ``chosen`` is, on each list.
    """
    known = _known(subject)
    runs = _runs(subject, spec, tables["scores"])
    lists = list(dict.fromkeys(listed for listed, _, _ in runs))
    rows: list[dict[str, Any]] = []
    chosen: dict[str, str] = {}
    figures = {(listed, name): _figures(known, runs, listed, name, spec) for listed in lists for name in SCORED}
    for listed in lists:
        on_valid = {m: f["auc"].value for m, f in figures[listed, "valid"].items() if _may_be_chosen(m)}
        if on_valid:
            chosen[listed] = max(on_valid, key=lambda model: on_valid[model])
        for name in SCORED:
            rows += _rows(subject, spec, listed, name, figures[listed, name], chosen.get(listed))
    valid_auc = [figures[listed, "valid"][model]["auc"].value for listed, model in chosen.items()]
    choice = pa.table({"list": list(chosen), "model": list(chosen.values()), "valid auc": valid_auc})
    kept: dict[str, pa.Table] = {
        ROWS: rows_table(rows),
        "scores": _kept_scores(known, runs),
        "curves": _curves(runs),
        "lists": _lists(known),
        "choice": choice,
    }
    return {**kept, "matched": _proof(subject, spec)} if spec.matched else kept


def _runs(subject: Subject, spec: EvaluateSpec, scores: pa.Table) -> dict[tuple[str, str, str], _Runs]:
    """List, split and model to all their runs, in the order of the units."""
    codes, words = [], []
    for column in ("list", "split", "model", "seed"):
        coded = scores[column].combine_chunks().dictionary_encode()
        codes.append(coded.indices.to_numpy(zero_copy_only=False))
        words.append(coded.dictionary.to_pylist())
    key = np.ravel_multi_index(codes, [len(w) for w in words])
    pair, score = scores["pair"].to_numpy(), scores["score"].to_numpy()
    held: dict[tuple[str, str, str], list[tuple[int, NDArray[np.int32], NDArray[np.float32]]]] = {}
    order = np.argsort(key, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(key[order])) + 1):
        listed, name, model, seed = (word[code[part[0]]] for word, code in zip(words, codes, strict=True))
        held.setdefault((listed, name, model), []).append((seed, pair[part], score[part]))
    splits = {listed: _splits(subject, spec, listed) for listed in dict.fromkeys(which[0] for which in held)}
    found = {}
    for (listed, name, model), some in held.items():
        split = splits[listed][name]
        if not all(np.array_equal(pairs, split.lines) for _, pairs, _ in some):
            msg = f"{TASK}: the scores of {model} are not those of the {listed} list; run the evaluation again"
            raise InputError(msg)
        found[listed, name, model] = _Runs(
            split=split, scores=np.stack([values for _, _, values in some]), seeds=tuple(seed for seed, _, _ in some)
        )
    return found


def _figures(
    known: _Known, runs: Mapping[tuple[str, str, str], _Runs], listed: str, name: str, spec: EvaluateSpec
) -> dict[str, dict[str, intervals.Figure]]:
    """Of each model, on one split of one list; all on the same draws of its genes."""
    mine = {model: some for (a, b, model), some in runs.items() if (a, b) == (listed, name)}
    genes, local = np.unique(next(iter(mine.values())).split.pairs, return_inverse=True)
    random = np.random.default_rng([spec.seed, AGAIN, SPLITS.index(name)])
    draws = intervals.drawn(len(genes), spec.bootstrap, random)
    pairs = local.reshape(-1, 2).astype(np.int32)
    return {model: intervals.figures(r.scores, r.split.labels, pairs, draws) for model, r in mine.items()}


def kind_of(model: str) -> str:
    """Empty for what scores the embedding's vectors, else ``baseline`` or ``transductive``."""
    if model in (COSINE, CHOSEN) or model.startswith(("logistic ", "ggipnn frozen", "ggipnn trainable")):
        return ""
    return "transductive" if model.startswith(("degree ", "positive degree ", "alphabetical")) else "baseline"


def _may_be_chosen(model: str) -> bool:
    """The network with the vectors as they are, and the simple heads."""
    return model in (COSINE, GGIPNN.format("frozen")) or model.startswith("logistic ")


def on_of(listed: str, name: str) -> str:
    """What the table calls a split of a list: ``valid``, ``test``, ``matched valid``, ``matched test``."""
    return name if listed == PUBLISHED else f"{listed} {name}"


def _rows(
    subject: Subject,
    spec: EvaluateSpec,
    listed: str,
    name: str,
    figures: Mapping[str, Mapping[str, intervals.Figure]],
    chosen: str | None,
) -> Iterator[dict[str, Any]]:
    known, split = _known(subject), _splits(subject, spec, listed)[name]
    if listed == PUBLISHED:
        coverage, pairs = known.coverage[name], len(split.labels) / len(known.listed.splits[name].labels)
    else:
        one = _published_positives(known, name)
        coverage, pairs = len(split.genes) / one.genes, split.labels.sum() / one.pairs
    of = partial(
        row,
        task=TASK,
        on=on_of(listed, name),
        genes=len(split.genes),
        coverage=float(coverage),
        seed=spec.seed,
    )
    if chosen is not None:
        figures = {CHOSEN: figures[chosen], **figures}
    for model, some in figures.items():
        kind = kind_of(model)
        for metric, figure in some.items():
            yield of(model=model, metric=metric, value=figure.value, low=figure.low, high=figure.high, baseline=kind)
        if np.isfinite(some["auc"].sd):
            yield of(model=model, metric="auc sd", value=some["auc"].sd, baseline=kind)
    yield of(metric="pair coverage", value=float(pairs))


@dataclass(frozen=True, kw_only=True)
class _Positives:
    """Of one split as it was published: different positive pairs, and their genes."""

    pairs: int
    genes: int


def _published_positives(known: _Known, name: str) -> _Positives:
    split = known.listed.splits[name]
    pairs = split.pairs[split.labels == 1]
    keys = np.unique(pairlists.keys_of(pairs, len(known.listed.genes)))
    return _Positives(pairs=len(keys), genes=len(np.unique(pairs)))


# -- what is kept ---------------------------------------------------------------------------------------------


def _kept_scores(known: _Known, runs: Mapping[tuple[str, str, str], _Runs]) -> pa.Table:
    """The test splits, with the genes of each pair; log odds, or whatever ranks."""
    names, parts = pa.array(known.genes.tolist(), type=pa.string()), []
    for (listed, name, model), some in runs.items():
        if name != "test":
            continue
        count = len(some.split.labels)
        first, second = (names.take(pa.array(some.split.pairs[:, end])) for end in (0, 1))
        for seed, scores in zip(some.seeds, some.scores, strict=True):
            columns = {
                "on": pa.array([on_of(listed, name)] * count, type=pa.string()),
                "model": pa.array([model] * count, type=pa.string()),
                "seed": pa.array(np.full(count, seed), type=pa.int64()),
                "gene_a": first,
                "gene_b": second,
                "label": pa.array(some.split.labels, type=pa.int8()),
                "score": pa.array(scores, type=pa.float32()),
            }
            parts.append(pa.table(columns))
    return pa.concat_tables(parts)


def _curves(runs: Mapping[tuple[str, str, str], _Runs]) -> pa.Table:
    """ROC curves of the test splits: the rate of true positives at each of ``CURVE``, mean over runs."""
    columns: dict[str, list[Any]] = {"on": [], "model": [], "false": [], "true": []}
    for (listed, name, model), some in runs.items():
        if name == "test":
            columns["on"] += [on_of(listed, name)] * len(CURVE)
            columns["model"] += [model] * len(CURVE)
            columns["false"] += CURVE.tolist()
            columns["true"] += np.mean([_curve(some.split.labels, run) for run in some.scores], axis=0).tolist()
    return pa.table(columns)


def _curve(labels: pairlists.Labels, scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """It begins at 0, 0, wherever the first pairs lie."""
    false, true, _ = roc_curve(labels, scores)
    return np.concatenate([[0.0], np.interp(CURVE[1:], false, true)])


def _lists(known: _Known) -> pa.Table:
    """A row a split: what its files hold, what is odd in them, what the embedding knows."""
    rows = []
    for name in SPLITS:
        published, kept, odd = known.listed.splits[name], known.splits[name], known.listed.oddities[name]
        genes = len(published.genes)
        rows.append(
            {
                "split": name,
                "pairs": len(published.labels),
                "positives": int(published.labels.sum()),
                "genes": genes,
                "of itself": odd.selves,
                "in two splits": odd.strays,
                "repeated": odd.repeated,
                "contradictory": odd.contradictory,
                "known pairs": len(kept.labels),
                "known positives": int(kept.labels.sum()),
                "known genes": round(known.coverage[name] * genes),
            }
        )
    return pa.Table.from_pylist(rows)


def _proof(subject: Subject, spec: EvaluateSpec) -> pa.Table:
    """A row a split: how many positives could be matched, and the four figures of degree."""
    known = _known(subject)
    rows = []
    for name, one in _matched(subject, spec.seed).items():
        published = _published_positives(known, name)
        rows.append(
            {
                "split": name,
                "bins": one.bins,
                "published positives": published.pairs,
                "known positives": one.positives,
                "positives": one.kept,
                "negatives": len(one.split.labels) - one.kept,
                "candidates": one.candidates,
                "published genes": published.genes,
                "genes": len(one.split.genes),
                **{f"degree {figure}": value for figure, value in one.figures.items()},
            }
        )
    return pa.Table.from_pylist(rows)
