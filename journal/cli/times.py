"""Times as people type them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    Moments = click.ParamType[int]
else:
    Moments = click.ParamType  # before click 8.4 it takes no parameter

_AGO: Final = re.compile(r"(\d{1,6})\s*([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Moment(Moments):
    """A moment in microseconds since 1970 UTC: so long ago (90m, 24h, 7d), or a time; without a zone it is local."""

    name = "when"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> int:
        """Return the moment."""
        if isinstance(value, int):
            return value
        ago = _AGO.fullmatch(value.strip())
        try:
            if ago is not None:
                then = datetime.fromtimestamp(time.time(), UTC) - timedelta(
                    **{_UNITS[ago[2]]: int(ago[1])}
                )
            else:
                then = datetime.fromisoformat(value.strip())
            return int(then.timestamp() * 1_000_000)
        except (ValueError, OverflowError, OSError):
            self.fail(f"{value!r} is no time: 24h, 7d, or 2026-11-27T08:00Z", param, ctx)
