"""What two writers are put through: each trial plays one way in which stores lose, mix up or overlook.

A trial does nothing but tell the two processes what to do, and count. None of them waits
for a time to pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from journal.testing.two_writers.hands import Hand, Hands

ROUNDS: Final = 10
RACES: Final = 40
OPENS: Final = 20
MANY: Final = 100
KILLED_AFTER: Final = (3, 17, 41)
BEHIND_S: Final = 3600


class Result(NamedTuple):
    """What came of one trial.

    Attributes:
        held: in how many of its rounds the store did what it should; None where the
            store does not offer what is tried.
        rounds: how many there were.
        told: the first thing that went wrong; empty where nothing did.

    """

    held: int | None
    rounds: int
    told: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether it held in each round; None where it was not tried."""
        return None if self.held is None else self.held == self.rounds


class Trial(NamedTuple):
    """One thing that two writers do to each other."""

    name: str
    asks: str
    run: Callable[[Hands], Result]


def _counted(faults: Iterable[str | None]) -> Result:
    """Return the result of rounds, each given by what went wrong in it, or None."""
    found = list(faults)
    wrong = [fault for fault in found if fault is not None]
    return Result(len(found) - len(wrong), len(found), wrong[0] if wrong else "")


def _lost_or_doubled(kept: Iterable[str], items: list[str]) -> str | None:
    for text in kept:
        if items.count(text) != 1:
            how = "is not there" if text not in items else f"is there {items.count(text)} times"
            return f"{text!r} was said to be kept, and {how}"
    return None


# -- the trials --------------------------------------------------------------------------


def interleaving(hands: Hands) -> Result:
    """Both add a hundred texts at the same time."""
    hands.opened()
    hands.a.tell("loop", name="a", times=MANY)
    hands.b.tell("loop", name="b", times=MANY)
    ends = [_until_done(hand) for hand in (hands.a, hands.b)]
    fault = next((end.get("error") for _, end in ends if "error" in end), None)
    if fault is not None:
        return Result(sum(len(kept) for kept, _ in ends), 2 * MANY, str(fault))
    items = hands.a.items()
    faults = [_lost_or_doubled([text], items) for kept, _ in ends for text in kept]
    for kept, _ in ends:
        own = [text for text in items if text in set(kept)]
        if own != kept:
            faults.append("one writer's texts are not in the order in which it added them")
    return _counted(faults)


def _until_done(hand: Hand) -> tuple[list[str], dict[str, Any]]:
    kept: list[str] = []
    while True:
        answer = hand.answer()
        if "kept" not in answer:
            return kept, answer
        kept.append(answer["kept"])


def first_open(hands: Hands) -> Result:
    """Both open a store that is not there yet, at the same time, and add a text."""
    return _counted(_open_together(hands) for _ in range(OPENS))


def _open_together(hands: Hands) -> str | None:
    place = hands.fresh()
    answers = hands.both("begin", {"place": place, "text": "a"}, {"place": place, "text": "b"})
    for answer in answers:
        if "error" in answer:
            return str(answer["error"])
    return _lost_or_doubled("ab", hands.a.items())


def lost_update(hands: Hands) -> Result:
    """One adds from what it read before the other added; refused, it reads and adds again."""
    hands.opened()
    return _counted(_update_over(hands, str(number)) for number in range(ROUNDS))


def _update_over(hands: Hands, number: str) -> str | None:
    hands.a.items()
    hands.b.items()
    told = [(hands.b, f"b{number}"), (hands.a, f"a{number}")]
    for hand, text in told:
        answer = hand.ask("persist", text=text)
        if "error" in answer:
            return str(answer["error"])
    return _lost_or_doubled([text for _, text in told], hands.b.items())


def stale_writer(hands: Hands) -> Result:
    """Both read, then both add at the same time: one of them goes out from what is not so any more."""
    hands.opened()
    return _counted(_race(hands, str(number)) for number in range(RACES))


def _race(hands: Hands, number: str) -> str | None:
    hands.a.items()
    hands.b.items()
    answers = hands.both("add", {"text": f"a{number}"}, {"text": f"b{number}"})
    kept = [name for name, answer in zip("ab", answers, strict=True) if "error" not in answer]
    if len(kept) == len("ab"):
        return "both were accepted, and nobody was told"
    if not kept:
        return f"neither was accepted: {answers[0]['error']}"
    items = hands.a.items()
    refused = "b" if kept == ["a"] else "a"
    if f"{refused}{number}" in items:
        return "what was refused is there"
    return _lost_or_doubled([f"{kept[0]}{number}"], items)


def anothers_item(hands: Hands) -> Result:
    """One takes its newest text back, but the other has added one since."""
    if not hands.opened():
        return Result(None, 0)
    return _counted(_pop_after(hands, str(number)) for number in range(ROUNDS))


def _pop_after(hands: Hands, number: str) -> str | None:
    hands.a.items()
    hands.a.ask("add", text=f"a{number}")
    hands.b.items()
    hands.b.ask("add", text=f"b{number}")
    answer = hands.a.ask("pop")
    if f"b{number}" not in hands.b.items():
        return f"one writer took the other's text out, and got {answer.get('item')!r}"
    return None


def crash(hands: Hands) -> Result:
    """One is killed in the midst of adding; the other goes on, and so does the next."""
    return _counted(_killed(hands, after) for after in KILLED_AFTER)


def _killed(hands: Hands, after: int) -> str | None:
    place = hands.fresh()
    for hand in (hands.a, hands.b):
        answer = hand.ask("open", place=place)
        if "error" in answer:
            return str(answer["error"])
    hands.b.tell("loop", name="b", times=10 * MANY)
    kept: list[str] = []
    while len(kept) < after:
        answer = hands.b.answer()
        if "kept" not in answer:
            return str(answer.get("error"))
        kept.append(answer["kept"])
    hands.b.kill()
    steps = [
        (hands.a, "persist", {"text": "a"}),
        (hands.b, "open", {"place": place}),
        (hands.b, "persist", {"text": "c"}),
    ]
    for hand, do, told in steps:
        answer = hand.ask(do, **told)
        if "error" in answer:
            return str(answer["error"])
    return _lost_or_doubled([*kept, "a", "c"], hands.a.items())


def clock(hands: Hands) -> Result:
    """Put the clock of one an hour behind: that makes nothing stale, and hides nothing."""
    hands.b.start(behind_s=BEHIND_S)
    try:
        hands.opened()
        return _counted([_in_turns(hands), _behind(hands)])
    finally:
        hands.b.kill()  # its clock with it


def _in_turns(hands: Hands) -> str | None:
    for number, hand in enumerate((hands.a, hands.b) * 3):
        hand.items()
        answer = hand.ask("add", text=str(number))
        if "error" in answer:
            return f"refused, and nobody had written since: {answer['error']}"
    items = hands.a.items()
    return None if items == [*"012345"] else f"the order is {items}"


def _behind(hands: Hands) -> str | None:
    hands.a.items()
    hands.a.ask("add", text="the newest by the clock")
    hands.a.items()
    hands.b.items()
    hands.b.ask("add", text="behind")
    answer = hands.a.ask("add", text="stale")
    return None if "error" in answer else "a stale text was accepted: the other's clock hid its own"


def fork(hands: Hands) -> Result:
    """Fork one: the child adds by what its parent had opened, and both go on."""
    hands.opened()
    return _counted([_forked(hands)])


def _forked(hands: Hands) -> str | None:
    hands.a.items()
    hands.a.ask("add", text="1")
    answer = hands.a.ask("fork", text="2")
    if "error" in answer:
        return str(answer["error"])
    child = answer["child"]
    if "no answer" in child.get("error", ""):
        return f"the child: {child['error']}"
    last = hands.a.ask("persist", text="3")
    if "error" in last:
        return f"the parent, afterwards: {last['error']}"
    kept = ["1", "3"] if "error" in child else ["1", "2", "3"]
    return _lost_or_doubled(kept, hands.b.items())


TRIALS: Final = (
    Trial("interleaving", "both add a hundred at once", interleaving),
    Trial("first open", "both open a new store at once", first_open),
    Trial("lost update", "one adds over what it has not seen", lost_update),
    Trial("stale writer", "both read, then both add at once", stale_writer),
    Trial("another's item", "one pops what the other has added", anothers_item),
    Trial("crash", "one is killed while it adds", crash),
    Trial("clock", "one's clock is an hour behind", clock),
    Trial("fork", "a child uses what its parent opened", fork),
)
