"""The address of a journal on a PostgreSQL server: a URL, taken apart once.

The password is in what the driver is given and in nothing that is ever shown.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from journal.errors import EntryError

SCHEMES: Final = ("postgresql+psycopg", "postgresql", "postgres")
SCHEMA: Final = "journal"
_COUNT: Final = re.compile(r"[0-9]{1,2}", re.ASCII)
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")
# libpq takes several, and tries one after the other.
_HOSTS: Final = re.compile(r"((\[[0-9a-fA-F:.]+\]|[^\[\]:,@]*)(:\d+)?(,|$))*")
_RESERVED: Final = re.compile(r"pg_.*|public|information_schema")


class Address(NamedTuple):
    """Where a journal is: what the driver takes, the schema that holds it, and how to call it.

    ``standbys`` is for how many of them the server must wait with each commit; else it is refused.
    """

    conninfo: str
    schema: str
    shown: str
    standbys: int = 0


def is_url(path_or_url: object) -> bool:
    """Whether this names a journal on a PostgreSQL server."""
    return str(path_or_url).partition("://")[0] in SCHEMES and "://" in str(path_or_url)


def unknown(url: str) -> EntryError:
    """Return the refusal of another database's URL, or another driver's; a password may be in the rest of it."""
    return EntryError(
        f"{url.partition('://')[0]} is not a database this version knows",
        hint="name a file, sqlite:///PATH, or postgresql+psycopg://USER@HOST/DATABASE",
        code="url",
    )


def parsed(url: str) -> Address:
    """Take a URL apart: ``postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE?schema=NAME``.

    ``standbys=N`` says that each commit waits for so many. Other words of the query are
    libpq's own (``sslmode=verify-full``).

    Raises:
        EntryError: it is no such URL, or the schema is one that a journal may not have.

    """
    parts = SplitResult("", "", "", "", "")
    try:
        parts = urlsplit(url)
        # What is behind the hosts holds no @: where it does, a password was not written as
        # a URL asks for, and what looks like the host is the beginning of it.
        behind = f"{parts.path}{parts.query}{parts.fragment}"
        is_fit = (
            "@" not in behind
            and not parts.fragment
            and _HOSTS.fullmatch(parts.netloc.rpartition("@")[2])
        )
        query = parts.query.replace("+", "%2B")  # a plus and no blank, as libpq has it
        words = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        is_fit, words = None, []
    if not is_fit:
        # Without the text of the error: it may repeat the password.
        raise EntryError(
            "this is no URL of a PostgreSQL database",
            hint="postgresql+psycopg://USER:PASSWORD@HOST/DATABASE; write / @ : in a password as %2F %40 %3A",
            code="url",
        )
    schema = next((value for name, value in words if name == "schema"), SCHEMA)
    if not _NAME.fullmatch(schema) or _RESERVED.fullmatch(schema):
        raise EntryError(
            f"{schema!r} is no schema that a journal may have for itself",
            hint="small letters, digits and _; not public: ?schema=journal",
            code="url",
        )
    standbys = next((value for name, value in words if name == "standbys"), "0")
    if not _COUNT.fullmatch(standbys):
        raise EntryError(
            f"{standbys!r} is no number of standbys",
            hint="for how many a commit has to wait: ?standbys=1",
            code="url",
        )
    others = [(name, value) for name, value in words if name not in ("schema", "standbys")]
    query = urlencode(others, quote_via=quote)
    conninfo = f"postgresql://{parts.netloc}{parts.path}" + (f"?{query}" if query else "")
    shown = _shown(parts.netloc, parts.path, schema, others)
    return Address(conninfo, schema, shown, int(standbys))


def _shown(netloc: str, path: str, schema: str, others: list[tuple[str, str]]) -> str:
    user, at, host = netloc.rpartition("@")
    user = user.partition(":")[0]
    kept = [(name, value) for name, value in others if name in ("host", "port", "dbname", "user")]
    if schema != SCHEMA:
        kept.append(("schema", schema))
    query = urlencode(kept, quote_via=quote)
    # The path as it came: what is shown is taken apart again, and may be pasted.
    return f"{SCHEMES[0]}://{user}{at}{host}{path}" + (f"?{query}" if query else "")
