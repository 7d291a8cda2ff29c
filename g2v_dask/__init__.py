"""Gene embeddings from many expression datasets, on Dask.

``open_store(url)`` opens a store, ``run(spec)`` does all the stages of a spec file. Names load when first
used (PEP 562), so that importing the package takes no time. No module of the package imports this one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from g2v_dask.api import open_store as open_store
    from g2v_dask.api import run as run

_PUBLIC = {"open_store": "g2v_dask.api", "run": "g2v_dask.api"}  # where each name comes from

__all__ = ["__version__", "open_store", "run"]  # noqa: F822


def __getattr__(name: str) -> Any:
    """A public name, when it is first used."""
    if name == "__version__":
        # importlib.metadata takes 30 ms to load: more than all the rest
        return importlib.import_module("importlib.metadata").version("g2v_dask")
    if name not in _PUBLIC:
        msg = f"module 'g2v_dask' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(importlib.import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
