"""A check of some or all sites, and what comes out of it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.checks import loading, scratch, serving, sharing, versions
from gateway.checks.facts import Request, Unit
from gateway.checks.findings import Finding, Level
from gateway.checks.scratch import Outcome
from gateway.config import Config, SiteConfig
from gateway.errors import Fault

LIMIT: Final = 30.0
"""Seconds that loading a site may take."""
_AT_ONCE: Final = 4
"""Scratch processes at the same time, at most; never more than there are processors."""


@dataclass(frozen=True, slots=True)
class SiteReport:
    """One site: what was seen, and what to say about it."""

    site: SiteConfig
    outcome: Outcome
    findings: tuple[Finding, ...]

    @property
    def units(self) -> tuple[Unit, ...]:
        """What counts for the site: of the gateway's own environment only what it loaded."""
        units = self.outcome.facts.units
        return units if self.site.venv is not None else tuple(u for u in units if u.loaded)


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a check. ``faults`` are those of ``sites.json``."""

    source: Path
    faults: tuple[Fault, ...]
    sites: tuple[SiteReport, ...]
    findings: tuple[Finding, ...]
    """What concerns several sites or the machine."""

    @property
    def ok(self) -> bool:
        """Whether there is no fault anywhere."""
        return not self.faults and all(f.level is not Level.FAULT for f in self.all_findings())

    def all_findings(self) -> Iterator[Finding]:
        """Those of all sites, then those between them."""
        for site in self.sites:
            yield from site.findings
        yield from self.findings


def check(
    config: Config,
    names: Iterable[str],
    *,
    limit: float = LIMIT,
    began: Callable[[str], None] = lambda name: None,
) -> Report:
    """Check the sites ``names``, each in a process of its own; ``began`` is told when one begins.

    The environment of this process has to be the one that the gateway runs with.
    """

    stop = threading.Event()

    def check_one(site: SiteConfig) -> SiteReport:
        began(site.name)
        return _check_site(site, site.name == config.default_site, limit, stop)

    at_once = min(_AT_ONCE, os.cpu_count() or 1)
    with ThreadPoolExecutor(at_once, thread_name_prefix="check") as executor:
        chosen = [config.sites[name] for name in names if name in config.sites]
        try:
            sites = tuple(executor.map(check_one, chosen))
        except BaseException:  # Control-C does not reach the processes, which have their sessions
            stop.set()
            raise
    return Report(config.source, config.faults, sites, tuple(_between(sites)))


def _check_site(
    site: SiteConfig, is_default: bool, limit: float, stop: threading.Event
) -> SiteReport:
    hosts = tuple(serving.tried(host) for host in site.hosts)
    if is_default:
        hosts += (serving.ANY_OTHER_HOST,)
    outcome = scratch.run(Request(site, hosts, limit), stop)
    found = [*loading.findings(site, outcome, limit)]
    if outcome.facts.project is not None:
        found += serving.findings(site, outcome.facts.project)
    found += sharing.findings(site, outcome.facts, os.environ)
    return SiteReport(site, outcome, tuple(sorted(found, key=lambda f: list(Level).index(f.level))))


def _between(sites: tuple[SiteReport, ...]) -> Iterator[Finding]:
    if any(not site.outcome.facts.private_folder for site in sites):
        yield Finding(
            Level.NOTE,
            "working-directory",
            "the system gives no thread a working directory of its own (unshare is refused): "
            "relative paths of all sites start from the gateway's folder, and umask is one for all",
            "use absolute paths; in a container, allow CAP_SYS_ADMIN or another seccomp profile",
        )
    yield from versions.findings({report.site.name: report.units for report in sites})
