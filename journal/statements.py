"""The statements of the hot paths, compiled once from the tables.

They run on one kept cursor of ``engine.raw_connection()``: the same SQL as
through ``Connection.execute``, at twice the rate.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final

from sqlalchemy import (
    LargeBinary,
    Text,
    bindparam,
    cast,
    func,
    insert,
    literal_column,
    null,
    select,
    update,
)
from sqlalchemy.dialects import sqlite

from journal.tables import (
    entries,
    fences,
    instances,
    migrated_files,
    parked,
    sessions,
    verdicts,
)

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Executable, Table

_DIALECT: Final = sqlite.dialect(paramstyle="qmark")
_E: Final = entries.c


def compiled(statement: Executable) -> str:
    """Return the statement's text with ``?`` for each parameter, in order of appearance."""
    text = str(statement.compile(dialect=_DIALECT))  # type: ignore[attr-defined]
    # The dialect adds an OFFSET of its own to each LIMIT, as one more parameter.
    return text.replace(" OFFSET ?", "")


def _read(column: ColumnElement[object]) -> ColumnElement[object]:
    # Text as bytes: a row put there by plain SQL need not be UTF-8, and the
    # driver would refuse to hand it out at all.
    return cast(column, LargeBinary) if isinstance(column.type, Text) else column


_FULL: Final = [_read(column) for column in _E]
_BARE: Final = [*_FULL[:-1], null().label("body")]
# Literals, or SQLite cannot prove that a partial index serves.
_IS_CONTROL: Final = _E.kind == literal_column("'control'")
_IS_FOREIGN: Final = _E.trusted == literal_column("0")


@cache
def insert_row(table: Table) -> str:
    """Insert one row: every column in the table's order but an automatic ``id``."""
    automatic = table in (entries, instances, migrated_files)
    names = [column.name for column in table.c if not (automatic and column.name == "id")]
    return compiled(insert(table).values({name: bindparam(name) for name in names}))


@cache
def newest_rows() -> str:
    """Select rows up to a seq, newest first, without bodies: (session_id, up_to, limit)."""
    where = (_E.session_id == bindparam("session_id"), _E.seq <= bindparam("up_to"))
    return compiled(select(*_BARE).where(*where).order_by(_E.seq.desc()).limit(bindparam("limit")))


@cache
def rows_between() -> str:
    """Select whole rows from one seq to another, both included: (session_id, first, last, limit)."""
    where = (
        _E.session_id == bindparam("session_id"),
        _E.seq >= bindparam("first"),
        _E.seq <= bindparam("last"),
    )
    return compiled(select(*_FULL).where(*where).order_by(_E.seq).limit(bindparam("limit")))


@cache
def sealed_between() -> str:
    """Select what is under the seals of some rows, and their lines: (session_id, first, last, limit).

    The numbers, the texts, prev, seal, commitment, salt, terminator and body, each sort in
    the order of the seal.
    """
    numbers = (
        _E.session_id, _E.seq, _E.epoch, _E.writer_id, _E.instance_id, _E.recorder_id, _E.trusted,
        _E.created_us, _E.cum_bytes, _E.key_id,
    )  # fmt: skip
    texts = (_E.claim, _E.kind, _E.origin, _E.run_id, _E.on_behalf_of, _E.request_id)
    others = (_E.prev, _E.seal, _E.commitment, _E.salt, _E.terminator, _E.body)
    where = (
        _E.session_id == bindparam("session_id"),
        _E.seq >= bindparam("first"),
        _E.seq <= bindparam("last"),
    )
    columns = [_read(column) for column in (*numbers, *texts, *others)]
    return compiled(select(*columns).where(*where).order_by(_E.seq).limit(bindparam("limit")))


# Of rows that are alike in who wrote them and how, what else is under their seals, and their
# lines: (session_id, first, last, and the columns of journal.sealing.Alike). Ten columns where
# all are 22, and to fetch a column takes longer than to compare it here. SQLite's own IS.
ALIKE_BETWEEN: Final = """
SELECT seq, epoch, created_us, cum_bytes, prev, seal, commitment, salt, terminator, body
FROM entries
WHERE session_id = ? AND seq BETWEEN ? AND ?
    AND writer_id = ? AND instance_id = ? AND recorder_id = ? AND trusted = ? AND key_id = ?
    AND claim IS ? AND CAST(kind AS BLOB) = ? AND CAST(origin AS BLOB) = ?
    AND CAST(run_id AS BLOB) IS ? AND CAST(on_behalf_of AS BLOB) IS ? AND request_id IS NULL
ORDER BY seq
"""
# Of what stands in a session's file its bytes and nothing else: (session_id, first, last).
BARE_BETWEEN: Final = (
    "SELECT body, terminator FROM entries "
    "WHERE session_id = ? AND seq BETWEEN ? AND ? AND kind <> 'control' ORDER BY seq"
)
BARE_WITH_SEQ: Final = BARE_BETWEEN.replace("terminator", "terminator, seq", 1)
# The seq of one of those, by its place: (session_id, first, last, place).
BARE_SEQ: Final = (
    "SELECT seq FROM entries "
    "WHERE session_id = ? AND seq BETWEEN ? AND ? AND kind <> 'control' ORDER BY seq LIMIT 1 OFFSET ?"
)


@cache
def rows_before() -> str:
    """Select whole rows up to a seq, newest first: (session_id, up_to, limit)."""
    where = (_E.session_id == bindparam("session_id"), _E.seq <= bindparam("up_to"))
    return compiled(select(*_FULL).where(*where).order_by(_E.seq.desc()).limit(bindparam("limit")))


@cache
def line_seqs() -> str:
    """Select the seqs of rows that say they are lines, up to a seq: (session_id, up_to)."""
    where = (_E.session_id == bindparam("session_id"), _E.seq <= bindparam("up_to"))
    is_line = _E.kind != literal_column("'control'")
    return compiled(select(_E.seq).where(*where, is_line).order_by(_E.seq))


@cache
def first_line() -> str:
    """Select the first seq of a row that says it is a line, or nothing: (session_id, first, last)."""
    where = (_E.session_id == bindparam("session_id"), _E.seq >= bindparam("first"))
    is_line = (_E.seq <= bindparam("last"), _E.kind != literal_column("'control'"))
    found = select(_E.seq).where(*where, *is_line).order_by(_E.seq)
    return compiled(found.limit(literal_column("1")))


# One column where the answer is mostly "nothing": both drivers describe every column of
# a SELECT each time it runs, and 26 of them cost more than finding the row.
@cache
def any_from() -> str:
    """Select the first seq from one on, or nothing: (session_id, first)."""
    where = (_E.session_id == bindparam("session_id"), _E.seq >= bindparam("first"))
    return compiled(select(_E.seq).where(*where).order_by(_E.seq).limit(literal_column("1")))


@cache
def any_up_to() -> str:
    """Select the last seq up to one, or nothing: (session_id, up_to)."""
    where = (_E.session_id == bindparam("session_id"), _E.seq <= bindparam("up_to"))
    return compiled(select(_E.seq).where(*where).order_by(_E.seq.desc()).limit(literal_column("1")))


@cache
def registry_bodies() -> str:
    """Select the whole control rows whose bodies begin so, in order: (session_id, beginning)."""
    begin = bindparam("begin", type_=LargeBinary)
    where = (
        _E.session_id == bindparam("session_id"),
        _IS_CONTROL,
        func.substr(_E.body, literal_column("1"), literal_column("16")) == begin,
    )
    return compiled(select(*_FULL).where(*where).order_by(_E.seq))


@cache
def standing() -> str:
    """Select what tells whether a chain still ends where it did, nothing if its projection is gone.

    (session_id, head seq; session_id, head seq; session_id; session_id) gives the
    seal at the head, the first seq above it, the last below 1, and the projection's
    key, head_seq, head_epoch and cum_bytes; behind them how far it was examined, and the proof.
    """
    s = sessions.c
    at_head = select(_E.seal).where(_E.session_id == bindparam("a"), _E.seq == bindparam("b"))
    above = select(_E.seq).where(_E.session_id == bindparam("c"), _E.seq > bindparam("d"))
    below = select(_E.seq).where(_E.session_id == bindparam("e"), _E.seq < literal_column("1"))
    one: ColumnElement[int] = literal_column("1")
    columns = (
        at_head.scalar_subquery(),
        above.order_by(_E.seq).limit(one).scalar_subquery(),
        below.order_by(_E.seq.desc()).limit(one).scalar_subquery(),
        _read(s.key), s.head_seq, s.head_epoch, s.cum_bytes, s.examined_seq, s.examined_mac,
    )  # fmt: skip
    return compiled(select(*columns).where(s.id == bindparam("f")))


@cache
def seal_at() -> str:
    """Select one row's seal: (session_id, seq)."""
    where = (_E.session_id == bindparam("session_id"), _E.seq == bindparam("seq"))
    return compiled(select(_E.seal).where(*where))


@cache
def row_at() -> str:
    """Select one whole row: (session_id, seq)."""
    where = (_E.session_id == bindparam("session_id"), _E.seq == bindparam("seq"))
    return compiled(select(*_FULL).where(*where))


@cache
def rows_of_request() -> str:
    """Select whole rows that claim a request: (session_id, request_id)."""
    where = (_E.session_id == bindparam("session_id"), _E.request_id == bindparam("request_id"))
    # The plus keeps SQLite from taking the index that has the order, and so reading the session.
    return compiled(select(*_FULL).where(*where).order_by(literal_column("+entries.seq")))


@cache
def controls_after() -> str:
    """Select control rows after a seq, in order: (session_id, after)."""
    where = (_E.session_id == bindparam("session_id"), _E.seq > bindparam("after"))
    return compiled(select(*_FULL).where(*where, _IS_CONTROL).order_by(_E.seq))


@cache
def controls_before() -> str:
    """Select control rows up to a seq, newest first: (session_id, up_to, limit)."""
    where = (_E.session_id == bindparam("session_id"), _E.seq <= bindparam("up_to"))
    statement = select(*_FULL).where(*where, _IS_CONTROL).order_by(_E.seq.desc())
    return compiled(statement.limit(bindparam("limit")))


@cache
def foreign_seqs() -> str:
    """Select the seqs of rows that say they are foreign: (session_id, limit). A listing aid."""
    where = (_E.session_id == bindparam("session_id"), _IS_FOREIGN)
    return compiled(select(_E.seq).where(*where).order_by(_E.seq).limit(bindparam("limit")))


@cache
def projection_of() -> str:
    """Select the projection of a session: (id)."""
    s = sessions.c
    columns = (
        _read(s.key),
        s.head_seq,
        s.head_epoch,
        s.cum_bytes,
        s.examined_seq,
        s.examined_mac,
        s.layout_no,
    )
    return compiled(select(*columns).where(s.id == bindparam("session_id")))


@cache
def advance() -> str:
    """Move a head by compare-and-set.

    (head_seq, head_epoch, cum_bytes, examined_seq, examined_mac, id, head_seq as found)
    """
    s = sessions.c
    names = ("head_seq", "head_epoch", "cum_bytes", "examined_seq", "examined_mac")
    statement = update(sessions).where(s.id == bindparam("b_id"), s.head_seq == bindparam("found"))
    return compiled(statement.values({name: bindparam(name) for name in names}))


@cache
def examine() -> str:
    """Move ``examined`` alone: (examined_seq, examined_mac, id)."""
    statement = update(sessions).where(sessions.c.id == bindparam("b_id"))
    return compiled(statement.values(examined_seq=bindparam("seq"), examined_mac=bindparam("mac")))


@cache
def all_of(table: Table) -> str:
    """Select every column of a table, text as bytes; a WHERE is for the caller to add."""
    return compiled(select(*map(_read, table.c)))


INSERT_ENTRY: Final = insert_row(entries)
ADVANCE: Final = advance()
INSERT_FENCE: Final = insert_row(fences)
INSERT_VERDICT: Final = insert_row(verdicts)
INSERT_PARKED: Final = insert_row(parked)
# How many writes of a session wait for somebody to settle them; and of how many bytes.
PARKED_COUNT: Final = "SELECT count(*) FROM parked WHERE session_id = ? AND settled IS NULL"
PARKED_SIZE: Final = (
    "SELECT count(*), COALESCE(sum(length(content)), 0) FROM parked "
    "WHERE session_id = ? AND settled IS NULL"
)
INSERT_INSTANCE: Final = insert_row(instances)
INSERT_PROJECTION: Final = insert_row(sessions)
