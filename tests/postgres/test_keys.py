"""The key of a journal on a server, and bundles of it: what their tests ask, asked there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from journal import (
    ClaimedError,
    Journal,
    KeyMissing,
    StorageError,
    adopting,
    exclusive,
    parking,
)
from journal.admission import put
from journal.adopting import adopt_key
from journal.audit import audit
from journal.dialects.flush import Flush, UnforeseenError
from journal.parts import encode_lines
from tests.test_adopting import (  # noqa: F401 - run here as well
    filled,
    key_path,
    lost,
    test_a_journal_whose_key_is_lost_is_adopted_as_it_stands,
    test_a_mirror_goes_on_in_the_new_era,
    test_a_process_that_has_the_journal_open_is_refused_until_it_opens_it_again,
    test_an_exported_key_opens_the_journal_elsewhere_in_every_era,
    test_parked_writes_fences_and_inputs_are_as_good_as_before,
)
from tests.test_bundle import (  # noqa: F401 - run here as well
    bundle,
    test_a_true_bundle_holds_with_the_key_and_without,
)
from tests.thieves import KEY

if TYPE_CHECKING:
    from journal import Session
    from tests.postgres.proxy import Proxy


@pytest.fixture
def path(journal_path: str) -> str:
    return str(filled(journal_path))


def test_nobody_writes_beside_a_new_key(journal_path: str) -> None:
    """Writers at work are waited for, and refused from then on; each acknowledged line is in one era."""
    done, begun = threading.Event(), threading.Barrier(3)
    counts = [0, 0]

    def write(number: int, session: Session) -> None:
        begun.wait()
        while not done.is_set():
            try:
                with session.fence() as fence:
                    fence.append({"w": number})
            except KeyMissing:
                return
            counts[number] += 1

    with Journal(journal_path) as first, Journal(journal_path) as second:
        writers = [
            threading.Thread(target=write, args=(n, each.session(KEY, writer=f"w{n}", role="cron")))
            for n, each in enumerate((first, second))
        ]
        for each in writers:
            each.start()
        begun.wait()
        assert adopt_key(journal_path).era == 2
        for each in writers:
            each.join(60)
        assert not any(each.is_alive() for each in writers)
        done.set()
    with Journal(journal_path) as journal:
        assert len(journal.session(KEY).read()) == sum(counts)
    assert audit(journal_path).findings == ()


def test_a_line_that_was_begun_before_a_new_key_is_refused(journal_path: str) -> None:
    """Of a session that was begun and has no line, too; it would be acknowledged, and no line of any era."""
    with Journal(journal_path) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        session.submit({"n": 1})
        lines, adopted = encode_lines([{"n": 2}]), list[int]()

        def work(cursor: Any) -> Any:
            if isinstance(cursor, Flush):
                raise UnforeseenError
            if not adopted:
                adopted.append(adopt_key(journal_path).era)
            return put(cursor, session, lines, None)

        with pytest.raises(KeyMissing):
            journal.store.group.write(work)
    assert adopted == [2]
    assert audit(journal_path).findings == ()


def test_what_was_about_to_be_parked_before_a_new_key_is_not_said_to_be(
    journal_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be kept under the old key, and nobody would believe it."""
    park, adopted = parking.park, list[int]()

    def late(cursor: Any, *more: Any) -> Any:
        if not adopted and not isinstance(cursor, Flush):
            adopted.append(adopt_key(journal_path).era)
        return park(cursor, *more)

    with Journal(journal_path) as journal:
        session = journal.session(KEY, writer="gateway", role="run")
        journal.session(KEY, writer="other", role="run").claim()
        with pytest.raises(ClaimedError):
            session.append({"n": 1})
        monkeypatch.setattr(parking, "park", late)
        with pytest.raises(KeyMissing):
            session.append({"n": 2})
    assert adopted == [2]
    assert not [each for each in audit(journal_path).findings if each.severity == "broken"]
    with Journal(journal_path) as journal:
        assert len(journal.session(KEY).parked()) == 1


def cut_the_commit(
    monkeypatch: pytest.MonkeyPatch, proxy: Proxy, cut: str, *, for_good: bool = False
) -> None:
    commit = exclusive._commit

    def lose(*each: Any) -> None:
        monkeypatch.setattr(exclusive, "_commit", commit)
        proxy.cut = cut
        if for_good:
            proxy.close()
        commit(*each)

    monkeypatch.setattr(exclusive, "_commit", lose)


def test_a_new_key_whose_answer_was_lost_is_found_to_be_taken(
    path: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_the_commit(monkeypatch, proxy, "answer")
    assert adopt_key(proxy.url(path)).era == 2
    with Journal(path) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 2})
    assert audit(path).findings == ()


def test_a_new_key_that_never_came_to_the_server_is_said_to_be_none(
    path: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal goes on with the old one, and may be given a new one again."""
    cut_the_commit(monkeypatch, proxy, "request")
    with pytest.raises(StorageError, match="nothing was changed") as caught:
        adopt_key(proxy.url(path))
    assert caught.value.code == "server-gone"
    with Journal(path) as journal:
        journal.session(KEY, writer="gateway", role="run").append({"n": 2})
    assert adopt_key(path).era == 2
    assert audit(path).findings == ()


def test_a_new_key_of_which_nobody_can_tell_is_said_to_be_unknown(
    path: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adopting, "FIND_OUT_S", 0.2)
    cut_the_commit(monkeypatch, proxy, "answer", for_good=True)
    with pytest.raises(StorageError) as caught:
        adopt_key(proxy.url(path))
    assert caught.value.code == "outcome-unknown"
