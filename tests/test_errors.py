"""Errors: the tree that is drawn is the tree there is, and each one travels whole."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

import journal
from journal import errors
from journal.errors import JournalError, SessionTakeover
from journal.verdict import TAKEOVER, Mark, Verdict
from tests.thieves import KEY

CLASSES = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, JournalError)
}
PLAIN = [kind for kind in CLASSES.values() if kind is not SessionTakeover]


def drawn() -> list[tuple[str, str | None]]:
    """Read (class, parent) pairs from the module's docstring."""
    found: list[tuple[str, str | None]] = []
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"^( *)\* (\w+)", line)
        if match is None:
            continue
        depth, name = len(match[1]), match[2]
        above = [item for item in above if item[0] < depth]
        found.append((name, above[-1][1] if above else None))
        above.append((depth, name))
    return found


def test_the_tree_drawn_in_the_docstring_is_the_tree_of_classes():
    actual = [
        (name, None if kind is JournalError else kind.__mro__[1].__name__)
        for name, kind in CLASSES.items()
    ]

    assert sorted(drawn()) == sorted(actual)


def test_every_error_is_on_the_public_surface():
    assert {getattr(journal, name) for name in CLASSES} == set(CLASSES.values())


def test_an_error_of_a_line_is_a_value_error_too():
    assert issubclass(errors.EntryError, ValueError)


def test_codes_are_slugs_and_tell_the_classes_apart():
    codes = [kind.code for kind in CLASSES.values()]

    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    "kind, exit_code",
    [
        (errors.JournalError, 1),
        (errors.NotFoundError, 10),
        (errors.RefusedError, 11),
        (errors.ClaimedError, 11),
        (errors.Superseded, 11),
        (errors.NotTrusted, 11),
        (errors.SessionTakeover, 3),
        (errors.StorageError, 1),
        (errors.BusyError, 1),
        (errors.FullError, 1),
        (errors.ReadOnlyError, 1),
        (errors.CorruptError, 1),
        (errors.LockLost, 1),
        (errors.UnsafeSQLite, 1),
        (errors.SchemaError, 12),
        (errors.EntryError, 2),
        (errors.MirrorError, 1),
        (errors.KeyMissing, 1),
    ],
)
def test_each_error_has_its_exit_code(kind, exit_code):
    assert kind.exit_code == exit_code


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_crosses_a_process_boundary_whole(kind, protocol):
    """Message, hint and code arrive; without a code of its own it has its class's."""
    error = kind("what, and where", hint="one next step", code="a-slug")

    twin = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - our own bytes

    assert type(twin) is kind
    assert str(twin) == "what, and where"
    assert (twin.hint, twin.code, twin.exit_code) == ("one next step", "a-slug", kind.exit_code)
    assert pickle.loads(pickle.dumps(kind("x"))).code == kind.code  # noqa: S301


def test_a_refusal_carries_what_was_parked():
    error = errors.ClaimedError("held", parked="p1")

    assert pickle.loads(pickle.dumps(error)).parked == "p1"  # noqa: S301


def test_a_takeover_carries_its_verdict():
    """Entries, origins, reasons and the verdict's id, after a pickle too."""
    verdict = Verdict(TAKEOVER, KEY, Mark(1, 1, b"s"), "cotenant", id="v1")

    twin = pickle.loads(pickle.dumps(SessionTakeover(verdict)))  # noqa: S301

    assert twin.verdict == verdict
    assert (twin.why, twin.entries, twin.origins, twin.parked) == ("v1", (), (), None)
    assert twin.hint


def test_a_real_takeover_crosses_a_process_boundary(base, thief):
    """With the entries found in a journal, and what was parked, which only tells there."""
    fence = base.fence()
    seq = thief.insert_copy()
    with pytest.raises(SessionTakeover) as caught:
        fence.append({"n": 1})

    twin = pickle.loads(pickle.dumps(caught.value))  # noqa: S301

    assert [entry.seq for entry in twin.entries] == [seq]
    assert twin.origins == caught.value.origins
    assert twin.parked.id == caught.value.parked.id
    assert twin.parked.lines == (b'{"n":1}\n',)
    assert str(twin) == str(caught.value)
