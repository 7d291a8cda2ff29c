"""What this process may use of the machine."""

from __future__ import annotations

import os


def cores() -> int:
    """Cores, as the operating system's affinity mask has them."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
