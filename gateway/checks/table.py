"""The report for people, as text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from gateway.checks.facts import Project
from gateway.checks.findings import Finding, Level, listed
from gateway.checks.report import Report, SiteReport

_COLOURS: Final = {Level.FAULT: "\x1b[31m", Level.WARNING: "\x1b[33m", Level.NOTE: "\x1b[36m"}
_PLAIN: Final = "\x1b[0m"
_HEADINGS: Final = ("SITE", "LOADS", "DJANGO", "SETTINGS", "DEBUG", "MIGRATIONS", "NATIVE PACKAGES")
_UNKNOWN: Final = "?"
_NOTHING: Final = "-"
_MARGIN: Final = " " * 11
_LONGEST: Final = 320
"""The number of characters of a finding that are shown: the text of some exceptions is long."""
_OUTPUT_LINES: Final = 20


def table(report: Report, *, width: int, colours: bool = False, verbose: bool = False) -> str:
    """Return the report as text, ``width`` characters wide.

    ``verbose`` adds tracebacks and the output of the sites.
    """
    blocks = []
    if report.sites:
        blocks.append("\n".join(_overview(report.sites)))
    for site in report.sites:
        lines = [*_findings(site.findings, width, colours)]
        lines += _details(site) if verbose else []
        if lines:
            blocks.append("\n".join([site.site.name, *lines]))
    if report.findings:
        lines = [*_findings(report.findings, width, colours)]
        blocks.append("\n".join(["all sites", *lines]))
    blocks.append(_summary(report))
    return "\n\n".join(blocks)


def _overview(sites: Iterable[SiteReport]) -> list[str]:
    rows = [_HEADINGS, *(_row(site) for site in sites)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _row(report: SiteReport) -> tuple[str, ...]:
    facts = report.outcome.facts
    project = facts.project
    empty = _NOTHING if facts.loaded else _UNKNOWN
    native = [_shortest(unit.packages) for unit in report.units if unit.loaded]
    cells = (
        report.site.name,
        f"{facts.seconds:.2f} s" if facts.loaded and facts.seconds is not None else "NO",
        facts.django or empty,
        (project and project.settings) or empty,
        ("on" if project.debug else "off") if project else empty,
        _migrations(project) if project else empty,
        listed(native, 3) or empty,
    )
    return tuple(map(_printable, cells))


def _shortest(packages: Mapping[str, str]) -> str:
    """Return one name and version for a unit: psycopg with psycopg-binary is called psycopg."""
    name = min(packages, key=len)
    return f"{name} {packages[name]}"


def _migrations(project: Project) -> str:
    if any(item.error is not None for item in project.databases):
        return _UNKNOWN
    if any(item.missing for item in project.databases):
        return "no database"
    pending = sum(len(item.pending or ()) for item in project.databases)
    return f"{pending} to apply" if pending else "applied" if project.databases else _NOTHING


def _findings(findings: Iterable[Finding], width: int, colours: bool) -> Iterator[str]:
    for finding in findings:
        level = finding.level.value.ljust(7)
        if colours:
            level = f"{_COLOURS[finding.level]}{level}{_PLAIN}"
        what, *more = _wrapped(finding.what, width)
        yield f"  {level}  {what}"
        yield from (_MARGIN + line for line in more)
        first, *more = _wrapped(finding.remedy, width - 3)
        yield f"{_MARGIN}=> {first}"
        yield from (f"{_MARGIN}   {line}" for line in more)


def _wrapped(text: str, width: int) -> list[str]:
    text = " ".join(_printable(text).split())
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + " ..."
    room = max(40, width - len(_MARGIN))
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]


def _details(report: SiteReport) -> Iterator[str]:
    outcome = report.outcome
    parts = {
        "traceback": outcome.facts.traceback.splitlines() or outcome.stack.splitlines(),
        "printed": outcome.output.splitlines()[-_OUTPUT_LINES:],
    }
    for title, lines in parts.items():
        if lines:
            yield f"  {title}"
            yield from (f"    {_printable(line)}" for line in lines)


def _summary(report: Report) -> str:
    findings = list(report.all_findings())
    counts = []
    for level in Level:
        count = sum(finding.level is level for finding in findings)
        if level is Level.FAULT:
            count += len(report.faults)
        counts.append(f"{count} {level.value}{'' if count == 1 else 's'}")
    python = next((site.outcome.facts.python for site in report.sites), "")
    number = len(report.sites)
    checked = f"{number} site{'' if number == 1 else 's'} checked"
    return f"{checked}{f' with Python {python}' if python else ''}: {', '.join(counts)}."


def _printable(text: str) -> str:
    """Replace characters that a terminal would obey, because the text comes from a site."""
    return "".join(char if char.isprintable() else " " if char == "\t" else "?" for char in text)
