"""How an embedding is judged: which tasks, by which files, how often."""

from __future__ import annotations

import re
from dataclasses import dataclass

from g2v_dask.errors import SpecError
from g2v_dask.options import Spec, nearest, option

HUMAN = "9606"
TASKS = ("clusteredness", "interaction", "prediction", "tissue", "stability", "neighbours")
NEEDS = {  # a file that a task cannot do without, by option
    "clusteredness": "genesets",
    "interaction": "pairs",
    "stability": "beside",
    "neighbours": "beside",
}
MODELS = ("cosine", "heads", "ggipnn")


@dataclass(frozen=True, kw_only=True)
class EvaluateSpec(Spec):
    """``embeddings/<name>`` → ``evaluations/<to>``."""

    name: str | None = option("embedding to judge [the only one]", None)
    to: str | None = option("name of the evaluation [that of the embedding]", None)
    tasks: tuple[str, ...] = option(f"what to ask [all whose files are given]: {', '.join(TASKS)}", (), role="identity")
    genesets: tuple[str, ...] = option("gene sets (GMT): clusteredness, prediction", (), path=True)
    pairs: str | None = option("folder of gene pairs, {train,valid,test}_{text,label}.txt[.gz]", None, path=True)
    go: str | None = option(
        "folder of GO: gene2go and go-basic.obo, or go_bp_{annotations,parents,terms}.tsv.gz", None, path=True
    )
    genes: str | None = option("gene table, ours or NCBI's gene_info [bundled human genes]", None, path=True)
    tax_id: str = option("gene2go: species, by its number at NCBI", HUMAN, role="identity")
    beside: tuple[str, ...] = option("other embeddings: stability, neighbours", ())
    common: tuple[str, ...] = option("judge only the genes that these embeddings have too", ())
    datasets: tuple[str, ...] | None = option("tissue: only these datasets [all with counts]", None)
    baselines: bool = option("score also what needs no embedding", False, role="identity")  # noqa: FBT003
    models: tuple[str, ...] = option(
        "interaction: cosine alone, simple heads, the network of the paper (needs torch)", MODELS, role="identity"
    )
    matched: bool = option(
        "interaction: also on negatives whose genes have the positives' degrees; needs go",
        False,  # noqa: FBT003
        role="identity",
    )
    seeds: int = option("runs of what is drawn or trained by chance", 5, role="identity", low=1)
    bootstrap: int = option("resamples of genes behind an interval", 1000, role="identity", low=10)
    sets: int = option("prediction: sets drawn, across sizes", 200, role="identity", low=1)
    all_sets: bool = option("prediction: every set of 20 to 200 genes", False, role="identity")  # noqa: FBT003
    least_coverage: float = option(
        "least share of a task's genes that the embedding must have", 0.1, role="limit", low=0.0, high=1.0
    )
    seed: int = option("seed of every random choice", 1, role="identity", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_taxon(self)
        for key, known in (("tasks", TASKS), ("models", MODELS)):
            for word in getattr(self, key):
                if word not in known:
                    msg = f"evaluate: {key} must be of {', '.join(known)}; got {word!r}{nearest(word, known)}"
                    raise SpecError(msg)
        if not self.models:
            msg = f"evaluate: models must name one or more of {', '.join(MODELS)}"
            raise SpecError(msg)
        for task in self.tasks:
            needed = NEEDS.get(task)
            if needed is not None and not getattr(self, needed):
                msg = f"evaluate: {task} needs --{needed}"
                raise SpecError(msg)
        if "prediction" in self.tasks and not (self.genesets or self.go):
            msg = "evaluate: prediction needs --genesets or --go"
            raise SpecError(msg)
        if self.matched and not (self.pairs and self.go):
            msg = "evaluate: matched needs --pairs, and --go to know which genes share a term"
            raise SpecError(msg)

    def chosen(self, *, tissues: bool) -> tuple[str, ...]:
        """The tasks that were named; where none were, those whose files are given.

        ``tissues``: whether the store has enough datasets with read counts for those of tissues.
        """
        if self.tasks:
            return tuple(task for task in TASKS if task in self.tasks)
        given = {
            "clusteredness": bool(self.genesets),
            "interaction": self.pairs is not None,
            "prediction": bool(self.genesets or self.go),
            "tissue": tissues,
            "stability": bool(self.beside),
            "neighbours": bool(self.beside),
        }
        return tuple(task for task in TASKS if given[task])


def _check_taxon(spec: EvaluateSpec | GoaSpec) -> None:
    if not spec.tax_id.isdecimal():
        msg = f"{spec.stage()}: tax_id must be a number of NCBI's taxonomy, such as {HUMAN}; got {spec.tax_id!r}"
        raise SpecError(msg)


EVIDENCE = ("IDA", "IMP", "IPI", "IGI", "TAS")
BROAD = ("GO:0007165", "GO:0006468")  # signal transduction, protein phosphorylation: see evaluation/goa.py
_RATIO = re.compile(r"([1-9]\d{0,5}):([1-9]\d{0,5}):([1-9]\d{0,5})")
_TERM = re.compile(r"GO:\d{7}")


@dataclass(frozen=True, kw_only=True)
class GoaSpec(Spec):
    """A folder of GO → a folder of gene pairs, {train,valid,test}_{text,label}.txt.gz."""

    go: str = option("folder of GO: gene2go and go-basic.obo, or go_bp_{annotations,parents,terms}.tsv.gz", path=True)
    to: str = option("folder to write; new, empty, or its own earlier output", path=True)
    genes: str | None = option("gene table, ours or NCBI's gene_info [bundled human genes]", None, path=True)
    tax_id: str = option("gene2go: species, by its number at NCBI", HUMAN, role="identity")
    evidence: tuple[str, ...] = option("evidence codes that count", EVIDENCE, role="identity")
    exclude: tuple[str, ...] = option("terms left out, not those below them; '' for none", BROAD, role="identity")
    least_level: int = option("terms nearer to the root are left out; the root has 0", 3, role="identity", low=0)
    split: str = option("parts of the genes in train, valid and test", "7:1:2", role="identity")
    seed: int = option("seed of every random choice", 1, role="identity", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_taxon(self)
        if not self.evidence:
            msg = f"goa: evidence must name one code or more, such as {','.join(EVIDENCE)}"
            raise SpecError(msg)
        for term in self.exclude:
            if not _TERM.fullmatch(term):
                msg = f"goa: exclude must name terms such as {BROAD[0]}; got {term!r}"
                raise SpecError(msg)
        if not _RATIO.fullmatch(self.split):
            msg = f"goa: split must be three whole numbers such as 7:1:2; got {self.split!r}"
            raise SpecError(msg)

    @property
    def shares(self) -> tuple[int, int, int]:
        """Parts of the genes in train, valid and test."""
        train, valid, test = map(int, self.split.split(":"))
        return train, valid, test
