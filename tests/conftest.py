"""What most tests need: a journal in a directory of its own, its key, a clock, a thief."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import settings

from journal import Journal
from tests.thieves import KEY, Thief

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from journal import Session
    from journal.verdict import Verdict


# Each of these makes something that takes long and that all of its tests share: a wheel in an
# environment, an npm package, a browser. On one worker it is made once.
TOGETHER: Final = (
    "tests/packaging/test_wheel.py",
    "tests/interop/test_pi.py",
    "tests/report/test_page.py",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each test to whichever worker is free, and the tests of these files to one."""
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):  # type: ignore[misc] # it has no types
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return path if path in TOGETHER else nodeid

    return Together(config, log)


# No test is about time: on a busy machine the thousandth example may take as long as it likes.
settings.register_profile("journal", deadline=None)
settings.load_profile("journal")


@pytest.fixture(autouse=True)
def key_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep every test's key out of the user's own data directory."""
    path = tmp_path / "keys" / "journal.key"
    monkeypatch.setenv("JOURNAL_KEY_FILE", str(path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return path


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    """Run a test of what is awaited once in each kind of event loop."""
    return str(request.param)


@pytest.fixture
def journal_path(tmp_path: Path) -> Path:
    return tmp_path / "agent.db"


class Clock:
    """A clock that moves when told; in whole microseconds since 1970 UTC."""

    def __init__(self, now_us: int = 1_800_000_000_000_000) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us

    def step(self, by_us: int) -> None:
        self.now_us += by_us


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def told() -> list[Verdict]:
    """Every verdict that ``on_takeover`` was called with."""
    return []


@pytest.fixture
def open_journal(journal_path: Path, told: list[Verdict]) -> Iterator[Callable[..., Journal]]:
    """Open the journal once more, as another process would; all are closed at the end."""
    opened: list[Journal] = []

    def open_it(**options: Any) -> Journal:
        journal = Journal(journal_path, **{"on_takeover": told.append, **options})
        opened.append(journal)
        return journal

    yield open_it
    for journal in reversed(opened):
        journal.close()


@pytest.fixture
def journal(open_journal: Callable[..., Journal], clock: Clock) -> Journal:
    journal = open_journal()
    journal.store.clock = clock
    return journal


@pytest.fixture
def gateway(journal: Journal) -> Session:
    return journal.session(KEY, writer="gateway", role="run")


@pytest.fixture
def heartbeat(journal: Journal) -> Session:
    return journal.session(KEY, writer="heartbeat", role="heartbeat")


@pytest.fixture
def base(gateway: Session) -> Session:
    """Give BASE of the scenarios: a session that holds the single line of its header."""
    gateway.append({"type": "session"})
    return gateway


@pytest.fixture
def thief(journal: Journal, journal_path: Path) -> Iterator[Thief]:
    thief = Thief(journal_path)
    yield thief
    thief.close()
