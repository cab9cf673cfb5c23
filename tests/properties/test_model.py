"""A journal against a model of forty lines, with a thief beside it; looked at after every step.

``pytest tests/properties/test_model.py --hypothesis-profile=long`` looks for longer.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, assume, reject, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from journal import EntryError, Journal, SessionTakeover
from journal.audit import audit
from tests.chains import walk
from tests.thieves import Thief

if TYPE_CHECKING:
    from journal import Entry, Session
    from journal.fence import Fence
    from journal.verdict import Verdict

KEYS: Final = ("agent:main:main", "agent:main:cron")
WRITERS: Final = {"gateway": "run", "heartbeat": "heartbeat"}
FENCES: Final = 4


class Line(NamedTuple):
    """One line that must be there."""

    seq: int
    epoch: int
    writer: str
    body: bytes
    instance: object


@dataclass
class Model:
    """One session: what stands in it, what a thief put there, where its chain ends."""

    lines: list[Line] = field(default_factory=list)
    foreign: set[int] = field(default_factory=set)
    strays: set[int] = field(default_factory=set)
    unnamed: bool = False
    head: int = 0
    epoch: int = 0
    parked: int = 0

    def free(self, after: int) -> int:
        """Return the first seq after another on which nothing stands."""
        return next(seq for seq in range(after + 1, after + 100) if seq not in self.strays)

    def wrote(
        self, entries: list[Entry], bodies: list[bytes], writer: str, instance: object
    ) -> None:
        """One write: a new epoch, the next free seqs; what was odd is named before it."""
        first = self.free(self.head)
        assert entries[0].seq > first if self.unnamed else entries[0].seq == first
        for before, entry in pairwise(entries):
            assert entry.seq == self.free(before.seq)
        assert {entry.epoch for entry in entries} == {self.epoch + 1}
        for entry, body in zip(entries, bodies, strict=True):
            self.lines.append(Line(entry.seq, entry.epoch, writer, body, instance))
        self.head, self.epoch, self.unnamed = entries[-1].seq, self.epoch + 1, False


@dataclass
class Raised:
    """A fence that is up: where it stands, and which foreign rows it knew."""

    fence: Fence
    key: str
    opened: object
    instance: object
    mark: int
    known: set[int]

    def moved(self, model: Model) -> None:
        """Note that an accepted check has seen all that stands there now."""
        self.mark, self.known = model.head, set(model.foreign)

    def expected(self, model: Model) -> set[int]:
        """Return the seqs that make it a takeover."""
        return {seq for seq in model.foreign - self.known if seq >= self.mark}

    def arrived(self, model: Model) -> list[int]:
        """Return the seqs of what others wrote since."""
        return [
            line.seq
            for line in model.lines
            if line.seq > self.mark
            and line.instance != self.instance
            and line.seq not in model.foreign
        ]


class JournalMachine(RuleBasedStateMachine):
    """Honest co-tenants through two open journals, and a thief with plain SQL."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.home = tempfile.TemporaryDirectory()
        self.path = Path(self.home.name) / "agent.db"
        self.key_file = self.template.with_name("key")
        shutil.copyfile(self.template, self.path)
        self.told: list[Verdict] = []
        self.journals = [self._open(), self._open()]
        self.thief = Thief(self.path)
        self.models = {key: Model() for key in KEYS}
        self.requests: dict[tuple[str, str], tuple[str, Entry]] = {}
        self.fences: list[Raised] = []
        self.count = 0

    def _open(self) -> Journal:
        return Journal(
            self.path, key_file=self.key_file, durability="normal", on_takeover=self.told.append
        )

    def teardown(self) -> None:
        self.thief.close()
        for journal in self.journals:
            journal.close()
        self.home.cleanup()

    def handle(self, which: int, key: str, writer: str = "gateway") -> Session:
        return self.journals[which].session(key, writer=writer, role=WRITERS[writer])

    def body(self) -> bytes:
        self.count += 1
        return b'{"type":"message","n":%d}' % self.count

    def instance(self, which: int, writer: str) -> tuple[Journal, str]:
        return self.journals[which], writer

    # -- the honest -------------------------------------------------------------------

    @initialize(key=st.sampled_from(KEYS))
    def begin(self, key: str) -> None:
        self.extend(0, key, "gateway", 1)

    @rule(
        which=st.integers(0, 1),
        key=st.sampled_from(KEYS),
        writer=st.sampled_from(sorted(WRITERS)),
        size=st.integers(1, 3),
    )
    def extend(self, which: int, key: str, writer: str, size: int) -> None:
        bodies = [self.body() for _ in range(size)]
        session = self.handle(which, key, writer)
        entries = [session.append(bodies[0])] if size == 1 else session.extend(bodies)
        self.models[key].wrote(entries, bodies, writer, self.instance(which, writer))

    @rule(which=st.integers(0, 1), keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=3))
    def batch(self, which: int, keys: list[str]) -> None:
        bodies = [self.body() for _ in keys]
        with self.journals[which].batch() as batch:
            receipts = [
                batch.append(self.handle(which, key), body)
                for key, body in zip(keys, bodies, strict=True)
            ]
        for key, body, receipt in zip(keys, bodies, receipts, strict=True):
            instance = self.instance(which, "gateway")
            self.models[key].wrote(receipt.entries, [body], "gateway", instance)

    @rule(
        which=st.integers(0, 1),
        key=st.sampled_from(KEYS),
        name=st.sampled_from("rs"),
        same=st.booleans(),
    )
    def request(self, which: int, key: str, name: str, same: bool) -> None:  # noqa: FBT001
        session, done = self.handle(which, key), self.requests.get((key, name))
        if done is None:
            body = self.body()
            entry = session.append(body, request_id=name)
            self.models[key].wrote([entry], [body], "gateway", self.instance(which, "gateway"))
            self.requests[key, name] = (body.decode(), entry)
        elif done[1].seq in self.models[key].foreign:
            reject()  # what becomes of an edited line's request is another test's
        elif same:
            again = session.append(done[0].encode(), request_id=name)
            assert (again.seq, again.epoch, again.body) == (
                done[1].seq,
                done[1].epoch,
                done[1].body,
            )
        else:
            with pytest.raises(EntryError):
                session.append(self.body(), request_id=name)

    @rule(which=st.integers(0, 1))
    def reopen(self, which: int) -> None:
        old = self.journals[which]
        old.close()
        self.fences = [raised for raised in self.fences if raised.opened is not old]
        self.journals[which] = self._open()

    # -- fences -----------------------------------------------------------------------

    @precondition(lambda self: len(self.fences) < FENCES)
    @rule(which=st.integers(0, 1), key=st.sampled_from(KEYS), stored=st.booleans())
    def raise_fence(self, which: int, key: str, stored: bool) -> None:  # noqa: FBT001
        model, journal = self.models[key], self.journals[which]
        fence = self.handle(which, key).fence()
        if stored and model.head:
            fence = journal.fence(fence.stored())
        instance = self.instance(which, "gateway")
        self.fences.append(Raised(fence, key, journal, instance, model.head, set(model.foreign)))

    @precondition(lambda self: self.fences)
    @rule(pick=st.integers(0, FENCES - 1), drop=st.booleans())
    def check(self, pick: int, drop: bool) -> None:  # noqa: FBT001
        raised = self.fences[pick % len(self.fences)]
        model = self.models[raised.key]
        verdict = raised.fence.check(raise_=False)
        self.judged(raised, verdict)
        if verdict.accepted:
            raised.moved(model)
        if drop:
            self.fences.remove(raised)

    @precondition(lambda self: self.fences)
    @rule(pick=st.integers(0, FENCES - 1))
    def fence_append(self, pick: int) -> None:
        raised = self.fences[pick % len(self.fences)]
        model, body = self.models[raised.key], self.body()
        takeover = None
        try:
            entry = raised.fence.append(body)
        except SessionTakeover as error:
            takeover = error
        if takeover is None:
            assert raised.expected(model) == set()
            model.wrote([entry], [body], "gateway", raised.instance)
            raised.moved(model)
        else:
            self.judged(raised, takeover.verdict)
            assert takeover.parked.lines == (body + b"\n",)
            model.parked += 1

    def judged(self, raised: Raised, verdict: Verdict) -> None:
        """Exactly the foreign rows since the fence are named, and nobody else's."""
        model = self.models[raised.key]
        assert {entry.seq for entry in verdict.foreign} == raised.expected(model)
        assert verdict.accepted == (not verdict.foreign)
        if raised.opened in self.journals:
            assert [entry.seq for entry in verdict.arrived] == raised.arrived(model)

    # -- the thief --------------------------------------------------------------------

    @rule(key=st.sampled_from(KEYS), far=st.integers(0, 4))
    def insert(self, key: str, far: int) -> None:
        """Copy the newest honest row to the next free seq, or further on, and move the head along."""
        model = self.models[key]
        assume(model.lines)
        seq = model.free(model.head + far)
        self.thief.insert_copy(key, of=model.lines[-1].seq, seq=seq, epoch=model.epoch + 1)
        model.foreign.add(seq)
        model.strays.add(seq)
        model.unnamed = True

    @rule(key=st.sampled_from(KEYS), back=st.integers(0, 3))
    def edit(self, key: str, back: int) -> None:
        """Change what a line says."""
        model = self.models[key]
        assume(len(model.lines) > back)
        seq = model.lines[-1 - back].seq
        self.thief.edit("body", seq, b'{"type":"message","n":"forged"}', key)
        model.foreign.add(seq)

    # -- what must hold ---------------------------------------------------------------

    @invariant()
    def everything_honest_is_read_and_nothing_else(self) -> None:
        for key, model in self.models.items():
            honest = [line[:4] for line in model.lines if line.seq not in model.foreign]
            for journal in self.journals:
                reading = journal.session(key).read()
                assert [(e.seq, e.epoch, e.writer, e.body) for e in reading] == honest
                assert {entry.seq for entry in reading.stepped_over} == model.foreign
            assert len(self.handle(0, key).parked()) == model.parked

    @invariant()
    def exactly_the_foreign_rows_are_odd(self) -> None:
        odd = walk(self.path, self.key_file).odd
        found = {(key, seq) for key, seq, what in odd if what in ("stray", "altered")}
        assert found == {(key, seq) for key, model in self.models.items() for seq in model.foreign}
        # The projection is put right by the next honest write.
        others = [key for key, _, what in odd if what not in ("stray", "altered")]
        assert set(others) <= {key for key, model in self.models.items() if model.unnamed}

    @invariant()
    def the_audit_names_exactly_the_foreign_rows(self) -> None:
        findings = audit(self.path, key_file=self.key_file).findings
        for key, model in self.models.items():
            named = {
                seq
                for finding in findings
                if finding.session == key
                for first, last in finding.ranges
                for seq in range(first, last + 1)
            }
            assert named == model.foreign
        dirty = {key for key, model in self.models.items() if model.foreign or model.unnamed}
        assert {finding.session for finding in findings} <= dirty

    @invariant()
    def nobody_honest_was_told_of(self) -> None:
        for verdict in self.told:
            assert {entry.seq for entry in verdict.foreign} <= self.models[verdict.session].foreign


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a journal once; each example works on a copy of it."""
    home = tmp_path_factory.mktemp("template")
    with Journal(home / "made.db", key_file=home / "key"):
        pass
    return home / "made.db"


def test_the_journal_is_its_model(template: Path, request: pytest.FixtureRequest) -> None:
    """After every step reading gives the model, and what is odd is exactly what a thief did."""
    from hypothesis.stateful import run_state_machine_as_test

    JournalMachine.template = template
    chosen: Any = settings(
        max_examples=25,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        phases=[phase for phase in Phase if phase is not Phase.explain],
    )
    if request.config.getoption("--hypothesis-profile", None):
        chosen = settings.default
    run_state_machine_as_test(JournalMachine, settings=chosen)
