"""Measure appends beside their limits and their peers, in turn, in one run.

    python bench/append.py                     the whole: about ten minutes, 4 GB of disk
    python bench/append.py --quick             a look: under a minute, good for no claim
    python bench/append.py --json FILE         also keep the figures
    python bench/append.py --report docs/performance.md --picture docs/performance.svg [--json FILE]
                                               measure, write the page and draw it, or
                                               with --from FILE do so from kept figures

Machines drift, and a disk may be three times slower a minute later, so only
ratios taken in one run count. All contenders take turns in blocks of a few
hundred lines (each long enough to hold a checkpoint), in an order drawn anew each
time. A round's rate is that of its median block; a ratio is a contender's rate
over the reference's in the same round, and what is told is the median of the
rounds with the least and the greatest. The first round warms up and does not count.

The reference ("plain") is what one would write by hand with the same SQLite
library: a table with an integer key and UNIQUE(session_id, seq), WAL, one row of
1 KB in one transaction, BEGIN IMMEDIATE to COMMIT, on a kept cursor. Peers run
with their own defaults where they are installed (openai-agents, google-adk,
eventsourcing) and are called absent where they are not; nothing is estimated.

The rest must not grow with the journal: a fence check when nothing arrived in
sessions of 1,000 to 1,000,000 entries, opening the great journal and reading its
newest 50 lines, the database's size over the lines' own, and start-up. The files
are written below --dir (default: the current directory, not /tmp, which may be
memory) and removed.

Not part of the timed tests. The figures beside the targets are in
docs/performance.md; a target that was missed is called missed there.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import contenders as limits
import lookups
import peers
import picture
import report
from rounds import AbsentError, Contender, Plan, measure, ratios, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SCHEMA: Final = "journal.bench.append/1"
_MAKERS: Final[tuple[tuple[str, Callable[[Path], Contender]], ...]] = (
    ("plain FULL", lambda home: limits.plain(home, "full")),
    ("journal FULL", lambda home: limits.ours(home, "full", as_bytes=True)),
    ("journal FULL, dict", lambda home: limits.ours(home, "full", as_bytes=False)),
    ("journal FULL, mirror", limits.mirrored),
    ("C loop FULL", lambda home: limits.c_loop(home, "full")),
    ("plain FULL, Python's SQLite", limits.stdlib),
    ("write + fdatasync", limits.synced_file),
    ("JSONL", limits.locked_file),
    ("lock file", limits.lock_file),
    ("plain NORMAL", lambda home: limits.plain(home, "normal")),
    ("journal NORMAL", lambda home: limits.ours(home, "normal", as_bytes=True)),
    ("journal NORMAL, dict", lambda home: limits.ours(home, "normal", as_bytes=False)),
    ("C loop NORMAL", lambda home: limits.c_loop(home, "normal")),
    ("openai-agents SQLiteSession", peers.openai_agents),
    ("google-adk SqliteSessionService", peers.google_adk),
    ("eventsourcing recorder", peers.eventsourcing),
)


def tell(text: str) -> None:
    """Say how far it is, where it does not mix with the figures."""
    print(f"  {text}", file=sys.stderr, flush=True)


def appends(home: Path, plan: Plan) -> dict[str, Any]:
    """Run every contender at hand; return rates, ratios and what is absent."""
    absent: dict[str, str] = {}
    running = list(_made(home, absent))
    try:
        measure(running, plan, tell)
    finally:
        for contender in running:
            contender.close()
    rates = {contender.name: contender.rates for contender in running}
    rows = {contender.name: _row(contender, rates) for contender in running}
    return {
        "plan": plan._asdict(),
        "contenders": rows,
        "absent": absent,
        "times peers": _peers(rates),
    }


def _made(home: Path, absent: dict[str, str]) -> Iterable[Contender]:
    for name, make in _MAKERS:
        try:
            yield make(home)
        except AbsentError as error:
            absent[name] = str(error)


def _row(contender: Contender, rates: dict[str, list[float]]) -> dict[str, Any]:
    return {
        "title": contender.title,
        "against": contender.against,
        "rate": spread(contender.rates)._asdict(),
        "ratio": ratios(contender.rates, rates[contender.against])._asdict(),
    }


def _peers(rates: dict[str, list[float]]) -> dict[str, Any]:
    """Return how many times a peer's rate ours is, FULL, a line of bytes."""
    ours = {"no mirror": "journal-full-bytes", "mirror": "journal-mirror-bytes"}
    found = [name for name in ("openai-agents", "google-adk", "eventsourcing") if name in rates]
    return {
        peer: {how: ratios(rates[name], rates[peer])._asdict() for how, name in ours.items()}
        for peer in found
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything and return the figures."""
    quick = options.quick
    sizes = [1_000, 10_000] if quick else [1_000, 10_000, 100_000, 1_000_000]
    with tempfile.TemporaryDirectory(prefix="journal-bench-", dir=options.dir) as name:
        home = Path(name)
        figures = {
            "schema": SCHEMA,
            "quick": quick,
            "machine": limits.machine(home),
            "appends": appends(home, Plan(3, 3, 100) if quick else Plan(options.rounds, 5, 400)),
        }
        path = lookups.build(home, sizes, tell)
        tell("fence checks")
        figures["fence check, us"] = lookups.fence_checks(
            path, home / "key", sizes, 3 if quick else 9
        )
        tell("opening")
        figures["opening, ms"] = lookups.opening(path, home / "key", sizes[-1], 5 if quick else 25)
        tell("sizes and start-up")
        figures["database over lines"] = lookups.sizes_on_disk(home, 5_000 if quick else 50_000)
        figures["start-up, ms"] = lookups.start_up(3 if quick else 15)
    return json.loads(json.dumps(_plain(figures)))  # type: ignore[no-any-return]


def _plain(figures: Any) -> Any:  # noqa: ANN401 - figures of any shape
    """Return named tuples as objects, so that the kept file says what is what."""
    if hasattr(figures, "_asdict"):
        return figures._asdict()
    if isinstance(figures, dict):
        return {name: _plain(value) for name, value in figures.items()}
    return figures


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a look: good for no claim")
    parser.add_argument("--rounds", type=int, default=11, help="rounds that count (default: 11)")
    parser.add_argument(
        "--dir", type=Path, default=Path.cwd(), help="where to write (default: here)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the page of figures")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the ratios (SVG)")
    parser.add_argument("--from", dest="kept", type=Path, metavar="FILE", help="use kept figures")
    return parser.parse_args()


def main() -> None:
    """Measure, print, and keep what was asked for."""
    options = _options()
    figures = json.loads(options.kept.read_text("utf-8")) if options.kept else run(options)
    print(report.as_text(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    if options.picture:
        options.picture.write_text(picture.drawn(figures), "utf-8")
    if options.report:
        options.report.write_text(report.as_page(figures), "utf-8")


if __name__ == "__main__":
    main()
