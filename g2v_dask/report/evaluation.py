"""What a report says of an evaluation: a table a task, baselines among what is judged; below it what it keeps."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from g2v_dask.report.evaluated import Evaluated, Figure
from g2v_dask.report.sheets import Column, Picture, Sheet

TITLES = {
    "clusteredness": "Pathway clusteredness",
    "interaction": "Gene-gene interaction",
    "prediction": "Gene-set prediction",
    "tissue": "Tissues",
    "stability": "Stability",
    "neighbours": "Neighbours",
}
METRICS = {
    "auc": "AUC",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "auc sd": "SD of AUC over seeds",
    "r2": "R²",
}
INTERVALS = {"stability": "5 % to 95 % of genes"}  # where they are no 95 % interval
CHOSEN = "chosen on valid"  # the kind of the model that was
EMBEDDING = "embedding"  # what is scored where no model is named
WIDE = 5  # metrics that stand side by side; of more, what is scored does
ENDS = 10  # rows of a long table that are shown from either end


def sheets(found: Evaluated, *, pictures: bool = False, only: Collection[str] | None = None) -> list[Sheet]:
    """A table of figures a task, the best first, then what the task keeps that is worth reading.

    Parameters: pictures   with the ROC curves of interaction.
                only       of these tasks.
    """
    tasks = [task for task in found.tasks if only is None or task in only]
    made = [sheet for task in tasks for sheet in _of_task(found, task, pictures=pictures)]
    if made and only is None:
        notes = tuple(f"Not asked: {title_of(task)}: {why}." for task, why in found.skipped.items())
        made[0] = replace(made[0], notes=(*made[0].notes, *notes))
    return made


def _of_task(found: Evaluated, task: str, *, pictures: bool) -> Iterator[Sheet]:
    figures = [f for f in found.figures if f["task"] == task]
    if task == "interaction":
        yield from _interaction(found, figures, pictures=pictures)
    else:
        yield figures_sheet(figures, title=f"{title_of(task)}: {_embedding(found)}", facts=_facts(found))
    yield from KEPT[task](found) if task in KEPT else ()


def _interaction(found: Evaluated, figures: Sequence[Figure], *, pictures: bool) -> Iterator[Sheet]:
    """A sheet a list, since one holds one picture; those that models were not chosen by come first."""
    chosen = {str(r["list"]): str(r["model"]) for r in found.rows("interaction-choice")}
    for on in sorted(dict.fromkeys(str(f["on"]) for f in figures), key=lambda on: on.endswith("valid")):
        mine = [f for f in figures if f["on"] == on]
        pairs = [f"{100 * f['value']:.1f} % of its pairs" for f in mine if f["metric"] == "pair coverage"]
        model = chosen.get("matched" if on.startswith("matched") else "published", "")
        some = [
            {**f, "on": "", "baseline": CHOSEN if model and f["model"] == model else f["baseline"]}
            for f in mine
            if f["metric"] != "pair coverage" and not (model and f["model"] == "chosen")
        ]
        title = f"{title_of('interaction')}: {_embedding(found)}, {on}" if on else title_of("interaction")
        made = figures_sheet(some, title=title, facts=(*_facts(found), *pairs))
        drawn = _curves().of_evaluation(found, on) if pictures else None
        caption = f"ROC curves, {on}; each model's AUC beside its name"
        yield made if drawn is None else replace(made, picture=Picture(png=drawn, caption=caption))


def _embedding(found: Evaluated) -> str:
    return str(found.artifact.facts["embedding"])


def _curves() -> Any:
    """The module that draws, loaded for the first picture."""
    return importlib.import_module("g2v_dask.report.curves")


def title_of(task: str) -> str:
    """What a task is called."""
    return TITLES.get(task, task)


def _facts(found: Evaluated) -> tuple[str, ...]:
    """Which version of the embedding was judged, and over which of its genes."""
    facts = [f"embedding {_embedding(found)} ({found.digest[:12]})"]
    common = found.artifact.manifest["identity"].get("common") or ()
    if common:
        facts.append(f"only genes that {', '.join(common)} also {'has' if len(common) == 1 else 'have'}")
    return tuple(facts)


# -- figures ------------------------------------------------------------------------------------------------


def figures_sheet(figures: Sequence[Figure], *, title: str, facts: tuple[str, ...] = ()) -> Sheet:
    """One task's figures: a row for all that is scored, on each thing that it is scored on; the best first.

    What needs no embedding stands where its figure puts it, and says what it is.
    """
    shared, differing = _shared_facts(figures)
    on = {str(f["on"]) for f in figures}
    if len(on) == 1 and on != {""}:
        shared = [f"on {on.pop()}", *shared]
        figures = [{**f, "on": ""} for f in figures]
    columns, rows = (_wide if len({f["metric"] for f in figures}) <= WIDE else _beside)(figures, differing)
    used = [i for i, column in enumerate(columns) if not column.optional or any(row[i] for row in rows)]
    return Sheet(
        title=title,
        facts=(*facts, *shared),
        columns=tuple(Column(name=columns[i].name, right=columns[i].right) for i in used),
        rows=tuple(tuple(row[i] for i in used) for row in rows),
        notes=_notes(figures),
    )


@dataclass(frozen=True, kw_only=True)
class _Column:
    name: str
    right: bool = False
    optional: bool = False
    """Left out where all its cells are empty."""


_HEAD = (
    _Column(name="On", optional=True),
    _Column(name="What is scored", optional=True),
    _Column(name="Kind", optional=True),
)


def _wide(figures: Sequence[Figure], differing: Sequence[str]) -> tuple[list[_Column], list[list[str]]]:
    """Metrics side by side."""
    metrics = list(dict.fromkeys(str(f["metric"]) for f in figures))
    rows: dict[tuple[Any, ...], dict[str, Figure]] = {}
    for f in figures:
        rows.setdefault((f["on"], f["model"], f["baseline"], f["seed"]), {})[str(f["metric"])] = f
    several = any(key[1] for key in rows)
    order = list(dict.fromkeys(key[0] for key in rows))
    ranked = sorted(rows.items(), key=lambda item: (order.index(item[0][0]), -_first(item[1], metrics)))
    columns = [*_HEAD, *(_Column(name=name_of(m), right=True) for m in metrics), *_asides(differing)]
    cells = [
        [
            key[0],
            key[1] or (EMBEDDING if several else ""),
            key[2],
            *(value_of(by[m]) if m in by else "" for m in metrics),
            *_aside(list(by.values()), differing),
        ]
        for key, by in ranked
    ]
    return columns, cells


def _first(by_metric: Mapping[str, Figure], metrics: Sequence[str]) -> float:
    """What a row is ranked by: its value of the first metric that it has; none is least."""
    values = (float(by_metric[m]["value"]) for m in metrics if m in by_metric)
    return next((v for v in values if not math.isnan(v)), -math.inf)


def _beside(figures: Sequence[Figure], differing: Sequence[str]) -> tuple[list[_Column], list[list[str]]]:
    """Many metrics, one below the other, as they come; what is scored side by side."""
    models = list(dict.fromkeys((str(f["model"]), str(f["baseline"])) for f in figures))
    rows: dict[tuple[Any, ...], dict[tuple[str, str], Figure]] = {}
    for f in figures:
        rows.setdefault((f["on"], f["metric"], f["seed"]), {})[f["model"], f["baseline"]] = f
    named = [f"{model or EMBEDDING} ({kind})" if kind else model or EMBEDDING for model, kind in models]
    columns = [_HEAD[0], _Column(name="Metric"), *(_Column(name=n, right=True) for n in named), *_asides(differing)]
    cells = [
        [
            key[0],
            name_of(key[1]),
            *(value_of(by[m]) if m in by else "" for m in models),
            *_aside(list(by.values()), differing),
        ]
        for key, by in rows.items()
    ]
    return columns, cells


def _shared_facts(figures: Sequence[Figure]) -> tuple[list[str], list[str]]:
    """Genes, coverage and seed: said once where they are the same for all, else named as columns."""
    facts, differing = [], []
    for key in ("genes", "coverage", "seed"):
        values = {f[key] for f in figures}
        if len(values) > 1:
            differing.append(key)
        else:
            facts.append(_ASIDE[key][1](values.pop()))
    return facts, differing


_ASIDE: Mapping[str, tuple[str, Any, Any]] = {  # what it is called as a column, as a fact, in a cell
    "genes": ("Genes", lambda v: f"{v:,} genes", lambda v: f"{v:,}"),
    "coverage": ("Coverage", lambda v: f"{100 * v:.1f} % of the task's genes", lambda v: f"{100 * v:.1f} %"),
    "seed": ("Seed", lambda v: f"seed {v}", str),
}


def _asides(differing: Sequence[str]) -> list[_Column]:
    return [_Column(name=_ASIDE[key][0], right=True) for key in differing]


def _aside(row: Sequence[Figure], differing: Sequence[str]) -> list[str]:
    """What a row says of each; where its figures differ, from the least to the most."""
    cells = []
    for key in differing:
        ends = dict.fromkeys([min(f[key] for f in row), max(f[key] for f in row)])
        cells.append(" to ".join(_ASIDE[key][2](value) for value in ends))
    return cells


def _notes(figures: Sequence[Figure]) -> tuple[str, ...]:
    notes = []
    if any(math.isfinite(f["low"]) for f in figures):
        notes.append(f"In brackets {INTERVALS.get(str(figures[0]['task']), 'the 95 % interval')}.")
    kinds = {str(f["baseline"]) for f in figures}
    if "baseline" in kinds:
        notes.append("Baseline: needs no embedding.")
    if "transductive" in kinds:
        notes.append(
            "Transductive: reads the very list that it is scored on; no fair rival, but what the list gives away."
        )
    return tuple(notes)


def name_of(metric: str) -> str:
    """What a metric is called.

    >>> name_of("auc"), name_of("mean_z")
    ('AUC', 'mean z')
    """
    return METRICS.get(metric, metric.replace("_", " "))


def value_of(figure: Figure) -> str:
    """A value, and its interval if it has one.

    >>> value_of({"value": 0.7474, "low": 0.731, "high": 0.7625}), value_of({"value": 2000.0, "low": math.nan})
    ('0.747 (0.731 to 0.762)', '2,000')
    """
    text = number(figure["value"])
    if not math.isfinite(figure["low"]):
        return text
    return f"{text} ({number(figure['low'])} to {number(figure['high'])})"


def number(value: float) -> str:
    """A figure with three digits after the point; small ones as powers of ten, whole large ones whole, none as nothing.

    >>> number(0.5), number(1.5e-7), number(20000.0), number(123456.7), number(math.nan), number(0.0)
    ('0.500', '1.5e-07', '20,000', '123,457', '', '0.000')
    """
    if math.isnan(value):
        return ""
    if 0 < abs(value) < 5e-4:
        return f"{value:.1e}"
    whole = abs(value) >= 10 and float(value).is_integer()
    return f"{value:,.0f}" if whole or abs(value) >= 10_000 else f"{value:,.3f}"


# -- what tasks keep ----------------------------------------------------------------------------------------


def _tissues(found: Evaluated) -> Iterator[Sheet]:
    """What the vectors tell of each tissue, the best told first, and the genes that are specific for it."""
    kept = [r for r in found.rows("tissue-tissues") if r["model"] == "vectors"]
    numbers = {"R²": "r2", "Their cosine": "cosine", "At random": "random", "q": "q"}
    columns = {"Tissue": "tissue", "Samples": "samples", "Specific genes": "specific", **numbers, "Of these": "first"}
    yield from _kept(found, "Each tissue", sorted(kept, key=lambda r: -_or_least(r["r2"])), columns)


def _coherent(found: Evaluated) -> Iterator[Sheet]:
    """The most and the least coherent sets."""
    kept = [r for r in found.rows("clusteredness-sets") if not math.isnan(r["z"])]
    columns = {"Set": "set", "Genes": "known", "Mean cosine": "mean_cosine", "z": "z", "q": "q"}
    yield from _kept(found, "The most coherent sets", kept[:ENDS], columns)
    yield from _kept(found, "The least coherent sets", kept[ENDS:][-ENDS:][::-1], columns)


def _predicted(found: Evaluated) -> Iterator[Sheet]:
    """The sets that are told best, and worst, by the vectors."""
    kept = [r for r in found.rows("prediction-sets") if not r["model"]]
    kept.sort(key=lambda r: -_or_least(r["auroc"]))
    columns = {"Set": "set", "Genes": "known", "AUROC": "auroc", "AUPRC": "auprc"}
    yield from _kept(found, "The sets that are told best", kept[:ENDS], columns)
    yield from _kept(found, "The sets that are told worst", kept[ENDS:][-ENDS:][::-1], columns)


def _neighbours(found: Evaluated) -> Iterator[Sheet]:
    """Genes with other neighbours elsewhere, and examples."""
    rows = found.rows("neighbours-neighbours")
    for other, why in dict.fromkeys((str(r["other"]), str(r["why"])) for r in rows):
        title = f"Neighbours in {_embedding(found)} and {other}: {why}"
        some = [r for r in rows if (r["other"], r["why"]) == (other, why)]
        columns = {
            "Gene": "gene",
            "Kept": "kept",
            f"In {_embedding(found)}": "here",
            f"In {other}": "there",
        }
        yield from _kept(found, title, some, columns)


def _lists(found: Evaluated) -> Iterator[Sheet]:
    """What the lists of pairs hold, and how well matched negatives are matched."""
    for table, title in (("lists", "The list of pairs"), ("matched", "Matched negatives")):
        rows = found.rows(f"interaction-{table}")
        columns = {name[:1].upper() + name[1:]: name for name in rows[0]} if rows else {}
        for made in _kept(found, title, rows, columns):
            what = "AUC of the degrees of two genes: their sum, least, product and difference; 0.5 tells nothing."
            yield replace(made, notes=(what,)) if table == "matched" else made


KEPT: Mapping[str, Callable[[Evaluated], Iterator[Sheet]]] = {
    "clusteredness": _coherent,
    "interaction": _lists,
    "prediction": _predicted,
    "tissue": _tissues,
    "neighbours": _neighbours,
}


def _kept(
    found: Evaluated, title: str, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]
) -> Iterator[Sheet]:
    """Some columns of a table, under their names; nothing where it has no rows."""
    if not rows:
        return
    texts = {name: isinstance(rows[0][key], str) for name, key in columns.items()}
    yield Sheet(
        title=title,
        facts=_facts(found),
        columns=tuple(Column(name=name, right=not text) for name, text in texts.items()),
        rows=tuple(tuple(_cell(row[key]) for key in columns.values()) for row in rows),
    )


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else number(value)


def _or_least(value: float) -> float:
    return -math.inf if math.isnan(value) else value
