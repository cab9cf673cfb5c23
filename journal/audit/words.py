"""The report of an audit in words. Whatever comes from the journal is escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from journal.audit.catalog import RULES
from journal.audit.findings import spans
from journal.escape import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from journal.audit.findings import Finding
    from journal.audit.report import Report

_HEADS: Final = 20


def told(report: Report) -> str:
    """Return the report as text of many lines, the verdict first."""
    return "\n".join([*_summary(report), *_findings(report), *_not_checked(report)])


def _summary(report: Report) -> Iterator[str]:
    count = len(report.findings)
    yield f"verdict: {report.verdict}" + (
        f" ({count} finding{'s' * (count != 1)})" if count else ""
    )
    journal = report.journal
    yield f"journal: {escape(str(journal['path']))}, id {escape(str(journal['id']))}, schema {journal['schema']}"
    yield f"key:     {escape(str(journal['key']))}"
    yield f"scope:   {_scope(report)}"
    looked = ", ".join(
        f"{number} {name.replace('_', ' ')}"
        for name, number in report.completeness.items()
        if number
    )
    yield f"looked:  {looked or 'at nothing'}"
    for head in report.heads[:_HEADS]:
        yield (
            f"  {escape(head.session)}: seq {head.seq}, epoch {head.epoch}, seal {head.seal or '-'}, "
            f"{head.entries} entries, {head.bytes} bytes"
        )
    if len(report.heads) > _HEADS:
        yield f"  … and {len(report.heads) - _HEADS} more sessions"


def _scope(report: Report) -> str:
    if report.scope is None:
        return f"the whole journal, {len(report.heads)} sessions"
    return ", ".join(map(escape, report.scope))


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


def _evidence(piece: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {escape(str(value))}" for name, value in piece.items())


def _not_checked(report: Report) -> Iterator[str]:
    yield ""
    yield "not checked:"
    for item in report.not_checked:
        yield f"  - {escape(item)}"
