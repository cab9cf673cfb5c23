"""What a PostgreSQL server says of itself and of a journal on it; asked in one read-only transaction."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal.dialects.postgres import Cursor, connect, driver, translated

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journal.dialects.address import Address

# Whoever asks may be beside a server that has trouble: he is answered soon, or not at all.
_PATIENCE_MS: Final = 5000
_SERVER: Final = (
    "SELECT current_setting('server_version'), current_setting('server_version_num')::int, "
    "pg_is_in_recovery(), current_user::text, current_setting('server_encoding')"
)
_SETTINGS: Final = (
    "SELECT name, setting FROM pg_settings WHERE name IN ('fsync', 'synchronous_commit', "
    "'full_page_writes', 'data_checksums', 'max_connections', 'synchronous_standby_names')"
)
_STANDBYS: Final = "SELECT application_name, COALESCE(sync_state, '?') FROM pg_stat_replication"
_CLIENTS: Final = (
    "SELECT pid, COALESCE(usename::text, '?'), COALESCE(client_addr::text, 'local'), "
    "COALESCE(state, '?'), COALESCE(extract(epoch FROM now() - xact_start), 0)::bigint "
    "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND (application_name = 'session-journal' OR state IS NULL) ORDER BY 5 DESC"
)
_CONNECTIONS: Final = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
_SIZES: Final = (
    "SELECT c.relname::text, pg_total_relation_size(c.oid), GREATEST(c.reltuples, 0)::bigint, "
    "COALESCE(s.n_dead_tup, 0) FROM pg_class c LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid "
    "WHERE c.relnamespace = ?::regnamespace AND c.relkind = 'r'"
)
_OWNS: Final = "SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = ?"
_MAY: Final = "SELECT has_table_privilege(?, ?)"
# Not the owner's own, which he can give himself at any time.
_OTHERS: Final = (
    "SELECT DISTINCT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END, a.privilege_type::text "
    "FROM pg_class c, aclexplode(c.relacl) a WHERE c.relnamespace = ?::regnamespace "
    "AND c.relname = 'entries' AND a.grantee <> c.relowner "
    "AND a.privilege_type IN ('UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER')"
)


class Client(NamedTuple):
    """A connection of the journal's library: whose, from where, doing what, and how long its transaction lasts."""

    pid: int
    user: str
    host: str
    state: str
    transaction_s: int


class Sizes(NamedTuple):
    """What the journal's tables take, and how many old versions of entries are in them."""

    bytes: int
    entries: int
    old_entries: int


class Health:
    """Asks; each answer is of the moment."""

    def __init__(self, connection: Any, address: Address) -> None:  # noqa: ANN401 - the driver's
        self.cursor, self.address = Cursor(connection), address

    def _all(self, statement: str, *values: object) -> list[Any]:
        return self.cursor.execute(statement, values).fetchall()

    def server(self) -> tuple[str, int, bool, str, str]:
        """Return version, its number, whether it is a standby, who asks, and the encoding."""
        (found,) = self._all(_SERVER)
        return tuple(found)

    def settings(self) -> dict[str, str]:
        """Return the settings that a journal depends on."""
        return dict(self._all(_SETTINGS))

    def standbys(self) -> list[tuple[str, str]]:
        """Return each standby by name, and whether it is waited for; "?" if that is not ours to see."""
        return [tuple(row) for row in self._all(_STANDBYS)]

    def clients(self) -> list[Client]:
        """Return who is connected by the journal's library; of other users a server may say little."""
        return [Client(*row) for row in self._all(_CLIENTS)]

    def connections(self) -> int:
        """Return how many connections there are."""
        return int(self._all(_CONNECTIONS)[0][0])

    def sizes(self) -> Sizes:
        """Return what the tables take; the counts are the server's estimates."""
        rows = {row[0]: row[1:] for row in self._all(_SIZES, self.address.schema)}
        _, entries, old = rows.get("entries", (0, 0, 0))
        return Sizes(sum(int(row[0]) for row in rows.values()), int(entries), int(old))

    def redactions(self) -> int:
        """Return how many lines were redacted."""
        return int(self._all("SELECT count(*) FROM redactions")[0][0])

    def ahead_s(self) -> float:
        """Return how much later it is on the server than here, give or take half of what asking took."""
        before = time.time()
        ((there,),) = self._all("SELECT extract(epoch FROM clock_timestamp())::float8")
        return float(there) - (before + time.time()) / 2

    def named(self, name: str) -> str:
        """Return a name as a statement takes it, in quotes where it must be."""
        return str(self._all("SELECT quote_ident(?::text)", name)[0][0])

    def owns(self) -> bool:
        """Whether who asks owns the schema, and so may do anything to it."""
        return bool(self._all(_OWNS, self.address.schema)[0][0])

    def may(self, table: str, what: str) -> bool:
        """Whether who asks may do that to a table."""
        return bool(self._all(_MAY, f"{self.address.schema}.{table}", what)[0][0])

    def who_may_change(self) -> list[tuple[str, str]]:
        """Return who beside the owner was granted to change or delete entries, and what."""
        return [tuple(row) for row in self._all(_OTHERS, self.address.schema)]


@contextmanager
def asked(address: Address) -> Iterator[Health]:
    """Give what answers, on a connection that changes nothing and waits for nothing.

    Raises:
        StorageError: the server cannot be reached, or did not answer.

    """
    connection = connect(address, busy_timeout_s=_PATIENCE_MS / 1000, is_brief=True)
    try:
        connection.execute("SET default_transaction_read_only = on")
        connection.execute(f"SET statement_timeout = {_PATIENCE_MS}")
        yield Health(connection, address)
    except driver().Error as error:
        raise translated(error, address.shown) from error
    finally:
        connection.close()
