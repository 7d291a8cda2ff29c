"""A file of vectors → ``embeddings/<name>``, an embedding like any other. One part; it runs in process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g2v_dask import arrays, exchange
from g2v_dask.files import file_sha256
from g2v_dask.parts import Output, Part, Plan, Receipt, Target, Work, one_round, share_nothing
from g2v_dask.spec import ImportSpec
from g2v_dask.store import Store

VERSION = 1
begin = share_nothing
next_round = one_round


@dataclass(frozen=True, kw_only=True)
class Detail:
    """What the part needs to know."""

    file: Path
    truncate: int | None


def plan(store: Store, spec: ImportSpec) -> Plan:
    """One target of one part. The file is hashed; of its content only the first bytes are looked at.

    Raises: InputError if the file is missing, empty, a web page, or of an unknown extension.
            SpecError for a name that cannot be one.
    """
    file = exchange.sniff(Path(spec.file)).absolute()
    target = Target(
        kind="embeddings",
        name=spec.name,
        title=spec.name,
        version=VERSION,
        identity={"tile": store.tile, **spec.select("identity")},
        inputs={f"file:{file.name}": file_sha256(file)},
        detail=Detail(file=file, truncate=spec.truncate),
        parts=(Part(number=0, bytes=3 * file.stat().st_size, label=f"{spec.name} from {file.name}"),),
    )
    target.folder(store)  # a wrong name is found before any work
    return Plan(stage="import", targets=(target,))


def run_part(work: Work) -> Output:
    """Reads and checks the file, and writes vectors and card."""
    detail: Detail = work.target.detail
    found = exchange.read(detail.file, truncate=detail.truncate)
    work.alive()
    genes, components = found.vectors.shape
    # what identity and data determine; a file's own card is kept, so that what it was trained on stays known
    card: dict[str, Any] = {"genes": genes, "components": components, "imported_from": detail.file.name}
    if found.card:
        card["card"] = found.card
    files = arrays.write(
        work.folder,
        "embeddings",
        data={"vector": found.vectors},
        chunks=(work.store.tile, components),
        attributes={"card": card},
        coordinates={"gene_id": found.genes},
    )
    return Output(files=files, result=card)


def facts(store: Store, target: Target, receipts: Mapping[int, Receipt]) -> dict[str, Any]:
    """The card."""
    card: dict[str, Any] = receipts[0]["result"]
    return card
