"""The side files of one open journal: one for all its mirrors, or, on a server, one in each directory of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from journal.errors import MirrorError
from journal.files import sync_directory
from journal.sidefile import SideFile

if TYPE_CHECKING:
    from journal.store import Store


class SideFiles:
    """Opens each when it is first needed."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: dict[str, SideFile] = {}

    def of(self, path: str, *, create: bool = False) -> SideFile:
        """Return the side file for a mirror.

        Beside a mirror it is made with the mirror, and not again unasked: where it lacks there
        may stand another directory, as in a container, and the file is not gone for that.

        Raises:
            MirrorError: it cannot be opened.

        """
        where = self._store.side_path(path)
        if where not in self._open:
            may_create = create or self._store.keeps_files
            is_new = create and not Path(where).exists()
            try:
                made = SideFile(where, self._store.mac, create=may_create)
                if self._open.setdefault(where, made) is not made:
                    made.close()  # another thread was quicker
                if is_new:
                    sync_directory(Path(where).parent)
            except OSError as error:
                raise MirrorError(
                    f"{where}: {error.strerror}; the locks of this journal's mirrors are kept there",
                    hint=self._hint(path),
                    code="mirror-unusable",
                ) from error
        return self._open[where]

    def _hint(self, path: str) -> str:
        if self._store.keeps_files:
            return "make it writable"
        return f"make its directory writable; where that is the mirror's own: journal mirror add SESSION {path}"

    def close(self) -> None:
        """Close them all; every lock of this process on them goes."""
        found, self._open = self._open, {}
        for side in found.values():
            side.close()


def untold() -> MirrorError:
    """Return the error for a mirror that this journal's, or that of a copy of it, may be."""
    return MirrorError(
        "this user may not ask the server which it is, and without that a copy could serve the same file",
        hint="GRANT EXECUTE ON FUNCTION pg_control_system() TO its role, as the server's administrator",
        code="no-mirrors-here",
    )
