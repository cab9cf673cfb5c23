"""Evidence bundles: a stranger with Python alone can check them, and whatever is changed in one shows."""

from __future__ import annotations

import base64
import gc
import json
import os
import subprocess
import sys
import tracemalloc
import zipfile
from datetime import UTC, datetime
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from journal import Journal, StorageError
from journal.adopting import adopt_key
from journal.anchor import take
from journal.audit import AnchorFile
from journal.bundle import write_bundle
from journal.bundled import verify
from journal.note import signature_line
from journal.signing import Signer
from tests.thieves import COLUMNS, KEY, thief_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OTHER = "agent:main:other é"


@pytest.fixture
def bundle(journal_path: Path, tmp_path: Path) -> Path:
    """A bundle of two sessions, a stray and an anchor, unpacked."""
    with Journal(journal_path) as journal:
        gateway = journal.session(KEY, writer="gateway", role="run", run_id="r1", on_behalf_of="ä")
        gateway.extend([{"n": 1}, b"no json \xff\r\n", {"n": 3}], request_id="q")
        with gateway.claim() as turn:
            turn.append({"n": 4})
        journal.session(OTHER, writer="cron", role="cron").append({"text": "\u2028"})
        anchor = AnchorFile("heads.anchor", take(journal).text.encode())
    thief = thief_at(journal_path)
    thief.insert_copy(body=b"stolen")
    thief.close()
    target = tmp_path / "evidence.zip"
    written = write_bundle(journal_path, target, anchors=[anchor])
    assert (written.sessions, written.strays) == (3, 1)
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(target).extractall(unpacked)
    return unpacked


def checked(bundle: Path, *arguments: object) -> tuple[int, str]:
    """Run it as a stranger would: isolated, so that no package of this environment is at hand."""
    command = [sys.executable, "-I", "-S", "verify.py", *map(str, arguments)]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout


def test_a_true_bundle_holds_with_the_key_and_without(bundle: Path, key_file: Path) -> None:
    code, told = checked(bundle)
    assert (code, "all that was checked holds" in told) == (0, True)
    assert "NOT CHECKED" in told
    assert "\nchecked: sessions 3, entries 13\n" in told, told
    code, told = checked(bundle, "--key", key_file)
    assert (code, "seals: checked" in told) == (0, True)
    assert "rows outside the chains, in strays.jsonl: 1;" in told


def test_the_makers_locale_changes_no_word_in_it(
    journal_path: Path, tmp_path: Path, key_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name of no ASCII is under a seal as UTF-8, whatever the locale calls its bytes."""
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="gateway", role="run", on_behalf_of="ä").append({"n": 1})
    monkeypatch.setattr(
        os, "fsdecode", lambda data: data.decode("latin-1")
    )  # as such a locale does
    write_bundle(journal_path, tmp_path / "evidence.zip")
    zipfile.ZipFile(tmp_path / "evidence.zip").extractall(tmp_path / "unpacked")

    code, told = checked(tmp_path / "unpacked", "--key", key_file)

    assert (code, "all that was checked holds" in told) == (0, True), told


def test_the_script_is_short_enough_to_be_read() -> None:
    script = files("journal.bundled").joinpath("verify.py").read_text("utf-8")
    assert len(script.splitlines()) < 320
    assert "journal" not in [
        line.split()[1] for line in script.splitlines() if line[:7] == "import "
    ]


def rewrite(bundle: Path, change: Callable[[list[dict[str, Any]]], object]) -> None:
    """Change a session's rows, and the manifest with them, as a forger would."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    session = next(each for each in manifest["sessions"] if each["key"] == KEY)
    path = bundle / session["file"]
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    change(rows)
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    manifest["sha256"][session["file"]] = sha256(path.read_bytes()).hexdigest()
    last = rows[-1]
    session["head"] = {"seq": last["seq"], "seal": base64.b64decode(last["seal"]).hex()}
    (bundle / "manifest.json").write_text(json.dumps(manifest))


FORGERIES: dict[str, tuple[Callable[[list[dict[str, Any]]], object], str]] = {
    "a line": (lambda rows: rows[1].update(body="eA=="), "was committed to"),
    "a line end": (lambda rows: rows[1].update(terminator=""), "was committed to"),
    "an entry gone": (lambda rows: rows.pop(1), "does not link"),
    "the beginning gone": (lambda rows: rows.pop(0), "before seq 2 is not there"),
    "two swapped": (lambda rows: rows.insert(0, rows.pop(1)), "does not link"),
    "the end gone": (lambda rows: rows.pop(), "that an anchor names"),
}


@pytest.mark.parametrize("change, said", FORGERIES.values(), ids=FORGERIES.keys())
def test_a_forgery_shows_without_the_key(
    bundle: Path, change: Callable[[list[dict[str, Any]]], object], said: str
) -> None:
    rewrite(bundle, change)
    code, told = checked(bundle)
    assert code == 3
    assert said in told


def redacted(journal_path: Path, tmp_path: Path) -> Path:
    """Return a bundle of a session with a redacted line, unpacked."""
    with Journal(journal_path) as journal:
        gateway = journal.session(KEY, writer="gateway", role="run")
        gateway.extend([{"n": 1}, {"n": 2}, {"n": 3}])
        gateway.redact([2], reason="pasted")
    write_bundle(journal_path, tmp_path / "evidence.zip")
    zipfile.ZipFile(tmp_path / "evidence.zip").extractall(tmp_path / "unpacked")
    return tmp_path / "unpacked"


@pytest.mark.parametrize("has_key", [True, False])
def test_a_line_that_was_erased_is_on_record_as_erased(
    journal_path: Path, tmp_path: Path, key_file: Path, *, has_key: bool
) -> None:
    """As in an audit: its seal holds without its bytes, so the record of a redaction is asked for."""
    bundle, key = redacted(journal_path, tmp_path), ("--key", key_file) if has_key else ()
    code, told = checked(bundle, *key)
    assert (code, "entries 4, erased 1" in told) == (0, True), told

    rewrite(bundle, lambda rows: rows[2].update(body=None, salt=None))
    code, told = checked(bundle, *key)
    assert (code, "seq 3: it was erased, and no redaction says so" in told) == (3, True), told

    rewrite(bundle, lambda rows: rows[3].update(body=None, salt=None))
    code, told = checked(bundle, *key)
    assert (code, told.count("and no redaction says so")) == (3, 3), told


def test_what_an_honest_writer_found_gone_is_called_gone(
    journal_path: Path, tmp_path: Path, key_file: Path
) -> None:
    """The chain links across it, for he who found it went on from what was left; an audit says J306."""
    with Journal(journal_path) as journal:
        gateway = journal.session(KEY, writer="gateway", role="run")
        gateway.extend([{"n": 1}, {"n": 2}])
        thief = thief_at(journal_path)
        thief.delete(2)
        thief.close()
        gateway.append({"n": 3})
    written = write_bundle(journal_path, tmp_path / "evidence.zip")
    assert written.report.verdict == "broken"
    zipfile.ZipFile(tmp_path / "evidence.zip").extractall(tmp_path / "unpacked")

    code, told = checked(tmp_path / "unpacked", "--key", key_file)

    assert (code, "it says that entries were gone, seq [[2, 2]]" in told) == (3, True), told


def test_a_redacted_line_that_is_there_again_shows(
    journal_path: Path, tmp_path: Path, key_file: Path
) -> None:
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="gateway", role="run").extend([{"n": 1}, {"n": 2}])
    thief = thief_at(journal_path)
    body, salt = thief.column("body", 2), thief.column("salt", 2)
    thief.close()
    bundle = redacted(journal_path, tmp_path)
    told = {"body": base64.b64encode(body).decode(), "salt": base64.b64encode(salt).decode()}
    rewrite(bundle, lambda rows: rows[1].update(told))

    code, said = checked(bundle, "--key", key_file)

    assert (code, "seq 2: a redaction erased it, and it is not" in said) == (3, True), said


@pytest.mark.parametrize(
    "column, value",
    [
        ("writer_id", 1), ("epoch", 9), ("claim", 9), ("trusted", 0), ("created_us", 5),
        ("run_id", None), ("on_behalf_of", "x"), ("kind", "raw"), ("origin", "file"), ("cum_bytes", 1),
        ("request_id", "z"), ("instance_id", 77), ("recorder_id", 77), ("key_id", 2), ("session_id", 9),
    ],
)  # fmt: skip
def test_an_edited_column_shows_with_the_key(
    bundle: Path, key_file: Path, column: str, value: object
) -> None:
    rewrite(bundle, lambda rows: rows[0].update({column: value}))
    code, told = checked(bundle, "--key", key_file)
    assert code == 3
    assert "the seal does not hold" in told


def test_a_file_that_was_swapped_shows(bundle: Path) -> None:
    (bundle / "strays.jsonl").write_text("")
    code, told = checked(bundle)
    assert code == 3
    assert "strays.jsonl: it is not the file" in told


def test_an_anchor_that_nobody_signed_shows(bundle: Path) -> None:
    anchor = bundle / "anchors" / "1.anchor"
    lines = anchor.read_text().split("\n")
    lines[2] = str(int(lines[2]) + 1)  # the time it was taken
    anchor.write_text("\n".join(lines))
    code, told = checked(bundle)
    assert code == 3
    assert "has signed it" in told


def test_the_wrong_key_is_no_key(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_text(os.urandom(32).hex())
    assert checked(bundle, "--key", tmp_path / "other")[0] == 3


def amend(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    change(manifest)
    (bundle / "manifest.json").write_text(json.dumps(manifest))


def forge(rows: list[dict[str, Any]], key_id: int) -> None:
    """Have every line say something else, with all that takes no key to put right."""
    before = base64.b64decode(rows[0]["prev"])
    for row in rows:
        row.update(body="eyJwYXkiOjF9", salt="AAAA", terminator="Cg==", key_id=key_id)
        plain = {name: base64.b64decode(row[name]) for name in ("body", "salt", "terminator")}
        seal = os.urandom(32)
        found = {"commitment": verify.commitment(plain), "prev": before, "seal": seal}
        row.update({name: base64.b64encode(value).decode() for name, value in found.items()})
        before = seal[:16]


def call_lost(manifest: dict[str, Any], key_id: int) -> None:
    for session in manifest["sessions"]:
        session |= {"lost": [key_id], "lost_until": 10**9}
    manifest["anchors"] = []


def test_a_manifest_that_calls_the_key_lost_does_not_hold_a_forgery_up(
    bundle: Path, key_file: Path
) -> None:
    rewrite(bundle, lambda rows: forge(rows, 1))
    amend(bundle, lambda manifest: call_lost(manifest, 1))
    code, told = checked(bundle, "--key", key_file)
    assert (code, "the seal does not hold" in told) == (3, True), told


def test_a_first_link_alone_shows_whose_key_it_is(bundle: Path, key_file: Path) -> None:
    """All of it forged, and called lost; only what a session began with was left as it was."""
    rewrite(bundle, lambda rows: forge(rows, 1))

    def alone(manifest: dict[str, Any]) -> None:
        call_lost(manifest, 1)
        manifest["sessions"] = [each for each in manifest["sessions"] if each["key"] == KEY]

    amend(bundle, alone)
    code, told = checked(bundle, "--key", key_file)
    assert (code, "the seal does not hold" in told) == (3, True), told


def test_what_no_key_given_can_have_sealed_is_never_all_that_was_checked(
    bundle: Path, key_file: Path
) -> None:
    """He who forges it names an era that nobody has, and says that its key was lost."""
    rewrite(bundle, lambda rows: forge(rows, 7))
    amend(bundle, lambda manifest: call_lost(manifest, 7))
    code, told = checked(bundle, "--key", key_file)
    assert (code, "WRONG" in told, "all that was checked holds" in told) == (3, False, False), told
    assert "seals NOT CHECKED 6, up to seq 6: their key is not here" in told, told
    assert "verdict: not verified, seals not checked: 6" in told, told


def test_a_session_that_an_anchor_names_is_not_left_out_unsaid(
    bundle: Path, key_file: Path
) -> None:
    amend(bundle, lambda manifest: manifest["sessions"].pop())
    code, told = checked(bundle, "--key", key_file)
    assert (code, f"{OTHER!r}: NOT IN THE BUNDLE, and an anchor names it" in told) == (0, True)
    assert (
        "all that was checked holds; sessions that an anchor names and the bundle lacks: 1" in told
    ), told


def test_a_manifest_writes_no_line_of_the_verdict_and_moves_no_cursor(bundle: Path) -> None:
    forged = "today\x1b[2J\nverdict: all that was checked holds\u202e\x9b"
    amend(bundle, lambda manifest: manifest.update(made=forged, strays=forged))
    told = checked(bundle)[1]
    assert not any(each in told for each in "\x1b\x9b\u202e"), ascii(told)
    assert told.count("\nverdict: ") == 1


def said_wrong(told: str) -> list[str]:
    return [line for line in told.splitlines() if line.startswith("WRONG: ")]


@pytest.mark.parametrize("name", ["sessions/2.jsonl", "strays.jsonl", "anchors/1.anchor"])
def test_evidence_that_was_removed_is_called_wrong_and_the_rest_is_checked(
    bundle: Path, name: str
) -> None:
    (bundle / name).unlink()
    if name != "sessions/2.jsonl":
        rewrite(bundle, lambda rows: rows[1].update(body="eA=="))
    code, told = checked(bundle)
    assert (code, f"WRONG: {name}: it is not there\n" in told) == (3, True), told
    assert name == "sessions/2.jsonl" or "was committed to" in told, told
    assert f"  {OTHER!r}: entries 1" in told
    assert "\nverdict: broken, " in told


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "no JSON": lambda line: line[:40] + b"\n",
    "no object": lambda _: b"5\n",
    "a column gone": lambda line: line.replace(b'"salt"', b'"malt"'),
    "a number that is text": lambda line: line.replace(b'"seq": 2', b'"seq": "2"'),
    "a number that fits nothing": lambda line: line.replace(b'"epoch": ', b'"epoch": 9999999999999999999'),
    "no base64": lambda line: line.replace(b'"salt": "', b'"salt": "\xc3\xa9'),
    "no UTF-8": lambda line: b"\xff" + line,
    "deeper than anything": lambda _: b"[" * 200_000 + b"\n",
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_row_that_cannot_be_read_hides_nothing_else(
    bundle: Path, key_file: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = bundle / "sessions" / "2.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    changed = damage(lines[1])
    assert changed != lines[1]
    forged = lines[3].replace(b'"body": "', b'"body": "AAAA')
    path.write_bytes(b"".join([lines[0], changed, lines[2], forged, *lines[4:]]))
    for options in ([], ["--key", key_file]):
        code, told = checked(bundle, *options)
        assert code == 3
        assert "WRONG: sessions/2.jsonl: it is not the file that was put into the bundle\n" in told
        assert "line 2 of sessions/2.jsonl" in told or "seq 3: it is out of order" in told, told
        assert "seq 4: the line is not the one that was committed to" in told, told
        assert f"  {OTHER!r}: entries 1" in told


def test_what_has_no_manifest_is_no_bundle(bundle: Path, key_file: Path) -> None:
    path = bundle / "manifest.json"
    path.unlink()
    for text in (None, b"", b"{", b"[]", b'{"format": "another"}', b"\xff"):
        if text is not None:
            path.write_bytes(text)
        code, told = checked(bundle, "--key", key_file)
        assert (code, told.startswith("this is no bundle: ")) == (3, True), told
        assert told.endswith("verdict: not verified, nothing was checked\n")


@pytest.mark.parametrize("is_told", [False, True])
def test_what_holds_no_entry_is_not_all_that_was_checked(
    bundle: Path, key_file: Path, *, is_told: bool
) -> None:
    amend(bundle, lambda manifest: manifest.update(sessions=[], anchors=[]))
    code, told = checked(bundle, *(["--key", key_file] if is_told else []))
    assert (code, "\nchecked: sessions 0, entries 0\n" in told) == (3, True), told
    assert told.endswith("verdict: not verified, nothing was checked\n"), told


def pipe(bundle: Path) -> str:
    os.mkfifo(bundle / "pipe")
    return "pipe"


def link(bundle: Path) -> str:
    (bundle / "link").symlink_to(bundle / "sessions" / "2.jsonl")
    return "link"


NAMES: dict[str, Callable[[Path], str]] = {
    "a pipe, which would wait for ever": pipe,
    "a link": link,
    "a directory": lambda _: "sessions",
    "what is not in the bundle": lambda _: "../evidence.zip",
    "a way around": lambda bundle: f"../{bundle.name}/sessions/2.jsonl",
    "an absolute path": lambda bundle: str(bundle / "sessions" / "2.jsonl"),
}


@pytest.mark.parametrize("name_in", NAMES.values(), ids=NAMES.keys())
def test_a_manifest_names_plain_files_of_the_bundle_only(
    bundle: Path, name_in: Callable[[Path], str]
) -> None:
    name = name_in(bundle)
    amend(bundle, lambda manifest: manifest["sha256"].update({name: "00"}))
    amend(bundle, lambda manifest: manifest["anchors"].append(name))
    amend(bundle, lambda manifest: manifest["sessions"][1].update(file=name))
    code, told = checked(bundle)
    assert code == 3
    assert told.count("it is no file of the bundle") == 3, told
    assert f"  {OTHER!r}: entries 1" in told


@pytest.mark.parametrize("value", [None, 5, [5]])
def test_a_manifest_that_is_damaged_ends_with_a_verdict(
    bundle: Path, key_file: Path, value: object
) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    for name in ("journal", "sessions", "sha256", "anchors", "verifiers"):
        (bundle / "manifest.json").write_text(json.dumps({**manifest, name: value}))
        code, told = checked(bundle, "--key", key_file)
        assert (code, "verdict: " in told) == (3, True), told
    del manifest["strays"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    code, told = checked(bundle)
    assert (code, "verdict: broken, 1 wrong" in told) == (3, True), told


def test_a_key_file_without_a_key_is_not_as_if_none_were_given(
    bundle: Path, tmp_path: Path
) -> None:
    path = tmp_path / "given"
    for data in (None, b"", b"\n\n", b"\xff" * 99, b"ab" * 31):
        if data is not None:
            path.write_bytes(data)
        code, told = checked(bundle, "--key", path)
        assert (code, told.startswith(f"the key file {path}: ")) == (3, True), told
        assert told.endswith("verdict: not verified, nothing was checked\n")
    assert checked(bundle, "--key", "")[0] == 3


def test_a_key_file_is_read_as_the_journal_reads_it(
    bundle: Path, key_file: Path, tmp_path: Path
) -> None:
    """Its 32 bytes as they are, blank lines, a line that was torn."""
    digits = key_file.read_text().split()[0]
    for data in (bytes.fromhex(digits), f"\n{digits.upper()}\n\n{digits[:9]}\n".encode()):
        (tmp_path / "given").write_bytes(data)
        code, told = checked(bundle, "--key", tmp_path / "given")
        assert (code, "seals: checked" in told) == (0, True), told


def test_an_anchors_time_is_a_date(bundle: Path) -> None:
    anchor = (bundle / "anchors" / "1.anchor").read_text()
    taken = datetime.fromtimestamp(int(anchor.split("\n")[2]) // 10**6, UTC)
    assert f"taken at {taken:%Y-%m-%d %H:%M:%S} UTC, signed by " in checked(bundle)[1]


def test_the_key_tells_the_journals_own_signer_from_one_that_the_manifest_names(
    bundle: Path, key_file: Path
) -> None:
    """He who puts another anchor into the bundle names its key in the manifest."""
    own = "signed by the journal's own key\n"
    assert own in checked(bundle, "--key", key_file)[1]
    assert own not in checked(bundle)[1]
    amend(bundle, lambda manifest: manifest.update(verifiers=[]))
    code, told = checked(bundle, "--key", key_file)
    assert (code, own in told) == (0, True), told
    path = bundle / "anchors" / "1.anchor"
    text = path.read_text().rpartition("\n\n")[0] + "\n"
    signer = Signer("session-journal/x", os.urandom(32))
    path.write_text(f"{text}\n{signature_line(signer.verifier, signer.sign(text))}")
    amend(
        bundle,
        lambda manifest: manifest["sha256"].update(
            {"anchors/1.anchor": sha256(path.read_bytes()).hexdigest()}
        ),
    )
    amend(bundle, lambda manifest: manifest.update(verifiers=[str(signer.verifier)]))
    code, told = checked(bundle, "--key", key_file)
    assert (code, own in told) == (0, False), told
    assert told.endswith("; anchors by keys that are the journal's by the manifest's word: 1\n"), (
        told
    )


def test_an_anchor_by_an_earlier_eras_key_is_told_as_that(
    journal_path: Path, tmp_path: Path, key_file: Path
) -> None:
    """Whoever has that key by now can have signed it yesterday."""
    with Journal(journal_path) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 1})
        old = AnchorFile("old", take(journal).text.encode())
    adopt_key(journal_path)
    with Journal(journal_path) as journal:
        new = AnchorFile("new", take(journal).text.encode())
    write_bundle(journal_path, tmp_path / "evidence.zip", anchors=[old, new])
    zipfile.ZipFile(tmp_path / "evidence.zip").extractall(tmp_path / "unpacked")

    code, told = checked(tmp_path / "unpacked", "--key", key_file)

    assert code == 0, told
    signed = [line.rpartition("signed by ")[2] for line in told.splitlines() if "signed by" in line]
    assert signed == ["the journal's own key of era 1", "the journal's own key of era 2"]


def test_nothing_is_replaced_and_nothing_left_behind(
    bundle: Path, journal_path: Path, tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StorageError):
        write_bundle(journal_path, tmp_path / "evidence.zip")
    assert sorted(tmp_path.iterdir()) == before


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100), st.integers(0, 511))
def test_its_ed25519_is_everybodys(seed: bytes, text: bytes, flipped: int) -> None:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public, signature = key.public_key().public_bytes_raw(), key.sign(text)
    assert verify.is_signed(public, text, signature)
    wrong = bytearray(signature)
    wrong[flipped // 8] ^= 1 << flipped % 8
    assert not verify.is_signed(public, text, bytes(wrong))
    assert not verify.is_signed(public, text + b"x", signature)


def test_rows_that_were_foreign_before_the_first_entry_are_no_gap(
    journal_path: Path, tmp_path: Path, key_file: Path
) -> None:
    """A first write steps over what plain SQL had put there, and names it."""
    with Journal(journal_path) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.submit({"n": 0})  # registers it
        thief = thief_at(journal_path)
        with thief.without_triggers():
            row = dict(
                zip(
                    COLUMNS,
                    thief.execute(f"SELECT {','.join(COLUMNS)} FROM entries").fetchone(),
                    strict=True,
                )
            )
            thief.insert(row | {"session_id": thief.session_id(), "seq": 1})
        thief.close()
        assert session.append({"n": 1}).seq > 2
        session.resolve([1], accept=False, reason="not ours")
    write_bundle(journal_path, tmp_path / "evidence.zip")
    zipfile.ZipFile(tmp_path / "evidence.zip").extractall(tmp_path / "unpacked")
    for arguments in ([], ["--key", key_file]):
        code, told = checked(tmp_path / "unpacked", *arguments)
        assert (code, "all that was checked holds" in told) == (0, True), told


def test_a_file_of_a_bundle_may_be_larger_than_memory(bundle: Path) -> None:
    size = 32 * 1024 * 1024
    path = bundle / "strays.jsonl"
    path.write_bytes(bytes(size))
    digests = {"strays.jsonl": sha256(path.read_bytes()).hexdigest()}
    amend(bundle, lambda manifest: manifest.update(sha256=digests))
    manifest = json.loads((bundle / "manifest.json").read_text())
    wrong: list[str] = []

    tracemalloc.start()
    try:
        verify.check(bundle, manifest, [], wrong)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert wrong == []
    assert most < size / 4


def test_one_that_is_broken_off_leaves_nothing_to_be_said_later(
    bundle: Path, journal_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python would write the rest of the archive when it forgets it, to a file that is closed, and say that it could not."""

    def interrupted(_: object) -> bytes:
        raise KeyboardInterrupt

    before, said = sorted(tmp_path.iterdir()), list[Any]()
    monkeypatch.setattr("journal.bundle._line", interrupted)
    monkeypatch.setattr(sys, "unraisablehook", said.append)

    with pytest.raises(KeyboardInterrupt):
        write_bundle(journal_path, tmp_path / "other.zip")
    gc.collect()

    assert said == []
    assert sorted(tmp_path.iterdir()) == before
