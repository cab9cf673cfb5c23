"""Renders the page: one file that needs no network, redacted unless it is asked for bodies.

Jinja2 escapes whatever it is given; the only script and style that may run are the
two of this package, named by their hashes in the page's content security policy.
"""

from __future__ import annotations

from base64 import b64encode
from collections import defaultdict
from datetime import UTC, datetime
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jinja2 import DictLoader, Environment, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from journal import __version__
from journal.audit.auditor import sighted
from journal.audit.findings import spans
from journal.audit.words import in_words
from journal.escape import escape
from journal.report.picture import TRUSTS, Picture

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from journal.audit import AnchorFile, Report
    from journal.note import Verifier

_NAMES = {letter: name for name, letter in TRUSTS.items()}


def write_page(  # noqa: PLR0913 - as for an audit
    path: str | Path,
    *,
    key_file: str | None = None,
    sessions: Sequence[str] = (),
    anchors: Sequence[AnchorFile] = (),
    verifiers: Sequence[Verifier] = (),
    since_us: int | None = None,
    quick: bool = False,
    progress: Callable[[int, int], None] | None = None,
    bodies: bool = False,
) -> tuple[Report, str]:
    """Audit a journal; return the report, and a page that shows it with a picture of the journal.

    Args:
        path: as for an audit, and so are the others.
        key_file: the file with the secret.
        sessions: only these.
        anchors: signed statements of heads.
        verifiers: public keys of those who may have signed them.
        since_us: only sessions with an entry this new.
        quick: leave out what reads every byte; the picture reads them in any case.
        progress: called now and then while it is audited.
        bodies: show how entries begin; without it the page holds nothing that was said.

    Raises:
        NotFoundError, CorruptError, SchemaError, EntryError: as for an audit.

    """
    with sighted(
        path, key_file=key_file, sessions=sessions, anchors=anchors, verifiers=verifiers,
        since_us=since_us, quick=quick, progress=progress,
    ) as sighting:  # fmt: skip
        picture = Picture(sighting, bodies=bodies).as_json()
    return sighting.report, rendered(sighting.report, picture, bodies=bodies)


def rendered(report: Report, picture: Mapping[str, Any], *, bodies: bool) -> str:
    """Return the page for a report and a picture."""
    style, script = _part("page.css"), _part("page.js")
    environment = Environment(
        loader=DictLoader({"page": _part("page.html.jinja")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"shown": _shown, "spans": spans, "utc": _utc}
    return environment.get_template("page").render(
        report=report,
        picture=htmlsafe_json_dumps(picture, separators=(",", ":")),
        attribution=list(attribution(picture)),
        bodies=bodies,
        # Trusted: they are files of this package, and hold nothing from the journal.
        style=Markup(style),  # noqa: S704
        script=Markup(script),  # noqa: S704
        hashes={"style": _hash(style), "script": _hash(script)},
        version=__version__,
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    )


def attribution(picture: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    """Yield, for each session, each writer and what its rows are: how many, from when to when."""
    for session in picture["sessions"]:
        counts: dict[tuple[int, str], list[int]] = defaultdict(list)
        at = 0
        for step, writer, trust in zip(
            session["time"], session["writer"], session["trust"], strict=True
        ):
            if isinstance(step, str):
                counts[writer, trust].append(int(step))
                continue
            at += step
            counts[writer, trust].append(at)
        for (writer, trust), times in sorted(counts.items()):
            known = picture["writers"].get(writer, {"name": f"writer {writer}", "role": "unknown"})
            yield {
                "session": session["key"],
                "writer": known["name"],
                "role": known["role"],
                "trust": _NAMES.get(trust, "unknown"),
                "entries": len(times),
                "first": min(times),
                "last": max(times),
            }


def _part(name: str) -> str:
    return files("journal.report").joinpath(name).read_text("utf-8")


def _hash(content: str) -> str:
    return f"sha256-{b64encode(sha256(content.encode()).digest()).decode()}"


def _shown(value: object) -> str:
    return escape(in_words(value))


def _utc(at_ms: int) -> str:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{at_ms} ms"  # a row put there by plain SQL may claim any time
