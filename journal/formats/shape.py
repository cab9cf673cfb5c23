"""What every format tells about a file: its class by name, its header by content."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FileClass: TypeAlias = Literal["primary", "archived", "diagnostic", "index", "lock", "ignored"]

TEXT_LIMIT: Final = 500
_DIGITS: Final = 640
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Header:
    """What the first lines of a file say about its session; each may be absent.

    ``id`` is the session's identity: the file's name is only an alias of it.
    """

    id: str | None = None
    version: int | None = None
    cwd: str | None = None
    title: str | None = None
    parent: str | None = None


class Format(Protocol):
    """One program's way of keeping sessions in files; each module here is one."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a module's constant
        """The name shown to people."""

    def recognises(self, path_name: str, first_lines: Sequence[bytes]) -> bool:
        """Whether a file is this program's, by its path and whole first lines."""

    def classify(self, path_name: str) -> FileClass:
        """Return what a file of this name holds."""

    def alias(self, path_name: str) -> str:
        """Return the session a file's name speaks of; the header knows better."""

    def header(self, first_lines: Sequence[bytes]) -> Header:
        """Return what the first lines say; of garbage, nothing. Never raises."""


def objects(lines: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects among some lines, line ends and a byte order mark allowed."""
    for line in lines:
        value = loads(line)
        if isinstance(value, dict):
            yield value


def loads(data: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Return what some bytes hold, or None if they are no JSON. Never raises."""
    try:
        return _DECODER.decode(data.removeprefix(_BOM).decode())
    except (ValueError, RecursionError):
        return None


def _integer(text: str) -> int:
    # Converting a million digits takes quadratic time where the limit was lifted; so many it never forbids.
    return int(text) if len(text) <= _DIGITS else 0


# Once: a decoder with a hook of its own takes longer to make than a header takes to read.
_DECODER: Final = json.JSONDecoder(parse_int=_integer)


def text(value: object) -> str | None:
    """Return a short printable text that can be shown and bound, or None."""
    if not isinstance(value, str) or not value or len(value) > TEXT_LIMIT:
        return None
    return value if value.isprintable() else None


def base_name(path_name: str) -> str:
    """Return the last part of a path, of either kind of slash."""
    return path_name.replace("\\", "/").rpartition("/")[2]


def folders(path_name: str) -> list[str]:
    """Return the parts of a path before its last."""
    return path_name.replace("\\", "/").split("/")[:-1]
