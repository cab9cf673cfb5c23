"""What a store must offer to be scored, and how a factory is named."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from journal.errors import EntryError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Factory = Callable[[Path], "Writer"]


@runtime_checkable
class Writer(Protocol):
    """One process's way into the one session that two processes write to.

    A writer that also has ``pop()``, which takes the newest text out and returns it, is
    asked not to take the other's.
    """

    def read(self) -> list[str]:
        """Read the session anew, and return its texts in order; what is added next goes out from this."""

    def add(self, text: str) -> None:
        """Add a text; once this returns it is kept. To refuse it is to raise an exception."""

    def close(self) -> None:
        """Let the store go."""


def factory_of(name: str) -> Factory:
    """Return the factory that ``module:attribute`` names.

    Raises:
        EntryError: there is none.

    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # whatever the module does when it is imported
        raise EntryError(
            f"there is no store {name!r}: {error}",
            hint="name a factory as module:attribute, importable from here",
            code="factory",
        ) from error
    if not callable(found):
        raise EntryError(
            f"{name!r} makes no store", hint="name a callable of one directory", code="factory"
        )
    made: Factory = found
    return made
