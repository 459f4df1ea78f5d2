"""Read a whole ``sites.json``: strictly for a reload, leniently for a start."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from gateway.config.document import Document, is_site_name
from gateway.config.faults import Loc, fault_at, nearest, shown
from gateway.config.model import Config, FaultySite, SiteConfig
from gateway.config.resolve import SiteDraft, Surroundings, merge_limits
from gateway.config.source import parse_source, read_source
from gateway.config.translation import type_faults
from gateway.errors import ConfigError, Fault
from gateway.limits import DEFAULTS
from gateway.routing import ADMIN_HOSTS


def read_config(
    source: Path,
    *,
    environ: Mapping[str, str],
    admin_hosts: Collection[str] = ADMIN_HOSTS,
    base: Path | None = None,
) -> Config:
    """Read ``sites.json`` and accept nothing that has a fault.

    ``environ`` is the gateway's own environment. ``admin_hosts``, in normal form, can be claimed
    by no site; nor can ``ADMIN_HOSTS``. Relative paths in the file start from ``base``, by default
    the folder that ``source`` is in.

    Raises ``ConfigError`` with every fault of the file.
    """
    config = read_config_leniently(source, environ=environ, admin_hosts=admin_hosts, base=base)
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
) -> Config:
    """Read ``sites.json`` and make the best of it, so that one site's fault leaves others alone.

    A site with a fault goes to ``Config.faulty``; of two sites that claim one host, the later has
    the fault. Whatever else is wrong is in ``Config.faults`` and has no consequence. For the
    parameters see ``read_config``; ``text`` is what the file holds if it is not to be opened.

    Raises ``ConfigError`` only if the file cannot be read, everybody can write to it, or it is not
    a JSON object with an object ``sites`` in it.
    """
    source = source.absolute()
    text = read_source(source) if text is None else text
    tree, faults = parse_source(text)
    found, unsound = _check_types(tree)
    faults += found
    if ("sites",) in unsound:
        raise ConfigError(faults)

    around = Surroundings(
        base=source.parent if base is None else base.absolute(),
        environ=environ,
        admin_hosts=ADMIN_HOSTS.union(admin_hosts),
        limits=merge_limits(DEFAULTS, tree.get("limits"), unsound, ("limits",)),
    )
    drafts = [SiteDraft(name, entry, unsound, around) for name, entry in tree["sites"].items()]
    claims: dict[str, Loc] = {}
    for draft in drafts:
        draft.claim_hosts(claims)
        faults += draft.faults
    default_site: str | None = None if ("default_site",) in unsound else tree.get("default_site")
    if default_site is not None and default_site not in tree["sites"]:
        message = f"there is no site {shown(default_site)}; {nearest(default_site, tree['sites'])}"
        faults.append(fault_at(("default_site",), message))

    sites, faulty = _divide(drafts, faults)
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
    drafts: list[SiteDraft], faults: list[Fault]
) -> tuple[Mapping[str, SiteConfig], Mapping[str, FaultySite]]:
    """Return the sites without faults and those with; what has no valid name is neither."""
    sites: dict[str, SiteConfig] = {}
    faulty: dict[str, FaultySite] = {}
    for draft in drafts:
        own = tuple(fault for fault in faults if fault.site == draft.name)
        if own:
            faulty[draft.name] = FaultySite(draft.name, tuple(draft.hosts), own)
        elif is_site_name(draft.name):
            sites[draft.name] = draft.finish()
    return MappingProxyType(sites), MappingProxyType(faulty)


def _in_order_of(sites: dict[str, Any], faults: list[Fault]) -> list[Fault]:
    """Sort the faults: those of the file as a whole first, then site by site, as in the file."""
    position = {name: index for index, name in enumerate(sites)}
    return sorted(faults, key=lambda fault: position.get(fault.site or "", -1))
