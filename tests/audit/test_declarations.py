"""What the registry's entries declare, as an audit reads them."""

from __future__ import annotations

from typing import Any

import pytest

from journal.audit.declarations import Declarations, Declared, Registered, Revoked
from tests.audit.rows import row


@pytest.fixture
def known() -> Declarations:
    return Declarations()


def fact(control: str, **facts: Any) -> dict[str, Any]:
    return {"control": control, **facts}


def test_before_anything_is_read_the_registry_is_known(known):
    assert known.name_of(1) == "journal:"
    assert known.name_of(2) == "writer 2"
    assert known.sessions == {1: Registered("journal:", None)}
    assert known.session_ids == {"journal:": 1}
    assert known.key_id == 1


def test_writers_sessions_and_revocations(known):
    at = row(seq=7, id=40, created_us=100)
    assert known.learn(at, fact("journal", id="1d", format=1, fingerprint="f", more=1))
    assert known.learn(at, fact("writer", id=2, name="w", role="run"))
    assert known.learn(at, fact("session", id=2, key="s"))
    assert known.learn(at, fact("revoke", id=2, reason="gone"))
    assert known.learn(at, fact("names", session_id=2))
    assert known.journal == {"id": "1d", "format": 1, "fingerprint": "f"}
    assert known.sessions == {1: Registered("journal:", 100), 2: Registered("s", 100)}
    assert known.writers[2] == Declared("w", "run", 100)
    assert known.revoked == {2: Revoked(100, "gone", 40)}
    assert known.session_ids["s"] == 2
    assert known.name_of(2) == "w"
    assert known.twice == []


@pytest.mark.parametrize(
    "facts, is_twice",
    [
        (fact("writer", id=2, name="w", role="run"), True),
        (fact("writer", id=3, name="w", role="run"), True),
        (fact("writer", id=2, name="x", role="run"), True),
        (fact("writer", id=3, name="x", role="run"), False),
        (fact("writer", id=1, name="journal:", role="operator"), False),  # its own entry
        (fact("session", id=2, key="s"), True),
        (fact("session", id=3, key="s"), True),
        (fact("session", id=2, key="t"), True),
        (fact("session", id=3, key="t"), False),
    ],
)
def test_what_is_registered_a_second_time_is_told(known, facts, is_twice):
    known.learn(row(), fact("writer", id=2, name="w", role="run"))
    known.learn(row(), fact("session", id=2, key="s"))
    assert known.learn(row(seq=9), facts)
    assert [seq for seq, _ in known.twice] == [9] * is_twice
    if facts["control"] == "session":
        assert known.sessions[2] == Registered("s", 100)


@pytest.mark.parametrize(
    "facts",
    [
        fact("writer", id=2, name="w", role="king"),
        fact("names", session_id="x"),
        fact("session", id=1),
    ],
)
def test_a_fact_that_lacks_what_it_says_is_none(known, facts):
    with pytest.raises((KeyError, ValueError)):
        known.learn(row(), facts)


def test_mirrors_and_who_is_permitted(known):
    told = {"session_id": 2, "host": "h", "path": "/p", "on_edit": "keep", "writer_id": 3}
    assert known.learn(row(), fact("mirror", number=1, **told))
    assert known.learn(row(), fact("mirror", number=2, **told | {"session_id": 4}))
    assert known.mirrors[1]._asdict() == told
    assert known.learn(row(), fact("unmirror", session_id=2))
    assert known.removed == {1}
    assert known.learn(row(), fact("permit", id=3, permitted=True))
    assert known.permitted == {3}
    assert known.learn(row(), fact("permit", id=3, permitted=False))
    assert known.permitted == set()
    assert not known.learn(row(), fact("something new"))


def test_key_eras(known):
    told = {"was": 1, "fingerprint": "f", "was_at_hand": True, "reason": "lost"}
    assert known.learn(row(created_us=5), fact("era", key_id=2, **told))
    assert known.learn(row(created_us=6), fact("era", key_id=2, **told | {"reason": "other"}))
    assert known.eras == {2: {**told, "at_us": 5}}
    assert known.learn(row(), fact("key", key_id=1))
    assert known.key_id == 2
    assert known.learn(row(), fact("key", key_id=3))
    assert known.key_id == 3
    assert list(known.eras) == [2]


def test_instances_with_their_processes(known):
    known.learn_instance((7, 2, b"h", b"ns", b"boot", 12, 99, b"", b"", 0, b""))
    assert known.instances == {7: 2}
    assert known.processes == {7: ("h", "ns", "boot", "12", "99")}


def test_a_session_is_called_by_its_key_alone_where_no_names_were_learnt(known):
    assert known.called("journal:") == ["journal:"]
    assert known.called("a name") == []
