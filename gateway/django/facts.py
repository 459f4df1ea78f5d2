"""Settings and versions of the Django of a site."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from gateway.namespace import Namespace

_LOCAL_HOSTS: Final = (".localhost", "127.0.0.1", "[::1]")
"""The hosts that ``HttpRequest.get_host`` lets in with ``DEBUG`` and empty ``ALLOWED_HOSTS``."""


def settings(namespace: Namespace) -> Any | None:
    """The settings of the site; ``None`` if it does not use Django or has not configured it."""
    if namespace.modules.get("django.conf") is None:
        return None
    conf: Any = namespace.import_module("django.conf")
    return conf.settings if conf.settings.configured else None


def settings_module(settings: Any) -> str | None:
    """The name of the settings module; ``None`` after ``settings.configure()``, which has none."""
    name = getattr(settings, "SETTINGS_MODULE", None)
    return name if isinstance(name, str) else None


def refused_hosts(namespace: Namespace, settings: Any, hosts: Iterable[str]) -> tuple[str, ...]:
    """Those of ``hosts`` that ``HttpRequest.get_host`` refuses."""
    http: Any = namespace.import_module("django.http.request")
    allowed = list(settings.ALLOWED_HOSTS)
    if settings.DEBUG and not allowed:
        allowed = list(_LOCAL_HOSTS)
    domains = {host: http.split_domain_port(host)[0] for host in hosts}
    return tuple(h for h, domain in domains.items() if not http.validate_host(domain, allowed))


def version(namespace: Namespace, *, loaded: bool) -> str | None:
    """The version of the Django that the site uses, ``None`` if it uses none.

    For a site that did not load (``loaded`` is false) it is the version that is installed.
    """
    module = namespace.modules.get("django")
    if module is not None and hasattr(module, "get_version"):
        return str(module.get_version())
    installed = None if loaded else namespace.environment.distributions.get("django")
    return None if installed is None else installed.version


def native_code_that_needs_django(namespace: Namespace) -> tuple[str, ...]:
    """Loaded distributions that have extension modules and require Django (``name version``).

    They cannot be shared by sites, because each site has a Django of its own.
    """
    environment = namespace.environment
    candidates = [environment.distributions.get(name) for name in environment.private_distributions]
    return tuple(
        f"{item.name} {item.version}"
        for item in candidates
        if item is not None and item.native and not item.prefixes.isdisjoint(namespace.modules)
    )
