"""Which grant a refused statement lacked: the server says of which table, and no more."""

from __future__ import annotations

import re
from typing import Any, Final

from journal.dialects import quoted
from journal.tables import metadata

DENIED: Final = "42501"
# As docs/postgres.md grants it: who redacts changes no more of an entry than this.
_REDACTING: Final = "UPDATE (body, salt, line_type, line_id, parent_id)"
_VERBS: Final = (
    (r"INSERT\s+INTO\s+{0}\b.*\bDO\s+UPDATE\b", "INSERT, UPDATE"),
    (r"(INSERT\s+INTO|COPY)\s+{0}\b", "INSERT"),
    (r"UPDATE\s+{0}\b|\bLOCK\s+TABLE\b.*\b{0}\b|\bFROM\s+{0}\b.*\bFOR\s+UPDATE\b", "UPDATE"),
    (r"DELETE\s+FROM\s+{0}\b", "DELETE"),
)
_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_]*")


def note(error: BaseException, statement: str, connection: Any) -> None:  # noqa: ANN401 - the driver's
    """Have an error know the grant that its statement lacked, where that is what it is about."""
    if getattr(error, "sqlstate", None) != DENIED:
        return
    table = _table(str(getattr(error, "diag", None) and error.diag.message_primary))  # type: ignore[attr-defined] # the driver's error
    if table is not None:
        error.lacks = (_privilege(statement, table), table, _named(connection.info.user))  # type: ignore[attr-defined] # the driver's error


def of(error: BaseException, schema: str) -> str | None:
    """Return the statement that grants what an error lacked; None if that is not known."""
    what, table, user = getattr(error, "lacks", ("", "", ""))
    return f"GRANT {what} ON {schema}.{table} TO {user}" if what else None


def _table(message: str) -> str | None:
    """Return the table a message names, in whichever language: names stand in it as they are."""
    found = {word for word in re.findall(r"\w+", message) if word in metadata.tables}
    return found.pop() if len(found) == 1 else None


def _privilege(statement: str, table: str) -> str:
    for pattern, what in _VERBS:
        if re.search(pattern.format(table), statement, re.DOTALL):
            return _REDACTING if (what, table) == ("UPDATE", "entries") else what
    return "SELECT"


def _named(user: str) -> str:
    return user if _PLAIN.fullmatch(user) else quoted(user)
