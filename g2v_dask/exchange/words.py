"""What the rows of a matrix are: names one a row, or tokens of a dictionary (Geneformer).

A names file holds one word a line; one that ends in .json holds a list of words. A token dictionary is JSON
(or, where it is trusted, a pickle): gene → token, or token → gene. Both may be gzip.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2v_dask.errors import InputError
from g2v_dask.exchange import pickles, sidefiles
from g2v_dask.exchange.base import SHOWN, Options, Vectors, check_table

SPECIAL = ("<pad>", "<mask>", "<cls>", "<eos>")  # Geneformer's tokens of no gene


def beside(file: Path) -> Path:
    """Where the words of a file that holds none are looked for, and written: ``STEM.names.txt``."""
    return file.with_suffix(".names.txt")


def one_a_line(words: list[str]) -> bytes:
    """The content of a names file.

    Raises: InputError for a word that a line cannot hold.
    """
    for word in words:
        if not word or "\n" in word or word.endswith("\r"):
            msg = f"a names file cannot hold the word {word!r}: a line would not end with it; use .npz or .parquet"
            raise InputError(msg)
    return "".join(f"{word}\n" for word in words).encode()


def read_names(file: Path) -> list[str]:
    """The words of a names file, in its order.

    Raises: InputError for a file that cannot be read, or a .json that is no list of texts.
    """
    if not file.name.lower().removesuffix(".gz").endswith(".json"):
        lines = sidefiles.text_of(file).rstrip("\r\n").split("\n")
        return [line.removesuffix("\r") for line in lines]
    names = sidefiles.json_of(file)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        msg = f"{file} must hold a JSON list of texts, one word a row; found {_kind(names)}"
        raise InputError(msg)
    return names


def read_tokens(file: Path, *, trust_pickle: bool) -> dict[int, str]:
    """Token → gene, of a dictionary in JSON or a pickle, written either way round.

    Raises: InputError for a pickle that is not trusted or holds more than a dictionary, for another value than
            a dictionary of texts and whole numbers, one whose direction is not clear, and a token of two genes.
    """
    raw = sidefiles.bytes_of(file)
    if pickles.is_pickle(file, raw):
        if not trust_pickle:
            raise InputError(pickles.untrusted(file))
        found: Any = pickles.load(file, raw)
    else:
        found = sidefiles.json_of(file)
    if not isinstance(found, dict) or not found:
        msg = f"{file} must hold a dictionary of genes and tokens, found {_kind(found)}"
        raise InputError(msg)
    pairs = _token_first(file, found)
    tokens: dict[int, str] = {}
    for token, gene in pairs:
        if token < 0:
            msg = f"{file}: {gene!r} has the token {token}; tokens are rows, counted from 0"
            raise InputError(msg)
        if token in tokens:
            msg = f"{file}: {tokens[token]!r} and {gene!r} have the same token {token}; this is no token dictionary"
            raise InputError(msg)
        tokens[token] = gene
    return tokens


def _token_first(file: Path, found: Mapping[Any, Any]) -> list[tuple[int, str]]:
    """(token, gene) of a dictionary either way round. Keys of JSON are texts, though they be numbers."""
    whole = all(type(value) is int for value in found.values())
    texts = all(isinstance(value, str) for value in found.values())
    if whole and all(isinstance(key, str) for key in found):
        return [(token, gene) for gene, token in found.items()]
    if texts and all(_is_whole(key) for key in found) and not all(_is_whole(gene) for gene in found.values()):
        return [(int(token), gene) for token, gene in found.items()]
    key, value = next(iter(found.items()))
    msg = (
        f"{file} must give each gene its token ({{'ENSG00000141510': 17}}) or each token its gene "
        f"({{'17': 'ENSG00000141510'}}); an entry of it is {key!r}: {value!r}, of {_kind(key)} and {_kind(value)}"
    )
    raise InputError(msg)


def _is_whole(value: Any) -> bool:
    return type(value) is int or (isinstance(value, str) and value.isascii() and value.isdecimal())


def name_rows(
    file: Path,
    vectors: NDArray[Any],
    options: Options,
    *,
    ids: NDArray[Any] | None = None,
    card: dict[str, Any] | None = None,
) -> Vectors:
    """A matrix with its words: the ids of the file itself, names, or genes by token.

    ``ids`` are texts (words) or whole numbers (tokens); without them and with tokens, row i is token i, and the
    rows of special tokens are left out.
    Raises: InputError if the rows have no words, or more or fewer than there are; for a token without gene.
    """
    check_table(file, vectors)
    if ids is not None and options.names is not None:
        msg = f"{file} names its rows itself; leave --names out"
        raise InputError(msg)
    if ids is None and options.names is not None:
        ids = np.array(read_names(options.names), dtype=np.str_)
        if len(ids) != len(vectors):
            msg = (
                f"{options.names} holds {len(ids)} names for the {len(vectors)} vectors of {file}; one a row is needed"
            )
            raise InputError(msg)
    if ids is not None and len(ids) != len(vectors):
        msg = f"{file}: {ids.size} names for {len(vectors)} vectors; there must be one name a vector"
        raise InputError(msg)
    rows = np.arange(len(vectors))
    special: tuple[str, ...] = ()
    if ids is not None and ids.dtype.kind in "UT":
        words = ids.astype(np.str_)
        if options.tokens is not None:
            msg = f"{file} names its rows by texts ({str(words[0])!r}), not tokens; leave --tokens out"
            raise InputError(msg)
    elif options.tokens is None:
        raise InputError(_nameless(file, vectors, ids))
    else:
        tokens = read_tokens(options.tokens, trust_pickle=options.trust_pickle)
        if ids is None:
            _check_reach(file, options.tokens, tokens, len(vectors))
        words = _genes(file, options.tokens, tokens, rows if ids is None else ids)
        gene = ~np.isin(words, SPECIAL)
        special = tuple(words[~gene].tolist())
        rows, words = rows[gene], words[gene]
    rows, words = rows[: options.truncate], words[: options.truncate]
    # without special tokens a slice, which copies nothing
    chosen = vectors[: len(rows)] if len(special) == 0 else vectors[rows]
    return Vectors(words, chosen, card or {}, special)


def _nameless(file: Path, vectors: NDArray[Any], ids: NDArray[Any] | None) -> str:
    if ids is None:
        return (
            f"{file} holds {len(vectors)} vectors and no names; say what its rows are by --names FILE (one word a "
            f"line, or a JSON list; {beside(file).name} beside an .npy is found by itself), or by --tokens FILE, "
            f"where row i is token i"
        )
    first = ", ".join(str(i) for i in ids[:SHOWN].tolist())
    return (
        f"{file} names its rows by whole numbers ({first}), which are read as tokens; give their dictionary by "
        f"--tokens FILE. If they are Entrez ids, save them as texts"
    )


def _check_reach(file: Path, source: Path, tokens: Mapping[int, str], rows: int) -> None:
    """Refuses a dictionary of more tokens than the matrix has rows."""
    over = sorted(token for token in tokens if token >= rows)
    if over:
        msg = (
            f"{source}: {len(over)} tokens are beyond the {rows} rows of {file}, first {over[0]} "
            f"({tokens[over[0]]!r}); the dictionary belongs to another model"
        )
        raise InputError(msg)


def _genes(file: Path, source: Path, tokens: Mapping[int, str], ids: NDArray[Any]) -> NDArray[np.str_]:
    """The gene of each token."""
    wanted: list[int] = ids.tolist()
    unknown = [token for token in wanted if token not in tokens]
    if unknown:
        first = ", ".join(map(str, unknown[:SHOWN]))
        msg = (
            f"{source}: {len(unknown)} of the {len(wanted)} rows of {file} have a token without gene: {first}; "
            f"the dictionary belongs to another model"
        )
        raise InputError(msg)
    return np.array([tokens[token] for token in wanted], dtype=np.str_)


def _kind(value: Any) -> str:
    """What a value is, for people."""
    known = {dict: "a dictionary", list: "a list", str: "a text", int: "a whole number", float: "a number"}
    return known.get(type(value), type(value).__name__)
