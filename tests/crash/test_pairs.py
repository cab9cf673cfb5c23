"""The ways in which a crash point is tried: what was taken down is what a kill leaves, and faults are told."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.crash import pairs
from tests.crash.acts import act
from tests.crash.held import held, put
from tests.crash.pairs import KILLS, MODES, Pair, Unit
from tests.crash.parties import apart, done
from tests.crash.points import Bench
from tests.crash.sampling import built

pytestmark = [
    pytest.mark.crash,
    pytest.mark.skipif(
        not sys.platform.startswith("linux") or not (shutil.which("cc") or shutil.which("gcc")),
        reason="it takes Linux and a C compiler",
    ),
]
ACT = "mirror append"


def test_what_was_there_is_put_there_again(tmp_path):
    """Bytes, modes, times, directories, two names of one file; and nothing else."""
    place = tmp_path / "a"
    (place / "deep" / "empty").mkdir(parents=True)
    (place / "deep" / "one").write_bytes(b"1")
    (place / "two").hardlink_to(place / "deep" / "one")
    (place / "deep" / "one").chmod(0o640)
    os.utime(place / "two", ns=(5, 7))
    before = held(place)

    (place / "three").touch()
    (place / "two").unlink()
    put(place, before)

    assert held(place) == before
    assert (place / "two").samefile(place / "deep" / "one")
    assert [(file.mode, file.modified_ns, file.data) for file in before.files] == [(0o640, 7, b"1")]
    assert before.directories == ("deep", "deep/empty")


def test_what_was_taken_down_is_what_a_kill_leaves(tmp_path):
    """Before calls of an act, within them and after them: the same files of the same size."""
    told = apart("tests.crash.test_pairs:compare", preload=built(tmp_path), home=str(tmp_path))

    assert {mode for _, mode in told["tried"]} == set(KILLS)
    assert len(told["tried"]) > 20
    assert told["different"] == []


def compare(home: str) -> dict[str, Any]:
    """Kill at each moment; tell where what is left differs from what was taken down."""
    pair = Pair(Path(home), 0)
    worker = pairs._Worker(pair._actor, pair.place, pair._templates)
    put(pair.place, pair.template(ACT))
    moments = worker._moments(ACT, 1, 10**6)
    some, different = [each for each in moments if each[1] in KILLS][::4], []
    for call, mode in some:
        put(pair.place, pair.template(ACT))
        said = done(act, pair.place, ACT, call, MODES.index(mode))
        there, taken = held(pair.place), moments[call, mode]
        if (_sizes(there), said) != (_sizes(taken.files), taken.said):
            different.append([call, mode, _sizes(there), _sizes(taken.files)])
    pair.leave()
    return {"tried": some, "different": different}


def _sizes(what: Any) -> Any:
    return sorted((names, mode, len(data)) for names, mode, _, data in what.files)


def test_what_a_look_finds_is_told_of_each_way(tmp_path):
    """With the call and the mode; what is the same again is looked at once."""
    told = apart("tests.crash.test_pairs:find", preload=built(tmp_path), home=str(tmp_path))

    assert told["wrong"] == [
        f"{ACT}, call 1, before: lost",
        f"{ACT}, call 1, after: lost",
        f"{ACT}, call 1, torn: lost",
        f"{ACT}, call 2, EIO: lost",
        f"{ACT}, call 1000, EIO: lost",
        f"{ACT}, call 1000, after: lost",
    ]
    assert told["by_way"] == {"kept": 4, "killed": 1, "failed": 2}
    assert told["missed"] == 2  # there are no thousand calls


def find(home: str) -> dict[str, Any]:
    """Have each look find something."""
    vars(pairs).update(looked=lambda *_: ["lost"])
    bench = Bench([Pair(Path(home), 0)])
    bench.give(Unit("kept", ACT, [(1, "before"), (1, "after"), (1, "after")]))
    bench.give(Unit("killed", ACT, [(1, "torn")]))
    bench.give(Unit("failed", ACT, [(2, "EIO"), (1000, "EIO")]))
    bench.give(Unit("kept", ACT, [(1000, "after")]))
    bench.end()
    return {"wrong": bench.wrong, "by_way": bench.by_way, "missed": bench.missed}


def test_a_process_that_ends_while_it_acts_is_told_and_replaced(tmp_path):
    told = apart("tests.crash.test_pairs:end", preload=built(tmp_path), home=str(tmp_path))

    (wrong,) = told["wrong"]
    assert "has ended" in wrong
    assert told["count"] == 2


def end(home: str) -> dict[str, Any]:
    """Have the process that acts end by itself, once."""
    vars(pairs).update(act=lambda *_: os._exit(1))
    pair = Pair(Path(home), 0)
    vars(pairs).update(act=act)
    bench = Bench([pair])
    for _ in range(2):
        bench.give(Unit("failed", ACT, [(1, "EIO")]))
    bench.end()
    return {"wrong": bench.wrong, "count": bench.count}
