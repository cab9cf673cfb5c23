"""Which place on which server a journal is in, and where what is known of its mirrors is kept.

Two copies of a journal have one id and the same facts of its mirrors, and a file that both
served would be fought over. So a mirror belongs to the place whose journal registered it,
and, as its lock is in a file that only its owner may open, to the user who did.

That file stands beside the mirror's. Whoever can write to the one meets everybody else who
can at the other, whatever his environment says: a data directory is another for a job with
another HOME, and a container has all directories to itself but those it shares.
"""

from __future__ import annotations

import os
from hashlib import sha256
from typing import Any, Final

SIDE_FILE: Final = ".session-journal-"  # how its name begins
_MAY_ASK: Final = "SELECT has_function_privilege('pg_control_system()', 'EXECUTE')"
# The first of these a standby has too, and a server that was restored from a dump has not.
_SYSTEM: Final = "SELECT system_identifier FROM pg_control_system()"
_PLACE: Final = (
    "SELECT (SELECT oid FROM pg_database WHERE datname = current_database()), "
    "(SELECT oid FROM pg_namespace WHERE nspname = ?)"
)
_UNTOLD: Final = "?"

# Whose a mirror is, seen from a place.
OURS: Final = "ours"
UNTOLD: Final = "untold"  # ours or a copy's: the server does not tell which it is
ANOTHER_USERS: Final = "another user's"
A_COPYS: Final = "a copy's"


def place_of(cursor: Any, schema: str) -> str:  # noqa: ANN401 - whoever reads
    """Return what names a journal's place on its server and this user; untold where the server does not say."""
    may_ask = cursor.execute(_MAY_ASK).fetchone()[0]
    system = cursor.execute(_SYSTEM).fetchone()[0] if may_ask else _UNTOLD
    database, number = cursor.execute(_PLACE, (schema,)).fetchone()
    return f"{system}/{database}/{number}/{_user()}"


def is_untold(place: str) -> bool:
    """Whether it is not known on which server a place is."""
    return place.startswith(f"{_UNTOLD}/")


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def whose(place: str, own: str) -> str:
    """Say whose a mirror of one place is, seen from another: of this host's, for the host is asked elsewhere."""
    if place == own:
        return OURS
    if is_untold(own):  # the rest of it can tell a copy in another database or schema all the same
        place = f"{_UNTOLD}/{place.partition('/')[2]}"
        if place == own:
            return UNTOLD
    return ANOTHER_USERS if place.rpartition("/")[0] == own.rpartition("/")[0] else A_COPYS


def mirrors_path(journal_id: str, place: str, mirror: str) -> str:
    """Return the side file of a journal on a server for the mirrors in the directory of one of them."""
    name = sha256(f"{journal_id} {place}".encode()).hexdigest()[:16]
    return os.path.join(os.path.dirname(mirror), f"{SIDE_FILE}{name}")  # noqa: PTH118, PTH120 - text in, text out
