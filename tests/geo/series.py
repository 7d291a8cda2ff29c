"""Series matrices as GEO serves them, of real values: a series for each cohort, or 30 and more samples of one.

The values are those of the shared data, of some thousand genes; accessions, samples' accessions and files are ours.
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from io import StringIO
from pathlib import Path

import pandas as pd

from tests.data_paths import data
from tests.geo.server import Geo

SEQUENCER = "GPL11154"
LEAST = 30  # samples of a series
GENES = 500  # rows of a series, where there are more
RNASEQ = {  # GTEx and TCGA by tissue, RSEM
    "chol": "chol-rsem-count-tcga-t",
    "kich": "kich-rsem-count-tcga-t",
    "kidney": "kidney-rsem-count-gtex",
    "kirc": "kirc-rsem-count-tcga",
    "lusc": "lusc-rsem-count-tcga",
    "prad": "prad-rsem-count-tcga",
    "read": "read-rsem-count-tcga-t",
    "thca": "thca-rsem-count-tcga",
    "uterus": "uterus-rsem-count-gtex",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """A series of one platform, with its values."""

    accession: str
    platform: str
    title: str
    values: pd.DataFrame = field(repr=False)
    """Probes, or symbols, × samples."""
    updated: str = "Aug 10 2018"

    @property
    def file(self) -> str:
        """The name of its series matrix."""
        return f"{self.accession}_series_matrix.txt.gz"

    @property
    def samples(self) -> list[str]:
        """Accessions of its samples."""
        number = int(self.accession.removeprefix("GSE"))
        return [f"GSM{number * 1000 + i}" for i in range(self.values.shape[1])]

    @cached_property
    def matrix(self) -> bytes:
        """Its series matrix; the same values give the same bytes."""
        out = StringIO()
        write = csv.writer(out, delimiter="\t", quoting=csv.QUOTE_ALL, lineterminator="\n")
        many = self.values.shape[1]

        def line(key: str, *cells: str) -> None:
            out.write(f"!{key}\t")
            write.writerow(cells)

        line("Series_title", self.title)
        line("Series_geo_accession", self.accession)
        line("Series_status", "Public on Feb 21 2014")
        line("Series_last_update_date", self.updated)
        line("Series_sample_id", " ".join(self.samples) + " ")
        line("Series_platform_id", self.platform)
        line("Series_platform_taxid", "9606")
        out.write("\n")
        line("Sample_title", *(str(c) for c in self.values.columns))
        line("Sample_geo_accession", *self.samples)
        line("Sample_organism_ch1", *["Homo sapiens"] * many)
        line("Sample_platform_id", *[self.platform] * many)
        line("Sample_data_row_count", *[str(len(self.values))] * many)
        out.write("!series_matrix_table_begin\n")
        write.writerow(["ID_REF", *self.samples])
        table = self.values.copy()
        table.index = pd.Index([f'"{name}"' for name in table.index])
        table.to_csv(out, sep="\t", header=False, quoting=csv.QUOTE_NONE, lineterminator="\n")
        out.write("!series_matrix_table_end\n")
        return gzip.compress(out.getvalue().encode(), compresslevel=1, mtime=0)

    def without(self, samples: int) -> Series:
        """The series as it is after its last samples were withdrawn: another file under the same accession."""
        return replace(self, values=self.values.iloc[:, :-samples], updated="Sep 01 2018")

    def write(self, folder: Path) -> Path:
        """Its series matrix as a file of a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / self.file
        path.write_bytes(self.matrix)
        return path


@cache
def twenty() -> tuple[Series, ...]:
    """Twenty series: arrays by probe or by gene, and sequencing by gene."""
    named = [*_arrays(), *_sequenced()]
    found = [
        Series(accession=f"GSE{910_001 + i}", platform=platform, title=title, values=values)
        for i, (platform, title, values) in enumerate(named)
    ]
    assert len(found) == 20
    return tuple(found)


@cache
def another() -> Series:
    """One more series, that none of the others shares a sample with: whole blood."""
    samples = list(range(LEAST + 6))
    table = pd.read_csv(data("scale", "GSE49454_probes_x_samples.tsv.gz"), sep="\t", index_col=0, usecols=samples)
    return Series(accession="GSE910021", platform="GPL10558", title="whole blood", values=_thinned(table, "GPL10558"))


def _arrays() -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(platform, title, values) of the arrays."""
    yield "GPL96", "synovial tissue", _thinned(_matrix("GSE55235_series_matrix.txt.gz"), "GPL96")
    yield "GPL571", "liver", _thinned(_matrix("GSE14520-GPL571_series_matrix.txt.gz"), "GPL571")
    for platform, name in (("GPL96", "bladder_u133a"), ("GPL8300", "leukemia_u95av2")):
        table = pd.read_csv(data("demo_sources", f"{name}.tsv.gz"), sep="\t", index_col=0)
        for title, part in _cut(name, table):
            yield platform, title, _thinned(part)


def _sequenced() -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(platform, title, values) of the cohorts that were sequenced."""
    for name, file in RNASEQ.items():
        table = pd.read_csv(data("rnaseq", f"{file}.txt.gz"), sep="\t", index_col="Hugo_Symbol").iloc[:, 1:]
        for title, part in _cut(name, table):
            yield SEQUENCER, title, _thinned(part)


def _matrix(file: str) -> pd.DataFrame:
    """The table of a series matrix, probes × samples."""
    path = data("geo", file)
    return pd.read_csv(path, sep="\t", comment="!", index_col="ID_REF", quotechar='"')


def _cut(title: str, table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """A cohort in as many parts of at least 30 samples as there are."""
    parts = table.shape[1] // LEAST
    each = table.shape[1] // parts
    for part in range(parts):
        yield f"{title} {part + 1}" if parts > 1 else title, table.iloc[:, part * each : (part + 1) * each]


@cache
def genes() -> frozenset[str]:
    """The genes that are kept: of those that the gene-level array has, evenly by name."""
    path = data("demo_sources", "leukemia_u95av2.tsv.gz")
    names = sorted(pd.read_csv(path, sep="\t", usecols=[0]).iloc[:, 0])
    return frozenset(names[:: max(1, len(names) // GENES)])


def _thinned(table: pd.DataFrame, platform: str | None = None) -> pd.DataFrame:
    """The rows of the genes that are kept; of probes, those that the platform's table gives such a gene."""
    table = table[~table.index.duplicated()]
    if platform is None:
        return table.loc[table.index.isin(genes())]
    known = pd.read_csv(data("platforms", f"{platform}.tsv.gz"), sep="\t", index_col="probe_id")["symbol"]
    return table.loc[table.index.isin(known.index[known.isin(genes())])]


@cache
def annotation(platform: str) -> bytes:
    """A platform's table as GEO's ``.annot.gz``."""
    table = pd.read_csv(data("platforms", f"{platform}.tsv.gz"), sep="\t", keep_default_na=False)
    rows = "".join(f"{p}\t\t{s}\n" for p, s in zip(table["probe_id"], table["symbol"], strict=True))
    head = f"^Annotation\n!Annotation_platform = {platform}\n#ID = probe\n!platform_table_begin\n"
    text = f"{head}ID\tGene title\tGene symbol\n{rows}!platform_table_end\n"
    return gzip.compress(text.encode(), compresslevel=1, mtime=0)


def serve(geo: Geo, *series: Series) -> None:
    """Has a server serve these series, and what GEO knows of their platforms; sequencers have no annotation."""
    for one in series:
        geo.series(
            one.accession,
            one.matrix,
            platforms=(one.platform,),
            samples=one.values.shape[1],
            title=one.title,
        )
        if one.platform != SEQUENCER:
            geo.annotation(one.platform, annotation(one.platform))
