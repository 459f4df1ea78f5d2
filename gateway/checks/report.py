"""Check some or all sites, and hold the result."""

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
"""The largest number of scratch processes at the same time; never more than processors."""


@dataclass(frozen=True, slots=True)
class SiteReport:
    """The result for one site: the outcome of its scratch process and the findings."""

    site: SiteConfig
    outcome: Outcome
    findings: tuple[Finding, ...]

    @property
    def units(self) -> tuple[Unit, ...]:
        """The units that count for the site.

        If it uses the gateway's own environment, these are only the units that it loaded.
        """
        units = self.outcome.facts.units
        return units if self.site.venv is not None else tuple(u for u in units if u.loaded)


@dataclass(frozen=True, slots=True)
class Report:
    """The result of a check. ``faults`` are those of ``sites.json``."""

    source: Path
    faults: tuple[Fault, ...]
    sites: tuple[SiteReport, ...]
    findings: tuple[Finding, ...]
    """Findings about several sites together, or about the machine."""

    @property
    def ok(self) -> bool:
        """True if there is no fault in ``sites.json`` and no finding is a fault."""
        return not self.faults and all(f.level is not Level.FAULT for f in self.all_findings())

    def all_findings(self) -> Iterator[Finding]:
        """Yield the findings of each site, then those about several sites or the machine."""
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
    """Check the sites ``names``, each in a process of its own.

    ``limit`` is the number of seconds that a site may take to load. ``began`` is called with the
    name of each site when its check begins. The environment of this process has to be the one that
    the gateway runs with.
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
        except BaseException:  # Control-C does not reach the processes: each has its own session
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
