"""The pages that operators see in a browser."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import URL
from starlette.responses import HTMLResponse

import gateway
from gateway.errors import Fault
from gateway.front.pages import Html, html, page, render
from gateway.sites.gate import Mode
from gateway.sites.registry import GatewayStatus
from gateway.sites.site import SiteStatus


def overview(status: GatewayStatus, url: URL) -> HTMLResponse:
    """Return the page with state, hosts and last error of all sites.

    Links to the sites have the scheme and port of ``url``.
    """
    body = render(
        "sites.html",
        version=gateway.__version__,
        status="degraded" if status.degraded else "ok",
        faults=_faults(status.faults),
        rows=_join(_row(site, url) for site in status.sites),
    )
    return page("Gateway", body, styles=("base.css", "sites.css"))


def locked(curl: str, headers: dict[str, str]) -> HTMLResponse:
    """Return the page for 401, with the command line that opens the endpoint."""
    return page("Gateway", render("locked.html", curl=curl), status=401, headers=headers)


def _row(site: SiteStatus, url: URL) -> Html:
    loaded = "" if site.loaded_at is None else f"{site.loaded_at}, {site.load_ms:.0f} ms"
    return render(
        "site.html",
        name=site.name,
        state=site.state,
        mode="" if site.mode is Mode.OPEN else site.mode,
        hosts=_join(_host(host, url) for host in site.hosts),
        generation=site.generation or "",
        loaded=loaded,
        error=site.failure.reason if site.failure else "",
    )


def _host(host: str, url: URL) -> Html:
    if host.startswith("*."):
        # A wildcard is not an address that a browser could open.
        return html('<span class="host">$host</span>', host=host)
    port = "" if url.port is None else f":{url.port}"
    address = f"{url.scheme}://{host}{port}/"
    return html('<a class="host" href="$address">$host</a>', host=host, address=address)


def _faults(faults: tuple[Fault, ...]) -> Html:
    items = _join(html("<li>$fault</li>", fault=fault) for fault in faults)
    return html('<ul class="faults">$items</ul>', items=items) if items else items


def _join(parts: Iterable[Html]) -> Html:
    return Html("\n".join(parts))
