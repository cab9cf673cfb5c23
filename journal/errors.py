"""The errors a caller may meet, all below one root.

* JournalError
   * NotFoundError          no such journal, session or entry
   * RefusedError           the write is not allowed
      * ClaimedError        another turn holds the session
      * Superseded          this turn was superseded; never retry it
      * NotTrusted          the writer is unknown, revoked, or of another role
   * SessionTakeover        an untrusted entry stands after the fence
   * StorageError           the database could not do it
      * BusyError           another process held the write lock too long
      * FullError           no space left
      * ReadOnlyError       the journal cannot be written here
      * CorruptError        not a database, or a damaged one
      * LockLost            this process may no longer trust its locks
      * UnsafeSQLite        this SQLite or this place would lose data
   * SchemaError            the schema does not fit this version
   * EntryError             (also ValueError) a line, key or name that cannot be kept
   * MirrorError            the mirror file cannot be served
   * KeyMissing             the journal's key is absent, unsafe, or another journal's

Every error has a stable ``code`` (a slug for programs), a ``hint`` (what to try
next, or None), and the ``exit_code`` with which the command line ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from journal.model import Entry
    from journal.verdict import Verdict


class JournalError(Exception):
    """Say what went wrong, in the reader's words.

    Args:
        message: what, and where.
        hint: one next step that works, or None.
        code: a stable slug; each class has its own default.

    """

    code: str = "journal-error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        if code is not None:
            self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        # The keyword arguments are not in self.args: without this an error that
        # crosses a process boundary would arrive without its hint and code.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[JournalError], args: tuple[Any, ...], state: dict[str, Any]) -> Exception:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


class NotFoundError(JournalError):
    """No such journal, session or entry."""

    code = "not-found"
    exit_code = 10


def no_session(key: str, *, hint: str = "journal sessions") -> NotFoundError:
    """Return what to raise where there is no session of this name."""
    return NotFoundError(f"there is no session {key!r}", hint=hint, code="no-session")


class RefusedError(JournalError):
    """The write is not allowed; nothing was written to the session.

    Attributes:
        parked: the id under which the refused lines were kept, or None.
        why: the id that ``journal why`` explains, or None.
        holder: whose claim was in the way: token, writer, process, when and why
            it was claimed; None where no claim was.
        base: the position that the write went out from, where that is what it was
            refused for; else None.

    """

    code = "refused"
    exit_code = 11

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        code: str | None = None,
        parked: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint, code=code)
        self.parked = parked
        self.why: str | None = None
        self.holder: Any = None
        self.base: int | None = None


class ClaimedError(RefusedError):
    """Another turn holds the session."""

    code = "claimed"


class Superseded(RefusedError):  # noqa: N818 - a verdict's name, fixed by the design
    """This turn was superseded: who, when and why is in the message. Never retry it.

    ``holder`` is the claim that superseded it; None where the turn was released.
    """

    code = "superseded"

    @property
    def by(self) -> str | None:
        """The writer whose claim superseded it."""
        return None if self.holder is None else self.holder.writer

    @property
    def at_us(self) -> int | None:
        """When it was superseded, in microseconds since 1970 UTC."""
        return None if self.holder is None else self.holder.at_us

    @property
    def reason(self) -> str | None:
        """Why it was superseded, in the successor's words."""
        return None if self.holder is None else self.holder.reason


class NotTrusted(RefusedError):  # noqa: N818 - a verdict's name, fixed by the design
    """The writer is unknown, revoked, or was declared with another role."""

    code = "not-trusted"


class SessionTakeover(JournalError):  # noqa: N818 - a verdict's name, fixed by the design
    """An untrusted entry stands after the fence.

    Attributes:
        verdict: the whole verdict with its evidence.
        parked: what was refused and kept (``fence.append`` only), or None.

    """

    code = "takeover"
    exit_code = 3

    def __init__(self, verdict: Verdict, parked: Any = None) -> None:  # noqa: ANN401 - Parked lives a layer up
        super().__init__(verdict.summary(), hint=verdict.next_command())
        self.verdict = verdict
        self.parked = parked

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The untrusted entries, in journal order."""
        return self.verdict.foreign

    @property
    def origins(self) -> tuple[str, ...]:
        """Where each of ``entries`` came from: a database row, or a file and offset."""
        return self.verdict.origins

    @property
    def why(self) -> str | None:
        """The id under which the verdict was kept."""
        return self.verdict.id


class StorageError(JournalError):
    """The database could not do it; the transaction was rolled back whole."""

    code = "storage"


class BusyError(StorageError):
    """Another process held the write lock longer than the time-out. Not a takeover."""

    code = "busy"


class FullError(StorageError):
    """No space left on the device."""

    code = "full"


class ReadOnlyError(StorageError):
    """The journal cannot be written here."""

    code = "read-only"


class CorruptError(StorageError):
    """Not a database, or a damaged one."""

    code = "corrupt"


class LockLost(StorageError):  # noqa: N818 - the design's name
    """This process may no longer trust its locks: it forked, or another library touched the files."""

    code = "lock-lost"


class UnsafeSQLite(StorageError):  # noqa: N818 - the design's name
    """This SQLite library, or this place on disk, would lose data."""

    code = "unsafe-sqlite"


class SchemaError(JournalError):
    """The schema does not fit this version; the file was left as it was."""

    code = "schema"
    exit_code = 12


class EntryError(JournalError, ValueError):
    """A line, session key or name that cannot be kept."""

    code = "entry"
    exit_code = 2


class MirrorError(JournalError):
    """The mirror file cannot be served."""

    code = "mirror"


class KeyMissing(JournalError):  # noqa: N818 - the design's name
    """The journal's key is absent, unsafe, or belongs to another journal."""

    code = "key-missing"
