"""Which place on which server a journal is in, and where this machine keeps what it knows of its mirrors.

Two copies of a journal have one id and the same facts of its mirrors, and a file that both
served would be fought over. So a mirror belongs to the place whose journal registered it,
and, as its lock is in the user's own data directory, to the user who did.
"""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from journal.keys import user_path

if TYPE_CHECKING:
    from pathlib import Path

_MAY_ASK: Final = "SELECT has_function_privilege('pg_control_system()', 'EXECUTE')"
# The first of these a standby has too, and a server that was restored from a dump has not.
_PLACE: Final = (
    "SELECT (SELECT system_identifier FROM pg_control_system()), "
    "(SELECT oid FROM pg_database WHERE datname = current_database()), "
    "(SELECT oid FROM pg_namespace WHERE nspname = ?)"
)


def place_of(cursor: Any, schema: str) -> str | None:  # noqa: ANN401 - whoever reads
    """Return what names a journal's place on its server and this user; None if the server does not tell."""
    if not cursor.execute(_MAY_ASK).fetchone()[0]:
        return None
    system, database, number = cursor.execute(_PLACE, (schema,)).fetchone()
    return f"{system}/{database}/{number}/{_user()}"


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def is_of_another_user(place: str, own: str | None) -> bool:
    """Whether two places differ in nothing but the user."""
    return own is not None and place != own and place.rpartition("/")[0] == own.rpartition("/")[0]


def mirrors_path(journal_id: str, place: str) -> Path:
    """Return the side file for the mirrors of a journal on a server, in the user's data directory."""
    name = f"{journal_id}-{sha256(place.encode()).hexdigest()[:16]}"
    return user_path() / "mirrors" / name
