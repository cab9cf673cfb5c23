"""What is there after a fault: the journal is opened anew, gone on with, and held against what was said."""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from journal import Journal, process, schema
from journal.audit import audit
from journal.backup import back_up
from journal.custody import custody
from journal.errors import JournalError
from journal.export import export
from journal.migration import apply, plan
from journal.who import who
from tests.crash.acts import FOREIGN, KEY, LINE, MIRRORED, NEW, OTHER, SECRET, SECRET_SEQ
from tests.crash.parties import Party, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# What an audit says of a session whose file somebody else wrote to.
_FOREIGN: Final = json.dumps(FOREIGN).encode() + b"\n"
_EXPECTED: Final = {"mirror reconcile": {"J110"}, "resolve": {"J110"}}


class Looker:
    """A process of its own that looks at journals, one after another."""

    def __init__(self, *, rebooted: bool = False) -> None:
        self._party: Party = start(_look_when_told, rebooted)

    def begin(self, place: Path, name: str, said: list[list[Any]]) -> None:
        """Let it look at what is left."""
        self._party.tell(json.dumps([str(place), name, said]))

    def wrong(self) -> list[str]:
        """Wait for what it found wrong."""
        found = self._party.hear()
        return [str(each) for each in found[1:]]

    def leave(self) -> None:
        """Let the process go."""
        self._party.tell("")
        self._party.end()


def _look_when_told(
    say: Callable[..., None],
    listen: Callable[[], str],
    rebooted: bool,  # noqa: FBT001
) -> None:
    if rebooted:
        process.boot_id = lambda: "of the boot after the power cut"
    while word := listen():
        place, name, said = json.loads(word)
        say("looked", *looked(Path(place), name, said))


def looked(place: Path, name: str, said: list[list[Any]]) -> list[str]:
    """Look here; what a look ends with is a fault like any other."""
    try:
        return list(faults(place, name, said))
    except JournalError as error:
        return [f"{type(error).__name__} {error.code}: {error}"]
    except Exception as error:  # noqa: BLE001 - told with the rest
        return [f"looking at it raised {error!r}"]


def faults(place: Path, name: str, said: list[list[Any]]) -> Iterator[str]:
    """Yield what is wrong with a journal after an act, by what its party said."""
    path, key = place / "a.db", place / "key"
    yield from _spoken(name, said)
    if name == "upgrade":
        schema.restore(str(path))
    with Journal(path, key_file=key, durability="normal", on_takeover=lambda _: None) as journal:
        yield from _verdict(journal, place, name)
        _go_on(journal, place, name)
        yield from _lines(journal, name, said)
        if name in MIRRORED and (place / "s.jsonl").read_bytes() != b"".join(export(journal, KEY)):
            yield "the mirror is not what an export gives"
        if name in _WITHIN:
            yield from _WITHIN[name](journal, place, said)
    report = audit(str(path), key_file=key)
    expected = _EXPECTED.get(name, set())
    yield from (
        f"audit: {each.id} {each.cause}" for each in report.findings if each.id not in expected
    )
    if name in _AFTERWARDS:
        yield from _AFTERWARDS[name](place, said)


def _go_on(journal: Journal, place: Path, name: str) -> None:
    """Do what whoever comes next would do: write, check, and the act itself once more."""
    # No run, so that a claim whose holder died keeps it from nothing.
    session = journal.session(KEY, writer="heartbeat", role="heartbeat")
    session.append({"by": "look", "n": 0})
    if name == "migrate":
        apply(journal, plan([place / "store"]))
    if name == "redact":
        session.redact([SECRET_SEQ], reason="asked for")
    if name == "forget":
        session.forget(reason="asked for")
    session.fence().check(raise_=False)


def _spoken(name: str, said: list[list[Any]]) -> Iterator[str]:
    """Yield what a party said that none should say."""
    for what, *rest in said:
        if what == "error":
            yield str(rest[0])
        if what == "takeover" and (name != "mirror reconcile" or rest[0] != [FOREIGN]):
            yield f"a false takeover: {rest[0]}"


def _verdict(journal: Journal, place: Path, name: str) -> Iterator[str]:
    """Check the fence that was raised before; only what came by the file may be foreign."""
    verdict = journal.fence((place / "fence").read_text()).check(raise_=False)
    bodies = [_value(entry.body or b"{}") for entry in verdict.foreign]
    if not verdict.accepted and (name != "mirror reconcile" or bodies != [FOREIGN]):
        yield f"a false verdict: {verdict.outcome} {bodies}"


def _value(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return body


def _lines(journal: Journal, name: str, said: list[list[Any]]) -> Iterator[str]:
    """Yield what was acknowledged and is not there, and what is there twice."""
    found: dict[tuple[str, int], tuple[str, int]] = {}
    for info in journal.sessions():
        for each in who(journal, info.key):
            line = each.entry.json() if each.entry.kind == "line" and each.entry.body else {}
            if "by" in line:
                found[info.key, each.entry.seq] = (line["by"], line["n"])
            if not each.accepted and line != FOREIGN:
                yield f"{info.key} {each.entry.seq}: {each.judged}"
    for what, *rest in said:
        if what == "acked" and found.get((rest[0], rest[1])) != (rest[2], rest[3]):
            yield f"acknowledged and lost: {rest}"
    counts = Counter((key, *line) for (key, _), line in found.items())
    yield from (f"{line} is there {count} times" for line, count in counts.items() if count > 1)
    makers = [counts[KEY, "maker", number] for number in range(4)]
    if makers != [int(name != "forget")] * 4:
        yield f"what was there before is there {makers} times"
    if name == "mirror reconcile" and counts[KEY, FOREIGN["by"], FOREIGN["n"]] != 1:
        yield "the foreign line is not an entry"
    if name == "batch" and counts[KEY, LINE["by"], 1] != counts[OTHER, LINE["by"], 1]:
        yield "half a batch is there"


def _migrated(journal: Journal, place: Path, _: object) -> Iterator[str]:
    wanted = sorted(file.read_bytes() for file in (place / "store").iterdir())
    keys = {info.key for info in journal.sessions()} - {KEY, OTHER}
    if sorted(b"".join(export(journal, key)) for key in keys) != wanted:
        yield f"what was migrated is not the files: {sorted(keys)}"


def _written(journal: Journal, place: Path, said: list[list[Any]]) -> Iterator[str]:
    """Yield what of an export is there in part, or was said to be written and is not there."""
    told = {rest[0] for what, *rest in said if what == "written"}
    yield from (f"{name} is not there" for name in told if not (place / name).exists())
    whole = {b"".join(export(journal, info.key)) for info in journal.sessions()}
    for file in (place / "out.jsonl", *(place / "out").rglob("*.jsonl")):
        if file.exists() and not file.name.startswith("."):
            data = file.read_bytes()
            if not data.endswith(b"}\n") or not any(each.startswith(data) for each in whole):
                yield f"{file.name} is there in part"
    if (place / "out.zip").exists() and zipfile.ZipFile(place / "out.zip").testzip() is not None:
        yield "the bundle is damaged"


def _resolved(journal: Journal, _: object, said: list[list[Any]]) -> Iterator[str]:
    if ["resolved"] in said and _FOREIGN in b"".join(export(journal, KEY)):
        yield "the rejected line is in the file"


def _secrets(place: Path, _: object) -> Iterator[str]:
    for file in place.iterdir():  # the journal is closed: no lock can be lost
        if file.is_file() and SECRET.encode() in file.read_bytes():
            yield f"the secret is still in {file.name}"


def _copies(place: Path, said: list[list[Any]]) -> Iterator[str]:
    copy, key = place / "copy.db", str(place / "key")
    if not copy.exists() and any(what == "copied" for what, *_ in said):
        yield "the copy that was acknowledged is not there"
    if copy.exists():
        Journal(copy, key_file=key).close()  # takes away what a killed one left beside it
        yield from (f"copy: {each.id}" for each in audit(str(copy), key_file=key).findings)
    back_up(place / "a.db", place / "second.db", key_file=key)


def _created(place: Path, said: list[list[Any]]) -> Iterator[str]:
    """Open, or make, what somebody was making."""
    path, key = place / "new.db", place / "new-key"
    with Journal(path, key_file=key) as journal:
        found = (
            {entry.seq for entry in journal.session(NEW).read()} if journal.sessions() else set()
        )
        yield from (f"acknowledged and lost: {rest}" for what, *rest in said
                    if what == "created" and rest[0] not in found)  # fmt: skip
        journal.session(NEW, writer="gateway", role="run").append({"by": "look", "n": 0})
    yield from (
        f"audit: {each.id} {each.cause}" for each in audit(str(path), key_file=key).findings
    )


def _eras(place: Path, said: list[list[Any]]) -> Iterator[str]:
    known = custody(place / "a.db", str(place / "key"))
    told = [rest[0] for what, *rest in said if what == "adopted"]
    # What was adopted and not acknowledged may have been adopted all the same.
    if known.lost or known.era not in (told or (1, 2)):
        yield f"era {known.era}, lost {known.lost}"


# What is asked of single acts, while the journal is open and afterwards.
_WITHIN: Final[dict[str, Callable[[Journal, Path, list[list[Any]]], Iterator[str]]]] = {
    "migrate": _migrated,
    "resolve": _resolved,
    "export": _written,
}
_AFTERWARDS: Final[dict[str, Callable[[Path, list[list[Any]]], Iterator[str]]]] = {
    "redact": _secrets,
    "forget": _secrets,
    "backup": _copies,
    "create": _created,
    "key adopt": _eras,
}
