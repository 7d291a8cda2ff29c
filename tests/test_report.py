"""Tables for the terminal, Markdown for files; nothing in a name takes effect."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from g2v_dask import report
from g2v_dask.errors import InputError
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
