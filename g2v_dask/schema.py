"""Every array and table on disk: its name, dimensions, type, unit, missing value, and one line of doc."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from g2v_dask.errors import StoreError

FORMAT_VERSION = 1  # of the store; raised when an older reader could misread it
KINDS = ("expression", "pairs", "cooccurrence", "embeddings", "index", "answers", "groups", "maps", "evaluations")


@dataclass(frozen=True, kw_only=True)
class Variable:
    """One array of a Zarr group."""

    name: str
    dims: tuple[str, ...]
    dtypes: tuple[str, ...]  # the ones allowed; the first is usual
    doc: str
    unit: str = ""
    missing: str = "none"
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Group:
    """The arrays of one kind of artifact, and the version of their layout."""

    kind: str
    version: int
    variables: tuple[Variable, ...]

    def variable(self, name: str) -> Variable:
        """The variable of that name."""
        return next(v for v in self.variables if v.name == name)

    def attributes(self) -> dict[str, Any]:
        """What the group says of itself on disk."""
        return {"encoding_type": f"g2v.{self.kind}", "encoding_version": self.version}


EXPRESSION = Group(
    kind="expression",
    version=1,
    variables=(
        Variable(
            name="expression",
            dims=("sample", "gene"),
            dtypes=("float32",),
            unit="log2, quantile normalised",
            doc="expression of one dataset; of counts log2(CPM + 1)",
        ),
        Variable(
            name="counts",
            dims=("sample", "gene"),
            dtypes=("int32", "float64"),
            unit="reads",
            optional=True,
            doc="read counts as they came, rows of one gene summed; float64 where they are estimates",
        ),
        Variable(name="sample_id", dims=("sample",), dtypes=("string",), doc="sample ids of the source"),
        Variable(name="gene_id", dims=("gene",), dtypes=("string",), doc="gene ids, sorted"),
        Variable(
            name="constant",
            dims=("gene",),
            dtypes=("bool",),
            doc="true where the gene did not vary before quantile normalisation; it takes no part in pairs",
        ),
        Variable(
            name="expressed",
            dims=("gene",),
            dtypes=("int32",),
            unit="samples",
            optional=True,
            doc="in how many samples the gene has CPM >= 1; of count data",
        ),
    ),
)

COOCCURRENCE = Group(
    kind="cooccurrence",
    version=1,
    variables=(
        Variable(
            name="value",
            dims=("gene_row", "gene_col"),
            dtypes=("uint32", "float64"),
            unit="datasets (from pairs); squared reads (from samples)",
            doc="from pairs: in how many datasets two genes are a pair; from samples: the sum over samples of the "
            "product of their counts, on the diagonal (sum of squares - sum) / 2; upper triangle of tiles, "
            "diagonal tiles full",
        ),
        Variable(name="gene_id_row", dims=("gene_row",), dtypes=("string",), doc="gene ids, sorted"),
        Variable(name="gene_id_col", dims=("gene_col",), dtypes=("string",), doc="the same ids"),
    ),
)

EMBEDDINGS = Group(
    kind="embeddings",
    version=1,
    variables=(
        Variable(name="vector", dims=("gene", "component"), dtypes=("float32",), doc="one row a gene, as trained"),
        Variable(name="gene_id", dims=("gene",), dtypes=("string",), doc="gene ids: count descending, then id"),
        Variable(
            name="description",
            dims=("gene",),
            dtypes=("string",),
            optional=True,
            doc="what each gene is, in words, as given at import; empty where nothing was",
        ),
    ),
)

GROUPS: Mapping[str, Group] = {g.kind: g for g in (EXPRESSION, COOCCURRENCE, EMBEDDINGS)}

PAIRS = pa.schema(
    [
        pa.field("gene_a", pa.string(), nullable=False),
        pa.field("gene_b", pa.string(), nullable=False),
        pa.field("r", pa.float64(), nullable=False),
    ],
    metadata={
        "encoding_type": "g2v.pairs",
        "encoding_version": "1",
        "doc": "Pearson r of two genes of one dataset; gene_a < gene_b; sorted by (gene_a, gene_b)",
    },
)

INDEX_GENES = pa.schema(
    [pa.field("gene_id", pa.string(), nullable=False)],
    metadata={
        "encoding_type": "g2v.index",
        "encoding_version": "1",
        "doc": "row i is the gene of vector i, counted through the shards in their order",
    },
)

ANALOGIES = pa.schema(
    [
        pa.field("rank", pa.int32(), nullable=False),
        *(pa.field(f"gene_{letter}", pa.string(), nullable=False) for letter in "abcd"),
        pa.field("score", pa.float64(), nullable=False),
    ],
    metadata={
        "encoding_type": "g2v.analogies",
        "encoding_version": "1",
        "doc": "a - b is to c - d (of sums +); rank from 1 within a question; of a batch, a and b are asked",
    },
)

NEAR_PAIRS = pa.schema(
    [
        pa.field("rank", pa.int32(), nullable=False),
        pa.field("gene_a", pa.string(), nullable=False),
        pa.field("gene_b", pa.string(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
    ],
    metadata={
        "encoding_type": "g2v.near_pairs",
        "encoding_version": "1",
        "doc": "the pairs of largest cosine; gene_a < gene_b; rank from 1",
    },
)


GROUP_MEMBERS = pa.schema(
    [
        pa.field("gene_id", pa.string(), nullable=False),
        pa.field("group", pa.int32(), nullable=False),
        pa.field("cosine", pa.float64(), nullable=False),
    ],
    metadata={
        "encoding_type": "g2v.groups",
        "encoding_version": "1",
        "doc": "the group of each gene, from 1, the largest first, and the cosine of its vector and its group's mean; "
        "sorted by group, then cosine descending, then gene id",
    },
)

MAP_PLACES = pa.schema(
    [
        pa.field("gene_id", pa.string(), nullable=False),
        pa.field("x", pa.float64(), nullable=False),
        pa.field("y", pa.float64(), nullable=False),
    ],
    metadata={
        "encoding_type": "g2v.maps",
        "encoding_version": "1",
        "doc": "the place of each gene on a map of the embedding, in the embedding's order",
    },
)


EVALUATION = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in ("task", "on", "model", "metric")),
        *(pa.field(name, pa.float64(), nullable=False) for name in ("value", "low", "high")),
        pa.field("baseline", pa.string(), nullable=False),
        pa.field("genes", pa.int64(), nullable=False),
        pa.field("coverage", pa.float64(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("embedding", pa.string(), nullable=False),
    ],
    metadata={
        "encoding_type": "g2v.evaluations",
        "encoding_version": "1",
        "doc": "one figure a row; low and high: 95 % interval, of the overlaps of stability the 5 % to 95 % of genes, "
        "NaN where there is none; baseline: empty for the embedding, else 'baseline', or 'transductive' for what reads "
        "the list it is scored on; genes of the embedding that took part, coverage the share of the task's genes; "
        "embedding: digest of the artifact",
    },
)


def validate(kind: str, arrays: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
    """Checks that the arrays of a group are what this version of the package knows.

    Raises: StoreError for another type or version, a missing array, other dimensions or another type.
    """
    group = GROUPS[kind]
    encoding, version = attributes.get("encoding_type"), attributes.get("encoding_version")
    if encoding != f"g2v.{kind}":
        msg = f"expected a group of type g2v.{kind}, found {encoding!r}"
        raise StoreError(msg)
    if version != group.version:
        msg = (
            f"this {kind} has layout version {version}; this package reads version {group.version}. "
            f"Install a g2v_dask that knows version {version}, or make it again."
        )
        raise StoreError(msg)
    for variable in group.variables:
        array = arrays.get(variable.name)
        if array is None:
            if variable.optional:
                continue
            msg = f"{kind}: array {variable.name!r} is missing; run 'g2v rm' on it and make it again"
            raise StoreError(msg)
        dims = tuple(array.metadata.dimension_names or ())
        if dims != variable.dims:
            msg = f"{kind}: array {variable.name!r} has dimensions {dims}, expected {variable.dims}"
            raise StoreError(msg)
        dtype = "string" if array.dtype.kind == "T" else str(array.dtype)
        if dtype not in variable.dtypes:
            msg = f"{kind}: array {variable.name!r} is {dtype}, expected {' or '.join(variable.dtypes)}"
            raise StoreError(msg)
