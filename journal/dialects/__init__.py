"""What is particular to one engine other than SQLite; nothing else knows of it."""

from __future__ import annotations


def quoted(name: str) -> str:
    """Return a name as a statement of either engine can hold it: what a catalogue has was chosen by anybody."""
    return '"{}"'.format(name.replace('"', '""'))
