"""The mutants are what their names say, and those that are left out still are mutants of the code."""

from __future__ import annotations

import ast
import types
from pathlib import Path

import pytest

from tests.mutation import equivalents
from tests.mutation.operators import mutants

ROOT = Path(__file__).resolve().parents[2]

CODE = '''
LIMIT = 3

def check(one, other):
    """Say something."""
    if one <= other and not one.done:
        raise ValueError("no")
    one.seen = True
    one.tell(b"x")
    log.info("told %s", 5)
    return one + LIMIT
'''


def changes(code: str) -> set[tuple[str, str]]:
    return {(each.before, each.after) for each in mutants(ast.parse(code))}


def test_each_operator_makes_its_mutants():
    head = "if one <= other and (not one.done):"
    assert changes(CODE) == {
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 2"),
        (head, "if one < other and (not one.done):"),
        (head, "if one > other and (not one.done):"),
        (head, "if one <= other or not one.done:"),
        (head, "if one <= other and one.done:"),
        (head, "if not (one <= other and (not one.done)):"),
        ("raise ValueError('no')", "pass"),
        ("one.seen = True", "one.seen = False"),
        ("one.seen = True", "pass"),
        ("one.tell(b'x')", "pass"),
        ("one.tell(b'x')", "one.tell(b'x!')"),
        ("return one + LIMIT", "return one - LIMIT"),
        ("return one + LIMIT", "return None"),
    }


@pytest.mark.parametrize(
    "code, expected",
    [
        ("for x in y:\n    continue", {("continue", "break")}),
        ("x = [a for a in b if a.c]", {("x = [a for a in b if a.c]", "x = [a for a in b if not a.c]")}),
        ("x = a is None", {("x = a is None", "x = a is not None")}),
        ("x = a == 'word'", {("x = a == 'word'", "x = a != 'word'"), ("x = a == 'word'", "x = a == 'word!'")}),
        ("x = a if b else c", {("x = a if b else c", "x = a if not b else c")}),
        ("x += 1", {("x += 1", "x -= 1"), ("x += 1", "x += 2"), ("x += 1", "x += 0"), ("x += 1", "pass")}),
        ("def f(x: int = 1) -> int: pass", {("def f(x: int=1) -> int:", "def f(x: int=2) -> int:"), ("def f(x: int=1) -> int:", "def f(x: int=0) -> int:")}),
        ("if TYPE_CHECKING:\n    x = 1", set()),
        ("x: Literal['a'] = 'b'", set()),
        ("x = f'{a + 1}'", set()),
    ],
)  # fmt: skip
def test_what_each_statement_may_become(code, expected):
    assert changes(code) == expected


def test_a_mutant_is_made_in_the_tree_and_taken_back():
    tree = ast.parse("def f(x):\n    return x < 1")
    chosen = next(each for each in mutants(tree) if each.after == "return x <= 1")
    take_back = chosen.make()
    changed = types.ModuleType("changed")
    exec(compile(ast.fix_missing_locations(tree), "changed", "exec"), vars(changed))  # noqa: S102
    take_back()

    assert changed.f(1) is True
    assert ast.unparse(tree) == "def f(x):\n    return x < 1"


@pytest.mark.parametrize("module", sorted({each["module"] for each in equivalents.listed()}))
def test_what_is_left_out_as_equivalent_is_still_a_mutant(module):
    """An entry whose code has changed must be looked at anew."""
    there = {each.name for each in mutants(ast.parse((ROOT / module).read_text("utf-8")))}

    assert equivalents.of_module(module) - there == set()
    assert all(each["why"] for each in equivalents.listed())
