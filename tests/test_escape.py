"""Text from anywhere, made safe to show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journal.escape import escape, is_unsafe


@pytest.mark.parametrize(
    "text, shown",
    [
        ("plain", "plain"),
        ("Grüße, 日本語, 🦞", "Grüße, 日本語, 🦞"),
        ("a\u00a0b", "a\u00a0b"),  # a space of another width moves nothing
        ("👩\u200d🌾", "👩\u200d🌾"),  # the joiner of one emoji
        ("\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\nb\tc\r", "a\\nb\\tc\\r"),
        ("\x00\x7f", "\\x00\\x7f"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2066x\u2069\u061c", "\\u2066x\\u2069\\u061c"),
        ("a\u2028b", "a\\u2028b"),
        ("\udcff", "\\udcff"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_unsafe_characters_are_written_out(text, shown):
    """What could steer a terminal is shown, the rest is left alone."""
    assert escape(text) == shown


@given(st.text())
def test_nothing_unsafe_is_left(text):
    """Whatever comes in, one harmless line comes out, and escaping again changes nothing."""
    shown = escape(text)

    assert not any(map(is_unsafe, shown))
    assert len(shown.splitlines()) <= 1
    assert escape(shown) == shown


@given(st.text(alphabet=st.characters(whitelist_categories=("L", "N", "P", "S"))))
def test_ordinary_text_stays(text):
    """Letters, numbers and signs of any script are not touched."""
    assert escape(text) == text
