from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.formats import detect, openclaw, pi, plain

STORE = Path(__file__).parents[1] / "fixtures" / "openclaw-2026.5.18"
UUID = "496214a3-21ed-4c48-8a4a-a2b4a6de3ef2"
OTHER = "8ec0149b-f56a-449f-9d1d-2485f6988261"
STAMP = "2026-11-22T11-32-54.822Z"

TABLE = [
    # name, class, alias, known in any folder
    ("sessions.json", "index", "sessions.json", True),
    ("sessions.json.bak.1779094801000", "ignored", "sessions.json.bak.1779094801000", True),
    ("sessions.json.26417.tmp", "ignored", "sessions.json.26417.tmp", True),
    (f"{UUID}.jsonl", "primary", UUID, False),
    (f"{UUID.upper()}.jsonl", "primary", UUID.upper(), False),
    (f"{UUID}-topic-42.jsonl", "primary", UUID, False),
    (f"2026-11-22T11-30-22-211Z_{UUID}.jsonl", "primary", UUID, False),
    ("main.jsonl", "primary", "main", False),
    (f"{UUID}.jsonl.lock", "lock", UUID, True),
    (f"{UUID}.jsonl.deleted.{STAMP}", "archived", UUID, True),
    (f"{UUID}.jsonl.deleted.{STAMP}.zst", "archived", UUID, True),
    (f"{UUID}.jsonl.deleted.{STAMP}.{'a' * 32}.zst", "archived", UUID, True),
    (f"{UUID}.jsonl.reset.{STAMP}", "archived", UUID, True),
    (f"{UUID}-topic-7.jsonl.reset.2026-11-22T11-32-54Z", "archived", f"{UUID}-topic-7", True),
    (f"{UUID}.jsonl.bak.{STAMP}", "archived", UUID, True),
    (f"{UUID}.jsonl.bak-26417-1779094801000", "archived", UUID, True),
    (f"{UUID}.jsonl.pre-doctor-branch-repair-2026-11-22T11-32-54-822Z.bak", "archived", UUID, True),
    (f"{UUID}.checkpoint.{OTHER}.jsonl", "archived", UUID, True),
    (f"archive-tier.{UUID}.jsonl.imported-1789825630375", "archived", UUID, True),
    (
        f"agent_main_main.{UUID}.jsonl.imported-1789825630375",
        "archived",
        f"agent_main_main.{UUID}",
        True,
    ),
    (f"{UUID}.trajectory.jsonl", "diagnostic", UUID, True),
    (f"{UUID}.trajectory-path.json", "diagnostic", UUID, True),
    (f"{UUID}.trajectory.jsonl.deleted.{STAMP}", "diagnostic", UUID, True),
    ("probe-anthropic-1779094801000.jsonl", "diagnostic", "probe-anthropic-1779094801000", False),
]


@pytest.mark.parametrize("name, found, alias, anywhere", TABLE, ids=[row[0] for row in TABLE])
def test_names_are_classed_by_a_closed_table(name, found, alias, anywhere):
    assert openclaw.classify(name) == found
    assert openclaw.classify(f"C:\\home\\agents\\main\\sessions\\{name}") == found
    assert openclaw.alias(f"/x/{name}") == alias
    assert openclaw.recognises(f"/x/agents/main/sessions/{name}", [])
    assert openclaw.recognises(f"/x/{name}", []) is anywhere


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        ".jsonl",
        "-.jsonl",
        "notes.txt",
        f"{UUID}.jsonl.deleted.yesterday",
        f"{UUID}.jsonl.bak",
        "a.jsonl.zst",
    ],
)
def test_a_name_the_table_does_not_know_is_nobodys(name):
    assert openclaw.classify(name) == "ignored"
    assert openclaw.alias(name) == name
    assert detect(f"/x/agents/main/sessions/{name}", []) in {None, plain}


def test_a_name_that_others_give_too_is_openclaws_in_its_folder_alone():
    name = f"2026-11-22T11-30-22-211Z_{UUID}.jsonl"
    assert detect(f"/x/agents/main/sessions/{name}", []) is openclaw
    assert detect(f"/x/sessions/--home-dev--/{name}", []) is pi
    assert detect("/x/probe-data.jsonl", []) is plain


def test_every_file_of_a_real_store_is_known():
    files = sorted(path for path in STORE.rglob("*") if path.is_file())
    found = {path.name: openclaw.classify(str(path)) for path in files}
    assert all(detect(str(path), []) is openclaw for path in files)
    assert sorted(found.values()) == ["archived"] * 3 + ["index", "lock", "primary", "primary"]


def test_identity_comes_from_the_header_also_in_an_archive_or_checkpoint():
    for path in STORE.rglob("*.jsonl*"):
        if openclaw.classify(path.name) in {"primary", "archived"}:
            found = openclaw.header(path.read_bytes().split(b"\n")[:3])
            assert found.id == openclaw.alias(path.name)
            assert found.cwd == "/home/dev/demo"


def test_the_index_of_a_real_store_names_a_file_per_key():
    (path,) = STORE.rglob("sessions.json")
    assert openclaw.index(path.read_bytes())["agent:main:main"] == f"{UUID}.jsonl"
    assert len(openclaw.index(path.read_bytes())) == 4


@pytest.mark.parametrize(
    "entry, name",
    [
        ({"sessionFile": "/a/b/x.jsonl", "sessionId": "y"}, "x.jsonl"),
        ({"sessionFile": "C:\\a\\x.jsonl"}, "x.jsonl"),
        ({"sessionId": "y"}, "y.jsonl"),
        ({"sessionFile": 7, "sessionId": "y"}, "y.jsonl"),
        ({"sessionFile": "/a/.."}, None),
        ({"sessionFile": "/a/"}, None),
        ({"sessionId": "../y"}, None),
        ({"sessionId": "a\\..\\y"}, None),
        ({"sessionFile": "x\0.jsonl"}, None),
        ({}, None),
        ("x.jsonl", None),
        (None, None),
    ],
)
def test_the_index_gives_bare_names_alone(entry, name):
    expected = {} if name is None else {"k": name}
    assert openclaw.index(json.dumps({"k": entry}).encode()) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"a":' + b"9" * 9000,
        b'{"":{"sessionId":"a"}}',
    ],
)
def test_the_index_of_garbage_is_empty(data):
    assert openclaw.index(data) == {}


def test_the_index_may_start_with_a_byte_order_mark():
    assert openclaw.index(b'\xef\xbb\xbf{"k":{"sessionId":"a"}}') == {"k": "a.jsonl"}


@given(
    st.binary()
    | st.recursive(
        st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    ).map(lambda v: json.dumps(v).encode())
)
def test_the_index_raises_nothing_and_never_points_elsewhere(data):
    for name in openclaw.index(data).values():
        assert "/" not in name
        assert "\\" not in name
        assert name not in {"", ".", ".."}


@given(st.text())
def test_any_name_has_a_class(name):
    assert openclaw.classify(name) in {
        "primary",
        "archived",
        "diagnostic",
        "index",
        "lock",
        "ignored",
    }
    assert isinstance(openclaw.alias(name), str)
