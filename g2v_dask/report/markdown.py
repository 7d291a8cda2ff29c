"""Reports as Markdown; nothing in a name takes effect."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from urllib.parse import quote

from g2v_dask.names import About
from g2v_dask.query import Neighbour
from g2v_dask.report.sheets import Bold, Cell, Sheet, similar_sheet

PROTEIN_ATLAS = "https://www.proteinatlas.org"
_MARKDOWN = re.compile(r"([\\`*_\[\]|~])")


def similar_markdown(answers: Mapping[str, Sequence[Neighbour]], name: str) -> str:
    """The neighbours of each gene as Markdown tables, each gene linked to the Human Protein Atlas."""
    sheets = [similar_sheet(gene, found) for gene, found in answers.items()]
    return f"# Nearest genes in {escape(name)}\n" + "".join(f"\n## {escape(s.title)}\n\n{body(s)}" for s in sheets)


def body(sheet: Sheet, picture: str = "") -> str:
    """A report as Markdown without its title, to stand under any heading.

    ``picture`` is the name of the file, beside the report, that holds the picture.
    """
    parts = [table(sheet)]
    if sheet.facts:
        parts.insert(0, escape("; ".join(sheet.facts)) + "\n")
    if sheet.picture is not None and picture:
        parts.append(f"![{escape(sheet.picture.caption)}]({quote(picture)})\n")
    if sheet.described:
        parts.append("".join(f"- {gene_link(gene)}: {escape(gene.description)}\n" for gene in sheet.described))
    parts += [escape(note) + "\n" for note in sheet.notes]
    return "\n".join(parts)


def table(sheet: Sheet) -> str:
    """The table alone."""
    rows = [
        [escape(column.name) for column in sheet.columns],
        ["---:" if column.right else "---" for column in sheet.columns],
        *([_cell(cell) for cell in row] for row in sheet.rows),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _cell(cell: Cell) -> str:
    if isinstance(cell, About):
        return gene_link(cell)
    return f"**{escape(cell)}**" if isinstance(cell, Bold) else escape(cell)


def gene_link(gene: About) -> str:
    """A gene's symbol, linked to its page of the Protein Atlas; a word that is no known gene as it is.

    >>> gene_link(About(gene="CD3E", symbol="CD3E", ensembl="ENSG00000198851"))
    '[CD3E](https://www.proteinatlas.org/ENSG00000198851-CD3E)'
    """
    page = gene_page(gene)
    return f"[{escape(gene.symbol)}]({page})" if page else escape(gene.symbol)


def gene_page(gene: About) -> str:
    """The address of a gene's page of the Protein Atlas; without an Ensembl id, of the search for it.

    Nothing for a word of which nothing is known: embeddings need not be of genes.
    """
    symbol = quote(gene.symbol, safe="")
    if gene.ensembl:
        return f"{PROTEIN_ATLAS}/{quote(gene.ensembl, safe='')}-{symbol}"
    return f"{PROTEIN_ATLAS}/search/{symbol}" if gene.description else ""


def escape(text: str) -> str:
    """Text as Markdown shows it: neither its marks nor HTML in it take effect, and it stays on its line.

    >>> print(escape("a|b <i> x_1"))
    a\\|b &lt;i&gt; x\\_1
    """
    return _MARKDOWN.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))
