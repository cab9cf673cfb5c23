"""What each connection is set to before anything is asked, whatever its role and its database have for others."""

from __future__ import annotations

import importlib
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from journal.dialects import quoted

if TYPE_CHECKING:
    from journal.dialects.address import Address

_LONGEST_MS: Final = 2**31 - 1
# When each end looks whether the other's host is there yet, in seconds of silence; libpq's and
# the server's own words. By themselves both wait for two hours.
_ALIVE: Final = {"idle": 30, "interval": 10, "count": 3}


def set_up(connection: Any, address: Address, wait_s: float, *, text_as_bytes: bool) -> None:  # noqa: ANN401 - the driver's
    """Have a connection be as a journal needs it, whatever the role, the database and the URL say."""
    numeric = importlib.import_module("psycopg.types.numeric")
    adapters = connection.adapters

    class Flag(numeric.Int8Dumper):  # type: ignore[misc, name-defined] # loaded when needed
        """A truth value in one of our columns of whole numbers."""

        def dump(self, obj: Any) -> Any:  # noqa: ANN401
            return super().dump(int(obj))

    # One type for all whole numbers: the driver would otherwise send 1 as another type
    # than 100000, and have the server plan each statement anew.
    adapters.register_dumper(int, numeric.Int8Dumper)
    adapters.register_dumper(bool, Flag)
    if text_as_bytes:
        adapters.register_loader("text", _bytes_loader())
    connection.execute(
        # Temporary tables are looked for last: unnamed, they would come before ours.
        f"SET search_path = {quoted(address.schema)}, pg_temp; "
        f"SET lock_timeout = {min(max(1, int(wait_s * 1000)), _LONGEST_MS)}; "
        # What waits for a lock first is to see what was done meanwhile, whatever the database's default.
        "SET default_transaction_isolation = 'read committed'; "
        # A role may be spared warnings, and one of them says that a standby has not what was committed.
        "SET client_min_messages = 'warning'; SET standard_conforming_strings = on"
        # Or a host that lost its power in a block would hold the heads for hours.
        + "".join(f"; SET tcp_keepalives_{name} = {value}" for name, value in _ALIVE.items())
    )


def alive(given: dict[str, Any], connect_s: int | None) -> dict[str, int]:
    """Return how long a server's host is waited for that does not answer, as far as the URL does not say it."""
    words = {f"keepalives_{name}": value for name, value in _ALIVE.items()}
    if connect_s is not None:
        words["connect_timeout"] = connect_s
    return {name: value for name, value in words.items() if name not in given}


@cache
def _bytes_loader() -> Any:  # noqa: ANN401
    adapt = importlib.import_module("psycopg.adapt")

    class AsBytes(adapt.Loader):  # type: ignore[misc, name-defined]
        """Text as the bytes it is."""

        def load(self, data: Any) -> bytes:  # noqa: ANN401
            return bytes(data)

    return AsBytes
