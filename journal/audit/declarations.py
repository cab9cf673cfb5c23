"""What the registry's entries declare: the journal, its writers, its sessions.

Rebuilt from the entries of ``journal:`` alone. Where an entry no longer holds,
what it declared is missing here, and is found missing by whoever needs it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from journal.audit.source import text
from journal.model import REGISTRY_ID, REGISTRY_KEY, REGISTRY_WRITER, ROLES

if TYPE_CHECKING:
    from journal.aliases import Aliases
    from journal.model import Row


class Declared(NamedTuple):
    """A writer as its entry declares it."""

    name: str
    role: str
    at_us: int | None


class Revoked(NamedTuple):
    """A revocation: when, why, and by which row."""

    at_us: int
    reason: str | None
    row_id: int


class Registered(NamedTuple):
    """A session as its entry registers it; ``at_us`` is None where only its rows prove it."""

    key: str
    at_us: int | None


class MirrorDeclared(NamedTuple):
    """A mirror as its entry registers it."""

    session_id: int
    host: str
    path: str
    on_edit: str
    writer_id: int


@dataclass(slots=True)
class Declarations:
    """The registry's facts.

    Attributes:
        journal: the facts of the first entry: id, format, key fingerprint.
        writers: by number.
        revoked: revocations by the writer's number.
        sessions: by number.
        instances: which writer each process wrote as, of rows whose proof holds.
        processes: which process each of these is, as the sealed claims name processes.
        mirrors: by number, the removed ones too; ``mirrored``: by session, the numbers that were ever its.
        places: the place on a server that each of them is served from; "" for a journal in a file.
        removed: the numbers of mirrors that were taken away.
        permitted: external writers whose entries are permitted.
        twice: what was registered a second time, by seq and in words.
        key_id: the number of the newest key era.
        eras: what began each later era: its facts, its seq and its time, by number.
        session_ids: the sessions' numbers by key.
        writer_ids: the writers' numbers by name.
        aliases: by what else sessions are called; None where nobody asks for one by a name.

    """

    journal: dict[str, Any] = field(default_factory=dict)
    writers: dict[int, Declared] = field(
        # Known before its own entry is read, for that entry may be damaged.
        default_factory=lambda: {REGISTRY_ID: Declared(REGISTRY_WRITER, "operator", None)}
    )
    revoked: dict[int, Revoked] = field(default_factory=dict)
    sessions: dict[int, Registered] = field(
        default_factory=lambda: {REGISTRY_ID: Registered(REGISTRY_KEY, None)}
    )
    instances: dict[int, int] = field(default_factory=dict)
    processes: dict[int, tuple[str, ...]] = field(default_factory=dict)
    mirrors: dict[int, MirrorDeclared] = field(default_factory=dict)
    mirrored: dict[int, list[int]] = field(default_factory=dict)
    places: dict[int, str] = field(default_factory=dict)
    removed: set[int] = field(default_factory=set)
    permitted: set[int] = field(default_factory=set)
    twice: list[tuple[int, str]] = field(default_factory=list)
    key_id: int = 1
    eras: dict[int, dict[str, Any]] = field(default_factory=dict)
    session_ids: dict[str, int] = field(default_factory=lambda: {REGISTRY_KEY: REGISTRY_ID})
    writer_ids: dict[str, int] = field(default_factory=lambda: {REGISTRY_WRITER: REGISTRY_ID})
    aliases: Aliases | None = None

    def learn(self, row: Row, facts: dict[str, Any]) -> bool:
        """Take in one fact of the registry; False if it is none the format knows.

        Raises:
            KeyError, TypeError, ValueError: it lacks what such a fact has.

        """
        what = facts.get("control")
        if what == "journal":
            self.journal = {name: facts[name] for name in ("id", "format", "fingerprint")}
            self.sessions[REGISTRY_ID] = Registered(REGISTRY_KEY, row.created_us)
        elif what == "writer":
            self._declare(row, int(facts["id"]), str(facts["name"]), str(facts["role"]))
        elif what == "revoke":
            reason = facts.get("reason")
            self.revoked[int(facts["id"])] = Revoked(row.created_us, reason, row.id)
        elif what == "session":
            self._register(row, int(facts["id"]), str(facts["key"]))
        elif what == "names":
            int(facts["session_id"])
            if self.aliases is not None:
                with suppress(KeyError, TypeError):  # for people: nothing is rebuilt from it
                    self.aliases.learn(facts)
        elif what in ("key", "era"):
            self._learn_era(row, int(facts["key_id"]), facts)
        else:
            return self._learn_mirror(facts)
        return True

    def learn_instance(self, row: tuple[Any, ...]) -> None:
        """Take in a row of instances: whose it is, and which process."""
        self.instances[row[0]] = row[1]
        self.processes[row[0]] = tuple(map(text, row[2:7]))

    def _learn_era(self, row: Row, key_id: int, facts: dict[str, Any]) -> None:
        self.key_id = max(self.key_id, key_id)
        if facts["control"] == "era" and key_id not in self.eras:
            names = ("was", "fingerprint", "was_at_hand", "reason")
            self.eras[key_id] = {name: facts[name] for name in names} | {"at_us": row.created_us}

    def _learn_mirror(self, facts: dict[str, Any]) -> bool:
        what = facts.get("control")
        if what == "mirror":
            number, told = int(facts["number"]), (facts[name] for name in MirrorDeclared._fields)
            self.mirrors[number] = mirror = MirrorDeclared(*told)
            self.places[number] = str(facts.get("place", ""))
            numbers = self.mirrored.setdefault(mirror.session_id, [])
            if number not in numbers:
                numbers.append(number)
        elif what == "unmirror":
            gone = facts["session_id"]
            known = self.mirrored.get(gone, ())
            self.removed |= {at for at in known if self.mirrors[at].session_id == gone}
        elif what == "permit":
            change = self.permitted.add if facts["permitted"] else self.permitted.discard
            change(int(facts["id"]))
        else:
            return False
        return True

    def _declare(self, row: Row, number: int, name: str, role: str) -> None:
        if role not in ROLES:
            raise ValueError(role)
        known = self.writers.get(number)
        again = known is not None and known.at_us is not None
        if again or self.writer_ids.setdefault(name, number) != number:
            self.twice.append((row.seq, f"writer {number} {name!a}"))
        self.writers[number] = Declared(name, role, row.created_us)

    def _register(self, row: Row, number: int, key: str) -> None:
        if number in self.sessions or key in self.session_ids:
            self.twice.append((row.seq, f"session {number} {key!a}"))
        else:
            self.know(number, Registered(key, row.created_us))

    def know(self, number: int, session: Registered) -> None:
        """Take a session for registered."""
        self.sessions[number] = session
        self.session_ids[session.key] = number

    def called(self, name: str) -> list[str]:
        """Return the keys of the sessions that are called so: by their key, or as a migration found them called."""
        if name in self.session_ids:
            return [name]
        if self.aliases is None:
            return []
        place = name if "\0" in name else os.path.realpath(name)
        found = (self.sessions.get(number) for number in self.aliases.called(name, place))
        return sorted(each.key for each in found if each is not None)

    def name_of(self, writer_id: int) -> str:
        """Return a writer's name, or its number where nobody declared it."""
        known = self.writers.get(writer_id)
        return f"writer {writer_id}" if known is None else known.name
