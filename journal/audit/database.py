"""The checks of the database itself: SQLite's own integrity, the schema, the files."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from journal import schema
from journal.audit.source import opened, text
from journal.dialects import catalog
from journal.dialects.address import is_url
from journal.engine import driver, sqlite_version, wal_reset_fixed
from journal.place import UNSAFE_FILE_SYSTEMS, mount_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    from journal.audit.findings import Findings
    from journal.audit.source import Source

MESSAGES: Final = 100
NOT_ON_SERVERS: Final = (
    "the server's own pages and indexes (pg_amcheck, and its checksums, do that)",
    "who else may write to the tables, and whether a standby has what was acknowledged",
)
# What Alembic's own table says of a schema version.
REVISIONS: Final = {1: "0001"}
_CONSTRAINTS: Final = ("CHECK constraint failed", "NULL value in", "non-", "NUMERIC value in")


def sqlite_facts() -> dict[str, Any]:
    """Return which SQLite looked, and whether it may be believed under many writers."""
    version = sqlite_version()
    fixed = wal_reset_fixed(tuple(map(int, version.split("."))))
    return {"version": version, "wal_reset_fixed": fixed}


def integrity(path: str, ended: Event | None = None) -> list[str] | Exception:
    """Return what SQLite's own check of pages, indexes and the tables' rules says, or the error it ended with.

    On a connection of its own, to be run in a thread: SQLite lets go of the interpreter,
    and so it costs nothing where there is a second core. It may see a later state than
    the rest of an audit; what it looks for does not depend on that. It breaks off where
    the audit has ``ended``.
    """
    if is_url(path):
        return []
    with opened(path) as source:
        if ended is not None:
            source.watch(ended.is_set)
        try:
            found: list[tuple[object]] = source.query(
                f"PRAGMA integrity_check({MESSAGES})"
            ).fetchall()
        except driver().Error as error:
            failed: Exception = error
            return failed  # raised where its part is told
        finally:
            source.watch(None)  # what ends the reading is no part of it
        return [text(line) for (line,) in found]


def check_integrity(messages: list[str] | Exception, found: Findings) -> None:
    """J501, J505: SQLite's own check of pages, indexes and the tables' rules."""
    if isinstance(messages, Exception):
        raise messages
    for message in messages:
        if message != "ok":
            check, cause = _sorted(message)
            found.add(check, cause, evidence={"sqlite": message})


def _sorted(message: str) -> tuple[str, str]:
    if any(message.startswith(start) or f" {start}" in message for start in _CONSTRAINTS):
        return "J505", "a row breaks the table's own rules"
    return "J501", "SQLite's integrity_check says so"


def check_schema(source: Source, found: Findings) -> int:
    """J503, J504: tables, indexes and triggers are ours; return how many others' tables there are."""
    if source.schema_name is not None:
        return _check_catalog(source, source.schema_name, found)
    objects, others = _objects(source)
    version = source.version()
    if version not in schema.SCHEMA_DIGESTS:
        found.add("J504", f"user_version is {version}", evidence={"user_version": version})
    elif schema.digest(objects) != schema.SCHEMA_DIGESTS[version]:
        for what, item in schema.difference(objects):
            cause = f"a {item.type} is {what}"
            found.add(
                "J503", cause, evidence={"name": item.name, "on": item.table, "sql": item.sql[:500]}
            )
    _check_revision(source, found, version)
    return others


def _check_catalog(source: Source, name: str, found: Findings) -> int:
    version = source.version()
    objects = catalog.objects(_Asking(source), name)
    if version not in catalog.DIGESTS:
        found.add("J504", f"the schema's version is {version}", evidence={"version": version})
    for fault in catalog.faults(objects, version):
        found.add("J503", fault, evidence={"schema": name})
    return sum(row[0] == "table" and row[1] not in schema.TABLE_NAMES for row in objects)


class _Asking:
    """A source, for whoever asks as of a cursor."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def execute(self, statement: str, values: tuple[object, ...]) -> Any:  # noqa: ANN401 - rows
        return self._source.query(statement, *values)


def _objects(source: Source) -> tuple[list[schema.Object], int]:
    """Return all that could change what our tables do, and the number of others' tables."""
    ours, others = [], 0
    statement = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name"
    for row in source.query(statement):
        item = schema.Object(*map(text, row))
        names = {item.table.casefold(), item.name.casefold()}
        if item.type in ("trigger", "view") or not names.isdisjoint(schema.TABLE_NAMES):
            ours.append(item)
        elif item.type == "table" and item.name != "alembic_version":
            others += 1
    return ours, others


def _check_revision(source: Source, found: Findings, version: int) -> None:
    there = source.query(
        "SELECT count(*) FROM sqlite_schema WHERE name = 'alembic_version'"
    ).fetchone()[0]
    rows = [text(row[0]) for row in source.query("SELECT * FROM alembic_version")] if there else []
    if version in REVISIONS and rows != [REVISIONS[version]]:
        evidence = {"expected": [REVISIONS[version]], "found": rows[:5]}
        found.add("J504", "the revision that an upgrade goes by is another", evidence=evidence)


def check_files(path: str, found: Findings) -> None:
    """J506, J507: nobody else may write to the files, and the place keeps locks."""
    if is_url(path):
        return
    for name, mode in _modes(path):
        if mode & stat.S_IWOTH and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
            evidence = {"path": name, "mode": oct(stat.S_IMODE(mode))}
            found.add("J506", "any user may write to it", evidence=evidence)
    links = os.stat(path).st_nlink  # noqa: PTH116 - by path, for opening it would drop SQLite's locks
    if links > 1:
        cause = "the file has more than one name, and each name its own write-ahead log"
        found.add("J507", cause, evidence={"path": path, "links": links})
    mount = mount_of(Path(path).resolve())
    if mount is not None and mount.file_system in UNSAFE_FILE_SYSTEMS:
        evidence = {"path": path, "file_system": mount.file_system}
        found.add("J507", "locks do not hold on this file system", evidence=evidence)


def _modes(path: str) -> Iterator[tuple[str, int]]:
    for name in (path, f"{path}-wal", f"{path}-shm", str(Path(path).parent)):
        try:
            yield name, os.stat(name).st_mode  # noqa: PTH116 - as above
        except OSError:
            continue  # there need not be a -wal
