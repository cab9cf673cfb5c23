"""Mirror files, held against the entries they are made of.

The file is only read, and only by the bytes that its size says it had: a journal
that is at work writes to it meanwhile. Whoever calls asks again before he believes
that something differs: with the journal kept from writing to the file, and with a
state of the database that is newer than the file's.
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import contextmanager, suppress
from struct import Struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal.audit.judging import Linked
from journal.audit.source import MAX_INT
from journal.descriptors import CLOSE_ON_EXEC, NO_LINK, NO_WAIT
from journal.escape import escape
from journal.filelocks import RDLCK, lock_bytes
from journal.redacted import is_overwritten
from journal.seal import body_holds, holds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from journal.audit.declarations import MirrorDeclared
    from journal.audit.layouts import Extent
    from journal.audit.source import Source
    from journal.model import Row
    from journal.redacted import Piece
    from journal.seal import Mac, Sealer

_SHOWN: Final = 60
_SLOT_SIZE: Final = 256
_STATE: Final = Struct(">11q36s32s")  # docs/format.md
_SIZE, _EXPORTED, _LAYOUT_NO, _CUT_TO = 2, 5, 6, 10
_MAC_SIZE: Final = 16
_PAUSE_S: Final = 0.002


class Fault(NamedTuple):
    """One thing that is wrong with a mirror: the check it belongs to, why, and the evidence."""

    check: str
    cause: str
    evidence: dict[str, Any]


def lines(
    source: Source,
    session_id: int,
    extents: Iterable[Extent],
    sealer: Sealer | None,
    redacted: Mapping[int, int],
) -> Iterator[bytes]:
    """Yield the lines that a session's file consists of, in its order; ``redacted`` are sizes by seq."""
    judge = Linked(redacted)
    for first, last in extents:
        rows = source.rows_between(session_id, first, MAX_INT if last is None else last)
        for row in rows:
            whole = judge.whole(row)
            if row.kind != b"control" and whole.body is not None and _is_ours(row, sealer):
                yield whole.body + whole.terminator


def _is_ours(row: Row, sealer: Sealer | None) -> bool:
    is_whole = row.body is None or body_holds(row)  # None: redacted, or it would not be asked for
    return is_whole and (sealer is None or holds(sealer, row))


def faults(
    mirror: MirrorDeclared,
    state: str | None,
    expected: Iterator[bytes],
    pieces: Iterable[Piece] = (),
) -> list[Fault]:
    """Return what is wrong with a mirror's file; ``state`` is what the journal recorded of it last.

    ``pieces`` are what an interrupted redaction may have overwritten: that is no fault.
    """
    found = []
    if state == "refused":
        evidence = {"path": mirror.path}
        found.append(Fault("J704", "somebody edited it, and it is kept as it is", evidence))
    try:
        descriptor = os.open(mirror.path, os.O_RDONLY | NO_LINK | CLOSE_ON_EXEC | NO_WAIT)
    except FileNotFoundError:
        cause = "its going was recorded" if state == "gone" else "nobody has looked since it went"
        return [*found, Fault("J701", cause, {"path": mirror.path})]
    except OSError as error:
        evidence = {"path": mirror.path, "error": str(error.strerror)}
        return [*found, Fault("J705", "it cannot be opened as a file", evidence)]
    try:
        return [*found, *_place_faults(mirror, descriptor, expected, pieces)]
    finally:
        os.close(descriptor)


def _place_faults(
    mirror: MirrorDeclared,
    descriptor: int,
    expected: Iterator[bytes],
    pieces: Iterable[Piece],
) -> Iterator[Fault]:
    status = os.fstat(descriptor)
    evidence = {"path": mirror.path}
    if not stat.S_ISREG(status.st_mode):
        yield Fault("J705", "it is no file", evidence)
        return
    if status.st_nlink > 1:
        names = {"names": status.st_nlink}
        yield Fault("J705", "the file has more than one name", evidence | names)
    difference = compare(descriptor, status.st_size, expected, pieces)
    if difference is not None:
        check, cause, told = difference
        yield Fault(check, cause, evidence | told)


def compare(
    descriptor: int, size: int, expected: Iterator[bytes], pieces: Iterable[Piece] = ()
) -> Fault | None:
    """Return where a file's first ``size`` bytes and the lines differ first, or None.

    In the places of ``pieces`` a redaction's placeholder may stand as well.
    """
    excused = {piece.offset: piece.size for piece in pieces}
    offset = number = 0
    for line in expected:
        number += 1
        found = os.pread(descriptor, min(len(line), size - offset), offset)
        body = excused.get(offset, 0)
        is_excused = body and found[body:] == line[body:]
        if is_excused and is_overwritten(found[:body], line[:body], offset):
            found = line
        if found != line:
            same = _equal(found, line)
            at = {"offset": offset + same, "line": number}
            if same == len(found):
                return Fault("J702", "it ends before the journal does", at | {"bytes": size})
            told = {"expected": _shown(line, same), "found": _shown(found, same)}
            return Fault("J703", "its bytes are others", at | told)
        offset += len(line)
    if offset < size:
        at = {"offset": offset, "line": number + 1, "bytes": size - offset}
        found = os.pread(descriptor, _SHOWN, offset)
        return Fault(
            "J703", "it goes on behind the journal's end", at | {"found": _shown(found, 0)}
        )
    return None


def _equal(one: bytes, other: bytes) -> int:
    """Return how many bytes two lines begin with alike."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _shown(data: bytes, start: int) -> str:
    return escape(data[start : start + _SHOWN].decode("utf-8", "backslashreplace"))


class Served(NamedTuple):
    """How much of which layout was in the file when the journal last wrote to it."""

    size: int
    exported_seq: int
    layout_no: int
    is_being_cut: bool


class Slot:
    """The side file's slot for one mirror, and its lock; read as an auditor reads it."""

    def __init__(self, path: str, number: int, mac: Mac | None, older: Iterable[Mac] = ()) -> None:
        self._path, self._number, self._mac, self._older = path, number, mac, tuple(older)
        self._start = (number - 1) * _SLOT_SIZE

    def fault(self) -> Fault | None:
        """J706: return whether the slot is not as a key holder left it.

        An empty slot, or none, only makes the next comparison a full one; and so does one that
        an earlier era's key proves, as somebody leaves it who is killed when he has begun a new one.
        """
        data = self._read()
        if self._mac is None or not any(data) or self._holds(data):
            return None
        if any(self._is_by(mac, data) for mac in self._older):
            return None
        evidence = {"path": self._path, "mirror": self._number}
        return Fault("J706", "its proof does not hold", evidence)

    def served(self) -> Served | None:
        """Return how far the file was served; None if that is not known."""
        data = self._read()
        if not any(data) or not self._holds(data):
            return None
        numbers = _STATE.unpack(data[: _STATE.size])
        is_being_cut = numbers[_CUT_TO] >= 0
        return Served(numbers[_SIZE], numbers[_EXPORTED], numbers[_LAYOUT_NO], is_being_cut)

    @contextmanager
    def held(self, wait_s: float) -> Iterator[bool]:
        """Keep the journal from writing to the file meanwhile; say whether that could be had in time."""
        try:
            descriptor = os.open(self._path, os.O_RDONLY | NO_LINK | CLOSE_ON_EXEC)
        except OSError:
            yield False
            return
        try:
            until = time.monotonic() + wait_s
            while not (has_it := lock_bytes(descriptor, RDLCK, self._start, _SLOT_SIZE)):
                if time.monotonic() > until:
                    break
                time.sleep(_PAUSE_S)
            yield has_it
        finally:
            os.close(descriptor)  # the lock goes with it

    def _read(self) -> bytes:
        with suppress(OSError), open(self._path, "rb") as file:  # noqa: PTH123 - not one of SQLite's
            file.seek(self._start)
            return file.read(_SLOT_SIZE)
        return b""

    def _holds(self, data: bytes) -> bool:
        return self._mac is None or self._is_by(self._mac, data)

    def _is_by(self, mac: Mac, data: bytes) -> bool:
        packed, proof = data[: _STATE.size], data[_STATE.size : _STATE.size + _MAC_SIZE]
        return proof == mac("mirror state", self._number, packed)
