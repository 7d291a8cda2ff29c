"""Words found by symbol, alias, Ensembl or Entrez id, whichever of them the words are."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from g2v_dask.errors import InputError
from g2v_dask.genes import GeneTable
from g2v_dask.names import Names

TABLE = GeneTable.load()
TP53, CD3E, ACTB = "ENSG00000141510", "ENSG00000198851", "ENSG00000075624"


def names(*words: str, **descriptions: str) -> Names:
    return Names(np.array(words), descriptions)


@pytest.mark.parametrize("asked", ["TP53", "tp53", "p53", "P53", "7157", TP53, TP53.lower(), f"{TP53}.18", f" {TP53} "])
@pytest.mark.parametrize("word", [TP53, f"{TP53}.11"])
def test_resolve__among_ensembl_ids(word: str, asked: str) -> None:
    assert names(CD3E, word, f"{ACTB}.2", "ENSG00000999999").resolve(asked) == word


@pytest.mark.parametrize("asked", ["TP53", "tp53", "p53", "7157", f"{TP53}.18"])
def test_resolve__among_entrez_ids(asked: str) -> None:
    assert names("916", "7157", "60", "7", "<unk>").resolve(asked) == "7157"


@pytest.mark.parametrize("asked", ["TP53", "tp53", "p53", "7157", f"{TP53}.18"])
def test_resolve__among_symbols(asked: str) -> None:
    assert names("CD3E", "TP53", "7157x").resolve(asked) == "TP53"


def test_resolve__numbers_among_english_words_are_no_genes() -> None:
    made = names("man", "king", "woman", "Queen", "1", "7157")
    assert (made.resolve("KING"), made.resolve("queen"), made.resolve("1")) == ("king", "Queen", "1")
    with pytest.raises(InputError, match="known gene, but not one of the 6"):
        made.resolve("A1BG")
    assert (made.about("1").symbol, made.about("1").ensembl) == ("1", "")
    rows = names(*(str(i) for i in range(200)))  # nor are row numbers
    with pytest.raises(InputError, match="known gene, but not one"):
        rows.resolve("A1BG")


def test_resolve__several_ids_of_one_gene() -> None:
    several = next(s for s, e in zip(TABLE.symbol, TABLE.ensembl, strict=True) if e.count("|") == 1)
    first, second = TABLE.ensembl_ids(several)
    made = names(TP53, second, first)
    with pytest.raises(InputError, match=f"is here under several ids: {min(first, second)}, {max(first, second)}"):
        made.resolve(several)
    assert made.resolve(first.lower()) == first
    assert names(TP53, second).resolve(first) == second
    with pytest.raises(InputError, match=rf"several ids: {TP53}\.1, {TP53}\.2"):
        names(f"{TP53}.1", f"{TP53}.2").resolve(TP53)


def test_resolve__an_id_of_two_genes() -> None:
    shared = next(i for i, s in TABLE.ids() if i.startswith("ENSG") and TABLE.lookup(i)[1] == "ambiguous")
    symbols = [s for i, s in TABLE.ids() if i == shared]
    made = names(TP53, shared)
    assert len(symbols) > 1
    assert {made.resolve(s) for s in symbols} == {shared}
    assert made.about(shared).symbol == shared


def test_resolve__a_symbol_goes_before_an_id() -> None:
    assert names(TP53, "TP53").resolve("p53") == "TP53"


def test_resolve__unknown_names_the_closest_symbols() -> None:
    made = names(TP53, CD3E, ACTB)
    with pytest.raises(InputError, match=r"'CD3X', which is none of the 3 here; the closest names are CD3E"):
        made.resolve("CD3X")
    with pytest.raises(InputError, match=r"'BRCA1' is a known gene, but not one of the 3 genes here"):
        made.resolve("BRCA1")
    with pytest.raises(InputError, match="none of the 3 here"):
        made.resolve("ENSG00000999999")


def test_about__ids_have_symbols_and_descriptions() -> None:
    made = names(TP53, f"{CD3E}.7", "ENSG00000999999", "king", **{f"{CD3E}.7": "its own"})
    about = made.about(TP53)
    assert (about.gene, about.symbol, about.description, about.ensembl) == (TP53, "TP53", "tumor protein p53", TP53)
    about = made.about(f"{CD3E}.7")
    assert (about.symbol, about.description, about.ensembl) == ("CD3E", "its own", CD3E)
    about = made.about("ENSG00000999999")
    assert (about.symbol, about.description, about.ensembl) == ("ENSG00000999999", "", "ENSG00000999999")
    about = made.about("king")
    assert (about.symbol, about.description, about.ensembl) == ("king", "", "")
    about = names("7157", "916").about("7157")
    assert (about.symbol, about.description, about.ensembl) == ("TP53", "tumor protein p53", TP53)
    about = names("TP53").about("TP53")
    assert (about.symbol, about.description, about.ensembl) == ("TP53", "tumor protein p53", TP53)


def test_resolve__an_exact_word_builds_nothing() -> None:
    code = f"""
import numpy as np
from g2v_dask import genes, names
genes.GeneTable.load = None
found = names.Names(np.array([{TP53!r}, "king"]))
assert found.resolve("KING") == "king" and found.resolve({TP53!r}) == {TP53!r}
assert vars(found).keys() == {{"_genes", "_descriptions", "rows"}}, vars(found)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
