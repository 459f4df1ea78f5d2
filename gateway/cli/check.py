"""``gateway check``: load each site in a process of its own, and report what is wrong with it."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from textwrap import dedent, indent
from typing import Any

from gateway.checks.document import document
from gateway.checks.report import LIMIT, Report, check
from gateway.checks.table import table
from gateway.config import ADMIN_HOSTS, Config, read_config_leniently
from gateway.config.faults import nearest, shown
from gateway.errors import ConfigError
from gateway.settings import Settings

_EPILOG = """\
Exit status: 0 without faults (warnings and notes do not count), 1 with faults, 2 if the command
line is wrong. Run it as the user and with the environment of the gateway, in its folder:
GATEWAY_SITES names the file as it does for the server. Each site is executed, in a process of its
own that ends afterwards; nothing that a gateway serves is touched.
"""


def add_to(commands: Any) -> None:
    """Add the command to the parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "check",
        help="load sites in scratch processes and report what is wrong with them",
        description="Load each site in a scratch process and say what is wrong with it.",
        epilog=dedent(_EPILOG),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sites", nargs="*", metavar="SITE", help="a name in sites.json; else all")
    parser.add_argument("--json", action="store_true", help="report for programs")
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="add tracebacks and what the sites printed"
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=LIMIT,
        metavar="SECONDS",
        help="how long a site may take to load (default: %(default)g)",
    )
    parser.set_defaults(run=run, parser=parser)


def run(options: argparse.Namespace) -> int:
    """Check the sites, and return the exit status.

    A site with a fault in ``sites.json`` is not checked; the others are. Raises ``SettingsError``,
    and ``ConfigError`` if nothing in the file can be used.
    """
    settings = Settings.load()
    try:
        config = read_config_leniently(
            settings.sites, environ=os.environ, admin_hosts=ADMIN_HOSTS.union(settings.admin_hosts)
        )
    except ConfigError as error:
        if not options.json:
            raise
        report = Report(settings.sites.absolute(), error.faults, (), ())
    else:
        names = _chosen(options, config)
        report = check(config, names, limit=options.timeout, began=_progress)
        _end_progress()
    print(json.dumps(document(report), indent=2) if options.json else _text(report, options))
    return 0 if report.ok else 1


def _text(report: Report, options: argparse.Namespace) -> str:
    width = min(120, shutil.get_terminal_size((100, 24)).columns)
    text = table(report, width=width, colours=_colours(), verbose=options.verbose)
    if report.faults:
        faults = "\n".join(map(str, report.faults))
        text = f"sites.json cannot be used:\n{indent(faults, '  ')}\n\n{text}"
    return text


def _chosen(options: argparse.Namespace, config: Config) -> Sequence[str]:
    """Return the sites that the command line names, else all; a wrong name is wrong usage."""
    known = [*config.sites, *config.faulty]
    for name in options.sites:
        if name not in known:
            options.parser.error(f"there is no site {shown(name)}; {nearest(name, known)}")
    return list(dict.fromkeys(options.sites)) or list(config.sites)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 86400:
        raise ValueError(text)
    return seconds


_seconds.__name__ = "number of seconds"


def _progress(name: str) -> None:
    """Show on a terminal which site is checked; write nothing to a file or a log."""
    if sys.stderr.isatty():
        print(f"\r\x1b[Kchecking {name} ...", end="", file=sys.stderr, flush=True)


def _end_progress() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _colours() -> bool:
    """Tell whether to print colours: on a terminal, unless https://no-color.org is followed."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return sys.stdout.isatty() and not plain
