"""The errors that users meet. Each message says what was expected, what came, and what to do."""

from __future__ import annotations


class G2VError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 1


class InputError(G2VError, ValueError):
    """An input cannot be used. A stage quarantines what was to be made of it; a question or an import ends with 2."""

    exit_code = 2


class SpecError(G2VError, ValueError):
    """An option, a spec file or a name is wrong: bad usage, found before any work."""

    exit_code = 2


class StoreError(G2VError, OSError):
    """The store is missing, locked, damaged, or of another format version."""


class DamageError(StoreError):
    """A file is missing, or not what its receipt or manifest says."""


class BudgetError(G2VError, MemoryError):
    """A part needs more memory than a worker has."""
