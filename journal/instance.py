"""Instances: which process wrote, told apart across hosts, reboots and reused pids."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from journal import statements as sql
from journal.process import this_process

if TYPE_CHECKING:
    from journal.engine import Cursor
    from journal.seal import Mac


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
