"""Turn a site's entry in ``sites.json`` into a ``SiteConfig``, with checks beyond its types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from gateway.config.discovery import SETTINGS_VARIABLE, DiscoveryError, find_wsgi, is_plain_module
from gateway.config.environment import inherited, interpolate, read_env_file
from gateway.config.faults import Loc, fault_at, json_path, shown
from gateway.config.folders import (
    inside,
    parts_of_venv,
    why_not_a_file,
    why_not_a_folder,
    why_not_a_project,
    why_not_a_venv,
)
from gateway.config.hosts import HostTable, InvalidHostError, normalise_host, normalise_pattern
from gateway.config.limits import DEFAULTS, Limits
from gateway.config.model import SiteConfig
from gateway.disk.inputs import Inputs, Look
from gateway.errors import Fault

_ATTRIBUTE: Final = "application"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Everything outside an entry, except files, that its meaning depends on."""

    base: Path
    """The folder that relative paths start from."""
    environ: Mapping[str, str]
    """The gateway's own environment."""
    admin_hosts: frozenset[str]
    limits: Limits = DEFAULTS
    """The limits of a site whose entry sets none."""


def merge_limits(limits: Limits, written: object, unsound: frozenset[Loc], loc: Loc) -> Limits:
    """Return ``limits`` changed by those ``written`` at ``loc``, without values of a wrong type."""
    if loc in unsound or not isinstance(written, dict):
        return limits
    own = {
        name: value
        for name, value in written.items()
        if value is not None and (*loc, name) not in unsound
    }
    return replace(limits, **own)


class SiteDraft:
    """One site between its entry and its ``SiteConfig``, with its faults.

    An entry with values of a wrong type becomes a draft too. Its other values are checked, so that
    all faults of a file are reported at once.

    A draft does not change after it was made. It can be used for the same entry again as long as
    `holds` returns true.
    """

    __slots__ = (
        "_around",
        "_entry",
        "_env",
        "_inputs",
        "_path",
        "_probe_host",
        "_site",
        "_unsound",
        "_venv",
        "_wsgi",
        "env_file",
        "faults",
        "hosts",
        "name",
    )

    def __init__(
        self,
        name: str,
        entry: object,
        unsound: frozenset[Loc],
        around: Surroundings,
        settled: float,
    ) -> None:
        """Check ``entry``, except the values at ``unsound``, whose wrong type is known already.

        ``settled`` is a number of seconds, as for `gateway.disk.inputs.has_settled`.
        """
        self.name = name
        self.faults: list[Fault] = []
        self._entry: dict[str, Any] = entry if isinstance(entry, dict) else {}
        self._unsound = unsound
        self._around = around
        self._inputs = Inputs(settled)
        self._site: SiteConfig | None = None

        self.hosts: dict[str, Loc] = self._resolve_hosts()
        self.env_file = self._absolute("env_file")
        self._path = self._resolve_project()
        self._venv = self._resolve_venv()
        self._env = self._resolve_env()
        self._wsgi = self._resolve_wsgi()
        self._probe_host = self._resolve_probe_host()

    def holds(self, entry: object, look: Callable[[str], Look] | None) -> bool:
        """Tell whether this draft is right for ``entry`` too, in the same surroundings.

        Neither ``entry`` nor the entry of this draft may have values of a wrong type, because the
        JSON values ``1`` and ``true`` are equal in Python. ``look`` checks the files; without it
        they are assumed to be unchanged.
        """
        return entry == self._entry and (look is None or self._inputs.unchanged(look))

    def claim_hosts(self, claims: dict[str, Loc]) -> list[Fault]:
        """Add the site's hosts to ``claims``; return a fault for each that another site has."""
        faults = []
        for host, loc in self.hosts.items():
            first = claims.setdefault(host, loc)
            if first != loc:
                message = (
                    f"{shown(host)} is already served by site {shown(first[1])} "
                    f"({json_path(first)}); remove it from one of the two"
                )
                faults.append(fault_at(loc, message))
        return faults

    def hosts_in(self, claims: Mapping[str, Loc]) -> tuple[str, ...]:
        """Return the hosts that no earlier site has claimed."""
        return tuple(host for host, loc in self.hosts.items() if claims[host] == loc)

    def finish(self) -> SiteConfig:
        """Return the site, the same object each time. Only for a draft without any fault."""
        if self._site is None:
            self._site = self._finished()
        return self._site

    def _finished(self) -> SiteConfig:
        assert self._path is not None and self._wsgi is not None, "a faulty site has no SiteConfig"
        return SiteConfig(
            name=self.name,
            hosts=tuple(self.hosts),
            path=self._path,
            wsgi=self._wsgi,
            env=MappingProxyType(self._env),
            env_file=self.env_file,
            venv=self._venv,
            preload=self._get("preload") is True,
            watch=self._get("watch") is True,
            probe=self._get_or("probe", "/") or None,
            probe_host=self._probe_host,
            migrations=self._get_or("migrations", "ignore"),
            limits=merge_limits(
                self._around.limits, self._get("limits"), self._unsound, self._loc("limits")
            ),
        )

    def _loc(self, *steps: str | int) -> Loc:
        return ("sites", self.name, *steps)

    def _fault(self, message: str, *steps: str | int) -> None:
        self.faults.append(fault_at(self._loc(*steps), message))

    def _is_sound(self, *steps: str | int) -> bool:
        """Tell whether this value of the entry, and all around it, have the right type."""
        loc = self._loc(*steps)
        return not any(loc[:length] in self._unsound for length in range(2, len(loc) + 1))

    def _get(self, key: str) -> Any:
        """Return the value of a key; ``None`` if it is left out or has a wrong type."""
        return self._entry.get(key) if self._is_sound(key) else None

    def _get_or(self, key: str, default: Any) -> Any:
        return self._entry.get(key, default)

    def _resolve_probe_host(self) -> str | None:
        """Return the host of the probe in normal form; it must be one of this site's hosts."""
        written: str | None = self._get("probe_host")
        if written is None:
            return None
        try:
            host = normalise_host(written)
        except InvalidHostError as error:
            self._fault(f"{shown(written)} is not a host name: {error.reason}", "probe_host")
            return None
        if HostTable.build({self.name: self.hosts}, None).find(host) is None:
            self._fault(f"{shown(written)} is none of the hosts of this site", "probe_host")
        return host

    def _resolve_hosts(self) -> dict[str, Loc]:
        """Return the valid hosts, in normal form, with their places in the file."""
        written: list[str] | None = self._get("hosts")
        if written is None:
            return self._host_from_name() if self._is_sound("hosts") else {}
        hosts: dict[str, Loc] = {}
        for index, value in enumerate(written):
            if not self._is_sound("hosts", index):
                continue
            try:
                host = normalise_pattern(value)
            except InvalidHostError as error:
                self._fault(f"{shown(value)} is not a host name: {error.reason}", "hosts", index)
                continue
            if host in hosts:
                first = json_path(hosts[host])
                self._fault(f"{shown(value)} stands in {first} already; remove one", "hosts", index)
            elif not self._is_admin_host(host, "hosts", index):
                hosts[host] = self._loc("hosts", index)
        return hosts

    def _host_from_name(self) -> dict[str, Loc]:
        try:
            host = normalise_host(self.name) if "." in self.name else None
        except InvalidHostError:
            host = None
        if host is None:
            self._fault(
                f'it has no "hosts", and {shown(self.name)} is not a host name with a dot in it; '
                'add for example "hosts": ["shop.localhost"]'
            )
        elif not self._is_admin_host(host):
            return {host: self._loc()}
        return {}

    def _is_admin_host(self, host: str, *steps: str | int) -> bool:
        if host not in self._around.admin_hosts:
            return False
        message = "is a host of the gateway's own pages; choose another, such as shop.localhost"
        self._fault(f"{shown(host)} {message}", *steps)
        return True

    def _absolute(self, key: str) -> Path | None:
        """Return the path that a key names, existing or not; ``None`` if the key is left out."""
        value: str | None = self._get(key)
        return None if value is None else self._around.base / value

    def _resolve_path(self, key: str, *checks: Callable[[Path], str | None]) -> Path | None:
        """Return the path that a key names, or ``None`` if one of the checks returns a problem."""
        path = self._absolute(key)
        if path is None:
            return None
        self._inputs.add(path)
        problem = next(filter(None, (check(path) for check in checks)), None)
        if problem is None:
            return path
        value: str = self._entry[key]
        tilde = '; "~" is not expanded, write the whole path' if value.startswith("~") else ""
        self._fault(f"{shown(value)}: {problem}{tilde}", key)
        return None

    def _resolve_project(self) -> Path | None:
        if (project := self._absolute("path")) is not None:
            self._inputs.add(inside(project))
        return self._resolve_path("path", why_not_a_project)

    def _resolve_venv(self) -> Path | None:
        if (venv := self._absolute("venv")) is not None:
            for part in parts_of_venv(venv):
                self._inputs.add(part)
        return self._resolve_path("venv", why_not_a_folder, why_not_a_venv)

    def _resolve_env(self) -> dict[str, str]:
        own: dict[str, str] = {}
        for name, value in (self._get("env") or {}).items():
            # A value of a wrong type counts as set: else a reference to it in env_file would be
            # reported as a fault too.
            own[name], problems = "", list[str]()
            if self._is_sound("env", name):
                own[name], problems = interpolate(value, self._around.environ)
            for problem in problems:
                self._fault(problem, "env", name)
        below = inherited(self._around.environ, self._venv)
        from_file: dict[str, str] = {}
        env_file = self._resolve_path("env_file", why_not_a_file)
        if env_file is not None:
            from_file, problems = read_env_file(env_file, below, own)
            for problem in problems:
                self._fault(f"{env_file} {problem}", "env_file")
        return {**below, **from_file, **own}

    def _resolve_wsgi(self) -> str | None:
        if self._path is None or not self._is_sound("wsgi"):
            return None
        written: str | None = self._get("wsgi")
        if written is None:
            return self._discover_wsgi(self._path)
        module, _, attribute = written.partition(":")
        parent, _, last = module.rpartition(".")
        try:
            plain = is_plain_module(self._path, parent, self._inputs.add)
        except DiscoveryError as error:
            self._fault(f"{shown(written)}: {error}", "wsgi")
            return None
        if plain:
            self._fault(
                f"{shown(written)}: there is no module {shown(module)}, for {shown(parent)} is a "
                f"file; write {shown(f'{parent}:{last}')} for what is defined in it",
                "wsgi",
            )
        return f"{module}:{attribute or _ATTRIBUTE}"

    def _discover_wsgi(self, project: Path) -> str | None:
        settings = self._env.get(SETTINGS_VARIABLE)
        if not settings and self._has_faulty_env():
            # The faulty part may name the settings. A guess could only add a misleading fault.
            return None
        try:
            return find_wsgi(project, settings, self._inputs.add)
        except DiscoveryError as error:
            self._fault(f'"wsgi" is left out and cannot be found: {error}')
            return None

    def _has_faulty_env(self) -> bool:
        """Tell whether the site's settings module is unknown because of faults."""
        places = {
            json_path(self._loc(*steps)) for steps in (("env", SETTINGS_VARIABLE), ("env_file",))
        }
        return (
            any(fault.path in places for fault in self.faults)
            or not self._is_sound("env", SETTINGS_VARIABLE)
            or not self._is_sound("env_file")
        )
