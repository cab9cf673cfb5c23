"""The journal: one database and everything in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from journal import creation, parking
from journal.aliases import ambiguous
from journal.batch import Batch
from journal.dialects.address import is_url, parsed, unknown
from journal.engine import DURABILITY, check_strictly
from journal.errors import EntryError, NotFoundError, SchemaError
from journal.fence import Fence
from journal.filelocks import check_system
from journal.files import forget_drafts
from journal.mirrors import Mirrors
from journal.model import REGISTRY_KEY, SessionInfo, Writer, check_key, check_name
from journal.place import check_place
from journal.schema import SCHEMA_VERSION, version_of, version_on_server
from journal.session import Identity, Session
from journal.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from journal.dialects.address import Address
    from journal.engine import Cursor
    from journal.parking import Parked
    from journal.policy import Policy
    from journal.verdict import Verdict

LONGEST_S: Final = 1_000_000  # the databases count milliseconds in 32 bits


class Journal:
    """A journal, opened for reading and writing; made if it is not there.

    Args:
        path_or_url: the database file, ``sqlite:///PATH``, or
            ``postgresql+psycopg://USER@HOST/DATABASE`` (docs/postgres.md).
        key_file: the file with the secret; else ``$JOURNAL_KEY_FILE``, else one
            in the user's data directory.
        durability: "full": what returned survives power loss. "normal": the last
            moments may be lost, never consistency.
        busy_timeout: seconds to wait for another process's write, up to 1,000,000.
        on_takeover: called with each verdict that is not "accepted".
        create: make the journal where there is none.
        strict: refuse a SQLite library with the WAL-reset bug instead of working
            in compatible mode.

    Raises:
        EntryError: a path, a durability or a time-out that is none.
        NotFoundError: there is none, and ``create`` is false.
        SchemaError: another program's database, or another version's.
        KeyMissing: its key is not at hand.
        StorageError: the place is unsafe, or the database cannot be opened.

    """

    def __init__(  # noqa: PLR0913
        self,
        path_or_url: str | os.PathLike[str],
        *,
        key_file: str | os.PathLike[str] | None = None,
        durability: str = "full",
        busy_timeout: float = 30.0,
        on_takeover: Callable[[Verdict], None] | None = None,
        create: bool = True,
        strict: bool = False,
    ) -> None:
        check_system()
        if strict:
            check_strictly()
        if durability not in DURABILITY:
            raise EntryError(
                f"durability is 'full' or 'normal', not {durability!r}",
                hint="durability='full'",
                code="durability",
            )
        if not (isinstance(busy_timeout, (int, float)) and 0 <= busy_timeout <= LONGEST_S):
            raise EntryError(
                f"busy_timeout is a number of seconds from 0 to {LONGEST_S}, not {busy_timeout!r}",
                hint="busy_timeout=30",
                code="busy-timeout",
            )
        self._on_takeover = on_takeover
        opening: Any = {
            "key_file": key_file, "durability": durability, "busy_timeout_s": busy_timeout
        }  # fmt: skip
        self.store: Store
        if is_url(path_or_url):
            address = parsed(str(path_or_url))
            self.path, self.where = Path(address.shown), address.shown
            _make_sure_on_server(str(path_or_url), address, key_file, create=create)
            # Imported here: nobody else pays for it.
            from journal.serverstore import ServerStore  # noqa: PLC0415

            self.store = ServerStore(address, **opening)
        else:
            self.path = path_of(path_or_url)
            self.where = str(self.path)
            _make_sure(self.path, key_file, create=create)
            self.store = Store(str(self.path), **opening)
        self.mirrors = self.store.mirrors = Mirrors(self.store)

    @property
    def id(self) -> str:
        """The journal's own id, 32 hexadecimal digits."""
        return self.store.journal_id

    def session(  # noqa: PLR0913
        self,
        key: str,
        *,
        writer: str | None = None,
        role: str | None = None,
        on_behalf_of: str | None = None,
        run_id: str | None = None,
        mirror: str | os.PathLike[str] | None = None,
        declare: bool = True,
        policy: str | Policy = "cotenant",
    ) -> Session:
        """Return one writer's handle on one session.

        Args:
            key: the session's key, opaque text; or what a migration found a session
                to be called, where none has such a key. ``key`` of the answer is its own.
            writer: who writes; without one the handle only reads.
            role: the writer's role, fixed by its first use.
            on_behalf_of: for whom it writes, noted in each entry.
            run_id: the run it writes in, noted in each entry.
            mirror: the file to keep equal to the session from now on.
            declare: declare an unknown writer at its first write; if false, an
                unknown name is refused.
            policy: how its fences judge: "cotenant", "strict", or a function of
                an entry.

        Raises:
            EntryError: a key or name that cannot be kept, or no such policy.
            NotFoundError: more than one session is called so, and none has such a key.
            NotTrusted: a revoked writer, an unknown or another role.
            MirrorError: the file cannot be this session's mirror.

        """
        key = self._key_of(key)
        identity = None
        if writer is not None:
            identity = Identity(
                writer, role or self._role_of(writer), on_behalf_of, run_id, declare
            )
        made = Session(
            self.store, key, identity, default_policy=policy, on_takeover=self._on_takeover
        )
        if identity is not None:
            self._check_writer(identity)
        if mirror is not None:
            self.mirrors.add(key, mirror)
        else:
            self.mirrors.opened(key)
        return made

    def _key_of(self, text: str) -> str:
        """Return the key of the session that is called so; the text itself where none is."""
        check_key(text)
        if text in self.store.registry.session_ids:
            return text  # an own key always wins: no need to wait for whoever writes
        with self.store.snapshot() as cursor:
            registry = self.store.registry
            if text in registry.session_ids or not registry.aliases:
                return text
            if self.store.find_chain(cursor, text) is not None:
                return text
            found = registry.called(text, os.path.realpath(text))
        if len(found) > 1:
            raise ambiguous(text, found)
        return found[0] if found else text

    def _role_of(self, writer: str) -> str:
        with self.store.snapshot():
            known = self.store.registry.by_name.get(check_name(writer))
        if known is None:
            raise EntryError(
                f"writer {writer!r} needs a role", hint="role='run'", code="role-needed"
            )
        return known.role

    def _check_writer(self, identity: Identity) -> None:
        with self.store.snapshot():
            known = self.store.registry.writer(identity.writer, identity.role)
        if known is None and not identity.declare:
            with self.store.transaction() as cursor:
                self.store.author(cursor, identity.writer, identity.role, declare=False)

    def batch(self) -> Batch:
        """Return a block that commits writes on several sessions together."""
        return Batch(self.store)

    def fence(self, fence_id: str, *, policy: str | Policy = "cotenant") -> Fence:
        """Return a stored fence, of whatever process.

        Raises:
            NotFoundError: there is none of this id.
            EntryError: there is no such policy.

        """
        fence = Fence.load(self.store, fence_id, policy)
        fence.session.on_takeover = self._on_takeover
        return fence

    def parked(self, parked_id: str) -> Parked:
        """Return one write that was refused and kept, of whatever session.

        Raises:
            NotFoundError: there is none of this id.
            RefusedError: its row is not what was parked.

        """
        with self.store.snapshot() as cursor:
            row = parking.whole(cursor, self.store, parked_id)
            return parking.parked_of(row, self.store)

    def sessions(self, prefix: str = "") -> list[SessionInfo]:
        """Return every session by its key, or those whose key begins so; the counts are the projection's."""
        with self.store.snapshot() as cursor:
            known = sorted(
                (key, number)
                for key, number in self.store.registry.session_ids.items()
                if key.startswith(prefix)
            )
            heads = _heads(cursor, [number for _, number in known] if prefix else None)
            aliases = {number: tuple(self.store.registry.aliases.of(number)) for _, number in known}
        return [
            SessionInfo(key, *heads.get(number, (0, 0, 0, 0)), aliases[number])
            for key, number in known
        ]

    def writers(self) -> list[Writer]:
        """Return every declared writer, the revoked ones too."""
        with self.store.snapshot():
            known = list(self.store.registry.writers.values())
        return [writer for writer in known if writer.name != REGISTRY_KEY]

    def declare(self, name: str, role: str) -> Writer:
        """Declare a writer, its role fixed from now on; doing it again changes nothing."""
        check_name(name)
        with self.store.transaction() as cursor:
            known = self.store.registry.writer(name, role)
            return known or self.store.declare(cursor, name, role)

    def revoke(
        self, name: str, reason: str, *, by: str | None = None, role: str = "operator"
    ) -> Writer:
        """Revoke a writer from now on; what it wrote stays as it is.

        What it tries to write later is refused, and not kept. ``by`` is the writer, of
        that role, who revokes it; the process is recorded in any case.
        """
        return self.store.revoke(name, reason, by=by, role=role)

    def close(self) -> None:
        """Close the journal; doing it again is harmless."""
        try:
            self.mirrors.sync()  # before: whoever writes to a file may need the store for it
        finally:
            try:
                self.store.close()
            finally:
                self.mirrors.abandon()  # only now: another thread's last line would open its file again

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _heads(cursor: Cursor, numbers: list[int] | None) -> dict[int, tuple[int, int, int, int]]:
    """Return what the projection says of sessions; of all, or of these."""
    select = "SELECT id, head_seq, head_epoch, cum_bytes, created_us FROM sessions"
    if numbers is None:
        rows = cursor.execute(select).fetchall()
    else:
        by_id = f"{select} WHERE id = ?"
        rows = [row for number in numbers for row in cursor.execute(by_id, (number,)).fetchall()]
    return {row[0]: row[1:] for row in rows}


def path_of(path_or_url: str | os.PathLike[str]) -> Path:
    """Return the database file that a path or URL names.

    Raises:
        EntryError: a URL of another database, or no path at all.

    """
    if not isinstance(path_or_url, str | os.PathLike):
        # str() of anything is a name: None would become a file called so, with a key of its own.
        raise EntryError(
            f"a journal is named by a path or a URL, not by {path_or_url!r}",
            hint='Journal("agent.db")',
            code="path",
        )
    text = os.fsdecode(path_or_url)  # str() of an os.DirEntry, say, is not its path
    if text.startswith("sqlite:///"):
        text = text.removeprefix("sqlite:///")
        if "?" in text:  # or a file would be made that has the options in its name
            raise EntryError(
                f"a URL of a file takes no options: {text.partition('?')[2]}",
                hint=f"sqlite:///{text.partition('?')[0]}",
                code="url",
            )
    elif is_url(text):
        raise EntryError(
            "this works on a journal in a file, and not yet on a server",
            hint="docs/postgres.md says what does",
            code="not-on-a-server",
        )
    elif "://" in text:
        raise unknown(text)
    if text.startswith("file:"):  # or a file would be made that is called so
        raise EntryError(
            "a journal is not named by SQLite's own kind of URI (file:)",
            hint=text.removeprefix("file:").partition("?")[0] or "name a file",
            code="url",
        )
    if text == ":memory:":  # what SQLite means by it would not outlive a connection
        raise EntryError(
            "a journal is kept in a file, never in memory",
            hint="name a file, in a directory that is taken away afterwards if nothing is to stay",
            code="path",
        )
    if not text or "\0" in text:
        raise EntryError("the journal's path is empty or no path", hint="name a file", code="path")
    return Path(text).absolute()


def _make_sure_on_server(
    url: str, address: Address, key_file: str | os.PathLike[str] | None, *, create: bool
) -> None:
    if version_on_server(address) is None:
        if not create:
            raise NotFoundError(
                f"there is no journal at {address.shown}", hint="journal init", code="no-journal"
            )
        creation.create(url, key_file)


def _make_sure(path: Path, key_file: str | os.PathLike[str] | None, *, create: bool) -> None:
    """Make sure that a journal of this version is there."""
    forget_drafts(path)
    check_place(path)
    version = version_of(str(path))
    if version is None:
        if not create:
            raise NotFoundError(
                f"there is no journal at {path}", hint="journal init", code="no-journal"
            )
        creation.create(str(path), key_file)
    elif version < SCHEMA_VERSION:
        raise SchemaError(
            f"{path} has schema {version}, this version writes {SCHEMA_VERSION}",
            hint="journal upgrade --apply",
            code="schema-older",
        )
