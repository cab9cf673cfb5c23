"""What the picture of a journal shows, as columns of plain numbers: small enough for a hundred thousand entries."""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from shlex import quote
from typing import TYPE_CHECKING, Any, Final

from journal import tables
from journal.audit import proofs, redactions
from journal.audit.judging import Linked, Sealed
from journal.audit.source import text
from journal.controls import decode
from journal.engine import is_driver_error
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
# A page's numbers are exact up to 2**53, and so is the difference of two that are no larger than this.
_FAR: Final = 2**52
_TEXTS: Final = ("id", "outcome", "policy")


class Columns:
    """The entries of one session, column by column; times and seqs as differences.

    A number that plain SQL put there, so large that a page cannot tell it, stands as text
    among them; the next difference is from what stood before it.
    """

    def __init__(self) -> None:
        self.seq: list[int | str] = []
        self.epoch: list[int | str] = []
        self.time: list[int | str] = []
        self.writer: list[int] = []
        self.size: list[int] = []
        self.kind: list[str] = []
        self.trust: list[str] = []
        self.says: list[str | None] = []
        self._last = [0, 0, 0]

    def add(self, row: Row, trust: str, says: str | None) -> None:
        """Add one row, whatever it claims."""
        now = (_number(row.seq), _number(row.epoch), _number(row.created_us) // 1000)
        for at, column in enumerate((self.seq, self.epoch, self.time)):
            if abs(now[at]) > _FAR:
                column.append(str(now[at]))
                continue
            column.append(now[at] - self._last[at])
            self._last[at] = now[at]
        self.writer.append(_number(row.writer_id))
        self.size.append(_size(row.body) + _size(row.terminator))
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
            "command": f"journal -d {quote(escape(self._source.path))}",
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
        with _so_far():
            count = sum(
                1 for _ in self._source.query("SELECT 1 FROM entries WHERE session_id = ?", number)
            )
            for index, row in enumerate(self._source.rows(number)):
                status = judge.status(row, link)
                if status == "sealed":
                    link = row.seal[:16]
                    self._note_claim(key, row)
                shown = self._bodies and index >= count - MOST_BODIES
                says = _excerpt(row) if shown else None
                columns.add(row, self._trust(row, status, resolved), says)
        return {"key": escape(key), **columns.as_json()}

    def _judge(self, number: int, sealer: Sealer | None) -> Judge:
        redacted: dict[int, int] = {}
        with _so_far():
            redacted = redactions.sizes(redactions.read(self._source, number, sealer))
        if sealer is None:
            return Linked(redacted)
        sealer.redacted = redacted
        return Sealed(sealer)

    def _resolved(self, number: int, sealer: Sealer | None) -> dict[int, str]:
        """Return what sealed resolutions say of entries; without the key they are believed."""
        found: dict[int, str] = {}
        judge = None if sealer is None else Sealed(sealer)
        with _so_far():
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
        what, at = facts.get("control"), _number(row.created_us) // 1000
        if what == "claim":
            self._end(key, facts.get("supersedes"), at, "superseded", facts.get("reason"))
            self.claims.append(
                {
                    "session": escape(key), "token": row.epoch, "writer": _number(row.writer_id),
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
        for row in self._rows(tables.fences, "fence"):
            yield {
                "id": row["id"], "session": row["session"], "writer": row["writer_id"],
                "seq": _number(row["seq"]), "at": _number(row["raised_us"]) // 1000,
            }  # fmt: skip

    def _verdicts(self) -> Iterator[dict[str, Any]]:
        for row in self._rows(tables.verdicts, "verdict"):
            if row["outcome"] == "discarded":
                continue  # what became of a refused write, and no verdict
            yield {
                "id": row["id"], "session": row["session"], "writer": row["writer_id"],
                "outcome": row["outcome"], "policy": row["policy"],
                "at": _number(row["judged_us"]) // 1000, "seqs": _foreign(row["evidence"]),
            }  # fmt: skip

    def _read(self, table: Any) -> Iterator[tuple[Any, ...]]:  # noqa: ANN401 - a table
        with _so_far():
            yield from self._source.table(table)

    def _rows(self, table: Any, kind: str) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - a table
        """Yield the rows of a table as a key holder stored them; without the key they are believed."""
        names = [column.name for column in table.c]
        mac = self._keyring.mac
        for values in self._read(table):
            if mac is not None and not proofs.proof_holds(mac, kind, values[:-1], values[-1]):
                continue  # a finding tells of it
            row = dict(zip(names, values, strict=True))
            if row["session_id"] in self._sessions:
                shown = {name: escape(text(row[name])) for name in _TEXTS if name in row}
                writer = {"writer_id": _number(row["writer_id"]) or None}
                yield row | shown | writer | {"session": escape(self._sessions[row["session_id"]])}


@contextmanager
def _so_far() -> Iterator[None]:
    """Go on with what was read before SQLite could not read the rest; the audit has a finding of it."""
    try:
        yield
    except Exception as error:
        if not is_driver_error(error):
            raise


def _foreign(evidence: object) -> list[int]:
    """Return which entries made a verdict, as far as its evidence names them."""
    with suppress(KeyError, RecursionError, *UNFIT):
        return [int(item["seq"]) for item in json.loads(text(evidence))["foreign"]]
    return []


def _excerpt(row: Row) -> str | None:
    if not isinstance(row.body, bytes):
        return None
    said = row.body[: 4 * _EXCERPT].decode("utf-8", "backslashreplace")
    return escape(said if len(said) <= _EXCERPT else f"{said[:_EXCERPT]}…")


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _size(value: object) -> int:
    return len(value) if isinstance(value, bytes) else 0
