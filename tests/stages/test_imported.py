"""A file of vectors becomes an embedding like any other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from g2v_dask import arrays, driver, exchange, query
from g2v_dask.driver import Summary
from g2v_dask.errors import InputError, SpecError
from g2v_dask.files import file_sha256
from g2v_dask.genes import GeneTable
from g2v_dask.spec import ImportSpec
from g2v_dask.stages import imported
from g2v_dask.store import Store
from tests import made, stores
from tests.data_paths import data
from tests.shell import g2v

TABLE = GeneTable.load()
GENES = [f"G{i}" for i in range(11)]
VECTORS = np.random.default_rng(1).normal(size=(11, 5)).astype(np.float32)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return stores.empty(tmp_path / "s", tile=4)


def bring(store: Store, file: Path, name: str, truncate: int | None = None) -> Summary:
    spec = ImportSpec(file=str(file), name=name, truncate=truncate)
    return driver.here(imported, imported.plan(store, spec), store)


def chunks(store: Store, name: str) -> dict[str, bytes]:
    """The data's bytes, less the metadata, which holds the card."""
    found = made.data_files(store.get("embeddings", name).path)
    return {path: data for path, data in found.items() if not path.endswith("zarr.json")}


@pytest.mark.parametrize("suffix", sorted(exchange.FORMATS))
def test_import__of_an_export_has_the_same_bytes(store: Store, tmp_path: Path, suffix: str) -> None:
    stores.embedding(store, "first", GENES, VECTORS, card={"method": "svd"})
    file = tmp_path / f"out{suffix}"
    exchange.write(file, query.open_embedding(store, "first"))
    assert bring(store, file, "second").made == ["second"]
    assert chunks(store, "first") == chunks(store, "second")
    assert len(chunks(store, "second")) == 4
    artifact = store.get("embeddings", "second")
    names = tmp_path / "out.names.txt"
    beside = {"names:out.names.txt": file_sha256(names)} if suffix == ".npy" else {}
    assert artifact.manifest["inputs"] == {f"file:out{suffix}": file_sha256(file), **beside}
    again = query.open_embedding(store, "second")
    assert dict(artifact.facts) == again.card
    assert {k: again.card[k] for k in ("genes", "components", "imported_from")} == {
        "genes": 11,
        "components": 5,
        "imported_from": f"out{suffix}",
    }
    if suffix in (".parquet", ".npz", ".h5ad", ".safetensors"):
        assert again.card["card"]["method"] == "svd"
    assert str(tmp_path) not in str(again.card)
    assert [n.gene for n in again.similar("G3", 3)] == [
        n.gene for n in query.open_embedding(store, "first").similar("G3", 3)
    ]


def test_import__again_is_fresh_and_other_bytes_replace(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "v.txt"
    file.write_text("2 1\na 1\nb 2\n")
    assert bring(store, file, "e").made == ["e"]
    assert bring(store, file, "e").fresh == ["e"]
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    assert bring(store, file.rename(moved / "v.txt"), "e").fresh == ["e"]
    file.write_text("2 1\na 1\nb 3\n")
    assert bring(store, file, "e").replaced == ["e"]


def test_import__truncate_takes_the_first(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "v.npz"
    np.savez(file, genes=np.array(GENES), vectors=VECTORS)
    bring(store, file, "all")
    assert bring(store, file, "some", truncate=6).artifacts["some"]["genes"] == 6
    found = query.open_embedding(store, "some")
    assert found.genes.tolist() == GENES[:6]
    np.testing.assert_array_equal(found.vectors, VECTORS[:6])
    root = arrays.open_group(store.get("embeddings", "some").folder, "embeddings")
    assert root["vector"].chunks == (4, 5)


def test_import__can_be_indexed(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "v.npz"
    np.savez(file, genes=np.array(GENES), vectors=VECTORS)
    bring(store, file, "e")
    plain = query.open_embedding(store).similar("G0")
    stores.indexed(store, "e", shard_rows=3)
    indexed = query.open_embedding(store)
    assert len(indexed.shards) == 4
    assert indexed.similar("G0") == plain


def test_import__special_tokens_are_left_out_and_told(store: Store, tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", VECTORS)
    tokens = {"<pad>": 0, "<mask>": 1} | {gene: row + 2 for row, gene in enumerate(GENES[2:])}
    (tmp_path / "t.json").write_text(json.dumps(tokens))
    spec = ImportSpec(file=str(tmp_path / "w.npy"), name="e", tokens=str(tmp_path / "t.json"))
    card = driver.here(imported, imported.plan(store, spec), store).artifacts["e"]
    assert (card["genes"], card["special_tokens_left_out"]) == (9, ["<pad>", "<mask>"])
    assert imported.sentence(card) == "9 words × 5 from w.npy; 2 special tokens left out (<pad>, <mask>)"
    np.testing.assert_array_equal(query.open_embedding(store).vectors, VECTORS[2:])


def test_import__descriptions_are_kept_and_told(store: Store, tmp_path: Path) -> None:
    file, source = tmp_path / "v.csv", tmp_path / "d.json"
    file.write_text("ENSG00000141510.4,1,0\nENSG00000198851,1,0.5\nking,0,1\n")
    source.write_text('{"ENSG00000141510": "guardian [Source:HGNC Symbol;Acc:HGNC:11998]"}')
    spec = ImportSpec(file=str(file), name="e", descriptions=str(source))
    summary = driver.here(imported, imported.plan(store, spec), store)
    assert imported.sentence(summary.artifacts["e"]) == "3 words × 2 from v.csv; 1 with a description"
    root = arrays.open_group(store.get("embeddings", "e").folder, "embeddings")
    assert arrays.strings(root, "description").tolist() == ["guardian", "", ""]
    found = query.open_embedding(store)
    assert found.descriptions == {"ENSG00000141510.4": "guardian", "ENSG00000198851": "", "king": ""}
    near = found.similar("CD3E")
    assert [(n.gene, n.description) for n in near] == [("ENSG00000141510.4", "guardian"), ("king", "")]
    assert found.names.about("ENSG00000198851").description == TABLE.describe("CD3E")
    stores.indexed(store, "e", shard_rows=2)
    assert query.open_embedding(store).similar("CD3E") == near


def test_import__digest_holds_what_changes_the_result(store: Store, tmp_path: Path) -> None:
    """Other names, descriptions or another tensor are another import; the same ones elsewhere are not."""
    np.savez(tmp_path / "v.npz", table=VECTORS)
    for name in ("n", "m"):
        (tmp_path / f"{name}.json").write_text(json.dumps([f"{name}{i}" for i in range(11)]))
    (tmp_path / "d.json").write_text(json.dumps({"n3": "third"}))

    def run(**options: str) -> str:
        paths = {key: str(tmp_path / name) for key, name in options.items()}
        spec = ImportSpec(file=str(tmp_path / "v.npz"), name="e", **paths)
        summary = driver.here(imported, imported.plan(store, spec), store)
        return next(word for word in ("replaced", "made", "fresh") if getattr(summary, word))

    assert run(names="n.json") == "made"
    assert run(names="n.json") == "fresh"
    assert run(names="m.json") == "replaced"
    assert run(names="n.json", descriptions="d.json") == "replaced"
    (tmp_path / "sub").mkdir()
    (tmp_path / "n.json").rename(tmp_path / "sub" / "n.json")
    assert run(names="sub/n.json", descriptions="d.json") == "fresh"
    (tmp_path / "d.json").write_text(json.dumps({"n3": "3rd"}))
    assert run(names="sub/n.json", descriptions="d.json") == "replaced"
    with pytest.raises(InputError, match=r"cannot read .*n\.json: No such file"):
        run(names="n.json")


def test_import__english_words(store: Store, tmp_path: Path) -> None:
    (tmp_path / "w.tsv").write_text("man\t1\t0\nking\t1\t1\nwoman\t-1\t0\nqueen\t-1\t1\n")
    assert bring(store, tmp_path / "w.tsv", "english").made == ["english"]
    found = query.open_embedding(store).similar("KING", 1)
    assert [(n.gene, n.description, n.ensembl) for n in found] == [("man", "", "")]


def test_import__real_geneformer_dictionary_and_descriptions(tmp_path: Path) -> None:
    store = stores.empty(tmp_path / "s")
    vectors = np.random.default_rng(0).normal(size=(25_426, 3)).astype(np.float32)
    np.savez(tmp_path / "geneformer.npz", embeddings=vectors, ids=np.arange(25_426))
    answer = g2v(
        *("import", tmp_path / "geneformer.npz", "--store", store.root.desk, "--name", "geneformer", "--trust-pickle"),
        *("--tokens", data("geneformer", "token_dictionary.pkl")),
        *("--descriptions", data("zador", "gene_descriptions.json.gz")),
    )
    assert answer.code == 0, answer
    assert "25,424 words × 3 from geneformer.npz; 2 special tokens left out (<pad>, <mask>)" in answer.out
    assert "22,212 with a description" in answer.out
    found = query.open_embedding(store)
    assert found.resolve("tp53") == "ENSG00000141510"
    about = found.names.about("ENSG00000141510")
    assert (about.symbol, about.description) == ("TP53", "tumor protein p53")


def test_plan__refuses_before_any_work(store: Store, tmp_path: Path) -> None:
    page = tmp_path / "p.txt"
    page.write_text("<html>")
    good = tmp_path / "v.txt"
    good.write_text("1 1\na 1\n")
    for file, message in (
        (page, "web page"),
        (tmp_path / "none.txt", "No such file"),
        (tmp_path / "v.doc", "unknown extension"),
    ):
        with pytest.raises(InputError, match=message):
            imported.plan(store, ImportSpec(file=str(file), name="e"))
    with pytest.raises(SpecError, match="name is made of"):
        imported.plan(store, ImportSpec(file=str(good), name="../e"))
    with pytest.raises(SpecError, match="truncate must be at least 1"):
        ImportSpec(file=str(good), name="e", truncate=0)
    imported.plan(store, ImportSpec(file=str(good), name="e"))
    assert not (store.root.desk / "embeddings").exists()


def test_import__bad_content_leaves_nothing(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "v.txt"
    file.write_text("2 1\na 1\nb nan\n")
    summary = bring(store, file, "e")
    assert "'b' (row 2)" in summary.quarantined[0]["reason"]
    assert store.names("embeddings") == []
    assert not list(store.root.desk.glob("embeddings/*/*"))
    file.write_text("2 1\na 1\nb 2\n")
    assert bring(store, file, "e").made == ["e"]
    assert store.quarantined() == []
