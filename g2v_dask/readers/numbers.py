"""Numbers out of delimited text, compiled: one pass over a buffer of whole lines, row-major, exact.

pyarrow.csv parses narrow tables as fast, but pays for every column of every block: at GTEx's 17,000 columns it
falls to 7 MB/s, and its columns must then be turned into rows. Here a column that is not wanted is only skipped.

A number of up to 18 digits is rounded as Python's ``float`` does: in one operation where digits and power of ten
are exact (Clinger 1990), else in double-double arithmetic (Dekker 1971). What that cannot decide is left to Python.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

SKIP, FIRST_ID = -1, -2  # of `targets`: a field not wanted; -2 - k is id column k
DONE, RAGGED, STOPPED, FULL = 0, 1, 2, 3
SPACE, QUOTE, NEWLINE, RETURN, DOT, PLUS, MINUS = 32, 34, 10, 13, 46, 43, 45
ZERO = np.uint8(48)
EXACT = 2**53
POWERS = 10.0 ** np.arange(23)  # exact in float64
OUT_OF_RANGE = 1_000
SPLITTER = 134217729.0  # 2^27 + 1, Dekker's

Text = NDArray[np.uint8]


def _scaled(digits: np.int64, exponent: int) -> tuple[float, bool]:
    """``digits · 10^exponent`` rounded to nearest, and whether that is certain; |exponent| ≤ 22."""
    power = POWERS[abs(exponent)]
    high = float(digits)
    if digits <= EXACT:
        return (high / power if exponent < 0 else high * power), True
    low = float(digits - np.int64(high))
    value = high / power if exponent < 0 else high * power
    factor = value if exponent < 0 else high
    # factor · power = product + error, exactly
    product = factor * power
    a = SPLITTER * factor
    a_high = a - (a - factor)
    b = SPLITTER * power
    b_high = b - (b - power)
    a_low, b_low = factor - a_high, power - b_high
    error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
    rest = ((high - product) - error + low) / power if exponent < 0 else error + low * power
    under, over = value + rest * (1.0 - 2.0**-40), value + rest * (1.0 + 2.0**-40)
    return under, under == over


def _digits(text: Text, i: int, digits: np.int64) -> tuple[np.int64, int]:
    """A run of digits appended to a number; it wraps after 18, which the caller refuses. Returns where it ends."""
    while np.uint8(text[i] - ZERO) <= 9:
        digits = np.int64(digits * 10 + np.int64(text[i] - ZERO))
        i += 1
    return digits, i


def _zeros(text: Text, i: int) -> int:
    """Where a run of zeros ends."""
    while text[i] == ZERO:
        i += 1
    return i


def _exponent(text: Text, i: int) -> tuple[int, int]:
    """What follows an ``e``, and where it ends; out of range if there is no digit."""
    down = text[i] == MINUS
    if down or text[i] == PLUS:
        i += 1
    power, end = _digits(text, i, np.int64(0))
    if end == i or end > i + 4:
        return OUT_OF_RANGE, end
    return -int(power) if down else int(power), end


def _plain(text: Text, i: int, delimiter: int) -> tuple[float, int, bool]:
    """The number in a field, where the field ends, and whether it was one of at most 18 digits and no more."""
    padded = delimiter != SPACE
    while padded and text[i] == SPACE:
        i += 1
    quoted = text[i] == QUOTE
    i += quoted
    negative = text[i] == MINUS
    i += negative or text[i] == PLUS
    first = _zeros(text, i)
    seen = first - i
    digits, i = _digits(text, first, np.int64(0))
    used = i - first
    exponent = 0
    if text[i] == DOT:
        start = i + 1
        first = start if used else _zeros(text, start)
        seen += first - start
        digits, i = _digits(text, first, digits)
        used += i - first
        exponent = start - i
    if text[i] == 101 or text[i] == 69:  # e, E
        power, i = _exponent(text, i + 1)
        exponent += power
    good = seen + used > 0 and used <= 18 and -22 <= exponent <= 22
    if quoted:
        closed = text[i] == QUOTE
        good &= closed
        i += closed  # never past the line end that closes the buffer
    while padded and text[i] == SPACE:
        i += 1
    good &= text[i] == delimiter or text[i] == NEWLINE or (text[i] == RETURN and text[i + 1] == NEWLINE)
    if not good:
        return 0.0, i, False
    value, certain = _scaled(digits, exponent)
    return -value if negative else value, i, certain


def _field_end(text: Text, i: int, delimiter: int) -> int:
    """Where a field ends: at the next delimiter outside quotes, or with the line."""
    quoted = False
    while text[i] != NEWLINE and (quoted or text[i] != delimiter):
        quoted ^= text[i] == QUOTE
        i += 1
    return i


def _is_missing(text: Text, begin: int, end: int) -> bool:
    """Nothing, or NA; the other words for missing are rare and left to Python."""
    return end == begin or (end == begin + 2 and text[begin] == 78 and text[begin + 1] == 65)


def _parse(
    text: Text,
    start: int,
    delimiter: int,
    stop: int,
    targets: NDArray[np.int32],
    values: NDArray[np.float64],
    ids: NDArray[np.int64],
    odd: NDArray[np.int64],
) -> tuple[int, int, int, int, int]:
    """Fills rows of ``values`` and of ``ids`` (from, to) from whole lines.

    ``stop`` is a byte that ends the table when a line begins with it (0: none). ``odd`` takes the fields that
    are not plain numbers: row, column, from, to. Returns why it ended, where, rows, odd fields, and the fields
    of the last line.
    """
    fields = targets.size
    row = 0
    odds = 0
    i = start
    while i < text.size:
        line = i
        if row == values.shape[0] or odds + fields > odd.shape[0]:
            return FULL, line, row, odds, 0
        if stop != 0 and text[i] == stop:
            return STOPPED, line, row, odds, 0
        if text[i] == NEWLINE or (text[i] == RETURN and text[i + 1] == NEWLINE):
            i += 2 if text[i] == RETURN else 1
            continue
        before = odds
        field = 0
        open_line = True
        while open_line:
            target = targets[field] if field < fields else SKIP
            begin = i
            plain = False
            if target >= 0:
                value, i, plain = _plain(text, begin, delimiter)
                values[row, target] = value
            if not plain:
                i = _field_end(text, begin, delimiter)
                end = i - 1 if i > begin and text[i] == NEWLINE and text[i - 1] == RETURN else i
                if target <= FIRST_ID:
                    ids[row, FIRST_ID - target, 0] = begin
                    ids[row, FIRST_ID - target, 1] = end
                elif target >= 0 and _is_missing(text, begin, end):
                    values[row, target] = np.nan
                elif target >= 0:
                    odd[odds, 0], odd[odds, 1] = row, target
                    odd[odds, 2], odd[odds, 3] = begin, end
                    odds += 1
            field += 1
            i += text[i] == RETURN
            open_line = text[i] != NEWLINE
            i += 1
        if field != fields:
            return RAGGED, line, row, before, field
        row += 1
    return DONE, i, row, odds, 0


_scaled = njit(nogil=True, cache=True)(_scaled)
_digits = njit(nogil=True, cache=True)(_digits)
_zeros = njit(nogil=True, cache=True)(_zeros)
_exponent = njit(nogil=True, cache=True)(_exponent)
_plain = njit(nogil=True, cache=True)(_plain)
_field_end = njit(nogil=True, cache=True)(_field_end)
_is_missing = njit(nogil=True, cache=True)(_is_missing)
parse = njit(nogil=True, cache=True)(_parse)
