"""Many sheets as one document, with a list of contents, and commands as they are typed: HTML or Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape as html_escape
from pathlib import Path

from g2v_dask.report import markdown, pages
from g2v_dask.report.saved import chapters, write
from g2v_dask.report.sheets import Sheet

# On a phone a picture keeps a size at which its words can be read, and is scrolled within its frame, as tables are,
# whose texts are no columns of single words.
STYLE = """
nav { margin: 0 0 2rem; padding: .75rem 1rem; background: #f4f6fa; border-radius: .4rem; }
nav ol { margin: 0; padding-left: 1.5rem; columns: 20rem; overflow-wrap: anywhere; }
nav li { break-inside: avoid; padding: .1rem 0; }
section { margin: 0 0 2.5rem; }
td.right { white-space: nowrap; }
.notes, figcaption { overflow-wrap: anywhere; }
pre { background: #f4f6fa; border-radius: .4rem; padding: .75rem 1rem; white-space: pre-wrap; overflow-wrap: anywhere;
  font: .85rem/1.6 ui-monospace, monospace; }
pre code { display: block; padding-left: 2ch; text-indent: -2ch; font: inherit; }
@media (max-width: 40rem) {
  figure { overflow-x: auto; }
  figure img { width: 42rem; max-width: none; }
  th, td { padding: .25rem .4rem; }
  td:first-child:not(.right) { min-width: 6.5rem; }
  td:nth-child(n+3):not(.right) { min-width: 11rem; }
}
"""
AGAIN = "How to make it again"


@dataclass(frozen=True, kw_only=True, eq=False)
class Book:
    """Sheets, and below them the commands that make all of it again."""

    sheets: Sequence[Sheet]
    commands: Sequence[str] = ()
    about_commands: str = ""


def page(book: Book) -> str:
    """A whole HTML document: styles and pictures inside, no script; named after the first sheet."""
    titles = [*(sheet.title for sheet in book.sheets), *([AGAIN] if book.commands else [])]
    contents = "".join(f'<li><a href="#s{i}">{html_escape(title)}</a></li>\n' for i, title in enumerate(titles, 1))
    sections = [pages.section(sheet) for sheet in book.sheets]
    if book.commands:
        lines = "\n".join(f"<code>{html_escape(command)}</code>" for command in book.commands)
        about = f'<p class="notes">{html_escape(book.about_commands)}</p>\n' if book.about_commands else ""
        sections.append(f"<h1>{AGAIN}</h1>\n<pre>{lines}</pre>\n{about}")
    body = "".join(f'<section id="s{i}">\n{section}</section>\n' for i, section in enumerate(sections, 1))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html_escape(book.sheets[0].title)}</title>
<style>{pages.STYLE}{STYLE}</style>
</head>
<body>
<nav aria-label="Contents"><ol>
{contents}</ol></nav>
{body}</body>
</html>
"""


def write_html(path: Path, book: Book) -> None:
    """Writes a book as one HTML file.

    Raises: InputError if the path is a folder or cannot be written.
    """
    write(path, page(book))


def write_markdown(path: Path, book: Book) -> None:
    """Writes a book as one Markdown file, its pictures beside it, as ``saved.chapters``.

    Raises: InputError if a file cannot be written, or is named as a picture.
    """
    parts = chapters(path, book.sheets)
    if book.commands:
        fence = "`" * 3
        while any(fence in command for command in book.commands):
            fence += "`"
        lines = "\n".join(book.commands)
        about = f"\n{markdown.escape(book.about_commands)}\n" if book.about_commands else ""
        parts.append(f"# {AGAIN}\n\n{fence}bash\n{lines}\n{fence}\n{about}")
    write(path, "\n".join(parts))
