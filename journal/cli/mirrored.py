"""How mirrors are doing, as the commands tell it: the file is looked at, and nothing is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal.cli import output
from journal.cli.failing import with_db
from journal.commands import command_on
from journal.errors import JournalError

if TYPE_CHECKING:
    from journal import Journal
    from journal.cli.options import Settings
    from journal.mirror import Mirror
    from journal.mirrorstatus import MirrorStatus
    from journal.reconcile import Plan
    from journal.registry import MirrorFact

HEADERS: Final = ("session", "state", "bytes", "on disk", "unresolved", "file", "detail")
IN_STEP: Final = "in step"
BEHIND: Final = "behind"
FAILING: Final = "failing"
ELSEWHERE: Final = "elsewhere"
# In these nothing waits for a person: the next write brings a file up that is behind.
_QUIET: Final = frozenset({IN_STEP, BEHIND, ELSEWHERE})


class Report(NamedTuple):
    """One mirror: what it is, the state of its file, and what nobody has resolved.

    ``foreign`` are lines of the file that are no entries yet, ``unresolved`` entries
    that came by the file and that nobody has accepted or rejected.
    """

    session: str
    path: str
    host: str
    on_edit: str
    writer: str
    permitted: bool
    state: str
    detail: str | None
    size: int | None
    synced_to: int | None
    foreign: int
    unresolved: int

    @property
    def is_quiet(self) -> bool:
        """Whether there is nothing for a person to settle."""
        return self.state in _QUIET and not self.unresolved

    def cells(self, settings: Settings) -> tuple[object, ...]:
        """Return it as one line of a listing."""
        size, synced = (_number(each) for each in (self.size, self.synced_to))
        detail = with_db(self.detail or "", settings)
        return self.session, self.state, size, synced, self.unresolved, self.path, detail

    def as_json(self, settings: Settings) -> dict[str, Any]:
        """Return it as it stands in a document."""
        detail = self.detail and with_db(self.detail, settings)
        return self._asdict() | {"detail": detail, "is_quiet": self.is_quiet}


def reports(journal: Journal, keys: frozenset[str] | None = None) -> list[Report]:
    """Return how mirrors are doing: those of these sessions, or all."""
    by_key = {status.key: status for status in journal.mirrors.status(keys)}
    return [
        _report(journal, fact, by_key[key])
        for fact in journal.mirrors.facts()
        for key in [key_of(journal, fact)]
        if key in by_key
    ]


def key_of(journal: Journal, fact: MirrorFact) -> str:
    """Return the key of a mirror's session."""
    return journal.store.registry.session_keys[fact.session_id]


def here(journal: Journal, key: str) -> Mirror:
    """Return a session's mirror, to look into its file.

    Raises:
        NotFoundError: it has none, or its file is another host's or another journal's.

    """
    return journal.mirrors.here(key)


def _report(journal: Journal, fact: MirrorFact, status: MirrorStatus) -> Report:
    state, detail, foreign = _looked_at(journal, fact, status)
    writer = journal.store.registry.writers[fact.writer_id]
    return Report(
        status.key, fact.path, fact.host, fact.on_edit, writer.name, writer.permitted, state,
        detail, status.size, status.synced_to, foreign, _unresolved(journal, fact),
    )  # fmt: skip


def _looked_at(
    journal: Journal, fact: MirrorFact, status: MirrorStatus
) -> tuple[str, str | None, int]:
    """Return a mirror's state, its words, and how many foreign lines its file has, by reading it."""
    if status.state in ("gone", FAILING):
        return status.state, status.detail, 0
    mirror = journal.mirrors.mirror(fact.session_id)
    if mirror is None:
        return status.state, status.detail, 0
    try:
        plan = mirror.preview()
    except (JournalError, OSError) as error:
        return FAILING, str(error), 0
    foreign = len(plan.foreign)
    if status.state == "refused":
        return status.state, status.detail, foreign
    return plan.what, _detail(status.key, plan, foreign), foreign


def _detail(key: str, plan: Plan, foreign: int) -> str | None:
    if plan.what == IN_STEP:
        return None
    if plan.what == BEHIND and plan.overwritten:
        return "a redaction was interrupted: the next write undoes it; so does journal mirror sync"
    if plan.what == BEHIND:
        return "the next write brings it up to the session; so does journal mirror sync"
    shows = f"{command_on(key, 'mirror reconcile')} shows them"
    return f"{output.counted(foreign, 'foreign line')}, {len(plan.lost)} missing: {shows}"


def _unresolved(journal: Journal, fact: MirrorFact) -> int:
    from journal.inspection import unresolved_by_writer  # noqa: PLC0415 - with the rest of the library

    store = journal.store
    if store.registry.writers[fact.writer_id].permitted:
        return 0
    with store.snapshot() as cursor:
        chain = store.find_chain(cursor, key_of(journal, fact))
        if chain is None:
            return 0
        return unresolved_by_writer(cursor, store.fresh(chain))[fact.writer_id]


def _number(value: int | None) -> object:
    return "-" if value is None else value
