"""Two journals serve one file while three foreign hands do to it what they like.

After every step: every byte that stood in the file is in the journal, no own line
was called foreign, nothing foreign is trusted; after every check the file is what
an export gives, and the verdict is a takeover just if somebody edited it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from journal import Journal
from journal.audit import audit
from journal.export import export
from journal.inspection import entry_of
from journal.pages import rows_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journal import Entry, Session
    from journal.fence import Fence

KEY: Final = "agent:main:main"
NUMBERS = st.integers(0, 2)
FRACTIONS = st.floats(0, 1)
WHO = st.sampled_from(["gateway", "heartbeat"])
FENCES: Final = 3


def lines_in(data: bytes) -> list[bytes]:
    return [line + b"\n" for line in data.split(b"\n")[:-1]] + [
        tail for tail in data.split(b"\n")[-1:] if tail
    ]


def is_blank(line: bytes) -> bool:
    return line in (b"\n", b"\r\n")


def is_benign(file: bytes, base: bytes) -> bool:
    """Whether a file is what it was, but for lone line ends put into it."""
    if file.startswith(base) and all(map(is_blank, lines_in(file[len(base) :]))):
        return True
    rest = iter(lines_in(base))
    wanted = next(rest, None)
    for line in lines_in(file):
        if line == wanted:
            wanted = next(rest, None)
        elif not is_blank(line):
            return False
    return wanted is None


class MirrorMachine(RuleBasedStateMachine):
    """What the two journals wrote, what the file was when they last looked, which fences were crossed."""

    @initialize()
    def begin(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="mirror-"))
        self.path = self.home / "s.jsonl"
        key = self.home / "keys" / "k"
        self.journals = [Journal(self.home / "a.db", key_file=key) for _ in range(2)]
        one, other = self.journals
        self.sessions: dict[str, Session] = {
            "gateway": one.session(KEY, writer="gateway", role="run", mirror=self.path),
            "heartbeat": other.session(KEY, writer="heartbeat", role="heartbeat", mirror=self.path),
        }
        self.fences: list[Fence] = []
        self.crossed: dict[str, bool] = {}
        self.ours: Counter[bytes] = Counter()
        self.exported = 0
        self.known_foreign: set[int] = set()

    def teardown(self) -> None:
        if not hasattr(self, "journals"):
            return
        try:
            self.check_all()
            report = audit(str(self.home / "a.db"), key_file=str(self.home / "keys" / "k"))
            # Told of, not broken. How the file does is another matter: a hand may have
            # deleted it, or made it anew since the journal last looked (J701, J702).
            found = {finding.id for finding in report.findings}
            assert {name for name in found if not name.startswith("J7")} <= {"J110"}
        finally:
            for journal in self.journals:
                journal.close()
            shutil.rmtree(self.home)

    # -- looking ----------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        """Return every entry of the session, also those that left the layout."""
        store = self.journals[0].store
        with store.snapshot() as cursor:
            chain = store.find_chain(cursor, KEY)
            assert chain is not None
            rows = rows_of(cursor, chain.session_id, 1)
            return [entry_of(row, chain, store.registry.writers) for row in rows]

    def layout(self) -> bytes:
        return b"".join(export(self.journals[0], KEY))

    def file(self) -> bytes | None:
        return self.path.read_bytes() if self.path.exists() else None

    @contextmanager
    def looked_at(self, *ours: bytes, is_check: bool = False) -> Iterator[None]:
        """Hold what the journals make of the file against what stood in it before."""
        before, layout = self.file(), self.layout()
        base = layout[: self.exported]
        yield
        new = [e for e in self.entries() if not e.trusted and e.seq not in self.known_foreign]
        self.known_foreign.update(entry.seq for entry in new)
        self.ours.update(ours)
        self.nothing_foreign_is_trusted()
        if before is not None:
            self.no_own_line_is_foreign(before, [*lines_in(layout), *ours], new)
            if is_check:
                self.every_line_is_kept(before)
        noticed = any(not e.is_line_end for e in new)
        if before is not None and not is_benign(before, base):
            assert noticed or not is_check, (before, base)
        else:
            assert not noticed or before is None, (before, base, new)
        if noticed:
            self.crossed = dict.fromkeys(self.crossed, True)
        if before is not None:
            self.exported = len(self.layout())
            if is_check:
                assert self.file() == self.layout()

    def nothing_foreign_is_trusted(self) -> None:
        trusted = Counter(
            entry.data
            for entry in self.entries()
            if entry.trusted and entry.kind != "control" and entry.body
        )
        assert trusted == self.ours

    def no_own_line_is_foreign(self, before: bytes, own: list[bytes], new: list[Entry]) -> None:
        """Only what the file has more often than we wrote it may have become an entry."""
        extra = Counter(lines_in(before)) - Counter(own)
        for entry in new:
            if entry.kind == "control" or not entry.body:
                continue
            ends = [line for line in extra if extra[line] and line.endswith(entry.data)]
            source = entry.data if entry.data in ends else next(iter(ends), None)
            assert source is not None, (entry, before, own)
            extra[source] -= 1

    def every_line_is_kept(self, before: bytes) -> None:
        """Hold each line against the entries: it can be put together from them."""
        pieces = {entry.data for entry in self.entries() if entry.kind != "control"}
        for line in lines_in(before):
            assert self._is_made_of(line, pieces), (line, pieces)

    def _is_made_of(self, line: bytes, pieces: set[bytes]) -> bool:
        reach = {0}
        for at in range(len(line)):
            if at in reach:
                reach.update(at + len(p) for p in pieces if line.startswith(p, at))
        # A tail may be unfinished yet: it need not be an entry before the next fence.
        return len(line) in reach or not line.endswith(b"\n")

    # -- what we do -------------------------------------------------------------------

    @rule(who=WHO, n=NUMBERS)
    def append(self, who: str, n: int) -> None:
        data = b'{"%s":%d}\n' % (who[:1].encode(), n)
        with self.looked_at(data):
            self.sessions[who].append(data)

    @rule(who=WHO, numbers=st.lists(NUMBERS, min_size=1, max_size=3))
    def extend(self, who: str, numbers: list[int]) -> None:
        data = [b'{"%s":%d}\n' % (who[:1].encode(), n) for n in numbers]
        with self.looked_at(*data):
            self.sessions[who].extend(data)

    @rule(who=WHO)
    def raise_fence(self, who: str) -> None:
        with self.looked_at(is_check=True):
            fence = self.sessions[who].fence()
        self.fences = [*self.fences, fence][-FENCES:]
        self.crossed = {f.id: self.crossed.get(f.id, False) for f in self.fences}

    @precondition(lambda self: self.fences)
    @rule(at=st.integers(0, FENCES - 1))
    def check_fence(self, at: int) -> None:
        fence = self.fences[at % len(self.fences)]
        with self.looked_at(is_check=True):
            verdict = fence.check(raise_=False)
        assert verdict.accepted is not self.crossed[fence.id], verdict.foreign

    @precondition(lambda self: self.fences)
    @rule(at=st.integers(0, FENCES - 1), n=NUMBERS)
    def stored_fence(self, at: int, n: int) -> None:
        """Check a fence as another process would, by its id."""
        fence = self.fences[at % len(self.fences)]
        if fence.session.identity is None:
            return
        with self.looked_at(is_check=True):
            fence.check(raise_=False)
        loaded = self.journals[n % 2].fence(fence.stored())
        assert loaded.check(raise_=False).accepted is not self.crossed[fence.id]

    @precondition(lambda self: self.path.exists())
    @rule(who=WHO, keep=FRACTIONS, n=NUMBERS)
    def rewrite(self, who: str, keep: float, n: int) -> None:
        session = self.sessions[who]
        with self.looked_at(is_check=True):
            session.fence()
        kept = list(session.read())
        kept = kept[: int(keep * len(kept))]
        data = b'{"sum":%d}\n' % n
        with self.looked_at(data):
            session.rewrite([*kept, data], base=session.head.seq, reason="compacted")

    @precondition(lambda self: self.path.exists())
    @rule(who=WHO, n=NUMBERS)
    def cut(self, who: str, n: int) -> None:
        session = self.sessions[who]
        with self.looked_at(is_check=True):
            session.fence()
        with self.looked_at():
            session.cut(min(n, len(session.read())), base=session.head.seq, reason="taken back")

    @rule()
    def wait_a_tick(self) -> None:
        """Let the file's times be old enough to be relied on."""
        time.sleep(0.021)

    @precondition(lambda self: not self.path.exists())
    @rule()
    def recreate(self) -> None:
        with self.looked_at():
            self.sessions["gateway"].fence()
        self.exported = 0
        self.journals[0].mirrors.recreate(KEY)
        assert self.file() == self.layout()
        self.exported = len(self.layout())

    # -- what foreign hands do --------------------------------------------------------

    @contextmanager
    def edited(self) -> Iterator[bytes]:
        yield self.path.read_bytes() if self.path.exists() else b""

    def put(self, data: bytes) -> None:
        """Write over the same inode."""
        if not self.path.exists():
            return
        with self.path.open("r+b") as file:
            file.write(data)
            file.truncate()

    @precondition(lambda self: self.path.exists())
    @rule(n=NUMBERS, end=st.sampled_from([b"\n", b"\r\n", b""]))
    def hand_appends(self, n: int, end: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(b'{"f":%d}' % n + end)

    @precondition(lambda self: self.path.exists())
    @rule(data=st.sampled_from([b'{"torn', b'":1}\n', b"\n", b"\r\n", b"x"]))
    def hand_appends_bytes(self, data: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(data)

    @precondition(lambda self: self.path.exists())
    @rule(at=FRACTIONS)
    def hand_copies_a_line(self, at: float) -> None:
        lines = lines_in(self.path.read_bytes())
        if lines:
            with self.path.open("ab") as file:
                file.write(lines[int(at * (len(lines) - 1))])

    @precondition(lambda self: self.path.exists())
    @rule(at=FRACTIONS)
    def hand_edits_inside(self, at: float) -> None:
        """Change one byte and restore the time: size and mtime are as they were."""
        data = bytearray(self.path.read_bytes())
        if not data:
            return
        times = self.path.stat()
        place = int(at * (len(data) - 1))
        if data[place] not in b"\r\n":
            data[place] ^= 1
            self.put(bytes(data))
            os.utime(self.path, ns=(times.st_atime_ns, times.st_mtime_ns))

    @precondition(lambda self: self.path.exists())
    @rule(at=FRACTIONS, n=NUMBERS)
    def hand_splices(self, at: float, n: int) -> None:
        data = self.path.read_bytes()
        place = int(at * len(data))
        self.put(data[:place] + b'{"i":%d}\n' % n + data[place:])

    @precondition(lambda self: self.path.exists())
    @rule(at=FRACTIONS)
    def hand_truncates(self, at: float) -> None:
        os.truncate(self.path, int(at * self.path.stat().st_size))

    @precondition(lambda self: self.path.exists())
    @rule(data=st.data())
    def hand_reorders(self, data: Any) -> None:
        lines = lines_in(self.path.read_bytes())
        if len(lines) < 8:
            self.put(b"".join(data.draw(st.permutations(lines))))

    @precondition(lambda self: self.path.exists())
    @rule(other=st.booleans())
    def hand_replaces(self, *, other: bool) -> None:
        beside = self.home / "new"
        beside.write_bytes(b'{"o":1}\n' if other else self.path.read_bytes())
        beside.replace(self.path)

    @precondition(lambda self: self.path.exists())
    @rule()
    def hand_touches(self) -> None:
        os.utime(self.path)
        self.path.chmod(0o640)

    @precondition(lambda self: self.path.exists())
    @rule()
    def hand_deletes(self) -> None:
        self.path.unlink()

    @precondition(lambda self: not self.path.exists())
    @rule(data=st.sampled_from([b"", b'{"o":2}\n', b'{"o":2}\n{"o":3}\n']))
    def hand_makes_anew(self, data: bytes) -> None:
        self.path.write_bytes(data)

    def check_all(self) -> None:
        for fence in self.fences:
            with self.looked_at(is_check=self.path.exists()):
                verdict = fence.check(raise_=False)
            assert verdict.accepted is not self.crossed[fence.id]


SETTINGS = settings(
    max_examples=16,
    stateful_step_count=30,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestMirror = pytest.mark.filterwarnings("ignore")(MirrorMachine.TestCase)
TestMirror.settings = SETTINGS
