"""The pi coding agent's own SessionManager at a mirror: it reads what it wrote, and its appends are seen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from journal import Journal, SessionTakeover
from journal.adapters.jsonl import SessionFile
from journal.export import export

PACKAGE = "@mariozechner/pi-coding-agent"
VERSION = "0.73.1"
DRIVER = Path(__file__).with_name("pi.mjs")
FIXTURES = Path(__file__).parent.parent / "fixtures" / "pi"
SESSIONS = sorted(path for path in FIXTURES.glob("v3-*/**/*.jsonl"))
OLD = sorted(path for path in FIXTURES.glob("v[12]/**/*.jsonl"))
REPLY = {"type": "custom", "customType": "gateway", "id": "0badcafe", "parentId": None}


def installed():
    """Install the package once for all runs on this machine; return its directory, or skip."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("pi is a Node program, and there is no node with npm here")
    place = Path(tempfile.gettempdir()) / f"session-journal-interop-{os.getuid()}"
    found = place / f"pi-{VERSION}"
    if not found.exists():
        place.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place) as fresh:
            _install(fresh)
            try:
                Path(fresh).rename(found)  # at once: another run never sees half of it
            except OSError:
                assert found.exists()  # another run was quicker
            else:
                Path(fresh).mkdir()  # for its own end
    return found / "node_modules" / PACKAGE


def _install(place):
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0")
    try:
        done = subprocess.run(
            ["npm", "install", "--prefix", place, *quiet, f"{PACKAGE}@{VERSION}"],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not install pi within five minutes")
    if done.returncode:
        pytest.skip(f"npm cannot install pi here: {done.stderr.strip().splitlines()[-1:]}")


@pytest.fixture(scope="module")
def pi():
    """Give what opens a file with pi, lets it append a text, and tells what it sees."""
    package = installed()

    def pi(file, *text):
        done = subprocess.run(
            ["node", DRIVER, package, file, *text],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return pi


@pytest.fixture
def file(tmp_path):
    """Copy a session of pi's, as its program left it."""
    copy = tmp_path / "sessions" / SESSIONS[0].name
    copy.parent.mkdir()
    shutil.copy2(SESSIONS[0], copy)
    return copy


@pytest.mark.parametrize("original", SESSIONS, ids=lambda path: path.parts[-4])
def test_pi_reads_the_same_from_a_mirror(pi, tmp_path, original):
    """Header, entries, leaf and context, from a file adopted in place and from one made anew."""
    adopted, made = tmp_path / "adopted.jsonl", tmp_path / "made.jsonl"
    shutil.copy2(original, adopted)
    expected = pi(original)
    with SessionFile(adopted) as session:
        key = session.session.key
    assert adopted.read_bytes() == original.read_bytes()

    with Journal(tmp_path / "journal.db") as journal:
        journal.mirrors.remove(key)
        journal.mirrors.add(key, made)

    assert made.read_bytes() == original.read_bytes()
    assert pi(adopted) == pi(made) == expected
    assert len(expected["entries"]) > 2


def test_pi_reads_what_was_appended(pi, file):
    """A line of ours is an entry of its, and the leaf moves to it."""
    with SessionFile(file) as session:
        session.append(REPLY)

        seen = pi(file)

    assert seen["entries"][-1] == REPLY
    assert seen["leaf"] == REPLY["id"]


def test_what_pi_appends_is_a_takeover_until_it_is_permitted(pi, file):
    """Its entries are external, named by file, line and byte; permitted they are seen, never trusted."""
    lines = file.read_bytes().count(b"\n")
    size = file.stat().st_size
    with SessionFile(file, writer="gateway") as session:
        session.release_for_prompt()
        pi(file, "Written by pi itself.")

        with pytest.raises(SessionTakeover) as caught:
            session.reacquire()

        came = caught.value.entries
        assert [entry.json().get("customType") for entry in came] == [None, "interop"]
        assert came[0].json()["message"]["content"] == "Written by pi itself."
        assert {(entry.writer, entry.trust) for entry in came} == {
            ("external:mirror-1", "external")
        }
        assert caught.value.origins[0].startswith(f"{file}, line {lines + 1}, byte {size}, as ")

        key = session.session.key
        session.journal.mirrors.permit(key, permitted=True, reason="pi runs here")
        pi(file, "And again.")
        assert session.reacquire().accepted

        fence = session.fence()
        pi(file, "And once more.")
        fence.append(REPLY)
        assert [entry.trust for entry in fence.arrived] == ["permitted"] * 2
        assert file.read_bytes() == b"".join(export(session.journal, key))

    seen = pi(file)
    assert [entry["id"] for entry in seen["entries"][-1:]] == [REPLY["id"]]


@pytest.mark.parametrize("original", OLD, ids=lambda path: path.parts[-5])
def test_every_version_of_a_file_that_pi_rewrites_is_kept(pi, tmp_path, original):
    """It writes an old file anew in place: its version stands, ours stays in the journal."""
    file = tmp_path / original.name
    shutil.copy2(original, file)
    before = original.read_bytes().splitlines(keepends=True)
    with SessionFile(file, writer="gateway") as session:
        session.release_for_prompt()
        seen = pi(file)
        after = file.read_bytes()
        assert after != original.read_bytes()

        with pytest.raises(SessionTakeover):
            session.reacquire()

        assert file.read_bytes() == after == b"".join(export(session.journal, session.session.key))
        assert list(session) == [seen["header"], *seen["entries"]]
        with session.journal.store.snapshot() as cursor:
            kept = {bytes(body) for (body,) in cursor.execute("SELECT body FROM entries")}
        assert {line.rstrip(b"\r\n") for line in before} <= kept
