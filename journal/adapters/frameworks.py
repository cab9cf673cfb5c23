"""The frameworks that adapters are for: extras, each needed by its adapter alone."""

from __future__ import annotations

import importlib.util
import re
from importlib.metadata import version
from typing import Final, NamedTuple


class Framework(NamedTuple):
    """What must be installed: the module, its distribution, and the oldest that the adapter was written for."""

    module: str
    distribution: str
    at_least: str


FRAMEWORKS: Final = {
    "adk": Framework("google.adk", "google-adk", "2.13"),
    "claude": Framework("claude_agent_sdk", "claude-agent-sdk", "0.2.187"),
    "openai": Framework("agents", "openai-agents", "0.24"),
}


def need(extra: str) -> None:
    """Make sure that an extra's framework is there and not too old, without importing it.

    Raises:
        ImportError: it is not, with what installs it.

    """
    module, distribution, at_least = FRAMEWORKS[extra]
    if not _is_there(module):
        found = "which is not installed"
    elif _numbers(version(distribution)) < _numbers(at_least):
        found = f"{at_least} or later, not {version(distribution)}"
    else:
        return
    message = f"this needs {distribution}, {found}. Try: pip install 'session-journal[{extra}]'"
    raise ImportError(message)


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of its parent
        return False


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", text)[:3]))
