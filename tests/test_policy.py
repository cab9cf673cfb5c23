"""What a check makes of a trusted co-tenant's entry, by its content."""

from __future__ import annotations

import json
from functools import partial

import pytest

from journal.errors import EntryError
from journal.model import Entry
from journal.policy import POLICIES, cotenant, lets_pass, name_of, resolve, strict

BASE = {"id": "e1", "parentId": None, "timestamp": "2026-05-18T09:00:00.000Z"}
MIRROR = {"role": "assistant", "provider": "openclaw", "model": "delivery-mirror"}


def entry(body: bytes | None, *, kind: str = "line", terminator: bytes = b"\n") -> Entry:
    return Entry(
        session="agent:main:main",
        seq=2,
        epoch=2,
        writer="heartbeat",
        role="heartbeat",
        trust="asserted",
        kind=kind,
        origin="api",
        created_us=0,
        body=body,
        terminator=terminator,
    )


def of(**line: object) -> Entry:
    return entry(json.dumps(BASE | line).encode())


A25 = {
    "custom": of(type="custom", customType="model-snapshot", data={"provider": "openai"}),
    "label": of(type="label", targetId="e0", label="kept"),
    "session_info with name": of(type="session_info", name="The gate"),
    "session_info without name": of(type="session_info"),
}
A28 = {
    "delivery mirror": of(type="message", message=MIRROR),
    "gateway's note": of(type="message", message=MIRROR | {"model": "gateway-injected"}),
    "mark that outlived its model": of(
        type="message", message={"role": "assistant", "openclawDeliveryMirror": {"kind": "channel"}}
    ),
}
A33 = {
    "a: custom without customType": of(type="custom", data={}),
    "b: custom with empty customType": of(type="custom", customType=""),
    "b: custom with blank customType": of(type="custom", customType="  "),
    "c: label without targetId": of(type="label", label="x"),
    "d: label whose label is no string": of(type="label", targetId="e0", label=42),
    "d: label whose label is null": of(type="label", targetId="e0", label=None),
    "e: session_info whose name is no string": of(type="session_info", name=42),
}
A34 = {
    "a: model_change": of(type="model_change", provider="openai", modelId="gpt-5.1"),
    "b: thinking_level_change": of(type="thinking_level_change", thinkingLevel="high"),
    "c: user message": of(type="message", message={"role": "user", "content": "hello"}),
    "d: custom_message": of(type="custom_message", customType="x", content="y", display=False),
    "e: compaction": of(type="compaction", summary="s", firstKeptEntryId="e0", tokensBefore=42),
    "f: branch_summary": of(type="branch_summary", fromId="e0", summary="s"),
    "g: leaf": of(type="leaf", targetId=None),
}
ODD = {
    "assistant message of a model": of(
        type="message", message={"role": "assistant", "provider": "anthropic", "model": "m"}
    ),
    "another provider's mirror": of(type="message", message=MIRROR | {"provider": "openai"}),
    "a user's mirror": of(type="message", message=MIRROR | {"role": "user"}),
    "a model that is no text": of(type="message", message=MIRROR | {"model": ["delivery-mirror"]}),
    "a message that is no object": of(type="message", message="delivery-mirror"),
    "no type": of(customType="x"),
    "a type that is no text": of(type=["custom"], customType="x"),
    "a bare number": entry(b"42"),
    "does not parse": entry(b'{"type":"custom"', kind="raw"),
    "does not parse though called a line": entry(b'{"type":"custom"'),
    "raw bytes that would parse": entry(b'{"type":"session_info"}', kind="raw"),
    "part of a line": entry(b'{"type":"session_info"}', kind="part"),
    "erased": entry(None),
    "nested too deep": entry(b"[" * 100_000),
}


@pytest.mark.parametrize("judged", (A25 | A28).values(), ids=(A25 | A28))
def test_strict_accepts_what_cannot_change_the_models_context(judged):
    """A25, A28, A30, A36: by a registered co-tenant, accepted under both policies."""
    assert strict(judged)
    assert cotenant(judged)


@pytest.mark.parametrize("judged", (A33 | A34 | ODD).values(), ids=(A33 | A34 | ODD))
def test_strict_accepts_nothing_else_and_cotenant_everything(judged):
    """A33 and A34: accepted under ``cotenant``, a takeover under ``strict``."""
    assert not strict(judged)
    assert cotenant(judged)


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
@pytest.mark.parametrize(
    "judged",
    [
        entry(b'{"control":"release"}', kind="control", terminator=b""),
        entry(b"", kind="raw"),
        entry(b"", kind="raw", terminator=b"\r\n"),
    ],
    ids=["control", "line feed", "CRLF"],
)
def test_facts_of_the_journals_own_and_line_ends_make_no_verdict(policy, judged):
    assert policy(judged)


def test_a_label_may_be_taken_away_and_a_line_need_not_carry_its_own_id():
    assert strict(of(type="label", targetId="e0"))
    assert strict(entry(b'{"type":"custom","customType":"heartbeat"}'))


def test_duplicate_keys_are_judged_by_the_last():
    assert not strict(entry(b'{"type":"custom","customType":"x","type":"compaction"}'))
    assert strict(entry(b'{"type":"compaction","type":"custom","customType":"x"}'))


def test_a_policy_is_found_by_name_or_is_the_callers_own():
    def own(judged: Entry) -> bool:
        return judged.role == "cron"

    assert resolve("cotenant") is cotenant
    assert resolve("strict") is strict
    assert resolve(own) is own


@pytest.mark.parametrize("name", ["lenient", "", None, 7])
def test_an_unknown_policy_is_named_with_those_there_are(name):
    with pytest.raises(EntryError) as caught:
        resolve(name)
    assert "'cotenant' or 'strict'" in str(caught.value.hint)


async def awaited(_: Entry) -> bool:
    return False


class Awaited:
    async def __call__(self, _: Entry) -> bool:
        return False


@pytest.mark.parametrize("policy", [awaited, partial(awaited), Awaited()])
def test_a_policy_that_would_have_to_be_awaited_is_refused(policy):
    """What nobody awaits is true of every entry: it would accept whatever came."""
    with pytest.raises(EntryError) as caught:
        resolve(policy)
    assert caught.value.code == "policy"
    assert "def, not async def" in str(caught.value.hint)


class Promised:
    """Something to be awaited that is no coroutine, as a future is."""

    def __await__(self):
        yield


@pytest.mark.parametrize("policy", [awaited, lambda _: Promised()])
def test_so_is_an_answer_that_would(policy):
    with pytest.raises(EntryError) as caught:
        lets_pass(policy, A25["label"])
    assert caught.value.code == "policy"


def test_a_function_of_the_callers_is_never_called_as_one_of_ours():
    """Or an explanation would say of it what is true of ours."""

    def strict_too(_: Entry) -> bool:
        return False

    assert name_of(strict_too) == "strict_too"
    assert name_of(strict) == "strict"
    strict_too.__name__ = "strict"
    assert name_of(strict_too) == "own"
    assert name_of(partial(strict)) == "own"
