"""The tables, as SQLAlchemy knows them. The triggers are in the first revision.

No table has a foreign key to a projection: ``sessions`` and ``writers`` are
rebuilt from sealed entries, so an entry must never depend on them, and a thief
who deletes a projection's row must not wedge an honest append.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

if TYPE_CHECKING:
    from sqlalchemy.schema import SchemaItem

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

# On servers that share one journal, each of these tables could be spread by the session its
# rows belong to, named here; the others would be whole on each (reference tables).
SESSION_OF: Final = {
    "entries": "session_id",
    "sessions": "id",
    "layouts": "session_id",
    "claims": "session_id",
    "fences": "session_id",
    "verdicts": "session_id",
    "parked": "session_id",
    "pending_inputs": "session_id",
    "mirrors": "session_id",
    "migrated_files": "session_id",
    "redactions": "session_id",
}
OF_THE_JOURNAL: Final = frozenset({"writers", "instances", "meta", "migrations"})

# STRICT knows INTEGER, not BIGINT; PostgreSQL needs the latter for microseconds.
Int = BigInteger().with_variant(Integer, "sqlite")


def server_key(table: Table) -> list[str]:
    """Return the columns of a table's primary key on a server: the session's first."""
    own = [column.name for column in table.primary_key]
    session = SESSION_OF.get(table.name)
    if table.name == "entries":
        return ["session_id", "seq"]
    return own if session is None or session in own else [session, *own]


def _table(name: str, *items: SchemaItem) -> Table:
    return Table(name, metadata, *items, sqlite_strict=True)


def _int(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, Int, nullable=null)


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, Text, nullable=null)


def _blob(name: str, *, null: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=null)


entries = _table(
    "entries",
    _int("id"),
    _int("session_id"),
    _int("seq"),
    _int("epoch"),
    _int("writer_id"),
    _int("instance_id"),
    _int("recorder_id"),
    _int("claim", null=True),
    _text("kind"),
    _int("trusted"),
    _text("origin"),
    _text("request_id", null=True),
    _text("run_id", null=True),
    _text("on_behalf_of", null=True),
    _int("created_us"),
    _int("cum_bytes"),
    _blob("terminator"),
    _blob("salt", null=True),
    _blob("commitment"),
    _int("key_id"),
    _blob("prev"),
    _blob("seal"),
    _text("line_type", null=True),
    _text("line_id", null=True),
    _text("parent_id", null=True),
    _blob("body", null=True),
    PrimaryKeyConstraint("id", name="pk_entries"),
    UniqueConstraint("session_id", "seq", name="uq_entries_session_id_seq"),
    # Without it a row of id -1 would look like "no id given" to the trigger.
    CheckConstraint("id > 0", name="id"),
)
Index(
    "ix_entries_request",
    entries.c.session_id,
    entries.c.request_id,
    sqlite_where=text("request_id IS NOT NULL"),
)
Index(
    "ix_entries_control",
    entries.c.session_id,
    entries.c.seq,
    sqlite_where=text("kind = 'control'"),
)
Index("ix_entries_foreign", entries.c.session_id, entries.c.seq, sqlite_where=text("trusted = 0"))

sessions = _table(
    "sessions",
    _int("id"),
    _text("key"),
    _int("head_seq"),
    _int("head_epoch"),
    _int("cum_bytes"),
    _int("examined_seq"),
    _blob("examined_mac"),
    _int("layout_no"),
    _int("created_us"),
    PrimaryKeyConstraint("id", name="pk_sessions"),
    UniqueConstraint("key", name="uq_sessions_key"),
)

layouts = _table(
    "layouts",
    _int("session_id"),
    _int("layout_no"),
    _int("position"),
    _int("first_seq"),
    _int("last_seq", null=True),
    _int("byte_start"),
    PrimaryKeyConstraint("session_id", "layout_no", "position", name="pk_layouts"),
)

writers = _table(
    "writers",
    _int("id"),
    _text("name"),
    _text("role"),
    _int("declared_us"),
    _int("revoked_us", null=True),
    _text("reason", null=True),
    PrimaryKeyConstraint("id", name="pk_writers"),
    UniqueConstraint("name", name="uq_writers_name"),
)

instances = _table(
    "instances",
    _int("id"),
    _int("writer_id"),
    _text("host"),
    _text("pid_ns"),
    _text("boot_id"),
    _int("pid"),
    _int("started_us"),
    _blob("nonce"),
    _text("program"),
    _int("created_us"),
    _blob("mac"),
    PrimaryKeyConstraint("id", name="pk_instances"),
)

claims = _table(
    "claims",
    _int("session_id"),
    _int("token"),
    _int("writer_id"),
    _int("instance_id"),
    _text("run_id", null=True),
    _int("claimed_us"),
    _int("ended_us", null=True),
    _text("outcome", null=True),
    _text("reason", null=True),
    _int("superseded_by", null=True),
    PrimaryKeyConstraint("session_id", "token", name="pk_claims"),
)

fences = _table(
    "fences",
    _text("id"),
    _int("session_id"),
    _int("writer_id"),
    _int("instance_id"),
    _int("seq"),
    _int("epoch"),
    _blob("seal"),
    _text("beyond"),
    _text("beyond_digest"),
    _int("mirror_position", null=True),
    _int("raised_us"),
    _blob("mac"),
    PrimaryKeyConstraint("id", name="pk_fences"),
)
Index("ix_fences_session_id", fences.c.session_id, fences.c.raised_us)

verdicts = _table(
    "verdicts",
    _text("id"),
    _int("session_id"),
    _text("fence_id", null=True),
    _int("writer_id", null=True),
    _int("instance_id", null=True),
    _text("outcome"),
    _text("policy"),
    _text("evidence"),
    _int("judged_us"),
    _blob("mac"),
    PrimaryKeyConstraint("id", name="pk_verdicts"),
)
Index("ix_verdicts_session_id", verdicts.c.session_id, verdicts.c.judged_us)

parked = _table(
    "parked",
    _text("id"),
    _int("session_id"),
    _int("writer_id"),
    _int("instance_id"),
    _text("reason"),
    _text("verdict_id", null=True),
    _text("request_id", null=True),
    _text("run_id", null=True),
    _text("on_behalf_of", null=True),
    _int("claim_expected", null=True),
    _int("claim_found", null=True),
    _int("epoch_expected", null=True),
    _int("epoch_found"),
    _int("lines"),
    _blob("content_digest"),
    _int("parked_us"),
    _int("times"),
    _int("settled_us", null=True),
    _text("settled", null=True),
    _blob("mac"),
    _blob("content", null=True),
    PrimaryKeyConstraint("id", name="pk_parked"),
)
Index("ix_parked_session_id", parked.c.session_id, parked.c.parked_us)
Index(
    "ix_parked_waiting",
    parked.c.session_id,
    parked.c.content_digest,
    sqlite_where=text("settled IS NULL"),
)

pending_inputs = _table(
    "pending_inputs",
    _int("id"),
    _int("session_id"),
    _int("writer_id"),
    _int("instance_id"),
    _text("request_id", null=True),
    _text("on_behalf_of", null=True),
    _int("submitted_us"),
    _int("taken_seq", null=True),
    _int("taken_us", null=True),
    _blob("terminator"),
    _blob("mac"),
    _blob("body", null=True),
    PrimaryKeyConstraint("id", name="pk_pending_inputs"),
)
Index("ix_pending_inputs_session_id", pending_inputs.c.session_id, pending_inputs.c.id)

mirrors = _table(
    "mirrors",
    _int("id"),
    _int("session_id"),
    _text("host"),
    _text("path"),
    _text("on_edit"),
    _text("state"),
    _text("detail", null=True),
    _int("writer_id", null=True),
    _int("layout_no"),
    _int("synced_to"),
    _text("synced_boot_id", null=True),
    _int("added_us"),
    _int("removed_us", null=True),
    _blob("mac"),
    PrimaryKeyConstraint("id", name="pk_mirrors"),
)

migrations = _table(
    "migrations",
    _int("id"),
    _text("source"),
    _text("state"),
    _int("files"),
    _int("lines"),
    _int("bytes"),
    _int("started_us"),
    _int("finished_us", null=True),
    PrimaryKeyConstraint("id", name="pk_migrations"),
)

migrated_files = _table(
    "migrated_files",
    _int("id"),
    _int("migration_id"),
    _int("session_id"),
    _text("path"),
    _text("name"),
    _text("alias", null=True),
    _text("format"),
    _text("class"),
    _text("state"),
    _int("first_seq"),
    _int("last_seq"),
    _int("bytes"),
    _int("lines"),
    _int("raw_lines"),
    _text("sha256"),
    _int("mode", null=True),
    _int("migrated_us"),
    PrimaryKeyConstraint("id", name="pk_migrated_files"),
)
Index("ix_migrated_files_path", migrated_files.c.path)
Index("ix_migrated_files_session_id", migrated_files.c.session_id)

redactions = _table(
    "redactions",
    _int("id"),
    _int("session_id"),
    _int("seq"),
    _int("control_seq"),
    _int("writer_id"),
    _text("reason"),
    _int("redacted_us"),
    PrimaryKeyConstraint("id", name="pk_redactions"),
)

meta = _table(
    "meta",
    _text("name"),
    _text("value"),
    PrimaryKeyConstraint("name", name="pk_meta"),
)
