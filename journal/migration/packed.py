"""An original that is compressed with zstd, read as the lines that are in it.

All that is said of such a file, its size, its lines, its hash, is of what it holds.
The archive itself is not kept: compressing again need not give the same bytes.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from journal.migration.source import READ_SIZE, Source, UnfitError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SUFFIX: Final = ".zst"
# Session files shrink to a tenth or a fiftieth. What would grow beyond this is no such
# file, or was made to fill a disk.
RATIO_LIMIT: Final = 1000
ALWAYS_ALLOWED: Final = 64 * 1024 * 1024
# What a reader must hold of the past; zstd's own highest level asks for so much.
WINDOW_LIMIT: Final = 128 * 1024 * 1024
# So little at once, for four bytes can stand for 128 KiB and what they give is held.
_FED: Final = 512


def is_packed(path: str) -> bool:
    """Whether a name says that a file is compressed with zstd."""
    return path.endswith(SUFFIX)


def inner(path: str) -> str:
    """Return the name of what a file holds: its own, unless it is compressed."""
    return path.removesuffix(SUFFIX)


def open_source(path: str, avoid: frozenset[tuple[int, int]] = frozenset()) -> Source:
    """Open an original to read its lines, compressed or not.

    Raises:
        UnfitError: as for :class:`Source`; or no zstd here, or a damaged archive.

    """
    return PackedSource(path, avoid) if is_packed(path) else Source(path, avoid)


def packed(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield bytes compressed, as one archive."""
    import zstandard  # noqa: PLC0415 - an extra; ask is_here first

    archive = zstandard.ZstdCompressor().compressobj()
    for chunk in chunks:
        yield archive.compress(chunk)
    yield archive.flush()


def is_here() -> bool:
    """Whether the library that compresses is installed."""
    return find_spec("zstandard") is not None


class PackedSource(Source):
    """A file compressed with zstd, decompressed on the way."""

    def __init__(self, path: str, avoid: frozenset[tuple[int, int]] = frozenset()) -> None:
        if not is_here():
            raise UnfitError(
                "needs-zstd", "compressed (zstd): pip install 'session-journal[zstd]' reads it"
            )
        super().__init__(path, avoid)
        try:
            self._size = self._measured()
            self.rewind()
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """How many bytes it holds."""
        return self._size

    def rewind(self) -> None:
        """Begin again at the first byte."""
        super().rewind()
        self._frame: Any = None
        self._rest = self._ready = b""

    def _take(self, size: int) -> bytes:
        while not self._ready:
            more = self._rest or super()._take(_FED)
            if not more:
                self._check_whole()
                return b""
            self._ready = self._unpacked(more)
        data, self._ready = self._ready[:size], self._ready[size:]
        return data

    def _unpacked(self, data: bytes) -> bytes:
        import zstandard  # noqa: PLC0415 - an extra, and its absence was told

        if self._frame is None:
            unpacker = zstandard.ZstdDecompressor(max_window_size=WINDOW_LIMIT)
            self._frame = unpacker.decompressobj()
        try:
            ready: bytes = self._frame.decompress(data)
        except zstandard.ZstdError as error:
            raise UnfitError("damaged", f"a damaged archive: {error}") from error
        self._rest = b""
        if self._frame.eof:  # an archive may be several, one behind the other
            self._frame, self._rest = None, self._frame.unused_data
        return ready

    def _check_whole(self) -> None:
        if self._frame is not None:
            raise UnfitError("damaged", "a damaged archive: it breaks off")

    def _measured(self) -> int:
        size, most = 0, max(ALWAYS_ALLOWED, super().size * RATIO_LIMIT)
        while data := self._take(READ_SIZE):
            size += len(data)
            if size > most:
                why = f"its {super().size} bytes would become more than {most}"
                raise UnfitError("grows", f"no session file: {why}")
        return size
