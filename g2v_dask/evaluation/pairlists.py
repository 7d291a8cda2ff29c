"""Lists of gene pairs in the published format: three splits, a text and a label file each.

A gene belongs to one split. What is wrong with that is refused; what is odd (two names of one gene, a pair of a gene
with itself, a pair that is there twice or with both labels) is handled in one way, counted and told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from g2v_dask.errors import InputError
from g2v_dask.exchange.sidefiles import text_of
from g2v_dask.genes import GeneTable

SPLITS = ("train", "valid", "test")
SHOWN = 3  # genes quoted as evidence

Pairs = NDArray[np.int32]
"""(pairs, 2) positions of two genes."""
Labels = NDArray[np.int8]
"""(pairs,) 1 for two genes that interact, else 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Pairs of one split, in the order of its file."""

    pairs: Pairs
    """Positions in the list's genes."""
    labels: Labels
    lines: NDArray[np.int32]
    """(pairs,) the line of the file that each is from, from 0."""

    def only(self, kept: NDArray[np.bool_] | NDArray[np.int64]) -> Split:
        """Some of its pairs."""
        return Split(pairs=self.pairs[kept], labels=self.labels[kept], lines=self.lines[kept])

    @property
    def genes(self) -> NDArray[np.int32]:
        """Positions of its genes, ascending, each once."""
        return np.unique(self.pairs)


@dataclass(frozen=True, kw_only=True)
class Oddities:
    """What is odd in one split."""

    selves: int
    """Pairs of a gene with itself, by name or by gene: left out."""
    strays: int
    """Pairs with a gene that a later split holds under another name: left out, or it could be learned."""
    repeated: int
    """Pairs that were there before, in either order: kept, as published."""
    contradictory: int
    """Different pairs that have both labels: kept, as published."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PairList:
    """All splits, on one axis of genes."""

    genes: NDArray[np.str_]
    """(genes,) by the symbols of today, sorted, each once."""
    splits: Mapping[str, Split]
    """Of ``SPLITS``."""
    oddities: Mapping[str, Oddities]


def read(files: Sequence[Path], table: GeneTable) -> PairList:
    """The list in the files of a folder; files of other names are passed over.

    Genes are known by the symbols that ``table`` has today. Where two names are one gene and stand in two splits, the
    later split keeps it (test before valid before train).
    Raises: InputError if a file is missing, there twice or damaged, a line is not two genes or not 0 or 1, texts and
            labels differ in number, a split has only one label, or one name stands in two splits.
    """
    found = recognised(files)
    words: dict[str, NDArray[np.str_]] = {}
    labels: dict[str, Labels] = {}
    for split in SPLITS:
        text, label = found[f"{split}_text.txt"], found[f"{split}_label.txt"]
        words[split], labels[split] = _text(text), _label(label)
        if len(words[split]) != len(labels[split]):
            msg = (
                f"{text.name} has {len(words[split]):,} pairs and {label.name} {len(labels[split]):,} labels; "
                f"expected one label a pair: take both files from one source"
            )
            raise InputError(msg)
        if len(set(labels[split].tolist())) < 2:
            msg = f"all labels of {label} are {labels[split][0]}; expected pairs that interact (1) and that do not (0)"
            raise InputError(msg)
    _check_disjoint({split: np.unique(w) for split, w in words.items()}, found)
    names, position = np.unique(np.concatenate([words[s] for s in SPLITS]), return_inverse=True)
    genes, symbol = np.unique(np.array(table.translate(names.tolist()).symbols, dtype=np.str_), return_inverse=True)
    joined = symbol[position].astype(np.int32).reshape(-1, 2)
    ends = np.cumsum([len(labels[s]) for s in SPLITS])[:-1]
    pairs = dict(zip(SPLITS, np.split(joined, ends), strict=True))
    return _cleaned(genes, pairs, labels)


def recognised(files: Sequence[Path]) -> dict[str, Path]:
    """The six files of a list, by name less ``.gz``.

    Raises: InputError if one is missing, or is there plain and gzip.
    """
    wanted = [f"{split}_{part}.txt" for split in SPLITS for part in ("text", "label")]
    found: dict[str, Path] = {}
    for file in files:
        name = file.name.removesuffix(".gz")
        if name in wanted:
            if name in found:
                msg = f"{name} is there twice, {found[name]} and {file}; keep one"
                raise InputError(msg)
            found[name] = file
    missing = [name for name in wanted if name not in found]
    if missing:
        msg = f"pairs: expected a folder with {', '.join(wanted)} (or .txt.gz); missing: {', '.join(missing)}"
        raise InputError(msg)
    return found


def _lines(file: Path) -> list[str]:
    return text_of(file).rstrip().split("\n")


def _text(file: Path) -> NDArray[np.str_]:
    """(pairs, 2) names."""
    rows = [line.split() for line in _lines(file)]
    for number, row in enumerate(rows, start=1):
        if len(row) != 2:
            msg = f"{file}, line {number}: expected two genes separated by a space, got {' '.join(row)[:60]!r}"
            raise InputError(msg)
    return np.array(rows, dtype=np.str_)


def _label(file: Path) -> Labels:
    words = [line.strip() for line in _lines(file)]
    for number, word in enumerate(words, start=1):
        if word not in ("0", "1"):
            msg = f"{file}, line {number}: expected a label, 0 or 1, got {word[:60]!r}"
            raise InputError(msg)
    return np.array(words, dtype=np.int8)


def _check_disjoint(names: Mapping[str, NDArray[np.str_]], found: Mapping[str, Path]) -> None:
    for number, one in enumerate(SPLITS):
        for other in SPLITS[number + 1 :]:
            both = np.intersect1d(names[one], names[other])
            if len(both):
                msg = (
                    f"{found[f'{one}_text.txt'].name} and {found[f'{other}_text.txt'].name} share {len(both):,} genes "
                    f"({', '.join(both[:SHOWN].tolist())}); expected splits without a common gene, or what is tested "
                    f"was learned: split the list by genes"
                )
                raise InputError(msg)


def _cleaned(genes: NDArray[np.str_], pairs: Mapping[str, Pairs], labels: Mapping[str, Labels]) -> PairList:
    """The list without pairs of one gene, and without genes that a later split holds."""
    splits: dict[str, Split] = {}
    odd: dict[str, Oddities] = {}
    later = np.zeros(len(genes), dtype=np.bool_)
    for name in reversed(SPLITS):
        mine = pairs[name]
        self_pair = mine[:, 0] == mine[:, 1]
        stray = later[mine].any(axis=1) & ~self_pair
        lines = np.flatnonzero(~self_pair & ~stray)
        split = Split(pairs=mine[lines], labels=labels[name][lines], lines=lines.astype(np.int32))
        keys = keys_of(split.pairs, len(genes))
        positive, negative = (np.unique(keys[split.labels == label]) for label in (1, 0))
        splits[name] = split
        odd[name] = Oddities(
            selves=int(self_pair.sum()),
            strays=int(stray.sum()),
            repeated=len(keys) - len(np.unique(keys)),
            contradictory=len(np.intersect1d(positive, negative, assume_unique=True)),
        )
        later[mine] = True
    return PairList(genes=genes, splits={s: splits[s] for s in SPLITS}, oddities={s: odd[s] for s in SPLITS})


def keys_of(pairs: Pairs | NDArray[np.int64], genes: int) -> NDArray[np.int64]:
    """(pairs,) one number a pair, whatever the order of its two genes.

    >>> keys_of(np.array([[1, 2], [2, 1], [0, 2]], dtype=np.int32), 3).tolist()
    [5, 5, 2]
    """
    low, high = pairs.min(axis=1).astype(np.int64), pairs.max(axis=1)
    return np.asarray(low * genes + high)


def first_of_each(pairs: Pairs) -> NDArray[np.int64]:
    """Rows of the pairs that were not there before, in either order; ascending.

    >>> first_of_each(np.array([[1, 2], [2, 1], [0, 2]], dtype=np.int32)).tolist()
    [0, 2]
    """
    _, first = np.unique(keys_of(pairs, int(pairs.max(initial=0)) + 1), return_index=True)
    return np.sort(first)
