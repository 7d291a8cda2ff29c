"""The trainers, by method name; a trainer's module (and gensim with it) loads when it is first used."""

from __future__ import annotations

import importlib
from typing import Any, cast

from g2v_dask.models.base import Model

MODELS = {
    "skipgram": "g2v_dask.models.skipgram",
    "svd": "g2v_dask.models.svd",
    "glove": "g2v_dask.models.glove",
}


def load(method: str) -> Model:
    """The trainer of one method, as ``TrainSpec.method`` names it."""
    return cast("Model", importlib.import_module(MODELS[method]))


def in_rounds() -> Any:
    """GloVe's trainer in rounds of row bands; loaded as the others are, since Numba takes a third of a second."""
    return importlib.import_module("g2v_dask.models.glove_rounds")
