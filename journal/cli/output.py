"""What a command prints: data to stdout, words to stderr, nothing of it unescaped."""

from __future__ import annotations

import json
import logging
import os
import select
import sys
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TextIO

from journal.cli.options import colour_is_wanted
from journal.darwin import IS_DARWIN
from journal.errors import JournalError
from journal.escape import escape, is_unsafe
from journal.explanation import counted as _counted
from journal.explanation import when as _when

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

# The library has words for these; every command says them through this module.
counted, when = _counted, _when
STEPPED_OVER: Final = "%s: stepped over"


class _Pipe:
    """Whether anybody still reads stdout, or ever could."""

    is_closed = False
    is_missing = False


def reader_has_left() -> bool:
    """Whether whoever read stdout has had enough, so that a long listing may stop."""
    return _Pipe.is_closed


def when_reader_leaves(call: Callable[[], None]) -> None:
    """Call it, from another thread, when nobody reads stdout any more, where the system tells."""
    if not hasattr(select, "poll"):  # Windows: it is noticed at the next line
        return
    try:
        descriptor = sys.stdout.fileno()
    except OSError:
        return  # no descriptor stands behind it
    threading.Thread(target=_await_end, args=(descriptor, call), daemon=True).start()


def _await_end(descriptor: int, call: Callable[[], None]) -> None:
    # Asked for nothing, poll tells of an end alone; on macOS it must be asked for something, which
    # no pipe has, and may tell of something else: as GNU tail does.
    poll = select.poll()
    poll.register(descriptor, select.POLLRDBAND if IS_DARWIN else 0)
    ((_, found),) = poll.poll()
    if IS_DARWIN and not found & (select.POLLHUP | select.POLLERR):
        return  # a device, or what is typed: an end is noticed at the next line
    _send_nowhere(sys.stdout)
    call()


def is_plain() -> bool:
    """Whether nothing is to be coloured."""
    return not colour_is_wanted()


def prepare() -> None:
    """Make sure that no character can fail to print, and that no stream is missing.

    A closed descriptor is taken by the next file that is opened: a journal would get what
    is printed. So each is given to the null device first.
    """
    _Pipe.is_closed, _Pipe.is_missing = False, sys.stdout is None
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _replace_missing(descriptor, name)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _replace_missing(descriptor: int, name: str) -> None:
    try:
        os.fstat(descriptor)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # the lowest that is free, so this one
    mode = "r" if name == "stdin" else "w"
    setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123, SIM115 - to the end


def check_stdout() -> None:
    """Refuse to begin where the answer could not be given.

    Raises:
        JournalError: standard output is closed.

    """
    if _Pipe.is_missing:
        raise JournalError(
            "cannot write to standard output, which is closed; nothing was begun",
            hint="the same with >/dev/null, if nobody is to read it",
            code="no-output",
        )


class _Words(logging.Handler):
    """The library's own warnings, on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        # The commands say themselves, once and with what to do, what they stepped over.
        if not str(record.msg).startswith(STEPPED_OVER):
            say(f"Warning: {record.getMessage()}")


@contextmanager
def warnings_as_words() -> Iterator[None]:
    """Let the library's log and Python's warnings come out as single lines on stderr."""
    logger, handler = logging.getLogger("journal"), _Words(logging.WARNING)
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _say_warning
            yield
    finally:
        logger.removeHandler(handler)


def _say_warning(message: Warning | str, *_: object, **__: object) -> None:
    say(f"Warning: {message}")


def say(text: str) -> None:
    """Write a line of words for people to stderr; a line end in a name of theirs is none of ours."""
    _write(sys.stderr, f"{escape(text)}\n")


def say_lines(lines: Iterable[str]) -> None:
    """Write words of several lines, each of them one; whoever has a text of them splits it."""
    for each in lines:
        say(each)


def line(*cells: object) -> None:
    """Write one line of data, its cells set apart by tabs, to stdout."""
    _write(sys.stdout, "\t".join(escape(str(cell)) for cell in cells) + "\n")


def text(lines: str) -> None:
    """Write a text of several lines."""
    _write(sys.stdout, "".join(f"{escape(each)}\n" for each in lines.rstrip("\n").split("\n")))


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Write named values, one a line."""
    known = [(name, str(value)) for name, value in pairs]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        _write(sys.stdout, f"{name.ljust(width)}  {escape(value)}\n")


def raw(chunks: Iterable[bytes]) -> None:
    """Write exact bytes to stdout."""
    _flush(sys.stdout)
    for chunk in chunks:
        _guard(lambda chunk=chunk: sys.stdout.buffer.write(chunk))  # type: ignore[misc]
        if _Pipe.is_closed:
            return


def document(command: str, **fields: Any) -> None:  # noqa: ANN401
    """Write the one JSON document of a command."""
    _write(sys.stdout, dumps({"schema": f"journal.{command}/1", **fields}, indent=2) + "\n")


def streamed(command: str, name: str, items: Iterable[Any], **fields: Callable[[], Any]) -> None:
    """Write one JSON document whose list ``name`` may be longer than memory; the rest follows it."""
    _write(sys.stdout, f'{{"schema": "journal.{command}/1",\n {dumps(name)}: [')
    comma = ""
    for item in items:
        _write(sys.stdout, f"{comma}\n  {dumps(item)}")
        comma = ","
        if _Pipe.is_closed:
            return
    rest = "".join(f",\n {dumps(key)}: {dumps(value())}" for key, value in fields.items())
    _write(sys.stdout, f"\n ]{rest}}}\n")


def dumps(value: Any, *, indent: int | None = None) -> str:  # noqa: ANN401
    """Return JSON that a terminal shows and never obeys."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    if text.isascii() and "\x7f" not in text:
        return text
    # Inside JSON these can only stand in a string, where the escape means the same.
    return "".join(
        _json_escape(char) if char != "\n" and is_unsafe(char) else char for char in text
    )


def _json_escape(char: str) -> str:
    return json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f"


def table(
    headers: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    is_last_cut: bool = False,
    spare: Sequence[str] = (),
) -> None:
    """Write rows: a table at a terminal, tab-separated lines elsewhere.

    At a terminal what is too wide stands on a line of its own beneath its row, whole; only
    the last column may be cut to the width (``is_last_cut``), a text that is but quoted. Before
    that those of ``spare`` are left out, the first of them first, and it is said.
    """
    if sys.stdout.isatty():
        cells = [[escape(str(cell)) for cell in row] for row in rows]
        _guard(lambda: _at_a_terminal(headers, cells, is_last_cut, spare))
        return
    for row in rows:
        line(*row)
        if _Pipe.is_closed:
            return


def _at_a_terminal(
    headers: Sequence[str],
    rows: list[list[str]],
    is_last_cut: bool,  # noqa: FBT001
    spare: Sequence[str],
) -> None:
    # Imported when there is a terminal: rich costs 50 ms.
    from rich.console import Console  # noqa: PLC0415

    from journal.cli import tabular  # noqa: PLC0415

    console = Console(file=sys.stdout, color_system=None if is_plain() else "auto", highlight=False)
    gone = tabular.show(console, headers, rows, is_last_cut=is_last_cut, spare=spare)
    if gone:
        say(f"Left out, for the terminal is narrow: {', '.join(gone)}; --json has them.")


def size(count: int) -> str:
    """Return a number of bytes as people read it."""
    amount, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if amount < 1024:  # noqa: PLR2004 - bytes in a KiB
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"


def finish() -> None:
    """Hand everything over before the exit code is decided."""
    _flush(sys.stdout)
    _flush(sys.stderr)


def _write(stream: TextIO, text: str) -> None:
    _guard(lambda: stream.write(text), stream)


def _flush(stream: TextIO) -> None:
    _guard(stream.flush, stream)


def _guard(action: Callable[[], object], stream: TextIO | None = None) -> None:
    """Do it; where the reader has left, let the rest go nowhere and the command go on.

    ``journal audit | head -1`` must still end with the audit's own exit code.
    """
    try:
        action()
    except BrokenPipeError:
        _send_nowhere(stream or sys.stdout)
    except OSError:
        # What is left in the buffer would be tried again at the very end, and turn
        # the exit code into the interpreter's own.
        _send_nowhere(stream or sys.stdout)
        # Words for people, some of them out of the midst of the library's work: what was done is
        # done, and is not to be told as failed for want of a place for them.
        if stream is not sys.stderr:
            raise


def _send_nowhere(stream: TextIO) -> None:
    if stream is sys.stdout:
        _Pipe.is_closed = True
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
