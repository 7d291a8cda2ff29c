"""What an embedding is worth: tasks, each in a module of its own. No store, no cluster."""

from __future__ import annotations

import importlib
from typing import cast

from g2v_dask.evaluation.base import Task


def load(name: str) -> Task:
    """The module of a task; loaded when first used, since each brings its own heavy libraries."""
    return cast(Task, importlib.import_module(f"{__name__}.{name}"))
