"""The first schema: entries and their projections, in STRICT tables, with the triggers.

The statements are written out, never rendered: the text in ``sqlite_schema`` is
part of what a journal is checked by, and must not change with a library.

Revision ID: 0001
Revises: none
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    """
CREATE TABLE entries (
    id INTEGER NOT NULL,
    session_id INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    writer_id INTEGER NOT NULL,
    instance_id INTEGER NOT NULL,
    recorder_id INTEGER NOT NULL,
    claim INTEGER,
    kind TEXT NOT NULL,
    trusted INTEGER NOT NULL,
    origin TEXT NOT NULL,
    request_id TEXT,
    run_id TEXT,
    on_behalf_of TEXT,
    created_us INTEGER NOT NULL,
    cum_bytes INTEGER NOT NULL,
    terminator BLOB NOT NULL,
    salt BLOB,
    commitment BLOB NOT NULL,
    key_id INTEGER NOT NULL,
    prev BLOB NOT NULL,
    seal BLOB NOT NULL,
    line_type TEXT,
    line_id TEXT,
    parent_id TEXT,
    body BLOB,
    CONSTRAINT pk_entries PRIMARY KEY (id),
    CONSTRAINT uq_entries_session_id_seq UNIQUE (session_id, seq),
    CONSTRAINT ck_entries_id CHECK (id > 0)
) STRICT
""",
    "CREATE INDEX ix_entries_control ON entries (session_id, seq) WHERE kind = 'control'",
    "CREATE INDEX ix_entries_foreign ON entries (session_id, seq) WHERE trusted = 0",
    "CREATE INDEX ix_entries_request ON entries (session_id, request_id) WHERE request_id IS NOT NULL",
    """
CREATE TABLE sessions (
    id INTEGER NOT NULL,
    "key" TEXT NOT NULL,
    head_seq INTEGER NOT NULL,
    head_epoch INTEGER NOT NULL,
    cum_bytes INTEGER NOT NULL,
    examined_seq INTEGER NOT NULL,
    examined_mac BLOB NOT NULL,
    layout_no INTEGER NOT NULL,
    created_us INTEGER NOT NULL,
    CONSTRAINT pk_sessions PRIMARY KEY (id),
    CONSTRAINT uq_sessions_key UNIQUE ("key")
) STRICT
""",
    """
CREATE TABLE layouts (
    session_id INTEGER NOT NULL,
    layout_no INTEGER NOT NULL,
    position INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER,
    byte_start INTEGER NOT NULL,
    CONSTRAINT pk_layouts PRIMARY KEY (session_id, layout_no, position)
) STRICT
""",
    """
CREATE TABLE writers (
    id INTEGER NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    declared_us INTEGER NOT NULL,
    revoked_us INTEGER,
    reason TEXT,
    CONSTRAINT pk_writers PRIMARY KEY (id),
    CONSTRAINT uq_writers_name UNIQUE (name)
) STRICT
""",
    """
CREATE TABLE instances (
    id INTEGER NOT NULL,
    writer_id INTEGER NOT NULL,
    host TEXT NOT NULL,
    pid_ns TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started_us INTEGER NOT NULL,
    nonce BLOB NOT NULL,
    program TEXT NOT NULL,
    created_us INTEGER NOT NULL,
    mac BLOB NOT NULL,
    CONSTRAINT pk_instances PRIMARY KEY (id)
) STRICT
""",
    """
CREATE TABLE claims (
    session_id INTEGER NOT NULL,
    token INTEGER NOT NULL,
    writer_id INTEGER NOT NULL,
    instance_id INTEGER NOT NULL,
    run_id TEXT,
    claimed_us INTEGER NOT NULL,
    ended_us INTEGER,
    outcome TEXT,
    reason TEXT,
    superseded_by INTEGER,
    CONSTRAINT pk_claims PRIMARY KEY (session_id, token)
) STRICT
""",
    """
CREATE TABLE fences (
    id TEXT NOT NULL,
    session_id INTEGER NOT NULL,
    writer_id INTEGER NOT NULL,
    instance_id INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    seal BLOB NOT NULL,
    beyond TEXT NOT NULL,
    beyond_digest TEXT NOT NULL,
    mirror_position INTEGER,
    raised_us INTEGER NOT NULL,
    mac BLOB NOT NULL,
    CONSTRAINT pk_fences PRIMARY KEY (id)
) STRICT
""",
    "CREATE INDEX ix_fences_session_id ON fences (session_id, raised_us)",
    """
CREATE TABLE verdicts (
    id TEXT NOT NULL,
    session_id INTEGER NOT NULL,
    fence_id TEXT,
    writer_id INTEGER,
    instance_id INTEGER,
    outcome TEXT NOT NULL,
    policy TEXT NOT NULL,
    evidence TEXT NOT NULL,
    judged_us INTEGER NOT NULL,
    mac BLOB NOT NULL,
    CONSTRAINT pk_verdicts PRIMARY KEY (id)
) STRICT
""",
    "CREATE INDEX ix_verdicts_session_id ON verdicts (session_id, judged_us)",
    """
CREATE TABLE parked (
    id TEXT NOT NULL,
    session_id INTEGER NOT NULL,
    writer_id INTEGER NOT NULL,
    instance_id INTEGER NOT NULL,
    reason TEXT NOT NULL,
    verdict_id TEXT,
    request_id TEXT,
    run_id TEXT,
    on_behalf_of TEXT,
    claim_expected INTEGER,
    claim_found INTEGER,
    epoch_expected INTEGER,
    epoch_found INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    content_digest BLOB NOT NULL,
    parked_us INTEGER NOT NULL,
    times INTEGER NOT NULL,
    settled_us INTEGER,
    settled TEXT,
    mac BLOB NOT NULL,
    content BLOB,
    CONSTRAINT pk_parked PRIMARY KEY (id)
) STRICT
""",
    "CREATE INDEX ix_parked_session_id ON parked (session_id, parked_us)",
    "CREATE INDEX ix_parked_waiting ON parked (session_id, content_digest) WHERE settled IS NULL",
    """
CREATE TABLE pending_inputs (
    id INTEGER NOT NULL,
    session_id INTEGER NOT NULL,
    writer_id INTEGER NOT NULL,
    instance_id INTEGER NOT NULL,
    request_id TEXT,
    on_behalf_of TEXT,
    submitted_us INTEGER NOT NULL,
    taken_seq INTEGER,
    taken_us INTEGER,
    terminator BLOB NOT NULL,
    mac BLOB NOT NULL,
    body BLOB,
    CONSTRAINT pk_pending_inputs PRIMARY KEY (id)
) STRICT
""",
    "CREATE INDEX ix_pending_inputs_session_id ON pending_inputs (session_id, id)",
    """
CREATE TABLE mirrors (
    id INTEGER NOT NULL,
    session_id INTEGER NOT NULL,
    host TEXT NOT NULL,
    path TEXT NOT NULL,
    on_edit TEXT NOT NULL,
    state TEXT NOT NULL,
    detail TEXT,
    writer_id INTEGER,
    layout_no INTEGER NOT NULL,
    synced_to INTEGER NOT NULL,
    synced_boot_id TEXT,
    added_us INTEGER NOT NULL,
    removed_us INTEGER,
    mac BLOB NOT NULL,
    CONSTRAINT pk_mirrors PRIMARY KEY (id)
) STRICT
""",
    """
CREATE TABLE migrations (
    id INTEGER NOT NULL,
    source TEXT NOT NULL,
    state TEXT NOT NULL,
    files INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    started_us INTEGER NOT NULL,
    finished_us INTEGER,
    CONSTRAINT pk_migrations PRIMARY KEY (id)
) STRICT
""",
    """
CREATE TABLE migrated_files (
    id INTEGER NOT NULL,
    migration_id INTEGER NOT NULL,
    session_id INTEGER NOT NULL,
    path TEXT NOT NULL,
    name TEXT NOT NULL,
    alias TEXT,
    format TEXT NOT NULL,
    class TEXT NOT NULL,
    state TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    lines INTEGER NOT NULL,
    raw_lines INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    mode INTEGER,
    migrated_us INTEGER NOT NULL,
    CONSTRAINT pk_migrated_files PRIMARY KEY (id)
) STRICT
""",
    "CREATE INDEX ix_migrated_files_path ON migrated_files (path)",
    "CREATE INDEX ix_migrated_files_session_id ON migrated_files (session_id)",
    """
CREATE TABLE redactions (
    id INTEGER NOT NULL,
    session_id INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    control_seq INTEGER NOT NULL,
    writer_id INTEGER NOT NULL,
    reason TEXT NOT NULL,
    redacted_us INTEGER NOT NULL,
    CONSTRAINT pk_redactions PRIMARY KEY (id)
) STRICT
""",
    """
CREATE TABLE meta (
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    CONSTRAINT pk_meta PRIMARY KEY (name)
) STRICT
""",
)

# A seat belt, not the lock: whoever may write the file may drop them. Then the
# seals tell. RAISE(ABORT) holds against OR REPLACE and OR IGNORE as well; an
# automatic id arrives here as -1.
TRIGGERS = (
    """
CREATE TRIGGER entries_insert BEFORE INSERT ON entries
BEGIN
    SELECT RAISE(ABORT, 'an entry takes the next free seq of its session')
    WHERE NOT EXISTS (
        SELECT 1 FROM sessions
        WHERE id = NEW.session_id AND NEW.seq BETWEEN 1 AND head_seq AND NEW.epoch BETWEEN 1 AND head_epoch
    )
    OR EXISTS (SELECT 1 FROM entries WHERE session_id = NEW.session_id AND seq = NEW.seq)
    OR (NEW.id <> -1 AND EXISTS (SELECT 1 FROM entries WHERE id = NEW.id));
END
""",
    """
CREATE TRIGGER entries_update BEFORE UPDATE ON entries
WHEN NOT (
    NEW.body IS NULL AND NEW.salt IS NULL
    AND NEW.line_type IS NULL AND NEW.line_id IS NULL AND NEW.parent_id IS NULL
    AND NEW.id IS OLD.id AND NEW.session_id IS OLD.session_id AND NEW.seq IS OLD.seq
    AND NEW.epoch IS OLD.epoch AND NEW.writer_id IS OLD.writer_id
    AND NEW.instance_id IS OLD.instance_id AND NEW.recorder_id IS OLD.recorder_id
    AND NEW.claim IS OLD.claim AND NEW.kind IS OLD.kind AND NEW.trusted IS OLD.trusted
    AND NEW.origin IS OLD.origin AND NEW.request_id IS OLD.request_id
    AND NEW.run_id IS OLD.run_id AND NEW.on_behalf_of IS OLD.on_behalf_of
    AND NEW.created_us IS OLD.created_us AND NEW.cum_bytes IS OLD.cum_bytes
    AND NEW.terminator IS OLD.terminator AND NEW.commitment IS OLD.commitment
    AND NEW.key_id IS OLD.key_id AND NEW.prev IS OLD.prev AND NEW.seal IS OLD.seal
    AND OLD.kind <> 'control'
)
BEGIN
    SELECT RAISE(ABORT, 'an entry never changes; redact is the one exception');
END
""",
    """
CREATE TRIGGER entries_delete BEFORE DELETE ON entries
BEGIN
    SELECT RAISE(ABORT, 'an entry never vanishes');
END
""",
    """
CREATE TRIGGER meta_update BEFORE UPDATE ON meta WHEN OLD.name = 'journal_id'
BEGIN
    SELECT RAISE(ABORT, 'a journal keeps its id');
END
""",
    """
CREATE TRIGGER meta_delete BEFORE DELETE ON meta WHEN OLD.name = 'journal_id'
BEGIN
    SELECT RAISE(ABORT, 'a journal keeps its id');
END
""",
)


# PostgreSQL: the same tables, so they are derived from the text above. What belongs to one
# session has the session in its primary key, first, so that it can be spread over servers by
# it; and what must be unique is so within a session. A session's key and a writer's name are
# not unique: who has one is a sealed fact, and a forged row must not keep an honest one away.
_NUMBERED = ("entries", "instances", "migrations", "migrated_files", "redactions")
_ON_POSTGRESQL = (
    (
        "PRIMARY KEY (id),\n    CONSTRAINT uq_entries_session_id_seq UNIQUE (session_id, seq)",
        "PRIMARY KEY (session_id, seq)",
    ),
    (
        'pk_sessions PRIMARY KEY (id),\n    CONSTRAINT uq_sessions_key UNIQUE ("key")',
        "pk_sessions PRIMARY KEY (id)",
    ),
    (
        "pk_writers PRIMARY KEY (id),\n    CONSTRAINT uq_writers_name UNIQUE (name)",
        "pk_writers PRIMARY KEY (id)",
    ),
    (" INTEGER", " BIGINT"),
    (" BLOB", " BYTEA"),
    (") STRICT", ")"),
)
# The primary key has these in it already.
_NOT_ON_POSTGRESQL = ("CREATE INDEX ix_pending_inputs_session_id ",)
# What people and other rows name by a name alone is looked for on every server.
_MORE_ON_POSTGRESQL = (
    'CREATE INDEX ix_sessions_key ON sessions ("key")',
    "CREATE INDEX ix_fences_id ON fences (id)",
    "CREATE INDEX ix_verdicts_id ON verdicts (id)",
    "CREATE INDEX ix_parked_id ON parked (id)",
    "CREATE INDEX ix_pending_inputs_id ON pending_inputs (id)",
)

POSTGRESQL_TRIGGERS = (
    """
CREATE FUNCTION entries_insert() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NOT EXISTS (
        SELECT 1 FROM sessions
        WHERE id = NEW.session_id AND NEW.seq BETWEEN 1 AND head_seq AND NEW.epoch BETWEEN 1 AND head_epoch
    ) THEN
        RAISE EXCEPTION 'an entry takes the next free seq of its session'
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$
""",
    """
CREATE FUNCTION entries_update() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NEW.body IS NULL AND NEW.salt IS NULL
        AND NEW.line_type IS NULL AND NEW.line_id IS NULL AND NEW.parent_id IS NULL
        AND (
            NEW.id, NEW.session_id, NEW.seq, NEW.epoch, NEW.writer_id, NEW.instance_id,
            NEW.recorder_id, NEW.claim, NEW.kind, NEW.trusted, NEW.origin, NEW.request_id,
            NEW.run_id, NEW.on_behalf_of, NEW.created_us, NEW.cum_bytes, NEW.terminator,
            NEW.commitment, NEW.key_id, NEW.prev, NEW.seal
        ) IS NOT DISTINCT FROM (
            OLD.id, OLD.session_id, OLD.seq, OLD.epoch, OLD.writer_id, OLD.instance_id,
            OLD.recorder_id, OLD.claim, OLD.kind, OLD.trusted, OLD.origin, OLD.request_id,
            OLD.run_id, OLD.on_behalf_of, OLD.created_us, OLD.cum_bytes, OLD.terminator,
            OLD.commitment, OLD.key_id, OLD.prev, OLD.seal
        )
        AND OLD.kind <> 'control'
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'an entry never changes; redact is the one exception'
        USING ERRCODE = 'integrity_constraint_violation';
END
$$
""",
    """
CREATE FUNCTION entries_delete() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    RAISE EXCEPTION 'an entry never vanishes' USING ERRCODE = 'integrity_constraint_violation';
END
$$
""",
    """
CREATE FUNCTION meta_keep() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' OR OLD.name = 'journal_id' THEN
        RAISE EXCEPTION 'a journal keeps its id' USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    RETURN NEW;
END
$$
""",
    "CREATE TRIGGER entries_insert BEFORE INSERT ON entries FOR EACH ROW EXECUTE FUNCTION entries_insert()",
    "CREATE TRIGGER entries_update BEFORE UPDATE ON entries FOR EACH ROW EXECUTE FUNCTION entries_update()",
    "CREATE TRIGGER entries_delete BEFORE DELETE ON entries FOR EACH ROW EXECUTE FUNCTION entries_delete()",
    "CREATE TRIGGER entries_truncate BEFORE TRUNCATE ON entries FOR EACH STATEMENT EXECUTE FUNCTION entries_delete()",
    "CREATE TRIGGER meta_update BEFORE UPDATE ON meta FOR EACH ROW EXECUTE FUNCTION meta_keep()",
    "CREATE TRIGGER meta_delete BEFORE DELETE ON meta FOR EACH ROW EXECUTE FUNCTION meta_keep()",
    "CREATE TRIGGER meta_truncate BEFORE TRUNCATE ON meta FOR EACH STATEMENT EXECUTE FUNCTION meta_keep()",
)


def upgrade() -> None:
    """Create every table, index and trigger."""
    bind = op.get_bind()
    statements: tuple[str, ...] = (*TABLES, *TRIGGERS)
    if bind.dialect.name == "postgresql":
        tables = [each for each in TABLES if not each.startswith(_NOT_ON_POSTGRESQL)]
        statements = (*map(_on_postgresql, tables), *_MORE_ON_POSTGRESQL, *POSTGRESQL_TRIGGERS)
    for statement in statements:
        bind.exec_driver_sql(statement.strip())


def _on_postgresql(statement: str) -> str:
    for ours, theirs in _ON_POSTGRESQL:
        statement = statement.replace(ours, theirs)
    if "    session_id BIGINT" in statement:
        statement = statement.replace("PRIMARY KEY (id)", "PRIMARY KEY (session_id, id)")
    if statement.strip().startswith(tuple(f"CREATE TABLE {name} " for name in _NUMBERED)):
        number = "id BIGINT GENERATED BY DEFAULT AS IDENTITY"
        statement = statement.replace("id BIGINT NOT NULL", number, 1)
    return statement


def downgrade() -> None:
    """Refuse: the first schema has nothing below it, and an audit trail is not dropped."""
    message = "the first schema cannot be downgraded"
    raise NotImplementedError(message)
