"""The main job, played from beginning to end on a copy of a real store.

A gateway writes to a session, lets go of it while the model thinks, and comes back.
Meanwhile others write: a heartbeat and a cron job, who may, and a thief, who may not:
once by plain SQL, once in the file that is kept for other programs.
Everything happens in one directory with a key of its own; nothing of the user's is
touched. Each step checks what it claims.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from journal import Journal
from journal.demo.acts import honest, theft
from journal.demo.by_file import theft_by_file
from journal.demo.cast import end_all
from journal.demo.ending import attribute, audit_all
from journal.demo.opening import migrate, set_stage
from journal.demo.story import Claim, Share, Step, Story

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal.demo.story import Stage

STORE: Final = Path(__file__).parent.parent / "demo_store"

__all__ = ["Claim", "Share", "Step", "Story", "play"]


def play(directory: Path, store: Path | None, tell: Callable[[Step], None]) -> Story:
    """Play the demo in an empty directory; ``store`` is copied there and only read.

    Raises:
        NotFoundError: the store is not there, or holds no session.
        JournalError: whatever the journal itself raises.

    """
    story = Story(tell)
    stage = set_stage(directory, STORE if store is None else store, story)
    try:
        _play_on(stage, story)
    finally:
        end_all()
    return story


def _play_on(stage: Stage, story: Story) -> None:
    with Journal(stage.database, key_file=stage.key_file) as journal:
        story.session = migrate(journal, stage, story)
        gateway = journal.session(story.session, writer="gateway", role="run")
        honest(gateway, stage, story)
        theft(gateway, stage, story)
        theft_by_file(journal, gateway, stage, story)
        attribute(gateway, story)
    audit_all(stage, story)
