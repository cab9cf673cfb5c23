"""An append in one stretch keeps what the long way keeps, to the last byte, and stands back where it must."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from journal import FullError, Journal, JournalError, admission, seal
from journal.appending import append_one, is_plain
from journal.audit import audit
from journal.chain import Chain, Head
from journal.model import Writer
from journal.writing import Author
from tests.conftest import Clock
from tests.thieves import KEY, Thief

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from journal import Session

WRITERS: list[Any] = [
    {"writer": "gateway", "role": "run"},
    {"writer": "heartbeat", "role": "heartbeat", "run_id": "r7"},
    {"writer": "slack", "role": "external", "on_behalf_of": "ann"},
]
LINES = [
    b'{"type":"message","id":"a1","parentId":"a0"}', b"no json", b'{"uuid":"\\u0000","n":1}\n', b"[1]\r\n",
    "\u00e9".encode(), b'{"text":"' + b"x" * 3000 + b'"}', {"type": "custom", "text": "\u20ac"}, b"", b"a\nb",
]  # fmt: skip
ACTS = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 2), st.sampled_from(LINES)),
    st.tuples(st.just("turn"), st.sampled_from(LINES)),
    st.tuples(st.sampled_from(["claim", "release", "fence", "stray", "behind", "other"])),
)


class Hand:
    """Does the same acts in each journal it is given, and notes what came of each."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal(path)
        self.other = Journal(path)
        for each in (self.journal, self.other):
            each.store.clock = Clock()
        self.sessions = [self.journal.session(KEY, **who) for who in WRITERS]
        self.thief = Thief(path)
        self.turn: Any = None
        self.came: list[object] = []

    def act(self, name: str, *values: Any) -> None:
        try:
            self.came.append(getattr(self, f"do_{name}")(*values))
        except JournalError as error:
            self.came.append((type(error), error.code))

    def do_append(self, who: int, line: object) -> object:
        return self.sessions[who].append(line)

    def do_claim(self) -> None:
        self.turn = self.sessions[0].claim()

    def do_turn(self, line: object) -> object:
        return None if self.turn is None else self.turn.append(line)

    def do_release(self) -> None:
        if self.turn is not None:
            self.turn.release()

    def do_fence(self) -> object:
        """It is stored with the next write."""
        return self.sessions[0].fence().arrived

    def do_stray(self) -> None:
        """Take the very seq that is next."""
        self.thief.insert_copy()

    def do_behind(self) -> None:
        self.thief.execute("UPDATE sessions SET cum_bytes = cum_bytes + 1 WHERE id = 2")

    def do_other(self) -> object:
        return self.other.session(KEY, writer="cron", role="cron").append(b'{"n":1}')

    def did(self, acts: Iterable[Any]) -> tuple[list[object], list[Any]]:
        """Do some acts; return what came of them, and every row."""
        for act in acts:
            self.act(*act)
        tables = ("entries", "sessions")
        return self.came, [[*self.thief.execute(f"SELECT * FROM {table}")] for table in tables]

    def close(self) -> None:
        self.thief.close()
        self.other.close()
        self.journal.close()


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal of which there can be twins: the key and the id are the same in each copy."""
    home = tmp_path_factory.mktemp("twins")
    Journal(home / "empty.db", key_file=home / "key").close()
    return home / "empty.db"


@contextmanager
def twin(empty: Path, *, straight: bool) -> Iterator[tuple[Hand, list[object]]]:
    """Give a hand at a copy, under salts that are the same for each, and what it appended in one stretch."""
    taken: list[object] = []

    def noted(*values: Any) -> Any:
        taken.append(append_one(*values))
        return taken[-1]

    with TemporaryDirectory(dir=empty.parent) as home, pytest.MonkeyPatch.context() as patch:
        shutil.copy(empty, f"{home}/twin.db")
        patch.setenv("JOURNAL_KEY_FILE", str(empty.with_name("key")))
        patch.setattr(seal, "token_bytes", Random(7).randbytes)  # noqa: S311 - to be repeated
        patch.setattr(admission, "append_one", noted)
        if not straight:
            patch.setattr(admission, "is_plain", lambda *_: False)
        hand = Hand(Path(home) / "twin.db")
        try:
            yield hand, taken
        finally:
            hand.close()


@settings(max_examples=25)
@given(acts=st.lists(ACTS, max_size=25))
def test_it_keeps_what_the_long_way_keeps(empty: Path, acts: list[Any]) -> None:
    """The same entries, the same errors and, under equal salts, the same rows to the last byte."""
    plain = [("append", 0, LINES[0])] * 2
    acts = [*plain, *acts, *plain]
    with twin(empty, straight=True) as (hand, taken):
        came = hand.did(acts)
        assert taken
    with twin(empty, straight=False) as (hand, taken):
        assert hand.did(acts) == came
        assert not taken


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every entry that was appended in one stretch."""
    entries: list[object] = []

    def noted(*values: Any) -> Any:
        entries.append(append_one(*values))
        return entries[-1]

    monkeypatch.setattr(admission, "append_one", noted)
    return entries


def test_most_lines_are_appended_so(
    gateway: Session, heartbeat: Session, taken: list[object]
) -> None:
    gateway.append({"n": 1})  # the session is registered, and the writer
    heartbeat.append({"n": 2})
    entries = [gateway.append(b'{"n":3}'), heartbeat.append(b"4\r\n"), gateway.append({"n": 5})]
    assert taken[-3:] == entries
    assert [entry._replace(row_id=None) for entry in gateway.read(after=2)] == entries


def plain_chain(until: int = 0) -> Chain:
    eras = [seal.Era(1, None, until)] if until else []
    chain = Chain.new(KEY, 2, seal.Sealer(b"k" * 32, 2, 2, KEY, eras))
    chain.head = Head(3, 3, b"s" * 32, 30, None)
    chain.generation = 5
    return chain


GATEWAY = Author(Writer(2, "gateway", "run", 0), 1)


def test_a_chain_is_plain_where_nothing_is_to_be_done_but_to_write() -> None:
    assert is_plain(plain_chain(), GATEWAY, 5)
    assert is_plain(plain_chain(until=3), GATEWAY, 5)


@pytest.mark.parametrize(
    "change",
    [
        {"generation": 4},  # somebody has committed, and it was not looked at since
        {"is_odd": True},  # there is something to name
        {"is_crowded": True},  # the next seq may be taken
        {"open_tail": True},  # the line before has no end
        {"waiting": [("", ())]},  # a fence is to be stored
        {"head": Head(3, 3, b"s" * 32, 30, 7)},  # a turn stands that is not this author's
    ],
    ids=lambda change: next(iter(change)),
)
def test_it_stands_back_where_anything_is_unusual(change: dict[str, Any]) -> None:
    chain = plain_chain()
    for name, value in change.items():
        setattr(chain, name, value)
    assert not is_plain(chain, GATEWAY, 5)


def test_it_stands_back_below_the_end_of_an_earlier_key_era() -> None:
    """A row there is sealed with the key of then."""
    assert not is_plain(plain_chain(until=4), GATEWAY, 5)


def test_what_could_not_be_written_was_never_there(base: Session, taken: list[object]) -> None:
    """A full disk at the insert: the head is back where it was, in memory and in the file."""
    before, cursor = base.append({"n": 1}), base.store.cursor
    pages = cursor.execute("PRAGMA page_count").fetchone()[0]
    cursor.execute(f"PRAGMA max_page_count={pages + 4}")
    with pytest.raises(FullError):
        base.append(b"[" + b"1," * 50_000 + b"1]")
    cursor.execute("PRAGMA max_page_count=1000000")
    assert base.append({"n": 2}).seq == before.seq + 1
    assert [entry.seq for entry in base] == [1, 2, 3]
    assert not audit(base.store.path).findings
