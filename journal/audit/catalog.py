"""The checks by their ids: what each says, how grave it is, what it proves and what it does not.

An id never changes its meaning and is never given again. The hundreds tell the
subject: 1 identity, 2 order, 3 what was changed or vanished, 4 the tables
beside the chain, 5 the database itself, 6 migrated files, 7 mirror files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["broken", "warning", "notice"]

ABOUT: Final = {
    1: "identity",
    2: "order",
    3: "changed or vanished",
    4: "tables beside the chain",
    5: "the database",
    6: "migrated files",
    7: "mirror files",
    8: "anchors",
}
RULES: Final = {
    1: "identity inside the transaction",
    2: "order",
    3: "nothing changes, nothing vanishes",
    4: "durable on return",
    5: "trust is declared identity plus a valid seal",
    6: "no laundering",
    7: "a verdict is an answer, not a state",
    8: "the superseded run is the one that fails",
    9: "the mirror is derived",
    10: "every byte of a migrated file is in the journal",
    11: "the auditor trusts nobody",
}


# Of these somebody is to decide: accept or reject.
SETTLED: Final = ("J110", "J301", "J302")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing the audit can find.

    Attributes:
        id: ``J`` and three digits.
        rule: the number of the rule it belongs to, of ``RULES``.
        severity: "broken": a rule does not hold. "warning": something could not
            be proved, or stands where it should not. "notice": to be known.
        title: what is wrong, in a few words.
        proves: what its finding proves.
        not_proved: what a reader might take it to prove, and it does not.
        next: the command to go on with; ``{session}`` and ``{seq}`` are filled in.

    """

    id: str
    rule: int
    severity: Severity
    title: str
    proves: str
    not_proved: str
    next: str


_SHOW: Final = "show {session} {seq}"
_LOG: Final = "log {session}"
_MIRROR: Final = "mirror status {session}"
_STATUS: Final = "status"
_UPGRADE: Final = "upgrade"
_WHO: Final = "who did it, or when: whoever can write the file can do it"

_ALL: Final = (
    # -- identity ---------------------------------------------------------------------
    Check(
        "J101", 5, "warning", "the seals could not be checked",
        "that no seal was verified",
        "that anything is wrong, nor that it is right", "key",
    ),
    Check(
        "J102", 5, "broken", "rows of a session that nobody registered",
        "that no sealed entry registers it, and no seal in its rows holds under a key that is known here",
        "that the rows are foreign: if the registration was removed with every trace of the key, they are not", _STATUS,
    ),
    Check(
        "J103", 3, "broken", "a session's registration is gone",
        "that the session was registered once: its rows are sealed under its number and key",
        "that any of its rows is wrong: they were judged by their own seals", _LOG,
    ),
    Check(
        "J104", 1, "broken", "sealed entries by a writer whose declaration is not there",
        "that a declaration is missing from the registry", "that the entries are not honest", "writers",
    ),
    Check(
        "J105", 1, "broken", "the process that wrote is not on record",
        "that a row of instances is gone, changed, or another writer's",
        "that the entries are not honest: their own seals hold", _SHOW,
    ),
    Check(
        "J106", 1, "broken", "the trusted flag is not what the writer's role says",
        "that a key holder sealed it so", "that a thief did: the flag is under the seal", _SHOW,
    ),
    Check(
        "J107", 1, "broken", "the claim in the entries does not follow the sealed claims and releases",
        "that a key holder wrote outside the rules of claims", "that plain SQL did it", _SHOW,
    ),
    Check(
        "J108", 1, "broken", "a run wrote beside another's standing claim",
        "that an entry of role run is by another process than the claim's holder",
        "that the holder lost anything", _SHOW,
    ),
    Check(
        "J109", 1, "notice", "entries of a writer that are later than its revocation",
        "that by row number and by clock they come after it",
        "the order: two sessions' chains are not ordered by any seal", "writers",
    ),
    Check(
        "J110", 6, "notice", "entries from outside the journal that nobody has resolved",
        "that an external writer's entries are in the session", "that anything was tampered with", _LOG,
    ),
    Check(
        "J111", 1, "broken", "a number, name or key was registered twice",
        "that two sealed facts of the registry contradict each other", "which of them was meant", _STATUS,
    ),
    Check(
        "J112", 1, "broken", "a sealed entry says what the format does not know",
        "that a key holder sealed a value outside docs/format.md", "that plain SQL did it", _SHOW,
    ),
    Check(
        "J113", 3, "broken", "entries from before the key was changed are not what they were then",
        "that what stands there differs from what the new key's holder found when the era began",
        _WHO, _LOG,
    ),
    # -- order ------------------------------------------------------------------------
    Check(
        "J201", 2, "broken", "two neighbours do not link",
        "that one of them belongs to another history of this session",
        "which of the two histories is the true one", _LOG,
    ),
    Check(
        "J202", 2, "broken", "epochs are not in order",
        "that a key holder numbered writes against the rules", "that plain SQL did it", _SHOW,
    ),
    Check(
        "J203", 2, "broken", "one write by two",
        "that entries of one epoch differ in writer, process or claim", "that plain SQL did it", _SHOW,
    ),
    Check(
        "J204", 2, "broken", "the sum of bytes does not fit",
        "that a key holder sealed a wrong sum", "that plain SQL did it", _SHOW,
    ),
    Check(
        "J205", 2, "broken", "seqs were left out",
        "that a write took a later seq although nothing stood in its way",
        "that an entry is missing: the chain links across the gap", _LOG,
    ),
    Check(
        "J206", 2, "broken", "one request was written twice",
        "that two writes carry the same request id", "that their lines differ", _SHOW,
    ),
    Check(
        "J207", 2, "warning", "row numbers are not in the order of the entries",
        "that rows were renumbered, or that a row with the highest number makes SQLite choose at random",
        "anything about the entries: a row's number is under no seal", _LOG,
    ),
    Check(
        "J208", 3, "broken", "an entry that was known once is another one now",
        "that a key holder's record names another seal at this seq: the end of the session was cut off and written anew",
        "what the lost entries said", _LOG,
    ),
    Check(
        "J209", 2, "broken", "a layout that cannot follow the one before it",
        "that a key holder sealed a wrong layout", "that plain SQL did it", _SHOW,
    ),
    # -- changed or vanished ----------------------------------------------------------
    Check(
        "J301", 3, "broken", "rows that nobody with the key sealed",
        "that they are not in the sealed chain: put there, or moved there, by plain SQL",
        _WHO, _SHOW,
    ),
    Check(
        "J302", 6, "broken", "foreign rows, named by an honest writer, that nobody has resolved",
        "that they are not in the chain, and are the same rows that were named",
        _WHO, _SHOW,
    ),
    Check(
        "J303", 3, "broken", "lines that were changed after they were sealed",
        "that body, line end or salt is not what was sealed; all else in the row is",
        f"what the line was; {_WHO}", _SHOW,
    ),
    Check(
        "J304", 3, "broken", "entries that were edited after they were sealed",
        "that an honest entry stood here and was edited", f"{_WHO}; nor what the columns were that are not named", _SHOW,
    ),
    Check(
        "J305", 3, "broken", "lines that were erased without a sealed redaction",
        "that a line was here and its bytes are gone; the rest of the row is as it was sealed", _WHO, _SHOW,
    ),
    Check(
        "J306", 3, "broken", "entries that were here and are gone",
        "that at least one sealed entry is missing", f"what it said; {_WHO}", _LOG,
    ),
    Check(
        "J307", 3, "broken", "rows that were named as foreign are not what they were",
        "that what an honest writer found and named was changed, removed or put back since", _WHO, _LOG,
    ),
    Check(
        "J308", 3, "broken", "columns that are read from the line do not fit it",
        "that a listing aid was edited; the line itself is as it was sealed", _WHO, _SHOW,
    ),
    Check(
        "J309", 3, "warning", "a registered session of which nothing is there",
        "that a sealed entry registers it, and that whatever registered it left no more",
        "that it ever held an entry: only an anchor could tell", _STATUS,
    ),
    Check(
        "J310", 3, "broken", "redacted lines that are there again",
        "that a sealed redaction names the line, and that its bytes were put back since", _WHO, _SHOW,
    ),
    # -- the tables beside the chain --------------------------------------------------
    Check(
        "J401", 3, "broken", "the row of a session is not what its entries say",
        "that the row was edited or removed, or that the newest entries were",
        "which of the two, unless the finding says so", _LOG,
    ),
    Check(
        "J402", 3, "broken", "a row of sessions that no sealed entry registers",
        "that plain SQL put it there", _WHO, _STATUS,
    ),
    Check(
        "J403", 3, "notice", "the row of a session was wrong once and was put right",
        "that an honest writer found it moved and recorded what it said", _WHO, _LOG,
    ),
    Check(
        "J404", 6, "broken", "the examined position is forged",
        "that no key holder stored it", "that anything was skipped: a check that cannot believe it examines more", _LOG,
    ),
    Check(
        "J405", 1, "broken", "the table of writers is not what was declared",
        "that a row was edited, added or removed", "that any write was let through: no decision reads the table", "writers",
    ),
    Check(
        "J406", 5, "broken", "the journal's own facts are not what was sealed",
        "that a row of meta was edited, added or removed", _WHO, _STATUS,
    ),
    Check(
        "J407", 1, "broken", "the table of claims is not what was sealed",
        "that a row was edited, added or removed", "that any claim was honoured: no decision reads the table", _LOG,
    ),
    Check(
        "J408", 5, "broken", "rows of instances that no key holder stored as they are",
        "that they were edited or added", _WHO, _STATUS,
    ),
    Check(
        "J409", 5, "broken", "fences that no key holder stored as they are",
        "that they were edited or added", "that a check believed one: it refuses them", _LOG,
    ),
    Check(
        "J410", 5, "broken", "verdicts that no key holder stored as they are",
        "that they were edited or added", _WHO, _LOG,
    ),
    Check(
        "J416", 5, "broken", "pending inputs that no key holder stored as they are",
        "that they were edited or added", "that one was taken: it is refused", _LOG,
    ),
    Check(
        "J411", 5, "broken", "parked writes that no key holder stored as they are",
        "that they were edited or added", "that one was applied: it is refused", _LOG,
    ),
    Check(
        "J412", 3, "broken", "a parked write whose state contradicts the session",
        "that an older state of the row was put back, or that its entries are gone", _WHO, _LOG,
    ),
    Check(
        "J413", 3, "broken", "rows in a table that this version never writes to",
        "that no sealed entry accounts for them", _WHO, _STATUS,
    ),
    Check(
        "J414", 9, "broken", "the table of layouts is not what was sealed",
        "that a row was edited, added or removed", "that the file's order was changed: no decision reads the table", _LOG,
    ),
    Check(
        "J415", 9, "broken", "the table of mirrors is not what was registered",
        "that a row was edited, added or removed", "that any file was written: no decision reads the table", _STATUS,
    ),
    Check(
        "J417", 3, "broken", "the table of redactions is not what was sealed",
        "that a row was edited, added or removed", "that any line was erased without a record: that is J305", _LOG,
    ),
    # -- the database -----------------------------------------------------------------
    Check(
        "J501", 3, "broken", "SQLite finds the file damaged",
        "that pages or indexes contradict each other", "that a person did it: disks do it too", _STATUS,
    ),
    Check(
        "J502", 11, "broken", "a part of the journal could not be read",
        "that this part was not checked", "that what could be read is wrong", _STATUS,
    ),
    Check(
        "J503", 3, "broken", "the schema is not the journal's own",
        "that a table, index or trigger is missing, changed or foreign now",
        "what it did meanwhile: rows may have been swallowed or changed", _UPGRADE,
    ),
    Check(
        "J504", 3, "broken", "the schema's version was changed",
        "that the version number is not the one of these tables", _WHO, _UPGRADE,
    ),
    Check(
        "J505", 3, "broken", "rows that the tables' own rules forbid",
        "that they were put there with the rules switched off", _WHO, _STATUS,
    ),
    Check(
        "J506", 5, "warning", "others may write to the journal's files",
        "that any user of this machine could change the journal", "that anyone did", "",
    ),
    Check(
        "J507", 4, "warning", "the journal lies where writes may be lost",
        "that SQLite's locks do not hold here", "that anything was lost", "",
    ),
    # -- migrated files ---------------------------------------------------------------
    Check(
        "J601", 10, "broken", "a migrated file's bytes are not those that were read",
        "that the entries of the file and its receipt do not fit each other",
        "which of them was changed, unless other findings say so", _LOG,
    ),
    Check(
        "J602", 10, "broken", "a receipt of a migrated file names what is not there",
        "that its session or its entries are not there", "that the original file is lost: it was never touched", _STATUS,
    ),
    # -- mirror files -----------------------------------------------------------------
    Check(
        "J701", 9, "warning", "a mirror's file is not there",
        "that nothing stands at its path now", "that anything is lost: the journal has every line", _MIRROR,
    ),
    Check(
        "J702", 9, "notice", "a mirror's file lacks what the journal has",
        "that it was not written to the end, or was cut off since", "which of the two: a check of a fence tells",
        "mirror sync {session}",
    ),
    Check(
        "J703", 9, "warning", "a mirror's file holds what the journal has not",
        "that something other than the journal wrote to it since it was last compared", _WHO,
        "mirror reconcile {session}",
    ),
    Check(
        "J704", 9, "warning", "a mirror is not served any more",
        "that its file was edited, and is to be kept as it is until somebody decides", _WHO, _MIRROR,
    ),
    Check(
        "J705", 9, "warning", "a mirror's place is not what it was",
        "that a link, a directory or a second name stands there", "that anything was read or written through it", _MIRROR,
    ),
    Check(
        "J706", 9, "notice", "the side file of the mirrors is not as a key holder left it",
        "that it was written to by somebody else, or torn", "that anything relied on it: the next comparison is a full one", _MIRROR,
    ),
    # -- anchors ----------------------------------------------------------------------
    Check(
        "J801", 3, "broken", "entries that an anchor names are gone",
        "that the journal held them when the anchor was taken, and does not now: its end was cut off, or an older copy put back",
        "what they said; who did it, nor when", _LOG,
    ),
    Check(
        "J802", 3, "broken", "another entry stands where an anchor names one",
        "that the session had another history when the anchor was taken: it was cut off or rolled back, and written anew",
        "what the lost entries said; who did it, nor when", _LOG,
    ),
    Check(
        "J803", 3, "broken", "a session that an anchor names is gone",
        "that the journal held it when the anchor was taken", "what it said; who removed it, nor when", _STATUS,
    ),
    Check(
        "J804", 11, "warning", "an anchor that proves nothing",
        "that it is another journal's, or that nobody whose key is known here signed it",
        "that the journal was rolled back, nor that it was not", "",
    ),
)  # fmt: skip

CHECKS: Final[dict[str, Check]] = {check.id: check for check in _ALL}
