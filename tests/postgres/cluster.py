"""Three servers, one of them the primary: each commit waits for one of the other two.

Any of the three may be killed. Whoever of the others has received the most is promoted,
and with it everything that was acknowledged, for one of them had each commit. The dead one
comes back as a standby.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tests.postgres.server import PASSWORD, QUOTED, Server

NAMES: Final = ("a", "b", "c")
PATIENCE_S: Final = 60.0
_CONFIGURATION: Final = """
synchronous_standby_names = 'ANY 1 (a, b, c)'
wal_log_hints = on
wal_keep_size = 512MB
wal_receiver_timeout = 5s
wal_retrieve_retry_interval = 100ms
max_connections = 100
dynamic_shared_memory_type = mmap  # a server that is killed leaves nothing outside its directory
"""


class Node(Server):
    """One of the servers: it can be killed whole, asked what it has, and follow another."""

    def crash(self) -> None:
        """Kill -9 the server and each of its processes; return once none is left."""
        first = int((self._data / "postmaster.pid").read_text().split()[0])
        os.kill(first, signal.SIGSTOP)  # or it would start more meanwhile
        all_of_it = [first, *_children(first)]
        for number in all_of_it:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        awaited(lambda: not any(_is_alive(number) for number in all_of_it))
        # As a new boot would find it: where nobody has asked for its end, its number lives on.
        (self._data / "postmaster.pid").unlink()

    def received(self) -> int:
        """Return how much of the primary's log is on this standby's disk, in bytes."""
        return int(self._ask("SELECT pg_last_wal_receive_lsn() - '0/0'::pg_lsn") or 0)

    def follow(self, other: Server) -> None:
        """Follow another primary from now on, running as it is."""
        with self.connect() as connection:
            way = f"{self.way_to(other)} password={PASSWORD}"
            connection.execute(f"ALTER SYSTEM SET primary_conninfo = '{way}'")
            connection.execute("SELECT pg_reload_conf()")

    def rewind(self, other: Server) -> None:
        """Come back as a standby of another: what only this server had is taken back."""
        self._run("pg_rewind", "-R", "-D", str(self._data), "--source-server", self.way_to(other))
        self.configure("")  # the other's port came along
        self.start()

    def copy(self, other: Server) -> None:
        """Come back as a standby of another, made anew."""
        shutil.rmtree(self._data)
        self._follow(other)

    def standbys(self) -> int:
        """Return how many standbys are connected and have caught up."""
        asked = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        return int(self._ask(asked))

    def written(self) -> int:
        """Return how much this primary has in its log, in bytes."""
        return int(self._ask("SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn"))

    def replayed(self) -> int:
        """Return how much of the primary's log can be read on this standby, in bytes."""
        return int(self._ask("SELECT pg_last_wal_replay_lsn() - '0/0'::pg_lsn") or 0)

    def _ask(self, statement: str) -> Any:
        with self.connect() as connection:
            return connection.execute(statement).fetchone()[0]


class Cluster:
    """Three nodes; ``primary`` is the one that is written to."""

    def __init__(self) -> None:
        self.primary = Node(name=NAMES[0])
        self.nodes = [self.primary]
        try:
            self.primary.configure(_CONFIGURATION)
            self.nodes += [Node(standby_of=self.primary, name=name) for name in NAMES[1:]]
            self.primary.stop()
            self.primary.start()
            awaited(lambda: self.primary.standbys() == 2)
        except BaseException:
            self.remove()
            raise

    @property
    def standbys(self) -> list[Node]:
        return [node for node in self.nodes if node is not self.primary]

    def url(self, schema: str = "journal") -> str:
        """Return one URL for all three: whichever may be written to."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return (
            f"postgresql+psycopg://journal:{QUOTED}@{hosts}/postgres"
            f"?schema={schema}&target_session_attrs=read-write&connect_timeout=5"
        )

    def fail_over(self, *, anew: bool) -> None:
        """Kill the primary, promote the standby that has the most, and bring the dead one back."""
        dead = self.primary
        dead.crash()
        other, best = sorted(self.standbys, key=lambda node: node.received())
        best.promote()
        self.primary = best
        other.follow(best)
        (dead.copy if anew else dead.rewind)(best)
        awaited(lambda: best.standbys() == 2)

    def caught_up(self) -> None:
        """Wait until both standbys show what the primary has."""
        end = self.primary.written()
        for node in self.standbys:
            awaited(lambda node=node: node.replayed() >= end)

    def remove(self) -> None:
        for node in self.nodes:
            node.remove()


def awaited(is_so: Any) -> None:
    """Wait until something is so."""
    until = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < until, "it does not come to that"
        time.sleep(0.02)


def _children(of: int) -> list[int]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            words = status.read_text("ascii", "replace").rpartition(")")[2].split()
            if int(words[1]) == of:
                found.append(int(status.parent.name))
    return found


def _is_alive(number: int) -> bool:
    try:
        words = (
            Path(f"/proc/{number}/stat").read_text("ascii", "replace").rpartition(")")[2].split()
        )
    except OSError:
        return False
    return words[0] != "Z"
