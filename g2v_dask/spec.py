"""What a run is asked to do: one frozen dataclass of options a stage, read from TOML, Python or the command line."""

from __future__ import annotations

import dataclasses
import glob
import tomllib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g2v_dask.cluster_spec import ClusterSpec as ClusterSpec
from g2v_dask.errors import SpecError
from g2v_dask.evaluate_spec import EvaluateSpec as EvaluateSpec
from g2v_dask.geo_spec import GateSpec, GeoSpec
from g2v_dask.options import Json, Role, Spec, nearest, option, under


@dataclass(frozen=True, kw_only=True)
class IngestSpec(Spec):
    """Expression files → ``expression/<dataset>``."""

    files: tuple[str, ...] = option("files, glob patterns or s3:// URLs: series matrix, GCT, table, h5ad", path=True)
    platforms: str | None = option("folder of platform tables, GPLxxx.tsv[.gz] or GEO's own", None, path=True)
    platform: str | None = option("platform (GPLxxx) of files that do not name one", None)
    genes: str | None = option("gene table, ours or NCBI's gene_info [bundled human genes]", None, path=True)
    samples: str | None = option("sample table that splits a GCT or h5ad into datasets", None, path=True)
    group_by: str | None = option("column of the sample table, or of h5ad's obs, that names the group", None)
    name_prefix: str = option("text put before the name of every dataset", "")
    min_samples: int = option("datasets with fewer samples are quarantined", 30, role="limit", low=3)
    scale: str = option(
        "what the values are, where detection is not wanted",
        "auto",
        role="identity",
        choices=("auto", "counts", "log2", "linear"),
        flags=True,
    )
    samples_in_rows: bool = option("tables hold samples in rows and genes in columns", False, role="identity")  # noqa: FBT003
    layer: str | None = option("layer of h5ad files to read instead of X", None, role="identity")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.files:
            msg = "ingest: files must name at least one file"
            raise SpecError(msg)
        if self.samples is not None and self.group_by is None:
            msg = "ingest: samples needs group-by, the column whose values name the datasets"
            raise SpecError(msg)
        if "/" in self.name_prefix or ".." in self.name_prefix:
            msg = f"ingest: name-prefix must not hold '/' or '..', got {self.name_prefix!r}"
            raise SpecError(msg)


@dataclass(frozen=True, kw_only=True)
class PairsSpec(Spec):
    """``expression/<dataset>`` → ``pairs/<dataset>``."""

    threshold: float | None = option(
        "pairs with Pearson r at or over this [0.9]", None, role="identity", low=-1.0, high=1.0
    )
    top_k: int | None = option("instead: this many best partners of each gene", None, role="identity", low=1)
    top_k_rule: str = option(
        "a pair counts if either gene lists the other (union), or both do (mutual)",
        "union",
        role="identity",
        choices=("union", "mutual"),
    )
    min_expressed: float | None = option(
        "counts: genes with CPM ≥ 1 in a smaller share of samples take no part [0.2; 0.02 in single cells]",
        None,
        role="identity",
        low=0.0,
        high=1.0,
    )
    max_pairs: int = option("a dataset with more pairs is quarantined", 20_000_000, role="limit", low=1)
    datasets: tuple[str, ...] | None = option("only these datasets", None)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold is not None and self.top_k is not None:
            msg = "pairs: threshold and top-k exclude each other; give one"
            raise SpecError(msg)
        if self.top_k is None:
            object.__setattr__(self, "top_k_rule", "union")
            if self.threshold is None:
                object.__setattr__(self, "threshold", 0.9)


@dataclass(frozen=True, kw_only=True)
class MergeSpec(Spec):
    """``pairs/*`` → ``cooccurrence/<name>``."""

    name: str = option("name of the co-occurrence matrix", "all", names=True)
    datasets: tuple[str, ...] | None = option("only the pairs of these datasets", None)


@dataclass(frozen=True, kw_only=True)
class CooccurSpec(Spec):
    """``expression/*`` → ``cooccurrence/<name>``: samples as documents, genes as terms."""

    name: str = option("name of the co-occurrence matrix", names=True)
    datasets: tuple[str, ...] | None = option("only these datasets; their sums add up", None)
    weights: str = option(
        "what a gene counts in a sample: its reads, log(1 + reads), or reads per million",
        "raw",
        role="identity",
        choices=("raw", "log1p", "cpm"),
    )
    min_samples_expressed: int = option(
        "genes with a read in fewer samples, of all datasets together, are left out", 1, role="identity", low=1
    )


IDLE = {"als": ("learning_rate",), "adagrad": ("init", "ridge", "tolerance")}  # of GloVe, by optimizer
METHODS: Mapping[str, Mapping[str, Any]] = {  # and the defaults in which they differ
    "skipgram": {"components": 200, "iterations": 9, "learning_rate": 0.025},
    "svd": {"components": 200, "iterations": 1, "learning_rate": 1.0},
    "glove": {"components": 100, "iterations": 50, "learning_rate": 0.05},
}


@dataclass(frozen=True, kw_only=True)
class TrainSpec(Spec):
    """``cooccurrence/<from>`` → ``embeddings/<name>``."""

    source: str | None = option("co-occurrence matrix to train on", None, key="from")
    name: str = option("name of the embedding", "genes", names=True)
    method: str = option("trainer", "skipgram", role="identity", choices=tuple(METHODS))
    components: int = option("length of a gene's vector [200; glove: 100]", None, role="identity", low=1)
    min_datasets: int = option(
        "cells seen in fewer datasets are read as 0; of co-occurrence from pairs", 1, role="identity", low=1
    )
    seed: int = option("seed of every random choice; glove by als from the SVD makes none", 1, role="identity", low=0)
    iterations: int = option(
        "passes over all pairs [9]; glove: most passes [50]", None, role="identity", low=1, only="skipgram glove"
    )
    schedule: str = option(
        "learning rate: falls over all iterations, or starts anew in each (published code)",
        "continuous",
        role="identity",
        choices=("continuous", "restart"),
        only="skipgram",
    )
    learning_rate: float = option(
        "learning rate at the start [0.025; glove with adagrad: 0.05]",
        None,
        role="identity",
        low=1e-6,
        only="skipgram glove",
    )
    min_count: int = option(
        "genes in fewer pairs get no vector (5: paper; 1: published code)",
        5,
        role="identity",
        low=1,
        only="skipgram",
    )
    negative: int = option("negative samples a pair", 5, role="identity", low=1, only="skipgram")
    sample: float = option(
        "down-sampling threshold of frequent genes; 0 keeps all",
        1e-3,
        role="identity",
        low=0.0,
        high=1.0,
        only="skipgram",
    )
    workers: int = option(
        "gensim threads; with more than 1 a run cannot be repeated to the byte",
        1,
        role="identity",
        low=1,
        only="skipgram",
    )
    shift: float = option(
        "k of the shifted positive PMI, log k is taken off", 1.0, role="identity", low=1e-6, only="svd"
    )
    smoothing: float = option(
        "of the PMI: a gene counts as the other of a pair by its count to this power; 0.75 lowers rare genes",
        1.0,
        role="identity",
        low=0.0,
        high=1.0,
        only="svd",
    )
    power: float = option(
        "exponent of the singular values in the vectors", 0.5, role="identity", low=0.0, high=1.0, only="svd"
    )
    x_max: float = option("cells of at least this weigh 1", 100.0, role="identity", low=1e-6, only="glove")
    alpha: float = option("smaller cells weigh (x / x-max)^alpha", 0.75, role="identity", low=0.0, only="glove")
    triangle: str = option(
        "entries: both directions of a cell (GloVe), or i ≤ j only (text2vec)",
        "both",
        role="identity",
        choices=("both", "upper"),
        only="glove",
    )
    vectors: str = option(
        "a gene's vector: the sum of its two (GloVe), or the first (exp2vec)",
        "sum",
        role="identity",
        choices=("sum", "main"),
        only="glove",
    )
    optimizer: str = option(
        "alternating least squares, or the published one cell after another",
        "als",
        role="identity",
        choices=("als", "adagrad"),
        only="glove",
    )
    init: str = option(
        "als starts from the truncated SVD of log x less its biases, or from random vectors",
        "svd",
        role="identity",
        choices=("svd", "random"),
        only="glove",
    )
    ridge: float = option(
        "als: penalty of a vector's square, a unit of weight", 1e-4, role="identity", low=0.0, only="glove"
    )
    tolerance: float = option(
        "als ends when a pass changes the loss by a smaller share", 1e-2, role="identity", low=0.0, only="glove"
    )
    checkpoint: int = option("passes between two checkpoints, where one part makes many", 5, low=1, only="glove")

    def __post_init__(self) -> None:
        for name, value in METHODS.get(self.method, {}).items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        super().__post_init__()

    def select(self, role: Role) -> dict[str, Json]:
        """As of every spec; without what GloVe's other optimizer is told, and without a smoothing that is none.

        The latter came later: what was made before it keeps its digest.
        """
        idle = IDLE[self.optimizer] if self.method == "glove" else ("smoothing",) if self.smoothing == 1.0 else ()
        return {key: value for key, value in super().select(role).items() if key not in idle}


@dataclass(frozen=True, kw_only=True)
class ProfileSpec(Spec):
    """``expression/*`` → ``embeddings/<name>``: of each dataset three components, no training."""

    name: str = option("name of the embedding", "profile", names=True)
    datasets: tuple[str, ...] | None = option("only these datasets", None)


@dataclass(frozen=True, kw_only=True)
class CombineSpec(Spec):
    """Several of ``embeddings/*`` → ``embeddings/<name>``."""

    embeddings: tuple[str, ...] = option("embeddings, side by side in this order", role="identity")
    name: str = option("name of the new embedding", names=True)
    components: int | None = option(
        "length of a gene's vector, by the truncated SVD of all side by side [all of them]",
        None,
        role="identity",
        low=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.embeddings)) < max(2, len(self.embeddings)):
            msg = f"combine: expected two or more different embeddings, got {', '.join(self.embeddings) or 'none'}"
            raise SpecError(msg)
        if self.name in self.embeddings:
            msg = f"combine: the new embedding must not be called as one that it is made of, {self.name!r}"
            raise SpecError(msg)


@dataclass(frozen=True, kw_only=True)
class IndexSpec(Spec):
    """``embeddings/<name>`` → ``index/<name>``."""

    name: str | None = option("embedding to index", None)
    shard_rows: int = option("genes in one FAISS shard", 65_536, role="identity", low=1)
    norms: bool = option(
        "also 1 / length of all differences (2 · genes² bytes): pair analogies take a tenth of a second",
        False,  # noqa: FBT003
        role="identity",
    )


@dataclass(frozen=True, kw_only=True)
class KmeansSpec(Spec):
    """``embeddings/<name>`` → ``groups/<to>``."""

    name: str | None = option("embedding to group [the only one]", None)
    to: str | None = option("name of the groups [that of the embedding]", None)
    k: int = option("groups to make", 15, role="identity", low=1)
    unit: bool = option("normalise the vectors first, so that groups go by cosine", False, role="identity")  # noqa: FBT003
    seed: int = option("seed of the first centres", 1, role="identity", low=0)


@dataclass(frozen=True, kw_only=True)
class MapSpec(Spec):
    """``embeddings/<name>`` → ``maps/<to>``."""

    name: str | None = option("embedding to map [the only one]", None)
    to: str | None = option("name of the map [that of the embedding]", None)
    method: str = option("how", "tsne", role="identity", choices=("tsne", "umap", "pca"))
    pca: int = option("components that PCA leaves before; 0: all", 50, role="identity", low=0, only="tsne umap")
    perplexity: float = option("neighbours a gene looks at, more or less", 30.0, role="identity", low=1.0, only="tsne")
    learning_rate: float | None = option(
        "learning rate [genes / 12 while exaggerated, then genes]; 200 is the paper's",
        None,
        role="identity",
        low=1e-3,
        only="tsne",
    )
    iterations: int = option("iterations after 250 of early exaggeration", 500, role="identity", low=1, only="tsne")
    neighbours: int = option("neighbours a gene is joined to", 15, role="identity", low=2, only="umap")
    min_dist: float = option(
        "least distance of two genes on the map", 0.1, role="identity", low=0.0, high=1.0, only="umap"
    )
    seed: int = option("seed of every random choice", 1, role="identity", low=0)


@dataclass(frozen=True, kw_only=True)
class ReportSpec(Spec):
    """What a run asks and draws when all else is done; it makes nothing in the store."""

    name: str | None = option("embedding to ask [the one that the run made]", None)
    similar: tuple[str, ...] = option("genes whose nearest ones are listed", ())
    solve: tuple[str, ...] = option("questions A − B = ? − C, as 'A B C'", ())
    k: int = option("answers a question", 5, low=1)
    figure: str | None = option("picture of the map, coloured by groups (.png .svg .pdf)", None, path=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.figure is not None and Path(self.figure).suffix.lower() not in (".png", ".svg", ".pdf"):
            msg = f"report: figure must be a .png, .svg or .pdf file, got {self.figure!r}"
            raise SpecError(msg)
        for question in self.solve:
            if len(question.split()) != 3:
                msg = f"report: solve takes three genes, as in 'BRCA1 BRCA2 TP53'; got {question!r}"
                raise SpecError(msg)


STAGES: dict[str, type[Spec]] = {
    "ingest": IngestSpec,
    "pairs": PairsSpec,
    "merge": MergeSpec,
    "cooccur": CooccurSpec,
    "train": TrainSpec,
    "profile": ProfileSpec,
    "combine": CombineSpec,
    "index": IndexSpec,
    "kmeans": KmeansSpec,
    "map": MapSpec,
    "evaluate": EvaluateSpec,
}
STEPS: dict[str, type[Spec]] = {**STAGES, "report": ReportSpec}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One stage of a run, or its report; ``for_each`` repeats it for every dataset, ``{dataset}`` in its texts."""

    stage: str
    values: Mapping[str, Any]
    for_each: str | None
    base: Path

    def specs(self, datasets: typing.Iterable[str]) -> Iterator[tuple[str | None, Spec]]:
        """The specs of this step: one, or one a dataset, with its name."""
        cls = STEPS[self.stage]
        if self.for_each is None:
            yield None, cls.build(self.values, base=self.base)
            return
        for dataset in datasets:
            yield dataset, cls.build(_fill(dict(self.values), dataset), base=self.base)


def _fill(value: Any, dataset: str) -> Any:
    if isinstance(value, str):
        return value.replace("{dataset}", dataset)
    if isinstance(value, list):
        return [_fill(v, dataset) for v in value]
    if isinstance(value, dict):
        return {k: _fill(v, dataset) for k, v in value.items()}
    return value


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """A whole run: the store, the cluster, the stages in order; of GEO's series, also which, and when they pass."""

    store: str
    cluster: ClusterSpec
    steps: tuple[Step, ...]
    geo: GeoSpec | None = None
    gate: GateSpec = dataclasses.field(default_factory=GateSpec)

    @classmethod
    def load(cls, path: str | Path) -> RunSpec:
        """A run from a TOML file; relative paths in it start at its folder.

        Raises: SpecError if the file is missing, not TOML, or holds an unknown or wrong key.
        """
        file = Path(path).expanduser().absolute()
        try:
            table = tomllib.loads(file.read_text("utf-8"))
        except FileNotFoundError as error:
            msg = f"no such spec file: {file}"
            raise SpecError(msg) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
            msg = f"{file} is not a TOML file: {error}"
            raise SpecError(msg) from error
        return cls.build(table, base=file.parent)

    @classmethod
    def build(cls, table: Mapping[str, Any], *, base: Path) -> RunSpec:
        """A run from a parsed TOML table."""
        known = ("store", "cluster", "geo", "gate", *STEPS)
        for key in table:
            if key not in known:
                msg = f"spec: unknown key {key!r}{nearest(key, known)}; known: {', '.join(known)}"
                raise SpecError(msg)
        store = table.get("store")
        if not isinstance(store, str):
            msg = f"spec: store must be a text (a folder), got {store!r}"
            raise SpecError(msg)
        for key in ("cluster", "geo", "gate"):
            if not isinstance(table.get(key, {}), Mapping):
                msg = f"spec: {key} must be a table, got {table[key]!r}"
                raise SpecError(msg)
        _check_geo(table)
        filled = {"ingest": {"files": ["GEO"]}} if "geo" in table else {}
        steps = tuple(
            step
            for stage in STEPS
            if stage in table
            for step in _steps(stage, table[stage], base, filled.get(stage, {}))
        )
        _check_pairs([s for s in steps if s.stage == "pairs" and s.for_each is None])
        return cls(
            store=under(base, store),
            cluster=ClusterSpec.build(table.get("cluster", {}), base=base),
            steps=steps,
            geo=GeoSpec.build(table["geo"]) if "geo" in table else None,
            gate=GateSpec.build(table.get("gate", {})),
        )

    def with_series(self, files: typing.Iterable[str], platforms: str) -> RunSpec:
        """The same run over these files, besides its own; their platforms' tables serve where it names none."""

        def filled(step: Step) -> Step:
            if step.stage != "ingest":
                return step
            own = step.values.get("files", [])
            paths = [*([own] if isinstance(own, str) else own), *files]
            return dataclasses.replace(step, values={"platforms": platforms, **step.values, "files": paths})

        return dataclasses.replace(self, steps=tuple(filled(step) for step in self.steps))


def _check_geo(table: Mapping[str, Any]) -> None:
    """Refuses tables that have no use without another."""
    for key, needed in (("gate", "geo"), ("geo", "ingest")):
        if key in table and needed not in table:
            msg = f"spec: [{key}] needs a table [{needed}], which may be empty"
            raise SpecError(msg)


def _check_pairs(steps: list[Step]) -> None:
    """Refuses two pairs tables over one dataset: it has one current set of pairs."""
    seen: set[str] = set()
    for step in steps if len(steps) > 1 else ():
        datasets = step.values.get("datasets")
        if datasets is None or seen & set(datasets):
            both = f"both name {sorted(seen & set(datasets))[0]!r}" if datasets else "one names no datasets"
            msg = f"spec: each of several [[pairs]] needs datasets of its own, but {both}; use two stores for two rules"
            raise SpecError(msg)
        seen |= set(datasets)


def _steps(stage: str, tables: Any, base: Path, filled: Mapping[str, Any]) -> Iterator[Step]:
    """The steps that one key of a run spec describes; every one is checked before any work.

    ``filled`` stands for what the run itself will fill in.
    """
    if not isinstance(tables, list):
        tables = [tables]
    elif stage == "ingest":
        msg = "spec: ingest must be one table, not an array; list all its files in it"
        raise SpecError(msg)
    for table in tables:
        if not isinstance(table, Mapping):
            msg = f"spec: {stage} must be a table, got {table!r}"
            raise SpecError(msg)
        values = dict(table)
        for_each = values.pop("for_each", None)
        if for_each not in (None, "dataset") or (for_each and stage == "ingest"):
            msg = f"spec: {stage}: for_each must be 'dataset' (and not of ingest), got {for_each!r}"
            raise SpecError(msg)
        step = Step(stage=stage, values=values, for_each=for_each, base=base)
        list(dataclasses.replace(step, values={**filled, **values}).specs(["x"]))
        yield step


def expand_files(patterns: typing.Iterable[str]) -> tuple[Path, ...]:
    """The files that paths and glob patterns name, each once, sorted within a pattern.

    Raises: SpecError for one that names nothing.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        matches = [path] if path.exists() else [Path(p) for p in sorted(glob.glob(str(path)))]
        if not matches:
            msg = f"no such file: {pattern} (looked from {Path.cwd()})"
            raise SpecError(msg)
        for match in matches:
            if match.is_dir():
                msg = f"{match} is a folder; name its files, for instance '{match}/*'"
                raise SpecError(msg)
            found[match.absolute()] = None
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class ImportSpec(Spec):
    """A file of vectors → ``embeddings/<name>``. Runs in process; no part of ``STAGES``."""

    file: str = option("vectors, in a format that export writes", path=True)
    name: str = option("name of the embedding in the store", names=True)
    names: str | None = option("words of .npy, .npz or .safetensors: one a line, or a JSON list", None, path=True)
    tokens: str | None = option("JSON, gene to token, of rows told by token (Geneformer)", None, path=True)
    tensor: str | None = option("tensor of a .safetensors file with several", None, role="identity")
    trust_pickle: bool = option("the file of --tokens may be a pickle; only numbers and texts are read", False)  # noqa: FBT003
    descriptions: str | None = option("JSON, gene (or word) to description; kept with the vectors", None, path=True)
    truncate: int | None = option("only the first N vectors", None, role="identity", low=1)
