"""Which columns of a table are ids, and of what kind: by header and by content."""

from __future__ import annotations

import re
from collections.abc import Sequence

from g2v_dask.genes import ENSEMBL, ENTREZ
from g2v_dask.readers.source import KINDS, Kind
from g2v_dask.readers.text import MISSING

SYMBOL_HEADERS = frozenset(
    "symbol gene_symbol hugo_symbol hgnc_symbol gene_name genename genesymbol external_gene_name gene_short_name "
    "feature_name approved_symbol ilmn_gene gene_symbols hgnc".split()
)
ENTREZ_HEADERS = frozenset(
    "entrez entrez_id entrez_gene_id entrezid entrez_gene entrezgene entrezgene_id ncbi_gene_id ncbi_geneid "
    "ncbi_gene geneid gene_id gene genes locuslink".split()
)
ENSEMBL_HEADERS = frozenset("ensembl ensembl_id ensembl_gene_id ensembl_gene ensg ensid gene_ids".split())
PROBE_HEADERS = frozenset(
    "id_ref probe probe_id probeid probes probeset probeset_id probe_set_id probe_set spot_id reporter_id "
    "reporter_identifier array_address_id transcript_cluster_id".split()
)
ROW_HEADERS = frozenset("id name x v1 index row rownames row_names unnamed_0 feature features feature_id".split())
# Columns that stand before the samples and are no ids: featureCounts, RSEM, biomaRt.
NOTES = frozenset(
    "chr chrom chromosome chromosome_name start end strand length effective_length gene_length width biotype "
    "gene_biotype gene_type type description definition gene_title genetitle locus location cytoband band "
    "transcript_id transcript_ids transcript_id_s transcripts transcript transcript_length gc gc_content taxid "
    "start_position end_position seqnames species organism".split()
)
# Affymetrix, Illumina, Agilent.
PROBE = re.compile(r"(\w+_at|AFFX-.+|ILMN_\d+|A_\d+_P\d+|TC\w+\.hg\.\d)")
ABSENT = frozenset({"", "0"})
TRIED = 500  # rows looked at


def plain(header: str) -> str:
    """A header for comparing: lower case, runs of other characters as one ``_``."""
    return re.sub(r"[^a-z0-9]+", "_", header.lower()).strip("_")


def present(word: str) -> str:
    """An id without padding; nothing where it says that there is none."""
    word = word.strip()
    return "" if word == "0" or word.lower() in MISSING else word


def is_number(word: str) -> bool:
    """Whether a word reads as a number."""
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word


def kind_of(header: str, words: Sequence[str], *, first: bool) -> Kind | None:
    """The kind of a column's ids, or None if it holds something else: notes, or values.

    Content decides over the header: Ensembl ids are known by their form, digits alone are Entrez ids unless the
    header says probe. A text column is believed to be symbols when it is the ``first``, or its header says so.
    """
    name = plain(header)
    filled = [w for w in map(present, words) if w]
    named = name in SYMBOL_HEADERS | ENSEMBL_HEADERS | ENTREZ_HEADERS | PROBE_HEADERS | ROW_HEADERS or not name
    if not filled:
        return "symbol" if named else None
    share = len(filled)
    if sum(ENSEMBL.fullmatch(w) is not None for w in filled) > 0.5 * share:
        return "ensembl"
    if sum(ENTREZ.fullmatch(w) is not None for w in filled) > 0.9 * share:
        if name in PROBE_HEADERS:
            return "probe"
        return "entrez" if name in ENTREZ_HEADERS or (first and named) else None
    if sum(map(is_number, filled)) > 0.5 * share:
        return None
    if name in PROBE_HEADERS or sum(PROBE.fullmatch(w) is not None for w in filled) > 0.5 * share:
        return "probe"
    if first and name not in NOTES:
        return "symbol"
    phrases = sum(" " in w and "///" not in w for w in filled)
    return "symbol" if named and phrases <= 0.2 * share else None


def leading_ids(headers: Sequence[str], columns: Sequence[Sequence[str]]) -> tuple[dict[int, Kind], int]:
    """Id columns among the first ones, and how many leading columns are ids or notes.

    The first column that is neither is the first sample. A first column of names is called probe when a later
    one says that it holds the symbols.
    """
    found: dict[int, Kind] = {}
    end = len(headers)
    for place, (header, words) in enumerate(zip(headers, columns, strict=True)):
        kind = kind_of(header, words, first=place == 0)
        if place == 1 and kind == "symbol" and found.get(0) == "symbol" and any(map(present, words)):
            if plain(header) in SYMBOL_HEADERS and plain(headers[0]) not in SYMBOL_HEADERS:
                found[0] = "probe"
        if kind is not None and kind not in found.values():
            found[place] = kind
        elif kind is None and plain(header) not in NOTES and not _is_text(words):
            end = place
            break
    return found, end


def _is_text(words: Sequence[str]) -> bool:
    """Whether most of a column's cells are words; a stray word among numbers is an error in a sample."""
    filled = [w for w in map(present, words) if w]
    return bool(filled) and sum(map(is_number, filled)) < 0.5 * len(filled)


def by_kind(kinds: Sequence[Kind], columns: Sequence[list[str]]) -> dict[Kind, list[str]]:
    """Id columns under their kinds, in the order in which ids are taken; what is no id becomes an empty text."""
    found = dict(zip(kinds, columns, strict=True))
    return {k: ["" if w in ABSENT or w.lower() in MISSING else w for w in found[k]] for k in KINDS if k in found}
