"""Reports for people: one page that shows a journal, its writers and what an audit found.

It reads as the auditor does, through a read-only connection, and believes no more.
"""

from __future__ import annotations

from journal.report.page import write_page

__all__ = ["write_page"]
