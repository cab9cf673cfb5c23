"""The power is cut: what was acknowledged is there, and nobody is accused of what the disk did."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from random import Random

import pytest

from tests.crash import breaches, cuts, mounts
from tests.crash.disk import Call, Disk
from tests.crash.parties import apart
from tests.crash.sampling import built

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="the shim is for Linux's loader"
    ),
]
SAMPLE_S = 2


@pytest.mark.skipif(
    not (shutil.which("cc") or shutil.which("gcc")),
    reason="there is no C compiler to build the shim with",
)
def test_a_sample_of_power_cuts(tmp_path):
    """``python -m tests.proof`` tries others each time."""
    told = cuts.played(built(tmp_path), seed=1, seconds=SAMPLE_S)

    assert told["wrong"] == [], told["seed"]
    assert told["tried"] >= 25


@pytest.mark.parametrize("kind", mounts.KINDS)
def test_a_sample_of_power_cuts_of_a_real_file_system(kind):
    if reason := mounts.why_not(kind):
        pytest.skip(reason)
    told = mounts.cut(kind, seed=1, seconds=SAMPLE_S)

    assert told["wrong"] == [], told["seed"]
    assert told["tried"] >= 1


@pytest.mark.skipif(breaches.why_not() is not None, reason=breaches.why_not() or "")
def test_a_sample_of_lock_breaches(tmp_path):
    """Each is looked at closely in ``tests/test_guards.py``."""
    told = apart("tests.crash.breaches:run", home=str(tmp_path), seed=1, count=3)

    assert told["wrong"] == []
    assert told["tried"] == 3


class TestDisk:
    """The model itself."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> Path:
        (tmp_path / "a").write_bytes(b"old")
        return tmp_path

    def left(self, disk: Disk, seeds: int = 200) -> list[dict[str, bytes]]:
        """Return what power cuts leave, by the files' own names."""
        found = [disk.after_a_cut(Random(seed)) for seed in range(seeds)]  # noqa: S311 - to be repeated
        return [
            {Path(name).name: data for names, data in files for name in names} for files in found
        ]

    def test_what_was_synced_stays_and_what_was_not_may_be_there_in_any_state(self, place):
        """The old bytes, the new ones, the new size with nothing in it."""
        disk = Disk(place)
        disk.do(Call("w", str(place / "a"), "", 0, b"new"))
        disk.do(Call("s", str(place / "a"), "", 0, b""))
        disk.do(Call("w", str(place / "a"), "", 3, b"er"))

        assert {each["a"] for each in self.left(disk)} == {b"new", b"new\0\0", b"newer"}

        disk.do(Call("w", str(place / "a"), "", 600, b"end"))

        assert {len(each["a"]) for each in self.left(disk)} == {3, 5, 603}
        assert any(each["a"][600:] == b"\0\0\0" for each in self.left(disk))
        assert any(each["a"][3:5] == b"\0\0" and each["a"][600:] for each in self.left(disk))

    def test_names_come_in_order_and_a_synced_directory_keeps_them(self, place):
        """A rename is never half done."""
        disk = Disk(place)
        disk.do(Call("w", str(place / "draft"), "", 0, b"whole"))
        disk.do(Call("s", str(place / "draft"), "", 0, b""))
        disk.do(Call("n", str(place / "draft"), str(place / "a"), 0, b""))

        assert {tuple(sorted(each.items())) for each in self.left(disk)} == {
            (("a", b"old"), ("draft", b"whole")),
            (("a", b"whole"),),
        }

        disk.do(Call("s", str(place), "", 0, b""))

        assert all(each == {"a": b"whole"} for each in self.left(disk))

    def test_a_cut_is_done_or_not_and_leaves_no_holes(self, place):
        disk = Disk(place)
        disk.do(Call("w", str(place / "a"), "", 0, b"x" * 2000))
        disk.do(Call("s", str(place / "a"), "", 0, b""))
        disk.do(Call("t", str(place / "a"), "", 0, b""))

        assert {each["a"] for each in self.left(disk)} == {b"x" * 2000, b""}

    def test_what_may_be_there_is_put_there(self, place):
        """And nothing else; two names of one file are two names."""
        disk = Disk(place)
        disk.do(Call("l", str(place / "a"), str(place / "b"), 0, b""))
        disk.do(Call("s", str(place), "", 0, b""))
        disk.put(disk.after_a_cut(Random(1)))  # noqa: S311 - to be repeated

        assert (place / "b").read_bytes() == b"old"
        assert (place / "a").stat().st_nlink == 2
