"""What rows are called: names files, tokens, ids in npz and safetensors; and options that do not fit."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from g2v_dask import exchange
from g2v_dask.errors import InputError
from g2v_dask.exchange import Options, Vectors, words
from tests.data_paths import data

ENGLISH = ["man", "king", "woman", "queen"]
MATRIX = np.random.default_rng(3).normal(size=(4, 3)).astype(np.float32)
TOKENS = {"<pad>": 0, "TP53": 1, "<mask>": 2, "CD3E": 3}
WEIGHT = "bert.embeddings.word_embeddings.weight"


def put(file: Path, content: Any) -> Path:
    """A file of text, JSON or bytes."""
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


def npy(folder: Path, matrix: NDArray[Any] = MATRIX) -> Path:
    np.save(folder / "m.npy", matrix)
    return folder / "m.npy"


def npz(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "m.npz", **arrays)
    return folder / "m.npz"


def tensors(folder: Path, metadata: dict[str, str] | None = None, **arrays: Any) -> Path:
    save_file({name.replace("__", "."): array for name, array in arrays.items()}, folder / "m.safetensors", metadata)
    return folder / "m.safetensors"


def check(found: Vectors, genes: list[str], vectors: NDArray[Any]) -> None:
    assert found.genes.tolist() == genes
    np.testing.assert_array_equal(found.vectors, vectors)


# -- names --------------------------------------------------------------------------------------------------

NAMES = {
    "n.txt": "man\nking\nwoman\nqueen\n",
    "no end.txt": "man\nking\nwoman\nqueen",
    "windows.txt": b"\xef\xbb\xbfman\r\nking\r\nwoman\r\nqueen\r\n",
    "n": "man\nking\nwoman\nqueen\n\n",
    "n.json": ENGLISH,
    "n.txt.gz": gzip.compress(b"man\nking\nwoman\nqueen\n"),
    "n.json.gz": gzip.compress(json.dumps(ENGLISH).encode()),
}


@pytest.mark.parametrize("name", NAMES)
def test_names__files(tmp_path: Path, name: str) -> None:
    names = put(tmp_path / name, NAMES[name])
    check(exchange.read(npy(tmp_path), Options(names=names)), ENGLISH, MATRIX)


def test_names__for_npz_and_safetensors_without_ids(tmp_path: Path) -> None:
    options = Options(names=put(tmp_path / "n.txt", NAMES["n.txt"]), truncate=2)
    check(exchange.read(npz(tmp_path, v=MATRIX), options), ENGLISH[:2], MATRIX[:2])
    check(exchange.read(tensors(tmp_path, v=MATRIX, bias=MATRIX[0]), options), ENGLISH[:2], MATRIX[:2])


def test_names__beside_an_npy(tmp_path: Path) -> None:
    file = npy(tmp_path)
    with pytest.raises(InputError, match=r"4 vectors and no names.*--names FILE.*m\.names\.txt.*--tokens FILE"):
        exchange.read(file)
    put(tmp_path / "m.names.txt", NAMES["n.txt"])
    check(exchange.read(file), ENGLISH, MATRIX)
    other = put(tmp_path / "other.json", ["a", "b", "c", "d"])
    assert exchange.read(file, Options(names=other)).genes.tolist() == ["a", "b", "c", "d"]


BAD_NAMES = {
    "fewer": ("n.txt", "man\nking\n", r"n\.txt holds 2 names for the 4 vectors of .*m\.npy"),
    "more": ("n.json", [*ENGLISH, "prince"], r"5 names for the 4 vectors"),
    "twice": ("n.txt", "man\nking\nman\nqueen\n", r"1 rows repeat a name: 'man'"),
    "empty": ("n.txt", "man\n\nwoman\nqueen\n", r"row 2 has an empty name"),
    "object": ("n.json", {"man": 1}, r"JSON list of texts, one word a row; found a dictionary"),
    "numbers": ("n.json", [1, 2, 3, 4], r"JSON list of texts"),
    "no JSON": ("n.json", "man\nking", r"must be JSON.*begins with 'man"),
    "bytes": ("n.txt", b"\xff\xfe", r"UTF-8"),
    "nothing": ("n.txt", b"", r"n\.txt is empty"),
    "damaged": ("n.txt.gz", gzip.compress(b"man\n")[:-9], r"damaged gzip"),
}


@pytest.mark.parametrize("case", BAD_NAMES)
def test_names__bad(tmp_path: Path, case: str) -> None:
    name, content, message = BAD_NAMES[case]
    with pytest.raises(InputError, match=message):
        exchange.read(npy(tmp_path), Options(names=put(tmp_path / name, content)))


def test_names__missing_file_and_names_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*none\.txt: No such file"):
        exchange.read(npy(tmp_path), Options(names=tmp_path / "none.txt"))
    names = put(tmp_path / "n.txt", NAMES["n.txt"])
    own = Vectors(np.array(ENGLISH), MATRIX, {})
    for suffix in (".npz", ".safetensors"):
        exchange.write(tmp_path / f"o{suffix}", own)
        with pytest.raises(InputError, match="names its rows itself; leave --names out"):
            exchange.read(tmp_path / f"o{suffix}", Options(names=names))


def test_write__names_that_a_line_cannot_hold(tmp_path: Path) -> None:
    for word in ("a\nb", "a\r", ""):
        with pytest.raises(InputError, match="names file cannot hold the word"):
            exchange.write(tmp_path / "e.npy", Vectors(np.array([word, "x"]), MATRIX[:2], {}))
    assert list(tmp_path.iterdir()) == []


# -- npz ----------------------------------------------------------------------------------------------------


def test_npz__vectors_by_ensembl_id(tmp_path: Path) -> None:
    ids = np.array([f"ENSG0000000000{i}" for i in range(4)])
    found = exchange.read(npz(tmp_path, embeddings=MATRIX.astype(np.float64), ids=ids, dimension=np.array(3)))
    check(found, ids.tolist(), MATRIX)


def test_npz__refuses(tmp_path: Path) -> None:
    ids = np.array(ENGLISH)
    for arrays, message in (
        ({"a": MATRIX, "b": MATRIX, "ids": ids}, r"one table of floats.*holds a \(4, 3\) of float32, b .*ids \(4,\)"),
        ({"a": MATRIX, "ids": ids, "tokens": np.arange(4)}, r"one list of texts or tokens"),
        ({"ids": ids}, r"needs arrays genes and vectors"),
        ({"a": MATRIX, "ids": ids[:3]}, r"3 names for 4 vectors"),
        ({"a": MATRIX, "ids": ids.astype(object)}, r"plain arrays.*astype\(str\)"),
        ({"a": MATRIX, "ids": np.array([5, 7, 11, 13])}, r"whole numbers \(5, 7, 11, 13\).*--tokens FILE.*Entrez"),
        ({"a": MATRIX}, r"4 vectors and no names"),
        ({"a": np.where(MATRIX == MATRIX[1, 1], np.nan, MATRIX), "ids": ids}, r"NaN.*'king' \(row 2\)"),
    ):
        with pytest.raises(InputError, match=message):
            exchange.read(npz(tmp_path, **arrays))


# -- tokens -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [TOKENS, {str(v): k for k, v in TOKENS.items()}], ids=["by gene", "by token"])
@pytest.mark.parametrize("kind", ["npy", "npz", "safetensors"])
def test_tokens__row_i_is_token_i(tmp_path: Path, kind: str, tokens: dict[str, Any]) -> None:
    file = {
        "npy": lambda: npy(tmp_path),
        "npz": lambda: npz(tmp_path, weights=MATRIX),
        "safetensors": lambda: tensors(tmp_path, **{WEIGHT: MATRIX}),
    }[kind]()
    put(tmp_path / "m.names.txt", NAMES["n.txt"])  # what is asked for goes before what lies about
    options = Options(tokens=put(tmp_path / "t.json", tokens))
    found = exchange.read(file, options)
    check(found, ["TP53", "CD3E"], MATRIX[[1, 3]])
    assert found.special == ("<pad>", "<mask>")
    first = exchange.read(file, Options(tokens=options.tokens, truncate=1))
    check(first, ["TP53"], MATRIX[[1]])


def test_tokens__ids_are_tokens(tmp_path: Path) -> None:
    tokens = put(tmp_path / "t.json.gz", gzip.compress(json.dumps(TOKENS | {"CD4": 90}).encode()))
    found = exchange.read(npz(tmp_path, vectors=MATRIX[:3], ids=np.array([3, 0, 90])), Options(tokens=tokens))
    check(found, ["CD3E", "CD4"], MATRIX[[0, 2]])
    assert found.special == ("<pad>",)


def test_tokens__real_dictionary(tmp_path: Path) -> None:
    source = data("geneformer", "token_dictionary.pkl")
    tokens = words.read_tokens(source, trust_pickle=True)
    matrix = np.random.default_rng(0).normal(size=(len(tokens), 4)).astype(np.float32)
    found = exchange.read(npy(tmp_path, matrix), Options(tokens=source, trust_pickle=True))
    assert (found.special, len(found.genes)) == (("<pad>", "<mask>"), 25_424)
    row = next(token for token, gene in tokens.items() if gene == "ENSG00000141510")
    np.testing.assert_array_equal(found.vectors[found.genes.tolist().index("ENSG00000141510")], matrix[row])
    with pytest.raises(InputError, match="is a Python pickle"):
        exchange.read(npy(tmp_path, matrix), Options(tokens=source))


def test_tokens__medians_are_no_tokens(tmp_path: Path) -> None:
    source = data("geneformer", "gene_median_dictionary.pkl")
    with pytest.raises(InputError, match=r"must give each gene its token.*'ENSG00000000003'.*a text and a number"):
        exchange.read(npy(tmp_path), Options(tokens=source, trust_pickle=True))


BAD_TOKENS = {
    "beyond": ({**TOKENS, "CD4": 9, "CD8A": 7}, r"2 tokens are beyond the 4 rows of .*first 7 \('CD8A'\)"),
    "without gene": ({"TP53": 0, "CD3E": 2}, r"2 of the 4 rows of .*a token without gene: 1, 3"),
    "same token": ({"TP53": 0, "CD3E": 0}, r"'TP53' and 'CD3E' have the same token 0"),
    "gene twice": ('{"TP53": 0, "TP53": 1}', r"the key 'TP53' is there twice"),
    "gene twice, by token": ({"0": "A", "1": "A", "2": "B", "3": "C"}, r"1 rows repeat a name: 'A'"),
    "negative": ({"TP53": -1}, r"'TP53' has the token -1"),
    "floats": ({"TP53": 0.5}, r"'TP53': 0.5, of a text and a number"),
    "truth": ({"TP53": True}, r"must give each gene its token"),
    "neither": ({"TP53": "p53"}, r"must give each gene its token"),
    "both ways": ({"1": "7157"}, r"must give each gene its token"),
    "list": (["TP53"], r"must hold a dictionary of genes and tokens, found a list"),
    "empty": ({}, r"must hold a dictionary"),
    "no JSON": ("TP53 1", r"must be JSON"),
    "deep": ("[" * 100_000, r"must be JSON"),
}


@pytest.mark.parametrize("case", BAD_TOKENS)
def test_tokens__bad(tmp_path: Path, case: str) -> None:
    content, message = BAD_TOKENS[case]
    with pytest.raises(InputError, match=message):
        exchange.read(npy(tmp_path), Options(tokens=put(tmp_path / "t.json", content)))


def test_tokens__of_rows_with_words(tmp_path: Path) -> None:
    tokens = put(tmp_path / "t.json", TOKENS)
    with pytest.raises(InputError, match=r"names its rows by texts \('man'\), not tokens; leave --tokens out"):
        exchange.read(npz(tmp_path, v=MATRIX, ids=np.array(ENGLISH)), Options(tokens=tokens))


# -- safetensors --------------------------------------------------------------------------------------------


def test_safetensors__the_library_reads_what_is_written(tmp_path: Path) -> None:
    exchange.write(tmp_path / "e.safetensors", Vectors(np.array(ENGLISH), MATRIX, {}))
    np.testing.assert_array_equal(load_file(tmp_path / "e.safetensors")["vectors"], MATRIX)


def test_safetensors__what_the_library_writes(tmp_path: Path) -> None:
    file = tensors(tmp_path, {"genes": json.dumps(ENGLISH)}, v=MATRIX.astype(np.float16))
    check(exchange.read(file), ENGLISH, MATRIX.astype(np.float16))


def test_safetensors__chooses(tmp_path: Path) -> None:
    file = tensors(tmp_path, **{WEIGHT: MATRIX, "head.weight": MATRIX * 2, "head.bias": MATRIX[0]})
    names = put(tmp_path / "n.json", ENGLISH)
    check(exchange.read(file, Options(names=names, tensor=WEIGHT)), ENGLISH, MATRIX)
    with pytest.raises(InputError, match=rf"say by --tensor which one; tables are {WEIGHT} 4×3, head\.weight 4×3"):
        exchange.read(file, Options(names=names))
    with pytest.raises(InputError, match=r"no tensor is named 'head\.wight'; did you mean 'head\.weight'.*tables are"):
        exchange.read(file, Options(names=names, tensor="head.wight"))
    with pytest.raises(InputError, match=r"shape \(3,\)"):
        exchange.read(file, Options(names=names, tensor="head.bias"))


def test_safetensors__refuses(tmp_path: Path) -> None:
    names = Options(names=put(tmp_path / "n.json", ENGLISH))
    with pytest.raises(InputError, match=r"no tensor is a table of vectors; it holds bias"):
        exchange.read(tensors(tmp_path, bias=MATRIX[0]), names)
    with pytest.raises(InputError, match=r"and 18 more"):
        exchange.read(tensors(tmp_path, **{f"t{i:02d}": MATRIX for i in range(30)}), names)
    for genes in ("man king", '{"man": 1}', "[1, 2]"):
        with pytest.raises(InputError, match="genes in its metadata must be a JSON list of texts"):
            exchange.read(tensors(tmp_path, {"genes": genes}, v=MATRIX))
    header = json.dumps({"v": {"dtype": "BF16", "shape": [1, 2], "data_offsets": [0, 4]}}).encode()
    brain = put(tmp_path / "b.safetensors", len(header).to_bytes(8, "little") + header + b"\0\0\x80\x3f")
    with pytest.raises(InputError, match=r"tensor v cannot be read.*bfloat16.*save it as float32"):
        exchange.read(brain)


# -- options ------------------------------------------------------------------------------------------------


def test_settle__options_that_do_not_fit(tmp_path: Path) -> None:
    some = put(tmp_path / "n.txt", "x")
    for name, options, message in (
        ("e.csv", Options(tensor="t"), r"--tensor is of no use to \.csv files.*but to \.safetensors"),
        ("e.npy", Options(tensor="t"), r"--tensor is of no use to \.npy"),
        ("e.txt", Options(names=some), r"--names is of no use to \.txt files.*\.npy, \.npz, \.safetensors"),
        ("e.h5ad", Options(tokens=some), r"--tokens is of no use to \.h5ad"),
        ("e.npy", Options(names=some, tokens=some), r"--names and --tokens both say.*give one"),
        ("e.npy", Options(names=some, trust_pickle=True), r"--trust-pickle speaks of the file of --tokens"),
    ):
        with pytest.raises(InputError, match=message):
            exchange.settle(tmp_path / name, options)
