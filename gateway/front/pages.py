"""The gateway's own pages. All have one frame, escape their values, and load no other resource."""

from __future__ import annotations

import base64
import functools
import hashlib
import math
from collections.abc import Mapping
from html import escape
from http import HTTPStatus
from importlib import resources
from string import Template
from typing import Final

from starlette.responses import HTMLResponse

from gateway.front.head import Rule

_REFERENCE: Final = (
    '<p class="quiet">If you report this, please mention <code>$error_id</code>.</p>'
)


class Html(str):
    """Text that is already HTML, and must not be escaped again."""

    __slots__ = ()


def html(template: str, /, **values: object) -> Html:
    """Return ``template`` with each ``$name`` replaced; a value that is not `Html` is escaped."""
    safe = {
        name: value if isinstance(value, Html) else escape(str(value))
        for name, value in values.items()
    }
    return Html(Template(template).substitute(safe))


def read_templates() -> None:
    """Read all templates and styles, so that no page needs a file from now on.

    A page has to be there also when a site has taken every descriptor.
    """
    _assets()


def render(name: str, /, **values: object) -> Html:
    """Return the file ``templates/NAME`` with its names replaced as by `html`."""
    return html(_assets()[name], **values)


def page(
    title: str,
    body: Html,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    styles: tuple[str, ...] = ("base.css",),
) -> HTMLResponse:
    """Return a whole page. No cache may store it, and it can load and run only its ``styles``."""
    style = Html("".join(_assets()[name] for name in styles))
    content = render("frame.html", title=title, style=style, body=body)
    return HTMLResponse(content, status, {**_security_headers(style), **(headers or {})})


def refused(rule: Rule, http_version: str) -> HTMLResponse:
    """Return 400, 414 or 431: the head of the request breaks ``rule``."""
    title = HTTPStatus(rule.status).phrase
    text = f"The request was refused. It has {rule.what}.".replace("`", "")
    # The bytes that follow on the connection may not be a request (RFC 9112, section 6.3).
    return _error(rule.status, title, text, headers=_closing(http_version))


def bad_request(http_version: str) -> HTMLResponse:
    """Return 400: the request contradicts itself, so its end is unclear (RFC 9112, section 6.3)."""
    return _error(
        400, "Bad request", "The request cannot be understood.", headers=_closing(http_version)
    )


def too_large(limit: int, http_version: str) -> HTMLResponse:
    """Return 413: the body is over ``limit`` bytes; the rest is not read (RFC 9110, 15.5.14)."""
    return _error(
        413,
        "Too large",
        f"This site takes up to {limit / (1 << 20):g} MB.",
        headers=_closing(http_version),
    )


def too_slow(http_version: str) -> HTMLResponse:
    """Return 408: the body did not come in time (RFC 9110, section 15.5.9)."""
    return _error(
        408,
        "Too slow",
        "The rest of what was to be sent did not arrive.",
        headers=_closing(http_version),
    )


def busy(retry_after: float) -> HTMLResponse:
    """Return 503: the queue of the site is full; ``retry_after`` is in seconds."""
    return _error(
        503,
        "Busy",
        "This site has more visitors than it can answer. Please try again in a little while.",
        headers=_again(retry_after),
    )


def timed_out() -> HTMLResponse:
    """Return 504: the site's code did not answer in time."""
    return _error(504, "No answer", "This page took too long.")


def no_site() -> HTMLResponse:
    """Return 404: no site answers to this host. The page does not tell which sites there are."""
    return _error(404, "Nothing here", "No site answers to this host.")


def broken(error_id: str) -> HTMLResponse:
    """Return 500: the site's code raised an exception."""
    return _error(500, "Something went wrong", "This page could not be shown.", error_id=error_id)


def unavailable(error_id: str | None = None, *, retry_after: float = 1) -> HTMLResponse:
    """Return 503: the site has no working code; ``retry_after`` is in seconds."""
    return _error(
        503,
        "Temporarily unavailable",
        "This site cannot answer at the moment. Please try again in a little while.",
        error_id=error_id,
        headers=_again(retry_after),
    )


def paused(retry_after: float) -> HTMLResponse:
    """Return 503: the site is paused, for longer than a visitor waits."""
    return _error(
        503,
        "One moment",
        "This site is being worked on. Please try again in a little while.",
        headers=_again(retry_after),
    )


def maintenance(own: str | None, *, retry_after: float) -> HTMLResponse:
    """Return 503: the site is closed for maintenance. ``own`` is the project's page, if any."""
    headers = _again(retry_after)
    if own is not None:
        return HTMLResponse(own, 503, {"Cache-Control": "no-store", **headers})
    text = "This site is being worked on, and will be back soon."
    return _error(503, "Maintenance", text, headers=headers)


def set_aside(*, retry_after: float) -> HTMLResponse:
    """Return 503: the site's code has ended worker processes, so it does not run any more."""
    return _error(
        503,
        "Set aside",
        "The code of this site has crashed the server several times in a short time, so it is not "
        "run any more until its operator has reloaded it.",
        headers=_again(retry_after),
    )


def _again(seconds: float) -> Mapping[str, str]:
    return {"Retry-After": str(max(1, math.ceil(seconds)))}


def _closing(http_version: str) -> Mapping[str, str]:
    # HTTP/2 does not need the header, and forbids it (RFC 9113, section 8.2.2).
    return {"Connection": "close"} if http_version.startswith("1") else {}


def _error(
    status: int,
    title: str,
    text: str,
    *,
    error_id: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> HTMLResponse:
    reference = html(_REFERENCE, error_id=error_id) if error_id else ""
    body = render("error.html", status=status, title=title, text=text, reference=reference)
    return page(title, body, status=status, headers=headers)


@functools.cache
def _assets() -> Mapping[str, str]:
    folder = resources.files("gateway.front") / "templates"
    return {file.name: file.read_text("utf-8") for file in folder.iterdir() if file.is_file()}


@functools.cache
def _security_headers(style: str) -> Mapping[str, str]:
    # The hash covers the text between <style> and </style> (CSP Level 3, section 2.3.1).
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
