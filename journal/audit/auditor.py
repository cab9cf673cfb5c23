"""The audit of a whole journal, part by part, over one snapshot."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import cached_property
from threading import Event
from typing import TYPE_CHECKING, Any, Final

from journal import tables
from journal.aliases import Aliases
from journal.audit import adopted, database, keyring, projections, proofs, redactions
from journal.audit.ahead import Ahead, is_worth
from journal.audit.anchored import Anchors, numbers_of
from journal.audit.declarations import Declarations, Registered
from journal.audit.findings import Findings
from journal.audit.held import MirrorAudit
from journal.audit.report import BROKEN, NOT_ANCHORED, NOT_VERIFIED, OK, Report
from journal.audit.scope import Scope
from journal.audit.sessions import Head, SessionAudit
from journal.audit.sighting import Sighting
from journal.audit.source import opened, path_of, text
from journal.audit.tally import Tally
from journal.dialects.address import is_url
from journal.engine import is_driver_error
from journal.explanation import counted
from journal.fields import UNFIT
from journal.model import REGISTRY_ID, REGISTRY_KEY

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from journal.audit.anchored import AnchorFile
    from journal.audit.source import Source
    from journal.note import Verifier

ALWAYS_OPEN: Final = (
    (
        "whether the newest entries were cut off, or an older copy of the whole journal was put back, as far as no "
        "fence, verdict, parked write or examined position tells: that takes an anchor (journal anchor)"
    ),
    "who held the key: whoever has it can declare any writer and seal as any; attribution is asserted",
    "times: they are recorded as each writer's clock said, and order nothing",
    (
        "row numbers, but for their order, and rows deleted from fences, verdicts, parked, pending_inputs, instances that wrote "
        "nothing, migrations and migrated_files: no entry counts them"
    ),
    "the original files of a migration: only what is in the database was read",
)
_PER_SESSION: Final = (
    tables.claims,
    tables.fences,
    tables.verdicts,
    tables.parked,
    tables.pending_inputs,
    tables.layouts,
    tables.migrated_files,
    tables.redactions,
)


def audit(  # noqa: PLR0913 - what it is held against
    path: str | Path,
    *,
    key_file: str | os.PathLike[str] | None = None,
    sessions: Sequence[str] = (),
    anchors: Sequence[AnchorFile] = (),
    verifiers: Sequence[Verifier] = (),
    mirrors: bool = True,
    since_us: int | None = None,
    quick: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Check every rule that a database can show, and change nothing.

    Args:
        path: the database file, or ``sqlite:///PATH``.
        key_file: the file with the secret; else as for opening a journal. Without
            the key what can be checked is checked, and the verdict is never ok.
        sessions: only these, by key or by what else they are called; the registry and what belongs to the whole
            journal are checked in any case.
        anchors: signed statements of heads, kept elsewhere until now.
        verifiers: public keys of those who may have signed them; the one that is
            derived from the journal's own key is known in any case.
        mirrors: hold mirror files against their sessions; not for a copy of a
            journal, whose files belong to the journal itself.
        since_us: only sessions with an entry this new, by its writer's clock; the
            others are counted among what was not checked.
        quick: check seals, order, claims and tables, and leave out what reads every
            byte: the lines themselves, SQLite's integrity check and mirrors. The verdict
            is never ok.
        progress: called now and then with the bytes of lines that were looked at, and
            those there are.

    Raises:
        NotFoundError: there is no journal, or no such session.
        CorruptError: it is no database.
        SchemaError: another program's database, or a newer version's journal.
        EntryError: an anchor that is none.

    """
    with sighted(
        path, key_file=key_file, sessions=sessions, anchors=anchors, verifiers=verifiers,
        mirrors=mirrors, since_us=since_us, quick=quick, progress=progress,
    ) as sighting:  # fmt: skip
        return sighting.report


@contextmanager
def sighted(  # noqa: PLR0913 - as for an audit
    path: str | Path,
    *,
    key_file: str | os.PathLike[str] | None = None,
    sessions: Sequence[str] = (),
    anchors: Sequence[AnchorFile] = (),
    verifiers: Sequence[Verifier] = (),
    mirrors: bool = True,
    since_us: int | None = None,
    quick: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Sighting]:
    """Audit a journal and keep its snapshot open for the block; arguments and errors are those of an audit."""
    with (
        closing(Ahead(path_of(path), is_wanted=not quick and not is_url(path))) as ahead,
        opened(path_of(path), ahead) as source,
    ):
        scope = Scope(tuple(sessions), since_us, is_quick=quick)
        run = _Audit(
            source,
            key_file,
            scope,
            anchors,
            verifiers,
            mirrors=mirrors,
            progress=progress,
            ahead=ahead,
        )
        report = run.report()
        yield Sighting(source, run.keyring, run.known, report)


class _Audit:
    """One audit: what it knows so far, and what it found."""

    def __init__(  # noqa: PLR0913
        self,
        source: Source,
        key_file: str | os.PathLike[str] | None,
        scope: Scope,
        anchors: Sequence[AnchorFile],
        verifiers: Sequence[Verifier],
        *,
        mirrors: bool,
        progress: Callable[[int, int], None] | None,
        ahead: Ahead,
    ) -> None:
        self.source = source
        self.ahead = ahead
        self.scope = scope
        self.progress = progress
        self.mirrors = mirrors
        self.found = Findings(source.path)
        self.known = Declarations(aliases=Aliases() if scope.sessions else None)
        self.heads: list[Head] = []
        self.old: set[str] = set()
        self.tally = Tally()
        self.counts: dict[str, int] = {}
        self.open = list(ALWAYS_OPEN)
        self.keyring = keyring.Keyring(None, None, "the journal's id could not be read")
        with self.part("the key"):
            self.keyring = keyring.find(source, key_file)
        self.anchors = Anchors(self.keyring, anchors, verifiers)

    def report(self) -> Report:
        """Run every part and return what came of it."""
        self._check_database()
        with self._integrity():
            self._check_registry()
            self._check_sessions()
            self._check_the_rest()
            self._check_anchors()
        findings = self.found.all()
        journal = {
            "path": self.source.path,
            "id": self.keyring.journal_id,
            "schema": self.source.version(),
            "key": "at hand" if self.keyring.why_not is None else self.keyring.why_not,
        }
        return Report(
            self._verdict(any(finding.severity == "broken" for finding in findings)),
            journal,
            self.scope.sessions or None,
            tuple(self.heads),
            self._completeness(),
            findings,
            tuple(self.open),
            database.sqlite_facts(),
        )

    def _verdict(self, is_broken: bool) -> str:  # noqa: FBT001 - one fact
        if is_broken:
            return BROKEN
        if self.keyring.key is None or self.scope.is_quick:
            return NOT_VERIFIED
        return OK if self.anchors.is_anchored else NOT_ANCHORED

    def _completeness(self) -> dict[str, int]:
        counts = {"sessions": len(self.heads), "registered_sessions": len(self.known.sessions)}
        counts |= {name: getattr(self.tally, name) for name in Tally.__slots__}
        counts |= {"writers": len(self.known.writers), "instances": len(self.known.instances)}
        return counts | self.counts

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Go on with the other parts if SQLite cannot read this one, or what is in it fits no column, and say so."""
        try:
            with self.source.apart():
                yield
        except Exception as error:
            # Without the key facts are believed that no key holder sealed, whatever is in them.
            is_odd = self.keyring.key is None or self._is_unruly
            is_unfit = isinstance(error, UNFIT) and is_odd  # else it is a bug of ours
            if not (is_unfit or is_driver_error(error)):
                raise
            self.found.add("J502", name, evidence={"sqlite": text(str(error))})
            self.open.append(f"{name}: it could not be read whole")

    @cached_property
    def _is_unruly(self) -> bool:
        """Whether somebody changed the tables' rules, or put there what they forbid."""
        odd = Findings(self.source.path)
        database.check_schema(self.source, odd)
        return bool(odd) or database.integrity(self.source.path) not in ([], ["ok"])

    # -- the parts --------------------------------------------------------------------

    def _check_database(self) -> None:
        with self.part("the schema"):
            others = database.check_schema(self.source, self.found)
            if others:
                self.open.append(f"{others} tables in the file that are not the journal's")
        database.check_files(self.source.path, self.found)
        if self.source.schema_name is not None:
            self.open += database.NOT_ON_SERVERS
        elif not database.sqlite_facts()["wal_reset_fixed"]:
            self.open.append("damage by SQLite's WAL-reset bug: the library at hand has it")

    @contextmanager
    def _integrity(self) -> Iterator[None]:
        """Have SQLite check the file while the block runs."""
        if self.scope.is_quick:
            yield
            return
        ended = Event()
        with ThreadPoolExecutor(1, thread_name_prefix="integrity") as pool:
            checking = pool.submit(database.integrity, self.source.path, ended)
            try:
                yield
                with self.part("the integrity of the file"):
                    database.check_integrity(checking.result(), self.found)
            finally:
                ended.set()  # whoever interrupts an audit waits for no check of gigabytes

    def _check_registry(self) -> None:
        if self.keyring.mac is None:
            self.open.append(
                "seals, and the proofs of instances, fences, verdicts and parked writes: no key"
            )
            evidence = {"key": self.keyring.why_not}
            self.found.add(
                "J101", "the journal's key is not at hand, or is another's", evidence=evidence
            )
            self._believe_instances()
        else:
            with self.part("the instances"):
                for evidence in proofs.instance_faults(self.source, self.keyring.mac, self.known):
                    self.found.add("J408", "the proof does not hold", evidence=evidence)
        self._audit_session(REGISTRY_ID, REGISTRY_KEY)
        self._tell_lost_keys()
        for seq, what in self.known.twice:
            self.found.add("J111", what, session=REGISTRY_KEY, seq=seq)
        with self.part("the sessions that rows prove"):
            self._adopt()

    def _tell_lost_keys(self) -> None:
        """Say which entries stand under a seal that nobody can check any more."""
        for key_id in self.keyring.lost:
            later = (each for each in self.known.eras.values() if each["was"] == key_id)
            began: dict[str, Any] = next(later, {})
            how = "was at hand" if began.get("was_at_hand") else "was lost"
            self.open.append(
                f"who wrote the entries of key era {key_id}: its key is not at hand (it {how} when the "
                "next era began); that they are what they were then was checked"
            )

    def _believe_instances(self) -> None:
        with self.part("the instances"):
            for row in self.source.table(tables.instances):
                self.known.learn_instance(row)

    def _adopt(self) -> None:
        """Take for known what rows prove; tell of it, and of the rows that prove nothing."""
        for number, key in adopted.lost(self.source, self.keyring, self.known, self.scope.sessions):
            if key is None:
                self._tell_unregistered(number)
            else:
                self.known.know(number, Registered(key, None))
                self.found.add("J103", "its entries hold under its number and key", session=key)

    def _tell_unregistered(self, number: int) -> None:
        (count,) = self.source.query(
            "SELECT count(*) FROM entries WHERE session_id = ?", number
        ).fetchone()
        self.tally.rows += count
        self.tally.strays += count
        evidence = {"session": number, "rows": count}
        self.found.add("J102", "no sealed entry registers it", evidence=evidence)

    def _check_sessions(self) -> None:
        chosen, left = self.scope.chosen(self.source, self.known)
        self.open += left
        # Whoever cuts a session's newest entries off makes it an old one, too.
        old = self.scope.asked(self.known) - chosen
        self.old = {self.known.sessions[number].key for number in old}
        told = self.scope.telling(self.source, chosen, self.progress)
        self._share_out(sorted(chosen))
        for number in sorted(chosen):
            self._audit_session(number, self.known.sessions[number].key, told)

    def _share_out(self, numbers: list[int]) -> None:
        """Have others look at large sessions from the far end, but for migrated ones: those are summed in order."""
        keyring = self.keyring
        if not self.ahead or keyring.keys is None:
            return
        with self.part("the table of sessions"):
            found = self.source.query("SELECT id, head_seq, cum_bytes FROM sessions").fetchall()
            sizes = {number: sizes for number, *sizes in found}
            migrated = set(self.source.session_ids(tables.migrated_files.name))
            shared = [number for number in numbers if number in sizes and number not in migrated]
            told = [(number, self.known.sessions[number].key, *sizes[number]) for number in shared]
            told = [each for each in told if is_worth(each[2])]
            redacted = {number: self._redacted(number, key) for number, key, *_ in told}
            self.ahead.plan(told, keyring.keys, self.known, redacted)

    def _redacted(self, number: int, key: str) -> dict[int, int]:
        return redactions.sizes(
            redactions.read(self.source, number, self.keyring.sealer(number, key))
        )

    def _audit_session(
        self, number: int, key: str, told: Callable[[int], None] | None = None
    ) -> None:
        with self.part(f"session {key!r}"):
            session = SessionAudit(self.source, self.keyring, self.known, self.found, number, key)
            session.run(
                told, is_quick=self.scope.is_quick and number != REGISTRY_ID, ahead=self.ahead
            )
            self.tally.add(session.tally)
            self.heads.append(session.head)
            for name, count in session.counts.items():
                self.counts[name] = self.counts.get(name, 0) + count
            self._hold_mirrors(session)
            if session.layouts.extents is None:
                self.open.append(
                    f"the file order of {key!r}: an entry that may have been a layout is gone"
                )
            for kind, count in session.unknown.items():
                self.open.append(
                    f"{counted(count, 'control entry', 'control entries')} of {key!r} of a kind this version does not know: {kind}"
                )

    def _hold_mirrors(self, session: SessionAudit) -> None:
        if self.scope.is_quick:
            return
        held = MirrorAudit(self.source, self.keyring, self.known, self.found, self.open)
        held.check(session, are_here=self.mirrors)

    def _check_anchors(self) -> None:
        """J80…: look for every row that an anchor names."""
        anchors = self.anchors
        with self.part("the anchors"):
            numbers = numbers_of(self.known.session_ids, REGISTRY_KEY)
            anchors.check(self.source, numbers, self.heads, self.old)
        for fault in anchors.faults:
            self.found.add(
                fault.check, fault.cause, session=fault.session, seqs=fault.seqs, evidence=fault.evidence
            )  # fmt: skip
        if anchors.is_anchored:
            entries, sessions = anchors.newer(self.heads)
            self.open[0] = (
                f"what came after the newest anchor, {counted(entries, 'entry', 'entries')} in {counted(sessions, 'session')}: "
                "whether more of it was cut off takes a newer anchor"
            )

    def _check_the_rest(self) -> None:
        with self.part("the table of writers"):
            for cause, evidence in projections.writer_faults(self.source, self.known):
                self.found.add("J405", cause, evidence=evidence)
        with self.part("the table of meta"):
            for cause, evidence in projections.meta_faults(
                self.source, self.known, self.keyring.journal_id
            ):
                self.found.add("J406", cause, evidence=evidence)
        with self.part("the table of mirrors"):
            for cause, evidence in projections.mirror_faults(self.source, self.known):
                self.found.add("J415", cause, evidence=evidence)
        with self.part("the table of sessions"):
            for evidence in projections.unregistered(self.source, self.known):
                self.found.add("J402", "no sealed entry registers it", evidence=evidence)
        self._check_strangers()

    def _check_strangers(self) -> None:
        """J413, J602: rows of sessions that nobody registered."""
        for table in _PER_SESSION:
            with self.part(f"the table {table.name}"):
                for number in self.source.session_ids(table.name):
                    if number not in self.known.sessions:
                        check = "J602" if table is tables.migrated_files else "J413"
                        evidence: dict[str, Any] = {"table": table.name, "session": number}
                        self.found.add(
                            check, "its session is registered by no sealed entry", evidence=evidence
                        )
