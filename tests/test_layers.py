"""The layers hold: nobody imports upwards, and some things are imported in one place only.

The rules are read from the sources, so they hold for imports inside functions
and under ``TYPE_CHECKING`` too. A new module needs a line in ``LAYERS``.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parent.parent

# Lowest first; a package stands for all its modules. __init__ is the public door: it names what
# lies below it, and what stands on the public surface (adapters, reports, the demo) comes in by it.
LAYERS = (
    # Standard library only; no clock, no disk, no SQL.
    {
        "errors",
        "aliases",
        "model",
        "fields",
        "seal",
        "eras",
        "lines",
        "regions",
        "parts",
        "controls",
        "strays",
        "layout",
        "reconcile",
        "policy",
        "verdict",
        "note",
        "redacted",
        "formats",
        "escape",
        "explanation",
        "fileedit",
        "commands",
        "factwords",
    },
    {
        "engine",
        "dialects",
        "tables",
        "statements",
        "place",
        "process",
        "guards",
        "darwin",
        "descriptors",
        "filelocks",
        "signing",
        "files",
        "openers",
        "copymark",
    },
    {
        "schema",
        "keys",
        "instance",
        "registry",
        "pages",
        "chain",
        "openend",
        "writing",
        "appending",
        "sealing",
        "inspection",
        "naming",
        "durability",
        "folding",
        "group",
        "rides",
        "ticket",
        "deputy",
        "changes",
        "forks",
        "keyfinding",
        "custody",
        "transaction",
        "pins",
        "ledger",
        "store",
        "serverstore",
        "serverlink",
        "serveroutcome",
        "serverqueue",
        "serverplace",
        "servergroup",
        "serverchanges",
        "creation",
        "mirrorfile",
        "sidefile",
    },
    {
        "journal",
        "session",
        "batch",
        "fence",
        "telling",
        "fencerow",
        "marks",
        "claim",
        "turn",
        "parking",
        "settling",
        "admission",
        "rewriting",
        "comparison",
        "foreign",
        "mending",
        "undoing",
        "reconciling",
        "mirror",
        "mirrors",
        "mirrorstatus",
        "permitting",
        "sidefiles",
        "reading",
        "tail",
        "places",
        "holder",
        "verdicts",
        "inputs",
        "resolving",
        "redaction",
        "overwriting",
        "erasing",
    },
    {
        "migration",
        "audit",
        "aio",
        "awaited",
        "settled",
        "threads",
        "export",
        "incident",
        "why",
        "who",
        "anchor",
        "backup",
        "copying",
        "bundle",
        "rebuilding",
        "watching",
        "bundled",
        "adopting",
        "exclusive",
        "serving",
        "doctor",
        "serverdoctor",
    },
    {"__init__", "adapters", "report", "testing", "demo"},
    {"__main__", "cli"},
)

# What the lowest layer may not touch even though Python ships it, and the calls that need no import.
EFFECTS = {
    *("os", "time", "pathlib", "sqlite3", "shutil", "tempfile", "glob"),
    *("subprocess", "socket", "threading", "multiprocessing", "asyncio"),
}
EFFECTFUL_CALLS = {"open", "input", "print", "__import__"}

# Imported in these places only, each for a reason worth a failing test.
SOLE = {
    "anyio": {"settled", "threads"},  # whoever does not await does not pay for it
    "alembic": {"schema"},  # 275 ms, paid when a schema is made or upgraded
    "click": {"cli"},
    "cryptography": {"signing"},  # an extra
    "jinja2": {"report"},
    "markupsafe": {"report"},
    "watchfiles": {"watching"},  # an extra
    "msgspec": {"lines", "regions"},  # pure functions in C; the one stranger in the lowest layer
    "platformdirs": {"keys"},
    "psycopg": {"dialects"},  # an extra
    "pysqlite3": {"engine"},  # two SQLite libraries on one file in one process lose its locks
    "rich": {"cli", "report"},
    "sqlite3": {"engine"},
}

# The auditor shares no code with the writers it checks, at any distance.
AUDIT_AVOIDS = {
    *("registry", "pages", "chain", "writing", "inspection", "ledger", "store"),
    *("journal", "session", "batch", "fence", "fencerow", "marks", "claim", "parking", "settling"),
}

LAYER_OF = {name: number for number, names in enumerate(LAYERS) for name in names}


def modules(package: Path) -> Iterator[tuple[str, ast.Module]]:
    """Give each module's dotted name within the package, and its tree."""
    for path in sorted(package.rglob("*.py")):
        yield dotted(path.relative_to(package)), ast.parse(path.read_text("utf-8"), str(path))


def dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def imports(tree: ast.Module) -> set[str]:
    """Give every dotted name that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= named_from(node)
        elif called := imported_by_call(node):
            found.add(called)
    return found


def named_from(node: ast.ImportFrom) -> set[str]:
    start = "." * node.level + (node.module or "")
    if start == "journal":
        return {f"journal.{alias.name}" for alias in node.names}
    return {start}


def imported_by_call(node: ast.AST) -> str | None:
    """Give X of ``importlib.import_module("X")``, or None for anything else."""
    match node:
        case ast.Call(
            func=ast.Attribute(attr="import_module") | ast.Name(id="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return name
    return None


def ours(name: str) -> str | None:
    """Give the table's name for a part of ours, or None for another's module."""
    first, _, rest = name.partition(".")
    if first != "journal":
        return None
    part = rest.partition(".")[0]
    if part in LAYER_OF:
        return part
    # `from journal import Journal` and `__version__` come through the public door.
    return part if part[:1].islower() else "__init__"


def faults_of(module: str, tree: ast.Module) -> Iterator[str]:
    """Say what one module does that its layer may not."""
    own = module.partition(".")[0]
    if own not in LAYER_OF:
        yield f"{module} is in no layer: give it a line in LAYERS"
        return
    for name in sorted(imports(tree)):
        yield from (f"{module} {fault}" for fault in faults_of_import(own, name))
    if LAYER_OF[own] == 0:
        yield from (f"{module} calls {name}" for name in sorted(calls(tree) & EFFECTFUL_CALLS))


def faults_of_import(own: str, name: str) -> Iterator[str]:
    if name.startswith("."):
        yield f"imports {name}: write it out from `journal`"
        return
    part, top = ours(name), name.partition(".")[0]
    if part is not None:
        if LAYER_OF.get(part, len(LAYERS)) > LAYER_OF[own]:
            yield f"imports {part}, from a layer above"
        return
    if own not in SOLE.get(top, {own}):
        yield f"imports {top}, which only {', '.join(sorted(SOLE[top]))} may"
    pure = top == "msgspec" or top in sys.stdlib_module_names
    if LAYER_OF[own] == 0 and (top in EFFECTS or not pure):
        yield f"imports {top}, and the lowest layer has no effects"


def calls(tree: ast.Module) -> set[str]:
    """Give the plain names that a module calls."""
    nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return {node.func.id for node in nodes if isinstance(node.func, ast.Name)}


def reach(start: str, edges: Mapping[str, set[str]]) -> set[str]:
    """Give everything of ours that ``start`` imports, at any distance."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        here = waiting.pop()
        waiting += edges.get(here, set()) - seen
        seen |= edges.get(here, set())
    return seen


def edges_of(trees: Iterator[tuple[str, ast.Module]]) -> dict[str, set[str]]:
    edges: dict[str, set[str]] = {}
    for module, tree in trees:
        parts = {part for name in imports(tree) if (part := ours(name)) is not None}
        edges.setdefault(module.partition(".")[0], set()).update(parts)
    return edges


def test_nobody_imports_upwards():
    """Each module is in the table and keeps to its layer."""
    package = ROOT / "journal"

    faults = [fault for module, tree in modules(package) for fault in faults_of(module, tree)]

    assert faults == []


def test_every_line_of_the_table_names_one_place():
    """No module is in two layers."""
    assert sum(map(len, LAYERS)) == len(LAYER_OF)


def test_the_auditor_shares_no_code_with_the_writers():
    """Rule 11: audit reaches no part of the write path, not even through another module."""
    edges = edges_of(modules(ROOT / "journal"))

    assert reach("audit", edges) & AUDIT_AVOIDS == set()


def test_the_migrations_know_little_of_us():
    """env.py opens and describes; a revision is history, and history imports nothing that changes."""
    env = ast.parse((ROOT / "alembic" / "env.py").read_text("utf-8"))
    revisions = [tree for name, tree in modules(ROOT / "alembic") if name.startswith("versions.")]

    assert {part for name in imports(env) if (part := ours(name))} <= {"engine", "tables"}
    assert {part for tree in revisions for name in imports(tree) if (part := ours(name))} == set()


def test_the_short_door_only_opens():
    """cli.py imports the command line and nothing else."""
    assert imports(ast.parse((ROOT / "cli.py").read_text("utf-8"))) == {"journal.cli"}


@pytest.mark.parametrize(
    "module, source, fault",
    [
        ("seal", "from journal.store import Store", "imports store, from a layer above"),
        ("seal", "from journal import store", "imports store, from a layer above"),
        ("seal", "def f():\n    import journal.cli.log", "imports cli, from a layer above"),
        ("session", "from journal import Journal", "imports __init__, from a layer above"),
        ("store", "from journal.unheard import x", "imports unheard, from a layer above"),
        ("store", "from .session import Session", "imports .session: write it out"),
        ("formats.pi", "import os.path", "imports os, and the lowest layer has no effects"),
        ("model", "import orjson", "imports orjson, and the lowest layer has no effects"),
        ("model", "open('x')", "calls open"),
        ("store", "import alembic.command", "imports alembic, which only schema may"),
        ("session", "from click import echo", "imports click, which only cli may"),
        ("export", "import sqlite3", "imports sqlite3, which only engine may"),
        ("store", "importlib.import_module('pysqlite3')", "imports pysqlite3, which only engine"),
        ("unheard", "", "is in no layer"),
    ],
)
def test_a_broken_rule_is_named(module, source, fault):
    """Each rule, broken once, is the one fault found."""
    (found,) = faults_of(module, ast.parse(source))

    assert found.startswith(f"{module} {fault}")


@pytest.mark.parametrize(
    "module, source",
    [
        ("errors", "if TYPE_CHECKING:\n    from journal.model import Entry"),
        ("session", "from journal.claim import Turn\nfrom journal import errors"),
        ("audit.seals", "from journal.audit.findings import Finding\nimport sqlalchemy"),
        ("demo", "from journal import Journal"),
        ("cli", "from journal import __version__\nimport click"),
    ],
)
def test_what_is_allowed_is_not_a_fault(module, source):
    """Downwards, sideways, and through the public door from above."""
    assert list(faults_of(module, ast.parse(source))) == []


def test_the_auditors_reach_counts_every_step():
    """A write-path module two imports away is found."""
    edges = {"audit": {"export"}, "export": {"session"}, "session": {"store"}}

    assert reach("audit", edges) & AUDIT_AVOIDS == {"session", "store"}
