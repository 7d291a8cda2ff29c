"""Files out and in again to the bit; other tools open them; bad files are named."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gensim.models import KeyedVectors
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from g2v_dask import exchange
from g2v_dask.errors import InputError
from g2v_dask.exchange import Options, Vectors, texts

SUFFIXES = sorted(exchange.FORMATS)
WORD2VEC = (".txt", ".vec", ".bin")
CARDLESS = (*WORD2VEC, ".csv", ".csv.gz", ".tsv", ".tsv.gz", ".npy")
CARD = {"method": "svd", "losses": [], "rule": {"threshold": None, "top_k": 50}}
FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@pytest.fixture
def made() -> Vectors:
    """Every kind of float32: random bits, denormal, huge, minus zero, whole."""
    bits = np.random.default_rng(0).integers(0, 2**32, size=(300, 7), dtype=np.uint32).view(np.float32)
    vectors = np.where(np.isfinite(bits), bits, np.float32(0.1))
    vectors[:3, 0] = [-0.0, 1e-45, 3.4028235e38]
    genes = np.array([f"GENE{i}" for i in range(297)] + ["null", 'é"quoted', "#1"])
    return Vectors(genes, vectors, CARD)


def bits(vectors: NDArray[np.float32]) -> NDArray[np.uint32]:
    assert vectors.dtype == np.float32
    return np.ascontiguousarray(vectors).view(np.uint32)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_write__then_read__same_bits(tmp_path: Path, made: Vectors, suffix: str) -> None:
    file = tmp_path / f"e{suffix}"
    exchange.write(file, made)
    found = exchange.read(file)
    assert found.genes.tolist() == made.genes.tolist()
    np.testing.assert_array_equal(bits(found.vectors), bits(made.vectors))
    assert found.card == ({} if suffix in CARDLESS else CARD)
    beside = ["e.names.txt"] if suffix == ".npy" else []
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([file.name, *beside])
    first = exchange.read(file, Options(truncate=5))
    assert first.genes.tolist() == made.genes[:5].tolist()
    np.testing.assert_array_equal(bits(first.vectors), bits(made.vectors[:5]))
    assert len(exchange.read(file, Options(truncate=10_000)).genes) == 300


@settings(max_examples=50, deadline=None)
@given(vectors=npst.arrays(np.float32, npst.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=FLOAT32))
def test_write__text_holds_float32_exactly(
    tmp_path_factory: pytest.TempPathFactory, vectors: NDArray[np.float32]
) -> None:
    file = tmp_path_factory.mktemp("t") / "e.txt"
    exchange.write(file, Vectors(np.array([f"g{i}" for i in range(len(vectors))]), vectors, {}))
    np.testing.assert_array_equal(bits(exchange.read(file).vectors), bits(vectors))


@pytest.mark.parametrize("suffix", WORD2VEC)
def test_write__word2vec_opens_in_gensim(tmp_path: Path, made: Vectors, suffix: str) -> None:
    file = tmp_path / f"e{suffix}"
    exchange.write(file, made)
    keyed = KeyedVectors.load_word2vec_format(str(file), binary=suffix == ".bin")
    assert keyed.index_to_key == made.genes.tolist()
    np.testing.assert_array_equal(bits(keyed.vectors), bits(made.vectors))


@pytest.mark.parametrize("binary", [False, True])
def test_read__what_gensim_writes(tmp_path: Path, made: Vectors, binary: bool) -> None:
    file = tmp_path / ("e.bin" if binary else "e.txt")
    exchange.to_keyedvectors(made).save_word2vec_format(str(file), binary=binary)
    found = exchange.read(file)
    assert found.genes.tolist() == made.genes.tolist()
    np.testing.assert_array_equal(bits(found.vectors), bits(made.vectors))


@pytest.mark.parametrize("truncate", [None, 1])
def test_read__what_word2vec_in_c_writes(tmp_path: Path, truncate: int | None) -> None:
    """Lines that end with a space; binary rows that end with a line feed."""
    text, binary = tmp_path / "e.txt", tmp_path / "e.bin"
    text.write_bytes(b"2 2\r\n</s> 0.5 -1 \r\nb 2 3 \r\n")
    rows = [np.array(v, dtype="<f4").tobytes() for v in ([0.5, -1], [2, 3])]
    binary.write_bytes(b"2 2\n</s> " + rows[0] + b"\nb " + rows[1] + b"\n")
    for file in (text, binary):
        found = exchange.read(file, Options(truncate=truncate))
        assert found.genes.tolist() == ["</s>", "b"][:truncate]
        assert found.vectors.tolist() == [[0.5, -1], [2, 3]][:truncate]


def test_write__text_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Vectors) -> None:
    exchange.write(tmp_path / "one.txt", made)
    monkeypatch.setattr(texts, "TEXT_ROWS", 7)
    monkeypatch.setattr(texts, "TEXT_BLOCK_BYTES", 1000)
    exchange.write(tmp_path / "many.txt", made)
    assert (tmp_path / "one.txt").read_bytes() == (tmp_path / "many.txt").read_bytes()
    np.testing.assert_array_equal(bits(exchange.read(tmp_path / "many.txt").vectors), bits(made.vectors))
    assert exchange.read(tmp_path / "many.txt", Options(truncate=11)).genes.tolist() == made.genes[:11].tolist()


def test_write__others_open_as_is_usual(tmp_path: Path, made: Vectors) -> None:
    for suffix in SUFFIXES:
        exchange.write(tmp_path / f"e{suffix}", made)
    frame = pd.read_parquet(tmp_path / "e.parquet").set_index("gene_id")
    assert list(frame.columns[:2]) == ["component_0", "component_1"]
    np.testing.assert_array_equal(bits(frame.to_numpy()), bits(made.vectors))
    assert frame.index.tolist() == made.genes.tolist()
    archive = np.load(tmp_path / "e.npz", allow_pickle=False)
    assert archive["genes"].tolist() == made.genes.tolist()
    data = anndata.read_h5ad(tmp_path / "e.h5ad")
    assert data.obs_names.tolist() == made.genes.tolist()
    assert json.loads(data.uns["card"]) == CARD


def test_write__same_bytes_twice(tmp_path: Path, made: Vectors) -> None:
    for suffix in sorted({*SUFFIXES} - {".h5ad"}):  # HDF5 writes times
        for folder in ("a", "b"):
            (tmp_path / folder).mkdir(exist_ok=True)
            exchange.write(tmp_path / folder / f"e{suffix}", made)
        assert (tmp_path / "a" / f"e{suffix}").read_bytes() == (tmp_path / "b" / f"e{suffix}").read_bytes()


def test_write__refuses(tmp_path: Path, made: Vectors) -> None:
    spaced = Vectors(np.array(["New York", "b"]), np.eye(2, dtype=np.float32), {})
    for suffix in WORD2VEC:
        with pytest.raises(InputError, match=r"'New York'.*white space.*npz"):
            exchange.write(tmp_path / f"e{suffix}", spaced)
    with pytest.raises(InputError, match=r"unknown extension '\.parket'; did you mean '\.parquet'.*\.h5ad"):
        exchange.write(tmp_path / "e.parket", made)
    with pytest.raises(InputError, match="no folder"):
        exchange.write(tmp_path / "none" / "e.npz", made)
    (tmp_path / "f.npz").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        exchange.write(tmp_path / "f.npz", made)
    assert [p.name for p in tmp_path.iterdir()] == ["f.npz"]


# -- bad files ----------------------------------------------------------------------------------------------

BAD_TEXT = {
    "no header": (b"a 1 2\nb 3 4\n", r"first line.*'rows components'.*b'a 1 2.*GloVe"),
    "no rows": (b"0 2\n", "says 0 rows"),
    "huge header": (b"99999999999 200\na 1\n", r"truncated or damaged"),
    "too many components": (b"2 9999999\na 1\n", r"9999999 values"),
    "fewer rows": (b"3 2\na 1.00 2.00\nb 3.00 4.00\n", r"3 rows of 2 components, the file holds 2 rows"),
    "more rows": (b"1 2\na 1 2\nb 3 4\n", r"1 rows.*2 rows or more"),
    "short row": (b"2 2\na 1 2\nb 3.0000\n", r"a word and 2 numbers.*Row #2"),
    "long row": (b"2 2\na 1 2\nb 3 4 5\n", r"a word and 2 numbers.*Row #2"),
    "cut off": (b"2 2\na 1 2\nb 3 ", r"a word and 2 numbers"),
    "text": (b"2 2\na 1 2\nb x 4\n", r"a word and 2 numbers.*'x'"),
    "NaN": (b"2 2\na 1 2\nb nan 4\n", r"1 vectors hold NaN.*'b' \(row 2\)"),
    "infinite": (b"2 2\na 1 inf\nb 3 4\n", r"'a' \(row 1\)"),
    "too large": (b"2 2\na 1 1e60\nb 3 4\n", r"'a' \(row 1\)"),
    "twice": (b"3 1\na 1\nb 2\na 3\n", r"1 rows repeat a name: 'a'"),
    "no name": (b"2 1\n 1\nb 22\n", r"row 1 has an empty name"),
    "not UTF-8": (b"2 1\na 1\n\xff 2\n", r"UTF8"),
    "web page": (b"\n<!DOCTYPE html><html>", "web page"),
    "empty": (b"", "is empty"),
}


@pytest.mark.parametrize("case", BAD_TEXT)
def test_read__bad_text(tmp_path: Path, case: str) -> None:
    content, message = BAD_TEXT[case]
    file = tmp_path / "bad.txt"
    file.write_bytes(content)
    with pytest.raises(InputError, match=f"(?s){message}"):
        exchange.read(file)


@pytest.mark.parametrize("length", [3, 40, 200, 3000])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_read__truncated_file(tmp_path: Path, made: Vectors, suffix: str, length: int) -> None:
    file = tmp_path / f"e{suffix}"
    exchange.write(file, made)
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(InputError, match=r"e\."):
        exchange.read(file)


def test_read__bad_binary(tmp_path: Path, made: Vectors) -> None:
    file = tmp_path / "e.bin"
    exchange.write(file, made)
    whole = file.read_bytes()
    file.write_bytes(whole + b"more")
    with pytest.raises(InputError, match="4 bytes more"):
        exchange.read(file)
    file.write_bytes(b"1 1\n\xff\xff 1234")
    with pytest.raises(InputError, match="not UTF-8"):
        exchange.read(file)


def test_read__no_file_or_unknown(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No such file.*looked from"):
        exchange.read(tmp_path / "none.txt")
    for name, suffix in (("e.pkl", r"'\.pkl'"), ("e.v2.doc.gz", r"'\.doc\.gz'"), (".gz", "''")):
        with pytest.raises(InputError, match=rf"unknown extension {suffix}.*known: \.txt"):
            exchange.read(tmp_path / name)
    (tmp_path / "d.npz").mkdir()
    with pytest.raises(InputError, match="directory"):
        exchange.read(tmp_path / "d.npz")


def test_read__bad_npz(tmp_path: Path) -> None:
    file = tmp_path / "e.npz"
    np.savez(file, genes=np.array(["a"], dtype=object), vectors=np.eye(1))
    with pytest.raises(InputError, match=r"plain arrays.*pickle"):
        exchange.read(file)
    with file.open("wb") as stream:
        np.save(stream, np.eye(3))  # one plain array under the wrong name
    with pytest.raises(InputError, match="not a whole npz file"):
        exchange.read(file)
    np.savez(file, genes=np.array([["a"]]), vectors=np.eye(1))
    with pytest.raises(InputError, match=r"genes must be a list of texts.*shape \(1, 1\)"):
        exchange.read(file)
    for genes, vectors, message in (
        (np.array(["a", "b"]), np.eye(3), "2 names for 3 vectors"),
        (np.array(["a"]), np.ones(1), "shape"),
        (np.array([1.5]), np.eye(1), "must be a list of texts"),
        (np.zeros(0, dtype="U1"), np.zeros((0, 3)), "0 vectors"),
        (np.array(["a"]), np.zeros((1, 0)), "of 0 components"),
        (np.array(["a"]), np.array([["x"]]), "numbers"),
    ):
        np.savez(file, genes=genes, vectors=vectors)
        with pytest.raises(InputError, match=message):
            exchange.read(file)


def test_read__bad_parquet(tmp_path: Path) -> None:
    file = tmp_path / "e.parquet"
    for columns, message in (
        ({"gene": ["a"], "x": [1.0]}, "needs a column gene_id"),
        ({"gene_id": ["a"], "x": ["1"]}, "column x must hold a number"),
        ({"gene_id": ["a", "b"], "x": [1.0, None]}, "column x must hold a number.*1 nulls"),
        ({"gene_id": ["a", None], "x": [1.0, 2.0]}, "row 2 has an empty name"),
        ({"gene_id": ["a"]}, "0 components"),
    ):
        pq.write_table(pa.table(columns), file)
        with pytest.raises(InputError, match=message):
            exchange.read(file)


def test_read__parquet_of_large_strings(tmp_path: Path) -> None:
    words = pa.array(["a", "b"], pa.large_string())
    pq.write_table(pa.table({"x": [1.0, 2.0], "gene_id": words}), tmp_path / "e.parquet")
    found = exchange.read(tmp_path / "e.parquet")
    assert (found.genes.tolist(), found.vectors.tolist()) == (["a", "b"], [[1], [2]])


@pytest.mark.parametrize("suffix", sorted({*SUFFIXES} - {".h5ad"}))  # HDF5 is h5py's to guard
def test_read__damaged_bytes_are_read_or_refused(tmp_path: Path, made: Vectors, suffix: str) -> None:
    """Whatever a byte becomes: vectors, or one clear message."""
    file = tmp_path / f"e{suffix}"
    exchange.write(file, Vectors(made.genes[:20], made.vectors[:20], CARD))
    whole = file.read_bytes()
    random = np.random.default_rng(4)
    refused = []
    for _ in range(150):
        damaged = bytearray(whole)
        for place in random.integers(0, min(len(whole), random.choice([150, 10**6])), size=3):
            damaged[place] = random.integers(0, 256)
        file.write_bytes(bytes(damaged))
        try:
            assert exchange.read(file).vectors.dtype == np.float32
        except InputError as error:
            refused.append(str(error))
    assert refused
    assert all(str(file) in message for message in refused)


def test_read__float64_is_narrowed(tmp_path: Path) -> None:
    file = tmp_path / "e.npz"
    np.savez(file, genes=np.array(["a", "b"]), vectors=np.array([[0.1], [2]]))
    assert exchange.read(file).vectors.tolist() == np.array([[0.1], [2]], dtype=np.float32).tolist()
    np.savez(file, genes=np.array(["a", "b"]), vectors=np.array([[1.0], [1e60]]))
    with pytest.raises(InputError, match=r"'b' \(row 2\)"):
        exchange.read(file)


def test_read__sparse_h5ad(tmp_path: Path) -> None:
    scipy_sparse = pytest.importorskip("scipy.sparse")
    obs = pd.DataFrame(index=["a", "b"])
    anndata.AnnData(X=scipy_sparse.csr_matrix(np.eye(2, dtype=np.float32)), obs=obs).write_h5ad(tmp_path / "e.h5ad")
    assert exchange.read(tmp_path / "e.h5ad").vectors.tolist() == [[1, 0], [0, 1]]


def test_to_keyedvectors__to_anndata(made: Vectors) -> None:
    keyed = exchange.to_keyedvectors(made)
    assert keyed.index_to_key == made.genes.tolist()
    np.testing.assert_array_equal(bits(keyed.vectors), bits(made.vectors))
    data = exchange.to_anndata(made)
    assert (data.obs_names.tolist(), data.X.dtype) == (made.genes.tolist(), np.float32)
