"""The words of an embedding: how a user's text finds one of them, and what is known of each.

Words are gene symbols as a rule; they may be Ensembl ids (Geneformer), or no genes at all (English).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from g2v_dask.genes import GeneTable


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
        return same[0] if len(same) == 1 else self.table.resolve(text, self.rows)

    def about(self, word: str) -> About:
        """What the embedding's own descriptions, and the gene table, say of a word of it."""
        return About(
            gene=word,
            symbol=word,
            description=self._descriptions.get(word) or self.table.describe(word),
            ensembl=_bundled_ensembl().get(word, "").partition("|")[0],
        )


@cache
def _bundled_table() -> GeneTable:
    """Read once a process, when first asked for: it takes 0.1 s."""
    return GeneTable.load(None)


@cache
def _bundled_ensembl() -> Mapping[str, str]:
    """The Ensembl ids of each symbol, separated by ``|``."""
    table = _bundled_table()
    return dict(zip(table.symbol, table.ensembl, strict=True))
