"""A session's handle: one writer's way to read and write one session."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal import parking, policy
from journal import statements as sql
from journal.chain import MAX_SEQ
from journal.errors import NotTrusted, RefusedError
from journal.inspection import PAGE, entry_of
from journal.lines import encode
from journal.model import Entry, Row, check_key, check_label, check_name
from journal.registry import check_role
from journal.writing import reused, same_lines, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from journal.chain import Chain
    from journal.claim import Turn
    from journal.fence import Fence
    from journal.lines import Line
    from journal.parking import Parked
    from journal.policy import Policy
    from journal.store import Store
    from journal.verdict import Verdict
    from journal.writing import Author

_LOG_HINT: Final = "journal audit"


class Position(NamedTuple):
    """Where a session's chain ends: its newest sealed entry."""

    seq: int
    epoch: int


class Reading(list[Entry]):
    """Entries that were read, and in ``stepped_over`` the rows that could not be believed."""

    def __init__(self, entries: Iterable[Entry] = (), stepped_over: Iterable[Entry] = ()) -> None:
        super().__init__(entries)
        self.stepped_over = tuple(stepped_over)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a handle writes as. Bound to the handle, never taken from the surroundings."""

    writer: str
    role: str
    on_behalf_of: str | None = None
    run_id: str | None = None
    declare: bool = True
    claim: int | None = None


class Outcome(NamedTuple):
    """What became of one write: its entries, or the error it ends with."""

    entries: list[Entry]
    error: RefusedError | None = None


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
        self.policy = default_policy
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
                exactly; one line end at their end is the terminator.
            request_id: writes once: the same id with the same line returns the
                first entry and writes nothing.

        Raises:
            EntryError: the line cannot be kept; nothing was written.
            RefusedError: the writer may not write; the line was parked.
            StorageError: the database could not; nothing was written.

        """
        return self._put([encode(line)], request_id)[0]

    def extend(self, lines: Iterable[object], *, request_id: str | None = None) -> list[Entry]:
        """Write several lines at once, in one epoch; as :meth:`append` otherwise."""
        encoded = [encode(line) for line in lines]
        return self._put(encoded, request_id) if encoded else []

    def _put(self, lines: Sequence[Line], request_id: str | None) -> list[Entry]:
        check_label(request_id, "request id")
        with self.store.transaction() as cursor:
            outcome = put(cursor, self, lines, request_id)
        if outcome.error is not None:
            raise outcome.error
        return outcome.entries

    def author(self, cursor: Any) -> Author:  # noqa: ANN401 - a driver's cursor
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

    def _find_author(self, cursor: Any) -> Author:  # noqa: ANN401
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
        wanted = self._newest(after, stepped_over) if newest else self._oldest(after, stepped_over)
        entries: list[Entry] = []
        for entry in wanted:
            if limit is not None and len(entries) >= limit:
                break
            if trusted is None or entry.trusted is trusted:
                entries.append(entry)
        self._tell(stepped_over)
        return Reading(reversed(entries) if newest else entries, stepped_over)

    def __iter__(self) -> Iterator[Entry]:
        stepped_over: list[Entry] = []
        yield from self._oldest(0, stepped_over)
        self._tell(stepped_over)

    def _tell(self, stepped_over: list[Entry]) -> None:
        if stepped_over:
            from journal.store import log  # noqa: PLC0415

            first = stepped_over[0]
            log.warning(
                "%s: stepped over %d rows that do not verify, the first at seq %d (%s): %s shows them",
                self.key,
                len(stepped_over),
                first.seq,
                first.trust,
                _LOG_HINT,
            )

    def _oldest(self, after: int, stepped_over: list[Entry]) -> Iterator[Entry]:
        while True:
            page = self._page(sql.lines_between(), after, MAX_SEQ, PAGE)
            for entry in page:
                yield from _sorted_out(entry, stepped_over)
            if len(page) < PAGE:
                return
            after = page[-1].seq

    def _newest(self, after: int, stepped_over: list[Entry]) -> Iterator[Entry]:
        up_to, size = MAX_SEQ, 64
        while True:
            page = self._page(sql.lines_before(), up_to, size)
            for entry in page:
                if entry.seq <= after:
                    return
                yield from _sorted_out(entry, stepped_over)
            if len(page) < size:
                return
            up_to, size = page[-1].seq - 1, PAGE

    def _page(self, statement: str, *bounds: int) -> list[Entry]:
        with self.store.snapshot() as cursor:
            chain = self.store.find_chain(cursor, self.key)
            if chain is None:
                return []
            rows = cursor.execute(statement, (chain.session_id, *bounds)).fetchall()
            writers = self.store.registry.writers
        return [entry_of(Row._make(row), chain, writers) for row in rows]

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
        with self.store.snapshot() as cursor:
            return self.store.find_chain(cursor, self.key) is not None

    def parked(self, *, settled: bool = False) -> list[Parked]:
        """Return the writes refused and kept for this session, oldest first."""
        with self.store.snapshot() as cursor:
            chain = self.store.find_chain(cursor, self.key)
            if chain is None:
                return []
            rows = parking.of_session(cursor, chain.session_id, settled=settled)
        return [parking.parked_of(row, self.store) for row in rows if row.holds(self.store)]

    # -- fences and claims ------------------------------------------------------------

    def fence(self, *, policy: str | Policy | None = None) -> Fence:
        """Raise a fence: the mark to be checked after the model has thought.

        Nothing is locked and, unless something foreign is found, nothing is
        written. Use it in a ``with`` block to have it checked on leaving.
        """
        from journal.fence import Fence  # noqa: PLC0415 - a fence needs a session

        return Fence.raised(self, policy_of(policy, self.policy))

    def claim(self, supersede: str | None = None) -> Turn:
        """Claim the session for a run; the turn is the handle to write with.

        Args:
            supersede: a reason; then a standing claim ends, whoever holds it.

        Raises:
            ClaimedError: a live or unknown process holds it.

        """
        from journal.claim import claim  # noqa: PLC0415 - a turn is a session

        return claim(self, supersede)


def policy_of(given: str | Policy | None, default: str | Policy) -> str | Policy:
    """Return the policy that was asked for, checked, or the default."""
    chosen = default if given is None else given
    policy.resolve(chosen)
    return chosen


def _sorted_out(entry: Entry, stepped_over: list[Entry]) -> Iterator[Entry]:
    if entry.trust in ("stray", "altered", "erased"):
        stepped_over.append(entry)
    else:
        yield entry


def _check_identity(identity: Identity) -> None:
    check_name(identity.writer)
    check_role(identity.role)
    check_label(identity.on_behalf_of, "on-behalf-of name")
    check_label(identity.run_id, "run id")


def put(
    cursor: Any,  # noqa: ANN401 - a driver's cursor
    session: Session,
    lines: Sequence[Line],
    request_id: str | None,
    *,
    origin: str = "api",
) -> Outcome:
    """Do one write in the caller's transaction: written, found done already, or parked."""
    store = session.store
    author = session.author(cursor)
    chain = store.open_chain(cursor, session.key)
    done = earlier(cursor, session, chain, lines, request_id)
    if done is not None:
        return Outcome(done)
    error = refusal(store, chain, author)
    if error is not None:
        return Outcome([], keep(cursor, store, chain, author, lines, request_id, error))
    return Outcome(store_lines(cursor, store, chain, author, lines, request_id, origin))


def store_lines(  # noqa: PLR0913
    cursor: Any,  # noqa: ANN401
    store: Store,
    chain: Chain,
    author: Author,
    lines: Sequence[Line],
    request_id: str | None = None,
    origin: str = "api",
) -> list[Entry]:
    """Write lines that may be written; return their entries only."""
    store.after_commit(chain.waiting.clear)
    entries = write(
        cursor, chain, author, store.clock(), lines=lines, origin=origin, request_id=request_id
    )
    return entries[-len(lines) :]


def earlier(
    cursor: Any,  # noqa: ANN401
    session: Session,
    chain: Chain,
    lines: Sequence[Line],
    request_id: str | None,
) -> list[Entry] | None:
    """Return the entries that this very request wrote before, or None.

    Raises:
        EntryError: the request id was used for other lines.

    """
    if request_id is None:
        return None
    rows = _of_request(cursor, chain, request_id)
    if not rows:
        return None
    if not same_lines(rows, lines):
        raise reused(request_id)
    writers = session.store.registry.writers
    # The caller's bytes are what was sealed; the row's own may have been edited since.
    return [
        entry_of(row, chain, writers)._replace(
            body=line.body, trust="asserted" if row.trusted else "external"
        )
        for row, line in zip(rows, lines, strict=True)
    ]


def was_written(cursor: Any, chain: Chain, request_id: str) -> bool:  # noqa: ANN401
    """Whether a sealed entry carries this request id."""
    return bool(_of_request(cursor, chain, request_id))


def _of_request(cursor: Any, chain: Chain, request_id: str) -> list[Row]:  # noqa: ANN401
    found = cursor.execute(sql.rows_of_request(), (chain.session_id, request_id)).fetchall()
    # A row nobody sealed must not make a request look done.
    return [row for row in map(Row._make, found) if chain.sealer.seal_holds(row)]


def refusal(store: Store, chain: Chain, author: Author) -> RefusedError | None:
    """Return the error with which a write by this author must end, or None."""
    standing = chain.head.claim
    if author.claim == standing or (author.claim is None and author.writer.role != "run"):
        return None
    from journal.claim import claimed, superseded  # noqa: PLC0415 - only when refused

    if author.claim is None:
        return claimed(store, chain, author)
    return superseded(store, chain, author)


def keep(  # noqa: PLR0913
    cursor: Any,  # noqa: ANN401
    store: Store,
    chain: Chain,
    author: Author,
    lines: Sequence[Line],
    request_id: str | None,
    error: RefusedError,
) -> RefusedError:
    """Park a refused write and put its id into the error, or say that there was no room."""
    why = parking.Refusal(error.code, claim_expected=author.claim, claim_found=chain.head.claim)
    kept = parking.park(cursor, store, chain, author, lines, request_id, why)
    if kept is not None:
        error.parked = kept.id
    elif lines:
        error.args = (f"{error.args[0]}; not parked: the session's quota is full",)
    return error
