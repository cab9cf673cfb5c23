"""The journal's own facts: its key, its writers, its sessions.

They are sealed control entries of the reserved session ``journal:``. The tables
``writers`` and ``sessions`` beside it are projections for people and for SQL;
no decision is made by them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from journal import statements as sql
from journal.aliases import Aliases
from journal.chain import Chain
from journal.controls import CONTROL, FORMAT, decode, fact
from journal.eras import FIRST_KEY_ID, Keys
from journal.errors import NotTrusted
from journal.explanation import when
from journal.model import REGISTRY_ID, REGISTRY_KEY, REGISTRY_WRITER, ROLES, Writer
from journal.pages import rows_of
from journal.seal import fingerprint
from journal.writing import Author, write

if TYPE_CHECKING:
    from collections.abc import Iterator

    from journal.engine import Cursor
    from journal.lines import Line

_PAGE: Final = 1000


class MirrorFact(NamedTuple):
    """A mirror as it was registered.

    ``place`` names the place on a server whose journal serves it; "" for a journal in a file.
    """

    number: int
    session_id: int
    host: str
    path: str
    on_edit: str
    writer_id: int
    mode: int
    place: str = ""

    def told(self) -> dict[str, Any]:
        """Return what a fact of the registry says of it."""
        told = self._asdict()
        if not self.place:
            del told["place"]  # a file's: as it ever was
        return told


class Registry:
    """The facts of ``journal:``, read once and kept up to date.

    Every entry is verified before it counts; what does not verify is stepped
    over like any stray.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        # Known before its own fact is read, for that fact may be damaged.
        self.writers: dict[int, Writer] = {
            REGISTRY_ID: Writer(REGISTRY_ID, REGISTRY_WRITER, "operator", 0)
        }
        self.by_name: dict[str, Writer] = {}
        self.session_ids: dict[str, int] = {}
        self.session_keys: dict[int, str] = {}
        self.highest_id = REGISTRY_ID  # of all sessions
        self.mirrors: dict[int, MirrorFact] = {}  # by session
        self.mirror_count = 0
        self.taken_back: set[int] = set()  # the writers whose permission was
        self.aliases = Aliases()
        self._created_us: dict[int, int] = {}
        self._chains: dict[int, Chain] = {}
        self.chain = self._chain(REGISTRY_ID, REGISTRY_KEY)
        self.read_up_to = 0
        self.is_damaged = False
        self.newer_key: dict[str, Any] | None = None  # what began an era after the one known here

    def _chain(self, session_id: int, key: str) -> Chain:
        return Chain.new(key, session_id, self._keys.sealer(session_id, key))

    def refresh(self, cursor: Cursor) -> None:
        """Learn the facts that were added since the last look.

        A stray above the head may yet get honest rows below it: only a sealed
        row moves the mark, so that nothing is ever skipped.
        """
        news = cursor.execute(sql.any_from(), (REGISTRY_ID, self.read_up_to + 1)).fetchone()
        if news is None:
            return
        for row in rows_of(cursor, REGISTRY_ID, self.read_up_to + 1):
            if row.kind != CONTROL or self.chain.sealer.status(row) != "sealed":
                self.is_damaged = True
                continue
            self.is_damaged |= row.seq != self.read_up_to + 1
            self._apply(decode(row.body), row.created_us, row.instance_id)
            self.read_up_to = row.seq

    def _apply(self, facts: dict[str, Any], at_us: int, instance_id: int) -> None:
        what = facts.get("control")
        if what == "writer":
            self._keep(Writer(facts["id"], facts["name"], facts["role"], at_us))
        elif what == "revoke" and facts["id"] in self.writers:
            self._keep(_revoked(self.writers[facts["id"]], at_us, instance_id, facts))
        elif what == "mirror":
            told = {name: facts[name] for name in MirrorFact._fields[:-1]}
            mirror = MirrorFact(**told, place=facts.get("place", ""))
            self.mirrors[mirror.session_id] = mirror
            self.mirror_count = max(self.mirror_count, mirror.number)
        elif what == "unmirror":
            self.mirrors.pop(facts["session_id"], None)
        elif what == "permit" and facts["id"] in self.writers:
            self._keep(replace(self.writers[facts["id"]], permitted=facts["permitted"]))
            change = self.taken_back.discard if facts["permitted"] else self.taken_back.add
            change(facts["id"])
        elif what == "session":
            self.know_session(facts["id"], facts["key"])
            self._created_us[facts["id"]] = at_us
        elif what == "names":
            self.aliases.learn(facts)
        elif what == "key":
            self.newer_key = facts if facts["key_id"] > self._keys.key_id else None

    def know_session(self, number: int, key: str) -> None:
        """Take a session's number and key for known."""
        self.session_ids[key] = number
        self.session_keys[number] = key
        self.highest_id = max(self.highest_id, number)

    def called(self, *texts: str) -> list[str]:
        """Return the keys of the sessions that a migration found to be called so."""
        found = (self.session_keys.get(number) for number in self.aliases.called(*texts))
        return sorted(key for key in found if key is not None)

    def adopt_session(self, cursor: Cursor, key: str) -> Chain | None:
        """Return a session whose own fact is lost, if its rows prove its number and key.

        The number is only guessed: a row that verifies under the seal made of
        number *and* key cannot belong to another session.
        """
        for number in self._lost_sessions(cursor, key):
            chain = self._chain(number, key)
            rows = zip(range(_PAGE), rows_of(cursor, number, 1), strict=False)
            if any(chain.sealer.seal_holds(row) for _, row in rows):
                self.know_session(number, key)
                return self.chain_of(key)
        return None

    def _lost_sessions(self, cursor: Cursor, key: str) -> Iterator[int]:
        """Yield numbers that no known session has: the projection's guess, then, if need be, all."""
        if "\0" in key:
            return  # no key has one, and a server takes no such text
        for (number,) in cursor.execute("SELECT id FROM sessions WHERE key = ?", (key,)).fetchall():
            if number not in self.session_keys:
                yield number
        number = REGISTRY_ID
        while self.is_damaged and number is not None:
            cursor.execute("SELECT min(session_id) FROM entries WHERE session_id > ?", (number,))
            (number,) = cursor.fetchone()
            if number is not None and number not in self.session_keys:
                yield number

    def _keep(self, writer: Writer) -> None:
        self.writers[writer.id] = writer
        self.by_name[writer.name] = writer

    def chain_of(self, key: str) -> Chain | None:
        """Return the chain of a known session, or None."""
        if key == REGISTRY_KEY:
            return self.chain
        session_id = self.session_ids.get(key)
        if session_id is None:
            return None
        chain = self._chains.get(session_id)
        if (
            chain is None or chain.key != key
        ):  # the number of one that was rolled back is given again
            chain = self._chains[session_id] = self._chain(session_id, key)
            chain.created_us = self._created_us.get(session_id, 0)
        return chain

    def adopt_chains(self, other: Registry) -> None:
        """Keep what another reading of the same registry knew of the sessions' heads."""
        self._chains = other._chains

    def writer(self, name: str, role: str) -> Writer | None:
        """Return a declared writer of this name and role; None if nobody declared it.

        Raises:
            NotTrusted: it was declared with another role, or revoked.

        """
        known = self.by_name.get(name)
        if known is None:
            return None
        if known.role != role:
            raise NotTrusted(
                f"writer {name!r} was declared with the role {known.role!r}, not {role!r}",
                hint=f"use role {known.role!r}, or another name",
                code="role-differs",
            )
        check_standing(known)
        return known

    # -- facts about to be written ----------------------------------------------------

    def add_writer(
        self, cursor: Cursor, author: Author, now_us: int, name: str, role: str
    ) -> Writer:
        """Declare a writer, in the caller's transaction."""
        number = _free_number(cursor, "SELECT 1 FROM writers WHERE id = ?", max(self.writers) + 1)
        self._write(cursor, author, now_us, fact("writer", id=number, name=name, role=role))
        cursor.execute(
            "INSERT OR REPLACE INTO writers(id, name, role, declared_us) VALUES (?, ?, ?, ?)",
            (number, name, role, now_us),
        )
        return self.writers[number]

    def revoke(  # noqa: PLR0913 - what a revocation says
        self,
        cursor: Cursor,
        author: Author,
        now_us: int,
        writer: Writer,
        reason: str,
        by: str | None = None,
    ) -> None:
        """Take a writer's right to write, in the caller's transaction."""
        actor = {} if by is None else {"by": by}
        self._write(cursor, author, now_us, fact("revoke", id=writer.id, reason=reason, **actor))
        cursor.execute(
            "UPDATE writers SET revoked_us = ?, reason = ? WHERE id = ?",
            (now_us, reason, writer.id),
        )

    def record(self, cursor: Cursor, author: Author, now_us: int, *facts: Line) -> None:
        """Write facts of any sort, in the caller's transaction."""
        self._write(cursor, author, now_us, *facts)

    def add_session(self, cursor: Cursor, author: Author, now_us: int, key: str) -> Chain:
        """Register a session, in the caller's transaction."""
        number = self.highest_id + 1
        taken = "SELECT 1 FROM sessions WHERE id = ?1 UNION ALL SELECT 1 FROM entries WHERE session_id = ?1"
        number = _free_number(cursor, taken, number)
        self._write(cursor, author, now_us, fact("session", id=number, key=key))
        cursor.execute(
            "UPDATE sessions SET key = 'displaced:' || id || ':' || hex(randomblob(8)) WHERE key = ?",
            (key,),
        )
        cursor.execute(sql.INSERT_PROJECTION, (number, key, 0, 0, 0, 0, b"", 0, now_us))
        chain = self.chain_of(key)
        if chain is None:  # pragma: no cover - the fact was just applied
            raise KeyError(key)
        return chain

    def _write(self, cursor: Cursor, author: Author, now_us: int, *items: Line) -> None:
        write(cursor, self.chain, author, now_us, facts=items)
        for item in items:
            self._apply(decode(item.body), now_us, author.instance_id)
        self.read_up_to = self.chain.head.seq


def _free_number(cursor: Cursor, taken: str, number: int) -> int:
    """Return the first number from here on that no row has, forged ones included."""
    while cursor.execute(taken, (number,)).fetchone() is not None:
        number += 1
    return number


def check_standing(writer: Writer) -> None:
    """Refuse a revoked writer.

    Raises:
        NotTrusted: with when and why.

    """
    if writer.revoked_us is not None:
        raise NotTrusted(
            f"writer {writer.name!r} was revoked at {when(writer.revoked_us)}: "
            f"{writer.reason or 'no reason given'}; what it tries to write is not kept",
            hint="declare a new writer: journal writers add NAME --role ROLE",
            code="revoked",
        )


def check_role(role: str) -> str:
    """Return a role of the closed list, or say which there are."""
    if role not in ROLES:
        raise NotTrusted(
            f"{role!r} is no role", hint=f"one of: {', '.join(ROLES)}", code="no-such-role"
        )
    return role


def _revoked(writer: Writer, at_us: int, instance_id: int, facts: dict[str, Any]) -> Writer:
    return replace(
        writer,
        revoked_us=at_us,
        reason=facts.get("reason"),
        revoked_by=facts.get("by"),
        revoked_instance=instance_id,
    )


def genesis(cursor: Cursor, key: bytes, journal_id: str, instance_id: int, now_us: int) -> None:
    """Write a new journal's first facts: its id, its key, and the writer of such facts."""
    cursor.execute(sql.INSERT_PROJECTION, (REGISTRY_ID, REGISTRY_KEY, 0, 0, 0, 0, b"", 0, now_us))
    keeper = Writer(REGISTRY_ID, REGISTRY_WRITER, "operator", now_us)
    cursor.execute(
        "INSERT INTO writers(id, name, role, declared_us) VALUES (?, ?, ?, ?)",
        (keeper.id, keeper.name, keeper.role, now_us),
    )
    cursor.executemany(
        "INSERT INTO meta(name, value) VALUES (?, ?)",
        [
            ("journal_id", journal_id),
            ("format", str(FORMAT)),
            ("key_fingerprint", fingerprint(key)),
        ],
    )
    facts = (
        fact(
            "journal",
            id=journal_id,
            format=FORMAT,
            key_id=FIRST_KEY_ID,
            fingerprint=fingerprint(key),
        ),
        fact("writer", id=keeper.id, name=keeper.name, role=keeper.role),
    )
    write(cursor, Registry(Keys(key)).chain, Author(keeper, instance_id), now_us, facts=facts)
