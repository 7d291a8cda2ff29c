"""Gene Ontology: the terms of biological process, how they hang together, and which genes carry them."""

from __future__ import annotations

import graphlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from g2v_dask.errors import InputError
from g2v_dask.exchange.sidefiles import text_of
from g2v_dask.genes import HUMAN, GeneTable
from g2v_dask.readers.text import ahead, pieces

ROOT = "GO:0008150"  # biological_process
NAMESPACE = "biological_process"
TABLES = ("go_bp_annotations.tsv", "go_bp_parents.tsv", "go_bp_terms.tsv")
NCBI = ("gene2go", "go-basic.obo")
COLUMNS = {
    "go_bp_annotations.tsv": ("entrez", "go_id", "evidence"),
    "go_bp_parents.tsv": ("child", "parent", "relation"),
    "go_bp_terms.tsv": ("go_id", "term"),
    "gene2go": ("tax_id", "GeneID", "GO_ID", "Evidence", "Qualifier", "GO_term", "PubMed", "Category"),
}
# A gene that carries a term carries the parents of these kinds too; what regulates a process is no part of it.
UPWARD = frozenset({"isa", "is_a", "part of", "part_of"})
LEAST_KNOWN = 0.5  # share of the annotated genes that the gene table must know

Annotation = tuple[str, str, str]
"""Gene, term, evidence code."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Ontology:
    """Terms of biological process, and the genes that are directly annotated with them."""

    terms: Mapping[str, str]
    """GO id to name."""
    parents: Mapping[str, tuple[str, ...]]
    """GO id to its direct parents, by is_a and part_of; the root has none."""
    annotations: tuple[Annotation, ...] = field(repr=False)
    """Gene symbol, GO id, evidence code: sorted, each once."""
    unknown: tuple[str, ...] = ()
    """Annotated Entrez ids that the gene table does not know; left out."""

    @classmethod
    def read(cls, files: Sequence[Path], table: GeneTable, *, taxon: str = HUMAN) -> Ontology:
        """The ontology in the files of one folder; files of other names are passed over.

        Either ``go_bp_annotations.tsv``, ``go_bp_parents.tsv`` and ``go_bp_terms.tsv``, or NCBI's ``gene2go`` and
        ``go-basic.obo``; each plain or gzip. Of gene2go the rows of ``taxon`` (an NCBI taxonomy id) are taken. An
        annotation that a NOT qualifies is left out. One with an alternative id, or with an obsolete term that has a
        single successor, moves to the term that holds today; with another obsolete term it is left out.
        Memory: a few hundred bytes an annotation; gene2go is read in pieces.
        Raises: InputError if files are missing, there twice or damaged, columns are wrong, a term or a parent is not
                there, terms run in a circle or do not reach the root, no annotation is left, or the table knows less
                than half of the genes.
        """
        found = recognised(files)
        if "gene2go" in found:
            terms, parents, today = _obo(found["go-basic.obo"])
            file = found["gene2go"]
            rows = _gene2go(file, taxon)
        else:
            terms, parents, today = _tables(found)
            file = found["go_bp_annotations.tsv"]
            rows = _rows(file, COLUMNS["go_bp_annotations.tsv"])
        _check_shape(terms, parents, found)
        moved = {(gene, today(term), evidence) for gene, term, evidence in rows}
        annotations, unknown = _of_symbols({row for row in moved if row[1] in terms}, table, file)
        return cls(terms=terms, parents=parents, annotations=annotations, unknown=unknown)

    def terms_of(self, evidence: Collection[str] | None = None) -> Mapping[str, frozenset[str]]:
        """Gene symbol to the terms that it is directly annotated with, by any evidence or by one of these codes."""
        wanted = None if evidence is None else frozenset(evidence)
        found: dict[str, set[str]] = {}
        for gene, term, code in self.annotations:
            if wanted is None or code in wanted:
                found.setdefault(gene, set()).add(term)
        return {gene: frozenset(terms) for gene, terms in found.items()}

    @cached_property
    def evidence(self) -> Mapping[str, int]:
        """Annotations by evidence code, the most frequent first."""
        return dict(Counter(code for _, _, code in self.annotations).most_common())

    @cached_property
    def _ancestors(self) -> Mapping[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        for term in graphlib.TopologicalSorter(self.parents).static_order():  # parents before children
            direct = self.parents[term]
            found[term] = frozenset(direct).union(*(found[parent] for parent in direct))
        return found

    @cached_property
    def levels(self) -> Mapping[str, int]:
        """GO id to the length of the shortest way from the root, by is_a and part_of; the root has 0."""
        return _levels(self.parents)

    def ancestors(self, term: str) -> frozenset[str]:
        """All terms above one, without itself.

        Raises: InputError for a term that is not of biological process.
        """
        self._known(term)
        return self._ancestors[term]

    def level(self, term: str) -> int:
        """The shortest way from the root; the root has 0.

        Raises: InputError for a term that is not of biological process.
        """
        self._known(term)
        return self.levels[term]

    def _known(self, term: str) -> None:
        if term not in self.terms:
            msg = f"expected a term of biological process, such as {ROOT}; got {term!r}"
            raise InputError(msg)

    def gene_sets(
        self, least: int = 20, most: int = 200, *, evidence: Collection[str] | None = None
    ) -> Mapping[str, tuple[str, ...]]:
        """The genes of each term, its own and those of all terms below it, where they are ``least`` to ``most``.

        Named ``GO:0006260 DNA replication``; terms and genes are in the order of their ids.
        """
        members: dict[str, set[str]] = {}
        for gene, terms in self.terms_of(evidence).items():
            for term in terms.union(*(self._ancestors[t] for t in terms)):
                members.setdefault(term, set()).add(gene)
        return {
            f"{term} {self.terms[term]}": tuple(sorted(members[term]))
            for term in sorted(members)
            if least <= len(members[term]) <= most
        }


def recognised(files: Sequence[Path]) -> dict[str, Path]:
    """Those of the files that make an ontology, by name less ``.gz``: the two of NCBI, or the three tables.

    Raises: InputError if neither or both are complete, or a file is there plain and gzip.
    """
    found: dict[str, Path] = {}
    for file in files:
        name = file.name.removesuffix(".gz")
        if name in (*TABLES, *NCBI) and file.is_file():
            if name in found:
                msg = f"{file} and {found[name]} are the same table; keep one"
                raise InputError(msg)
            found[name] = file
    forms = [form for form in (TABLES, NCBI) if set(form) <= set(found)]
    if len(forms) == 1:
        return {name: found[name] for name in forms[0]}
    either = f"{', '.join(TABLES)}; or {', '.join(NCBI)} (each plain or .gz)"
    if forms:
        msg = f"expected one of two forms of the Gene Ontology, got both: keep {either}"
    else:
        there = ", ".join(sorted(f.name for f in files)[:10]) or "no file"
        msg = f"expected the Gene Ontology in {files[0].parent if files else 'a folder'}: {either}; found {there}"
    raise InputError(msg)


def _rows(file: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The rows of a small table, whose header must be ``columns``."""
    header, *lines = text_of(file).rstrip("\n").split("\n")
    if tuple(header.rstrip("\r").split("\t")) != columns:
        msg = f"{file} must have the columns {', '.join(columns)} (tab-separated); it begins with {header[:80]!r}"
        raise InputError(msg)
    for number, line in enumerate(lines, start=2):
        cells = tuple(line.rstrip("\r").split("\t"))
        if len(cells) != len(columns):
            msg = f"{file}, line {number}: expected {len(columns)} fields, got {len(cells)}: {line[:60]!r}"
            raise InputError(msg)
        yield cells


Today = Callable[[str], str]
Shape = tuple[dict[str, str], dict[str, tuple[str, ...]], Today]


def _tables(found: Mapping[str, Path]) -> Shape:
    names, file = found["go_bp_terms.tsv"], found["go_bp_parents.tsv"]
    terms = {term: name for term, name in _rows(names, COLUMNS["go_bp_terms.tsv"])}
    above: dict[str, set[str]] = {term: set() for term in terms}
    for child, parent, relation in _rows(file, COLUMNS["go_bp_parents.tsv"]):
        if relation not in UPWARD or child == ROOT:  # GO.db hangs the roots of its three ontologies under "all"
            continue
        for term in (child, parent):
            if term not in terms:
                msg = f"{file} names {term}, which is not in {names.name}; take both of one release"
                raise InputError(msg)
        above[child].add(parent)
    return terms, {term: tuple(sorted(parents)) for term, parents in above.items()}, str


def _stanzas(file: Path) -> Iterator[dict[str, list[str]]]:
    """The terms of an OBO file: of each tag its values, without comments and modifiers."""
    text = text_of(file)
    if not text.startswith("format-version:"):
        msg = f"{file} is not an OBO file: expected 'format-version:' first, got {text[:40]!r}; fetch it again"
        raise InputError(msg)
    for block in text.replace("\r\n", "\n").split("\n\n"):
        kind, *lines = block.strip().split("\n")
        if kind == "[Term]":
            stanza: dict[str, list[str]] = {}
            for line in lines:
                tag, _, value = line.partition(": ")
                if tag != "name":  # a name may hold what elsewhere begins a comment
                    value = value.split(" ! ")[0].split(" {")[0]
                stanza.setdefault(tag, []).append(value.strip())
            yield stanza


def _obo(file: Path) -> Shape:
    terms: dict[str, str] = {}
    above: dict[str, set[str]] = {}
    successor: dict[str, str] = {}
    for stanza in _stanzas(file):
        (term,) = stanza.get("id", [""])[:1]
        if stanza.get("is_obsolete") == ["true"]:
            if len(stanza.get("replaced_by", ())) == 1:
                successor[term] = stanza["replaced_by"][0]
            continue
        successor.update(dict.fromkeys(stanza.get("alt_id", ()), term))
        if stanza.get("namespace") == [NAMESPACE]:
            terms[term] = stanza.get("name", [term])[0]
            parts = [value.split() for value in stanza.get("relationship", ())]
            above[term] = {*stanza.get("is_a", ()), *(p[1] for p in parts if len(p) == 2 and p[0] in UPWARD)}
    parents = {term: tuple(sorted(p for p in above[term] if p in terms)) for term in terms}

    def today(term: str) -> str:
        for _ in range(8):  # a successor may have one itself; never a circle without end
            if term not in successor:
                break
            term = successor[term]
        return term

    return terms, parents, today


def _gene2go(file: Path, taxon: str) -> Iterator[tuple[str, ...]]:
    """The annotations of one species in NCBI's file of all, less those that a NOT qualifies."""
    mark, width, number = f"\n{taxon}\t".encode(), len(COLUMNS["gene2go"]), 0
    for block in _blocks(file):
        if mark not in block:  # species follow one another: most blocks hold nothing of this one
            continue
        for line in block.split(b"\n"):
            if not line.startswith(mark[1:]):
                continue
            cells = line.rstrip(b"\r").decode("utf-8", "replace").split("\t")
            if len(cells) != width:
                msg = f"{file}: expected {width} fields, got {len(cells)}: {line[:60]!r}; fetch it again"
                raise InputError(msg)
            number += 1
            if cells[7] == "Process" and "NOT" not in cells[4].split():
                yield cells[1], cells[2], cells[3]
    if not number:
        msg = f"{file} holds no annotation of the species {taxon}; take another --tax-id, or the file of all species"
        raise InputError(msg)


def _blocks(file: Path) -> Iterator[bytes]:
    """A large text in whole lines, each block with a line end before and after; its header is checked."""
    rest, begun = b"", False
    for piece in ahead(pieces(file)):
        text = rest + piece
        if not begun:
            header = text.split(b"\n", 1)[0].rstrip(b"\r").decode("utf-8", "replace").lstrip("#").split("\t")
            if tuple(header) != COLUMNS["gene2go"]:
                expected = ", ".join(COLUMNS["gene2go"])
                msg = f"{file} is not NCBI's gene2go: expected the columns {expected}; found {', '.join(header)[:80]!r}"
                raise InputError(msg)
            begun = True
        whole, end, rest = text.rpartition(b"\n")
        yield b"\n" + whole + end
    if not begun:
        msg = f"{file} is empty; fetch it again"
        raise InputError(msg)
    yield b"\n" + rest


def _check_shape(terms: Mapping[str, str], parents: Mapping[str, tuple[str, ...]], found: Mapping[str, Path]) -> None:
    file = found.get("go-basic.obo") or found["go_bp_terms.tsv"]
    if ROOT not in terms:
        msg = f"{file} holds {len(terms):,} terms of biological process, but not their root, {ROOT}; fetch it again"
        raise InputError(msg)
    try:
        graphlib.TopologicalSorter(parents).prepare()
    except graphlib.CycleError as error:
        msg = f"{file.parent}: terms must not be above themselves: {' → '.join(error.args[1][:6])}"
        raise InputError(msg) from error
    loose = sorted(set(terms) - set(_levels(parents)))
    if loose:
        msg = (
            f"{file.parent}: {loose[0]} is not below the root {ROOT} by is_a and part_of ({len(loose):,} of "
            f"{len(terms):,} terms); take terms and parents of one release"
        )
        raise InputError(msg)


def _levels(parents: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    """Breadth first from the root."""
    below: dict[str, list[str]] = {}
    for child, above in parents.items():
        for parent in above:
            below.setdefault(parent, []).append(child)
    levels, queue = {ROOT: 0}, [ROOT]
    for term in queue:  # grows as it is walked
        for child in below.get(term, ()):
            if child not in levels:
                levels[child] = levels[term] + 1
                queue.append(child)
    return levels


def _of_symbols(
    rows: Collection[Annotation], table: GeneTable, file: Path
) -> tuple[tuple[Annotation, ...], tuple[str, ...]]:
    """Annotations with symbols in place of Entrez ids, and the ids that have none."""
    if not rows:
        msg = f"{file} holds no annotation with a term of biological process; take terms and annotations of one release"
        raise InputError(msg)
    ids = sorted({row[0] for row in rows})
    symbol = {e: s for e, s in ((e, _symbol(e, table)) for e in ids) if s}
    if len(symbol) < LEAST_KNOWN * len(ids):
        msg = (
            f"{file}: the gene table {table.path.name} knows {len(symbol):,} of its {len(ids):,} genes "
            f"(Entrez ids, as {ids[0]}); give the gene table of its species"
        )
        raise InputError(msg)
    kept = sorted({(symbol[gene], term, code) for gene, term, code in rows if gene in symbol})
    return tuple(kept), tuple(e for e in ids if e not in symbol)


def _symbol(entrez: str, table: GeneTable) -> str:
    """The symbol of an Entrez id, or nothing."""
    symbol, way = table.lookup(entrez)
    return symbol if way == "entrez" else ""
