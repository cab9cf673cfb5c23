"""Instances: which process wrote, told apart across hosts, reboots and reused pids."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from journal import statements as sql
from journal.explanation import process_words
from journal.process import this_process
from journal.tables import instances

if TYPE_CHECKING:
    from journal.engine import Cursor
    from journal.seal import Mac


def process_of(cursor: Cursor, mac: Mac, instance_id: int | None) -> str | None:
    """Say which process an instance is, if its row is as a key holder stored it."""
    where = f"{sql.all_of(instances)} WHERE id = ?"
    row = cursor.execute(where, (instance_id,)).fetchone()
    if row is None or row[-1] != mac("instance", *row[:-1]):
        return None
    found = dict(zip([column.name for column in instances.c], row, strict=True))
    return process_words({name: _text(found[name]) for name in ("pid", "host", "program")})


def _text(value: object) -> object:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value


def store_instance(cursor: Cursor, mac: Mac, writer_id: int, at_us: int) -> int:
    """Store who this process is, proved by a MAC over its number too; return the number."""
    here = this_process()
    nonce = secrets.token_bytes(16)
    facts = (
        writer_id,
        here.host,
        here.pid_ns,
        here.boot_id,
        here.pid,
        here.started_us,
        nonce,
        here.program,
        at_us,
    )
    cursor.execute(sql.INSERT_INSTANCE, (*facts, b""))
    number = int(cursor.lastrowid or 0)
    cursor.execute(
        "UPDATE instances SET mac = ? WHERE id = ?", (mac("instance", number, *facts), number)
    )
    return number
