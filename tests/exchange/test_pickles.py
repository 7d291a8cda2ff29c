"""Pickled dictionaries: the real ones are read, hostile ones are refused and run nothing."""

from __future__ import annotations

import argparse
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from g2v_dask.errors import InputError
from g2v_dask.exchange import pickles, words
from tests.data_paths import data

GENES = 25_424


def test_load__real_token_dictionary() -> None:
    file = data("geneformer", "token_dictionary.pkl")
    found = pickles.load(file, file.read_bytes())
    assert len(found) == GENES + 2
    assert (found["<pad>"], found["<mask>"], found["ENSG00000000003"]) == (0, 1, 2)
    assert {type(v) for v in found.values()} == {int}
    assert sorted(found.values()) == list(range(GENES + 2))


def test_load__real_medians_equal_those_of_pythons_unpickler() -> None:
    file = data("geneformer", "gene_median_dictionary.pkl")
    found = pickles.load(file, file.read_bytes())
    assert len(found) == GENES
    assert {type(v) for v in found.values()} == {float}
    assert found == {gene: float(value) for gene, value in pickle.loads(file.read_bytes()).items()}


NUMBERS = [np.int8(-3), np.uint16(40_000), np.int64(-(2**62)), np.float16(0.5), np.float32(0.1), np.bool_(True)]


@pytest.mark.parametrize("protocol", range(6))
def test_load__what_python_writes(protocol: int) -> None:
    plain = {"a": 1, "é\n": -70_000, "c": 2**40, "d": 0.1, "e": True, 7: "text", "long" * 100: 300}
    assert pickles.load(Path("d.pkl"), pickle.dumps(plain, protocol=protocol)) == plain
    if protocol >= 3:  # before, bytes are made by a call of codecs.encode
        numpy = {f"n{i}": number for i, number in enumerate(NUMBERS)}
        assert pickles.load(Path("d.pkl"), pickle.dumps(numpy, protocol=protocol)) == numpy


def test_load__other_byte_order_and_old_module_name() -> None:
    big = pickle.dumps({"a": np.dtype(">i4").type(5)}).replace(b"<", b">", 1)
    big = big.replace(np.int32(5).tobytes(), np.array(5, dtype=">i4").tobytes())
    assert pickles.load(Path("d.pkl"), big) == {"a": 5}
    old = pickle.dumps({"a": np.int16(5)}, protocol=3).replace(b"numpy._core", b"numpy.core")
    assert pickles.load(Path("d.pkl"), old) == {"a": 5}


class Call:
    """Pickles as a call of anything."""

    def __init__(self, what: Any, *arguments: Any) -> None:
        self.call = what, arguments

    def __reduce__(self) -> Any:
        return self.call


def _scalar_of_objects(trap: Path) -> bytes:
    """numpy's scalar of type O: its bytes are a pickle of their own."""
    inner = pickle.dumps(Call(os.system, f"touch {trap}"))
    return pickle.dumps({"a": Call(np._core.multiarray.scalar, np.dtype("O"), inner)})


def _compound(trap: Path) -> bytes:
    return pickle.dumps({"a": np.zeros(1, dtype=[("x", "i4")])[0]})


def _hostile(trap: Path) -> dict[str, bytes]:
    touch = f"touch {trap}"
    return {
        "os.system": pickle.dumps(Call(os.system, touch)),
        "os.system as a value": pickle.dumps({"a": 1, "b": Call(os.system, touch)}),
        "os.system by protocol 0": b"cposix\nsystem\n(S'" + touch.encode() + b"'\ntR.",
        "by instance": b"(S'" + touch.encode() + b"'\nios\nsystem\n.",
        "by object": b"(cos\nsystem\nS'" + touch.encode() + b"'\no.",
        "eval": pickle.dumps({"a": Call(eval, f"open({str(trap)!r}, 'w')")}),
        "getattr": pickle.dumps({"a": Call(getattr, "x", "upper")}),
        "numpy.load": pickle.dumps(Call(np.load, str(trap))),
        "inside a tuple": pickle.dumps({"a": (1, (2, Call(os.system, touch)))}),
        "as a key": pickle.dumps({("a", 1): 1}),
        "scalar of objects": _scalar_of_objects(trap),
        "scalar of a compound": _compound(trap),
        "scalar of text": pickle.dumps({"a": np.str_("x")}),
        "scalar called on text": b"\x80\x04\x8c\x15numpy.core.multiarray\x8c\x06scalar\x93\x8c\x01x\x85R.",
        "dtype of objects": b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93\x8c\x01O\x85R.",
        "dtype of a list": b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93(\x8c\x01a\x8c\x01b\x86t\x85R.",
        "dtype as a dictionary's value": pickle.dumps({"a": np.dtype("i4")}),
        "array": pickle.dumps({"a": np.arange(3)}),
        "short bytes": pickle.dumps({"a": np.int32(1)}).replace(b"C\x04\x01\0\0\0", b"C\x02\x01\0"),
        "attribute of numpy": b"\x80\x04\x8c\x05numpy\x8c\x0aload.__call\x93.",
        "name that is no text": b"\x80\x04K\x01K\x02\x93.",
        "state of an object": pickle.dumps(argparse.Namespace(a=1)),
        "state of a function": b"\x80\x04\x8c\x15numpy.core.multiarray\x8c\x06scalar\x93}\x8c\x01aK\x01sb.",
        "calls a text": b"\x80\x04\x8c\x01a)R.",
        "nested dictionary": pickle.dumps({"a": {"b": 1}}),
        "list": pickle.dumps([1, 2]),
        "set": pickle.dumps({"a": {1, 2}}),
        "bytes": pickle.dumps({"a": b"x"}),
        "none": pickle.dumps({"a": None}),
        "bare number": pickle.dumps(7),
        "persistent": b"Pid\n.",
        "extension": b"\x80\x02\x82\x01.",
        "large number": pickle.dumps({"a": 10**5000}),
        "deep": b"\x80\x04}" + b"K\x01" + b"\x85" * 200_000 + b"K\x01s.",
        "huge memo": b"\x80\x04}r\xff\xff\xff\x7fX\x01\0\0\0aK\x01K\x02s.",
        "huge text": b"\x80\x04}\x8d" + struct.pack("<Q", 1 << 60) + b"a.",
        "huge bytes": b"\x80\x04}B" + struct.pack("<I", 0xFFFFFFFF) + b"a.",
        "memo that is not there": b"\x80\x04h\x05.",
        "empty stack": b"\x80\x04R.",
        "no mark": b"\x80\x04}u.",
        "two values": b"\x80\x04}}.",
        "cut off": pickle.dumps({"a": 1})[:-3],
        "no pickle": b"hello, world",
        "unhashable by get": b"\x80\x04}\x94h\x00h\x00K\x01s.",
    }


@pytest.mark.parametrize("case", sorted(_hostile(Path("x"))))
def test_load__refuses_and_runs_nothing(tmp_path: Path, case: str) -> None:
    trap, file = tmp_path / "trap", tmp_path / "d.pkl"
    file.write_bytes(_hostile(trap)[case])
    with pytest.raises(InputError, match=r"d\.pkl.*(nothing in it was run|not a whole pickle)") as refused:
        words.read_tokens(file, trust_pickle=True)
    assert len(str(refused.value)) < 600
    assert not trap.exists()


def test_load__the_trap_would_work(tmp_path: Path) -> None:
    """Else the test above proves nothing."""
    pickle.loads(_hostile(tmp_path / "trap")["os.system as a value"])
    assert (tmp_path / "trap").exists()


def test_load__says_what_it_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "d.pkl"
    file.write_bytes(pickle.dumps({"a": Call(eval, "1")}))
    with pytest.raises(InputError, match=r"asks for 'builtins\.eval'.*write the dictionary as JSON"):
        words.read_tokens(file, trust_pickle=True)


@pytest.mark.parametrize("name", ["d.pkl", "d.pickle", "d.json", "d"])
def test_read_tokens__pickle_needs_trust(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(pickle.dumps({"a": 0}))
    with pytest.raises(InputError, match=r"is a Python pickle.*--trust-pickle.*JSON"):
        words.read_tokens(file, trust_pickle=False)
    assert words.read_tokens(file, trust_pickle=True) == {0: "a"}
