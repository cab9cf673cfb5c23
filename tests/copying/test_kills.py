"""Killed with -9 at any step and done again, a copy ends equal; until then nobody takes it for a journal."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from journal import Journal
from journal.audit import audit
from journal.copying import copy
from tests.copying.filled import rows
from tests.copying.kills import LAST, NEVER, killed, state, steps_of, survive
from tests.thieves import KEY

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "seed", [1, 2, *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 60))]
)
def test_a_copy_survives_kills(source: Path, target: Path, seed: int) -> None:
    steps = steps_of(str(source), str(target.with_name("measured.db")))
    seen = survive(str(source), str(target), seed, steps)
    assert seen
    assert set(seen) <= {"nothing", "unfinished-copy", "journal"}
    assert not [each for each in target.parent.glob("*copy.db*") if each != target]
    assert rows(target) == rows(source)


@pytest.mark.parametrize(
    "back",
    [
        0,
        3,
        9,
        *(pytest.param(n, marks=pytest.mark.slow) for n in range(LAST) if n not in (0, 3, 9)),
    ],
)
def test_killed_at_the_end_a_copy_without_mirrors_writes_to_no_file(
    tmp_path: Path, back: int
) -> None:
    """There is no moment in which it is a journal and would serve what the other serves."""
    path, target, file = (tmp_path / name for name in ("own.db", "copy.db", "session.jsonl"))
    with Journal(path) as journal:
        journal.session(KEY, writer="gateway", role="run", mirror=file).append({"n": 1})
    steps = steps_of(str(path), str(tmp_path / "try.db"))
    killed(str(path), str(target), steps - back)

    if state(str(target)) == "journal":
        with Journal(target) as journal:
            journal.session(KEY, writer="gateway", role="run").append({"n": 2})
            assert journal.mirrors.status() == []
    else:
        copy(path, target)
    assert file.read_bytes() == b'{"n":1}\n'
    assert audit(target).verdict == "ok, not anchored"


@pytest.mark.parametrize(
    "part", [0.9, *(pytest.param(n / 20, marks=pytest.mark.slow) for n in range(1, 20) if n != 18)]
)
def test_killed_while_it_catches_up_a_copy_is_what_it_was(
    source: Path, target: Path, tmp_path: Path, part: float
) -> None:
    copy(source, target)
    before = rows(target)
    with Journal(source) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.extend({"new": n} for n in range(30))
        session.redact([2], reason="pasted")
    other = tmp_path / "other.db"
    shutil.copy2(target, other)
    steps = killed(str(source), str(other), NEVER, catch_up=True)
    assert steps is not None

    assert killed(str(source), str(target), int(steps * part), catch_up=True) is None
    assert rows(target) == before
    assert audit(target).verdict == "ok, not anchored"
    assert copy(source, target, catch_up=True).is_clean
    assert rows(target) == rows(source)
