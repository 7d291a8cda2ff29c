"""The prompt through a pseudo-terminal, as a person types; lines from a pipe; what Tab offers."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput

from g2v_dask import ask
from g2v_dask.errors import InputError, SpecError
from g2v_dask.query import Embedding
from g2v_dask.store import Store
from tests import stores

GENES = ["CD3D", "CD3E", "CD3G", "CD74", "HLA-DRA", "HLA-DRB1", "MYC", "New York", "RPL3", "RPL4", "TP53", "don't"]
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[()][A-Z0-9]|\x1b[=>]|\r")
PATIENCE = 60  # seconds until a test gives up waiting


@pytest.fixture
def store(tmp_path: Path) -> Store:
    opened = stores.empty(tmp_path / "store")
    stores.embedding(opened, "genes", GENES, np.random.default_rng(0).normal(size=(len(GENES), 6)))
    return opened


@pytest.fixture
def asker(store: Store, tmp_path: Path) -> ask.Asker:
    record = ask.Record(tmp_path / "session.md")
    return ask.Asker(store=store, record=record, embedding=ask.query.open_embedding(store))


# -- a person at a terminal ---------------------------------------------------------------------------------


class Terminal:
    """`g2v ask` on a pseudo-terminal of 160 columns."""

    def __init__(self, folder: Path, *words: object) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        environment = {**os.environ, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "XDG_STATE_HOME": str(folder)}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "g2v_dask.cli", "ask", *map(str, words)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        os.close(slave)
        self.raw = b""
        self._read = 0

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def expect(self, text: str) -> str:
        """What was shown up to this text, from where the last one ended."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.shown[self._read :]:
            assert self._take(deadline), f"{text!r} was not shown, but:\n{self.shown[self._read :]}"
        end = self.shown.index(text, self._read) + len(text)
        seen, self._read = self.shown[self._read : end], end
        return seen

    def end(self) -> int:
        """Waits until it has left, and says with which code."""
        deadline = time.monotonic() + PATIENCE
        while self._take(deadline):
            pass
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)

    @property
    def shown(self) -> str:
        return ESCAPES.sub("", self.raw.decode(errors="ignore"))

    def _take(self, deadline: float) -> bool:
        """Reads on; False at the end of all output or of patience."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        try:
            data = os.read(self._master, 1 << 16) if ready else b""
        except OSError:  # EIO: the other end is closed
            return False
        self.raw += data
        return bool(data)


@pytest.fixture
def terminal(store: Store, tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(tmp_path, "--store", store.root.desk, "-k", 4, "--session", "session.md")
    try:
        yield opened
    finally:
        opened.close()


def rows(shown: str) -> list[list[str]]:
    """The cells of the last table's body."""
    lines = shown.rsplit("───", 1)[1].splitlines()
    return [line.split() for line in lines if re.search(r"\d\.\d{4}", line)]


def test_ask__a_session_at_a_terminal(terminal: Terminal, tmp_path: Path) -> None:
    assert "answers also go to session.md" in terminal.expect("genes>")

    terminal.type("pair HLA-DRA cd7")
    terminal.expect("pair HLA-DRA cd7")
    terminal.type("\t")
    terminal.expect("CD74")  # what Tab makes of it
    terminal.type("\r")
    terminal.expect("HLA-DRA − CD74 ≈ ? − ?")
    shown = terminal.expect("genes>")
    assert "embedding genes; cosine; vectors as stored" in shown
    assert len(rows(shown)) == 4

    terminal.type("k 2\r")
    terminal.expect("k 2")
    terminal.expect("genes>")
    terminal.type("CD3\t")  # several: a menu
    for gene in ("CD3D", "CD3E", "CD3G"):
        terminal.expect(gene)
    terminal.type("\t\t")
    terminal.type("\r")
    terminal.expect("CD3E\nembedding genes; cosine")
    assert len(rows(terminal.expect("genes>"))) == 2

    terminal.type("similar nothere\r")
    terminal.expect("got 'nothere'")
    terminal.expect("genes>")
    terminal.type("solve MYC TP53 CD74\x03")  # taken back
    terminal.expect("genes>")
    terminal.type("gene MYC\r")
    terminal.expect("MYC − ? ≈ ? − ?")
    terminal.expect("genes>")
    terminal.type("quit\r")
    assert terminal.end() == 0

    text = (tmp_path / "session.md").read_text("utf-8")
    assert re.findall(r"^#+ .*", text, flags=re.MULTILINE) == [
        "# genes",
        "## pair HLA-DRA CD74",
        "## CD3E",
        "## gene MYC",
    ]
    pair = text.split("\n## ")[1]
    assert pair.count("\n| [HLA-DRA](https://www.proteinatlas.org/ENSG00000204287-HLA-DRA) |") == 4
    history = tmp_path / "g2v" / "history"
    assert [line[1:] for line in history.read_text("utf-8").splitlines() if line.startswith("+")] == [
        "pair HLA-DRA CD74",
        "k 2",
        "CD3E",
        "similar nothere",
        "gene MYC",
        "quit",
    ]
    assert history.stat().st_mode & 0o777 == 0o600
    assert history.parent.stat().st_mode & 0o777 == 0o700


def test_ask__control_d_leaves_and_an_unused_session_file_goes(terminal: Terminal, tmp_path: Path) -> None:
    terminal.expect("genes>")
    terminal.type("\x04")
    assert terminal.end() == 0
    assert not (tmp_path / "session.md").exists()


def test_prompt__control_c_stops_a_question_only(
    asker: ask.Asker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Embedding, "pair", slow)
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        keys.send_text("pair MYC TP53\rk 3\r\x04")
        ask._answer_prompt(asker, ask._private(tmp_path / "history"))
    assert capsys.readouterr().out.split("\n")[1:3] == ["stopped", "k 3"]


# -- lines of a pipe ----------------------------------------------------------------------------------------


def piped(lines: str, store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, **how: Path | None) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    given: dict[str, Path | None] = {"session": tmp_path / "session.md", "history": None, **how}
    return ask.ask(store, None, k=3, session=given["session"], history=given["history"])


def test_pipe__questions_and_settings(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stores.embedding(store, "second", ["A1BG", "A2M", "NAT1", "NAT2"], np.eye(4))
    lines = """
        pair HLA-DRA cd74
        metric l2
        sum on
        ceiling 0.9
        pair HLA-DRA cd74
        solve MYC TP53 "New York"
        embedding second
        k 1
        nat1
        quit
        nat2
    """
    monkeypatch.setattr(ask.query, "open_embedding", only_genes(ask.query.open_embedding))
    assert piped(lines, store, monkeypatch, tmp_path) == 0
    out, err = capsys.readouterr()
    assert err == f"answers also go to {tmp_path / 'session.md'}\n"
    for text in (
        "HLA-DRA − CD74 ≈ ? − ?\nembedding genes; cosine; vectors as stored\n",
        "HLA-DRA + CD74 ≈ ? + ?\nembedding genes; Euclidean distance; vectors as stored; ceiling 0.9\n",
        "MYC − TP53 = ? − New York\nembedding genes; unit vectors; ceiling 0.9\n",
        "second: 4 genes × 4 components\nk 1\nNAT1\nembedding second; cosine; ceiling 0.9\n",
    ):
        assert text in out
    assert "NAT2\n" not in out
    heads = re.findall(r"^#+ .*", (tmp_path / "session.md").read_text("utf-8"), flags=re.MULTILINE)
    assert heads == [
        "# genes",
        "## pair HLA-DRA cd74",
        "## pair HLA-DRA cd74",
        '## solve MYC TP53 "New York"',
        "# second",
        "## nat1",
    ]


def only_genes(really: object) -> object:
    """Opens ``genes`` where no name is given: the store holds two."""
    return lambda store, name=None: really(store, name or "genes")  # type: ignore[operator]


def test_pipe__wrong_lines_are_told_and_the_rest_is_answered(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = {
        "pair A": "write: pair A B",
        "nothere": "expected a gene",
        "similr MYC TP53": "unknown command 'similr' ('help' lists them); did you mean 'similar'?",
        'similar "x': "a double quote is not closed",
        "k 0": "k must be at least 1, got 0",
        "k two": "write: k N; got 'two'",
        "k": "write: k N",
        "ceiling high": "write: ceiling X|off; got 'high'",
        "metric cos": "did you mean 'cosine'?",
        "sum 1": "sum is on or off; got '1'",
        "embedding nope": "there are: genes",
        "help me": "write: help",
    }
    assert piped("\n".join([*wrong, "MYC"]), store, monkeypatch, tmp_path) == 2
    out, err = capsys.readouterr()
    told = err.splitlines()[1:]
    assert [line.split(":", 1)[0] for line in told] == list(wrong)
    for line, message in zip(told, wrong.values(), strict=True):
        assert message in line
    assert out.startswith("MYC\nembedding genes; cosine\n")


def test_pipe__lists_and_help(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert piped("ceiling 0\nceiling off\nunit on\nsettings\nhelp\nembeddings\nbest", store, monkeypatch, tmp_path) == 0
    out = capsys.readouterr().out
    assert out.startswith("ceiling 0.0\nceiling off\nunit on\n")
    shown = {line.split()[0]: line.split()[1] for line in out.splitlines() if len(line.split()) > 1}
    assert {key: shown[key] for key in ("k", "metric", "sum", "unit", "ceiling")} == {
        "k": "N",
        "metric": "cosine|inner|l2",
        "sum": "on|off",
        "unit": "on|off",
        "ceiling": "X|off",
    }
    assert re.search(r"^  unit +on  ", out, flags=re.MULTILINE)
    assert all(re.search(rf"^  {re.escape(command)} ", out, flags=re.MULTILINE) for command in ask.COMMANDS)
    assert f"g2v analogy best --store {store.root.desk} --name genes" in out
    assert not (tmp_path / "session.md").exists()  # nothing was answered


def test_ask__files_that_cannot_be_written(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="cannot write the report"):
        piped("MYC", store, monkeypatch, tmp_path, session=tmp_path)
    with pytest.raises(InputError, match="--history"):
        ask._private(tmp_path)
    with pytest.raises(SpecError, match="genes"):
        ask.ask(store, "nope", k=3, session=tmp_path / "new.md", history=None)
    assert not (tmp_path / "new.md").exists()


def test_history_file__follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert ask.history_file() == tmp_path / "g2v" / "history"
    monkeypatch.setenv("XDG_STATE_HOME", "")
    assert ask.history_file() == Path.home() / ".local" / "state" / "g2v" / "history"


def test_record__goes_on_in_a_file_and_spares_its_pictures(asker: ask.Asker, tmp_path: Path) -> None:
    (tmp_path / "session-1.png").write_bytes(b"of an earlier session")
    (tmp_path / "session.md").write_text("before\n")
    asker.settings = ask.Settings(k=6)
    asker.answer("gene MYC")
    text = (tmp_path / "session.md").read_text("utf-8")
    assert text.startswith("before\n# genes\n\ngenes: 12 genes × 6 components; digest ")
    assert "](session-2.png)" in text
    assert (tmp_path / "session-1.png").read_bytes() == b"of an earlier session"
    assert (tmp_path / "session-2.png").read_bytes().startswith(b"\x89PNG")


# -- completion ---------------------------------------------------------------------------------------------


def offered(asker: ask.Asker, line: str) -> list[str]:
    """The line as each completion would make it."""
    found = ask.Words(asker).get_completions(Document(line), CompleteEvent(completion_requested=True))
    return [line[: len(line) + c.start_position] + c.text for c in found]


def test_completion__commands_first_then_genes(asker: ask.Asker) -> None:
    assert offered(asker, "m") == ["max-per-gene", "min-difference", "metric", "MYC"]
    assert offered(asker, "cd3") == ["CD3D", "CD3E", "CD3G"]
    assert offered(asker, "")[: len(ask.COMMANDS)] == list(ask.COMMANDS)[: ask.SHOWN]


def test_completion__after_a_command(asker: ask.Asker) -> None:
    assert offered(asker, "pair hla-dra Cd7") == ["pair hla-dra CD74"]
    assert offered(asker, "gene new") == ['gene "New York"']
    assert offered(asker, 'gene "New Y') == ['gene "New York"']
    assert offered(asker, 'pair "New York" my') == ['pair "New York" MYC']
    assert offered(asker, "similar don'") == ["similar don't"]
    assert offered(asker, "metric ") == ["metric cosine", "metric inner", "metric l2"]
    assert offered(asker, "sum o") == ["sum on", "sum off"]
    assert offered(asker, "ceiling ") == ["ceiling off"]
    assert offered(asker, "biotype pro") == ["biotype protein-coding"]
    assert offered(asker, "embedding g") == ["embedding genes"]
    assert offered(asker, "quit ") == []
    assert offered(asker, "nonsense m") == []


def test_completion__ids_also_by_their_symbols(store: Store, tmp_path: Path) -> None:
    stores.embedding(store, "ids", ["ENSG00000019582", "ENSG00000204287"], np.eye(2))
    record = ask.Record(tmp_path / "ids.md")
    ids = ask.Asker(store=store, record=record, embedding=ask.query.open_embedding(store, "ids"))
    assert offered(ids, "gene cd") == ["gene CD74"]
    assert offered(ids, "gene ensg") == ["gene ENSG00000019582", "gene ENSG00000204287"]


def test_completion__files(asker: ask.Asker, tmp_path: Path) -> None:
    (tmp_path / "wanted.txt").touch()
    found = ask.Words(asker).get_completions(Document(f"genes {tmp_path}/wan"), CompleteEvent())
    assert [c.text for c in found] == ["ted.txt"]


def test_prefixes__as_a_search_of_all() -> None:
    rng = np.random.default_rng(3)
    words = ["".join(rng.choice(list("aAbB-é"), rng.integers(0, 5))) for _ in range(300)]
    found = ask.Prefixes(words)
    for prefix in {*words, "", "zz", "a", "B-"}:
        expected = sorted((w for w in set(words) if w.upper().startswith(prefix.upper())), key=lambda w: (w.upper(), w))
        assert list(found.starting(prefix)) == expected


def test_completion__at_most_50(store: Store, tmp_path: Path) -> None:
    names = [f"GENE{i:05d}" for i in range(200)]
    stores.embedding(store, "many", names, np.ones((200, 3)))
    record = ask.Record(tmp_path / "many.md")
    many = ask.Asker(store=store, record=record, embedding=ask.query.open_embedding(store, "many"))
    assert offered(many, "pair gene") == [f"pair {name}" for name in names[:50]]
