"""The database itself, and rows beside the chain: what is told of each, and what is not found."""

from __future__ import annotations

import pytest

from journal.audit import audit
from tests.audit.crimes import Scene, replayed, rewritten
from tests.thieves import KEY, Thief


def test_others_tables_are_counted_and_not_looked_at(report, thief):
    for name in ("theirs", "theirs2"):
        thief.execute(f"CREATE TABLE {name}(x)")
    told = report()
    assert told.findings == ()
    assert "2 tables in the file that are not the journal's" in told.not_checked
    assert not any("alembic" in item for item in told.not_checked)


def test_a_forged_instance_is_told_with_what_it_says(found, thief):
    thief.execute("INSERT INTO instances VALUES (99, 1, 'h', '', '', 12, 1, x'00', 'p', 0, x'00')")
    (finding,) = found().values()
    assert finding.id == "J408"
    assert finding.evidence == ({"instance": 99, "writer": 1, "host": "h", "pid": 12},)


def test_a_wrong_revision_is_told_with_the_right_one(found, thief):
    thief.execute("UPDATE alembic_version SET version_num = '0000'")
    (finding,) = found().values()
    assert finding.evidence == ({"expected": ["0001"], "found": ["0000"]},)


def test_a_directory_that_all_may_write_to_is_told_unless_each_keeps_his_own(report, journal_path):
    place = journal_path.parent
    before = place.stat().st_mode
    try:
        place.chmod(0o777)
        assert [finding.id for finding in report().findings] == ["J506"]
        place.chmod(0o1777)
        assert report().findings == ()
    finally:
        place.chmod(before)


@pytest.mark.parametrize(
    "table, statement",
    [
        ("entries", "UPDATE entries SET seq = 'x' WHERE session_id = 2 AND seq = 3"),
        ("entries", "UPDATE entries SET seq = 3.5 WHERE session_id = 2 AND seq = 3"),
        ("sessions", "UPDATE sessions SET head_seq = 'x' WHERE id = 2"),
        (
            "migrated_files",
            "INSERT INTO migrated_files VALUES (1, 1, 2, '', '', NULL, '', '', '', 'x', 'x', 0, 0, 0, '', 0, 0)",
        ),
    ],
)
def test_what_no_column_takes_ends_no_audit(busy, journal_path, report, table, statement):
    """Whoever takes a table's rules away, and puts them back, can put anything there."""
    with rewritten(journal_path, table, "\n) STRICT", "\n)"):
        believer = Thief(journal_path)
        with believer.without_triggers():
            believer.execute(statement)
        believer.close()
        loose = report()
    for told, rule in ((loose, "J503"), (report(), "J505")):
        assert {"J502", rule} <= {finding.id for finding in told.findings}
        assert told.verdict == "broken"
        assert any("could not be read whole" in item for item in told.not_checked)


def test_rows_put_back_where_an_honest_writer_found_them_missing(busy, thief, journal_path):
    """J307: they were named as gone."""
    session = busy.session(KEY, writer="heartbeat")
    seq = session.append({"n": 1}).seq
    gone = thief._row(thief.session_id(), seq)
    thief.delete(seq)
    session.append({"n": 2})
    assert {finding.id for finding in audit(journal_path).findings} == {"J306"}

    with thief.without_triggers():
        thief.insert(gone)

    causes = {finding.cause for finding in audit(journal_path).findings}
    assert "rows stand where entries were found missing" in causes


@pytest.mark.parametrize("wanted", [None, KEY])
def test_what_was_not_asked_for_is_counted(report, wanted):
    told = report(sessions=[wanted] if wanted else [])
    assert [item for item in told.not_checked if "not asked for" in item] == (
        ["2 other sessions, not asked for"] if wanted else []
    )


def test_a_session_of_no_entry_ends_at_nothing(busy, report):
    with busy.store.transaction() as cursor:
        busy.store.open_chain(cursor, "empty")
    told = report()
    assert [finding.id for finding in told.findings] == ["J309"]
    assert told.heads[-1] == ("empty", 0, 0, "", 0, 0)


def test_a_parked_write_that_was_put_back_is_told_for_what_it_is(busy, thief, report, holder):
    scene = Scene(busy, thief, holder, busy.path, busy.path)
    replayed(scene)
    causes = {finding.id: finding.cause for finding in report().findings}
    assert causes["J412"] == "its entries are in the session, it says it is open"


def test_the_only_entry_of_a_session_is_missed_by_a_fence(busy, thief, report):
    """Its row is gone, and all that the tables say of it was put back to nothing."""
    session = busy.session("one", writer="gateway", role="run")
    session.append({"n": 1})
    session.fence().stored()
    thief.delete(1, key="one")
    thief.execute(
        "UPDATE sessions SET head_seq = 0, head_epoch = 0, cum_bytes = 0, examined_seq = 0, "
        "examined_mac = x'' WHERE key = 'one'"
    )
    found = [(finding.id, finding.ranges) for finding in report().findings]
    assert ("J306", ((1, 1),)) in found
    assert "J208" not in dict(found)


def test_an_order_that_cannot_be_told_is_not_checked(report, holder):
    assert not any("the file order of" in item for item in report().not_checked)
    holder.fact(b'{"control":"layout","no":7,"keep":0,"extents":[[1,null]]}', "layout")
    (told,) = [item for item in report().not_checked if "the file order of" in item]
    assert repr(KEY) in told


def test_where_the_registrys_first_entry_is_gone_only_the_table_tells(report, thief):
    thief.delete(1, key="journal:")
    causes = {finding.cause for finding in report().findings if finding.id == "J406"}
    assert causes == {"the registry's first entry is gone, so only the table tells"}
