"""The values that travel between the layers: entries, writers, instances, marks."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from journal.errors import EntryError

Role = Literal[
    "run", "heartbeat", "cron", "channel", "subagent", "tool", "operator", "migration", "external"
]
Kind = Literal["line", "raw", "part", "control"]
Origin = Literal["api", "mirror", "file", "input", "parked"]
Trust = Literal[
    "asserted",
    "external",
    "permitted",
    "accepted",
    "rejected",
    "stray",
    "altered",
    "erased",
    "missing",
]

ROLES: Final[tuple[str, ...]] = (
    "run",
    "heartbeat",
    "cron",
    "channel",
    "subagent",
    "tool",
    "operator",
    "migration",
    "external",
)
REGISTRY_KEY: Final = "journal:"
REGISTRY_ID: Final = 1
REGISTRY_WRITER: Final = "journal:"
KEY_LIMIT: Final = 512
NAME_LIMIT: Final = 200
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


class Row(NamedTuple):
    """One row of ``entries`` as it stands in the database, nothing believed.

    Text columns are bytes: a row put there by plain SQL need not be UTF-8.
    """

    id: int
    session_id: int
    seq: int
    epoch: int
    writer_id: int
    instance_id: int
    recorder_id: int
    claim: int | None
    kind: bytes
    trusted: int
    origin: bytes
    request_id: bytes | None
    run_id: bytes | None
    on_behalf_of: bytes | None
    created_us: int
    cum_bytes: int
    terminator: bytes
    salt: bytes | None
    commitment: bytes
    key_id: int
    prev: bytes
    seal: bytes
    line_type: bytes | None
    line_id: bytes | None
    parent_id: bytes | None
    body: bytes | None


class Entry(NamedTuple):
    """One immutable entry of a session, as its reader gets it.

    ``trust`` says what the journal knows of it. "asserted": sealed, by a declared
    writer. "external", "permitted", "accepted", "rejected": it came from outside. "stray",
    "altered", "erased", "missing": found by a check or an audit, never handed out
    by ``read``; then ``writer`` is only what the row claims. Where ``redacted``, the
    body is what stands for the line that was erased, of the same size. Times are whole
    microseconds since 1970 UTC and never used for order.
    """

    session: str
    seq: int
    epoch: int
    writer: str
    role: str
    trust: str
    kind: str
    origin: str
    created_us: int
    body: bytes | None
    terminator: bytes
    claim: int | None = None
    request_id: str | None = None
    run_id: str | None = None
    on_behalf_of: str | None = None
    instance_id: int = 0
    recorder: str | None = None
    row_id: int | None = None
    redacted: bool = False

    @property
    def trusted(self) -> bool:
        """Whether a declared, trusted writer sealed it."""
        return self.trust == "asserted"

    @property
    def data(self) -> bytes:
        """The line's exact bytes with its line end, as they stand in a file."""
        return (self.body or b"") + self.terminator

    @property
    def is_line_end(self) -> bool:
        """Whether it is nothing but a line end; such an entry never makes a verdict."""
        return not self.body and self.kind != "control" and self.trust not in _SUSPECT

    def json(self) -> Any:  # noqa: ANN401 - whatever the line holds
        """Parse the line.

        Raises:
            EntryError: the line is no JSON; its bytes are in ``body``.

        """
        try:
            return json.loads((self.body or b"").decode("utf-8"))
        except (ValueError, RecursionError) as error:
            message = f"entry {self.seq} of {self.session!r} is not JSON: {error}"
            raise EntryError(message, code="not-json") from error


_SUSPECT: Final = frozenset({"stray", "altered", "erased", "missing"})


@dataclass(frozen=True, slots=True)
class Writer:
    """A declared identity: its name and its role, fixed at first use."""

    id: int
    name: str
    role: str
    declared_us: int
    revoked_us: int | None = None
    reason: str | None = None
    permitted: bool = False
    revoked_by: str | None = None
    revoked_instance: int | None = None


@dataclass(frozen=True, slots=True)
class Process:
    """What tells one process from another on one host, across reboots and pid reuse."""

    host: str
    pid_ns: str
    boot_id: str
    pid: int
    started_us: int
    program: str


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One line of the list of sessions."""

    key: str
    entries: int
    epochs: int
    bytes: int
    created_us: int
    aliases: tuple[str, ...] = ()


def check_key(key: str) -> str:
    """Return a session key that can be kept, or say why it cannot.

    A key is opaque text and never becomes a file name by itself; still, a key
    that looks like a way out of a directory is refused, so that no later
    program is tempted.

    Raises:
        EntryError: empty, over 512 characters, control characters, no valid
            text, a ``..`` step, or the reserved key ``journal:``.

    """
    _check_text(key, "session key", KEY_LIMIT)
    if ".." in key.replace("\\", "/").replace(":", "/").split("/"):
        raise _bad("session key", key, "has a '..' step")
    if key == REGISTRY_KEY:
        raise _reserved("session key", key, "this one is the journal's own")
    return key


def check_name(name: str) -> str:
    """Return a writer's name that can be declared, or say why it cannot.

    Raises:
        EntryError: empty, over 200 characters, control characters, no valid
            text, or one of the journal's own prefixes.

    """
    _check_text(name, "writer name", NAME_LIMIT)
    if name.startswith((REGISTRY_WRITER, "external:")):
        why = f"{REGISTRY_WRITER} and names with external: are for what the journal itself records"
        raise _reserved("writer name", name, why)
    return name


def check_label(text: str | None, what: str) -> str | None:
    """Return an optional short text (run id, request id, …) that can be kept.

    Raises:
        EntryError: as for names.

    """
    if text is not None:
        _check_text(text, what, KEY_LIMIT)
    return text


def check_reason(reason: str, hint: str) -> str:
    """Return why somebody did something, as it is recorded; ``hint`` says how to give it.

    Raises:
        EntryError: as for labels, or there is none.

    """
    if not check_label(reason, "reason") or not reason.strip():
        raise EntryError("the reason is empty", hint=hint, code="reason")
    return reason


def _check_text(text: str, what: str, limit: int) -> None:
    if not isinstance(text, str) or not text:
        raise _bad(what, text, "is empty or no text")
    if len(text) > limit:
        why = f"has {len(text)} characters"
        raise _bad(what, text[:40] + "...", why, f", of at most {limit} characters")
    if _CONTROL.search(text) is not None:
        raise _bad(what, text, "has control characters")
    if _SURROGATE.search(text) is not None:
        raise _bad(what, text, "is no valid text")


def _reserved(what: str, text: str, why: str) -> EntryError:
    return EntryError(
        f"the {what} {text!a} is reserved",
        hint=f"use another {what}: {why}",
        code=what.replace(" ", "-"),
    )


def _bad(what: str, text: object, why: str, length: str = "") -> EntryError:
    return EntryError(
        f"the {what} {text!a} {why}",
        hint=f"use a {what} of plain text{length}",
        code=what.replace(" ", "-"),
    )
