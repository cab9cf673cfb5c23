"""A session's JSONL file, for code that opens it itself today.

>>> from journal.adapters.jsonl import SessionFile
>>> with SessionFile("main.jsonl", writer="gateway") as session:  # doctest: +SKIP
...     session.append({"type": "message", "message": {"role": "user", "content": "Mend the gate."}})
...     with session.fence() as fence:
...         fence.append(think(list(session)))
...     for entry in session:
...         print(entry["type"])
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from journal.errors import EntryError, MirrorError, NotFoundError, RefusedError
from journal.journal import Journal
from journal.migration.adoption import adopt
from journal.mirrorfile import real_path

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator
    from typing import Self

    from journal.fence import Fence
    from journal.model import Entry
    from journal.policy import Policy
    from journal.verdict import Verdict

DATABASE: Final = "journal.db"


class SessionFile:
    """A JSONL file that is written through a journal, and stays the file it is.

    Every line is an entry of the journal, durable when ``append`` returns, and the
    file is kept equal to the session byte for byte, on the same inode, so whoever
    reads it today goes on reading it. What other programs write to it becomes
    entries too, by a writer nobody trusts; a fence tells them from co-tenants.

    A file that is there becomes the mirror as it is: none of its bytes is touched,
    its lines are brought in first as migrated entries, so none of them is foreign.

    Args:
        path: the file; made, private to its owner, if it is not there.
        writer: who writes; else the program's own name.
        role: the writer's role, fixed by its first use.
        journal: the journal, or its path. By default one for each directory, the
            ``journal.db`` beside the file: every process that opens a file finds
            the journal of its writers with nothing to configure, and files that
            belong together share one. Name one of your own where the directory
            belongs to a program that would mind the file.
        key: the session's key; by default from the file's header, else its name.
        run_id: the run it is written in, noted in each entry.
        on_behalf_of: for whom it is written, noted in each entry.
        policy: how fences judge, as for ``Journal.session``.
        on_takeover: called with each verdict that is not "accepted"; not for a
            journal that is given open, which has its own.

    Raises:
        MirrorError: no file of lines, a link or a directory, or a session that
            holds something else.
        NotTrusted: the writer was revoked, or has another role.
        StorageError: the journal cannot be opened.

    """

    def __init__(  # noqa: PLR0913 - those of a session, and where it is kept
        self,
        path: str | os.PathLike[str],
        *,
        writer: str | None = None,
        role: str = "run",
        journal: Journal | str | os.PathLike[str] | None = None,
        key: str | None = None,
        run_id: str | None = None,
        on_behalf_of: str | None = None,
        policy: str | Policy = "cotenant",
        on_takeover: Callable[[Verdict], None] | None = None,
    ) -> None:
        self.path = Path(real_path(path))
        self._owns = not isinstance(journal, Journal)
        if isinstance(journal, Journal):
            self.journal = journal
        else:
            place = self.path.parent / DATABASE if journal is None else journal
            self.journal = Journal(place, on_takeover=on_takeover)
        self._fence: Fence | None = None
        try:
            self.session = self.journal.session(
                adopt(self.journal, str(self.path), key=key),
                writer=default_writer(role) if writer is None else writer,
                role=role,
                run_id=run_id,
                on_behalf_of=on_behalf_of,
                policy=policy,
                mirror=self.path,
            )
        except BaseException:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {str(self.path)!r} of {self.session!r}>"

    # -- writing and reading ------------------------------------------------------------

    def append(self, line: object, *, request_id: str | None = None) -> Entry:
        """Write one line; when this returns, it survives power loss, and is in the file.

        Args:
            line: a JSON-able object, encoded once and compactly; or bytes, kept
                exactly, such as ``json.dumps(value).encode()`` for lines spelt as
                they always were.
            request_id: writes once: again with the same line it writes nothing.

        Raises:
            EntryError: the line cannot be kept; nothing was written.
            RefusedError: the writer may not write; the line was parked.
            StorageError: the database could not; nothing was written.

        A file that cannot be written fails no append: it is brought up later.

        """
        return self.session.append(line, request_id=request_id)

    def lines(self) -> Iterator[bytes]:
        """Yield the file's lines, their exact bytes with their line ends."""
        # Said in the log, or somebody has taken the mirror away; the journal has what it has.
        with suppress(MirrorError, NotFoundError):
            self._reconcile()
        data = b""
        for entry in self.session:
            data += entry.data
            if entry.terminator:
                yield data
                data = b""
        if data:
            yield data

    def __iter__(self) -> Iterator[Any]:
        """Yield what each line holds, in the order of the file; blank lines hold nothing.

        Raises:
            EntryError: a line is no JSON; it is a ``ValueError``, as from ``json.loads``.

        """
        for number, line in enumerate(self.lines(), start=1):
            if line.strip():
                yield self._parsed(number, line)

    def __len__(self) -> int:
        return sum(1 for line in self.lines() if line.strip())

    def _parsed(self, number: int, line: bytes) -> Any:  # noqa: ANN401 - whatever the line holds
        try:
            return json.loads(line)
        except (ValueError, RecursionError) as error:
            raise EntryError(
                f"{self.path}, line {number}: {error}",
                hint="lines() gives every line as bytes",
                code="not-json",
            ) from error

    def _reconcile(self) -> None:
        """Have what other programs wrote to the file read with the rest."""
        fact = self.journal.mirrors.of(self.session.key)
        self.journal.mirrors.reconcile(fact.session_id)

    # -- fences -------------------------------------------------------------------------

    def fence(self) -> Fence:
        """Raise a fence: a mark to be checked after the model has thought.

        Use it in a ``with`` block, and ``fence.append`` for the reply: it is judged
        and written in one transaction.
        """
        return self.session.fence()

    def release_for_prompt(self) -> Fence:
        """Let go of the session while the model thinks; nothing is locked, anyone may write.

        The place of a lock controller's release. Done twice, the first mark counts:
        what came since then is not taken for known.
        """
        if self._fence is None:
            self._fence = self.fence()
        return self._fence

    def reacquire(self) -> Verdict:
        """Take the session up again: check that only those wrote meanwhile who may.

        The place of a lock controller's reacquire. The verdict names in ``arrived``
        what co-tenants wrote.

        Raises:
            SessionTakeover: somebody wrote who may not. The mark stays: asked
                again, the answer is the same.
            RefusedError: the session was not let go of.
            BusyError: contention is never a takeover.

        """
        if self._fence is None:
            raise RefusedError(
                f"{self.session.key!r} was not let go of, so there is nothing to check",
                hint="release_for_prompt() comes first",
                code="not-released",
            )
        verdict = self._fence.check()
        self._fence = None
        return verdict

    # -- the end ------------------------------------------------------------------------

    def close(self) -> None:
        """Make the file durable and let go; a journal that was given stays open."""
        if self._owns:
            self.journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def default_writer(role: str) -> str:
    """Return the name of this program, with a role that is not a run's behind it."""
    script = Path(sys.argv[0] if sys.argv else "")
    name = script.parent.name if script.stem == "__main__" else script.stem
    name = "".join(char for char in name if char.isprintable())[:100]
    if not name or name.startswith("-"):  # python -c, or an interpreter's prompt
        name = "python"
    return name if role == "run" else f"{name}-{role}"
