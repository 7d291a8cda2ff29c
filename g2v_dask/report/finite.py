"""What JSON can hold of figures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by name; None in place of a number that is not finite, which JSON does not know.

    >>> finite({"value": 0.5, "low": math.nan, "genes": 40})
    {'value': 0.5, 'low': None, 'genes': 40}
    """
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
