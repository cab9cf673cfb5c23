"""The values: what a key and a name may be, and what an entry says of itself."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.errors import EntryError
from journal.model import KEY_LIMIT, NAME_LIMIT, Entry, check_key, check_label, check_name

BAD_KEYS = {
    "empty": "",
    "a NUL": "a\0b",
    "a line feed": "a\nb",
    "an escape": "\x1b[31m",
    "a C1 control": "a\x9bb",
    "DEL": "a\x7f",
    "ten thousand characters": "k" * 10_000,
    "one too many": "k" * (KEY_LIMIT + 1),
    "a lone surrogate": "a\ud800",
    "..": "..",
    "a step up": "a/../b",
    "a step up at the end": "a/..",
    "a step up between colons": "agent:..:main",
    "a step up on Windows": "a\\..\\b",
    "the registry's own": "journal:",
    "no text": 42,
    "bytes": b"agent:main",
    "None": None,
}


@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_key_that_cannot_be_kept_is_refused(key):
    with pytest.raises(EntryError) as caught:
        check_key(key)

    assert caught.value.code == "session-key"
    assert caught.value.exit_code == 2
    assert caught.value.hint
    assert len(str(caught.value)) < 200
    assert str(caught.value).isascii()


@pytest.mark.parametrize(
    "key",
    [
        *(
            "agent:main:main",
            "a/b/c",
            "a..b",
            "...",
            "journal:x",
            " ",
            "k" * KEY_LIMIT,
            "../"[::-1][:1],
        ),
        *("門", "🦞" * 10, "'; DROP TABLE entries; --", "%", "?mode=memory", "\u202e", "C:\\x"),
    ],
)
def test_a_key_is_opaque_text(key):
    assert check_key(key) == key


@given(st.text(max_size=KEY_LIMIT + 10))
def test_any_text_is_a_key_or_an_entry_error(key):
    """Never another error, and what is accepted is valid UTF-8 without controls."""
    try:
        kept = check_key(key)
    except EntryError:
        return
    assert kept.encode()
    assert kept.isprintable() or not any(ord(char) < 0x20 for char in kept)


@pytest.mark.parametrize(
    "name", ["", "n" * (NAME_LIMIT + 1), "a\tb", "journal:", "journal:x", "external:m", 1]
)
def test_a_name_that_cannot_be_declared_is_refused(name):
    with pytest.raises(EntryError) as caught:
        check_name(name)

    assert caught.value.code == "writer-name"
    assert caught.value.hint


def test_a_label_may_be_left_out():
    assert check_label(None, "run id") is None
    assert check_label("run-1", "run id") == "run-1"


@pytest.mark.parametrize("label", ["", "x" * (KEY_LIMIT + 1), "a\0"])
def test_a_label_that_cannot_be_kept_is_refused(label):
    with pytest.raises(EntryError) as caught:
        check_label(label, "run id")

    assert caught.value.code == "run-id"


def entry(**changes: Any) -> Entry:
    values: dict[str, Any] = {
        "session": "s",
        "seq": 1,
        "epoch": 1,
        "writer": "w",
        "role": "run",
        "trust": "asserted",
        "kind": "line",
        "origin": "api",
        "created_us": 0,
        "body": b'{"a":1}',
        "terminator": b"\n",
    }
    return Entry(**values | changes)


def test_an_entry_is_its_bytes():
    assert entry().data == b'{"a":1}\n'
    assert entry().json() == {"a": 1}
    assert entry(body=None, terminator=b"").data == b""


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, None, b""])
def test_an_entry_that_is_no_json_says_so(body):
    with pytest.raises(EntryError) as caught:
        entry(body=body).json()

    assert caught.value.code == "not-json"


@pytest.mark.parametrize(
    "trust", ["external", "permitted", "accepted", "stray", "altered", "erased", "missing"]
)
def test_only_a_sealed_entry_of_a_declared_writer_is_trusted(trust):
    assert entry().trusted
    assert not entry(trust=trust).trusted


def test_a_line_end_is_one_only_where_it_can_be_believed():
    """An empty row that nobody sealed is no line end; it makes a verdict like any other."""
    assert entry(body=b"", kind="raw").is_line_end
    assert entry(body=b"", kind="raw", trust="external").is_line_end
    assert not entry(body=b"", kind="raw", trust="stray").is_line_end
    assert not entry(body=None, trust="erased").is_line_end
    assert not entry(body=b"", kind="control").is_line_end
