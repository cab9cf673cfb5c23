"""A journal for AI-agent sessions: who wrote what, and may the run go on?

>>> from journal import Journal
>>> with Journal("agent.db") as journal:  # doctest: +SKIP
...     gateway = journal.session("agent:main:main", writer="gateway", role="run")
...     with gateway.fence() as fence:
...         fence.append({"type": "message"})
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from journal.aio import AsyncJournal, AsyncSession, AsyncTurn
    from journal.awaited import AsyncFence
    from journal.errors import (
        BusyError,
        ClaimedError,
        CorruptError,
        EntryError,
        FullError,
        JournalError,
        KeyMissing,
        LockLost,
        MirrorError,
        NotFoundError,
        NotTrusted,
        ReadOnlyError,
        RefusedError,
        SchemaError,
        SessionTakeover,
        StorageError,
        Superseded,
        UnsafeSQLite,
    )
    from journal.fence import Fence
    from journal.journal import Journal
    from journal.model import Entry, Writer
    from journal.parking import Parked
    from journal.session import Session
    from journal.turn import Turn
    from journal.verdict import Verdict

__version__ = "0.1.0"
_HOMES = {
    "AsyncFence": "journal.awaited",
    "AsyncJournal": "journal.aio",
    "AsyncSession": "journal.aio",
    "AsyncTurn": "journal.aio",
    "Journal": "journal.journal",
    "Session": "journal.session",
    "Fence": "journal.fence",
    "Turn": "journal.turn",
    "Parked": "journal.parking",
    "Entry": "journal.model",
    "Writer": "journal.model",
    "Verdict": "journal.verdict",
}
__all__ = [
    "AsyncFence",
    "AsyncJournal",
    "AsyncSession",
    "AsyncTurn",
    "BusyError",
    "ClaimedError",
    "CorruptError",
    "Entry",
    "EntryError",
    "Fence",
    "FullError",
    "Journal",
    "JournalError",
    "KeyMissing",
    "LockLost",
    "MirrorError",
    "NotFoundError",
    "NotTrusted",
    "Parked",
    "ReadOnlyError",
    "RefusedError",
    "SchemaError",
    "Session",
    "SessionTakeover",
    "StorageError",
    "Superseded",
    "Turn",
    "UnsafeSQLite",
    "Verdict",
    "Writer",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the names below
    # Looked up when first used: SQLAlchemy costs 200 ms that `import journal` must not pay.
    home = _HOMES.get(name, "journal.errors") if name in __all__ else None
    if home is None:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
