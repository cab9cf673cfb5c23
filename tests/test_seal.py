"""Seals, against a second implementation made from the words of docs/format.md alone."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal import seal as seals
from journal.audit.sessions import KNOWN_FACTS
from journal.fields import field
from journal.model import Row
from tests.thieves import COLUMNS, KEY, UNSEALED, forged_value

FORMAT = Path(__file__).resolve().parent.parent / "docs" / "format.md"
SECRET = bytes(range(32))
JOURNAL_ID = "0123456789abcdef0123456789abcdef"

# --- the format, said again with hashlib and hmac


def one_field(value: bytes | str | int | None) -> bytes:
    if value is None:
        return b"\xff\xff\xff\xff"
    if isinstance(value, int):
        value = value.to_bytes(8, "big", signed=True)
    elif isinstance(value, str):
        value = value.encode("utf-8")
    return len(value).to_bytes(4, "big") + value


def fields(*values: bytes | str | int | None) -> bytes:
    return b"".join(map(one_field, values))


def keyed(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869, for 32 bytes of output."""
    return keyed(keyed(salt, secret), info + b"\x01")


def journal_key() -> bytes:
    return hkdf(SECRET, JOURNAL_ID.encode("ascii"), b"session-journal/key/1")


def session_key(number: int, key: str) -> bytes:
    return keyed(journal_key(), fields("session-journal/session/1", number, key))


def commitment(salt: bytes, body: bytes, terminator: bytes) -> bytes:
    whole = fields("session-journal/commitment/1", salt, body, terminator)
    return hashlib.sha256(whole).digest()


NUMBERS = (
    *("session_id", "seq", "epoch", "writer_id", "instance_id"),
    *("recorder_id", "trusted", "created_us", "cum_bytes", "key_id"),
)


def seal(key: bytes, row: dict[str, Any]) -> bytes:
    numbers = b"".join(row[name].to_bytes(8, "big", signed=True) for name in NUMBERS)
    rest = [
        row[name] for name in ("claim", "kind", "origin", "run_id", "on_behalf_of", "request_id")
    ]
    return keyed(
        key, fields("session-journal/seal/1", row["prev"], numbers, row["commitment"], *rest)
    )


def vectors() -> list[str]:
    """Read the hexadecimal column of the table under "Vectors"."""
    table = FORMAT.read_text("utf-8").partition("## Vectors")[2]
    return re.findall(r"\| `([0-9a-f]+)` \|$", table, re.MULTILINE)


def vector_row() -> dict[str, Any]:
    return {
        "session_id": 2,
        "seq": 1,
        "epoch": 1,
        "writer_id": 3,
        "instance_id": 4,
        "recorder_id": 3,
        "claim": None,
        "kind": "line",
        "trusted": 1,
        "origin": "api",
        "request_id": None,
        "run_id": "r1",
        "on_behalf_of": None,
        "created_us": 1_700_000_000_000_000,
        "cum_bytes": 19,
        "commitment": commitment(bytes(range(16)), b'{"type":"message"}', b"\n"),
        "key_id": 1,
        "prev": keyed(session_key(2, KEY), fields("session-journal/genesis/1"))[:16],
    }


def test_the_words_of_the_format_give_its_vectors():
    """docs/format.md is exact enough to be implemented again."""
    row = vector_row()

    assert vectors() == [
        journal_key().hex(),
        keyed(journal_key(), fields("session-journal/fingerprint/1"))[:8].hex(),
        row["prev"].hex(),
        row["commitment"].hex(),
        seal(session_key(2, KEY), row).hex(),
    ]


def test_every_fact_that_the_auditor_knows_is_in_the_format():
    """A name that is in no table of it is J112: who wrote a journal from the words alone would lack it."""
    text = FORMAT.read_text("utf-8")

    told = set(re.findall(r"^\| `(\w+)` \| a session \|", text, re.MULTILINE))
    assert told | set(re.findall(r'"control":"(\w+)"', text)) == KNOWN_FACTS


def test_the_code_gives_the_same_vectors():
    key = seals.derive_key(SECRET, JOURNAL_ID)
    sealer = seals.Sealer(key, 1, 2, KEY)

    assert [key.hex(), seals.fingerprint(key), sealer.genesis.hex()] == vectors()[:3]
    assert seals.commitment(bytes(range(16)), b'{"type":"message"}', b"\n").hex() == vectors()[3]
    assert sealed_by(sealer, vector_row()).hex() == vectors()[4]


def sealed_by(sealer: seals.Sealer, row: dict[str, Any]) -> bytes:
    return sealer.seal(
        row["prev"],
        row["seq"],
        row["epoch"],
        row["writer_id"],
        row["instance_id"],
        row["recorder_id"],
        row["trusted"],
        row["created_us"],
        row["cum_bytes"],
        row["commitment"],
        row["claim"],
        octets(row["kind"]),
        octets(row["origin"]),
        octets(row["run_id"]),
        octets(row["on_behalf_of"]),
        octets(row["request_id"]),
        row["session_id"],
        row["key_id"],
    )


def octets(text: str | None) -> Any:
    return None if text is None else text.encode()


INTEGERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
ROWS = st.fixed_dictionaries(
    dict.fromkeys(NUMBERS, INTEGERS)
    | dict.fromkeys(("kind", "origin"), TEXTS)
    | dict.fromkeys(("run_id", "on_behalf_of", "request_id"), st.none() | TEXTS)
    | {"claim": st.none() | INTEGERS}
    | {
        "prev": st.binary(min_size=16, max_size=16),
        "commitment": st.binary(min_size=32, max_size=32),
    }
)


@given(ROWS, st.integers(1, 2**40), TEXTS)
def test_any_row_has_one_seal_in_both(row, number, key):
    """Every column, at its limits, empty and NULL."""
    sealer = seals.Sealer(journal_key(), 1, number, key)

    assert sealed_by(sealer, row) == seal(session_key(number, key), row)


@given(
    st.binary(min_size=16, max_size=16),
    st.binary(max_size=200),
    st.sampled_from([b"", b"\n", b"\r\n"]),
)
def test_any_line_has_one_commitment_in_both(salt, body, terminator):
    assert seals.commitment(salt, body, terminator) == commitment(salt, body, terminator)


@given(st.binary(max_size=100), st.binary(max_size=300))
def test_the_keyed_hash_is_hmac(key, message):
    """For keys up to a block, which is all that is ever used."""
    assert seals.KeyedHash(key[:64])(message) == keyed(key[:64], message)


def test_a_length_belongs_to_each_field():
    """What ends one field cannot begin the next."""
    assert fields("ab", "c") != fields("a", "bc")
    assert seals.commitment(b"\0" * 16, b"a", b"\n") != seals.commitment(b"\0" * 16, b"a\n", b"")
    assert field(None) != field(b"")


# --- rows that a journal wrote


@pytest.fixture
def row(base, thief) -> Row:
    base.append({"type": "message"}, request_id="r1")
    return read(thief, 2)


def read(thief, seq: int) -> Row:
    wanted = [f"CAST({c} AS BLOB)" if c in TEXT else c for c in ("id", *COLUMNS)]
    statement = f"SELECT {', '.join(wanted)} FROM entries WHERE session_id = 2 AND seq = ?"
    return Row._make(thief.execute(statement, seq).fetchone())


TEXT = (
    "kind",
    "origin",
    "request_id",
    "run_id",
    "on_behalf_of",
    "line_type",
    "line_id",
    "parent_id",
)


@pytest.fixture
def sealer(journal):
    return journal.store.registry.chain_of(KEY).sealer


def test_a_written_row_verifies_by_the_words_of_the_format(row, thief, key_file):
    """With the key file, meta and the row alone; its prev is the seal before it."""
    secret = bytes.fromhex(key_file.read_text())
    journal_id = thief.ask("SELECT value FROM meta WHERE name = 'journal_id'")
    key = keyed(
        hkdf(secret, journal_id.encode(), b"session-journal/key/1"),
        fields("session-journal/session/1", 2, KEY),
    )
    values = row._asdict() | {name: text_of(getattr(row, name)) for name in TEXT}

    assert seal(key, values) == row.seal
    assert commitment(row.salt or b"", row.body or b"", row.terminator) == row.commitment
    assert row.prev == read(thief, 1).seal[:16]
    assert read(thief, 1).prev == keyed(key, fields("session-journal/genesis/1"))[:16]


def text_of(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def test_a_row_as_written_is_sealed(row, sealer):
    assert sealer.status(row) == "sealed"


@pytest.mark.parametrize("column", [column for column in COLUMNS if column not in UNSEALED])
def test_any_change_under_the_seal_shows(row, sealer, column):
    """Another line is altered, any other change a stray."""
    value = getattr(row, column)
    forged = forged_value(column, value.decode() if column in TEXT and value else value)
    changed = row._replace(**{column: forged.encode() if isinstance(forged, str) else forged})

    expected = "altered" if column in ("body", "terminator", "salt") else "stray"
    assert sealer.status(changed) == expected


@pytest.mark.parametrize("column", UNSEALED)
def test_what_is_not_under_the_seal_changes_nothing(row, sealer, column):
    assert sealer.status(row._replace(**{column: 99 if column == "id" else b"forged"})) == "sealed"


def test_a_row_without_body_and_salt_is_erased(row, sealer):
    assert sealer.status(row._replace(body=None, salt=None)) == "erased"
    assert sealer.status(row._replace(body=None)) == "altered"
    assert sealer.status(row._replace(salt=None)) == "altered"


@pytest.mark.parametrize(
    "column, value", [("prev", b"x"), ("commitment", b""), ("seal", b""), ("salt", b"short")]
)
def test_a_value_of_another_size_is_no_error(row, sealer, column, value):
    assert sealer.status(row._replace(**{column: value})) in ("stray", "altered")


def test_another_session_or_another_name_has_another_key(row, journal):
    key = journal.store.keys.key

    assert not seals.Sealer(key, 1, 3, KEY).seal_holds(row._replace(session_id=3))
    assert not seals.Sealer(key, 1, 2, "agent:main:other").seal_holds(row)
    assert not seals.Sealer(bytes(32), 1, 2, KEY).seal_holds(row)


def test_a_mac_belongs_to_its_table_and_its_values():
    mac = seals.Mac(journal_key())

    expected = keyed(journal_key(), fields("session-journal/mac/1", "fence", "f1", 2, None, b"x"))
    assert mac("fence", "f1", 2, None, b"x") == expected[:16]
    assert mac("fence", "f1") != mac("verdict", "f1")
    assert mac("fence", "f1", None) != mac("fence", "f1", b"")


def test_the_proof_of_examined_belongs_to_its_session_and_seq():
    sealer = seals.Sealer(journal_key(), 1, 2, KEY)

    expected = keyed(session_key(2, KEY), fields("session-journal/examined/1", 5))
    assert sealer.examined_mac(5) == expected[:16]
    assert sealer.examined_mac(5) != sealer.examined_mac(6)
    assert sealer.examined_mac(5) != seals.Sealer(journal_key(), 1, 3, KEY).examined_mac(5)


def test_a_digest_stands_for_every_column_of_a_row():
    """As the format says: a number is 8 bytes, text its stored bytes."""
    assert seals.row_digest([1, None, b"x"]) == hashlib.sha256(fields(1, None, b"x")).digest()
    assert seals.row_digest([1, 2]) != seals.row_digest([2, 1])
