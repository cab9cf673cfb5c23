"""What takes bytes from anybody, as functions of bytes: each raises where what it promises does not hold."""

from __future__ import annotations

import json
import os
import re
import tempfile
from contextlib import suppress
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from journal import controls, keys, layout, lines, note, seal, sidefile, strays
from journal.audit.findings import Finding
from journal.audit.report import Report
from journal.errors import EntryError, KeyMissing
from journal.escape import escape, is_unsafe
from journal.formats import FORMATS, detect
from journal.report.page import rendered
from journal.strays import Ranges
from tests.properties import test_lines, test_lines_fast, test_reconcile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NAMES: Final = (
    "sessions.json", "a.jsonl", "a.jsonl.lock", "rollout-2026-01-01T00-00-00-x.jsonl",
    "a.jsonl.reset.2026-01-01T00-00-00.000Z", "a.jsonl.deleted.x", ".lock", "",
)  # fmt: skip


def line(data: bytes) -> None:
    """A line of any bytes is kept as it is; one that is taken as JSON is JSON to everybody."""
    body = data.replace(b"\n", b"").replace(b"\r", b"")
    read = lines.parse(body, b"\n")
    assert (read.body, read.terminator) == (body, b"\n")
    assert all(each is None or isinstance(each, str) for each in read[3:])
    if read.kind == "line":
        json.loads(body)
    if body:
        assert lines.encode(body) == read
    else:
        with suppress(EntryError):
            raise AssertionError(lines.encode(body))


def formats(data: bytes) -> None:
    """Whatever a file begins with, it has a format or none."""
    name = NAMES[data[0] % len(NAMES)] if data else ""
    first = data[1:].split(b"\n")[:8]
    detect(name, first)
    for each in FORMATS:
        each.recognises(name, first)
        each.classify(name)
        each.alias(name)
        each.header(first)


def key_file(data: bytes) -> None:
    """A key file is refused, or holds secrets that are the same when they are written again."""
    path = _file("key", data)
    try:
        held = keys.read_secrets(path)
    except KeyMissing:
        return
    assert held
    assert all(len(each.value) == seal.SECRET_SIZE for each in held)
    path.write_bytes(b"".join(map(keys.line_of, held)))
    assert keys.read_secrets(path) == held


def anchor(data: bytes) -> None:
    """An anchor is refused in our words, or says the same when it is written again."""
    try:
        signed = note.parsed_note(data)
        said = note.parsed_statement(signed.text)
    except EntryError:
        return
    assert note.parsed_statement(note.statement_text(said)) == said
    text = (
        signed.text
        + "\n"
        + "".join(
            f"— {each.name} {_base64(each.key_hash + each.signature)}\n"
            for each in signed.signatures
        )
    )
    assert note.parsed_note(text.encode()) == signed


def verifier(data: bytes) -> None:
    """A public key is refused in our words, or is the same when it is shown and read again."""
    try:
        known = note.parsed_verifier(os.fsdecode(data))
    except EntryError:
        return
    assert note.parsed_verifier(str(known)) == known


def control(data: bytes) -> None:
    """The body of a control entry says something, or nothing."""
    facts = controls.decode(data)
    assert isinstance(facts, dict)
    if "control" in facts and all(isinstance(each, str) for each in facts):
        json.dumps(facts)


def side_file(data: bytes) -> None:
    """Nothing that we have not written is believed of a mirror."""
    path = _file("side", data)
    # Another key each time: a guided fuzzer sees what a comparison wants, and so forges the MAC of one it meets again.
    side = sidefile.SideFile(str(path), seal.Mac(os.urandom(32)))
    try:
        assert side.read(1) is None
        known = sidefile.Known(size=len(data), boot_id=data[:8].hex(), digest=b"d" * 32)
        side.write(1, known)
        assert side.read(1) == known
        side.forget(1)
        assert side.read(1) is None
    finally:
        side.close()


def ranges(data: bytes) -> None:
    """A set of seqs is the set of the numbers that were put into it."""
    held, expected = Ranges(), set()
    for first, size in _pairs(data):
        held.add(first, first + size % 9)
        expected |= set(range(first, first + size % 9 + 1))
    assert [seq for first, last in held for seq in range(first, last + 1)] == sorted(expected)
    for seq in range(257):
        assert (seq in held) == (seq in expected)
        assert held.next_free(seq) not in expected
    oddity = strays.Oddity("stray", tuple(held), len(expected), "d")
    assert strays.Oddity.from_json(json.loads(json.dumps(oddity.as_json()))) == oddity


def layouts(data: bytes) -> None:
    """Any order of lines is a layout, is the same after it went through its entry, and can be undone."""
    all_lines = [seq for seq in range(1, 40) if seq % 5]
    order = list(dict.fromkeys(all_lines[byte % len(all_lines)] for byte in data))
    extents = layout.extents_of(order, all_lines)
    made = layout.Layout(1, tuple(extents))
    told = layout.PLAIN.then(extents)
    assert layout.PLAIN.after(controls.decode(told.body)) == made
    assert [seq for seq in _seqs(made) if seq in set(all_lines)] == order
    assert layout.undone(extents, layout.PLAIN, made, 39) == list(layout.PLAIN.extents)
    dropped = order[::-1][: len(order) // 2]
    left = layout.Layout(2, tuple(layout.cut_off(made, dropped, 39)))
    assert [seq for seq in _seqs(left) if seq in set(all_lines)] == order[
        : len(order) - len(dropped)
    ]


def _seqs(made: layout.Layout) -> Iterator[int]:
    for first, last in made.spans(39):
        yield from range(first, last + 1)


def shown(data: bytes) -> None:
    """Nothing unsafe comes out of the escaping, and what is safe is not touched."""
    text = os.fsdecode(data)
    told = escape(text)
    assert not any(is_unsafe(char) for char in told)
    assert "\n" not in told
    if not any(is_unsafe(char) for char in text):
        assert told == text


def page(data: bytes) -> None:
    """Words from anywhere add no tag, no attribute and no script to the page of an audit."""
    text = os.fsdecode(data) or "-"  # where nothing is said the page has fewer tags
    assert _tags(_page(text)) == _plain_tags()


@cache
def _plain_tags() -> list[Any]:
    return _tags(_page("plain"))


def _page(text: str) -> str:
    finding = Finding(
        "J301", "broken", 3, text, text, text, ((1, 2),), 2, ({"body": text, "seq": 1},), text, text, text
    )  # fmt: skip
    report = Report(
        "broken", {"path": text, "id": text, "format": text, "schema": 1, "key": text}, (text,), (),
        {"sessions": 1, "rows": 1}, (finding,), (text,), {"version": text},
    )  # fmt: skip
    session = {"key": text, "time": [0], "writer": ["1"], "trust": "s", "seq": [1]}
    listed: dict[str, list[Any]] = {"claims": [], "fences": [], "verdicts": []}
    picture = {"sessions": [session], "writers": {"1": {"name": text, "role": text}}, **listed}
    return rendered(report, picture, bodies=True)


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Any] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, [name for name, _ in attrs]))


def _tags(html: str) -> list[Any]:
    reader = _Tags()
    reader.feed(re.sub(r"made .*? UTC", "", html))
    return reader.found


def _pairs(data: bytes) -> Iterator[tuple[int, int]]:
    return zip(data[::2], data[1::2], strict=False)


def _base64(data: bytes) -> str:
    from base64 import b64encode

    return b64encode(data).decode()


@cache
def _home() -> tempfile.TemporaryDirectory[str]:
    where = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - quick, and nothing is kept
    return tempfile.TemporaryDirectory(prefix="fuzz-", dir=where)


def _file(name: str, data: bytes) -> Path:
    """Write a file that only we may read."""
    path = Path(_home().name) / name
    path.touch(0o600)
    path.write_bytes(data)
    return path


# What hypothesis draws in tests/properties, drawn from the bytes instead.
_PROPERTIES: Final = {
    "split": test_lines.test_split_gives_every_byte_back_whatever_the_chunks,
    "nearly-json": test_lines_fast.test_what_is_nearly_json_is_read_the_same_either_way,
    "plan": test_reconcile.test_carrying_out_a_plan_makes_file_and_layout_one,
    "own-lines": test_reconcile.test_no_whole_own_line_is_foreign,
    "every-line": test_reconcile.test_every_line_of_the_file_is_in_the_plan_and_every_own_line_accounted_for,
}

TARGETS: Final[dict[str, Callable[[bytes], object]]] = {
    "line": line,
    "formats": formats,
    "key-file": key_file,
    "anchor": anchor,
    "verifier": verifier,
    "control": control,
    "side-file": side_file,
    "ranges": ranges,
    "layouts": layouts,
    "shown": shown,
    "page": page,
    **{
        name: check.hypothesis.fuzz_one_input  # type: ignore[attr-defined]
        for name, check in _PROPERTIES.items()
    },
}
