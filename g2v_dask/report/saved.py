"""Reports and pictures in files: each is whole, or not there."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2v_dask.answers import Analogies, NearPairs, Solutions
from g2v_dask.errors import InputError
from g2v_dask.files import write_file
from g2v_dask.names import Names
from g2v_dask.report.markdown import body, escape
from g2v_dask.report.pages import page
from g2v_dask.report.sheets import Column, Picture, Sheet, sheet, sign_of


def _figures() -> Any:
    """The module that draws, loaded for the first picture: ``g2v similar`` cannot wait for it."""
    return importlib.import_module("g2v_dask.report.figures")


def full_sheet(
    answers: Analogies | Solutions | NearPairs,
    names: Names,
    vectors: NDArray[np.float32],
    *,
    groups: int | None = None,
) -> Sheet:
    """The report for a file: as ``sheet``, and of ``analogy gene`` with groups and their heat map.

    Raises: SpecError for fewer than 1 group, or more than there are distinct b.
    """
    plain = sheet(answers, names)
    if not isinstance(answers, Analogies) or len(answers.asked) != 1:
        return plain
    made = _figures().gene_map(answers, names, vectors, groups=groups)
    gene, sign = names.about(answers.asked[0]).symbol, sign_of(answers)
    caption = f"Cosines among the {gene} {sign} b vectors, b by k-means group, then by best answer"
    return replace(
        plain,
        columns=(*plain.columns, Column(name="Group", right=True)),
        rows=tuple((*row, str(made.groups[answer.b])) for row, answer in zip(plain.rows, answers.found, strict=True)),
        notes=(*plain.notes, *made.notes),
        picture=None if made.png is None else Picture(png=made.png, caption=caption),
    )


def write_markdown(path: Path, *sheets: Sheet) -> None:
    """Writes reports as one Markdown file, their pictures beside it.

    Raises: InputError if a file cannot be written, or is named as a picture.
    """
    write(path, "\n".join(chapters(path, sheets)))


def chapters(path: Path, sheets: Sequence[Sheet]) -> list[str]:
    """Each report as Markdown under its title. Writes their pictures beside the file that they will stand in.

    One picture has the file's name with ``.png``, several have a number too.
    Raises: InputError if a picture cannot be written, or the file is named as one.
    """
    drawn = [one.picture for one in sheets if one.picture is not None]
    if drawn and path.suffix.lower() == ".png":
        msg = f"{path}: the picture of the report takes that name; call the report .md"
        raise InputError(msg)
    numbers = iter(range(1, len(drawn) + 1))
    parts: list[str] = []
    for one in sheets:
        name = ""
        if one.picture is not None:
            number = next(numbers)
            name = f"{path.stem}-{number}.png" if len(drawn) > 1 else f"{path.stem}.png"
            _write(path.with_name(name), one.picture.png)
        parts.append(f"# {escape(one.title)}\n\n{body(one, name)}")
    return parts


def write_html(path: Path, *sheets: Sheet) -> None:
    """Writes reports as one HTML file, pictures inside.

    Raises: InputError if the path is a folder or cannot be written.
    """
    write(path, page(*sheets))


def write_histogram(
    path: Path,
    counts: NDArray[np.integer[Any]],
    edges: NDArray[np.floating[Any]],
    *,
    embedding: str,
    genes: int,
    log: bool = True,
) -> None:
    """Writes the distribution of all similarities as a picture: PNG, SVG or PDF, by the name of the file.

    Raises: InputError for another name, or if the path cannot be written.
    """
    _write(path, _figures().histogram(counts, edges, file=path, embedding=embedding, genes=genes, log=log))


def write(path: Path, text: str) -> None:
    """Writes a report; the file is whole, or not there.

    Raises: InputError if the path is a folder or cannot be written.
    """
    _write(path, text.encode())


def _write(path: Path, data: bytes) -> None:
    file = path.expanduser()
    with writing(file):
        write_file(file, data)


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """What goes wrong with a report's file, as an error of the one who named it."""
    try:
        yield
    except OSError as error:
        msg = f"cannot write the report {file}: {error.strerror}; name another file"
        raise InputError(msg) from error
