"""A journal on a database server: the same store, with the server's transactions under it.

There are no files here, so no pins, no turn to wait for and no log to sync. What
SQLite's one write lock did is done by the head's compare-and-set: a transaction
sees one state (REPEATABLE READ) and moves heads away from what it saw; where
another was faster the server refuses it (40001), and it is run again whole. Work
that cannot be run again, a block of the caller's, takes the heads for itself first.

A commit whose answer was lost is never guessed at: the heads it moved are locked,
which waits for whatever became of it, and then either the entries are there, under
seals that nobody else can have made, or they never will be.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from journal.changes import Changes
from journal.dialects import catalog, postgres, standbys
from journal.errors import BusyError, LockLost, StorageError
from journal.forks import open_here
from journal.group import Group, Ride, wake
from journal.keyfinding import check_newest, find_keys
from journal.ledger import now_us
from journal.registry import Registry
from journal.schema import SCHEMA_VERSION
from journal.store import Store
from journal.transaction import Transaction

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from journal.chain import Chain
    from journal.dialects.address import Address
    from journal.engine import Cursor
    from journal.group import Queued, T

_BEGIN: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ"
# As the first statement of a transaction it is waited for before the state is chosen.
_LOCK_HEADS: Final = "LOCK TABLE sessions IN SHARE ROW EXCLUSIVE MODE"
_LOCK_ONE: Final = "SELECT 1 FROM sessions WHERE id = ? FOR UPDATE"
# After so many losses in a row a write waits for the heads instead of racing for one.
PATIENCE: Final = 4
_LONGEST_PAUSE_S: Final = 0.5
_UNKNOWN: Final = "outcome-unknown"

log = logging.getLogger("journal")


class ServerStore(Store):
    """A journal's database on a PostgreSQL server, opened for writing."""

    keeps_files = False
    _raw: Any

    def __init__(
        self,
        address: Address,
        *,
        key_file: str | os.PathLike[str] | None = None,
        durability: str = "full",
        busy_timeout_s: float = 30.0,
        clock: Callable[[], int] = now_us,
    ) -> None:
        self.address = address
        self._durability_asked = durability
        self._start_out(address.shown, busy_timeout_s, clock)
        self.identity = (-1, id(self))  # no file
        self.changes = ServerChanges(address)
        self.group = PatientGroup(self)
        self.takes_heads = self._runs_once = False
        self._raw = None
        try:
            self._connect()
            catalog.check(self.cursor, address, SCHEMA_VERSION)  # type: ignore[arg-type]
            self.journal_id, self.keys = find_keys(self.cursor, self.path, key_file)
            self.registry = Registry(self.keys)
            self.mac = self.keys.mac
        except BaseException as error:
            if self._raw is not None:
                self._raw.close()
            told = self.told(error)
            if told is error:
                raise
            raise told from error
        open_here.add(self)

    # -- the connection ---------------------------------------------------------------

    def _connect(self) -> None:
        """Connect, and refuse a server that cannot keep what a journal promises."""
        raw = postgres.connect(self.address, busy_timeout_s=self.busy_timeout_s)
        try:
            asked = self._durability_asked
            postgres.check_server(raw, self.path, durability=asked)
            count = standbys.check(raw, self.path, self.address.standbys, durability=asked)
            self._commits = standbys.Commits(raw, count)
            if asked == "normal":
                raw.execute("SET synchronous_commit = off")
        except BaseException:
            raw.close()
            raise
        self._raw = self._connection = raw
        self.cursor = postgres.Cursor(raw)

    def _connect_again(self) -> None:
        log.info("%s: connecting again", self.path)
        with suppress(Exception):
            self._raw.close()
        try:
            self._connect()
        except StorageError as error:
            if error.code != "credentials":
                raise
            # They were good a moment ago: it has no room for us now, or is not itself yet.
            raise StorageError(*error.args, hint=error.hint, code=postgres.GONE) from error
        catalog.check(self.cursor, self.address, SCHEMA_VERSION)  # type: ignore[arg-type]

    @property
    def _is_inside(self) -> bool:
        """Whether the server holds a transaction of this connection open."""
        idle: bool = self._raw.info.transaction_status == self._raw.info.transaction_status.IDLE
        return not idle

    def _start(self, words: str) -> None:
        """Begin a transaction; on a new connection where the old one has gone."""
        if self._raw.closed:
            self._connect_again()
        elif self._is_inside:
            self._roll_back_there()
        try:
            self.cursor.execute(words)
        except Exception as error:
            if not postgres.is_lost(error):
                raise
            self._connect_again()
            self.cursor.execute(words)

    def _roll_back_there(self) -> None:
        try:
            if not self._raw.closed and self._is_inside:
                self.cursor.execute("ROLLBACK")
        except Exception as error:  # noqa: BLE001 - the first error is the one to tell
            log.debug("%s: the rollback failed too: %s", self.path, error)
            self._raw.close()  # the server rolls it back

    # -- transactions -----------------------------------------------------------------

    def transaction(self, *, is_durable: bool = True) -> Transaction:
        """Hold the heads for a block; as :meth:`Store.transaction`."""
        return _Block(self, is_durable=is_durable)

    def begin_alone(self) -> Cursor:
        """Take the heads for a block, which can be run once only; wait for a server that is away."""
        self._runs_once = True
        deadline, tries = time.monotonic() + self.busy_timeout_s, 0
        while True:
            try:
                return self._begin(takes_heads=True)
            except Exception as error:
                tries += 1
                if not postgres.is_transient(error) or time.monotonic() > deadline:
                    raise
                pause(tries)

    def begin(self) -> Cursor:
        """Begin a write and learn what others did; return the cursor."""
        self._runs_once = False
        return self._begin(takes_heads=self.takes_heads)

    def _begin(self, *, takes_heads: bool) -> Cursor:
        if self._inside or self._reading:
            self.refuse_nested()
        try:
            self.lock.acquire()
            self._check_process()
            if self._touched or self._new_instances:
                self._undo()  # by half: an interrupt came in between
            self._committing = False
            self._inside, self._owner = True, threading.get_ident()
            self._start(_BEGIN)
            if takes_heads:
                self.cursor.execute(_LOCK_HEADS)
            self._sync(self.cursor)
        except BaseException as error:
            if self._has_lock():  # else interrupted before it came: what stands is another thread's
                self._undo()
                self.lock.release()
            told = self.told(error)
            if told is error:
                raise
            raise told from error
        return self.cursor

    def commit(self, ride: Ride) -> list[Callable[[], None]]:
        """Make the transaction durable; return what was put off until now."""
        self.settle()
        if self._commits.is_replicated:
            self._commit_behind_what_was_found()
        self._committing = True
        try:
            with self._commits.confirmed(self.busy_timeout_s):
                said = self.cursor.execute("COMMIT").said  # type: ignore[attr-defined]
        except Exception as error:
            if not postgres.is_lost(error):
                raise
            if not self._was_committed():
                raise
        else:
            if said != "COMMIT":
                raise StorageError(
                    f"{self.path}: the server rolled a write back that had failed before",
                    hint="try again",
                    code="rolled-back",
                )
        return self._let_go(ride)

    def _moved(self) -> list[Chain]:
        return [chain for chain, before in self._touched if chain.head != before[0]]

    def _commit_behind_what_was_found(self) -> None:
        """Make a transaction that answers with what another wrote wait for the standbys as well.

        It may have been committed on this server alone; the lock is a write behind it.
        """
        if self._touched and not self._moved():
            self.cursor.execute(_LOCK_ONE, (self._touched[-1][0].session_id,))

    def _was_committed(self) -> bool:
        """Find out what became of a commit whose answer was lost.

        Raises:
            StorageError: the server did not come back in time to tell, or no standby confirms it.

        """
        moved = self._moved()
        if self._runs_once and not moved:
            raise self._unknown()  # it may have kept what no head tells of, and is not run again
        deadline, tries = time.monotonic() + self.busy_timeout_s, 0
        while True:
            try:
                self._connect_again()
                return self._has_entries(moved, deadline)
            except Exception as error:
                tries += 1
                if not postgres.is_lost(error) or time.monotonic() > deadline:
                    raise self._unknown() from error
                pause(tries)

    def _unknown(self) -> StorageError:
        return StorageError(
            f"{self.path}: the answer to a commit was lost, or no standby gave one: whether it is kept is not known",
            hint="when the server is back, do the same again with the same request_id: it is written once",
            code=_UNKNOWN,
        )

    def _has_entries(self, moved: list[Chain], deadline: float) -> bool:
        found = None
        self.cursor.execute("BEGIN")
        for number in sorted({chain.session_id for chain in moved}):
            # Waits as long as the lost transaction, or its ghost on the server, may yet commit.
            self.cursor.execute(_LOCK_ONE, (number,))
        for chain in moved[:1]:
            found = self.cursor.execute(
                "SELECT 1 FROM entries WHERE session_id = ? AND seq = ? AND seal = ?",
                (chain.session_id, chain.head.seq, chain.head.seal),
            ).fetchone()
        # Not rolled back: the locks are a write, whose commit has the standbys confirm what was found.
        with self._commits.confirmed(deadline - time.monotonic()):
            self.cursor.execute("COMMIT")
        return found is not None

    def roll_back(self, error: BaseException, ride: Ride) -> None:
        """Undo the transaction, in memory too, and let the lock go; as :meth:`Store.roll_back`."""
        if not self._inside or self._owner != threading.get_ident():
            return
        is_over = not self._raw.closed and not self._is_inside
        if self._committing and not isinstance(error, Exception) and is_over:
            self._let_go(ride)  # a signal came after the commit
            return
        try:
            self._undo()
        finally:
            self.lock.release()

    def _let_go(self, ride: Ride) -> list[Callable[[], None]]:
        done, self._done = self._done, []
        self._fresh = {}
        self._touched.clear()
        self._new_instances.clear()
        ride.is_committed = True
        self._inside = False
        self.lock.release()
        return done

    @contextmanager
    def snapshot(self) -> Iterator[Cursor]:
        """Read one state of the database; nothing is locked and nothing written."""
        with self.lock:
            self._check_process()
            nested = self._inside or self._reading
            try:
                if not nested:
                    self._reading = True
                    self._begin_reading()
                yield self.cursor
            except Exception as error:
                told = self.told(error)
                if told is error:
                    raise
                raise told from error
            finally:
                if not nested:
                    self._reading = False
                    self._roll_back_there()

    def _begin_reading(self) -> None:
        """Begin a snapshot and learn what others did; wait for a server that is away."""
        deadline, tries = time.monotonic() + self.busy_timeout_s, 0
        while True:
            try:
                self._start(f"{_BEGIN} READ ONLY")
                self._sync(self.cursor)
            except Exception as error:
                tries += 1
                if not postgres.is_lost(error) or time.monotonic() > deadline:
                    raise
                pause(tries)
            else:
                return

    def _undo(self) -> None:
        if self._raw is None or self.forked:
            return
        self._roll_back_there()
        self._forget()

    def _sync(self, cursor: Cursor, version: int | None = None) -> None:  # noqa: ARG002 - SQLite's
        """Learn what others have committed; whoever asks for a chain looks at it anew."""
        self.registry.refresh(cursor)
        check_newest(self.registry.newer_key, self.path)
        self.generation += 1

    def empty_log(self) -> bool | None:
        """Return None: what the server keeps besides the rows is its own."""
        return None

    # -- the end ----------------------------------------------------------------------

    def close(self) -> None:
        """Close the connection."""
        self.changes.close()
        with self.lock:
            open_here.discard(self)
            raw, self._raw = self._raw, None
            if raw is None or self.forked:
                return
            raw.close()
        self.changes.tell()

    def abandon(self) -> None:
        """In a forked child: the connection is the parent's."""
        self.forked = True
        self._kept = self._raw, self.cursor
        self.lock, self.group = threading.RLock(), PatientGroup(self)
        self.changes = ServerChanges(self.address)

    def _check_process(self) -> None:
        if self.forked:
            raise LockLost(
                "this journal was opened before a fork; its connection is the parent's",
                hint="open the journal anew in the child",
                code="forked",
            )
        if self._raw is None:
            raise StorageError("this journal is closed", hint="open it again", code="closed")


class _Block(Transaction):
    """A transaction that its caller's block is run in, once."""

    __slots__ = ()

    def _begin(self) -> Cursor:
        store: Any = self._store
        cursor: Cursor = store.begin_alone()
        return cursor


class PatientGroup(Group):
    """Group commit on a server where others write at the same time: what lost a race is run again."""

    _transactions: ServerStore

    def _share(self, work: Callable[[Cursor], T]) -> tuple[T, list[Callable[[], None]], Ride]:
        store, tries = self._transactions, 0
        deadline = time.monotonic() + store.busy_timeout_s
        while True:
            ride = Ride()
            store.takes_heads = tries >= PATIENCE
            try:
                return self._attempt(work, ride)
            except Exception as error:
                if getattr(error, "code", None) == _UNKNOWN:
                    self._tell(error, ride.writes)
                    raise
                if postgres.is_transient(error):
                    tries += 1
                    if time.monotonic() < deadline:
                        pause(tries)
                        continue
                elif ride.writes:
                    continue
                if isinstance(error, StorageError) and (
                    isinstance(error, BusyError) or postgres.is_transient(error)
                ):
                    self._refuse_the_patient(error)
                raise
            finally:
                store.takes_heads = False

    def _undo(self, error: BaseException, ride: Ride) -> None:
        if getattr(error, "code", None) == _UNKNOWN:
            self._transactions.roll_back(error, ride)
            ride.is_undone = True
        elif postgres.is_transient(error):
            self._transactions.roll_back(error, ride)
            self._queue_again(ride.writes)  # nobody's fault: together again
            ride.is_undone = True
        else:
            super()._undo(error, ride)

    def _refuse_the_patient(self, error: StorageError) -> None:
        """Give up for all who have waited about as long as the leader, as for the leader."""
        now, enough = time.monotonic(), self._transactions.busy_timeout_s / 2
        late = [queued for queued in list(self._queue) if now - queued.since >= enough]
        for queued in late:
            self._queue.remove(queued)
        kind = type(error)
        for queued in late:
            self._tell(kind(*error.args, hint=error.hint, code=error.code), [queued])

    def _tell(self, error: Exception, writes: list[Queued]) -> None:
        for queued in writes:
            queued.error = error
            wake(queued)


class ServerChanges(Changes):
    """Tells of commits by a glance at the server's transactions: nobody has to announce his own."""

    def __init__(self, address: Address) -> None:
        super().__init__(address.shown)
        self._address = address

    def _opened(self) -> Any:  # noqa: ANN401
        return postgres.connect(self._address)

    def _version(self, connection: Any) -> Any:  # noqa: ANN401
        # Moves whenever a transaction that wrote anything ends.
        return connection.execute("SELECT pg_current_snapshot()::text").fetchone()[0]


def pause(tries: int) -> None:
    """Wait a moment, longer each time and never as long as others do."""
    longest = min(0.002 * 2**tries, _LONGEST_PAUSE_S)
    time.sleep(random.uniform(0, longest))  # noqa: S311 - only to come apart
