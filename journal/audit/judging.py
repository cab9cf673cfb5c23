"""Judging one row by itself, with the key and without it.

With the key a seal decides. Without it only the public half can be checked: that
each line fits its commitment, and that each row links to the one before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from journal.fields import DIGEST_SIZE, PREV_SIZE, SALT_SIZE, UNFIT
from journal.redacted import placeholder
from journal.seal import body_holds, commitment

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from journal.model import Row
    from journal.seal import Sealer, Status

KINDS: Final = (b"line", b"raw", b"part", b"control")
ORIGINS: Final = (b"api", b"mirror", b"file", b"input", b"parked")


class Judge(Protocol):
    """Says of one row after the other what it is."""

    has_key: bool

    def status(self, row: Row, link: bytes) -> Status:
        """Judge a row; ``link`` is what the newest entry before it would be linked by."""

    def starts(self, row: Row) -> bool:
        """Whether a row links to the beginning of the session."""

    def ahead(self, rows: Iterable[Row], *, lines: bool) -> Iterator[tuple[Row, Status | None]]:
        """Yield rows with what they are, where that can be told without the ones before; else None.

        Without ``lines`` they come without the bodies of lines, and are judged by their seals alone.
        """

    def whole(self, row: Row) -> Row:
        """Return the row, with what stands for its line if that was redacted."""


class Sealed:
    """Judges by the seal: each row alone, whatever stands around it."""

    has_key = True

    def __init__(self, sealer: Sealer) -> None:
        self.sealer = sealer

    def status(self, row: Row, link: bytes) -> Status:  # noqa: ARG002 - a seal needs no neighbour
        """Judge a row by its seal and its commitment."""
        try:
            return self.sealer.status(row)
        except UNFIT:
            return "stray"

    def ahead(self, rows: Iterable[Row], *, lines: bool) -> Iterator[tuple[Row, Status | None]]:
        """Yield rows with what their seals and commitments say, in one loop."""
        rows = iter(rows)
        while True:
            at: list[Row] = []
            try:
                yield from self.sealer.judge(_noted(rows, at), lines=lines)
            except UNFIT:  # it was never sealed; whatever came of the row is told by itself
                yield at[0], self.status(at[0], b"")
            else:
                return

    def starts(self, row: Row) -> bool:
        """Whether a row links to the session's beginning."""
        return self.sealer.starts(row)

    def whole(self, row: Row) -> Row:
        """Return the row, with what stands for its line if that was redacted."""
        return self.sealer.whole(row)


class Linked:
    """Judges by links and commitments alone: without the key no seal can be checked.

    A row that does not link to the newest entry is put aside, unless the row after
    it links to it: then something before it is gone.
    """

    has_key = False

    def __init__(self, redacted: Mapping[int, int] | None = None) -> None:
        self._before: bytes | None = None
        self._redacted = redacted or {}

    def status(self, row: Row, link: bytes) -> Status:
        """Judge a row by its link, and its line by its commitment."""
        fits = self._before is None or row.prev in (link, self._before)
        self._before = row.seal[:PREV_SIZE]
        if not fits or len(row.seal) != DIGEST_SIZE or len(row.commitment) != DIGEST_SIZE:
            return "stray"
        if row.body is None and row.salt is None:
            return "sealed" if row.seq in self._redacted else "erased"
        try:
            return "sealed" if body_holds(row) else "altered"
        except UNFIT:
            return "altered"

    def ahead(
        self,
        rows: Iterable[Row],
        *,
        lines: bool,  # noqa: ARG002 - nothing is told anyway
    ) -> Iterator[tuple[Row, Status | None]]:
        """Yield rows of which nothing can be told by themselves."""
        return ((row, None) for row in rows)

    def starts(self, row: Row) -> bool:  # noqa: ARG002 - the first link is made with the key
        """Believe it."""
        return True

    def whole(self, row: Row) -> Row:
        """Return the row, with what stands for its line if that was redacted."""
        if row.body is None and row.seq in self._redacted:
            return row._replace(body=placeholder(self._redacted[row.seq]))
        return row


def _noted(rows: Iterator[Row], at: list[Row]) -> Iterator[Row]:
    """Yield rows, each noted before it is looked at."""
    for row in rows:
        at[:] = (row,)
        yield row


class Change(NamedTuple):
    """What is known of an entry that was edited: which column, and what it held when it was sealed."""

    column: str | None
    was: object = None

    def words(self) -> str:
        """Say it without the value, so that one cause is one finding."""
        if self.column is None:
            return "a column was changed, which one cannot be told"
        if self.column == "seal":
            return "the seal was overwritten, all else is as it was sealed"
        return f"the column {self.column} was changed"

    def evidence(self, seq: int) -> dict[str, Any]:
        """Return it with the value."""
        if self.column in (None, "seal"):
            return {"seq": seq}
        return {"seq": seq, "column": self.column, "was": _shown(self.was)}


def changed_column(sealer: Sealer, row: Row, before: Row | None, link: bytes) -> Change | None:
    """Return which one column of a sealed row was changed, if that can be proved.

    One column at a time is put back to what it may have held, and the seal computed
    again: where it comes out as the row's own, a key holder sealed just that. Only a
    few values are worth trying, so None proves nothing.
    """
    try:
        for column, value in _possible(row, before, link, sealer.key_id_at(row.seq)):
            if sealer.seal_proves(row._replace(**{column: value})):
                return Change(column, value)
    except UNFIT:
        return None
    return None


def true_seal(sealer: Sealer, row: Row) -> bytes:
    """Return the seal that a row's columns should have; nothing for values no seal could cover."""
    try:
        return sealer.seal(
            row.prev, row.seq, row.epoch, row.writer_id, row.instance_id, row.recorder_id,
            row.trusted, row.created_us, row.cum_bytes, row.commitment, row.claim, row.kind,
            row.origin, row.run_id, row.on_behalf_of, row.request_id, None, sealer.key_id_at(row.seq),
        )  # fmt: skip
    except UNFIT:
        return b""


def _possible(row: Row, before: Row | None, link: bytes, key_id: int) -> Iterator[tuple[str, Any]]:
    """Yield columns with what they may have held: what is likely, and what the entry before has."""
    yield "prev", link
    if row.salt is not None and row.body is not None and len(row.salt) == SALT_SIZE:
        yield "commitment", commitment(row.salt, row.body, row.terminator)
    near: dict[str, Iterable[Any]] = {
        "trusted": (0, 1),
        "kind": KINDS,
        "origin": ORIGINS,
        "key_id": (key_id,),
        "epoch": range(max(row.epoch - 3, 1), min(row.epoch + 4, 1 << 62)),
        "claim": (None,),
        "request_id": (None,),
        "run_id": (None,),
        "on_behalf_of": (None,),
        "writer_id": range(1, 32),
        "instance_id": range(1, 64),
        "recorder_id": range(1, 32),
    }
    if before is not None:
        near["seq"] = (before.seq + 1,)
        near["epoch"] = (before.epoch, before.epoch + 1, *near["epoch"])
        near["cum_bytes"] = _sums(row, before)
        for column in ("claim", "run_id", "on_behalf_of", "created_us", "session_id"):
            near[column] = (*near.get(column, ()), getattr(before, column))
    for column, values in near.items():
        yield from ((column, value) for value in values)


def _sums(row: Row, before: Row) -> tuple[int, ...]:
    return before.cum_bytes, before.cum_bytes + len(row.body or b"") + len(row.terminator)


def _shown(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex() if not value.isascii() or len(value) == DIGEST_SIZE else value.decode()
    return "NULL" if value is None else str(value)
