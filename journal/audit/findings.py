"""Findings: one broken rule with its evidence, a thousand rows of one cause being one."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from journal.audit.catalog import CHECKS, SETTLED
from journal.commands import command_on
from journal.model import REGISTRY_KEY
from journal.strays import Ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from journal.audit.catalog import Severity

EVIDENCE_LIMIT: Final = 5
RANGES_SHOWN: Final = 50
SESSIONS_APART: Final = 10  # in more sessions than these, one cause is one finding
_ORDER: Final = {"broken": 0, "warning": 1, "notice": 2}


@dataclass(slots=True)
class Finding:
    """One cause for which a rule does not hold, or could not be proved.

    Attributes:
        id: the check's stable id, such as ``J301``.
        severity: "broken", "warning" or "notice".
        rule: the number of the rule, of ``catalog.RULES``.
        session: the session's key, or None for the whole journal.
        title: what is wrong, in a few words.
        cause: the same of this finding: how, and by what it is known.
        ranges: the seqs it is about, as (first, last) pairs.
        count: how many rows it is about.
        evidence: the first few of them, or what was expected and found.
        proves: what it proves.
        not_proved: what it does not prove.
        next: one command that shows more, or None.
        settle: the command that decides on the first of these rows, or None; which way is for whoever
            gives it.

    """

    id: str
    severity: Severity
    rule: int
    session: str | None
    title: str
    cause: str
    ranges: tuple[tuple[int, int], ...]
    count: int
    evidence: tuple[Mapping[str, Any], ...]
    proves: str
    not_proved: str
    next: str | None
    settle: str | None = None

    def __str__(self) -> str:
        where = "" if self.session is None else f" in {self.session!r}"
        seqs = f" (seq {spans(self.ranges)})" if self.ranges else ""
        return f"{self.id} {self.severity}{where}: {self.title}: {self.cause}{seqs}"

    def as_json(self) -> dict[str, Any]:
        """Return the finding as JSON values; long lists of ranges are cut, ``count`` is not."""
        return {
            "id": self.id,
            "severity": self.severity,
            "rule": self.rule,
            "session": self.session,
            "title": self.title,
            "cause": self.cause,
            "seqs": [list(pair) for pair in self.ranges[:RANGES_SHOWN]],
            "seqs_left_out": max(0, len(self.ranges) - RANGES_SHOWN),
            "count": self.count,
            "evidence": [dict(piece) for piece in self.evidence],
            "proves": self.proves,
            "not_proved": self.not_proved,
            "next": self.next,
            "settle": self.settle,
        }


def spans(ranges: Iterable[tuple[int, int]], limit: int = 8) -> str:
    """Return ranges as people write them: ``3, 7-9``."""
    pairs = list(ranges)
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in pairs[:limit]]
    if len(pairs) > limit:
        shown.append(f"… {len(pairs) - limit} more")
    return ", ".join(shown)


@dataclass(slots=True)
class _Group:
    seqs: Ranges = field(default_factory=Ranges)
    count: int = 0
    evidence: list[Mapping[str, Any]] = field(default_factory=list)


class Findings:
    """Collects what checks find, grouped by check, session and cause."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._groups: dict[tuple[str, str | None, str], _Group] = {}

    def add(  # noqa: PLR0913 - a finding has this many sides
        self,
        check: str,
        cause: str,
        *,
        session: str | None = None,
        seq: int | None = None,
        seqs: Iterable[tuple[int, int]] = (),
        evidence: Mapping[str, Any] | None = None,
    ) -> None:
        """Add one row, some ranges of seqs, or a fact without any."""
        group = self._groups.setdefault((check, session, cause), _Group())
        if evidence is not None and len(group.evidence) < EVIDENCE_LIMIT:
            group.evidence.append(evidence)
        pairs = [(seq, seq)] if seq is not None else list(seqs)
        for first, last in pairs:
            group.seqs.add(first, last)
            group.count += last - first + 1
        group.count += not pairs

    def explain(
        self, check: str, cause: str, session: str | None, evidence: Mapping[str, Any]
    ) -> None:
        """Add evidence to what was found already, and count nothing."""
        group = self._groups[check, session, cause]
        if len(group.evidence) < EVIDENCE_LIMIT:
            group.evidence.append(evidence)

    def __bool__(self) -> bool:
        return bool(self._groups)

    def has(self, session: str) -> bool:
        """Whether anything was found in a session."""
        return any(where == session for _, where, _ in self._groups)

    def all(self) -> tuple[Finding, ...]:
        """Return the findings, the gravest first, then by id and session."""
        made = [self._made(*key, group) for key, group in self._merged().items()]
        made.sort(key=lambda f: (_ORDER[f.severity], f.id, f.session or "", f.ranges))
        return tuple(made)

    def _merged(self) -> dict[tuple[str, str | None, str], _Group]:
        """Make one of what was found in many sessions for one cause."""
        sessions: dict[tuple[str, str], list[str | None]] = {}
        for check, session, cause in self._groups:
            sessions.setdefault((check, cause), []).append(session)
        merged: dict[tuple[str, str | None, str], _Group] = {}
        for (check, cause), keys in sessions.items():
            if len(keys) <= SESSIONS_APART:
                merged.update(
                    {(check, key, cause): self._groups[check, key, cause] for key in keys}
                )
            else:
                merged[check, None, cause] = self._together(check, cause, keys)
        return merged

    def _together(self, check: str, cause: str, keys: list[str | None]) -> _Group:
        groups = {key: self._groups[check, key, cause] for key in keys}
        evidence = [
            {"session": key, "seqs": spans(group.seqs), "count": group.count}
            for key, group in list(groups.items())[:EVIDENCE_LIMIT]
        ]
        count = sum(group.count for group in groups.values())
        return _Group(count=count, evidence=[{"sessions": len(keys)}, *evidence])

    def _made(self, check_id: str, session: str | None, cause: str, group: _Group) -> Finding:
        check = CHECKS[check_id]
        return Finding(
            check.id,
            check.severity,
            check.rule,
            session,
            check.title,
            cause,
            tuple(group.seqs),
            group.count,
            tuple(group.evidence),
            check.proves,
            check.not_proved,
            self._next(check.next, session, group),
            self._settle(session, group) if check.id in SETTLED else None,
        )

    def _settle(self, session: str | None, group: _Group) -> str | None:
        seqs = [
            seq for first, last in group.seqs for seq in range(first, min(last, first + 20) + 1)
        ]
        if session in (None, REGISTRY_KEY) or not seqs:
            return None  # nobody decides on what stands in the registry
        options = "--accept --reason WHY -w NAME"
        command = command_on(str(session), "resolve", *seqs[:20], options=options)
        return self._with_path(f"{command}  # or --reject")

    def _next(self, template: str, session: str | None, group: _Group) -> str | None:
        if not template:
            return None
        if session is None and "{session}" in template:
            template = "status"
        seq = next((first for first, _ in group.seqs), None)
        if seq is None and "{seq}" in template:
            template = "log {session}"
        if session == REGISTRY_KEY and "{session}" in template and "{seq}" not in template:
            template = "who {session}"  # it has no lines that another command would list
        words, *fields = template.split(" {")
        about = [seq] if "seq}" in fields else []
        command = f"journal {words}"
        if fields and session is not None:
            command = command_on(session, words, *about)
        return self._with_path(command)

    def _with_path(self, command: str) -> str:
        return command.replace("journal ", f"journal -d {shlex.quote(self._path)} ", 1)
