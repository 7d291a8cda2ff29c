"""Reports as one HTML file: styles and pictures inside, no script, nothing in a name takes effect."""

from __future__ import annotations

import base64
from html import escape

from g2v_dask.names import About
from g2v_dask.report.markdown import gene_page
from g2v_dask.report.sheets import Bold, Cell, Sheet

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1d2430; background: #fff; max-width: 60rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
.facts { color: #5a6475; margin: 0 0 1.25rem; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 0 0 1.5rem; }
th, td { padding: .25rem .75rem; text-align: left; border-bottom: 1px solid #e3e7ee; vertical-align: top; }
th { border-bottom: 2px solid #aab3c2; white-space: nowrap; }
tbody tr:hover { background: #f4f6fa; }
.right { text-align: right; font-variant-numeric: tabular-nums; }
a { color: #0b5cad; text-decoration: none; }
a:hover { text-decoration: underline; }
figure { margin: 0 0 1.5rem; }
figure img { max-width: 100%; height: auto; }
figcaption, .notes { color: #5a6475; font-size: .9rem; }
"""


def page(*sheets: Sheet) -> str:
    """One report or several as a whole HTML document, named after the first."""
    parts = "".join(section(sheet) for sheet in sheets)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(sheets[0].title)}</title>
<style>{STYLE}</style>
</head>
<body>
{parts}</body>
</html>
"""


def section(sheet: Sheet) -> str:
    return f"""<h1>{escape(sheet.title)}</h1>
<p class="facts">{escape("; ".join(sheet.facts))}</p>
{_table(sheet)}{_picture(sheet)}{_described(sheet)}{_notes(sheet)}"""


def _table(sheet: Sheet) -> str:
    kinds = [' class="right"' if column.right else "" for column in sheet.columns]
    head = "".join(f"<th{kind}>{escape(c.name)}</th>" for c, kind in zip(sheet.columns, kinds, strict=True))
    rows = "".join(
        f"<tr>{''.join(f'<td{kind}>{_cell(cell)}</td>' for cell, kind in zip(row, kinds, strict=True))}</tr>\n"
        for row in sheet.rows
    )
    return f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n'


def _cell(cell: Cell) -> str:
    if isinstance(cell, About):
        return _gene(cell)
    return f"<b>{escape(cell)}</b>" if isinstance(cell, Bold) else escape(cell)


def _gene(gene: About) -> str:
    address = gene_page(gene)
    text = escape(gene.symbol)
    return f'<a href="{escape(address)}" rel="noopener">{text}</a>' if address else text


def _picture(sheet: Sheet) -> str:
    if sheet.picture is None:
        return ""
    data = base64.b64encode(sheet.picture.png).decode("ascii")
    caption = escape(sheet.picture.caption)
    return (
        f'<figure><img src="data:image/png;base64,{data}" alt="{caption}"><figcaption>{caption}</figcaption></figure>\n'
    )


def _described(sheet: Sheet) -> str:
    rows = "".join(f"<tr><td>{_gene(g)}</td><td>{escape(g.description)}</td></tr>\n" for g in sheet.described)
    head = "<thead><tr><th>Gene</th><th>Description</th></tr></thead>"
    return f'<div class="wide"><table>\n{head}\n<tbody>\n{rows}</tbody>\n</table></div>\n' if rows else ""


def _notes(sheet: Sheet) -> str:
    return "".join(f'<p class="notes">{escape(note)}</p>\n' for note in sheet.notes)
