"""Answers and summaries as terminal tables, Markdown, HTML and pictures."""

from g2v_dask.report.markdown import body, escape, gene_link, similar_markdown
from g2v_dask.report.pages import page
from g2v_dask.report.saved import full_sheet, write, write_histogram, write_html, write_markdown, writing
from g2v_dask.report.sheets import Column, Picture, Sheet, filter_facts, sheet, similar_sheet
from g2v_dask.report.terminal import (
    byte_size,
    how_to_open,
    show,
    show_sheet,
    similar_table,
    summary_table,
    table,
)

__all__ = [
    "Column",
    "Picture",
    "Sheet",
    "body",
    "byte_size",
    "escape",
    "filter_facts",
    "full_sheet",
    "gene_link",
    "how_to_open",
    "page",
    "sheet",
    "show",
    "show_sheet",
    "similar_markdown",
    "similar_sheet",
    "similar_table",
    "summary_table",
    "table",
    "write",
    "write_histogram",
    "write_html",
    "write_markdown",
    "writing",
]
