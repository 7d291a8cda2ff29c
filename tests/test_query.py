"""One answer whatever the way: brute force, FAISS, any shards; and what a query loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from g2v_dask import query
from g2v_dask.errors import InputError, SpecError, StoreError
from g2v_dask.query import Embedding
from g2v_dask.stages.index import unit_rows
from g2v_dask.store import Store
from tests import oracles, stores

GENES = ["CD3E", "CD3D", "TP53", "RPL3", "RPS6", "HLA-A"]


def embedding(vectors: NDArray[np.floating], genes: list[str] | None = None, shard_rows: int = 0) -> Embedding:
    """An embedding in memory; with FAISS shards of so many rows if asked for."""
    rows = np.asarray(vectors, dtype=np.float32)
    names = [f"word{i:04d}" for i in range(len(rows))] if genes is None else genes
    return Embedding(name="e", digest="", genes=np.array(names), vectors=rows, card={}, shards=shards(rows, shard_rows))


def shards(rows: NDArray[np.float32], size: int) -> tuple[object, ...]:
    made = []
    for start in range(0, len(rows) if size else 0, max(size, 1)):
        shard = query.faiss.IndexFlatIP(rows.shape[1])
        shard.add(unit_rows(rows[start : start + size]))
        made.append(shard)
    return tuple(made)


def naive(made: Embedding, gene: str, k: int) -> list[tuple[str, float]]:
    """Every cosine, by the longest float NumPy has; rounded to multiples of 2^-40, sorted, ties by id."""
    rows = made.vectors.astype(np.longdouble)
    row = made.genes.tolist().index(gene)
    norms = np.sqrt((rows * rows).sum(axis=1))
    values = (rows * rows[row]).sum(axis=1) / (np.where(norms > 0, norms, 1) * norms[row])
    found = [
        (-float(np.rint(v * query.QUANTA)) / query.QUANTA, str(g))
        for i, (g, v) in enumerate(zip(made.genes, values, strict=True))
        if i != row
    ]
    return [(g, -v) for v, g in sorted(found)[:k]]


def answers(made: Embedding, gene: str, k: int) -> list[tuple[str, float]]:
    return [(n.gene, n.cosine) for n in made.similar(gene, k)]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.integers(2, 40),
    components=st.integers(1, 9),
    distinct=st.integers(1, 40),
    k=st.integers(1, 45),
    shard_rows=st.integers(1, 45),
    zeros=st.integers(0, 3),
    seed=st.integers(0, 10_000),
)
def test_similar__shards_equal_brute_force_equal_naive(
    rows: int, components: int, distinct: int, k: int, shard_rows: int, zeros: int, seed: int
) -> None:
    """Among duplicates, exact ties (small whole numbers) and zero vectors, to the last bit."""
    random = np.random.default_rng(seed)
    vectors = random.integers(-2, 3, size=(distinct, components))[random.integers(0, distinct, rows)]
    vectors[1 : 1 + zeros] = 0
    vectors[0, 0] = 1
    names = [f"w{i:02d}" for i in random.permutation(rows)]
    plain, sharded = embedding(vectors, names), embedding(vectors, names, shard_rows)
    found = answers(plain, names[0], k)
    assert found == answers(sharded, names[0], k)
    expected = naive(plain, names[0], rows)
    every = oracles.Every(
        scores=np.array([c for _, c in expected]), genes=np.array([[int(g[1:])] for g, _ in expected]).reshape(-1, 1)
    )
    oracles.check(np.array([c for _, c in found]), np.array([[int(g[1:])] for g, _ in found]), every, k)


@pytest.mark.parametrize("shard_rows", [0, 100, 700, 5000])
def test_similar__gaussian(shard_rows: int) -> None:
    vectors = np.random.default_rng(3).normal(size=(2000, 64)) * 1e-3
    made = embedding(vectors, shard_rows=shard_rows)
    for gene in ("word0000", "word1999"):
        found = answers(made, gene, 25)
        assert [g for g, _ in found] == [g for g, _ in naive(made, gene, 25)]
        assert found == answers(embedding(vectors), gene, 25)


@pytest.mark.parametrize("shard_rows", [0, 3])
def test_similar__near_ties_below_float32(shard_rows: int) -> None:
    """Cosines that float32 cannot tell apart are still ordered as float64 has them."""
    random = np.random.default_rng(5)
    base = random.normal(size=200)
    vectors = base + random.normal(size=(300, 200)) * 1e-4
    made = embedding(vectors, shard_rows=shard_rows and 70)
    assert [g for g, _ in answers(made, "word0007", 20)] == [g for g, _ in naive(made, "word0007", 20)]


def test_similar__extreme_lengths_do_not_matter() -> None:
    vectors = np.array([[1e38, 1e38], [1e-38, 1e-38], [3e38, 0], [0, 1e-44]], dtype=np.float32)
    for shard_rows in (0, 2):
        found = answers(embedding(vectors, list("ABCD"), shard_rows), "A", 9)
        assert [g for g, _ in found] == ["B", "C", "D"]
        assert found[0][1] == pytest.approx(1.0, abs=1e-12)


def test_similar__duplicates_of_the_gene_come_by_id_at_exactly_one() -> None:
    made = embedding(np.tile(np.random.default_rng(0).normal(size=7), (6, 1)), list("FBDACE"), shard_rows=2)
    assert answers(made, "D", 3) == [("A", 1.0), ("B", 1.0), ("C", 1.0)]


def test_similar__bad_questions() -> None:
    made = embedding(np.array([[0, 0], [1, 0], [0, 1]]), ["TP53", "CD3E", "CD3D"])
    with pytest.raises(SpecError, match="k must be at least 1, got 0"):
        made.similar("CD3E", 0)
    with pytest.raises(InputError, match="TP53 in e is zero"):
        made.similar("TP53")
    with pytest.raises(InputError, match=r"CD3[DE]"):
        made.similar("CD3X")
    assert embedding(np.eye(1), ["alone"]).similar("alone") == []


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("CD3E", "CD3E"),
        ("cd3e", "CD3E"),
        ("ENSG00000141510.18", "TP53"),
        ("7157", "TP53"),
        ("p53", "TP53"),
        ("hla-a", "HLA-A"),
        ("king", "king"),
        ("KING", "king"),
        ("7", "7"),
    ],
)
def test_resolve__symbol_ensembl_entrez_alias_any_case_and_words(asked: str, found: str) -> None:
    made = embedding(np.ones((len(GENES) + 2, 2)), [*GENES, "king", "7"])
    assert made.resolve(asked) == found


def test_resolve__two_words_that_differ_in_case() -> None:
    made = embedding(np.ones((3, 2)), ["King", "KING", "CD3E"])
    assert made.resolve("KING") == "KING"
    with pytest.raises(InputError, match="several genes: KING, King"):
        made.resolve("king")


def test_similar__describes() -> None:
    made = embedding(np.array([[1, 0], [1, 0.1], [1, 0.2]]), ["CD3E", "TP53", "xyzzy"])
    known, unknown = made.similar("CD3E")
    assert (known.gene, known.description, known.ensembl) == ("TP53", "tumor protein p53", "ENSG00000141510")
    assert unknown.as_json() == {
        "gene": "xyzzy",
        "cosine": unknown.cosine,
        "description": "",
        "ensembl": "",
    }


# -- from a store -------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = stores.empty(tmp_path / "s", tile=4)
    vectors = np.random.default_rng(2).normal(size=(len(GENES), 5))
    stores.embedding(made, "genes", GENES, vectors, card={"method": "svd"})
    return made


def test_open_embedding__reads_genes_vectors_card(store: Store) -> None:
    made = query.open_embedding(store)
    assert (made.genes.tolist(), made.name, made.card["method"]) == (GENES, "genes", "svd")
    assert (made.vectors.shape, made.vectors.dtype, made.shards) == ((6, 5), np.float32, ())


def test_open_embedding__takes_a_fresh_index_and_leaves_a_stale_one(store: Store) -> None:
    plain = answers(query.open_embedding(store), "CD3E", 4)
    stores.indexed(store, "genes", shard_rows=2)
    with_index = query.open_embedding(store)
    assert [s.ntotal for s in with_index.shards] == [2, 2, 2]
    assert answers(with_index, "CD3E", 4) == plain
    stores.embedding(store, "genes", GENES, np.ones((len(GENES), 5)))
    assert query.open_embedding(store, "genes").shards == ()


def test_open_embedding__damaged_shard(store: Store) -> None:
    stores.indexed(store, "genes", shard_rows=2)
    shard = store.get("index", "genes").path / "data.index" / "shard-00001.faiss"
    shard.write_bytes(shard.read_bytes()[:20])
    with pytest.raises(StoreError, match=r"shard-00001.*damaged.*g2v index"):
        query.open_embedding(store)


def test_open_embedding__several_need_a_name(store: Store) -> None:
    stores.embedding(store, "other", GENES, np.ones((len(GENES), 5)))
    with pytest.raises(SpecError, match="genes, other"):
        query.open_embedding(store)


def test_query__loads_nothing_heavy(store: Store) -> None:
    """What `g2v similar` imports on its way to an answer, Markdown and all."""
    stores.indexed(store, "genes", shard_rows=4)
    code = """
import sys
from pathlib import Path
from g2v_dask import query, report
from g2v_dask.store import Store
embedding = query.open_embedding(Store.open(sys.argv[1]))
answers = {"cd3e": embedding.similar("cd3e", k=3)}
report.similar_table(answers)
report.write(Path(sys.argv[2]), report.similar_markdown(answers, embedding.name))
heavy = "pandas xarray anndata gensim numba distributed dask scipy h5py sklearn".split()
sys.exit(",".join(m for m in heavy if m in sys.modules) or 0)
"""
    out = Path(store.root.desk).parent / "answer.md"
    done = subprocess.run([sys.executable, "-c", code, str(store.root.desk), str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "cosine" in done.stdout
    assert "proteinatlas.org" in out.read_text()
