"""``JournalSessionStore`` on a server, with the SDK's own suite: of the adapter's tests those that ask most of an engine, word for word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest
from claude_agent_sdk.testing import run_session_store_conformance

from journal.adapters.claude_agent_sdk import JournalSessionStore
from journal.audit import audit
from tests.adapters.test_claude_agent_sdk import (  # noqa: F401 - pytest finds them here
    store,
    test_a_cancelled_append_is_there_whole_or_not_at_all,
    test_a_strict_store_refuses_what_goes_out_from_a_stale_transcript,
    test_a_summary_forgets_what_was_redacted,
    test_a_transcript_that_was_deleted_may_be_written_again,
    test_a_uuid_that_is_none_is_no_reason_to_lose_an_entry,
    test_an_entry_is_kept_once_by_its_uuid,
    test_another_writer_is_accepted_by_default,
    test_any_json_comes_back,
    test_tasks_share_a_store,
    test_what_was_redacted_does_not_come_back_when_a_batch_is_tried_again,
)

if TYPE_CHECKING:
    from tests.postgres.server import Server


@pytest.fixture
def db(journal_path: str) -> str:
    return journal_path


def test_the_sdks_own_suite_passes_on_a_server(server: Server) -> None:
    stores: list[JournalSessionStore] = []
    urls: list[str] = []

    def fresh() -> JournalSessionStore:
        urls.append(server.url(f"claude_{len(urls)}"))
        stores.append(JournalSessionStore.from_url(urls[-1]))
        return stores[-1]

    anyio.run(run_session_store_conformance, fresh)
    for each, url in zip(stores, urls, strict=True):
        each.close()
        assert audit(url).findings == ()
    assert len(stores) == 15
