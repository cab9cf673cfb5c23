"""What a session's row says, held against what its entries say."""

from __future__ import annotations

from typing import Any

import pytest

from journal.audit.declarations import Declarations, Registered
from journal.audit.evidence import described
from journal.audit.findings import Findings
from journal.audit.judging import Sealed
from journal.audit.projections import SessionRow, examined, session_faults
from journal.audit.sessions import _telling
from journal.audit.walk import UNKNOWN, Walk
from journal.seal import Sealer
from tests.audit.rows import chain, row
from tests.audit.test_walk import Walked

SEALER = Sealer(b"k" * 32, 1, 2, "s")
REGISTERED = Registered("s", 70)
LAST = chain(SEALER, 4)[-1]


def walk(*changed: int, is_empty: bool = False) -> Walk:
    found = Walk("s", Sealed(SEALER), Declarations(), Findings("x"), on_entry=lambda *_: None)
    found.changed = dict.fromkeys(changed, UNKNOWN)
    if not is_empty:
        found.resume(LAST)
    return found


def session_row(**columns: Any) -> SessionRow:
    true: dict[str, Any] = {
        "id": 2, "key": b"s", "head_seq": 4, "head_epoch": 4, "cum_bytes": LAST.cum_bytes,
        "examined_seq": 3, "examined_mac": SEALER.examined_mac(3), "layout_no": 1, "created_us": 70,
    }  # fmt: skip
    return SessionRow(**(true | columns))


def causes(found: SessionRow | None, over: Walk | None = None, **known: Any) -> list[str]:
    told: dict[str, Any] = {"proven": 0, "layout_no": 1, "was_restored": False} | known
    return [cause for cause, _ in session_faults(found, REGISTERED, over or walk(), **told)]


MORE = "it says more than there is: it was moved, or the newest entries are gone"
OTHER = "its head is not the newest entry"
TIME = "its time is another"


def test_a_row_that_says_what_its_entries_say():
    assert causes(session_row()) == []
    assert causes(None) == ["it is not there"]
    assert causes(session_row(key=b"t")) == ["its key is another"]
    empty = session_row(head_seq=0, head_epoch=0, cum_bytes=0)
    assert causes(empty, walk(is_empty=True)) == []
    assert causes(empty) == [OTHER]


@pytest.mark.parametrize(
    "columns, cause",
    [
        ({"head_seq": 5}, MORE), ({"head_seq": 3}, OTHER), ({"head_epoch": 5}, OTHER), ({"head_epoch": 3}, OTHER),
        ({"cum_bytes": 1}, OTHER),
    ],
)  # fmt: skip
def test_a_head_that_is_not_the_newest_entry(columns, cause):
    assert causes(session_row(**columns)) == [cause]


def test_a_head_that_a_proof_or_an_edited_entry_speaks_for():
    """The newest entries are gone or changed, and that is told elsewhere."""
    assert causes(session_row(head_seq=6), proven=6) == []
    assert causes(session_row(head_seq=6), walk(6)) == []
    assert causes(session_row(head_seq=6), walk(7), proven=5) == [MORE]
    assert causes(session_row(head_epoch=9), walk(4), proven=4) == [OTHER]


def test_layouts_and_times():
    assert causes(session_row(layout_no=2)) == [
        "its layout is not the newest that a sealed entry made"
    ]
    assert causes(session_row(layout_no=2), layout_no=None) == []
    assert causes(session_row(created_us=71)) == [TIME]
    assert causes(session_row(created_us=0)) == [TIME]
    assert causes(session_row(created_us=0), was_restored=True) == []
    assert causes(session_row(created_us=71), was_restored=True) == [TIME]
    unknown = Registered("s", None)
    found = session_faults(
        session_row(created_us=9), unknown, walk(), proven=0, layout_no=1, was_restored=False
    )
    assert list(found) == []


def test_how_far_was_examined():
    assert examined(None, SEALER) == (None, None)
    assert examined(session_row(), SEALER) == (3, None)
    assert examined(session_row(examined_seq=2), SEALER) == (None, "its proof does not hold")
    new = session_row(head_seq=0, examined_seq=0, examined_mac=b"")
    assert examined(new, SEALER) == (None, None)
    for columns in ({"head_seq": 1}, {"examined_seq": 1}, {"examined_mac": b"x"}):
        assert examined(new._replace(**columns), SEALER) == (None, "its proof does not hold")


def test_a_row_as_evidence():
    walked = Walked(SEALER)
    told = described(row(kind=b"\xff", body=b"four"), walked.known)
    assert told == {
        "seq": 5, "row": 20, "epoch": 4, "writer": "w", "instance": 3, "kind": r"\xff", "origin": "api",
        "created_us": 100, "bytes": 5,
    }  # fmt: skip
    assert described(row(body=None, writer_id=9), walked.known)["bytes"] == 1


def test_progress_is_told_now_and_then_by_the_bytes_since():
    told: list[int] = []
    rows = [row(seq=seq, cum_bytes=10 * seq) for seq in range(1, 1200)]
    assert list(_telling(iter(rows), told.append)) == rows
    assert told == [10, 5120, 5120]
    told.clear()
    list(_telling(iter([row(cum_bytes=0), *rows[:600]]), told.append))
    assert told == [5120]
