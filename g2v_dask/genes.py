"""Gene ids: symbols, Ensembl, Entrez and aliases, translated to symbols by a gene table.

The bundled table is human (``data/NOTICE.md``); NCBI's ``gene_info`` works in its place.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc

from g2v_dask.errors import InputError

BUNDLED = Path(__file__).parent / "data" / "human_genes.tsv.gz"
HUMAN = "9606"
SHOWN = 10  # ids quoted as evidence
OURS = ("entrez", "symbol", "name", "biotype", "ensembl", "aliases")
NCBI = ("GeneID", "Symbol", "description", "type_of_gene", "dbXrefs", "Synonyms")

# GENCODE writes the Y copy of a pseudoautosomal gene as ENSG…_PAR_Y: the same gene.
ENSEMBL = re.compile(r"(ENS[A-Z]*G\d{11})(?:\.\d+)?(?:_PAR_Y)?", re.IGNORECASE)
ENTREZ = re.compile(r"(\d+)(?:\.0)?")  # pandas writes a column with gaps as 1234.0
ORF = re.compile(r"(C(?:\d{1,2}|X|Y))ORF(\d+)")  # vendors write C1orf112 in capitals


@dataclass(frozen=True, kw_only=True)
class Translation:
    """Ids as gene symbols, and how each was found."""

    symbols: list[str]
    """One a row: the symbol, or the id itself where the table does not know it or it names several genes."""
    counts: dict[str, int]
    """Ids by way: symbol, ensembl, entrez, alias, ambiguous, unknown."""
    unknown: tuple[str, ...] = ()
    """The first few ids that the table does not know."""
    ambiguous: tuple[str, ...] = ()
    """The first few ids that name several genes."""

    @property
    def known_share(self) -> float:
        """Share of the ids that the table knows; an ambiguous id is known."""
        total = sum(self.counts.values())
        return 1.0 - self.counts["unknown"] / total if total else 0.0


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class GeneTable:
    """Genes by symbol, Ensembl id, Entrez id and alias."""

    path: Path
    """File it was read from."""
    digest: str
    """sha256 of that file."""
    entrez: list[str] = field(repr=False)
    symbol: list[str] = field(repr=False)
    name: list[str] = field(repr=False)
    kinds: list[str] = field(repr=False)
    ensembl: list[str] = field(repr=False)
    """Ensembl ids of each gene, separated by ``|``."""
    aliases: list[str] = field(repr=False)
    """Other names of each gene, separated by ``|``."""

    @classmethod
    def load(cls, path: str | Path | None = None) -> GeneTable:
        """The table in a file, or the bundled human one.

        Raises: InputError if the file is missing, damaged, or neither our format nor NCBI's gene_info.
        """
        file = BUNDLED if path is None else Path(path).expanduser()
        try:
            raw = file.read_bytes()
        except OSError as error:
            msg = f"expected a gene table at {file}: {error.strerror}; leave --genes out for the bundled one"
            raise InputError(msg) from error
        digest = hashlib.sha256(raw).hexdigest()
        table = _columns(file, raw)
        if set(OURS) <= set(table.column_names):
            values = {name: table[name].to_pylist() for name in OURS}
        elif set(NCBI) <= set(table.column_names):
            values = _from_gene_info(table)
        else:
            msg = (
                f"{file} is not a gene table: expected the columns {', '.join(OURS)}, or those of NCBI's gene_info "
                f"({', '.join(NCBI)}); found {', '.join(table.column_names[:12])}"
            )
            raise InputError(msg)
        if not any(values["symbol"]):
            msg = f"{file} is a gene table without genes; expected at least one row"
            raise InputError(msg)
        values["kinds"] = values.pop("biotype")
        return cls(path=file, digest=digest, **values)

    def __len__(self) -> int:
        return len(self.symbol)

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._row

    @cached_property
    def _row(self) -> dict[str, int]:
        return dict(zip(reversed(self.symbol), range(len(self.symbol) - 1, -1, -1), strict=True))

    @cached_property
    def _by_entrez(self) -> dict[str, str]:
        return dict(zip(self.entrez, self.symbol, strict=True))

    @cached_property
    def _by_ensembl(self) -> dict[str, str | None]:
        return _index(self.ensembl, self.symbol)

    @cached_property
    def _by_alias(self) -> dict[str, str | None]:
        return _index(self.aliases, self.symbol)

    @cached_property
    def _any_case(self) -> dict[str, set[str]]:
        """Symbols that a text names in any case, as symbol or alias."""
        found: dict[str, set[str]] = {}
        for symbol, aliases in zip(self.symbol, self.aliases, strict=True):
            for word in {symbol, *aliases.split("|")}:
                if word:
                    found.setdefault(word.upper(), set()).add(symbol)
        return found

    def lookup(self, text: str) -> tuple[str, str]:
        """The gene that one id names, and the way it was found.

        An exact symbol wins, then Ensembl (version stripped), Entrez, and an exact alias. Case matters: a mouse
        gene (Actb) is not a human one.
        """
        if text in self._row:
            return text, "symbol"
        start = text[:1]
        if bare := ensembl_id(text):
            return _found(self._by_ensembl, bare, bare, "ensembl")
        if start.isdecimal() and (entrez := ENTREZ.fullmatch(text)):
            return _found(self._by_entrez, entrez[1], text, "entrez")
        if start == "C" and (orf := ORF.fullmatch(text)):
            text = f"{orf[1]}orf{orf[2]}"
            if text in self._row:
                return text, "symbol"
        return _found(self._by_alias, text, text, "alias")

    def translate(self, ids: Iterable[str]) -> Translation:
        """Ids of one kind or several, as symbols.

        An unknown id is kept, and so is one that names several genes; both are counted. Ensembl ids lose their
        version either way.
        """
        known: dict[str, tuple[str, str]] = {}
        symbols: list[str] = []
        exact = 0
        counts: Counter[str] = Counter(
            dict.fromkeys(("symbol", "ensembl", "entrez", "alias", "ambiguous", "unknown"), 0)
        )
        left: dict[str, dict[str, None]] = {"ambiguous": {}, "unknown": {}}
        rows = self._row
        for raw in ids:
            text = raw.strip()
            if text in rows:
                symbols.append(text)
                exact += 1
                continue
            if (hit := known.get(text)) is None:
                hit = known[text] = self.lookup(text)
            symbols.append(hit[0])
            counts[hit[1]] += 1
            if hit[1] in left and len(left[hit[1]]) < SHOWN:
                left[hit[1]][text] = None
        counts["symbol"] += exact
        return Translation(
            symbols=symbols,
            counts=dict(counts),
            unknown=tuple(left["unknown"]),
            ambiguous=tuple(left["ambiguous"]),
        )

    def known_share(self, ids: Sequence[str]) -> float:
        """Share of the ids that the table knows. Running numbers (1, 2, 3 …) are rows, not Entrez ids."""
        if running_numbers(ids):
            return 0.0
        return self.translate(ids).known_share

    def resolve(self, query: str, among: Collection[str]) -> str:
        """The one gene of ``among`` that a user's text names: symbol, Ensembl, Entrez or alias, in any case.

        Raises: InputError if there is none (naming the closest), or if the text names several.
        """
        text = query.strip()
        if text in among:
            return text
        symbol, way = self.lookup(text)
        if symbol in among:
            return symbol
        genes = self._any_case.get(text.upper(), set())
        upper = text.upper()
        named = sorted({g for g in among if g.upper() == upper}) or sorted(genes.intersection(among))
        if len(named) == 1:
            return named[0]
        if named:
            msg = f"{query!r} names several genes: {', '.join(named)}; ask for one of them"
            raise InputError(msg)
        raise InputError(self._not_found(query, symbol if way not in ("ambiguous", "unknown") else None, among))

    def _not_found(self, query: str, symbol: str | None, among: Collection[str]) -> str:
        if symbol is not None:
            name = "" if symbol == query.strip() else f" ({symbol})"
            return f"{query!r}{name} is a known gene, but not one of the {len(among):,} genes here"
        upper = {g.upper(): g for g in among}
        close = difflib.get_close_matches(query.strip().upper(), upper, n=3, cutoff=0.6)
        hint = f"; the closest names are {', '.join(upper[c] for c in close)}" if close else ""
        return (
            f"expected a gene (symbol, Ensembl, Entrez or alias), got {query!r}, which is none of the "
            f"{len(among):,} here{hint}"
        )

    def describe(self, symbol: str) -> str:
        """The gene's name in words, or nothing."""
        row = self._row.get(symbol)
        return "" if row is None else self.name[row]

    def ensembl_ids(self, symbol: str) -> list[str]:
        """The gene's Ensembl ids, or none."""
        row = self._row.get(symbol)
        return [] if row is None or not self.ensembl[row] else self.ensembl[row].split("|")

    def entrez_id(self, symbol: str) -> str:
        """The gene's Entrez id, or nothing."""
        row = self._row.get(symbol)
        return "" if row is None else self.entrez[row]

    def ids(self) -> Iterator[tuple[str, str]]:
        """Every (id, symbol): the Ensembl and Entrez ids of all genes."""
        for symbol, ensembl, entrez in zip(self.symbol, self.ensembl, self.entrez, strict=True):
            for one in (*ensembl.split("|"), entrez):
                yield one, symbol

    def biotype(self, symbol: str) -> str:
        """``protein-coding``, ``ncRNA`` …, or nothing."""
        row = self._row.get(symbol)
        return "" if row is None else self.kinds[row]


def ensembl_id(text: str) -> str:
    """An Ensembl gene id without its version, in capitals; empty for any other text."""
    found = ENSEMBL.fullmatch(text) if text[:1] in ("E", "e") else None
    return found[1].upper() if found else ""


def running_numbers(ids: Sequence[str]) -> bool:
    """Whether ids just count rows, as on many Agilent platforms; they would pass for Entrez ids.

    All human Entrez ids up to 45,000 fill less than half of that range.
    """
    numbers = {int(i) for i in ids if i.isdecimal()}
    if len(numbers) < 100 or len(numbers) < 0.9 * len(ids):
        return False
    ordered = sorted(numbers)
    middle = ordered[len(ordered) // 20 : -(len(ordered) // 20)]  # a few odd ids must not hide the run
    return middle[-1] - middle[0] + 1 <= 1.25 * len(middle)


def _found(index: dict[str, str | None] | dict[str, str], key: str, kept: str, way: str) -> tuple[str, str]:
    symbol = index.get(key, "")
    if symbol is None:
        return kept, "ambiguous"
    return (symbol, way) if symbol else (kept, "unknown")


def _index(lists: list[str], symbols: list[str]) -> dict[str, str | None]:
    """Every word of the lists to its symbol; None where it belongs to several."""
    found: dict[str, str | None] = {}
    for words, symbol in zip(lists, symbols, strict=True):
        if not words:
            continue
        for word in words.split("|"):
            if found.setdefault(word, symbol) != symbol:
                found[word] = None
    return found


def _columns(file: Path, raw: bytes) -> pa.Table:
    """A tab-separated file as a table of text."""
    try:
        if raw[:2] == b"\x1f\x8b":
            unpacker = zlib.decompressobj(wbits=31)
            raw = unpacker.decompress(raw)
            if not unpacker.eof:
                msg = f"{file} is a truncated gzip file; fetch it again"
                raise InputError(msg)
        names = raw[: raw.find(b"\n")].decode().rstrip("\r").lstrip("#").split("\t")
        return pc.read_csv(
            pa.BufferReader(raw),
            read_options=pc.ReadOptions(column_names=names, skip_rows=1, block_size=1 << 22),
            parse_options=pc.ParseOptions(delimiter="\t", quote_char=False),
            convert_options=pc.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError, zlib.error) as error:
        msg = f"{file} is not a gene table (tab-separated text, plain or gzip): {error}"
        raise InputError(msg) from error


def _from_gene_info(table: pa.Table) -> dict[str, list[str]]:
    """NCBI's columns as ours. Of several species the human one is taken, else the most common."""
    columns = [table[name].to_pylist() for name in NCBI]
    taxa = table["tax_id"].to_pylist() if "tax_id" in table.column_names else [HUMAN] * table.num_rows
    taxon = HUMAN if HUMAN in taxa else next((t for t, _ in Counter(taxa).most_common(1)), HUMAN)
    values: dict[str, list[str]] = {name: [] for name in OURS}
    for its_taxon, entrez, symbol, name, biotype, refs, synonyms in zip(taxa, *columns, strict=True):
        if its_taxon != taxon or symbol == "NEWENTRY":  # NCBI's mark of a record not yet named
            continue
        ensembl = "|".join(r[8:] for r in refs.split("|") if r.startswith("Ensembl:"))
        row = (entrez, symbol, _word(name), biotype, ensembl, _word(synonyms))
        for key, value in zip(OURS, row, strict=True):
            values[key].append(value)
    return values


def _word(text: str) -> str:
    """NCBI writes an empty field as a dash."""
    return "" if text == "-" else text
