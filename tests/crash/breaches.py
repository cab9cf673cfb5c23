"""The ways to make SQLite lose its locks or its files, each done in a process that is at work.

``tests/test_guards.py`` looks at each closely and once; here each is done again and again,
at a chance moment among writes and beside another writer. It must be refused, or noticed
before the process says again that a write is kept; and nothing acknowledged may be lost,
but where the file itself was taken away.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

from journal import Journal, JournalError, guards
from journal.audit import audit
from journal.engine import driver
from journal.pins import CAN_PIN, LOOK_AFTER
from tests.crash.honest import KEYS, fresh, made
from tests.crash.parties import done, start

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal import Session

_KEY: Final = KEYS[0]


@dataclass
class Scene:
    """A process at work on a journal, and what it says."""

    journal: Journal
    session: Session
    path: Path
    key: Path
    say: Callable[..., None]

    def write(self, count: int) -> None:
        """Append, and say what was acknowledged; what it is refused by is said, and ends it."""
        for _ in range(count):
            entry = self.session.append({"by": "victim", "n": self.session.head.seq})
            self.say("acked", entry.seq)

    def tried(self, work: Callable[[], object]) -> None:
        """Do what may be refused, and say by what."""
        try:
            work()
        except JournalError as error:
            self.say("refused", error.code)

    def lose_locks(self, suffix: str) -> None:
        """Open and close a file as a C library in this process could, unseen by any hook."""
        with guards.own_hand():
            os.close(os.open(f"{self.path}{suffix}", os.O_RDONLY))


@dataclass(frozen=True)
class Breach:
    """One way; what says that it was met, if anything must; and whether all that was acknowledged stays."""

    do: Callable[[Scene], object]
    refused: str | None
    keeps_all: bool = True
    needs_root: bool = False


def _opened(suffix: str) -> Callable[[Scene], object]:
    return lambda scene: scene.tried(Path(f"{scene.path}{suffix}").read_bytes)


def _copied(suffix: str) -> Callable[[Scene], object]:
    return lambda scene: scene.tried(
        lambda: shutil.copyfile(f"{scene.path}{suffix}", f"{scene.path}.copy{suffix}")
    )


def _tree_copied(scene: Scene) -> None:
    target = scene.path.parent / "tree"
    scene.tried(lambda: shutil.copytree(scene.path.parent, target))
    shutil.rmtree(target, ignore_errors=True)


def _second_library(scene: Scene) -> None:
    if driver() is sqlite3:
        scene.say("refused", "live-file")  # there is one library only
        return
    scene.tried(lambda: sqlite3.connect(scene.path).execute("SELECT 1"))


def _locks_lost(suffix: str) -> Callable[[Scene], object]:
    return lambda scene: scene.lose_locks(suffix)


def _locks_lost_in_transaction(suffix: str) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        with scene.journal.store.transaction() as cursor:
            cursor.execute("UPDATE sessions SET layout_no = layout_no")
            scene.lose_locks(suffix)

    return lambda scene: scene.tried(lambda: do(scene))


def _removed(suffix: str) -> Callable[[Scene], object]:
    return lambda scene: Path(f"{scene.path}{suffix}").unlink()


def _replaced(suffix: str) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        other = scene.path.with_suffix(".other")
        other.write_bytes(b"")
        other.rename(f"{scene.path}{suffix}")

    return do


def _moved(scene: Scene) -> None:
    scene.path.rename(scene.path.with_suffix(".moved"))


def _moved_and_put_back(scene: Scene) -> None:
    _moved(scene)
    scene.path.with_suffix(".moved").rename(scene.path)


def _linked(scene: Scene) -> None:
    other = scene.path.with_suffix(".other")
    os.link(scene.path, other)
    _refused_to_others(scene)
    other.unlink()


def _bound(scene: Scene) -> None:
    subprocess.run(["mount", "--bind", scene.path, scene.path], check=True)
    try:
        _refused_to_others(scene)
    finally:
        subprocess.run(["umount", scene.path], check=True)


def _refused_to_others(scene: Scene) -> None:
    """Have another process open it, and say what it says."""
    for what, *rest in done(_open, scene.path, scene.key):
        scene.say(what, *rest)


def _open(say: Callable[..., None], _: object, path: Path, key: Path) -> None:
    try:
        Journal(path, key_file=key).close()
    except JournalError as error:
        say("refused", error.code)


def _forked(scene: Scene) -> None:
    """A child uses its parent's journal."""
    for what, *rest in done(_append_as_child, scene.session):
        scene.say(what, *rest)


def _append_as_child(say: Callable[..., None], _: object, session: Session) -> None:
    try:
        session.append({"by": "child", "n": 0})
        say("wrong", "a forked child wrote by its parent's journal")
    except JournalError as error:
        say("refused", error.code)


_FILES: Final = ("", "-wal", "-shm")
BREACHES: Final[dict[str, Breach]] = {
    **{f"read of {s or 'the database'}": Breach(_opened(s), "live-file") for s in ("", "-shm")},
    **{f"copy of {s or 'the database'}": Breach(_copied(s), "live-file") for s in ("", "-shm")},
    "copy of the directory": Breach(_tree_copied, "live-file"),
    "second library": Breach(_second_library, "live-file"),
    **{f"open and close of {s or 'the database'} in C": Breach(_locks_lost(s), None) for s in _FILES},
    "open and close of -shm in C, in a transaction": Breach(_locks_lost_in_transaction("-shm"), "lock-lost"),
    "open and close of the database in C, in a transaction": Breach(_locks_lost_in_transaction(""), None),
    **{f"removal of {s or 'the database'}": Breach(_removed(s), "file-replaced", keeps_all=False) for s in _FILES},
    **{f"replacement of {s or 'the database'}": Breach(_replaced(s), "file-replaced", keeps_all=False) for s in _FILES},
    "move": Breach(_moved, "file-replaced", keeps_all=False),
    "move there and back": Breach(_moved_and_put_back, None),
    "hard link": Breach(_linked, "unsafe-sqlite"),
    "bind mount": Breach(_bound, "unsafe-sqlite", needs_root=True),
    "fork": Breach(_forked, "forked"),
}  # fmt: skip


def victim(
    say: Callable[..., None], _: object, path: Path, key: Path, name: str, seed: int
) -> None:
    """Be at work, have it happen, and go on."""
    chance, breach = Random(seed), BREACHES[name]  # noqa: S311 - to be repeated, not to be secret
    journal = Journal(path, key_file=key)
    session = journal.session(_KEY, writer="gateway", role="run")
    scene = Scene(journal, session, path, key, say)
    scene.write(chance.randint(1, 5))
    breach.do(scene)
    scene.tried(lambda: scene.write(LOOK_AFTER + 1))
    scene.tried(journal.close)


def neighbour(say: Callable[..., None], listen: Callable[[], str], path: Path, key: Path) -> None:
    """Write a little beside it, from before it happens until after."""
    try:
        with Journal(path, key_file=key) as journal:
            session = journal.session(_KEY, writer="heartbeat", role="heartbeat")
            say("open")
            for number in range(5):
                say("acked", session.append({"by": "neighbour", "n": number}).seq)
            listen()
    except JournalError as error:
        say("refused", error.code)  # what is done to the files may be met here first


def _looked(say: Callable[..., None], _: object, path: Path, key: Path) -> None:
    with Journal(path, key_file=key) as journal:
        session = journal.session(_KEY, writer="heartbeat", role="heartbeat")
        session.append({"by": "look", "n": 0})
        say("read", [entry.seq for entry in session.read()])
    say("audit", [str(found) for found in audit(path, key_file=key).findings])


def once(template: Path, number: int, name: str, seed: int) -> list[str]:
    """Do one breach on a fresh copy; return what was wrong."""
    path, key, breach = fresh(template, number), template.parent / "key", BREACHES[name]
    beside = start(neighbour, path, key)
    said = beside.hear() and done(victim, path, key, name, seed)
    beside.tell("enough")
    heard = [*said, *beside.end()]
    told = [f"{what}: {rest}" for what, *rest in heard if what in ("error", "wrong")]
    codes = {rest[0] for what, *rest in said if what == "refused"}
    if breach.refused is not None and breach.refused not in codes:
        told.append(f"refused by {sorted(codes)}, not by {breach.refused}")
    if breach.keeps_all:
        acked = [rest[0] for what, *rest in heard if what == "acked"]
        facts = {what: rest[0] for what, *rest in done(_looked, path, key)}
        lost = sorted(set(acked) - set(facts.get("read", [])))
        told += [f"acknowledged and lost: {lost}"] if lost else []
        told += [f"audit: {facts.get('audit')}"] if facts.get("audit") != [] else []
    for file in path.parent.glob(f"{path.stem}.*"):
        file.unlink(missing_ok=True)
    return [f"{name}, seed {seed}: {each[:1000]}" for each in told]


def run(home: str, seed: int, count: int, seconds: float | None = None) -> dict[str, Any]:
    """Do so many breaches, or as many as there is time for, each way in turn; return counts, and what was wrong."""
    until = None if seconds is None else time.monotonic() + seconds
    template = made(Path(home))
    names = [name for name, each in BREACHES.items() if not each.needs_root or _can_bind(home)]
    by_way: dict[str, int] = {}
    wrong: list[str] = []
    for number in range(count):
        if by_way and until is not None and time.monotonic() > until:
            break
        name = names[(seed + number) % len(names)]
        wrong += once(template, number, name, seed + number)
        by_way[name] = by_way.get(name, 0) + 1
    return {"tried": sum(by_way.values()), "by_way": by_way, "wrong": wrong}


def _can_bind(home: str) -> bool:
    probe = Path(home) / "probe"
    probe.touch()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    found = subprocess.run(["mount", "--bind", probe, probe], capture_output=True, check=False)
    if found.returncode == 0:
        subprocess.run(["umount", probe], check=True)
    return found.returncode == 0


def why_not() -> str | None:
    """Return why none of this can be tried here; None if it can."""
    return None if CAN_PIN else "only Linux has locks of an open file"
