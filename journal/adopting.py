"""Begins a new key era: from then on another secret seals what is written.

With the key at hand it is a rotation; without it the journal is adopted as it
stands. Everything happens in one transaction that nobody else can write beside,
and the new secret is in its file, synced, before anything is sealed with it.
"""

from __future__ import annotations

import os
import secrets
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from journal import keys, tables
from journal.audit.auditor import sighted
from journal.controls import fact
from journal.custody import Custody, custody
from journal.dialects.postgres import is_lost
from journal.eras import ERA_BODY, Bound, EraDigest, Keys, Secret, bounds_in
from journal.errors import CorruptError, KeyMissing, StorageError
from journal.exclusive import Exclusive, exclusive
from journal.fields import UNFIT
from journal.instance import store_instance
from journal.keyfinding import check_newest, find_keys, possible_ids, rows_beginning
from journal.ledger import now_us
from journal.model import REGISTRY_ID, REGISTRY_KEY, check_label
from journal.pages import rows_of
from journal.registry import Registry
from journal.seal import SECRET_SIZE, derive_key, fingerprint, holds
from journal.servergroup import UNKNOWN, patiently
from journal.sidefile import SideFile
from journal.writing import Author

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from journal.seal import Mac

_SESSIONS_A_FACT: Final = 500
# How long a server is waited for that did not say whether the new key was taken.
FIND_OUT_S: Final = 30.0
# What each table's proof is over, and under which name.
_PROOFS: Final = (
    ("instance", tables.instances, lambda row: row[:-1]),
    ("fence", tables.fences, lambda row: row[:-1]),
    ("verdict", tables.verdicts, lambda row: row[:-1]),
    ("parked", tables.parked, lambda row: row[:-2]),
    ("input", tables.pending_inputs, lambda row: (*row[:10], row[11])),
)


def adopt_key(
    place: str | Path,
    *,
    reason: str = "",
    without_key: bool = False,
    key_file: str | os.PathLike[str] | None = None,
) -> Custody:
    """Give a journal a new key, and return where it is.

    Every other process that has the journal open is refused from then on, until it
    opens it again; nobody can write while this runs, which takes as long as an audit.

    Args:
        place: the database: a file, or a server's URL.
        reason: why, for the record.
        without_key: the old key is lost: adopt the journal as it stands. Who wrote
            what is in it can be proved no more; that it is not changed from now on, can.
        key_file: as for opening a journal.

    Raises:
        KeyMissing: the key is not at hand, and nobody said that it is lost.
        CorruptError: it is lost, and something is wrong with what would be adopted.
        StorageError: the database could not; nothing was changed but for an unused
            secret in the key file.

    """
    if reason:
        check_label(reason, "reason")
    new: Keys | None = None
    try:
        with exclusive(place) as held:
            adoption = _Adoption(held, str(place), reason, key_file)
            old, new = adoption.run(without_key=without_key)
            side_paths = {held.side_path(adoption.journal_id, each) for each in adoption.mirrors}
    except StorageError as error:
        if error.code != UNKNOWN or new is None:
            raise
        _find_out(place, new, error)
    for each in side_paths:
        _prove_mirrors(each, old, new)
    # Finding the key also has its file say that the era began.
    return custody(place, None if key_file is None else str(key_file))


def _find_out(place: str | Path, new: Keys, lost: StorageError) -> None:
    """Return if the era began by a commit whose answer was lost.

    Raises:
        StorageError: it did not; or ``outcome-unknown``, where the server does not come back in time.

    """

    def look() -> object:
        with exclusive(
            place
        ) as held:  # whose locks the lost connection has as long as it may commit
            # A write: with its commit what is found is durable, and where the standbys are.
            held.cursor.execute("SELECT 1 FROM sessions WHERE id = ? FOR UPDATE", (REGISTRY_ID,))
            held.cursor.execute("SELECT value FROM meta WHERE name = 'key_fingerprint'")
            return held.cursor.fetchone()[0]

    try:
        found = patiently(look, FIND_OUT_S, is_lost)
    except StorageError as error:
        raise lost from error
    if found != fingerprint(new.key):
        raise StorageError(
            f"{lost.args[0].partition(': ')[0]}: the connection was lost before the new key was taken; "
            "nothing was changed",
            hint="journal key adopt  # again",
            code="server-gone",
        )


def _prove_mirrors(path: str, old: Keys | None, new: Keys) -> None:
    """Have what is known here of each mirror's file go on being believed; without the old key, be forgotten."""
    if not os.path.exists(path):  # noqa: PTH110 - a path that is text
        return
    with closing(SideFile(path, (old or new).mac)) as side:
        if old is None:
            side.forget_unproved()
        else:
            side.prove_anew(new.mac)
        side.sync()


class _Adoption:
    """One adoption, in a transaction that stands."""

    def __init__(
        self,
        held: Exclusive,
        place: str,
        reason: str,
        key_file: str | os.PathLike[str] | None,
    ) -> None:
        self.held, self.cursor, self.where = held, held.cursor, held.where
        self.place, self.reason, self.key_file = place, reason, key_file
        self.at_us, self.journal_id = now_us(), ""
        self.mirrors: list[str] = []  # the paths of those that are known before

    def run(self, *, without_key: bool) -> tuple[Keys | None, Keys]:
        """Do all of it; return the keys from before, where they are at hand, and those from now on."""
        self.value = secrets.token_bytes(SECRET_SIZE)
        journal_id, old = self._old(without_key=without_key)
        self.journal_id = journal_id
        new = self._rotated(journal_id, old) if old else self._believed(journal_id)
        secret = Secret(self.value, journal_id, new.key_id, is_pending=True)
        keys.add_secret(keys.key_path(journal_id, self.key_file), secret)
        self._begin(new, was_at_hand=old is not None)
        with self.held.as_bytes():  # a forged row need not be UTF-8
            self._prove_anew(None if old is None else old.mac, new.mac)
        self._prove_examined(old, new)
        self.cursor.execute(
            "UPDATE meta SET value = ? WHERE name = 'key_fingerprint'", (fingerprint(new.key),)
        )
        return old, new

    def _old(self, *, without_key: bool) -> tuple[str, Keys | None]:
        try:
            return find_keys(self.cursor, self.where, self.key_file)
        except KeyMissing as error:
            if not without_key:
                hint = f"{error.hint}; if it is lost for good: journal key adopt --without-key"
                raise KeyMissing(str(error), hint=hint, code=error.code) from error
        return possible_ids(self.cursor, self.where)[0], None

    # -- where the old era ends ---------------------------------------------------------

    def _next_era(self, journal_id: str, last: int) -> int:
        """Return the number of the next era: one that the key file knows nothing of either."""
        try:
            known = keys.read_secrets(keys.key_path(journal_id, self.key_file))
        except KeyMissing:
            known = []
        own = [each for each in known if each.journal_id == journal_id and not each.is_pending]
        return max([last, *(each.era for each in own)]) + 1

    def _rotated(self, journal_id: str, old: Keys) -> Keys:
        """Say under the old key that there is a new one; return the keys from then on."""
        new_key, era = derive_key(self.value, journal_id), self._next_era(journal_id, old.key_id)
        registry = Registry(old)
        registry.refresh(self.cursor)
        check_newest(registry.newer_key, self.where)
        self.mirrors = [each.path for each in registry.mirrors.values()]
        handover = fact("key", key_id=era, fingerprint=fingerprint(new_key))
        self._record(registry, old, handover)
        heads = {REGISTRY_ID: registry.chain.head.seq}
        for key, number in registry.session_ids.items():
            chain = registry.chain_of(key)
            assert chain is not None  # noqa: S101 - the registry knows it
            chain.refresh(self.cursor)
            heads[number] = chain.head.seq
        names = {**registry.session_keys, REGISTRY_ID: REGISTRY_KEY}
        bounds = dict(self._bounds(old, heads, names))
        return Keys(
            new_key,
            era,
            {**old.earlier, old.key_id: old.key},
            {**old.bounds, old.key_id: bounds},
        )

    def _believed(self, journal_id: str) -> Keys:
        """Take what is there for the old era, if all that can be checked of it without the key is right."""
        with sighted(self.place, key_file=self.key_file, mirrors=False) as sighting:
            report, known = sighting.report, sighting.known
        strays = report.completeness["strays"]
        if strays or any(finding.severity == "broken" for finding in report.findings):
            raise CorruptError(
                f"{self.where} is damaged or was tampered with, and without its key nobody can tell "
                "what of it to believe",
                hint="journal audit  # shows it; restore a backup, or export its lines to a new journal",
                code="not-adoptable",
            )
        self.mirrors = [each.path for each in known.mirrors.values()]
        heads = {known.session_ids[head.session]: head.seq for head in report.heads}
        names = {number: session.key for number, session in known.sessions.items()}
        last, bounds = known.key_id, bounds_in(rows_beginning(self.cursor, ERA_BODY))
        bounds[last] = {number: Bound(seq, "") for number, seq in heads.items() if seq}
        key, era = derive_key(self.value, journal_id), self._next_era(journal_id, last)
        believed = Keys(key, era, {}, bounds)
        bounds[last] = dict(self._bounds(believed, heads, names))
        return Keys(key, era, {}, bounds)

    def _bounds(
        self, known: Keys, heads: Mapping[int, int], names: Mapping[int, str]
    ) -> Iterator[tuple[int, Bound]]:
        for number, seq in sorted(heads.items()):
            if seq:
                sealer, digest = known.sealer(number, names[number]), EraDigest()
                for row in rows_of(self.cursor, number, 1, seq):
                    if holds(sealer, row):
                        digest.feed(row)
                yield number, digest.bound()

    # -- the new era --------------------------------------------------------------------

    def _begin(self, new: Keys, *, was_at_hand: bool) -> None:
        """Write the first entries that the new key seals: where the old era ended."""
        was = max(new.bounds)
        sessions = [[number, *bound] for number, bound in new.bounds[was].items()]
        facts = [
            fact(
                "era",
                key_id=new.key_id,
                was=was,
                fingerprint=fingerprint(new.key),
                was_at_hand=was_at_hand,
                reason=self.reason,
                count=len(sessions),
                sessions=sessions[at : at + _SESSIONS_A_FACT],
            )
            for at in range(0, len(sessions), _SESSIONS_A_FACT)
        ]
        registry = Registry(new)
        registry.refresh(self.cursor)
        self._record(registry, new, *facts)

    def _record(self, registry: Registry, known: Keys, *facts: Any) -> None:  # noqa: ANN401 - lines
        registry.chain.refresh(self.cursor)
        instance = store_instance(self.cursor, known.mac, REGISTRY_ID, self.at_us)
        author = Author(registry.writers[REGISTRY_ID], instance)
        registry.record(self.cursor, author, self.at_us, *facts)

    def _prove_anew(self, old: Mac | None, new: Mac) -> None:
        """Prove the rows beside the chain under the new key; a forged one stays what it is."""
        row_id = self.held.row
        for kind, table, proved in _PROOFS:
            names = ", ".join(f'"{column.name}"' for column in table.c)
            at = [column.name for column in table.c].index("mac")
            numbers = self.cursor.execute(f"SELECT {row_id} FROM {table.name}").fetchall()  # noqa: S608 - our names
            select = f"SELECT {names} FROM {table.name} WHERE {row_id} = ?"  # noqa: S608
            update = f"UPDATE {table.name} SET mac = ? WHERE {row_id} = ?"  # noqa: S608
            for (number,) in numbers:
                row = self.cursor.execute(select, (number,)).fetchone()
                if old is None or _holds(old, kind, proved(row), row[at]):
                    self.cursor.execute(update, (new(kind, *proved(row)), number))

    def _prove_examined(self, old: Keys | None, new: Keys) -> None:
        found = self.cursor.execute(
            'SELECT id, CAST("key" AS BLOB), examined_seq, examined_mac FROM sessions'
        )
        for number, key, seq, mac in found.fetchall():
            name, at, proof = key.decode("utf-8", "replace"), seq, mac
            if old is None or mac == old.sealer(number, name).examined_mac(seq):
                # Nobody can tell whether it was forged without the old key: then all is examined again.
                at = 0 if old is None else seq
                proof = new.sealer(number, name).examined_mac(at) if seq or mac else mac
            # Every row, be it as it was: a server refuses by that who began before with the old key.
            self.cursor.execute(
                "UPDATE sessions SET examined_seq = ?, examined_mac = ? WHERE id = ?",
                (at, proof, number),
            )


def _holds(mac: Mac, kind: str, values: Any, proof: object) -> bool:  # noqa: ANN401 - a row's columns
    try:
        return mac(kind, *values) == proof
    except UNFIT:
        return False
