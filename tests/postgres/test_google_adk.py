"""``JournalSessionService`` on a server: of the adapter's tests those that ask most of an engine, word for word."""

from __future__ import annotations

import pytest

from tests.adapters.test_google_adk import (  # noqa: F401 - pytest finds them here
    service,
    test_a_cancelled_append_is_there_whole_or_not_at_all,
    test_a_deleted_session_is_gone_and_its_id_may_be_given_again,
    test_a_runner_remembers_from_turn_to_turn,
    test_a_stale_copy_is_refused_and_its_event_parked,
    test_agents_side_by_side_share_one_session_object,
    test_an_id_is_given_once,
    test_clocks_are_not_asked,
    test_lines_of_others_change_no_state,
    test_recent_events_and_events_since,
    test_sessions_are_listed_by_their_last_update,
    test_state_has_four_scopes,
    test_the_same_event_again_is_kept_once,
    test_threads_with_loops_of_their_own_share_a_service,
)


@pytest.fixture
def db(journal_path: str) -> str:
    return journal_path
