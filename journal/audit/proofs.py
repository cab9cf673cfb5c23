"""Rows outside the chain that carry a proof of their own: instances, fences, verdicts, parked.

A proof under the journal's key also makes a row a witness: a fence names a seal
that stood at a seq once, whatever stands there now.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal import tables
from journal.audit.source import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import Table

    from journal.audit.declarations import Declarations
    from journal.audit.source import Source
    from journal.seal import Mac

_PARKED: Final = tuple(column.name for column in tables.parked.c)


class Witness(NamedTuple):
    """Proof that a session had got so far: an epoch, or a seq with the seal that stood there."""

    what: str
    seq: int | None = None
    seal: bytes | None = None
    epoch: int | None = None


def proof_holds(mac: Mac, kind: str, values: Iterable[Any], proof: object) -> bool:
    """Whether a row is as a key holder stored it; False for values of a wrong type."""
    try:
        return mac(kind, *values) == proof
    except (TypeError, ValueError, AttributeError):
        return False


def instance_faults(source: Source, mac: Mac, known: Declarations) -> Iterator[dict[str, Any]]:
    """J408: yield rows of instances whose proof does not hold; learn the others."""
    for row in source.table(tables.instances):
        if proof_holds(mac, "instance", row[:-1], row[-1]):
            known.learn_instance(row)
        else:
            yield {"instance": row[0], "writer": row[1], "host": text(row[2]), "pid": row[5]}


def fence_faults(rows: Iterable[tuple[Any, ...]], mac: Mac) -> Iterator[str | Witness]:
    """J409: yield the id of each forged fence, and of each true one what it witnesses."""
    for row in rows:
        if not proof_holds(mac, "fence", row[:-1], row[-1]):
            yield text(row[0])
        else:
            at_start = row[4] == 0  # of a session without any entry
            yield Witness(
                f"fence {text(row[0])}",
                None if at_start else row[4],
                row[6],
                None if at_start else row[5],
            )


def verdict_faults(rows: Iterable[tuple[Any, ...]], mac: Mac) -> Iterator[str | Witness]:
    """J410: the same of verdicts, which name the head at which they were found."""
    for row in rows:
        if not proof_holds(mac, "verdict", row[:-1], row[-1]):
            yield text(row[0])
            continue
        head = json.loads(row[7]).get("head", {})
        yield Witness(f"verdict {text(row[0])}", epoch=head.get("epoch"))


def parked_faults(rows: Iterable[tuple[Any, ...]], mac: Mac) -> Iterator[str | Witness]:
    """J411: the same of parked writes, which name the epoch at which they were refused."""
    for row in rows:
        values = dict(zip(_PARKED, row, strict=True))
        content = values["content"]
        whole = content is None or (
            isinstance(content, bytes) and sha256(content).digest() == values["content_digest"]
        )
        if not (whole and proof_holds(mac, "parked", row[:-2], values["mac"])):
            yield text(row[0])
        else:
            yield Witness(f"parked write {text(row[0])}", epoch=values["epoch_found"])


def emptied(rows: Iterable[tuple[Any, ...]]) -> Iterator[str]:
    """Yield the id of each parked write that is open and has its lines no more."""
    for row in rows:
        values = dict(zip(_PARKED, row, strict=True))
        if values["content"] is None and values["settled"] is None:
            yield text(row[0])


def input_faults(rows: Iterable[tuple[Any, ...]], mac: Mac) -> Iterator[str | None]:
    """J416: yield the number of each forged or edited input; None for a true one."""
    for row in rows:
        values = (*row[:10], row[11])
        is_true = row[4] is not None and proof_holds(mac, "input", values, row[10])
        yield None if is_true else f"input {row[0]}"


class ParkedState(NamedTuple):
    """What a parked write says of itself.

    Attributes:
        requests: the request ids under which it may have been applied, the likeliest first.
        writer_id: whose it is.
        digest: that of its lines.
        is_applied: whether it says that it was.

    """

    requests: tuple[bytes, ...]
    writer_id: int
    digest: bytes
    is_applied: bool

    @property
    def lines(self) -> tuple[int, bytes]:
        """Whose lines they are, and which."""
        return self.writer_id, self.digest


def parked_state(row: tuple[Any, ...]) -> ParkedState:
    """Return what a parked write says of itself."""
    values = dict(zip(_PARKED, row, strict=True))
    own = b"parked:" + values["id"]
    requests = tuple(filter(None, (values["request_id"], own)))
    is_applied = values["settled"] == b"applied"
    return ParkedState(requests, values["writer_id"], values["content_digest"], is_applied)


PROVED: Final[tuple[tuple[str, Table, Any], ...]] = (
    ("J409", tables.fences, fence_faults),
    ("J410", tables.verdicts, verdict_faults),
    ("J411", tables.parked, parked_faults),
    ("J416", tables.pending_inputs, input_faults),
)
