"""What stands in a mirror's file and not in its session, or the other way round, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal.cli.output import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from journal import Journal
    from journal.mirror import Mirror
    from journal.mirrorfile import MirrorFile
    from journal.reconcile import Plan

HEADERS: Final = ("", "where", "byte", "seq", "content")
ADDED: Final = "+"
GONE: Final = "-"
_EXCERPT: Final = 200


class Change(NamedTuple):
    """One line that the file has and the session has not ("+"), or the other way round ("-").

    ``offset`` and ``line`` say where in the file it stands, or stood.
    """

    what: str
    offset: int
    line: int
    size: int
    seq: int | None
    data: bytes

    def cells(self, path: str) -> tuple[object, ...]:
        """Return it as one line of a listing."""
        seq = "-" if self.seq is None else self.seq
        return self.what, f"{path}:{self.line}", self.offset, seq, self.text

    @property
    def text(self) -> str:
        """The line's beginning as text."""
        text = self.data.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
        return text if self.size <= _EXCERPT else f"{text}… ({self.size} bytes)"

    def as_json(self) -> dict[str, Any]:
        """Return it as it stands in a document."""
        what = "added" if self.what == ADDED else "gone"
        facts = {"offset": self.offset, "line": self.line, "bytes": self.size, "seq": self.seq}
        return {"what": what, **facts, "content": self.text}


def changes(journal: Journal, mirror: Mirror, plan: Plan) -> list[Change]:
    """Return what a plan is about, in the order of the file, what is gone before what came."""
    file = mirror.file()
    came = [] if file is None else list(_added(file, plan))
    found = [*_gone(journal, mirror, plan.lost), *came]
    return sorted(found, key=lambda change: (change.offset, change.what == ADDED))


def _added(file: MirrorFile, plan: Plan) -> Iterator[Change]:
    """Yield the foreign lines; the file is read once, to count the lines before them."""
    at, line = 0, 1
    for item in sorted(plan.foreign, key=lambda item: item.offset):
        line += sum(chunk.count(b"\n") for chunk in file.chunks(at, item.offset))
        at = item.offset
        data = file.read(item.offset, min(item.size, _EXCERPT))
        yield Change(ADDED, item.offset, line, item.size, None, data)


def _gone(journal: Journal, mirror: Mirror, seqs: Iterable[int]) -> Iterator[Change]:
    """Yield own lines that the file had, where the session's layout has them still."""
    from journal.comparison import rows_of  # noqa: PLC0415 - with the rest of the library
    from journal.places import positions  # noqa: PLC0415

    wanted = list(seqs)
    with journal.store.snapshot() as cursor:
        chain = mirror.chain(cursor)
        at = positions(cursor, chain, wanted)
    for row in rows_of(journal.store, chain, [(seq, seq) for seq in wanted if seq in at]):
        data = (row.body or b"") + row.terminator
        offset, line = at[row.seq]
        yield Change(GONE, offset, line, len(data), row.seq, data[:_EXCERPT])


def applied(journal: Journal, key: str) -> list[int]:
    """Take what is foreign into the journal; return the seqs of what came by the file."""
    from journal.session import Session  # noqa: PLC0415 - with the library

    session = Session(journal.store, key, None)
    before, fact = session.head.seq, journal.mirrors.of(key)
    journal.mirrors.reconcile(fact.session_id, is_final=True)
    writer = journal.store.registry.writers[fact.writer_id].name
    return [entry.seq for entry in session.read(after=before) if entry.writer == writer]


def spans(seqs: list[int]) -> str:
    """Return seqs in a few words: ``4-5, 9``."""
    from journal.strays import Ranges  # noqa: PLC0415 - with the library

    known = Ranges((seq, seq) for seq in seqs)
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in known)


def in_words(plan: Plan) -> str:
    """Say what a plan found, in one line."""
    lines = sum(1 for seq in plan.pending if seq)
    parts = [
        f"{counted(len(plan.foreign), 'foreign line')}" if plan.foreign else "",
        f"{counted(len(plan.lost), 'line')} gone" if plan.lost else "",
        "lines in another order" if plan.is_moved else "",
        f"{counted(lines, 'line')} not written yet" if lines else "",
        f"{counted(plan.overwritten, 'line')} overwritten by a redaction that was interrupted"
        if plan.overwritten
        else "",
    ]
    return "; ".join([plan.what, *filter(None, parts)])


def as_json(key: str, path: str, plan: Plan, found: list[Change]) -> dict[str, Any]:
    """Return a plan and its lines as they stand in a document."""
    return {
        "session": key,
        "path": path,
        "what": plan.what,
        "changes": [change.as_json() for change in found],
        "moved": plan.is_moved,
        "pending": sum(1 for seq in plan.pending if seq),
        "overwritten": plan.overwritten,
    }
