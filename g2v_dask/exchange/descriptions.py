"""What the words of an embedding mean: descriptions from a JSON file, matched to the words."""

from __future__ import annotations

import re
from pathlib import Path

from g2v_dask.errors import InputError
from g2v_dask.exchange import sidefiles
from g2v_dask.exchange.base import SHOWN
from g2v_dask.genes import GeneTable, ensembl_id

SOURCE = re.compile(r"\s*\[Source:[^\]]*\]\s*$")  # Ensembl's: "… [Source:HGNC Symbol;Acc:HGNC:11998]"


def read_descriptions(file: Path) -> dict[str, str]:
    """Gene (or any word) → description, without Ensembl's note of the source; null is no description.

    Raises: InputError for a file that cannot be read, or is no JSON object of texts.
    """
    found = sidefiles.json_of(file)
    if not isinstance(found, dict) or not all(isinstance(text, str | None) for text in found.values()):
        msg = f"{file} must hold a JSON object, word → description, all texts or null"
        raise InputError(msg)
    return {word: SOURCE.sub("", text) for word, text in found.items() if text}


def describe(file: Path, words: list[str]) -> list[str]:
    """The description of each word in a file of descriptions, or nothing.

    A word is matched as it stands; as an Ensembl id, whatever its version; and as a gene's symbol or Entrez id
    by the Ensembl ids that the bundled gene table gives it.
    Raises: InputError as ``read_descriptions``, and if no word has a description.
    """
    given = read_descriptions(file)
    by_ensembl = {bare: text for word, text in given.items() if (bare := ensembl_id(word))}
    table = GeneTable.load() if by_ensembl else None

    def of(word: str) -> str:
        if word in given:
            return given[word]
        if table is None:
            return ""
        bare = ensembl_id(word)
        symbol, way = (word, "") if bare else table.lookup(word)
        ids = [bare] if bare else table.ensembl_ids(symbol) if way in ("symbol", "entrez") else []
        return next((by_ensembl[i] for i in ids if i in by_ensembl), "")

    found = [of(word) for word in words]
    if not any(found):
        msg = (
            f"{file}: none of its {len(given):,} descriptions is of a word here; it speaks of "
            f"{', '.join(list(given)[:SHOWN])}, the words are {', '.join(words[:SHOWN])}"
        )
        raise InputError(msg)
    return found
