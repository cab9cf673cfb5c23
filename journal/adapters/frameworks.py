"""The frameworks that adapters are for: extras, each needed by its adapter alone."""

from __future__ import annotations

import importlib
import re
from importlib.metadata import version


def need(module: str, distribution: str, at_least: str, extra: str) -> None:
    """Make sure that a framework is there, and is not older than what the adapter was written for.

    Raises:
        ImportError: it is not, with what installs it.

    """
    hint = f"pip install 'session-journal[{extra}]'"
    try:
        importlib.import_module(module)
    except ImportError as error:
        message = f"this adapter needs {distribution}: {error}. Try: {hint}"
        raise ImportError(message) from error
    found = version(distribution)
    if _numbers(found) < _numbers(at_least):
        message = f"this adapter needs {distribution} {at_least} or later, not {found}. Try: {hint}"
        raise ImportError(message)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)[:3]))
