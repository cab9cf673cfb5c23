"""Policies: may this entry of a trusted co-tenant stand after the fence?

A policy judges content, and only at checks. Who wrote an entry is judged before,
by its seal: what no declared writer sealed is a takeover under every policy.
"""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from journal.errors import EntryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from journal.model import Entry

Policy: TypeAlias = "Callable[[Entry], bool]"

# What OpenClaw itself puts beside the conversation: copies of what a channel
# delivered, and notes of its gateway. Neither is ever sent to a model.
_OWN_MODELS: Final = frozenset({"delivery-mirror", "gateway-injected"})
_ABSENT: Final = object()


def cotenant(entry: Entry) -> bool:  # noqa: ARG001 - a policy takes the entry
    """Accept whatever a trusted writer wrote."""
    return True


def strict(entry: Entry) -> bool:
    """Accept only what OpenClaw's file fence let pass while a prompt was out.

    That is what cannot change the model's context: a ``custom`` entry with a
    type, a ``label`` on a target, a ``session_info``, and an assistant message
    that mirrors a delivery; besides, facts of the journal's own and bare line
    ends. All else is not accepted, nor is what does not parse. The ids and
    times that the file fence asked for are the row's in a journal, so a line
    need not carry them.
    """
    if entry.kind == "control" or entry.body == b"":
        return True
    if entry.kind != "line" or entry.body is None:
        return False
    try:
        value = entry.json()
    except EntryError:
        return False
    return isinstance(value, dict) and _is_harmless(value)


def resolve(policy: str | Policy) -> Policy:
    """Return a policy by its name, or the caller's own function.

    Raises:
        EntryError: no policy has that name, or its answer would have to be awaited.

    """
    if callable(policy):
        if iscoroutinefunction(policy) or iscoroutinefunction(type(policy).__call__):
            raise _awaited(policy)
        return policy
    found = POLICIES.get(policy) if isinstance(policy, str) else None
    if found is None:
        hint = f"use {' or '.join(map(repr, POLICIES))}, or a function of an entry"
        raise EntryError(f"there is no policy {policy!a}", hint=hint, code="policy")
    return found


def lets_pass(policy: Policy, entry: Entry) -> bool:
    """Whether a policy accepts an entry.

    Raises:
        EntryError: its answer would have to be awaited: what is not awaited is true of every entry.

    """
    answer: object = policy(entry)
    if not isinstance(answer, bool) and isinstance(answer, Awaitable):
        if isinstance(answer, Coroutine):
            answer.close()
        raise _awaited(policy)
    return bool(answer)


def _awaited(policy: Policy) -> EntryError:
    return EntryError(
        f"the policy {name_of(policy)} is asynchronous; a policy judges within a transaction, where nothing is awaited",
        hint="make it a plain function of an entry (def, not async def)",
        code="policy",
    )


def name_of(policy: str | Policy) -> str:
    """Return what verdicts call a policy: its name, but never one of ours for a function of the caller's."""
    if isinstance(policy, str):
        return policy
    name = getattr(policy, "__name__", None)
    return name if isinstance(name, str) and POLICIES.get(name, policy) is policy else "own"


def _is_harmless(value: dict[str, Any]) -> bool:
    line_type = value.get("type")
    rule = _RULES.get(line_type) if isinstance(line_type, str) else None
    return rule is not None and rule(value)


def _custom(value: dict[str, Any]) -> bool:
    return _is_filled(value.get("customType"))


def _label(value: dict[str, Any]) -> bool:
    return _is_filled(value.get("targetId")) and _is_text_or_absent(value, "label")


def _session_info(value: dict[str, Any]) -> bool:
    return _is_text_or_absent(value, "name")


def _delivery(value: dict[str, Any]) -> bool:
    message = value.get("message")
    if not isinstance(message, dict) or message.get("role") != "assistant":
        return False
    if message.get("openclawDeliveryMirror") is not None:
        return True
    model = message.get("model")
    return message.get("provider") == "openclaw" and isinstance(model, str) and model in _OWN_MODELS


def _is_filled(value: object) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _is_text_or_absent(value: dict[str, Any], key: str) -> bool:
    # null is neither: the file fence refused it, and no program writes it.
    found = value.get(key, _ABSENT)
    return found is _ABSENT or isinstance(found, str)


_RULES: Final[Mapping[str, Callable[[dict[str, Any]], bool]]] = {
    "custom": _custom,
    "label": _label,
    "session_info": _session_info,
    "message": _delivery,
}
POLICIES: Final[Mapping[str, Policy]] = {"cotenant": cotenant, "strict": strict}
