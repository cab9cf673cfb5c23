"""Mutants that nobody could tell from the code, each with the reason: no test can notice them.

They are told by their exact text, so that an entry whose code has changed is no entry any more;
``tests/mutation/test_mutation.py`` says so.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

LIST = Path(__file__).with_name("equivalents.json")


@cache
def listed() -> list[dict[str, Any]]:
    """Return the list: module, scope, before, after, why."""
    told: list[dict[str, Any]] = json.loads(LIST.read_text("utf-8"))
    return told


def of_module(module: str) -> set[tuple[str, str, str]]:
    """Return the names of the mutants of a module that are left out."""
    return {
        (each["scope"], each["before"], each["after"])
        for each in listed()
        if each["module"] == module
    }
