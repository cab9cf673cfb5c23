"""``journal log``."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Final

import click

from journal.cli import entries, output
from journal.cli.frame import command as make_command
from journal.cli.opening import known_key, opened
from journal.cli.options import Settings, json_option, session_argument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from journal import Entry, Session

_FOLLOWED: Final = 10


@make_command("log", "journal log agent:main:main", "journal log agent:main:main -n 5 --json")
@session_argument
@click.option(
    "-n",
    "--number",
    type=click.IntRange(min=1),
    help="Only the newest N; with --after, the next N.",
)
@click.option(
    "--after", type=click.IntRange(min=0), metavar="SEQ", help="Only entries after this seq."
)
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    help="Go on with what is written from now on, until Ctrl-C; begins with the newest 10.",
)
@json_option
@click.pass_obj
def command(
    settings: Settings,
    session: str,
    number: int | None,
    after: int | None,
    *,
    follow: bool,
) -> None:
    """List a session's entries, each with its writer.

    One line each: seq, time, writer, role, trust, epoch, type, and how it begins. Every
    entry was verified. Rows that are not in the sealed chain are stepped over, and said.
    With --follow, what any process writes is listed as it is committed, in the order it
    was written; with --json then one entry a line. What was cut off or rewritten away is not
    in the list: journal who has each such row, marked (left out), journal show its text.
    """
    if follow and number is not None and after is not None:
        raise click.UsageError("--follow takes -n or --after", click.get_current_context())
    with opened(settings) as journal:
        handle = journal.session(known_key(journal, session))
        if follow:
            _follow(settings, handle, number, after)
            return
        read = _Reader(handle, number, after)
        if settings.json:
            _write_document(read)
        else:
            output.table(
                entries.HEADERS, map(entries.cells, read), is_last_cut=True, spare=entries.SPARE
            )
            entries.say_stepped_over(read.session, read.stepped_over)


def _follow(settings: Settings, session: Session, number: int | None, after: int | None) -> None:
    """List what is there, then what comes, until somebody interrupts or the reader leaves."""
    from journal.changes import Following  # noqa: PLC0415 - with the rest of the library

    tail = session.tail(after)
    show = _show_json if settings.json else _show_line
    if after is None:
        for entry in session.read(limit=number or _FOLLOWED, newest=True):
            if entry.seq <= tail.after:
                show(entry)
    output.finish()
    changes = session.store.changes
    # Where nothing is written nobody would notice that the reader is gone.
    output.when_reader_leaves(changes.tell)
    with Following(changes) as following:
        while not output.reader_has_left():
            following.begin()
            while not output.reader_has_left() and (page := tail.new()):
                _show_page(page, show)
            if not output.reader_has_left():
                following.wait()


def _show_page(page: list[Entry], show: Callable[[Entry], None]) -> None:
    for entry in page:
        show(entry)
        output.finish()
        if output.reader_has_left():
            return


def _show_line(entry: Entry) -> None:
    output.line(*entries.cells(entry))


def _show_json(entry: Entry) -> None:
    output.line(output.dumps({"schema": "journal.log.entry/1", **entries.as_json(entry)}))


class _Reader:
    """The entries asked for in the file's order, a page at a time, so that a long session needs no memory."""

    def __init__(self, session: Session, number: int | None, after: int | None) -> None:
        self.session = session
        self.stepped_over: list[Entry] = []
        self._number = number
        self._after = after

    def __iter__(self) -> Iterator[Entry]:
        from journal.reading import oldest  # noqa: PLC0415 - with the rest of the library

        if self._number is not None and self._after is None:
            found = self.session.read(limit=self._number, newest=True)
            self.stepped_over += found.stepped_over
            yield from found
            return
        # No page could begin behind the last one's seq: a rewrite may have put it anywhere.
        lines = oldest(self.session.store, self.session.key, self._after or 0, self.stepped_over)
        # No session has so many lines; islice takes no larger number.
        yield from islice(lines, self._number and min(self._number, sys.maxsize))


def _write_document(read: _Reader) -> None:
    output.streamed(
        "log",
        "entries",
        map(entries.as_json, read),
        session=lambda: read.session.key,
        stepped_over=lambda: [entries.brief(entry) for entry in read.stepped_over],
    )
    entries.say_stepped_over(read.session, read.stepped_over)
