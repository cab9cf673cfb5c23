"""``journal status``."""

from __future__ import annotations

import shlex
import stat
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

import click

from journal.cli import output
from journal.cli.failing import with_db
from journal.cli.frame import command as make_command
from journal.cli.opening import opened, path_of, place_of
from journal.cli.options import Settings, json_option
from journal.commands import command_on
from journal.dialects.address import is_url, parsed
from journal.errors import JournalError, KeyMissing

if TYPE_CHECKING:
    from pathlib import Path

    from journal.cli.overview import Overview


UNKNOWN: Final = "not known without opening it"


@make_command("status", "journal status", "journal status --json")
@json_option
@click.pass_obj
def command(settings: Settings) -> int:
    """Show what the journal is, and what about it is unsafe.

    The counts are those of its listings; the bytes are those of its sessions as files, the
    file is the database. What came from outside and nobody accepted or rejected is counted
    as far as somebody has met it. To verify every row: journal audit.
    """
    unsafe: list[str] = []
    if is_url(settings.db):
        told = _of_the_server(place_of(settings))
    else:
        path = path_of(settings)
        told = _of_the_file(path)
        unsafe += _unsafe_files(path, told)
    problem = _fill(settings, told, unsafe)
    unsafe = [with_db(text, settings) for text in unsafe]
    for one in told["mirrors"] or ():
        one["detail"] = one["detail"] and with_db(one["detail"], settings)
    if settings.json:
        output.document("status", **told, unsafe=unsafe)
    else:
        _print(told, settings, problem)
    for text in unsafe:
        output.say(f"Unsafe: {text}")
    return 0 if problem is None else problem.exit_code


def _of_the_file(path: Path) -> dict[str, Any]:
    """Return what can be told without the key."""
    from journal.engine import driver, sqlite_version, wal_reset_fixed  # noqa: PLC0415
    from journal.schema import SCHEMA_VERSION, version_of  # noqa: PLC0415

    version = sqlite_version()
    return {
        "path": str(path),
        "id": _id_of(path),
        "schema_version": version_of(str(path)),
        "newest_schema_version": SCHEMA_VERSION,
        "sqlite": version,
        "driver": driver().__name__.partition(".")[0],
        "sqlite_is_safe": wal_reset_fixed(tuple(map(int, version.split(".")))),
        "file_bytes": sum(_bytes_of(path.with_name(path.name + end)) for end in ("", "-wal")),
    }


def _of_the_server(url: str) -> dict[str, Any]:
    """Return what can be told without the key, of a journal on a server."""
    from journal import keys  # noqa: PLC0415 - with the rest of the library
    from journal.dialects import catalog  # noqa: PLC0415
    from journal.schema import SCHEMA_VERSION  # noqa: PLC0415

    address = parsed(url)
    facts = catalog.facts(address)
    return {
        "path": address.shown,
        "id": facts.journal_id,
        "schema_version": facts.version,
        "newest_schema_version": SCHEMA_VERSION,
        "sqlite": None,
        "driver": "psycopg",
        "sqlite_is_safe": True,
        "file_bytes": facts.size,
        "server": facts.server,
        "key": str(keys.key_path(facts.journal_id or "unknown")),
    }


def _id_of(path: Path) -> str | None:
    from journal.engine import connect, driver, translated  # noqa: PLC0415

    try:
        with closing(connect(str(path), mode="ro")) as connection:
            row = connection.execute("SELECT value FROM meta WHERE name = 'journal_id'").fetchone()
    except driver().Error as error:
        raise translated(error, str(path)) from error
    return None if row is None else str(row[0])


def _bytes_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _unsafe_files(path: Path, told: dict[str, Any]) -> list[str]:
    from journal import keys  # noqa: PLC0415 - with the rest of the library

    found = []
    if not told["sqlite_is_safe"]:
        found.append(
            f"SQLite {told['sqlite']} has the WAL-reset bug: install pysqlite3 0.6.1 or later"
        )
    if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        found.append(f"others may write to {path}: chmod go-w {shlex.quote(str(path))}")
    key = keys.key_path(told["id"] or "unknown")
    told["key"] = str(key)
    if key.absolute().parent == path.parent:
        found.append(f"the key {key} lies beside the journal: who takes one has the other")
    return found


def _fill(settings: Settings, told: dict[str, Any], unsafe: list[str]) -> JournalError | None:
    """Add what takes the key; return what stood in the way."""
    from journal.cli.overview import Overview, overview  # noqa: PLC0415 - with the library

    told |= {"key_ok": False, "sessions": None, "entries": None, "bytes": None}
    found = Overview()
    problem = None
    try:
        with opened(settings) as journal:
            sessions = journal.sessions()
            found = overview(journal)
    except JournalError as error:
        problem = error
        unsafe.append(f"{error}. Try: {error.hint}" if error.hint else str(error))
    else:
        told |= {"key_ok": True, "sessions": len(sessions)}
        told |= {
            "entries": sum(item.entries for item in sessions),
            "bytes": sum(item.bytes for item in sessions),
        }
    _add_overview(told, unsafe, found, is_known=problem is None)
    return problem


def _add_overview(
    told: dict[str, Any], unsafe: list[str], found: Overview, *, is_known: bool
) -> None:
    told["parked"] = found.parked if is_known else None
    told["takeovers"] = found.takeovers if is_known else None
    told["mirrors"] = found.mirrors if is_known else None
    told["unresolved"] = found.unresolved if is_known else None
    if found.forged:
        unsafe.append(
            f"{output.counted(found.forged, 'parked write or verdict', 'parked writes or verdicts')} "
            "not as the journal left them: journal audit"
        )


def _key_state(problem: JournalError | None) -> str:
    if problem is None:
        return "ok"
    return "not usable" if isinstance(problem, KeyMissing) else "not tried"


def _print(told: dict[str, Any], settings: Settings, problem: JournalError | None) -> None:
    safe = "" if told["sqlite_is_safe"] else ", unsafe"
    output.facts(
        [
            ("journal", told["path"]),
            ("id", told["id"]),
            ("schema", f"{told['schema_version']} of {told['newest_schema_version']}"),
            _engine(told, safe),
            ("key", f"{told['key']} ({_key_state(problem)})"),
            ("file", output.size(told["file_bytes"])),
            ("sessions", _known(told["sessions"])),
            ("entries", _known(told["entries"])),
            ("bytes", _known(told["bytes"] and output.size(told["bytes"]))),
            ("parked", _known(told["parked"])),
            ("takeovers", with_db(_takeovers(told["takeovers"]), settings)),
            ("unresolved", with_db(_unresolved(told["unresolved"]), settings)),
            ("mirrors", _mirrors(told["mirrors"])),
        ]
    )


def _engine(told: dict[str, Any], safe: str) -> tuple[str, str]:
    if told["sqlite"] is None:
        return "PostgreSQL", f"{told['server']} ({told['driver']})"
    return "SQLite", f"{told['sqlite']} ({told['driver']}{safe})"


def _known(value: object) -> object:
    return UNKNOWN if value is None else value


def _mirrors(found: list[dict[str, Any]] | None) -> str:
    """Say how many files are served, and of which sessions they are not."""
    if found is None:
        return UNKNOWN
    if not found:
        return "none"
    off = [f"{one['session']} {one['state']}" for one in found if one["state"] != "on"]
    served = f"{len(found) - len(off)} of {len(found)} on"
    return ", ".join([served, *off[:5], *([f"and {len(off) - 5} more"] if len(off) > 5 else [])])  # noqa: PLR2004 - as many as are shown


def _takeovers(found: list[dict[str, Any]] | None) -> str:
    if found is None:
        return UNKNOWN
    if not found:
        return "none"
    newest = found[0]
    seqs = ", ".join(map(str, newest["foreign"][:5]))
    where = f"{newest['session']} at {output.when(newest['judged_us'])}, seq {seqs}"
    what = f"{newest['outcome']}, settled" if newest["settled"] else newest["outcome"]
    return f"the newest ({what}): {where}; journal why {newest['verdict']}"


def _unresolved(found: list[dict[str, Any]] | None) -> str:
    """Say how much from outside waits for somebody to decide, and where."""
    if found is None:
        return UNKNOWN
    if not found:
        return "none that is known"
    told = [
        f"{each['entries']}{'' if each['is_all'] else ' or more'} in {each['session']}"
        for each in found[:5]
    ]
    more = [f"and in {len(found) - 5} more"] if len(found) > 5 else []  # noqa: PLR2004 - as many as are shown
    return ", ".join([*told, *more]) + f"; {command_on(found[0]['session'], 'who')}"
