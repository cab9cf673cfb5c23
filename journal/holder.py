"""Who holds a session's claim, how a claim ended, and the refusals that name the holder.

All of it is read from sealed control entries. The table ``claims`` is a
projection for people and for SQL; nothing here believes it.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from shlex import quote
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal import statements as sql
from journal.commands import command_on
from journal.controls import decode
from journal.errors import ClaimedError, RefusedError, Superseded
from journal.explanation import when
from journal.model import Process, Row
from journal.process import is_same, liveness, other_process, this_process

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journal.chain import Chain
    from journal.engine import Cursor
    from journal.store import Store
    from journal.writing import Author

STANDING: Final = "standing"
RELEASED: Final = "released"
SUPERSEDED: Final = "superseded"
_PAGE: Final = 64


class Holder(NamedTuple):
    """Who made a claim, as its sealed entry tells."""

    token: int
    writer: str
    instance_id: int
    process: Process | None
    at_us: int
    reason: str | None
    role: str = "unknown"
    run_id: str | None = None
    supersedes: int | None = None

    @property
    def liveness(self) -> str:
        """Whether its process is "alive", "dead" or "unknown", now and as seen from here."""
        return "unknown" if self.process is None else liveness(self.process)

    def described(self) -> str:
        """Say who it is in a few words."""
        if self.process is None:
            return f"claim {self.token} (its entry is not to be read)"
        where = f"pid {self.process.pid} on {self.process.host} ({self.process.program})"
        return f"{self.writer!r}, {where}, claim {self.token}"

    def evidence(self) -> dict[str, Any]:
        """Return what a verdict keeps of it, its liveness at this moment with it."""
        process = self.process
        return {
            "token": self.token,
            "writer": self.writer,
            "role": self.role,
            "instance": self.instance_id,
            "run_id": self.run_id,
            "claimed_us": self.at_us,
            "reason": self.reason,
            "liveness": self.liveness,
            "is_same_process": process is not None and process == this_process(),
            "process": None if process is None else asdict(process),
        }


class Ending(NamedTuple):
    """How a claim stands or ended: by whom, when and why."""

    outcome: str
    at_us: int | None = None
    by: Holder | None = None


def holder(cursor: Cursor, store: Store, chain: Chain) -> Holder:
    """Return who holds the standing claim, from its sealed entry."""
    token = chain.head.claim or 0
    return claim_of(cursor, store, chain, token) or Holder(token, "nobody known", 0, None, 0, None)


def claim_of(cursor: Cursor, store: Store, chain: Chain, token: int) -> Holder | None:
    """Return who made a claim, from its sealed entry; None if no such entry verifies."""
    for row, facts in _facts_since(cursor, chain, token):
        if row.epoch == token and facts.get("control") == "claim":
            return _holder(store, row, facts)
    return None


def claims(cursor: Cursor, store: Store, chain: Chain, limit: int) -> list[Holder]:
    """Return a session's newest claims, the newest first."""
    found = []
    for row, facts in _facts_since(cursor, chain, 0):
        if facts.get("control") == "claim":
            found.append(_holder(store, row, facts))
            if len(found) == limit:
                break
    return found


def ending(cursor: Cursor, store: Store, chain: Chain, token: int) -> Ending:
    """Return what became of a claim: standing, released or superseded, and by whom.

    What happened to it first counts: a successor's release says nothing of it.
    """
    if chain.head.claim == token:
        return Ending(STANDING)
    found = Ending(RELEASED)
    for row, facts in _facts_since(cursor, chain, token):
        if facts.get("control") == "claim" and facts.get("supersedes") == token:
            found = Ending(SUPERSEDED, row.created_us, _holder(store, row, facts))
        elif facts.get("control") == "release" and facts.get("token") == token:
            found = Ending(RELEASED, row.created_us)
    return found


def _holder(store: Store, row: Row, facts: dict[str, Any]) -> Holder:
    writer = store.registry.writers.get(row.writer_id)
    return Holder(
        row.epoch,
        f"writer {row.writer_id}" if writer is None else writer.name,
        row.instance_id,
        Process(**facts["process"]),
        row.created_us,
        facts.get("reason"),
        "unknown" if writer is None else writer.role,
        facts.get("run_id"),
        facts.get("supersedes"),
    )


def _facts_since(cursor: Cursor, chain: Chain, epoch: int) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Yield sealed control entries, newest first, back to an epoch; strays among them are passed by."""
    up_to = chain.head.seq
    while True:
        page = cursor.execute(sql.controls_before(), (chain.session_id, up_to, _PAGE)).fetchall()
        for row in map(Row._make, page):
            if row.seq < 1:
                return  # below the first seq stand at most strays
            if chain.sealer.status(row) != "sealed":
                continue
            if row.epoch < epoch:
                return
            yield row, decode(row.body)
        if len(page) < _PAGE:
            return
        up_to = page[-1][2] - 1


def claimed(store: Store, chain: Chain, author: Author) -> RefusedError:
    """Return the refusal of a run that writes beside a standing turn."""
    return held(chain, holder(store.cursor, store, chain), author)


def held(chain: Chain, now: Holder, author: Author, *, is_claim: bool = False) -> RefusedError:
    """Return the refusal of whoever needs the claim that another holds, to write or for itself."""
    state = {"dead": "; its process is gone", "unknown": "; whether it lives cannot be told"}
    error = ClaimedError(
        f"{chain.key!r} is held by {now.described()}{state.get(now.liveness, '')}",
        hint=_way_on(chain, now, author, is_claim=is_claim),
    )
    error.holder = now
    return error


def beside_turns(refused: RefusedError) -> RefusedError:
    """Return the refusal of what is no part of any turn, with the way to do it: claims bind runs alone."""
    if isinstance(refused, ClaimedError):
        refused.hint = "end that turn first, or let an operator do it: -w NAME --role operator"
    return refused


def check_beside(
    cursor: Cursor, store: Store, chain: Chain, author: Author, claim: int | None
) -> None:
    """Refuse a run that applies what was refused beside another's turn: it would write there after all.

    Whoever holds the turn may: the process that took it, or who names its claim. So may an
    operator, or another co-tenant, for any run.

    Raises:
        ClaimedError: another run's claim stands.

    """
    if chain.head.claim in (None, claim) or author.writer.role != "run":
        return
    now = holder(cursor, store, chain)
    if (now.writer, now.process) != (author.writer.name, this_process()):
        raise beside_turns(held(chain, now, author))


def superseding(chain: Chain, author: Author) -> str:
    """Return the command by which an author ends a claim that stands."""
    options = f"-w {quote(author.writer.name)} --supersede REASON"
    return command_on(chain.key, "claim take", options=options)


def _way_on(chain: Chain, now: Holder, author: Author, *, is_claim: bool) -> str:
    """Return what whoever was refused may do: use the turn where it is theirs, or end it."""
    if now.instance_id == author.instance_id:
        return "you hold this turn: use it"
    if now.liveness == "dead":
        options = f"-w {quote(now.writer)}"
        release = command_on(chain.key, "claim release", now.token, options=options)
        return f"{release}  # or claim(): ends the claim that nobody lives to release"
    ends = superseding(chain, author)
    is_theirs = now.writer == author.writer.name and now.liveness == "alive"
    if not is_theirs or now.process is None:
        return f"{ends}  # or claim(supersede='reason'): ends that turn"
    # A command that a shell started, beside the claim of the shell's.
    is_callers = is_same(now.process, other_process(os.getppid()))
    turn = f"--claim {now.token}" + ("" if is_callers else f" --pid {now.process.pid}")
    if is_claim:
        return f"{ends}  # ends that turn; {turn} uses it"
    options = f"-w {quote(author.writer.name)} {turn}"
    return f"{command_on(chain.key, 'append', options=options)}  # writes in that turn; or {ends}"


def superseded(store: Store, chain: Chain, author: Author) -> RefusedError:
    """Return the refusal of a turn that no longer stands: who superseded it, when and why."""
    end = ending(store.cursor, store, chain, author.claim or 0)
    if end.by is None:
        message = f"turn {author.claim} on {chain.key!r} is over: it was released"
        return Superseded(message, hint="claim the session again", code="released")
    why = f": {end.by.reason}" if end.by.reason else ""
    error = Superseded(
        f"turn {author.claim} on {chain.key!r} was superseded by {end.by.described()} "
        f"at {when(end.by.at_us)}{why}",
        hint="do not retry: what was refused is kept, journal parked list shows it",
    )
    error.holder = end.by
    return error
