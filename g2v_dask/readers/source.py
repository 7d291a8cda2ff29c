"""What a file holds (``Source``), a piece of it (``Block``), and how datasets are named."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from g2v_dask.errors import InputError

Format = Literal["geo_matrix", "gct", "table", "h5ad"]
Kind = Literal["symbol", "ensembl", "entrez", "probe"]
KINDS: tuple[Kind, ...] = ("symbol", "ensembl", "entrez", "probe")  # the order in which an id is taken

LONGEST_NAME = 200
EXTENSIONS = re.compile(r"(\.gz|\.txt|\.tsv|\.csv|\.tab|\.gct|\.h5ad|_series_matrix)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One dataset of one file."""

    path: Path
    format: Format
    name: str
    """Name of the dataset in the store."""
    title: str
    """The same before characters were replaced."""
    samples: tuple[str, ...] = field(repr=False)
    """Sample ids, in the order of the file."""
    columns: tuple[int, ...] | None = field(default=None, repr=False)
    """Which of the file's samples these are; None means all."""
    group: str | None = None
    """The group of a split file."""
    platform: str | None = None
    """GEO accession of the array, where the file names it."""
    left_out: int = 0
    """Samples of the file that belong to no group."""
    samples_in_rows: bool = False
    layer: str | None = None
    n_rows: int | None = None
    """Rows of the matrix, where the head of the file tells."""

    @property
    def n_samples(self) -> int:
        """How many samples the dataset has."""
        return len(self.samples)


@dataclass(frozen=True, kw_only=True)
class Block:
    """Some rows of a dataset, with all its samples."""

    rows: list[str]
    """The first id of each row, as the file has it: what a probe is called."""
    ids: Mapping[Kind, list[str]]
    """Ids by kind; an empty text where a row has none."""
    values: NDArray[np.float64]
    """(rows, samples); NaN where not measured, never infinite."""


def stem(path: Path) -> str:
    """A file's name without the extensions that expression files have."""
    name = path.name
    while (shorter := EXTENSIONS.sub("", name)) and shorter != name:
        name = shorter
    return name


def safe_name(title: str) -> str:
    """A title as a name for the store: other characters than A-Z a-z 0-9 . _ - become ``_``, and so do dots that
    lead or follow a dot. What is too long for a folder is cut, and ends in a hash of the whole.

    >>> safe_name("Brain - Cortex (BA9)"), safe_name("..x..y")
    ('Brain_-_Cortex__BA9_', '__x._y')
    """
    name = re.sub(r"[^A-Za-z0-9._-]", "_", title)
    name = re.sub(r"(?<=\.)\.", "_", re.sub(r"^\.+", lambda dots: "_" * len(dots.group()), name))
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(title.encode()).hexdigest()[:8]}"
    return name if name else "_"


def check_samples(path: Path, samples: list[str]) -> None:
    """Raises InputError if there is no sample, or one has no id or the id of another."""
    if not samples:
        msg = f"{path}: expected a column of values for each sample, found none"
        raise InputError(msg)
    seen: dict[str, int] = {}
    for place, sample in enumerate(samples, 1):
        if not sample:
            msg = f"{path}: sample {place} has no id in the header line; name it"
            raise InputError(msg)
        if sample in seen:
            msg = f"{path}: duplicated sample id {sample!r} (samples {seen[sample]} and {place}); rename or remove one"
            raise InputError(msg)
        seen[sample] = place


def infinite(path: Path, where: str, value: object) -> InputError:
    """The error for ±inf."""
    return InputError(f"{path}: {where}: expected a finite number, got {value}; remove it or mark it missing (NA)")
