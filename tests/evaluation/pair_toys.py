"""Lists of gene pairs in the published format, with embeddings that know the answer."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.evaluation import subjects

ROOT = "GO:0008150"

Listed = Mapping[str, Sequence[tuple[str, str, int]]]
"""Split to pairs and labels."""


def write(folder: Path, listed: Listed, *, packed: bool = False) -> list[Path]:
    """The six files, plain or gzip."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in listed.items():
        for name, lines in (("text", [f"{a} {b}" for a, b, _ in rows]), ("label", [str(y) for _, _, y in rows])):
            text = "".join(line + "\n" for line in lines).encode()
            if packed:
                (folder / f"{split}_{name}.txt.gz").write_bytes(gzip.compress(text))
            else:
                (folder / f"{split}_{name}.txt").write_bytes(text)
    return sorted(folder.iterdir())


def write_go(folder: Path, terms: Mapping[str, Sequence[str]]) -> list[Path]:
    """An ontology of terms right below the root: gene symbol to its terms."""
    folder.mkdir(parents=True, exist_ok=True)
    named = sorted({term for some in terms.values() for term in some})
    entrez = subjects.table().entrez_id
    tables = {
        "go_bp_annotations": [
            ("entrez", "go_id", "evidence"),
            *((entrez(gene), t, "IDA") for gene, some in terms.items() for t in some),
        ],
        "go_bp_parents": [("child", "parent", "relation"), *((term, ROOT, "isa") for term in named)],
        "go_bp_terms": [("go_id", "term"), (ROOT, "biological_process"), *((term, term) for term in named)],
    }
    for name, rows in tables.items():
        (folder / f"{name}.tsv").write_text("".join("\t".join(row) + "\n" for row in rows), "utf-8")
    return sorted(folder.iterdir())


@dataclass(frozen=True, kw_only=True, eq=False)
class Planted:
    """Pairs, and vectors that tell their labels."""

    listed: Listed
    genes: NDArray[np.str_]
    vectors: NDArray[np.float32]

    @property
    def noisy(self) -> NDArray[np.float32]:
        """The vectors, which tell less."""
        return (self.vectors + np.random.default_rng(98).normal(0, 0.4, self.vectors.shape)).astype(np.float32)

    @property
    def shuffled(self) -> NDArray[np.float32]:
        """The vectors of other genes."""
        return np.random.default_rng(99).permutation(self.vectors)


SIZES = {"train": (240, 3000), "valid": (60, 500), "test": (80, 800)}
"""Genes and pairs of each split."""


def alike(seed: int = 1) -> Planted:
    """Two genes interact if they are of one group; vectors are near their group's."""
    random = np.random.default_rng(seed)
    total = sum(genes for genes, _ in SIZES.values())
    genes = random.permutation(subjects.symbols(total))
    group = np.arange(total) % 4
    centres = np.eye(4, 8)
    vectors = centres[group] + 0.1 * random.normal(size=(total, 8))
    return Planted(listed=_listed(genes, lambda a, b: group[a] == group[b], random), genes=genes, vectors=vectors)


def active(seed: int = 2) -> Planted:
    """Two genes interact if both together are active enough; one component of the vectors says how active."""
    random = np.random.default_rng(seed)
    total = sum(genes for genes, _ in SIZES.values())
    genes = random.permutation(subjects.symbols(total))
    vectors = random.normal(size=(total, 8))
    return Planted(
        listed=_listed(genes, lambda a, b: vectors[a, 3] + vectors[b, 3] > 0, random), genes=genes, vectors=vectors
    )


def _listed(genes: NDArray[np.str_], interact, random: np.random.Generator) -> Listed:
    """Each split's pairs among its own genes, half of them positive, no pair twice."""
    found, start = {}, 0
    for split, (count, pairs) in SIZES.items():
        first, second = np.triu_indices(count, 1)
        label = interact(start + first, start + second)
        kept = np.concatenate(
            [random.choice(np.flatnonzero(label == want), pairs // 2, replace=False) for want in (True, False)]
        )
        mixed = random.permutation(kept)
        found[split] = [
            (str(genes[start + a]), str(genes[start + b]), int(y))
            for a, b, y in zip(first[mixed], second[mixed], label[mixed], strict=True)
        ]
        start += count
    return found
