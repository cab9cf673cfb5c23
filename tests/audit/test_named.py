"""What sealed entries name as foreign or lost, as an audit reads it."""

from __future__ import annotations

from typing import Any

import pytest

from journal.audit import named
from journal.strays import Ranges
from tests.audit.rows import row

LEAST, GREATEST = -(2**63), 2**63 - 1


def fact(sort: str, *ranges: tuple[int, int]) -> dict[str, Any]:
    return {"sort": sort, "ranges": [list(pair) for pair in ranges], "count": 1, "digest": "d"}


def test_each_statement_of_an_entry_is_read_with_its_seq():
    rows = [fact("stray", (LEAST, -1), (5, 5)), fact("missing", (7, GREATEST))]
    found = list(named.read(row(seq=9), {"rows": rows}))
    assert [(each.by_seq, each.oddity.sort) for each in found] == [(9, "stray"), (9, "missing")]
    assert named.seqs(found) == Ranges([(LEAST, -1), (5, 5), (7, GREATEST)])
    assert named.seqs(found, "missing") == Ranges([(7, GREATEST)])
    assert named.seqs(found, "erased") == Ranges()


@pytest.mark.parametrize("pair", [(LEAST - 1, 0), (0, GREATEST + 1), (5, 4)])
def test_seqs_that_no_row_could_have_are_no_statement(pair):
    with pytest.raises(ValueError, match="ranges"):
        list(named.read(row(), {"rows": [fact("stray", pair)]}))
