"""Searching GEO through E-utilities."""

from __future__ import annotations

import json
import logging

import pytest

from g2v_dask.errors import SpecError
from g2v_dask.geo import search as searching
from g2v_dask.geo import web
from g2v_dask.geo.search import SearchError, search, term
from g2v_dask.geo_spec import GeoSpec
from tests.geo import parts
from tests.geo.server import Fault, Geo
from tests.shell import g2v

KEY = "0123456789abcdef0123456789abcdef0123"


@pytest.fixture
def full(geo: Geo) -> Geo:
    """Some series of GEO."""
    geo.series("GSE55235", platforms=("GPL96",), samples=30, title="arthritis", published="2014/02/21")
    geo.series("GSE4107", platforms=("GPL570",), samples=22, title="colorectal", published="2007/05/08")
    geo.series("GSE100", platforms=("GPL570",), samples=99, title="mice", organism="Mus musculus")
    geo.series("GSE14520", platforms=("GPL571", "GPL3921"), samples=488, title="liver", published="2010/12/14")
    geo.series("GSE230000", platforms=("GPL570",), samples=64, title="new liver", published="2026/01/02")
    return geo


def spec(geo: Geo, **options: object) -> GeoSpec:
    return GeoSpec(**{"timeout_seconds": 2.0, "tries": 3, **geo.settings, **options})


def test_search__fields_and_order_of_accession_number(full: Geo) -> None:
    found = search(spec(full))
    assert [f.accession for f in found] == ["GSE14520", "GSE55235", "GSE230000"]
    assert found[0].platforms == ("GPL571", "GPL3921")
    assert (found[0].samples, found[0].title, found[0].updated) == (488, "liver", "2010-12-14")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"platform": ("GPL570",)}, ["GSE230000"]),
        ({"platform": ("GPL570", "GPL96")}, ["GSE55235", "GSE230000"]),
        ({"min_samples": 1}, ["GSE4107", "GSE14520", "GSE55235", "GSE230000"]),
        ({"organism": "Mus musculus"}, ["GSE100"]),
        ({"organism": ""}, ["GSE100", "GSE14520", "GSE55235", "GSE230000"]),
        ({"since": "2014-02-21"}, ["GSE55235", "GSE230000"]),
        ({"query": "liver[TITL] NOT new[TITL]"}, ["GSE14520"]),
        ({"platform": ("GPL1",)}, []),
    ],
)
def test_search__options(full: Geo, options: dict[str, object], expected: list[str]) -> None:
    assert [f.accession for f in search(spec(full, **options))] == expected


def test_term__of_the_paper() -> None:
    asked = term(GeoSpec(platform=("GPL570",), since="2024-01-31"))
    assert asked == (
        'gse[ETYP] AND GPL570[ACCN] AND "Homo sapiens"[ORGN] AND 30:1000000[NSAM]'
        " AND (2024/01/31:3000[PDAT] OR 2024/01/31:3000[UDAT])"
    )


@pytest.mark.parametrize(
    "query",
    [
        "liver[TITL] OR mice[TITL] OR colorectal[TITL]",
        "mice[TITL] OR (colorectal[TITL] OR (liver[TITL]))",
        '"liver"[TITL] OR "mice"[TITL]',
    ],
)
def test_search__either_of_a_query_reaches_no_further_than_its_brackets(full: Geo, query: str) -> None:
    """Neither the mice nor the 22 samples are found by what stands beside the other terms."""
    assert [f.accession for f in search(spec(full, query=query))] == ["GSE14520", "GSE230000"]


FREE = '("non-small cell" OR Crohn\'s) AND (5% & "α; β + γ"[TITL] NOT #1=2?) OR liver AND human[ORGN]'


def understood(translation: str, **more: object) -> Fault:
    """An answer of ``esearch`` that finds nothing."""
    found = {"count": "0", "querykey": "1", "webenv": "W", "idlist": [], "querytranslation": translation, **more}
    return Fault(text=json.dumps({"header": {}, "esearchresult": found}).encode())


def test_search__free_text_arrives_as_it_was_written(full: Geo) -> None:
    full.always["esearch.fcgi"] = understood("")
    assert search(spec(full, query=FREE)) == ()
    (asked,) = full.asked("esearch.fcgi")
    assert asked.query["term"] == f'gse[ETYP] AND "Homo sapiens"[ORGN] AND 30:1000000[NSAM] AND ({FREE})'


TERMS = 'gse[ETYP] AND "homo sapiens"[ORGN] AND 30:1000000[NSAM]'


@pytest.mark.parametrize(
    ("query", "translation"),
    [
        ("liver", '("liver"[MeSH Terms] OR liver[All Fields])'),
        ("liver[TITL] OR (liver AND human)", "liver[Title] OR ((liver[All Fields]) AND human[All Fields])"),
        ("liver[TITL] OR liver[All Fields]", "liver[Title] OR liver[All Fields]"),
        ('"liver"[TITL] NOT "fatty liver"', '"liver"[Title] NOT "fatty liver"[All Fields]'),
        ("cancer[TITL] AND breast cancer", 'cancer[Title] AND (breast[All Fields] AND "cancer"[All Fields])'),
    ],
)
def test_search__free_text_is_looked_for_everywhere(full: Geo, query: str, translation: str) -> None:
    full.always["esearch.fcgi"] = understood(f"{TERMS} AND {translation}")
    assert search(spec(full, query=query)) == ()


@pytest.mark.parametrize(
    ("query", "translation", "field"),
    [
        ('"fatty liver"[BOGUS] OR brain', '"fatty liver"[All Fields] OR brain[All Fields]', "BOGUS"),
        ("liver [BOGUS]", "liver[All Fields]", "BOGUS"),
        ("(liver[BOGUS])", "liver[All Fields]", "BOGUS"),
        ("liver[BOGUS] OR livers", "liver[All Fields] OR livers[All Fields]", "BOGUS"),
    ],
)
def test_search__fields_that_were_dropped_among_free_text(full: Geo, query: str, translation: str, field: str) -> None:
    full.always["esearch.fcgi"] = understood(f"{TERMS} AND {translation}")
    with pytest.raises(SpecError, match=f"does not know the field {field}"):
        search(spec(full, query=query))


@pytest.mark.parametrize(
    "query", ["liver) OR (mice", "liver)", "(liver", '"liver', 'liver" OR "mice" OR x', "liver[TITL", "(liver[)]"]
)
def test_search__refuses_a_query_that_would_reach_beyond_its_brackets(full: Geo, query: str) -> None:
    with pytest.raises(SpecError, match="must close its quotes and brackets"):
        search(spec(full, query=query))
    assert full.requests == []


def test_search__pages(full: Geo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "PAGE", 2)
    assert len(search(spec(full, organism="", min_samples=1))) == 5
    assert [r.query["retstart"] for r in full.asked("esummary.fcgi")] == ["0", "2", "4"]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429, after="0"),
        Fault(status=503),
        Fault(hang=True),
        Fault(reset_at=20),
        Fault(end_at=20),
        Fault(html=True),
        Fault(text=b'{"error": "API rate limit exceeded", "count": "11"}'),
        Fault(text=b'{"header": {}, "eutilsresult": {"ERROR": "Input XML size is 93810383 bytes"}}'),
        Fault(text=b'{"header": {}, "esearchresult": {"ERROR": "Search Backend failed"}}'),
    ],
    ids=lambda f: str({k: v for k, v in vars(f).items() if v}),
)
def test_search__goes_on_after_a_fault(full: Geo, fault: Fault) -> None:
    full.misbehave("esummary.fcgi", fault)
    assert len(search(spec(full, timeout_seconds=0.5))) == 3


def test_search__says_what_failed(full: Geo) -> None:
    full.always["esearch.fcgi"] = Fault(status=503)
    with pytest.raises(SearchError, match=r"the search failed: http://.*/esearch.fcgi: 503"):
        search(spec(full))
    assert len(full.asked("esearch.fcgi")) == 3


def test_search__refuses_a_page_that_lacks_records(full: Geo) -> None:
    full.always["esummary.fcgi"] = Fault(text=b'{"result": {"uids": []}}')
    with pytest.raises(SearchError, match="expected 3 records of 3, from 0; got 0"):
        search(spec(full))


@pytest.mark.parametrize(
    "text", [b'{"esearchresult": {"count": "3"}}', b'{"esearchresult": {"count": "many"}}', b"[]", b'"yes"']
)
def test_search__answer_of_another_form(full: Geo, text: bytes) -> None:
    full.always["esearch.fcgi"] = Fault(text=text)
    with pytest.raises(SearchError, match="of another form"):
        search(spec(full))


def test_search__refuses_a_field_that_was_dropped(full: Geo) -> None:
    with pytest.raises(SpecError, match="does not know the field BOGUS"):
        search(spec(full, query="liver[BOGUS]"))


def test_search__key_goes_along_and_is_never_shown(
    full: Geo, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NCBI_API_KEY", KEY)
    monkeypatch.setenv("NCBI_EMAIL", "someone@example.org")
    caplog.set_level(logging.DEBUG)
    assert len(search(spec(full))) == 3
    first = full.requests[0]
    assert (first.query["api_key"], first.query["email"], first.query["tool"]) == (
        KEY,
        "someone@example.org",
        "g2v_dask",
    )
    words = [w for k, v in full.settings.items() for w in (f"--{k.replace('_', '-')}", v) if k == "search_url"]
    echo = Fault(text=json.dumps({"error": f"API key {KEY} invalid"}).encode())
    for fault in (Fault(status=400), Fault(reset_at=5), Fault(hang=True), Fault(html=True), echo):
        full.always["esearch.fcgi"] = fault
        said = g2v("-v", "geo", "search", *words, "--tries", 1, "--timeout-seconds", 0.3)
        assert said.code == 1
        assert "the search failed" in said.err
        assert KEY not in said.out + said.err
    assert KEY not in caplog.text


def test_pace__keeps_its_distance_over_all_threads() -> None:
    stop = parts.Recorder()
    pace = web.Pace(10.0)
    for _ in range(4):
        pace.wait(stop)
    assert [round(w, -1) for w in stop.waited] == [0, 10, 20, 30]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--platform", "GPL570; rm"], "platform must hold accessions such as GPL570"),
        (["--platform", "../GPL570"], "platform must hold accessions such as GPL570"),
        (["--since", "last week"], "since must be a date"),
        (["--organism", 'Homo" OR "Mus'], "without quotes"),
        (["--search-url", "file:///etc"], "must begin with https://"),
        (["--min-samples", "0"], "must be at least 1"),
    ],
)
def test_cli_search__bad_usage(words: list[str], said: str) -> None:
    answer = g2v("geo", "search", *words)
    assert answer.code == 2
    assert said in answer.err


def test_cli_search__table_and_json(full: Geo) -> None:
    words = ["geo", "search", "--search-url", full.settings["search_url"], "--platform", "GPL570"]
    table = g2v(*words)
    assert table.code == 0
    assert "GSE230000" in table.out
    assert "GSE55235" not in table.out
    (row,) = json.loads(g2v(*words, "--json").out)
    assert row == {
        "accession": "GSE230000",
        "title": "new liver",
        "platforms": ["GPL570"],
        "samples": 64,
        "updated": "2026-01-02",
    }
