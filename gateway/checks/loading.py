"""Findings on how a site loads and unloads."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys
from collections.abc import Iterator
from typing import Final

from gateway.checks.facts import Stage
from gateway.checks.findings import OWN_GATEWAY, Finding, Level
from gateway.checks.scratch import Outcome
from gateway.config import SiteConfig
from gateway.config.discovery import SETTINGS_VARIABLE

_DOING: Final[dict[Stage, str]] = {
    "starting": "before the site was loaded",
    "loading": "while the site was loaded",
    "asking": "when the site was asked about its settings and databases",
    "unloading": "when the site was unloaded",
    "done": "after the check",
}
_FRAME: Final = re.compile(r'^ *File "(?P<file>.+)", line (?P<line>\d+),? in (?P<name>.+)$', re.M)
"""A frame in a traceback, or in the output of ``faulthandler``."""
_NO_MODULE: Final = re.compile(r"^ModuleNotFoundError: No module named '([^']+)'")
_NO_KEY: Final = re.compile(r"^KeyError: '([A-Z][A-Z0-9_]*)'$")
_NO_ATTRIBUTE: Final = re.compile(r"^AttributeError: module '[^']+' has no attribute '[^']+'$")


def findings(site: SiteConfig, outcome: Outcome, limit: float) -> Iterator[Finding]:
    """Yield what is wrong with how the site loads and unloads; ``limit`` is in seconds."""
    facts = outcome.facts
    if facts.stage == "done":
        if facts.loaded is False:
            yield _failed(site, facts.reason, facts.traceback)
    elif outcome.timed_out:
        yield _out_of_time(site, outcome, limit)
    else:
        yield _ended(site, outcome)
    if facts.exit_hangs:
        yield Finding(
            Level.WARNING,
            "unload",
            "its exit functions (atexit) do not come to an end",
            "let them return soon: after a reload, the old code stays in memory until they do",
        )


def _failed(site: SiteConfig, reason: str, traceback: str) -> Finding:
    # A SyntaxError names its place itself; the last call would be the import of that file.
    place = "" if reason.startswith("SyntaxError") else _place(site, traceback, innermost=-1)
    return Finding(Level.FAULT, "load", f"does not load: {reason}{place}", _remedy(site, reason))


def _out_of_time(site: SiteConfig, outcome: Outcome, limit: float) -> Finding:
    place = _place(site, outcome.stack)
    if outcome.facts.stage in ("starting", "loading"):
        return Finding(
            Level.FAULT,
            "load",
            f"does not load: it was not up after {limit:g} seconds{place}",
            "do not wait for networks, locks or input while modules are imported; if it only "
            f"takes long, give it more time: --timeout {limit * 4:g}",
        )
    return Finding(
        Level.WARNING,
        "unload" if outcome.facts.stage == "unloading" else "unanswered",
        f"gave no answer {_DOING[outcome.facts.stage]}{place}",
        "see what it waits for: gateway check --verbose " + shlex.quote(site.name),
    )


def _ended(site: SiteConfig, outcome: Outcome) -> Finding:
    place = _place(site, outcome.stack)
    doing = _DOING[outcome.facts.stage]
    if outcome.facts.stage == "starting":
        return Finding(
            Level.FAULT,
            "load",
            f"could not be checked: its process ended at once, with status {outcome.status}",
            f"see why: gateway check --verbose {shlex.quote(site.name)}",
        )
    if outcome.status >= 0:
        return Finding(
            Level.FAULT,
            "load",
            f"ends the process {doing}, with status {outcome.status}{place}",
            "find the os._exit() or exec*() in its code or its packages, which would end the "
            "gateway with all its sites; what it printed last: gateway check --verbose "
            + shlex.quote(site.name),
        )
    name = _signal_name(-outcome.status)
    if outcome.status == -signal.SIGKILL:
        remedy = "was there too little memory? See the log of the system (dmesg)"
    else:
        remedy = f"update or remove the package with the C code that crashes, or {OWN_GATEWAY}"
    return Finding(Level.FAULT, "load", f"crashes the process {doing}: {name}{place}", remedy)


def _remedy(site: SiteConfig, reason: str) -> str:
    """Return what to do about the most frequent reasons, and else how to see where it failed."""
    if match := _NO_MODULE.match(reason):
        top = match[1].partition(".")[0]
        own = {site.wsgi.partition(".")[0], site.env.get(SETTINGS_VARIABLE, "")}
        if top in {name.partition(".")[0] for name in own}:
            return f'is "path" the folder of the project ({site.path}), and "wsgi" right?'
        if site.venv is not None:
            python = shlex.quote(str(site.venv / "bin" / "python"))
            return f'install what brings "{top}": {python} -m pip install ...'
        return (
            'name the virtual environment of the site ("venv"), or install what brings '
            f'"{top}" for the gateway: {shlex.quote(sys.executable)} -m pip install ...'
        )
    if match := _NO_KEY.match(reason):
        return (
            f"if {match[1]} is an environment variable: a site sees none of the gateway's; write "
            f'it into the site\'s "env" or "env_file"'
        )
    if _NO_ATTRIBUTE.match(reason):
        return f'the site\'s "wsgi" is "{site.wsgi}": is that the application?'
    return f"see where: gateway check --verbose {shlex.quote(site.name)}"


def _place(site: SiteConfig, stack: str, innermost: int = 0) -> str:
    """Return the file and line of the project that was running, as text; may be empty.

    ``innermost`` is the index of the innermost call in ``stack``: 0 or -1.
    """
    folders = tuple({str(path) + os.sep for path in (site.path, site.path.resolve())})
    own = [frame for frame in _FRAME.finditer(stack) if frame["file"].startswith(folders)]
    if not own:
        return ""
    file = own[innermost]["file"]
    for folder in folders:
        file = file.removeprefix(folder)
    return f" ({file}, line {own[innermost]['line']})"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
