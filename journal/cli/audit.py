"""``journal audit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from journal.cli import output
from journal.cli.failing import EXIT_FOUND
from journal.cli.frame import command as make_command
from journal.cli.opening import place_of
from journal.cli.options import Settings, json_option
from journal.cli.progress import bar
from journal.cli.times import Moment
from journal.dialects.address import is_url
from journal.files import refuse_journals_own, write_new

if TYPE_CHECKING:
    from journal.audit import Report


@make_command("audit", "journal audit", "journal audit --html audit.html")
@click.argument("sessions", nargs=-1, metavar="[SESSION]...")
@click.option(
    "--anchor",
    "anchors",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Hold the journal against what journal anchor wrote; may be given more than once.",
)
@click.option(
    "--verifier",
    "verifiers",
    multiple=True,
    metavar="KEY",
    help="A public key that anchors may be signed with, NAME+HASH+KEY.",
)
@click.option(
    "--html",
    "page",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the report to a page that needs no network, with a picture of who wrote when.",
)
@click.option("--bodies", is_flag=True, help="Let the page show how entries begin.")
@click.option("--force", is_flag=True, help="Replace the page if it is there.")
@click.option(
    "--since",
    metavar="WHEN",
    type=Moment(),
    help="Only sessions with an entry this new: 24h, 7d, or a time such as 2026-11-27T08:00Z.",
)
@click.option(
    "--quick", is_flag=True, help="Seals, order and tables alone, not the lines; never says ok."
)
@click.option("--strict", is_flag=True, help="Exit 3 unless the verdict is ok: anchored, too.")
@json_option
@click.pass_obj
def command(  # noqa: PLR0913 - its options
    settings: Settings,
    /,
    sessions: tuple[str, ...],
    anchors: tuple[Path, ...],
    verifiers: tuple[str, ...],
    page: Path | None,
    since: int | None,
    **flags: bool,
) -> int:
    """Check every rule and name what broke it; change nothing.

    Reads the whole journal, or the sessions named, through a read-only connection, and
    says what it found and what it did not check. Exits 3 if it found something.
    """
    from journal.audit import AnchorFile, audit  # noqa: PLC0415 - with the rest of the library
    from journal.note import parsed_verifier  # noqa: PLC0415

    _check_usage(flags, has_page=page is not None, is_anchored=bool(anchors or not verifiers))
    path = place_of(settings)
    against: dict[str, Any] = {
        "sessions": sessions,
        "anchors": [AnchorFile(str(each), each.read_bytes()) for each in anchors],
        "verifiers": list(map(parsed_verifier, verifiers)),
        "since_us": since,
        "quick": flags["quick"],
    }
    if page is None:
        with bar("Auditing") as progress:
            report = audit(path, **against, progress=progress)
    else:
        report = _write_page(path, page.absolute(), against, flags)
    if settings.json:
        output.document("audit", **report.as_json())
    else:
        output.text(report.as_text())
    return EXIT_FOUND if flags["strict"] and report.verdict != "ok" else report.exit_code


def _check_usage(flags: dict[str, bool], *, has_page: bool, is_anchored: bool) -> None:
    """Refuse what would be asked for in vain."""
    wrong = None
    if not has_page and (flags["bodies"] or flags["force"]):
        wrong = "--bodies and --force are of the page: name it with --html"
    elif not is_anchored:
        wrong = "--verifier goes with --anchor"
    if wrong is not None:
        raise click.UsageError(wrong, click.get_current_context())


def _write_page(path: str, page: Path, against: dict[str, Any], flags: dict[str, bool]) -> Report:
    from journal.report import write_page  # noqa: PLC0415 - needs a template engine

    if not is_url(path):
        refuse_journals_own(page, Path(path), force=flags["force"])
    with bar("Auditing") as progress:
        report, content = write_page(path, **against, progress=progress, bodies=flags["bodies"])
    write_new(page, [content.encode("utf-8", "backslashreplace")], force=flags["force"])
    output.say(f"Wrote {page}, {output.size(page.stat().st_size)}.")
    return report
