"""Our statements, written for SQLite, as PostgreSQL takes them: each turned once, and kept.

There is one text for each statement in the library, and this is where the few
words that PostgreSQL says otherwise are known.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from journal.tables import metadata, server_key

# Tables whose numbers the server gives, where somebody wants to know them.
_NUMBERED: Final = re.compile(r"INSERT INTO (instances|migrations|migrated_files)\s*\((?!id\b)")
_REPLACING: Final = re.compile(r"INSERT OR REPLACE INTO (\w+)\s*\(([^)]*)\)(.*)", re.DOTALL)
# Literals and quoted names are left alone; what is left of ? are marks.
_MARK: Final = re.compile(r"""'(?:[^']|'')*'|"[^"]*"|\?(\d*)""")
_WORDS: Final = (
    (re.compile(r"CAST\(\? AS TEXT\)"), "convert_from(?, 'UTF8')"),
    (re.compile(r"CAST\(([^()]+) AS BLOB\)"), r"convert_to(\1, 'UTF8')"),
    (re.compile(r"\bx'([0-9a-fA-F]*)'"), r"'\\x\1'::bytea"),
    (re.compile(r"hex\(randomblob\(8\)\)"), "replace(gen_random_uuid()::text, '-', '')"),
    (re.compile(r"\bsubstr\((\w+), (\d+), \?\)"), r"substr(\1, \2, ?::int)"),
    (re.compile(r"\binstr\((\w+), \?\)"), r"strpos(\1, ?)"),
)


class Text(NamedTuple):
    """A statement for PostgreSQL, and whether it answers with the number of the row it made."""

    sql: str
    gives_id: bool


@lru_cache(maxsize=1024)
def turned(statement: str) -> Text:
    """Return a statement as PostgreSQL takes it, with ``$1`` for the first value."""
    text = statement
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    text = _marked(_REPLACING.sub(_replaced, text))
    gives_id = _NUMBERED.match(text) is not None
    return Text(f"{text} RETURNING id" if gives_id else text, gives_id)


def _marked(text: str) -> str:
    count = 0

    def mark(found: re.Match[str]) -> str:
        nonlocal count
        if found[1] is None:
            return found[0]
        count += 1
        return f"${found[1] or count}"

    return _MARK.sub(mark, text)


def _replaced(found: re.Match[str]) -> str:
    """Replace a row as a whole: what is not named is NULL from then on, as in a new row."""
    name, columns, values = found[1], [each.strip() for each in found[2].split(",")], found[3]
    table = metadata.tables[name]
    key = server_key(table)
    sets = [
        f"{column.name} = " + (f"EXCLUDED.{column.name}" if column.name in columns else "NULL")
        for column in table.c
        if column.name not in key
    ]
    conflict = f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {', '.join(sets)}"
    return f"INSERT INTO {name} ({', '.join(columns)}){values} {conflict}"
