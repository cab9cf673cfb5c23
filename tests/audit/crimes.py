"""What can be done to a journal, and which checks must say so."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.audit.conftest import LAID, OTHER, Holder, rows
from tests.thieves import KEY, Thief, raw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from journal import Journal


class Crime(NamedTuple):
    """What was done, and which checks must say so; the first is the cause, the others follow."""

    do: Callable[[Scene], Any]
    checks: tuple[str, ...]
    seqs: tuple[int, ...] = ()
    session: str | None = KEY


class Scene(NamedTuple):
    journal: Journal
    thief: Thief
    holder: Holder
    path: Path
    key_file: Path


def sql(statement: str) -> Callable[[Scene], Any]:
    return lambda scene: scene.thief.execute(statement)


def edit(column: str, seq: int, value: object, key: str = KEY) -> Callable[[Scene], Any]:
    return lambda scene: scene.thief.edit(column, seq, value, key)


def quietly(statement: str) -> Callable[[Scene], Any]:
    def crime(scene: Scene) -> None:
        scene.thief.execute("PRAGMA ignore_check_constraints=ON")
        with scene.thief.without_triggers():
            scene.thief.execute(statement)

    return crime


def sealed(**columns: Any) -> Callable[[Scene], Any]:
    return lambda scene: scene.holder.append(**columns)


def written(scene: Scene, name: str = "heartbeat") -> int:
    """Let an honest writer write; return the seq."""
    return scene.journal.session(KEY, writer=name).append({"n": "honest"}).seq


def newest(scene: Scene) -> int:
    return int(rows(scene.thief)[-1].seq)


# --- identity


def no_key(scene: Scene) -> None:
    scene.key_file.unlink()


def a_strangers_session(scene: Scene) -> None:
    session_id = scene.thief.session_id()
    with scene.thief.without_triggers():
        for seq in (1, 2, 3):
            row = scene.thief._row(session_id, seq)
            scene.thief.insert(row | {"session_id": 77})


def a_lost_registration(scene: Scene) -> None:
    scene.thief.delete(registry_seq(scene, "session", KEY), key="journal:")


def a_lost_declaration(scene: Scene) -> None:
    scene.thief.delete(registry_seq(scene, "writer", "cron"), key="journal:")


def registry_seq(scene: Scene, control: str, text: str) -> int:
    found = [
        row.seq
        for row in rows(scene.thief, "journal:")
        if row.line_type == control and json.dumps(text).encode() in (row.body or b"")
    ]
    return int(found[0])


def a_run_beside_the_claim(scene: Scene) -> int:
    with scene.journal.store.transaction() as cursor:
        writer = scene.journal.store.declare(cursor, "other run", "run")
        instance = scene.journal.store.instance(cursor, writer)
    return scene.holder.append(writer_id=writer.id, instance_id=instance, recorder_id=writer.id)


def a_revoked_writer_goes_on(scene: Scene) -> int:
    number = scene.thief.ask("SELECT id FROM writers WHERE name = 'heartbeat'")
    scene.journal.revoke("heartbeat", "gone mad")
    row = next(row for row in rows(scene.thief) if row.writer_id == number)
    return scene.holder.append(
        writer_id=number,
        recorder_id=number,
        instance_id=row.instance_id,
        created_us=row.created_us + 1,
    )


def an_external_writer(scene: Scene) -> int:
    session = scene.journal.session(KEY, writer="a program", role="external")
    return session.append({"from": "outside"}).seq


def registered_twice(scene: Scene) -> None:
    body = json.dumps({"control": "session", "id": 50, "key": OTHER}).encode()
    scene.holder.fact(body, "session", "journal:")


IDENTITY = {
    "the key is gone": Crime(no_key, ("J101",), session=None),
    "a session that nobody registered": Crime(a_strangers_session, ("J102",), session=None),
    "a lost registration": Crime(a_lost_registration, ("J306", "J103"), session="journal:"),
    "a lost declaration": Crime(a_lost_declaration, ("J306", "J104", "J405"), session="journal:"),
    "instances gone": Crime(
        sql("DELETE FROM instances WHERE writer_id = 2"), ("J105",), (1, 5, 6, 7, 8, 9, 11)
    ),
    "a flag that is not the role's": Crime(sealed(trusted=0), ("J106", "J110")),
    "a claim from nowhere": Crime(sealed(claim=3), ("J107",)),
    "a claim's token that is not its epoch": Crime(
        lambda scene: scene.holder.fact(
            b'{"control":"claim","token":99,"run_id":null,"supersedes":null,"reason":null}',
            "claim",
            claim=99,
        ),
        ("J107", "J407"),
    ),
    "a run beside the claim": Crime(a_run_beside_the_claim, ("J108",)),
    "a revoked writer goes on": Crime(a_revoked_writer_goes_on, ("J109",)),
    "an external writer": Crime(an_external_writer, ("J110",)),
    "a key registered twice": Crime(registered_twice, ("J111",), session="journal:"),
    "an origin that is none": Crime(sealed(origin="nowhere"), ("J112",)),
    "a line end that is none": Crime(sealed(terminator=b"x"), ("J112",)),
    "a fact that says nothing": Crime(
        lambda scene: scene.holder.fact(b'{"control":"stray"}', "stray"), ("J112",)
    ),
}


# --- order


def another_history(scene: Scene) -> None:
    """Cut two entries off, let an honest process write another one, and put the old second back."""
    scene.thief.execute("DELETE FROM fences")
    row, old = rows(scene.thief)[-3], rows(scene.thief)[-1]
    scene.thief.delete(old.seq - 1, old.seq)
    scene.holder.follow({"seq": row.seq, "epoch": row.epoch, "cum_bytes": row.cum_bytes})
    scene.holder.append(epoch=row.epoch + 1)
    scene.holder.put(old._asdict() | {"id": None})


def cut_and_written_anew(scene: Scene) -> int:
    """Cut off the entry that a fence stands at, and let the end grow anew over it."""
    last, before = rows(scene.thief)[-1], rows(scene.thief)[-2]
    scene.thief.delete(last.seq)
    scene.holder.follow({"seq": before.seq, "epoch": before.epoch, "cum_bytes": before.cum_bytes})
    return scene.holder.append()


def left_out(scene: Scene) -> None:
    scene.holder.append(seq=newest(scene) + 3)


ORDER = {
    "another history": Crime(another_history, ("J201", "J407")),
    "an epoch left out": Crime(lambda s: s.holder.append(epoch=s.holder.newest()["epoch"] + 2), ("J202",)),
    "an epoch taken back": Crime(lambda s: s.holder.append(epoch=s.holder.newest()["epoch"] - 1), ("J202",)),
    "one write by two": Crime(
        lambda s: s.holder.append(
            epoch=s.holder.newest()["epoch"], **one_of(s, "cron")
        ),
        ("J203",),
    ),
    "a sum that does not fit": Crime(sealed(cum_bytes=1), ("J204",)),
    "seqs left out": Crime(left_out, ("J205",)),
    "a request written twice": Crime(sealed(request_id="r1"), ("J206",), (2, 3, 13)),
    "a row number out of order": Crime(edit("id", 2, 10_000), ("J207",), (2,)),
    "a row number below 1": Crime(quietly("UPDATE entries SET id = -5 WHERE session_id = 3"), ("J207",), (1,), OTHER),
    "a layout that follows none": Crime(
        lambda s: s.holder.fact(b'{"control":"layout","no":7,"keep":0,"extents":[[1,null]]}', "layout"), ("J209",)
    ),
    "cut off and written anew": Crime(cut_and_written_anew, ("J208",)),
}  # fmt: skip


def one_of(scene: Scene, name: str) -> dict[str, Any]:
    """Give writer and instance of somebody else."""
    number = scene.thief.ask("SELECT id FROM writers WHERE name = ?", name)
    instance = scene.thief.ask("SELECT id FROM instances WHERE writer_id = ?", number)
    return {"writer_id": number, "recorder_id": number, "instance_id": instance}


# --- changed or vanished


def a_row(scene: Scene, **columns: Any) -> int:
    with scene.thief.without_triggers():
        return scene.thief.insert_copy(move_head=False, **columns)


def a_named_row(scene: Scene) -> int:
    seq = a_row(scene)
    written(scene)
    return seq


def a_named_row_changed(scene: Scene) -> int:
    seq = a_named_row(scene)
    scene.thief.edit("body", seq, b"something else")
    return seq


def a_named_row_removed(scene: Scene) -> int:
    seq = a_named_row(scene)
    scene.thief.delete(seq)
    return seq


def the_tail_cut(scene: Scene) -> int:
    """Cut off the newest entry, and let its session's row follow."""
    last, before = rows(scene.thief)[-1], rows(scene.thief)[-2]
    scene.thief.delete(last.seq)
    head = (before.seq, before.epoch, before.cum_bytes, scene.thief.session_id())
    scene.thief.execute(
        "UPDATE sessions SET head_seq = ?, head_epoch = ?, cum_bytes = ? WHERE id = ?", *head
    )
    return int(last.seq)


def a_whole_session(scene: Scene) -> None:
    number = scene.thief.session_id(OTHER)
    scene.thief.delete(1, key=OTHER)
    scene.thief.execute(
        "UPDATE sessions SET head_seq = 0, head_epoch = 0, cum_bytes = 0, examined_seq = 0, examined_mac = x'' "
        "WHERE id = ?",
        number,
    )


def an_erased_line(scene: Scene) -> None:
    scene.thief.execute(
        "UPDATE entries SET body = NULL, salt = NULL, line_type = NULL, line_id = NULL, parent_id = NULL "
        "WHERE session_id = ? AND seq = 1",
        scene.thief.session_id(),
    )


def in_the_place(scene: Scene) -> None:
    scene.thief.delete(3)
    a_row(scene, of=2, seq=3)


CHANGED = {
    "a row nobody sealed": Crime(a_row, ("J301",)),
    "a row in the place of another": Crime(in_the_place, ("J306", "J301"), (3,)),
    "a row that was named": Crime(a_named_row, ("J302",)),
    "a line": Crime(edit("body", 1, b"{}"), ("J303",), (1,)),
    "a line end": Crime(edit("terminator", 1, b"\r\n"), ("J303",), (1,)),
    "a salt": Crime(edit("salt", 1, bytes(16)), ("J303",), (1,)),
    "a writer": Crime(edit("writer_id", 4, 1), ("J304",), (4,)),
    "the newest entry's epoch": Crime(lambda s: s.thief.edit("epoch", newest(s), 99), ("J304",)),
    "a time": Crime(edit("created_us", 4, 1), ("J304",), (4,)),
    "a seal": Crime(edit("seal", 4, bytes(32)), ("J304",), (4,)),
    "a link": Crime(edit("prev", 4, bytes(16)), ("J304",), (4,)),
    "a seq": Crime(edit("seq", 4, 4_000), ("J304",), (4_000,)),
    "a line erased": Crime(an_erased_line, ("J305",), (1,)),
    "an entry in the middle": Crime(lambda s: s.thief.delete(4), ("J306",), (4,)),
    "the first entry": Crime(lambda s: s.thief.delete(1), ("J306",), (1,)),
    "many entries": Crime(lambda s: s.thief.delete(2, 3, 4, 5), ("J306",), (2, 3, 4, 5)),
    "the newest entry": Crime(the_tail_cut, ("J306",)),
    "a named row changed": Crime(a_named_row_changed, ("J307", "J301")),
    "a named row removed": Crime(a_named_row_removed, ("J307",)),
    "a line's type": Crime(edit("line_type", 1, "custom"), ("J308",), (1,)),
    "a line's id": Crime(edit("line_id", 1, None), ("J308",), (1,)),
    "a control entry's type": Crime(
        lambda s: s.thief.edit("line_type", next(r.seq for r in rows(s.thief) if r.line_type == "claim"), "release"),
        ("J308",),
    ),
    "a whole session": Crime(a_whole_session, ("J309",), session=OTHER),
}  # fmt: skip


# --- the tables beside the chain


def put_right(scene: Scene) -> None:
    scene.thief.execute(
        "UPDATE sessions SET head_seq = head_seq + 5 WHERE id = ?", scene.thief.session_id()
    )
    written(scene)


def replayed(scene: Scene) -> None:
    """Put back the row of a parked write as it was before it was applied."""
    names = [column for (_, column, *_) in scene.thief.execute("PRAGMA table_info(parked)")]
    parked_id = scene.thief.ask("SELECT id FROM parked WHERE settled IS NULL")
    old = scene.thief.execute("SELECT * FROM parked WHERE id = ?", parked_id).fetchone()
    next(p for p in scene.journal.session(KEY).parked() if p.id == parked_id).apply(
        writer="operator"
    )
    scene.thief.execute("DELETE FROM parked WHERE id = ?", parked_id)
    scene.thief.execute(f"INSERT INTO parked VALUES ({', '.join('?' * len(names))})", *old)


INSERT_VERDICT = (
    "INSERT INTO verdicts VALUES ('v', 2, NULL, 2, 1, 'accepted', 'cotenant', '{}', 0, x'00')"
)
INSERT_INPUT = "INSERT INTO pending_inputs VALUES (1, 2, 2, 1, NULL, NULL, 0, NULL, NULL, x'0a', x'00', x'7b7d')"
INSERT_MIRROR = "INSERT INTO mirrors VALUES (1, 2, 'host', '/etc/passwd', 'keep', 'live', NULL, 2, 0, 0, NULL, 0, NULL, x'00')"

BESIDE = {
    "a head moved on": Crime(
        sql("UPDATE sessions SET head_seq = head_seq + 1 WHERE id = 2"), ("J401",)
    ),
    "a head moved back": Crime(sql("UPDATE sessions SET head_epoch = 1 WHERE id = 2"), ("J401",)),
    "a session's key": Crime(sql("UPDATE sessions SET key = 'elsewhere' WHERE id = 2"), ("J401",)),
    "a session's time": Crime(sql("UPDATE sessions SET created_us = 1 WHERE id = 2"), ("J401",)),
    "a session's layout": Crime(sql("UPDATE sessions SET layout_no = 1 WHERE id = 2"), ("J401",)),
    "a session's row gone": Crime(sql("DELETE FROM sessions WHERE id = 2"), ("J401",)),
    "a row of sessions too many": Crime(
        sql("INSERT INTO sessions VALUES (99, 'x', 0, 0, 0, 0, x'', 0, 0)"), ("J402",), session=None
    ),
    "a head put right": Crime(put_right, ("J403",)),
    "examined, forged": Crime(
        sql("UPDATE sessions SET examined_seq = 999 WHERE id = 2"), ("J404",)
    ),
    "examined, taken away": Crime(
        sql("UPDATE sessions SET examined_seq = 0, examined_mac = x'' WHERE id = 2"), ("J404",)
    ),
    "a role": Crime(
        sql("UPDATE writers SET role = 'external' WHERE name = 'cron'"), ("J405",), session=None
    ),
    "a revocation taken back": Crime(
        sql("UPDATE writers SET revoked_us = NULL, reason = NULL"), ("J405",), session=None
    ),
    "a writer gone": Crime(sql("DELETE FROM writers WHERE name = 'cron'"), ("J405",), session=None),
    "a writer too many": Crime(
        sql("INSERT INTO writers VALUES (99, 'x', 'run', 0, NULL, NULL)"), ("J405",), session=None
    ),
    "a fact of the journal": Crime(
        sql("UPDATE meta SET value = '2' WHERE name = 'format'"), ("J406",), session=None
    ),
    "a fact too many": Crime(sql("INSERT INTO meta VALUES ('x', 'y')"), ("J406",), session=None),
    "a claim's holder": Crime(
        sql("UPDATE claims SET writer_id = 1 WHERE outcome IS NULL"), ("J407",)
    ),
    "a claim's end": Crime(sql("UPDATE claims SET outcome = NULL, ended_us = NULL"), ("J407",)),
    "a claim gone": Crime(sql("DELETE FROM claims WHERE outcome IS NULL"), ("J407",)),
    "a claim too many": Crime(
        sql("INSERT INTO claims VALUES (2, 999, 2, 1, NULL, 0, NULL, NULL, NULL, NULL)"), ("J407",)
    ),
    "an instance": Crime(
        sql("INSERT INTO instances VALUES (99, 1, 'h', '', '', 1, 1, x'00', 'p', 0, x'00')"),
        ("J408",),
        session=None,
    ),
    "a fence": Crime(sql("UPDATE fences SET epoch = 1"), ("J409",)),
    "a verdict": Crime(sql(INSERT_VERDICT), ("J410",)),
    "a parked write": Crime(sql("UPDATE parked SET content = x'00'"), ("J411",)),
    "a parked write discarded": Crime(
        sql("UPDATE parked SET settled = 'discarded', settled_us = 1 WHERE settled IS NULL"),
        ("J411",),
    ),
    "a parked write put back": Crime(replayed, ("J412",)),
    "a layout": Crime(sql("INSERT INTO layouts VALUES (2, 0, 0, 5, 5, 0)"), ("J414",)),
    "a layout's extent": Crime(
        sql("UPDATE layouts SET last_seq = 1 WHERE position = 1"), ("J414",), session=LAID
    ),
    "a layout's row gone": Crime(
        sql("DELETE FROM layouts WHERE position = 0"), ("J414",), session=LAID
    ),
    "an input": Crime(sql(INSERT_INPUT), ("J416",)),
    "a mirror": Crime(sql(INSERT_MIRROR), ("J415",), session=None),
    "a redaction": Crime(sql("INSERT INTO redactions VALUES (1, 2, 2, 2, 2, 'x', 0)"), ("J417",)),
    "a claim on no session": Crime(
        sql("INSERT INTO claims VALUES (77, 9, 2, 1, NULL, 0, NULL, NULL, NULL, NULL)"),
        ("J413",),
        session=None,
    ),
}


# --- the database


@contextmanager
def rewritten(path: Path, table: str, old: str, new: str) -> Iterator[Any]:
    """Change a table's own text, and put it back; give a connection that believes it."""
    where = "UPDATE sqlite_schema SET sql = replace(sql, ?, ?) WHERE name = ?"
    for change in ((old, new, table), (new, old, table)):
        connection = raw(path, isolation_level=None)
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute(where, change)
        connection.close()
        if change[0] == old:
            fresh = raw(path, isolation_level=None)
            yield fresh
            fresh.close()


def a_forbidden_row(scene: Scene) -> None:
    """Take a rule out of the schema, break it, and put the rule back."""
    with rewritten(scene.path, "migrations", "source TEXT NOT NULL", "source TEXT ") as believer:
        believer.execute("INSERT INTO migrations VALUES (99, NULL, 'done', 0, 0, 0, 0, 0)")


def on_a_trigger(text: str) -> Callable[[Scene], Any]:
    return sql(f"CREATE TRIGGER foreign_one {text} BEGIN SELECT 1; END")


def may_be_written(scene: Scene) -> None:
    scene.path.chmod(0o666)


def has_two_names(scene: Scene) -> None:
    os.link(scene.path, scene.path.with_name("second.db"))


DATABASE = {
    "a trigger gone": Crime(sql("DROP TRIGGER entries_delete"), ("J503",), session=None),
    "a trigger too many": Crime(on_a_trigger("AFTER INSERT ON entries"), ("J503",), session=None),
    "a trigger in capitals": Crime(on_a_trigger("AFTER INSERT ON ENTRIES"), ("J503",), session=None),
    "an index gone": Crime(sql("DROP INDEX ix_fences_session_id"), ("J503",), session=None),
    "a column too many": Crime(sql("ALTER TABLE redactions ADD COLUMN x INTEGER"), ("J503",), session=None),
    "a view over our table": Crime(
        sql("CREATE VIEW v AS SELECT * FROM entries"), ("J503",), session=None
    ),
    "an older version": Crime(sql("PRAGMA user_version=0"), ("J504",), session=None),
    "another revision": Crime(sql("UPDATE alembic_version SET version_num = '0000'"), ("J504",), session=None),
    "a row that the rules forbid": Crime(a_forbidden_row, ("J505",), session=None),
    "a file that all may write": Crime(may_be_written, ("J506",), session=None),
    "a file of two names": Crime(has_two_names, ("J507",), session=None),
}  # fmt: skip

CRIMES = IDENTITY | ORDER | CHANGED | BESIDE | DATABASE
