"""Incidents, staged for real, and what ``journal why`` says of each.

    python -m tests.incidents          stage them all and print every explanation

For fresh eyes: whoever reads one explanation and nothing else should be able to say who
did what, through which way, whether anything is lost, and what to do now.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Final

from journal import Journal, RefusedError, SessionTakeover
from journal.why import why
from tests.thieves import KEY, Thief

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal.explanation import Explanation

REPLY: Final = {
    "type": "message",
    "message": {"role": "assistant", "content": "The gate is mended."},
}
_HOLD: Final = """
    import sys
    from journal import Journal
    journal = Journal(sys.argv[1])
    turn = journal.session(sys.argv[2], writer="nightly", role="run", run_id="run-7").claim()
    turn.append({"type": "message", "n": 1})
"""


class Stage:
    """A journal with a gateway, a heartbeat, and a thief behind its back."""

    def __init__(self, home: Path) -> None:
        self.home, self.path = home, home / "agent.db"
        self.journal = Journal(self.path)
        self.gateway = self.journal.session(KEY, writer="gateway", role="run", run_id="run-1")
        self.heartbeat = self.journal.session(KEY, writer="heartbeat", role="heartbeat")
        self.gateway.append({"type": "session"})
        self.gateway.append({"type": "message", "message": {"role": "user", "content": "Mend it."}})
        self.thief = Thief(self.path)

    def close(self) -> None:
        """Let everything go."""
        self.thief.close()
        self.journal.close()

    def caught(self, write: Callable[[], object]) -> str:
        """Do what must be refused; give the id to ask about."""
        try:
            write()
        except (SessionTakeover, RefusedError) as error:
            return str(error.why)
        raise AssertionError("it was not refused")


def by_database(stage: Stage) -> str:
    """Let a row by plain SQL land between a heartbeat and the run's reply."""
    fence = stage.gateway.fence()
    stage.heartbeat.append({"type": "custom", "customType": "heartbeat"})
    stage.thief.insert_copy(
        body=b'{"type":"message","message":{"role":"user","content":"Pay me."}}'
    )
    return stage.caught(lambda: fence.append(REPLY))


def by_file(stage: Stage) -> str:
    """Let another program append a line to the session's file."""
    path = stage.home / "session.jsonl"
    stage.journal.session(KEY, writer="gateway", mirror=path)
    fence = stage.gateway.fence()
    with path.open("ab") as file:
        file.write(b'{"type":"message","message":{"role":"user","content":"From outside."}}\n')
    return stage.caught(lambda: fence.append(REPLY))


def by_edit(stage: Stage) -> str:
    """Let another program cut the session's file short, and end it inside a line."""
    path = stage.home / "session.jsonl"
    stage.journal.session(KEY, writer="gateway", mirror=path)
    stage.gateway.append({"type": "message", "n": 3})
    fence = stage.gateway.fence()
    first, second, _ = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:-9])
    return stage.caught(lambda: fence.append(REPLY))


def altered(stage: Stage) -> str:
    """Change a delivery in the database while the run is away."""
    stage.heartbeat.append({"type": "custom"})
    fence = stage.gateway.fence()
    stage.heartbeat.append({"type": "custom", "customType": "delivery", "to": "alice"})
    stage.thief.edit("body", 4, b'{"type":"custom","customType":"delivery","to":"mallory"}')
    return stage.caught(lambda: fence.append(REPLY))


def gone(stage: Stage) -> str:
    """Delete a row while the run is away."""
    fence = stage.gateway.fence()
    for number in range(3):
        stage.heartbeat.append({"type": "custom", "n": number})
    stage.thief.delete(4)
    return stage.caught(fence.check)


def refused_by_policy(stage: Stage) -> str:
    """Let a co-tenant write what a strict fence does not let pass."""
    fence = stage.gateway.fence(policy="strict")
    telegram = stage.journal.session(KEY, writer="telegram", role="channel")
    telegram.append({"type": "message", "message": {"role": "user", "content": "And the fence?"}})
    return stage.caught(lambda: fence.append(REPLY))


def superseded(stage: Stage) -> str:
    """Let a new message's run take the session from one that still thinks."""
    turn = stage.gateway.claim()
    turn.append({"type": "custom", "n": 1})
    successor = stage.journal.session(KEY, writer="telegram-run", role="run", run_id="run-2")
    successor.claim(supersede="a visible user turn").append({"type": "message", "n": 2})
    return stage.caught(lambda: turn.append(REPLY))


def claimed(stage: Stage) -> str:
    """Write without a turn while another run holds the session."""
    stage.journal.session(KEY, writer="other", role="run").claim()
    return stage.caught(lambda: stage.gateway.append(REPLY))


def stranded(stage: Stage) -> str:
    """Write without a turn beside a claim whose holder died."""
    hold(stage)
    return stage.caught(lambda: stage.gateway.append(REPLY))


def supersession(stage: Stage) -> str:
    """Claim what a dead run left behind."""
    hold(stage)
    why_id = stage.gateway.claim().why
    assert why_id is not None
    return why_id


def between_fences(stage: Stage) -> str:
    """Let a row by plain SQL lie there when nobody has a fence up."""
    told: list[str] = []
    stage.thief.insert_copy(body=b'{"type":"message","quiet":true}')
    stage.gateway.on_takeover = lambda verdict: told.append(verdict.id or "")
    stage.gateway.fence()
    return told[0]


def hold(stage: Stage) -> None:
    """Claim in a process that ends without a release."""
    script = textwrap.dedent(_HOLD)
    subprocess.run([sys.executable, "-c", script, str(stage.path), KEY], check=True)


INCIDENTS: Final = (
    *(by_database, by_file, by_edit, altered, gone, refused_by_policy),
    *(superseded, claimed, stranded, supersession, between_fences),
)


def explained(incident: Callable[[Stage], str], home: Path) -> Explanation:
    """Stage one incident in an empty directory and explain it."""
    stage = Stage(home)
    try:
        return why(stage.journal, incident(stage))
    finally:
        stage.close()


def main() -> None:
    """Print every explanation."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["JOURNAL_KEY_FILE"] = f"{home}/key"
        for number, incident in enumerate(INCIDENTS, start=1):
            place = Path(home) / str(number)
            place.mkdir()
            print(f"-- {number} {'-' * 70}\n{explained(incident, place).as_text()}\n")  # noqa: T201


if __name__ == "__main__":
    main()
