"""A file of vectors → ``embeddings/<name>``, an embedding like any other. One part; it runs in process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from g2v_dask import arrays, exchange
from g2v_dask.errors import InputError
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
    options: exchange.Options
    descriptions: Path | None


def plan(store: Store, spec: ImportSpec) -> Plan:
    """One target of one part. The files are hashed; of the vectors only the first bytes are looked at.

    Raises: InputError if a file is missing, and if that of the vectors is empty, a web page, of an unknown
            extension, or of a format that has no use for an option.
            SpecError for a name that cannot be one.
    """
    file = exchange.sniff(Path(spec.file)).absolute()
    options = exchange.settle(
        file,
        exchange.Options(
            names=_path(spec.names),
            tokens=_path(spec.tokens),
            tensor=spec.tensor,
            trust_pickle=spec.trust_pickle,
            truncate=spec.truncate,
        ),
    )
    detail = Detail(file=file, options=options, descriptions=_path(spec.descriptions))
    beside = {"names": options.names, "tokens": options.tokens, "descriptions": detail.descriptions}
    target = Target(
        kind="embeddings",
        name=spec.name,
        title=spec.name,
        version=VERSION,
        identity={"tile": store.tile, **spec.select("identity")},
        # under what each file is to the vectors: a names file in place of a dictionary is another import
        inputs={f"{role}:{path.name}": _sha256(path) for role, path in {"file": file, **beside}.items() if path},
        spec=spec,
        detail=detail,
        parts=(Part(number=0, bytes=3 * file.stat().st_size, label=f"{spec.name} from {file.name}"),),
    )
    target.folder(store)  # a wrong name is found before any work
    return Plan(stage="import", targets=(target,))


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text).expanduser().absolute()


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise InputError(msg) from error


def run_part(work: Work) -> Output:
    """Reads and checks the file, and writes vectors, card and descriptions."""
    detail: Detail = work.target.detail
    found = exchange.read(detail.file, detail.options)
    work.alive()
    genes, components = found.vectors.shape
    # what identity and data determine; a file's own card is kept, so that what it was trained on stays known
    card: dict[str, Any] = {"genes": genes, "components": components, "imported_from": detail.file.name}
    if found.card:
        card["card"] = found.card
    if found.special:
        card["special_tokens_left_out"] = list(found.special)
    coordinates: dict[str, Any] = {"gene_id": found.genes}
    if detail.descriptions is not None:
        descriptions = exchange.describe(detail.descriptions, found.genes.tolist())
        card["described"] = sum(text != "" for text in descriptions)
        coordinates["description"] = descriptions
    files = arrays.write(
        work.folder,
        "embeddings",
        data={"vector": found.vectors},
        chunks=(work.store.tile, components),
        attributes={"card": card},
        coordinates=coordinates,
    )
    return Output(files=files, result=card)


def facts(store: Store, target: Target, receipts: Mapping[int, Receipt]) -> dict[str, Any]:
    """The card."""
    card: dict[str, Any] = receipts[0]["result"]
    return card


def sentence(card: Mapping[str, Any]) -> str:
    """What came in, for people."""
    left_out = card.get("special_tokens_left_out", ())
    parts = [f"{card['genes']:,} words × {card['components']} from {card['imported_from']}"]
    if left_out:
        parts.append(f"{len(left_out)} special tokens left out ({', '.join(left_out)})")
    if "described" in card:
        parts.append(f"{card['described']:,} with a description")
    return "; ".join(parts)
