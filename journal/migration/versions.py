"""A file that was changed otherwise than at its end, since it became a session: both versions are kept.

Only lines that the session has not become entries; the file's new order is a new
layout. Lines are matched as a multiset of bytes, so no line is kept twice and none
is called new that was only moved. What others wrote to the session meanwhile
stays, at the end.
"""

from __future__ import annotations

from collections import defaultdict, deque
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from journal.export import every_page, pages
from journal.migration.chunks import as_lines, chunks_of
from journal.migration.outcome import FileResult
from journal.migration.source import UnfitError
from journal.migration.transfer import WRITER, MovedError
from journal.parts import goes_on
from journal.rewriting import Plan, relay
from journal.session import Identity, Session
from journal.writing import LINE_END

if TYPE_CHECKING:
    from journal.lines import Line
    from journal.migration.planned import PlannedFile
    from journal.migration.source import Source
    from journal.migration.transfer import Job
    from journal.store import Store

# New lines are committed at once, with the layout that names them.
NEW_LIMIT_BYTES: Final = 64 * 1024 * 1024


class Version:
    """A file's lines, held against what its session has, in its layout and out of it."""

    def __init__(self, store: Store, key: str) -> None:
        self._store, self._key = store, key
        self._held: dict[bytes, deque[int]] = defaultdict(deque)
        self._by_others: list[int] = []
        self.head_seq = 0
        self.order: list[int | Line] = []
        self.new_bytes = self.lines = self.raw_lines = self.bytes = 0
        self.is_open = False

    def load(self) -> None:
        """Learn what the session has."""
        with self._store.snapshot() as cursor:
            chain = self._store.find_chain(cursor, self._key)
            if chain is None:  # pragma: no cover - it was just compared
                raise MovedError
            self.head_seq = self._store.fresh(chain).head.seq
            known = self._store.registry.by_name.get(WRITER)
            own = None if known is None else known.id
        for page in every_page(self._store, self._key):
            for row in page.rows:
                self._held[_digest(row.body or b"", row.terminator)].append(row.seq)
        for page in pages(self._store, self._key):
            # Not the line ends that were put behind the file's own last line: it ends as it ends now.
            self._by_others += [
                r.seq for r in page.rows if r.writer_id != own and r.trusted and r.body
            ]

    def take(self, line: Line) -> None:
        """Take the file's next line: one that is there, or a new one."""
        if not goes_on(line.kind, line.body, is_open=self.is_open):
            self.lines += 1
            self.raw_lines += line.kind == "raw"
        self.bytes += len(line.body) + len(line.terminator)
        self.is_open = not line.terminator
        held = self._held.get(_digest(line.body, line.terminator))
        if held:
            self.order.append(held.popleft())
            return
        self.new_bytes += len(line.body) + len(line.terminator)
        if self.new_bytes > NEW_LIMIT_BYTES:
            raise UnfitError("changed-much", "too much of it was changed to be brought in at once")
        self.order.append(line)

    def plan(self) -> Plan:
        """Return the new order: the file's lines, then what others wrote meanwhile."""
        kept = {item for item in self.order if isinstance(item, int)}
        rest = [seq for seq in self._by_others if seq not in kept]
        ended = [LINE_END] if self.is_open and rest else []
        return Plan([*self.order, *ended, *rest], self.is_open and not rest)


def bring_in(store: Store, job: Job, each: PlannedFile, source: Source, key: str) -> FileResult:
    """Make the file's present bytes its session's file, and keep what was before.

    Raises:
        UnfitError: a line that cannot be kept, or too much at once.
        MovedError: the file, or the session, changed meanwhile.

    """
    version = Version(store, key)
    version.load()
    source.rewind()
    for lines, _ in chunks_of(source):
        for line in as_lines(lines):
            version.take(line)
    if not source.is_unchanged:
        raise MovedError
    plan = version.plan()
    session = Session(store, key, Identity(WRITER, "migration"))
    if not relay(session, plan, version.head_seq, f"{each.name} was changed since it was read"):
        raise MovedError
    job.tell(version.bytes)
    return FileResult(
        path=each.path,
        key=key,
        what="relaid",
        new_entries=len(plan.new),
        new_bytes=version.new_bytes,
        bytes=version.bytes,
        lines=version.lines,
        raw_lines=version.raw_lines,
        sha256=source.facts.sha256,
    )


def _digest(body: bytes, terminator: bytes) -> bytes:
    return sha256(b"%d:%b%b" % (len(body), body, terminator)).digest()
