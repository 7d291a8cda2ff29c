"""Gene pairs from the Gene Ontology: files in, a folder of files out."""

from __future__ import annotations

import gzip
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g2v_dask.errors import InputError, SpecError
from g2v_dask.evaluate_spec import GoaSpec
from g2v_dask.evaluation import goa
from g2v_dask.files import canonical, file_sha256, write_file
from g2v_dask.genes import GeneTable
from g2v_dask.ontology import Ontology, recognised

ABOUT = "pairs.json"  # beside the pairs: settings, inputs, counts, and the hash of each file
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Made:
    """A folder of pairs, and how it came to be."""

    folder: Path
    about: Mapping[str, Any]
    """``settings``, ``inputs`` (sha256), ``counts``, ``files`` (sha256)."""
    fresh: bool
    """It was there already, and nothing was done."""

    @property
    def counts(self) -> Mapping[str, Any]:
        """Genes, terms, positives before the split; of each split genes, positives, negatives."""
        counts: Mapping[str, Any] = self.about["counts"]
        return counts

    def as_json(self) -> dict[str, Any]:
        """For ``--json``: all that is known, and the paper's counts."""
        paper = {"humannet": goa.PAPER, "splits": goa.PUBLISHED}
        return {"folder": str(self.folder), "fresh": self.fresh, **self.about, "paper": paper}


def pairs(spec: GoaSpec) -> Made:
    """Writes {train,valid,test}_{text,label}.txt.gz in the published format, and ``pairs.json``, into ``spec.to``.

    A line of text is two symbols apart by a space, a line of label 1 or 0. The folder comes into place whole. One that
    holds these pairs already is left as it is; if a file of them is missing or damaged they are written again. The
    same inputs and settings give the same bytes.
    Raises: InputError as ``Ontology.read``, ``GeneTable.load`` and ``goa.build``; SpecError if ``spec.to`` is a file,
            or holds anything else.
    """
    source, target = Path(spec.go).expanduser(), Path(spec.to).expanduser().resolve()
    if not source.is_dir():
        msg = f"expected a folder of the Gene Ontology at {source}; --go names the folder, not a file"
        raise InputError(msg)
    files = recognised(sorted(source.iterdir()))
    table = GeneTable.load(spec.genes)
    settings = {"version": VERSION, **spec.select("identity")}
    inputs = {file.name: file_sha256(file) for file in files.values()}
    wanted = {"settings": settings, "inputs": {**inputs, "genes": table.digest}}
    earlier = _earlier(target, wanted)
    if earlier is not None and _whole(target, earlier):
        return Made(folder=target, about=earlier, fresh=True)
    built = goa.build(Ontology.read(list(files.values()), table, taxon=spec.tax_id), spec)
    with _placed(target) as folder:
        sums = {}
        for name, data in _contents(built):
            write_file(folder / name, data)
            sums[name] = file_sha256(folder / name)
        about = {**wanted, "counts": _counts(built), "files": sums}
        write_file(folder / ABOUT, (json.dumps(about, indent=1, sort_keys=True) + "\n").encode())
    return Made(folder=target, about=about, fresh=False)


def _earlier(target: Path, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an earlier output of the same settings says of itself; None for a folder that is free.

    Raises: SpecError if the folder holds anything else.
    """
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    try:
        about: dict[str, Any] = json.loads((target / ABOUT).read_text("utf-8"))
        found = {key: about[key] for key in (*wanted, "counts", "files")}
    except (OSError, ValueError, LookupError, TypeError) as error:
        msg = f"{target} is not empty, and no output of 'g2v goa pairs'; name a new folder with --to"
        raise SpecError(msg) from error
    for part, now in wanted.items():
        if canonical(found[part]) != canonical(now):
            other = sorted({k for k in {*found[part], *now} if found[part].get(k) != now.get(k)})
            msg = f"{target} holds pairs of other {part} ({', '.join(other)}); name a new folder with --to"
            raise SpecError(msg)
    return found


def _whole(target: Path, about: Mapping[str, Any]) -> bool:
    """Whether every file is there as it was written."""
    return all((target / n).is_file() and file_sha256(target / n) == sha for n, sha in about["files"].items())


@contextmanager
def _placed(target: Path) -> Iterator[Path]:
    """A folder to write into, which takes the target's place at the end; of an earlier output its files, one by one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    part.mkdir()
    try:
        yield part
        if (target / ABOUT).exists():
            for file in part.iterdir():
                file.replace(target / file.name)
        else:
            part.replace(target)  # an empty folder gives way
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _contents(built: goa.Built) -> Iterator[tuple[str, bytes]]:
    for split in built.splits:
        text = "\n".join(map(" ".join, zip(split.first.tolist(), split.second.tolist(), strict=True))) + "\n"
        label = "\n".join(map(str, split.label.tolist())) + "\n"
        yield f"{split.name}_text.txt.gz", gzip.compress(text.encode(), 6, mtime=0)
        yield f"{split.name}_label.txt.gz", gzip.compress(label.encode(), 6, mtime=0)


def _counts(built: goa.Built) -> dict[str, Any]:
    whole = ("genes", "terms", "positives", "positive_genes", "doubtful")
    return {
        **{key: getattr(built, key) for key in whole},
        "splits": {split.name: split.counts for split in built.splits},
    }
