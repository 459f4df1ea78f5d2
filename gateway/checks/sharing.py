"""Findings on things that do not work, or disturb others, when sites share a process."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from gateway.checks.facts import Facts
from gateway.checks.findings import OWN_GATEWAY, Finding, Level, listed
from gateway.config import SiteConfig

_READ_BY_C: Final = (
    # libpq: https://www.postgresql.org/docs/current/libpq-envars.html
    (r"PG[A-Z0-9]+", "libpq", "pass it on in DATABASES, if the settings do not do so yet"),
    (r"(SSL_CERT_(FILE|DIR)|OPENSSL_.+|SSLKEYLOGFILE)", "OpenSSL", ""),
    (r"(LD|DYLD)_.+", "the dynamic linker", ""),
    (r"(MALLOC|GLIBC)_.+", "the C library's memory allocator", ""),
    (r"(LANG|LANGUAGE|LC_.+)", "the C library's locale", ""),
    (r"(RES_OPTIONS|LOCALDOMAIN|HOSTALIASES)", "the C library's name resolution", ""),
    (r"(OMP|OPENBLAS|MKL|GOMP|KMP)_.+", "the threads of numerical libraries", ""),
    (r"(GDAL_.+|PROJ_.+)", "GDAL and PROJ", ""),
    (r"(KRB5.+|GSS_.+)", "Kerberos", ""),
    (r"(ORACLE_HOME|TNS_ADMIN|NLS_LANG)", "Oracle's client", ""),
    (r"GRPC_.+", "gRPC", ""),
)
"""Variables that C code reads from the environment of the process: a pattern for their names, the
reader, and a better place for them, if there is one."""

_READ_BY_PYTHON: Final = re.compile(r"PYTHON(PATH|HOME|STARTUP|WARNINGS|HASHSEED|UTF8|TRACEMALLOC)")
"""Variables that Python reads when it starts. Others, such as ``PYTHONUNBUFFERED``, are not
reported: images often set them by habit, and nothing is lost without them."""


def findings(site: SiteConfig, facts: Facts, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what the site needs for itself and has to share.

    ``environ`` is the environment of the gateway.
    """
    yield from _time_zone(facts)
    yield from _environment(site, environ)
    yield from _signals(facts)
    yield from _patches(facts)
    if facts.locales:
        wanted = [f"{category} to {name}" for category, name in facts.locales.items()]
        yield Finding(
            Level.WARNING,
            "locale",
            f"sets {listed(wanted)}, which has no effect: there is one locale for the process",
            f"format with Django's own functions (django.utils.formats), or {OWN_GATEWAY}",
        )
    for what, how in (facts.changed or {}).items():
        yield Finding(
            Level.WARNING,
            "process",
            f"changes {what}, for all sites: {how}",
            f"take that out of its code, or {OWN_GATEWAY}",
        )
    yield from _threads(facts)
    if facts.needing_django:
        yield Finding(
            Level.WARNING,
            "native-django",
            f"{listed(facts.needing_django)} has C code and requires Django, so each reload loads "
            "it once more, which not all C code survives",
            f"restart the gateway instead of reloading this site, or {OWN_GATEWAY}",
        )


def _time_zone(facts: Facts) -> Iterator[Finding]:
    project = facts.project
    if project is None or not facts.other_zone:
        return
    differ = f"TIME_ZONE is {project.time_zone}, the process runs in {facts.process_zone}"
    follow = "date.today(), datetime.now() and the times in its log follow the process"
    remedy = f"start the gateway with TZ={project.time_zone}, or {OWN_GATEWAY}"
    if project.use_tz:
        instead = "use timezone.localdate() and timezone.now()"
        yield Finding(Level.NOTE, "time-zone", f"{differ}: {follow}", f"{instead}, or {remedy}")
    else:
        stored = "with USE_TZ = False, so do the times in its databases"
        yield Finding(
            Level.WARNING,
            "time-zone",
            f"{differ}: {follow}; {stored}",
            f"set USE_TZ = True, or {remedy}",
        )


def _environment(site: SiteConfig, environ: Mapping[str, str]) -> Iterator[Finding]:
    own = [name for name, value in site.env.items() if environ.get(name) != value]
    for pattern, reader, better in _READ_BY_C:
        names = [name for name in own if re.fullmatch(pattern, name)]
        if names:
            yield Finding(
                Level.WARNING,
                "c-environment",
                f"{listed(names)}: {reader} is C code and reads the gateway's environment, not "
                "the site's",
                f"{better or 'set it for the gateway, if all sites can have the same'}, or "
                f"{OWN_GATEWAY}",
            )
    names = [name for name in own if _READ_BY_PYTHON.fullmatch(name)]
    if names:
        yield Finding(
            Level.WARNING,
            "c-environment",
            f"{listed(names)}: Python reads this when it starts, so it only reaches the site's "
            "child processes",
            'leave it out; packages of the site belong into its "venv" or its "path"',
        )


def _signals(facts: Facts) -> Iterator[Finding]:
    handled = [name for name, own in (facts.signals or {}).items() if own]
    if handled:
        yield Finding(
            Level.WARNING,
            "signals",
            f"wants to handle {listed(handled)}: its handlers are never called",
            "use atexit for what is to happen at the end; if the signal itself matters, "
            f"{OWN_GATEWAY}",
        )


def _patches(facts: Facts) -> Iterator[Finding]:
    confined = [patch.target for patch in facts.patches if patch.confined]
    if confined:
        yield Finding(
            Level.NOTE,
            "patches",
            f"replaces code of the standard library, for itself alone: {listed(confined)}",
            "nothing to do, unless it wants to see what the rest of the process does",
        )
    common = [patch for patch in facts.patches if not patch.confined]
    if common:
        makers = listed(dict.fromkeys(patch.by for patch in common))
        yield Finding(
            Level.WARNING,
            "patches",
            "replaces code of the standard library, for all sites: "
            f"{listed(patch.target for patch in common)} (now from {makers})",
            f"take that out of its code, or {OWN_GATEWAY}",
        )


def _threads(facts: Facts) -> Iterator[Finding]:
    staying = [thread.name for thread in facts.threads if thread.survives]
    others = [thread.name for thread in facts.threads if not thread.survives]
    if staying:
        yield Finding(
            Level.WARNING,
            "threads",
            f"starts threads that go on after it is unloaded: {listed(staying)}",
            "end them with atexit, or run what they do by a command of its own: every reload adds "
            "them once more, and keeps the old code in memory",
        )
    if others:
        yield Finding(
            Level.NOTE,
            "threads",
            f"starts threads when it is imported: {listed(others)}",
            "nothing to do as long as they end with the site; while a reload is under way, those "
            "of the old and the new code run side by side",
        )
