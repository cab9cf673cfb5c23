"""Where Alembic meets a journal: on a connection, never on a URL.

``journal.schema`` hands its connection over, inside a transaction it began
itself; then nothing here begins, commits or closes. From a checkout, Alembic's
own command line opens the journal named by ``-x db=PATH`` or ``JOURNAL_DB``.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

from alembic import context
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from journal.engine import writing_engine
from journal.tables import metadata

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alembic.operations import MigrationScript
    from alembic.runtime.migration import MigrationContext
    from sqlalchemy import Connection

config = context.config


def number_by_four_digits(
    _context: MigrationContext, _revision: object, scripts: Iterable[MigrationScript]
) -> None:
    """Give a new revision the number after the newest: 0001, 0002 and so on."""
    head = ScriptDirectory.from_config(config).get_current_head()
    for script in scripts:
        script.rev_id = f"{int(head or 0) + 1:04d}"


def migrate(connection: Connection) -> None:
    """Run the migrations in one transaction: the caller's where one is open, else our own."""
    context.configure(
        connection=connection,
        target_metadata=metadata,
        # Alembic believes SQLite cannot roll back DDL. With our own BEGIN it can, and a failed
        # upgrade leaves the journal as it was.
        transactional_ddl=True,
        process_revision_directives=number_by_four_digits,
    )
    with context.begin_transaction():
        context.run_migrations()


def journal_path() -> str:
    """Return the journal that the command line named."""
    named = context.get_x_argument(as_dictionary=True).get("db")
    return named or os.environ.get("JOURNAL_DB") or "journal.db"


def migrate_from_the_command_line() -> None:
    """Open the journal as every writer does, and migrate it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with writing_engine(journal_path()).connect() as connection:
        # Before any BEGIN: inside a transaction SQLite ignores this pragma, and a table rebuilt
        # with it on would take the rows that point at it along.
        _pragma(connection, "foreign_keys=OFF")
        migrate(connection)
        broken = _pragma(connection, "foreign_key_check")
    if broken:
        raise CommandError(f"rows point at nothing after this upgrade: {broken[:5]}")


def _pragma(connection: Connection, words: str) -> list[Any]:
    # Past SQLAlchemy, which would begin a transaction first.
    cursor = connection.connection.cursor()
    try:
        return list(cursor.execute(f"PRAGMA {words}").fetchall())
    finally:
        cursor.close()


handed = config.attributes.get("connection")
if context.is_offline_mode():
    message = "a journal is migrated on its connection; --sql cannot do it"
    raise CommandError(message)
if handed is not None:
    migrate(handed)
else:
    migrate_from_the_command_line()
