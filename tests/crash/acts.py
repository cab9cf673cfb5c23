"""What is done while its calls are counted, and what its doer says of it."""

from __future__ import annotations

import ctypes
import json
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from journal import Journal, schema
from journal.adopting import adopt_key
from journal.backup import back_up, plan_restore, restore
from journal.bundle import write_bundle
from journal.engine import connect
from journal.errors import JournalError, SessionTakeover
from journal.export import export
from journal.files import write_new
from journal.migration import apply, plan
from journal.rebuilding import rebuild
from tests.crash.parties import done

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from journal import Session

KEY: Final = "agent:main:main"
OTHER: Final = "agent:main:cron"
NEW: Final = "agent:main:new"
SECRET: Final = "the secret that was said"  # noqa: S105 - to be redacted
FOREIGN: Final[dict[str, Any]] = {"by": "foreign", "n": 1}
LINE: Final[dict[str, Any]] = {"by": "victim", "n": 1, "text": "x" * 5000}
AGAIN: Final = {"by": "victim", "n": 2}
THREADS: Final = 3
NEVER: Final = 1 << 40


class Scene:
    """One party at one journal: it does its act, and says what was acknowledged."""

    def __init__(self, say: Callable[..., None], place: Path, arm: Callable[[], None]) -> None:
        self.say, self.place, self.arm = say, place, arm
        self.journal: Journal

    def session(self, key: str = KEY, **options: Any) -> Session:
        return self.journal.session(key, writer="gateway", role="run", **options)

    def acked(self, *entries: Any) -> None:
        for entry in entries:
            line = entry.json()
            self.say("acked", entry.session, entry.seq, line["by"], line["n"])

    def tried(self, work: Callable[[], Any]) -> Any:
        """Do it; an error of the journal's own is an answer, and any other is a fault."""
        try:
            return work()
        except SessionTakeover as error:
            bodies = [(entry.body or b"{}").decode() for entry in error.entries]
            self.say("takeover", [json.loads(body) for body in bodies if body[-1:] == "}"])
        except JournalError as error:
            self.say("refused", error.code)
        return None

    def append(self, to: Any, line: object, **options: Any) -> None:
        """Append, and say it if it was acknowledged."""
        entry = self.tried(lambda: to.append(line, **options))
        if entry is not None:
            self.acked(entry)


def _create(scene: Scene) -> None:
    """Make a journal and its key; whoever comes next finds both, or makes them."""
    scene.journal.close()
    scene.arm()

    def whole() -> None:
        with Journal(scene.place / "new.db", key_file=scene.place / "new-key") as journal:
            session = journal.session(NEW, writer="gateway", role="run")
            entry = session.append(LINE)
            scene.say("created", entry.seq)

    scene.tried(whole)


def _first_append(scene: Scene) -> None:
    newcomer = scene.journal.session(NEW, writer="newcomer", role="cron")
    scene.arm()
    scene.append(newcomer, LINE)


def _append(scene: Scene) -> None:
    """Ask twice, as one does who had no answer: it is written once."""
    session = scene.session()
    session.append({"by": "victim's first", "n": 0})
    scene.arm()
    first = scene.tried(lambda: session.append(LINE, request_id="r1"))
    second = scene.tried(lambda: session.append(LINE, request_id="r1"))
    found = [each for each in (first, second) if each is not None]
    if len({each.seq for each in found}) > 1:
        scene.say("error", "one request, two answers")
    scene.acked(*found[:1])


def _batch(scene: Scene) -> None:
    sessions = [scene.session(), scene.session(OTHER)]
    scene.arm()

    def both() -> list[Any]:
        with scene.journal.batch() as batch:
            receipts = [batch.append(session, LINE) for session in sessions]
        return [entry for receipt in receipts for entry in receipt.entries]

    scene.acked(*(scene.tried(both) or ()))


def _group(scene: Scene) -> None:
    """Several threads at once share a commit; each has its own answer."""
    session, together = scene.session(), threading.Barrier(THREADS)
    session.append({"by": "victim's first", "n": 0})

    def work(number: int) -> None:
        together.wait()
        for count in (1, 2):
            scene.append(session, {"by": f"thread {number}", "n": count})

    threads = [threading.Thread(target=work, args=(number,)) for number in range(THREADS)]
    scene.arm()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _fence_append(scene: Scene) -> None:
    fence = scene.session().fence()
    scene.arm()
    scene.append(fence, LINE)
    verdict = scene.tried(lambda: fence.check(raise_=False))
    if verdict is not None and not verdict.accepted:
        scene.say("error", f"an honest fence was judged {verdict.outcome}")


def _claim(scene: Scene) -> None:
    session = scene.session()
    scene.arm()
    turn = scene.tried(session.claim)
    if turn is not None:
        scene.append(turn, LINE)
        scene.tried(turn.release)


def _mirror_append(scene: Scene) -> None:
    session = scene.session()
    session.append({"by": "victim's first", "n": 0})
    scene.arm()
    scene.append(session, LINE)


def _reconcile(scene: Scene) -> None:
    session = scene.session()
    _write_foreign(scene.place)
    scene.arm()
    scene.tried(lambda: session.fence().check())


def _write_foreign(place: Path) -> None:
    with (place / "s.jsonl").open("ab") as hand:
        hand.write(json.dumps(FOREIGN).encode() + b"\n")


def _rewrite(scene: Scene) -> None:
    session = scene.session()
    kept = list(session.read())[-2:]
    scene.arm()
    scene.tried(lambda: session.rewrite([*kept, LINE], base=session.head.seq, reason="compacted"))


def _cut(scene: Scene) -> None:
    session = scene.session()
    scene.arm()
    scene.tried(lambda: session.cut(2, base=session.head.seq, reason="regretted"))


def _migrate(scene: Scene) -> None:
    scene.arm()
    scene.tried(lambda: apply(scene.journal, plan([scene.place / "store"])))


def _redact(scene: Scene) -> None:
    session = scene.session()
    scene.arm()
    if scene.tried(lambda: session.redact([SECRET_SEQ], reason="asked for")) is not None:
        scene.say("redacted")


SECRET_SEQ: Final = 4


def _back_up(scene: Scene) -> None:
    scene.arm()
    made = scene.tried(
        lambda: back_up(
            scene.place / "a.db", scene.place / "copy.db", key_file=str(scene.place / "key")
        )
    )
    if made is not None:
        scene.say("copied", made.report.exit_code)


def _adopt(scene: Scene) -> None:
    scene.journal.close()
    scene.arm()
    key = str(scene.place / "key")
    known = scene.tried(lambda: adopt_key(scene.place / "a.db", key_file=key))
    if known is not None:
        scene.say("adopted", known.era)


def _forget(scene: Scene) -> None:
    session = scene.session()
    scene.arm()
    if scene.tried(lambda: session.forget(reason="asked for")) is not None:
        scene.say("forgotten")


def _resolve(scene: Scene) -> None:
    session = scene.session()
    (foreign,) = session.read(trusted=False)
    scene.arm()
    if scene.tried(lambda: session.resolve([foreign.seq], accept=False, reason="nobody's")):
        scene.say("resolved")


def _restore(scene: Scene) -> None:
    """Put a copy in the journal's place, which had gone on since."""
    scene.journal.close()
    path, key = scene.place / "a.db", str(scene.place / "key")
    scene.arm()
    scene.tried(lambda: restore(plan_restore(scene.place / "kept.db", path, key_file=key)))


def _upgrade(scene: Scene) -> None:
    """Bring the schema back, where somebody took a trigger down."""
    path = str(scene.place / "a.db")
    scene.journal.close()
    connection = connect(path)
    (name,) = connection.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'trigger' ORDER BY name LIMIT 1"
    ).fetchone()
    connection.execute(f"DROP TRIGGER {name}")
    connection.close()
    scene.arm()
    scene.tried(lambda: schema.upgrade(path))
    if scene.tried(lambda: schema.restore(path)) is not None:
        scene.say("upgraded")


def _export(scene: Scene) -> None:
    """Write a session to a file, all of them to a directory, and a bundle."""
    journal, place = scene.journal, scene.place
    path, key = place / "a.db", str(place / "key")
    scene.arm()
    for name, work in (
        ("out.jsonl", lambda: write_new(place / "out.jsonl", export(journal, KEY), force=False)),
        ("out", lambda: rebuild(journal, place / "out")),
        ("out.zip", lambda: write_bundle(path, place / "out.zip", key_file=key)),
    ):
        with suppress(OSError):  # told by the command line, as any file that cannot be written
            if scene.tried(work) is not None:
                scene.say("written", name)


ACTS: Final[dict[str, Callable[[Scene], None]]] = {
    "create": _create,
    "first append": _first_append,
    "append": _append,
    "batch": _batch,
    "group commit": _group,
    "fence.append": _fence_append,
    "claim": _claim,
    "mirror append": _mirror_append,
    "mirror reconcile": _reconcile,
    "rewrite": _rewrite,
    "cut": _cut,
    "migrate": _migrate,
    "redact": _redact,
    "forget": _forget,
    "resolve": _resolve,
    "backup": _back_up,
    "restore": _restore,
    "upgrade": _upgrade,
    "export": _export,
    "key adopt": _adopt,
}
MIRRORED: Final = {
    "mirror append", "mirror reconcile", "rewrite", "cut", "redact", "forget", "resolve",
}  # fmt: skip
# In these nothing is appended afterwards: the journal is closed, or another.
_ALONE: Final = {"create", "key adopt", "backup", "migrate", "restore", "upgrade"}


def act(say: Callable[..., None], _: object, place: Path, name: str, at: int, how: int) -> None:
    """Do one act with a fault at one call; say whether it came to that, and which calls there were if not."""
    shim = _shim()
    try:
        _do(Scene(say, place, lambda: shim.shim_arm(str(place).encode(), at, how)), name)
    finally:
        shim.shim_disarm()
    seen = shim.shim_seen()
    say("calls", shim.shim_kinds()[:seen].decode() if at == NEVER else "", seen >= at)


def keep(
    say: Callable[..., None],
    _: object,
    place: Path,
    name: str,
    calls: tuple[int, int],
    pipes: tuple[int, int],
) -> None:
    """Do one act, and wait for a keeper before, within and after each of some of its calls."""
    shim = _shim()
    directory = str(place).encode()
    _do(Scene(say, place, lambda: shim.shim_keep(directory, *calls, *pipes)), name)
    shim.shim_disarm()


def record(say: Callable[..., None], _: object, place: Path, name: str, log: Path) -> None:
    """Do one act with its calls written to a log; say with each word how many there were before it.

    All calls, from the opening on; "armed" tells where the act itself begins.
    """
    shim = _shim()
    shim.shim_record(str(place).encode(), str(log).encode())

    def say_when(*what: Any) -> None:
        say(shim.shim_seen(), *what)

    _do(Scene(say_when, place, lambda: say_when("armed")), name)
    shim.shim_disarm()


def _shim() -> Any:
    shim = ctypes.CDLL(None)
    shim.shim_arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int]
    shim.shim_keep.argtypes = [
        ctypes.c_char_p, ctypes.c_long, ctypes.c_long, ctypes.c_int, ctypes.c_int,
    ]  # fmt: skip
    shim.shim_record.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    shim.shim_kinds.restype = ctypes.c_char_p
    shim.shim_seen.restype = ctypes.c_long
    return shim


def _do(scene: Scene, name: str) -> None:
    def whole() -> None:
        path, key = scene.place / "a.db", scene.place / "key"
        with Journal(path, key_file=key) as scene.journal:
            ACTS[name](scene)
            if name not in _ALONE:
                scene.append(scene.session(OTHER), AGAIN)

    scene.tried(whole)


def made(place: Path, name: str) -> None:
    """Make what an act begins with, in a process of its own."""
    place.mkdir()
    said = done(make, place, name)
    assert said == [["made"]], said


def make(say: Callable[..., None], _: object, place: Path, name: str) -> None:
    """Make it here."""
    mirror = place / "s.jsonl" if name in MIRRORED else None
    with Journal(place / "a.db", key_file=place / "key", on_takeover=lambda _: None) as journal:
        session = journal.session(KEY, writer="gateway", role="run", mirror=mirror)
        session.extend({"by": "maker", "n": number} for number in range(3))
        session.append({"by": "secret", "n": 0, "text": SECRET})
        session.append({"by": "maker", "n": 3})
        other = journal.session(OTHER, writer="heartbeat", role="heartbeat")
        other.append({"by": "maker", "n": 0})
        if name == "resolve":
            _write_foreign(place)
            session.fence()
        (place / "fence").write_text(session.fence().stored())
    if name == "restore":
        back_up(place / "a.db", place / "kept.db", key_file=str(place / "key"))
        with Journal(place / "a.db", key_file=place / "key") as journal:
            journal.session(OTHER, writer="heartbeat", role="heartbeat").append(LINE)
    store = place / "store"
    store.mkdir()
    for number in range(2):
        lines = [{"by": f"file {number}", "n": n, "text": "y" * 100} for n in range(30)]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (store / f"{number}.jsonl").write_text(text)
    say("made")
