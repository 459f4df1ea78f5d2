"""The admin endpoints.

They find the objects that they need in `Starlette.state`: the ``registry`` (the sites of this
worker), the ``control`` (the agreement of all workers), and the ``authority`` (who may do what).
"""

from __future__ import annotations

import functools
import logging
import re
import shlex
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import asdict
from typing import Any, Final

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import gateway
from gateway.admin import page
from gateway.admin.auth import Authority, Verdict
from gateway.cluster import Control
from gateway.cluster.sightings import Condition
from gateway.cluster.store import End, Entry, StoreError
from gateway.errors import ConfigError, Fault, UnknownSiteError
from gateway.log import timestamp
from gateway.sites.gate import CHANGES, ModeError
from gateway.sites.registry import GatewayStatus, Registry
from gateway.sites.site import SiteStatus
from gateway.sites.state import State

logger = logging.getLogger("gateway.admin")

HEALTH: Final = "/_health"
"""The only admin path that also answers on hosts that no site serves."""
MOST_HISTORY: Final = 1000
"""The most entries of the history in one answer."""

MOST_PATIENCE: Final = 50.0
"""The most seconds that a change of mode can wait for requests in flight (``?wait=``)."""

_TROUBLED: Final = frozenset({Condition.DEGRADED, Condition.STALLED})

_Endpoint = Callable[[Request], Awaitable[Response]]


def routes() -> list[Route]:
    """Return all admin routes; ``HEAD`` goes with ``GET``, and other methods get 405."""
    return [
        Route("/", _operators_only(overview)),
        Route(HEALTH, health),
        Route(HEALTH + "/{name}", _operators_only(site_health)),
        Route("/_history", _operators_only(history)),
        Route("/_reload", _operators_only(reload), methods=["POST"]),
        *(
            Route(
                f"/_sites/{{name}}/{action}",
                _operators_only(functools.partial(change_mode, action)),
                methods=["POST"],
            )
            for action in CHANGES
        ),
    ]


class NeverStored:
    """Middleware that forbids caches to store the answers, and browsers to guess their type."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add the headers to the response (ASGI)."""

        async def send_unstored(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Cache-Control"] = "no-store"
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        await self._app(scope, receive, send_unstored)


async def overview(request: Request) -> Response:
    """Answer ``GET /`` with the page that lists the sites."""
    return page.overview(_registry(request).status(), request.url)


async def health(request: Request) -> Response:
    """Answer ``GET /_health``: liveness for everybody, details for operators.

    The status is 200 while this worker serves, and 503 as soon as it was asked to end, or if it
    cannot be relied on (`Condition.STALLED`). Liveness costs the same with any number of sites,
    because anybody may ask for it often.
    """
    registry, control = _registry(request), _control(request)
    verdict = _authority(request).judge(request)
    if verdict is Verdict.FOREIGN:
        return _foreign()
    others = control.others()
    troubled = (
        registry.degraded
        or control.trouble
        or _authority(request).trouble
        or any(other["status"] in _TROUBLED for other in others.values())
    )
    condition = control.sightings.condition(troubled=bool(troubled))
    body: dict[str, Any] = {"status": "stopping" if control.stopping else condition}
    if verdict is Verdict.TRUSTED:
        body |= _details(registry.status()) | _agreement(control.me, control.trouble, others)
        if control.ends:
            body["crashes"] = [_end(end) for end in control.ends]
        if trouble := _authority(request).trouble:
            body["token"] = trouble
        if seen := control.sightings.document():
            body["seen"] = seen
    unfit = control.stopping or condition is Condition.STALLED
    return JSONResponse(body, 503 if unfit else 200)


async def site_health(request: Request) -> Response:
    """Answer ``GET /_health/NAME`` with the state of a site; 503 if it has failed or is set aside.

    A site that is not loaded is 200, because its next request loads it.
    """
    status = _registry(request).site_status(request.path_params["name"])
    failure = status.failure
    body = _site(status) | {
        "error_id": failure.error_id if failure else None,
        "traceback": failure.traceback if failure else None,
    }
    down = status.state is State.FAILED or status.aside is not None
    return JSONResponse(body, 503 if down else 200)


async def reload(request: Request) -> Response:
    """Answer ``POST /_reload``: reload every loaded site, or those that ``?site=`` names."""
    if unknown := request.query_params.keys() - {"site"}:
        # An unknown parameter is not ignored: with a typing error in "site" all would be reloaded.
        return _unknown_parameters(unknown)
    control = _control(request)
    names = request.query_params.getlist("site")
    outcome = await control.reload(names, _asker(request))
    others = outcome.others
    body = outcome.report.document() | _agreement(control.me, others.trouble, others.told)
    body["status"] = "failed" if outcome.failed else "late" if others.late else "ok"
    return JSONResponse(body, 500 if outcome.failed else 504 if others.late else 200)


async def change_mode(action: str, request: Request) -> Response:
    """Answer ``POST /_sites/NAME/ACTION``: change the mode of a site.

    With ``?wait=SECONDS``, wait up to that time until the site has no request in flight.
    """
    if unknown := request.query_params.keys() - {"wait"}:
        return _unknown_parameters(unknown)
    patience = _seconds(request.query_params.get("wait", "0"))
    if patience is None:
        error = f"wait is a number of seconds up to {MOST_PATIENCE:g}"
        return JSONResponse({"status": "invalid", "error": error}, 400)
    name, control = request.path_params["name"], _control(request)
    change = await control.change_mode(name, action, _asker(request), patience)
    others = change.others
    body = {
        "status": "late" if others.late else "ok",
        "mode": change.mode,
        "in_flight": change.in_flight,
    } | _agreement(control.me, others.trouble, others.told)
    return JSONResponse(body, 504 if others.late else 200)


async def history(request: Request) -> Response:
    """Answer ``GET /_history``: the newest ``?limit=`` entries, of all sites or of ``?site=``."""
    if unknown := request.query_params.keys() - {"site", "limit"}:
        return _unknown_parameters(unknown)
    limit = request.query_params.get("limit", "100")
    # The length is checked first: Python refuses to read a number of more than 4300 digits.
    number = int(limit) if re.fullmatch(r"[0-9]{1,4}", limit) else 0
    if not 1 <= number <= MOST_HISTORY:
        error = f"limit is a number from 1 to {MOST_HISTORY}"
        return JSONResponse({"status": "invalid", "error": error}, 400)
    try:
        entries = await _control(request).history(request.query_params.get("site"), number)
    except StoreError as error:
        return JSONResponse({"status": "unavailable", "error": str(error)}, 503)
    return JSONResponse({"entries": [_entry(entry) for entry in entries]})


def config_error(_: Request, error: Exception) -> Response:
    """Answer 422: ``sites.json`` is wrong, and nothing has changed."""
    assert isinstance(error, ConfigError)
    return JSONResponse({"status": "invalid", "errors": _faults(error.faults)}, error.status)


def unknown_site(_: Request, error: Exception) -> Response:
    """Answer 404: there is no site of that name. Only operators can get this answer."""
    assert isinstance(error, UnknownSiteError)
    return JSONResponse({"status": "unknown", "error": str(error)}, error.status)


def mode_error(_: Request, error: Exception) -> Response:
    """Answer 409: the action is not possible in the mode that the site has."""
    assert isinstance(error, ModeError)
    return JSONResponse({"status": "conflict", "error": str(error)}, error.status)


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds <= MOST_PATIENCE else None


def _unknown_parameters(names: Collection[str]) -> Response:
    error = f"unknown parameter: {', '.join(sorted(names))}"
    return JSONResponse({"status": "invalid", "error": error}, 400)


def _operators_only(endpoint: _Endpoint) -> _Endpoint:
    async def guarded(request: Request) -> Response:
        match _authority(request).judge(request):
            case Verdict.TRUSTED:
                return await endpoint(request)
            case Verdict.FOREIGN:
                return _foreign()
            case Verdict.STRANGER:
                return _unauthorised(request)

    return guarded


def _unauthorised(request: Request) -> Response:
    curl = _curl(request)
    headers = {"WWW-Authenticate": "Bearer"}
    if request.url.path == "/" and "text/html" in request.headers.get("accept", ""):
        return page.locked(curl, headers)
    text = f"This needs the admin token. On the machine of the gateway:\n\n    {curl}\n"
    return PlainTextResponse(text, 401, headers)


def _curl(request: Request) -> str:
    """Return the shell command with which an operator can repeat the request with the token."""
    method = {"GET": "", "HEAD": "--head "}.get(request.method, f"-X {request.method} ")
    token = _authority(request).token.shell
    return f'curl {method}-H "Authorization: Bearer {token}" {shlex.quote(str(request.url))}'


def _foreign() -> Response:
    return PlainTextResponse("A page of another origin cannot use the admin endpoints.\n", 403)


def _details(status: GatewayStatus) -> dict[str, Any]:
    details: dict[str, Any] = {
        "version": gateway.__version__,
        "sites": {site.name: _site(site) for site in status.sites},
    }
    return details | {"errors": _faults(status.faults)} if status.faults else details


def _site(site: SiteStatus) -> dict[str, Any]:
    return {
        "state": site.state,
        "mode": site.mode,
        "aside": site.aside,
        "generation": site.generation,
        "hosts": site.hosts,
        "loaded_at": site.loaded_at,
        "load_ms": site.load_ms,
        "error": site.failure.reason if site.failure else None,
        "survivors": site.survivors,
        "hung": [asdict(hung) for hung in site.hung],
    }


def _faults(faults: tuple[Fault, ...]) -> list[dict[str, str]]:
    return [{"path": fault.path, "message": fault.message} for fault in faults]


def _agreement(
    me: str, trouble: str | None, others: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the keys about other workers and the store: none, if there is nothing to tell."""
    said: dict[str, Any] = {"worker": me, "workers": others} if others else {}
    return said | {"store": trouble} if trouble else said


def _entry(entry: Entry) -> dict[str, Any]:
    return asdict(entry) | {"at": timestamp(entry.at)}


def _end(end: End) -> dict[str, Any]:
    """Return how a worker has ended, with whose code did it if that is known."""
    told: dict[str, Any] = {"at": timestamp(end.at), "worker": end.worker, "how": end.how}
    return told | ({"site": end.site, "generation": end.generation} if end.site else {})


def _asker(request: Request) -> str:
    """Return who asks, for the history: the reason for trust, and the address."""
    proof = "token" if "authorization" in request.headers else "open"
    return f"{proof} {request.client.host}" if request.client else proof


def _control(request: Request) -> Control:
    control: Control = request.app.state.control
    return control


def _registry(request: Request) -> Registry:
    registry: Registry = request.app.state.registry
    return registry


def _authority(request: Request) -> Authority:
    authority: Authority = request.app.state.authority
    return authority
