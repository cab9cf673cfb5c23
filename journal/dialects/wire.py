"""The statements of the hot path as the server's protocol has them: prepared, binary, sent together.

A cursor of the driver's looks at each value anew and at each statement twice; with a
pipeline of its own that came to a quarter of a millisecond for an append. Here the values of our
columns are the four sorts they are, and what is to be done in one round trip is sent in one.
"""

from __future__ import annotations

import importlib
from collections import deque
from functools import partial
from itertools import count
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from journal.dialects import grants
from journal.dialects.postgres import driver

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

_INTEGER: Final = Struct("!q")
_INT8: Final = 20  # the type's number on every server
_BINARY: Final = 1
_SYNC: Final = 10  # PGRES_PIPELINE_SYNC
_NOT_PREPARED: Final = "26000"
_DONE: Final = (1, 2)  # PGRES_COMMAND_OK, PGRES_TUPLES_OK


class Wire:
    """Sends statements on one connection; whole numbers in them are ``bigint``."""

    def __init__(self, connection: Any) -> None:  # noqa: ANN401 - the driver's
        self.connection = connection
        self._pgconn = connection.pgconn
        self._names: dict[str, bytes] = {}
        self._numbers = count()
        self._generators = importlib.import_module("psycopg.generators")

    def run(self, *statements: tuple[str, Sequence[Any]]) -> list[Any]:
        """Run statements in one round trip; return the libpq result of each.

        They are one transaction, or part of the one that stands: what comes after an error is not run.

        Raises:
            Exception: the driver's: the first error, or the connection was lost.

        """
        for text, _ in statements:
            if text not in self._names:
                self._prepare(text)
        is_one = len(statements) == 1
        found = self._alone(*statements[0]) if is_one else self._together(statements)
        for (text, _), result in zip(statements, found, strict=True):
            self._check(result, text)
        return found

    def _prepare(self, text: str) -> None:
        # Counted before it is sent: a name that an interrupt left with the server is not used again.
        name = b"journal_%d" % next(self._numbers)
        self._pgconn.send_prepare(name, text.encode())
        (result,) = self.connection.wait(self._generators.execute(self._pgconn))
        self._check(result, text)
        self._names[text] = name

    def _alone(self, text: str, values: Sequence[Any]) -> list[Any]:
        self._send(text, values)
        found: list[Any] = self.connection.wait(self._generators.execute(self._pgconn))
        return found

    def _together(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        pgconn = self._pgconn
        sends: deque[Callable[[], None]] = deque(partial(self._send, *e) for e in statements)
        sends.append(pgconn.pipeline_sync)
        pgconn.enter_pipeline_mode()
        try:
            found: list[list[Any]] = self.connection.wait(self._sending(sends))
        except BaseException:
            self.connection.close()  # what is still to come would be taken for the next one's answer
            raise
        pgconn.exit_pipeline_mode()
        return [results[0] for results in found[:-1]]

    def _sending(self, sends: deque[Callable[[], None]]) -> Generator[Any, Any, list[list[Any]]]:
        found: list[list[Any]] = yield from self._generators.pipeline_communicate(
            self._pgconn, sends
        )
        while not found or found[-1][0].status != _SYNC:
            results = yield from self._generators.fetch_many(self._pgconn)
            if not results:
                raise driver().OperationalError("no answer to what was sent together")
            found.append(results)
        return found

    def _send(self, text: str, values: Sequence[Any]) -> None:
        sent = [_sent(value) for value in values]
        self._pgconn.send_query_prepared(
            self._names[text], sent, [_BINARY] * len(sent), result_format=_BINARY
        )

    def _check(self, result: Any, text: str) -> None:  # noqa: ANN401 - libpq's
        if result.status in _DONE:
            return
        error = driver().errors.error_from_result(result)
        if error.sqlstate is None:  # libpq's own word, not the server's: nobody is there
            error = driver().OperationalError(str(error))
        if error.sqlstate == _NOT_PREPARED:
            # The driver lets go of all with its own (DEALLOCATE ALL, after some rollbacks).
            self._names.clear()
        grants.note(error, text, self.connection)
        raise error


def _sent(value: bytes | int | str | None) -> bytes | None:
    if isinstance(value, int):
        return _INTEGER.pack(value)
    return value.encode() if isinstance(value, str) else value


def count_of(result: Any) -> int:  # noqa: ANN401 - libpq's
    """Return how many rows a statement wrote or found."""
    return int(result.command_tuples or 0)


def row_of(result: Any) -> tuple[Any, ...] | None:  # noqa: ANN401 - libpq's
    """Return the first row, whole numbers as such and all else as bytes; None where there is none."""
    if not result.ntuples:
        return None
    values = [(result.get_value(0, n), result.ftype(n)) for n in range(result.nfields)]
    return tuple(
        _INTEGER.unpack(value)[0] if kind == _INT8 and value is not None else value
        for value, kind in values
    )
