"""All that a store knows of an embedding, gathered for one page. Read only; it makes nothing in the store."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from g2v_dask import background, query, schema
from g2v_dask.analysis import groups as analysis
from g2v_dask.analysis.groups import Group
from g2v_dask.answers import Analogies, Solutions
from g2v_dask.errors import InputError, SpecError, StoreError
from g2v_dask.flows import evaluate, pictures, recipe, tables
from g2v_dask.query import Embedding, Neighbour
from g2v_dask.questions import Filters
from g2v_dask.report.embedding import Dataset, Known, Map
from g2v_dask.report.evaluated import Evaluated
from g2v_dask.report.sheets import Picture
from g2v_dask.store import Artifact, Store

# Markers of well-known processes: p53, T cells, MHC class II, ribosomes, collagen, the cell cycle.
GENES = ("TP53", "CD3E", "HLA-DRA", "RPL3", "COL1A1", "CCNB1")
SOLVED = ("BRCA1 BRCA2 TP53", "CD4 CD8A CD79A")  # the first is exp2vec's
PAIRS = ("CD79A CD3E",)
FILTERS = Filters(ceiling=0.9, max_per_gene=2)  # so that paralogues do not answer trivially


@dataclass(frozen=True, kw_only=True)
class Examples:
    """What is asked of the embedding; what is left out: well-known genes, those that it has."""

    similar: tuple[str, ...] | None = None
    solve: tuple[str, ...] | None = None
    """A − B = ? − C, as 'A B C'."""
    pair: tuple[str, ...] | None = None
    """A − B ≈ ? − ?, as 'A B'."""
    k: int = 8

    def __post_init__(self) -> None:
        for key, words in (("solve", 3), ("pair", 2)):
            for question in getattr(self, key) or ():
                if len(question.split()) != words:
                    msg = f"report: {key} takes {words} genes with spaces between them; got {question!r}"
                    raise SpecError(msg)
        if self.k < 1:
            msg = f"report: k must be at least 1, got {self.k}"
            raise SpecError(msg)


def run(url: str, name: str | None, examples: Examples) -> Known:
    """Gathers what is known of an embedding.

    Raises: SpecError for an unknown embedding, InputError for a gene that is named and that it has not.
    """
    store = Store.open(url)
    artifact = store.only("embeddings", name)
    embedding = query.load(store, artifact)
    notes: list[str] = []
    judged = list(_of_this(store, artifact, "evaluations", notes))
    maps = list(_of_this(store, artifact, "maps", notes))
    grouped = list(_of_this(store, artifact, "groups", notes))
    matrix = _committed(store, artifact, "cooccurrence")
    evaluations = list(_apart(judged, notes))
    similar = _similar(embedding, examples)
    return Known(
        artifact=artifact,
        names=embedding.names,
        store=store.root.url,
        card=embedding.card,
        datasets=tuple(_datasets(store, artifact)),
        cooccurrence={} if matrix is None else matrix.facts,
        evaluations=evaluations,
        maps=[_drawn(store, artifact, one, embedding, tuple(similar)) for one in maps],
        groups=[(one, _groups(one, embedding)) for one in grouped],
        similar=similar,
        analogies=[*_solved(embedding, examples), *_pairs(embedding, examples)],
        commands=recipe.commands(store, [artifact, *grouped, *maps, *(e.artifact for e in evaluations)]),
        notes=notes,
    )


def _of_this(store: Store, embedding: Artifact, kind: str, notes: list[str]) -> Iterator[Artifact]:
    """What was made of this very version; what was made of another is noted."""
    for artifact in store.artifacts(kind):
        digest = artifact.manifest["inputs"].get(embedding.key)
        if artifact.facts.get("embedding") != embedding.name or digest is None:
            continue
        damage = artifact.damage()
        if damage is not None:
            notes.append(f"{artifact.key} is left out, for it is damaged: {damage}")
        elif digest != embedding.digest:
            notes.append(f"{artifact.key} is left out, for it is of version {digest[:12]} of the embedding")
        else:
            yield artifact


def _apart(judged: Sequence[Artifact], notes: list[str]) -> Iterator[Evaluated]:
    """The evaluations of the embedding alone; those on the genes of others are noted."""
    for artifact in judged:
        common = artifact.manifest["identity"].get("common")
        if common:
            others = ", ".join(common)
            notes.append(f"{artifact.key} judges it on the genes that {others} also have: g2v compare shows that")
        else:
            yield evaluate.read(artifact)


def _committed(store: Store, artifact: Artifact, kind: str) -> Artifact | None:
    """The first of that kind among all that an artifact was made of, if it is still there."""
    return next((made for made in background.made_of(store, artifact) if made.kind == kind), None)


# -- datasets -----------------------------------------------------------------------------------------------


def _datasets(store: Store, artifact: Artifact) -> Iterable[Dataset]:
    """What the card says that it learned from, and what the store still knows of that.

    Several embeddings that were combined may have learned from one dataset: one by its pairs, one by its expression.
    """
    card = artifact.facts
    samples = card.get("samples", {})
    found: dict[str, Dataset] = {}
    for key, digest in card.get("datasets", {}).items():
        kind, _, name = key.partition("/")
        member = store.committed(kind, name, digest)
        expression = member if kind == "expression" or member is None else _committed(store, member, "expression")
        facts = {} if expression is None else expression.facts
        pairs = None if member is None else member.facts.get("pairs")
        if name in found and pairs is None:
            continue
        found[name] = Dataset(
            name=name if expression is None else expression.title,
            samples=samples.get(name, facts.get("samples")),
            genes=facts.get("genes"),
            pairs=pairs,
            source=", ".join(str(facts[word]) for word in ("file", "platform", "group") if facts.get(word)),
        )
    return found.values()


# -- pictures and groups ------------------------------------------------------------------------------------


def _drawn(store: Store, embedding: Artifact, artifact: Artifact, known: Embedding, named: Sequence[str]) -> Map:
    """A map by groups where there are any of this version, else by biotype; the example genes by name."""
    label = tuple(gene for gene in named if gene in known.names.rows)
    try:
        look = pictures.look(store, embedding, pictures.Picture(label=label))
    except StoreError:  # groups of an older version
        look = pictures.look(store, embedding, pictures.Picture(label=label, colour="biotype"))
    if look.colour is None:
        look = pictures.look(store, embedding, pictures.Picture(label=label, colour="biotype"))
    with tempfile.TemporaryDirectory(prefix="g2v-report-") as folder:
        file = Path(folder) / "map.png"
        pictures.draw(artifact, look, (file,))
        png = file.read_bytes()
    method = pictures.METHODS[artifact.facts["method"]]
    caption = f"{method} of {artifact.facts['genes']:,} genes, by {look.colour.name}"
    return Map(artifact=artifact, picture=Picture(png=png, caption=caption))


def _groups(artifact: Artifact, embedding: Embedding) -> list[Group]:
    return analysis.groups(analysis.members(tables.read(artifact, schema.GROUP_MEMBERS)), embedding.names)


# -- examples -----------------------------------------------------------------------------------------------


def _similar(embedding: Embedding, examples: Examples) -> dict[str, list[Neighbour]]:
    """Nearest genes; of an embedding without any well-known gene those of its first ones."""
    if examples.similar is not None:
        return {embedding.resolve(gene): embedding.similar(gene, examples.k) for gene in examples.similar}
    there = [word for gene in GENES if (word := _word(embedding, gene)) is not None]
    words = there or [str(g) for g, v in zip(embedding.genes[:20], embedding.vectors[:20], strict=True) if v.any()][:4]
    return {word: embedding.similar(word, examples.k) for word in words}


def _word(embedding: Embedding, gene: str) -> str | None:
    """The word of a gene, if it is there and its vector has a direction."""
    try:
        word = embedding.resolve(gene)
    except InputError:
        return None
    return word if embedding.vectors[embedding.names.rows[word]].any() else None


def _asked(embedding: Embedding, given: tuple[str, ...] | None, usual: tuple[str, ...]) -> Iterator[list[str]]:
    """Questions as words; of the usual ones those whose genes are all there."""
    for text in usual if given is None else given:
        words = text.split()
        if given is not None or all(_word(embedding, word) is not None for word in words):
            yield words


def _solved(embedding: Embedding, examples: Examples) -> Iterator[Solutions]:
    for a, b, c in _asked(embedding, examples.solve, SOLVED):
        yield embedding.solve(a, b, c, examples.k)


def _pairs(embedding: Embedding, examples: Examples) -> Iterator[Analogies]:
    for a, b in _asked(embedding, examples.pair, PAIRS):
        yield embedding.pair(a, b, examples.k, filters=FILTERS)
