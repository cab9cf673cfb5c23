"""What ADK's events make of a session's state, and their lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journal.errors import EntryError
from journal.store import log

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.adk.events.event import Event

    from journal.model import Entry

BEGUN: Final = "session"
# Each event of ADK's is written with these; any object is an event to it.
_ALWAYS: Final = {"id", "author", "timestamp"}
_FIRST: Final = b'{"type":"session",'
_ELSEWHERE: Final = ("app:", "user:", "temp:")


def begun(names: Sequence[str], state: Mapping[str, Any], at: float) -> dict[str, Any]:
    """Return a session's first line: what it is, and the state it begins with."""
    app, user, name = names
    return {
        "type": BEGUN, "app_name": app, "user_id": user, "id": name, "state": state, "timestamp": at,
    }  # fmt: skip


def changed(event: Event) -> bytes:
    """Return an event as its line, from which it can be read again.

    Raises:
        EntryError: it is no JSON, for a lone surrogate in a text; or none that ADK reads.

    """
    try:
        line = event.model_dump_json(exclude_none=True).encode()
    except ValueError as error:
        raise EntryError(
            f"the event is not JSON-able: {error}",
            hint="pass text that is valid Unicode",
            code="not-json",
        ) from error
    _read(line)
    return line


def _read(line: bytes) -> Event:
    """Return the event of a line.

    Raises:
        EntryError: there is none that ADK would be handed back.

    """
    from google.adk.events.event import Event  # noqa: PLC0415 - it is there, or nobody calls this
    from pydantic import ValidationError  # noqa: PLC0415 - the same

    try:
        event = Event.model_validate_json(line)
    except ValidationError as error:
        raise EntryError(
            f"the event could not be read again: {error.errors()[0]['msg']}",
            hint="no int of more than 4300 digits, no more than 200 levels, no fields but ADK's",
            code="not-json",
        ) from error
    if event.model_fields_set >= _ALWAYS:
        return event
    raise EntryError("it lacks what ADK gives each event", hint="journal show", code="not-json")


def event_of(entry: Entry) -> Event | None:
    """Return the event that a line holds; None for a session's first line, and one that is none or redacted."""
    if entry.redacted or (entry.body or b"").startswith(_FIRST):
        return None
    try:
        return _read(entry.body or b"")
    except EntryError as error:
        log.warning("left out: entry %d of %s is no event: %s", entry.seq, entry.session, error)
        return None


def of_session(value: dict[str, Any], lines: Sequence[Any]) -> dict[str, Any]:
    """Return what a session's state and last update become by more of its lines; others' lines change nothing."""
    state, at = {**value["state"]}, value["at"]
    for line in lines:
        if not isinstance(line, dict) or not isinstance(line.get("timestamp"), (int, float)):
            continue
        if line.get("type") == BEGUN:
            state = {**_members(line, "state")}
        elif line.keys() >= _ALWAYS:
            delta = _members(_members(line, "actions"), "state_delta")
            state.update({k: v for k, v in delta.items() if not k.startswith(_ELSEWHERE)})
        else:
            continue
        at = line["timestamp"]
    return {"state": state, "at": at}


def of_app_or_user(state: dict[str, Any], lines: Sequence[Any]) -> dict[str, Any]:
    """Return what the state that sessions share becomes by more of its lines; others' lines change nothing."""
    made = {**state}
    for line in lines:
        made.update(_members(line, "set"))
    return made


def _members(line: object, name: str) -> dict[str, Any]:
    """Return a member that is an object; an empty one where there is none."""
    found = line.get(name) if isinstance(line, dict) else None
    return found if isinstance(found, dict) else {}


def merged(
    app: Mapping[str, Any], user: Mapping[str, Any], state: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the state as a session sees it, all scopes together."""
    return {
        **state,
        **{f"app:{name}": value for name, value in app.items()},
        **{f"user:{name}": value for name, value in user.items()},
    }
