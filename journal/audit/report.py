"""The report of an audit: one data model, as JSON values and as text."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from journal.audit import words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from journal.audit.findings import Finding
    from journal.audit.sessions import Head

SCHEMA: Final = "journal.audit/1"
OK: Final = "ok"
NOT_ANCHORED: Final = "ok, not anchored"
NOT_VERIFIED: Final = "not verified"
BROKEN: Final = "broken"


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit found, what it looked at, and what it did not.

    Attributes:
        verdict: "ok"; "ok, not anchored": every rule holds over what is here, and
            nothing tells whether the newest entries were cut off or an older copy
            put back; "broken"; or "not verified": nothing was found broken, but
            without the journal's key nothing is proved either.
        journal: path, id, format, schema version, and how the key was found.
        scope: the sessions that were looked at, by key, or None for all.
        heads: where each session's chain ends.
        completeness: how many rows of which sort were looked at.
        findings: what breaks a rule, the gravest first.
        not_checked: what this audit cannot tell, or did not look at, in words.
        sqlite: the library that looked.

    """

    verdict: str
    journal: Mapping[str, Any]
    scope: tuple[str, ...] | None
    heads: tuple[Head, ...]
    completeness: Mapping[str, int]
    findings: tuple[Finding, ...] = ()
    not_checked: tuple[str, ...] = ()
    sqlite: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 if there is no finding, else 3."""
        return 3 if self.findings else 0

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON values (schema ``journal.audit/1``)."""
        return {
            "schema": SCHEMA,
            "verdict": self.verdict,
            "journal": dict(self.journal),
            "scope": None if self.scope is None else list(self.scope),
            "heads": [head._asdict() for head in self.heads],
            "completeness": dict(self.completeness),
            "findings": [finding.as_json() for finding in self.findings],
            "not_checked": list(self.not_checked),
            "sqlite": dict(self.sqlite),
        }

    def as_text(self) -> str:
        """Return the report for people; nothing in it can steer a terminal."""
        return words.told(self)
