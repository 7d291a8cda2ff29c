"""The command report: one page with all that a store knows of an embedding, and commands that make it again."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import click
import numpy as np
import pytest

from g2v_dask import cli, driver
from g2v_dask.commands.evaluate import evaluate
from g2v_dask.commands.options import spec_of
from g2v_dask.commands.report import report
from g2v_dask.errors import G2VError
from g2v_dask.flows import recipe
from g2v_dask.spec import (
    CombineSpec,
    EvaluateSpec,
    IngestSpec,
    KmeansSpec,
    MapSpec,
    MergeSpec,
    PairsSpec,
    ProfileSpec,
    TrainSpec,
)
from g2v_dask.stages import combine, ingest, kmeans, merge, pairs, profile, train
from g2v_dask.stages import map as map_stage
from g2v_dask.store import Store
from tests import made, stores
from tests.evaluation.subjects import symbols
from tests.judged import curves, evaluation, figure

GENES = sorted({*symbols(50).tolist(), "TP53", "CD3E", "BRCA1", "BRCA2", "CD4", "CD8A", "CD79A"})


def table(folder: Path, name: str, seed: int) -> Path:
    """Expression of all genes, 30 samples."""
    values = made.correlated(30, len(GENES), seed=seed) + 8
    rows = ["\t".join([g, *(f"{v:.3f}" for v in column)]) for g, column in zip(GENES, values.T, strict=True)]
    file = folder / f"{name}.tsv"
    file.write_text("\n".join(["gene\t" + "\t".join(f"S{i}" for i in range(30)), *rows]) + "\n")
    return file


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """All stages on two files with a space in their folder's name, and an evaluation by hand."""
    folder = tmp_path_factory.mktemp("the data")
    files = tuple(str(table(folder, name, seed)) for seed, name in enumerate(("one", "two")))
    there = Store.open(folder / "s", create=True)
    steps = (
        (ingest, IngestSpec(files=files, scale="log2")),
        (pairs, PairsSpec(top_k=5)),
        (merge, MergeSpec()),
        (train, TrainSpec(name="genes", components=4, iterations=3, seed=5)),
        (kmeans, KmeansSpec(k=3, unit=True)),
        (map_stage, MapSpec(method="pca")),
    )
    for stage, spec in steps:
        driver.here(stage, stage.plan(there, spec), there)
    embedding = there.get("embeddings", "genes")
    figures = [
        figure("interaction", "auc", 0.75, model="cosine", on="test"),
        figure("interaction", "auc", 0.9, model="degree sum", on="test", baseline="transductive"),
        figure("stability", "procrustes", 0.25, on="other"),
    ]
    spec = EvaluateSpec(
        name="genes", to="genes", pairs="a b/pairs", baselines=True, genesets=("x.gmt", "y.gmt"), seed=3
    )
    tables = {"interaction-curves": curves(shift={"cosine": 1.0, "degree sum": 2.0})}
    evaluation(there, "genes", embedding, figures, tables=tables, spec=spec.as_json())
    evaluation(there, "genes-common-x", embedding, figures, common=["svd"])
    return there


def called(store: Store, *words: object) -> None:
    """The command, its errors raised."""
    report.main(["--store", store.root.url, *map(str, words)], standalone_mode=False)


def test_report__tells_all(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, text = tmp_path / "r.html", tmp_path / "r.md"
    called(store, page, "--markdown", text)
    assert capsys.readouterr().out == f"embeddings/genes → {page}, {text}\n"
    html = page.read_text("utf-8")
    headings = re.findall(r"<h1>(.*?)</h1>", html)
    assert headings == [
        "Embedding genes",
        "Datasets",
        "How often pairs recur",
        "Training",
        "Gene-gene interaction: genes, test",
        "Stability: genes",
        "Map genes",
        f"Groups genes: 3 groups of {len(GENES)} genes",
        "Nearest genes",
        "BRCA1 − BRCA2 = ? − TP53",
        "CD4 − CD8A = ? − CD79A",
        "CD79A − CD3E ≈ ? − ?",
        "How to make it again",
    ]
    assert html.count("data:image/png;base64,") == 3  # loss, curves, map
    assert not re.search(r'(?:src|href)="(?!data:|#|https://www\.proteinatlas\.org/)', html)
    assert "url(" not in html
    assert "evaluations/genes-common-x judges it on the genes that svd also have: g2v compare shows that" in html
    markdown = text.read_text("utf-8")
    assert [line.removeprefix("# ") for line in markdown.splitlines() if line.startswith("# ")][0] == "Embedding genes"
    assert len(re.findall(r"\(r-\d\.png\)", markdown)) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r-1.png", "r-2.png", "r-3.png", "r.html", "r.md"]
    for words in ("| one | 30 |", "| degree sum | transductive | 0.900 |", "```bash\nexport G2V_STORE="):
        assert words in markdown


def test_report__asks_what_it_is_asked(store: Store, tmp_path: Path) -> None:
    words = ("--similar", "TP53,cd3e", "--solve", "CD4 CD8A TP53", "--pair", "TP53 CD4", "-k", 3, "--name", "genes")
    called(store, "--markdown", tmp_path / "r.md", *words)
    text = (tmp_path / "r.md").read_text("utf-8")
    assert "# CD4 − CD8A = ? − TP53" in text
    assert "# TP53 − CD4 ≈ ? − ?" in text
    nearest = text.partition("# Nearest genes")[2].partition("\n# ")[0]
    assert [line.partition("]")[0] for line in nearest.splitlines() if line.startswith("| [")] == ["| [TP53", "| [CD3E"]
    assert nearest.count("0.") == 6


def test_report__of_what_was_combined(store: Store, tmp_path: Path) -> None:
    """It knows what its sources learned from, and each dataset stands once."""
    there = Store.open(shutil.copytree(store.root.url, tmp_path / "s"))
    for stage, spec in (
        (profile, ProfileSpec(name="expression")),
        (combine, CombineSpec(name="both", embeddings=("genes", "expression"))),
    ):
        driver.here(stage, stage.plan(there, spec), there)
    called(there, "--markdown", tmp_path / "r.md", "--name", "both")
    text = (tmp_path / "r.md").read_text("utf-8")
    assert "\n2 datasets; 60 samples\n" in text
    assert [line.count("| 30 |") for line in text.splitlines() if line.startswith(("| one |", "| two |"))] == [1, 1]
    assert "# How often pairs recur" in text
    assert "\ng2v combine genes expression --name both\n" in text


def test_report__of_vectors_from_elsewhere(tmp_path: Path) -> None:
    there = stores.empty(tmp_path / "s")
    vectors = np.random.default_rng(0).normal(size=(30, 3))
    vectors[0] = 0
    stores.embedding(there, "words", [f"word{i}" for i in range(30)], vectors, card={"imported_from": "a|b.txt"})
    called(there, "--markdown", tmp_path / "r.md")
    text = (tmp_path / "r.md").read_text("utf-8")
    assert [line for line in text.splitlines() if line.startswith("# ")] == ["# Embedding words", "# Nearest genes"]
    assert "| imported from | a\\|b.txt |" in text
    assert "| word1 | word" in text  # word0 has no direction


def test_report__what_is_of_an_older_version_is_left_out_and_said(store: Store, tmp_path: Path) -> None:
    there = stores.empty(tmp_path / "s")
    old = stores.embedding(there, "e", GENES, np.random.default_rng(0).normal(size=(len(GENES), 3)))
    evaluation(there, "e", old, [figure("stability", "procrustes", 0.25)])
    for stage, spec in ((kmeans, KmeansSpec(k=2)), (map_stage, MapSpec(method="pca"))):
        driver.here(stage, stage.plan(there, spec), there)
    stores.embedding(there, "e", GENES, np.random.default_rng(1).normal(size=(len(GENES), 3)))
    driver.here(map_stage, map_stage.plan(there, MapSpec(method="pca", to="new")), there)
    called(there, "--markdown", tmp_path / "r.md", "--solve", "CD4 CD8A TP53", "--pair", "TP53 CD4")
    text = (tmp_path / "r.md").read_text("utf-8")
    for key in ("evaluations/e", "groups/e", "maps/e"):
        assert f"{key} is left out, for it is of version {old.digest[:12]} of the embedding" in text
    assert "# Map new" in text  # by biotype, since the groups are of the older version
    assert "by biotype" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "name the file to write, as in 'g2v report page.html', or give --markdown FILE"),
        (("r.html", "--name", "gens"), "did you mean 'genes'"),
        (("r.html", "--similar", "NOSUCHGENE"), "expected a gene"),
        (("r.html", "--solve", "CD4 CD8A"), "solve takes 3 genes with spaces between them; got 'CD4 CD8A'"),
        (("r.html", "--pair", "CD4"), "pair takes 2 genes with spaces between them; got 'CD4'"),
        (("r.html", "-k", "0"), "k must be at least 1, got 0"),
        (("{tmp}", "--pair", "CD4 TP53", "--solve", "CD4 CD8A TP53"), "cannot write the report"),
        (("--markdown", "{tmp}/r.png", "--pair", "CD4 TP53", "--solve", "CD4 CD8A TP53"), "call the report .md"),
    ],
)
def test_report__what_cannot_be_done_is_said(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(G2VError, match=message):
        called(store, *(word.format(tmp=tmp_path) for word in words))
    assert list(tmp_path.iterdir()) == []


# -- commands -----------------------------------------------------------------------------------------------


def test_commands__make_the_same_specs(store: Store) -> None:
    """What is printed, read by the very commands, asks for what the manifests say."""
    artifacts = [store.get("embeddings", "genes"), *(store.get(k, "genes") for k in ("groups", "maps", "evaluations"))]
    first, *lines = recipe.commands(store, artifacts)
    assert shlex.split(first) == ["export", f"G2V_STORE={store.root.url}"]
    found = {}
    for line in lines:
        program, stage, *words = shlex.split(line)
        assert program == "g2v"
        command = evaluate if stage == "evaluate" else cli.cli.commands[stage]
        context = command.make_context(stage, [*words, "--store", store.root.url])
        fields = {f.name for f in recipe.STEPS[stage].fields_by_key().values()}
        found[stage] = spec_of(
            recipe.STEPS[stage], {k: v for k, v in context.params.items() if k in fields and v != ()}
        )
    assert list(found) == ["ingest", "pairs", "merge", "train", "kmeans", "map", "evaluate"]
    for artifact in recipe.made_of(store, artifacts):
        ((name, values),) = artifact.manifest["made"]["spec"].items()
        stage = next(s for s, cls in recipe.STEPS.items() if cls.__name__ == name)
        wanted = recipe.STEPS[stage].build(values)
        listed = recipe.LISTED.get(stage)
        if listed is not None:
            assert set(getattr(wanted, listed)) <= set(getattr(found[stage], listed))
            assert json.dumps({**wanted.as_json(), listed: 0}) == json.dumps({**found[stage].as_json(), listed: 0})
        else:
            assert wanted == found[stage]


def test_commands__of_what_says_nothing_of_its_making(tmp_path: Path) -> None:
    there = stores.empty(tmp_path / "s")
    assert recipe.commands(there, [stores.embedding(there, "e", ["A", "B"], np.eye(2))]) == []


def test_report__has_help() -> None:
    assert isinstance(report, click.Command)
    assert report.help
    assert all(p.help for p in report.params if isinstance(p, click.Option))
