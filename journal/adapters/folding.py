"""Values that are made of a session's lines one after the other, with savepoints.

A savepoint is a line of a session beside it: what the value was up to a seq. It is
only a short cut: whoever finds none, or one from before lines were moved, left out
or erased, begins with the first line, and forgets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from journal.adapters.items import line_of, parsed
from journal.errors import JournalError, NotFoundError, RefusedError
from journal.store import log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from journal.parking import Parked
    from journal.session import Session

V = TypeVar("V")

# So many lines are read again at most, and as many are added before the next savepoint.
EVERY: Final = 64
_OUTDATED: Final = "what it was made of was moved, left out or erased"


def folded(
    lines: Session, savepoints: Session, start: V, step: Callable[[V, Sequence[Any]], V]
) -> V:
    """Return the value that ``step`` makes of a session's lines, beginning with ``start``.

    Args:
        lines: the session.
        savepoints: where savepoints are kept; nobody else writes there.
        start: the value of no line.
        step: what becomes of a value by more lines, given parsed; both are JSON.

    """
    revision = lines.revision
    saved = _newest(savepoints)
    if saved is not None and saved["revision"] != revision:
        forget(savepoints, _OUTDATED)
        saved = None
    value, upto = (start, 0) if saved is None else (saved["value"], saved["upto"])
    news = lines.read(after=upto)
    value = step(value, list(parsed(news)))
    if len(news) >= EVERY:
        upto = max(entry.seq for entry in news)
        _save(savepoints, {"revision": revision, "upto": upto, "value": value})
        if lines.revision != revision:  # who erased them may have found no savepoint yet
            forget(savepoints, _OUTDATED)
    return value


def forget(session: Session, reason: str) -> None:
    """Erase a session's lines, if it has any, and what was refused and is still to be decided about.

    Its savepoints come after it: whoever saves one meanwhile looks then whether it still holds.
    """
    try:
        for refused in session.parked():
            _discard(refused, reason)
        session.forget(reason=reason)
    except NotFoundError:
        return  # nothing was ever written


def _discard(refused: Parked, reason: str) -> None:
    try:
        refused.discard(reason=reason)
    except RefusedError as error:
        if error.code != "settled":
            raise
        # Somebody else has decided about it meanwhile: another process that erases the same.


def _newest(savepoints: Session) -> dict[str, Any] | None:
    for saved in parsed(savepoints.read(limit=1, newest=True)):
        if isinstance(saved, dict) and saved.keys() == {"revision", "upto", "value"}:
            return saved
    return None


def _save(savepoints: Session, savepoint: dict[str, Any]) -> None:
    try:
        savepoints.append(line_of(savepoint, "savepoint"))
    except JournalError as error:  # the value is right without it; a full disk is no reason
        log.warning("no savepoint in %s: %s", savepoints.key, error)
