"""Measure what a claim costs an append: the same session's lines, through a turn and without one.

    python bench/claims.py                 eleven rounds, about a minute
    python bench/claims.py --rounds 3      a look

Both take turns in blocks, in an order drawn anew for each block, as in append.py; the
ratio is that of the same round's median blocks. The target: at least 0.95.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rounds import Contender, Plan, measure, ratios, spread

from journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from journal import Session

TARGET: Final = 0.95
_LINE: Final = b'{"type":"message","id":"abcdef12","text":"' + b"y" * 960 + b'"}'


def contenders(home: Path, durability: str) -> Iterable[Contender]:
    """Yield an append without a claim, and one through a turn; each in a journal of its own."""
    for name, title in (("plain", "append, no claim"), ("claimed", "append through a turn")):
        journal = Journal(
            home / f"{name}-{durability}.db", key_file=home / "key", durability=durability
        )
        session: Session = journal.session("agent:main:main", writer="gateway", role="run")
        session.append({"type": "session"})
        through = session.claim() if name == "claimed" else session
        yield Contender(name, title, "plain", _appends(through.append), journal.close)


def _appends(append: Callable[[bytes], object]) -> Callable[[int], object]:
    def run(count: int) -> None:
        for _ in range(count):
            append(_LINE)

    return run


def main() -> int:
    """Measure and print; exit 1 if the target was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=11, help="rounds that count (default: 11)")
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="where to write")
    options = parser.parse_args()
    worst = 1.0
    for durability in ("full", "normal"):
        with tempfile.TemporaryDirectory(prefix="journal-bench-", dir=options.dir) as name:
            running = list(contenders(Path(name), durability))
            measure(running, Plan(options.rounds, 5, 400), lambda _: None)
            plain, claimed = (contender.rates for contender in running)
            for contender in running:
                contender.close()
        found = ratios(claimed, plain)
        worst = min(worst, found.median)
        print(f"{durability}: {spread(plain).median:,.0f} lines/s without a claim,", end=" ")
        print(f"{spread(claimed).median:,.0f} through a turn:", end=" ")
        print(f"{found.median:.3f} of it ({found.low:.3f}-{found.high:.3f})")
    return int(worst < TARGET)


if __name__ == "__main__":
    sys.exit(main())
