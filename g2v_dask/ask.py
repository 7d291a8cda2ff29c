"""``g2v ask``: questions about one embedding after another, from a prompt, or line by line from a pipe.

What is set (k, metric, filters) stays set until it is changed. Each answer is printed, and is in the Markdown
file of the session before the next line is read.
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, NoReturn

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory

from g2v_dask import query, report
from g2v_dask.answers import Analogies, Solutions
from g2v_dask.errors import G2VError, InputError, SpecError
from g2v_dask.names import Names
from g2v_dask.options import key_of, nearest, option, value_type
from g2v_dask.questions import PairSpec
from g2v_dask.store import Store

SHOWN = 50  # completions at once

QUESTIONS = {
    "pair": ("A B", "the pairs c, d with the best A − B ≈ c − d"),
    "gene": ("A", "the best A − b ≈ c − d"),
    "solve": ("A B C", "the genes d with the best A − B = d − C"),
    "similar": ("A", "the genes nearest to A; the name alone asks the same"),
}
OTHERS = {
    "best": ("", "how to ask for the best analogies of all"),
    "embedding": ("NAME", "ask another embedding"),
    "embeddings": ("", "list the embeddings of the store"),
    "settings": ("", "show what is set"),
    "help": ("", "this list"),
    "quit": ("", "leave, as Ctrl-D does"),
}


@dataclass(frozen=True, kw_only=True)
class Settings(PairSpec):
    """What holds for every question until it is changed."""

    k: int = option("answers to list", 10, low=1)


@dataclass(kw_only=True)
class Asker:
    """One who answers lines: the embedding that is open, and what is set."""

    store: Store
    record: Record
    embedding: query.Embedding
    settings: Settings = dataclasses.field(default_factory=Settings)

    def __post_init__(self) -> None:
        self.record.begin(self.embedding)
        self._questions: Mapping[str, Callable[..., Analogies | Solutions | report.Sheet]] = {
            "pair": self._pair,
            "gene": self._gene,
            "solve": self._solve,
            "similar": self._similar,
        }
        self._others: Mapping[str, Callable[..., None]] = {
            "best": self._best,
            "embedding": self._open,
            "embeddings": self._list,
            "settings": self._show,
            "help": _help,
            "quit": _quit,
        }

    def answer(self, line: str) -> None:
        """Does what a line says, and prints what comes of it.

        Raises: G2VError if it cannot; EOFError if it says to leave.
        """
        words = split(line)
        if len(words) == 1 and words[0] not in COMMANDS:
            words = ["similar", *words]
        if not words:
            return
        first, *rest = words
        if first not in COMMANDS:
            msg = f"unknown command {first!r} ('help' lists them){nearest(first, COMMANDS)}"
            raise SpecError(msg)
        usage = COMMANDS[first]
        if len(rest) != len(usage.split()):
            msg = f"write: {f'{first} {usage}'.strip()}; a name with spaces stands in double quotes"
            raise SpecError(msg)
        if first in self._questions:
            self._tell(line.strip(), self._questions[first](*rest))
        elif first in self._others:
            self._others[first](*rest)
        else:
            self._set(SETTINGS[first], *rest)

    # -- questions

    def _pair(self, a: str, b: str) -> Analogies:
        s = self.settings
        return self.embedding.pair(a, b, s.k, metric=s.metric, sums=s.sums, filters=s.filters)

    def _gene(self, a: str) -> Analogies:
        s = self.settings
        return self.embedding.gene(a, s.k, filters=s.filters)

    def _solve(self, a: str, b: str, c: str) -> Solutions:
        return self.embedding.solve(a, b, c, self.settings.k, filters=self.settings.filters)

    def _similar(self, gene: str) -> report.Sheet:
        filters = self.settings.filters
        found = self.embedding.similar(gene, self.settings.k, filters=filters)
        on = {key: value for key, value in filters.given().items() if key != "unit"}
        facts = (f"embedding {self.embedding.name}", "cosine", *report.filter_facts(on))
        return report.similar_sheet(self.embedding.names.resolve(gene), found, facts)

    def _tell(self, line: str, answers: Analogies | Solutions | report.Sheet) -> None:
        """Prints answers, then records them, with the picture that takes a second."""
        if isinstance(answers, report.Sheet):
            report.show_sheet(answers)
            self.record.add(line, answers)
        else:
            report.show_sheet(report.sheet(answers, self.embedding.names))
            full = report.full_sheet(answers, self.embedding.names, self.embedding.vectors)
            self.record.add(line, full)

    def _best(self) -> None:
        print("this one takes a cluster; in a shell:")
        where = ("--store", self.store.root.url, "--name", self.embedding.name)
        print(f"  {shlex.join(('g2v', 'analogy', 'best', *where))}")

    # -- what is asked, and how

    def _open(self, name: str) -> None:
        self.embedding = query.open_embedding(self.store, name)
        self.record.begin(self.embedding)
        print(described(self.embedding))

    def _list(self) -> None:
        report.table(self.store.rows("embeddings"), ("name", "digest", "size", "made"))

    def _set(self, setting: Setting, word: str) -> None:
        change = setting.change(word)
        self.settings = dataclasses.replace(self.settings, **change)
        print(f"{setting.command} {_shown(*change.values())}")

    def _show(self) -> None:
        rows = [{"setting": "embedding", "value": self.embedding.name, "meaning": described(self.embedding)}]
        for key, setting in SETTINGS.items():
            value = getattr(self.settings, setting.field.name)
            rows.append({"setting": key, "value": _shown(value), "meaning": setting.meaning})
        report.table(rows, ("setting", "value", "meaning"))


def split(line: str) -> list[str]:
    """The words of a line; double quotes hold words with spaces together, an apostrophe is a letter.

    Raises: SpecError for a quote that is not closed.

    >>> split('pair "New York" don\\'t')
    ['pair', 'New York', "don't"]
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters, lexer.quotes, lexer.escape = True, "", '"', ""
    try:
        return list(lexer)
    except ValueError as error:
        msg = f"a double quote is not closed: {line.strip()}"
        raise SpecError(msg) from error


def described(embedding: query.Embedding) -> str:
    """One line on an embedding."""
    genes, components = embedding.vectors.shape
    return f"{embedding.name}: {genes:,} genes × {components} components"


def _shown(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "on" if value else "off"
    return str(value)


def _quit() -> NoReturn:
    raise EOFError


def _help() -> None:
    meaning = {command: doc for command, (_, doc) in {**QUESTIONS, **OTHERS}.items()}
    meaning |= {command: setting.meaning for command, setting in SETTINGS.items()}
    rows = [{"write": f"{command} {usage}", "to": meaning[command]} for command, usage in COMMANDS.items()]
    report.table(rows, ("write", "to"))


# -- settings -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """One field of ``Settings``, as a command."""

    field: dataclasses.Field[Any]

    @property
    def command(self) -> str:
        """The word that sets it."""
        return key_of(self.field).replace("_", "-")

    @property
    def meaning(self) -> str:
        """Its line in the help."""
        return str(self.field.metadata["doc"])

    @property
    def values(self) -> tuple[str, ...]:
        """The words that may follow, where they are few."""
        kind, optional = value_type(self.field, Settings)
        if kind is bool:
            return ("on", "off")
        return (*self.field.metadata["choices"], *(("off",) if optional else ()))

    @property
    def usage(self) -> str:
        """What may follow, for the help."""
        kind, _ = value_type(self.field, Settings)
        free = {int: ("N",), float: ("X",), bool: ()}.get(kind, ("FILE" if self.field.metadata["path"] else "WORD",))
        return "|".join((*(() if self.field.metadata["choices"] else free), *self.values))

    def change(self, word: str) -> dict[str, Any]:
        """The field and its new value.

        Raises: SpecError for a word that is no value of it.
        """
        kind, optional = value_type(self.field, Settings)
        if kind is bool:
            if word not in self.values:
                msg = f"{self.command} is on or off; got {word!r}"
                raise SpecError(msg)
            return {self.field.name: word == "on"}
        if optional and word == "off":
            return {self.field.name: None}
        try:
            return {self.field.name: kind(word)}
        except ValueError as error:
            msg = f"write: {self.command} {self.usage}; got {word!r}"
            raise SpecError(msg) from error


SETTINGS = {setting.command: setting for setting in map(Setting, dataclasses.fields(Settings))}
COMMANDS = {
    **{command: usage for command, (usage, _) in QUESTIONS.items()},
    **{command: setting.usage for command, setting in SETTINGS.items()},
    **{command: usage for command, (usage, _) in OTHERS.items()},
}
"""Each command, and what follows it."""


# -- the session's file -------------------------------------------------------------------------------------


class Record:
    """The Markdown file of a session; it grows by whole answers, and a crash loses none.

    Raises: InputError if the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser()
        self._head = ""
        self._pictures = 0
        self._append("")  # fails before the first question, not after it

    def begin(self, embedding: query.Embedding) -> None:
        """Says which embedding the next answers are of."""
        now = datetime.now().astimezone().isoformat(" ", "seconds")
        facts = f"{report.escape(described(embedding))}; digest {embedding.digest[:12]}; {now}"
        self._head = f"# {report.escape(embedding.name)}\n\n{facts}\n\n"

    def add(self, asked: str, sheet: report.Sheet) -> None:
        """Adds an answer under its question; a picture goes into a file of its own beside this one."""
        name = ""
        if sheet.picture is not None:
            picture = self._free_picture()
            with report.writing(picture):
                picture.write_bytes(sheet.picture.png)
            name = picture.name
        self._append(f"{self._head}## {report.escape(asked)}\n\n{report.body(sheet, name)}\n")
        self._head = ""

    def end(self) -> None:
        """Takes the file away again if nothing was answered."""
        if not self.path.stat().st_size:
            self.path.unlink()

    def _free_picture(self) -> Path:
        """The next name that an earlier session in the same file did not take."""
        while True:
            self._pictures += 1
            picture = self.path.with_name(f"{self.path.stem}-{self._pictures}.png")
            if not picture.exists():
                return picture

    def _append(self, text: str) -> None:
        with report.writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as out:
                out.write(text)


def session_file() -> Path:
    """Where a session is recorded if nobody says."""
    return Path(f"g2v-session-{datetime.now():%Y%m%d-%H%M%S}.md")


# -- completion ---------------------------------------------------------------------------------------------


class Prefixes:
    """Words by how they begin, in any case: sorted once, then two bisections."""

    def __init__(self, words: Iterable[str]) -> None:
        self._words = sorted((word.upper(), word) for word in set(words))

    def starting(self, prefix: str) -> Iterator[str]:
        """The words that begin like that, in order."""
        upper = prefix.upper()
        first = bisect_left(self._words, (upper,))
        return (word for _, word in takewhile(lambda w: w[0].startswith(upper), islice(self._words, first, None)))


class Words(Completer):
    """What may come next on the line: commands, then genes; after a command, what it takes."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._files = PathCompleter(expanduser=True)
        self._of: tuple[Names, Prefixes] | None = None

    @property
    def _genes(self) -> Prefixes:
        """The words of the open embedding, and the symbols of those that are ids."""
        names = self._asker.embedding.names
        if self._of is None or self._of[0] is not names:
            symbols = (names.about(word).symbol for word in names.rows)
            self._of = names, Prefixes([*names.rows, *symbols])
        return self._of[1]

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """At most 50; a name with spaces comes in quotes."""
        before = document.text_before_cursor
        start = before.rfind('"') if before.count('"') % 2 else before.rfind(" ") + 1
        first, prefix = before[:start].split(" ", 1)[0], before[start:]
        if not before[:start].strip():
            found: Iterable[str] = (*(c for c in COMMANDS if c.startswith(prefix)), *self._named(prefix))
        elif first in QUESTIONS:
            found = self._named(prefix)
        elif first in SETTINGS and SETTINGS[first].field.metadata["path"]:
            yield from self._files.get_completions(Document(prefix), complete_event)
            return
        else:
            found = (w for w in self._values(first) if w.startswith(prefix))
        yield from (Completion(word, start_position=-len(prefix)) for word in islice(found, SHOWN))

    def _named(self, prefix: str) -> Iterator[str]:
        genes = islice(self._genes.starting(prefix.removeprefix('"')), SHOWN)
        return (f'"{gene}"' if " " in gene or prefix.startswith('"') else gene for gene in genes)

    def _values(self, command: str) -> Iterable[str]:
        if command == "embedding":
            return self._asker.store.names("embeddings")
        kinds = sorted(set(self._asker.embedding.names.table.kinds) - {""}) if command == "biotype" else []
        return (*kinds, *SETTINGS[command].values) if command in SETTINGS else ()


# -- where lines come from ----------------------------------------------------------------------------------


def ask(store: Store, name: str | None, *, k: int, session: Path | None, history: Path | None) -> int:
    """Answers lines until there are no more, from a prompt if stdin is a terminal. Returns: the exit code.

    A prompt ends with 0, whatever was asked. Lines of a pipe end with 2 if one of them failed: the others are
    answered all the same.
    Raises: SpecError or StoreError if there is no such embedding; InputError if a file cannot be written.
    """
    embedding = query.open_embedding(store, name)
    record = Record(session if session is not None else session_file())
    asker = Asker(store=store, record=record, embedding=embedding, settings=Settings(k=k))
    told = f"answers also go to {record.path}"
    try:
        if not sys.stdin.isatty():
            print(told, file=sys.stderr)
            return _answer_lines(asker, sys.stdin)
        print(f"{described(embedding)}; {told}\nTab completes, 'help' lists the commands, Ctrl-D leaves")
        _answer_prompt(asker, _private(history if history is not None else history_file()))
    finally:
        record.end()
    return 0


def _answer_lines(asker: Asker, lines: Iterable[str]) -> int:
    code = 0
    for line in lines:
        try:
            asker.answer(line)
        except G2VError as error:
            print(f"{line.strip()}: {error}", file=sys.stderr)
            code = 2
        except EOFError:
            break
    return code


def _answer_prompt(asker: Asker, history: Path) -> None:
    for line in _typed(asker, history):
        try:
            asker.answer(line)
        except G2VError as error:
            print(error, file=sys.stderr)
        except KeyboardInterrupt:
            print("\nstopped")
        except EOFError:
            break


def _typed(asker: Asker, history: Path) -> Iterator[str]:
    """The lines of a person, until Ctrl-D; Ctrl-C takes one back."""
    prompt: PromptSession[str] = PromptSession(
        history=FileHistory(str(history)),
        auto_suggest=AutoSuggestFromHistory(),
        completer=Words(asker),
        complete_while_typing=False,
    )
    while True:
        try:
            line = prompt.prompt(f"{asker.embedding.name}> ")
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        yield line


def history_file() -> Path:
    """Where lines are remembered if nobody says, by the XDG rules."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"  # an empty one counts as unset
    return Path(state).expanduser() / "g2v" / "history"


def _private(history: Path) -> Path:
    """The file, made if need be, for its owner's eyes only."""
    file = history.expanduser()
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    except OSError as error:
        msg = f"cannot write the history {file}: {error.strerror}; name another file with --history"
        raise InputError(msg) from error
    return file
