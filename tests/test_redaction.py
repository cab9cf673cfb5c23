"""Redaction: no byte of the line is left anywhere the journal reaches, and everything still verifies."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from journal import (
    EntryError,
    Journal,
    MirrorError,
    NotFoundError,
    RefusedError,
    SessionTakeover,
    StorageError,
    Superseded,
    erasing,
    redaction,
)
from journal.audit import audit
from journal.batch import Batch
from journal.engine import connect
from journal.errors import FullError
from journal.export import export
from journal.mirrorfile import MirrorFile
from journal.redacted import placeholder
from tests.thieves import KEY, Thief

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from journal import Session
    from journal.erasing import Receipt

SAID = "the-word-that-must-go"
LINE = {"type": "message", "id": "0a1b2c3d", "message": {"role": "user", "content": SAID}}
WHY = "a password was pasted"


@pytest.fixture
def operator(journal: Journal) -> Session:
    return journal.session(KEY, writer="alice", role="operator")


def files_with(directory: Path, text: str = SAID) -> list[str]:
    """Search every file of a journal that nobody has open."""
    return [
        path.name
        for path in sorted(directory.iterdir())
        if path.is_file() and text.encode() in path.read_bytes()
    ]


def states(receipts: list[Receipt], copy: str) -> list[str]:
    return [receipt.state for receipt in receipts if receipt.copy == copy]


@pytest.mark.parametrize("is_rewritten", [False, True])
def test_what_is_said_while_a_session_is_forgotten_is_forgotten_too(
    gateway: Session,
    operator: Session,
    journal_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_rewritten: bool,
) -> None:
    """Whatever the moment: it would be left out of the file, and its bytes left where they are."""
    gateway.append({"n": 1})
    looked_for, late = redaction._next_lines, [LINE]

    def meanwhile(session: Session) -> tuple[list[int], int]:
        seqs, head = looked_for(session)
        if not seqs and late and is_rewritten:
            gateway.rewrite([late.pop()], base=gateway.head.seq, reason="compacted")
        elif not seqs and late:
            gateway.append(late.pop())
        return seqs, head

    monkeypatch.setattr(redaction, "_next_lines", meanwhile)

    receipts = operator.forget(reason="asked to be forgotten")

    assert redaction.to_forget(operator) == 0
    assert len(states(receipts, "entry")) == 2
    assert gateway.read() == []
    assert audit(journal_path).findings == ()


@pytest.mark.parametrize("seqs", [[1], [1, 2]])
def test_two_who_redact_one_line_at_once_record_it_once(
    gateway: Session,
    operator: Session,
    journal_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seqs: list[int],
) -> None:
    """As two who delete one session: the second finds it done between his look and his write."""
    gateway.extend([LINE, {"n": 2}])
    erase, first = redaction.erase, [1]  # type: ignore[attr-defined]

    def meanwhile(*about: Any) -> list[Receipt]:
        if first:
            gateway.redact([first.pop()], reason="the other one's")
        return erase(*about)

    monkeypatch.setattr(redaction, "erase", meanwhile)

    receipts = operator.redact(seqs, reason=WHY)

    assert states(receipts, "entry") == ["done"] * len(seqs)
    assert audit(journal_path).findings == ()
    assert all(entry.redacted for entry in gateway.read()[: len(seqs)])


@pytest.mark.parametrize("is_forgotten", [False, True])
@pytest.mark.parametrize("has_mirror", [False, True])
def test_a_line_that_was_put_back_is_erased_again_and_recorded_once(
    journal: Journal,
    gateway: Session,
    operator: Session,
    thief: Thief,
    tmp_path: Path,
    *,
    is_forgotten: bool,
    has_mirror: bool,
) -> None:
    gateway.extend([{"n": 1}, {"n": 2}, {"n": 3}])
    if has_mirror:
        journal.mirrors.add(KEY, tmp_path / "m.jsonl")
    body, salt = thief.column("body", 2), thief.column("salt", 2)
    operator.redact([2], reason=WHY)
    gateway.fence()  # the file is compared as it is now
    thief.edit("body", 2, body)
    thief.edit("salt", 2, salt)
    assert "J310" in {found.id for found in audit(journal.path).findings}

    if is_forgotten:
        operator.forget(reason="asked to be forgotten")
    else:
        operator.redact([2], reason="again")

    assert audit(journal.path).findings == ()
    assert thief.column("body", 2) is None


def test_no_byte_is_left_and_everything_verifies(
    gateway: Session, operator: Session, journal: Journal, journal_path: Path
) -> None:
    gateway.append({"n": 1})
    seq = gateway.append(LINE).seq
    gateway.append({"n": 3})
    receipts = operator.redact([seq], reason=WHY)
    assert states(receipts, "entry") == states(receipts, "write-ahead log") == ["done"]
    assert states(receipts, "elsewhere") == ["out of reach"]
    journal.close()
    assert files_with(journal_path.parent) == []
    assert audit(journal_path).findings == ()


def test_readers_get_what_stands_for_it(
    gateway: Session, operator: Session, open_journal: Callable[..., Journal]
) -> None:
    entry = gateway.append(LINE)
    operator.redact([entry.seq], reason=WHY)
    for session in (gateway, open_journal().session(KEY)):
        (found,) = session.read()
        assert found.redacted
        assert found.trust == "asserted"
        assert found.json() == {"redacted": True}
        assert len(found.body or b"") == len(entry.body or b"")
    content = export(open_journal(), KEY)
    assert b"".join(content) == placeholder(len(entry.body or b"")) + b"\n"
    assert content.is_complete


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_who_reads_while_it_is_done_gets_what_stands_for_it(
    gateway: Session, open_journal: Callable[..., Journal], caplog: Any, where: str
) -> None:
    """Whoever does it: no reader is told of a row that cannot be verified, and none goes without the line."""
    gateway.extend([LINE] * 2500)
    journal = open_journal()
    reading, content, tail = iter(gateway), export(journal, KEY), gateway.tail(after=0)
    begun = [next(reading).seq]
    size = len(next(content))
    rest = iter(tail.new, [])
    next(rest)
    own = open_journal() if where == "elsewhere" else journal
    own.session(KEY, writer="alice", role="operator").redact([2400, 2401], reason=WHY)
    found = {entry.seq: entry for entry in reading}
    assert [*begun, *found] == [*range(1, 2501)]
    assert found[2400].redacted
    assert found[2400].trust == "asserted"
    assert [entry.seq for page in rest for entry in page if entry.redacted] == [2400, 2401]
    assert size + sum(map(len, content)) == 2500 * (len(found[2].data))
    assert content.is_complete
    assert not caplog.records


def test_a_fence_before_it_sees_a_co_tenant_and_no_takeover(
    gateway: Session, operator: Session, open_journal: Callable[..., Journal]
) -> None:
    seq = gateway.append(LINE).seq
    other = open_journal().session(KEY, writer="other", role="run")
    with gateway.fence() as fence, other.fence() as elsewhere:
        operator.redact([seq], reason=WHY)
        assert fence.check().accepted
        assert elsewhere.check().accepted
        assert fence.append({"n": 2}).seq > seq
    with open_journal().session(KEY, writer="third", role="run").fence() as late:
        assert late.check().accepted


def test_the_file_is_overwritten_in_place_and_lives_on(
    journal: Journal, gateway: Session, operator: Session, tmp_path: Path, journal_path: Path
) -> None:
    path = tmp_path / "mirror.jsonl"
    gateway.append({"n": 1})
    journal.mirrors.add(KEY, path)
    seq = gateway.append(LINE).seq
    gateway.append({"n": 3})
    before, status = path.read_bytes(), path.stat()
    receipts = operator.redact([seq], reason=WHY)
    assert states(receipts, "mirror") == ["done"]
    size = len(json.dumps(LINE, separators=(",", ":")))
    assert path.read_bytes() == before.replace(
        json.dumps(LINE, separators=(",", ":")).encode(), placeholder(size)
    )
    assert (path.stat().st_ino, path.stat().st_size) == (status.st_ino, status.st_size)
    with gateway.fence() as fence:
        assert fence.check().accepted
    gateway.append({"n": 4})
    assert path.read_bytes().endswith(b'{"n":3}\n{"n":4}\n')
    journal.close()
    assert audit(journal_path).findings == ()
    assert files_with(tmp_path) == []


def test_what_was_parked_taken_and_judged_goes_too(
    journal: Journal, gateway: Session, operator: Session, journal_path: Path
) -> None:
    gateway.append({"n": 0})
    turn = gateway.claim()
    operator.submit(LINE)
    (taken,) = turn.take_inputs()
    with gateway.claim(supersede="over") as second, pytest.raises(Superseded):
        turn.append(LINE)
    second.release()
    receipts = operator.redact([taken.seq], reason=WHY)
    assert states(receipts, "parked write") == states(receipts, "taken input") == ["done"]
    journal.close()
    assert files_with(journal_path.parent) == []
    assert audit(journal_path).findings == ()


def test_what_is_refused_again_after_it_was_erased_is_kept_again(
    journal: Journal, gateway: Session, operator: Session
) -> None:
    """As another parked write: of the first one there is nothing left to apply."""
    line = gateway.append(LINE)
    turn = gateway.claim()
    with pytest.raises(RefusedError) as first:
        gateway.append(LINE)
    operator.redact([line.seq], reason=WHY)
    with pytest.raises(RefusedError) as second:
        gateway.append(LINE)
    turn.release()
    assert journal.parked(str(first.value.parked)).lines == ()
    assert journal.parked(str(second.value.parked)).lines == (line.data,)


def test_a_foreign_line_goes_with_the_evidence_of_its_verdict(
    journal: Journal, gateway: Session, operator: Session, tmp_path: Path, journal_path: Path
) -> None:
    path = tmp_path / "mirror.jsonl"
    gateway.append({"n": 0})
    journal.mirrors.add(KEY, path)
    fence = gateway.fence()
    with path.open("ab") as file:
        file.write(json.dumps(LINE).encode() + b"\n")
    with pytest.raises(SessionTakeover) as caught:
        fence.check()
    (foreign,) = caught.value.entries
    receipts = operator.redact([foreign.seq], reason=WHY)
    assert states(receipts, "evidence") == ["done"]
    journal.close()
    assert files_with(tmp_path) == []
    assert {found.id for found in audit(journal_path).findings} <= {"J110"}


def test_equal_lines_that_were_not_named_are_said(gateway: Session, operator: Session) -> None:
    first, second = gateway.extend([LINE, LINE])
    receipts = operator.redact([first.seq], reason=WHY)
    (kept,) = [receipt for receipt in receipts if receipt.copy == "equal line"]
    assert str(second.seq) in kept.detail


def test_equal_lines_are_looked_for_once_for_all(
    gateway: Session, operator: Session, journal: Journal
) -> None:
    """No index has their bytes: a thousand lines were as many walks over the whole session."""
    gateway.extend([{"n": n % 40} for n in range(80)])
    asked: list[str] = []
    journal.store._connection.set_trace_callback(asked.append)
    receipts = operator.redact(range(1, 41), reason=WHY)
    journal.store._connection.set_trace_callback(None)
    assert sum("FROM entries" in each and "body IN" in each for each in asked) == 1
    assert not any("body = " in each for each in asked if each.startswith("SELECT"))
    assert states(receipts, "equal line") == ["kept"] * 40
    again = operator.redact([41, *range(43, 81)], reason=WHY)
    assert [each.detail for each in again if each.copy == "equal line"] == []


def test_of_a_line_that_is_there_often_the_first_are_named(
    gateway: Session, operator: Session
) -> None:
    gateway.extend([{"n": 1}, *[{"n": 2}] * 30, {"n": 1}])
    receipts = operator.redact([1, 2], reason=WHY)
    named = [each.detail.partition(":")[0] for each in receipts if each.copy == "equal line"]
    assert len(named) == 21


def test_a_forgotten_session_keeps_no_equal_line(gateway: Session, operator: Session) -> None:
    """However many there are: those that were still there when the first went are gone at the end."""
    gateway.extend([LINE] * 1001)
    receipts = operator.forget(reason="over")
    assert states(receipts, "entry") == ["done"] * 1001
    assert states(receipts, "equal line") == []


def test_a_session_is_forgotten_some_bytes_at_a_time(
    gateway: Session,
    operator: Session,
    thief: Thief,
    journal_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lines may have 8 MiB each: a thousand of them are not held in memory at once."""
    monkeypatch.setattr(redaction, "_BYTES_AT_ONCE", 100)
    gateway.extend([{"n": "x" * 80}] * 7)
    thief.edit("body", 1, b"y" * 300)  # of a size of its own, and not to be erased
    facts = "SELECT count(*) FROM redactions WHERE control_seq = ?"

    receipts = operator.forget(reason="over")

    assert states(receipts, "entry") == ["done"] * 6
    assert [each.copy for each in receipts if each.state == "kept"] == ["row"]
    seqs = [seq for (seq,) in thief.execute("SELECT DISTINCT control_seq FROM redactions")]
    assert [thief.ask(facts, seq) for seq in seqs] == [2, 2, 2]


def test_a_reader_that_holds_the_log_is_said_and_later_it_is_done(
    gateway: Session, operator: Session, journal_path: Path, journal: Journal
) -> None:
    seq = gateway.append(LINE).seq
    reader = connect(str(journal_path), mode="ro")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM entries").fetchone()
    assert states(operator.redact([seq], reason=WHY), "write-ahead log") == ["pending"]
    reader.close()
    again = operator.redact([seq], reason=WHY)
    assert states(again, "write-ahead log") == ["done"]
    assert states(again, "entry") == []
    journal.close()
    assert files_with(journal_path.parent) == []


def test_among_thousands_no_byte_is_left_either(
    gateway: Session, operator: Session, journal: Journal, journal_path: Path
) -> None:
    """Pages were split and moved meanwhile; long lines had pages of their own."""
    sizes = [0, 10, 500, 3000, 20_000]
    lines: list[dict[str, Any]] = [
        {"n": number, "text": (SAID if number % 7 == 0 else "other") + "x" * sizes[number % 5]}
        for number in range(1500)
    ]
    written = [gateway.append(line) for line in lines]
    seqs = [entry.seq for entry, line in zip(written, lines, strict=True) if SAID in line["text"]]
    operator.redact(seqs, reason=WHY)
    journal.close()
    assert files_with(journal_path.parent) == []
    assert audit(journal_path).findings == ()


@pytest.mark.parametrize(
    "seqs", [[99], [1, 99], [], [0], [-1], [2**63], [1, 2**63], [-(2**63) - 1]]
)
def test_what_is_not_there_is_refused_and_nothing_is_erased(
    gateway: Session, operator: Session, seqs: list[int]
) -> None:
    gateway.append(LINE)
    with pytest.raises((NotFoundError, EntryError)):
        operator.redact(seqs, reason=WHY)
    assert gateway.read()[0].json() == LINE


def test_a_fact_or_a_line_end_is_no_line(gateway: Session, operator: Session) -> None:
    with gateway.claim():
        pass
    with pytest.raises((NotFoundError, EntryError)):
        operator.redact([1], reason=WHY)


def test_a_reason_is_needed(gateway: Session, operator: Session) -> None:
    seq = gateway.append(LINE).seq
    for reason in ("", " "):
        with pytest.raises(EntryError):
            operator.redact([seq], reason=reason)


def test_a_run_beside_a_turn_may_not(gateway: Session, journal: Journal) -> None:
    seq = gateway.append(LINE).seq
    with gateway.claim(), pytest.raises(RefusedError):
        journal.session(KEY, writer="other", role="run").redact([seq], reason=WHY)
    assert gateway.read()[0].json() == LINE


def test_a_line_that_was_put_back_is_found(
    gateway: Session, operator: Session, thief: Thief, journal_path: Path
) -> None:
    seq = gateway.append(LINE).seq
    row = thief.execute(
        "SELECT body, salt FROM entries WHERE session_id = 2 AND seq = ?", seq
    ).fetchone()
    operator.redact([seq], reason=WHY)
    with thief.without_triggers():
        thief.execute(
            "UPDATE entries SET body = ?, salt = ? WHERE session_id = 2 AND seq = ?", *row, seq
        )
    assert "J310" in {found.id for found in audit(journal_path).findings}


def test_the_record_says_who_and_why(gateway: Session, operator: Session, thief: Thief) -> None:
    seq = gateway.append(LINE).seq
    operator.redact([seq], reason=WHY)
    reason, control = thief.execute("SELECT reason, control_seq FROM redactions").fetchone()
    assert reason == WHY
    facts = json.loads(thief.column("body", control))
    assert facts == {
        "control": "redaction",
        "rows": {str(seq): facts["rows"][str(seq)]},
        "reason": WHY,
    }


def test_a_repeated_request_answers_still(gateway: Session, operator: Session) -> None:
    entry = gateway.append(LINE, request_id="once")
    operator.redact([entry.seq], reason=WHY)
    assert gateway.append(LINE, request_id="once").seq == entry.seq


def test_a_request_of_a_redacted_line_is_answered_by_what_stands_for_it(
    gateway: Session, operator: Session
) -> None:
    """Nobody can tell any more whether it is the same line: nothing is acknowledged that stands nowhere."""
    entry = gateway.append(LINE, request_id="once")
    operator.redact([entry.seq], reason="r")
    again = gateway.append({"another": "line"}, request_id="once")
    (read,) = gateway.read()
    assert (again.seq, again.body, again.redacted) == (entry.seq, read.body, True)


@pytest.mark.parametrize("way", ["append", "fence", "batch", "submit"])
def test_a_forgotten_request_is_written_again(
    gateway: Session, operator: Session, way: str
) -> None:
    """What was forgotten stands nowhere: to find it done would lose the line."""
    gateway.append(LINE, request_id="once")
    operator.forget(reason="r")
    if way == "append":
        gateway.append({"new": 1}, request_id="once")
    elif way == "fence":
        gateway.fence().append({"new": 1}, request_id="once")
    elif way == "batch":
        with Batch(gateway.store) as batch:
            batch.append(gateway, {"new": 1}, request_id="once")
    else:
        assert gateway.submit({"new": 1}, request_id="once").state == "pending"
        with gateway.claim() as turn:
            turn.take_inputs()
    assert [line.body for line in gateway.read()] == [b'{"new":1}']
    assert not audit(str(gateway.store.path)).findings


def test_a_forgotten_request_that_was_written_again_is_found_done(
    gateway: Session, operator: Session
) -> None:
    gateway.append({"n": 1}, request_id="once")
    operator.forget(reason="r")
    again = [gateway.append({"n": 1}, request_id="once") for _ in range(3)]
    with Batch(gateway.store) as batch:
        receipt = batch.append(gateway, {"n": 1}, request_id="once")
    assert {entry.seq for entry in [*again, *receipt.entries]} == {again[0].seq}
    with pytest.raises(EntryError, match="already written with other lines"):
        gateway.append({"n": 2}, request_id="once")


def test_what_is_said_again_after_a_session_was_forgotten_is_taken_once(
    gateway: Session, operator: Session
) -> None:
    def said_and_taken() -> None:
        gateway.submit({"n": 1}, request_id="once")
        with gateway.claim() as turn:
            turn.take_inputs()

    said_and_taken()
    operator.forget(reason="r")
    for _ in range(3):
        said_and_taken()
    assert [line.body for line in gateway.read()] == [b'{"n":1}']


def test_a_forgotten_session_is_empty_and_on_record(
    journal: Journal, gateway: Session, operator: Session, tmp_path: Path, journal_path: Path
) -> None:
    path = tmp_path / "mirror.jsonl"
    gateway.append({"n": 0})
    journal.mirrors.add(KEY, path)
    gateway.extend([LINE, LINE, {"n": 3}])
    journal.session("other", writer="gateway", role="run").append({"text": "stays"})
    receipts = operator.forget(reason="asked to be forgotten")
    assert states(receipts, "elsewhere") == ["out of reach"]
    assert gateway.read() == []
    assert path.read_bytes() == b""
    gateway.append({"n": 5})
    assert path.read_bytes() == b'{"n":5}\n'
    assert journal.session("other").read()[0].json() == {"text": "stays"}
    journal.close()
    assert files_with(tmp_path) == []
    assert audit(journal_path).findings == ()


def test_rows_that_nobody_sealed_keep_no_line_from_being_forgotten(
    gateway: Session, operator: Session, thief: Thief, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redaction, "_AT_ONCE", 3)
    gateway.extend([LINE] * 10)
    for seq in range(1, 5):
        thief.edit("body", seq, b"{}")
    receipts = operator.forget(reason="r")
    assert states(receipts, "entry") == ["done"] * 6
    assert states(receipts, "row") == ["kept"] * 3  # of four: that many are looked at here


def test_what_nobody_sealed_is_not_erased_and_that_is_said(
    gateway: Session, operator: Session, thief: Thief
) -> None:
    """A line that was changed still tells most of what was said; nobody may believe it gone."""
    gateway.extend([LINE] * 4)
    thief.edit("body", 2, json.dumps({**LINE, "more": 1}).encode())
    stray = thief.insert_copy(body=b'{"stray":1}')
    thief.insert_many(range(100, 130))
    receipts = [each for each in operator.forget(reason="r") if each.copy == "row"]
    assert [each.detail for each in receipts[:2]] == [
        f"{KEY}, seq 2: not as it was sealed",
        f"{KEY}, seq {stray}: not as it was sealed",
    ]
    assert {each.state for each in receipts} == {"kept"}
    assert len(receipts) == 21
    assert receipts[-1].detail == f"{KEY}: and 12 more"


def test_what_waits_beside_a_forgotten_session_is_named(
    journal: Journal, gateway: Session, operator: Session
) -> None:
    """Who has a session forgotten must not believe that it is gone everywhere."""
    gateway.append({"n": 0})
    gateway.cut(1, base=1, reason="gone from the file, and not from the journal")
    turn = gateway.claim()
    gateway.claim(supersede="a new message").release()
    with pytest.raises(Superseded) as caught:
        turn.append({"refused": 1})
    journal.session(KEY, writer="channel", role="channel").submit({"said": 1})

    assert redaction.to_forget(operator) == 1
    receipts = operator.forget(reason="asked to be forgotten")

    assert states(receipts, "parked write") == states(receipts, "pending input") == ["kept"]
    assert any((caught.value.parked or "?") in each.detail for each in receipts)
    assert redaction.to_forget(operator) == 0


def test_a_line_that_a_refused_file_has_not_is_redacted_once_it_is_resumed(
    journal: Journal, gateway: Session, operator: Session, tmp_path: Path
) -> None:
    path = tmp_path / "mirror.jsonl"
    gateway.append({"n": 0})
    journal.mirrors.add(KEY, path, on_edit="refuse")
    with path.open("ab") as file:
        file.write(b'{"edit":1}\n')
    seq = gateway.append(LINE).seq
    with pytest.raises(MirrorError) as caught:
        operator.redact([seq], reason=WHY)
    assert (caught.value.hint or "").startswith(f"journal mirror resume {KEY} --reason")


@pytest.mark.parametrize("size", [0, 1, 2, 3, 16, 17, 18, 1000])
def test_what_stands_for_a_line_has_its_size_and_parses(size: int) -> None:
    assert len(placeholder(size)) == size
    if size:
        json.loads(placeholder(size))


class TestNotErased:
    """What could not be erased from the database stands in the file as it stood."""

    @pytest.fixture
    def mirrored(self, journal: Journal, gateway: Session, tmp_path: Path) -> tuple[Path, int]:
        path = tmp_path / "mirror.jsonl"
        journal.mirrors.add(KEY, path)
        gateway.append({"n": 1})
        seq = gateway.append(LINE).seq
        gateway.append({"n": 3})
        return path, seq

    def test_a_refused_redaction_leaves_the_file_alone(
        self, journal: Journal, gateway: Session, mirrored: tuple[Path, int], told: list[Any]
    ) -> None:
        """Else the next check would call the placeholder somebody's edit."""
        path, seq = mirrored
        before = path.read_bytes()
        journal.session(KEY, writer="another", role="run").claim()
        with pytest.raises(RefusedError):
            gateway.redact([seq], reason=WHY)
        assert path.read_bytes() == before
        assert journal.session(KEY, writer="cron", role="cron").fence().check().accepted
        assert told == []

    @pytest.mark.parametrize("error", [FullError("no space left"), KeyboardInterrupt()])
    def test_a_full_disk_or_an_interrupt_leaves_the_file_alone(
        self,
        operator: Session,
        mirrored: tuple[Path, int],
        monkeypatch: pytest.MonkeyPatch,
        error: BaseException,
    ) -> None:
        """The error says that nothing was kept, and nothing is."""
        path, seq = mirrored
        before = path.read_bytes()

        def full(*_: object) -> None:
            raise error

        with monkeypatch.context() as broken:
            broken.setattr(redaction, "erase", full)
            with pytest.raises(type(error)):
                operator.redact([seq], reason=WHY)
        assert path.read_bytes() == before
        assert states(operator.redact([seq], reason=WHY), "mirror") == ["done"]

    def test_rows_that_are_gone_are_not_brought_back(
        self, operator: Session, mirrored: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A commit that was not answered for may have been one: then the file stays erased."""
        path, seq = mirrored
        real = erasing.erase

        def unanswered(*given: Any) -> None:
            real(*given)
            raise StorageError("the log could not be synced")

        with monkeypatch.context() as broken:
            broken.setattr(redaction, "erase", unanswered)
            with pytest.raises(StorageError):
                operator.redact([seq], reason=WHY)
        assert SAID.encode() not in path.read_bytes()
        assert operator.fence().check().accepted

    def test_a_file_that_cannot_be_written_is_an_error_of_ours(
        self, operator: Session, mirrored: tuple[Path, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """With the file's name; and the database has the line still."""
        path, seq = mirrored

        def broken(*_: object) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr(MirrorFile, "sync", broken)
            with pytest.raises(MirrorError, match=r"mirror\.jsonl"):
                operator.redact([seq], reason=WHY)
        assert SAID.encode() in path.read_bytes()
        assert not operator.read()[seq - 1].redacted


def test_what_was_refused_and_discarded_goes_with_a_forgotten_session(
    journal: Journal, gateway: Session, journal_path: Path
) -> None:
    """Discarded it was kept for the record; when all is to go, its bytes go too."""
    gateway.append({"n": 1})
    turn = gateway.claim()
    with pytest.raises(RefusedError) as caught:
        journal.session(KEY, writer="gateway", role="run").append({"secret": "s3cret"})
    turn.release()
    assert caught.value.parked is not None
    journal.parked(caught.value.parked).discard(reason="asked again")
    receipts = gateway.forget(reason="gone")
    assert ("parked write", "done", caught.value.parked) in receipts
    shown = subprocess.run(  # by another process, for the journal is open
        ["cat", str(journal_path), f"{journal_path}-wal"], capture_output=True, check=True
    ).stdout
    assert b"s3cret" not in shown
    assert journal.parked(caught.value.parked).lines == ()
    assert gateway.forget(reason="again") is not None
