"""What the picture of a journal shows, as columns of plain numbers: small enough for a hundred thousand entries."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from journal import tables
from journal.audit import redactions
from journal.audit.judging import Linked, Sealed
from journal.audit.source import text
from journal.controls import decode
from journal.escape import escape
from journal.fields import UNFIT
from journal.model import REGISTRY_ID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journal.audit.judging import Judge
    from journal.audit.sighting import Sighting
    from journal.model import Row
    from journal.seal import Sealer

# One letter each, so that a column of them is one string.
KINDS: Final = {b"line": "l", b"raw": "r", b"part": "p", b"control": "c"}
TRUSTS: Final = {
    "asserted": "a", "external": "e", "permitted": "p", "accepted": "y", "rejected": "n",
    "altered": "x", "erased": "d", "stray": "s",
}  # fmt: skip
_RESOLVED: Final = {"accept": "accepted", "reject": "rejected"}
_EXCERPT: Final = 160
MOST_BODIES: Final = 5000


class Columns:
    """The entries of one session, column by column; times and seqs as differences."""

    def __init__(self) -> None:
        self.seq: list[int] = []
        self.epoch: list[int] = []
        self.time: list[int] = []
        self.writer: list[int] = []
        self.size: list[int] = []
        self.kind: list[str] = []
        self.trust: list[str] = []
        self.says: list[str | None] = []
        self._last = (0, 0, 0)

    def add(self, row: Row, trust: str, says: str | None) -> None:
        """Add one row, whatever it claims."""
        now = (_number(row.seq), _number(row.epoch), _number(row.created_us) // 1000)
        for column, new, old in zip(
            (self.seq, self.epoch, self.time), now, self._last, strict=True
        ):
            column.append(new - old)
        self._last = now
        self.writer.append(_number(row.writer_id))
        self.size.append(len(row.body or b"") + len(row.terminator or b""))
        self.kind.append(KINDS.get(row.kind, "?"))
        self.trust.append(TRUSTS.get(trust, "?"))
        self.says.append(says)

    def as_json(self) -> dict[str, Any]:
        """Return the columns as JSON values."""
        told: dict[str, Any] = {
            name: getattr(self, name) for name in ("seq", "epoch", "time", "writer", "size")
        }
        told |= {"kind": "".join(self.kind), "trust": "".join(self.trust)}
        if any(said is not None for said in self.says):
            told["says"] = self.says
        return told


class Picture:
    """Everything the page draws, of one snapshot.

    Args:
        sighting: what an audit saw, and from where.
        bodies: show how entries begin, of the newest few thousand of each session.

    """

    def __init__(self, sighting: Sighting, *, bodies: bool) -> None:
        self._source, self._known = sighting.source, sighting.known
        self._keyring, self._bodies = sighting.keyring, bodies
        chosen = {head.session for head in sighting.report.heads}
        self._sessions = {
            number: registered.key
            for number, registered in sorted(self._known.sessions.items())
            if registered.key in chosen and number != REGISTRY_ID
        }
        self.claims: list[dict[str, Any]] = []

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON values; every text is escaped."""
        sessions = [self._session(number, key) for number, key in self._sessions.items()]
        return {
            "writers": {
                number: {"name": escape(known.name), "role": escape(known.role)}
                for number, known in self._known.writers.items()
            },
            "sessions": sessions,
            "claims": self.claims,
            "fences": list(self._fences()),
            "verdicts": list(self._verdicts()),
        }

    def _session(self, number: int, key: str) -> dict[str, Any]:
        sealer = self._keyring.sealer(number, key)
        judge = self._judge(number, sealer)
        resolved = self._resolved(number, sealer)
        columns, link = Columns(), b""
        count = sum(
            1 for _ in self._source.query("SELECT 1 FROM entries WHERE session_id = ?", number)
        )
        for index, row in enumerate(self._source.rows(number)):
            status = judge.status(row, link)
            if status == "sealed":
                link = row.seal[:16]
                self._note_claim(key, row)
            shown = self._bodies and index >= count - MOST_BODIES
            columns.add(row, self._trust(row, status, resolved), _excerpt(row) if shown else None)
        return {"key": escape(key), **columns.as_json()}

    def _judge(self, number: int, sealer: Sealer | None) -> Judge:
        redacted = redactions.sizes(redactions.read(self._source, number, sealer))
        if sealer is None:
            return Linked(redacted)
        sealer.redacted = redacted
        return Sealed(sealer)

    def _resolved(self, number: int, sealer: Sealer | None) -> dict[int, str]:
        """Return what sealed resolutions say of entries; without the key they are believed."""
        found: dict[int, str] = {}
        judge = None if sealer is None else Sealed(sealer)
        for row in self._source.controls(number):
            facts = decode(row.body) if isinstance(row.body, bytes) else {}
            is_true = judge is None or judge.status(row, b"") == "sealed"
            if is_true and facts.get("control") == "resolution":
                verdict = _RESOLVED.get(str(facts.get("verdict")), "external")
                with suppress(KeyError, *UNFIT):  # one that lacks what it says is a finding
                    found.update(dict.fromkeys(map(int, facts["seqs"]), verdict))
        return found

    def _trust(self, row: Row, status: str, resolved: dict[int, str]) -> str:
        if status != "sealed":
            return status
        if row.trusted == 1:
            return "asserted"
        if row.seq in resolved:
            return resolved[row.seq]
        return "permitted" if row.writer_id in self._known.permitted else "external"

    def _note_claim(self, key: str, row: Row) -> None:
        facts = decode(row.body) if row.kind == b"control" and row.body else {}
        what, at = facts.get("control"), row.created_us // 1000
        if what == "claim":
            self._end(key, facts.get("supersedes"), at, "superseded", facts.get("reason"))
            self.claims.append(
                {
                    "session": escape(key), "token": row.epoch, "writer": row.writer_id,
                    "from": at, "to": None, "outcome": "stands", "reason": None,
                }
            )  # fmt: skip
        elif what == "release":
            self._end(key, facts.get("token"), at, "released", None)

    def _end(self, key: str, token: object, at: int, outcome: str, reason: object) -> None:
        for claim in reversed(self.claims):
            if claim["session"] == escape(key) and claim["token"] == token:
                claim |= {"to": at, "outcome": outcome}
                claim["reason"] = None if reason is None else escape(str(reason))
                return

    def _fences(self) -> Iterator[dict[str, Any]]:
        for row in self._rows(tables.fences):
            yield {
                "id": row["id"], "session": row["session"], "writer": row["writer_id"],
                "seq": row["seq"], "at": _number(row["raised_us"]) // 1000,
            }  # fmt: skip

    def _verdicts(self) -> Iterator[dict[str, Any]]:
        for row in self._rows(tables.verdicts):
            if row["outcome"] == "discarded":
                continue  # what became of a refused write, and no verdict
            yield {
                "id": row["id"], "session": row["session"], "writer": row["writer_id"],
                "outcome": row["outcome"], "policy": row["policy"],
                "at": _number(row["judged_us"]) // 1000,
            }  # fmt: skip

    def _rows(self, table: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - a table
        names = [column.name for column in table.c]
        for values in self._source.table(table):
            row = dict(zip(names, values, strict=True))
            if row["session_id"] in self._sessions:
                shown = {
                    name: escape(text(value)) if isinstance(value, bytes) else value
                    for name, value in row.items()
                    if name in ("id", "outcome", "policy")
                }
                yield row | shown | {"session": escape(self._sessions[row["session_id"]])}


def _excerpt(row: Row) -> str | None:
    if not isinstance(row.body, bytes):
        return None
    said = row.body[: 4 * _EXCERPT].decode("utf-8", "backslashreplace")
    return escape(said if len(said) <= _EXCERPT else f"{said[:_EXCERPT]}…")


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
