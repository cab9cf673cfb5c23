"""``journal show``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from journal.cli import entries, output
from journal.cli.failing import EXIT_FOUND
from journal.cli.frame import command as make_command
from journal.cli.opening import key_to_look_at, opened
from journal.cli.options import Settings, json_option, session_argument
from journal.commands import command_on
from journal.errors import NotFoundError
from journal.model import REGISTRY_KEY

if TYPE_CHECKING:
    from journal import Entry, Journal


@make_command("show", "journal show agent:main:main 1", "journal show agent:main:main 1 --raw")
@session_argument
@click.argument("seq", type=int)
@click.option(
    "--raw", is_flag=True, help="Write the line's exact bytes to stdout, and nothing else."
)
@json_option
@click.pass_obj
def command(settings: Settings, session: str, seq: int, *, raw: bool) -> int:
    """Show one entry whole.

    What the journal knows of it, then its line. A row that is not in the sealed chain is
    shown as what it is, and the exit code is 3 until somebody accepts or rejects it.
    """
    from journal.who import decided  # noqa: PLC0415 - with the rest of the library

    if raw and settings.json:
        raise click.UsageError(
            "--raw gives bytes, --json a document: choose one", click.get_current_context()
        )
    with opened(settings) as journal:
        entry = _find(journal, key_to_look_at(journal, session), seq)
        settled = decided(journal.store, entry.session, [seq]).get(seq)
    if raw:
        output.raw([entry.data])
    elif settings.json:
        told = entries.as_json(entry)
        output.document("show", session=entry.session, entry=told, settled=settled)
    else:
        _print(entry)
    if entry.trust in ("stray", "altered", "erased"):
        what = entry.trust if settled is None else f"{entry.trust}, and was {settled}"
        word = "Warning" if settled is None else "Note"
        output.say(
            f"{word}: seq {entry.seq} is {what}: nothing it says of itself is to be believed."
        )
        return EXIT_FOUND if settled is None else 0
    return 0


def _find(journal: Journal, key: str, seq: int) -> Entry:
    from journal import statements as sql  # noqa: PLC0415 - with the rest of the library
    from journal.inspection import entry_of  # noqa: PLC0415
    from journal.model import Row  # noqa: PLC0415

    store = journal.store
    found = None
    if -(2**63) <= seq < 2**63:
        with store.snapshot() as cursor:
            chain = store.find_chain(cursor, key)
            if chain is not None:
                chain.load_facts(cursor)  # whether it was accepted or rejected
                found = cursor.execute(sql.row_at(), (chain.session_id, seq)).fetchone()
    if found is None or chain is None:
        message = f"there is no entry {seq} in {key!r}"
        lists = "who" if key == REGISTRY_KEY else "log"
        raise NotFoundError(message, hint=command_on(key, lists), code="no-entry")
    return entry_of(Row._make(found), chain, store.registry.writers)


def _print(entry: Entry) -> None:
    told = entries.as_json(entry)
    told["time"] = output.when(told.pop("created_us"))
    body = (entry.body or b"").decode("utf-8", "backslashreplace")
    told["redacted"] = "yes" if told["redacted"] else None
    for name in ("body", "body_base64"):
        told.pop(name, None)
    pairs = [
        ("session", entry.session),
        *((name, value) for name, value in told.items() if value is not None),
    ]
    output.facts([*pairs, ("bytes", len(entry.data))])
    output.line()
    output.line(body)
