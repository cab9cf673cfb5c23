"""Doctor, for a journal on a server: what the server says of itself and of the journal.

Each question is a short one, asked in a session that can only read: safe beside
writers at work, and on a standby.
"""

from __future__ import annotations

import re
from functools import partial
from shlex import quote
from typing import TYPE_CHECKING, Final

from journal.custody import custody_by
from journal.dialects import catalog, health, postgres, standbys
from journal.dialects.address import parsed
from journal.doctor import OK, PROBLEM, WARNING, Fact, key_fact, mirrors_fact, told
from journal.errors import NotFoundError
from journal.explanation import counted
from journal.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable

    from journal.dialects.address import Address
    from journal.dialects.health import Client, Health

_AHEAD_S: Final = 2.0
_LONG_S: Final = 300
_CROWDED: Final = 0.8
_SHOWN: Final = 5
_MIB: Final = 1024 * 1024
# Of no meaning to a shell between double quotes, and more than single ones would bear.
_NO_SHELL: Final = re.compile(r"""[^"$`\\!]*'[^"$`\\!]*""")
_RELOAD: Final = "SELECT pg_reload_conf()"
_WRITES: Final = (
    ("entries", "INSERT"),
    ("instances", "INSERT"),
    ("sessions", "UPDATE"),
    ("claims", "UPDATE"),
    ("parked", "UPDATE"),
    ("pending_inputs", "UPDATE"),
    ("layouts", "DELETE"),
)


def examine_server(url: str) -> list[Fact]:
    """Return the facts of a server and of the journal on it; no error of the journal is raised."""
    address = parsed(url)
    reached = told("server", lambda: _with(address, _server))
    if reached.state == PROBLEM and "version" not in reached.details:
        return [reached]
    asks: dict[str, Callable[[Health], Fact]] = {
        "settings": _settings,
        "standbys": _standbys,
        "clock": _clock,
        "connections": _connections,
        "connected": _connected,
        "schema": _schema,
    }
    found = [reached, *(_of(address, name, ask) for name, ask in asks.items())]
    if found[-1].state == PROBLEM:
        return found
    rest = {"size": _size, "grants": _grants, "key": _key}
    found += [_of(address, name, ask) for name, ask in rest.items()]
    if found[-1].state != PROBLEM:
        found.append(told("mirrors", lambda: mirrors_fact(url)))
    return found


def _of(address: Address, name: str, ask: Callable[[Health], Fact]) -> Fact:
    # A connection for each: where one question fails, the others are still answered.
    return told(name, partial(_with, address, ask))


def _with(address: Address, ask: Callable[[Health], Fact]) -> Fact:
    with health.asked(address) as asked:
        return ask(asked)


def _psql(*statements: str) -> str:
    """Return the command that has a server run statements, for a shell: names in them are anybody's."""
    plain = [f'"{each}"' if _NO_SHELL.fullmatch(each) else quote(each) for each in statements]
    return " ".join(["psql", *(f"-c {each}" for each in plain)])


def _server(asked: Health) -> Fact:
    version, number, is_standby, user, encoding = asked.server()
    words = f"PostgreSQL {version} at {asked.address.shown}, as {user}"
    details = {"version": version, "user": user, "encoding": encoding, "is_standby": is_standby}
    if number < postgres.OLDEST:
        return Fact("server", PROBLEM, f"{words}: too old", "upgrade it to 13 or later", details)
    if encoding != "UTF8":
        step = "createdb --encoding=UTF8 --template=template0 NAME"
        return Fact("server", PROBLEM, f"{words}: the database is in {encoding}", step, details)
    if is_standby:
        step = "name the primary in the URL, where something is to be written"
        return Fact(
            "server", WARNING, f"{words}: a standby, it can be read and audited", step, details
        )
    return Fact("server", OK, words, None, details)


def _settings(asked: Health) -> Fact:
    found = asked.settings()
    words = ", ".join(f"{name} {found.get(name, '?')}" for name in _DURABLE)
    for name, (state, why, step) in _DURABLE.items():
        if found.get(name) == "off":
            return Fact("settings", state, f"{words}: {why}", step, found)
    return Fact("settings", OK, words, None, found)


_DURABLE: Final = {
    "fsync": (
        PROBLEM,
        "what was acknowledged is lost with the power; no journal is kept there",
        _psql("ALTER SYSTEM SET fsync = on", _RELOAD),
    ),
    "synchronous_commit": (
        PROBLEM,
        "what was acknowledged is lost with the power; only durability='normal' opens it",
        _psql("ALTER SYSTEM SET synchronous_commit = on", _RELOAD),
    ),
    "full_page_writes": (
        WARNING,
        "a page that was half written at a power cut stays damaged",
        _psql("ALTER SYSTEM SET full_page_writes = on", _RELOAD),
    ),
    "data_checksums": (
        WARNING,
        "the server does not notice what a disk damages; the seals do, at the next audit",
        "pg_checksums --enable, with the server stopped",
    ),
}


def _standbys(asked: Health) -> Fact:
    settings, claimed = asked.settings(), asked.address.standbys
    wanted = settings.get("synchronous_standby_names", "")
    found = asked.standbys()
    waited = [name for name, state in found if state in ("sync", "quorum")]
    details = {"names": wanted, "standbys": [list(each) for each in found]}
    lacks = standbys.shortfall(wanted, settings.get("synchronous_commit", "?"), claimed)
    if lacks is not None:
        words = f"the URL says standbys={claimed}, and {lacks[0]}: no journal is opened so"
        return Fact("standbys", PROBLEM, words, _psql(*lacks[1].split("; ")), details)
    if any(state == "?" for _, state in found):
        words = f"{counted(len(found), 'standby', 'standbys')}; this user may not see which is waited for"
        return Fact("standbys", OK, words, None, details)
    if wanted and not waited:
        words = f"{wanted!r} is to be waited for, and none is connected: every write waits"
        return Fact("standbys", WARNING, words, "start the standby, or take its name away", details)
    if found and not waited:
        words = f"{counted(len(found), 'standby', 'standbys')}, none waited for: a failover can lose the newest entries"
        waits = _psql("ALTER SYSTEM SET synchronous_standby_names = '*'", _RELOAD)
        step = f"{waits}; and journal anchor"
        return Fact("standbys", WARNING, words, step, details)
    words = f"{', '.join(waited)} waited for" if waited else "none connected"
    return Fact("standbys", OK, words, None, details)


def _clock(asked: Health) -> Fact:
    ahead = asked.ahead_s()
    details = {"ahead_us": int(ahead * 1e6)}
    words = f"the server's is {abs(ahead) * 1000:.0f} ms {'ahead of' if ahead > 0 else 'behind'} this machine's"
    if abs(ahead) > _AHEAD_S:
        step = "set both clocks, and keep them set: timedatectl set-ntp true"
        return Fact("clock", WARNING, f"{words}; order does not depend on it", step, details)
    return Fact("clock", OK, words, None, details)


def _connections(asked: Health) -> Fact:
    used, most = asked.connections(), int(asked.settings()["max_connections"])
    details = {"used": used, "max_connections": most}
    words = f"{used} of {most} in use"
    if used > most * _CROWDED:
        step = "psql -c 'ALTER SYSTEM SET max_connections = …', and start the server anew"
        return Fact("connections", WARNING, words, step, details)
    return Fact("connections", OK, words, None, details)


def _connected(asked: Health) -> Fact:
    found = asked.clients()
    known = [each for each in found if each.state != "?"]
    hidden = len(found) - len(known)
    said = [f"{each.user} from {each.host}" for each in known]
    words = f"{counted(len(known), 'connection')} of a journal's"
    if known:
        words += f": {', '.join(sorted(set(said))[:_SHOWN])}"
    if hidden:
        words += f"; {counted(hidden, 'connection')} of other users not ours to see"
    details = {"clients": [each._asdict() for each in known], "hidden": hidden}
    longest = max(known, key=_lasts, default=None)
    if longest is not None and longest.transaction_s > _LONG_S:
        words += f"; process {longest.pid} has had a transaction open for {longest.transaction_s // 60} min"
        step = f"psql -c 'SELECT pg_terminate_backend({longest.pid})', if it is no copy or audit"
        return Fact("connected", WARNING, words, step, details)
    return Fact("connected", OK, words, None, details)


def _lasts(client: Client) -> int:
    return client.transaction_s


def _schema(asked: Health) -> Fact:
    version = catalog.version_in(asked.cursor, asked.address)
    if version is None:
        raise NotFoundError(f"no journal at {asked.address.shown} yet", hint="journal init")
    catalog.check(asked.cursor, asked.address, SCHEMA_VERSION)
    words = f"{version} of {SCHEMA_VERSION}, as it should be"
    return Fact("schema", OK, words, None, {"version": version, "newest": SCHEMA_VERSION})


def _size(asked: Health) -> Fact:
    found = asked.sizes()
    words = f"{found.bytes / _MIB:.1f} MiB, about {counted(found.entries, 'entry', 'entries')}"
    details = found._asdict()
    if found.old_entries and asked.redactions():
        words += f"; {counted(found.old_entries, 'old version')} of entries, in which a redacted line may still be read"
        step = _psql(f"VACUUM {asked.named(asked.address.schema)}.entries")
        return Fact("size", WARNING, words, step, details)
    return Fact("size", OK, words, None, details)


def _grants(asked: Health) -> Fact:
    others = asked.who_may_change()
    user = asked.server()[3]
    lacks = [f"{what} on {table}" for table, what in _WRITES if not asked.may(table, what)]
    role = "the owner" if asked.owns() else "a writer" if not lacks else "no writer"
    words = f"{user} is {role}"
    details = {"user": user, "role": role, "lacks": lacks, "others": [list(e) for e in others]}
    if not asked.may("entries", "SELECT"):
        schema, who = asked.named(asked.address.schema), asked.named(user)
        step = _psql(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {who}")
        return Fact("grants", PROBLEM, f"{words}, and may not read", step, details)
    odd = [(who, what) for who, what in others if what != "UPDATE"]
    if odd:
        who, what = odd[0]
        table = f"{asked.named(asked.address.schema)}.entries"
        step = _psql(f"REVOKE {what} ON {table} FROM {who}")  # named by the server
        return Fact("grants", WARNING, f"{words}; {who} may {what} entries", step, details)
    if lacks and role == "no writer":
        words += f": it may read and audit, and has no {', '.join(lacks[:2])}"
    return Fact("grants", OK, words, None, details)


def _key(asked: Health) -> Fact:
    return key_fact(custody_by(asked.cursor, asked.address.shown), None)
