"""Where one durable append spends its time: by statement, in Python, and in the bare statements alone.

    python bench/phases.py [--lines N]

The same line is appended through the journal and, in turn, by the bare
statements of an append (compare-and-set, insert) on a second database with the
same schema. What both take is SQLite's and the disk's; the rest is ours. Not a
comparison with anybody: that is ``bench/append.py``.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LINE = b'{"type":"message","id":"0123abcd","text":"' + b"x" * 960 + b'"}'
BLOCK = 100


class Timed:
    """A cursor that adds up the time of each statement by its first words."""

    def __init__(self, cursor: Any) -> None:  # noqa: ANN401 - a driver's cursor
        self._cursor = cursor
        self.seconds: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._cursor, name)

    def timed(self, call: Callable[..., None], name: str) -> Callable[..., None]:
        """Return a call whose time is added up under a name."""

        def timed(*values: object) -> None:
            start = time.perf_counter()
            call(*values)
            self.seconds[name] += time.perf_counter() - start

        return timed

    def execute(self, statement: str, values: tuple[object, ...] = ()) -> Any:  # noqa: ANN401
        """Run a statement and note how long it took."""
        start = time.perf_counter()
        answer = self._cursor.execute(statement, values)
        self.seconds[" ".join(statement.split()[:2]).upper()] += time.perf_counter() - start
        return answer


def main() -> None:
    """Measure, and print microseconds for each append."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=4000)
    lines = parser.parse_args().lines
    with tempfile.TemporaryDirectory() as directory:
        os.environ["JOURNAL_KEY_FILE"] = str(Path(directory) / "key")
        for durability in ("full", "normal"):
            measure(Path(directory), durability, lines)


def measure(directory: Path, durability: str, lines: int) -> None:
    """Print one durability's phases."""
    from journal import Journal  # noqa: PLC0415 - after the key file is named

    with Journal(directory / f"{durability}.db", durability=durability) as journal:
        session = journal.session("s", writer="w", role="run")
        session.append(LINE)
        ours = journal.store.cursor = Timed(journal.store.cursor)  # type: ignore[assignment]
        journal.store.make_durable = ours.timed(journal.store.make_durable, "SYNC")  # type: ignore[method-assign]
        bare = Bare(directory / f"{durability}-bare.db", durability)
        totals = Counter[str]()
        for _ in range(lines // BLOCK):
            for name, call in (("ours", lambda: session.append(LINE)), ("bare", bare.append)):
                start = time.perf_counter()
                for _ in range(BLOCK):
                    call()
                totals[name] += time.perf_counter() - start
        show(durability, lines, totals, ours.seconds, bare.cursor.seconds)


class Bare:
    """The two statements of an append with values made beforehand, on the journal's schema."""

    def __init__(self, path: Path, durability: str) -> None:
        from journal import engine, schema, statements  # noqa: PLC0415

        engine.connect(str(path), mode="rwc").close()
        connection = engine.connect(str(path), mode="rwc", durability=durability)
        for item in sorted(schema.expected_objects(), key=lambda item: item.type != "table"):
            connection.execute(item.sql)
        connection.execute(statements.INSERT_PROJECTION, (2, "s", 0, 0, 0, 0, b"", 0, 0))
        self.cursor = Timed(connection.cursor())
        self._advance, self._insert = statements.advance(), statements.INSERT_ENTRY
        self._seq = 0

    def append(self) -> None:
        """Commit one row."""
        seq = self._seq = self._seq + 1
        row = (2, seq, seq, 2, 3, 2, None, "line", 1, "api", None, None, None, seq, seq, b"\n", b"s" * 16,
               b"c" * 32, 1, b"p" * 16, b"e" * 32, "message", "0123abcd", None, LINE)  # fmt: skip
        self.cursor.execute("BEGIN IMMEDIATE")
        self.cursor.execute(self._advance, (seq, seq, seq, seq, b"m" * 16, 2, seq - 1))
        self.cursor.execute(self._insert, row)
        self.cursor.execute("COMMIT")


def show(
    durability: str, lines: int, totals: Counter[str], ours: Counter[str], bare: Counter[str]
) -> None:
    """Print a table of microseconds for each append."""
    print(f"{durability}: µs for each append; {'ours':>10} {'bare':>8}")
    for name in ours:
        print(f"  {name:30} {ours[name] / lines * 1e6:10.1f} {bare[name] / lines * 1e6:8.1f}")
    for label, parts in (("in Python", (ours, bare)),):
        rest = [
            (totals[who] - sum(part.values())) / lines * 1e6
            for who, part in zip(totals, parts, strict=True)
        ]
        print(f"  {label:30} {rest[0]:10.1f} {rest[1]:8.1f}")
    print(
        f"  {'in all':30} {totals['ours'] / lines * 1e6:10.1f} {totals['bare'] / lines * 1e6:8.1f}"
    )


if __name__ == "__main__":
    main()
