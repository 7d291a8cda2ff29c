"""Tables for the terminal, Markdown for files; nothing in a name takes effect."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from g2v_dask import report
from g2v_dask.answers import Analogies, Analogy, NearPair, NearPairs, Solution, Solutions
from g2v_dask.errors import InputError
from g2v_dask.names import About, Names
from g2v_dask.query import Neighbour
from tests import made, stores

ANSWERS = {
    "cd3e": [
        Neighbour(gene="CD3D", cosine=0.98765, description="CD3 delta", ensembl="ENSG00000167286"),
        Neighbour(gene="a|b <i>", cosine=-0.5, description="x_1 [not] a `link`\n<script>"),
    ]
}
SUMMARY = {
    "stage": "pairs",
    "made": ["A", "B"],
    "replaced": ["B"],
    "fresh": ["C"],
    "quarantined": [{"name": "D", "reason": "too few samples [bold]"}],
    "left_out": ["E"],
    "parts_run": 1200,
    "seconds": 3.14159,
}


HOSTILE = ("<script>alert(1)</script>", "a|b", "[x](javascript:1)", "`c` *d* \"e\" & 'f'")
WORDS = Names(np.array(["CD74", "HLA-DRA", "king", "MYC", "TP53", *HOSTILE]), {"a|b": "its <b>own</b> | words"})


def analogies(*found: str, **more: object) -> Analogies:
    """Answers of four words each, scores falling from 0.987654."""
    rows = tuple(
        Analogy(a=a, b=b, c=c, d=d, score=0.987654 - i / 10)
        for i, (a, b, c, d) in enumerate(tuple(words.split()) for words in found)
    )
    given = {"asked": ("HLA-DRA", "CD74"), "embedding": "genes", **more}
    return Analogies(found=rows, **given)  # type: ignore[arg-type]


PAIR = analogies(
    "HLA-DRA CD74 MYC TP53",
    "HLA-DRA CD74 king a|b",
    filters={"ceiling": 0.8, "max_per_gene": None, "unit": False},
    notes=("only 2 answers: no more pass the ceiling",),
)
HOSTILE_PAIR = Analogies(
    asked=HOSTILE[:2],
    found=(Analogy(a=HOSTILE[0], b=HOSTILE[1], c=HOSTILE[2], d=HOSTILE[3], score=1.0),),
    embedding="<i>emb",
    filters={"biotype": "<b>"},
    notes=("<u>note",),
)
SOLVED = Solutions(
    asked=("HLA-DRA", "CD74", "MYC"),
    embedding="genes",
    methods={
        "3CosAdd": (Solution(gene="TP53", score=0.5), Solution(gene="king", score=0.25)),
        "3CosMul": (Solution(gene="TP53", score=1.5),),
        "PairDirection": (),
    },
)
NEAR = NearPairs(found=(NearPair(a="CD74", b="HLA-DRA", cosine=0.9775),), embedding="genes")


def test_similar_table__one_table_a_gene(capsys: pytest.CaptureFixture[str]) -> None:
    report.similar_table(ANSWERS)
    out = capsys.readouterr().out
    assert out.splitlines()[0].strip() == "cd3e"
    assert "CD3D" in out
    assert "0.9877" in out
    assert "-0.5000" in out
    assert "x_1 [not] a `link`" in out  # brackets are no style


def test_table__cells(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"name": "x" * 200, "n": 12345, "bytes": 1_500_000, "flag": True, "gone": None},
        {"name": "[red]", "n": 1},
    ]
    report.table(rows, ("name", "n", "bytes", "flag", "gone"))
    out = capsys.readouterr().out
    for text in ("x" * 200, "12,345", "1.5 MB", "True", "[red]"):
        assert text in out
    assert "None" not in out


def test_table__no_rows_still_shows_columns(capsys: pytest.CaptureFixture[str]) -> None:
    report.table([], ("kind", "name"))
    assert "kind" in capsys.readouterr().out


@pytest.mark.parametrize(("number", "text"), [(0, "0 B"), (1000, "1.0 kB"), (2.5e9, "2.5 GB"), (9.9e15, "9900.0 TB")])
def test_byte_size(number: float, text: str) -> None:
    assert report.byte_size(number) == text


def test_summary_table__counts_and_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    report.summary_table([SUMMARY])
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if line.split()[:1] == ["pairs"])
    assert row.split() == ["pairs", "2", "1", "1", "1", "1,200", "3.1"]
    for line in (
        "pairs: left out: E",
        "pairs: quarantined D: too few samples [bold]",
    ):
        assert line in out


def test_similar_markdown__escaped_and_linked() -> None:
    text = report.similar_markdown(ANSWERS, "my_genes")
    assert text == (
        "# Nearest genes in my\\_genes\n"
        "\n## cd3e\n\n"
        "| gene | cosine | description |\n| --- | ---: | --- |\n"
        "| [CD3D](https://www.proteinatlas.org/ENSG00000167286-CD3D) | 0.9877 | CD3 delta |\n"
        "| [a\\|b &lt;i&gt;](https://www.proteinatlas.org/search/a%7Cb%20%3Ci%3E) | -0.5000 "
        "| x\\_1 \\[not\\] a \\`link\\` &lt;script&gt; |\n"
    )


def test_show_sheet__a_pair(capsys: pytest.CaptureFixture[str]) -> None:
    report.show_sheet(report.sheet(PAIR, WORDS))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "HLA-DRA − CD74 ≈ ? − ?"
    assert lines[1] == "embedding genes; cosine; vectors as stored; ceiling 0.8"
    assert "Gene 1    Gene 2   ≈   Gene 3   Gene 4   Similarity" in lines
    assert "HLA-DRA   CD74     ≈   king     a|b          0.8877" in lines
    assert lines[-1] == "only 2 answers: no more pass the ceiling"


@pytest.mark.parametrize(
    ("more", "title", "facts", "score"),
    [
        ({"metric": "l2"}, "HLA-DRA − CD74 ≈ ? − ?", "Euclidean distance; vectors as stored", "Distance"),
        ({"metric": "inner", "sums": True}, "HLA-DRA + CD74 ≈ ? + ?", "inner product; vectors as", "Inner product"),
        ({"asked": ("MYC",), "unit": True}, "MYC − ? ≈ ? − ?", "cosine; unit vectors", "Similarity"),
        ({"asked": (), "filters": {"unit": True}, "unit": True}, "? − ? ≈ ? − ?", "; unit vectors", "Similarity"),
    ],
)
def test_sheet__analogies(more: dict[str, object], title: str, facts: str, score: str) -> None:
    made = report.sheet(analogies("HLA-DRA CD74 MYC TP53", **more), WORDS)
    assert made.title == title
    assert facts in "; ".join(made.facts)
    assert made.columns[-1].name == score
    assert made.rows[0][-1] == ("0.9877" if score == "Similarity" else "0.987654")


def test_sheet__methods_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    report.show_sheet(report.sheet(SOLVED, WORDS))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "HLA-DRA − CD74 = ? − MYC".split()
    assert ["Rank", "3CosAdd", "Score", "3CosMul", "Score", "PairDirection", "Score"] in lines
    assert ["1", "TP53", "0.5000", "TP53", "1.5000"] in lines
    assert ["2", "king", "0.2500"] in lines


def test_sheet__near_pairs(capsys: pytest.CaptureFixture[str]) -> None:
    report.show_sheet(report.sheet(NEAR, WORDS))
    out = capsys.readouterr().out
    assert out.startswith("Nearest pairs in genes\n")
    assert ["CD74", "HLA-DRA", "0.9775"] in [line.split() for line in out.splitlines()]


def test_sheet__ids_are_shown_as_symbols(capsys: pytest.CaptureFixture[str]) -> None:
    ids = Names(np.array(["ENSG00000019582", "ENSG00000204287"]))
    pairs = NearPairs(found=(NearPair(a="ENSG00000019582", b="ENSG00000204287", cosine=0.5),), embedding="geneformer")
    made = report.sheet(pairs, ids)
    report.show_sheet(made)
    assert ["CD74", "HLA-DRA", "0.5000"] in [line.split() for line in capsys.readouterr().out.splitlines()]
    assert "[CD74](https://www.proteinatlas.org/ENSG00000019582-CD74): CD74 molecule" in report.body(made)


def test_filter_facts__long_lists_are_counted() -> None:
    assert report.filter_facts({"genes": tuple("abcdefg"), "unit": True}) == ("genes a, b, c, d, e and 2 more", "unit")


def test_gene_link__symbols_for_ids_and_words_as_they_are() -> None:
    known = About(gene="ENSG00000019582", symbol="CD74", ensembl="ENSG00000019582", description="CD74 molecule")
    assert report.gene_link(known) == "[CD74](https://www.proteinatlas.org/ENSG00000019582-CD74)"
    assert report.gene_link(About(gene="king", symbol="king")) == "king"


def test_write_markdown__as_gene_analogies_prints_it(tmp_path: Path) -> None:
    report.write_markdown(tmp_path / "a.md", report.sheet(PAIR, WORDS))
    atlas = "https://www.proteinatlas.org"
    hla, cd74 = f"[HLA-DRA]({atlas}/ENSG00000204287-HLA-DRA)", f"[CD74]({atlas}/ENSG00000019582-CD74)"
    myc, tp53 = f"[MYC]({atlas}/ENSG00000136997-MYC)", f"[TP53]({atlas}/ENSG00000141510-TP53)"
    own = f"[a\\|b]({atlas}/search/a%7Cb)"
    assert (tmp_path / "a.md").read_text("utf-8") == (
        "# HLA-DRA − CD74 ≈ ? − ?\n\n"
        "embedding genes; cosine; vectors as stored; ceiling 0.8\n\n"
        "| Gene 1 | Gene 2 | ≈ | Gene 3 | Gene 4 | Similarity |\n"
        "| --- | --- | --- | --- | --- | ---: |\n"
        f"| {hla} | {cd74} | ≈ | {myc} | {tp53} | 0.9877 |\n"
        f"| {hla} | {cd74} | ≈ | king | {own} | 0.8877 |\n\n"
        f"- {hla}: major histocompatibility complex, class II, DR alpha\n"
        f"- {cd74}: CD74 molecule\n"
        f"- {myc}: MYC proto-oncogene, bHLH transcription factor\n"
        f"- {tp53}: tumor protein p53\n"
        f"- {own}: its &lt;b&gt;own&lt;/b&gt; \\| words\n\n"
        "only 2 answers: no more pass the ceiling\n"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["a.md"]


def test_write_markdown__each_picture_in_a_file_of_its_own(tmp_path: Path) -> None:
    plain = report.sheet(PAIR, WORDS)
    drawn = [replace(plain, title=t, picture=report.Picture(png=t.encode(), caption=t)) for t in ("one", "two")]
    report.write_markdown(tmp_path / "a b.md", drawn[0], plain, drawn[1])
    text = (tmp_path / "a b.md").read_text("utf-8")
    assert re.findall(r"!\[(\w+)\]\((.*?)\)", text) == [("one", "a%20b-1.png"), ("two", "a%20b-2.png")]
    assert [(tmp_path / f"a b-{i}.png").read_bytes() for i in (1, 2)] == [b"one", b"two"]
    report.write_markdown(tmp_path / "c.md", plain, drawn[1])
    assert (tmp_path / "c.png").read_bytes() == b"two"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a b-1.png", "a b-2.png", "a b.md", "c.md", "c.png"]


def test_body__hostile_names_take_no_effect() -> None:
    text = report.body(report.sheet(HOSTILE_PAIR, WORDS))
    assert "<" not in text
    assert not re.search(r"(?<!\\)\]\(javascript", text)
    row = next(line for line in text.splitlines() if line.endswith("1.0000 |"))
    assert len(re.findall(r"(?<!\\)\|", row)) == 7


class Page(HTMLParser):
    """What an HTML page is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.links: list[dict[str, str | None]] = []
        self.images: list[str] = []
        self.cells: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        if tag == "a":
            self.links.append(dict(attrs))
        if tag == "img":
            self.images.append(dict(attrs)["src"] or "")
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "td" in self.open:
            self.cells[-1] += data


def test_page__says_the_same_and_is_well_formed(tmp_path: Path) -> None:
    report.write_html(tmp_path / "a.html", report.sheet(PAIR, WORDS))
    page = Page((tmp_path / "a.html").read_text("utf-8"))
    assert page.open == []
    assert page.cells[:12] == [
        *("HLA-DRA", "CD74", "≈", "MYC", "TP53", "0.9877"),
        *("HLA-DRA", "CD74", "≈", "king", "a|b", "0.8877"),
    ]
    assert page.cells[12:14] == ["HLA-DRA", "major histocompatibility complex, class II, DR alpha"]
    assert page.cells[-2:] == ["a|b", "its <b>own</b> | words"]
    assert all(link["rel"] == "noopener" for link in page.links)
    assert page.links[0]["href"] == "https://www.proteinatlas.org/ENSG00000204287-HLA-DRA"
    for text in ("HLA-DRA − CD74 ≈ ? − ?", "ceiling 0.8", "only 2 answers: no more pass the ceiling"):
        assert text in page.text


def test_page__hostile_names_take_no_effect() -> None:
    page = Page(report.page(report.sheet(HOSTILE_PAIR, WORDS)))
    assert set(page.tags) == set(
        "html head meta title style body h1 p div table thead tbody tr th td a".split()
    )  # no script, b, i or u
    assert page.cells[:6] == [*HOSTILE[:2], "≈", *HOSTILE[2:], "1.0000"]
    assert [link["href"] for link in page.links] == ["https://www.proteinatlas.org/search/a%7Cb"] * 2
    assert "<u>note" in page.text


@pytest.mark.parametrize("how", [report.write_markdown, report.write_html])
def test_write__a_folder_is_refused(tmp_path: Path, how: object) -> None:
    with pytest.raises(InputError, match="cannot write the report"):
        how(tmp_path, report.sheet(NEAR, WORDS))  # type: ignore[operator]


def test_write__whole_or_not(tmp_path: Path) -> None:
    report.write(tmp_path / "new" / "a.md", "é\n")
    assert (tmp_path / "new" / "a.md").read_text("utf-8") == "é\n"
    with pytest.raises(InputError, match="cannot write the report"):
        report.write(tmp_path / "new", "x")
    assert [p.name for p in tmp_path.rglob("*")] == ["new", "a.md"]


def test_show__every_kind_says_how_to_open_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = stores.empty(tmp_path / "s", tile=4)
    genes = ["A", "B", "C"]
    made.expression(store, "x", np.eye(3), genes)
    stores.pairs(store, "x", [("A", "B", 0.9)])
    stores.cooccurrence(store, "x", genes, np.ones((3, 3), dtype=np.uint32))
    stores.embedding(store, "x", genes, np.eye(3), card={"losses": [0.5, 0.25]})
    stores.indexed(store, "x", shard_rows=2)
    for kind in ("expression", "pairs", "cooccurrence", "embeddings", "index"):
        artifact = store.get(kind, "x")
        report.show(artifact, store)
        out = capsys.readouterr().out
        assert f"{kind}/x" in out
        assert f"  {artifact.path}" in out  # without JSON's quotes
        for line in report.how_to_open(artifact, store).splitlines():
            assert line in out
            compile(line, "open", "eval")
    report.show(store.get("embeddings", "x"), store)
    out = capsys.readouterr().out
    assert "[0.5, 0.25]" in out
    assert "from embeddings/x" not in out
