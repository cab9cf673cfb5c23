"""The report of an audit in words. Whatever comes from the journal is escaped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from journal.audit.catalog import RULES
from journal.audit.findings import spans
from journal.escape import escape
from journal.explanation import counted
from journal.model import REGISTRY_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journal.audit.findings import Finding
    from journal.audit.report import Report

_HEADS: Final = 20
_ONE: Final = {"entries": "entry"}


def told(report: Report) -> str:
    """Return the report as text of many lines, the verdict first."""
    return "\n".join([*_summary(report), *_findings(report), *_not_checked(report)])


def _summary(report: Report) -> Iterator[str]:
    count = len(report.findings)
    yield f"verdict: {report.verdict}" + (f" ({counted(count, 'finding')})" if count else "")
    journal = report.journal
    yield f"journal: {escape(str(journal['path']))}, id {escape(str(journal['id']))}, schema {journal['schema']}"
    yield f"key:     {escape(str(journal['key']))}"
    yield f"scope:   {_scope(report)}"
    looked = ", ".join(_looked(report))
    yield f"looked:  {looked or 'at nothing'}"
    for head in report.heads[:_HEADS]:
        yield (
            f"  {_name(head.session)}: seq {head.seq}, epoch {head.epoch}, seal {head.seal or '-'}, "
            f"{counted(head.entries, 'entry', 'entries')}, {counted(head.bytes, 'byte')}"
        )
    if len(report.heads) > _HEADS:
        yield f"  … and {counted(len(report.heads) - _HEADS, 'more session')}"


def _scope(report: Report) -> str:
    if report.scope is None:
        apart = sum(head.session == REGISTRY_KEY for head in report.heads)
        sessions = counted(len(report.heads) - apart, "session")
        return f"the whole journal, {sessions}{' and the registry' if apart else ''}"
    return ", ".join(map(escape, report.scope))


def _name(session: str) -> str:
    """Return a session's key; the registry, which only the journal itself writes to, by its name."""
    return "the registry" if session == REGISTRY_KEY else escape(session)


def _looked(report: Report) -> Iterator[str]:
    """Yield what was counted, the registry apart: no listing of the sessions has it."""
    apart = any(head.session == REGISTRY_KEY for head in report.heads)
    for name, found in report.completeness.items():
        number = found - (apart and name in ("sessions", "registered_sessions"))
        noun = name.replace("_", " ")
        if number:
            yield counted(number, _ONE.get(noun, noun.removesuffix("s")), noun)
        if apart and name == "sessions":
            yield "the registry"


def _findings(report: Report) -> Iterator[str]:
    for finding in report.findings:
        yield ""
        yield from _finding(finding)


def _finding(finding: Finding) -> Iterator[str]:
    where = "" if finding.session is None else f" in {escape(finding.session)}"
    yield f"{finding.id} {finding.severity}{where}: {finding.title}"
    yield f"  rule {finding.rule}:".ljust(18) + RULES[finding.rule]
    yield f"  cause:          {escape(finding.cause)}"
    if finding.ranges:
        yield f"  seq:            {spans(finding.ranges)} ({finding.count} in all)"
    for piece in finding.evidence:
        yield f"  evidence:       {_evidence(piece)}"
    yield f"  proves:         {finding.proves}"
    yield f"  does not prove: {finding.not_proved}"
    if finding.next is not None:
        yield f"  Try: {escape(finding.next)}"
    if finding.settle is not None:
        yield f"  It is settled by: {escape(finding.settle)}"


def _evidence(piece: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {escape(in_words(value))}" for name, value in piece.items())


def in_words(value: object) -> str:
    """Return a piece of evidence as people read it: of several values each with its name."""
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{name} {in_words(each)}" for name, each in value.items()) + ")"
    if isinstance(value, list | tuple):
        return ", ".join(map(in_words, value)) or "none"
    return str(value)


def _not_checked(report: Report) -> Iterator[str]:
    yield ""
    yield "not checked:"
    for item in report.not_checked:
        yield f"  - {escape(item)}"
