"""h5ad files as anndata writes them: dense, csr, csc, layers, raw, groups."""

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from g2v_dask.errors import InputError
from g2v_dask.readers import formats, h5ad
from g2v_dask.spec import IngestSpec

COUNTS = np.random.default_rng(5).poisson(0.7, size=(20, 12)).astype(np.float32)
GROUPS = ["T cell", "B cell", None, "NK"] * 5


def made(path, matrix, **more):
    """An h5ad with groups in obs and Ensembl ids in var."""
    obs = pd.DataFrame(
        {"kind": pd.Categorical(GROUPS), "text": [str(g) for g in GROUPS], "n": range(20)},
        index=[f"cell{k}" for k in range(20)],
    )
    var = pd.DataFrame({"gene_ids": [f"ENSG{k:011d}" for k in range(12)]}, index=[f"GENE{k}" for k in range(12)])
    data = ad.AnnData(X=matrix, obs=obs, var=var)
    for name, layer in more.items():
        data.layers[name] = layer
    data.raw = data
    data.write_h5ad(path)
    return path


@pytest.mark.parametrize("kind", ["dense", "csr", "csc", "int"])
def test_read__matrices(tmp_path, kind, monkeypatch):
    matrix = {
        "dense": COUNTS,
        "csr": sp.csr_matrix(COUNTS),
        "csc": sp.csc_matrix(COUNTS),
        "int": COUNTS.astype(np.int32),
    }[kind]
    path = made(tmp_path / "x.h5ad", matrix)
    monkeypatch.setattr(h5ad, "CHUNK", 30)
    (source,) = formats.scan(path, IngestSpec(files=("x",)))
    assert (source.format, source.name, source.n_samples) == ("h5ad", "x", 20)
    (block,) = formats.read(source)
    np.testing.assert_array_equal(block.values, COUNTS.T)
    assert block.values.T.flags.c_contiguous
    assert block.ids["symbol"][3] == "GENE3"
    assert block.ids["ensembl"][3] == "ENSG00000000003"
    for group in formats.scan(path, IngestSpec(files=("x",), group_by="kind")):
        (part,) = formats.read(group)
        where = [k for k, g in enumerate(GROUPS) if g == group.group]
        np.testing.assert_array_equal(part.values, COUNTS[where].T)
        assert group.left_out == 5


def test_scan__groups(tmp_path):
    path = made(tmp_path / "x.h5ad", COUNTS)
    names = [s.name for s in formats.scan(path, IngestSpec(files=("x",), group_by="kind"))]
    assert names == ["B_cell", "NK", "T_cell"]
    text = formats.scan(path, IngestSpec(files=("x",), group_by="text"))
    assert [s.title for s in text] == ["B cell", "NK", "T cell"]  # the text None is missing too
    table = tmp_path / "t.tsv"
    table.write_text("cell\tg\n" + "".join(f"cell{k}\t{k % 2}\n" for k in range(20)))
    by_table = formats.scan(path, IngestSpec(files=("x",), samples=str(table), group_by="g"))
    assert [s.n_samples for s in by_table] == [10, 10]
    with pytest.raises(InputError, match="no obs column 'kinds'; did you mean 'kind'"):
        formats.scan(path, IngestSpec(files=("x",), group_by="kinds"))


def test_read__layers(tmp_path):
    path = made(tmp_path / "x.h5ad", COUNTS, twice=sp.csr_matrix(COUNTS * 2))
    for layer, factor in (("twice", 2), ("raw", 1)):
        (source,) = formats.scan(path, IngestSpec(files=("x",), layer=layer))
        (block,) = formats.read(source)
        np.testing.assert_array_equal(block.values, COUNTS.T * factor)
    with pytest.raises(InputError, match="no layer 'twise'; did you mean 'twice'.*found twice, raw"):
        formats.scan(path, IngestSpec(files=("x",), layer="twise"))


def test_read__infinite_value_is_named(tmp_path):
    bad = COUNTS.copy()
    bad[4, 7] = np.inf
    (source,) = formats.scan(made(tmp_path / "x.h5ad", bad), IngestSpec(files=("x",)))
    with pytest.raises(InputError, match="sample 'cell4', gene 'GENE7'.*finite"):
        list(formats.read(source))


def test_scan__bad_files(tmp_path):
    path = tmp_path / "x.h5ad"
    with h5py.File(path, "w") as file:
        file["a"] = 1
    with pytest.raises(InputError, match="no h5ad: it has no obs; found a"):
        formats.scan(path, IngestSpec(files=("x",)))
    made(path, COUNTS)
    with h5py.File(path, "a") as file:
        del file["X"]
    with pytest.raises(InputError, match="expected a dense or sparse"):
        formats.scan(path, IngestSpec(files=("x",)))
    whole = made(path, COUNTS).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="not a readable HDF5"):
        formats.scan(path, IngestSpec(files=("x",)))


def test_scan__duplicated_samples(tmp_path):
    with pytest.warns(UserWarning, match="not unique"):
        data = ad.AnnData(X=COUNTS[:2], obs=pd.DataFrame(index=["a", "a"]))
    data.write_h5ad(tmp_path / "x.h5ad")
    with pytest.raises(InputError, match="duplicated sample id 'a'"):
        formats.scan(tmp_path / "x.h5ad", IngestSpec(files=("x",)))
