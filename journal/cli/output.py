"""What a command prints: data to stdout, words to stderr, nothing of it unescaped."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TextIO

from journal.cli.options import colour_is_wanted
from journal.escape import escape, is_unsafe
from journal.explanation import counted as _counted
from journal.explanation import when as _when

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

# The library has words for these; every command says them through this module.
counted, when = _counted, _when
STEPPED_OVER: Final = "%s: stepped over"
_GAP: Final = 2
_LEAST: Final = 24


class _Pipe:
    """Whether anybody still reads stdout."""

    is_closed = False


def reader_has_left() -> bool:
    """Whether whoever read stdout has had enough, so that a long listing may stop."""
    return _Pipe.is_closed


def is_plain() -> bool:
    """Whether nothing is to be coloured."""
    return not colour_is_wanted()


def prepare() -> None:
    """Make sure that no character can fail to print."""
    _Pipe.is_closed = False
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


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

    At a terminal the last column gives way: cut to the width, or folded. Where that is
    not enough, those of ``spare`` are left out, the first of them first.
    """
    if sys.stdout.isatty():
        cells = [[escape(str(cell)) for cell in row] for row in rows]
        _rich_table(headers, cells, is_last_cut, spare)
        return
    for row in rows:
        line(*row)
        if _Pipe.is_closed:
            return


def _rich_table(
    headers: Sequence[str],
    rows: list[list[str]],
    is_last_cut: bool,  # noqa: FBT001
    spare: Sequence[str],
) -> None:
    # Imported when there is a terminal: rich costs 50 ms.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(file=sys.stdout, color_system=None if is_plain() else "auto", highlight=False)
    left_out = [name for name in spare if name in headers]
    headers, rows = _fitting(headers, rows, console.width, left_out)
    shown = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    last = len(headers) - 1
    for number, header in enumerate(headers):
        # The first column says what a row is about, so it is there at any width.
        least = None if number else _width([header], rows) - _GAP
        no_wrap = number < last or is_last_cut
        shown.add_column(
            header, no_wrap=no_wrap, overflow="ellipsis" if no_wrap else "fold", min_width=least
        )
    room = console.width - _width(headers[:last], rows)
    for row in rows:
        cells = [Text(cell) for cell in row]
        if is_last_cut:
            cells[last].truncate(max(room, _LEAST), overflow="ellipsis")
        shown.add_row(*cells)
    _guard(lambda: console.print(shown))
    gone = [name for name in left_out if name not in headers]
    if gone:
        say(f"Left out, for the terminal is narrow: {', '.join(gone)}; --json has them.")


def _fitting(
    headers: Sequence[str], rows: list[list[str]], room: int, spare: Sequence[str]
) -> tuple[Sequence[str], list[list[str]]]:
    """Return the columns that fit a width, without the first of the spare ones that do not."""
    for name in spare:
        if _width(headers[:-1], rows) + _LEAST <= room:
            break
        at = headers.index(name)
        headers = [*headers[:at], *headers[at + 1 :]]
        rows = [[*row[:at], *row[at + 1 :]] for row in rows]
    return headers, rows


def _width(headers: Sequence[str], rows: list[list[str]]) -> int:
    from rich.cells import cell_len  # noqa: PLC0415

    columns = ([header, *(row[number] for row in rows)] for number, header in enumerate(headers))
    return sum(max(map(cell_len, column)) + _GAP for column in columns)


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
        raise


def _send_nowhere(stream: TextIO) -> None:
    if stream is sys.stdout:
        _Pipe.is_closed = True
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
