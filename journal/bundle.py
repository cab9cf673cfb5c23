"""Evidence bundles: sessions with their seals and anchors, to be checked where this package is not.

A bundle is a zip file with every row of its sessions, a manifest, and
``verify.py``, which needs nothing but Python. It is made from the snapshot of an
audit, whose verdict the manifest repeats.
"""

from __future__ import annotations

import json
import zipfile
from base64 import b64encode
from datetime import UTC, datetime
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal.audit.auditor import sighted
from journal.audit.judging import Linked, Sealed
from journal.files import drafted
from journal.signing import Signer, derived_seed, signer_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from journal.audit import AnchorFile, Report
    from journal.audit.sighting import Sighting
    from journal.model import Row
    from journal.note import Verifier

FORMAT: Final = "session-journal/bundle/1"
_BYTES: Final = frozenset({"terminator", "salt", "commitment", "prev", "seal", "body"})
# Derived from the line, and under no seal.
_LEFT_OUT: Final = frozenset({"line_type", "line_id", "parent_id"})


class Bundle(NamedTuple):
    """A bundle that was written: what is in it, and what the audit said."""

    path: Path
    bytes: int
    sessions: int
    entries: int
    strays: int
    report: Report


def write_bundle(  # noqa: PLR0913 - as for an audit
    path: str | Path,
    target: Path,
    *,
    key_file: str | None = None,
    sessions: Sequence[str] = (),
    anchors: Sequence[AnchorFile] = (),
    verifiers: Sequence[Verifier] = (),
    force: bool = False,
) -> Bundle:
    """Audit a journal and write sessions of it, with the registry, to a zip file.

    Everything that was said is in it. What is redacted is not, and shows as erased.

    Raises:
        StorageError: the target is there already.
        NotFoundError, CorruptError, SchemaError, EntryError: as for an audit.

    """
    with (
        sighted(
            path, key_file=key_file, sessions=sessions, anchors=anchors, verifiers=verifiers
        ) as sighting,
        drafted(target, force=force) as out,
    ):
        writer = _Writer(sighting, out, anchors, verifiers)
        writer.run()
    return Bundle(
        target, target.stat().st_size, len(writer.sessions), writer.entries, writer.strays, sighting.report
    )  # fmt: skip


class _Writer:
    def __init__(
        self,
        sighting: Sighting,
        out: Any,  # noqa: ANN401 - a binary file
        anchors: Sequence[AnchorFile],
        verifiers: Sequence[Verifier],
    ) -> None:
        self._sighting = sighting
        self._zip = zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED)
        self._anchors, self._verifiers = anchors, [str(each) for each in verifiers]
        self._digests: dict[str, str] = {}
        self.sessions: list[dict[str, Any]] = []
        self.entries = self.strays = 0

    def run(self) -> None:
        with self._zip:  # else it is ended when it is forgotten, in a file that is closed by then
            self._write()

    def _write(self) -> None:
        known = self._sighting.known.sessions
        chosen = {head.session for head in self._sighting.report.heads}
        strays: list[bytes] = []
        for number, registered in sorted(known.items()):
            if registered.key in chosen:
                self._session(number, registered.key, strays)
        self._file("strays.jsonl", strays)
        names = [f"anchors/{at}.anchor" for at in range(1, len(self._anchors) + 1)]
        for name, anchor in zip(names, self._anchors, strict=True):
            self._file(name, [anchor.data])
        self._file("verify.py", [files("journal.bundled").joinpath("verify.py").read_bytes()])
        manifest = json.dumps(self._manifest(names), indent=1).encode()
        self._zip.writestr("manifest.json", manifest)

    def _manifest(self, anchors: list[str]) -> dict[str, Any]:
        keyring = self._sighting.keyring
        if keyring.key is not None and keyring.journal_id and self._anchors:
            signer = Signer(signer_name(keyring.journal_id), derived_seed(keyring.key))
            self._verifiers.append(str(signer.verifier))
        return {
            "format": FORMAT,
            "made": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "journal": keyring.journal_id,
            "verdict": self._sighting.report.verdict,
            "sessions": self.sessions,
            "strays": self.strays,
            "anchors": anchors,
            "verifiers": self._verifiers,
            "sha256": self._digests,
        }

    def _session(self, number: int, key: str, strays: list[bytes]) -> None:
        name = f"sessions/{number}.jsonl"
        head: dict[str, Any] = {"seq": 0, "seal": ""}
        self._file(name, self._rows(number, key, strays, head))
        lost = self._sighting.keyring.lost
        until = max(
            (end.seq for at, end in self._sighting.keyring.bounds(number) if at in lost), default=0
        )
        self.sessions.append({
            "key": key, "number": number, "file": name, "head": head, "lost": lost, "lost_until": until,
        })  # fmt: skip

    def _rows(
        self, number: int, key: str, strays: list[bytes], head: dict[str, Any]
    ) -> Iterator[bytes]:
        sealer = self._sighting.keyring.sealer(number, key)
        judge, link = Linked() if sealer is None else Sealed(sealer), b""
        for row in self._sighting.source.rows(number):
            if judge.status(row, link) == "stray":
                self.strays += 1
                strays.append(_line(row))
                continue
            self.entries += 1
            link = row.seal[:16]
            head |= {"seq": row.seq, "seal": row.seal.hex()}
            yield _line(row)

    def _file(self, name: str, chunks: Any) -> None:  # noqa: ANN401 - an iterable of bytes
        digest = sha256()
        with self._zip.open(name, "w", force_zip64=True) as out:
            for chunk in chunks:
                digest.update(chunk)
                out.write(chunk)
        self._digests[name] = digest.hexdigest()


def _line(row: Row) -> bytes:
    values = {
        name: _value(name, value) for name, value in row._asdict().items() if name not in _LEFT_OUT
    }
    return json.dumps(values).encode() + b"\n"


def _value(name: str, value: object) -> object:
    if not isinstance(value, bytes):
        return value
    # Never by the locale's encoding: the check reads it as UTF-8, and holds it against a seal.
    return b64encode(value).decode() if name in _BYTES else value.decode("utf-8", "surrogateescape")
