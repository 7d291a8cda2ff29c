"""The words of an embedding: how a user's text finds one of them, and what is known of each.

Words are gene symbols as a rule; they may be Ensembl ids (Geneformer), Entrez ids, or no genes at all (English).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from g2v_dask.errors import InputError
from g2v_dask.genes import GeneTable, ensembl_id, running_numbers


@dataclass(frozen=True, kw_only=True)
class About:
    """What is known of one word."""

    gene: str
    """The word itself."""
    symbol: str
    """The gene's symbol where the word is an Ensembl or Entrez id; else the word."""
    description: str = ""
    """The gene's name in words; empty for a word that is no known gene."""
    ensembl: str = ""
    """Its (first) Ensembl id; empty likewise."""


class Names:
    """The words of one embedding, in the order of its rows."""

    def __init__(self, genes: NDArray[np.str_], descriptions: Mapping[str, str] | None = None) -> None:
        self._genes = genes
        self._descriptions = descriptions or {}

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """The row of each word."""
        return {gene: row for row, gene in enumerate(self._genes.tolist())}

    @property
    def table(self) -> GeneTable:
        """The bundled gene table."""
        return _bundled_table()

    def resolve(self, text: str) -> str:
        """The word that a symbol, Ensembl id, Entrez id or alias names, in any case.

        Words need not be genes: the gene table is asked only if no word here, or no single one in another
        case, is the one given.
        Raises: InputError for a name that is not here, with the closest ones, or that names several.
        """
        if text in self.rows:
            return text
        # before the table: its index of aliases in any case takes 0.2 s to build
        upper = text.strip().upper()
        same = [word for word in self.rows if word.upper() == upper]
        if len(same) == 1:
            return same[0]
        words = [] if same else self._by_id(text.strip())
        words = words or self._by_symbol[self.table.resolve(text, self._by_symbol)]
        if len(words) > 1:
            msg = f"{text!r} is here under several ids: {', '.join(sorted(words))}; ask for one of them"
            raise InputError(msg)
        return words[0]

    def _by_id(self, text: str) -> list[str]:
        """The words that are ids of the gene which a text names: a short way, for ids and symbols."""
        if bare := ensembl_id(text):
            words = [word for word in self.rows if ensembl_id(word) == bare]
            if words:
                return words
        return self._of_gene(self.table.lookup(text)[0]) or self._of_gene(text.upper())

    def _of_gene(self, symbol: str) -> list[str]:
        """The word that is a symbol, or the words that are ids of its gene."""
        if symbol in self.rows:
            return [symbol]
        ids = {*self.table.ensembl_ids(symbol), self.table.entrez_id(symbol)} - {""}
        return [word for word in self.rows if self._id(word) in ids] if ids else []

    def biotype(self, word: str) -> str:
        """``protein-coding``, ``ncRNA`` …, or nothing."""
        return self.table.biotype(self.about(word).symbol)

    def about(self, word: str) -> About:
        """What the embedding's own descriptions, and the gene table, say of a word of it."""
        symbol, ensembl = word, ensembl_id(word)
        if self._id(word):
            found, way = self.table.lookup(word)
            symbol = found if way in ("ensembl", "entrez") else word
        return About(
            gene=word,
            symbol=symbol,
            description=self._descriptions.get(word) or self.table.describe(symbol),
            ensembl=ensembl or next(iter(self.table.ensembl_ids(symbol)), ""),
        )

    @cached_property
    def _by_symbol(self) -> Mapping[str, list[str]]:
        """The words of each gene: under its symbol those that are ids of it, every other under itself."""
        by_id: dict[str, list[str]] = {}
        for word in self.rows:
            by_id.setdefault(self._id(word), []).append(word)
        found = {word: [word] for word in by_id.pop("", [])}
        theirs: dict[str, list[str]] = {}
        known: set[str] = set()
        for one, symbol in self.table.ids() if by_id else ():
            if one in by_id:
                theirs.setdefault(symbol, []).extend(by_id[one])
                known.add(one)
        unknown = (word for one, words in by_id.items() if one not in known for word in words)
        return {**theirs, **{word: [word] for word in unknown}, **found}  # a word that is a symbol goes first

    def _id(self, word: str) -> str:
        """A word as an Ensembl id without version, or an Entrez id; nothing for another word."""
        return ensembl_id(word) or (word if word.isdecimal() and self._entrez else "")

    @cached_property
    def _entrez(self) -> bool:
        """Whether the numbers among the words are Entrez ids: most words are numbers, and do not just count."""
        words = list(self.rows)
        return 2 * sum(word.isdecimal() for word in words) > len(words) and not running_numbers(words)


@cache
def _bundled_table() -> GeneTable:
    """Read once a process, when first asked for: it takes 0.1 s."""
    return GeneTable.load(None)
