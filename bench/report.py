"""Turns kept figures into a table for a terminal and a page for the documentation."""

# ruff: noqa: RUF001 - what people read has its multiplication signs and dashes

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Figures = dict[str, Any]


class Target(NamedTuple):
    """What must be reached, and the figure that tells."""

    what: str
    sense: str
    bound: float
    further: float | None
    figure: Callable[[Figures], float]
    form: str

    def said(self, bound: float) -> str:
        """Return a bound as it is written."""
        return f"{self.sense} {self.form.format(bound)}"

    def reached(self, found: float, bound: float | None) -> bool:
        """Whether a figure is within a bound."""
        if bound is None:
            return False
        return found >= bound if self.sense == "≥" else found <= bound


def _ratio(name: str) -> Callable[[Figures], float]:
    return lambda figures: float(figures["appends"]["contenders"][name]["ratio"]["median"])


def _times(name: str) -> Callable[[Figures], float]:
    return lambda figures: float(figures["appends"]["times peers"][name]["mirror"]["median"])


def _check(name: str) -> Callable[[Figures], float]:
    def figure(figures: Figures) -> float:
        by_size = figures["fence check, us"][name]
        return float(by_size[max(by_size, key=int)]["median"])

    return figure


def _median(part: str, name: str) -> Callable[[Figures], float]:
    return lambda figures: float(figures[part][name]["median"])


TARGETS: Final = (
    Target("append, FULL, `bytes` line, no mirror, of plain sqlite3 FULL", "≥", 0.75, 0.85, _ratio("journal-full-bytes"), "{:.2f}"),
    Target("append, FULL, `bytes` line, mirror, of plain sqlite3 FULL", "≥", 0.65, 0.75, _ratio("journal-mirror-bytes"), "{:.2f}"),
    Target("the same, of openai-agents `SQLiteSession`", "≥", 1.3, None, _times("openai-agents"), "{:.2f} ×"),
    Target("the same, of google-adk `SqliteSessionService`", "≥", 6, None, _times("google-adk"), "{:.1f} ×"),
    Target("append, NORMAL, `bytes` line, of plain sqlite3 NORMAL", "≥", 0.40, 0.5, _ratio("journal-normal-bytes"), "{:.2f}"),
    Target("fence check, nothing arrived, greatest session", "≤", 60, 20, _check("warm"), "{:.0f} µs"),
    Target("the same right after another process's commit", "≤", 60, 20, _check("after a commit elsewhere"), "{:.0f} µs"),
    Target("fence check, greatest session over least", "≤", 1.2, None, _median("fence check, us", "warm, greatest to least"), "{:.2f} ×"),
    Target("the same after another process's commit", "≤", 1.2, None, _median("fence check, us", "after a commit elsewhere, greatest to least"), "{:.2f} ×"),
    Target("open the greatest journal and read the last 50", "≤", 10, 2, _median("opening, ms", "open and read 50"), "{:.1f} ms"),
    Target("`import journal`", "≤", 60, None, _median("start-up, ms", "import journal"), "{:.0f} ms"),
    Target("`journal --help`, the whole process", "≤", 150, None, _median("start-up, ms", "journal --help"), "{:.0f} ms"),
    Target("database over lines of 1 KB", "≤", 1.4, 1.2, lambda figures: float(figures["database over lines"]["1024"]), "{:.2f} ×"),
    Target("database over lines of 500 B", "≤", 1.45, None, lambda figures: float(figures["database over lines"]["500"]), "{:.2f} ×"),
)  # fmt: skip


def judged(figures: Figures) -> Iterator[tuple[str, str, str, str]]:
    """Yield each target: what, bound, figure, and "reached", "beaten", "missed" or "absent"."""
    for target in TARGETS:
        bounds = target.said(target.bound)
        if target.further is not None:
            bounds += f", then {target.form.format(target.further)}"
        try:
            found = target.figure(figures)
        except KeyError:
            yield target.what, bounds, "–", "absent"
            continue
        verdict = "reached" if target.reached(found, target.bound) else "**missed**"
        if target.reached(found, target.further):
            verdict = "beaten"
        yield target.what, bounds, target.form.format(found), verdict


def as_text(figures: Figures) -> str:
    """Return the figures as a terminal shows them."""
    lines = [_about(figures), ""]
    lines += [f"{'lines/s':>9}  {'ratio':>6}  {'least – most':>12}  what"]
    for row in figures["appends"]["contenders"].values():
        rate, ratio = row["rate"]["median"], row["ratio"]
        lines.append(
            f"{rate:9,.0f}  {ratio['median']:6.2f}  {ratio['low']:5.2f} – {ratio['high']:4.2f}  {row['title']}"
        )
    for name, why in figures["appends"]["absent"].items():
        lines.append(f"{'absent':>9}  {'':6}  {'':12}  {name} ({why})")
    lines += ["", *(f"{name}: {found}" for name, found in _others(figures)), ""]
    for what, bounds, found, verdict in judged(figures):
        lines.append(f"{verdict.strip('*'):>9}  {found:>9}  {bounds:<22} {what}")
    return "\n".join(lines)


def _about(figures: Figures) -> str:
    facts = ", ".join(f"{name} {fact}" for name, fact in figures["machine"].items())
    return f"{facts}{'; QUICK: good for no claim' if figures['quick'] else ''}"


def _others(figures: Figures) -> Iterator[tuple[str, str]]:
    for name in ("warm", "after a commit elsewhere"):
        for size, found in figures["fence check, us"][name].items():
            yield (
                f"fence check, nothing arrived, {int(size):,} entries, {name}",
                _spread(found, "µs"),
            )
        found = figures["fence check, us"][f"{name}, greatest to least"]
        yield f"fence check, greatest session over least, {name}", _spread(found, "×", 2)
    opening = figures["opening, ms"]
    for name in ("open", "open and read 50"):
        yield f"{name}, {opening['entries']:,} entries", _spread(opening[name], "ms")
    for name, found in figures["start-up, ms"].items():
        yield name, _spread(found, "ms")
    for size, ratio in figures["database over lines"].items():
        yield f"database over lines of {size} bytes", f"{ratio:.2f} ×"


def _spread(found: dict[str, float], unit: str, places: int = 1) -> str:
    median, low, high = (f"{found[name]:.{places}f}" for name in ("median", "low", "high"))
    return f"{median} {unit} ({low} – {high})"


def as_page(figures: Figures) -> str:
    """Return the figures as a page of the documentation."""
    return "\n".join([*_page(figures), ""])


def _page(figures: Figures) -> Iterator[str]:
    yield "# Performance"
    yield ""
    yield "Written by `python bench/append.py --report docs/performance.md --picture docs/performance.svg`; do not edit it by hand. The script says how it measures."
    yield "Only the ratios are worth comparing between machines: all contenders took turns in this one run, and a ratio is the"
    yield "median over its rounds, with the least and the greatest beside it."
    yield ""
    yield f"Measured with: {_about(figures)}."
    yield ""
    yield "## Targets"
    yield ""
    yield "| what | target | figure | |"
    yield "|---|---|---|---|"
    for row in judged(figures):
        yield f"| {' | '.join(row)} |"
    yield ""
    yield "*Beaten*: the second, harder bound is reached too."
    yield ""
    yield from _appends(figures["appends"])
    yield ""
    yield "## What must not grow with the journal"
    yield ""
    yield "| what | median (least – most) |"
    yield "|---|---|"
    for name, found in _others(figures):
        yield f"| {name} | {found} |"
    yield ""
    yield "The lines of the fence checks are of 1 KB. `import at first open` is SQLAlchemy and what else the first `Journal(…)` of a"
    yield "process needs; `import journal` and `journal --help` do without. `journal --help` is the whole process, Python's own start included."


def _appends(appends: Figures) -> Iterator[str]:
    plan = appends["plan"]
    yield "## One line of 1 KB, one process"
    yield ""
    yield f"{plan['rounds']} rounds of {plan['blocks']} × {plan['block']} lines each, the median block told. FULL is durable when the call returns; a ratio is over the plain"
    yield "row of the same durability. Peers run with their own defaults."
    yield ""
    yield "![The ratios below as bars](performance.svg)"
    yield ""
    yield "| what | lines/s | ratio | least – most |"
    yield "|---|---|---|---|"
    for row in appends["contenders"].values():
        ratio = row["ratio"]
        yield f"| {row['title']} | {row['rate']['median']:,.0f} | {ratio['median']:.2f} | {ratio['low']:.2f} – {ratio['high']:.2f} |"
    for name, why in appends["absent"].items():
        yield f"| {name} | absent: {why} | | |"
    if appends["times peers"]:
        yield ""
        yield "The journal's rate (FULL, `bytes` line) over a peer's, round by round:"
        yield ""
        yield "| peer | without a mirror | with its mirror |"
        yield "|---|---|---|"
        for name, times in appends["times peers"].items():
            found = (_spread(times[how], "×", 2) for how in ("no mirror", "mirror"))
            yield f"| {name} | {' | '.join(found)} |"
