"""From a store to pictures of a map: what colours it, what is refused before any work, and the command."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import fisher_exact, zscore

from g2v_dask import driver
from g2v_dask.analysis import biotypes
from g2v_dask.commands.maps import map_
from g2v_dask.errors import G2VError, InputError, SpecError, StoreError
from g2v_dask.flows import maps, pictures
from g2v_dask.flows.pictures import Picture
from g2v_dask.genes import GeneTable
from g2v_dask.progress import Display
from g2v_dask.report import scatter
from g2v_dask.spec import KmeansSpec, MapSpec
from g2v_dask.stages import kmeans
from g2v_dask.store import Store
from tests import made, stores

GENES = ["TP53", "BRCA1", "ENSG00000146648", "XIST", "MT-RNR1", "no gene", "KRAS", "ERBB2"]
VECTORS = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
FLAT = ["--method", "pca"]
TABLE = GeneTable.load()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    there = stores.empty(tmp_path / "s")
    stores.embedding(there, "e", GENES, VECTORS)
    return there


def grouped(store: Store, **spec: Any) -> None:
    driver.here(kmeans, kmeans.plan(store, KmeansSpec(**{"name": "e", "k": 2, **spec})), store)


def look(store: Store, **asked: Any) -> pictures.Look:
    return pictures.look(store, store.get("embeddings", "e"), Picture(**asked))


def table(folder: Path, text: str, name: str = "t.tsv") -> Path:
    file = folder / name
    file.write_bytes(gzip.compress(text.encode(), mtime=0) if name.endswith(".gz") else text.encode())
    return file


# -- colours ------------------------------------------------------------------------------------------------


def test_look__groups_where_there_are_any(store: Store) -> None:
    assert look(store).colour is None
    grouped(store, to="other")
    assert look(store).colour is None
    grouped(store)
    found = look(store).colour
    assert (found.name, found.numbered, set(found.values)) == ("groups e", True, {"1", "2"})
    assert look(store, groups="other").colour.name == "groups other"
    assert look(store, colour="none").colour is None
    assert look(store, colour="biotype").colour.name == "biotype"


def test_look__groups_of_another_embedding_by_gene(store: Store) -> None:
    stores.embedding(store, "f", GENES, VECTORS)
    grouped(store, name="f")
    before = dict(zip(GENES, look(store, groups="f").colour.values, strict=True))
    kept = ["new", *GENES[::-1]]
    stores.embedding(store, "e", kept, np.zeros((9, 2)))
    after = dict(zip(kept, look(store, groups="f").colour.values, strict=True))
    assert after == {"new": "", **before}
    stores.embedding(store, "e", ["a", "b", "c", "d"], np.zeros((4, 2)))
    with pytest.raises(InputError, match="groups/f holds none of the 4 genes"):
        look(store, groups="f")


def test_look__groups_of_another_version_are_refused(store: Store) -> None:
    grouped(store, to="x")
    grouped(store)
    stores.embedding(store, "e", GENES, VECTORS[::-1])
    for asked, name in (({}, "e"), ({"colour": "group"}, "e"), ({"groups": "x"}, "x")):
        words = f"groups/{name} are groups of an older embeddings/e; make them again: g2v kmeans"
        with pytest.raises(StoreError, match=words):
            look(store, **asked)
    assert look(store, colour="none").colour is None
    grouped(store)
    assert look(store).colour.name == "groups e"


def test_look__biotypes(store: Store) -> None:
    found = look(store, colour="biotype").colour
    assert dict(zip(GENES, found.values, strict=True)) == {
        "TP53": "protein coding",
        "BRCA1": "protein coding",
        "ENSG00000146648": "protein coding",
        "XIST": "ncRNA",
        "MT-RNR1": "",
        "no gene": "",
        "KRAS": "protein coding",
        "ERBB2": "protein coding",
    }
    assert (found.missing, tuple(found.colours)) == ("none of these", biotypes.KINDS)


# -- tissues ------------------------------------------------------------------------------------------------

READS = np.random.default_rng(3).poisson(50, size=(4, 30, 8)).astype(np.int64)
READS[1, :, 0] *= 40  # TP53 in the second tissue
MEASURED = ["P53", "BRCA1", "EGFR", "XIST", "GAPDH", "no gene", "KRAS", "ERBB2"]


@pytest.fixture
def tissues(store: Store) -> Store:
    """Four tissues of 30 samples, one of 20, an array; the first symbol is an older one."""
    for name, reads in zip(("bone", "heart", "liver", "lung"), READS, strict=True):
        made.expression(store, name, np.log2(reads + 1), MEASURED, counts=reads)
    made.expression(store, "few", np.log2(READS[0, :20] + 1), MEASURED, counts=READS[0, :20])
    made.expression(store, "array", np.log2(READS[0] + 1), MEASURED)
    return store


def z_scores(tissue: int) -> list[float]:
    share = READS / READS.sum(axis=2, keepdims=True)
    values = zscore(np.log2(1e6 * share + 1).mean(axis=1), axis=0)[tissue].tolist()
    by_gene = dict(zip(["TP53", *MEASURED[1:]], values, strict=True)) | {"MT-RNR1": np.nan}
    return [by_gene[{"ENSG00000146648": "EGFR"}.get(gene, gene)] for gene in GENES]


def test_look__one_tissue(tissues: Store) -> None:
    found = look(tissues, colour="tissue=heart")
    assert (found.colour.name, found.colour.diverging, found.colour.missing) == ("z-score in heart", True, "unmeasured")
    np.testing.assert_allclose(found.colour.values, z_scores(1), rtol=1e-9)
    assert found.colour.values[0] > 1.7
    assert found.notes == ("z-scores over 4 tissues; fewer than 30 samples have few",)
    assert found.panels == ()


def test_look__a_sheet_of_all_tissues(tissues: Store) -> None:
    found = look(tissues, colour="tissues", datasets=("lung", "bone", "heart"))
    assert found.colour is None
    assert [panel.name for panel in found.panels] == ["bone", "heart", "lung"]
    everything = look(tissues, colour="tissues").panels
    np.testing.assert_allclose([panel.values for panel in everything], [z_scores(i) for i in range(4)], rtol=1e-9)


def test_look__tissues_that_are_none(tissues: Store, tmp_path: Path) -> None:
    for name, message in (
        ("hart", "no tissue is named 'hart'; did you mean 'heart'\\?; tissues are datasets: bone, heart, liver, lung$"),
        ("few", "no tissue is named 'few'; few has fewer than 30 samples; tissues"),
        ("array", "no tissue is named 'array'; tissues are datasets"),
    ):
        with pytest.raises(SpecError, match=message):
            look(tissues, colour=f"tissue={name}")
    with pytest.raises(SpecError, match="tissues are told by read counts, and array has none"):
        look(tissues, colour="tissues", datasets=("bone", "array"))
    with pytest.raises(InputError, match="of 2 datasets with read counts 2 have so many"):
        look(tissues, colour="tissues", datasets=("bone", "lung"))
    stores.embedding(tissues, "f", ["a", "b", "c", "d"], VECTORS[:4])
    with pytest.raises(InputError, match="the tissues know none of the 4 genes here"):
        pictures.look(tissues, tissues.get("embeddings", "f"), Picture(colour="tissues"))
    empty = stores.empty(tmp_path / "other")
    stores.embedding(empty, "e", GENES, VECTORS)
    with pytest.raises(SpecError, match="and no dataset here has any; 'g2v ingest --counts' keeps them"):
        look(empty, colour="tissue=heart")


ROWS = (
    "gene tissue r",
    "TP53 liver 1.5",
    "other lung 2",
    "EGFR skin -3e-1",
    "HER2 NA 7",
    "no_gene liver inf",
    "TP53 bone 8",
)
WORDS = "".join(f"{row}\n" for row in ROWS).replace(" ", "\t").replace("_", " ")


@pytest.mark.parametrize("name", ["t.tsv", "t.csv", "t.tsv.gz", "t.txt"])
def test_look__columns_of_a_table(store: Store, tmp_path: Path, name: str) -> None:
    """By word, symbol, Ensembl id or alias; words are categories, numbers a scale; the first of two rows counts."""
    file = table(tmp_path, WORDS.replace("\t", ",") if ".csv" in name else WORDS, name)
    found = look(store, table=file, colour="tissue")
    assert isinstance(found.colour, scatter.Categories)
    assert dict(zip(GENES, found.colour.values, strict=True)) == {
        **dict.fromkeys(GENES, ""),
        "TP53": "liver",
        "ENSG00000146648": "skin",
        "no gene": "liver",
    }
    assert "1 rows name a gene once more" in found.notes[0]
    numbers = look(store, table=file, colour="r").colour
    assert isinstance(numbers, scatter.Scale)
    assert numbers.name == "r"
    wanted = {**dict.fromkeys(GENES, np.nan), "TP53": 1.5, "ENSG00000146648": -0.3, "ERBB2": 7.0}
    np.testing.assert_array_equal(numbers.values, list(wanted.values()))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("g\tv\nTP53\t1_000\n", ["1_000"]),
        ("\ufeffg\tv\r\nTP53\tx\r\n", ["x"]),
        ("v\nTP53\tx\n", ["x"]),  # as R writes row names
        ('g,v\n"TP53","a, b"\n\n', ["a, b"]),
    ],
)
def test_look__tables_as_programs_write_them(store: Store, tmp_path: Path, text: str, expected: list[str]) -> None:
    found = look(store, table=table(tmp_path, text)).colour
    assert [v for v in found.values if v] == expected


@pytest.mark.parametrize(
    ("text", "colour", "message"),
    [
        (WORDS, None, "it has tissue, r$"),
        (WORDS, "tisue", "got 'tisue'; did you mean 'tissue'\\?; it has tissue, r$"),
        ("g\tv\nA\tx\n", "v", "knows none of the 8 genes here; its first are A$"),
        ("g\tv\nTP53\tx\ty\nA\tx\n", "v", "row 3: expected 3 fields, as in the header, got 2"),
        ("g\nTP53\n", "v", "must hold a header"),
        ("g\tv\n", "v", "must hold a header"),
        ("", "v", "is empty"),
        ("g\tv\nTP53\t\udcff\n", "v", "must be a text in UTF-8"),
        (None, "v", "cannot read .*: No such file"),
    ],
)
def test_look__tables_that_cannot_be_used(
    store: Store, tmp_path: Path, text: str | None, colour: str | None, message: str
) -> None:
    file = tmp_path / "t.tsv"
    if text is not None:
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises((InputError, SpecError), match=message):
        look(store, table=file, colour=colour)


def test_look__a_cut_gzip_table(store: Store, tmp_path: Path) -> None:
    file = table(tmp_path, WORDS, "t.tsv.gz")
    file.write_bytes(file.read_bytes()[:-12])
    with pytest.raises(InputError, match="is a damaged gzip file"):
        look(store, table=file, colour="r")


def test_look__labels_by_any_name(store: Store) -> None:
    found = look(store, label=("EGFR", "her2", "TP53", "tp53", "no gene")).labels
    assert found == {2: "EGFR", 7: "ERBB2", 0: "TP53", 5: "no gene"}
    with pytest.raises(InputError, match="expected a gene"):
        look(store, label=("TP53", "NOSUCHGENE"))


def test_look__wrong_colours(store: Store) -> None:
    words = "group, biotype, tissue=NAME, tissues, none, or a column of --table; got 'tissue'; did you mean 'tissues'"
    with pytest.raises(SpecError, match=words):
        look(store, colour="tissue")
    with pytest.raises(SpecError, match="no groups named 'e'"):
        look(store, colour="group")
    with pytest.raises(InputError, match=r"a \.png, \.svg or \.pdf file"):
        look(store, files=(Path("m.gif"),))


@pytest.mark.parametrize("colour", ["group", "biotype", "tissue=heart", "tissues", "none"])
def test_look__a_table_that_the_colour_leaves_unused(store: Store, tmp_path: Path, colour: str) -> None:
    file = table(tmp_path, WORDS)
    with pytest.raises(SpecError, match=f"--table {file} is of no use with --colour {colour}, .* tissue, r; leave"):
        look(store, table=file, colour=colour)
    own = look(store, table=table(tmp_path, WORDS.replace("tissue", colour)), colour=colour).colour
    assert (own.name, own.values[0]) == (colour, "liver")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"colour": "biotype"}, "--groups x is of no use with --colour biotype; leave one of them out"),
        ({"colour": "none"}, "--groups x is of no use with --colour none; leave one of them out"),
        ({"table": Path("t.tsv")}, "--groups x and --table t.tsv both colour the genes; leave one of them out"),
    ],
)
def test_picture__groups_beside_other_colours(more: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Picture(groups="x", **more)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"groups": "x", "colour": "tissue=heart"}, "--groups x is of no use with --colour tissue=heart"),
        ({"datasets": ("a",)}, "--datasets is of no use with other colours than tissues"),
        ({"datasets": ("a",), "colour": "biotype"}, "--datasets is of no use with --colour biotype; leave one of them"),
        ({"label": ("TP53",), "colour": "tissues"}, "--label is of no use with --colour tissues"),
        ({"islands": True, "colour": "tissues"}, "--islands is of no use with --colour tissues"),
    ],
)
def test_picture__what_a_colour_leaves_unused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        Picture(**given)


# -- the flow and the command -------------------------------------------------------------------------------


def mapped(store: Store, picture: Picture, **spec: Any) -> maps.Mapped:
    asked = MapSpec(**{"method": "pca", **spec})
    return maps.run(str(store.root.desk), asked, picture, cluster=None, display=Display(quiet=True))


def run(store: Store, picture: Picture, **spec: Any) -> driver.Summary:
    return mapped(store, picture, **spec).summary


def test_run__draws_and_draws_again_the_same(store: Store, tmp_path: Path) -> None:
    files = (tmp_path / "a" / "m.png", tmp_path / "m.svg")
    assert run(store, Picture(files=files, label=("TP53",))).made == ["e"]
    first = [file.read_bytes() for file in files]
    assert first[0].startswith(b"\x89PNG")
    assert run(store, Picture(files=files, label=("TP53",))).fresh == ["e"]
    assert [file.read_bytes() for file in files] == first


def test_run__what_is_wrong_with_a_picture_is_found_before_the_map_is_made(store: Store, tmp_path: Path) -> None:
    for wrong in ({"label": ("NOSUCHGENE",)}, {"colour": "x"}, {"groups": "x"}, {"table": tmp_path / "none.tsv"}):
        with pytest.raises((InputError, SpecError)):
            run(store, Picture(files=(tmp_path / "m.png",), **wrong))
    with pytest.raises(InputError, match="gif"):
        run(store, Picture(files=(tmp_path / "m.gif",)))
    assert store.names("maps") == []
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        run(store, Picture(files=(tmp_path / "file" / "m.png",)))


def test_run__a_map_that_is_refused(store: Store, tmp_path: Path) -> None:
    stores.embedding(store, "e", GENES, np.full((8, 3), np.nan))
    with pytest.raises(InputError, match="8 of 8 vectors hold NaN"):
        run(store, Picture(files=(tmp_path / "m.png",)))
    assert not (tmp_path / "m.png").exists()


def test_draw__of_another_version_is_refused(store: Store, tmp_path: Path) -> None:
    run(store, Picture())
    there = look(store)
    stores.embedding(store, "e", GENES, VECTORS + 1)
    with pytest.raises(StoreError, match="maps/e is no map of embeddings/e as it is now"):
        pictures.draw(store.get("maps", "e"), look(store), [tmp_path / "m.png"])
    pictures.draw(store.get("maps", "e"), there, [tmp_path / "m.png"])


def command(*words: object) -> Any:
    answer = CliRunner().invoke(map_, [str(w) for w in words])
    if answer.exception is not None and not isinstance(answer.exception, SystemExit):
        raise answer.exception
    return answer


def test_map__prints_or_draws(store: Store, tmp_path: Path) -> None:
    where = ["--store", store.root.desk]
    first = command(*where, *FLAT, "--json")
    assert json.loads(first.stdout)["artifacts"]["e"]["method"] == "pca"
    assert "map" in command(*where, *FLAT, "-q").stdout
    picture = tmp_path / "m.svg"
    answer = command(*where, *FLAT, "--figure", picture, "--figure", tmp_path / "m.png", "--label", "TP53, EGFR,")
    assert answer.stdout == f"maps/e → {picture}, {tmp_path / 'm.png'}\n"
    assert picture.read_bytes().startswith(b"<?xml")
    both = command(*where, *FLAT, "--figure", picture, "--json")
    assert json.loads(both.stdout)["fresh"] == ["e"]


def test_run__tissues_and_their_sheet(tissues: Store, tmp_path: Path) -> None:
    for colour in ("tissue=heart", "tissues"):
        files = (tmp_path / f"{colour}.png", tmp_path / f"{colour}.svg")
        run(tissues, Picture(files=files, colour=colour))
        before = [file.read_bytes() for file in files]
        run(tissues, Picture(files=files, colour=colour))
        assert [file.read_bytes() for file in files] == before


# -- islands ------------------------------------------------------------------------------------------------


@pytest.fixture
def archipelago(tmp_path: Path) -> Store:
    """Three crowds of 60, 40 and 30 genes, of which the third are loci that nobody knows; and two genes apart."""
    there = stores.empty(tmp_path / "a")
    random = np.random.default_rng(0)
    sizes, middles = (60, 40, 30), ([0, 0], [40, 0], [0, 40])
    crowds = [random.uniform(-1, 1, size=(n, 2)) + m for n, m in zip(sizes, middles, strict=True)]
    coding = [s for s, kind in zip(TABLE.symbol, TABLE.kinds, strict=True) if kind == "protein-coding"][:102]
    genes = [*coding[:100], *(f"LOC{i}" for i in range(30)), *coding[100:]]
    stores.embedding(there, "e", genes, np.vstack([*crowds, [[90, 90], [-90, -50]]]))
    return there


def test_islands__are_found_and_tested(archipelago: Store, tmp_path: Path) -> None:
    picture = tmp_path / "islands.png"
    found = mapped(archipelago, Picture(islands=True, files=(picture,))).islands
    assert found is not None
    assert np.bincount(found.island).tolist() == [2, 60, 40, 30]
    loci = {t.kind: t for t in found.of(3)}[biotypes.LOCUS]
    table = [[30, 0], [0, 102]]
    assert (loci.overlap, loci.genes) == (30, 30)
    assert loci.p == pytest.approx(fisher_exact(table, alternative="greater").pvalue)
    assert loci.q < 1e-20
    assert found.members(3)[0].startswith("LOC")
    assert len(found.members(1)) == 60
    middle = np.median(found.places[found.island == 2], axis=0)
    away = np.linalg.norm(found.places - middle, axis=1)[found.island == 2]
    names = [gene for gene, number in zip(found.names.rows, found.island.tolist(), strict=True) if number == 2]
    assert found.members(2)[0] == names[int(away.argmin())]
    assert picture.read_bytes().startswith(b"\x89PNG")
    asked = json.loads(json.dumps(found.as_json()))
    assert (asked["genes"], asked["apart"], len(asked["islands"])) == (132, 2, 3)
    assert {k["kind"]: k["odds_ratio"] for k in asked["islands"][2]["kinds"]}[biotypes.LOCUS] is None  # infinite


def test_islands__colour_by_biotype_unless_told_otherwise(store: Store) -> None:
    grouped(store)
    assert look(store, islands=True).colour.name == "biotype"
    assert look(store, islands=True, groups="e").colour.name == "groups e"
    assert look(store, islands=True, colour="none").colour is None


def test_map__islands_printed_as_json_and_as_markdown(archipelago: Store, tmp_path: Path) -> None:
    where = ["--store", archipelago.root.desk, *FLAT, "-q", "--islands"]
    printed = command(*where).stdout
    assert "Islands of maps/e: 132 genes of e" in printed
    assert "3 islands, 2 genes on none" in printed
    (row,) = [line for line in printed.splitlines() if biotypes.LOCUS in line]
    assert row.split()[:5] == ["3", "30", "LOC", "uncharacterised", "30"]
    drawn = command(*where, "--figure", tmp_path / "i.svg").stdout
    assert "Islands of maps/e" in drawn
    assert drawn.endswith(f"maps/e → {tmp_path / 'i.svg'}\n")
    asked = json.loads(command(*where, "--json").stdout)
    assert (asked["stage"], asked["fresh"], len(asked["islands"]["islands"])) == ("map", ["e"], 3)
    page = tmp_path / "islands.md"
    assert command(*where, "--markdown", page, "--label", "LOC3").stdout == f"maps/e → {page}\n"
    text = page.read_text("utf-8")
    assert "# Islands of maps/e" in text
    assert "](islands.png)" in text
    assert "## Island 3: 30 genes" in text
    assert text.count("LOC3,") + text.count("LOC3\n") == 1
    assert (tmp_path / "islands.png").read_bytes().startswith(b"\x89PNG")


def test_map__islands_that_are_none(store: Store) -> None:
    printed = command("--store", store.root.desk, *FLAT, "-q", "--islands").stdout
    assert "0 islands, 8 genes on none" in printed
    with pytest.raises(SpecError, match="--markdown writes the islands of the map: give --islands"):
        command("--store", store.root.desk, *FLAT, "--markdown", "x.md")
    with pytest.raises(SpecError, match=r"x\.png: the picture of the report takes that name"):
        command("--store", store.root.desk, *FLAT, "--islands", "--markdown", "x.png")
    with pytest.raises(SpecError, match="--colour: only with --figure"):
        command("--store", store.root.desk, *FLAT, "--islands", "--colour", "group")


def test_map__what_is_drawn_needs_a_file(store: Store) -> None:
    with pytest.raises(SpecError, match="--colour, --label: only with --figure"):
        command("--store", store.root.desk, *FLAT, "--colour", "group", "--label", "TP53")
    assert store.names("maps") == []


def test_map__errors_are_ours(store: Store) -> None:
    with pytest.raises(G2VError, match="one of at most 2"):
        command("--store", store.root.desk)
    assert isinstance(map_, click.Command)
