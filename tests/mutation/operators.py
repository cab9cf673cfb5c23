"""What may be wrong in a line of code, as changes to its syntax tree, made and taken back in place.

Words are left alone: docstrings, annotations, log calls, what only ``TYPE_CHECKING`` sees, and
strings that nothing is compared with.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMPARISONS: Final[dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
    ast.BitXor: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_ASKING: Final = (ast.If, ast.While, ast.IfExp)


@dataclass(frozen=True)
class Mutant:
    """One change to a module.

    Attributes:
        line, last: where the changed expression or statement stands.
        scope: the function it is in, by its qualified name; "" for the module's own code.
        first: the first line of that function, its decorators included; 0 for the module's.
        before: the statement, as Python itself would write it; of a block only its head.
        after: the same, changed.
        make: makes the change in the tree, and returns what takes it back.

    """

    line: int
    last: int
    scope: str
    first: int
    before: str
    after: str
    make: Callable[[], Callable[[], None]]

    @property
    def name(self) -> tuple[str, str, str]:
        """What it is known by wherever the lines move to."""
        return self.scope, self.before, self.after


def mutants(tree: ast.Module) -> list[Mutant]:
    """Return every change that we know how to make to a module, in the order of its lines."""
    found = [_named(each) for each in _in_block(tree, _Scope("", 0))]
    return sorted((each for each in found if each.before != each.after), key=lambda one: one.line)


@dataclass(frozen=True)
class _Scope:
    name: str
    first: int
    prefix: str = ""


@dataclass(frozen=True)
class _Change:
    """A field of a node that gets another value, in a statement that is shown for it."""

    node: Any
    field: str
    value: Any
    shown: ast.stmt
    scope: _Scope
    line: int
    instead: ast.stmt | None = None
    last: int = 0

    def make(self) -> Callable[[], None]:
        was = getattr(self.node, self.field)
        setattr(self.node, self.field, self.value)
        return lambda: setattr(self.node, self.field, was)


def _named(change: _Change) -> Mutant:
    before = shown(change.shown)
    take_back = change.make()
    after = shown(change.instead or change.shown)
    take_back()
    return Mutant(
        change.line, change.last, change.scope.name, change.scope.first, before, after, change.make
    )


def shown(statement: ast.stmt) -> str:
    """Return a statement as Python writes it; of a block, its head."""
    held = {name: getattr(statement, name, None) for name in ("body", "orelse", "finalbody")}
    blocks = {name: value for name, value in held.items() if isinstance(value, list)}
    try:
        for name in blocks:
            setattr(statement, name, [])
        return ast.unparse(ast.fix_missing_locations(statement)).strip()
    finally:
        for name, value in blocks.items():
            setattr(statement, name, value)


# -- statements ---------------------------------------------------------------------------


def _in_block(owner: Any, scope: _Scope) -> Iterator[_Change]:
    for name in ("body", "orelse", "finalbody"):
        block = getattr(owner, name, None)
        if isinstance(block, list):
            for number, statement in enumerate(block):
                yield from _in_statement(statement, scope)
                yield from _removed(block, number, owner, name, scope)
    for handler in getattr(owner, "handlers", ()):
        yield from _in_block(handler, scope)
    for case in getattr(owner, "cases", ()):
        yield from _in_block(case, scope)


def _in_statement(statement: ast.stmt, scope: _Scope) -> Iterator[_Change]:
    if _is_left_alone(statement):
        return
    if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
        yield from _in_definition(statement, scope)
        return
    yield from _in_expressions(statement, statement, scope)
    yield from _in_block(statement, scope)


def _in_definition(statement: Any, scope: _Scope) -> Iterator[_Change]:
    if isinstance(statement, FUNCTIONS) and not scope.name:
        for default in (*statement.args.defaults, *filter(None, statement.args.kw_defaults)):
            yield from _in_expressions(default, statement, scope)
        first = min([statement.lineno, *(each.lineno for each in statement.decorator_list)])
        scope = _Scope(f"{scope.prefix}{statement.name}", first)
    elif not scope.name:
        scope = _Scope("", 0, f"{scope.prefix}{statement.name}.")
    yield from _in_block(statement, scope)


def _is_left_alone(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.If):
        return ast.unparse(statement.test) == "TYPE_CHECKING"
    if isinstance(statement, ast.Expr):
        return isinstance(statement.value, ast.Constant) or ast.unparse(statement).startswith(
            "log."
        )
    return isinstance(statement, (ast.Import, ast.ImportFrom))


def _removed(
    block: list[ast.stmt], number: int, owner: Any, name: str, scope: _Scope
) -> Iterator[_Change]:
    statement = block[number]
    instead: list[ast.stmt] = []
    if isinstance(statement, (ast.Raise, ast.Delete, ast.AugAssign)) or (
        _is_call(statement) or _is_kept_elsewhere(statement)
    ):
        instead = [ast.Pass()]
    elif isinstance(statement, ast.Continue):
        instead = [ast.Break()]
    elif isinstance(statement, ast.Break):
        instead = [ast.Continue()]
    last = statement.end_lineno or statement.lineno
    for other in instead:
        ast.copy_location(other, statement)
        block_after = [*block[:number], other, *block[number + 1 :]]
        yield _Change(owner, name, block_after, statement, scope, statement.lineno, other, last)


def _is_call(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, (ast.Call, ast.Await))
        and not _is_left_alone(statement)
    )


def _is_kept_elsewhere(statement: ast.stmt) -> bool:
    """Whether it assigns to an attribute or an item: without it the code still runs."""
    targets = statement.targets if isinstance(statement, ast.Assign) else ()
    return any(isinstance(each, (ast.Attribute, ast.Subscript)) for each in targets)


# -- expressions --------------------------------------------------------------------------


def _in_expressions(top: ast.AST, statement: ast.stmt, scope: _Scope) -> Iterator[_Change]:
    """Yield the changes of a statement's own expressions, not of the statements in it."""

    def change(node: ast.AST, field: str, value: Any, at: ast.AST) -> _Change:
        line = getattr(at, "lineno", statement.lineno)
        last = getattr(getattr(at, "test", at), "end_lineno", line)
        return _Change(node, field, value, statement, scope, line, last=max(line, last))

    for node in _own_nodes(top):
        for field, value in _changes(node):
            yield change(node, field, value, node)
        for field, index, value in _in_place(node):
            held = getattr(node, field)
            yield change(node, field, [*held[:index], value, *held[index + 1 :]], held[index])
        for field, value in _operands(node):
            yield change(node, field, value, node)


def _own_nodes(top: ast.AST) -> Iterator[ast.AST]:
    yield top
    for name, value in ast.iter_fields(top):
        if name in {
            "annotation",
            "returns",
            "body",
            "orelse",
            "finalbody",
            "handlers",
            "cases",
        } and (not isinstance(top, (ast.IfExp, ast.Lambda))):
            continue
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.AST) and not isinstance(each, ast.JoinedStr):
                yield from _own_nodes(each)


def _changes(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a node that may be another, with what they would be."""
    if isinstance(node, ast.Compare):
        for at, op in enumerate(node.ops):
            for other in COMPARISONS[type(op)]:
                yield "ops", [*node.ops[:at], other(), *node.ops[at + 1 :]]
    elif isinstance(node, ast.BoolOp):
        yield "op", ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in ARITHMETIC:
        yield "op", ARITHMETIC[type(node.op)]()
    elif isinstance(node, ast.Constant):
        yield from (("value", value) for value in _other_constants(node.value))
    elif isinstance(node, ast.Return) and node.value is not None and not _is_empty(node.value):
        yield "value", ast.copy_location(ast.Constant(None), node.value)
    if isinstance(node, _ASKING) and not isinstance(node.test, (ast.Compare, ast.UnaryOp)):
        yield "test", _negated(node.test)


def _in_place(node: ast.AST) -> Iterator[tuple[str, int, ast.AST]]:
    """Yield what may change in a list of a node."""
    if isinstance(node, ast.comprehension):
        for at, test in enumerate(node.ifs):
            if not isinstance(test, ast.Compare):
                yield "ifs", at, _negated(test)
    if isinstance(node, ast.BoolOp):
        for at, test in enumerate(node.values):
            if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
                yield "values", at, test.operand


def _operands(node: ast.AST) -> Iterator[tuple[str, Any]]:
    """Yield the fields that hold a ``not``, without it; and words that something is compared with."""
    for field, value in ast.iter_fields(node):
        if isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.Not):
            yield field, value.operand
    if isinstance(node, ast.Compare):
        for at, word in enumerate(node.comparators):
            if isinstance(word, ast.Constant) and isinstance(word.value, str):
                other = ast.copy_location(ast.Constant(f"{word.value}!"), word)
                yield "comparators", [*node.comparators[:at], other, *node.comparators[at + 1 :]]


def _other_constants(value: Any) -> Iterator[Any]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, (int, float)):
        yield value + 1
        yield value - 1
    elif isinstance(value, bytes):
        yield value + b"!"


def _negated(test: ast.expr) -> ast.expr:
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return test.operand
    return ast.copy_location(ast.UnaryOp(ast.Not(), test), test)


def _is_empty(node: ast.expr) -> bool:
    """Whether it is None, or a truth value: that is turned into the other already."""
    return isinstance(node, ast.Constant) and (node.value is None or isinstance(node.value, bool))
