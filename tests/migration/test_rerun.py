"""By content: run it again at any time, and only what is new is added."""

from __future__ import annotations

import shutil
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest

from journal import Journal
from journal.audit import audit
from journal.errors import FullError, MirrorError, NotTrusted
from journal.export import every_page
from journal.layout import Extent
from journal.migration import apply, plan, resolve_key, runs, verify
from journal.migration.adoption import adopt
from journal.migration.transfer import Transfer
from journal.sidefile import SideFile
from journal.watching import Watch
from journal.writing import write
from tests.migration.conftest import session_file, states
from tests.systems import LINUX


@pytest.fixture
def once(store, migrate):
    """Give a file that was migrated."""
    path = session_file(store / "a.jsonl", {"n": 1}, {"n": 2})
    migrate(path)
    return path


@pytest.mark.scenario("H12")
def test_again_there_is_nothing_to_do(once, migrate, thief):
    """No entry, no write, no receipt: only the run itself is recorded."""
    before = thief.count("entries"), thief.count("migrated_files")

    again = migrate(once)

    assert states(again) == {"a.jsonl": "already"}
    assert (again.new_entries, again.new_bytes, again.set_aside) == (0, 0, ())
    assert (thief.count("entries"), thief.count("migrated_files")) == before


def test_a_suffix_is_appended(once, migrate, exported):
    with once.open("ab") as file:
        file.write(b'{"n": 3}\r\n{"n": 4}')

    again = migrate(once)

    assert (states(again), again.new_entries) == ({"a.jsonl": "appended"}, 2)
    assert exported("s-1") == once.read_bytes()
    assert states(migrate(once)) == {"a.jsonl": "already"}


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("more", [b"", b'{"n": 3}\n'])
def test_a_line_end_that_comes_late_is_an_entry_of_its_own(store, migrate, exported, end, more):
    """Programs end a torn tail when they open the file again; it is no line of its own."""
    path = session_file(store / "a.jsonl", b'{"n": 1}')
    migrate(path)
    with path.open("ab") as file:
        file.write(end + more)

    (again,) = migrate(path).files

    assert again.what == "appended"
    assert again.lines == 2 + bool(more)
    assert again.raw_lines == 0
    assert exported("s-1") == path.read_bytes()


def every_line(journal: Journal, key: str) -> list[bytes]:
    pages = every_page(journal.store, key)
    return [row.body for page in pages for row in page.rows if row.body]


def test_a_torn_line_that_went_on_is_another_line(store, migrate, exported, journal):
    """The file has the whole line; the torn one stays in the journal."""
    path = session_file(store / "a.jsonl", b'{"n": ')
    migrate(path)
    with path.open("ab") as file:
        file.write(b"1}\n")

    assert states(migrate(path)) == {"a.jsonl": "relaid"}
    assert exported("s-1") == path.read_bytes()
    assert every_line(journal, "s-1")[1:] == [b'{"n": ', b'{"n": 1}']
    assert states(migrate(path)) == {"a.jsonl": "already"}


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.replace(b'"n": 1', b'"n": 9'),
        lambda data: data.replace(b'{"n": 1}\n', b""),
        lambda data: data[:-1] + b" \n",
    ],
    ids=["a byte", "a line gone", "the last byte"],
)
def test_a_changed_file_is_a_new_layout_and_both_versions_are_kept(
    once, migrate, exported, journal, journal_path, change
):
    before = once.read_bytes()
    once.write_bytes(change(before))

    again = migrate(once)

    assert states(again) == {"a.jsonl": "relaid"}
    assert exported("s-1") == once.read_bytes()
    new = set(once.read_bytes().splitlines()) - set(before.splitlines())
    assert again.new_entries == len(new)
    assert set(every_line(journal, "s-1")) == set(before.splitlines()) | new
    assert states(migrate(once)) == {"a.jsonl": "already"}

    once.write_bytes(before)  # and back: nothing is new in it
    back = migrate(once)
    assert (states(back), back.new_entries) == ({"a.jsonl": "relaid"}, 0)
    assert exported("s-1") == before
    assert audit(journal_path).exit_code == 0


def test_a_session_that_went_on_is_done(once, migrate, exported, journal):
    """Every byte of the file is there; what came since is nobody's loss."""
    journal.session("s-1", writer="gateway", role="run").append({"n": 3})

    assert states(migrate(once)) == {"a.jsonl": "already"}
    assert exported("s-1") == once.read_bytes() + b'{"n":3}\n'


def test_a_file_and_a_session_that_both_went_on_have_both(once, migrate, journal, exported):
    """The file's lines in their order, then what others wrote to the session."""
    journal.session("s-1", writer="gateway", role="run").append({"n": 3})
    with once.open("ab") as file:
        file.write(b'{"n": 4}')  # it has no end, and must not run into the next

    assert states(migrate(once)) == {"a.jsonl": "relaid"}
    assert exported("s-1") == once.read_bytes() + b'\n{"n":3}\n'
    assert states(migrate(once)) == {"a.jsonl": "already"}


def test_a_file_cut_short_since_is_done(once, migrate, exported):
    before = once.read_bytes()
    once.write_bytes(before[:-5])

    assert states(migrate(once)) == {"a.jsonl": "already"}
    assert exported("s-1") == before


def test_an_empty_file_that_grew(store, migrate, exported):
    path = store / "e.jsonl"
    path.write_bytes(b"")
    migrate(path)
    path.write_bytes(b'{"n": 1}\n')

    assert states(migrate(path)) == {"e.jsonl": "migrated"}
    assert exported("e") == path.read_bytes()


def test_a_moved_file_is_done(once, migrate, store, journal):
    """Its bytes tell; the new name becomes another alias."""
    once.rename(store / "b.jsonl")

    assert states(migrate(store)) == {"b.jsonl": "already"}
    assert resolve_key(journal, "b.jsonl") == "s-1"
    assert len(journal.sessions()) == 1


def test_a_moved_file_is_done_though_its_session_was_rearranged(
    once, migrate, store, journal, journal_path, exported
):
    once.write_bytes(once.read_bytes().replace(b'{"n": 1}', b'{"new": 1}\n{"n": 1}'))
    assert states(migrate(once)) == {"a.jsonl": "relaid"}
    once.rename(store / "b.jsonl")

    assert states(migrate(store)) == {"b.jsonl": "already"}
    assert resolve_key(journal, "b.jsonl") == "s-1"
    assert len(journal.sessions()) == 1
    assert verify(journal, plan([store])).holds
    assert exported("s-1") == (store / "b.jsonl").read_bytes()
    assert audit(journal_path).findings == ()
    assert states(migrate(store)) == {"b.jsonl": "already"}


def test_identical_copies_are_one_session(store, migrate, exported):
    path = session_file(store / "a.jsonl", {"n": 1})
    shutil.copy(path, store / "copy.jsonl")

    made = plan([store])
    (twin,) = made.duplicates
    result = migrate(store)

    assert twin.duplicate_of == str(path)
    assert states(result) == {"a.jsonl": "migrated", "copy.jsonl": "duplicate"}
    assert result.files[1].duplicate_of == str(path)
    assert states(migrate(store)) == {"a.jsonl": "already", "copy.jsonl": "already"}
    assert exported("s-1") == path.read_bytes()


def test_files_of_one_header_keep_their_own_bytes(store, migrate, exported):
    """A checkpoint is the beginning of its session's file; it is a file all the same."""
    whole = session_file(store / "s-1.jsonl", {"n": 1}, {"n": 2})
    start = session_file(store / "begun.jsonl", {"n": 1})
    other = session_file(store / "deep" / "begun.jsonl", {"n": 3})

    made = [(each.name, each.key) for each in plan([store]).files]
    result = migrate(store)

    assert made == [(Path(each.path).name, each.key) for each in result.files]
    assert result.files[0].key == "s-1"
    assert result.files[1].key == "s-1:begun.jsonl"
    assert result.files[2].key.startswith("s-1:begun.jsonl:")
    for path, each in zip((whole, start, other), result.files, strict=True):
        assert exported(each.key) == path.read_bytes()
    assert migrate(store).counts == {"already": 3}


def test_a_longer_file_never_swallows_a_shorter_ones_session(store, migrate, exported):
    """The shorter one came first, by itself; both keep their bytes."""
    start = session_file(store / "begun.jsonl", {"n": 1})
    migrate(start)
    whole = session_file(store / "s-1.jsonl", {"n": 1}, {"n": 2})

    (found,) = migrate(whole).files

    assert (found.what, found.key) == ("migrated", "s-1:s-1.jsonl")
    assert exported("s-1") == start.read_bytes()


def test_another_session_in_the_place_of_the_old_one(once, migrate, exported):
    """The header says who it is: a path is no identity."""
    before = once.read_bytes()
    session_file(once, {"n": 7}, session_id="s-2")

    (found,) = migrate(once).files

    assert (found.what, found.key) == ("migrated", "s-2")
    assert (exported("s-1"), exported("s-2")) == (before, once.read_bytes())


def test_a_session_of_the_same_key_that_is_no_file_is_left_alone(store, migrate, exported, journal):
    """A header cannot claim somebody's live session."""
    journal.session("s-1", writer="gateway", role="run").append({"n": 1})
    path = session_file(store / "a.jsonl", {"n": 2})

    (found,) = migrate(path).files

    assert found.key == "s-1:a.jsonl"
    assert exported("s-1") == b'{"n":1}\n'


def test_a_claim_does_not_stand_in_the_way(store, migrate, exported, journal):
    """A session that only was claimed takes the file's lines; the claim stands."""
    gateway = journal.session("s-1", writer="gateway", role="run")
    path = session_file(store / "a.jsonl", {"n": 2})
    with gateway.claim() as turn:
        (found,) = migrate(path).files
        turn.append({"n": 3})

    assert found.key == "s-1"
    assert exported("s-1") == path.read_bytes() + b'{"n":3}\n'


def test_a_co_tenant_in_the_middle_of_a_file(store, journal, exported, monkeypatch):
    """Somebody writes between two chunks: the file's lines stand together, theirs after them."""
    monkeypatch.setattr("journal.migration.chunks.CHUNK_LINES", 2)
    path = session_file(store / "a.jsonl", *({"n": n} for n in range(9)))
    heartbeat = journal.session("s-1", writer="heartbeat", role="heartbeat")

    def beat(_path, _size):
        if not list(heartbeat.read())[-1].json().get("beat"):
            heartbeat.append({"beat": 1})

    result = apply(journal, plan([path]), progress=beat)

    assert states(result) == {"a.jsonl": "relaid"}
    assert exported("s-1") == path.read_bytes() + b'{"beat":1}\n'


@pytest.mark.parametrize("way", [lambda journal, path: apply(journal, plan([path])), adopt])
def test_a_file_that_others_bring_in_at_the_same_time_is_not_set_aside(
    store, journal, journal_path, exported, monkeypatch, way
):
    """Between any two chunks another run has brought the next one in."""
    monkeypatch.setattr("journal.migration.chunks.CHUNK_LINES", 1)
    path, true = session_file(store / "a.jsonl", *({"n": n} for n in range(20))), Transfer._commit

    def overtaken(self, chunk):
        with monkeypatch.context() as one, Journal(journal_path) as other:
            one.setattr(Transfer, "_commit", first_of_all)
            with suppress(InterruptedError):
                apply(other, plan([path]))
        true(self, chunk)

    def first_of_all(self, chunk):
        true(self, chunk)
        raise InterruptedError

    monkeypatch.setattr(Transfer, "_commit", overtaken)

    way(journal, str(path))

    assert exported("s-1") == path.read_bytes()
    assert len(journal.session("s-1").read()) == 21
    assert {each.state for each in runs(journal)} <= {"done", "interrupted"}


def test_an_altered_session_is_not_added_to(once, migrate, thief):
    """What does not verify cannot be compared: audit first."""
    thief.key = "s-1"
    with thief.without_triggers():
        thief.execute(
            "UPDATE entries SET body = x'41' WHERE session_id = ? AND seq = 2", thief.session_id()
        )

    assert states(migrate(once)) == {"a.jsonl": "unsound"}


def test_a_stray_does_not_stand_in_the_way(once, migrate, exported, thief):
    """It is no part of the session, and the next write names it."""
    thief.key = "s-1"
    thief.insert_copy(body=b"6")
    with once.open("ab") as file:
        file.write(b'{"n": 3}\n')

    assert states(migrate(once)) == {"a.jsonl": "appended"}
    assert thief.column("kind", 5) == "control"
    assert states(migrate(once)) == {"a.jsonl": "already"}


def test_a_line_whose_row_was_forged_is_no_change_of_the_file(once, migrate, thief):
    thief.key = "s-1"
    with thief.without_triggers():
        thief.execute(
            "UPDATE entries SET writer_id = 1 WHERE session_id = ? AND seq = 2", thief.session_id()
        )

    assert states(migrate(once)) == {"a.jsonl": "unsound"}


def test_a_session_that_was_rewritten_since(once, migrate, exported, journal):
    """Every byte is still in the journal, and stands in the file's order again when the file has it."""
    store = journal.store
    with store.transaction() as cursor:
        chain = store.open_chain(cursor, "s-1")
        author = store.author(cursor, "gateway", "run", declare=True)
        facts = [chain.layout.then([Extent(1, 2), Extent(4, None)])]
        write(cursor, chain, author, store.clock(), facts=facts)
    lines = once.read_bytes().splitlines(keepends=True)
    once.write_bytes(b"".join(lines[:2]))

    assert exported("s-1") == once.read_bytes()
    assert states(migrate(once)) == {"a.jsonl": "already"}
    once.write_bytes(b"".join(lines))
    again = migrate(once)
    assert (states(again), again.new_entries) == ({"a.jsonl": "relaid"}, 0)
    assert exported("s-1") == once.read_bytes()


@pytest.mark.parametrize("breaks", [KeyboardInterrupt, FullError("no space left")])
def test_a_run_that_broke_off_is_finished_by_the_next(
    store, journal, exported, monkeypatch, breaks, thief
):
    """Each finished chunk stays; the rest is appended."""
    monkeypatch.setattr("journal.migration.chunks.CHUNK_LINES", 4)
    path = session_file(store / "a.jsonl", *({"n": n} for n in range(30)))

    def interrupt(_path, _size):
        if len(journal.session("s-1").read()) >= 12:
            raise breaks

    made = plan([path])
    with pytest.raises(type(breaks) if isinstance(breaks, Exception) else breaks):
        apply(journal, made, progress=interrupt)
    assert thief.ask("SELECT state FROM migrations") == "interrupted"
    assert thief.ask("SELECT state || ':' || last_seq FROM migrated_files") == "partial:12"

    (found,) = apply(journal, made).files

    assert (found.what, found.new_entries) == ("appended", 19)
    assert exported("s-1") == path.read_bytes()
    assert thief.execute("SELECT state, lines, last_seq FROM migrated_files").fetchall() == [
        ("done", 31, 31)
    ]


def test_half_a_file_moved_goes_on_under_its_new_path(store, journal, exported, monkeypatch):
    monkeypatch.setattr("journal.migration.chunks.CHUNK_LINES", 4)
    path = session_file(store / "a.jsonl", *({"n": n} for n in range(30)))

    def stop(_path, _size):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply(journal, plan([path]), progress=stop)
    (store / "moved").mkdir()
    path = path.rename(store / "moved" / "a.jsonl")

    (found,) = apply(journal, plan([path])).files

    assert (found.key, found.what) == ("s-1", "appended")
    assert exported("s-1") == path.read_bytes()


def test_a_revoked_writer_migrates_nothing(store, migrate, journal):
    session_file(store / "a.jsonl")
    journal.declare("migrate", "migration")
    journal.revoke("migrate", "done with it")

    with pytest.raises(NotTrusted):
        migrate(store)

    assert journal.sessions() == []


def test_receipts_tell_of_each_file(store, migrate, thief):
    """One row for a file: where it is, what it is, and how it was."""
    path = session_file(store / "a.jsonl", b"\xff\n")
    path.chmod(0o640)
    result = migrate(path)

    columns = "path, name, alias, format, class, state, first_seq, last_seq, bytes, lines, raw_lines, sha256, mode"
    assert thief.execute(f"SELECT {columns} FROM migrated_files").fetchall() == [
        (
            *(str(path), "a.jsonl", None, "pi", "primary", "done", 1, 2),
            *(len(path.read_bytes()), 2, 1, result.files[0].sha256, 0o640),
        )
    ]
    assert thief.execute("SELECT id, state, files, lines, bytes FROM migrations").fetchall() == [
        (result.run, "done", 1, 2, len(path.read_bytes()))
    ]


@LINUX
def test_when_a_run_has_ended_all_of_it_is_on_disk(store, journal, monkeypatch):
    """Its files are not synced one by one, but the last commit of a run is, and what stands before it."""
    synced = []
    for n in range(5):
        session_file(store / f"{n}.jsonl", {"n": n}, session_id=f"s-{n}")
    durable = journal.store.durability
    wait = durable.wait

    def noted(number):
        wait(number)
        synced.append(number)

    monkeypatch.setattr(durable, "wait", noted)
    found = plan([store])
    apply(journal, found)
    assert synced[-1] == durable.count() - 1


@pytest.fixture
def mirrored(store, journal):
    """Give a file that was migrated, and is its session's mirror."""
    path = session_file(store / "a.jsonl", {"n": 1}, {"n": 2})
    apply(journal, plan([path]), mirror=True)
    return path


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + b'{"n": 3}\n',
        lambda data: data + b'{"n": 3',
        lambda data: data.replace(b'"n": 1', b'"n": 9'),
    ],
    ids=["a line", "half a line", "an edit"],
)
def test_what_came_to_a_mirror_is_nobodys_whom_one_trusts_when_it_is_migrated_again(
    mirrored, migrate, journal, exported, change
):
    """A fence that was raised before names it: to migrate again launders nothing."""
    fence = journal.session("s-1", writer="gateway", role="run").fence()
    mirrored.write_bytes(change(mirrored.read_bytes()))

    assert states(migrate(mirrored)) == {"a.jsonl": "already"}
    assert exported("s-1") == mirrored.read_bytes()
    assert journal.session("s-1").read(trusted=False)[0].writer == "external:mirror-1"
    assert not fence.check(raise_=False).accepted


def test_a_file_that_is_a_sessions_mirror_is_no_second_session(store, migrate, journal):
    """Whatever its header or its name would have made of it; and it is verified by it."""
    path = store / "m.jsonl"
    session = journal.session("agent:main:main", writer="gateway", role="run", mirror=path)
    first = session.append({"n": 1})
    session.append({"n": 2})
    session.rewrite([{"n": 3}, first], base=session.head.seq, reason="tidied")

    assert states(migrate(path)) == {"m.jsonl": "already"}
    assert [info.key for info in journal.sessions()] == ["agent:main:main"]
    assert verify(journal, plan([path])).holds


def test_a_mirror_that_cannot_be_looked_at_is_set_aside(mirrored, store, migrate, tmp_path):
    session_file(store / "b.jsonl", {"n": 1}, session_id="s-2")
    with mirrored.open("ab") as file:
        file.write(b'{"n": 3}\n')
    (tmp_path / "second-name").hardlink_to(mirrored)

    again = migrate(store)

    assert states(again) == {"a.jsonl": "mirror", "b.jsonl": "migrated"}
    assert again.set_aside[0].reason.endswith("has 2 links")


@pytest.mark.parametrize("is_new", [True, False])
def test_a_mirror_that_another_process_does_not_let_go_of_holds_up_no_other_file(
    store, journal, journal_path, monkeypatch, is_new
):
    monkeypatch.setattr("journal.sidefile.LOCK_WAIT_S", 0.1)
    monkeypatch.setattr(SideFile.lock, "__defaults__", (0.1,))
    path = session_file(store / "a.jsonl", {"n": 1})
    if not is_new:
        apply(journal, plan([path]), mirror=True)
        path.write_bytes(path.read_bytes() + b'{"n": 2}\n')
    session_file(store / "b.jsonl", {"n": 1}, session_id="s-2")
    other = SideFile(f"{journal_path}-mirrors", journal.store.mac)
    assert other.lock(1)

    found = apply(journal, plan([store]), mirror=True)

    other.close()
    assert [each.code for each in found.set_aside] == ["no-mirror" if is_new else "mirror"]
    assert found.counts == {"migrated": 2 if is_new else 1}


@pytest.fixture
def secret(store, migrate):
    """Give a file that was migrated, with a line that nobody should have; and where that is."""
    path = session_file(store / "a.jsonl", {"n": 1}, {"password": "x" * 40}, {"n": 2})
    migrate(path)
    return path


def test_what_was_redacted_does_not_come_back_with_the_file_it_came_from(
    secret, migrate, journal, journal_path, exported
):
    session = journal.session("s-1", writer="alice", role="operator")
    session.redact([3], reason="a password")
    before = exported("s-1")

    assert states(migrate(secret)) == {"a.jsonl": "already"}
    assert exported("s-1") == before
    with secret.open("ab") as file:
        file.write(b'{"n": 3}\n')
    assert states(migrate(secret)) == {"a.jsonl": "appended"}
    assert exported("s-1") == before + b'{"n": 3}\n'
    assert audit(journal_path).exit_code == 0


def test_two_lines_in_the_place_of_one_that_was_redacted_are_others(
    secret, migrate, journal, exported
):
    journal.session("s-1", writer="alice", role="operator").redact([3], reason="a password")
    secret.write_bytes(secret.read_bytes().replace(b"xxxx", b'"}\n"', 1))

    assert states(migrate(secret)) == {"a.jsonl": "relaid"}
    assert exported("s-1") == secret.read_bytes()


@pytest.mark.parametrize("way", ["migrate --mirror", "watch", "SessionFile"])
@pytest.mark.parametrize("size", ["whole", "cut"])
def test_a_file_with_a_line_that_was_redacted_becomes_no_mirror_before_that_is_taken_out(
    secret, journal, exported, way, size
):
    """It would come back at once, as a line by somebody whom nobody trusts."""
    journal.session("s-1", writer="alice", role="operator").redact([3], reason="a password")
    redacted = exported("s-1")
    lines = secret.read_bytes().splitlines(keepends=True)
    secret.write_bytes(b"".join(lines if size == "whole" else lines[:3]))
    before = secret.read_bytes()

    def bring_in() -> list[str]:
        if way == "watch":
            return [seen.what for seen in Watch(journal, [secret.parent]).catch_up()]
        if way == "migrate --mirror":
            return list(states(apply(journal, plan([secret]), mirror=True)).values())
        journal.mirrors.add(adopt(journal, str(secret)), secret)
        return []

    with pytest.raises(MirrorError, match="erased") if way == "SessionFile" else nullcontext():
        assert bring_in() == ["set aside" if way == "watch" else "erased"]
    assert exported("s-1") == redacted
    assert secret.read_bytes() == before
    assert not journal.mirrors.facts()
    assert len(runs(journal)) == 1 + (way == "migrate --mirror")

    secret.write_bytes(redacted[: len(before)])
    bring_in()
    assert exported("s-1") == secret.read_bytes() == redacted[: len(before)]


@pytest.mark.parametrize("changed", ["rearranged", "torn"])
def test_nor_does_it_come_back_with_a_file_that_went_on(
    secret, migrate, journal, exported, changed
):
    """Where its order is the session's file's alone, or its last line was open and is another now."""
    if changed == "rearranged":
        secret.write_bytes(secret.read_bytes().replace(b'{"n": 1}\n', b'{"new": 1}\n{"n": 1}\n'))
        assert states(migrate(secret)) == {"a.jsonl": "relaid"}
    else:
        secret.write_bytes(secret.read_bytes() + b'{"n":')
        assert states(migrate(secret)) == {"a.jsonl": "appended"}
    journal.session("s-1", writer="alice", role="operator").redact([3], reason="a password")
    before = exported("s-1")
    assert b"password" not in before

    secret.write_bytes(secret.read_bytes() + b' 3}\n{"n": 4}\n')
    assert states(migrate(secret)) == {"a.jsonl": "erased"}
    assert exported("s-1") == before

    secret.write_bytes(before + b' 3}\n{"n": 4}\n')
    assert states(migrate(secret)) == {"a.jsonl": "relaid"}
    assert exported("s-1") == secret.read_bytes()


@pytest.mark.parametrize("more", [b"", b'{"n": 3}\n'])
def test_a_forgotten_session_does_not_come_back_with_the_file_it_came_from(
    secret, store, migrate, journal, exported, more
):
    """Of a live file that is no mirror as of an archive below a directory that is watched."""
    journal.session("s-1", writer="alice", role="operator").forget(reason="asked to")
    session_file(store / "b.jsonl", session_id="s-2")
    secret.write_bytes(secret.read_bytes() + more)

    assert states(migrate(store)) == {"a.jsonl": "erased", "b.jsonl": "migrated"}
    assert exported("s-1") == b""

    session_file(secret, {"another": "beginning"})
    assert states(migrate(secret)) == {"a.jsonl": "migrated"}
    assert exported("s-1") == secret.read_bytes()
