"""Tables for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from g2v_dask.names import About
from g2v_dask.query import Neighbour
from g2v_dask.report.asked import asked_sheets
from g2v_dask.report.sheets import Bold, Cell, Column, Sheet, similar_sheet
from g2v_dask.store import Artifact, Store

Rows = Iterable[Mapping[str, Any]]

UNWRAPPED = 10_000  # columns of what is not a terminal: a pipe gets every row on one line
_BYTES = ("B", "kB", "MB", "GB", "TB")

_OPEN = {
    "expression": 'xarray.open_zarr("{path}/data.zarr")\ng2v_dask.open_store("{root}").expression("{name}")',
    "pairs": ('dask.dataframe.read_parquet("{path}/data.parquet")\ng2v_dask.open_store("{root}").pairs("{name}")'),
    "cooccurrence": (
        'g2v_dask.open_store("{root}").cooccurrence("{name}")  # symmetric; on disk lies the upper triangle'
    ),
    "embeddings": 'xarray.open_zarr("{path}/data.zarr")\ng2v_dask.open_store("{root}").embedding("{name}")',
    "answers": 'pandas.read_parquet("{path}/data.parquet")',
    "groups": 'pandas.read_parquet("{path}/data.parquet")',
    "maps": 'pandas.read_parquet("{path}/data.parquet")',
    "evaluations": 'pandas.read_parquet("{path}/data.parquet")',
    "index": 'faiss.read_index("{path}/data.index/shard-00000.faiss")',
}


def table(rows: Rows, columns: Sequence[str], *, title: str | None = None) -> None:
    """Prints rows as a table of these columns; an absent value is left empty."""
    listed = list(rows)
    numeric = {c for c in columns if any(isinstance(row.get(c), int | float) for row in listed)}
    _print(
        [[_cell(column, row.get(column)) for column in columns] for row in listed],
        [Column(name=column, right=column in numeric) for column in columns],
        title=title,
    )


def _print(rows: Iterable[Iterable[str]], columns: Iterable[Column], *, title: str | None) -> None:
    out = Table(box=SIMPLE_HEAD)
    for column in columns:
        out.add_column(Text(column.name), justify="right" if column.right else "left", overflow="fold")
    for row in rows:
        # Text, not markup: a title such as [B cells] is no style
        out.add_row(*(Text(cell, style="bold" if isinstance(cell, Bold) else "") for cell in row))
    if title is not None:
        _line(title)
    _console().print(out)


def _line(text: str) -> None:
    """Prints a line as it is, however long."""
    _console().print(Text(text), soft_wrap=True)


def _console() -> Console:
    """Stdout as it is now."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=UNWRAPPED)


def _cell(column: str, value: Any) -> str:
    if value is None:
        return ""
    if column == "bytes":
        return byte_size(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def byte_size(number: float) -> str:
    """Bytes in the unit that leaves one to three digits before the point.

    >>> byte_size(999), byte_size(1_234_567)
    ('999 B', '1.2 MB')
    """
    for unit in _BYTES:
        if number < 1000 or unit == _BYTES[-1]:
            break
        number /= 1000
    return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"


def show_sheet(sheet: Sheet) -> None:
    """Prints answers: the question, what it was asked of, the table, and what to know of it."""
    title = "\n".join(line for line in (sheet.title, "; ".join(sheet.facts)) if line)
    if sheet.columns:
        _print([[_plain(cell) for cell in row] for row in sheet.rows], sheet.columns, title=title)
    for note in sheet.notes:
        _line(note)


def _plain(cell: Cell) -> str:
    return cell.symbol if isinstance(cell, About) else cell


def similar_table(answers: Mapping[str, Sequence[Neighbour]]) -> None:
    """Prints the neighbours of each gene that was asked for."""
    for gene, found in answers.items():
        show_sheet(similar_sheet(gene, found))


def summary_table(summaries: Sequence[Mapping[str, Any]]) -> None:
    """Prints what each stage did (``Summary.as_json()``), then what was left out or quarantined, and why."""
    rows = [
        {
            "stage": s["stage"],
            **{word: len(s[word]) for word in ("made", "replaced", "fresh", "quarantined")},
            "parts": s["parts_run"],
            "seconds": f"{s['seconds']:.1f}",
        }
        for s in summaries
    ]
    made = [row for row in rows if row["stage"] != "report"]
    table(made, ("stage", "made", "replaced", "fresh", "quarantined", "parts", "seconds"))
    for summary in summaries:
        _details(summary)


def _details(summary: Mapping[str, Any]) -> None:
    if summary["stage"] == "report":
        for embedding, answers in summary["artifacts"].items():
            for sheet in asked_sheets(embedding, answers):
                show_sheet(sheet)
    lines = [f"left out: {', '.join(summary['left_out'])}"] if summary["left_out"] else []
    lines += [f"quarantined {q['name']}: {q['reason']}" for q in summary["quarantined"]]
    for line in lines:
        _line(f"{summary['stage']}: {line}")


def show(artifact: Artifact, store: Store) -> None:
    """Prints what an artifact is, where it lies, what it was made from, and how to open it in Python."""
    manifest = artifact.manifest
    rows: list[tuple[str, Any]] = [
        ("artifact", artifact.key),
        ("title", artifact.title),
        ("path", str(artifact.path)),
        ("digest", artifact.digest),
        ("made", manifest["made"].get("at")),
        *_flat("option", {k: v for k, v in manifest["identity"].items() if v is not None}),
        *_flat("", artifact.facts),
        *((f"from {key}", str(digest)[:12]) for key, digest in manifest["inputs"].items()),
        ("open", how_to_open(artifact, store)),
    ]
    table([{"field": key, "value": _brief(value)} for key, value in rows], ("field", "value"))


def _flat(prefix: str, value: Any) -> list[tuple[str, Any]]:
    """Nested facts as rows with dotted names."""
    if not isinstance(value, Mapping):
        return [(prefix, value)]
    inner = [_flat(f"{prefix}.{key}" if prefix else str(key), v) for key, v in value.items()]
    return [row for rows in inner for row in rows]


def how_to_open(artifact: Artifact, store: Store) -> str:
    """The Python that opens an artifact."""
    return _OPEN[artifact.kind].format(path=artifact.path, root=store.root.url, name=artifact.name)


def _brief(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _cell("", value) if isinstance(value, int) else f"{value:g}"
    if isinstance(value, str):
        return value
    text = json.dumps(value, default=str)
    return text if len(text) <= 100 else f"{text[:100]} ... (--json: all)"
