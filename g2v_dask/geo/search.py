"""Which series GEO has, by NCBI's E-utilities."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from g2v_dask.errors import G2VError, SpecError
from g2v_dask.geo import layout
from g2v_dask.geo.web import AGENT, Pace, Web, WebError, shown
from g2v_dask.geo_spec import GeoSpec

PAGE = 100  # series asked for at once: NCBI gives JSON of 500 records at most, and of 10 MB, with all their samples
RATE = {False: 3.0, True: 10.0}  # requests a second that NCBI allows, without and with an API key

_FIELD = re.compile(r'("[^"]*"|[^\s()\[\]"]+)\s*\[([^\[\]]+)\]')  # a value and its field, of a query


class SearchError(G2VError):
    """NCBI did not answer a search."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """A series that a search found."""

    accession: str
    title: str
    platforms: tuple[str, ...]
    samples: int
    updated: str | None
    """When it was published, YYYY-MM-DD."""


def search(spec: GeoSpec) -> tuple[Found, ...]:
    """The series that match, in order of accession number.

    ``NCBI_API_KEY`` and ``NCBI_EMAIL`` are taken from the environment.

    Raises: SpecError if NCBI does not know a field of the query; SearchError if it cannot be asked.
    """
    utils = Utilities.of(spec)
    try:
        return _all(utils, term(spec))
    except WebError as fault:
        msg = f"the search failed: {fault}; try again later, or check search-url"
        raise SearchError(utils.scrubbed(msg)) from None
    except SpecError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        msg = f"the search failed: {spec.search_url} gave an answer of another form ({type(error).__name__}: {error})"
        raise SearchError(utils.scrubbed(msg)) from None


def term(spec: GeoSpec) -> str:
    """The Entrez query, of fields that ``einfo`` lists for db=gds.

    Raises: SpecError if the spec's own terms leave a quote or a bracket open: they would reach beyond their brackets.

    >>> term(GeoSpec(platform=("GPL570",)))
    'gse[ETYP] AND GPL570[ACCN] AND "Homo sapiens"[ORGN] AND 30:1000000[NSAM]'
    """
    parts = ["gse[ETYP]"]
    if spec.platform:
        either = " OR ".join(f"{p}[ACCN]" for p in spec.platform)
        parts.append(f"({either})" if len(spec.platform) > 1 else either)
    if spec.organism:
        parts.append(f'"{spec.organism}"[ORGN]')
    parts.append(f"{spec.min_samples}:1000000[NSAM]")
    if spec.since is not None:
        dates = f"{spec.since.replace('-', '/')}:3000"
        parts.append(f"({dates}[PDAT] OR {dates}[UDAT])")
    if spec.query:
        _check_closed(spec.query)
        parts.append(f"({spec.query})")
    return " AND ".join(parts)


def _check_closed(query: str) -> None:
    rest = re.sub(r'"[^"]*"', "", query)
    while (outer := re.sub(r"\([^()\[\]]*\)|\[[^()\[\]]*\]", "", rest)) != rest:
        rest = outer
    if re.search(r'["()\[\]]', rest):
        msg = f"geo: query must close its quotes and brackets, each after it was opened, got {query!r}"
        raise SpecError(msg)


@dataclass(frozen=True)
class Utilities:
    """E-utilities, asked by POST: so no key is in a URL, nor in what is said of one."""

    web: Web
    url: str
    key: str
    email: str

    @classmethod
    def of(cls, spec: GeoSpec) -> Utilities:
        """As the spec and the environment say."""
        key, email = os.environ.get("NCBI_API_KEY", "").strip(), os.environ.get("NCBI_EMAIL", "").strip()
        web = Web(tries=spec.tries, timeout_seconds=spec.timeout_seconds, pace=Pace(1 / RATE[bool(key)]))
        return cls(web, spec.search_url, key, email)

    def ask(self, name: str, **values: str) -> dict[str, Any]:
        """The answer of ``esearch`` or ``esummary``, without its envelope."""
        url = f"{self.url}/{name}.fcgi"
        form = {"db": "gds", "retmode": "json", "tool": AGENT, **values}
        form |= {k: v for k, v in (("api_key", self.key), ("email", self.email)) if v}

        def once() -> dict[str, Any]:
            raw = self.web.body(url, form=form, paced=True)
            try:
                answer = json.loads(raw)
            except ValueError:
                msg = f"{shown(url)}: expected JSON, got {raw[:40]!r}"
                raise WebError(msg) from None
            inner = answer.get("esearchresult", answer.get("result")) if isinstance(answer, dict) else None
            refused = _refusal(answer)
            if refused is not None or not isinstance(inner, dict):
                raise WebError(self.scrubbed(f"{shown(url)}: {refused or 'an answer of another form'}"))
            return inner

        return self.web.patiently(once)

    def scrubbed(self, text: str) -> str:
        """A text without the key: NCBI repeats it in its own messages."""
        return text.replace(self.key, "***") if self.key else text


def _refusal(answer: Any) -> str | None:
    """What NCBI says is wrong: in an envelope of its own, or within the usual one."""
    if not isinstance(answer, dict):
        return None
    for inner in (answer, *(answer.get(k) for k in ("esearchresult", "result", "eutilsresult"))):
        if isinstance(inner, dict) and (said := inner.get("ERROR") or inner.get("error")):
            return str(said)[:200]
    return None


def _all(utils: Utilities, asked: str) -> tuple[Found, ...]:
    head = utils.ask("esearch", term=asked, usehistory="y", retmax="0")
    _check_understood(asked, head)
    count = int(head.get("count", 0))
    found: dict[str, Found] = {}
    for start in range(0, count, PAGE):
        page = utils.ask(
            "esummary",
            WebEnv=str(head["webenv"]),
            query_key=str(head["querykey"]),
            retstart=str(start),
            retmax=str(PAGE),
        )
        records = [page[uid] for uid in page.get("uids", [])]
        if len(records) != min(PAGE, count - start):
            text = f"expected {min(PAGE, count - start)} records of {count}, from {start}; got {len(records)}"
            raise WebError(text)
        found |= {f.accession: f for f in map(_found, records) if f is not None}
    return tuple(found[a] for a in layout.in_order(found))


def _check_understood(asked: str, head: Mapping[str, Any]) -> None:
    """Raises SpecError if NCBI dropped a part: it leaves out unknown fields without a word, and finds more."""
    translation = str(head.get("querytranslation", "")).lower()
    bare = translation.replace('"', "")
    named = [(value.strip('"').lower(), field) for value, field in _FIELD.findall(asked)]
    everywhere = _FIELD.sub(" ", asked).lower().replace('"', "")
    everywhere += " ".join(f" {value}" for value, field in named if field.lower().startswith("all"))
    # what a field that it does not know was asked for, it looks for everywhere
    lost = [
        field
        for value, field in named
        if f"{value}[all fields]" in bare and not re.search(rf"(?<!\w){re.escape(value)}(?!\w)", everywhere)
    ]
    errors = head.get("errorlist") or {}
    lost += [str(f) for f in errors.get("fieldsnotfound", errors.get("fieldnotfound", []))]
    if lost:
        msg = f"NCBI does not know the field {', '.join(lost)} of the query {asked!r}; it understood {translation!r}"
        raise SpecError(msg)


def _found(record: Mapping[str, Any]) -> Found | None:
    """A series of an esummary record; None for what is no series."""
    accession = str(record.get("accession", ""))
    if not layout.is_series(accession):
        return None
    platforms = (f"GPL{number}" for number in re.findall(r"\d+", str(record.get("gpl", ""))))
    day = str(record.get("pdat", "")).replace("/", "-")
    return Found(
        accession=accession,
        title=str(record.get("title", "")),
        platforms=tuple(layout.in_order(p for p in platforms if layout.is_platform(p))),
        samples=int(record.get("n_samples") or 0),
        updated=day if re.fullmatch(r"\d{4}-\d\d-\d\d", day) else None,
    )
