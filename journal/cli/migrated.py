"""What a migration would do and has done, told for people: by cause, with counts and examples."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final

from journal.cli import output

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from journal.migration import Plan, PlannedFile, Result, Room, SetAside

_EXAMPLES: Final = 3


def plan(found: Plan, room: Room | None) -> None:
    """Show each file, then what there is to know of all of them; room where it is known."""
    rows = [
        (each.key, each.format, each.file_class, each.lines, each.raw_lines, each.bytes, each.path)
        for each in found.files
    ]
    output.table(("session", "format", "class", "lines", "raw", "bytes", "file"), rows)
    files = output.counted(len(found.files), "file")
    sessions = output.counted(found.sessions, "session")
    output.say(
        f"{files}, {output.counted(found.lines, 'line')}, {output.size(found.bytes)}, "
        f"would become {sessions}."
    )
    _say_notes(found)
    left(found)
    if room is None:
        return
    need, free = output.size(room.needed), output.size(room.free)
    enough = "" if room.is_enough else ": too little"
    output.say(f"Disk: {need} needed at most, {free} free in {room.place}{enough}.")


def _say_notes(found: Plan) -> None:
    raw = [each for each in found.files if each.raw_lines]
    _say_cause(raw, f"with no JSON in {output.counted(found.raw_lines, 'line')}, kept as it stands")
    _say_cause(found.duplicates, "with the bytes of another: one session for both")
    _say_cause(found.conflicts, "with the name of another and other bytes: a session for each")
    renamed = [each for each in found.files if each.names_differ]
    _say_cause(renamed, "named otherwise than their header says: the header counts")
    for index, absent in groupby(found.absent, key=lambda each: each.path):
        names = [f"{each.key!r} ({each.name})" for each in absent]
        output.say(f"Note: {index} names what is not there: {_listed(names)}.")


def left(found: Plan) -> None:
    """Say which files belong to a store and hold no session, and how many others no lines."""
    for what in dict.fromkeys(each.file_class for each in found.left):
        files = [each.path for each in found.left if each.file_class == what]
        count = output.counted(len(files), "file")
        output.say(
            f"Left: {count} of the class {what!r}, with no session's lines: {_listed(files)}."
        )
    if found.ignored and not found.files:
        output.say(f"Left: {output.counted(found.ignored, 'file')} of no kind that holds lines.")


def _say_cause(files: Sequence[PlannedFile], what: str) -> None:
    if files:
        names = _listed([each.path for each in files])
        output.say(f"Note: {output.counted(len(files), 'file')} {what}: {names}.")


def _listed(examples: Sequence[str]) -> str:
    more = len(examples) - _EXAMPLES
    shown = ", ".join(examples[:_EXAMPLES])
    return f"{shown} and {more} more" if more > 0 else shown


def result(found: Result) -> None:
    """Show what became of each file, and the counts."""
    rows = [(each.key, each.what, each.new_entries, each.lines, each.path) for each in found.files]
    output.table(("session", "what", "new", "lines", "file"), rows)
    counts = (
        ", ".join(f"{count} {what}" for what, count in sorted(found.counts.items())) or "no file"
    )
    output.say(f"{counts}; {output.counted(found.new_entries, 'new entry', 'new entries')}.")


def set_aside(aside: Iterable[SetAside]) -> None:
    """Say what was set aside: by cause, each with a count and some of its files."""
    causes: dict[str, list[str]] = {}
    for each in aside:
        causes.setdefault(each.reason, []).append(each.path)
    for reason, paths in causes.items():
        count = "" if len(paths) == 1 else f"{len(paths)} files: "
        output.say(f"Set aside: {count}{_listed(paths)}: {reason}")
