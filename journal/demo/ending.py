"""How the demo ends: who wrote what, and what an auditor says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from journal.demo.story import Claim, Share, spans

if TYPE_CHECKING:
    from journal import Session
    from journal.audit.findings import Finding
    from journal.demo.story import Stage, Story


_STANDING: Final = {
    "asserted": "allowed",
    "external": "not allowed: it came from outside, by the file",
}


def attribute(gateway: Session, story: Story) -> None:
    """Say who wrote what."""
    reading = gateway.read()
    groups: dict[tuple[str, str, str], list[int]] = {}
    for entry in (*reading, *reading.stepped_over):
        groups.setdefault((entry.writer, entry.role, entry.trust), []).append(entry.seq)
    for (writer, role, trust), seqs in groups.items():
        standing = _STANDING.get(trust, "not allowed: it only claims to be")
        story.shares.append(Share(writer, role, trust, len(seqs), spans(seqs), standing))
    odd = {share.trust: share.lines for share in story.shares if share.trust != "asserted"}
    story.add(
        f"Who wrote what in {gateway.key}",
        *_table(story.shares),
        claims=[
            Claim(
                "every line has its writer",
                sum(share.lines for share in story.shares) == len(reading) + 1,
            ),
            Claim(
                "one row is not by whom it claims, one line came by the file",
                odd == {"stray": 1, "external": 1},
            ),
        ],
    )


def _table(shares: list[Share]) -> list[str]:
    """Return the attribution as aligned lines."""
    rows = [("writer", "role", "trust", "lines", "seq", "standing")]
    rows += [
        (each.writer, each.role, each.trust, str(each.lines), each.seqs, each.standing)
        for each in shares
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def audit_all(stage: Stage, story: Story) -> None:
    """Let the auditor, who shares no code with the writers, say it again."""
    from journal.audit import audit  # noqa: PLC0415 - the processes of the cast need none

    report = audit(stage.database, key_file=stage.key_file)
    told = report.as_json()
    about = [finding for finding in report.findings if _is_about(finding, story)]
    story.facts |= {
        "audit": told["verdict"],
        "findings": [finding.id for finding in report.findings],
    }
    story.add(
        "An auditor looks, and trusts nobody",
        f"It reads everything, changes nothing and shares no code with the writers. Verdict: {told['verdict']}.",
        *map(str, report.findings),
        claims=[
            Claim("the journal is called broken", told["verdict"] == "broken"),
            Claim("a finding names the thief's row", _names(about, story.facts["stolen"])),
            Claim("nobody else's row is in any finding", len(about) == len(report.findings)),
        ],
    )


def _is_about(finding: Finding, story: Story) -> bool:
    """Whether it is about what the thief did, by plain SQL or by the file, and nothing else."""
    stolen = {story.facts["stolen"], *story.facts["file"]["named"]}
    seqs = {seq for span in finding.ranges for seq in span}
    return finding.session == story.session and bool(seqs) and seqs <= stolen


def _names(findings: list[Finding], seq: int) -> bool:
    return any((seq, seq) in finding.ranges for finding in findings)
