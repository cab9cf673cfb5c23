"""Keys and aliases: which session a file becomes, and how it is found again."""

from __future__ import annotations

import json
import os
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from journal.aliases import Aliases
from journal.errors import NotFoundError
from journal.migration import naming, plan, resolve_key
from journal.model import check_key
from journal.rebuilding import rebuild
from tests.migration.conftest import session_file, states

anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=700)


@given(anything)
@example("..")
@example("a/../b")
@example("a:..:b\\..")
@example("a/..:b")
@example("..\\..:../..")
@example("journal:")
@example("")
@example("\0\x85\ud800")
@example("x" * 513)
def test_any_text_gives_a_key(text):
    """Deterministic, and unchanged where nothing is wrong with it."""
    key = naming.clean(text)

    assert check_key(key) == key
    assert naming.clean(text) == naming.clean(key) == key
    assert "\0" not in key


def test_long_names_stay_apart():
    one, two = (naming.clean("x" * 600 + end) for end in "ab")

    assert one != two
    assert len(one) == len(two) == 512


@pytest.mark.parametrize("base", ["..", "a/..", "a\\..", "../..", "a/..:b"])
def test_no_candidate_has_a_way_up(base):
    for key in naming.candidates(base, "a.jsonl", "/x/a.jsonl"):
        assert check_key(key) == key


def test_the_order_of_candidates():
    first, second, third = naming.candidates("id", "a.jsonl", "/x/a.jsonl")

    assert (first, second) == ("id", "id:a.jsonl")
    assert third.startswith("id:a.jsonl:")
    assert third != naming.candidates("id", "a.jsonl", "/y/a.jsonl")[2]


@pytest.fixture
def home(store):
    """Give an OpenClaw home with an index that is right, wrong, and out of date."""
    sessions = store / "agents" / "main" / "sessions"
    session_file(
        sessions / "11111111-1111-1111-1111-111111111111.jsonl",
        {"n": 1},
        session_id="11111111-1111-1111-1111-111111111111",
    )
    session_file(
        sessions / "22222222-2222-2222-2222-222222222222.jsonl", {"n": 2}, session_id="other-id"
    )
    index = {
        "agent:main:main": {"sessionFile": "/elsewhere/11111111-1111-1111-1111-111111111111.jsonl"},
        "agent:main:too": {"sessionId": "11111111-1111-1111-1111-111111111111"},
        "agent:main:gone": {"sessionId": "33333333-3333-3333-3333-333333333333"},
    }
    (sessions / "sessions.json").write_text(json.dumps(index))
    return sessions


@pytest.mark.scenario("H1", "H8", "H9")
def test_the_index_is_advisory(home, store, migrate):
    """Sessions are found from files; the index adds aliases, and what it misses is a note."""
    made = plan([store])

    one, two = made.files
    assert one.aliases == ("agent:main:main", "agent:main:too")
    assert (two.aliases, two.key, two.names_differ) == ((), "other-id", True)
    assert [(each.key, each.name) for each in made.absent] == [
        ("agent:main:gone", "33333333-3333-3333-3333-333333333333.jsonl")
    ]
    assert migrate(store).set_aside == ()


@pytest.mark.scenario("H10")
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a": 1}', b"\xff"])
def test_a_broken_index_loses_nothing(home, store, migrate, content):
    (home / "sessions.json").write_bytes(content)

    assert migrate(store).counts == {"migrated": 2}


@pytest.mark.parametrize(
    "value", [b"[" * depth + b"]" * depth for depth in (700, 900, 930, 980)] + [b"NaN"]
)
def test_what_no_reader_could_read_in_an_index_stops_nothing(home, store, migrate, value):
    """Nor does it keep the rest of what was said of the file from being kept, once."""
    entry = b'{"sessionId": "11111111-1111-1111-1111-111111111111", "model": "m", "x": %b}' % value
    (home / "sessions.json").write_bytes(b'{"agent:main:main": %b}' % entry)

    assert migrate(store).counts == {"migrated": 2}
    assert migrate(store).counts == {"already": 2}
    for each in plan([store]).files:
        for _, told in each.indexed:
            assert json.loads(told).keys() == {"sessionId", "model"}


def test_a_long_number_in_an_index_is_kept_as_it_is(home, store):
    entry = b'{"sessionId": "11111111-1111-1111-1111-111111111111", "n": 123456789012345678901}'
    (home / "sessions.json").write_bytes(b'{"agent:main:main": %b}' % entry)

    (told,) = (told for each in plan([store]).files for _, told in each.indexed)
    assert json.loads(told)["n"] == 123456789012345678901


@pytest.mark.parametrize(
    "text, key",
    [
        ("other-id", "other-id"),
        ("agent:main:main", "11111111-1111-1111-1111-111111111111"),
        ("agent:main:too", "11111111-1111-1111-1111-111111111111"),
        ("22222222-2222-2222-2222-222222222222.jsonl", "other-id"),
        ("22222222-2222-2222-2222-222222222222", "other-id"),
    ],
)
def test_a_session_is_found_by_any_of_its_names(home, store, migrate, journal, text, key):
    migrate(store)

    assert resolve_key(journal, text) == key


def test_a_session_is_found_by_its_path(home, store, migrate, journal, monkeypatch):
    migrate(store)
    monkeypatch.chdir(home)

    path = "22222222-2222-2222-2222-222222222222.jsonl"
    assert resolve_key(journal, f"./{path}") == resolve_key(journal, str(home / path)) == "other-id"


def test_an_alias_that_the_index_gained_later(home, store, migrate, journal):
    """The file is done already; its new name is kept all the same."""
    migrate(store)
    index = {"agent:main:new": {"sessionId": "22222222-2222-2222-2222-222222222222"}}
    (home / "sessions.json").write_text(json.dumps(index))

    assert migrate(store).counts == {"already": 2}
    assert resolve_key(journal, "agent:main:new") == "other-id"
    assert resolve_key(journal, "agent:main:main") == "11111111-1111-1111-1111-111111111111"


def test_whoever_writes_by_a_name_writes_to_its_session(home, store, migrate, journal):
    """An index's key, a path, a file's name and its stem all lead a writer where they lead a reader."""
    migrate(store)
    key = "11111111-1111-1111-1111-111111111111"
    path = home / f"{key}.jsonl"

    for name in ("agent:main:main", "agent:main:too", str(path), path.name):
        session = journal.session(name, writer="gateway", role="run")
        session.append({"by": name})
        assert session.key == key
        assert journal.session(name).read()[-1].json() == {"by": name}

    assert [info.key for info in journal.sessions()] == [key, "other-id"]
    assert journal.sessions()[0].aliases == ("agent:main:main", "agent:main:too", path.name)


def test_a_name_of_two_sessions_is_refused_to_whoever_writes(store, migrate, journal):
    """Rather than make a third session that hides both."""
    for place in ("x", "y"):
        session_file(store / place / "s.jsonl", {"n": place}, session_id=f"s-{place}")
    migrate(store)

    with pytest.raises(NotFoundError, match="may mean 2 sessions") as caught:
        journal.session("s.jsonl", writer="gateway", role="run")

    assert "s-x, s-y" in str(caught.value.hint)


def test_a_record_that_nobody_sealed_leads_nobody(store, migrate, journal):
    """Rule: no decision on the write path reads an unsealed table; nor does a redaction's, or a mirror's."""
    session_file(store / "s.jsonl", {"n": 1})
    migrate(store)
    with journal.store.transaction() as cursor:
        cursor.execute("UPDATE migrated_files SET alias = 'agent:main:new'")

    with pytest.raises(NotFoundError, match="a record that nobody sealed calls 's-1' so") as caught:
        resolve_key(journal, "agent:main:new")
    assert caught.value.code == "unsealed-name"
    assert journal.session("agent:main:new", writer="gateway", role="run").key == "agent:main:new"


def test_plain_sql_leads_a_name_to_no_other_session(store, migrate, journal):
    """The sealed name stands, whatever the records beside it say."""
    for key in ("s-1", "s-2"):
        session_file(store / f"{key}.jsonl", {"n": key}, session_id=key)
    migrate(store)
    with journal.store.transaction() as cursor:
        cursor.execute("UPDATE migrated_files SET name = 'x' WHERE name = 's-1.jsonl'")
        cursor.execute("UPDATE migrated_files SET name = 's-1.jsonl' WHERE name = 's-2.jsonl'")

    assert resolve_key(journal, "s-1.jsonl") == "s-1"


def index_of(directory, session):
    index = {"agent:main:main": {"sessionId": session}}
    (directory / "sessions.json").write_text(json.dumps(index))


def agent_of(home, session):
    """Make a store whose index calls this session its main one."""
    directory = home / "agents" / "main" / "sessions"
    session_file(directory / f"{session}.jsonl", {"n": session}, session_id=session)
    index_of(directory, session)
    return directory


ONE, TWO = (f"{digit * 8}-1111-1111-1111-111111111111" for digit in "12")


@pytest.fixture
def reset(store, migrate):
    """A store that was migrated, reset by its program, and migrated again."""
    directory = agent_of(store, ONE)
    migrate(store)
    old = directory / f"{ONE}.jsonl"
    old.rename(directory / f"{ONE}.jsonl.reset.2026-01-01T00-00-00.000Z")
    agent_of(store, TWO)
    assert migrate(store).set_aside == ()
    return directory


def test_after_a_reset_a_key_of_the_index_is_the_new_sessions(reset, journal, store, migrate):
    """Whoever reads or writes by it comes to the file that the index has now; the old one has its own names."""
    with journal.session("agent:main:main", writer="gateway", role="run").fence() as fence:
        fence.append({"by": "name"})

    assert resolve_key(journal, "agent:main:main") == TWO
    assert journal.session(TWO).read()[-1].json() == {"by": "name"}
    assert resolve_key(journal, f"{ONE}.jsonl") == resolve_key(journal, ONE) == ONE
    names = {info.key: info.aliases for info in journal.sessions()}
    assert names[ONE][0] == f"{ONE}.jsonl"
    assert names[TWO] == ("agent:main:main", f"{TWO}.jsonl")
    before = journal.store.registry.chain.head.seq
    migrate(store)
    facts = journal.store.registry
    assert [facts.called("agent:main:main"), facts.called(f"{ONE}.jsonl")] == [[TWO], [ONE]]
    assert facts.chain.head.seq == before  # a third look has nothing to seal


def test_a_tree_that_is_rebuilt_after_a_reset_has_the_index_as_it_is(reset, journal, tmp_path):
    rebuild(journal, tmp_path / "out")

    (index,) = (tmp_path / "out").rglob("sessions.json")
    said = json.loads(index.read_text())["agent:main:main"]
    assert said["sessionId"] == TWO
    assert said["sessionFile"].endswith(f"{TWO}.jsonl")


def test_a_path_that_had_two_sessions_is_refused_and_both_are_rebuilt(
    store, migrate, journal, tmp_path
):
    path = session_file(store / "a.jsonl", {"n": 1}, session_id="s-2")
    migrate(store)
    session_file(path, {"n": 2}, session_id="s-1")
    migrate(store)

    with pytest.raises(NotFoundError, match="may mean 2 sessions"):
        resolve_key(journal, str(path))
    made = {each.session: each.original for each in rebuild(journal, tmp_path / "out")}
    assert made == dict.fromkeys(("s-1", "s-2"), str(path))


def test_a_key_of_the_index_goes_back_with_the_index(reset, journal, store, migrate):
    (reset / f"{ONE}.jsonl.reset.2026-01-01T00-00-00.000Z").rename(reset / f"{ONE}.jsonl")
    index_of(reset, ONE)
    migrate(store)

    assert resolve_key(journal, "agent:main:main") == ONE


def test_the_indexes_of_two_stores_take_nothing_from_each_other(store, migrate, journal):
    for home, session in (("x", ONE), ("y", TWO)):
        agent_of(store / home, session)
    migrate(store)

    with pytest.raises(NotFoundError, match="may mean 2 sessions"):
        resolve_key(journal, "agent:main:main")


def test_a_store_that_was_moved_before_its_reset_calls_two_sessions_nothing(
    store, migrate, journal
):
    agent_of(store / "x", ONE)
    migrate(store / "x")
    (store / "x").rename(store / "y")
    index_of(store / "y" / "agents" / "main" / "sessions", ONE)
    migrate(store / "y")
    agent_of(store / "y", TWO)
    migrate(store / "y")

    assert resolve_key(journal, "agent:main:main") == TWO


@pytest.mark.parametrize("old, new", [(ONE, TWO), (TWO, ONE)])
def test_a_store_that_was_reset_after_it_was_moved_calls_two_sessions_nothing(
    store, migrate, journal, old, new
):
    """Nobody looked at it between the two: the index's key comes along with its old session's file."""
    directory = agent_of(store / "x", old)
    migrate(store / "x")
    file = directory / f"{old}.jsonl"
    file.rename(directory / f"{old}.jsonl.reset.2026-01-01T00-00-00.000Z")
    (store / "x").rename(store / "y")
    agent_of(store / "y", new)
    migrate(store / "y")

    assert resolve_key(journal, "agent:main:main") == new
    assert resolve_key(journal, f"{old}.jsonl") == old
    before = journal.store.registry.chain.head.seq
    migrate(store / "y")
    assert journal.store.registry.chain.head.seq == before


def named(number, path, *indexed):
    name = path.rpartition("/")[2]
    return {"session_id": number, "path": path, "name": name, "aliases": list(indexed)}


def test_a_copy_elsewhere_takes_no_key_of_the_index_away_from_where_it_was():
    """The old store's index still says whose it is."""
    aliases = Aliases()
    aliases.learn(named(1, "/x/one.jsonl", "main"))
    aliases.learn(named(1, "/backup/one.jsonl"))
    assert aliases.called("main") == [1]
    aliases.learn(named(2, "/x/two.jsonl", "main"))
    assert (aliases.called("main"), aliases.of(1)) == ([2], ["one.jsonl"])


def test_an_archive_takes_no_stem_from_its_session(store, migrate, journal):
    session_file(store / "a.jsonl", {"n": 1}, session_id="s-1")
    migrate(store)
    session_file(store / "a.jsonl.deleted.2026-01-01T00-00-00.000Z", {"n": 2}, session_id="s-2")
    migrate(store)

    assert resolve_key(journal, "a.jsonl") == "s-1"
    with pytest.raises(NotFoundError, match="may mean 2 sessions"):
        resolve_key(journal, "a")


def test_names_that_were_not_sealed_are_when_the_file_is_migrated_again(store, migrate, journal):
    """As in a journal that an earlier version made."""
    session_file(store / "s.jsonl", {"n": 1})
    migrate(store)
    journal.store.registry.aliases = Aliases()
    assert journal.session("s.jsonl").key == "s.jsonl"

    migrate(store)

    assert journal.session("s.jsonl").key == "s-1"


def test_a_key_is_preferred_to_an_alias(store, migrate, journal):
    session_file(store / "s-2.jsonl", session_id="s-1")
    session_file(store / "x.jsonl", session_id="s-2")
    migrate(store)

    assert resolve_key(journal, "s-2") == "s-2"


def test_what_may_mean_two_sessions_is_refused_and_both_named(store, migrate, journal):
    session_file(store / "a" / "x.jsonl", session_id="s-1")
    session_file(store / "b" / "x.jsonl", session_id="s-2")
    migrate(store)

    with pytest.raises(NotFoundError, match="may mean 2 sessions") as caught:
        resolve_key(journal, "x.jsonl")

    assert caught.value.hint == "name one by its key: s-1, s-2"
    assert caught.value.code == "ambiguous"


@pytest.mark.parametrize(
    "text, hint",
    [
        ("agent:main:mian", "is it one of these: agent:main:main"),
        ("agent:main:t", "is it one of these: agent:main:too"),
        ("nothing like it", "journal sessions"),
        ("\0", "journal sessions"),
        ("", "journal sessions"),
    ],
)
def test_an_unknown_name_gets_the_ones_close_to_it(home, store, migrate, journal, text, hint):
    migrate(store)

    with pytest.raises(NotFoundError) as caught:
        resolve_key(journal, text)

    assert str(caught.value.hint).startswith(hint)


def test_receipts_of_a_thief_are_no_stumbling_block(home, store, migrate, journal, thief):
    """Aliases are kept under no seal: what makes no sense is stepped over."""
    migrate(store)
    thief.execute(
        "UPDATE migrated_files SET alias = CAST(x'ff' AS TEXT), session_id = 99 WHERE id = 1"
    )
    thief.execute("UPDATE migrated_files SET path = CAST(x'ff' AS TEXT) WHERE id = 2")

    assert resolve_key(journal, "22222222-2222-2222-2222-222222222222") == "other-id"
    assert set(states(migrate(store)).values()) == {"already"}


@pytest.mark.skipif(sys.platform != "linux", reason="file names are text elsewhere")
def test_a_file_name_that_is_no_text(store, migrate, exported, journal):
    (store / os.fsdecode(b"\xff\n.jsonl")).write_bytes(b"{}\n")

    (found,) = migrate(store).files

    assert exported(check_key(found.key)) == b"{}\n"
    assert migrate(store).counts == {"already": 1}
