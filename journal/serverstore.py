"""A journal on a database server: the same store, with the server's transactions under it.

There are no files here, so no pins, no turn to wait for and no log to sync. What
SQLite's one write lock did is done by the head's compare-and-set: a transaction
sees one state (REPEATABLE READ) and moves heads away from what it saw; where
another was faster the server refuses it (40001), and it is run again whole. Work
that cannot be run again, a block of the caller's, takes the heads for itself first.

A plain write is not even begun: it is made ready from what is known here, and sent
at once with that as its condition (a flush). Where the condition does not hold
nothing is written, and the work is run in a transaction after all.

A commit whose answer was lost is never guessed at: the lost connection is seen to
its end on the server, and then either the entries are there, under seals that
nobody else can have made, or they never will be.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from journal.dialects import catalog, ghosts, notices, postgres
from journal.dialects.flush import Flush, Known, UnforeseenError
from journal.errors import LockLost, StorageError
from journal.forks import open_here
from journal.keyfinding import check_newest, find_keys
from journal.ledger import now_us
from journal.model import REGISTRY_ID
from journal.registry import Registry
from journal.schema import SCHEMA_VERSION
from journal.serverchanges import ServerChanges
from journal.servergroup import PatientGroup, patiently
from journal.serverlink import Link
from journal.serveroutcome import HOLD_IF_WRITTEN, LOCK_ONE, has_entries, unknown
from journal.serverplace import mirrors_path, place_of
from journal.serverqueue import Queue
from journal.store import Store
from journal.transaction import Transaction

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from journal.chain import Chain
    from journal.dialects.address import Address
    from journal.engine import Cursor
    from journal.rides import Ride, T

_BEGIN: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ"
# As the first statement of a transaction it is waited for before the state is chosen.
_LOCK_HEADS: Final = "LOCK TABLE sessions IN SHARE ROW EXCLUSIVE MODE"
_HAS_NEWS: Final = f"EXISTS (SELECT FROM entries WHERE session_id = {REGISTRY_ID} AND seq > {{}})"
# As it is, for all that counts; a write that saw it before is refused, for it moves one of these rows.
_MOVE_ALL: Final = "UPDATE sessions SET head_seq = head_seq"
_IS_ALONE: Final = "pg_try_advisory_xact_lock_shared({})"


class ServerStore(Store):
    """A journal's database on a PostgreSQL server, opened for writing."""

    keeps_files = False
    group: PatientGroup

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
        self._start_out(address.shown, busy_timeout_s, clock)
        self.identity = (-1, id(self))  # no file
        self.changes = ServerChanges(address)
        self.group = PatientGroup(self)
        self.takes_heads = self.flushes = self._runs_once = False
        self._flush: Flush | None = None
        self._follower_lock = notices.lock_of(address.schema)
        self._is_followed = False
        self._link = Link(address, durability=durability, wait_s=busy_timeout_s)
        self.queue = Queue(address.schema, self._link, busy_timeout_s)
        try:
            self._link.connect()
            catalog.check(self._link.cursor, address, SCHEMA_VERSION)
            self.journal_id, self.keys = find_keys(self._link.cursor, self.path, key_file)
            self.registry = Registry(self.keys)
            self.mac = self.keys.mac
            self.place = place_of(self._link.cursor, address.schema)
        except BaseException as error:
            self._link.close()
            told = self.told(error)
            if told is error:
                raise
            raise told from error
        open_here.add(self)

    @property
    def cursor(self) -> Cursor:
        """What takes statements: the connection's cursor, or a flush that is being made ready."""
        if self._flush is not None:
            return self._flush  # type: ignore[return-value] # as far as a plain write goes
        return self._link.cursor  # type: ignore[no-any-return] # the driver has no types here

    @cursor.setter
    def cursor(self, cursor: Cursor) -> None:
        self._link.cursor = cursor

    @property
    def _raw(self) -> Any:  # noqa: ANN401 - the driver's connection
        return self._link.raw

    @_raw.setter
    def _raw(self, _: object) -> None:
        raise AttributeError

    # -- transactions -----------------------------------------------------------------

    def transaction(self, *, is_durable: bool = True) -> Transaction:
        """Hold the heads for a block; as :meth:`Store.transaction`."""
        return _Block(self, is_durable=is_durable)

    def begin_alone(self) -> Cursor:
        """Take the heads for a block, which can be run once only; wait for a server that is away."""
        begin = partial(self._begin, self._start_with_heads, runs_once=True)
        return patiently(begin, self.busy_timeout_s, postgres.is_transient)

    def begin(self, *, at_once: bool = False) -> Cursor:
        """Begin a write and learn what others did; return the cursor. Nobody waits for a turn."""
        del at_once
        if self.flushes:
            return self._begin(self._start_flush)
        return self._begin(self._start_with_heads if self.takes_heads else self._start_alike)

    def overtake(self, cursor: Cursor) -> None:
        """Refuse a write that chose its state before the present block; it may have looked, or wait for the heads."""
        cursor.execute(_MOVE_ALL)

    def in_turn(self, call: Callable[[], T]) -> T:
        """Make a call; as :meth:`Store.in_turn`, without a turn to wait for."""
        return call()

    def _begin(self, start: Callable[[], None], *, runs_once: bool = False) -> Cursor:
        if self._inside or self._reading:
            self.refuse_nested()
        try:
            self.lock.acquire()
            self._check_process()
            if self.touched or self._new_instances:
                self._undo()  # an interrupt left it, perhaps by half: what it made known is rolled back
            self._committing, self.block, self._runs_once = False, None, runs_once
            self._inside, self._owner = True, threading.get_ident()
            start()
        except BaseException as error:
            if self._has_lock():  # else interrupted before it came: what stands is another thread's
                self._undo_and_let_go()
            told = self.told(error)
            if told is error:
                raise
            raise told from error
        return self.cursor

    def _start_alike(self) -> None:
        """Begin like all others: whoever moves a head first has it."""
        self._start_looking(_BEGIN)

    def _start_with_heads(self) -> None:
        self._start_looking(f"{_BEGIN}; {_LOCK_HEADS}")

    def _start_looking(self, words: str) -> None:
        """Begin, and learn in the same round trip who follows and whether the registry has grown."""
        alone = _IS_ALONE.format(self._follower_lock)
        news = _HAS_NEWS.format(self.registry.read_up_to)
        is_alone, has_news = self._link.start(f"{words}; SELECT {alone}, {news}")
        self._is_followed = not is_alone
        self._learn(has_news)

    def _start_flush(self) -> None:
        """Begin nothing: what is known here is made a condition when the write is sent."""
        if self._link.has_ended:
            raise UnforeseenError  # the server has ended the connection: what is sent now is lost
        self._link.roll_back_what_stands()
        self._flush = Flush(self.registry.read_up_to, self._follower_lock)
        self.generation += 1

    def fresh(self, chain: Chain) -> Chain:
        """Return the chain as it stands in the present transaction; in a flush, as it is known here."""
        if self._flush is None or chain.generation == self.generation:
            return super().fresh(chain)
        if not chain.head.seq or chain.found_seq != chain.head.seq or not chain.is_plain:
            raise UnforeseenError
        self.queue.stand(chain, self._flush)
        head = chain.head
        known = Known(chain.key, head.seq, head.epoch, head.cum_bytes, head.seal)
        self._flush.know(chain.session_id, known)
        chain.generation = self.generation
        return chain

    def commit(self, ride: Ride) -> list[Callable[[], None]]:
        """Make the transaction durable; return what was put off until now."""
        self._check_process()
        if self._put_off:
            self.settle()
        if self._flush is None and self.touched and not self._moved():
            self._commit_behind_what_was_found()
        try:
            self._commit_for_sure()
        except Exception:
            raise
        except BaseException:
            # A signal: once a commit was sent, what ends without an answer is told as unknown.
            ride.unknown = unknown(self.path)
            raise
        self._committing = True  # it is kept, whatever comes now
        if self._is_followed:
            self._tell()
        return self._let_go(ride)

    def _commit_for_sure(self) -> None:
        try:
            with self._link.commits.confirmed(self.busy_timeout_s):
                self._commit_there()
        except Exception as error:
            if not postgres.is_lost(error) or not self._was_committed():
                raise
            self._is_followed = True  # as far as is known

    def _tell(self) -> None:
        with suppress(Exception):  # it was committed; who follows looks for himself now and then
            notices.tell(self._link.cursor, self.address.schema)

    def _commit_there(self) -> None:
        if self._flush is not None:
            self._send(self._flush)
        elif self._link.cursor.execute("COMMIT").said != "COMMIT":
            raise StorageError(
                f"{self.path}: the server rolled a write back that had failed before",
                hint="try again",
                code="rolled-back",
            )

    def _send(self, flush: Flush) -> None:
        try:
            self._is_followed = flush.send(self._link.wire)
        except Exception as error:
            if not postgres.is_lost(error):
                self.group.lost()
            raise

    def _moved(self) -> list[Chain]:
        return [chain for chain, before in self.touched if chain.head != before[0]]

    def _commit_behind_what_was_found(self) -> None:
        """Make a transaction that moves no head wait for the standbys as well, if they are waited for.

        What it answers with may have been committed on this server alone; the lock is a write behind
        it. And what it has written itself, a parked write, is refused by the lock where a new key
        was adopted since it began, as the move of a head is: nobody would believe it. A block has the
        heads from its beginning.
        """
        if self._link.commits.is_replicated:
            self._link.cursor.execute(LOCK_ONE, (self.touched[-1][0].session_id,))
        elif not self._runs_once:
            self._link.cursor.execute(HOLD_IF_WRITTEN)

    def _was_committed(self) -> bool:
        """Find out what became of a commit whose answer was lost.

        Raises:
            StorageError: the server did not come back in time to tell, or no standby confirms it.

        """
        moved, ghost = self._moved(), self._link.mark
        if self._runs_once and not moved:
            raise unknown(self.path)  # it may have kept what no head tells of, and is not run again
        deadline = time.monotonic() + self.busy_timeout_s

        def look() -> bool:
            self._link.connect_again()
            ghosts.outlive(self._link.cursor, ghost)
            return self._has_entries(moved, deadline)

        try:
            return patiently(look, self.busy_timeout_s, postgres.is_lost)
        except Exception as error:
            raise unknown(self.path) from error

    def _has_entries(self, moved: list[Chain], deadline: float) -> bool:
        return has_entries(self._link, moved, deadline)

    def roll_back(self, error: BaseException, ride: Ride) -> None:
        """Undo the transaction, in memory too, and let the lock go; as :meth:`Store.roll_back`."""
        if not self._inside or self._owner != threading.get_ident():
            return
        if self._committing and not isinstance(error, Exception):
            self._let_go(ride)  # a signal came after the commit
            return
        self._undo_and_let_go()

    def _undo_and_let_go(self) -> None:
        """Undo, whatever interrupts come while the server is waited for, and let the lock go, once."""
        try:
            self._undo()
        finally:
            try:
                if self._inside:  # one came before its last step
                    self._undo()
            finally:  # and what a second one leaves is undone by whoever begins or reads next
                self._inside = False
                self.lock.release()

    def _let_go(self, ride: Ride) -> list[Callable[[], None]]:
        done, self._done = self._done, []
        self._fresh = {}
        self.touched.clear()
        self._new_instances.clear()
        self._flush = None
        ride.is_committed = True
        self._inside = False
        self.lock.release()
        return done

    def is_current(self) -> bool:
        """Leave it to a snapshot, which asks a server once as well."""
        return False

    @contextmanager
    def snapshot(self) -> Iterator[Cursor]:
        """Read one state of the database; nothing is locked and nothing written."""
        # From before the lock: threads that wait for a server wait together, not one after the other.
        until = time.monotonic() + self.busy_timeout_s
        with self.lock:
            self._check_process()
            nested = self._inside or self._reading
            if nested and self._flush is not None:
                raise UnforeseenError
            if not nested and (self.touched or self._new_instances or self._flush is not None):
                self._undo()  # an interrupt left it, perhaps by half: what it made known is rolled back
            try:
                if not nested:
                    self._reading = True
                    self._begin_reading(until)
                yield self._link.cursor
            except Exception as error:
                told = self.told(error)
                if told is error:
                    raise
                raise told from error
            finally:
                if not nested and not self.forked:
                    self._reading = False
                    self._link.roll_back()

    def _begin_reading(self, until: float) -> None:
        """Begin a snapshot and learn what others did; wait for a server that is away until then."""
        news = _HAS_NEWS.format(self.registry.read_up_to)
        words = f"{_BEGIN} READ ONLY; SELECT {news}"

        def begin() -> None:
            self._learn(*self._link.start(words))

        patiently(begin, max(until - time.monotonic(), 0), postgres.is_lost)

    def _undo(self) -> None:
        if self._raw is None or self.forked:
            return
        self._flush = None
        self._link.roll_back()
        self._forget()

    def _learn(self, has_news: object) -> None:
        """Learn what others have committed; whoever asks for a chain looks at it anew."""
        if has_news:
            self.registry.refresh(self._link.cursor)
            check_newest(self.registry.newer_key, self.path)
        self.generation += 1

    def side_path(self, mirror: str) -> str:
        """Return the path of the side file for the mirrors in one's directory."""
        return mirrors_path(self.journal_id, self.place, mirror)

    def empty_log(self) -> bool | None:
        """Return None: what the server keeps besides the rows is its own."""
        return None

    # -- the end ----------------------------------------------------------------------

    def close(self) -> None:
        """Close the connection."""
        self.changes.close()
        with self.lock:
            open_here.discard(self)
            if self._raw is None or self.forked:
                return
            self._link.close()
        self.changes.tell()

    def abandon(self) -> None:
        """In a forked child: the connection is the parent's."""
        self.forked, self._inside, self._reading = (
            True,
            False,
            False,
        )  # what stands is the parent's to end
        if self.mirrors is not None:
            self.mirrors.abandon()
        self._kept = self._link
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
