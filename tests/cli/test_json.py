"""The documents of ``--json``: their names and their outer shape are a promise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import journal

DEMO_STORE = Path(journal.__file__).parent / "demo_store"
ENTRY = (
    "seq epoch created_us writer role trust kind type origin claim request_id run_id on_behalf_of recorder "
    "instance row redacted end body"
)
STATUS = (
    "path id schema_version newest_schema_version sqlite driver sqlite_is_safe file_bytes key key_ok sessions "
    "entries bytes parked takeovers mirrors unresolved unsafe"
)
WRITER = "id name role declared_us revoked_us reason permitted revoked_by revoked_instance revoked_process"


def fields(text):
    return set(text.split())


@pytest.mark.parametrize(
    "args, schema, keys",
    [
        ("init", "init", "created path id key"),
        (
            "status",
            "status",
            STATUS,
        ),
        ("sessions", "sessions", "sessions"),
        ("log S", "log", "session entries stepped_over"),
        ("show S 1", "show", "session entry settled"),
        ("append S -w gateway {}", "append", "session writer entries"),
        ("fence raise S -w gateway", "fence.raise", "fence session seq epoch unresolved"),
        (
            "fence check F",
            "fence.check",
            "fence session outcome accepted policy verdict fence_at head arrived foreign summary",
        ),
        ("writers", "writers", "writers"),
        ("writers list", "writers", "writers"),
        ("writers add cron --role cron", "writers.add", "writer"),
        ("writers revoke gateway --reason x", "writers.revoke", "writer"),
        ("export S -o out", "export", "session file bytes lines sha256 verified stepped_over"),
        (
            "migrate STORE",
            "migrate",
            "applied sources format counts classes files left set_aside absent disk",
        ),
        ("migrate STORE --apply", "migrate", "applied run counts files set_aside"),
        (
            "audit",
            "audit",
            "verdict journal scope heads completeness findings not_checked sqlite",
        ),
        ("doctor", "doctor", "path state facts"),
        ("upgrade", "upgrade", "path schema_version newest_schema_version differences applied"),
        (
            "upgrade --apply",
            "upgrade",
            "path schema_version newest_schema_version differences applied",
        ),
        ("demo", "demo", "session holds facts attribution steps kept"),
        ("log nowhere", "error", "code message hint exit_code"),
        ("log S -n 0", "error", "code message hint exit_code"),
    ],
)
def test_each_command_has_one_document(run, session, args, schema, keys):
    """One document, its schema first, its fields as promised."""
    fence = run("fence", "raise", session, "-w", "gateway").stdout.strip()
    names = {"S": session, "F": fence, "STORE": str(DEMO_STORE)}

    done = run(*(names.get(word, word) for word in args.split()), "--json")

    told = json.loads(done.stdout)
    assert next(iter(told)) == "schema"
    assert told["schema"] == f"journal.{schema}/1"
    assert fields(keys) | {"schema"} == set(told)


def test_a_refusal_says_what_to_ask_about(run, session):
    """A program reads the ids of the write that was kept, and of why, where a person reads them."""
    run("claim", "take", session, "-w", "gateway")

    told = json.loads(run("append", session, "{}", "-w", "other", "--role", "run", "--json").stdout)

    assert run("parked", "show", told["parked"]).exit_code == 0
    assert run("why", told["why"]).exit_code == 0


def test_the_parts_have_their_fields_too(run, session):
    """What a program will reach for in a list."""
    (one,) = json.loads(run("sessions", "--json").stdout)["sessions"]
    entry = json.loads(run("log", session, "--json").stdout)["entries"][0]
    writer = json.loads(run("writers", "--json").stdout)["writers"][0]

    assert set(one) == fields("key entries epochs bytes created_us aliases")
    assert set(entry) == fields(ENTRY)
    assert set(writer) == fields(WRITER)
    assert set(json.loads(run("show", session, "1", "--json").stdout)["entry"]) == fields(ENTRY)


@pytest.mark.parametrize(
    "args",
    [
        ("audit", "--nosuch", "--json"),
        ("log", "--json", "s", "--since", "now"),
        ("who", "s", "--json", "--policy"),
        ("sessions", "--json", "too", "many"),
    ],
    ids=" ".join,
)
def test_what_is_asked_for_wrongly_is_told_in_a_document_too(run, args):
    """An option that is none, or lacks its value, ends the reading of all the others."""
    done = run(*args)
    assert done.exit_code == 2
    assert (json.loads(done.stdout)["schema"], json.loads(done.stdout)["code"]) == (
        "journal.error/1",
        "usage",
    )


def test_a_line_that_is_called_so_asks_for_no_document(run, session):
    done = run("append", session, "-w", "gateway", "--nosuch", "--", "--json")
    assert (done.exit_code, done.stdout) == (2, "")
