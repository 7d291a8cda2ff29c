"""The kinds of genes that Gene2Vec's map tells apart (Du et al. 2019, Fig. 3): by biotype, and by how a gene is named.

A gene that nobody has named yet bears a placeholder: the number of its locus, its open reading frame, or the clone
that it was first seen in. These are kinds of their own, since such genes lie in islands of their own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from g2v_dask.genes import GeneTable

CODING, NCRNA, MICRO, SNO, PSEUDO = "protein coding", "ncRNA", "microRNA", "snoRNA", "pseudogene"
LOCUS, FRAME, CLONE = "LOC uncharacterised", "uncharacterised ORF", "cDNA/PAC clone"
KINDS = (CODING, NCRNA, MICRO, SNO, PSEUDO, LOCUS, FRAME, CLONE)

_OF_BIOTYPE = {
    "protein-coding": CODING,
    "ncRNA": NCRNA,
    "rRNA": NCRNA,
    "snRNA": NCRNA,
    "scRNA": NCRNA,
    "snoRNA": SNO,
    "pseudo": PSEUDO,
}
_TOLD = set(_OF_BIOTYPE) - {"protein-coding", "ncRNA"}  # by what the gene is like; those two by the sequence alone
# a host gene (MIR17HG, SNHG1) is no microRNA and no snoRNA itself
_MICRO = re.compile(r"MIR(?:LET)?\d+(?!HG)[A-Z]{0,2}\d*(?:-\d+)?|hsa-(?:mir|let)-\S+", re.IGNORECASE)
_SNO = re.compile(r"SNOR[AD]\d+[A-Z]*(?:-\d+)?|SCARNA\d+[A-Z]*")
_LOCUS = re.compile(r"LOC\d+")
_FRAME = re.compile(r"C(?:\d{1,2}|X|Y)orf\d+[A-Z]?", re.IGNORECASE)
_CLONE = re.compile(
    r"(?:FLJ|MGC)\d+|KIAA\d{4}[A-Z]?|DKFZ[Pp]\d{3}[A-Z]\d+|PRO\d+"  # projects that sequenced cDNA clones
    r"|[A-Z]\d{5}(?:\.\d+)?|[A-Z]{2}\d{6}(?:\.\d+)?"  # GenBank's number: BC032026 of a cDNA, AC006129.2 of a BAC
    r"|[A-Z][A-Za-z0-9]+-\d{1,4}[A-Z]\d{1,2}(?:\.\d+)?"  # library-plate row column: RP1-263J7.2, of a PAC
    r"|XX[a-z]+-[A-Z]{1,4}\d{1,4}[A-Z]\d{1,2}(?:_[A-Z])?(?:\.\d+)?"  # the same of other libraries
)


def kind(symbol: str, biotype: str = "") -> str:
    """One of the eight ``KINDS``, or nothing for a gene that is none of them, such as a segment of an immunoglobulin.

    What a gene is goes before how it is named (a pseudogene without a name is a pseudogene); a placeholder goes before
    protein-coding and ncRNA, which are told from the sequence alone.
    Parameters: biotype   of the gene table: ``protein-coding``, ``ncRNA``, ``pseudo`` ...; empty if it is not there.

    >>> [kind("TP53", "protein-coding"), kind("MIR17HG", "ncRNA"), kind("MIR9-2", "ncRNA"), kind("RP11-121C2.2")]
    ['protein coding', 'ncRNA', 'microRNA', 'cDNA/PAC clone']
    """
    known = _OF_BIOTYPE.get(biotype, "")
    if biotype in _TOLD:
        return known
    for pattern, found in ((_MICRO, MICRO), (_SNO, SNO), (_LOCUS, LOCUS), (_FRAME, FRAME), (_CLONE, CLONE)):
        if pattern.fullmatch(symbol):
            return found
    return known


def kinds(words: Sequence[str], table: GeneTable) -> list[str]:
    """The kind of each word of an embedding: of the gene that it names today, be it symbol, older symbol or id."""
    symbols = table.translate(words).symbols
    return [kind(symbol, table.biotype(symbol)) for symbol in symbols]
