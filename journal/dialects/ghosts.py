"""What a lost connection leaves on the server: a statement that may yet be done, or was.

Each writing connection holds a lock of its own, which the server lets go with it. Whoever
has that lock afterwards knows that nothing more will come of the connection.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import Any, Final

from journal.dialects.postgres import driver

# No statement of a writer's may begin after this: what was idle ends at once, and what was
# waiting for a lock or for a standby ends as if it had been refused, or as if it had not waited.
_END: Final = (
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1 "
    "AND (classid::bigint << 32) | objid::bigint = ? AND granted AND pid <> pg_backend_pid() "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)


def marked(cursor: Any) -> int:  # noqa: ANN401 - the driver's, as ours wraps it
    """Give a connection its own lock; return the lock's number."""
    mark = secrets.randbits(62)
    cursor.execute("SELECT pg_advisory_lock(?)", (mark,))
    return mark


def end(cursor: Any, mark: int) -> None:  # noqa: ANN401 - the driver's, as ours wraps it
    """Have the server end the connection with this mark, if it is there still, and what it holds; wait for nothing.

    Where this user may end nobody, it ends in its own time.
    """
    with suppress(driver().errors.InsufficientPrivilege):
        cursor.execute(_END, (mark,))


def outlive(cursor: Any, mark: int) -> None:  # noqa: ANN401 - the same
    """Return once the connection with this mark has ended on the server, whatever became of its work.

    What is seen from then on need not be durable yet: commit something of your own before
    it is believed.
    """
    end(cursor, mark)
    cursor.execute("SELECT pg_advisory_lock(?)", (mark,))
    cursor.execute("SELECT pg_advisory_unlock(?)", (mark,))
