"""What the audit's tests need: a journal with some of everything, and someone who holds its key."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from journal import Superseded
from journal.audit import audit
from journal.keys import read_secret
from journal.model import REGISTRY_ID, Row
from journal.seal import Mac, Sealer, commitment, derive_key
from tests.thieves import COLUMNS, KEY, Thief

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from journal import Journal
    from journal.audit import Finding, Report

OTHER = "agent:main:other"
LAID = "agent:main:laid out"


class Holder:
    """Someone who has the key and seals what the write path never would."""

    def __init__(self, thief: Thief, key_file: Path) -> None:
        self.thief = thief
        journal_id = thief.ask("SELECT value FROM meta WHERE name = 'journal_id'")
        self.key = derive_key(read_secret(key_file), journal_id)
        self.mac = Mac(self.key)

    def sealer(self, key: str = KEY) -> Sealer:
        number = REGISTRY_ID if key == "journal:" else self.thief.session_id(key)
        return Sealer(self.key, 1, number, key)

    def newest(self, key: str = KEY) -> dict[str, Any]:
        """Give the newest row by column."""
        statement = f"SELECT {', '.join(COLUMNS)} FROM entries WHERE session_id = ? ORDER BY seq DESC LIMIT 1"
        found = self.thief.execute(statement, self.thief.session_id(key)).fetchone()
        return dict(zip(COLUMNS, found, strict=True))

    def append(self, key: str = KEY, **columns: Any) -> int:
        """Seal and insert an entry after the newest, some of its columns as given; return its seq."""
        before = self.newest(key)
        body, end = columns.get("body", b'{"by":"a key holder"}'), columns.get("terminator", b"\n")
        size = 0 if columns.get("kind") == "control" else len(body) + len(end)
        row = before | {
            "seq": before["seq"] + 1,
            "epoch": before["epoch"] + 1,
            "cum_bytes": before["cum_bytes"] + size,
            "kind": "line",
            "prev": before["seal"][:16],
            "body": body,
            "terminator": end,
            "salt": os.urandom(16),
            "request_id": None,
            "line_type": None,
            "line_id": None,
            "parent_id": None,
        }
        row |= columns
        row["commitment"] = commitment(row["salt"], body, end)
        row["seal"] = self.seal(row, key)
        self.put(row, key)
        return int(row["seq"])

    def fact(self, body: bytes, line_type: str, key: str = KEY, **columns: Any) -> int:
        """Seal a control entry."""
        columns |= {"kind": "control", "body": body, "terminator": b"", "line_type": line_type}
        return self.append(key, **columns)

    def seal(self, row: dict[str, Any], key: str = KEY) -> bytes:
        return self.sealer(key).seal(
            row["prev"], row["seq"], row["epoch"], row["writer_id"], row["instance_id"],
            row["recorder_id"], row["trusted"], row["created_us"], row["cum_bytes"],
            row["commitment"], row["claim"], row["kind"], row["origin"],
            row["run_id"], row["on_behalf_of"], row["request_id"], row["session_id"], row["key_id"],
        )  # fmt: skip

    def put(self, row: dict[str, Any], key: str = KEY) -> None:
        """Insert a row and let the session's row follow, as an honest write would."""
        with self.thief.without_triggers():
            self.thief.insert(row)
            self.follow(row, key)

    def follow(self, row: dict[str, Any], key: str = KEY) -> None:
        head = (
            row["seq"],
            row["epoch"],
            row["cum_bytes"],
            row["seq"],
            self.sealer(key).examined_mac(row["seq"]),
        )
        self.thief.execute(
            "UPDATE sessions SET head_seq = ?, head_epoch = ?, cum_bytes = ?, examined_seq = ?, examined_mac = ? "
            "WHERE id = ?",
            *head,
            self.thief.session_id(key),
        )

    def reseal(self, seq: int, **columns: Any) -> None:
        """Change a sealed row and seal it anew; the rows after it are left as they are."""
        found = self.thief.execute(
            f"SELECT {', '.join(COLUMNS)} FROM entries WHERE session_id = ? AND seq = ?",
            self.thief.session_id(),
            seq,
        ).fetchone()
        row = dict(zip(COLUMNS, found, strict=True)) | columns
        for column, value in {**columns, "seal": self.seal(row)}.items():
            self.thief.edit(column, seq, value)


@pytest.fixture
def busy(journal: Journal) -> Journal:
    """Make a journal with some of everything that this version writes."""
    gateway = journal.session(KEY, writer="gateway", role="run")
    heartbeat = journal.session(KEY, writer="heartbeat", role="heartbeat")
    gateway.append({"type": "session", "id": "a"})
    heartbeat.extend(
        [{"type": "custom", "id": "b", "parentId": "a"}, b"no json \xff\r\n"], request_id="r1"
    )
    with gateway.fence() as fence:
        heartbeat.append({"type": "custom"})
        fence.append({"type": "message"}, request_id="r2")
    first = gateway.claim()
    second = gateway.claim(supersede="a newer message")
    with pytest.raises(Superseded):
        first.append({"late": 1})
    with pytest.raises(Superseded):
        first.append({"late": 2})
    second.append({"type": "message"})
    second.release()
    gateway.parked()[0].apply(writer="operator")
    gateway.claim()
    heartbeat.append({"type": "custom"})
    journal.session(OTHER, writer="cron", role="cron", run_id="run-1", on_behalf_of="you").append(
        {"n": 1}
    )
    laid = journal.session(LAID, writer="compactor", role="tool")
    kept = laid.extend([{"n": n} for n in range(6)])
    laid.rewrite([*kept[:2], {"n": "new"}, *kept[3:]], base=laid.head.seq, reason="compacted")
    laid.cut(1, base=laid.head.seq, reason="popped")
    laid.append({"n": "after"})
    journal.declare("late", "tool")
    journal.revoke("late", "never used")
    heartbeat.fence().stored()
    return journal


@pytest.fixture
def holder(thief: Thief, key_file: Path) -> Holder:
    return Holder(thief, key_file)


@pytest.fixture
def report(busy: Journal, journal_path: Path) -> Callable[..., Report]:
    """Audit the busy journal."""
    return lambda **options: audit(journal_path, **options)


@pytest.fixture
def found(report: Callable[..., Report]) -> Callable[..., dict[str, Finding]]:
    """Audit the busy journal and give the findings by id; two of one id would be one too many."""

    def look(**options: Any) -> dict[str, Finding]:
        findings = report(**options).findings
        by_id = {finding.id: finding for finding in findings}
        assert len(by_id) == len(findings), list(map(str, findings))
        return by_id

    return look


def rows(thief: Thief, key: str = KEY) -> list[Any]:
    """Give a session's rows, text as text."""
    found = thief.execute(
        "SELECT * FROM entries WHERE session_id = ? ORDER BY seq", thief.session_id(key)
    )
    return [Row._make(row) for row in found]
