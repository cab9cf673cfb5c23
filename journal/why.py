"""Why: one takeover, refusal, parked write or supersession, put into words that need nothing else."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal import explanation as told
from journal import verdicts
from journal.commands import command_on
from journal.explanation import Act, Explanation, counted, when
from journal.fileedit import EDIT, edit_words, sort_of
from journal.holder import SUPERSEDED
from journal.incident import SUPERSESSION, Incident
from journal.process import this_process
from journal.verdict import (
    BETWEEN_FENCES,
    CHANGED_SINCE,
    REWRITTEN_SINCE,
    TAKEOVER,
    rule_of,
    what_happened,
)
from journal.verdict import classes as classes_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from journal.journal import Journal
    from journal.parking import Parked
    from journal.store import Store
    from journal.verdicts import VerdictRow

_DAY_US: Final = 24 * 3600 * 1_000_000
_WEEK_US: Final = 7 * _DAY_US
_CLAIMS: Final = "while a claim stands, writers of the role run write only through its turn"
_NEWER: Final = (
    "once a newer claim is made, the older turn writes nothing more; what it tries is parked"
)
_STALE: Final = (
    "a write that names the position it went out from is written only while the session stands "
    "there, and parked otherwise"
)
_OVER: Final = "a turn that was released writes nothing more; what it tries is parked"


def why(journal: Journal, wanted: str | None) -> Explanation:
    """Explain one verdict (v…), parked write (p…) or fence (f…): rule, evidence, what to do next.

    Raises:
        NotFoundError: nothing of this id was kept, or there can be no such id.
        EntryError: it is empty, or None, as an error has it that kept nothing.
        RefusedError: what was kept was changed since.

    """
    store = journal.store
    with store.snapshot() as cursor:
        incident = Incident(store, cursor, wanted or "")
        between, left_out = incident.between()
        removed = incident.removed()
        settlement = incident.settlement()
        row, parked = incident.row, incident.parked
        same = list(verdicts.since(cursor, store, store.clock() - _WEEK_US))
        # Within: what can be done is looked up too, and the cursor is anybody's afterwards.
        return Explanation(
            wanted,
            incident.chain.key,
            classes(row.outcome, incident.facts),
            _what(incident),
            rule_of(row.policy, row.outcome) if incident.is_check else _rule(row.outcome),
            _expected(incident),
            {
                "words": "the head at",
                **incident.facts["head"],
                "claim": _claim_found(incident.facts),
            },
            row.judged_us,
            incident.holder,
            between,
            left_out,
            removed,
            _lately(store, row, same),
            {} if parked is None else {**_parked_facts(parked), "settlement": settlement},
            tuple(_acts(incident)),
        )


class Noticed(NamedTuple):
    """One verdict to ask about: its id, when, in which session, its class, and who was judged.

    ``parked`` is the refused write that was kept with it, or None.
    """

    id: str
    at_us: int
    session: str
    verdict_class: str
    writer: str | None
    parked: str | None


def newest(journal: Journal, limit: int = 20) -> list[Noticed]:
    """Return the newest takeovers, refusals and supersessions of the whole journal, the newest first."""
    store = journal.store
    with store.snapshot() as cursor:
        return [_noticed(store, row) for row in verdicts.newest(cursor, store, limit)]


def _noticed(store: Store, row: VerdictRow) -> Noticed:
    writer = store.registry.writers.get(row.writer_id or 0)
    return Noticed(
        row.id,
        row.judged_us,
        store.registry.session_keys.get(row.session_id, f"session {row.session_id}"),
        ", ".join(classes(row.outcome, row.facts)),
        None if writer is None else writer.name,
        row.facts.get("parked"),
    )


def _expected(incident: Incident) -> dict[str, Any]:
    if "fence" in incident.facts:
        words = "only declared writers after"
        if incident.row.outcome == BETWEEN_FENCES:
            words = "only declared writers anywhere; the fence was raised at"
        return {"words": words, **incident.facts["fence"]}
    if incident.is_stale:
        return {"words": "the session to stand where it was read, at", "seq": incident.base}
    claim = incident.facts["expected"]["claim"]
    if incident.row.outcome == SUPERSESSION:
        return {"words": "held until then:", "claim": claim}
    if claim is None:
        return {"words": "a write without a turn, so:", "claim": None}
    return {"words": "the writer's own turn to stand:", "claim": claim, "epoch": claim}


def _claim_found(facts: Mapping[str, Any]) -> int | None:
    found: int | None = facts["found"]["claim"] if "found" in facts else facts.get("claim")
    return found


def _what(incident: Incident) -> tuple[str, ...]:
    asker = incident.asker()
    if incident.is_check:
        foreign = list(incident.foreign())
        edits = [words for facts in incident.edits() if (words := edit_words(facts))]
        arrived = incident.facts["arrived_count"]
        said = what_happened(incident.row.outcome, foreign, arrived, asker, edits)
    else:
        said = _refused(incident, asker)
    more = incident.facts.get("foreign_count", 0) - len(incident.facts["foreign"])
    rest = () if more <= 0 else (f"The first {len(incident.facts['foreign'])} are told below.",)
    return (*said, *rest, *_kept_words(incident.parked))


def _refused(incident: Incident, asker: str) -> tuple[str, ...]:
    if incident.is_stale:
        return _went_out_from_stale(incident, asker)
    holder, expected = incident.holder, incident.facts["expected"]["claim"]
    who = "somebody" if holder is None else f"{holder['writer']} ({holder['role']})"
    if incident.row.outcome == SUPERSESSION:
        gone = ", whose process was gone" if _is_dead(holder) else ""
        reason = incident.facts.get("reason")
        ended = f"{asker} claimed the session and so ended claim {expected} of {who}{gone}"
        return (
            f"{ended}, giving as reason: {reason}.",
            f"What claim {expected} tries to write from then on is refused and parked.",
        )
    if incident.row.outcome == "released":
        return (f"{asker} tried to write through turn {expected}, which had been released.",)
    if incident.row.outcome == "superseded":
        reason = (holder or {}).get("reason") or "no reason given"
        at = when((holder or {}).get("claimed_us", 0))
        tried = f"{asker} tried to write through turn {expected}"
        return (f"{tried}, but {who} had superseded it at {at}, giving as reason: {reason}.",)
    tried = f"{asker} tried to write without a turn while {who} held the session."
    if not _is_dead(holder):
        return (tried,)
    gone = "The holder's process was gone by then: its claim is stranded, until it is released or a newer one ends it."
    return tried, gone


def _went_out_from_stale(incident: Incident, asker: str) -> tuple[str, ...]:
    head, base = incident.facts["head"]["seq"], incident.base
    tried = f"{asker} tried to write from the session as it stood at seq {base}"
    if incident.row.outcome == REWRITTEN_SINCE:
        return (f"{tried}, but its lines had been given another order since.",)
    came = counted(head - base, "entry", "entries")
    return (f"{tried}, but {came} had come since, up to seq {head}.",)


def _kept_words(parked: Parked | None) -> tuple[str, ...]:
    if parked is None:
        return ()
    if parked.settled == "applied":
        return ("The refused write was kept, and applied later.",)
    if parked.settled == "discarded":
        return ("The refused write was kept, and discarded later: it is not in the session.",)
    if not parked.lines:
        return (
            "The write was refused: nothing of it is in the session. It was parked, and its lines were erased since.",
        )
    return ("The write was refused: nothing of it is in the session, all of it is parked.",)


def _lately(store: Store, row: VerdictRow, kept: Iterable[VerdictRow]) -> dict[str, Any]:
    """Count what happened in the last week that is the same trouble: a refusal each, a takeover once.

    A fence that is checked again over the very same entries finds no second takeover.
    """
    now, mine = store.clock(), _signature(store, row)
    newest: dict[object, int] = {}
    for each in kept:
        if _signature(store, each) == mine:
            newest.setdefault(_occasion(each), each.judged_us)
    same = list(newest.values())
    day = sum(1 for at_us in same if at_us >= now - _DAY_US)
    return {"signature": mine, "day": day, "week": len(same)}


def _occasion(row: VerdictRow) -> object:
    if row.outcome != TAKEOVER or row.fence_id is None:
        return row.id
    return row.fence_id, row.facts["head"]["seq"]


def _signature(store: Store, row: VerdictRow) -> str:
    """Return what makes two verdicts the same trouble: its class, and whom it concerns."""
    facts = row.facts
    names = ", ".join(classes(row.outcome, facts))
    if facts["foreign"]:
        whom = sorted({item["claims_writer"] for item in facts["foreign"]})[:3]
        return f"{names}; named: {' and '.join(whom)}"
    writer = store.registry.writers.get(row.writer_id or 0)
    return f"{names}, of {writer.name if writer else 'nobody'}"


def _acts(incident: Incident) -> Iterator[Act]:
    """Yield the commands that go on from here; each works as it stands, in a shell."""
    key, who, parked = incident.chain.key, _operator(incident.store), incident.parked
    yield from _unstranding(incident, key)
    yield from _resolving(incident, key, who)
    yield from _serving(incident, key)
    if parked is not None and parked.settled is None:
        yield from _applying(incident, parked, who)
        yield Act("gives it up", f"journal parked discard {parked.id} {who}")
    if not incident.is_check:
        yield Act("shows who holds the session now", command_on(key, "claim show"))
    elif "missing" in {item["trust"] for item in incident.facts["foreign"]}:
        yield Act("tells what else is gone or damaged", command_on(key, "audit"))
    # Judged as it was here: by another policy it may be accepted.
    options = "--policy strict" if incident.is_check and incident.row.policy == "strict" else ""
    yield Act("shows who wrote what", command_on(key, "who", options=options))


def _applying(incident: Incident, parked: Parked, who: str) -> Iterator[Act]:
    """Yield what shows a refused write, and what writes it where that may be."""
    shown = "shows what was refused"
    if not incident.can_be_applied:
        shown += f"; nobody can write it as {parked.writer}'s, for that writer was revoked"
        shown = shown if parked.lines else "shows what was refused; its lines were erased"
    yield Act(shown, f"journal parked show {parked.id}")
    if incident.can_be_applied:
        is_late = incident.row.outcome == SUPERSEDED
        after = ", behind all that the newer turn wrote without it" if is_late else ""
        yield Act(f"writes it now, at the end{after}", f"journal parked apply {parked.id} {who}")


def _resolving(incident: Incident, key: str, who: str) -> Iterator[Act]:
    """Yield how what came can be decided on, as long as it is open."""
    is_open, groups = set(incident.open_seqs()), dict[str, dict[int, str]]()
    for item in incident.facts["foreign"]:
        if item["seq"] in is_open:
            groups.setdefault(_came_by(_sort(item)), {})[item["seq"]] = _sort(item)
    is_undone = any("no" in facts for facts in incident.edits())
    reject, accept = f"--reject --reason 'not ours' {who}", f"--accept --reason 'known' {who}"
    for group in groups.values():
        sorts, seqs = set(group.values()), list(group)[:20]
        out, kept = _choices(sorts, is_undone=is_undone)
        yield Act(out, command_on(key, "resolve", *seqs, options=reject))
        if "erased" not in sorts:
            yield Act(kept, command_on(key, "resolve", *seqs, options=accept))


def _came_by(sort: str) -> str:
    """Return the way a row came: to reject a stray is another thing than to reject a file's line."""
    if sort == "erased":
        return sort  # of which there is nothing to accept
    return "database" if sort in ("stray", "altered") else "file"


def _choices(sorts: set[str], *, is_undone: bool) -> tuple[str, str]:
    """Say what rejecting does with what came, and what accepting does."""
    if not sorts.isdisjoint(("stray", "altered", "erased")):
        out = "settles it as not wanted; it is on record, and was never read as a line"
        return out, "rescues its bytes as a new entry that stays marked as foreign"
    if EDIT in sorts and not is_undone:
        return "settles it as not wanted; it stays on record", "or settles it as known"
    if EDIT in sorts:
        out = "undoes the edit: in the file stands again what stood there; it stays on record"
        return out, "or lets the file be as it was edited"
    out = "takes it out of the session's file; it stays on record"
    return out, "or leaves it there, marked as accepted"


def _serving(incident: Incident, key: str) -> Iterator[Act]:
    """Yield how a file is served again that stopped by this edit, where it is this host's."""
    what = {facts.get("what") for facts in incident.edits()}
    mirror = incident.store.registry.mirrors.get(incident.chain.session_id)
    if mirror is None or mirror.host != this_process().host:
        return
    if incident.chain.mirror_state == "gone" and "gone" in what:
        yield Act("makes the file again", command_on(key, "mirror sync", options="--recreate"))
    if incident.chain.mirror_state == "refused" and "refused" in what:
        resume = command_on(key, "mirror resume", options="--reason 'seen'")
        yield Act("has the file written to again; until then it is left alone", resume)


def _unstranding(incident: Incident, key: str) -> Iterator[Act]:
    """Yield what ends a dead run's claim; first what leaves nobody else's in its place."""
    holder = incident.holder
    if holder is None or not _is_stranded(incident):
        return
    if _may_write(incident.store, holder["writer"]):
        by = f"-w {quote(holder['writer'])}"
        release = command_on(key, "claim release", holder["token"], options=by)
        yield Act("ends the stranded claim; nobody holds the session then, and runs write", release)
    asker = incident.store.registry.writers.get(incident.row.writer_id or 0)
    if asker is not None and asker.role == "run" and asker.revoked_us is None:
        take = command_on(key, "claim take", options=f"-w {quote(asker.name)}")
        done = (
            "what a successor does: it holds the session for the process that calls, until released"
        )
        yield Act(done, take)


def _may_write(store: Store, name: str) -> bool:
    writer = store.registry.by_name.get(name)
    return writer is not None and writer.revoked_us is None


def _is_stranded(incident: Incident) -> bool:
    """Whether a holder that was gone then still holds the session."""
    by = incident.holder
    return by is not None and _is_dead(by) and incident.chain.head.claim == by["token"]


def classes(outcome: str, facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the class of a kept verdict, from its evidence alone."""
    if outcome in (TAKEOVER, BETWEEN_FENCES):
        return classes_of(outcome, list(facts.get("sorts") or map(_sort, facts["foreign"])))
    dead = _is_dead(facts.get("holder"))
    if outcome == SUPERSESSION:
        return (told.SUPERSESSION, told.STRANDED) if dead else (told.SUPERSESSION,)
    if outcome in (CHANGED_SINCE, REWRITTEN_SINCE):
        return (told.STALE,)
    if outcome == "claimed":
        return (told.STRANDED,) if dead else (told.CLAIMED,)
    return (told.RELEASED,) if outcome == "released" else (told.SUPERSEDED,)


def _sort(item: Mapping[str, Any]) -> str:
    return sort_of(item["trust"], item.get("kind", "line"))


def _rule(outcome: str) -> str:
    rules = {
        "claimed": _CLAIMS,
        "released": _OVER,
        CHANGED_SINCE: _STALE,
        REWRITTEN_SINCE: _STALE,
    }
    return rules.get(outcome, _NEWER)


def _is_dead(holder: Mapping[str, Any] | None) -> bool:
    return False if holder is None else str(holder["liveness"]) == "dead"


def _operator(store: Store) -> str:
    """Return the options that name an operator: one there is, or one that may be declared."""
    for writer in store.registry.by_name.values():
        if writer.role == "operator" and writer.revoked_us is None and ":" not in writer.name:
            return f"-w {quote(writer.name)}"
    name = "operator"
    while name in store.registry.by_name:
        name += "-2"
    return f"-w {name} --role operator"


def _parked_facts(parked: Parked) -> dict[str, Any]:
    return {
        "id": parked.id,
        "writer": parked.writer,
        "reason": parked.reason,
        "lines": len(parked.lines),
        "bytes": sum(map(len, parked.lines)),
        "times": parked.times,
        "settled": parked.settled,
        "parked_us": parked.parked_us,
    }
