"""Stream one file into its session, and check what was streamed.

Lines are committed a chunk at a time. What was committed is found again by its
bytes, so a run that was killed is finished by running it again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from journal.controls import fact
from journal.errors import CorruptError
from journal.migration import indexed, receipts
from journal.migration.bulk import write_lines
from journal.migration.holding import NOTHING
from journal.migration.outcome import FileResult
from journal.migration.reading import Counts, Work
from journal.migration.receipts import DONE, PARTIAL, Receipt, path_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal.engine import Cursor
    from journal.migration.choosing import Choice
    from journal.migration.outcome import What
    from journal.migration.planned import PlannedFile
    from journal.migration.reading import Ahead, Chunk, Reading
    from journal.seal import Sealer
    from journal.sealing import Basis
    from journal.store import Store

WRITER: Final = "migrate"


class MovedError(Exception):
    """The file, or its session, changed while it was read."""


class OvertakenError(MovedError):
    """Somebody wrote to the session meanwhile; ``at`` how many of the file's bytes."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at


class Attempts:
    """The attempts at one file: so many, and as many again whenever others have brought more of it in."""

    def __init__(self, limit: int) -> None:
        self.left = self._limit = limit
        self._at = -1

    def failed(self, error: MovedError) -> None:
        """Count one that failed."""
        self.left -= 1
        if isinstance(error, OvertakenError) and error.at > self._at:
            self.left, self._at = self._limit, error.at


@dataclass(slots=True)
class Job:
    """One file's part of a run: for which run, and what was written for it so far.

    A file that moves while it is read is attempted anew; the job goes on.
    """

    run: int
    tell: Callable[[int], None]
    entries: int = 0
    bytes: int = 0


class Transfer:
    """One attempt at a file, on its way into its session."""

    def __init__(  # noqa: PLR0913 - what a file's way leads past
        self,
        store: Store,
        job: Job,
        each: PlannedFile,
        reading: Reading,
        choice: Choice,
        ahead: Ahead | None = None,
    ) -> None:
        held = choice.holding
        self._job = job
        self._store = store
        self._file = each
        self._reading = reading
        self._source = reading.source
        self._choice = choice
        self._ahead = ahead
        self._kept = choice.partial.number if choice.partial else None
        self._head_seq = held.head_seq
        self._first_seq, self._last_seq = held.first_seq, held.last_seq
        self._counts = Counts(held.bytes, held.lines, held.raw_lines, held.is_open, held.is_within)

    # -- nothing to write -------------------------------------------------------------

    def acknowledge(self) -> FileResult:
        """Note that the file is in its session already, under each name it has."""
        self._check_still()
        facts = self._source.facts
        is_more = self._choice.holding.relation == "more"
        raw_lines = self._file.raw_lines if is_more else self._counts.raw_lines
        self._counts = Counts(facts.bytes, facts.lines, raw_lines)
        missing = self._missing_receipts(facts.sha256)
        if missing or self._kept is not None or not self._is_named():
            store = self._store
            with store.transaction() as cursor:
                for receipt in missing:
                    self._keep(cursor, receipt)
                author = store.author(cursor, WRITER, "migration", declare=True)
                chain = store.open_chain(cursor, self._choice.key)
                indexed.keep(cursor, chain, author, store.clock(), self._file)
                self._name(cursor, chain.session_id)
        self._job.tell(facts.bytes)
        return self._result()

    def _missing_receipts(self, sha256: str) -> list[Receipt]:
        known = {kept.receipt.alias for kept in self._choice.of_file if kept.receipt.state == DONE}
        if self._kept is not None:
            known = set()
        wanted = [alias for alias in self._aliases() if alias not in known]
        session_id = self._session_id()
        if self._choice.holding.relation == "equal":
            return [self._receipt(session_id, DONE, alias, sha256) for alias in wanted]
        # The session has more than the file, and what the file was is on record.
        old = next((kept.receipt for kept in self._choice.of_file), self._choice.twin)
        if old is None:
            return []
        path, name, _ = self._names()
        state = DONE if old.sha256 == sha256 else old.state
        return [old._replace(path=path, name=name, alias=alias, state=state) for alias in wanted]

    def _session_id(self) -> int:
        with self._store.snapshot() as cursor:
            chain = self._store.find_chain(cursor, self._choice.key)
        if chain is None:  # pragma: no cover - its lines were just compared
            raise MovedError
        return chain.session_id

    # -- lines to write ---------------------------------------------------------------

    def copy(self) -> FileResult:
        """Stream the rest of the file into its session.

        Raises:
            JoinedError: nothing was written; its first new line joins the session's last.
            MovedError: the file, or the session, changed meanwhile.

        """
        if not (self._reading.is_ahead() and self._choice.holding is NOTHING):
            if not self._counts.bytes:
                self._source.rewind()
            self._reading.begin(self._counts)
        is_last = False
        while not is_last:
            chunk = self._reading.take()
            self._counts, is_last = chunk.counts, chunk.is_last
            if is_last:
                self._check_still()
                self._check_whole(chunk.sha256)
            self._commit(chunk)
            self._job.entries += chunk.entries
            self._job.bytes += chunk.size
            self._job.tell(self._counts.bytes)
        return self._result(is_written=True)

    def _check_still(self) -> None:
        if not self._source.is_unchanged:
            raise MovedError

    def _check_whole(self, sha256: str) -> None:
        """Hold what goes into the journal against what came out of the file, before the last commit."""
        found = self._source.facts
        if (self._counts.bytes, self._counts.lines, sha256) != found:
            raise CorruptError(  # pragma: no cover - lines that are split and joined are the same
                f"{self._file.path}: {self._counts.lines} lines were made of {found.lines}",
                hint="report this: nothing was lost, the file is as it was",
                code="migration-differs",
            )

    def _commit(self, chunk: Chunk) -> None:
        store = self._store
        # The end of the run is durable, and all before it: to wait for each file's sync is for nobody.
        with store.transaction(is_durable=False) as cursor:
            author = store.author(cursor, WRITER, "migration", declare=True)
            chain = store.open_chain(cursor, self._choice.key)
            if chain.head.seq != self._head_seq:
                # Somebody else wrote: compare again.
                raise OvertakenError(chunk.counts.bytes - chunk.size)
            if chunk.entries:
                first = write_lines(
                    cursor, chain, author, store.clock(), chunk.lines,
                    goes_on=chunk.goes_on, sealed=chunk.sealed,
                    meanwhile=partial(self._go_on, chunk, chain.sealer),
                )  # fmt: skip
                self._first_seq = self._first_seq or first
                self._last_seq = chain.head.seq
            self._note(cursor, chain.session_id, chunk)
            if chunk.is_last:
                indexed.keep(cursor, chain, author, store.clock(), self._file)
        self._head_seq = chain.head.seq

    def _go_on(self, chunk: Chunk, sealer: Sealer, basis: Basis) -> None:
        if self._ahead is not None:
            work = Work(sealer, basis, self._store.clock())
            self._ahead.go_on(self._file, self._reading, chunk, work)

    def _note(self, cursor: Cursor, session_id: int, chunk: Chunk) -> None:
        sha256, is_last = chunk.sha256, chunk.is_last
        first, *more = self._aliases()
        state = DONE if is_last else PARTIAL
        self._kept = self._keep(cursor, self._receipt(session_id, state, first, sha256))
        for alias in more if is_last else ():
            receipts.add(cursor, self._receipt(session_id, DONE, alias, sha256))
        self._name(cursor, session_id)

    # -- its names ------------------------------------------------------------------------

    def _names(self) -> tuple[str, str, list[str]]:
        path, name = path_text(self._file.path), path_text(self._file.name)
        return path, name, [path_text(each) for each in self._file.aliases]

    def _is_named(self) -> bool:
        """Whether the session is called by the file's names already, or was never the file's."""
        names = self._names()
        of_file = self._choice.of_file
        if not of_file:
            return True
        with self._store.snapshot() as cursor:
            store, number = self._store, of_file[0].receipt.session_id
            chain = store.find_chain(cursor, self._choice.key)
            has_all = chain is None or indexed.is_kept(cursor, chain, self._file)
            return has_all and store.registry.aliases.knows(number, *names)

    def _name(self, cursor: Cursor, session_id: int) -> None:
        """Seal by what the session is called, so that whoever uses a name writes to it."""
        path, name, aliases = self._names()
        if not self._store.registry.aliases.knows(session_id, path, name, aliases):
            told = fact("names", session_id=session_id, aliases=aliases, path=path, name=name)
            self._store.record(cursor, told)

    # -- its record -------------------------------------------------------------------

    def _aliases(self) -> tuple[str | None, ...]:
        return self._file.aliases or (None,)

    def _keep(self, cursor: Cursor, receipt: Receipt) -> int:
        """Store a receipt, in the place of this file's unfinished one if there is one."""
        number, self._kept = self._kept, None
        if number is None:
            return receipts.add(cursor, receipt)
        receipts.replace(cursor, number, receipt)
        return number

    def _receipt(self, session_id: int, state: str, alias: str | None, sha256: str) -> Receipt:
        return Receipt(
            migration_id=self._job.run,
            session_id=session_id,
            path=path_text(self._file.path),
            name=path_text(self._file.name),
            alias=alias,
            format=self._file.format,
            file_class=self._file.file_class,
            state=state,
            first_seq=self._first_seq,
            last_seq=self._last_seq,
            bytes=self._counts.bytes,
            lines=self._counts.lines,
            raw_lines=self._counts.raw_lines,
            sha256=sha256,
            mode=self._source.mode,
            migrated_us=self._store.clock(),
        )

    def _result(self, *, is_written: bool = False) -> FileResult:
        job = self._job
        what, twin = self._what(is_written=is_written or job.entries > 0)
        return FileResult(
            path=self._file.path,
            key=self._choice.key,
            what=what,
            new_entries=job.entries,
            new_bytes=job.bytes,
            bytes=self._counts.bytes,
            lines=self._counts.lines,
            raw_lines=self._counts.raw_lines,
            sha256=self._source.facts.sha256,
            duplicate_of=twin,
        )

    def _what(self, *, is_written: bool) -> tuple[What, str | None]:
        if is_written:
            return "migrated" if self._job.bytes == self._counts.bytes else "appended", None
        twin = None if self._choice.of_file else self._twin()
        return "duplicate" if twin else "already", twin

    def _twin(self) -> str | None:
        """Return another file that brought the same bytes, and is still there."""
        paths = (kept.receipt.path for kept in self._choice.of_others)
        return next((path for path in paths if os.path.lexists(path)), None)
