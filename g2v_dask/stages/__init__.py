"""The stages: each makes artifacts of one kind out of those of another; they meet in the store alone."""

from __future__ import annotations

import importlib
from typing import cast

from g2v_dask.parts import Stage


def load(name: str) -> Stage:
    """The module of a stage; loaded when first used, since each brings its own heavy libraries."""
    return cast(Stage, importlib.import_module(f"{__name__}.{name}"))
