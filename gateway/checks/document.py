"""The report for programs. ``docs/check.md`` describes its form, to which keys are only added."""

from __future__ import annotations

from typing import Any, Final

from gateway.checks.facts import Database
from gateway.checks.findings import Finding
from gateway.checks.report import Report, SiteReport

VERSION: Final = 1


def document(report: Report) -> dict[str, Any]:
    """Return the report as values that ``json`` can write."""
    return {
        "version": VERSION,
        "ok": report.ok,
        "source": str(report.source),
        "faults": [
            {"path": fault.path, "message": fault.message, "site": fault.site}
            for fault in report.faults
        ],
        "sites": {site.site.name: _site(site) for site in report.sites},
        "findings": [_finding(finding) for finding in report.findings],
    }


def _site(report: SiteReport) -> dict[str, Any]:
    facts = report.outcome.facts
    project = facts.project
    return {
        "loads": facts.loaded is True,
        "seconds": facts.seconds,
        "reason": facts.reason or None,
        "traceback": facts.traceback or report.outcome.stack or None,
        "output": report.outcome.output,
        "hosts": list(report.site.hosts),
        "wsgi": report.site.wsgi,
        "python": facts.python,
        "django": facts.django,
        "settings": project and project.settings,
        "debug": project and project.debug,
        "time_zone": project and project.time_zone,
        "databases": {item.alias: _database(item) for item in project.databases} if project else {},
        "native": [
            {"label": unit.label, "packages": dict(unit.packages), "loaded": unit.loaded}
            for unit in report.units
        ],
        "findings": [_finding(finding) for finding in report.findings],
    }


def _database(database: Database) -> dict[str, Any]:
    return {
        "vendor": database.vendor,
        "pending": None if database.pending is None else list(database.pending),
        "error": database.error or (database.missing and f"no file {database.missing}"),
    }


def _finding(finding: Finding) -> dict[str, str]:
    return {
        "level": finding.level.value,
        "code": finding.code,
        "what": finding.what,
        "remedy": finding.remedy,
    }
