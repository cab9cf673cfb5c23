"""``JournalSession`` on a server: of the adapter's tests those that ask most of an engine, word for word."""

from __future__ import annotations

import pytest

from tests.adapters.test_openai_agents import (  # noqa: F401 - pytest finds them here
    test_a_compaction_replaces_all_at_once,
    test_a_pop_takes_the_newest_and_the_journal_still_knows,
    test_a_runner_remembers_from_turn_to_turn,
    test_all_or_nothing,
    test_any_text_comes_back,
    test_limits_and_settings,
    test_one_journal_is_open_for_all_sessions_of_a_database,
    test_threads_with_loops_of_their_own_share_a_session,
    test_two_poppers_never_get_the_same,
    test_what_is_cleared_is_gone_and_the_session_goes_on,
)


@pytest.fixture
def db(journal_path: str) -> str:
    return journal_path
