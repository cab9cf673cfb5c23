"""Key files: made once however many make them at a time, read only where they are safe."""

from __future__ import annotations

import os
import stat
import threading

import pytest

from journal import KeyMissing, keys
from journal.eras import Secret
from tests.limits import no_longer_than

SECRET = bytes(range(32))
DIGITS = SECRET.hex().encode() + b"\n"
NEXT = Secret(b"n" * 32, "0123456789abcdef" * 2, 2)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "secret" / "journal.key"


@pytest.fixture
def written(path):
    path.parent.mkdir(mode=0o700)
    path.write_bytes(DIGITS)
    path.chmod(0o600)
    return path


def unsafe(path) -> KeyMissing:
    with pytest.raises(KeyMissing) as caught:
        keys.read_secret(path)
    assert caught.value.hint
    assert caught.value.exit_code == 1
    assert str(path) in str(caught.value)
    return caught.value


def test_a_new_secret_is_hexadecimal_and_the_owners_alone(path):
    """64 digits and a line feed, 0600 in a directory of 0700; and it is read back as it was made."""
    secret = keys.find_or_make_secret(path)

    assert len(secret) == 32
    assert path.read_bytes() == secret.hex().encode() + b"\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
    assert keys.read_secret(path) == keys.find_or_make_secret(path) == secret


def test_a_secret_that_is_there_serves_many_journals(written):
    assert keys.find_or_make_secret(written) == SECRET
    assert written.read_bytes() == DIGITS


def test_many_at_once_make_one_secret(path):
    """Nobody sees half a key, and nobody keeps another than the one that stays."""
    meet = threading.Barrier(8)
    found: list[bytes] = []

    def make() -> None:
        meet.wait(30)
        found.append(keys.find_or_make_secret(path))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert found == [keys.read_secret(path)] * 8
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("content", [DIGITS, DIGITS.strip(), DIGITS.upper(), SECRET, b" " + DIGITS])
def test_digits_or_the_bytes_themselves(written, content):
    written.write_bytes(content)

    assert keys.read_secret(written) == SECRET


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", DIGITS[:-3], DIGITS[:-1] + b"00\n", b"x" * 64, b"\xff" * 64, SECRET[:31]],
)
def test_anything_else_is_refused(written, content):
    written.write_bytes(content)

    assert unsafe(written).code == "key-unsafe"


def test_a_secret_is_added_and_what_is_there_stays(written):
    keys.add_secret(written, NEXT)
    keys.add_secret(written, NEXT)

    assert keys.read_secrets(written) == [Secret(SECRET), NEXT]


@pytest.mark.parametrize(
    "torn",
    [b"abc", b"abcd", DIGITS[:20], keys.line_of(NEXT)[:80], keys.line_of(NEXT)[:-3], b"\0" * 99,
     DIGITS[:20] + b"\0" * 45, keys.line_of(NEXT)[:70] + b"\0" * 9],
)  # fmt: skip
def test_a_line_that_was_torn_spoils_neither_the_others_nor_the_next(written, torn):
    """A power cut, or a full disk, while a secret was added."""
    written.write_bytes(DIGITS + torn)
    assert keys.read_secrets(written) == [Secret(SECRET)]

    keys.add_secret(written, NEXT)

    assert keys.read_secrets(written) == [Secret(SECRET), NEXT]


def test_a_file_of_bytes_takes_no_second_secret_and_is_left_as_it_is(written):
    written.write_bytes(SECRET)

    with pytest.raises(KeyMissing, match="cannot take another") as caught:
        keys.add_secret(written, NEXT)

    assert "hexadecimal" in (caught.value.hint or "")
    assert written.read_bytes() == SECRET


def test_no_file_is_a_missing_key(path):
    error = unsafe(path)

    assert error.code == "key-missing"
    assert keys.KEY_FILE_VARIABLE in (error.hint or "")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o666])
def test_a_file_that_others_may_read_is_refused(written, mode):
    written.chmod(mode)

    assert unsafe(written).hint == f"chmod 600 {written}"


def test_a_link_in_its_place_is_refused(written, tmp_path):
    other = tmp_path / "link"
    other.symlink_to(written)

    assert unsafe(other).code == "key-unsafe"


def test_a_second_name_is_refused(written):
    os.link(written, written.with_name("second"))

    assert "more than one link" in str(unsafe(written))


def test_a_directory_in_its_place_is_refused(path):
    path.mkdir(parents=True)

    assert unsafe(path).code == "key-unsafe"


def test_a_pipe_in_its_place_is_refused_and_not_waited_for(path):
    path.parent.mkdir()
    os.mkfifo(path, 0o600)

    with no_longer_than(10):
        assert unsafe(path).code == "key-unsafe"


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_another_users_file_is_refused(written, monkeypatch):
    os.chown(written, 12_345, 12_345)
    monkeypatch.setattr(os, "getuid", lambda: 1_000)

    assert "another user" in str(unsafe(written))


def test_where_a_key_is_looked_for(tmp_path, monkeypatch, key_file):
    """The one given, then the variable's, then the journal's own in the user's data directory."""
    given = tmp_path / "given"

    assert keys.key_path("0" * 32, given) == given
    assert keys.key_path("0" * 32) == key_file
    monkeypatch.delenv(keys.KEY_FILE_VARIABLE)
    own = keys.key_path("0" * 32)
    assert own.name == f"{'0' * 32}.key"
    assert own != keys.key_path("1" * 32)
    assert tmp_path in own.parents
