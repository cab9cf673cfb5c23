"""What happened, told so that a person who sees nothing else can say it back.

An explanation is a value made of facts; here it is put into words. Where the
facts come from is not its concern: a verdict just computed tells what it holds,
``journal why`` adds what the journal knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal.escape import escape
from journal.factwords import fact_words
from journal.fileedit import EDIT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROWS_TOLD: Final = 40
_BODY: Final = 100


class Between(NamedTuple):
    """One entry that stands between what was expected and what was found.

    ``cause`` says why it makes the verdict, or is None: then it is only named.
    ``origin`` is where it came from: a database row, or a file and the offset in it.
    ``process`` is who wrote it, as its instance row tells.
    """

    seq: int
    epoch: int
    created_us: int
    writer: str
    role: str
    trust: str
    kind: str
    claim: int | None
    origin: str
    body: bytes
    process: str | None = None
    instance: int | None = None
    cause: str | None = None


class Act(NamedTuple):
    """A command that goes on from here, and what it is for."""

    purpose: str
    command: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a write was refused, or a session called taken over, with all that it rests on.

    Attributes:
        id: what was asked about.
        session: the session's key.
        classes: the verdict's class, the gravest first, such as "takeover by file".
        at_us: when it was judged; None while it is not kept.
        what: what happened, sentence by sentence.
        rule: the rule that was applied.
        expected, found: what should have stood, and what did: seq, epoch, claim.
        holder: who held the session then, with the liveness of that moment.
        between: every entry from what was expected to what was found, in order.
        left_out: how many entries more there are than ``between`` tells.
        removed: the lines that an edit took out of the session's file, the first of them.
        lately: how often the same was judged: "signature", "day", "week"; or empty.
        parked: the refused write that was kept; or empty.
        acts: commands that go on from here, the best first.

    """

    id: str | None
    session: str
    classes: tuple[str, ...]
    what: tuple[str, ...]
    rule: str
    expected: Mapping[str, Any]
    found: Mapping[str, Any]
    at_us: int | None = None
    holder: Mapping[str, Any] | None = None
    between: tuple[Between, ...] = ()
    left_out: int = 0
    removed: tuple[Between, ...] = ()
    lately: Mapping[str, Any] = field(default_factory=dict)
    parked: Mapping[str, Any] = field(default_factory=dict)
    acts: tuple[Act, ...] = ()

    @property
    def verdict_class(self) -> str:
        """Its class in words."""
        return ", ".join(self.classes)

    def as_text(self) -> str:
        """Return it as text of several lines, nothing in it unescaped."""
        return "\n".join(escape(line) for line in self._lines())

    def as_json(self) -> dict[str, Any]:
        """Return it as it stands in a document; bodies are excerpts, as text."""
        return {
            "id": self.id,
            "session": self.session,
            "class": self.verdict_class,
            "classes": list(self.classes),
            "judged_us": self.at_us,
            "what": list(self.what),
            "rule": self.rule,
            "expected": dict(self.expected),
            "found": dict(self.found),
            "holder": None if self.holder is None else dict(self.holder),
            "between": [_row_as_json(row) for row in self.between],
            "left_out": self.left_out,
            "removed": [_row_as_json(row) for row in self.removed],
            "lately": dict(self.lately),
            "parked": dict(self.parked) or None,
            "next": [act._asdict() for act in self.acts],
        }

    def _lines(self) -> Iterator[str]:
        at = "" if self.at_us is None else f", judged {when(self.at_us)}"
        yield f"{self.id or 'not kept'}: {self.verdict_class}"
        yield f"Session:   {self.session}{at}"
        yield ""
        yield from self.what
        yield ""
        yield f"Rule:      {self.rule}"
        yield f"Expected:  {position(self.expected)}"
        yield f"Found:     {position(self.found)}"
        yield f"Holder:    {described(self.holder)}"
        yield from self._rows()
        yield from _removed_lines(self.removed)
        if self.parked:
            yield f"Kept:      {_kept(self.parked)}"
        if self.lately:
            yield f"Lately:    {_lately(self.lately)}"
        if self.acts:
            yield "Next:"
        # Each a line that can be pasted whole: what it is for is a comment to a shell.
        yield from (f"           {act.command}  # {act.purpose}" for act in self.acts)

    def _rows(self) -> Iterator[str]:
        count = len(self.between) + self.left_out
        if not count:
            yield "Between:   no entry"
            return
        yield f"Between:   {counted(count, 'entry', 'entries')}; * makes the verdict"
        told = _told(self.between)
        skipped = count - len(told)
        for number, row in enumerate(told):
            if skipped and number == len(told) // 2:
                yield f"           … {counted(skipped, 'entry', 'entries')} more; --json tells them"
            yield from _row_lines(row)


def _removed_lines(rows: tuple[Between, ...]) -> Iterator[str]:
    if rows:
        yield "Removed:   from the session's file, and still in the journal"
    for row in rows:
        yield f"         - seq {row.seq}, by {row.writer} ({row.role})"
        yield f"           {_excerpt(row)}"


def _told(rows: tuple[Between, ...]) -> tuple[Between, ...]:
    """Return the rows that are put into words: all, or the causes first and the ends of the rest."""
    if len(rows) <= ROWS_TOLD:
        return rows
    causes = [row for row in rows if row.cause is not None][: ROWS_TOLD // 2]
    rest = [row for row in rows if row.cause is None]
    half = (ROWS_TOLD - len(causes)) // 2
    chosen = {*causes, *rest[:half], *rest[-half:]}
    return tuple(row for row in rows if row in chosen)


def _row_lines(row: Between) -> Iterator[str]:
    mark = " " if row.cause is None else "*"
    claim = "" if row.claim is None else f", claim {row.claim}"
    says = _SAYS.get(row.trust, "")
    by = f" ({row.process})" if row.process else ""
    epoch = f", epoch {row.epoch}" if row.trust != "missing" else ""
    who = "" if row.trust == "missing" else f" {says}{row.writer} ({row.role}){by}{claim};"
    yield f"         {mark} seq {row.seq}{epoch}, {row.trust}:{who} {row.origin}{_at(row)}"
    if row.cause is not None:
        yield f"           {row.cause}"
    if row.body:
        yield f"           {_excerpt(row)}"


def _at(row: Between) -> str:
    """Say when an entry was written; of one that nobody sealed that is only what it says."""
    if not row.created_us:
        return ""
    return f"; {'it says ' if row.trust == 'stray' else ''}at {when(row.created_us)}"


_SAYS: Final = {
    "stray": "says it is by ",
    "altered": "changed by nobody knows whom; it was sealed by ",
    "erased": "erased by nobody knows whom; it was sealed by ",
}
TRUE: Final = ("asserted", "external", "permitted", "accepted", "rejected", "altered")


def _excerpt(row: Between) -> str:
    if row.kind == "control":
        return fact_words(row.body)
    text = row.body[: 4 * _BODY].decode("utf-8", "backslashreplace")
    return f"{text if len(text) <= _BODY else text[:_BODY] + '…'}"


def _row_as_json(row: Between) -> dict[str, Any]:
    told = row._asdict()
    told["body"] = row.body.decode("utf-8", "backslashreplace")
    return told


# -- words --------------------------------------------------------------------------------


def when(at_us: int) -> str:
    """Return a time as people read it, in UTC."""
    try:
        return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}"
    except (OverflowError, ValueError, OSError):
        return f"{at_us}us"  # a row put there by plain SQL may claim any time


def counted(count: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun."""
    return f"{count} {noun if count == 1 else plural or noun + 's'}"


def position(facts: Mapping[str, Any]) -> str:
    """Say where something stands: its words, then seq, epoch and claim as far as they are known."""
    names = (name for name in ("seq", "epoch") if facts.get(name) is not None)
    words = [f"{name} {facts[name]}" for name in names]
    if "claim" in facts:
        words.append("no claim" if facts["claim"] is None else f"claim {facts['claim']}")
    told = ", ".join(words)
    return f"{facts['words']} {told}" if facts.get("words") else told


def process_words(process: Mapping[str, Any] | None) -> str | None:
    """Say which process it is."""
    if not process:
        return None
    return f"pid {process['pid']} on {process['host']}, {process['program']}"


def described(holder: Mapping[str, Any] | None) -> str:
    """Say who held the session, since when, and whether that process lived then."""
    if holder is None:
        return "nobody held a claim then"
    process = process_words(holder.get("process")) or "its process is not known"
    same = ", the same process as the one that asked" if holder.get("is_same_process") else ""
    run = f", run {holder['run_id']}" if holder.get("run_id") else ""
    since = f"since {when(holder['claimed_us'])}" if holder.get("claimed_us") else "since unknown"
    return (
        f"claim {holder['token']}: {holder['writer']} ({holder['role']}; {process}{same}{run}), "
        f"{since}; its process was {_LIFE[holder['liveness']]}"
    )


_LIFE: Final = {
    "alive": "alive then",
    "dead": "gone then",
    "unknown": "on another host or in another container: whether it lived could not be told",
}


def _kept(parked: Mapping[str, Any]) -> str:
    times = counted(parked["times"], "time")
    if parked["times"] > 1:
        times += f" since {when(parked['parked_us'])}"
    state = "still parked, nothing of it is in the session"
    if not parked["lines"]:
        state = "its lines were erased since; nothing of it is in the session"
    if parked["settled"]:
        state = _settled(parked["settled"], parked.get("settlement") or {})
    lines = f"{counted(parked['lines'], 'line')} of {parked['writer']}"
    size = f" ({counted(parked['bytes'], 'byte')})"
    what = f"{lines}{size}" if parked["lines"] else f"of {parked['writer']}"
    return f"{parked['id']}, {what}, refused {times}; {state}"


def _settled(how: str, facts: Mapping[str, Any]) -> str:
    """Say how a parked write ended, as far as it is known."""
    seqs = ", ".join(map(str, facts.get("seqs", ())))
    by = facts.get("by") or ("somebody who gave no name" if facts.get("process") else None)
    process = f" ({facts['process']})" if facts.get("process") else ""
    told = [
        how,
        f"as seq {seqs}" if seqs else None,
        f"by {by}{process}" if by else None,
        f"at {when(facts['at_us'])}" if facts.get("at_us") else None,
    ]
    reason = f": {facts['reason']}" if facts.get("reason") else ""
    return " ".join(filter(None, told)) + reason


def _lately(lately: Mapping[str, Any]) -> str:
    day, week = lately["day"], lately["week"]
    return (
        f"{counted(day, 'time')} in the last 24 hours, {week} in 7 days, in this whole journal "
        f"({lately['signature']})"
    )


# -- classes ------------------------------------------------------------------------------

BY_DATABASE: Final = "takeover by database"
BY_FILE: Final = "takeover by file"
EDIT_BY_FILE: Final = "edit by file"
ALTERED: Final = "altered after sealing"
GONE: Final = "gone"
BETWEEN: Final = "between fences"
BY_POLICY: Final = "refused by policy"
STRANDED: Final = "stranded claim"
SUPERSEDED: Final = "superseded"
CLAIMED: Final = "claimed by another"
SUPERSESSION: Final = "supersession"
RELEASED: Final = "written after release"
STALE: Final = "written from a stale state"

_OF_SORT: Final = {
    "stray": BY_DATABASE,
    "altered": ALTERED,
    "erased": ALTERED,
    "missing": GONE,
    "external": BY_FILE,
    EDIT: EDIT_BY_FILE,
    "asserted": BY_POLICY,
}
# What no reader of an explanation should have to know: what a sort proves, and what it does not.
_PROVES: Final = {
    "stray": "Whoever can write the database file can do that: the writer it names proves nothing.",
    "altered": (
        "Whoever can write the database file can do that: the writer it names sealed another line, "
        "which a backup may still have."
    ),
    "missing": "Whoever can write the database file can do that: a backup may still have it.",
    "external": "Whoever can write that file can do that: no writer of this journal did.",
    EDIT: "Whoever can write that file can do that: no writer of this journal did.",
}
_GRAVEST: Final = (BY_DATABASE, ALTERED, GONE, BY_FILE, EDIT_BY_FILE, BY_POLICY)


def classes_of(sorts: Sequence[str]) -> tuple[str, ...]:
    """Return the classes of a takeover by what its foreign entries are, the gravest first."""
    found = {_OF_SORT.get(sort, BY_FILE) for sort in sorts}
    return tuple(name for name in _GRAVEST if name in found)


_HOW: Final = {
    "stray": "put into the database by plain SQL, sealed by nobody",
    "altered": "changed in the database after it was sealed",
    "erased": "erased in the database without a record",
    "missing": "deleted from the database: nothing stands there now",
    "external": "brought in from outside the journal, through the session's file",
    EDIT: "recorded because the session's file was edited from outside",
    "asserted": "written by a declared writer, and is not let pass by the policy",
}


def what_came(foreign: Sequence[tuple[int, str]]) -> str:
    """Say which entries make a takeover, given as seq and sort, and how each sort came."""
    return "; ".join(
        _of_sort([seq for seq, each in foreign if each == sort], how)
        for sort, how in _HOW.items()
        if any(each == sort for _, each in foreign)
    )


def what_it_proves(sorts: Sequence[str]) -> tuple[str, ...]:
    """Say who may have done it, sentence by sentence."""
    return tuple(dict.fromkeys(words for sort, words in _PROVES.items() if sort in sorts))


def _of_sort(seqs: list[int], how: str) -> str:
    first = ", ".join(map(str, seqs[:5])) + (", …" if len(seqs) > 5 else "")  # noqa: PLR2004
    return f"{counted(len(seqs), 'entry', 'entries')} (seq {first}) {'was' if len(seqs) == 1 else 'were'} {how}"
