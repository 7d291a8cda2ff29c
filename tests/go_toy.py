"""A small Gene Ontology, made by hand, in both forms that are read.

Level 3 is C, D, G and the broad X. E and F are below C; F and P are below D; H is below E, but also right below A, so
its level is 2. G regulates C, and is not below it.
"""

import gzip
from pathlib import Path

R, A, B, C, D = "GO:0008150", "GO:0000001", "GO:0000002", "GO:0000003", "GO:0000004"
E, F, G, H, P, X = "GO:0000005", "GO:0000006", "GO:0000007", "GO:0000008", "GO:0000009", "GO:0000010"
NAMES = {R: "biological_process", A: "a", B: "b {odd} ! name", C: "c", D: "d", E: "e", F: "f", G: "g", H: "h", P: "p"}
NAMES[X] = "broad"
EDGES = [(A, R), (B, A), (C, B), (D, B), (G, B), (X, B), (E, C), (F, C), (F, D), (H, E), (H, A)]
PARTS, REGULATES = [(P, D)], [(G, C)]
KINDS = {  # what the genes of a kind carry
    "a": [(C, "IDA")],
    "b": [(C, "TAS"), (R, "ND")],
    "c": [(E, "IMP")],
    "d": [(D, "IGI")],
    "e": [(G, "IPI")],
    "f": [(C, "IEA")],  # evidence that does not count
    "g": [(X, "IDA")],  # a broad term
    "h": [(B, "IDA")],  # level 2
    "i": [(E, "IMP"), (X, "IDA"), (X, "TAS")],
    "j": [(H, "IDA")],  # level 2 by the shorter way
}
YES = {("a", "a"), ("a", "b"), ("b", "b"), ("c", "c"), ("c", "i"), ("i", "i"), ("d", "d"), ("e", "e")}
# not a and c: E is below C; not a and d: F is below both
NO = {("a", "e"), ("b", "e"), ("c", "d"), ("c", "e"), ("d", "e"), ("d", "i"), ("e", "i")}


def genes(each: int) -> dict[str, str]:
    """Entrez id to symbol, such as A7 for a gene of kind a."""
    return {str(100 * k + n): f"{kind.upper()}{n}" for k, kind in enumerate(KINDS, start=1) for n in range(each)}


def table(folder: Path, each: int = 1) -> Path:
    """A gene table of them."""
    rows = "".join(f"{entrez}\t{symbol}\t{symbol} gene\tother\t\t\n" for entrez, symbol in genes(each).items())
    return _text(folder / "genes.tsv", "entrez\tsymbol\tname\tbiotype\tensembl\taliases\n" + rows)


def _annotations(each: int) -> list[tuple[str, str, str]]:
    return [(e, term, code) for e, symbol in genes(each).items() for term, code in KINDS[symbol[0].lower()]]


def tables(folder: Path, each: int = 1) -> Path:
    """The ontology as three tables."""
    relations = [(c, p, "isa") for c, p in [*EDGES, (R, "all")]]
    relations += [(c, p, "part of") for c, p in PARTS] + [(c, p, "regulates") for c, p in REGULATES]
    for name, header, rows in (
        ("go_bp_annotations.tsv", ("entrez", "go_id", "evidence"), _annotations(each)),
        ("go_bp_parents.tsv", ("child", "parent", "relation"), relations),
        ("go_bp_terms.tsv", ("go_id", "term"), list(NAMES.items())),
    ):
        _packed(folder / f"{name}.gz", "".join("\t".join(row) + "\n" for row in [header, *rows]))
    return folder


def ncbi(folder: Path, each: int = 1) -> Path:
    """The same ontology as NCBI and the Gene Ontology publish theirs, among what must be passed over."""
    _packed(folder / "go-basic.obo.gz", _obo())
    header = "#tax_id\tGeneID\tGO_ID\tEvidence\tQualifier\tGO_term\tPubMed\tCategory\n"
    moved = {C: "GO:0000103", E: "GO:0000105"}  # an alternative id, and an obsolete term with a successor
    rows = [("10090", "100", C, "IDA", "involved_in", "c", "-", "Process")]
    rows += [
        ("9606", e, moved.get(term, term), code, "involved_in", NAMES[term], "1|2", "Process")
        for e, term, code in _annotations(each)
    ]
    rows += [
        ("9606", "100", D, "IDA", "NOT involved_in", "d", "-", "Process"),
        ("9606", "200", D, "IDA", "NOT", "d", "-", "Process"),
        ("9606", "100", "GO:0000050", "IDA", "enables", "a function", "-", "Function"),
        ("9606", "100", "GO:0000106", "IDA", "involved_in", "gone", "-", "Process"),
        ("96060", "100", D, "IDA", "involved_in", "d", "-", "Process"),
    ]
    _packed(folder / "gene2go.gz", header + "".join("\t".join(row) + "\n" for row in rows))
    return folder


def _obo() -> str:
    stanzas = ["format-version: 1.2\nontology: go"]
    for term, name in NAMES.items():
        lines = [f"id: {term}", f"name: {name}", "namespace: biological_process"]
        lines += ["alt_id: GO:0000103"] if term == C else []
        lines += [f'is_a: {p} {{source="x"}} ! {NAMES[p]}' for c, p in EDGES if c == term]
        lines += [f"relationship: part_of {p} ! {NAMES[p]}" for c, p in PARTS if c == term]
        lines += [f"relationship: regulates {p} ! {NAMES[p]}" for c, p in REGULATES if c == term]
        stanzas.append("[Term]\n" + "\n".join(lines))
    other = "[Term]\nid: GO:0000050\nname: a function\nnamespace: molecular_function\nrelationship: part_of GO:0000003"
    gone = "[Term]\nid: {0}\nname: obsolete x\nnamespace: biological_process\nis_obsolete: true\n{1}"
    stanzas += [
        other,
        gone.format("GO:0000105", f"replaced_by: {E}"),
        gone.format("GO:0000106", "consider: GO:0000003"),
    ]
    stanzas.append("[Typedef]\nid: part_of\nname: part of\nnamespace: external\nis_transitive: true")
    return "\n\n".join(stanzas) + "\n"


def _text(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def _packed(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(text.encode(), mtime=0))
