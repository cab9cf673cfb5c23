"""What a store knows, and what its present transaction owes: chains, who writes, what comes at the end.

It is the same on every engine. A chain that is to be written is touched: its state
is put back if the transaction is rolled back, as if it had never been.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from journal.commands import command_on
from journal.errors import NotTrusted
from journal.instance import store_instance
from journal.model import REGISTRY_ID, Writer, check_label, check_name
from journal.process import this_process
from journal.registry import Registry, check_role, check_standing
from journal.serverplace import A_COPYS, whose
from journal.writing import Author, write_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal.chain import Chain
    from journal.changes import Changes
    from journal.engine import Cursor
    from journal.eras import Keys
    from journal.lines import Line
    from journal.registry import MirrorFact
    from journal.seal import Mac
    from journal.sidefile import Fresh
    from journal.transaction import Transaction


def now_us() -> int:
    """Return whole microseconds since 1970 UTC."""
    return time.time_ns() // 1000


class MirrorKeeper(Protocol):
    """Who serves mirrors, as far as those who write must know."""

    def serve(self, session_id: int, fresh: Fresh | None = None) -> None:
        """Bring a session's file up to the journal."""

    def reconcile(
        self, session_id: int, *, is_final: bool = False, floor: tuple[int, int] | None = None
    ) -> object:
        """Turn what reached a session's file into entries."""

    def position(self, session_id: int) -> tuple[int, int] | None:
        """Return how much of which layout is in a session's file."""

    def mirror(self, session_id: int) -> Any:  # noqa: ANN401 - a mirror, of a layer above
        """Return a session's mirror to work with; None if it has none that is served here."""

    def elsewhere(self, session_id: int) -> tuple[str, str] | None:
        """Return the path of a session's mirror that is served elsewhere, and where."""

    def abandon(self) -> None:
        """Let go of every file and lock, as a forked child must."""


class Ledger:
    """What is known of a journal, and what its present transaction touches and puts off."""

    cursor: Cursor
    keys: Keys
    mac: Mac
    registry: Registry
    changes: Changes

    def _start_out(self, path: str, busy_timeout_s: float, clock: Callable[[], int]) -> None:
        """Know nothing yet, whichever engine keeps the journal."""
        self.path = path
        self.busy_timeout_s = busy_timeout_s
        self.clock = clock
        self.lock = threading.RLock()
        self.forked = False
        self.generation = 0
        # What marks the block whose transaction stands; None where there is no block.
        self.block: object = None
        self.mirrors: MirrorKeeper | None = None
        # Of a journal on a server: whose mirrors are served here.
        self.place = ""
        self.instances: dict[int, int] = {}
        self._new_instances: dict[int, int] = {}
        # Each chain that is written to, with what a rollback is to put back.
        self.touched: list[tuple[Chain, tuple[Any, ...]]] = []
        self._put_off: list[Chain] = []
        self._done: list[Callable[[], None]] = []
        self._fresh: dict[int, Fresh | None] = {}
        # Sessions whose parked writes reach the quota: what was counted of all, and of ours.
        self.at_quota: dict[int, tuple[tuple[int, int], tuple[int, int]]] = {}

    def transaction(self, *, is_durable: bool = True) -> Transaction:
        """Hold the write lock for a block; as the engine's store has it."""
        raise NotImplementedError

    # -- mirrors ------------------------------------------------------------------------

    def serves(self, mirror: MirrorFact) -> bool:
        """Whether a mirror is served by this journal on this host: not one of a copy, nor another's."""
        return mirror.host == this_process().host and mirror.place == self.place

    def has_file(self, mirror: MirrorFact) -> bool:
        """Whether a mirror's file is one of this host's, whichever of its users serves it; not a copy's."""
        if mirror.host != this_process().host:
            return False
        return whose(mirror.place, self.place) != A_COPYS

    def side_path(self, mirror: str) -> str:
        """Return the path of the side file for a mirror, by the mirror's own."""
        del mirror
        return f"{self.path}-mirrors"

    # -- what a transaction touches, and what it owes ------------------------------------

    def fresh(self, chain: Chain) -> Chain:
        """Return the chain as it stands in the present transaction."""
        if chain.generation != self.generation:
            chain.refresh(self.cursor)
            chain.generation = self.generation
        return chain

    def touch(self, chain: Chain) -> None:
        """Make a chain fresh, and remember its state in case the transaction fails."""
        self.fresh(chain)
        self.touched.append((chain, chain.state()))

    def put_off(self, chain: Chain) -> None:
        """Have the rows that a fresh chain is about to get written when the transaction settles."""
        self.touched.append((chain, chain.state()))
        self._put_off.append(chain)

    def settle(self) -> None:
        """Write what was put off: before anything else is read or written, and before COMMIT."""
        chains, self._put_off = self._put_off, []
        for chain in chains:
            write_out(self.cursor, chain)

    def after_commit(self, call: Callable[[], None]) -> None:
        """Call this once the present transaction is durable."""
        self._done.append(call)

    def serve_later(self, session_id: int, fresh: Fresh | None) -> None:
        """Have a session's file brought up to the journal once, when the transaction is durable."""
        if self.mirrors is None:
            return
        if session_id not in self._fresh:
            self._fresh[session_id] = fresh
            self._done.append(partial(_serve, self.mirrors, self._fresh, session_id))
            return
        before = self._fresh[session_id]
        self._fresh[session_id] = before and fresh and before.joined(fresh)

    def _forget(self) -> None:
        """Know nothing of the transaction that was rolled back."""
        had_facts = any(chain is self.registry.chain for chain, _ in self.touched)
        for chain, saved in reversed(self.touched):
            chain.put_back(saved)
        self._put_off.clear()
        self._done.clear()
        self._fresh.clear()
        if had_facts:
            # Only then: what is known of revocations must outlive a cut of the registry.
            fresh = Registry(self.keys)
            fresh.adopt_chains(self.registry)
            self.registry = fresh
        if self._new_instances:
            kept = self.instances.items() - self._new_instances.items()
            self.instances, self._new_instances = dict(kept), {}
        self.touched.clear()  # last: while there are any, what an interrupt left is undone again

    # -- who writes -------------------------------------------------------------------

    def author(self, cursor: Cursor, name: str, role: str, *, declare: bool) -> Author:
        """Return who writes, checked in the present transaction.

        Raises:
            NotTrusted: unknown and not to be declared, revoked, or of another role.

        """
        writer = self.registry.writer(name, role)
        if writer is None:
            if not declare:
                raise NotTrusted(
                    f"nobody declared the writer {name!r}",
                    hint=command_on(name, "writers add", options=f"--role {role}"),
                    code="unknown-writer",
                )
            writer = self.declare(cursor, name, role)
        return Author(writer, self.instance(cursor, writer))

    def declare(self, cursor: Cursor, name: str, role: str) -> Writer:
        """Declare a writer, its role fixed from now on."""
        check_role(role)
        self.touch(self.registry.chain)
        keeper = self.keeper(cursor)
        return self.registry.add_writer(cursor, keeper, self.clock(), name, role)

    def revoke(
        self, name: str, reason: str, *, by: str | None = None, role: str = "operator"
    ) -> Writer:
        """Revoke a writer from now on; what it wrote stays as it is."""
        check_name(name)
        check_label(reason, "reason")
        with self.transaction() as cursor:
            writer = self.registry.by_name.get(name)
            if writer is None:
                raise NotTrusted(f"nobody declared the writer {name!r}", hint="journal writers")
            check_standing(writer)
            if by is not None:
                self.author(cursor, check_name(by), check_role(role), declare=True)
            self.touch(self.registry.chain)
            self.registry.revoke(cursor, self.keeper(cursor), self.clock(), writer, reason, by)
            self.overtake(cursor)
            return self.registry.writers[writer.id]

    def overtake(self, cursor: Cursor) -> None:
        """Refuse a write that chose its state before the present block and is not done; in a file there is none."""

    def find_chain(self, cursor: Cursor, key: str) -> Chain | None:
        """Return a session's chain; None if nobody ever wrote to such a session."""
        return self.registry.chain_of(key) or self.registry.adopt_session(cursor, key)

    def open_chain(self, cursor: Cursor, key: str) -> Chain:
        """Return a session's chain, registering the session if it is new."""
        chain = self.registry.chain_of(key)
        if chain is None:
            chain = self._found_or_made(cursor, key)
        if chain.generation != self.generation:
            self.fresh(chain)
        self.touched.append((chain, chain.state()))
        return chain

    def _found_or_made(self, cursor: Cursor, key: str) -> Chain:
        chain = self.registry.adopt_session(cursor, key)
        if chain is not None:
            return chain
        self.touch(self.registry.chain)
        return self.registry.add_session(cursor, self.keeper(cursor), self.clock(), key)

    def keeper(self, cursor: Cursor) -> Author:
        """Return who records the journal's own facts."""
        writer = self.registry.writers[REGISTRY_ID]
        return Author(writer, self.instance(cursor, writer))

    def instance(self, cursor: Cursor, writer: Writer) -> int:
        """Return this process's instance of a writer, stored at its first write."""
        known = self.instances.get(writer.id)
        if known is None:
            known = store_instance(cursor, self.mac, writer.id, self.clock())
            self.instances[writer.id] = self._new_instances[writer.id] = known
        return known

    def instance_of(self, name: str) -> int | None:
        """Return this process's instance of a writer, if it has written anything."""
        writer = self.registry.by_name.get(name)
        return None if writer is None else self.instances.get(writer.id)

    def record(self, cursor: Cursor, *facts: Line) -> None:
        """Write facts to the registry, in the caller's transaction."""
        self.touch(self.registry.chain)
        self.registry.record(cursor, self.keeper(cursor), self.clock(), *facts)


def _serve(mirrors: MirrorKeeper, fresh: dict[int, Fresh | None], session_id: int) -> None:
    mirrors.serve(session_id, fresh[session_id])
