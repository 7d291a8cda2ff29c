"""The Gene Ontology: both forms, levels, ancestors, gene sets, and files that are wrong."""

import gzip
from pathlib import Path

import pytest

from g2v_dask.errors import InputError
from g2v_dask.genes import GeneTable
from g2v_dask.ontology import Ontology, recognised
from tests import go_toy
from tests.data_paths import data
from tests.go_toy import NAMES, A, B, C, D, E, F, G, H, P, R, X


def read(folder: Path, table: Path, **given) -> Ontology:
    return Ontology.read(sorted(folder.iterdir()), GeneTable.load(table), **given)


@pytest.fixture
def toy(tmp_path) -> Ontology:
    return read(go_toy.tables(tmp_path / "go"), go_toy.table(tmp_path))


def test_read__the_toy(toy):
    assert toy.terms == NAMES
    assert toy.parents == {
        R: (), A: (R,), B: (A,), C: (B,), D: (B,), E: (C,), F: (C, D), G: (B,), H: (A, E), P: (D,), X: (B,)
    }  # fmt: skip
    assert toy.annotations[:3] == (("A0", C, "IDA"), ("B0", C, "TAS"), ("B0", R, "ND"))
    assert toy.unknown == ()
    assert toy.evidence == {"IDA": 5, "IMP": 2, "TAS": 2, "IEA": 1, "IGI": 1, "IPI": 1, "ND": 1}


def test_levels_and_ancestors__by_hand(toy):
    assert [toy.level(t) for t in (R, A, B, C, D, E, F, G, H, P, X)] == [0, 1, 2, 3, 3, 4, 4, 3, 2, 4, 3]
    assert toy.ancestors(F) == {C, D, B, A, R}
    assert toy.ancestors(G) == {B, A, R}  # what regulates C is not below it
    assert toy.ancestors(P) == {D, B, A, R}
    assert toy.ancestors(R) == frozenset()
    for ask in (toy.level, toy.ancestors):
        with pytest.raises(InputError, match="expected a term of biological process.*got 'GO:9'"):
            ask("GO:9")


def test_terms_of__by_evidence(toy):
    assert toy.terms_of()["B0"] == {C, R}
    assert toy.terms_of({"TAS"}) == {"B0": {C}, "I0": {X}}
    assert toy.terms_of(()) == {}


def test_gene_sets__hold_the_genes_of_terms_below(toy):
    sets = toy.gene_sets(2, 6)
    assert sets == {
        f"{C} c": ("A0", "B0", "C0", "F0", "I0", "J0"),
        f"{E} e": ("C0", "I0", "J0"),
        f"{X} broad": ("G0", "I0"),
    }
    assert set(toy.gene_sets(1, 1)) == {f"{D} d", f"{G} g", f"{H} h"}
    assert toy.gene_sets(2, 6, evidence={"IMP"}) == dict.fromkeys(
        [f"{R} biological_process", f"{A} a", f"{B} {NAMES[B]}", f"{C} c", f"{E} e"], ("C0", "I0")
    )


def test_read__ncbi_files_say_the_same(tmp_path, toy):
    other = read(go_toy.ncbi(tmp_path / "ncbi"), tmp_path / "genes.tsv")
    assert (other.terms, other.parents, other.annotations) == (toy.terms, toy.parents, toy.annotations)


def test_read__plain_files_and_line_ends_of_windows(tmp_path, toy):
    for make in (go_toy.tables, go_toy.ncbi):
        folder = make(tmp_path / make.__name__)
        for file in folder.iterdir():
            file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()).replace(b"\n", b"\r\n"))
            file.unlink()
        other = read(folder, tmp_path / "genes.tsv")
        assert (other.terms, other.parents, other.annotations) == (toy.terms, toy.parents, toy.annotations)


def test_read__another_species(tmp_path):
    other = read(go_toy.ncbi(tmp_path / "go"), go_toy.table(tmp_path), taxon="10090")
    assert other.annotations == (("A0", C, "IDA"),)
    with pytest.raises(InputError, match="no annotation of the species 4932"):
        read(tmp_path / "go", tmp_path / "genes.tsv", taxon="4932")


def test_read__species_far_apart_in_a_large_file(tmp_path):
    folder, table = go_toy.ncbi(tmp_path / "go"), go_toy.table(tmp_path, each=99)
    header, *_ = gzip.decompress((folder / "gene2go.gz").read_bytes()).decode().split("\n")
    mouse = "10090\t1\tGO:0000003\tIDA\tinvolved_in\ta long name that fills the file\t-\tProcess\n" * 997
    human = [f"9606\t{e}\t{C}\tIDA\tinvolved_in\tc\t-\tProcess\n" for e in go_toy.genes(99)][:150]
    (folder / "gene2go.gz").unlink()
    (folder / "gene2go").write_text(header + "\n" + "".join(mouse + line for line in human))
    assert (folder / "gene2go").stat().st_size > 10_000_000  # several pieces
    assert len(read(folder, table).terms_of()) == 150


def test_read__real(tmp_path):
    del tmp_path
    table = GeneTable.load()
    real = Ontology.read(sorted(data("genes").iterdir()), table)
    assert (len(real.terms), len(real.annotations), len(real.unknown)) == (28_140, 157_118, 33)
    assert real.level("GO:0006260") == 5  # DNA replication
    assert "GO:0006259" in real.ancestors("GO:0006260")  # DNA metabolic process
    sets = real.gene_sets()
    assert 3_000 < len(sets) < 5_000
    assert all(20 <= len(genes) <= 200 for genes in sets.values())
    below = {term for term in real.terms if "GO:0006270" in (term, *real.ancestors(term))}
    naive = {gene for gene, term, _ in real.annotations if term in below}
    assert set(sets["GO:0006270 DNA replication initiation"]) == naive


def test_recognised__says_what_is_there_and_what_is_missing(tmp_path):
    with pytest.raises(InputError, match="found no file"):
        recognised([])
    go_toy.tables(tmp_path / "go")
    (tmp_path / "go" / "go_bp_terms.tsv.gz").unlink()
    with pytest.raises(InputError, match=r"expected the Gene Ontology in .*go_bp_terms.tsv; or gene2go.*found go_bp_a"):
        recognised(sorted((tmp_path / "go").iterdir()))
    go_toy.tables(tmp_path / "go")
    (tmp_path / "go" / "notes.txt").touch()
    assert set(recognised(sorted((tmp_path / "go").iterdir()))) == {
        "go_bp_annotations.tsv", "go_bp_parents.tsv", "go_bp_terms.tsv"
    }  # fmt: skip
    (tmp_path / "go" / "go_bp_terms.tsv").touch()
    with pytest.raises(InputError, match="are the same table; keep one"):
        recognised(sorted((tmp_path / "go").iterdir()))
    (tmp_path / "go" / "go_bp_terms.tsv").unlink()
    go_toy.ncbi(tmp_path / "go")
    with pytest.raises(InputError, match="got both: keep"):
        recognised(sorted((tmp_path / "go").iterdir()))


def broken(folder: Path, name: str, old: str, new: str) -> None:
    text = gzip.decompress((folder / name).read_bytes()).decode()
    assert old in text
    (folder / name).write_bytes(gzip.compress(text.replace(old, new, 1).encode()))


@pytest.mark.parametrize(
    ("form", "name", "old", "new", "match"),
    [
        ("tables", "go_bp_annotations.tsv.gz", "entrez", "gene", "must have the columns entrez, go_id, evidence"),
        ("tables", "go_bp_annotations.tsv.gz", "IDA", "IDA\t1", "line 2: expected 3 fields, got 4"),
        ("tables", "go_bp_parents.tsv.gz", C, "GO:0000099", "names GO:0000099, which is not in go_bp_terms.tsv.gz"),
        (
            "tables",
            "go_bp_parents.tsv.gz",
            f"{A}\t{R}\tisa",
            f"{A}\t{R}\tisa\n{A}\t{E}\tisa",
            "must not be above themselves",
        ),
        (
            "tables",
            "go_bp_parents.tsv.gz",
            f"{X}\t{B}\tisa",
            f"{X}\t{B}\tregulates",
            "is not below the root",
        ),
        ("tables", "go_bp_terms.tsv.gz", "go_id", "id", "must have the columns go_id, term"),
        ("ncbi", "gene2go.gz", "#tax_id", "#species", "is not NCBI's gene2go: expected the columns tax_id, GeneID"),
        ("ncbi", "gene2go.gz", "9606\t100", "9606\t100\t", "expected 8 fields, got 9"),
        ("ncbi", "go-basic.obo.gz", "format-version", "<html>", "is not an OBO file: expected 'format-version:'"),
        ("ncbi", "go-basic.obo.gz", f"id: {R}", "id: GO:1", "but not their root, GO:0008150"),
    ],
)
def test_read__refuses_what_is_wrong(tmp_path, form, name, old, new, match):
    folder, table = getattr(go_toy, form)(tmp_path / "go"), go_toy.table(tmp_path)
    broken(folder, name, old, new)
    with pytest.raises(InputError, match=match):
        read(folder, table)


@pytest.mark.parametrize(("form", "name"), [("tables", "go_bp_terms.tsv.gz"), ("ncbi", "gene2go.gz")])
def test_read__refuses_damaged_files(tmp_path, form, name):
    folder, table = getattr(go_toy, form)(tmp_path / "go"), go_toy.table(tmp_path)
    whole = (folder / name).read_bytes()
    for part, match in ((whole[: len(whole) // 2], "gzip file"), (b"", "is empty"), (b"\x89PNG\n", "columns|UTF-8")):
        (folder / name).write_bytes(part)
        with pytest.raises(InputError, match=match):
            read(folder, table)


def test_read__refuses_genes_of_another_species(tmp_path):
    folder = go_toy.tables(tmp_path / "go")
    (tmp_path / "other.tsv").write_text(
        "entrez\tsymbol\tname\tbiotype\tensembl\taliases\n100\tA0\t\t\t\t\n999999\tZ\t\t\t\t\n"
    )
    with pytest.raises(InputError, match=r"the gene table other.tsv knows 1 of its 10 genes \(Entrez ids, as 100\)"):
        read(folder, tmp_path / "other.tsv")
    broken(folder, "go_bp_annotations.tsv.gz", "entrez", "entrez")
    (folder / "go_bp_annotations.tsv.gz").write_bytes(gzip.compress(b"entrez\tgo_id\tevidence\n"))
    with pytest.raises(InputError, match="holds no annotation with a term of biological process"):
        read(folder, tmp_path / "other.tsv")
