"""``g2v goa pairs``: what it writes, what it prints, and what it will not write over."""

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from g2v_dask.commands.goa import goa
from g2v_dask.errors import InputError, SpecError
from g2v_dask.evaluation.goa import PUBLISHED
from g2v_dask.files import file_sha256
from tests import go_toy
from tests.data_paths import data

FILES = [f"{split}_{what}.txt.gz" for split in ("test", "train", "valid") for what in ("label", "text")]


def run(*words: object) -> Result:
    return CliRunner().invoke(goa, ["pairs", *map(str, words)])


@pytest.fixture
def given(tmp_path) -> list[object]:
    """Options for the toy."""
    folder = go_toy.tables(tmp_path / "go", 12)
    options: list[object] = ["--go", folder, "--genes", go_toy.table(tmp_path, 12)]
    return [*options, "--exclude", go_toy.X, "--split", "1:1:1"]


def lines(file: Path) -> list[str]:
    return gzip.decompress(file.read_bytes()).decode().splitlines()


def test_pairs__writes_the_published_format(tmp_path, given):
    done = run(*given, "--to", tmp_path / "new" / "pairs")
    assert done.exit_code == 0, done.output
    folder = tmp_path / "new" / "pairs"
    assert sorted(f.name for f in folder.iterdir()) == sorted([*FILES, "pairs.json"])
    assert [f.name for f in folder.parent.iterdir()] == ["pairs"]  # nothing is left beside it
    known, seen = set(go_toy.genes(12).values()), set()
    for split in ("train", "valid", "test"):
        text, label = lines(folder / f"{split}_text.txt.gz"), lines(folder / f"{split}_label.txt.gz")
        genes = {gene for line in text for gene in line.split(" ")}
        assert len(text) == len(label) == 2 * label.count("1") == 2 * label.count("0") > 0
        assert {len(line.split(" ")) for line in text} == {2}
        assert genes <= known
        assert not genes & seen
        seen |= genes
    about = json.loads((folder / "pairs.json").read_text())
    assert about["settings"] == {
        "version": 1, "tax_id": "9606", "evidence": ["IDA", "IMP", "IPI", "IGI", "TAS"], "exclude": [go_toy.X],
        "least_level": 3, "split": "1:1:1", "seed": 1,
    }  # fmt: skip
    assert set(about["inputs"]) == {"genes", *(f.name for f in (tmp_path / "go").iterdir())}
    assert about["files"] == {name: file_sha256(folder / name) for name in FILES}
    assert about["counts"]["genes"] == 72
    assert str(tmp_path) not in (folder / "pairs.json").read_text()
    assert all((folder / name).read_bytes()[4:8] == bytes(4) for name in FILES)  # no time in the gzip


def test_pairs__prints_counts_beside_the_papers(tmp_path, given):
    done = run(*given, "--to", tmp_path / "pairs")
    for part in ("270,704", "5,369", "684", "130,455", "HumanNet.v1.benchmark", "0 of ", "written: "):
        assert part in done.output
    made = json.loads(run(*given, "--to", tmp_path / "pairs", "--json").output)
    assert made["fresh"]
    assert made["counts"]["positives"] == 684
    assert made["paper"]["humannet"] == {"positives": 270_704, "positive_genes": 5_369}
    splits = made["counts"]["splits"]
    assert sum(split["genes"] for split in splits.values()) == 72
    assert all(split["positives"] == split["negatives"] for split in splits.values())


def test_pairs__the_published_counts_are_those_of_the_files():
    for split, counts in PUBLISHED.items():
        label = lines(data("gene2vec", f"{split}_label.txt.gz"))
        text = lines(data("gene2vec", f"{split}_text.txt.gz"))
        genes = {gene for line in text for gene in line.split()}
        assert counts == {"genes": len(genes), "positives": label.count("1"), "negatives": label.count("0")}


def test_pairs__both_forms_give_the_same_bytes(tmp_path, given):
    run(*given, "--to", tmp_path / "one")
    other = ["--go", go_toy.ncbi(tmp_path / "ncbi", 12), *given[2:], "--to", tmp_path / "two"]
    assert run(*other).exit_code == 0
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_pairs__what_is_there_stays_and_what_is_damaged_comes_again(tmp_path, given):
    folder = tmp_path / "pairs"
    folder.mkdir()  # empty: it may be filled
    assert run(*given, "--to", folder).exit_code == 0
    before = {f.name: (f.read_bytes(), f.stat().st_mtime_ns) for f in folder.iterdir()}
    (folder / "notes.txt").write_text("mine")
    done = run(*given, "--to", folder)
    assert "it was there already" in done.output
    assert {n: ((folder / n).read_bytes(), (folder / n).stat().st_mtime_ns) for n in before} == before
    (folder / FILES[0]).write_bytes(b"half")
    (folder / FILES[1]).unlink()
    assert "written: " in run(*given, "--to", folder).output
    assert {n: (folder / n).read_bytes() for n in before} == {n: content for n, (content, _) in before.items()}
    assert (folder / "notes.txt").read_text() == "mine"


def test_pairs__refuses_to_write_over(tmp_path, given):
    folder = tmp_path / "pairs"
    run(*given, "--to", folder)
    before = {f.name: f.read_bytes() for f in folder.iterdir()}
    for more, match in (
        (["--seed", 2], "holds pairs of other settings (seed)"),
        (["--least-level", 2, "--evidence", "IDA,IMP"], "other settings (evidence, least_level)"),
    ):
        done = run(*given, *more, "--to", folder)
        assert isinstance(done.exception, SpecError)
        assert match in str(done.exception)
    go_toy.table(tmp_path, 13)
    done = run(*given, "--to", folder)
    assert "holds pairs of other inputs (genes)" in str(done.exception)
    assert {f.name: f.read_bytes() for f in folder.iterdir()} == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    for target in (tmp_path / "full", tmp_path / "full" / "thesis.txt"):
        done = run(*given, "--to", target)
        assert isinstance(done.exception, SpecError)
        assert "is not empty, and no output of 'g2v goa pairs'" in str(done.exception)
    (folder / "pairs.json").write_text("[]")
    assert isinstance(run(*given, "--to", folder).exception, SpecError)


def test_pairs__leaves_nothing_when_it_fails(tmp_path, given):
    done = run(*given, "--evidence", "HDA", "--to", tmp_path / "pairs")
    assert isinstance(done.exception, InputError)
    assert "no annotation has evidence HDA" in str(done.exception)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["genes.tsv", "go"]


def test_pairs__bad_inputs(tmp_path, given):
    done = run("--go", tmp_path / "genes.tsv", "--to", tmp_path / "pairs")
    assert "expected a folder of the Gene Ontology" in str(done.exception)
    (tmp_path / "go" / "go_bp_terms.tsv.gz").unlink()
    done = run(*given, "--to", tmp_path / "pairs")
    assert isinstance(done.exception, InputError)
    assert "go_bp_terms.tsv" in str(done.exception)
    assert isinstance(run("--go", tmp_path / "go").exception, SpecError)  # no --to


def test_pairs__options_change_what_counts(tmp_path, given):
    def genes(*more: object) -> int:
        done = run(*given, *more, "--to", tmp_path / "-".join(map(str, more)), "--json")
        assert done.exit_code == 0, done.output
        return int(json.loads(done.output)["counts"]["genes"])

    assert genes("--exclude", "") == 7 * 12  # with the genes of the broad term
    assert genes("--evidence", "IDA,IMP,IPI,IGI") == 5 * 12
    assert genes("--least-level", 2) == 8 * 12


def test_pairs__real_data(tmp_path):
    done = run("--go", data("genes"), "--to", tmp_path / "pairs", "--json")
    assert done.exit_code == 0, done.output
    counts = json.loads(done.output)["counts"]
    assert {key: counts[key] for key in ("genes", "terms", "positives", "positive_genes")} == {
        "genes": 11_374, "terms": 8_112, "positives": 1_232_377, "positive_genes": 11_239,
    }  # fmt: skip
    assert [split["genes"] for split in counts["splits"].values()] == [7_961, 1_138, 2_275]  # 7 : 1 : 2
    negatives = sum(split["negatives"] for split in counts["splits"].values())
    assert 0.02 < counts["doubtful"] / negatives < 0.05
    genes = [
        {gene for line in lines(tmp_path / "pairs" / f"{split}_text.txt.gz") for gene in line.split()}
        for split in ("train", "valid", "test")
    ]
    assert sum(map(len, genes)) == len(set().union(*genes)) == sum(s["used"] for s in counts["splits"].values())
    assert "TP53" in set().union(*genes)
