"""``journal upgrade``."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import click

from journal.cli import output
from journal.cli.failing import EXIT_FOUND, with_db
from journal.cli.frame import command as make_command
from journal.cli.opening import obey_strict, place_of
from journal.cli.options import Settings, json_option
from journal.dialects.address import is_url, parsed
from journal.errors import SchemaError

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal.dialects.restoring import Difference
    from journal.schema import Object

    _Looked = tuple[int, list[tuple[str, Object]]]


@make_command("upgrade", "journal upgrade", "journal upgrade --apply")
@click.option("--apply", is_flag=True, help="Do it; without this it is only shown.")
@json_option
@click.pass_obj
def command(settings: Settings, *, apply: bool) -> int:
    """Compare the schema with this version's, and mend it.

    Shows what an upgrade would do and exits 3 if there is something to do. --apply brings
    an older schema to this version, drops triggers and indexes that are not the journal's,
    and puts missing ones back. Tables are never dropped and rows never changed. On a server
    it takes somebody who may make a schema there, for a moment, and knows no older schema.
    """
    from journal import schema  # noqa: PLC0415 - with the rest of the library

    place = place_of(settings)
    path, look, mend = _hands(place)
    version, changes = look()
    if apply and (version < schema.SCHEMA_VERSION or changes):
        obey_strict(settings)
        mend()
        after, left = look()
        if left:
            raise _still(path, changes, left)
        _tell(settings, path, after, changes, applied=True)
        return 0
    _tell(settings, path, version, changes, applied=False)
    return EXIT_FOUND if changes or version < schema.SCHEMA_VERSION else 0


def _hands(place: str) -> tuple[str, Callable[[], _Looked], Callable[[], object]]:
    """Return how the journal is called, what looks at its schema, and what mends it."""
    from journal import schema  # noqa: PLC0415

    if is_url(place):
        from journal.dialects import restoring  # noqa: PLC0415

        address, migrate = parsed(place), schema.run_migrations
        return (
            address.shown,
            lambda: _as_objects(*restoring.look(address, migrate)),
            lambda: restoring.restore(address, migrate),
        )

    def mend() -> None:
        schema.upgrade(place)
        schema.restore(place)

    return place, lambda: _look(place), mend


def _as_objects(version: int, found: list[Difference]) -> _Looked:
    from journal.schema import Object  # noqa: PLC0415

    return version, [(each.what, Object(each.type, each.name, each.table, "")) for each in found]


def _look(path: str) -> tuple[int, list[tuple[str, Object]]]:
    """Return the schema's version and how it differs, through a read-only connection."""
    from journal import schema  # noqa: PLC0415
    from journal.engine import connect, driver, translated  # noqa: PLC0415

    try:
        with closing(connect(path, mode="ro")) as connection:
            version = int(connection.execute("PRAGMA user_version").fetchone()[0])
            found = schema.objects(connection.execute)
    except driver().Error as error:
        raise translated(error, path) from error
    # An older schema differs in every way the upgrade will change it.
    return version, schema.difference(found) if version == schema.SCHEMA_VERSION else []


def _tell(
    settings: Settings, path: str, version: int, changes: list[tuple[str, Object]], *, applied: bool
) -> None:
    from journal.schema import SCHEMA_VERSION  # noqa: PLC0415

    if settings.json:
        told = [
            {"what": what, "type": item.type, "name": item.name, "table": item.table}
            for what, item in changes
        ]
        versions = {"schema_version": version, "newest_schema_version": SCHEMA_VERSION}
        output.document("upgrade", path=path, **versions, differences=told, applied=applied)
        return
    output.facts([("journal", path), ("schema", f"{version} of {SCHEMA_VERSION}")])
    for what, item in changes:
        output.line(what, item.type, item.name, f"on {item.table}")
    if applied:
        output.say("Done.")
    elif changes or version < SCHEMA_VERSION:
        output.say(with_db("Nothing was changed. Try: journal upgrade --apply", settings))
    else:
        output.say("The schema is this version's own; there is nothing to do.")


def _still(
    path: str, changes: list[tuple[str, Object]], left: list[tuple[str, Object]]
) -> SchemaError:
    """Say what was mended, and return the error of what could not be."""
    for what, item in changes:
        if (what, item) not in left:
            output.say(f"Mended: {what}: the {item.type} {item.name} on {item.table}")
    what, item = left[0]
    return SchemaError(
        f"{path}: still {what}: the {item.type} {item.name}; a table may hold what nobody else has",
        hint="restore a backup",
        code="schema-changed",
    )
