"""Audits a journal: reads it, recomputes every rule, changes nothing, trusts nobody.

The auditor shares no code with the writers it checks: it reads through ``engine``,
``schema`` and ``tables`` on a read-only connection and recomputes with ``seal``.
"""

from __future__ import annotations

from journal.audit.anchored import AnchorFile
from journal.audit.auditor import audit
from journal.audit.findings import Finding
from journal.audit.report import Report

__all__ = ["AnchorFile", "Finding", "Report", "audit"]
