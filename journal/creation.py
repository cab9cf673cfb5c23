"""Makes a journal where there is none: schema, key and first facts in one transaction."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from journal import keys, schema
from journal.dialects.address import is_url, parsed
from journal.instance import store_instance
from journal.ledger import now_us
from journal.model import REGISTRY_ID
from journal.registry import genesis
from journal.seal import Mac, derive_key

if TYPE_CHECKING:
    import os

    from sqlalchemy import Connection

    from journal.engine import Cursor


def create(path: str, key_file: str | os.PathLike[str] | None = None) -> bool:
    """Create a journal where there is none; return whether this call did it."""

    def first_facts(cursor: Cursor) -> None:
        journal_id = secrets.token_hex(16)
        secret = keys.find_or_make_secret(keys.key_path(journal_id, key_file))
        key = derive_key(secret, journal_id)
        at_us = now_us()
        instance_id = store_instance(cursor, Mac(key), REGISTRY_ID, at_us)
        genesis(cursor, key, journal_id, instance_id, at_us)

    if is_url(path):
        return schema.create_on_server(parsed(path), first_facts)

    def on_connection(connection: Connection) -> None:
        cursor: Any = connection.connection.cursor()
        first_facts(cursor)

    return schema.create(path, on_connection)
