"""Input that nobody would write, drawn by hypothesis: what the properties say must hold for it."""

from __future__ import annotations

import time
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from hypothesis import HealthCheck, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.errors import InvalidArgument

from journal.errors import EntryError
from journal.escape import escape, is_unsafe
from journal.formats import FORMATS, detect
from journal.lines import encode, parse
from tests.properties import test_lines, test_lines_fast, test_reconcile

if TYPE_CHECKING:
    from collections.abc import Callable

MOST: Final = 10_000  # rounds of one process: the seeds of another begin there
_EXAMPLES: Final = 500

_PIECES: Final = st.sampled_from(
    [b"{", b"}", b"[", b"]", b'"', b"\\u", b"\\ud800", b"NaN", b"1e999", b"9" * 4400, b"[" * 1100,
     b'{"a":' * 1100, b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b"\x1b]52;c;", b"\xe2\x80\xae",
     b'{"type":"session","id":"', b'{"type":"session_meta","payload":', b'"sessionId":', b",", b":"]
)  # fmt: skip
_BODIES: Final = st.lists(_PIECES | st.binary(max_size=12), max_size=12).map(b"".join)
_NAMES: Final = st.text(max_size=30) | st.sampled_from(
    ["sessions.json", "a.jsonl", "a.jsonl.lock", "rollout-x.jsonl", "a.jsonl.reset.x", "../a", ""]
)


@given(_BODIES)
def lines_keep_their_bytes(body: bytes) -> None:
    """A line that no parser likes is kept all the same, byte for byte."""
    body = body.replace(b"\n", b"").replace(b"\r", b"")
    line = parse(body, b"\n")
    assert (line.body, line.terminator) == (body, b"\n")
    if body:
        try:
            assert encode(body).body == body
        except EntryError:
            return


@given(_NAMES, st.lists(_BODIES, max_size=4))
def formats_take_anything(name: str, first_lines: list[bytes]) -> None:
    """Any name and any first lines: a format, or none, and never an error."""
    detect(name, first_lines)
    for each in FORMATS:
        each.recognises(name, first_lines)
        each.classify(name)
        each.alias(name)
        each.header(first_lines)


@given(st.text() | st.binary().map(lambda data: data.decode("utf-8", "surrogateescape")))
def nothing_unsafe_is_shown(text: str) -> None:
    """No control, no direction mark, no lone surrogate comes out of the escaping."""
    assert not any(is_unsafe(char) for char in escape(text))


CHECKS: Final[dict[str, Callable[[], None]]] = {
    check.__name__.removeprefix("test_"): check
    for check in (
        lines_keep_their_bytes,
        formats_take_anything,
        nothing_unsafe_is_shown,
        test_lines.test_split_gives_every_byte_back_whatever_the_chunks,
        test_lines.test_parse_takes_any_bytes_and_keeps_them,
        test_lines.test_appended_bytes_stand_in_the_file_as_given,
        test_lines_fast.test_what_is_nearly_json_is_read_the_same_either_way,
        test_lines_fast.test_any_bytes_are_read_the_same_either_way,
        test_reconcile.test_carrying_out_a_plan_makes_file_and_layout_one,
        test_reconcile.test_no_whole_own_line_is_foreign,
        test_reconcile.test_every_line_of_the_file_is_in_the_plan_and_every_own_line_accounted_for,
        test_reconcile.test_an_untouched_file_has_nothing_foreign,
    )
}


def run(seed: int, seconds: float) -> dict[str, Any]:
    """Try all properties again and again for so long; return counts, and what broke one."""
    until, wrong, by_check = time.monotonic() + seconds, list[str](), dict[str, int]()
    for number in range(MOST):
        for name, check in CHECKS.items():
            if by_check and time.monotonic() > until:
                return {"by_check": by_check, "wrong": wrong}
            count, faults = broken(check, seed + number)
            by_check[name] = by_check.get(name, 0) + count
            wrong += [f"seed {seed + number}, {name}: {each}" for each in faults]
    return {"by_check": by_check, "wrong": wrong}


def broken(check: Any, number: int) -> tuple[int, list[str]]:
    """Try one property with fresh input; return how many inputs there were, and what broke it."""
    count = 0
    inner = check.hypothesis.inner_test

    def counting(*given_: Any, **named: Any) -> None:
        nonlocal count
        count += 1
        inner(*given_, **named)

    check.hypothesis.inner_test = counting
    profile = settings(
        max_examples=_EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    with suppress(InvalidArgument):  # one with settings of its own keeps them
        check = profile(check)
    try:
        seeded(number)(check)()
    except Exception:  # noqa: BLE001 - whatever breaks it is what is looked for
        return count, [traceback.format_exc()[-2000:]]
    finally:
        check.hypothesis.inner_test = inner
    return count, []
