"""Give the wheel its migrations: ``alembic/`` travels as ``journal/_alembic/``.

Only in a standard wheel. An editable install finds ``alembic/`` beside the
package, and a copy there would go stale with the next revision.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class MigrationsHook(BuildHookInterface):  # type: ignore[type-arg]  # its type parameter is private
    """Adds the migrations to a standard wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the directory to add before hatchling collects its files."""
        if version == "standard":
            build_data["force_include"]["alembic"] = "journal/_alembic"
