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
EXACT = 2**53
POWERS = 10.0 ** np.arange(23)  # exact in float64
SPLITTER = 134217729.0  # 2^27 + 1, Dekker's


def _scaled(digits: int, exponent: int) -> tuple[float, bool]:
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


def _parse(
    text: NDArray[np.uint8],
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
    n = text.size
    fields = targets.size
    row = 0
    odds = 0
    i = start
    while i < n:
        if row == values.shape[0] or odds + fields > odd.shape[0]:
            return FULL, i, row, odds, 0
        line = i
        if stop != 0 and text[i] == stop:
            return STOPPED, i, row, odds, 0
        if text[i] == NEWLINE or (text[i] == RETURN and text[i + 1] == NEWLINE):
            i += 2 if text[i] == RETURN else 1
            continue
        before = odds
        field = 0
        while True:
            target = targets[field] if field < fields else SKIP
            begin = i
            plain = False
            if target >= 0:
                while text[i] == SPACE and delimiter != SPACE:
                    i += 1
                quoted = text[i] == QUOTE
                if quoted:
                    i += 1
                negative = text[i] == MINUS
                if negative or text[i] == PLUS:
                    i += 1
                digits = np.int64(0)
                used = 0
                seen = 0
                exponent = 0
                while 48 <= text[i] <= 57:
                    digits = digits * 10 + (np.int64(text[i]) - 48)
                    used += digits != 0
                    seen += 1
                    i += 1
                    if used > 18:
                        break
                if text[i] == DOT and used <= 18:
                    i += 1
                    while 48 <= text[i] <= 57:
                        digits = digits * 10 + (np.int64(text[i]) - 48)
                        used += digits != 0
                        seen += 1
                        exponent -= 1
                        i += 1
                        if used > 18:
                            break
                if seen > 0 and used <= 18 and (text[i] == 101 or text[i] == 69):
                    i += 1
                    down = text[i] == MINUS
                    if down or text[i] == PLUS:
                        i += 1
                    power = 0
                    any_digit = False
                    while 48 <= text[i] <= 57 and power < 1000:
                        power = power * 10 + (np.int64(text[i]) - 48)
                        any_digit = True
                        i += 1
                    if not any_digit:
                        seen = 0
                    exponent += -power if down else power
                if quoted and text[i] == QUOTE:
                    i += 1
                elif quoted:
                    seen = 0
                while text[i] == SPACE and delimiter != SPACE:
                    i += 1
                ended = text[i] == delimiter or text[i] == NEWLINE or (text[i] == RETURN and text[i + 1] == NEWLINE)
                if ended and seen > 0 and used <= 18 and -22 <= exponent <= 22:
                    value, certain = _scaled(digits, exponent)
                    if certain:
                        values[row, target] = -value if negative else value
                        plain = True
            if not plain:
                i = begin
                quoted = False
                while text[i] != NEWLINE and (quoted or text[i] != delimiter):
                    if text[i] == QUOTE:
                        quoted = not quoted
                    i += 1
                end = i
                if text[end - 1] == RETURN and text[end] == NEWLINE:
                    end -= 1
                if target >= 0:
                    size = end - begin
                    if size == 0 or (size == 2 and text[begin] == 78 and text[begin + 1] == 65):  # empty, NA
                        values[row, target] = np.nan
                    else:
                        odd[odds, 0], odd[odds, 1] = row, target
                        odd[odds, 2], odd[odds, 3] = begin, end
                        odds += 1
                elif target <= FIRST_ID:
                    ids[row, FIRST_ID - target, 0] = begin
                    ids[row, FIRST_ID - target, 1] = end
            field += 1
            if text[i] == RETURN:
                i += 1
            if text[i] == NEWLINE:
                i += 1
                break
            i += 1
        if field != fields:
            return RAGGED, line, row, before, field
        row += 1
    return DONE, i, row, odds, 0


_scaled = njit(nogil=True, cache=True)(_scaled)
parse = njit(nogil=True, cache=True)(_parse)
