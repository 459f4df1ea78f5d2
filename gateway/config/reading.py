"""Read a whole ``sites.json``: strictly for a reload, leniently for a start."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from gateway.config.document import Document, is_site_name
from gateway.config.faults import Loc, fault_at, nearest, shown
from gateway.config.hosts import ADMIN_HOSTS
from gateway.config.limits import DEFAULTS
from gateway.config.model import Config, FaultySite, SiteConfig
from gateway.config.resolve import SiteDraft, Surroundings, merge_limits
from gateway.config.source import parse_source, read_source
from gateway.config.translation import type_faults
from gateway.disk import inputs
from gateway.errors import ConfigError, Fault


class Memory:
    """The results of the last reading of a file, which make the next reading cheaper.

    An entry is not resolved again if it is the same, its surroundings are the same, and the files
    that were looked at for it have not changed (`gateway.disk.inputs`). One thread at a time may
    use this.

    ``sound`` is true if the last reading, in the same surroundings, found no fault. ``settled`` is
    a number of seconds, as for `gateway.disk.inputs.has_settled`.
    """

    def __init__(self, settled: float = inputs.SETTLED) -> None:
        self.sound = False
        self._settled = settled
        self._text: bytes | None = None
        self._tree: dict[str, Any] = {}
        self._faults: tuple[Fault, ...] = ()
        self._unsound: frozenset[Loc] = frozenset()
        self._around: Surroundings | None = None
        self._drafts: dict[str, SiteDraft] = {}

    def parse(self, text: bytes) -> tuple[dict[str, Any], list[Fault], frozenset[Loc]]:
        """Return the object in ``text``, its faults, and the places of values of a wrong type."""
        if text != self._text:
            self._tree, repetitions = parse_source(text)
            found, self._unsound = _check_types(self._tree)
            self._faults = (*repetitions, *found)
            self._text = text
        return self._tree, [*self._faults], self._unsound

    def drafts(
        self,
        sites: Mapping[str, object],
        unsound: frozenset[Loc],
        around: Surroundings,
        names: Collection[str],
    ) -> list[SiteDraft]:
        """Return a draft for each entry. ``names`` has the same meaning as in ``read_config``."""
        if around != self._around:
            self._drafts, self._around, self.sound = {}, around, False
        known, every = self._drafts, not (names and self.sound)
        wrong = {loc[1] for loc in unsound if loc[:1] == ("sites",)}
        look_once = cache(inputs.look)
        drafts: dict[str, SiteDraft] = {}
        for name, entry in sites.items():
            draft = None if name in wrong else known.get(name)
            look = look_once if every or name in names else None
            if draft is None or not draft.holds(entry, look):
                draft = SiteDraft(name, entry, unsound, around, self._settled)
            drafts[name] = draft
        self._drafts = {name: draft for name, draft in drafts.items() if name not in wrong}
        return list(drafts.values())


def read_config(
    source: Path,
    *,
    environ: Mapping[str, str],
    admin_hosts: Collection[str] = ADMIN_HOSTS,
    base: Path | None = None,
    memory: Memory | None = None,
    names: Collection[str] = (),
) -> Config:
    """Read ``sites.json``, and refuse the whole file if it has a fault.

    ``environ`` is the gateway's own environment. No site can claim a host of ``admin_hosts``, given
    in normal form, or of ``ADMIN_HOSTS``. Relative paths in the file start from ``base``, by
    default the folder of ``source``.

    With the ``memory`` of an earlier reading, results that still hold are used again. With
    ``names`` as well, and if that reading found no fault, only the files of these sites and of
    changed entries are looked at. Changes to files of other sites are found by the next reading
    without names.

    Raises ``ConfigError`` with every fault of the file.
    """
    config = read_config_leniently(
        source, environ=environ, admin_hosts=admin_hosts, base=base, memory=memory, names=names
    )
    if config.faults:
        raise ConfigError(config.faults)
    return config


def read_config_leniently(
    source: Path,
    *,
    environ: Mapping[str, str],
    admin_hosts: Collection[str] = ADMIN_HOSTS,
    base: Path | None = None,
    text: bytes | None = None,
    memory: Memory | None = None,
    names: Collection[str] = (),
) -> Config:
    """Read as much of ``sites.json`` as can be used, so that a faulty site does not affect others.

    A site with a fault goes to ``Config.faulty``; if two sites claim one host, the later one has
    the fault. Other faults are listed in ``Config.faults``, and have no effect. ``text`` is used
    as the content of the file, which is then not opened; the other parameters are those of
    ``read_config``.

    Raises ``ConfigError`` only if the file cannot be read, if everybody can write to it, or if it
    is not a JSON object with an object ``sites`` in it.
    """
    source, memory = source.absolute(), memory or Memory()
    text = read_source(source) if text is None else text
    tree, faults, unsound = memory.parse(text)
    if ("sites",) in unsound:
        raise ConfigError(faults)

    around = Surroundings(
        base=source.parent if base is None else base.absolute(),
        environ=dict(environ),
        admin_hosts=ADMIN_HOSTS.union(admin_hosts),
        limits=merge_limits(DEFAULTS, tree.get("limits"), unsound, ("limits",)),
    )
    drafts = memory.drafts(tree["sites"], unsound, around, names)
    claims: dict[str, Loc] = {}
    for draft in drafts:
        faults += [*draft.faults, *draft.claim_hosts(claims)]
    default_site: str | None = None if ("default_site",) in unsound else tree.get("default_site")
    if default_site is not None and default_site not in tree["sites"]:
        message = f"there is no site {shown(default_site)}; {nearest(default_site, tree['sites'])}"
        faults.append(fault_at(("default_site",), message))

    memory.sound = not faults
    sites, faulty = _divide(drafts, faults, claims)
    return Config(
        sites=sites,
        default_site=default_site if default_site in {*sites, *faulty} else None,
        source=source,
        watched=frozenset({source, *(draft.env_file for draft in drafts if draft.env_file)}),
        text=text,
        faults=tuple(_in_order_of(tree["sites"], faults)),
        faulty=faulty,
    )


def _check_types(tree: dict[str, Any]) -> tuple[list[Fault], frozenset[Loc]]:
    """Return all type faults, and the locations of the values that have them."""
    try:
        Document.model_validate(tree)
    except ValidationError as error:
        return type_faults(error)
    return [], frozenset()


def _divide(
    drafts: Iterable[SiteDraft], faults: Iterable[Fault], claims: Mapping[str, Loc]
) -> tuple[Mapping[str, SiteConfig], Mapping[str, FaultySite]]:
    """Return the sites without faults, and those with faults; an invalid name is in neither."""
    of_sites: defaultdict[str | None, list[Fault]] = defaultdict(list)
    for fault in faults:
        of_sites[fault.site].append(fault)
    sites: dict[str, SiteConfig] = {}
    faulty: dict[str, FaultySite] = {}
    for draft in drafts:
        if own := of_sites.get(draft.name):
            faulty[draft.name] = FaultySite(draft.name, draft.hosts_in(claims), tuple(own))
        elif is_site_name(draft.name):
            sites[draft.name] = draft.finish()
    return MappingProxyType(sites), MappingProxyType(faulty)


def _in_order_of(sites: dict[str, Any], faults: list[Fault]) -> list[Fault]:
    """Sort the faults: those of the file as a whole first, then site by site, as in the file."""
    position = {name: index for index, name in enumerate(sites)}
    return sorted(faults, key=lambda fault: position.get(fault.site or "", -1))
