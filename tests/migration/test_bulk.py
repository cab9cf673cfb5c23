"""Rows that are sealed and made many at once are the rows that any write makes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.audit import audit
from journal.chain import Head
from journal.lines import Line, parse
from journal.migration import apply, bulk, chunks, plan
from journal.migration.reading import Ahead
from journal.migration.source import Source
from journal.regions import Plain, parse_region, raw_lines
from journal.seal import Sealer, body_holds, holds
from journal.sealing import Basis, sealed_lines
from tests.migration.conftest import session_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from journal import Journal
    from journal.migration import Result

# What the look at many lines at once could take for one line each, and is not.
PIECES = (
    b'{"a":1}', b'{"type":"message","id":"x","parentId":"y"}', b'{"uuid":"u","parentUuid":"v"}',
    b'{"id":"","uuid":"u"}', b'{"a":1} {"b":2}', b'{"a":', b"1}", b'{"a":{}', b'{"a":[{}', b"{}]}",
    b'{"a":"}', b'{"}', b",", b"", b" ", b"[1]", b"42", b'{"id":5}', b'{"id":"\\u0000"}', b"\r",
    b'{"type":"\\ud800"}', b'{"type":"\\ud83d\\ude00"}', b'{"a":"\\u0000"}', b'{"a":NaN}', b"\xff",
    b'{"a":"\xff"}', '{"id":"é"}'.encode(), b'{"a":' + b"9" * 4400 + b"}", b'{"id":"' + b"i" * 201 + b'"}',
    b'{"a":' + b"[" * 505 + b"]" * 505 + b"}", b'{"a":"' + b"[" * 1100 + b'"}', b"\xef\xbb\xbf{}",
)  # fmt: skip

OBJECTS = [piece for piece in PIECES if piece[:1] + piece[-1:] == b"{}"]


@given(
    st.lists(st.sampled_from(OBJECTS), min_size=1, max_size=3)
    | st.lists(st.sampled_from(PIECES), min_size=1, max_size=6)
)
def test_lines_looked_at_at_once_are_those_looked_at_one_by_one(bodies: list[bytes]) -> None:
    region = b"\n".join(bodies)
    alone = [parse(body) for body in bodies]
    assert parse_region(region) == alone
    assert raw_lines(region) == sum(line.kind == "raw" for line in alone)


def test_a_value_over_two_lines_is_none_though_their_number_fits() -> None:
    """Three values on three lines, and none of the last two lines is one."""
    bodies = [b'{"a":1} {"b":2}', b'{"c":', b"3}"]
    assert [line.kind for line in parse_region(b"\n".join(bodies))] == ["raw"] * 3


@given(st.lists(st.sampled_from(OBJECTS), min_size=1, max_size=9), st.none() | st.integers(1, 9))
def test_columns_are_sealed_as_lines_are(bodies: list[bytes], claim: int | None) -> None:
    """With the same salts the same seals, whichever loop made them; and cut and joined the same lines."""
    lines = [Line(body, b"\n", "line") for body in bodies]
    plain, sealer = Plain.of(lines), Sealer(b"k" * 32, 2, 7, "s-a")
    basis = Basis(7, 2, Head(3, 2, b"s" * 32, 99, claim), 4, 5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.urandom", lambda size: bytes(n % 251 for n in range(size)))
        made = sealed_lines(sealer, basis, 6, plain)
        assert made == sealed_lines(sealer, basis, 6, lines)
    assert made.head.cum_bytes == 99 + len(plain.data())
    first, rest = plain.cut(len(bodies) // 2)
    first.add(rest)
    assert first.lines() == lines


def test_the_last_chunk_is_known_as_such_though_it_is_full(store: Path) -> None:
    """Else an empty one would come behind it, and nothing of the next file be prepared meanwhile."""
    path = session_file(store / "a.jsonl", *[{"n": 1}] * (chunks.CHUNK_LINES - 1))
    with Source(str(path)) as source:
        found = [(len(lines), is_last) for lines, is_last in chunks.chunks_of(source)]
    assert found == [(chunks.CHUNK_LINES, True)]


NAMES = ["é", "\U0001f600", "\x7f", "tab\there", '"', "\\", "a" * 200, "", None, "\u2028"]


def rows_of(journal: Journal, key: str) -> list[Any]:
    with journal.store.snapshot() as cursor:
        number = journal.store.registry.session_ids[key]
        names = (
            "seq, kind, line_type, line_id, parent_id, body, terminator, cum_bytes, origin, trusted"
        )
        found = (
            f"SELECT {names} FROM entries WHERE session_id = ? AND kind <> 'control' ORDER BY seq"
        )
        return cursor.execute(found, (number,)).fetchall()


def test_each_column_is_as_the_line_has_it(
    journal: Journal, migrate: Callable[..., Result], store: Path
) -> None:
    """Made inside SQLite out of JSON, or bound one by one for a line that is none: the same columns."""
    lines = [
        json.dumps({"type": one, "id": other, "parentId": one}, ensure_ascii=n % 2 == 0).encode()
        + b"\n"
        for n, (one, other) in enumerate((one, other) for one in NAMES for other in NAMES)
    ]
    plain = session_file(store / "a.jsonl", *lines, session_id="s-a")
    session_file(store / "b.jsonl", *lines, b"no JSON\n", session_id="s-b")
    migrate(store)
    made, bound = rows_of(journal, "s-a"), rows_of(journal, "s-b")
    assert [row[1:7] for row in made[1:]] == [row[1:7] for row in bound[1:-1]]
    bodies = plain.read_bytes().split(b"\n")[:-1]
    size = 0
    for seq, (row, body) in enumerate(zip(made, bodies, strict=True), start=1):
        line, size = parse(body), size + len(body) + 1
        assert row == (seq, *line[2:], body, b"\n", size, "file", 1)
    assert audit(str(journal.path)).findings == ()


def seals_used(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Note of each chunk whether its seals were made ahead and taken."""
    used: list[bool] = []
    real = bulk.write_lines

    def noted(cursor: Any, chain: Any, author: Any, *rest: Any, **options: Any) -> int:
        sealed = options["sealed"]
        used.append(sealed is not None and sealed.basis == bulk.basis_of(chain, author))
        return real(cursor, chain, author, *rest, **options)

    monkeypatch.setattr("journal.migration.transfer.write_lines", noted)
    return used


def test_what_follows_is_sealed_ahead(
    journal: Journal, migrate: Callable[..., Result], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All but the very first chunk, of one file as of the next."""
    monkeypatch.setattr("journal.migration.chunks.CHUNK_LINES", 4)
    for n in range(3):
        session_file(store / f"{n}.jsonl", *[{"n": 1}] * 9, session_id=f"s-{n}")
    used = seals_used(monkeypatch)
    migrate(store)
    assert used == [False] + [True] * 8


def test_seals_made_ahead_for_another_head_are_not_taken(
    journal: Journal, migrate: Callable[..., Result], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two files somebody begins a session: the number that the next one was sealed for is taken."""
    for n in range(2):
        session_file(store / f"{n}.jsonl", {"n": 1}, session_id=f"s-{n}")
    real = Ahead.reading

    def meanwhile(self: Ahead, each: Any) -> Any:
        if each.key == "s-1":
            journal.session("between", writer="gateway", role="run").append({"n": 0})
        return real(self, each)

    monkeypatch.setattr(Ahead, "reading", meanwhile)
    used = seals_used(monkeypatch)
    migrate(store)
    assert used == [False, False]
    with journal.store.snapshot() as cursor:
        for key in ("s-0", "s-1"):
            chain = journal.store.find_chain(cursor, key)
            assert chain is not None
            assert all(
                holds(chain.sealer, row) and body_holds(row) for row in every_row(cursor, chain)
            )


def every_row(cursor: Any, chain: Any) -> list[Any]:
    from journal.pages import rows_of as whole

    rows = list(whole(cursor, chain.session_id, 1))
    assert rows
    return rows


def test_a_file_that_grows_after_it_was_opened_ahead_is_read_anew(
    journal: Journal, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = session_file(store / "0.jsonl", {"n": 1}, session_id="s-0")
    second = session_file(store / "1.jsonl", {"n": 1}, session_id="s-1")
    real = Ahead.reading

    def meanwhile(self: Ahead, each: Any) -> Any:
        found = real(self, each)
        if each.path == str(second) and second.stat().st_size < 100:
            with second.open("ab") as file:
                file.write(b'{"n":"' + b"x" * 100 + b'"}\n')
        return found

    monkeypatch.setattr(Ahead, "reading", meanwhile)
    result = apply(journal, plan([store]))
    assert not result.set_aside
    assert [each.bytes for each in result.files] == [first.stat().st_size, second.stat().st_size]
