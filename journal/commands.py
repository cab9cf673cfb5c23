"""Commands to copy into a shell: whatever a session is called, each is taken as it is meant."""

from __future__ import annotations

from shlex import quote


def command_on(key: str, words: str, *args: object, options: str = "") -> str:
    """Return a command about a session: ``journal WORDS KEY ARGS OPTIONS``.

    Where a key or a number begins with ``-`` it stands behind ``--``, or it would be
    taken for an option.
    """
    named = [quote(key), *map(str, args)]
    told = ["journal", words]
    if any(each.startswith("-") for each in (key, *named)):
        return " ".join([*told, *filter(None, [options]), "--", *named])
    return " ".join([*told, *named, *filter(None, [options])])
