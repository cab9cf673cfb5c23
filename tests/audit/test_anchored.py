"""Anchors: a journal that was rolled back or cut shows, and a false anchor proves nothing."""

from __future__ import annotations

import shutil
from base64 import b64encode
from typing import TYPE_CHECKING

import pytest

from journal import EntryError, Journal
from journal.adopting import adopt_key
from journal.anchor import take
from journal.audit import AnchorFile, audit
from journal.note import parsed_note, parsed_statement, parsed_verifier
from journal.signing import is_signed
from tests.thieves import KEY, Thief

if TYPE_CHECKING:
    from pathlib import Path

    from journal.audit import Report

OTHER = "agent:main:other é\n"[:-1]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "agent.db"


def write(path: Path, count: int, *keys: str) -> None:
    with Journal(path) as journal:
        for key in keys or (KEY,):
            gateway = journal.session(key, writer="gateway", role="run")
            gateway.extend({"n": number} for number in range(count))


def anchor(path: Path, signing_key: Path | None = None) -> AnchorFile:
    with Journal(path) as journal:
        return AnchorFile("heads.anchor", take(journal, signing_key).text.encode())


def audited(path: Path, *anchors: AnchorFile, verifiers: tuple[str, ...] = ()) -> Report:
    known = [parsed_verifier(each) for each in verifiers]
    return audit(path, anchors=anchors, verifiers=known)


def ids(report: Report) -> list[str]:
    return [finding.id for finding in report.findings]


def test_a_healthy_journal_with_an_anchor_is_ok(path: Path) -> None:
    write(path, 3, KEY, OTHER)
    held = anchor(path)
    report = audited(path, held)
    assert (report.verdict, report.exit_code) == ("ok", 0)
    write(path, 2)
    report = audited(path, held)
    assert report.verdict == "ok"
    assert "2 entries in 1 session:" in report.not_checked[0]


def test_what_came_after_the_newest_anchor_is_counted(path: Path) -> None:
    """All entries of a session that is new since, and of the others what was added; the newest anchor counts."""
    write(path, 3, KEY)
    older = anchor(path)
    write(path, 2, KEY)
    newer = anchor(path)
    write(path, 4, KEY, OTHER)
    for anchors in ((older, newer), (newer, older)):
        assert (
            "9 entries in 3 sessions" in audited(path, *anchors).not_checked[0]
        )  # one registers OTHER


def test_a_cut_tail_is_shown_with_what_is_missing(path: Path) -> None:
    write(path, 5)
    held = anchor(path)
    thief = Thief(path)
    with thief.without_triggers():
        thief.delete(4, 5)
        thief.move_head(3, 1)
    thief.close()
    report = audited(path, held)
    assert report.verdict == "broken"
    (finding,) = [found for found in report.findings if found.id == "J801"]
    assert finding.session == KEY
    assert finding.ranges == ((4, 5),)
    assert finding.evidence[0]["now"] == {"seq": 3}


def test_yesterdays_copy_of_the_whole_journal_is_shown(path: Path) -> None:
    """Without an anchor it is a healthy journal."""
    write(path, 3)
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    write(path, 2, KEY, "new")
    held = anchor(path)
    assert audited(copy).verdict == "ok, not anchored"
    report = audited(copy, held)
    assert report.verdict == "broken"
    # The registry lacks the new session's registration, the session its new lines.
    assert ids(report) == ["J801", "J801", "J803"]
    assert {found.session for found in report.findings} == {KEY, "journal:", "new"}


def test_a_copy_from_before_a_key_era_is_shown_by_an_anchor_of_either(path: Path) -> None:
    """No key proves a row in it, and the anchors are signed with those that are at hand."""
    write(path, 3)
    old = path.with_name("old.db")
    shutil.copy(path, old)
    write(path, 1)
    before = anchor(path)
    adopt_key(str(path))
    write(path, 1)
    after = anchor(path)
    assert audited(path, before, after).verdict == "ok"
    shutil.copy(old, path)
    for held, seq in ((before, 4), (after, 5)):
        report = audited(path, held)
        assert report.verdict == "broken"
        assert "J804" not in ids(report)
        (gone,) = [each for each in report.findings if each.session == KEY]
        assert (gone.id, gone.ranges) == ("J801", ((4, seq),))


def test_a_history_written_anew_after_a_rollback_is_shown(path: Path) -> None:
    write(path, 3)
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    write(path, 2)
    held = anchor(path)
    write(copy, 4)
    report = audited(copy, held)
    assert ids(report) == ["J802"]
    assert report.findings[0].ranges == ((5, 5),)


def test_an_anchor_of_another_journal_or_by_a_stranger_proves_nothing(path: Path) -> None:
    write(path, 1)
    other = path.with_name("other.db")
    write(other, 1)
    report = audited(path, anchor(other))
    assert (report.verdict, ids(report)) == ("ok, not anchored", ["J804"])
    forged = anchor(path)
    forged = forged._replace(data=forged.data.replace(b"\n1 1 ", b"\n1 2 "))
    report = audited(path, forged)
    assert (report.verdict, ids(report)) == ("ok, not anchored", ["J804"])


def test_a_signing_key_of_ones_own_is_named_by_its_public_key(path: Path, tmp_path: Path) -> None:
    write(path, 1)
    own = tmp_path / "signing.key"
    held = anchor(path, own)
    assert own.stat().st_mode & 0o777 == 0o600
    assert ids(audited(path, held)) == ["J804"]
    with Journal(path) as journal:
        public = str(take(journal, own).verifier)
    assert audited(path, held, verifiers=(public,)).verdict == "ok"


def test_only_the_sessions_that_were_asked_for_are_held_against_it(path: Path) -> None:
    write(path, 2, KEY, OTHER)
    held = anchor(path)
    thief = Thief(path, OTHER)
    with thief.without_triggers():
        thief.delete(2)
        thief.move_head(1, 1)
    thief.close()
    assert audit(path, sessions=[KEY], anchors=[held]).verdict == "ok"
    assert "J801" in ids(audit(path, sessions=[OTHER], anchors=[held]))


@pytest.mark.parametrize(
    "data", [b"", b"x", b"\n\n", b"a\n\nb", b"\xff", b"a\n\n\xe2\x80\x94 n AA=="]
)
def test_what_is_no_anchor_is_named(path: Path, data: bytes) -> None:
    write(path, 1)
    with pytest.raises(EntryError) as caught:
        audited(path, AnchorFile("x", data))
    assert caught.value.code == "no-anchor"


@pytest.mark.parametrize(
    "old, new",
    [
        ("TIME", "9" * 5000),  # longer than what int() reads
        ("TIME", "\N{ARABIC-INDIC DIGIT ONE}"),
        ("TIME", "-1"),
        (" 5 ", " \N{ARABIC-INDIC DIGIT FIVE} "),
        ('"k"', '"k'),
        ("\n1\n", "\n2\n"),
    ],
)
def test_a_statement_that_nobody_could_have_written_is_no_anchor(old: str, new: str) -> None:
    text = f'session-journal/anchor/1\n{"0" * 32}\nTIME\n1\n1 5 9 {"a" * 64} "k"\n'
    assert parsed_statement(text.replace("TIME", "7")).heads[0].session == "k"
    with pytest.raises(EntryError) as caught:
        parsed_statement(text.replace(old, new))
    assert caught.value.code == "no-anchor"


@pytest.mark.parametrize("name", ["\udcff", "two words", "", "plus+"])
def test_a_public_key_whose_name_is_no_text_is_none(name: str) -> None:
    """An argument of bytes that are no UTF-8 comes with lone surrogates."""
    with pytest.raises(EntryError) as caught:
        parsed_verifier(f"{name}+00000000+{b64encode(bytes([1]) + bytes(32)).decode()}")
    assert caught.value.code == "no-verifier"


def test_a_public_key_that_was_cut_off_is_told_as_that() -> None:
    """And not as an anchor that is none: the end of a long line is easily left behind."""
    whole = f"name+00000000+{b64encode(bytes([1]) + bytes(32)).decode()}"
    for end in range(1, 5):
        with pytest.raises(EntryError) as caught:
            parsed_verifier(whole[:-end])
        assert caught.value.code == "no-verifier"


def test_the_note_says_what_was_signed(path: Path) -> None:
    write(path, 2, KEY, OTHER)
    with Journal(path) as journal:
        taken = take(journal)
    note = parsed_note(taken.text.encode())
    assert parsed_statement(note.text) == taken.statement
    assert is_signed(note, taken.verifier)
    assert [head.session for head in taken.statement.heads] == ["journal:", KEY, OTHER]
    assert parsed_verifier(str(taken.verifier)) == taken.verifier


def test_without_the_journals_key_no_anchor_is_its_own(path: Path, tmp_path: Path) -> None:
    write(path, 3)
    report = audit(path, anchors=[anchor(path)], key_file=tmp_path / "none")
    assert report.verdict == "not verified"
    assert not any("newest anchor" in text for text in report.not_checked)
