"""A seeded generator of session files: every hazard that real files were seen to hold, mixed at random."""

from __future__ import annotations

import json
import os
import random
import uuid
from typing import TYPE_CHECKING, Final

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STAMP: Final = "2026-11-22T11-30-22-038Z"
PER_DIRECTORY: Final = 500


class Files:
    """Files from one seed; the same seed gives the same files."""

    def __init__(self, home: Path, seed: int) -> None:
        self.home = home
        self.written: dict[str, bytes] = {}
        self._draw = random.Random(seed)  # noqa: S311 - a test's dice
        self._held: list[bytes] = []

    def write(self, count: int) -> dict[str, bytes]:
        """Write so many files; return what each holds, by its path."""
        for number in range(count):
            content = self._content(number)
            path = self._path(number, self._id)
            path.parent.mkdir(parents=True, exist_ok=True)
            is_packed = path.name.endswith(".zst")
            path.write_bytes(zstandard.compress(content) if is_packed else content)
            os.chmod(path, self._draw.choice([0o600, 0o644]))  # noqa: PTH101 - beside the write
            self.written[str(path)] = content
        return self.written

    def _path(self, number: int, session_id: str) -> Path:
        folder = f"{number // PER_DIRECTORY:03}"
        name = self._draw.choice([
            f"pi/--home-dev--/{folder}/{STAMP}_{session_id}.jsonl",
            f"agents/main{folder}/sessions/{session_id}.jsonl",
            f"agents/main{folder}/sessions/{session_id}-topic-{number}.jsonl",
            f"agents/main{folder}/sessions/{session_id}.jsonl.deleted.2026-11-22T11-32-54.{number % 1000:03}Z",
            f"agents/main{folder}/sessions/{session_id}.jsonl.reset.2026-11-22T11-32-54.{number % 1000:03}Z",
            f"projects/-home-dev/{folder}/{session_id}.jsonl",
            f"projects/-home-dev/{folder}/{session_id}/subagents/agent-{number:07x}.jsonl",
            f"codex/{folder}/rollout-2026-11-22T11-44-49-{session_id}.jsonl",
            f"codex/{folder}/rollout-2026-11-22T11-44-49-{session_id}.jsonl.zst",
            f"odd/{folder}/{number} ü\u2028'\".jsonl",
        ])  # fmt: skip
        path = self.home / name
        return (
            path.with_name(f"{number}-{path.name}") if str(path) in self.written else path
        )  # no two of one name

    def _content(self, number: int) -> bytes:
        draw = self._draw
        self._id = str(uuid.UUID(int=draw.getrandbits(128), version=4))
        if self._held and draw.random() < 0.02:
            return draw.choice(self._held)  # the same bytes under another name
        if draw.random() < 0.01:
            return draw.choice([b"", b"\n", b"\r\n", b"42", b"{", b"\x00" * 4096])
        lines = [self._header(number)]
        lines += [self._line(n) for n in range(draw.choice([0, 1, 3, 20, 60]))]
        if draw.random() < 0.05:
            lines[draw.randrange(len(lines))] = lines[0]  # a header again, or none in its place
        data = b"".join(line + self._end() for line in lines)
        content = self._tail(data)
        self._held = [*self._held[-20:], content]
        return content

    def _header(self, number: int) -> bytes:
        shared = f"shared-{number % 40}" if self._draw.random() < 0.1 else self._id
        version = self._draw.choice([{}, {"version": 2}, {"version": 3}])
        kind = self._draw.choice(["session", "session", "session", "session_meta"])
        return dumps(
            {"type": kind, **version, "id": shared, "payload": {"id": shared}, "n": number}
        )

    def _line(self, number: int) -> bytes:
        return self._draw.choice(LINES)(self._draw, number)

    def _end(self) -> bytes:
        return self._draw.choices([b"\n", b"\r\n", b"\r\r\n", b"\n\n"], [90, 5, 1, 1])[0]

    def _tail(self, data: bytes) -> bytes:
        draw = self._draw.random()
        if draw < 0.08:
            return data.rstrip(b"\r\n")  # never ended
        if draw < 0.16:
            return data[: len(data) - self._draw.randrange(1, 30)]  # torn
        if draw < 0.2:
            return data[:-1] + data[:40] + b"\n"  # the next line fused onto a torn one
        if draw < 0.24:
            return data + b"\0" * self._draw.randrange(1, 5000)  # after a power cut
        return data


def dumps(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _said(text: str) -> Callable[[random.Random, int], bytes]:
    def line(draw: random.Random, number: int) -> bytes:
        message = {"role": "user", "content": text * draw.choice([1, 1, 3, 50])}
        named = {"type": "message", "id": f"{number:08x}", "parentId": None, "message": message}
        return dumps(named)

    return line


LINES: Final = (
    _said("hello"),
    _said("0.000009 and ünïcödé"),
    _said("\u2028\u2029\u0085\x0b\x0c"),
    _said("\x00\x1b[31m\x7f"),
    lambda _, n: b'{"type":"message","id":"dup","id":"%d","n":9e-06}' % n,
    lambda _, n: b'{"n":%d,"big":%s}' % (n, b"9" * 4400),
    lambda _, n: b'{"n":%d,"f":0.000009,"e":1E400,"nan":NaN}' % n,
    lambda *_: b'{"text":"\\ud800 alone, \\udc00\\ud800 swapped"}',
    lambda *_: b'{"text":"\xff\xfe no UTF-8"}',
    lambda *_: '{"text":"sixteen"}'.encode("utf-16"),
    lambda *_: b'\xef\xbb\xbf{"text":"BOM"}',
    lambda *_: b"[" * 1200 + b"]" * 1200,
    lambda *_: b"42",
    lambda *_: b"",
    lambda *_: b"   \t",
    lambda *_: b'{"torn',
    lambda *_: b"\0" * 512,
    lambda draw, _: draw.randbytes(draw.randrange(1, 200)).replace(b"\n", b""),
    lambda draw, _: b'{"image":"%s"}' % (b"QUJD" * draw.randrange(1, 40_000)),
)  # fmt: skip


def great_file(path: Path, size: int, line_size: int) -> Iterator[bytes]:
    """Write one file of a size, one line of it as long as asked; yield what is written."""
    draw = random.Random(1)  # noqa: S311 - a test's dice
    block = b"".join(LINES[0](draw, n) + b"\n" for n in range(10_000))
    piece = draw.randbytes(1024 * 1024).replace(b"\n", b"x")
    with path.open("wb") as out:

        def put(data: bytes) -> bytes:
            out.write(data)
            return data

        yield put(dumps({"type": "session", "version": 3, "id": "great"}) + b"\n")
        while out.tell() < (size - line_size) // 2:
            yield put(block)
        for _ in range(line_size // len(piece)):
            yield put(piece)
        yield put(b"\r\n")
        while out.tell() < size:
            yield put(block)
        yield put(b'{"torn')
