"""A session's handle: one writer's way to read and write one session."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from journal import inputs, parking, policy, reading, redaction, resolving, rewriting
from journal.admission import Put
from journal.errors import NotTrusted
from journal.model import Entry, check_key, check_label, check_name
from journal.parts import encode_line, encode_lines
from journal.reading import Reading
from journal.registry import check_role
from journal.tail import Tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from journal.engine import Cursor
    from journal.erasing import Receipt
    from journal.fence import Fence
    from journal.inputs import Input
    from journal.lines import Line
    from journal.parking import Parked
    from journal.policy import Policy
    from journal.store import Store
    from journal.turn import Turn
    from journal.verdict import Verdict
    from journal.writing import Author


class Position(NamedTuple):
    """Where a session's chain ends: its newest sealed entry."""

    seq: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a handle writes as. Bound to the handle, never taken from the surroundings."""

    writer: str
    role: str
    on_behalf_of: str | None = None
    run_id: str | None = None
    declare: bool = True
    claim: int | None = None


class Session:
    """One session, seen and written by one writer.

    Handles are cheap; make one for each writer. A handle may be shared between
    threads. Nothing is written, and nobody declared, before the first write.
    """

    def __init__(
        self,
        store: Store,
        key: str,
        identity: Identity | None,
        *,
        default_policy: str | Policy = "cotenant",
        on_takeover: Callable[[Verdict], None] | None = None,
    ) -> None:
        self.key = check_key(key)
        self.identity = identity
        self.policy = policy_of(None, default_policy)
        self.on_takeover = on_takeover
        self.store = store
        self._author: Author | None = None
        self._author_of: object = None
        if identity is not None:
            _check_identity(identity)

    def __repr__(self) -> str:
        who = "nobody" if self.identity is None else self.identity.writer
        return f"<{type(self).__name__} {self.key!r} as {who!r}>"

    # -- writing ----------------------------------------------------------------------

    def append(self, line: object, *, request_id: str | None = None) -> Entry:
        """Write one line; when this returns, it survives power loss.

        Args:
            line: a JSON-able object (encoded once, compactly), or bytes, kept
                exactly; one line end at their end is the terminator. A line over
                8 MiB becomes several entries of kind "part", in one epoch, and the
                last of them is returned.
            request_id: writes once: the same id with the same line returns the
                first entry and writes nothing.

        Raises:
            EntryError: the line cannot be kept; nothing was written.
            RefusedError: the writer may not write; the line was parked.
            StorageError: the database could not; nothing was written.

        """
        return self._put(encode_line(line), request_id)[-1]

    def extend(self, lines: Iterable[object], *, request_id: str | None = None) -> list[Entry]:
        """Write several lines at once, in one epoch; as :meth:`append` otherwise."""
        encoded = encode_lines(lines)
        return self._put(encoded, request_id) if encoded else []

    def _put(self, lines: Sequence[Line], request_id: str | None) -> list[Entry]:
        if request_id is not None:
            check_label(request_id, "request id")
        outcome = self.store.group.write(Put(self, lines, request_id))
        if outcome.error is not None:
            raise outcome.error
        return outcome.entries

    def rewrite(self, items: Iterable[object], *, base: int, reason: str) -> list[Entry]:
        """Give the session's file a new order; return the entries of what is new in it.

        Args:
            items: entries to keep, as ``read`` gave them, and new lines, in the
                order of the file. Only new lines become entries.
            base: ``head.seq`` when the session was read: lines that came after it
                stay, at the end.
            reason: why, for whoever reads the journal later.

        Nothing is changed or lost: what is left out stays in the journal.

        Raises:
            RefusedError: the session was rewritten since the base, or is held by another.
            EntryError: an entry that is no line of this session.

        """
        return rewriting.rewrite(self, items, base, reason)

    def cut(self, count: int, *, base: int, reason: str) -> None:
        """Drop the file's last lines up to a base; as :meth:`rewrite` otherwise."""
        rewriting.cut(self, count, base, reason)

    def author(self, cursor: Cursor) -> Author:
        """Return who writes, checked in the present transaction."""
        store, known = self.store, self._author
        # Still the writer that was checked: a revocation would have put another there.
        if (
            known is not None
            and self._author_of is store.instances
            and store.registry.by_name.get(known.writer.name) is known.writer
        ):
            return known
        return self._find_author(cursor)

    def _find_author(self, cursor: Cursor) -> Author:
        who = self.identity
        if who is None:
            message = f"this handle on {self.key!r} only reads"
            raise NotTrusted(message, hint="name a writer and a role", code="no-writer")
        author = self.store.author(cursor, who.writer, who.role, declare=who.declare)
        author = replace(author, claim=who.claim, run_id=who.run_id, on_behalf_of=who.on_behalf_of)
        self._author, self._author_of = author, self.store.instances
        return author

    # -- reading ----------------------------------------------------------------------

    def read(
        self,
        after: int = 0,
        limit: int | None = None,
        *,
        newest: bool = False,
        trusted: bool | None = None,
    ) -> Reading:
        """Return the session's lines in file order, each verified.

        Args:
            after: only entries with a greater seq.
            limit: at most so many.
            newest: take them from the end instead of the beginning; the order
                stays the file's.
            trusted: only trusted entries, or only the others; None for both.

        Rows that do not verify are never handed out: they are in the answer's
        ``stepped_over``, and said in the log.

        """
        stepped_over: list[Entry] = []
        pages = reading.newest if newest else reading.oldest
        entries: list[Entry] = []
        for entry in pages(self.store, self.key, after, stepped_over):
            if limit is not None and len(entries) >= limit:
                break
            if trusted is None or entry.trusted is trusted:
                entries.append(entry)
        reading.tell(self.key, stepped_over)
        return Reading(reversed(entries) if newest else entries, stepped_over)

    def __iter__(self) -> Iterator[Entry]:
        stepped_over: list[Entry] = []
        yield from reading.oldest(self.store, self.key, 0, stepped_over)
        reading.tell(self.key, stepped_over)

    def tail(self, after: int | None = None) -> Tail:
        """Follow the session: each new line, verified, soon after whoever wrote it committed.

        Args:
            after: begin after this seq; without one, with what comes from now on.

        Iterate over it: where nothing is new it waits, at no cost, until somebody
        commits, which is noticed within 50 ms. The lines come in the order they
        were written, not the file's. It never ends by itself; a closed journal
        ends it with a StorageError. A line of another process may be seen some
        milliseconds before it is synced to the disk.
        """
        return Tail(self.store, self.key, after)

    @property
    def head(self) -> Position:
        """Where the session's chain ends now."""
        with self.store.snapshot() as cursor:
            chain = self.store.find_chain(cursor, self.key)
            if chain is None:
                return Position(0, 0)
            head = self.store.fresh(chain).head
        return Position(head.seq, head.epoch)

    @property
    def exists(self) -> bool:
        """Whether anybody has ever written to this session."""
        if self.store.knows(self.key):
            return True
        with self.store.snapshot() as cursor:
            return self.store.find_chain(cursor, self.key) is not None

    @property
    def revision(self) -> int:
        """How often lines that were there were moved, left out or erased.

        Appends leave it. What somebody made of the lines is out of date once it changes.
        """
        with self.store.snapshot() as cursor:
            chain = self.store.find_chain(cursor, self.key)
            if chain is None:
                return 0
            self.store.fresh(chain).load_facts(cursor)
            return chain.layout.no + len(chain.redacted)

    def parked(self, *, settled: bool = False) -> list[Parked]:
        """Return the writes refused and kept for this session, oldest first."""
        with self.store.snapshot() as cursor:
            chain = self.store.find_chain(cursor, self.key)
            if chain is None:
                return []
            rows = parking.of_session(cursor, chain.session_id, settled=settled)
            true = [row for row in rows if row.holds(self.store)]
            found = [parking.parked_of(row, self.store) for row in true]
        parking.tell(self.key, len(rows) - len(true))
        return found

    # -- fences and claims ------------------------------------------------------------

    def fence(self, *, policy: str | Policy | None = None) -> Fence:
        """Raise a fence: the mark to be checked after the model has thought.

        Nothing is locked and, unless something foreign is found, nothing is
        written. Use it in a ``with`` block to have it checked on leaving.
        """
        from journal.fence import Fence  # noqa: PLC0415 - a fence needs a session

        return Fence.raised(self, policy_of(policy, self.policy))

    def claim(self, supersede: str | None = None, *, base: int | None = None) -> Turn:
        """Claim the session for a run; the turn is the handle to write with.

        Args:
            supersede: a reason; then a standing claim ends, whoever holds it.
            base: ``head.seq`` as you read it: refused if anything came since.

        Raises:
            ClaimedError: a live or unknown process holds it.
            RefusedError: the session changed since the base.

        """
        from journal.claim import claim  # noqa: PLC0415 - a turn is a session

        return claim(self, supersede, base=base)

    def end_claim(self, token: int) -> bool:
        """Release a claim of this writer whose process is gone; return whether it still stood.

        Raises:
            RefusedError: it is another writer's, or a live process holds it.
            NotFoundError: there is no such claim.

        """
        from journal.claim import end_claim  # noqa: PLC0415 - a turn is a session

        return end_claim(self, token)

    # -- what is said while a run has the turn -----------------------------------------

    def submit(self, line: object, *, request_id: str | None = None) -> Input:
        """Say something to the session while a run has the turn; never blocked by a claim.

        The line is kept, sealed, for the next ``turn.take_inputs()``, and becomes an
        entry of this writer then. Once this returns, it survives power loss.

        Args:
            line: as for :meth:`append`.
            request_id: submits once: the same id with the same line returns the
                first input, or the entry it became, and keeps nothing more.

        Raises:
            EntryError: the line cannot be kept, or the request id had another line.
            NotTrusted: the writer may not write.

        """
        return inputs.submit(self, line, request_id)

    def inputs(self, *, taken: bool = False) -> list[Input]:
        """Return what was submitted and is not taken yet, in order; with ``taken``, all of it.

        Rows that nobody with the journal's key stored are among them, their state
        "not believed"; they are never taken.
        """
        return inputs.of_session(self, taken=taken)

    # -- what must not be kept -----------------------------------------------------------

    def redact(self, seqs: Iterable[int], *, reason: str) -> list[Receipt]:
        """Erase lines for good: here, and wherever the journal keeps equal bytes; recorded.

        In place of each line its readers get ``{"redacted":true}``, padded to the size
        the line had, and so does the session's file. Everything still verifies. The
        receipts say what became of each copy, and what is out of reach.

        Raises:
            NotFoundError: there is no such entry, or it is not as it was sealed.
            EntryError: it is no line, or there is no reason.
            RefusedError: this writer may not.
            MirrorError: the session's file is not what it should be; nothing was erased.

        """
        return redaction.redact(self, seqs, reason)

    def forget(self, *, reason: str) -> list[Receipt]:
        """Redact every line of the session and empty its file; that it was there stays on record."""
        return redaction.forget(self, reason)

    # -- what came from outside ----------------------------------------------------------

    def resolve(self, seqs: Iterable[int], *, accept: bool, reason: str) -> list[Entry]:
        """Accept or reject foreign entries; recorded with this writer as the actor.

        An accepted entry stays where it is, marked "accepted", by whom it was. An
        accepted stray's bytes become a new external entry; these are returned. A
        rejected entry leaves the file's layout, never the journal; a rejected edit that
        took lines out of the file, or moved them, is undone in both.

        Args:
            seqs: which ones; all of them or none.
            accept: accept them, or reject them.
            reason: why; it is recorded.

        Raises:
            NotFoundError: there is no such entry.
            EntryError: an entry that is not foreign, or has no bytes to accept.
            RefusedError: a run beside a standing turn, or what was rejected before.

        """
        return resolving.resolve(self, seqs, accept=accept, reason=reason)


def policy_of(given: str | Policy | None, default: str | Policy) -> str | Policy:
    """Return the policy that was asked for, checked, or the default."""
    chosen = default if given is None else given
    policy.resolve(chosen)
    return chosen


def _check_identity(identity: Identity) -> None:
    check_name(identity.writer)
    check_role(identity.role)
    check_label(identity.on_behalf_of, "on-behalf-of name")
    check_label(identity.run_id, "run id")
