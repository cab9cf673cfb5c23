"""Other processes that judge a large journal's entries from the far end, while the audit walks towards them.

Nearly all of an audit's time goes into entries in which nothing is odd. A helper
looks at stretches of a session in the same state of the database, the last first,
and says of each whether it is such a stretch and what it comes to; the audit takes
that over where what it found before is what the helper supposed. Whatever is odd,
and whatever no helper got to, the audit judges itself: so helpers change how long it
takes, and nothing of what it finds.

A helper is a program of its own, for a fork would break SQLite's locks. It gets the
keys by a pipe, and never as an argument.
"""

from __future__ import annotations

import json
import os
import pickle
import select
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal.audit.findings import Findings
from journal.audit.judging import Sealed
from journal.audit.source import MAX_INT, MIN_INT, opened
from journal.audit.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from journal.audit.declarations import Declarations
    from journal.audit.source import Source
    from journal.audit.tally import Tally
    from journal.eras import Keys
    from journal.model import Row

# Of a database: below, a helper's start takes longer than it saves.
WORTH_BYTES: Final = 48 * 1024 * 1024
_MOST: Final = 3
_STRETCH_BYTES: Final = 4 * 1024 * 1024
_STRETCH_ROWS: Final = range(256, 8192)
_LEAST_ROW: Final = 64  # bytes: a seal and a commitment alone have as many
_WAIT_S: Final = 10.0
_FLAGS: Final = ["-I", *(["-S"] if sys.flags.no_site else [])]
# Isolated from the environment, and with the very path that this package was found by.
_PROGRAM: Final = "import sys, json; sys.path[:] = json.loads(sys.argv[2]); from journal.audit.ahead import main; main()"


class Stretch(NamedTuple):
    """Entries of a session from one seq to another, both included."""

    session: int
    key: str
    first: int
    last: int


class Plain(NamedTuple):
    """What a stretch comes to in which nothing is odd.

    Attributes:
        before: the entry that it follows: its row number, seq and seal.
        last: its last entry, without the line.
        number: the row number of the entry before that.
        tally: what was looked at.
        whos: who wrote in it: writer, process, recorder and trust.
        writes: the first entries of its writes: of all that are alike in claim and
            writer one, and the last.

    """

    before: tuple[int, int, bytes]
    last: Row
    number: int
    tally: Tally
    whos: frozenset[tuple[int, int, int, int]]
    writes: tuple[Row, ...]


class Task(NamedTuple):
    """What a helper is to look at, in this order."""

    keys: Keys
    known: Declarations
    redacted: Mapping[int, Mapping[int, int]]
    stretches: list[tuple[int, Stretch]]


class Ahead:
    """The helpers of one audit; none where they are not worth it, or cannot be had."""

    def __init__(self, path: str, *, is_wanted: bool = True) -> None:
        self._answers: dict[int, Plain | None] = {}
        self._grid: list[Stretch] = []
        self._shared: frozenset[int] = frozenset()
        self._most_rows = _size(path) // _LEAST_ROW
        self._helpers: list[_Helper] = []
        for _ in range(_helpers_for(path) if is_wanted else 0):
            with suppress(OSError):
                self._helpers.append(_Helper(path))

    def __bool__(self) -> bool:
        return bool(self._helpers)

    def begin(self) -> None:
        """Have each helper look at the database as it stands now; let them go if one cannot."""
        try:
            for helper in self._helpers:
                helper.send("begin")
            for helper in self._helpers:
                helper.begun()
        except Exception:  # noqa: BLE001 - whatever is wrong with one, the audit does without
            self.close()

    def plan(
        self,
        sizes: Iterable[tuple[int, str, int, int]],
        keys: Keys,
        known: Declarations,
        redacted: Mapping[int, Mapping[int, int]],
    ) -> None:
        """Share out sessions: each with its number, key, head's seq and bytes, in the order of the walk.

        One whose head no file of this size could hold is not shared out: the projection may say anything.
        """
        held = (size for size in sizes if size[2] <= self._most_rows)
        self._grid = [each for size in held for each in _stretches(*size)]
        self._shared = frozenset(each.session for each in self._grid)
        numbered = list(enumerate(self._grid))[::-1]
        count = len(self._helpers)
        for at, helper in enumerate(self._helpers):
            task = Task(keys, known, redacted, numbered[at::count])
            thread = threading.Thread(target=self._listen, args=(helper, task), daemon=True)
            thread.start()

    def _listen(self, helper: _Helper, task: Task) -> None:
        # Whatever ends a helper ends its part: the audit does the rest itself.
        with suppress(Exception):
            helper.send(task)
            while True:
                at, answer = helper.answer()
                self._answers[at] = answer

    def has(self, session: int) -> bool:
        """Whether a session was shared out."""
        return session in self._shared

    def stretches(self, session: int) -> Iterator[tuple[int, int, int]]:
        """Yield what makes up a session: first seq and last, and the number of a stretch that was shared out.

        A row may stand before the first stretch or behind the last: those have the number -1.
        """
        own = [(at, each) for at, each in enumerate(self._grid) if each.session == session]
        yield -1, MIN_INT, own[0][1].first - 1
        for at, each in own:
            yield at, each.first, each.last
        yield -1, own[-1][1].last + 1, MAX_INT

    def answer(self, at: int) -> Plain | None:
        """Return what a helper found a stretch to come to; None if it is not plain, or nobody has got to it."""
        if at in self._answers or at < 0:
            return self._answers.pop(at, None)
        beyond = range(at + 1, min(at + 1 + len(self._helpers), len(self._grid)))
        if self._helpers and self._answers and all(each in self._answers for each in beyond):
            self._end()  # they are here, or behind
        return None

    def _end(self) -> None:
        helpers, self._helpers = self._helpers, []
        for helper in helpers:
            helper.end()

    def close(self) -> None:
        """Let the helpers go."""
        self._end()


def _size(path: str) -> int:
    """Return how many bytes a database and its log have."""
    size = 0
    for name in (path, f"{path}-wal"):
        with suppress(OSError, ValueError):
            size += os.stat(name).st_size  # noqa: PTH116 - never opened here
    return size


def _helpers_for(path: str) -> int:
    try:
        size = os.stat(path).st_size  # noqa: PTH116 - never opened here
    except OSError:
        return 0
    # What was frozen into one program has no interpreter to start: it would start itself.
    is_python = bool(sys.executable) and not getattr(sys, "frozen", False)
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    can = os.name == "posix" and is_python
    return min(_MOST, cores - 1) if size >= WORTH_BYTES and can else 0


class _Helper:
    """One program, as the audit sees it."""

    def __init__(self, path: str) -> None:
        reader, writer = os.pipe()
        # Not its stdout: whatever is imported there may print.
        self._answers = os.fdopen(reader, "rb")
        try:
            self.process = subprocess.Popen(  # noqa: S603 - this very package
                [sys.executable, *_FLAGS, "-c", _PROGRAM, str(writer), json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[writer],
            )
        except BaseException:
            self._answers.close()
            raise
        finally:
            os.close(writer)
        asked = self.process.stdin
        assert asked is not None  # noqa: S101 - it was asked for
        self._asked = asked
        self.send(path)

    def send(self, what: object) -> None:
        """Tell it something."""
        pickle.dump(what, self._asked)
        self._asked.flush()

    def answer(self) -> Any:  # noqa: ANN401 - whatever it says
        """Return the next thing that it says."""
        return pickle.load(self._answers)  # noqa: S301 - our own program wrote it

    def begun(self) -> None:
        """Wait until it has begun, but not for ever.

        Raises:
            TimeoutError: it did not say so.

        """
        ready, _, _ = select.select([self._answers], [], [], _WAIT_S)
        if not ready or self.answer() != "begun":
            raise TimeoutError

    def end(self) -> None:
        """End it, whatever it is at."""
        self.process.kill()
        self.process.wait()
        with suppress(OSError):
            self._asked.close()
        self._answers.close()


def is_worth(head: object) -> bool:
    """Whether a session may be long enough to be shared out, by its head's seq."""
    return isinstance(head, int) and head >= 2 * _STRETCH_ROWS.start


def _stretches(number: int, key: str, head: int, size: int) -> Iterator[Stretch]:
    """Yield a session's stretches; the projection that they are cut by need not be true."""
    rows = _STRETCH_BYTES // max(1, size // max(1, head))
    rows = min(max(rows, _STRETCH_ROWS.start), _STRETCH_ROWS.stop)
    if head < 2 * rows:
        return
    for first in range(1, head + 1, rows):
        yield Stretch(number, key, first, min(first + rows - 1, head))


# -- a helper's own side ------------------------------------------------------------------


class _Writes:
    """The first entries of writes, one of all that are alike."""

    def __init__(self, before: Row) -> None:
        self.claims: set[int | None] = set()
        self._kinds: set[tuple[Any, ...]] = set()
        self._epoch = before.epoch
        self._found: list[Row] = []
        self._newest: Row | None = None
        self.is_odd = False

    def take(self, row: Row, facts: dict[str, Any] | None, links: bool) -> None:  # noqa: FBT001 - a callback
        """Take the next entry."""
        self.is_odd |= facts is not None or not links
        if row.epoch == self._epoch:
            return
        self._epoch, self._newest = row.epoch, row
        self.claims.add(row.claim)
        kind = (row.claim, row.writer_id, row.instance_id, row.origin)
        if kind not in self._kinds:
            self._kinds.add(kind)
            self._found.append(_without_line(row))

    def all(self) -> tuple[Row, ...]:
        """Return them in their order."""
        newest = self._newest
        if newest is None or self._found[-1].seq == newest.seq:
            return tuple(self._found)
        return (*self._found, _without_line(newest))


def _without_line(row: Row) -> Row:
    return row._replace(body=None, salt=None)


def looked_at(source: Source, task: Task, stretch: Stretch) -> Plain | None:
    """Return what a stretch comes to, if nothing in it is odd, supposing that what it follows is an entry."""
    before = list(source.rows_between(stretch.session, stretch.first - 1, stretch.first - 1))
    if len(before) != 1:
        return None
    sealer = task.keys.sealer(stretch.session, stretch.key)
    sealer.redacted = task.redacted.get(stretch.session, {})
    found, writes = Findings(source.path), _Writes(before[0])
    walk = Walk(stretch.key, Sealed(sealer), task.known, found, on_entry=writes.take)
    walk.resume(before[0])
    walk.tells_each = False
    walk.feed_all(source.rows_between(stretch.session, stretch.first, stretch.last))
    last = walk.last
    is_odd = writes.is_odd or len(writes.claims) > 1 or not walk.is_plain or bool(found.all())
    if is_odd or last is None or last is before[0]:
        return None
    mark = (before[0].id, before[0].seq, before[0].seal)
    whos = frozenset(walk.trusted_whos)
    return Plain(mark, _without_line(last), walk.number, walk.tally, whos, writes.all())


def main() -> None:
    """Serve one audit, by pickles on stdin and the pipe that the argument names."""
    asked, writer = sys.stdin.buffer, int(sys.argv[1])
    path = pickle.load(asked)  # noqa: S301 - the audit that started this wrote it
    ended = suppress(EOFError, BrokenPipeError)
    with ended, os.fdopen(writer, "wb") as answers, ExitStack() as stack:
        source = None
        while (task := pickle.load(asked)) == "begin":  # noqa: S301
            stack.pop_all().close()
            source = stack.enter_context(opened(path))
            source.query("SELECT count(*) FROM sqlite_schema").fetchall()  # takes the snapshot
            pickle.dump("begun", answers)
            answers.flush()
        assert source is not None  # noqa: S101 - an audit begins first
        for at, stretch in task.stretches:
            pickle.dump((at, looked_at(source, task, stretch)), answers)
            answers.flush()
        asked.read()  # until the audit lets go
