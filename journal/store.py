"""One open journal: its connection, its transactions, and what it knows.

There is one kept connection, used under one lock. A transaction learns what
other processes did by ``PRAGMA data_version``: as long as that stands, nothing
but this connection has committed, and what was known is still true.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from journal import schema
from journal.changes import Changes
from journal.durability import CAN_SYNC, BySQLite, LogSync
from journal.engine import (
    is_busy,
    is_driver_error,
    raise_translated,
    translated,
    writing_engine,
)
from journal.errors import LockLost, StorageError
from journal.folding import Folding
from journal.forks import check_not_inherited, forked, keep, open_here
from journal.group import Group
from journal.keyfinding import check_newest, find_keys
from journal.ledger import Ledger, now_us
from journal.pins import CAN_PIN, NoPins, NotOurs, Pins, Watched
from journal.registry import Registry
from journal.ticket import Ticket
from journal.transaction import Transaction

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from journal.durability import Durability
    from journal.engine import Cursor
    from journal.pins import Guard
    from journal.rides import Ride, T

YIELD_S: Final = 0.001

log = logging.getLogger("journal")


class Store(Ledger):
    """A journal's database, opened for writing."""

    keeps_files = True  # its database is a file of this machine, others stand beside it
    durability: Durability
    guard: Guard

    def __init__(
        self,
        path: str,
        *,
        key_file: str | os.PathLike[str] | None = None,
        durability: str = "full",
        busy_timeout_s: float = 30.0,
        clock: Callable[[], int] = now_us,
    ) -> None:
        self._start_out(path, busy_timeout_s, clock)
        self.identity = check_not_inherited(path)
        self._folding = Folding(path, busy_timeout_s)
        is_ours = durability == "full" and CAN_SYNC
        self._engine = writing_engine(
            path,
            durability="normal" if is_ours else durability,
            busy_timeout_s=busy_timeout_s,
            create=False,
        )
        self.ticket = Ticket(path, busy_timeout_s)
        self._raw = self._connected()
        self._connection: Any = self._raw.driver_connection
        self.cursor: Cursor = self._raw.cursor()
        try:
            schema.check(self.cursor.execute, path)
            self.guard = Pins(path) if CAN_PIN else Watched(path)
            self.guard.hold()  # known by then: what it has when it fails is let go of with the rest
            if is_ours:
                self.durability = LogSync(path)
            self.journal_id, self.keys = find_keys(self.cursor, path, key_file)
            self.registry = Registry(self.keys)
            self.mac = self.keys.mac
            self._folding.wait_briefly(self.cursor)
        except BaseException as error:  # noqa: BLE001 - it is raised again
            self.close()
            raise_translated(error, path)
        open_here.add(self)

    def _start_out(self, path: str, busy_timeout_s: float, clock: Callable[[], int]) -> None:
        super()._start_out(path, busy_timeout_s, clock)
        self.changes = Changes(path)
        self._data_version: int | None = None
        self._versions: tuple[int, int] | None = None
        self.durability = BySQLite()
        self.guard = NoPins()
        self.poison: LockLost | None = None
        self._inside, self._owner, self._committing = False, 0, False
        self.group = Group(self)
        self._reading = False

    def _connected(self) -> Any:  # noqa: ANN401 - SQLAlchemy's proxied connection
        try:
            return self._engine.raw_connection()
        except BaseException as error:  # noqa: BLE001 - as above
            self.ticket.close()
            raise_translated(error, self.path)

    # -- transactions -----------------------------------------------------------------

    def transaction(self, *, is_durable: bool = True) -> Transaction:
        """Hold the write lock; commit on leaving the block, roll back whole on any error.

        With ``is_durable`` off a power cut may take it back, until a later one is durable:
        for what is told to nobody before that.

        Raises:
            BusyError: another process held the lock for longer than the time-out.
            StorageError: the database could not do it; nothing was written.

        """
        return Transaction(self, is_durable=is_durable)

    def begin(self, *, at_once: bool = False) -> Cursor:  # noqa: C901 - the way of each append, in one stretch
        """Take the write lock and learn what others did; return the cursor.

        Raises:
            NotYet: it was to be had ``at_once``, and is another process's turn.

        """
        if self._inside or self._reading:
            self.refuse_nested()
        try:
            if self.forked or self._raw is None:
                self._check_process()
            # Inside the try: a signal between a lock and the next line must free it again.
            # And before the lock: who only reads waits for nobody's turn.
            since = None if at_once else self.ticket.asked_at()
            self.ticket.take(at_once=at_once)
            self.lock.acquire()
            if self.forked or self._raw is None or self.durability.failed or self.poison:
                self._check_process()
            if self._connection.in_transaction or self.touched or self._new_instances:
                self._undo()  # an interrupt left it open, or undone by half
            self._committing, self.block = False, None
            self._inside, self._owner = True, threading.get_ident()
            execute = self.cursor.execute
            try:
                execute("BEGIN IMMEDIATE")
            except Exception:  # noqa: BLE001 - what is no wait for a lock comes again there
                self._wait_for_write_lock(since)
            version = execute("PRAGMA data_version").fetchone()[0]
            if version != self._data_version:
                self._sync(self.cursor, version)
        except BaseException as error:
            if self._has_lock():  # else interrupted before it came: what stands is another thread's
                self._undo()
                self.lock.release()
            self.ticket.give_back()
            if isinstance(error, (ValueError, OSError)):
                self._check_process()  # closed by another thread between two of these lines
            told = self.told(error)
            if told is error:
                raise
            raise told from error
        return self.cursor

    def in_turn(self, call: Callable[[], T]) -> T:
        """Make a call in this process's turn, which begins a transaction and ends it; as the ticket does."""
        try:
            return self.ticket.in_turn(call)
        except (ValueError, OSError):
            self._check_process()  # closed by another thread meanwhile
            raise

    def _wait_for_write_lock(self, since: float | None) -> None:
        """Wait for a program that knows of no tickets; who reads in this process goes on meanwhile.

        The time-out is one for the turn and the lock: ``since`` when both are waited for.
        """
        deadline = (time.monotonic() if since is None else since) + self.busy_timeout_s
        while True:
            self._inside = False
            self.lock.release()
            time.sleep(YIELD_S)  # or this thread would take it again before anybody else woke up
            self.lock.acquire()
            self._check_process()
            self._inside, self._owner = True, threading.get_ident()
            if self.ticket.is_aborted():
                raise KeyboardInterrupt  # which came in the thread that asked for this
            if self._is_free("BEGIN IMMEDIATE", deadline):
                return

    def _is_free(self, statement: str, deadline: float) -> bool:
        """Run a statement; return False if the database was busy, and there is time to try again."""
        try:
            self.cursor.execute(statement)
        except Exception as error:
            if not is_busy(error) or time.monotonic() >= deadline:
                raise
            return False
        return True

    def _has_lock(self) -> bool:
        return self.lock._is_owned()  # type: ignore[attr-defined,no-any-return] # noqa: SLF001 - as threading.Condition asks it

    def commit(self, ride: Ride) -> list[Callable[[], None]]:
        """Make the transaction durable, let the lock go; return what was put off until now.

        Call it where an error leads to :meth:`roll_back`: with the ride it knows
        whether the transaction was committed before a signal came.
        """
        if self.forked:
            self._check_process()  # before the first row: the connection is the parent's
        if self._put_off:
            self.settle()
        try:
            self.guard.check()
        except LockLost as error:
            self.poison = error
            raise
        self._committing = True
        self.cursor.execute("COMMIT")
        if self._folding.after:
            self._folding.sometimes(self.cursor)
        return self._let_go(ride)

    def empty_log(self) -> bool | None:
        """Fold the whole log in and empty it; False if a reader holds it, or somebody writes on.

        None where there is no log of the journal's own.
        """
        self._check_process()
        self.ticket.take()
        try:
            with self.lock:
                self._check_process()
                return self._folding.empty(self.cursor)
        except BaseException as error:  # noqa: BLE001 - it is raised again
            raise_translated(error, self.path)
        finally:
            self.ticket.give_back()

    def make_durable(self, number: int | None = None) -> None:
        """Return once what was committed up to a number survives power loss.

        Without a number, all that stands in the log, whichever process wrote it:
        for whoever is about to put it where it would outlive the log.
        """
        self.durability.wait(self.durability.count() if number is None else number)

    def roll_back(self, error: BaseException, ride: Ride) -> None:
        """Undo the transaction, in memory too, and let the lock go; once is enough.

        The ride knows whether it was committed all the same: the error is then a
        signal that came during the commit or after it.
        """
        if not self._inside or self._owner != threading.get_ident():
            return  # the lock is not this thread's any more
        if self._committing and not is_driver_error(error) and not self._connection.in_transaction:
            self._let_go(ride)
            return
        try:
            self._undo()
        finally:
            try:
                if self._inside:  # an interrupt came before its first step
                    self._undo()
            finally:  # and what a second one leaves is undone by whoever begins next
                self._inside = False
                try:
                    self.ticket.give_back()
                except BaseException:  # for the same reason
                    self.ticket.give_back()
                    raise
                finally:
                    self.lock.release()

    def _let_go(self, ride: Ride) -> list[Callable[[], None]]:
        done, self._done = self._done, []
        if self._fresh:
            self._fresh = {}
        self.touched.clear()
        if self._new_instances:
            self._new_instances.clear()
        self.ticket.give_back()
        ride.number = self.durability.count()
        # These lines last, and no call between them: no signal can part them.
        ride.is_committed = True
        self._inside = False
        self.lock.release()
        return done

    def told(self, error: BaseException) -> BaseException:
        """Return the error as callers are to see it: a driver's translated, others as they are."""
        return translated(error, self.path) if is_driver_error(error) else error

    def knows(self, key: str) -> bool:
        """Whether a session is known here, which it is for ever then; nothing is looked up."""
        with self.lock:
            self._check_process()
            if self.touched and not self._inside:
                self._undo()  # an interrupt left it: what it made known may be rolled back
            return self.registry.chain_of(key) is not None

    def refuse_nested(self) -> None:
        """Raise if the calling thread is inside a transaction or a snapshot: it would wait for itself."""
        if self._has_lock():
            raise StorageError(
                "a transaction of this thread is still open",
                hint="let a policy or a callback only read, or open the journal anew after an interrupt",
                code="nested",
            )

    def is_current(self) -> bool:
        """Whether nobody has committed since this connection last looked.

        One statement where a snapshot has three: whoever follows thousands of files asks
        nothing so often as what is known already.
        """
        with self.lock:
            self._check_process()
            if self._inside or self._reading or self._connection.in_transaction or self.touched:
                return False
            try:
                found = self.cursor.execute("PRAGMA data_version").fetchone()[0]
            except Exception:  # noqa: BLE001 - a snapshot waits, or tells what is wrong
                return False
            return bool(found == self._data_version)

    @contextmanager
    def snapshot(self) -> Iterator[Cursor]:
        """Read one state of the database; nothing is locked and nothing written."""
        with self.lock:
            self._check_process()
            cursor = self.cursor
            nested = self._inside or self._reading
            if not nested and (self._connection.in_transaction or self.touched):
                self._undo()  # an interrupt left it open: never read what may be rolled back
            try:
                if not nested:
                    self._reading = True
                    cursor.execute("BEGIN")
                    deadline = time.monotonic() + self.busy_timeout_s
                    while not self._is_free("PRAGMA data_version", deadline):
                        pass  # the log is being read anew after a crash, or folded in by the last to close
                    self._sync(cursor, cursor.fetchone()[0])
                yield cursor
            except Exception as error:
                if is_driver_error(error):
                    raise translated(error, self.path) from error
                raise
            finally:
                if not nested and not self.forked:
                    self._reading = False
                    # SQLite has rolled back by itself where the system could not read.
                    if self._connection.in_transaction:
                        cursor.execute("ROLLBACK")  # nothing was written, and this cannot fail

    def _undo(self) -> None:
        if self._raw is None or self.forked:
            return
        try:
            # Without its locks even a rollback writes where another process is writing.
            if self._connection.in_transaction and self.poison is None:
                self.cursor.execute("ROLLBACK")
        except Exception as error:  # noqa: BLE001 - the first error is the one to tell
            log.warning("%s: the rollback failed too: %s", self.path, error)
        self._forget()

    def _forget(self) -> None:
        self._committing = False
        super()._forget()
        self._inside = False
        self._data_version = None  # the next transaction looks again

    def _sync(self, cursor: Cursor, version: int) -> None:
        """Learn what others did if anyone has committed since this connection last looked."""
        if version == self._data_version:
            return
        versions = (
            cursor.execute("PRAGMA schema_version").fetchone()[0],
            cursor.execute("PRAGMA user_version").fetchone()[0],
        )
        if versions != self._versions:
            schema.check(cursor.execute, self.path)
            self._versions = versions
        self.registry.refresh(cursor)
        check_newest(self.registry.newer_key, self.path)
        self._data_version = version
        self.generation += 1

    # -- the end ----------------------------------------------------------------------

    def _check_process(self) -> None:
        if self.forked:
            raise forked("this journal was opened before a fork; SQLite's locks do not survive one")
        if self._raw is None:
            raise StorageError("this journal is closed", hint="open it again", code="closed")
        if self.poison is not None:
            raise LockLost(*self.poison.args, hint=self.poison.hint, code=self.poison.code)
        if self.durability.failed is not None:
            self.make_durable()

    def close(self) -> None:
        """Close the connection; the last one to close folds the write-ahead log in."""
        self.changes.close()  # first: a reader cannot be the last one
        if self._folding.after and self._raw is not None and not self.forked:
            # Folding in is only worth a turn that comes; another thread may close meanwhile.
            with suppress(StorageError, ValueError, OSError):
                self.ticket.take()
        try:
            with self.lock:
                self._close()
        finally:
            self.changes.tell()  # whoever follows finds the journal closed

    def _close(self) -> None:
        open_here.discard(self)
        raw, self._raw = self._raw, None
        if raw is None or self.forked:
            return
        # The last first; each, though an interrupt comes in one before it: nobody comes back for the rest.
        with ExitStack() as rest:
            for call in (self._engine.dispose, self.ticket.close, self.durability.close):
                rest.callback(call)
            if self.poison is not None:
                keep(raw)
                return
            for call in (self.guard.tidy, raw.close, self.guard.let_go, self.ticket.give_back):
                rest.callback(call)
            self._folding.at_the_end(raw.driver_connection)

    def abandon(self) -> None:
        """In a forked child: never touch the parent's connection again, not even to close it."""
        # A block that stands is the parent's to end.
        self.forked, self._inside, self._reading = True, False, False
        self.ticket.abandon()
        self.guard.abandon()
        self.guard = NotOurs()
        if self.mirrors is not None:
            self.mirrors.abandon()
        keep(self._raw, self._engine, self.cursor)
        self.lock, self.group = threading.RLock(), Group(self)
        self.changes = Changes(self.path)
