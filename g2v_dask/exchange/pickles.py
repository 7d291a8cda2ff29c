"""Dictionaries in Python pickles, read without Python's unpickler.

A pickle is a program for a stack machine, which may call anything. This module runs the few of its operations
that a flat dictionary of texts and numbers is made of, on values of its own, and refuses all others. No name is
ever imported: the two globals that NumPy scalars need are answered by ``_Dtype`` and ``_scalar`` below.
Keys and values are looked at before they are used, so nothing nested is ever hashed, compared or printed.
"""

from __future__ import annotations

import pickletools
import struct
from pathlib import Path
from typing import Any

import numpy as np

from g2v_dask.errors import InputError

Entry = str | int | float
SUFFIXES = (".pkl", ".pickle")
LARGEST = 1 << 63  # whole numbers reach from -2^63 to 2^64 in NumPy

_SCALAR = {"numpy.core.multiarray scalar", "numpy._core.multiarray scalar"}
_DTYPE = "numpy dtype"
_NUMBERS = {"b1", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f2", "f4", "f8"}
_VALUES = {
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"),
    *("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("SHORT_BINBYTES", "BINBYTES", "BINBYTES8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Refused(Exception):  # noqa: N818  (an answer within this module)
    """The pickle asks for more than a dictionary of texts and numbers."""


def is_pickle(file: Path, raw: bytes) -> bool:
    """Whether a file is a pickle: by its name, or by the first byte of protocol 2 and later, which no text has."""
    return file.suffix.lower() in SUFFIXES or raw.startswith(b"\x80")


def untrusted(file: Path) -> str:
    """What to say of a pickle that was not declared trusted."""
    return (
        f"{file} is a Python pickle, a kind of file that may run any program when Python opens it. If you trust "
        f"where it came from, give --trust-pickle (it is read as a dictionary of texts and numbers, and refused if "
        f"it asks for more); or write the dictionary as JSON"
    )


def load(file: Path, raw: bytes) -> dict[str | int, Entry]:
    """The one flat dictionary that a pickle holds; NumPy scalars become Python's numbers.

    Raises: InputError if it is damaged, or holds or asks for anything else. Nothing of it was run then.
    """
    try:
        return _Machine().run(raw)
    except _Refused as error:
        msg = (
            f"{file}: expected a pickle of a dictionary of texts and numbers; this one {error}. "
            f"It was not opened, and nothing in it was run; write the dictionary as JSON if you trust it"
        )
        raise InputError(msg) from error
    except (ValueError, LookupError, TypeError, OverflowError, struct.error) as error:
        msg = f"{file} is not a whole pickle ({str(error)[:200]}); download it again"
        raise InputError(msg) from error


class _Global:
    """A name that the pickle asked for, one of those allowed."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Dtype:
    """A plain numeric type; its state, given later, may only set the order of its bytes."""

    def __init__(self, arguments: Any) -> None:
        code = arguments[0] if isinstance(arguments, tuple) and arguments else None
        if not isinstance(code, str) or code not in _NUMBERS:
            shown = repr(code[:20]) if isinstance(code, str) else "something else"
            msg = f"holds NumPy values of type {shown}, which are no plain numbers"
            raise _Refused(msg)
        self.code = code
        self.dtype = np.dtype(code)

    def set_state(self, state: Any) -> None:
        """Of (version, byte order, subarray, names, fields, ...) only the order may say something."""
        plain = isinstance(state, tuple) and len(state) == 8 and all(part is None for part in state[2:5])
        if not plain or not isinstance(state[1], str) or state[1] not in ("<", ">", "|", "="):
            msg = "holds NumPy values of a compound type"
            raise _Refused(msg)
        self.dtype = np.dtype(state[1] + self.code)


def _scalar(arguments: Any) -> Entry:
    """A NumPy scalar, from its type and its bytes, as Python's number."""
    if not isinstance(arguments, tuple) or len(arguments) != 2 or not isinstance(arguments[0], _Dtype):
        msg = "makes a NumPy value in an unusual way"
        raise _Refused(msg)
    kind, data = arguments
    if not isinstance(data, bytes) or len(data) != kind.dtype.itemsize:
        msg = f"makes a NumPy {kind.dtype} of something other than its {kind.dtype.itemsize} bytes"
        raise _Refused(msg)
    number: Entry = np.frombuffer(data, dtype=kind.dtype)[0].item()
    return number


class _Machine:
    """The stack machine, cut down."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, raw: bytes) -> dict[str | int, Entry]:
        """Runs to the end; what is left is the result."""
        for operation, argument, _ in pickletools.genops(raw):
            self.step(operation.name, argument)
        (result,) = self.stack
        if not isinstance(result, dict):
            msg = "holds no dictionary"
            raise _Refused(msg)
        return result

    def step(self, name: str, argument: Any) -> None:
        """Does one operation."""
        stack = self.stack
        match name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                self.marks.append(len(stack))
            case "EMPTY_DICT":
                stack.append({})
            case "DICT":
                entries = self.to_mark()
                stack.append({})
                self.fill(entries)
            case "SETITEM":
                self.fill([stack.pop(-2), stack.pop()])
            case "SETITEMS":
                self.fill(self.to_mark())
            case "TUPLE":
                stack.append(tuple(self.to_mark()))
            case "MEMOIZE":
                self.memo[len(self.memo)] = stack[-1]
            case "BINPUT" | "LONG_BINPUT" | "PUT":
                self.memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET" | "GET":
                stack.append(self.memo[argument])
            case "GLOBAL":
                self.look_up(argument)
            case "STACK_GLOBAL":
                last = stack.pop()
                self.look_up(f"{_text(stack.pop())} {_text(last)}")
            case "REDUCE":
                arguments = stack.pop()
                stack.append(self.call(stack.pop(), arguments))
            case "BUILD":
                state = stack.pop()
                if not isinstance(stack[-1], _Dtype):
                    msg = "sets the state of an object"
                    raise _Refused(msg)
                stack[-1].set_state(state)
            case _ if name in _VALUES:
                stack.append(argument)
            case _ if name in _CONSTANTS:
                stack.append(_CONSTANTS[name])
            case _ if name in _TUPLES:
                count = _TUPLES[name]
                stack.append(tuple(stack.pop() for _ in range(count))[::-1])
            case _:
                msg = f"asks for the operation {name}"
                raise _Refused(msg)

    def to_mark(self) -> list[Any]:
        """Takes what is above the last mark."""
        place = self.marks.pop()
        above = self.stack[place:]
        del self.stack[place:]
        return above

    def look_up(self, name: str) -> None:
        """Pushes a global, if it is one of the few."""
        if name not in _SCALAR and name != _DTYPE:
            msg = f"asks for {name.replace(' ', '.')[:80]!r}"
            raise _Refused(msg)
        self.stack.append(_Global(name))

    def call(self, what: Any, arguments: Any) -> Any:
        """Calls one of our own two."""
        if not isinstance(what, _Global):
            msg = "calls an object"
            raise _Refused(msg)
        return _Dtype(arguments) if what.name == _DTYPE else _scalar(arguments)

    def fill(self, entries: list[Any]) -> None:
        """Puts keys and values, in turn, into the dictionary on top."""
        target = self.stack[-1]
        if not isinstance(target, dict) or len(entries) % 2:
            msg = "fills something that is no dictionary"
            raise _Refused(msg)
        for key, value in zip(entries[::2], entries[1::2], strict=True):
            plain = isinstance(key, str | int) and isinstance(value, str | int | float)
            if not plain or any(isinstance(v, int) and not -LARGEST <= v < 2 * LARGEST for v in (key, value)):
                msg = f"has an entry of {type(key).__name__} and {type(value).__name__}"
                raise _Refused(msg)
            target[key] = value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        msg = "asks for something by a name that is no text"
        raise _Refused(msg)
    return value
